"""What runs in training where branches are dropped at random: expected branches, depth and arithmetic.

Stochastic depth skips a branch that is dropped, so each of its layers runs with the probability that the branch is
kept; a layer that several branches need runs if one of them does. The probabilities here are exact where the branches
that need a layer are nested or the same, as in residual networks; for other networks the figures are unknown.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from archcalc.graph.graph import Graph

DROPPER = "stochastic_depth"  # drops a branch for the whole batch; droppath drops it for some images, and it runs


class Expected(NamedTuple):
    """Expectations over the branches that training drops, for one forward pass; None where there are none."""

    expected_branches: float | None = None  # kept, of the droppable
    droppable_branches: int | None = None
    expected_depth: float | None = None  # weighted layers that run on the longest path
    expected_macs: float | None = None


def expected(graph: Graph, macs: Callable[[int], int]) -> Expected:
    """Expectations for a network, given the MACs by position; none where it drops no branch, or unknown."""
    keeps = {i: 1 - node.op.p for i, node in enumerate(graph.nodes) if node.op.name == DROPPER}  # type: ignore[attr-defined]  # droppers have it
    if not keeps or any(node.op.joins and getattr(node.op, "p", 0) for node in graph.nodes):
        return Expected()
    runs = _chances(graph, keeps)
    if runs is None:
        return Expected()
    return Expected(
        math.fsum(keep * runs[i] for i, keep in keeps.items()),
        len(keeps),
        _longest_path(graph, runs),
        math.fsum(run * macs(i) for i, run in enumerate(runs)),
    )


class Condition:
    """Droppers that must all keep their branch: those of `before`, and one more; `chance` that they do.

    A dropper is the last one of a single condition, so a condition is part of another if the other was built on it.
    `jump` is one further back: with these (Myers 1983) that is found in few steps however many droppers there are.
    """

    __slots__ = ("before", "chance", "jump", "size")

    def __init__(self, before: Condition | None, keep: float) -> None:
        self.size: int = before.size + 1 if before else 0
        self.chance: float = before.chance * keep if before else keep
        self.before: Condition = before or self
        self.jump: Condition = self.before
        far = self.before.jump
        if self.before.size - far.size == far.size - far.jump.size:
            self.jump = far.jump

    def within(self, other: Condition) -> bool:
        """Whether the other needs all that this needs."""
        while other.size > self.size:
            other = other.jump if other.jump.size >= self.size else other.before
        return other is self


def _chances(graph: Graph, keeps: Mapping[int, float]) -> list[float] | None:
    """For each node how likely it runs; None where no one set of droppers says when."""
    always = Condition(None, 1.0)
    needed: list[Condition | None] = [None] * len(graph.nodes)
    needed[graph.result] = always
    for i in reversed(range(len(graph.nodes))):
        own = needed[i] = needed[i] or always  # a side output runs in training, whoever reads it
        passed = Condition(own, keeps[i]) if i in keeps else own
        for j in graph.nodes[i].inputs:
            before = needed[j]
            if before is None or passed.within(before):
                needed[j] = passed
            elif not before.within(passed):
                return None
    return [condition.chance for condition in needed if condition]


def _longest_path(graph: Graph, runs: Sequence[float]) -> float:
    """The weighted layers that run on the longest path, in expectation; of paths of one length the most."""
    paths: list[tuple[int, float]] = []
    for i, node in enumerate(graph.nodes):
        count, kept = max((paths[j] for j in node.inputs), default=(0, 0.0))
        paths.append((count + node.op.weighted, kept + node.op.weighted * runs[i]))
    return paths[graph.result][1]
