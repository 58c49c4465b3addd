"""Names beside points, with a line to the point if the name is far away or could belong to another one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from archcalc.render.pictures.sheets import Sheet

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from archcalc.render.pictures.labels import Box, Placed, Spot

LEADER = 3.0  # distance in points above which a line leads to the name
RIVAL = 8.0  # distance in points below which the name could belong to another point
EDGE = 3.0  # margin in points within the axes


class Named(NamedTuple):
    """A name and its ball: x and y on the scales of the axes, the radius in points."""

    text: str
    x: float
    y: float
    radius: float
    style: str = "normal"
    weight: str = "normal"
    colour: str = ""  # of the line to it; "": the text's colour
    first: bool = False  # if there is no room for all, names that are first stay


def points_of(ax: Axes, x: float, y: float) -> tuple[float, float]:
    """Convert coordinates of the axes to points on the sheet."""
    dots = 72 / ax.figure.dpi
    right, up = ax.transData.transform((x, y))
    return float(right) * dots, float(up) * dots


def write_names(
    sheet: Sheet, ax: Axes, named: Sequence[Named], size: float, leader: float = LEADER, lines: Sequence[Box] = ()
) -> list[int]:
    """Write names within the axes and avoid `lines`; return the indices of names without room."""
    from archcalc.render.pictures.labels import place

    spots = [_spot(sheet, ax, one, size) for one in named]
    dots, box = 72 / sheet.figure.dpi, ax.get_window_extent()
    bounds = (box.x0 * dots + EDGE, box.y0 * dots + EDGE, box.x1 * dots, box.y1 * dots)
    placed = place(spots, bounds, lines)
    for one, spot, where in zip(named, spots, placed, strict=True):
        if where:
            _write(sheet, one, where, size)
            if where.distance > leader or where.rival < RIVAL:
                _lead(sheet, one, spot, where)
    return [i for i, where in enumerate(placed) if where is None]


def _spot(sheet: Sheet, ax: Axes, one: Named, size: float) -> Spot:
    from matplotlib.text import Text

    from archcalc.render.pictures.labels import Spot

    text = Text(text=one.text, size=size, style=one.style, weight=one.weight, figure=sheet.figure)
    box, dots = text.get_window_extent(sheet.measure), 72 / sheet.figure.dpi
    return Spot(*points_of(ax, one.x, one.y), one.radius, box.width * dots + 2, box.height * dots, one.first)


def _write(sheet: Sheet, one: Named, where: Placed, size: float) -> None:
    from matplotlib.patheffects import withStroke

    wide, high = sheet.figure.get_size_inches() * 72
    sheet.figure.text(
        where.x / wide, where.y / high, one.text, size=size, style=one.style, weight=one.weight, ha="center",
        va="center", gid="label", path_effects=[withStroke(linewidth=1.6, foreground=sheet.theme.paper)], zorder=6,
    )  # fmt: skip


def _lead(sheet: Sheet, one: Named, spot: Spot, where: Placed) -> None:
    """Draw a line from the center of the ball to the label."""
    from matplotlib.lines import Line2D

    wide, high = sheet.figure.get_size_inches() * 72
    end = _clip(spot.x, where.x, spot.width), _clip(spot.y, where.y, spot.height)
    line = Line2D(
        (spot.x / wide, end[0] / wide), (spot.y / high, end[1] / high), color=one.colour or sheet.theme.ink,
        linewidth=0.45, transform=sheet.figure.transFigure, zorder=5, gid="leader",
    )  # fmt: skip
    sheet.figure.add_artist(line)


def _clip(value: float, middle: float, width: float) -> float:
    return min(max(value, middle - width / 2), middle + width / 2)
