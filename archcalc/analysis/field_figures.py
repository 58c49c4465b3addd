"""What a receptive field comes to: its status, sizes, stride and padding, in input positions.

Sizes are those of the ideal field, which may reach outside the image: local and fixed part together. Where every
position sees the whole input, that is the image's length, or the local size where it is larger. Stride and padding are
the local part's; what comes through a whole axis has none.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from fractions import Fraction
from functools import lru_cache
from types import MappingProxyType
from typing import Any, NamedTuple

from archcalc.analysis.field_tables import Span, Table, hull
from archcalc.analysis.receptive_field import Axes, Field

EXACT, VARIES, WHOLE, FIXED, UNKNOWN = "exact", "varies", "whole input", "fixed", "unknown"
KEYS = (
    "receptive_field", "effective_stride", "effective_padding", "field_status", "field_min", "field_period",
    "field_stride", "field_fixed", "field_seen", "field_seen_min", "local_field", "local_field_min",
)  # fmt: skip


class Figures(NamedTuple):
    """The field on one axis. What there is not is None: a stride where none is the one, a local part, a fixed one."""

    status: str
    size: int  # the largest of any position
    size_min: int
    period: int | None  # after so many positions spans repeat; None: after each, or there is no one period
    stride: Fraction | None
    padding: int | None
    local: int | None  # the largest local size
    local_min: int | None
    fixed: Span
    seen: int  # the most and the least that one position sees of the image
    seen_min: int


def figures(field: Field) -> Figures:
    """The figures of a field on one axis."""
    table = field.local[0] if len(field.local) == 1 else None
    fixed = hull(map(field.fixed.at, range(min(field.fixed.period, field.positions)))) if field.fixed else None
    whole = local = [_size(_local(field, i)) for i in _period(field)]
    if field.fixed and fixed == (0, field.image - 1) and field.fixed.period == 1:
        whole = [max(size, field.image) for size in local]
    elif field.fixed:
        whole = [_size(hull([_local(field, i), field.fixed.at(i)])) for i in _extremes(field, fixed)]
    start = _local(field, 0)
    most, least = _seen(field, fixed)
    return Figures(
        status=_status(fixed, field.image, min(whole) < max(whole)),
        size=max(whole), size_min=min(whole),
        period=table.period if table and 1 < table.period <= field.positions else None,
        stride=Fraction(table.advance, table.period) if table else None,
        padding=-start[0] if start else None,
        local=max(local) if field.local else None, local_min=min(local) if field.local else None,
        fixed=fixed, seen=most, seen_min=least,
    )  # fmt: skip


def _status(fixed: Span, image: int, several: bool) -> str:
    if fixed:
        return WHOLE if fixed == (0, image - 1) else FIXED
    return VARIES if several else EXACT


@lru_cache(maxsize=256)
def by_key(axes: Axes | None) -> Mapping[str, Any]:
    """The figures of a layer as tables and totals name them, each by height and width; None where unknown.

    Worked out once for layers that see the same: that takes longer than all else in a row.
    """
    if axes is None:
        return MappingProxyType(dict.fromkeys(KEYS, None) | {"field_status": (UNKNOWN, UNKNOWN)})
    both = pair(axes)
    strides = [one.stride for one in both]
    whole = None if None in strides or any(stride.denominator > 1 for stride in strides if stride) else strides
    made = {
        "receptive_field": _both(one.size for one in both),
        "effective_stride": whole and _both(int(stride) for stride in whole if stride is not None),
        "effective_padding": _both(one.padding for one in both),
        "field_status": _both(one.status for one in both),
        "field_min": _both(one.size_min for one in both),
        "field_period": _both(one.period for one in both),
        "field_stride": _both(stride and str(stride) for stride in strides),
        "field_fixed": _both(one.fixed for one in both),
        "field_seen": _both(one.seen for one in both),
        "field_seen_min": _both(one.seen_min for one in both),
        "local_field": _both(one.local for one in both),
        "local_field_min": _both(one.local_min for one in both),
    }
    return MappingProxyType(made)


def _both(values: Iterable[Any]) -> tuple[Any, Any] | None:
    """Height and width; None where neither has any."""
    height, width = values
    return None if height is width is None else (height, width)


def largest_local(axes: Axes) -> int:
    """Height times width of the largest local field."""
    height, width = (max(_size(_local(field, i)) for i in _period(field)) for field in axes)
    return height * width


def pair(axes: Axes) -> tuple[Figures, Figures]:
    """The figures by height and width."""
    height = figures(axes[0])
    return height, height if axes[1] is axes[0] else figures(axes[1])


def _local(field: Field, i: int) -> Span:
    if len(field.local) == 1:
        return field.local[0].at(i)
    return hull([table.at(i) for table in field.local])


def _size(span: Span) -> int:
    return span[1] - span[0] + 1 if span else 0


def _period(field: Field) -> range:
    """Positions that have all local sizes: one period, or all there are."""
    if not field.local:
        return range(1)
    return range(min(field.local[0].period, field.positions) if len(field.local) == 1 else field.positions)


def _seen(field: Field, fixed: Span) -> tuple[int, int]:
    """The most and the least that one position sees of the image."""
    if field.fixed and fixed == (0, field.image - 1) and field.fixed.period == 1:
        return field.image, field.image
    sizes = [_size(_in_image(field, i)) for i in (range(field.positions) if fixed else _extremes(field, field.reach))]
    return max(sizes), min(sizes)


def _in_image(field: Field, i: int) -> Span:
    span = _local(field, i)
    if span and field.reach:
        first, last = max(span[0], field.reach[0]), min(span[1], field.reach[1])
        span = (first, last) if first <= last else None
    return hull([span, field.fixed.at(i)]) if field.fixed else span


def _extremes(field: Field, stretch: Span) -> Iterable[int]:
    """Positions among which are those that overlap most and least with a stretch: first, last, nearest to its center.

    With one table what positions of one residue share with it, or span with it, grows or shrinks up to there, and then
    the other way.
    """
    if len(field.local) != 1 or not stretch or (field.fixed and field.fixed.period > 1):
        return range(field.positions)
    table, last = field.local[0], field.positions - 1
    period = min(table.period, field.positions)
    middles = (i for residue in range(period) for i in _middle(table, residue, sum(stretch)))
    return {*range(period), *range(last - period + 1, last + 1), *(i for i in middles if 0 <= i <= last)}


def _middle(table: Table, residue: int, twice: int) -> Iterable[int]:
    """The two positions of this residue whose spans are nearest to a center, given twice."""
    span = table.at(residue)
    if not span:
        return ()
    turns = (twice - sum(span)) // (2 * table.advance)
    return (residue + turns * table.period, residue + (turns + 1) * table.period)
