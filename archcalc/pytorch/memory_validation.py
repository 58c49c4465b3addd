"""Validate the simulated memory of inference and training: run them in PyTorch, and compare phase by phase.

On the CPU each phase must be equal to the byte: its peak, its end, and the sum of its allocations. What kernels
allocate and free themselves is measured apart. On CUDA the bytes that tensors request must be the simulated ones, or
more by no more than the workspaces of libraries. What the allocator allocates and reserves is measured and not
compared: it depends on the workspaces, and on addresses that the driver chooses.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Iterator, Mapping, Sequence

import torch

from archcalc.analysis.allocator import replay
from archcalc.analysis.cards import find_card
from archcalc.analysis.measured import PhaseMemory, Validation
from archcalc.analysis.memory_trace import Peak, Trace
from archcalc.analysis.recipe import Recipe
from archcalc.analysis.report import analyze
from archcalc.analysis.simulation import simulate
from archcalc.analysis.workspaces import Term, most_in, workspace_terms
from archcalc.errors import ArchcalcError
from archcalc.graph.graph import Graph
from archcalc.pytorch.device import metered, out_of_memory, room
from archcalc.pytorch.training_memory import Loop, measure_training
from archcalc.pytorch.validation import describe

COUNTS = {  # figures on CUDA, as the allocator of PyTorch names them
    "peak": "requested_bytes.all.peak",
    "end": "requested_bytes.all.current",
    "allocated": "allocated_bytes.all.peak",
    "reserved": "reserved_bytes.all.peak",
}


def memory_or_say(graph: Graph, recipes: Mapping[str, Recipe], batch: int) -> Validation:
    """Compare the memory of a network's recipe with PyTorch's; errors are returned in `Validation.problem`."""
    recipe = recipes[graph.name]
    start, problem, phases = time.perf_counter(), "", list[PhaseMemory]()
    try:
        need, free = max(peak.peak for peak in simulate(graph, recipe).peaks(batch)), room(recipe.device)
        if free is None or need <= free:
            phases = compare_memory(graph, recipe, batch)
        else:
            problem = f"not run: it needs {need / 2**30:.1f} GiB, but {free / 2**30:.1f} GiB are free"
    except Exception as error:  # any error: the next network must still run
        problem = "out of memory" if out_of_memory(error) else describe(error)
    checks, seconds = tuple(check for phase in phases for check in phase.checks()), time.perf_counter() - start
    conditions = graph.name, recipe.device, batch, recipe.dtype
    return Validation(*conditions, checks, seconds, problem, phases=tuple(phases), recipe=recipe)


def compare_memory(graph: Graph, recipe: Recipe, batch: int) -> list[PhaseMemory]:
    """Simulate and run a network on the recipe's device.

    Of the first phase only the end is compared: how initial weights are made is no part of the simulation.
    """
    gc.collect()  # what a network before left would be freed within a phase
    trace = simulate(graph, recipe._replace(single=batch == 1))
    on_cuda = recipe.device == "cuda"
    state, *phases = (_on_cuda if on_cuda else _on_the_cpu)(graph, recipe, batch, trace)
    ours, theirs, spare = ({"end": of["end"]} for of in (state.predicted, state.measured, state.spare))
    return [PhaseMemory(state.phase, state.step, ours, theirs, spare), *phases]


def _on_the_cpu(graph: Graph, recipe: Recipe, batch: int, trace: Trace) -> Iterator[PhaseMemory]:
    spare = {"peak": 0, "end": 0, "allocations": 0}
    for peak, phase in zip(trace.peaks(batch), measure_training(graph, recipe, batch), strict=True):
        ours, theirs = (dict(zip(spare, (of.peak, of.end, of.allocated), strict=True)) for of in (peak, phase))
        yield PhaseMemory(phase.phase, phase.step, ours, theirs, spare, phase.in_kernels)


def _on_cuda(graph: Graph, recipe: Recipe, batch: int, trace: Trace) -> Iterator[PhaseMemory]:
    terms = _workspaces(graph, recipe, batch)
    measured = measure_on_cuda(graph, recipe, batch)
    for (peak, ours), theirs in zip(_allocator_figures(trace, batch), measured, strict=True):
        spare = {"peak": most_in(peak.phase, terms), "end": most_in("", terms)}
        yield PhaseMemory(peak.phase, peak.step, ours, theirs, spare)


def _workspaces(graph: Graph, recipe: Recipe, batch: int) -> Sequence[Term]:
    """Return what libraries may take beside the tensors on this card."""
    report = analyze(graph, batch, recipe.products, "train" if recipe.optimizer else "infer")
    try:
        card = find_card(torch.cuda.get_device_name())
    except ArchcalcError:
        card = None
    return workspace_terms(report, card, torch.__version__)


def _allocator_figures(trace: Trace, batch: int) -> Iterator[tuple[Peak, dict[str, int]]]:
    """Yield each phase with what its tensors request, and what the replayed allocator makes of it."""
    for peak, (most, _) in zip(trace.peaks(batch), replay(trace.requests(batch)), strict=True):
        figures = peak.peak, peak.end, most.allocated, most.reserved
        yield peak, dict(zip(COUNTS, figures, strict=True))


def measure_on_cuda(graph: Graph, recipe: Recipe, batch: int) -> Iterator[dict[str, int]]:
    """Run a network on CUDA; yield each phase's COUNTS, less what was allocated before."""
    torch.cuda.init()
    torch._C._cuda_clearCublasWorkspaces()
    torch.cuda.empty_cache()
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_stats()
    for _, _, work in Loop(graph, recipe, batch).phases():
        counts = metered(work)
        yield {figure: counts[key] - before[key] for figure, key in COUNTS.items()}
