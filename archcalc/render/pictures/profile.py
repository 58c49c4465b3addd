"""Params, MACs and activations along depth: where the cost of a network is."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby, pairwise
from typing import TYPE_CHECKING, NamedTuple

from archcalc.analysis.at_least import AtLeast
from archcalc.analysis.figures import FIGURES
from archcalc.analysis.parts import total
from archcalc.analysis.report import Layer, Report
from archcalc.errors import shorten
from archcalc.graph.groups import grouped
from archcalc.render.pictures.sheets import Sheet, prefixed
from archcalc.render.table import bytes_text, cell, conditions_text, title_of
from archcalc.render.tables.summaries import by_block

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SIZE = (11.0, 7.0)
DRAWN = ("params", "macs", "activations")
MEANING = "MACs: multiply-accumulates of one forward pass; activations: values that layers write."
LEVELS = 3  # lines of block names above the panels
MAX_NAME = 24
FEW = 150  # most bars with gaps between them


class Bar(NamedTuple):
    """Consecutive layers and their figures; `block` is the first part of their name. Of `unknown` ones a part is."""

    name: str
    block: str
    params: int
    macs: int
    activations: int
    unknown: frozenset[str] = frozenset()


def bars(report: Report, depth: int | None = None) -> list[Bar]:
    """Return one bar per layer with weights (including the layers up to the next one), starting with the input.

    With `depth` return one bar per block, like the rows of `archcalc summarize --depth`.
    """
    layers = report.layers
    groups = by_block(layers, depth) if depth else grouped(layers, lambda layer, _: not layer.node.op.weighted)
    return [_bar(group, depth) for group in groups]


def _bar(group: Sequence[Layer], depth: int | None) -> Bar:
    path, sums = group[0].node.name.split("."), {key: total(group, key) for key in DRAWN}
    unknown = frozenset(key for key, value in sums.items() if value is None or type(value) is AtLeast)
    known = {key: value or 0 for key, value in sums.items()}
    return Bar(".".join(path[:depth]), path[0], **known, unknown=unknown)


def draw(sheet: Sheet, report: Report, depth: int | None = None) -> None:
    """Draw three panels over one axis, and the names of blocks above them."""
    found = bars(report, depth)
    sheet.frame(title_of(report.graph), caption(report))
    names = LEVELS * 1.4 * sheet.small  # points
    panel = (sheet.body[2] * 72 - names - 14 * sheet.normal) / 3
    if panel < 2 * sheet.normal:
        raise sheet.no_room()
    strip, *panels = sheet.figure.subplots(4, 1, sharex=True, height_ratios=[names, panel, panel, panel])
    for ax, figure, colour in zip(panels, DRAWN, sheet.theme.palette, strict=False):
        _panel(sheet, ax, found, figure, colour)
    stretches = blocks_of(found)
    for ax in panels:
        for start, stop, _ in stretches[::2]:
            ax.axvspan(start - 0.5, stop - 0.5, color=sheet.theme.band, zorder=0, linewidth=0)
    drawn = "blocks" if depth else "layers with weights, each with the layers after it"
    sheet.name_axes(panels[-1], f"{drawn}, in the order in which they run (0: the input)")
    panels[-1].set_xlim(-0.5, len(found) - 0.5)
    panels[-1].xaxis.get_major_locator().set_params(integer=True)
    strip.set(ylim=(0, LEVELS), yticks=[])
    strip.grid(visible=False)
    strip.tick_params(bottom=False)
    strip.spines[:].set_visible(False)
    sheet.settle()
    for ax, figure in zip(panels, DRAWN, strict=True):
        _write_total(sheet, ax, _total(figure, report))
    _name_blocks(sheet, strip, stretches)


def _panel(sheet: Sheet, ax: Axes, found: Sequence[Bar], figure: str, colour: str) -> None:
    values = [getattr(bar, figure) for bar in found]
    factor, prefix = prefixed(max(values))
    title = FIGURES[figure].title
    unit = " ".join(part for part in (prefix, FIGURES[figure].heading_unit) if part)
    edges = [i - 0.5 for i in range(len(values) + 1)]
    ax.stairs([value / factor for value in values], edges, fill=True, color=colour, linewidth=0, gid=figure, zorder=2)
    for i, bar in enumerate(found):
        if figure in bar.unknown:
            ax.text(i, values[i] / factor, "?", size=sheet.small, ha="center", va="bottom", gid="unknown")
    if len(values) <= FEW:
        tops = [max(pair) / factor for pair in pairwise(values)]
        ax.vlines(edges[1:-1], 0, tops, color=ax.get_figure().get_facecolor(), linewidth=0.8, zorder=2)
    ax.set_title(f"{title} ({unit})" if unit else title, loc="left", weight="bold")
    ax.set_ylim(0, max(1, *values) / factor * 1.05)
    ax.grid(visible=False, axis="x")
    ax.locator_params(axis="y", nbins=4 if sheet.body[2] * 72 > 40 * sheet.normal else 2)


def _write_total(sheet: Sheet, ax: Axes, text: str) -> None:
    """Write a total at the right, as much of it as has room beside the title."""
    room = ax.get_window_extent().width - sheet.text_size(ax.get_title(loc="left") + "  ", sheet.normal, "bold")[0]
    parts = text.split(" = ")
    fitting = [" = ".join(parts[:count]) for count in range(len(parts), 0, -1)]
    ax.set_title(
        next((t for t in fitting if sheet.text_size(t, sheet.small)[0] < room), ""), loc="right", size=sheet.small
    )


def _total(figure: str, report: Report) -> str:
    value = getattr(report.totals, figure)
    text = f"total {cell(value)}" + ", ?: unknown" * (value is None or isinstance(value, AtLeast))
    return f"{text} values = {bytes_text(report.totals.activation_bytes)}" if figure == "activations" else text


def blocks_of(found: Sequence[Bar]) -> list[tuple[int, int, str]]:
    """Return for each block its first bar, the bar after its last, and its name."""
    grouped = [
        (name, [i for i, _ in members]) for name, members in groupby(enumerate(found), key=lambda at: at[1].block)
    ]
    return [(positions[0], positions[-1] + 1, name) for name, positions in grouped]


def _name_blocks(sheet: Sheet, strip: Axes, stretches: Sequence[tuple[int, int, str]]) -> None:
    """Write names above the middle of their blocks on up to LEVELS lines; leave out names without room."""
    ends = [0.0] * LEVELS
    box = strip.get_window_extent()
    for start, stop, name in stretches:
        text = shorten(name, MAX_NAME)
        half = sheet.text_size(text, sheet.small)[0] / 2
        middle = strip.transData.transform(((start + stop - 1) / 2, 0))[0]
        middle = min(max(middle, box.x0 + half), box.x1 - half)
        level = next((i for i, end in enumerate(ends) if end + sheet.small <= middle - half), None)
        if level is not None:
            ends[level] = middle + half
            x = strip.transData.inverted().transform((middle, 0))[0]
            strip.text(x, level + 0.4, text, size=sheet.small, ha="center", va="center", gid="label")


def caption(report: Report) -> str:
    """Return the conditions and what the figures count; no FLOPs are drawn."""
    return f"{conditions_text(report.batch, report.dtype, report.mode, inputs=[report.graph.inputs_text])} · {MEANING}"
