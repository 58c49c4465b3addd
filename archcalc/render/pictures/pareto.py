"""Published accuracy against computed MACs; the area of a ball is the params: the picture of Canziani et al. 2016."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from archcalc.comparing.accuracy import DATASET, Point, frontier
from archcalc.errors import shorten
from archcalc.render.pictures.names import LEADER, Named, points_of, write_names
from archcalc.render.pictures.sheets import Sheet, Theme, short, ticks_between

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from archcalc.render.pictures.labels import Box

SIZE = (13.0, 8.0)
LARGEST = 1700.0  # area of the largest ball in points², on a sheet of this size
SMALLEST = 9.0
WIDE = 80  # letters M in the width of a sheet with the legend at the right; in others it is below
CROWD = 30  # with more networks labels are small
MAX_NAME = 40


def draw(sheet: Sheet, points: Sequence[Point]) -> list[str]:
    """Draw the points; return the names without room, which the caption counts."""
    sheet.frame("Top-1 accuracy on ImageNet against arithmetic and parameters", caption(points, len(points)))
    ax = sheet.figure.add_subplot()
    colours = colours_of(points, sheet.theme)
    unit = largest_ball(sheet) / max(p.params for p in points)
    line = _front_line(ax, points, sheet.theme)
    by_size = sorted(points, key=lambda p: -p.params)  # small ones on top
    ax.scatter(
        [p.macs / 1e9 for p in by_size], [p.top1 for p in by_size], [max(SMALLEST, p.params * unit) for p in by_size],
        [colours[p.family] for p in by_size], alpha=0.6, edgecolors=sheet.theme.paper, linewidths=0.7, zorder=3,
    )  # fmt: skip
    ax.scatter([p.macs / 1e9 for p in points], [p.top1 for p in points], 2.5, sheet.theme.ink, linewidths=0, zorder=4)
    folder = shared_folder([p.name for p in points])
    legend = _families(sheet, colours, folder, line)
    _sizes(sheet, legend.get_window_extent(sheet.measure), max(p.params for p in points), unit)
    _axes(sheet, ax, points)
    sheet.settle()
    unnamed = _label(sheet, ax, points, unit, folder)
    sheet.recaption(caption(points, len(unnamed)))
    return unnamed


def largest_ball(sheet: Sheet) -> float:
    """Return the area of the largest ball in points²: the same part of each sheet."""
    wide, high = sheet.figure.get_size_inches()
    return float(LARGEST * wide * high / math.prod(SIZE))


def _front_line(ax: Axes, points: Sequence[Point], theme: Theme) -> Any:
    """Draw the line of networks such that no network has higher accuracy with fewer MACs."""
    best = frontier(points)
    xs, ys = [p.macs / 1e9 for p in best], [p.top1 for p in best]
    (line,) = ax.plot(xs, ys, drawstyle="steps-post", color=theme.faint, linewidth=1, linestyle=(0, (4, 3)))
    return line


def colours_of(points: Sequence[Point], theme: Theme) -> dict[str, str]:
    """Assign a colour to each of the largest families; the others share one."""
    counts = Counter(p.family for p in points)
    largest = sorted(counts, key=lambda family: (-counts[family], family))
    own = dict(zip(largest, theme.palette, strict=False))
    return {family: own.get(family, theme.rest) for family in largest}


def shared_folder(names: Sequence[str]) -> str:
    """Return the most frequent folder of names, which labels leave out; "" if fewer than three have it."""
    counts = Counter(name[: name.rindex("/") + 1] for name in names if "/" in name)
    folder, count = counts.most_common(1)[0] if counts else ("", 0)
    return folder if count > 2 else ""


def _axes(sheet: Sheet, ax: Axes, points: Sequence[Point]) -> None:
    low, high = min(p.macs for p in points) / 1e9 / 1.3, max(p.macs for p in points) / 1e9 * 1.4
    ax.set_xscale("log")
    ax.set_xlim(low, high)
    ax.minorticks_off()
    ax.set_xticks(ticks := ticks_between(low, high, sheet.ems / 4), [f"{tick:g}" for tick in ticks])
    ax.margins(y=0.08)
    gmacs = "GMACs for one image (10⁹ multiply-accumulates of convolutions and linear layers; log scale)"
    sheet.name_axes(
        ax, gmacs if sheet.ems > WIDE else "GMACs for one image (log scale)", "top-1 accuracy, in % (published)"
    )


def _families(sheet: Sheet, colours: dict[str, str], folder: str, line: Any) -> Any:
    """Draw the legend of colours and of the line."""
    from matplotlib.lines import Line2D

    theme = sheet.theme
    names = {shorten(family, 20): colour for family, colour in colours.items() if colour != theme.rest}
    rest = [family for family, colour in colours.items() if colour == theme.rest]
    names |= {shorten(rest[0], 20) if len(rest) == 1 else "others": theme.rest} if rest else {}
    dots = [Line2D([], [], marker="o", linestyle="", markersize=7, color=c, alpha=0.8) for c in names.values()]
    texts = [*names, "no network is better\nwith fewer MACs"]
    handles = [*dots, line]
    if folder:
        handles.append(Line2D([], [], linestyle=""))
        texts.append(f"italic: name in\n{shorten(folder, 20)}")
    beside = sheet.ems > WIDE
    return sheet.legend(beside, handles, texts, title="family", ncols=1 if beside else 2)


def _sizes(sheet: Sheet, beside: Any, largest: int, unit: float) -> None:
    """Draw the legend of areas: nested balls, each with a line to its number."""
    from matplotlib.patches import Circle

    wide, high = sheet.figure.get_size_inches() * 72
    x0, y0, x1, y1 = (side * 72 / sheet.figure.dpi for side in beside.extents)
    largest_radius, line = _radius(ball_sizes(largest)[0], unit), 1.4 * sheet.small
    room = 9 * sheet.small + 2 * largest_radius, 3 * sheet.small + max(2 * largest_radius, 3 * line)
    left, bottom = (x0, y0 - sheet.small - room[1]) if sheet.ems > WIDE else (x1, y0)
    if bottom == y0:
        sheet.keep_out(bottom=max(0, room[1] - (y1 - y0)) / 72)
    ax = sheet.figure.add_axes((left / wide, bottom / high, room[0] / wide, room[1] / high), label="sizes")
    ax.set(xlim=(0, room[0]), ylim=(0, room[1]))
    ax.set_axis_off()
    ax.text(sheet.small / 2, room[1] - sheet.small / 2, "params, by area", size=sheet.small, va="top")
    middle, end, below = sheet.small + largest_radius, 2 * sheet.small + 2 * largest_radius, -line
    for size in reversed(ball_sizes(largest)):
        radius = _radius(size, unit)
        ax.add_patch(Circle((middle, 2 + radius), radius, facecolor=sheet.theme.rest, edgecolor=sheet.theme.ink,
                            alpha=0.35, linewidth=0.6))  # fmt: skip
        below = max(2 + 2 * radius, below + line)
        ax.plot([middle, end], [2 + 2 * radius, below], color=sheet.theme.faint, linewidth=0.5)
        ax.text(end + 2, below, short(size), size=sheet.small, va="center")


def ball_sizes(largest: int) -> list[int]:
    """Return round numbers for the legend: one not above `largest`, and a fifth and a fiftieth of it."""
    top = max(tick for tick in ticks_between(1e-9, 5e9) if tick * 1e3 <= max(largest, 1e-3)) * 1e3
    return [int(top / part) for part in (1, 5, 50) if top >= part]


def _label(sheet: Sheet, ax: Axes, points: Sequence[Point], unit: float, folder: str) -> list[str]:
    """Write names beside the balls, those on the line first; if there are many, names are small and each has a line."""
    best = frontier(points)
    size, leader = (sheet.normal, LEADER) if len(points) <= CROWD and sheet.ems > WIDE else (sheet.small, -1.0)
    named = [
        Named(
            shorten(p.name.removeprefix(folder), MAX_NAME), p.macs / 1e9, p.top1, _radius(p.params, unit),
            "italic" if folder and p.name.startswith(folder) else "normal", "normal" if p.source else "bold",
            first=p in best or not p.source,
        )
        for p in points
    ]  # fmt: skip
    return [points[i].name for i in write_names(sheet, ax, named, size, leader, _stairs(ax, points))]


def _stairs(ax: Axes, points: Sequence[Point]) -> list[Box]:
    """The line's stretches on the sheet, in points: each goes right, then up."""
    at = [points_of(ax, p.macs / 1e9, p.top1) for p in frontier(points)]
    flat = [(x, y, right, y) for (x, y), (right, _) in pairwise(at)]
    return flat + [(x, y, x, top) for (_, y), (x, top) in pairwise(at)]


def _radius(params: int, unit: float) -> float:
    """Return a ball's radius in points."""
    return math.sqrt(max(SMALLEST, params * unit)) / 2


def caption(points: Sequence[Point], unnamed: int = 0) -> str:
    """Return protocol, sources, remarks, conditions, and how many networks have no name."""
    sources = "; ".join(dict.fromkeys(p.source for p in points if p.source))
    notes = [f"{shorten(p.name, MAX_NAME)}: {p.note}" for p in points if p.note]
    said = [
        f"Top-1 accuracy: {DATASET}, one network, single crop of the size of its input"
        + (f", as published in: {sources}." if sources else "."),
        *(["Bold: the authors' own figure."] if any(not p.source for p in points) else []),
        *(["If a source prints the error: 100 − error."] if any(p.error for p in points) else []),
        *notes,
        "MACs and params: computed, at inference with that input.",
        *([f"Without a name, for lack of room: {unnamed} of {len(points)} networks."] if unnamed else []),
    ]
    return " ".join(said)
