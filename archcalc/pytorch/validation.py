"""Proving the figures: the same graph run in PyTorch, forward and backward, and every layer's figures compared."""

from __future__ import annotations

import gc
import time
from collections.abc import Iterator
from typing import Any

import torch

from archcalc.analysis.checks import Check, Validation
from archcalc.analysis.cost import DTYPES
from archcalc.analysis.report import Report, analyze, images
from archcalc.analysis.saved import held_bytes, saved_bytes
from archcalc.errors import ArchcalcError, choose
from archcalc.graph.batchnorm_folding import fold_batchnorm, folds
from archcalc.graph.graph import Graph, Node, require_graph
from archcalc.pytorch.device import needed_bytes, out_of_memory, pick, room
from archcalc.pytorch.fold_weights import apart, batchnorms, fold
from archcalc.pytorch.measure import Watched, uncounted
from archcalc.pytorch.network import Network

# How far a folded layer's output may be off in float64, relative to the largest value there or to a tenth of what goes
# in (see `folding.apart`). With the tenth it is 450,000 times float64's rounding of what goes in: ten times as much as
# a hundred roundings on the way, enlarged by a normalization of what cancels (1/√ε, 316).
TOLERANCE = 1e-9


def validate_or_say(
    graph: Graph, device: str = "auto", batch: int = 2, dtype: str = "float32", folded: bool = False
) -> Validation:
    """As `validate`, or with `folded` as `validate_folded`; what goes wrong is told as the validation's problem.

    What does not fit into memory runs on meta. Raises ArchcalcError for a device that is not there.
    """
    where, start = pick(device), time.perf_counter()
    compare = validate_folded if folded else validate
    gc.collect()  # what the network before has left
    need = 0
    try:
        need, free = needed_bytes(graph, batch, "float64" if folded else dtype), room(where)
        if free is None or need <= free:
            return compare(graph, where, batch, dtype)
        problem = f"on meta: it needs about {need / 2**30:.1f} GiB, and {free / 2**30:.1f} are free"
        return compare(graph, "meta", batch, dtype)._replace(problem=problem)
    except Exception as error:  # whatever it is, the next network goes on
        problem = f"out of memory; about {need / 2**30:.1f} GiB were foreseen" if out_of_memory(error) else told(error)
    return Validation(graph.name, where, batch, dtype, (), time.perf_counter() - start, problem)


def told(error: Exception) -> str:
    """An error as a problem: archcalc's own words, PyTorch's first line, or that it is a mistake of ours."""
    if isinstance(error, ArchcalcError):
        return str(error)
    if isinstance(error, LookupError | AttributeError | TypeError | AssertionError):
        return f"internal error, please report it: {type(error).__name__}: {error}"
    return f"PyTorch cannot run it: {str(error).partition(chr(10))[0]}"


def validate(graph: Graph, device: str = "auto", batch: int = 2, dtype: str = "float32") -> Validation:
    """Build a network, run it forward and backward in training mode, and compare every layer's figures.

    Of each layer the output's shape, the shapes of weights and buffers, and whether these get gradients; MACs of the
    forward pass; bytes written and saved for backward. Of the network params, buffers and the bytes that a forward pass
    leaves behind. `device` auto is CUDA where it is there, else the CPU; meta has shapes without values. Joins drop no
    branch. Raises ArchcalcError for a device that is not there, and for a network without a form in PyTorch.
    """
    where, start = pick(device), time.perf_counter()
    require_graph("validate", graph)
    batch = images(batch)
    choose("dtype", dtype, DTYPES)
    if graph.misfit:
        raise graph.misfit
    with torch.device(where):
        network = Watched(graph).to(getattr(torch, dtype))
        image = torch.rand(batch, *graph.input, dtype=getattr(torch, dtype), requires_grad=True)
    network.train()
    network.measure(image)
    report = analyze(graph, batch, dtype, "train")
    checks = tuple(_checks(network, report, where))
    seconds, left_out = time.perf_counter() - start, uncounted(report.layers)
    return Validation(graph.name, where, batch, dtype, checks, seconds, uncounted=left_out)


def validate_folded(graph: Graph, device: str = "auto", batch: int = 2, dtype: str = "float32") -> Validation:
    """As `validate` of the network with batch normalization folded, and that each layer computes what it did before.

    Both run in evaluation and float64, with He's weights, random scales and shifts, and the running statistics of
    random images; on the meta device there are no values to compare.
    """
    start = time.perf_counter()
    made = validate(fold_batchnorm(graph), device, batch, dtype)
    with torch.device(made.device):
        network = Network(graph.without_sides()).double()
    hosts, gone = folds(graph), batchnorms(network) - batchnorms(fold(network))
    checks = [*made.checks, Check("", "batch normalizations folded", len(hosts), gone)]
    remark = "" if hosts else "nothing to fold"
    if hosts and made.device == "meta":
        remark = "folded by shapes: meta has no values to compare"
    elif hosts:
        checks += [Check(layer, "off when folded", 0, off, TOLERANCE) for layer, off in apart(network, batch)]
    return made._replace(checks=tuple(checks), seconds=time.perf_counter() - start, remark=remark)


def _checks(network: Watched, report: Report, device: str) -> Iterator[Check]:
    graph, batch, dtype = report.graph, report.batch, report.dtype
    saved = saved_bytes(graph, batch, dtype, device)
    for i, (node, module) in list(enumerate(zip(graph.nodes, network.nodes, strict=True)))[1:]:
        layer = report.layers[i]
        without = [name for name, weight in module.named_parameters() if weight.grad is None]
        yield Check(node.name, "output", node.output, network.outputs.get(i))
        yield Check(node.name, "weights", node.op.weights(node.x), _shapes(module.named_parameters()))
        yield Check(node.name, "buffers", node.op.buffers(node.x), _shapes(module.named_buffers()))
        yield Check(node.name, "macs", _dense(node, layer.macs), network.macs.get(i))
        yield Check(node.name, "written bytes", layer.activations * DTYPES[dtype], network.written.get(i))
        yield Check(node.name, "saved bytes", saved[i], network.saved.get(i, 0))
        yield Check(node.name, "without gradient", [], without)
    totals, held = report.totals, held_bytes(graph, batch, dtype, device)
    yield Check("", "params", totals.params, sum(p.numel() for p in network.parameters()))
    yield Check("", "buffers", totals.buffers, sum(b.numel() for b in network.buffers()))
    yield Check("", "held bytes", held, network.held)
    if device == "cuda":
        yield Check("", "requested bytes grown", held, network.grown)


def _shapes(named: Any) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in named}


def _dense(node: Node, macs: int) -> int:
    """MACs as PyTorch runs them: a convolution by a connection table is a dense one with zeros."""
    connections = getattr(node.op, "connections", None)
    if connections is None:
        return macs
    links: int = node.x[0] * len(connections)
    return macs // sum(map(len, connections)) * links
