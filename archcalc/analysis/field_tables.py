"""Tables of a receptive field on one axis: for each position of a layer, the first and last input position it sees.

A table repeats: after `period` positions, each span is shifted by `advance` input positions, so the stride is
advance/period. Input positions may lie outside the image, which is taken as endless. A span of None sees nothing: a
transposed convolution with a kernel smaller than its stride leaves gaps. A table with the advance 0 describes what
comes through a whole axis: the same span everywhere.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain
from math import gcd, lcm
from typing import NamedTuple, TypeAlias

from archcalc.ops.reads import Endless, Piece, Reads, Window, Wrapped

LAID = 256  # a period longer than this, and longer than the layer, is not laid out
MOST = 500_000  # most spans in all tables of a graph

Span: TypeAlias = tuple[int, int] | None


class TooMany(Exception):
    """The tables of a graph have more than MOST spans."""


class Room:
    """The number of spans that a graph's tables may still add; it bounds time and memory."""

    def __init__(self) -> None:
        self.left = MOST

    def take(self, spans: int) -> None:
        """Reserve room for `spans`. Raises TooMany if there is not enough."""
        self.left -= spans
        if self.left < 0:
            raise TooMany


class Laid(NamedTuple):
    """A table with one span for each residue of the position modulo the period."""

    advance: int
    spans: tuple[Span, ...]

    @property
    def period(self) -> int:
        """The number of residues."""
        return len(self.spans)

    def at(self, i: int) -> Span:
        """Return the span that position i sees."""
        turns, residue = divmod(i, len(self.spans))
        return moved(self.spans[residue], turns * self.advance)

    def over(self, positions: Iterable[int]) -> Span:
        """Return the hull of what some positions see: `at` and `hull` in one loop, for speed."""
        firsts, lasts = [], []
        for i in positions:
            turns, residue = divmod(i, len(self.spans))
            span = self.spans[residue]
            if span:
                firsts.append(span[0] + turns * self.advance)
                lasts.append(span[1] + turns * self.advance)
        return (min(firsts), max(lasts)) if firsts else None


class Worked:
    """A table that is too long to lay out: spans are computed when needed, and cached.

    It applies a rule to the table `below`, or without a rule it is the hull of several tables.
    """

    def __init__(self, period: int, advance: int, reads: Endless | None, below: Sequence[Table], room: Room) -> None:
        self.period, self.advance, self.reads, self.below, self.room = period, advance, reads, below, room
        self.known: dict[int, Span] = {}

    def asked(self, positions: int) -> Worked:
        """Compute the spans of the first `positions` positions that can differ. Returns this table."""
        for i in range(min(self.period, positions)):
            self.at(i)
        return self

    def at(self, i: int) -> Span:
        """Return the span that position i sees. Raises TooMany if that takes too long, but not for the layer's own."""
        turns, residue = divmod(i, self.period)
        if residue not in self.known:
            self._work_out(residue)
        return moved(self.known[residue], turns * self.advance)

    def over(self, positions: Iterable[int]) -> Span:
        """Return the hull of what some positions see."""
        return hull(map(self.at, positions))

    def _work_out(self, residue: int) -> None:
        """Compute a span from the lowest table up, without recursion: there may be thousands of tables."""
        todo: list[tuple[Worked, int]] = [(self, residue)]
        while todo:
            table, own = todo[-1]
            missing = [(low, j % low.period) for low, j in table._sources(own) if isinstance(low, Worked)]
            missing = [(low, j) for low, j in missing if j not in low.known]
            if missing:
                todo += missing
                continue
            todo.pop()
            if own not in table.known:
                self.room.take(1)
                table.known[own] = hull(low.at(j) for low, j in table._sources(own))

    def _sources(self, i: int) -> Iterable[tuple[Table, int]]:
        for low in self.below:
            yield from ((low, j) for j in ([i] if self.reads is None else _ends(self.reads.at(i), low.period)))


class Listed(NamedTuple):
    """A table with a span for each position of a layer, and nothing outside: for rules that depend on its ends."""

    spans: tuple[Span, ...]

    @property
    def period(self) -> int:
        return len(self.spans)

    @property
    def advance(self) -> int:
        return 0

    def at(self, i: int) -> Span:
        """Return the span that position i sees."""
        return self.spans[i] if 0 <= i < len(self.spans) else None

    def over(self, positions: Iterable[int]) -> Span:
        """Return the hull of what some positions see."""
        return hull(map(self.at, positions))


Table: TypeAlias = Laid | Worked | Listed


def moved(span: Span, by: int) -> Span:
    """Shift a span by so many positions."""
    return span and (span[0] + by, span[1] + by)


def hull(spans: Iterable[Span]) -> Span:
    """Return the span from the first to the last position of some spans."""
    some = [span for span in spans if span]
    return (min(first for first, _ in some), max(last for _, last in some)) if some else None


def _ends(reads: range, period: int) -> Iterable[int]:
    """Return those of evenly spaced positions that can see the first or last input: the first and last `period`."""
    return chain(reads[:period], reads[-period:]) if len(reads) > 2 * period else reads


def through(reads: Reads, below: Table, positions: int, room: Room) -> Table:
    """Return the table of an operator with `positions` outputs that reads a layer with the table `below`."""
    if isinstance(reads, Wrapped) and below == Laid(0, (below.at(0),)):
        return below
    if isinstance(reads, Wrapped | Piece) or type(below) is Listed:
        room.take(positions)
        return Listed(tuple([below.over(reads.at(i)) for i in range(positions)]))
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
    """Return a table of these spans with the smallest period."""
    period = len(spans)
    least = period // gcd(period, advance)  # the advance of a smaller part would not be whole
    for part in range(least, period, least):
        if period % part == 0:
            by = advance * part // period
            if all(spans[i + part] == moved(spans[i], by) for i in range(period - part)):
                return Laid(by, tuple(spans[:part]))
    return Laid(advance, tuple(spans))


def merge(tables: Sequence[Table], positions: int, room: Room) -> Table:
    """Return the hull of tables with the same stride."""
    first = tables[0]
    if all(table == first for table in tables):
        return first
    if any(type(table) is Listed for table in tables):
        room.take(positions)
        return Listed(tuple([hull(table.at(i) for table in tables) for i in range(positions)]))
    period = lcm(*(table.period for table in tables))
    advance = first.advance * (period // first.period)
    if period > max(LAID, positions):
        return Worked(period, advance, None, tables, room).asked(positions)
    room.take(period)
    return _laid(advance, [hull(table.at(i) for table in tables) for i in range(period)])


def sees_nothing(table: Table) -> bool:
    """Whether a table has no span at all; one that is worked out as needed has some."""
    return not isinstance(table, Worked) and not any(table.spans)
