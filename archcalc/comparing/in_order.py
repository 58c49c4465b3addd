"""The best pairs of two rows of parts, in order: the sum of what they are worth is the largest.

All pairs are looked at where there are few. Of long rows it is a band along the line from both first parts to both last
ones, the narrower the longer they are, so that work does not grow and the answer does not change at once at a length.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping, Sequence
from math import ceil, sqrt
from typing import Generic, Protocol, TypeAlias, TypeVar

MOST = 1_000_000  # pairs looked at to align two rows of parts: all, or those nearest to the same place in both
NARROWEST = 32  # parts that are looked at for each part, however long the rows are
SAME_PLACE = 0.25  # what the same place adds to the worth of a pair


class Paired(Protocol):
    """What is paired: a layer or block with a label, and a number that equal ones share."""

    label: str
    whole: int


P = TypeVar("P", bound=Paired)
Pair: TypeAlias = tuple[P | None, P | None]
Worth: TypeAlias = Callable[[P, P, bool], float]  # the third: whether they have the same label


def best_pairs(left: Sequence[P], right: Sequence[P], worth: Worth[P]) -> Iterator[Pair[P]]:
    """The pairing in order that is worth most, as of Needleman and Wunsch, without a price for what is alone.

    Of long rows only a band of pairs is looked at, along the line from both first parts to both last ones.
    """
    windows = _windows(len(left), len(right))
    worths = list(_worths(left, right, worth, windows))
    most = _most(worths, windows)
    i = j = 0
    while i < len(left) and j < len(right):
        start, stop = windows[i].start, windows[i].stop
        here, below = most[i][max(j - start, 0)], most[i + 1][max(j - windows[i + 1].start, 0)]
        own = worths[i][j - start] if start <= j < stop else 0
        if own and here == own + most[i + 1][max(j + 1 - windows[i + 1].start, 0)]:
            yield left[i], right[j]
            i, j = i + 1, j + 1
        elif j >= start and here == below:
            yield left[i], None
            i += 1
        else:
            yield None, right[j]
            j += 1
    yield from _apart(left[i:], right[j:])


def _windows(rows: int, columns: int) -> list[range]:
    """For each row the columns that are looked at, and behind the last row what is left: all, if they are MOST.

    A band that reaches `half` columns to both sides leaves out two triangles, together (1 − half / columns)² of all
    pairs. Neither end of a window ever lies before that of the row above.
    """
    left_out = max(0.0, 1 - MOST / max(rows * columns, 1))
    half = max(ceil(columns * (1 - sqrt(left_out))), NARROWEST // 2)
    middles = ((2 * i + 1) * columns // (2 * rows) for i in range(rows))
    windows = [range(max(0, middle - half), min(columns, middle + half)) for middle in middles]
    return [*windows, range(windows[-1].start if windows else 0, columns)]


class _Known(dict[int, float], Generic[P]):
    """What a piece is worth beside others, by their `whole`: equal pieces are worth the same."""

    def __init__(self, piece: P, others: Mapping[int, P], worth: Worth[P], named: bool) -> None:
        super().__init__()
        self.piece, self.others, self.worth, self.named = piece, others, worth, named

    def __missing__(self, whole: int) -> float:
        self[whole] = value = self.worth(self.piece, self.others[whole], self.named)
        return value


def _worths(left: Sequence[P], right: Sequence[P], worth: Worth[P], windows: Sequence[range]) -> Iterator[list[float]]:
    """What each pair in a window is worth; a little more at the same place, from the front or from the back."""
    wholes = [piece.whole for piece in right]
    others = dict(zip(wholes, right, strict=True))
    named: dict[str, list[int]] = {}
    for j, piece in enumerate(right):
        named.setdefault(piece.label, []).append(j)
    known: dict[int, tuple[_Known[P], _Known[P]]] = {}
    for i, (mine, window) in enumerate(zip(left, windows, strict=False)):
        if mine.whole not in known:
            known[mine.whole] = _Known(mine, others, worth, False), _Known(mine, others, worth, True)
        plain, alike = known[mine.whole]
        row = [plain[whole] for whole in wholes[window.start : window.stop]]
        same = named.get(mine.label, [])
        for j in same[bisect_left(same, window.start) : bisect_left(same, window.stop)]:
            row[j - window.start] = alike[wholes[j]]
        for j in {i, len(right) - len(left) + i}:
            if j in window and row[j - window.start]:
                row[j - window.start] += SAME_PLACE
        yield row


def _most(worths: Sequence[Sequence[float]], windows: Sequence[range]) -> list[list[float]]:
    """The most that can be had from each (i, j) on, down and to the right: rows as wide as their windows, and one more.

    Left of a window is as much as at its start, since what is alone costs nothing.
    """
    most = [[0.0] * (len(windows[-1]) + 1)]
    for own, window, following in zip(worths[::-1], windows[-2::-1], windows[:0:-1], strict=True):
        under = most[-1]
        if following.start > window.start:
            under = [under[0]] * (following.start - window.start) + under
        row = [under[len(window)]] * (len(window) + 1)
        for k in reversed(range(len(window))):
            row[k] = max(under[k + 1] + own[k] if own[k] else 0, under[k], row[k + 1])
        most.append(row)
    return most[::-1]


def _apart(left: Sequence[P], right: Sequence[P]) -> Iterator[Pair[P]]:
    yield from ((mine, None) for mine in left)
    yield from ((None, yours) for yours in right)
