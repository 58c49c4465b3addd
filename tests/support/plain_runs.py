"""Run random steps directly: the reference for what a graph's network computes, and for what PyTorch refuses.

This code uses neither the language nor the graph, and never works in place.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn

from archcalc.ops import REGISTRY, Shape, make
from archcalc.ops.shape import shape_of
from archcalc.pytorch import Training
from archcalc.pytorch.network import module_of
from support.operator_cases import ELEMENTWISE
from support.random_graphs import ATTENTIONS, REFUSED_BY_AXES
from support.reference_operators import axes_after, compute
from support.spec_steps import Join, Label, Layer, Network, Repeat, Side, Step, Steps, Use


class Plain(nn.Module):
    """Runs random steps directly, with `reference_operators.py`.

    `nodes` are modules in the order of the run, which give the weights, the buffers and the mode.
    """

    def __init__(self, network: Network, nodes: Iterable[nn.Module] = ()) -> None:
        super().__init__()
        self.network = network
        self.nodes = nn.ModuleList(copy.deepcopy(list(nodes)))
        self.sides: list[Tensor] = []
        self.at = 0

    def forward(self, image: Tensor) -> Tensor | Training:
        self.at = 0
        self.sides = []
        result = self.steps(self.network.steps, image, {})
        sides = {str(i): side for i, side in enumerate(self.sides)}
        return Training(result, sides) if sides and self.training else result

    def steps(self, steps: Steps, x: Tensor, labels: dict[str, Tensor]) -> Tensor:
        for step in steps:
            x = self.step(step, x, labels)
        return x

    def step(self, step: Step, x: Tensor, labels: dict[str, Tensor]) -> Tensor:
        if isinstance(step, Layer):
            return self.compute(step, x)
        if isinstance(step, Use):
            return labels[step.label]
        if isinstance(step, Join):
            return self.compute(step, *(self.steps(branch.steps, x, dict(labels)) for branch in step.branches))
        if isinstance(step, Side):
            for branch in step.branches:
                self.sides.append(self.steps(branch.steps, x, dict(labels)))
            return x
        for _ in range(step.count if isinstance(step, Repeat) else 1):
            x = self.steps(step.steps, x, dict(labels))
        if isinstance(step, Label):
            labels[step.name] = x
        return x

    def compute(self, step: Layer | Join, *xs: Tensor) -> Tensor:
        node = self.nodes[self.at]
        self.at += 1
        state = dict(node.named_parameters()) | dict(node.named_buffers())
        axes = self.shape(max(xs, key=Tensor.dim)).axes
        y = compute(step.name, step.keywords, xs, state, node.training, axes)
        y.axes = axes_after(step.name, step.keywords, axes)
        return y

    def shape(self, x: Tensor) -> Shape:
        """Return the shape of a tensor, with the axes that `compute` notes."""
        return shape_of(tuple(x.shape[1:]), getattr(x, "axes", self.network.shape.axes))

    @property
    def axes(self) -> str:
        """The axes of the network's first tensor with features."""
        return "TC" if self.network.shape.axes == "T" else self.network.shape.axes


def shape(x: Tensor) -> tuple[int, ...]:
    return tuple(x.shape[1:])


class Strict(Plain):
    """Runs PyTorch's modules. Also refuses what they accept with another meaning than a spec has.

    That is: broadcasts of means, an image without a batch dimension, an empty output.
    """

    def compute(self, step: Layer | Join, *xs: Tensor) -> Tensor:
        if isinstance(step, Join):
            self.fit(step.name, xs)
        elif step.name in REFUSED_BY_AXES[self.shape(xs[0]).axes]:
            raise ValueError("other axes are wanted")
        shapes = tuple(map(self.shape, xs))
        op = make(REGISTRY[step.name], (), step.keywords) if isinstance(step, Join) else step.op(shapes[0])
        module = module_of(op, shapes if isinstance(step, Join) else shapes[0])
        y: Tensor = module.eval()(*xs)
        if y.numel() == 0:
            raise ValueError("an empty output")
        y.axes = axes_after(step.name, step.keywords, shapes[0].axes)
        return y

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
