"""What several figures of one graph share is worked out once, and remembered while the graph lives."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, Concatenate, ParamSpec, TypeVar
from weakref import finalize

from archcalc.graph.graph import Graph, Node

P = ParamSpec("P")
T = TypeVar("T")


def per_graph(function: Callable[Concatenate[Graph, P], T]) -> Callable[Concatenate[Graph, P], T]:
    """Remember what a function gives for a graph, for each of its other arguments. Nobody may change it."""
    known: dict[int, dict[tuple[Any, ...], T]] = {}

    @wraps(function)
    def remembered(graph: Graph, /, *args: P.args, **named: P.kwargs) -> T:
        found = known.get(id(graph))
        if found is None:
            found = known[id(graph)] = {}
            finalize(graph, known.pop, id(graph), None).atexit = False
        key = (*args, *named.values())
        if key not in found:
            found[key] = function(graph, *args, **named)
        return found[key]

    return remembered


@per_graph
def first_equals(graph: Graph) -> list[int]:
    """For each node the first that has the same operator on the same input shape: what holds for that holds for it."""
    first: dict[tuple[int, object], int] = {}
    return [first.setdefault((id(node.op), node.x), position) for position, node in enumerate(graph.nodes)]


def of_equals(graph: Graph, rule: Callable[[Node], T]) -> list[T]:
    """What a rule says of each node; of equal ones it is asked once."""
    first = first_equals(graph)
    known = {position: rule(graph.nodes[position]) for position in set(first)}
    return [known[position] for position in first]
