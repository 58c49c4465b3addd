"""Two figures of all combinations of a sweep, and the line of those that no other combination beats."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

from archcalc.analysis.figures import FIGURES
from archcalc.errors import counted, shorten
from archcalc.render.pictures.sheets import Sheet, prefixed

Row: TypeAlias = dict[str, Any]
SIZE = (9.0, 6.0)
NAMED = 7  # most values of a name with a colour each


def front(xs: Sequence[float], ys: Sequence[float]) -> list[int]:
    """Return the places of the points that no other point with as small an x beats in y, by rising x."""
    best: list[int] = []
    for i in sorted(range(len(xs)), key=lambda i: (xs[i], -ys[i])):
        if not best or ys[i] > ys[best[-1]]:
            best.append(i)
    return best


def draw(sheet: Sheet, name: str, axes: Sequence[str], rows: Sequence[Row], by: str, conditions: str) -> None:
    """Draw each combination at its values of two `axes`, in the colour of its value of `by`; with the front."""
    x, y = axes
    left_out = sum(row[x] is None or row[y] is None for row in rows)
    rows = [row for row in rows if row[x] is not None and row[y] is not None]
    said = f"{conditions}. Line: the largest {_named(y)} up to each value of {_named(x)}."
    omitted = f" Without a figure, so not drawn: {counted(left_out, 'combination')}." if left_out else ""
    sheet.frame(f"{shorten(name)}: {_named(y)} against {_named(x)}", said + omitted)
    values = list(dict.fromkeys(row[by] for row in rows))
    colours = sheet.theme.palette if len(values) <= NAMED else [sheet.theme.palette[0]] * len(values)
    ax = sheet.figure.add_subplot()
    scales = [prefixed(max(row[axis] for row in rows)) for axis in axes]
    for value, colour in zip(values, colours, strict=False):
        own = [row for row in rows if row[by] == value]
        ax.scatter(*_scaled(own, axes, scales), 14, colour, linewidths=0, alpha=0.8, label=f"{by} {value}", zorder=3)
    best = [rows[i] for i in front([row[x] for row in rows], [row[y] for row in rows])]
    ax.plot(*_scaled(best, axes, scales), drawstyle="steps-post", color=sheet.theme.faint, linewidth=1, zorder=2)
    labels = []
    for own_axis, axis, (_, prefix) in zip((ax.xaxis, ax.yaxis), axes, scales, strict=True):
        own_axis.set_major_formatter("{x:,.10g}")  # ticks may differ in late digits
        unit = FIGURES[axis].heading_unit.replace("bytes", "B") if axis in FIGURES else ""
        unit = prefix + unit if unit == "B" else f"{prefix} {unit}".strip()
        labels.append(f"{_named(axis)} ({unit})" if unit else _named(axis))
    if len(values) <= NAMED:
        sheet.legend(True, *ax.get_legend_handles_labels())
    sheet.name_axes(ax, *labels)
    sheet.settle()


def _named(axis: str) -> str:
    return FIGURES[axis].title if axis in FIGURES else axis


def _scaled(rows: Sequence[Row], axes: Sequence[str], scales: Sequence[tuple[float, str]]) -> list[list[float]]:
    return [[row[axis] / factor for row in rows] for axis, (factor, _) in zip(axes, scales, strict=True)]
