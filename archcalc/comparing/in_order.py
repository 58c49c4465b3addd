"""Pair the parts of two sequences in order, so that the sum of scores is largest.

Short sequences: all pairs are scored. Long ones: only pairs in a band along the line from both first to both last
parts. The band is narrower for longer sequences, so that the work is bounded and no length changes the result abruptly.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping, Sequence
from math import ceil, sqrt
from typing import Generic, Protocol, TypeAlias, TypeVar

MAX_PAIRS = 1_000_000  # most pairs to score: all, or those nearest to the same position in both
MIN_WINDOW = 32  # least number of partners to score for each part, for sequences of any length
SAME_POSITION = 0.25  # added to the score of a pair at the same position


class Paired(Protocol):
    """A layer or block to pair: it has a label, and a number that is the same for equal ones."""

    label: str
    whole: int


P = TypeVar("P", bound=Paired)
Pair: TypeAlias = tuple[P | None, P | None]
Score: TypeAlias = Callable[[P, P, bool], float]  # third argument: whether their labels are equal


def best_pairs(left: Sequence[P], right: Sequence[P], score: Score[P]) -> Iterator[Pair[P]]:
    """Yield the pairing with the largest score, in order, by Needleman and Wunsch without a gap penalty.

    A part without a partner is paired with None. Long sequences are searched only in a band.
    """
    windows = _windows(len(left), len(right))
    scores = list(_scores(left, right, score, windows))
    most = _most(scores, windows)
    i = j = 0
    while i < len(left) and j < len(right):
        start, stop = windows[i].start, windows[i].stop
        here, below = most[i][max(j - start, 0)], most[i + 1][max(j - windows[i + 1].start, 0)]
        own = scores[i][j - start] if start <= j < stop else 0
        if own and here == own + most[i + 1][max(j + 1 - windows[i + 1].start, 0)]:
            yield left[i], right[j]
            i, j = i + 1, j + 1
        elif j >= start and here == below:
            yield left[i], None
            i += 1
        else:
            yield None, right[j]
            j += 1
    yield from ((mine, None) for mine in left[i:])
    yield from ((None, yours) for yours in right[j:])


def _windows(rows: int, columns: int) -> list[range]:
    """Return for each row the columns to score: all, or a band of about MAX_PAIRS pairs; then a range for the end.

    A band of `half` columns on both sides omits two triangles, together (1 − half / columns)² of all pairs. Starts and
    ends of windows never decrease from row to row.
    """
    left_out = max(0.0, 1 - MAX_PAIRS / max(rows * columns, 1))
    half = max(ceil(columns * (1 - sqrt(left_out))), MIN_WINDOW // 2)
    middles = ((2 * i + 1) * columns // (2 * rows) for i in range(rows))
    windows = [range(max(0, middle - half), min(columns, middle + half)) for middle in middles]
    return [*windows, range(windows[-1].start if windows else 0, columns)]


class _Known(dict[int, float], Generic[P]):
    """Scores of a piece with others, by their `whole`: equal pieces have equal scores."""

    def __init__(self, piece: P, others: Mapping[int, P], score: Score[P], named: bool) -> None:
        super().__init__()
        self.piece, self.others, self.score, self.named = piece, others, score, named

    def __missing__(self, whole: int) -> float:
        self[whole] = value = self.score(self.piece, self.others[whole], self.named)
        return value


def _scores(left: Sequence[P], right: Sequence[P], score: Score[P], windows: Sequence[range]) -> Iterator[list[float]]:
    """Yield the scores of each row's window; add a little at the same position, counted from either end."""
    wholes = [piece.whole for piece in right]
    others = dict(zip(wholes, right, strict=True))
    named: dict[str, list[int]] = {}
    for j, piece in enumerate(right):
        named.setdefault(piece.label, []).append(j)
    known: dict[int, tuple[_Known[P], _Known[P]]] = {}
    for i, (mine, window) in enumerate(zip(left, windows, strict=False)):
        if mine.whole not in known:
            known[mine.whole] = _Known(mine, others, score, False), _Known(mine, others, score, True)
        plain, labelled = known[mine.whole]
        row = [plain[whole] for whole in wholes[window.start : window.stop]]
        same = named.get(mine.label, [])
        for j in same[bisect_left(same, window.start) : bisect_left(same, window.stop)]:
            row[j - window.start] = labelled[wholes[j]]
        for j in {i, len(right) - len(left) + i}:
            if j in window and row[j - window.start]:
                row[j - window.start] += SAME_POSITION
        yield row


def _most(scores: Sequence[Sequence[float]], windows: Sequence[range]) -> list[list[float]]:
    """Compute the largest sum of scores from each (i, j) on, down and to the right; rows have one column more.

    Left of a window the value is that at its start, since a part without partner costs nothing.
    """
    most = [[0.0] * (len(windows[-1]) + 1)]
    for own, window, following in zip(scores[::-1], windows[-2::-1], windows[:0:-1], strict=True):
        under = most[-1]
        if following.start > window.start:
            under = [under[0]] * (following.start - window.start) + under
        row = [under[len(window)]] * (len(window) + 1)
        for k in reversed(range(len(window))):
            row[k] = max(under[k + 1] + own[k] if own[k] else 0, under[k], row[k + 1])
        most.append(row)
    return most[::-1]
