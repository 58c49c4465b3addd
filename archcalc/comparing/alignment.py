"""Align two networks: which layer or block of one corresponds to which of the other, and how they differ.

Every layer of both networks appears exactly once, with a partner or alone. Swapping the networks swaps the sides.
`comparing/pairing.py` selects the pairs.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from archcalc.comparing.pairing import Aligner, Match
from archcalc.graph.gc_pause import uncollected
from archcalc.graph.groups import tree
from archcalc.ops import Operator
from archcalc.ops.imported import Imported

if TYPE_CHECKING:
    from archcalc.analysis.report import Layer, Report


class Change(NamedTuple):
    """A difference between two layers: an argument, the `operator`, the layers that it reads (`inputs`), or a shape."""

    what: str
    left: Any
    right: Any


@dataclass(frozen=True, slots=True)
class Alignment:
    """Two reports and the match of their networks."""

    left: Report
    right: Report
    root: Match
    rewired: frozenset[int]  # layers on the left whose partner reads other layers

    def layers(self, match: Match) -> tuple[tuple[Layer, ...], tuple[Layer, ...]]:
        """Return the layers of a match on both sides."""
        left, right = match.left, match.right
        return (
            self.left.layers[left.start : left.stop] if left else (),
            self.right.layers[right.start : right.stop] if right else (),
        )

    def equal(self, match: Match) -> bool:
        """Whether both sides have the same operators, arguments, shapes, figures and connections."""
        left, right = match.left, match.right
        if not left or not right or left.whole != right.whole:
            return False
        return not any(i in self.rewired for i in range(left.start, left.stop)) if self.rewired else True

    def changes(self, match: Match) -> tuple[Change, ...]:
        """Return the differences of a pair of layers; of a pair of blocks none."""
        left, right = match.left, match.right
        if not left or not right or not left.op or not right.op:
            return ()
        found = list(_argument_changes(left.op, right.op))
        if left.start in self.rewired:
            found.append(Change("inputs", self.left.layers[left.start].inputs, self.right.layers[right.start].inputs))
        shapes = zip(("input", "output"), left.shapes or (), right.shapes or (), strict=True)
        return (*found, *(Change(what, mine, yours) for what, mine, yours in shapes if mine != yours))

    def rows(self, depth: int | None = None, whole: bool = False, block: Match | None = None) -> Iterator[Match]:
        """Yield matches that together contain each layer once: blocks down to `depth` names, or layers if None.

        With a `block` yield those within it. With a depth, blocks that contain only layers are not split; with `whole`
        neither are blocks that are equal or have no partner.
        """
        for part in (block or self.root).parts:
            closed = whole and (not part.left or not part.right or self.equal(part))
            if part.parts and depth != 1 and not closed and not (depth and _plain(part)):
                yield from self.rows(depth and depth - 1, whole, part)
            else:
                yield part


def _plain(match: Match) -> bool:
    """Whether a side contains only layers."""
    return any(piece and all(part.op for part in piece.parts) for piece in (match.left, match.right))


def _argument_changes(left: Operator, right: Operator) -> Iterator[Change]:
    if type(left) is not type(right) or (isinstance(left, Imported) and left != right):
        yield Change("operator", left, right)
        return
    for name in left.types:
        values = getattr(left, name), getattr(right, name)
        if values[0] != values[1]:
            yield Change(name, *values)


@uncollected
def align(left: Report, right: Report) -> Alignment:
    """Align two networks, each given by its report."""
    swapped = _order(right) < _order(left)  # the result must not depend on the order of the networks
    aligner = Aligner()
    sides = (right, left) if swapped else (left, right)
    pieces = [aligner.piece(tree(report.ran), report) for report in sides]
    match = aligner.match(*pieces)
    root = _sides(match, swapped)
    return Alignment(left, right, root, frozenset(_rewired(root, left, right)))


def _order(report: Report) -> list[tuple[str, str, str]]:
    return [(layer.node.name, repr(layer.node.op), repr(layer.node.x)) for layer in report.layers]


def _sides(match: Match, swapped: bool) -> Match:
    """Restore the order of the sides; of neighbours without partner put the left ones first."""
    parts: list[Match] = []
    alone: list[Match] = []
    for part in (_sides(part, swapped) for part in match.parts):
        if part.left and part.right:
            parts += [*alone, part]
            alone = []
        else:
            at = sum(bool(other.left) for other in alone) if part.left else len(alone)
            alone.insert(at, part)
    left, right = (match.right, match.left) if swapped else (match.left, match.right)
    return Match(left, right, (*parts, *alone))


def _rewired(root: Match, left: Report, right: Report) -> Iterator[int]:
    """Yield layers on the left that read other layers than their partners, if all layers they read have partners."""
    pairs = {m.left.start: m.right.start for m in root.leaves() if m.left and m.right}
    paired = set(pairs.values())
    nodes = left.ran.nodes, right.ran.nodes
    for mine, yours in pairs.items():
        reads, others = nodes[0][mine].inputs, nodes[1][yours].inputs
        known = all(i in pairs for i in reads) and all(i in paired for i in others)
        if known and tuple(pairs[i] for i in reads) != others:
            yield mine
