"""Prove that exported source computes the same as the network: run both and compare them operation by operation."""

from __future__ import annotations

import ast
import time
from collections.abc import Callable, Iterator
from itertools import zip_longest
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from archcalc.analysis.measured import Check, Validation
from archcalc.graph.graph import Graph
from archcalc.pytorch.inputs import random_inputs
from archcalc.pytorch.network import Network, Result, build, ends_of
from archcalc.pytorch.operations import Operations
from archcalc.pytorch.validation import describe

BATCH = 2


class Record(NamedTuple):
    """The record of one run: layers in order with the numbers of their outputs, and the numbers of all operations."""

    layers: list[tuple[str, int]]
    computed: set[int]
    given: list[int]
    state: list[int]  # weights and buffers after the run
    problem: str = ""  # why it stopped


def source_or_say(graph: Graph, write: Callable[[Graph], str]) -> Validation:
    """Like `validate_source` for what `write` gives; errors are returned in `Validation.problem`, not raised."""
    start = time.perf_counter()
    try:
        return validate_source(graph, write(graph))
    except Exception as error:  # any error: the next network must still run
        return Validation(graph.name, "meta", BATCH, "float32", (), time.perf_counter() - start, describe(error))


def validate_source(graph: Graph, text: str) -> Validation:
    """Run a network's source and the network of `build` on meta, in evaluation and training; compare each layer.

    `text` is executed: it must come from archcalc. Layers are compared by all operations that lead to their output; the
    first one that differs is where the source is wrong. Weights are paired by their order.
    """
    start = time.perf_counter()
    with torch.device("meta"):
        network, own = build(graph, "meta"), run_source(text)()
    checks = list(_weights(graph, network, own))
    if all(check.equal for check in checks):
        operations = Operations()
        for training in (False, True):
            runs = [_run(operations, made, graph, training) for made in (network, own)]
            checks += _compared(graph, training, *runs)
    seconds = time.perf_counter() - start
    return Validation(
        graph.name, "meta", BATCH, "float32", tuple(checks), seconds, remark="source, operations compared"
    )


def run_source(text: str) -> Any:
    """Execute the source of a network and return its class."""
    tree = ast.parse(text)
    space: dict[str, Any] = {"__name__": "generated"}
    exec(compile(tree, "generated", "exec"), space)  # archcalc wrote this text
    return space[[node.name for node in tree.body if isinstance(node, ast.ClassDef)][-1]]


def _run(operations: Operations, network: nn.Module, graph: Graph, training: bool) -> Record:
    """Run a network on meta; number parameters and buffers by their position."""
    operations.seen = set()
    kept = list(network.state_dict(keep_vars=True).values())
    for place, tensor in enumerate(kept):
        operations.note(tensor, operations.number("kept", place))
    images = random_inputs(graph, BATCH, device="meta")
    for place, image in enumerate(images):
        operations.note(image, operations.number("image", place))
    layers: list[tuple[str, int]] = []

    def ran(module: nn.Module, x: Any, y: Result) -> None:
        if isinstance(y, Tensor):  # a network with several outputs is no layer
            layers.append((repr(module), operations.read(y)))

    leaves = network.nodes[len(graph.inputs) :] if isinstance(network, Network) else network.modules()
    hooks = [leaf.register_forward_hook(ran) for leaf in dict.fromkeys(leaves)]  # a shared layer is there twice
    torch.manual_seed(1)
    given: tuple[Tensor, ...] = ()
    problem = ""
    try:
        with torch.no_grad(), operations:
            given = ends_of(network.train(training)(*images))
    except Exception as error:  # a wrong source may raise anything
        problem = f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"
    for hook in hooks:
        hook.remove()
    numbers, left = (list(map(operations.read, tensors)) for tensors in (given, kept))
    return Record(layers, operations.seen, numbers, left, problem)


def _compared(graph: Graph, training: bool, built: Record, own: Record) -> Iterator[Check]:
    """Yield a check for each layer, up to the first that differs; then checks of the results and the state."""
    other = next((module for module, number in own.layers if number not in built.computed), own.problem)
    mode, nodes = "training", graph.nodes[len(graph.inputs) :]
    if not training:
        mode, nodes = "evaluation", tuple(node for node in nodes if not node.side)
    for node, (module, number) in zip(nodes, built.layers, strict=True):
        equal = number in own.computed
        yield Check(node.name, f"computes in {mode}", module, module if equal else _unlike(module, other))
        if not equal:
            return
    yield Check("", "results", built.given, own.given)
    yield Check("", "weights and buffers after the run", built.state, own.state)


def _unlike(module: str, other: str) -> str:
    """Describe what the source computes instead of a layer; it may be the same layer with another input."""
    return other if other and other != module else f"{module} with another input"


def _weights(graph: Graph, built: nn.Module, own: nn.Module) -> Iterator[Check]:
    """Yield a check for each weight and buffer in order, up to the first that differs."""
    owners = [node.name for node in graph.nodes for _ in (*node.weights(), *node.buffers())]
    for layer, expected, found in zip_longest(owners, _kept(built), _kept(own)):
        yield Check(layer or "", "weights in order", expected or {}, found or {})
        if expected != found:
            return


def _kept(network: nn.Module) -> list[dict[str, tuple[int, ...]]]:
    """Parameters and buffers in order: their names within their layers, and their shapes."""
    return [{key.rpartition(".")[2]: tuple(value.shape)} for key, value in network.state_dict().items()]
