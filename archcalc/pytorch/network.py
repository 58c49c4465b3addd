"""Graph → nn.Module: the same network in PyTorch, module by module, named as its nodes."""

# mypy: allow-subclassing-any
# The type check needs no torch, so nn.Module is Any there.

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from functools import lru_cache
from types import CodeType
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from archcalc.analysis.memory_plan import in_place
from archcalc.errors import ArchcalcError, SpecError, shorten
from archcalc.graph.graph import About, Graph, Node, require_graph
from archcalc.ops import Operator
from archcalc.pytorch import layers
from archcalc.pytorch.initial_weights import WEIGHTED, initialization

NAMES = {"nn": nn, **vars(layers)}  # what operators' texts mention


class Training(NamedTuple):
    """What a network with side outputs gives in training: its result, and theirs by name."""

    result: Tensor
    sides: dict[str, Tensor]


class Step(NamedTuple):
    """One node as it is run: its position, those of its inputs, and whose values nobody needs afterwards."""

    position: int
    inputs: tuple[int, ...]
    done: tuple[int, ...]


class Block(nn.Module):
    """A module whose children may be called as its attributes, `training` among them."""

    def __setattr__(self, name: str, value: object) -> None:
        if isinstance(value, nn.Module):
            super().__setattr__(name, value)
        else:
            object.__setattr__(self, name, value)


class Network(Block):
    """A graph as a module. `forward` takes (batch, *input) and gives (batch, *output).

    In training a graph with side outputs gives `Training`. Each value is dropped after its last use, and operators work
    in place where `analysis.in_place` allows it. Keys of `state_dict()` are the names of the graph's nodes; a module
    that is put in a node's place runs instead.
    """

    def __init__(self, graph: Graph) -> None:
        super().__init__()
        self.graph = replace(graph, about=About(paper={}, params={}), related=None)  # the rest cannot be pickled
        self.paths = [tuple(node.name.split(".")) for node in graph.nodes]
        for node, path in zip(graph.nodes, self.paths, strict=True):
            _attach(self, path, _module(node))
        self.steps = {training: _steps(graph, training) for training in (True, False)}
        self.overwriting = {training: _overwriting(graph, training) for training in (True, False)}

    def forward(self, image: Tensor) -> Tensor | Training:
        """Runs the nodes in order."""
        self._settle()
        values = {0: image}
        for step in self.steps[self.training]:
            inputs = [values[i] for i in step.inputs]
            for i in step.done:
                del values[i]
            values[step.position] = self.run(step.position, inputs)
            del inputs
        result = values.pop(self.graph.result)
        if not (self.training and self.graph.sides):
            return result
        values = {i: values.get(i, result) for i in self.graph.sides}
        return Training(result, {self.graph.nodes[i].name: value for i, value in values.items()})

    def run(self, position: int, inputs: list[Tensor]) -> Tensor:
        """One node's module on its inputs; a subclass may look at both."""
        output: Tensor = self.node(position)(*inputs)
        return output

    def node(self, position: int) -> nn.Module:
        """The module that stands for a node of the graph. Its name may be that of an attribute, such as `forward`."""
        module: nn.Module = self
        for name in self.paths[position]:
            module = module._modules[name]
        return module

    @property
    def nodes(self) -> list[nn.Module]:
        """The modules in the order of the graph's nodes."""
        return [self.node(position) for position in range(len(self.paths))]

    def _settle(self) -> None:
        """Lets operators work in place where that is right.

        With gradients in evaluation, or where some modules train and others do not, it is right nowhere: dropout may
        then give its very input, which backward or somebody else needs.
        """
        known = all(module.training == self.training for module in self.nodes)
        known = known and (self.training or not torch.is_grad_enabled())
        for position, overwrites in self.overwriting[self.training].items():
            self.node(position).inplace = overwrites and known


def build(graph: Graph, device: str | torch.device | None = None, dtype: torch.dtype | None = None) -> Network:
    """The network in PyTorch, with its weights initialised as the spec's recipe says, else as PyTorch does.

    On any device, `meta` included; without one where PyTorch would make it now. Raises SpecError for a side output that
    does not take the graph's input, and for an operator without a module.
    """
    require_graph("build", graph)
    if not isinstance(dtype, torch.dtype | None):
        raise ArchcalcError(f"build needs a dtype such as torch.float32, not {shorten(repr(dtype))}")
    if graph.misfit:
        raise graph.misfit
    with nullcontext() if device is None else torch.device(device):
        network = Network(graph)
    rule = initialization(graph)
    for node, module in zip(graph.nodes, network.nodes, strict=True):
        if rule and isinstance(module, WEIGHTED):
            rule.apply(node.name, module)
    return network if dtype is None else network.to(dtype)


def module_of(op: Operator, x: Any) -> nn.Module:
    """An operator's module for an input of shape `x`. Raises NotImplementedError for an operator without one."""
    names = {"in_channels": x[0], "in_features": x[-1], "in_shape": x} if x else {}
    made: nn.Module = eval(_compiled(op.pytorch(x)), NAMES, names | vars(op))  # an operator's own text
    return made


@lru_cache(maxsize=256)
def _compiled(text: str) -> CodeType:
    return compile(text, "<operator>", "eval")


def _module(node: Node) -> nn.Module:
    try:
        return module_of(node.op, node.x)
    except NotImplementedError as error:
        raise SpecError(f"{node.name}: {error}", node.place) from None


def _attach(root: nn.Module, path: Sequence[str], module: nn.Module) -> None:
    """Puts a module into the tree at a path. Names that a module has as attributes are no hindrance."""
    *blocks, own = path
    for block in blocks:
        root = root._modules.setdefault(block, Block())
    root._modules[own] = module


def _steps(graph: Graph, training: bool) -> list[Step]:
    kept = [i for i, node in enumerate(graph.nodes) if i and (training or not node.side)]
    last = {j: i for i in kept for j in graph.nodes[i].inputs}
    last |= dict.fromkeys((graph.result, *(graph.sides if training else ())), len(graph.nodes))
    steps = []
    for i in kept:
        inputs = graph.nodes[i].inputs
        steps.append(Step(i, inputs, tuple({j for j in inputs if last[j] == i})))
    return steps


def _overwriting(graph: Graph, training: bool) -> dict[int, bool]:
    """By position, whether an operator that can work in place may do so."""
    ran = graph if training else graph.without_sides()
    allowed = dict(zip([node.name for node in ran.nodes], in_place(ran, training), strict=True))
    return {
        i: allowed.get(node.name, False)
        for i, node in enumerate(graph.nodes)
        if node.op.overwrites(True) or node.op.overwrites(False)
    }
