"""What runs in training where branches are dropped at random: expected branches, depth and arithmetic.

Stochastic depth skips a branch that is dropped, so each of its layers runs with the probability that the branch is
kept; a layer that several branches need runs if one of them does. The probabilities here are exact where the branches
that need a layer are nested or the same, as in residual networks; for other networks the figures are unknown.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from archcalc.analysis.depth import depths
from archcalc.graph import Graph

DROPPERS = ("droppath", "stochastic_depth")  # operators with the probability p of dropping their input


class Expected(NamedTuple):
    """Expectations over the branches that training drops, for one forward pass."""

    branches: float  # kept, of `of`
    of: int
    depth: float  # weighted layers that run on the longest path
    macs: float


def expected(graph: Graph, macs: Sequence[int]) -> Expected | None:
    """Expectations for a network, given the MACs of its layers; None where nothing is dropped, or it is unknown."""
    keeps = {i: 1 - node.op.p for i, node in enumerate(graph.nodes) if node.op.name in DROPPERS}  # type: ignore[attr-defined]  # droppers have it
    if not keeps:
        return None
    conditions = _conditions(graph, set(keeps))
    if conditions is None:
        return None
    runs = [math.prod(keeps[i] for i in condition) for condition in conditions]
    path = _longest_path(graph)
    return Expected(
        math.fsum(keep * runs[i] for i, keep in keeps.items()),
        len(keeps),
        math.fsum(runs[i] for i in path if graph.nodes[i].op.weighted),
        math.fsum(run * count for run, count in zip(runs, macs, strict=True)),
    )


def _conditions(graph: Graph, droppers: set[int]) -> list[frozenset[int]] | None:
    """For each node the droppers that must all keep their branch for it to run; None where no such set says it."""
    needed: list[frozenset[int] | None] = [None] * len(graph.nodes)
    needed[graph.result] = frozenset()
    for i in reversed(range(len(graph.nodes))):
        own = needed[i]
        if own is None:  # a side output runs in training, whoever reads it
            own = needed[i] = frozenset()
        passed = own | {i} if i in droppers else own
        for j in graph.nodes[i].inputs:
            before = needed[j]
            if before is None or passed <= before:
                needed[j] = passed
            elif not before <= passed:
                return None
    return [condition or frozenset() for condition in needed]


def _longest_path(graph: Graph) -> list[int]:
    """The nodes of a path to the output with the most weighted layers."""
    counts = depths(graph)
    path = [graph.result]
    while graph.nodes[path[-1]].inputs:
        path.append(max(graph.nodes[path[-1]].inputs, key=counts.__getitem__))
    return path
