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
    """Return for each node the first one with the same operator and input shape: both have the same figures."""
    first: dict[tuple[int, object], int] = {}
    return [first.setdefault((id(node.op), node.x), position) for position, node in enumerate(graph.nodes)]


def of_equals(graph: Graph, rule: Callable[[Node], T]) -> list[T]:
    """Apply a rule to each node; for equal nodes only once."""
    first = first_equals(graph)
    known = {position: rule(graph.nodes[position]) for position in set(first)}
    return [known[position] for position in first]
