"""Cache what several figures of a graph share, as long as the graph exists."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, Concatenate, ParamSpec, TypeVar
from weakref import finalize

from archcalc.graph.graph import Graph, Node

P = ParamSpec("P")
T = TypeVar("T")


def per_graph(function: Callable[Concatenate[Graph, P], T]) -> Callable[Concatenate[Graph, P], T]:
    """Cache a function's results by graph and other arguments. Callers must not change a result."""
    known: dict[int, dict[tuple[Any, ...], T]] = {}

    @wraps(function)
    def remembered(graph: Graph, /, *args: P.args, **named: P.kwargs) -> T:
        found = known.get(id(graph))
        if found is None:
            found = known[id(graph)] = {}
            finalize(graph, known.pop, id(graph), None).atexit = False
        key = (args, *named.items())
        if key not in found:
            found[key] = function(graph, *args, **named)
        return found[key]

    return remembered


@per_graph
def first_equals(graph: Graph) -> list[int]:
    """Return for each node the first one with the same figures: of the same operator, input shape and sharing.

    Whether their inputs are of the batch is the same, too.
    """
    first: dict[tuple[object, ...], int] = {}
    batched = of_batch(graph)
    if {node.shared for node in graph.nodes} == {None} and all(batched):
        return [first.setdefault((id(node.op), node.x), position) for position, node in enumerate(graph.nodes)]
    found = []
    for position, node in enumerate(graph.nodes):
        key = id(node.op), node.x, node.shared and node.shared.tensor, tuple([batched[i] for i in node.inputs])
        found.append(first.setdefault(key, position))
    return found


@per_graph
def of_batch(graph: Graph) -> list[bool]:
    """Return for each node whether its output depends on an input, and so differs from image to image."""
    if sum([not node.inputs for node in graph.nodes]) == len(graph.inputs):
        return [True] * len(graph.nodes)
    found: list[bool] = []
    for node in graph.nodes:
        found.append(node.op.name == "input" or any(found[i] for i in node.inputs))
    return found


def of_equals(graph: Graph, rule: Callable[[Node], T]) -> list[T]:
    """Apply a rule to each node; for equal nodes only once."""
    first = first_equals(graph)
    known = {position: rule(graph.nodes[position]) for position in set(first)}
    return [known[position] for position in first]
