"""The arithmetic of a training step, layer by layer: forward, gradients of inputs and of weights, and the optimizer.

An input needs a gradient if a layer before it has weights that are not frozen; the image needs none, so the first
layer computes none. A frozen layer computes no gradient of its weights, and the optimizer does not update them. Where
several layers read a value, its layer adds up their gradients. The loss is no part of a network: not counted.
"""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple

from archcalc.analysis.optimizers import work_per_value
from archcalc.analysis.recipe import Recipe, is_trained
from archcalc.graph.graph import Graph, Node
from archcalc.ops.base import Work, add_work, values


class Gradients(NamedTuple):
    """Which inputs of a layer need a gradient, whether its weights do, and how many of its output are added up."""

    inputs: tuple[bool, ...]
    weights: bool
    added: int  # to the first one


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
    needed, found = list[bool](), list[Gradients]()
    for position, node in enumerate(graph.nodes):
        inputs = tuple([needed[i] for i in node.inputs])
        trained = is_trained(node, recipe)
        needed.append(trained or any(inputs) or (recipe.image_gradient and not inputs))
        found.append(Gradients(inputs, trained, needed[-1] * max(arriving[position] - 1, 0)))
    return found


def step_of(node: Node, batch: int, params: int, recipe: Recipe, needed: Gradients) -> Step:
    """Return the operations of a layer with so many trainable values."""
    op, x, y = node.op, node.x, node.output
    added = {"add": needed.added * batch * values(y)}
    of_input = add_work(op.gradients_of(x, y, batch, needed.inputs), added)
    of_weight = op.weight_gradient(x, y, batch) if needed.weights else {}
    each = work_per_value(recipe.optimizer, recipe.weight_decay) if needed.weights else {}
    return Step(op.training_work(x, y, batch), of_input, of_weight, {kind: params * each[kind] for kind in each})
