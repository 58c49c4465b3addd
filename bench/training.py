"""Measure one training with the CUDA allocator: counts for each phase and, in a trace, every event.

`bench/recording.py` runs each case in a separate process; this module is the work of that process.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from itertools import accumulate, count, cycle, islice
from typing import Any, NamedTuple

import gpu
import torch
from torch import nn
from torch.profiler import ProfilerActivity, profile
from torchvision_weights import graph_of, module_of

from archcalc import Graph, load
from archcalc.analysis.recipe import Recipe
from archcalc.pytorch.device import metered
from archcalc.pytorch.training_memory import OPTIMIZERS, Loop, own_network

STEPS = 3
COUNTS = {  # with the allocator's names; a record has the peak of each in a phase, and its value at the end
    "requested": "requested_bytes",
    "allocated": "allocated_bytes",
    "reserved": "reserved_bytes",
    "segments": "segment",
}
COLUMNS = [f"{name} {kind}" for name in COUNTS for kind in ("peak", "end")]
OPTIONS = {  # optional changes of a case
    "loop": "the optimizer's plain loop, foreach=False",
    "fused": "the optimizer's fused kernel, fused=True",
    "accumulate": "forward and backward twice before the optimizer steps",
    "smoothing": "label smoothing of 0.1",
    "benchmark": "cudnn.benchmark",
    "deterministic": "cudnn.deterministic",
    "no-tf32": "without TF32 in cuDNN",
    "weights": "only move the weights to the device",
}
ACTIONS = {  # a letter for each event of the allocator
    "alloc": "a",
    "free_requested": "f",
    "free_completed": "F",
    "segment_alloc": "s",
    "segment_free": "x",
    "oom": "o",
}


class Case(NamedTuple):
    """What to train, and how."""

    network: str
    module: str = "build"  # archcalc's own, or the hand-written one of "torchvision"
    batch: int = 32
    optimizer: str = "momentum"  # "none": inference only
    weight_decay: float = 0
    precision: str = "float32"  # of the weights; or "autocast", to bfloat16
    options: tuple[str, ...] = ()
    cap: int = 0  # bytes that the allocator may take in total

    @property
    def title(self) -> str:
        """All fields in one line."""
        parts = [self.network, self.module if self.module != "build" else "", f"b{self.batch}", self.optimizer]
        parts += [f"wd{self.weight_decay:g}" if self.weight_decay else "", self.precision, *self.options]
        return " ".join(filter(None, [*parts, f"cap{self.cap / 2**30:g}GiB" if self.cap else ""]))


class CaseLoop(Loop):
    """The training loop of a case; the weights are a phase of their own."""

    def __init__(self, case: Case, device: str) -> None:
        torch.manual_seed(0)
        torch.backends.cudnn.benchmark = "benchmark" in case.options
        torch.backends.cudnn.deterministic = "deterministic" in case.options
        torch.backends.cudnn.allow_tf32 = "no-tf32" not in case.options
        self.case, by_hand = case, case.module == "torchvision"
        recipe = Recipe(
            case.optimizer.replace("none", ""),
            case.weight_decay > 0,
            False if "loop" in case.options else None,
            "float32" if case.precision == "autocast" else case.precision,
            device,
            STEPS,
            "smoothing" in case.options,
            2 if "accumulate" in case.options else 1,
            amp=case.precision == "autocast",
        )
        graph = graph_of(case.network) if by_hand else load(case.network)
        super().__init__(graph, recipe, case.batch, written if by_hand else own_network)

    def rest(self) -> None:
        """Create optimizer, image and target."""
        super().rest()
        if "fused" in self.case.options:
            make = OPTIMIZERS[self.case.optimizer]
            self.optimizer = make(self.network.parameters(), weight_decay=self.case.weight_decay, fused=True)

    def named_phases(self) -> Iterator[tuple[str, Callable[[], None]]]:
        """Yield all phases in order; with two batches per step, `a` and `b`."""
        yield "weights", self.weights
        if "weights" in self.case.options:
            return
        yield "state", self.rest
        parts = cycle("aabb" if self.recipe.accumulate > 1 else [""])
        for phase, step, work in islice(self.phases(), 1, None):
            yield f"{phase}{step or ''}{next(parts) if phase in ('forward', 'backward') else ''}", work


def written(graph: Graph, recipe: Recipe) -> nn.Module:
    """Create torchvision's module of a network and move it to the device."""
    return module_of(graph).to(recipe.device)


def counts(stats: dict[str, int]) -> list[int]:
    """Return for each count of the allocator its peak since the last reset, and its current value (COLUMNS)."""
    return [stats[f"{key}.all.{kind}"] for key in COUNTS.values() for kind in ("peak", "current")]


def protocol(case: Case, device: str, after: Callable[[str], None] = lambda phase: None) -> dict[str, Any]:
    """Run a case phase by phase; return counts and the problem that stopped it. Call `after` after each phase."""
    made: dict[str, Any] = {**case._asdict(), "problem": "", "phases": {}}
    cuda, start, phase = device == "cuda", time.perf_counter(), ""
    try:
        if cuda:
            made["cap"] = gpu.cap(case.cap)
        for phase, work in CaseLoop(case, device).named_phases():
            if cuda:
                made["phases"][phase] = counts(metered(work))
            else:
                work()
            after(phase)
    except Exception as error:  # any error: the next case must still run
        line = f"{phase}: {type(error).__name__}: {error}".partition("\n")[0]
        made["problem"] = line.partition(" GPU 0 has")[0]  # omit the memory of other processes
    if cuda:
        stats = torch.cuda.memory_stats()
        made["retries"], made["failures"] = stats.get("num_alloc_retries", 0), stats.get("num_ooms", 0)
    made["seconds"] = round(time.perf_counter() - start, 2)
    return made


def trace(case: Case, device: str) -> dict[str, Any]:
    """Run a case; return it with each event of the allocator and, without a cap, the operators that allocate."""
    marks: dict[str, int] = {}
    if device == "cuda":
        torch.cuda.init()
        torch.cuda.memory._record_memory_history("all", context=None, stacks="python", max_entries=10_000_000)

    def mark(phase: str) -> None:
        if device == "cuda":
            marks[phase] = len(torch.cuda.memory._snapshot()["device_traces"][0])

    with nullcontext() if case.cap else profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiled:
        made = protocol(case, device, mark)
    snapshot = torch.cuda.memory._snapshot() if device == "cuda" else {"device_traces": [[]], "segments": []}
    return {"case": made, **events(snapshot, marks, operators(profiled, device) if profiled else [])}


def events(snapshot: dict[str, Any], marks: dict[str, int], allocating: list[tuple[str, str]]) -> dict[str, Any]:
    """Return the allocator's events in columns: action, bytes, place, and for an allocation its operator.

    A place is the number of a segment and an offset in it; -1 if there is none. `segments` lists address (relative to
    the lowest one) and bytes of each number. An operator is an index of `operators`, a list of pairs of the outermost
    and the innermost operator; -1 if unknown. `marks` is the number of events at the end of each phase. `layout` is the
    content of the segments at the end: bytes, requested bytes and state of each block.
    """
    happened = [event for event in snapshot["device_traces"][0] if event["action"] != "snapshot"]
    skipped = list(accumulate(event["action"] == "snapshot" for event in snapshot["device_traces"][0]))
    marks = {phase: end - skipped[end - 1] for phase, end in marks.items()}
    made = [event for event in happened if event["action"] == "segment_alloc"]
    lowest = min((event["addr"] for event in made), default=0)
    numbers, asked, named = count(), iter(allocating), dict[tuple[str, str], int]()
    live = dict[int, tuple[int, int]]()  # segments by address: number and bytes
    rows = []
    for event in happened:
        action, address, size = event["action"], event.get("addr", -1), event["size"]
        if action == "segment_alloc":
            live[address] = next(numbers), size
        number, offset = _place(live, address)
        if action == "segment_free":
            del live[address]
        operator = next(asked, None) if action == "alloc" else None
        rows.append((ACTIONS[action], size, number, offset, named.setdefault(operator, len(named)) if operator else -1))
    actions, *columns = zip(*rows, strict=True) if rows else [()] * 5
    return {
        "marks": marks,
        "segments": [[event["addr"] - lowest, event["size"]] for event in made],
        "operators": list(named),
        "action": "".join(actions),
        **dict(zip(("bytes", "segment", "offset", "operator"), columns, strict=True)),
        "layout": [
            {
                "segment": _place(live, segment["address"])[0],
                "blocks": [[block["size"], block["requested_size"], block["state"]] for block in segment["blocks"]],
            }
            for segment in snapshot["segments"]
        ],
    }


def _place(segments: dict[int, tuple[int, int]], address: int) -> tuple[int, int]:
    """Return the number of an address's segment, and the offset in it."""
    inside = ((number, address - start) for start, (number, size) in segments.items() if 0 <= address - start < size)
    return next(inside, (-1, -1))


def operators(profiled: profile, device: str) -> list[tuple[str, str]]:
    """Return for each allocation, in order, the outermost operator and the innermost one."""
    found: list[tuple[int, str, str]] = []
    stack = [(event, "", "") for event in profiled.profiler.kineto_results.experimental_event_tree()]
    while stack:
        event, outer, inner = stack.pop()
        if event.tag.name != "Allocation":
            stack += [(child, outer or event.name, event.name) for child in event.children]
        elif event.typed[1].device.type == device and event.typed[1].alloc_size > 0:
            found.append((event.start_time_ns, outer, inner))
    return [(outer, inner) for _, outer, inner in sorted(found, key=lambda entry: entry[0])]
