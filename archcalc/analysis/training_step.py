"""The arithmetic of a training step, layer by layer: forward, gradients of inputs and of weights, and the optimizer.

An input needs a gradient if a layer before it has weights that are not frozen; the image needs none, so the first
layer computes none. A frozen layer computes no gradient of its weights, and the optimizer does not update them. Where
several layers read a value, its layer adds up their gradients; where layers share weights, the later ones do. The
gradient of a value that all images share is summed over the batch. The loss is no part of a network: not counted.
"""

from collections import Counter
from collections.abc import Callable
from typing import Any, NamedTuple

from archcalc.analysis.once_per_graph import of_batch, per_graph
from archcalc.analysis.optimizers import work_per_value
from archcalc.analysis.recipe import Recipe, is_trained
from archcalc.graph.graph import Graph, Node
from archcalc.ops.base import Unknown, Work, add_work, values
from archcalc.ops.imported import Imported


class Gradients(NamedTuple):
    """Which inputs of a layer need a gradient, whether its weights do, and how many of its output are added up."""

    inputs: tuple[bool, ...]
    weights: bool
    added: int  # to the first one
    summed: int  # values of inputs that all images share; their gradients are summed over the batch


class Step(NamedTuple):
    """Operations by kind, of one layer for a batch; empty at inference."""

    forward: Work | None  # None: unknown
    of_input: Work | None
    of_weight: Work | None
    optimizer: Work


NO_STEP = Step({}, {}, {}, {})


@per_graph
def gradients(graph: Graph, recipe: Recipe) -> list[Gradients]:
    """Return for each node which gradients a step computes."""
    arriving = Counter([*(i for node in graph.nodes for i in _read(node)), *graph.ends])
    needed, found, batched = list[bool](), list[Gradients](), of_batch(graph)
    for position, node in enumerate(graph.nodes):
        inputs = tuple([needed[i] for i in _read(node)])
        trained = is_trained(graph, node, recipe)
        needed.append(trained or any(inputs) or (recipe.image_gradient and node.op.name == "input"))
        sums = not isinstance(node.op, Imported)  # whose rules count these sums, too
        summed = [i for i in _read(node) if sums and needed[i] and batched[position] > batched[i]]
        values_of = sum([values(graph.nodes[i].output) for i in summed])
        found.append(Gradients(inputs, trained, needed[-1] * max(arriving[position] - 1, 0), values_of))
    return found


def _read(node: Node) -> list[int]:
    """Return the inputs whose values a node reads."""
    of_shape = node.op.of_shape
    return [i for place, i in enumerate(node.inputs) if place not in of_shape] if of_shape else [*node.inputs]


def step_of(node: Node, batch: int, params: int, recipe: Recipe, needed: Gradients) -> Step:
    """Return the operations of a layer with so many trainable values of its own."""
    op, x, y = node.op, node.x, node.output
    added = {"add": needed.added * batch * values(y) + needed.summed * (batch - 1)}
    of_input = _known(op.gradients_of, x, y, batch, needed.inputs)
    if of_input is not None:
        of_input = add_work(of_input, added)
        if needed.weights and not any(needed.inputs):
            of_input = add_work(of_input, op.inner_gradient(x, y, batch))
    of_weight = _known(op.weight_gradient, x, y, batch) if needed.weights else {}
    if node.shared and of_weight:
        of_weight = add_work(of_weight, {"add": sum(map(values, op.weights(x).values())) - params})
    each = work_per_value(recipe.optimizer, recipe.weight_decay) if needed.weights else {}
    return Step(
        _known(op.training_work, x, y, batch), of_input, of_weight, {kind: params * each[kind] for kind in each}
    )


def _known(rule: Callable[..., Work], *given: Any) -> Work | None:
    """Return the work by a rule; None for an imported function without one."""
    try:
        return rule(*given)
    except Unknown:
        return None
