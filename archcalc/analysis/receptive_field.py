"""The receptive field of every layer: which input positions one output position can see.

On each axis, the field of an output position is the span from the first to the last input position that can change it,
over all positions of the other axes, all channels and generic weights; holes inside it (dilation) are not shown. A
field has three parts.

*Local*: tables of what each position sees, one table per stride, nearly always one in all. A chain of windows has one
table with period 1: size + (k − 1)·stride, stride·s, padding + p·stride (Araujo et al., Distill 2019).
*Fixed*: what comes through an operator that reads a whole axis (global pooling, statistics, a gate of one position).
The local part of another branch continues beside it.
*Reach*: the span of the image that all positions of the layer together see locally. A position sees its local span cut
to the reach, and the fixed part.

Of several inputs the field is that of the first one and of those with the same lengths. What depends on others only,
and a learned tensor, sees nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from math import gcd, prod
from typing import Any, NamedTuple, TypeAlias

from archcalc.analysis.field_tables import Laid, Listed, Room, Span, Table, TooMany, hull, merge, sees_nothing, through
from archcalc.analysis.once_per_graph import of_equals
from archcalc.graph.graph import Graph, Node
from archcalc.ops.base import Shape, Sizes
from archcalc.ops.imported import Imported
from archcalc.ops.joins import Join
from archcalc.ops.reads import ALL, EACH, Axis, Piece, Reads, Rearranged, Transposed, Whole, Window


class Field(NamedTuple):
    """The field of a layer on one axis: its parts, and the lengths of the layer and of the image."""

    local: tuple[Table, ...]
    fixed: Table | None
    reach: Span
    positions: int
    image: int

    def whole(self) -> Span:
        """Return what all positions together see of the image; an operator that reads the whole axis passes this on."""
        if self.fixed is None:
            return self.reach
        period = min(self.fixed.period, self.positions)
        return hull([self.reach, *map(self.fixed.at, range(period))])


Axes: TypeAlias = tuple[Field, ...]
Windows: TypeAlias = tuple[Axis, ...]
OfBranches: TypeAlias = tuple[Windows | None, ...]  # None: nothing of this branch is read


def receptive_fields(graph: Graph) -> list[Axes | None]:
    """Return each node's fields on each axis of the input; None if it would take too long (see `field_tables.MOST`).

    An input without positions, a vector, has one position on each of two axes.
    """
    images = {length: _image(length) for length in image_lengths(graph.input)}
    start = tuple([images[length] for length in image_lengths(graph.input)])  # axes of one length share their field
    nothing = tuple([Field((), None, None, 1, field.image) for field in start])
    seen = {i for i, node in enumerate(graph.inputs) if node.output.lengths == graph.input.lengths}
    fields: list[Axes | None] = []
    windows = of_equals(graph, _windows)
    room = Room()
    for i, (node, reads) in enumerate(zip(graph.nodes, windows, strict=True)):
        given = start if i in seen else nothing
        fields.append(_field(node, fields, reads, room) if node.inputs else given)
    return fields


def _windows(node: Node) -> Windows | OfBranches:
    """Return what positions read, of a join of each branch; nothing if each reads its own position only."""
    if node.op.joins:
        branches = node.op.windows(node.x) if isinstance(node.op, Join | Imported) else []
        moves = any(rules is None or rules.count(EACH) < len(rules) for rules in branches)
        return tuple(branches) if moves else ()
    windows = node.op.window(node.x)
    stay = windows.count(EACH) == len(windows)
    return () if stay and (not windows or node.x.lengths == node.output.lengths) else windows


def image_lengths(shape: Shape) -> Sizes:
    """Return the lengths of an input; of a vector those of an image of one position."""
    return shape.lengths or (1, 1)


def _extent(shape: Shape, axes: Axes) -> Sizes:
    """Return the number of a layer's positions for each axis of the input; () if its axes are others.

    A vector has one position. Tokens are counted on each axis: the field of a token has a span on each.
    """
    lengths, axes_seen = shape.lengths or (1,), len(axes)
    count = len(lengths)
    return lengths if count == axes_seen else lengths * axes_seen if count == 1 else ()


def _uniform(axes: Axes) -> bool:
    """Whether all positions see the same."""
    return not any(field.local or (field.fixed and field.fixed.period > 1) for field in axes)


def _image(length: int) -> Field:
    return Field((Laid(1, ((0, 0),)),), None, (0, length - 1), length, length)


def _field(node: Node, fields: list[Axes | None], windows: Any, room: Room) -> Axes | None:
    try:
        if node.op.unknown_reads:
            return _same([fields[i] for i in node.inputs])
        if node.op.joins:
            return _joined(node, [fields[i] for i in node.inputs], windows, room)
        axes = fields[node.inputs[0]]
        return _moved(node.x, node.output, axes, windows, room) if axes and windows else axes
    except TooMany:
        return None


def _same(branches: list[Axes | None]) -> Axes | None:
    """Return the fields of an operator whatever it reads: known if all positions of all inputs see the same."""
    (first, *others) = branches
    return first if first and _uniform(first) and all(axes == first for axes in others) else None


def _moved(x: Shape, y: Shape, axes: Axes, windows: Windows, room: Room) -> Axes | None:
    if isinstance(windows[0], Rearranged):
        return _rearranged(x, y, axes, windows[0], room)
    lengths = _extent(x, axes) and _extent(y, axes)
    if not lengths:
        return axes if _uniform(axes) else None
    rules = [rule for rule in windows if not isinstance(rule, Rearranged)] * (len(axes) // len(windows))
    made: list[Field] = []
    first = None
    for field, window, length in zip(axes, rules, lengths, strict=True):
        if first and field is first[0] and length == first[2] and window == first[1]:
            made.append(made[0])  # equal axes are computed once
        else:
            made.append(_step(field, window, length, room))
        first = first or (field, window, length)
    return _together(made)


def _rearranged(x: Shape, y: Shape, axes: Axes, rule: Rearranged, room: Room) -> Axes | None:
    """Return the fields of values in other axes: of an output position what all input positions of its values see.

    None if what positions of one row see depends on the column, since then it would be no box.
    """
    before, after = _extent(x, axes), _extent(y, axes)
    if x == y or (x.lengths != y.lengths and {*x.lengths, *y.lengths} <= {1}):
        return axes
    if {*x.lengths} <= {1} or {*y.lengths} <= {1}:
        axes = tuple([_all_of(field) for field in axes])
    if _uniform(axes):
        return tuple([field._replace(positions=n) for field, n in zip(axes, after or (1,) * len(axes), strict=True)])
    if not before or not after:
        return None
    made = []
    for axis, field in enumerate(axes):
        room.take(2 * (prod(x.lengths) + prod(y.lengths)))
        old, new = _places(x, axis), _places(y, axis)
        read = [[old[j] for j in rule.at(i)] for i in range(len(new))]
        local = _listed(field.local, read, new)
        fixed = _listed([field.fixed], read, new) if field.fixed and field.fixed.period > 1 else field.fixed
        if local is None or (field.fixed and not fixed):
            return None
        made.append(_cut((local,) * bool(field.local), fixed, field.reach, after[axis], field.image, room))
    return _together(made)


def _all_of(field: Field) -> Field:
    """Return the field of a position that sees what all positions see."""
    span = field.whole()
    return Field((), Laid(0, (span,)) if span else None, None, 1, field.image)


def _places(shape: Shape, axis: int) -> Sequence[int]:
    """Return for each position, in memory's order, where it lies on an axis; of tokens its number."""
    lengths = shape.lengths
    if len(lengths) == 1:
        return range(*lengths)
    return [place[axis] for place in product(*map(range, lengths))]


def _listed(tables: Sequence[Table], read: Sequence[Sequence[int]], places: Sequence[int]) -> Listed | None:
    """Return for each place what its positions see through some tables; None if they do not see the same."""
    spans: dict[int, Span] = {}
    for place, below in zip(places, read, strict=True):
        span = hull(table.at(j) for table in tables for j in below)
        if spans.setdefault(place, span) != span:
            return None
    return Listed(tuple([spans[place] for place in range(len(spans))]))


def _together(fields: Sequence[Field]) -> Axes:
    """Return the fields of all axes; a layer that sees nothing on one axis sees nothing on the others."""
    for field in fields:
        if not (field.local or field.fixed):
            return tuple([field._replace(local=(), fixed=None, reach=None) for field in fields])
    return tuple(fields)


def _step(field: Field, axis: Reads | Whole, positions: int, room: Room) -> Field:
    """Return the field of an operator that reads a layer with this field as `axis` describes."""
    if field.positions == 1 and not isinstance(axis, Window | Transposed | Piece):
        if positions == 1:
            return field
        axis = ALL  # one position is copied to many
    if isinstance(axis, Whole):
        span = field.whole()
        fixed: Table | None = Laid(0, (span,)) if span else None
        return field._replace(fixed=fixed) if axis.itself else Field((), fixed, None, positions, field.image)
    local = tuple([through(axis, table, positions, room) for table in field.local])
    fixed = field.fixed and through(axis, field.fixed, positions, room)
    return _cut(local, fixed, field.reach, positions, field.image, room)


def _cut(local: tuple[Table, ...], fixed: Table | None, reach: Span, positions: int, image: int, room: Room) -> Field:
    """Return a field with the reach cut to what its positions see; without a reach there is no local part."""
    touched = None
    if reach and local:
        first, last = _touched(local, positions) or (1, 0)
        first, last = max(first, reach[0]), min(last, reach[1])
        touched = (first, last) if first <= last else None
    if fixed and sees_nothing(fixed):
        fixed = None
    if len(local) > 1 or (fixed and fixed.period > 1):
        room.take(positions)  # figures compute each position
    return Field(local if touched else (), fixed, touched, positions, image)


def _touched(local: tuple[Table, ...], positions: int) -> Span:
    """Return what all positions see of an endless image; the first and last period of each table suffice."""
    if len(local) == 1 and type(local[0]) is Laid and len(local[0].spans) == 1:
        advance, (span,) = local[0]
        return span and (span[0], span[1] + (positions - 1) * advance)
    spans: list[Span] = []
    for table in local:
        period = min(table.period, positions)
        spans.append(table.over({*range(period), *range(positions - period, positions)}))
    return hull(spans)


def _joined(node: Node, branches: list[Axes | None], windows: OfBranches, room: Room) -> Axes | None:
    if windows:
        of_branches = [*zip(node.x, branches, windows, strict=True)]
        read = [(x, axes, rules) for x, axes, rules in of_branches if rules is not None]
        branches = [axes and _moved(x, node.output, axes, rules, room) for x, axes, rules in read]
    known = [axes for axes in branches if axes is not None]
    if len(known) < len(branches):
        return None
    for i in node.op.whole:
        lengths = _extent(node.output, known[i]) or (1,) * len(known[i])
        known[i] = tuple([_step(field, ALL, length, room) for field, length in zip(known[i], lengths, strict=True)])
    first = known[0]
    same = all(axes == first for axes in known)
    if same and (windows or all(shape.lengths == node.output.lengths for shape in node.x)):
        return first
    lengths = _extent(node.output, first) or (1,) * len(first)
    if not (_extent(node.output, first) or all(map(_uniform, known))):
        return None
    met: dict[tuple[int, ...], Field] = {}
    fields = []
    for positions, *branches_of_axis in zip(lengths, *known, strict=True):
        key = positions, *map(id, branches_of_axis)
        if key not in met:
            met[key] = _meet(branches_of_axis, positions, room)
        fields.append(met[key])
    return _together(fields)


def _meet(fields: Sequence[Field], positions: int, room: Room) -> Field:
    """Return the hull of branches: of their tables with equal strides, of their fixed parts, and of their reaches.

    A branch with one position that is copied to many is the same at each.
    """
    fields = [_step(field, ALL, positions, room) if field.positions < positions else field for field in fields]
    fixed = [field.fixed for field in fields if field.fixed]
    local = _by_stride([table for field in fields for table in field.local], positions, room)
    reach = hull(field.reach for field in fields)
    return Field(local, merge(fixed, positions, room) if fixed else None, reach, positions, fields[0].image)


def _by_stride(tables: Sequence[Table], positions: int, room: Room) -> tuple[Table, ...]:
    """Merge tables with the same stride."""
    if not tables:
        return ()
    if all(type(table) is Laid and table[0] == tables[0].advance and len(table[1]) == 1 for table in tables):
        return (Laid(tables[0].advance, (hull([table.at(0) for table in tables]),)),)
    strides: dict[tuple[int, int], list[Table]] = {}
    for table in tables:
        common = gcd(table.advance, table.period)
        strides.setdefault((table.advance // common, table.period // common), []).append(table)
    if len(strides) > 1:
        room.take(positions)  # figures will compute each position
    return tuple(merge(alike, positions, room) for alike in strides.values())
