"""The arithmetic of a training step, layer by layer: forward, gradients of inputs and of weights, and the optimizer.

An input needs a gradient if a layer before it has weights; the image needs none, so the first layer computes none.
Where several layers read a value, its layer adds up their gradients. The loss is no part of a network: not counted.
"""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple

from archcalc.analysis.optimizers import work_per_value
from archcalc.analysis.recipe import Recipe
from archcalc.graph.graph import Graph, Node
from archcalc.ops.base import Work, add_work, values


class Gradients(NamedTuple):
    """Which inputs of a layer need a gradient, and how many gradients of its output are added to the first one."""

    inputs: tuple[bool, ...]
    added: int


class Step(NamedTuple):
    """Operations by kind, of one layer for a batch; empty at inference."""

    forward: Work
    of_input: Work
    of_weight: Work
    optimizer: Work


NO_STEP = Step({}, {}, {}, {})


def gradients(graph: Graph, recipe: Recipe) -> list[Gradients]:
    """Return for each node which gradients a step computes."""
    arriving = Counter([*(i for node in graph.nodes for i in node.inputs), graph.result, *graph.sides])
    needed: list[bool] = []
    for node in graph.nodes:
        needed.append(
            any(needed[i] for i in node.inputs)
            or bool(node.op.weights(node.x))
            or (recipe.image_gradient and not needed)
        )
    return [
        Gradients(tuple([needed[i] for i in node.inputs]), needed[position] * max(arriving[position] - 1, 0))
        for position, node in enumerate(graph.nodes)
    ]


def step_of(node: Node, batch: int, params: int, recipe: Recipe, needed: Gradients) -> Step:
    """Return the operations of a layer with so many trainable values."""
    op, x, y = node.op, node.x, node.output
    added = {"add": needed.added * batch * values(y)}
    update = {kind: params * count for kind, count in work_per_value(recipe.optimizer, recipe.weight_decay).items()}
    of_input = add_work(op.gradients_of(x, y, batch, needed.inputs), added)
    return Step(op.training_work(x, y, batch), of_input, op.weight_gradient(x, y, batch), update)
