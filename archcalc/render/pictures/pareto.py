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
from archcalc.render.pictures.sheets import NORMAL, SMALL, Sheet, Theme, short, ticks_between

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from archcalc.render.pictures.labels import Box

SIZE = (13.0, 8.0)
LARGEST = 1700.0  # area of the largest ball, in points²
SMALLEST = 9.0
CROWD = 30  # with more networks labels are small
MAX_NAME = 40


def draw(sheet: Sheet, points: Sequence[Point]) -> list[str]:
    """Draw the points; return the names without room, which the caption counts."""
    sheet.frame("Top-1 accuracy on ImageNet against arithmetic and parameters", caption(points, len(points)))
    ax = sheet.figure.add_subplot()
    colours = colours_of(points, sheet.theme)
    unit = LARGEST / max(p.params for p in points)
    line = _front_line(ax, points, sheet.theme)
    by_size = sorted(points, key=lambda p: -p.params)  # small ones on top
    ax.scatter(
        [p.macs / 1e9 for p in by_size], [p.top1 for p in by_size], [max(SMALLEST, p.params * unit) for p in by_size],
        [colours[p.family] for p in by_size], alpha=0.6, edgecolors=sheet.theme.paper, linewidths=0.7, zorder=3,
    )  # fmt: skip
    ax.scatter([p.macs / 1e9 for p in points], [p.top1 for p in points], 2.5, sheet.theme.ink, linewidths=0, zorder=4)
    _axes(ax, points)
    folder = shared_folder([p.name for p in points])
    legend = _families(sheet, colours, folder, line)
    sheet.settle()
    _sizes(sheet, legend.get_window_extent(), max(p.params for p in points), unit)
    unnamed = _label(sheet, ax, points, unit, folder)
    sheet.recaption(caption(points, len(unnamed)))
    return unnamed


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


def _axes(ax: Axes, points: Sequence[Point]) -> None:
    low, high = min(p.macs for p in points) / 1e9 / 1.3, max(p.macs for p in points) / 1e9 * 1.4
    ax.set_xscale("log")
    ax.set_xlim(low, high)
    ax.minorticks_off()
    ax.set_xticks(ticks := list(ticks_between(low, high)), [f"{tick:g}" for tick in ticks])
    ax.margins(y=0.08)
    ax.set_xlabel("GMACs for one image (10⁹ multiply-accumulates of convolutions and linear layers; log scale)")
    ax.set_ylabel("top-1 accuracy, in % (published)")


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
    return sheet.figure.legend(handles, texts, title="family", loc="outside right upper", alignment="left")


def _sizes(sheet: Sheet, above: Any, largest: int, unit: float) -> None:
    """Draw the legend of areas: nested balls, each with a line to its number."""
    from matplotlib.patches import Circle

    wide, high = sheet.figure.get_size_inches() * 72
    left, top = above.x0 * 72 / sheet.figure.dpi, above.y0 * 72 / sheet.figure.dpi - 14
    room = above.width * 72 / sheet.figure.dpi, 20 + (ball_sizes(largest)[0] * unit) ** 0.5
    ax = sheet.figure.add_axes((left / wide, (top - room[1]) / high, room[0] / wide, room[1] / high), label="sizes")
    ax.set(xlim=(0, room[0]), ylim=(0, room[1]))
    ax.set_axis_off()
    ax.text(4, room[1], "params, by area", size=SMALL, va="top")
    for size in ball_sizes(largest):
        radius = _radius(size, unit)
        ax.add_patch(Circle((30, 4 + radius), radius, facecolor=sheet.theme.rest, edgecolor=sheet.theme.ink,
                            alpha=0.35, linewidth=0.6))  # fmt: skip
        ax.plot([30, 60], [4 + 2 * radius] * 2, color=sheet.theme.faint, linewidth=0.5)
        ax.text(62, 4 + 2 * radius, short(size), size=SMALL, va="center")


def ball_sizes(largest: int) -> list[int]:
    """Return round numbers for the legend: one not above `largest`, and a fifth and a fiftieth of it."""
    top = max(tick for tick in ticks_between(1e-9, 5e9) if tick * 1e3 <= max(largest, 1e-3)) * 1e3
    return [int(top / part) for part in (1, 5, 50) if top >= part]


def _label(sheet: Sheet, ax: Axes, points: Sequence[Point], unit: float, folder: str) -> list[str]:
    """Write names beside the balls, those on the line first; if there are many, names are small and each has a line."""
    best = frontier(points)
    size, leader = (NORMAL, LEADER) if len(points) <= CROWD else (SMALL, -1.0)
    named = [
        Named(
            shorten(p.name.removeprefix(folder), MAX_NAME), p.macs / 1e9, p.top1, _radius(p.params, unit),
            "italic" if folder and p.name.startswith(folder) else "normal", first=p in best,
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
    sources = "; ".join(dict.fromkeys(p.source for p in points))
    notes = [f"{shorten(p.name, MAX_NAME)}: {p.note}" for p in points if p.note]
    said = [
        f"Top-1 accuracy: {DATASET}, one network, single crop of the size of its input, as published in: {sources}.",
        *(["If a source prints the error: 100 − error."] if any(p.error for p in points) else []),
        *notes,
        "MACs and params: computed, at inference with that input.",
        *([f"Without a name, for lack of room: {unnamed} of {len(points)} networks."] if unnamed else []),
    ]
    return " ".join(said)
