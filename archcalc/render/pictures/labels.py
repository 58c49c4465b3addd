"""Place labels beside points so that no label covers another, and no leader cuts a label.

Each label in turn takes the cheapest place, given the places of the others, until none moves. Then a label and those
around it are removed and placed again, many times, and the better result is kept. Labels that still meet are left out.
The same points always get the same places.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from functools import cache
from typing import Any, NamedTuple, TypeAlias

import numpy

Floats: TypeAlias = Any  # arrays of numpy

ANGLES = 32
STEPS = (2, 5, 9, 14, 20, 28, 38, 50, 64, 80, 100, 130, 165)  # points between the ball's edge and the label
FAR = 0.22  # most of them, by the width of the picture
ROUNDS = 6
TRIES = 60  # how often a label and those around it are placed again
FREED = 8  # one of this many labels at most, and two
APART = numpy.array([-1.5, -1.5, 1.5, 1.5])  # points between labels
FORBIDDEN = 1e9
CROSSED, TANGLED = 1e5, 2e3  # cost of a leader through a label (only while labels move), and of two leaders that cross


class Spot(NamedTuple):
    """A ball and the size of its label, in points; labels that are not `first` yield to those that are."""

    x: float
    y: float
    radius: float
    width: float
    height: float
    first: bool = False


class Placed(NamedTuple):
    """A label's center, and the distances of its box from its ball and from the nearest other ball, in points."""

    x: float
    y: float
    distance: float
    rival: float


Box: TypeAlias = tuple[float, float, float, float]


def place(spots: Sequence[Spot], bounds: Box, lines: Sequence[Box] = ()) -> list[Placed | None]:
    """Place the label of each spot within bounds (left, bottom, right, top); None if there is no room.

    Labels avoid `lines` (from x, y to x, y) if possible.
    """
    search = _Search(spots, bounds, lines)
    return [None if k is None else search.placed(i, k) for i, k in enumerate(search.best())]


Choice: TypeAlias = list[int | None]  # for each label the index of its box


class _Search:
    """The candidate boxes of each label, and their costs without other labels."""

    def __init__(self, spots: Sequence[Spot], bounds: Box, lines: Sequence[Box]) -> None:
        self.balls = numpy.array([(s.x, s.y, s.radius) for s in spots])
        self.boxes = numpy.stack([_candidates(spot, FAR * (bounds[2] - bounds[0])) for spot in spots])
        starts = numpy.broadcast_to(self.balls[:, None, :2], (*self.boxes.shape[:2], 2))
        ways = self.boxes, starts, _ends(self.boxes, starts)
        self.ways = numpy.concatenate(ways, axis=-1).reshape(-1, 8).T.copy()  # of all labels: boxes, and leaders' ends
        self.reach = numpy.asfortranarray(_around(self.boxes, starts).reshape(-1, 4))
        crossed = numpy.array(lines).reshape(-1, 4)
        fixed = [_costs(boxes, i, self.balls) + _written_on(boxes, crossed) for i, boxes in enumerate(self.boxes)]
        self.fixed = numpy.array(fixed) + FORBIDDEN * _outside(self.boxes, bounds)
        self.weights = [10 if spot.first else 1 for spot in spots]
        self.conflicts = cache(self._conflicts)

    def best(self) -> Choice:
        """Return the cheapest choice found: place the most crowded first, then those around a label, many times."""
        count = len(self.boxes)
        order = sorted(range(count), key=lambda i: -_crowd(i, self.balls))
        chosen, costs = self.settled(order, [None] * count)
        for seed in range(TRIES if count > 1 else 0):
            chance = random.Random(seed)
            middle = chance.choice([i for i in range(count) if costs[i] >= CROSSED] or order)
            near = numpy.hypot(*(self.balls[:, :2] - self.balls[middle, :2]).T).argsort()
            freed = {*near[: chance.randint(2, 2 + count // FREED)].tolist()}
            order = [middle, *chance.sample(range(count), count)]
            tried, others = self.settled(order, [None if i in freed else k for i, k in enumerate(chosen)])
            if sum(others) <= sum(costs):
                chosen, costs = tried, others
        worst = sorted(range(count), key=lambda i: (self.weights[i], -costs[i]))
        return self.settled(worst, chosen, CROSSED)[0]  # one that a leader meets moves, or is left out

    def settled(self, order: Sequence[int], chosen: Choice, limit: float = FORBIDDEN) -> tuple[Choice, list[float]]:
        """Let labels choose among boxes that cost less than `limit` until none changes; return their costs, too."""
        added = self.added(chosen)
        for _ in range(ROUNDS):
            before = list(chosen)
            for i in order:
                costs = self.fixed[i] + added[i]
                best = int(costs.argmin())
                choice = best if costs[best] < limit else None
                if choice != chosen[i]:
                    self.add(added, i, chosen[i], -1)
                    self.add(added, i, choice, 1)
                    chosen[i] = choice
            if chosen == before:
                break
        costs = self.fixed + added
        return chosen, [FORBIDDEN * self.weights[i] if k is None else float(costs[i, k]) for i, k in enumerate(chosen)]

    def added(self, chosen: Choice) -> Floats:
        """Compute what the labels, as chosen, add to the costs of each other's boxes."""
        added = numpy.zeros(self.fixed.shape)
        for i, k in enumerate(chosen):
            self.add(added, i, k, 1)
        return added

    def add(self, added: Floats, i: int, k: int | None, times: int) -> None:
        """Add what label i in its k-th box costs others."""
        if k is not None:
            where, costs = self.conflicts(i, k)
            added.reshape(-1)[where] += times * costs

    def _conflicts(self, i: int, k: int) -> tuple[Floats, Floats]:
        """Find the boxes that meet label i in its k-th box or its leader, by flat indices, and what that costs them."""
        at = numpy.ravel_multi_index((i, k), self.fixed.shape)
        near = _overlap(self.reach, self.reach[at] + APART).nonzero()[0]
        near = near[near // self.fixed.shape[1] != i]
        box, ball, end = _split(self.ways[:, at])
        boxes, balls, ends = _split(self.ways[:, near].T)
        crossed = _cut(balls, boxes, box + APART) | _cut(ball, box, boxes + APART)
        costs = (
            FORBIDDEN * _overlap(boxes, box + APART)
            + CROSSED * self.weights[i] * crossed
            + TANGLED * _cross(balls, ends, ball, end)
        )
        return near[costs > 0], costs[costs > 0]

    def placed(self, i: int, k: int) -> Placed:
        """Return the place of label i in its k-th box."""
        box = self.boxes[i, k]
        gaps = [float(_gap(box[None], ball)[0]) for ball in self.balls]
        others = gaps[:i] + gaps[i + 1 :]
        return Placed(float(box[0] + box[2]) / 2, float(box[1] + box[3]) / 2, gaps[i], min(others, default=FORBIDDEN))


def _crowd(i: int, balls: Floats) -> float:
    """Measure how near the other balls are."""
    away = numpy.hypot(*(balls[:, :2] - balls[i, :2]).T)
    return float((1 / (away + 10)).sum())


def _candidates(spot: Spot, far: float) -> Floats:
    """Return boxes (left, bottom, right, top) around a ball, at fixed angles and distances up to `far`."""
    turns = numpy.arange(ANGLES) * 2 * numpy.pi / ANGLES
    reach = spot.radius + numpy.array([step for step in STEPS if step <= max(far, STEPS[0])])[:, None]
    x = spot.x + numpy.cos(turns) * (reach + spot.width / 2)
    y = spot.y + numpy.sin(turns) * (reach + spot.height / 2)
    half = numpy.array([-spot.width, -spot.height, spot.width, spot.height]) / 2
    return numpy.stack([x, y, x, y], axis=-1).reshape(-1, 4) + half


def _outside(boxes: Floats, bounds: Box) -> Floats:
    return (boxes[..., :2] < bounds[:2]).any(axis=-1) | (boxes[..., 2:] > bounds[2:]).any(axis=-1)


def _costs(boxes: Floats, own: int, balls: Floats) -> Floats:
    """Compute the cost of boxes alone: distance from the ball, balls covered."""
    away = _gap(boxes, balls[own])
    nearest = numpy.clip(balls[:, None, :2], boxes[None, :, :2], boxes[None, :, 2:])
    covered = numpy.hypot(*numpy.moveaxis(nearest - balls[:, None, :2], -1, 0)) < balls[:, None, 2] + 1
    inner = numpy.delete(covered, own, axis=0).sum(axis=0)
    return away + away**2 / 60 + 160 * inner + 40 * covered[own]


def _written_on(boxes: Floats, lines: Floats) -> Floats:
    """Compute the cost of boxes that lie on lines."""
    ends = lines[:, [2, 3, 2, 3]]
    return 15 * _cut(lines[None, :, :2], ends[None], boxes[:, None]).sum(axis=1)


def _gap(boxes: Floats, ball: Floats) -> Floats:
    """Measure the distances from a ball's edge to boxes."""
    nearest = numpy.clip(ball[:2], boxes[:, :2], boxes[:, 2:])
    return numpy.maximum(0, numpy.hypot(*(nearest - ball[:2]).T) - ball[2])


def _split(ways: Floats) -> tuple[Floats, Floats, Floats]:
    """Return the boxes, and the ends of their leaders at the balls and at the boxes."""
    return ways[..., :4], ways[..., 4:6], ways[..., 6:]


def _around(boxes: Floats, points: Floats) -> Floats:
    """Return the smallest boxes around boxes and points."""
    low, high = numpy.minimum(boxes[..., :2], points), numpy.maximum(boxes[..., 2:], points)
    return numpy.concatenate([low, high], axis=-1)


def _overlap(a: Floats, b: Floats) -> Floats:
    return (a[..., 0] < b[..., 2]) & (b[..., 0] < a[..., 2]) & (a[..., 1] < b[..., 3]) & (b[..., 1] < a[..., 3])


def _ends(boxes: Floats, starts: Floats) -> Floats:
    """Return the points at which segments from `starts` reach boxes."""
    return numpy.clip(starts, boxes[..., :2], boxes[..., 2:])


def _cross(a: Floats, b: Floats, c: Floats, d: Floats) -> Floats:
    """Whether the segments a–b and c–d cross: the ends of each lie on both sides of the other."""
    return (_side(a, b, c) * _side(a, b, d) < 0) & (_side(c, d, a) * _side(c, d, b) < 0)


def _side(a: Floats, b: Floats, c: Floats) -> Floats:
    """Return on which side of the segment a–b the point c lies, by sign."""
    one, other = b - a, c - a
    return one[..., 0] * other[..., 1] - one[..., 1] * other[..., 0]


def _cut(starts: Floats, labels: Floats, boxes: Floats) -> Floats:
    """Whether the segments from `starts` to `labels` cut `boxes`: whether both axes are inside at the same time."""
    enter, leave = 0.0, 0.97
    for axis in (0, 1):
        start = starts[..., axis]
        way = numpy.clip(start, labels[..., axis], labels[..., axis + 2]) - start + 1e-9
        one, other = (boxes[..., axis] - start) / way, (boxes[..., axis + 2] - start) / way
        enter, leave = numpy.maximum(enter, numpy.minimum(one, other)), numpy.minimum(leave, numpy.maximum(one, other))
    return enter < leave
