"""Whether a network's arguments may be changed in its source as in its spec: other values are tried."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

from archcalc.codegen.check import is_right, made, recorder
from archcalc.codegen.values import safe
from archcalc.errors import ArchcalcError
from archcalc.graph import Graph
from archcalc.language import Spec
from archcalc.language.expand import Expansion
from archcalc.ops import Shape

STEPS = 50_000  # of an expansion that is tried
ENOUGH = 1000  # layers that are tried with other values of one param


def wrong_arguments(source: str, graph: Graph, spec: Spec, network: str) -> set[str]:
    """The spec's params that are arguments of the source's network, and of which it goes wrong with other values."""
    takes = inspect.signature(made(source, recorder(graph))).parameters
    params = {key: value for key, value in graph.about.params.items() if safe(key) in takes}
    if not params:
        return set()
    own = _expanded(spec, network, None, graph.about.params)
    expanded = partial(_expanded, spec, network, None if own and own.input == graph.input else graph.input)
    return {key for key, value in params.items() if not _follows(source, graph, key, value, expanded)}


def _follows(source: str, graph: Graph, key: str, value: Any, expanded: Callable[..., Graph | None]) -> bool:
    """Whether the source does as the spec with other values of a param: of a large network with few of them."""
    seen = 0
    for other in dict.fromkeys(_others(value)):
        changed = expanded({**graph.about.params, key: other})
        if changed and not is_right(source, changed, {safe(key): other}):
            return False
        seen += len(changed.nodes) if changed else 0
        if seen > ENOUGH:
            break
    return True


def _expanded(spec: Spec, network: str, shape: Shape | None, params: Mapping[str, Any]) -> Graph | None:
    """The network with these params; None where it cannot be, or is too large to be tried."""
    expansion = Expansion(spec)
    expansion.budget.left = min(expansion.budget.left, STEPS)
    try:
        graph = expansion.graph(network, params, shape, network)
    except (ArchcalcError, RecursionError):
        return None
    return None if graph.misfit else graph


def _others(value: Any) -> Iterator[Any]:
    """Other values of a param."""
    if isinstance(value, tuple):
        if value and all(type(item) is int for item in value):
            yield from ((*value, value[-1]), value[:-1], tuple(item + 1 for item in value), value[::-1])
            yield tuple(2 * item for item in value)
    elif type(value) is int:
        yield from (other for other in (value + 1, 0, 1, value - 1, 2 * value) if other != value)
    else:
        yield from (value / 2, 0.25)
