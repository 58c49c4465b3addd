"""The receptive field along depth, one line per network."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

from archcalc.analysis.field_figures import FIXED, WHOLE, by_axis
from archcalc.analysis.report import Report, Totals
from archcalc.errors import ArchcalcError, shorten
from archcalc.graph.groups import grouped
from archcalc.render.pictures.names import Named, points_of, write_names
from archcalc.render.pictures.sheets import LIGHT, Sheet, largest, ticks_between
from archcalc.render.table import MODE_NAMES
from archcalc.render.tables.field_words import field_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from archcalc.render.pictures.labels import Box

SIZE = (10.0, 5.6)
MAX_NAME = 30
FEW = 60  # most weighted layers with a mark each
STEEP = 12  # the scale is logarithmic if fields, or field and input, differ by more than this factor
DASHES: Sequence[Any] = ("-", (0, (5, 2)), (0, (1, 1.5)), (0, (5, 1, 1, 1)))
LIMIT = len(DASHES) * len(LIGHT.palette)  # they have no common factor, so all these pairs are different
WHOLE_INPUT = " Whole: some layers read every position, so each position sees the whole input; local: without them."
END = 2.5  # points, radius of the dot at the end of a line
PIECES = 40  # number of pieces of a line, about, for placing names


class Curve(NamedTuple):
    """A network's receptive field in pixels by depth from 0 on, None if unknown; `input` is the image's longer side.

    `end` is the last field as text.
    """

    name: str
    shape: Sequence[int]
    input: int | None
    fields: Sequence[int | None]
    end: str


def curve(report: Report) -> Curve:
    """Find for each depth the largest field of the layers up to it, until the last layer that has positions.

    A field is the larger of height and width, including paths through a whole axis. The line never falls, not even at
    the layers of a gate. A depth is unknown if the field of any of its layers is.
    """
    by_depth: dict[int, list[int | None]] = {}
    for layer in report.layers:
        if not layer.node.side:
            size = max(axis.size for axis in by_axis(layer.field)) if layer.field else None
            by_depth.setdefault(layer.depth, []).append(size)
        if layer.node.name == report.totals.receptive_field_at:
            break
    known = [largest(by_depth.get(depth, [None])) for depth in range(max(by_depth) + 1)]
    fields = [size and max(filter(None, known[: depth + 1])) for depth, size in enumerate(known)]
    shape = report.graph.input
    end = _end_text(report.totals, fields[-1])
    return Curve(report.graph.name, shape, max(shape.lengths, default=None), fields, end)


def _end_text(totals: Totals, size: int | None) -> str:
    """Describe the last field: `427`; like in tables, `whole, local 427` if paths lead through a whole axis.

    Without `size` the line ends before the network does.
    """
    if size is None:
        return "unknown from here on"
    return f"{size:,}" if {WHOLE, FIXED}.isdisjoint(totals.field_status) else field_text(totals.field)


def few(names: Sequence[str]) -> Sequence[str]:
    """Return the names. Raises ArchcalcError if there are more than distinguishable lines."""
    if len(names) > LIMIT:
        raise ArchcalcError(f"{len(names)} networks are too many to distinguish their lines; name at most {LIMIT}")
    return names


def draw(sheet: Sheet, reports: Sequence[Report]) -> list[str]:
    """Draw a line per network, named at its end, and one per input size; return the names without room."""
    curves = [curve(report) for report in reports]
    only = f" of {shorten(curves[0].name, MAX_NAME)}" if len(curves) == 1 else ""
    sheet.frame(f"Receptive field{only} along depth", caption(reports, curves))
    ax = sheet.figure.add_subplot()
    for i, found in enumerate(curves):
        _line(sheet, ax, found, i)
    inputs = sorted({c.input for c in curves if c.input})
    for size in inputs:
        ax.axhline(size, color=sheet.theme.ink, linewidth=0.9, linestyle=(0, (2, 2)), gid="input")
    _axes(sheet, ax, curves, inputs)
    sheet.figure.draw_without_rendering()  # names need the distances between their lines
    _name_inputs(sheet, ax, inputs)
    sheet.settle()
    return _name_ends(sheet, ax, curves, inputs)


def _colour(sheet: Sheet, i: int) -> str:
    return sheet.theme.palette[i % len(sheet.theme.palette)]


def _line(sheet: Sheet, ax: Axes, found: Curve, i: int) -> None:
    """Draw a line; neighbours differ in colour and dashes, and no two of LIMIT lines agree in both."""
    ys = [float("nan") if size is None else size for size in found.fields]
    ax.plot(
        range(len(ys)), ys, marker="o" if len(ys) <= FEW else "", markersize=sheet.normal / 3, linewidth=1.6,
        color=_colour(sheet, i), linestyle=DASHES[i % len(DASHES)], label=found.name, zorder=3,
    )  # fmt: skip


def _name_ends(sheet: Sheet, ax: Axes, curves: Sequence[Curve], inputs: Sequence[int]) -> list[str]:
    """Write names and fields at the ends of lines; return the names without room."""
    left, right = ax.get_xlim()  # a logarithmic scale has no 0
    lines = [stretch for c in curves for stretch in _stretches(ax, c)]
    lines += [(*points_of(ax, left, size), *points_of(ax, right, size)) for size in inputs]
    shown = [(i, c, end) for i, c in enumerate(curves) if (end := _end(c))]
    named = [
        Named(f"{shorten(c.name, MAX_NAME)}: {c.end}",
              max(end[0], left), end[1], END, colour=_colour(sheet, i))
        for i, c, end in shown
    ]  # fmt: skip
    for one in named:
        ax.plot(one.x, one.y, "o", markersize=2 * END, color=one.colour, zorder=4, gid="end")
    return [shown[i][1].name for i in write_names(sheet, ax, named, sheet.small, lines=lines)]


def _end(found: Curve) -> tuple[int, int] | None:
    """Return depth and field of a line's end."""
    return max(((depth, size) for depth, size in enumerate(found.fields) if size is not None), default=None)


def _stretches(ax: Axes, found: Curve) -> list[Box]:
    """Return a line as pieces, in points on the sheet."""
    left = ax.get_xlim()[0]
    known = [(max(depth, left), size) for depth, size in enumerate(found.fields) if size is not None]
    at = [points_of(ax, *place) for place in known[:: len(known) // PIECES + 1] + known[-1:]]
    return [(*one, *other) for one, other in pairwise(at)]


def _axes(sheet: Sheet, ax: Axes, curves: Sequence[Curve], inputs: Sequence[int]) -> None:
    ends = [max((size for size in c.fields if size is not None), default=1) for c in curves] + list(inputs)
    high, field = max(ends), "receptive field, in pixels of the input"
    if high > STEEP * min(ends):
        ax.set_yscale("log")
        ax.set_ylim(0.9, high * 1.3)
        ax.minorticks_off()
        ax.set_yticks(
            ticks := ticks_between(1, high * 1.3, sheet.body[2] * 22 / sheet.small), [f"{tick:,.0f}" for tick in ticks]
        )
        field += " (log scale)"
    else:
        ax.set_ylim(0, high * 1.08)
        ax.yaxis.get_major_locator().set_params(integer=True)
        ax.yaxis.set_major_formatter("{x:,.0f}")
    sheet.name_axes(ax, _depth_axis(sheet, ax, [len(c.fields) - 1 for c in curves]), field)


def _depth_axis(sheet: Sheet, ax: Axes, depths: Sequence[int]) -> str:
    """Set the scale of depths, and return its name."""
    deepest = max(1, *depths)
    text = "depth, in layers with weights on the longest path"
    if deepest > STEEP * max(1, min(depths)):
        ax.set_xscale("log", nonpositive="mask")
        ax.set_xlim(0.9, deepest * 1.1)
        ax.set_xticks(ticks := ticks_between(1, deepest * 1.1, sheet.ems / 4), [f"{tick:,.0f}" for tick in ticks])
        ax.minorticks_off()
        return f"{text} (log scale)"
    ax.set_xlim(0, deepest * 1.02)
    ax.xaxis.get_major_locator().set_params(integer=True)
    return f"{text} (0: the input)"


def _name_inputs(sheet: Sheet, ax: Axes, inputs: Sequence[int]) -> None:
    """Write input sizes beside their lines; lines too near to each other share a text."""
    near = sheet.small * 1.6 * sheet.figure.dpi / 72
    heights = {size: float(ax.transData.transform((1, size))[1]) for size in inputs}
    for group in grouped(inputs, lambda size, group: heights[size] - heights[group[-1]] < near):
        text, beside = f" input {', '.join(map(str, group))}", ax.get_yaxis_transform()
        ax.text(1, group[len(group) // 2], text, transform=beside, va="center", size=sheet.small, gid="input")


def caption(reports: Sequence[Report], curves: Sequence[Curve]) -> str:
    """Return inputs, mode, and the meaning of the lines."""
    shapes = ", ".join(dict.fromkeys(report.graph.inputs_text for report in reports))
    return (
        f"input {shapes} · {MODE_NAMES[reports[0].mode]} · At each depth the largest field of"
        " the layers up to it (the larger of height and width), until the last layer with positions (before global"
        " pooling). At the end of a line: its network and the field there."
        + WHOLE_INPUT * any("whole" in c.end for c in curves)
        + "".join(f" The field of {shorten(c.name, MAX_NAME)} is unknown." for c in curves if _end(c) is None)
    )
