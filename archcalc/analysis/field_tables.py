"""Tables of a receptive field on one axis: for each position of a layer the first and last input position it sees.

A table repeats: `period` positions on, everything is `advance` input positions further, so its stride is
advance/period. Positions may lie outside the image (an endless one is assumed). A span of None sees nothing: behind a
transposed convolution with a kernel smaller than its stride there are gaps. A table with the advance 0 holds what comes
through a whole axis: the same stretch everywhere.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain
from math import gcd, lcm
from typing import NamedTuple, TypeAlias

from archcalc.ops.reads import Reads, Window

LAID = 256  # a period above this, and above the layer's positions, is not laid out
MOST = 500_000  # spans that one graph's tables may hold

Span: TypeAlias = tuple[int, int] | None


class TooMany(Exception):
    """The spans of a graph's tables are more than MOST."""


class Room:
    """How many more spans a graph's tables may hold, so that time and memory stay bounded."""

    def __init__(self) -> None:
        self.left = MOST

    def take(self, spans: int) -> None:
        """Raise TooMany if there is no room for so many."""
        self.left -= spans
        if self.left < 0:
            raise TooMany


class Laid(NamedTuple):
    """A table with a span for each residue of the position."""

    advance: int
    spans: tuple[Span, ...]

    @property
    def period(self) -> int:
        """How many residues."""
        return len(self.spans)

    def at(self, i: int) -> Span:
        """What position i sees."""
        turns, residue = divmod(i, len(self.spans))
        return moved(self.spans[residue], turns * self.advance)

    def over(self, positions: Iterable[int]) -> Span:
        """The hull of what some positions see: `at` and `hull` in one loop, in which large tables spend their time."""
        firsts, lasts = [], []
        for i in positions:
            turns, residue = divmod(i, len(self.spans))
            span = self.spans[residue]
            if span:
                firsts.append(span[0] + turns * self.advance)
                lasts.append(span[1] + turns * self.advance)
        return (min(firsts), max(lasts)) if firsts else None


class Worked:
    """A table too long to lay out: spans are worked out when asked for, and remembered.

    It is a rule over a table, or without a rule the hull of several.
    """

    def __init__(self, period: int, advance: int, reads: Reads | None, below: Sequence[Table], room: Room) -> None:
        self.period, self.advance, self.reads, self.below, self.room = period, advance, reads, below, room
        self.known: dict[int, Span] = {}

    def asked(self, positions: int) -> Worked:
        """The table with the spans of so many positions worked out, as far as they differ."""
        for i in range(min(self.period, positions)):
            self.at(i)
        return self

    def at(self, i: int) -> Span:
        """What position i sees. Raises TooMany where that takes too long; of the layer's own positions never."""
        turns, residue = divmod(i, self.period)
        if residue not in self.known:
            self._work_out(residue)
        return moved(self.known[residue], turns * self.advance)

    def over(self, positions: Iterable[int]) -> Span:
        """The hull of what some positions see."""
        return hull(map(self.at, positions))

    def _work_out(self, residue: int) -> None:
        """From the lowest table up, without recursion: there may be thousands."""
        todo: list[tuple[Worked, int]] = [(self, residue)]
        while todo:
            table, place = todo[-1]
            lacking = [(low, j % low.period) for low, j in table._sources(place) if isinstance(low, Worked)]
            lacking = [(low, j) for low, j in lacking if j not in low.known]
            if lacking:
                todo += lacking
                continue
            todo.pop()
            if place not in table.known:
                self.room.take(1)
                table.known[place] = hull(low.at(j) for low, j in table._sources(place))

    def _sources(self, i: int) -> Iterable[tuple[Table, int]]:
        for low in self.below:
            yield from ((low, j) for j in ([i] if self.reads is None else _ends(self.reads.at(i), low.period)))


Table: TypeAlias = Laid | Worked


def moved(span: Span, by: int) -> Span:
    """The span so many positions further."""
    return span and (span[0] + by, span[1] + by)


def hull(spans: Iterable[Span]) -> Span:
    """From the first to the last position of all of them."""
    some = [span for span in spans if span]
    return (min(first for first, _ in some), max(last for _, last in some)) if some else None


def _ends(reads: range, period: int) -> Iterable[int]:
    """Of evenly spaced positions over a table those that can see first or last: the first and last `period`."""
    return chain(reads[:period], reads[-period:]) if len(reads) > 2 * period else reads


def through(reads: Reads, below: Table, positions: int, room: Room) -> Table:
    """The table of an operator's `positions` outputs over a layer with this table."""
    if type(reads) is Window and type(below) is Laid and len(below.spans) == 1:
        step, span = below.advance, below.spans[0]
        if span:
            start = span[0] - reads.padding * step
            span = start, start + span[1] - span[0] + (reads.kernel - 1) * reads.dilation * step
        return Laid(step * reads.stride, (span,))
    common = gcd(below.period, reads.advance)
    period, advance = reads.period * (below.period // common), below.advance * (reads.advance // common)
    if period > max(LAID, positions):
        return Worked(period, advance, reads, (below,), room).asked(positions)
    room.take(period)
    repeats = below.period
    return _laid(advance, [below.over(_ends(reads.at(i), repeats)) for i in range(period)])


def _laid(advance: int, spans: Sequence[Span]) -> Laid:
    """The table with the smallest period that these spans repeat in."""
    period = len(spans)
    least = period // gcd(period, advance)  # a smaller part would have no whole advance
    for part in range(least, period, least):
        if period % part == 0:
            by = advance * part // period
            if all(spans[i + part] == moved(spans[i], by) for i in range(period - part)):
                return Laid(by, tuple(spans[:part]))
    return Laid(advance, tuple(spans))


def merge(tables: Sequence[Table], positions: int, room: Room) -> Table:
    """The hull of tables of one stride."""
    first = tables[0]
    if all(table == first for table in tables):
        return first
    period = lcm(*(table.period for table in tables))
    advance = first.advance * (period // first.period)
    if period > max(LAID, positions):
        return Worked(period, advance, None, tables, room).asked(positions)
    room.take(period)
    return _laid(advance, [hull(table.at(i) for table in tables) for i in range(period)])


def sees_nothing(table: Table) -> bool:
    """Whether a table holds no span at all; of one that is not laid out this is not asked."""
    return isinstance(table, Laid) and not any(table.spans)
