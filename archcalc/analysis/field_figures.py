"""Figures of a receptive field: its status, sizes, stride and padding, in input positions.

The local size is that of the ideal field, which may extend outside the image. If part of a field is fixed, its size is
the part of the image that the position sees, or its local size if that is larger; for the whole input it is the image's
length. Stride and padding are those of the local part; what comes through a whole axis has none.
"""

import math
from collections.abc import Collection, Iterable, Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

from archcalc.analysis.field_tables import Listed, Span, Table, hull
from archcalc.analysis.receptive_field import Axes, Field

if TYPE_CHECKING:
    from fractions import Fraction

EXACT, VARIES, WHOLE, FIXED, UNKNOWN = "exact", "varies", "whole input", "fixed", "unknown"
EDGES = 16  # for a layer with fewer than this many periods, each position is computed
_OF = {
    "receptive_field": "size", "effective_padding": "padding", "field_status": "status", "field_min": "size_min",
    "field_period": "period", "field_fixed": "fixed", "field_seen": "seen", "field_seen_min": "seen_min",
    "local_field": "local", "local_field_min": "local_min",
}  # fmt: skip


class FieldFigures(NamedTuple):
    """The field on one axis. None: there is no local or fixed part, or more than one stride."""

    status: str
    size: int  # the largest size of any position
    size_min: int
    period: int | None  # number of positions after which spans repeat; None: 1, or several
    stride: "int | Fraction | None"
    padding: int | None
    local: int | None  # the largest local size
    local_min: int | None
    fixed: Span
    seen: int  # the largest and the smallest part of the image that a position sees
    seen_min: int


def figures(field: Field) -> FieldFigures:
    """Compute the figures of a field on one axis."""
    table = field.local[0] if len(field.local) == 1 and not isinstance(field.local[0], Listed) else None
    fixed = hull(map(field.fixed.at, range(min(field.fixed.period, field.positions)))) if field.fixed else None
    sizes = local = [_size(_local(field, i)) for i in _period(field)]
    if field.fixed and fixed == (0, field.image - 1) and field.fixed.period == 1:
        sizes, seen = [max(size, field.image) for size in local], [field.image]
    else:
        positions = _extremes(field)
        seen = [_size(_in_image(field, i)) for i in positions]
        if field.fixed:
            sizes = [max(_size(_local(field, i)), size) for i, size in zip(positions, seen, strict=True)]
    start = _local(field, 0)
    return FieldFigures(
        status=_status(fixed, field.image, min(sizes) < max(sizes)),
        size=max(sizes), size_min=min(sizes),
        period=table.period if table and 1 < table.period <= field.positions else None,
        stride=_stride(table) if table else None,
        padding=-start[0] if start else None,
        local=max(local) if field.local else None, local_min=min(local) if field.local else None,
        fixed=fixed, seen=max(seen), seen_min=min(seen),
    )  # fmt: skip


def _stride(table: Table) -> "int | Fraction":
    if table.advance % table.period == 0:
        return table.advance // table.period
    from fractions import Fraction  # it takes 2 ms to import

    return Fraction(table.advance, table.period)


def _status(fixed: Span, image: int, several: bool) -> str:
    if fixed:
        return WHOLE if fixed == (0, image - 1) else FIXED
    return VARIES if several else EXACT


@lru_cache(maxsize=256)
def by_key(axes: Axes | None) -> Mapping[str, Any]:
    """Return a layer's figures by the registry's keys, each with a value per axis; None if unknown.

    They are cached for layers with equal fields: nothing else in a row takes as long.
    """
    if axes is None:
        unknown = dict.fromkeys((*_OF, "effective_stride", "field_stride"))
        return MappingProxyType(unknown | {"field_status": (UNKNOWN, UNKNOWN)})
    every = by_axis(axes)
    made = {key: _known(getattr(one, name) for one in every) for key, name in _OF.items()}
    strides = [one.stride for one in every]
    whole = [int(stride) for stride in strides if stride is not None and stride.denominator == 1]
    made["effective_stride"] = tuple(whole) if len(whole) == len(every) else None
    made["field_stride"] = _known(stride and str(stride) for stride in strides)
    return MappingProxyType(made)


def _known(values: Iterable[Any]) -> tuple[Any, ...] | None:
    """Return the values of all axes; None if all are None."""
    every = tuple(values)
    return None if every.count(None) == len(every) else every


def largest_local(axes: Axes) -> int:
    """Return how many positions the largest local field has: height × width on an image."""
    return math.prod([max([_size(_local(field, i)) for i in _period(field)]) for field in axes])


def by_axis(axes: Axes) -> tuple[FieldFigures, ...]:
    """Return the figures for each axis; equal axes are computed once."""
    known = {id(field): figures(field) for field in {id(field): field for field in axes}.values()}
    return tuple([known[id(field)] for field in axes])


def _local(field: Field, i: int) -> Span:
    if len(field.local) == 1:
        return field.local[0].at(i)
    return hull([table.at(i) for table in field.local])


def _size(span: Span) -> int:
    return span[1] - span[0] + 1 if span else 0


def _period(field: Field) -> range:
    """Return positions that include all local sizes: one period, or all positions."""
    if not field.local:
        return range(1)
    return range(min(field.local[0].period, field.positions) if len(field.local) == 1 else field.positions)


def _in_image(field: Field, i: int) -> Span:
    span = _local(field, i)
    if span and field.reach:
        first, last = max(span[0], field.reach[0]), min(span[1], field.reach[1])
        span = (first, last) if first <= last else None
    return hull([span, field.fixed.at(i)]) if field.fixed else span


def _extremes(field: Field) -> Collection[int]:
    """Return positions that include those that see the largest and the smallest part of the image.

    With one table, and a fixed part that is missing or the same everywhere, what positions of one residue see grows or
    shrinks evenly until an end of their span passes an end of the reach or of the fixed part.
    """
    period = field.fixed.period if field.fixed else 1
    if not field.local:
        return range(min(period, field.positions))
    table, last = field.local[0], field.positions - 1
    if len(field.local) > 1 or period > 1 or field.positions < EDGES * table.period:
        return range(field.positions)
    edges = {*(field.reach or ()), *((field.fixed and field.fixed.at(0)) or ())}
    turns = (i for residue in range(table.period) for edge in edges for i in _passing(table, residue, edge))
    return {*range(table.period), *range(last - table.period + 1, last + 1), *(i for i in turns if 0 <= i <= last)}


def _passing(table: Table, residue: int, edge: int) -> Iterable[int]:
    """Return the positions of this residue just before and after each end of their span passes an edge."""
    span = table.at(residue) or ()
    turns = ((edge - end) // table.advance + after for end in span for after in (0, 1))
    return (residue + turn * table.period for turn in turns)
