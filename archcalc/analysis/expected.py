"""What runs in training where branches are dropped at random: expected branches, depth and arithmetic.

Stochastic depth skips a branch that is dropped, so each of its layers runs with the probability that the branch is
kept; a layer that several branches need runs if one of them does. The probabilities here are exact where the branches
that need a layer are nested or the same, as in residual networks; for other networks the figures are unknown.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from archcalc.graph import Graph

DROPPER = "stochastic_depth"  # drops a branch for the whole batch; droppath drops it for some images, and it runs


class Expected(NamedTuple):
    """Expectations over the branches that training drops, for one forward pass."""

    branches: float  # kept, of `of`
    of: int
    depth: float  # weighted layers that run on the longest path
    macs: float


def expected(graph: Graph, macs: Sequence[int]) -> Expected | None:
    """Expectations for a network, given the MACs of its layers; None where no branch is dropped, or it is unknown."""
    keeps = {i: 1 - node.op.p for i, node in enumerate(graph.nodes) if node.op.name == DROPPER}  # type: ignore[attr-defined]  # droppers have it
    if not keeps or any(node.op.joins and getattr(node.op, "p", 0) for node in graph.nodes):
        return None
    conditions = _conditions(graph, set(keeps))
    if conditions is None:
        return None
    runs = [math.prod(keeps[i] for i in condition) for condition in conditions]
    return Expected(
        math.fsum(keep * runs[i] for i, keep in keeps.items()),
        len(keeps),
        _longest_path(graph, runs),
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


def _longest_path(graph: Graph, runs: Sequence[float]) -> float:
    """The weighted layers that run on the longest path, in expectation; of paths of one length the most."""
    paths: list[tuple[int, float]] = []
    for i, node in enumerate(graph.nodes):
        count, kept = max((paths[j] for j in node.inputs), default=(0, 0.0))
        paths.append((count + node.op.weighted, kept + node.op.weighted * runs[i]))
    return paths[graph.result][1]
