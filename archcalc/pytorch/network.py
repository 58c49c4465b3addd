"""Build a graph as an nn.Module, with one module per node and the names of the nodes."""

# mypy: allow-subclassing-any
# The type check needs no torch, so nn.Module is Any there.

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from functools import lru_cache
from types import CodeType
from typing import Any, NamedTuple, TypeAlias

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from archcalc.analysis.checkpoints import reading_entries, segments
from archcalc.analysis.memory_plan import in_place
from archcalc.errors import ArchcalcError, SpecError, shorten
from archcalc.graph.graph import Graph, Node, require_graph
from archcalc.ops import Operator
from archcalc.pytorch import layers, layout_layers, token_layers, window_layers
from archcalc.pytorch.initial_weights import WEIGHTED, read_rule

LAYERS = layers, layout_layers, token_layers, window_layers
NAMES = {"nn": nn} | {name: layer for file in LAYERS for name, layer in vars(file).items()}  # in operators' texts


Result: TypeAlias = Tensor | tuple[Tensor, ...]  # one output, or all in order


class Training(NamedTuple):
    """The output of a network with side outputs in training: its result, and the side outputs by name."""

    result: Result
    sides: dict[str, Tensor]


def ends_of(output: Any) -> tuple[Tensor, ...]:
    """Return all outputs and side outputs of what a network returns, in order."""
    if isinstance(output, Training):
        return (*ends_of(output.result), *output.sides.values())
    return tuple([end for end in output if end is not None]) if isinstance(output, tuple) else (output,)


class Step(NamedTuple):
    """How to run one node: its position, its inputs' positions, and those whose values can be freed after it."""

    position: int
    inputs: tuple[int, ...]
    done: tuple[int, ...]


class Container(nn.Module):
    """A module whose children may have the names of its attributes, such as `training`."""

    def __setattr__(self, name: str, value: object) -> None:
        if isinstance(value, nn.Module):
            super().__setattr__(name, value)
        else:
            object.__setattr__(self, name, value)


class Network(Container):
    """A graph as a module. `forward` takes (batch, *input) for each input and returns (batch, *output).

    A graph with several outputs returns a tuple, and in training one with side outputs returns `Training`. Layers that
    share weights run with the module of the first one, or with its weight.

    Each value is freed after its last use, and operators work in place where `analysis.memory_plan.in_place` allows it.
    Keys of `state_dict()` start with the names of the graph's nodes; a module that replaces a node's module runs
    instead of it.
    """

    def __init__(self, graph: Graph) -> None:
        super().__init__()
        self.graph = graph
        self.paths = [tuple(node.name.split(".")) for node in graph.nodes]
        for node, path in zip(graph.nodes, self.paths, strict=True):
            if node.shared is None or node.shared.tensor:
                _attach(self, path, _module(node))
        self.steps = {training: _steps(graph, training) for training in (True, False)}
        self.overwriting = {training: _overwriting(graph, training) for training in (True, False)}

    def forward(self, *images: Tensor) -> Result | Training:
        self._settle()
        values = dict(enumerate(images))
        self.run_steps(self.steps[self.training], values)
        results = tuple([values[i] for i in self.graph.results])
        result = results if len(results) > 1 else results[0]
        if not (self.training and self.graph.sides):
            return result
        return Training(result, {self.graph.nodes[i].name: values[i] for i in self.graph.sides})

    def run_steps(self, steps: Sequence[Step], values: dict[int, Tensor]) -> None:
        """Run steps; add their values, and remove those that nothing reads after them."""
        for step in steps:
            inputs = [values[i] for i in step.inputs]
            for i in step.done:
                del values[i]
            values[step.position] = self.run(step.position, inputs)
            del inputs

    def run(self, position: int, inputs: list[Tensor]) -> Tensor:
        """Run the module of one node; subclasses may inspect its inputs and output."""
        tie = self.graph.tie(self.graph.nodes[position])
        weights = [self.node(tie.node).weight] if tie else []
        output: Tensor = self.node(position)(*inputs, *weights)
        return output

    def node(self, position: int) -> nn.Module:
        """Return the module that runs for a node. Its name may be that of an attribute, such as `forward`."""
        shared = self.graph.nodes[position].shared
        module: nn.Module = self
        for name in self.paths[shared.node if shared and not shared.tensor else position]:
            module = module._modules[name]
        return module

    @property
    def nodes(self) -> list[nn.Module]:
        """The modules in the order of the graph's nodes."""
        return [self.node(position) for position in range(len(self.paths))]

    def _settle(self) -> None:
        """Let operators work in place where that is correct.

        It is never correct with gradients in evaluation, nor if only some modules train: dropout may then return its
        input itself, which backward or another layer needs.
        """
        known = all(module.training == self.training for module in self.nodes)
        known = known and (self.training or not torch.is_grad_enabled())
        for position, overwrites in self.overwriting[self.training].items():
            self.node(position).inplace = overwrites and known


class Checkpointed(Network):
    """A network some of whose blocks keep only their input in training, and run again in backward.

    Raises ArchcalcError if a block has several inputs or outputs.
    """

    def __init__(self, graph: Graph, blocks: Sequence[str]) -> None:
        super().__init__(graph)
        self.segments = segments(graph, blocks)
        self.overwriting[True] |= dict.fromkeys(
            reading_entries(graph, self.segments) & self.overwriting[True].keys(), False
        )

    def run_steps(self, steps: Sequence[Step], values: dict[int, Tensor]) -> None:
        if not (self.training and torch.is_grad_enabled()):
            return super().run_steps(steps, values)
        position = 0
        while position < len(steps):
            part = self.segments.get(steps[position].position)
            of_part = steps[position : position + (len(part.nodes) if part else 1)]
            if part is None:
                super().run_steps(of_part, values)
            else:
                value = values[part.entry]
                if any(part.entry in step.done for step in of_part):
                    del values[part.entry]
                values[part.nodes[-1]] = checkpoint(self._run_part, of_part, part.entry, value, use_reentrant=False)
                del value
            position += len(of_part)
        return None

    def _run_part(self, steps: Sequence[Step], entry: int, value: Tensor) -> Tensor:
        values = {entry: value}
        super().run_steps(steps, values)
        return values.pop(steps[-1].position)


def build(
    graph: Graph, device: str | torch.device | None = None, dtype: torch.dtype | None = None, initialization: str = ""
) -> Network:
    """Build a network in PyTorch. `device` may be `meta`; without one it is PyTorch's current default.

    `initialization` says how to draw weights, in the words of training recipes: `He`, `Xavier`, `normal 0.01` or
    `uniform 2.4 / fan-in`, perhaps with `; biases 1 in fc6, fc7`. Without it PyTorch draws them. Raises ArchcalcError
    for another text, and SpecError if a side output does not fit the graph's input, or an operator has no module.
    """
    require_graph("build", graph)
    if not isinstance(dtype, torch.dtype | None):
        raise ArchcalcError(f"build needs a dtype such as torch.float32, not {shorten(repr(dtype))}")
    if graph.misfit:
        raise graph.misfit
    with nullcontext() if device is None else torch.device(device):
        network = Network(graph)
    rule = read_rule(initialization) if initialization else None
    for node, module in zip(graph.nodes, network.nodes, strict=True):
        if rule and isinstance(module, WEIGHTED):
            rule.apply(node.name, module)
    return network if dtype is None else network.to(dtype)


def module_of(op: Operator, x: Any, tied: bool = False) -> nn.Module:
    """Create an operator's module for an input of shape `x`, perhaps `tied` to another layer's weight.

    Raises NotImplementedError if it has none.
    """
    names: dict[str, Any] = {}
    if x:
        first, last = op.ends(x)
        names = {"in_channels": first.channels, "last_channels": last.channels}
    if x and not op.joins:
        names |= {"in_features": x.last, "in_shape": tuple(x)}
    text = op.tied if tied else op.pytorch(x)
    made: nn.Module = eval(_compiled(text), NAMES, names | vars(op))  # the text comes from an operator
    return made


@lru_cache(maxsize=256)
def _compiled(text: str) -> CodeType:
    return compile(text, "<operator>", "eval")


def _module(node: Node) -> nn.Module:
    try:
        return module_of(node.op, node.x, tied=node.shared is not None)
    except NotImplementedError as error:
        raise SpecError(f"{node.name}: {error}", node.place) from None


def _attach(root: nn.Module, path: Sequence[str], module: nn.Module) -> None:
    """Insert a module into the tree at a path, even if a name in it is that of an attribute."""
    *blocks, own = path
    for block in blocks:
        root = root._modules.setdefault(block, Container())
    root._modules[own] = module


def _steps(graph: Graph, training: bool) -> list[Step]:
    first, ends = len(graph.inputs), graph.ends if training else graph.results
    kept = {i: node.inputs for i, node in enumerate(graph.nodes) if i >= first and (training or not node.side)}
    last = {j: i for i, inputs in kept.items() for j in inputs} | dict.fromkeys(ends, len(graph.nodes))
    return [Step(i, inputs, tuple({j for j in inputs if last[j] == i})) for i, inputs in kept.items()]


def _overwriting(graph: Graph, training: bool) -> dict[int, bool]:
    """By position, whether an operator that can work in place may do so."""
    ran = graph if training else graph.without_sides()
    allowed = dict(zip([node.name for node in ran.nodes], in_place(ran, training), strict=True))
    return {
        i: allowed.get(node.name, False)
        for i, node in enumerate(graph.nodes)
        if node.op.overwrites(True) or node.op.overwrites(False)
    }
