"""Run random steps directly: the reference for what a graph's network computes, and for what PyTorch refuses.

This code uses neither the language nor the graph, and never works in place.
"""

from __future__ import annotations

import copy
from collections import ChainMap
from collections.abc import Iterable, Sequence
from typing import NamedTuple, TypeAlias

import torch
from torch import Tensor, nn

from archcalc.ops import REGISTRY, Shape, make
from archcalc.ops.shape import shape_of
from archcalc.pytorch import Training
from archcalc.pytorch.network import Result, module_of
from support.operator_cases import ELEMENTWISE
from support.random_graphs import ATTENTIONS, REFUSED_BY_AXES
from support.reference_operators import axes_after, compute, own_axes
from support.spec_steps import Again, Join, Label, Layer, Network, Outputs, Repeat, Side, Step, Steps, Use


class Known(NamedTuple):
    """What a label stands for: a value; of a step also its steps and nodes."""

    value: Tensor
    steps: Steps = ()
    nodes: range = range(0)


Labels: TypeAlias = ChainMap[str, Known]  # scope by scope


class Plain(nn.Module):
    """Runs random steps directly, with `reference_operators.py`.

    `nodes` are modules in the order of the run, which give the weights, the buffers and the mode; those of a step that
    runs again are not used, but those of its first run.
    """

    def __init__(self, network: Network, nodes: Iterable[nn.Module] = ()) -> None:
        super().__init__()
        self.network = network
        self.nodes = nn.ModuleList(map(copy.deepcopy, nodes))
        self.sides: list[Tensor] = []
        self.outputs: list[Tensor] = []
        self.passed: Tensor | None = None  # what the last `outputs` step passed on
        self.owners: dict[int, int] = {}  # by node with another one's weight, that node
        self.at = 0

    def forward(self, *images: Tensor) -> Result | Training:
        self.at = 0
        self.sides, self.outputs, self.passed, labels = [], [], None, Labels()
        for image, (name, given) in zip(images, self.network.inputs.items(), strict=True):
            image.axes = given.axes
            labels[name] = Known(image)
        end = self.steps(self.network.steps, images[0], labels)
        results = (*(() if end is self.passed else (end,)), *self.outputs)
        result = results if len(results) > 1 else results[0]
        sides = {str(i): side for i, side in enumerate(self.sides)}
        return Training(result, sides) if sides and self.training else result

    def steps(self, steps: Steps, x: Tensor, labels: Labels) -> Tensor:
        for step in steps:
            x = self.step(step, x, labels)
        return x

    def step(self, step: Step, x: Tensor, labels: Labels) -> Tensor:
        if isinstance(step, Layer):
            return self.layer(step, x, labels)
        if isinstance(step, Use):
            return labels[step.label].value
        if isinstance(step, Again):
            return self.again(step.label, x, labels)
        if isinstance(step, Join | Side | Outputs):
            return self.branches(step, x, labels)
        first = self.at
        for _ in range(step.count if isinstance(step, Repeat) else 1):
            x = self.steps(step.steps, x, labels.new_child())
        if isinstance(step, Label):
            labels[step.name] = Known(x, step.steps, range(first, self.at))
        return x

    def branches(self, step: Join | Side | Outputs, x: Tensor, labels: Labels) -> Tensor:
        ends: list[Tensor] = {Side: self.sides, Outputs: self.outputs}.get(type(step), [])
        for branch in step.branches:
            ends += [self.steps(branch.steps, x, labels.new_child())]
        if isinstance(step, Outputs):
            self.passed = x
        return self.compute(step, *ends) if isinstance(step, Join) else x

    def layer(self, step: Layer, x: Tensor, labels: Labels) -> Tensor:
        if step.weight:
            first = labels[step.weight].nodes.start
            self.owners[self.at] = self.owners.get(first, first)
        return self.compute(step, *([x] if REGISTRY[step.name].needs_input else []))

    def again(self, label: str, x: Tensor, labels: Labels) -> Tensor:
        """Run a labelled step again in the scope in which it stands, with the modules of its first run."""
        while label not in labels.maps[0]:
            labels = labels.parents
        _, steps, nodes = labels[label]
        for position, own in enumerate(nodes, self.at):
            self.nodes[position] = self.nodes[own]
        return self.steps(steps, x, labels.new_child())

    def compute(self, step: Layer | Join, *xs: Tensor) -> Tensor:
        node = self.nodes[self.at]
        state = dict(node.named_parameters()) | dict(node.named_buffers())
        if self.at in self.owners:
            state["weight"] = self.nodes[self.owners[self.at]].weight
        self.at += 1
        axes = self.axes_of(step, xs)
        y = compute(step.name, step.keywords, xs, state, node.training, axes)
        return noted(y, axes_after(step.name, step.keywords, axes))

    def axes_of(self, step: Layer | Join, xs: Sequence[Tensor]) -> str:
        """Return the axes of what a step reads, or of a tensor without an input."""
        return self.shape(max(xs, key=Tensor.dim)).axes if xs else own_axes(step.keywords)

    def shape(self, x: Tensor) -> Shape:
        """Return the shape of a tensor, with the axes that `compute` notes."""
        return shape_of(tuple(x.shape[1:]), getattr(x, "axes", self.network.shape.axes))

    @property
    def axes(self) -> str:
        """The axes of the network's first tensor with features."""
        return "TC" if self.network.shape.axes == "T" else self.network.shape.axes


def noted(y: Tensor, axes: str) -> Tensor:
    """Return a tensor of its own, which notes its axes."""
    y = y.view_as(y)
    y.axes = axes
    return y


def shape(x: Tensor) -> tuple[int, ...]:
    return tuple(x.shape[1:])


class Strict(Plain):
    """Runs PyTorch's modules. Also refuses what they accept with another meaning than a spec has.

    That is: broadcasts of means, an image without a batch dimension, an empty output.
    """

    batch = 13  # no number of channels is equal to it, or is a divisor of it

    def compute(self, step: Layer | Join, *xs: Tensor) -> Tensor:
        shapes = tuple(map(self.shape, xs))
        if isinstance(step, Join):
            self.fit(step.name, [noted(x.expand(self.batch, *x.shape[1:]), x.axes) for x in xs])
        elif xs and step.name in REFUSED_BY_AXES[shapes[0].axes]:
            raise ValueError("other axes are wanted")
        x = shapes if isinstance(step, Join) else shapes[0] if xs else Shape()
        op = make(REGISTRY[step.name], (), step.keywords) if isinstance(step, Join) else step.op(x)
        y: Tensor = module_of(op, x).eval()(*xs)
        if y.numel() == 0:
            raise ValueError("an empty output")
        return noted(y, axes_after(step.name, step.keywords, self.axes_of(step, xs)))

    def fit(self, name: str, ways: Sequence[Tensor]) -> None:
        if len({self.shape(way).axes for way in ways if way.dim() > 2}) > 1:
            raise ValueError("the axes differ")
        if name in ELEMENTWISE:
            most, tokens = max(way.dim() for way in ways), self.shape(max(ways, key=Tensor.dim)).axes[0] != "C"
            ones = [1] * (most - 2)
            vectors = [(*ones, way.shape[1]) if tokens else (way.shape[1], *ones) for way in ways if way.dim() == 2]
            torch.broadcast_shapes(*vectors, *[way.shape[1:] for way in ways if way.dim() > 2])
        elif name not in ("concat", "crop_like", *ATTENTIONS):
            torch.stack(list(ways))
