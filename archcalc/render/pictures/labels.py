"""Where labels go beside points so that none covers another.

Each label in turn takes the place that costs least beside those that stand, until none moves. Then some are taken away
and placed anew, again and again, and what is better is kept. The same points always have the same places.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any, NamedTuple, TypeAlias

Floats: TypeAlias = Any  # arrays of numpy

ANGLES = 32
STEPS = (2, 5, 9, 14, 20, 28, 38, 50, 64, 80, 100, 130, 165)  # points from the ball's edge to the label
ROUNDS = 6
TRIES = 40  # times that a part is placed anew
FREED = 4  # a part: one of so many labels
APART = 1.5  # points between labels
FORBIDDEN = 1e9
CROSSED, TANGLED = 1e5, 2e3  # cost of a leader through a label: only where nothing else is left; and of two leaders


class Spot(NamedTuple):
    """A ball and the size of its label, in points."""

    x: float
    y: float
    radius: float
    width: float
    height: float


class Placed(NamedTuple):
    """A label's middle, how far its box is from the ball's edge, and from the nearest other ball's, in points."""

    x: float
    y: float
    distance: float
    rival: float


Box: TypeAlias = tuple[float, float, float, float]


def place(spots: Sequence[Spot], bounds: Box, lines: Sequence[Box] = ()) -> list[Placed | None]:
    """For each spot where its label goes, within bounds (left, bottom, right, top); None where there is no room.

    `lines` (from x, y to x, y) are better not written on.
    """
    search = _Search(spots, bounds, lines)
    return [None if k is None else search.placed(i, k) for i, k in enumerate(search.best())]


Choice: TypeAlias = list[int | None]  # by label, which of its boxes it takes


class _Search:
    """Labels, the boxes each could take, and what these cost by themselves."""

    def __init__(self, spots: Sequence[Spot], bounds: Box, lines: Sequence[Box]) -> None:
        import numpy

        self.balls = numpy.array([(s.x, s.y, s.radius) for s in spots])
        self.boxes = [_candidates(spot, bounds) for spot in spots]
        crossed = numpy.array(lines).reshape(-1, 4)
        self.conflicts: dict[tuple[int, int, int], Floats] = {}  # of a label's boxes with another that took its k-th
        self.fixed = [_costs(boxes, i, self.balls) + _written_on(boxes, crossed) for i, boxes in enumerate(self.boxes)]

    def best(self) -> Choice:
        """The cheapest found: the most crowded first, then again and again without some of them."""
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
        """What labels choose by turns, until none chooses anew."""
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
        """What each box of a label costs beside what the others chose."""
        others = [(i, j, k) for j, k in enumerate(chosen) if k is not None and j != i]
        if unknown := [other for other in others if other not in self.conflicts]:
            boxes, balls = [self.boxes[j][k] for _, j, k in unknown], [self.balls[j] for _, j, _ in unknown]
            found = _conflicts(self.boxes[i], self.balls[i], boxes, balls)
            self.conflicts |= zip(unknown, found.T, strict=True)
        return sum((self.conflicts[other] for other in others), start=self.fixed[i])

    def total(self, chosen: Choice) -> float:
        """What a choice costs; a label that has no place costs most."""
        return sum(FORBIDDEN if k is None else float(self.costs(i, chosen)[k]) for i, k in enumerate(chosen))

    def placed(self, i: int, k: int) -> Placed:
        """Where a label is, given which of its boxes it takes."""
        box = self.boxes[i][k]
        gaps = [float(_gap(box[None], ball)[0]) for ball in self.balls]
        others = gaps[:i] + gaps[i + 1 :]
        return Placed(float(box[0] + box[2]) / 2, float(box[1] + box[3]) / 2, gaps[i], min(others, default=FORBIDDEN))


def _crowd(i: int, balls: Floats) -> float:
    """How near the other balls are."""
    import numpy

    away = numpy.hypot(*(balls[:, :2] - balls[i, :2]).T)
    return float((1 / (away + 10)).sum())


def _candidates(spot: Spot, bounds: Box) -> Floats:
    """Boxes (left, bottom, right, top) around a ball, at some angles and distances, those within bounds."""
    import numpy

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
    """What a box costs by itself: the way from its ball, what it covers of balls; out of bounds it is forbidden."""
    import numpy

    away = _gap(boxes, balls[own])
    nearest = numpy.clip(balls[:, None, :2], boxes[None, :, :2], boxes[None, :, 2:])
    covered = numpy.hypot(*numpy.moveaxis(nearest - balls[:, None, :2], -1, 0)) < balls[:, None, 2] + 1
    inner = numpy.delete(covered, own, axis=0).sum(axis=0)
    return away + away**2 / 60 + 160 * inner + 40 * covered[own] + numpy.where(boxes[:, 0] > 1e5, FORBIDDEN, 0)


def _written_on(boxes: Floats, lines: Floats) -> Floats:
    """What boxes cost for the lines they lie on."""
    ends = lines[:, [2, 3, 2, 3]]
    return 15 * _cut(lines[None, :, :2], ends[None], boxes[:, None]).sum(axis=1)


def _gap(boxes: Floats, ball: Floats) -> Floats:
    """From a ball's edge to the boxes."""
    import numpy

    nearest = numpy.clip(ball[:2], boxes[:, :2], boxes[:, 2:])
    return numpy.maximum(0, numpy.hypot(*(nearest - ball[:2]).T) - ball[2])


def _conflicts(boxes: Floats, ball: Floats, standing: Sequence[Floats], balls: Sequence[Floats]) -> Floats:
    """What boxes cost beside each that stands: none may overlap, and leaders should cross neither labels nor others."""
    import numpy

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
    """Where the ways from `starts` come to boxes."""
    import numpy

    return numpy.clip(starts, boxes[..., :2], boxes[..., 2:])


def _cross(a: Floats, b: Floats, c: Floats, d: Floats) -> Floats:
    """Whether the ways a–b and c–d cross: the ends of each lie on both sides of the other."""
    return (_side(a, b, c) * _side(a, b, d) < 0) & (_side(c, d, a) * _side(c, d, b) < 0)


def _side(a: Floats, b: Floats, c: Floats) -> Floats:
    """On which side of the way a–b the point c lies, by its sign."""
    one, other = b - a, c - a
    return one[..., 0] * other[..., 1] - one[..., 1] * other[..., 0]


def _cut(starts: Floats, labels: Floats, boxes: Floats) -> Floats:
    """Whether the ways from `starts` to their `labels` cut `boxes`: for how much of the way both axes are within."""
    import numpy

    enter, leave = 0.0, 0.97
    for axis in (0, 1):
        start = starts[..., axis]
        way = numpy.clip(start, labels[..., axis], labels[..., axis + 2]) - start + 1e-9
        one, other = (boxes[..., axis] - start) / way, (boxes[..., axis + 2] - start) / way
        enter, leave = numpy.maximum(enter, numpy.minimum(one, other)), numpy.minimum(leave, numpy.maximum(one, other))
    return enter < leave
