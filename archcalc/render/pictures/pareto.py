"""Published accuracy against computed MACs, a ball's area the parameters: the picture of Canziani et al. 2016."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from archcalc.comparing.accuracy import DATASET, Point, frontier
from archcalc.errors import shorten
from archcalc.render.pictures.labels import Box
from archcalc.render.pictures.names import LEADER, Named, points_of, write_names
from archcalc.render.pictures.sheets import NORMAL, SMALL, Sheet, Theme, short, ticks_between

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SIZE = (13.0, 8.0)
LARGEST = 1700.0  # points² of the largest ball
SMALLEST = 9.0
CROWD = 30  # networks from which on labels are small
MAX_NAME = 40


def draw(sheet: Sheet, points: Sequence[Point]) -> list[str]:
    """Draw them; returns the names there was no room for."""
    sheet.frame("Top-1 accuracy on ImageNet against arithmetic and parameters", caption(points))
    ax = sheet.figure.add_subplot()
    colours = colours_of(points, sheet.theme)
    unit = LARGEST / max(p.params for p in points)
    line = _front_line(ax, points, sheet.theme)
    by_size = sorted(points, key=lambda p: -p.params)  # the small on top of the large
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
    return _label(sheet, ax, points, unit, folder)


def _front_line(ax: Axes, points: Sequence[Point], theme: Theme) -> Any:
    """The stairs of networks that none is better than with fewer MACs."""
    best = frontier(points)
    xs, ys = [p.macs / 1e9 for p in best], [p.top1 for p in best]
    (line,) = ax.plot(xs, ys, drawstyle="steps-post", color=theme.faint, linewidth=1, linestyle=(0, (4, 3)))
    return line


def colours_of(points: Sequence[Point], theme: Theme) -> dict[str, str]:
    """A colour for each of the largest families; the rest share one."""
    counts = Counter(p.family for p in points)
    largest = sorted(counts, key=lambda family: (-counts[family], family))
    own = dict(zip(largest, theme.palette, strict=False))
    return {family: own.get(family, theme.rest) for family in largest}


def shared_folder(names: Sequence[str]) -> str:
    """The folder that most names begin with, which labels leave out; "" if fewer than three do."""
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
    ax.set_xlabel("MACs of one image, in G (10⁹ multiply-accumulates of convolution and linear layers; log scale)")
    ax.set_ylabel("top-1 accuracy, in % (published)")


def _families(sheet: Sheet, colours: dict[str, str], folder: str, line: Any) -> Any:
    """The legend of colours and of the line."""
    from matplotlib.lines import Line2D

    theme = sheet.theme
    names = {shorten(family, 20): colour for family, colour in colours.items() if colour != theme.rest}
    rest = [family for family, colour in colours.items() if colour == theme.rest]
    names |= {shorten(rest[0], 20) if len(rest) == 1 else "others": theme.rest} if rest else {}
    dots = [Line2D([], [], marker="o", linestyle="", markersize=7, color=c, alpha=0.8) for c in names.values()]
    texts = [*names, "none is better\nwith fewer MACs"]
    handles = [*dots, line]
    if folder:
        handles.append(Line2D([], [], linestyle=""))
        texts.append(f"italic: name in\n{shorten(folder, 20)}")
    return sheet.figure.legend(handles, texts, title="family", loc="outside right upper", alignment="left")


def _sizes(sheet: Sheet, above: Any, largest: int, unit: float) -> None:
    """The legend of areas: balls that stand in one another, each with a line to its number."""
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
    """Round numbers for the legend, the first not above `largest`, the others a fifth and a fiftieth of it."""
    top = max(tick for tick in ticks_between(1e-9, 5e9) if tick * 1e3 <= max(largest, 1e-3)) * 1e3
    return [int(top / part) for part in (1, 5, 50) if top >= part]


def _label(sheet: Sheet, ax: Axes, points: Sequence[Point], unit: float, folder: str) -> list[str]:
    """Names beside the balls; in a crowd they are small and each has a line."""
    size, leader = (NORMAL, LEADER) if len(points) <= CROWD else (SMALL, -1.0)
    named = [
        Named(
            shorten(p.name.removeprefix(folder), MAX_NAME), p.macs / 1e9, p.top1, _radius(p.params, unit),
            "italic" if folder and p.name.startswith(folder) else "normal",
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
    """Of a ball, in points."""
    return math.sqrt(max(SMALLEST, params * unit)) / 2


def caption(points: Sequence[Point]) -> str:
    """Protocol, sources, remarks, conditions."""
    sources = "; ".join(dict.fromkeys(p.source for p in points))
    notes = [f"{shorten(p.name, MAX_NAME)}: {p.note}" for p in points if p.note]
    return " ".join(
        [
            f"Top-1 accuracy: {DATASET}, single crop as large as the network's own input, one network, as published:",
            f"{sources}.",
            *(["Where a source prints the error: 100 − error."] if any(p.error for p in points) else []),
            *notes,
            "MACs and params: computed, inference at that input.",
        ]
    )
