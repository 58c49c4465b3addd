"""Which parts of two trees of blocks are put beside each other.

From the top down, the parts of two blocks are put beside each other in order, so that what is paired is as alike as can
be: the same operators with the same arguments on the same shapes, then the same arguments, then the same operator; a
common label tells too. Only what works at the same scale is paired, or what is nearly the same. What is left over is
paired by its scale alone: networks that have nothing else in common are put together by resolution.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from math import log2, prod
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from archcalc.comparing.in_order import Pair, Worth, best_pairs
from archcalc.graph.groups import Block, Part
from archcalc.ops import Operator
from archcalc.ops.shaping import Mover

if TYPE_CHECKING:
    from archcalc.analysis.report import Report

EQUAL, SAME_ARGUMENTS, SAME_OPERATOR, SAME_FAMILY = 28, 20, 12, 4  # how much a pair of layers is worth
SAME_LABEL, SAME_SCALE, SAME_SHAPE = 4, 4, 1
ALIKE = 20  # what a pair of blocks is worth that differ, times how alike they are
LEAST = 0.6  # how alike blocks of different labels must be, and the share of layers that opening blocks must pair
FEW = 1 / 6  # how alike a layer and a block of its scale must be
KIN = 0.8  # how alike blocks are that differ in details; these may be at different scales
NEAR = 0.5  # how far scales may be apart: 35×35 of 299×299 is that of 28×28 of 224×224
POINT = 99.0  # the scale of what has no height and width left


@dataclass(slots=True, eq=False)
class Piece:
    """A layer or block of one network; its layers stand in its report from `start` to `stop`."""

    name: str
    start: int
    stop: int
    parts: tuple[Piece, ...]  # none of a layer
    whole: int  # equal where operators, arguments, shapes and written values are
    form: int  # equal where the labels within are, too
    label: str  # the last part of its name
    op: Operator | None  # of a layer
    shapes: tuple[Any, Any] | None  # input and output of a layer
    scales: tuple[float, ...]  # quartiles of log2 of the input's side over that of its layers'
    counts: Counter[Any] = field(default_factory=Counter)  # filled when it is asked for

    @property
    def size(self) -> int:
        """How many layers it has."""
        return self.stop - self.start


class Match(NamedTuple):
    """A part of the one network and what it is in the other; None where the other has no such part."""

    left: Piece | None
    right: Piece | None
    parts: tuple[Match, ...]

    @property
    def names(self) -> tuple[str | None, str | None]:
        """What the part is called on both sides."""
        return self.left.name if self.left else None, self.right.name if self.right else None

    def leaves(self) -> Iterator[Match]:
        """The layers in it, in order."""
        if self.parts:
            for part in self.parts:
                yield from part.leaves()
        else:
            yield self


Between: TypeAlias = Callable[[Sequence[Piece], Sequence[Piece]], Sequence[Match]]


class Aligner:
    """Puts the parts of two networks beside each other; equal things have equal keys."""

    def __init__(self) -> None:
        self.keys: dict[Any, int] = {}
        self.known: dict[tuple[int, int], float] = {}
        self.matches: dict[tuple[int, int], Match] = {}  # by the forms of both sides
        self.placed: dict[tuple[int, int], Match] = {}  # by the pieces themselves

    def _key(self, value: Any) -> int:
        return self.keys.setdefault(value, len(self.keys))

    def piece(self, part: Part, report: Report) -> Piece:
        """A part of a report's network as a piece."""
        if isinstance(part, Block):
            parts = tuple(self.piece(inner, report) for inner in part.parts)
            whole = self._key(("block", *(inner.whole for inner in parts)))
            form = self._key(("form", *((inner.form, inner.label) for inner in parts)))
            label = part.label
            return Piece(
                part.name, parts[0].start, parts[-1].stop, parts, whole, form, label, None, None, _scales(parts)
            )
        layer = report.layers[part]
        node = layer.node
        whole = self._key((node.op, node.x, node.output, layer.activations, node.side))
        scale = _scale(report.graph.input[1:], node.output[1:])
        shapes, label = (node.x, node.output), node.name.rpartition(".")[2]
        return Piece(node.name, part, part + 1, (), whole, whole, label, node.op, shapes, (scale,) * 3)

    def match(self, left: Piece, right: Piece) -> Match:
        """Two pieces as a pair, their parts beside each other; a layer beside a block is as a block of one.

        What is made of two pieces holds for all pairs of these forms: a block that repeats is looked at once.
        """
        place, forms = (id(left), id(right)), (left.form, right.form)
        if place not in self.placed:
            if left.op and right.op:
                return Match(left, right, ())
            if forms in self.matches:
                self.placed[place] = _moved(self.matches[forms], left, right)
            else:
                self.placed[place] = self.matches[forms] = Match(left, right, tuple(self._parts(left, right)))
        return self.placed[place]

    def _parts(self, left: Piece, right: Piece) -> Sequence[Match]:
        mine, yours = left.parts or (left,), right.parts or (right,)
        if left.whole == right.whole:
            return [self.match(*pair) for pair in zip(mine, yours, strict=True)]
        return self.beside(mine, yours, self.alike(left, right) >= KIN)

    def beside(self, left: Sequence[Piece], right: Sequence[Piece], kin: bool) -> list[Match]:
        """The parts of two blocks in order, paired where that is best; parts of `kin` may be at different scales."""
        return list(self.put(left, right, partial(self.worth, kin=kin), partial(self.between, kin=kin)))

    def put(
        self, left: Sequence[Piece], right: Sequence[Piece], worth: Worth[Piece], between: Between
    ) -> Iterator[Match]:
        """The best pairs, and between them what `between` makes of the rest."""
        gap: tuple[list[Piece], list[Piece]] = [], []
        for mine, yours in self.pairs(left, right, worth):
            if mine and yours:
                yield from between(*gap)
                yield self.match(mine, yours)
                gap = [], []
            else:
                gap[0].extend([mine] if mine else [])
                gap[1].extend([yours] if yours else [])
        yield from between(*gap)

    def between(self, left: Sequence[Piece], right: Sequence[Piece], kin: bool) -> list[Match]:
        """Pieces without partner: with blocks opened if that pairs nearly all layers, or many and their scales few."""
        if not (left and right) or (_flat(left) and _flat(right)):
            return _alone(left, right)
        few, many = sorted(sum(piece.size for piece in side) for side in (left, right))
        mine, yours = _opened(left, right)
        opened = self.beside(mine, yours, kin)
        if _paired(opened) >= KIN * many:
            return opened
        found = list(self.put(left, right, self.worth_of_scale, _alone))
        enough = LEAST * (many if _flat(mine) and _flat(yours) else few)
        return opened if _paired(found) < LEAST * few and _paired(opened) >= enough else found

    def pairs(self, left: Sequence[Piece], right: Sequence[Piece], worth: Worth[Piece]) -> list[Pair[Piece]]:
        """The pieces of both sides in order, with their partners or None; equal ends need no search."""
        before = _common(left, right)
        behind = _common(left[::-1], right[::-1], min(len(left), len(right)) - before)
        ends = len(left) - behind, len(right) - behind
        middle = left[before : ends[0]], right[before : ends[1]]
        equal = zip(left[:before], right, strict=False), zip(left[ends[0] :], right[ends[1] :], strict=True)
        return [*equal[0], *best_pairs(*middle, worth), *equal[1]]

    def worth(self, left: Piece, right: Piece, named: bool, kin: bool) -> float:
        """How much a pair is worth, `named` alike or not; 0 where it is none."""
        label = SAME_LABEL * named
        if left.whole == right.whole:
            return EQUAL + label
        near = SAME_SCALE * _near(left, right)
        if not (near or kin):
            return 0
        alike = _worth_of_layers(left, right) if left.op and right.op else ALIKE * self.alike(left, right)
        paired = alike >= (SAME_FAMILY if left.op and right.op else ALIKE * LEAST) or label
        return alike + label + near if paired else 0

    def worth_of_scale(self, left: Piece, right: Piece, named: bool) -> float:
        """How much a pair with a block is worth that is none but for its scale."""
        if (left.op and right.op) or not _near(left, right):
            return 0
        alike, blocks = self.alike(left, right), left.parts and right.parts and _weighted(left) and _weighted(right)
        return 1 + alike if blocks or alike >= FEW else 0

    def alike(self, left: Piece, right: Piece) -> float:
        """How alike blocks are, from 0 to 1: what they share of families, operators, and operators with arguments."""
        key = left.whole, right.whole
        if key not in self.known:
            shared = sum((_counted(left) & _counted(right)).values())
            self.known[key] = shared / max(left.size, right.size) / 3
        return self.known[key]


def _scale(image: Sequence[int], size: Sequence[int]) -> float:
    return log2(prod(image) / prod(size)) / max(len(image), 1) if prod(size) > 1 else POINT


def _scales(parts: Sequence[Piece]) -> tuple[float, ...]:
    ordered = sorted(layer.scales[0] for layer in _layers(parts))
    return tuple(ordered[(len(ordered) - 1) * quarter // 4] for quarter in (1, 2, 3))


def _near(left: Piece, right: Piece) -> bool:
    """Whether most of two pieces is at one scale: of their quartiles two."""
    (a, b, c), (x, y, z) = left.scales, right.scales
    return (abs(a - x) <= NEAR) + (abs(b - y) <= NEAR) + (abs(c - z) <= NEAR) > 1


def _moved(match: Match, left: Piece, right: Piece) -> Match:
    """A match of two pieces as that of two others of the same forms."""
    sides = (match.left, left), (match.right, right)
    new = {id(old): own for before, now in sides if before for old, own in zip(_all(before), _all(now), strict=True)}

    def move(part: Match) -> Match:
        mine, yours = (piece and new[id(piece)] for piece in (part.left, part.right))
        return Match(mine, yours, tuple(map(move, part.parts)))

    return move(match)


def _all(piece: Piece) -> Iterator[Piece]:
    """A piece and all within it."""
    yield piece
    for part in piece.parts:
        yield from _all(part)


def _worth_of_layers(left: Piece, right: Piece) -> int:
    shapes: int = sum(a == b for a, b in zip(left.shapes or (), right.shapes or (), strict=True)) * SAME_SHAPE
    if type(left.op) is type(right.op):
        return (SAME_ARGUMENTS if left.op == right.op else SAME_OPERATOR) + shapes
    same = _family(left.op) == _family(right.op) and not isinstance(left.op, Mover)  # flatten is no kind of dropout
    return SAME_FAMILY + shapes if same else 0


def _counted(piece: Piece) -> Counter[Any]:
    """How many layers a piece has of each family, operator, and operator with its arguments."""
    if not piece.counts:
        for part in piece.parts:
            piece.counts.update(_counted(part))
        if piece.op:
            piece.counts.update((_family(piece.op), type(piece.op), piece.op))
    return piece.counts


def _weighted(piece: Piece) -> bool:
    return piece.op.weighted if piece.op else any(map(_weighted, piece.parts))


def _family(op: Operator | None) -> str:
    return type(op).__module__


def _paired(matches: Sequence[Match]) -> int:
    return sum(bool(leaf.left and leaf.right) for match in matches for leaf in match.leaves())


def _alone(left: Sequence[Piece], right: Sequence[Piece]) -> list[Match]:
    """Pieces without partner, their parts likewise."""
    mine = [Match(piece, None, tuple(_alone(piece.parts, ()))) for piece in left]
    return mine + [Match(None, piece, tuple(_alone((), piece.parts))) for piece in right]


def _common(left: Sequence[Piece], right: Sequence[Piece], most: int | None = None) -> int:
    """How many pieces are equal, in name and all, from the first on."""
    count = 0
    for mine, yours in zip(left[:most], right[:most], strict=False):
        if mine.whole != yours.whole or mine.label != yours.label:
            break
        count += 1
    return count


def _flat(pieces: Sequence[Piece]) -> bool:
    return all(piece.op for piece in pieces)


def _opened(left: Sequence[Piece], right: Sequence[Piece]) -> tuple[Sequence[Piece], Sequence[Piece]]:
    """Both sides, of one the parts of its blocks in their place; all layers of both, if one has no more blocks."""
    if _flat(left) or (len(right) < len(left) and not _flat(right)):
        return _opened(right, left)[::-1]
    left = [part for piece in left for part in piece.parts or (piece,)]
    return (_layers(left), _layers(right)) if _flat(left) or _flat(right) else (left, right)


def _layers(pieces: Sequence[Piece]) -> list[Piece]:
    return [layer for piece in pieces for layer in (_layers(piece.parts) if piece.parts else [piece])]
