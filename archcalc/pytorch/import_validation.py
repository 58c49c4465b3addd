"""Validate an imported network: run the module itself and compare what PyTorch counts of it with the graph's totals."""

from __future__ import annotations

import io
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, redirect_stdout
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.utils._pytree import tree_leaves

from archcalc.analysis.at_least import AtLeast
from archcalc.analysis.measured import Check, Validation
from archcalc.analysis.report import Report, analyze
from archcalc.analysis.saved import saved_bytes, unknown_memory
from archcalc.errors import ArchcalcError
from archcalc.graph.graph import Graph
from archcalc.pytorch.measure import Storages, counted_kernels, flop_counter
from archcalc.pytorch.meta_kernels import MetaKernels

Inputs = tuple[tuple[Any, ...], dict[str, Any]]  # by position, and by name


def import_or_say(
    graph: Graph, made: Callable[[int], tuple[nn.Module, Inputs]], batch: int, device: str = "meta"
) -> Validation:
    """Compare a graph with the module that `made` gives for a batch; errors are in `Validation.problem`."""
    start = time.perf_counter()
    checks: tuple[Check, ...] = ()
    problem, remark, dtype = "", "", "float32"
    try:
        module, (args, named) = made(batch)
        module.to(device)
        dtype = graph.about.dtype
        known = not (graph.misfit or unknown_memory(graph))
        saved = sum(saved_bytes(graph, batch, dtype, device)) if known else None
        with MetaKernels() if device == "meta" else nullcontext(), torch.device(device), _silent(), _layer_by_layer():
            checks = tuple(_checks(module, args, named, analyze(graph, batch), saved))
        unknown = [figure for figure in ("macs", "saved_bytes") if not any(check.figure == figure for check in checks)]
        remark = f"not compared, since archcalc has no rule: {', '.join(unknown)}" if unknown else ""
    except Exception as error:  # any error: the next network must still run
        problem = _problem(error, device)
    return Validation(graph.name, device, batch, dtype, checks, time.perf_counter() - start, problem, remark)


def _problem(error: Exception, device: str) -> str:
    """Return why a module cannot run: its own code may raise anything."""
    if isinstance(error, ArchcalcError):
        return str(error)
    text = ": ".join(filter(None, (type(error).__name__, str(error).partition("\n")[0].rstrip("."))))
    hint = "; --run validates it on real tensors" * (device == "meta" and "meta" in text)
    return f"the module cannot run: {text}{hint}"


@contextmanager
def _silent() -> Iterator[None]:
    """Drop what the module prints and warns of: it did so when it was imported."""
    with redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@contextmanager
def _layer_by_layer() -> Iterator[None]:
    """Run transformers as training does: their fast path in evaluation counts nothing, and does not run on meta."""
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)


def _checks(
    module: nn.Module, args: tuple[Any, ...], named: dict[str, Any], report: Report, saved: int | None
) -> Iterator[Check]:
    params, macs = analyze(report.graph, mode="train").totals.params, report.totals.macs  # with side outputs
    yield Check("", "params", params, sum(weight.numel() for weight in module.parameters()))
    if macs is not None and not isinstance(macs, AtLeast):
        yield Check("", "macs", macs, _macs(module, args, named, report.graph))
    if saved is not None:
        yield Check("", "saved_bytes", saved, _saved(module, args, named))


def _macs(module: nn.Module, args: tuple[Any, ...], named: dict[str, Any], graph: Graph) -> int:
    """MACs of a forward pass in evaluation; gradients would make PyTorch's counter fail on some networks."""
    operators = [node.op for node in graph.nodes]
    trained = [weight for weight in module.parameters() if weight.requires_grad]
    module.requires_grad_(False)
    with torch.no_grad(), counted_kernels(operators), flop_counter() as counter:
        module.eval()(*args, **named)
    for weight in trained:
        weight.requires_grad_(True)
    return int(counter.get_total_flops()) // 2


def _saved(module: nn.Module, args: tuple[Any, ...], named: dict[str, Any]) -> int:
    """Bytes of storages that a forward pass in training keeps for backward, without weights and buffers."""
    known, kept = Storages([*module.parameters(), *module.buffers()]), [0]
    for tensor in tree_leaves((args, named)):
        if isinstance(tensor, Tensor) and tensor.is_floating_point():
            tensor.requires_grad_(True)

    def keep(tensor: Tensor) -> Tensor:
        kept[0] += known.add(tensor)
        return tensor

    with torch.enable_grad(), saved_tensors_hooks(keep, lambda tensor: tensor):
        result = module.train()(*args, **named)
    del result
    return kept[0]
