"""Expected branches, depth and MACs of a network whose branches are dropped at random in training.

Stochastic depth skips a dropped branch, so each of its layers runs with the probability that the branch is kept. A
layer that several branches need runs if one of them runs. The probabilities are exact if the branches that need a
layer are nested or the same, e.g. in residual networks; for other networks the figures are unknown.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from archcalc.graph.graph import Graph

DROPPER = "stochastic_depth"  # skips a branch for the whole batch; droppath only zeroes it for some images


class Expected(NamedTuple):
    """Expected values of one forward pass in training; None if no branch is dropped, or if unknown."""

    expected_branches: float | None = None  # how many of the droppable branches are kept
    droppable_branches: int | None = None
    expected_depth: float | None = None  # number of weighted layers that run on the longest path
    expected_macs: float | None = None


def expected(graph: Graph, macs: Callable[[int], int]) -> Expected:
    """Return the expected values of a network; `macs` gives the MACs of the node with that index."""
    keeps = {i: 1 - node.op.p for i, node in enumerate(graph.nodes) if node.op.name == DROPPER}  # type: ignore[attr-defined]  # every dropper has p
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
    """A set of droppers that must all keep their branch: those of `before` and one more; `chance` is its probability.

    Each condition is built from another by adding its last dropper. `jump` is a condition further back: with jumps
    (Myers 1983), `within` takes few steps even if there are many droppers.
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
        """Whether the other condition includes all droppers of this one."""
        while other.size > self.size:
            other = other.jump if other.jump.size >= self.size else other.before
        return other is self


def _chances(graph: Graph, keeps: Mapping[int, float]) -> list[float] | None:
    """Return for each node the probability that it runs; None if one set of droppers does not decide it."""
    always = Condition(None, 1.0)
    needed: list[Condition | None]
    needed = [always if i in graph.results else None for i in range(len(graph.nodes))]
    for i in reversed(range(len(graph.nodes))):
        own = needed[i] = needed[i] or always  # a side output always runs in training
        passed = Condition(own, keeps[i]) if i in keeps else own
        for j in graph.nodes[i].inputs:
            before = needed[j]
            if before is None or passed.within(before):
                needed[j] = passed
            elif not before.within(passed):
                return None
    return [condition.chance for condition in needed if condition]


def _longest_path(graph: Graph, runs: Sequence[float]) -> float:
    """Return the expected number of weighted layers that run on the longest path; the most if several are longest."""
    paths: list[tuple[int, float]] = []
    for i, node in enumerate(graph.nodes):
        count, kept = max((paths[j] for j in node.inputs), default=(0, 0.0))
        paths.append((count + node.op.weighted, kept + node.op.weighted * runs[i]))
    return max(paths[end] for end in graph.results)[1]
