"""Place labels beside points so that no label covers another.

Each label in turn takes the cheapest place, given the places of the others, until none moves. Then some labels are
removed and placed again, many times, and the better result is kept. The same points always get the same places.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy

Floats: TypeAlias = Any  # arrays of numpy

ANGLES = 32
STEPS = (2, 5, 9, 14, 20, 28, 38, 50, 64, 80, 100, 130, 165)  # points between the ball's edge and the label
ROUNDS = 6
TRIES = 40  # how often a part of the labels is placed again
FREED = 4  # that part: one of this many labels
APART = 1.5  # points between labels
FORBIDDEN = 1e9
CROSSED, TANGLED = 1e5, 2e3  # cost of a leader through a label (a last resort), and of two leaders that cross


class Spot(NamedTuple):
    """A ball and the size of its label, in points."""

    x: float
    y: float
    radius: float
    width: float
    height: float


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
        self.boxes = [_candidates(spot, bounds) for spot in spots]
        crossed = numpy.array(lines).reshape(-1, 4)
        self.conflicts: dict[tuple[int, int, int], Floats] = {}  # costs of label i's boxes if label j takes its k-th
        self.fixed = [_costs(boxes, i, self.balls) + _written_on(boxes, crossed) for i, boxes in enumerate(self.boxes)]

    def best(self) -> Choice:
        """Return the cheapest choice found: place the most crowded first, then repeatedly place some of them again."""
        order = sorted(range(len(self.boxes)), key=lambda i: -_crowd(i, self.balls))
        chosen = self.settled(order, [None] * len(order))
        cost = self.total(chosen)
        for seed in range(TRIES if len(order) > 1 else 0):
            chance = random.Random(seed)
            freed = set(chance.sample(order, 1 + len(order) // FREED))
            order = chance.sample(order, len(order))
            tried = self.settled(order, [None if i in freed else k for i, k in enumerate(chosen)])
            if (other := self.total(tried)) < cost:
                chosen, cost = tried, other
        return chosen

    def settled(self, order: Sequence[int], chosen: Choice) -> Choice:
        """Let labels choose in turn until none changes its choice."""
        for _ in range(ROUNDS):
            before = list(chosen)
            for i in order:
                costs = self.costs(i, chosen)
                best = int(costs.argmin())
                chosen[i] = best if costs[best] < FORBIDDEN else None
            if chosen == before:
                break
        return chosen

    def costs(self, i: int, chosen: Choice) -> Floats:
        """Compute the cost of each box of a label, given the choices of the others."""
        others = [(i, j, k) for j, k in enumerate(chosen) if k is not None and j != i]
        if unknown := [other for other in others if other not in self.conflicts]:
            boxes, balls = [self.boxes[j][k] for _, j, k in unknown], [self.balls[j] for _, j, _ in unknown]
            found = _conflicts(self.boxes[i], self.balls[i], boxes, balls)
            self.conflicts |= zip(unknown, found.T, strict=True)
        return sum((self.conflicts[other] for other in others), start=self.fixed[i])

    def total(self, chosen: Choice) -> float:
        """Compute the cost of a choice; a label without a place costs most."""
        return sum(FORBIDDEN if k is None else float(self.costs(i, chosen)[k]) for i, k in enumerate(chosen))

    def placed(self, i: int, k: int) -> Placed:
        """Return the place of label i in its k-th box."""
        box = self.boxes[i][k]
        gaps = [float(_gap(box[None], ball)[0]) for ball in self.balls]
        others = gaps[:i] + gaps[i + 1 :]
        return Placed(float(box[0] + box[2]) / 2, float(box[1] + box[3]) / 2, gaps[i], min(others, default=FORBIDDEN))


def _crowd(i: int, balls: Floats) -> float:
    """Measure how near the other balls are."""
    away = numpy.hypot(*(balls[:, :2] - balls[i, :2]).T)
    return float((1 / (away + 10)).sum())


def _candidates(spot: Spot, bounds: Box) -> Floats:
    """Return boxes (left, bottom, right, top) around a ball, at fixed angles and distances, within bounds."""
    turns = numpy.arange(ANGLES) * 2 * numpy.pi / ANGLES
    reach = spot.radius + numpy.array(STEPS)[:, None]
    x = spot.x + numpy.cos(turns) * (reach + spot.width / 2)
    y = spot.y + numpy.sin(turns) * (reach + spot.height / 2)
    half = numpy.array([-spot.width, -spot.height, spot.width, spot.height]) / 2
    boxes = numpy.stack([x, y, x, y], axis=-1).reshape(-1, 4) + half
    left, bottom, right, top = bounds
    inside = (boxes[:, 0] >= left) & (boxes[:, 1] >= bottom) & (boxes[:, 2] <= right) & (boxes[:, 3] <= top)
    return boxes[inside] if inside.any() else boxes[:1] + 1e6


def _costs(boxes: Floats, own: int, balls: Floats) -> Floats:
    """Compute the cost of boxes alone: distance from the ball, balls covered; out of bounds is forbidden."""
    away = _gap(boxes, balls[own])
    nearest = numpy.clip(balls[:, None, :2], boxes[None, :, :2], boxes[None, :, 2:])
    covered = numpy.hypot(*numpy.moveaxis(nearest - balls[:, None, :2], -1, 0)) < balls[:, None, 2] + 1
    inner = numpy.delete(covered, own, axis=0).sum(axis=0)
    return away + away**2 / 60 + 160 * inner + 40 * covered[own] + numpy.where(boxes[:, 0] > 1e5, FORBIDDEN, 0)


def _written_on(boxes: Floats, lines: Floats) -> Floats:
    """Compute the cost of boxes that lie on lines."""
    ends = lines[:, [2, 3, 2, 3]]
    return 15 * _cut(lines[None, :, :2], ends[None], boxes[:, None]).sum(axis=1)


def _gap(boxes: Floats, ball: Floats) -> Floats:
    """Measure the distances from a ball's edge to boxes."""
    nearest = numpy.clip(ball[:2], boxes[:, :2], boxes[:, 2:])
    return numpy.maximum(0, numpy.hypot(*(nearest - ball[:2]).T) - ball[2])


def _conflicts(boxes: Floats, ball: Floats, standing: Sequence[Floats], balls: Sequence[Floats]) -> Floats:
    """Compute the cost of boxes given placed ones: no overlap, and leaders should cross neither labels nor leaders."""
    here, boxes = ball[:2], boxes[:, None]
    others, theirs = numpy.array(standing)[None], numpy.array(balls)[None, :, :2]
    apart = numpy.array([-APART, -APART, APART, APART])
    overlaps = _overlap(boxes, others + apart)
    crossed = _cut(here, boxes, others + apart) | _cut(theirs, others, boxes + apart)
    tangled = _cross(here, _ends(boxes, here), theirs, _ends(others, theirs))
    return FORBIDDEN * overlaps + CROSSED * crossed + TANGLED * tangled


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
