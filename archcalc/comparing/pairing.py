"""Pair the parts of two trees of blocks.

From the top down, the parts of two blocks are paired in order, so that the sum of scores is largest. Layers score by
equal operators, arguments and shapes; blocks by the layers that they have in common; equal labels add to the score.
Only parts at the same scale are paired, or parts that are nearly equal. The rest is paired by scale only, so that
networks with nothing else in common are paired by resolution.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import takewhile
from math import log2, prod
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from archcalc.comparing.in_order import Pair, Score, best_pairs
from archcalc.graph.groups import Group, Part
from archcalc.ops import Operator
from archcalc.ops.shaping import Mover

if TYPE_CHECKING:
    from archcalc.analysis.report import Report

EQUAL, SAME_ARGUMENTS, SAME_OPERATOR, SAME_FAMILY = 28, 20, 12, 4  # scores of a pair of layers
SAME_LABEL, SAME_SCALE, SAME_SHAPE = 4, 4, 1
BLOCKS = 20  # score of a pair of blocks, times their similarity
LEAST = 0.6  # least similarity of blocks with different labels; least share of layers that opening blocks must pair
FEW = 1 / 6  # least similarity of a layer and a block of its scale
CLOSE = 0.8  # similarity from which on blocks may be at different scales
NEAR = 0.5  # largest difference of scales: 35×35 of 299×299 is the scale of 28×28 of 224×224
NO_SCALE = 99.0  # the scale of a vector


@dataclass(slots=True, eq=False)
class Piece:
    """A layer or block of one network; its layers are those from `start` to `stop` of its report."""

    name: str
    start: int
    stop: int
    parts: tuple[Piece, ...]  # empty for a layer
    whole: int  # equal if operators, arguments, shapes and written values are equal
    form: int  # equal if the labels within are equal, too
    label: str  # the last part of its name
    op: Operator | None  # of a layer
    shapes: tuple[Any, Any] | None  # input and output of a layer
    scales: tuple[float, ...]  # quartiles over its layers of log2(side of the network's input / side of the output)
    counts: Counter[Any] = field(default_factory=Counter)  # filled when first used

    @property
    def size(self) -> int:
        """Number of its layers."""
        return self.stop - self.start


class Match(NamedTuple):
    """A part of one network and its partner in the other; None if it has no partner."""

    left: Piece | None
    right: Piece | None
    parts: tuple[Match, ...]

    @property
    def names(self) -> tuple[str | None, str | None]:
        """The names of both sides."""
        return self.left.name if self.left else None, self.right.name if self.right else None

    def leaves(self) -> Iterator[Match]:
        """Yield the matches of its layers, in order."""
        if self.parts:
            for part in self.parts:
                yield from part.leaves()
        else:
            yield self


Between: TypeAlias = Callable[[Sequence[Piece], Sequence[Piece]], Sequence[Match]]


class Aligner:
    """Pairs the parts of two networks; equal parts have equal keys."""

    def __init__(self) -> None:
        self.keys: dict[Any, int] = {}
        self.similarities: dict[tuple[int, int], float] = {}
        self.matches: dict[tuple[int, int], Match] = {}  # by the forms of both sides
        self.placed: dict[tuple[int, int], Match] = {}  # by the pieces themselves

    def _key(self, value: Any) -> int:
        return self.keys.setdefault(value, len(self.keys))

    def piece(self, part: Part, report: Report) -> Piece:
        """Convert a part of a report's network to a piece."""
        if isinstance(part, Group):
            parts = tuple(self.piece(inner, report) for inner in part.parts)
            whole = self._key(("block", *(inner.whole for inner in parts)))
            form = self._key(("form", *((inner.form, inner.label) for inner in parts)))
            span = parts[0].start, parts[-1].stop
            return Piece(part.name, *span, parts, whole, form, part.label, None, None, _scales(parts))
        layer = report.layers[part]
        node = layer.node
        whole = self._key((node.op, node.x, node.output, layer.activations, node.side))
        scale = _scale(report.graph.input.lengths, node.output.lengths)
        shapes, label = (node.x, node.output), node.name.rpartition(".")[2]
        return Piece(node.name, part, part + 1, (), whole, whole, label, node.op, shapes, (scale,) * 3)

    def match(self, left: Piece, right: Piece) -> Match:
        """Match two pieces and their parts; opposite a block, a layer counts as a block of one layer.

        The result holds for all pairs of the same forms, so repeated blocks are matched once.
        """
        place, forms = (id(left), id(right)), (left.form, right.form)
        if place not in self.placed:
            if left.op and right.op:
                return Match(left, right, ())
            if forms in self.matches:
                self.placed[place] = _transferred(self.matches[forms], left, right)
            else:
                self.placed[place] = self.matches[forms] = Match(left, right, tuple(self._parts(left, right)))
        return self.placed[place]

    def _parts(self, left: Piece, right: Piece) -> Sequence[Match]:
        mine, yours = left.parts or (left,), right.parts or (right,)
        if left.whole == right.whole:
            return [self.match(*pair) for pair in zip(mine, yours, strict=True)]
        return self.align(mine, yours, self.similarity(left, right) >= CLOSE)

    def align(self, left: Sequence[Piece], right: Sequence[Piece], close: bool) -> list[Match]:
        """Pair the parts of two blocks in order; parts of `close` blocks may be at different scales."""
        return list(self.fill(left, right, partial(self.score, close=close), partial(self.between, close=close)))

    def fill(
        self, left: Sequence[Piece], right: Sequence[Piece], score: Score[Piece], between: Between
    ) -> Iterator[Match]:
        """Yield the matches of the best pairs, and between them the matches that `between` makes of the rest."""
        gap: tuple[list[Piece], list[Piece]] = [], []
        for mine, yours in self.pairs(left, right, score):
            if mine and yours:
                yield from between(*gap)
                yield self.match(mine, yours)
                gap = [], []
            else:
                gap[0].extend([mine] if mine else [])
                gap[1].extend([yours] if yours else [])
        yield from between(*gap)

    def between(self, left: Sequence[Piece], right: Sequence[Piece], close: bool) -> list[Match]:
        """Match the rest: open blocks if that pairs nearly all layers, or many where scales pair few; else by scale."""
        if not (left and right) or (_flat(left) and _flat(right)):
            return _without_partner(left, right)
        few, many = sorted(sum(piece.size for piece in side) for side in (left, right))
        mine, yours = _opened(left, right)
        opened = self.align(mine, yours, close)
        if _paired(opened) >= CLOSE * many:
            return opened
        found = list(self.fill(left, right, self.score_by_scale, _without_partner))
        enough = LEAST * (many if _flat(mine) and _flat(yours) else few)
        return opened if _paired(found) < LEAST * few and _paired(opened) >= enough else found

    def pairs(self, left: Sequence[Piece], right: Sequence[Piece], score: Score[Piece]) -> list[Pair[Piece]]:
        """Return the pieces of both sides in order, with partners or None; equal ends need no search."""
        before = _equal_count(left, right)
        after = _equal_count(left[::-1], right[::-1], min(len(left), len(right)) - before)
        ends = len(left) - after, len(right) - after
        middle = left[before : ends[0]], right[before : ends[1]]
        equal = zip(left[:before], right, strict=False), zip(left[ends[0] :], right[ends[1] :], strict=True)
        return [*equal[0], *best_pairs(*middle, score), *equal[1]]

    def score(self, left: Piece, right: Piece, named: bool, close: bool) -> float:
        """Score a pair; `named` says that labels are equal. 0 means no pair."""
        label = SAME_LABEL * named
        if left.whole == right.whole:
            return EQUAL + label
        near = SAME_SCALE * _near(left, right)
        if not (near or close):
            return 0
        own = _layer_score(left, right) if left.op and right.op else BLOCKS * self.similarity(left, right)
        paired = own >= (SAME_FAMILY if left.op and right.op else BLOCKS * LEAST) or label
        return own + label + near if paired else 0

    def score_by_scale(self, left: Piece, right: Piece, named: bool) -> float:
        """Score a pair with a block by spatial scale only."""
        if (left.op and right.op) or not _near(left, right):
            return 0
        blocks = left.parts and right.parts and _weighted(left) and _weighted(right)
        similarity = self.similarity(left, right)
        return 1 + similarity if blocks or similarity >= FEW else 0

    def similarity(self, left: Piece, right: Piece) -> float:
        """Compute the similarity, 0 to 1: the share of common families, operators, and operators with arguments."""
        key = left.whole, right.whole
        if key not in self.similarities:
            shared = sum((_layer_counts(left) & _layer_counts(right)).values())
            self.similarities[key] = shared / max(left.size, right.size) / 3
        return self.similarities[key]


def _scale(image: Sequence[int], size: Sequence[int]) -> float:
    return log2(prod(image) / prod(size)) / max(len(image), 1) if prod(size) > 1 else NO_SCALE


def _scales(parts: Sequence[Piece]) -> tuple[float, ...]:
    ordered = sorted(layer.scales[0] for layer in _layers(parts))
    return tuple(ordered[(len(ordered) - 1) * quarter // 4] for quarter in (1, 2, 3))


def _near(left: Piece, right: Piece) -> bool:
    """Whether two pieces are mostly at the same scale: at least two of three quartiles agree."""
    (a, b, c), (x, y, z) = left.scales, right.scales
    return (abs(a - x) <= NEAR) + (abs(b - y) <= NEAR) + (abs(c - z) <= NEAR) > 1


def _transferred(match: Match, left: Piece, right: Piece) -> Match:
    """Transfer a match to two other pieces of the same forms."""
    sides = (match.left, left), (match.right, right)
    new = {id(old): own for before, now in sides if before for old, own in zip(_all(before), _all(now), strict=True)}

    def move(part: Match) -> Match:
        mine, yours = (piece and new[id(piece)] for piece in (part.left, part.right))
        return Match(mine, yours, tuple(map(move, part.parts)))

    return move(match)


def _all(piece: Piece) -> Iterator[Piece]:
    """Yield a piece and all pieces within it."""
    yield piece
    for part in piece.parts:
        yield from _all(part)


def _layer_score(left: Piece, right: Piece) -> int:
    shapes: int = sum(a == b for a, b in zip(left.shapes or (), right.shapes or (), strict=True)) * SAME_SHAPE
    if type(left.op) is type(right.op):
        return (SAME_ARGUMENTS if left.op == right.op else SAME_OPERATOR) + shapes
    same = _family(left.op) == _family(right.op) and not isinstance(left.op, Mover)  # flatten is unlike dropout
    return SAME_FAMILY + shapes if same else 0


def _layer_counts(piece: Piece) -> Counter[Any]:
    """Count the layers of a piece by family, by operator, and by operator with arguments."""
    if not piece.counts:
        for part in piece.parts:
            piece.counts.update(_layer_counts(part))
        if piece.op:
            piece.counts.update((_family(piece.op), type(piece.op), piece.op))
    return piece.counts


def _weighted(piece: Piece) -> bool:
    return piece.op.weighted if piece.op else any(map(_weighted, piece.parts))


def _family(op: Operator | None) -> str:
    return type(op).__module__


def _paired(matches: Sequence[Match]) -> int:
    return sum(bool(leaf.left and leaf.right) for match in matches for leaf in match.leaves())


def _without_partner(left: Sequence[Piece], right: Sequence[Piece]) -> list[Match]:
    """Return matches of pieces, and of their parts, without partners."""
    mine = [Match(piece, None, tuple(_without_partner(piece.parts, ()))) for piece in left]
    return mine + [Match(None, piece, tuple(_without_partner((), piece.parts))) for piece in right]


def _equal_count(left: Sequence[Piece], right: Sequence[Piece], most: int | None = None) -> int:
    """Count how many pieces are equal from the start, labels included."""
    pairs = zip(left[:most], right[:most], strict=False)
    equal = takewhile(lambda pair: pair[0].whole == pair[1].whole and pair[0].label == pair[1].label, pairs)
    return len(list(equal))


def _flat(pieces: Sequence[Piece]) -> bool:
    return all(piece.op for piece in pieces)


def _opened(left: Sequence[Piece], right: Sequence[Piece]) -> tuple[Sequence[Piece], Sequence[Piece]]:
    """Replace the blocks of one side by their parts; if a side has no blocks left, return all layers of both."""
    if _flat(left) or (len(right) < len(left) and not _flat(right)):
        return _opened(right, left)[::-1]
    left = [part for piece in left for part in piece.parts or (piece,)]
    return (_layers(left), _layers(right)) if _flat(left) or _flat(right) else (left, right)


def _layers(pieces: Sequence[Piece]) -> list[Piece]:
    return [layer for piece in pieces for layer in (_layers(piece.parts) if piece.parts else [piece])]
