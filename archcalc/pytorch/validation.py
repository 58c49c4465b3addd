"""Validate the figures: run the graph in PyTorch, forward and backward, and compare the figures of every layer."""

from __future__ import annotations

import gc
import time
from collections.abc import Iterator
from contextlib import nullcontext
from typing import Any

import torch

from archcalc.analysis.cost import DTYPES
from archcalc.analysis.measured import Check, Validation
from archcalc.analysis.report import Report, analyze, images
from archcalc.analysis.saved import held_bytes, saved_bytes, unknown_memory
from archcalc.errors import ArchcalcError, choose
from archcalc.graph.batchnorm_folding import fold_batchnorm, folds
from archcalc.graph.graph import Graph, Node, require_graph
from archcalc.pytorch.device import needed_bytes, out_of_memory, pick, room
from archcalc.pytorch.fold_weights import batchnorms, differences, fold
from archcalc.pytorch.inputs import random_inputs
from archcalc.pytorch.measure import Watched, uncounted
from archcalc.pytorch.meta_kernels import MetaKernels
from archcalc.pytorch.network import Network

# Largest difference of a folded layer's output in float64, relative to its largest value or to a tenth of its largest
# input (see `fold_weights.differences`). A tenth of the input times this is 450,000 roundings of it in float64: ten
# times the error of a hundred roundings that a normalization of cancelling values enlarges by 1/√ε = 316.
TOLERANCE = 1e-9


def validate_or_say(
    graph: Graph, device: str = "auto", batch: int = 2, dtype: str = "float32", folded: bool = False
) -> Validation:
    """Like `validate`, or with `folded` `validate_folded`; errors are returned in `Validation.problem`, not raised.

    A network that does not fit into memory runs on meta. Raises ArchcalcError for a device that is not available.
    """
    where, start = pick(device), time.perf_counter()
    compare = validate_folded if folded else validate
    gc.collect()  # what the previous network left
    need = 0
    try:
        need, free = needed_bytes(graph, batch, "float64" if folded else dtype), room(where)
        if free is None or need <= free:
            return compare(graph, where, batch, dtype)
        problem = f"ran on meta: it needs about {need / 2**30:.1f} GiB, but {free / 2**30:.1f} GiB are free"
        return compare(graph, "meta", batch, dtype)._replace(problem=problem)
    except Exception as error:  # any error: the next network must still run
        problem = f"out of memory; the estimate was {need / 2**30:.1f} GiB" if out_of_memory(error) else describe(error)
    return Validation(graph.name, where, batch, dtype, (), time.perf_counter() - start, problem)


def describe(error: Exception) -> str:
    """The text of an error: archcalc's message, PyTorch's first line, or an internal error."""
    if isinstance(error, ArchcalcError):
        return str(error)
    if isinstance(error, LookupError | AttributeError | TypeError | AssertionError):
        return f"internal error, please report it: {type(error).__name__}: {error}"
    return f"PyTorch cannot run it: {str(error).partition(chr(10))[0]}"


def validate(graph: Graph, device: str = "auto", batch: int = 2, dtype: str = "float32") -> Validation:
    """Build a network, run it forward and backward in training mode, and compare every layer's figures.

    For each layer: shapes of output, weights and buffers, which weights get gradients, MACs of the forward pass, bytes
    written and bytes saved for backward. For the network: params, buffers, and the bytes that are alive after a forward
    pass. `device` auto is CUDA if available, else the CPU; meta has shapes without values. Joins drop no branch. Raises
    ArchcalcError if the device is not available, or the network cannot be built in PyTorch.
    """
    where, start = pick(device), time.perf_counter()
    require_graph("validate", graph)
    batch = images(batch)
    choose("dtype", dtype, DTYPES)
    if graph.misfit:
        raise graph.misfit
    with torch.device(where):
        network = Watched(graph).to(getattr(torch, dtype))
        inputs = random_inputs(graph, batch, getattr(torch, dtype))
        for image in inputs:
            image.requires_grad_(image.is_floating_point())
    network.train()
    with MetaKernels() if where == "meta" else nullcontext():
        network.measure(inputs)
    report = analyze(graph, batch, dtype, "train")
    checks = tuple(_checks(network, report, where))
    seconds, left_out = time.perf_counter() - start, uncounted(report.layers)
    layer = unknown_memory(graph)
    remark = f"memory not compared: what {layer} keeps is unknown" if layer else ""
    return Validation(graph.name, where, batch, dtype, checks, seconds, remark=remark, uncounted=left_out)


def validate_folded(graph: Graph, device: str = "auto", batch: int = 2, dtype: str = "float32") -> Validation:
    """Like `validate` for the network with batch normalization folded; compare outputs before and after, too.

    Both run in evaluation and float64, with weights by He's rule, random scales and shifts, and running statistics of
    random images. On meta there are no values to compare.
    """
    start = time.perf_counter()
    made = validate(fold_batchnorm(graph), device, batch, dtype)
    with torch.device(made.device):
        network = Network(graph.without_sides()).double()
    hosts, gone = folds(graph), batchnorms(network) - batchnorms(fold(network))
    checks = [*made.checks, Check("", "batch normalizations folded", len(hosts), gone)]
    remark = "" if hosts else "nothing to fold"
    if hosts and made.device == "meta":
        remark = "folded, shapes only: meta has no values to compare"
    elif hosts:
        checks += [Check(layer, "off when folded", 0, off, TOLERANCE) for layer, off in differences(network, batch)]
    return made._replace(checks=tuple(checks), seconds=time.perf_counter() - start, remark=remark)


def _checks(network: Watched, report: Report, device: str) -> Iterator[Check]:
    graph, batch, dtype = report.graph, report.batch, report.dtype
    known = not unknown_memory(graph)
    saved = saved_bytes(graph, batch, dtype, device) if known else []
    for i, (node, module) in list(enumerate(zip(graph.nodes, network.nodes, strict=True)))[len(graph.inputs) :]:
        layer, own = report.layers[i], not node.shared or node.shared.tensor
        without = [name for name, weight in module.named_parameters() if weight.grad is None]
        yield Check(node.name, "output", node.output, network.outputs.get(i))
        yield Check(node.name, "weights", node.weights(), _shapes(module.named_parameters() if own else ()))
        yield Check(node.name, "buffers", node.buffers(), _shapes(module.named_buffers() if own else ()))
        yield Check(node.name, "macs", _dense(node, layer.macs), network.macs.get(i))
        yield Check(node.name, "written bytes", layer.activations * DTYPES[dtype], network.written.get(i))
        if known:
            yield Check(node.name, "saved bytes", saved[i], network.saved.get(i, 0))
        yield Check(node.name, "without gradient", [], without)
    totals = report.totals
    yield Check("", "params", totals.params, sum(p.numel() for p in network.parameters()))
    yield Check("", "buffers", totals.buffers, sum(b.numel() for b in network.buffers()))
    if not known:
        return
    held = held_bytes(graph, batch, dtype, device)
    yield Check("", "held bytes", held, network.held)
    if device == "cuda":
        yield Check("", "requested bytes grown", held, network.grown)


def _shapes(named: Any) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in named}


def _dense(node: Node, macs: int) -> int:
    """MACs as PyTorch counts them: a convolution with a connection table runs as a dense one with zeros."""
    connections = getattr(node.op, "connections", None)
    if connections is None:
        return macs
    links: int = node.x.channels * len(connections)
    return macs // sum(map(len, connections)) * links
