"""The memory over one step, stacked by kind, allocation by allocation."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

from archcalc.analysis.memory_trace import KINDS
from archcalc.errors import shorten
from archcalc.render.pictures.sheets import Sheet, prefixed
from archcalc.render.table import size_text
from archcalc.render.tables.memory import conditions, later_batches
from archcalc.render.tables.summaries import about_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from archcalc.analysis.needed_memory import Needs

SIZE = (11.0, 6.0)
MOST = 2_000  # points; more would not be seen
ROOM = 3.6  # heights of small letters above the peak, for names


def draw(sheet: Sheet, needs: Needs) -> None:
    """Draw what is held at each moment of the step of the peak; mark the phases and the peak."""
    curve, graph = needs.curve(MOST), needs.graph
    sheet.frame(" · ".join(filter(None, [graph.name, about_text(graph.about)])), conditions(needs))
    ax = sheet.figure.add_subplot()
    factor, prefix = prefixed(needs.top.peak)
    plain = iter(sheet.theme.palette)
    colours = {"buffer": sheet.theme.rest, "input": sheet.theme.faint}
    below = [0.0] * len(curve.points)
    for i, (kind, title) in enumerate(KINDS.items()):
        colour = colours.get(kind) or next(plain)
        above = [base + point[i] / factor for base, point in zip(below, curve.points, strict=True)]
        if above != below:
            ax.stairs(above, baseline=below, fill=True, color=colour, linewidth=0, label=title, gid=kind)
        below = above
    ax.set(xlim=(0, len(below)), ylim=(0, needs.top.peak / factor), xticks=[])
    sheet.name_axes(ax, f"allocations and frees, in their order{later_batches(needs)}", f"{prefix}B")
    ax.grid(visible=False, axis="x")
    sheet.legend(False, ncols=3 if sheet.ems > 50 else 2)
    sheet.settle()
    _mark(sheet, ax, needs, curve.starts, below)


def _mark(sheet: Sheet, ax: Axes, needs: Needs, starts: list[tuple[str, int]], sums: list[float]) -> None:
    """Draw where phases begin, with the names for which there is room, and the peak."""
    box, above = ax.get_window_extent(), ROOM * sheet.small * sheet.dpi / 72
    if box.height < 2 * above:
        raise sheet.no_room()
    ax.set_ylim(0, max(sums) * box.height / (box.height - above))
    for (name, start), (_, end) in pairwise([*starts, ("", len(sums))]):
        ax.axvline(start, color=sheet.theme.ink, linewidth=0.6, gid="phase")
        left, right = (ax.transData.transform((x, 0))[0] for x in (start, end))
        if sheet.text_size(name, sheet.small)[0] + sheet.small < right - left:
            ax.text(
                start, 0.99, f" {name}", size=sheet.small, va="top", transform=ax.get_xaxis_transform(), gid="label"
            )
    at = max(range(len(sums)), key=sums.__getitem__)
    text = f"peak {size_text(needs.top.peak)}, in {needs.top.phase}"
    if layer := needs.layer_at(needs.top):
        text += f" at {shorten(layer)}"
    ax.plot(at + 0.5, sums[at], "o", color=sheet.theme.ink, markersize=3, gid="peak")
    around = {"facecolor": sheet.theme.paper, "edgecolor": "none", "pad": 1}
    left = max(0.0, min(1 - sheet.text_size(text, sheet.small)[0] / box.width, (at + 0.5) / len(sums)))
    ax.annotate(
        text, (left, sums[at]), (0, sheet.small * 0.8), textcoords="offset points", xycoords=ax.get_yaxis_transform(),
        size=sheet.small, bbox=around, gid="label",
    )  # fmt: skip
