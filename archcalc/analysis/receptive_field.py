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
from math import gcd
from typing import NamedTuple, TypeAlias

from archcalc.analysis.field_tables import Laid, Room, Span, Table, TooMany, hull, merge, sees_nothing, through
from archcalc.analysis.once_per_graph import of_equals
from archcalc.graph.graph import Graph, Node
from archcalc.ops.base import Shape, Sizes
from archcalc.ops.reads import ALL, EACH, Axis, Transposed, Whole, Window


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


def _windows(node: Node) -> Windows | None:
    """Return what positions read; nothing if each reads its own position only, None for a join."""
    windows = () if node.op.joins else node.op.window(node.x)
    return None if node.op.joins else () if windows.count(EACH) == len(windows) else windows


def image_lengths(shape: Shape) -> Sizes:
    """Return the lengths of an input; of a vector those of an image of one position."""
    return shape.lengths or (1, 1)


def _extent(shape: Shape, axes: Axes) -> Sizes:
    """Return the lengths of a layer; a vector has one position on each axis of the input."""
    return shape.lengths or (1,) * len(axes)


def _image(length: int) -> Field:
    return Field((Laid(1, ((0, 0),)),), None, (0, length - 1), length, length)


def _field(node: Node, fields: list[Axes | None], windows: Windows | None, room: Room) -> Axes | None:
    try:
        if windows is None:
            return _joined(node, [fields[i] for i in node.inputs], room)
        axes = fields[node.inputs[0]]
        return _moved(node, axes, windows, room) if axes and windows else axes
    except TooMany:
        return None


def _moved(node: Node, axes: Axes, windows: Windows, room: Room) -> Axes:
    made: list[Field] = []
    first = None
    for field, window, length in zip(axes, windows, _extent(node.output, axes), strict=True):
        if first and field is first[0] and length == first[2] and window == first[1]:
            made.append(made[0])  # equal axes are computed once
        else:
            made.append(_step(field, window, length, room))
        first = first or (field, window, length)
    return _together(made)


def _together(fields: Sequence[Field]) -> Axes:
    """Return the fields of all axes; a layer that sees nothing on one axis sees nothing on the others."""
    for field in fields:
        if not (field.local or field.fixed):
            return tuple([field._replace(local=(), fixed=None, reach=None) for field in fields])
    return tuple(fields)


def _step(field: Field, axis: Axis, positions: int, room: Room) -> Field:
    """Return the field of an operator that reads a layer with this field as `axis` describes."""
    if field.positions == 1 and not isinstance(axis, Window | Transposed):
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


def _joined(node: Node, branches: list[Axes | None], room: Room) -> Axes | None:
    known = [axes for axes in branches if axes is not None]
    if len(known) < len(branches):
        return None
    for i in node.op.whole:
        lengths = _extent(node.output, known[i])
        known[i] = tuple([_step(field, ALL, length, room) for field, length in zip(known[i], lengths, strict=True)])
    first = known[0]
    if all(axes == first for axes in known) and all(shape.lengths == node.output.lengths for shape in node.x):
        return first
    met: dict[tuple[int, ...], Field] = {}
    fields = []
    for positions, *branches_of_axis in zip(_extent(node.output, first), *known, strict=True):
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
