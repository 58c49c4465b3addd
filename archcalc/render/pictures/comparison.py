"""Totals of networks side by side: one panel per figure, one bar per network."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil
from typing import TYPE_CHECKING, Any

from archcalc.analysis.at_least import AtLeast, ratio
from archcalc.analysis.field_figures import WHOLE
from archcalc.analysis.figures import FIGURES, SMALL_COUNTS
from archcalc.analysis.report import Report
from archcalc.errors import shorten
from archcalc.render.pictures.sheets import NORMAL, PLAIN, Look, Sheet, largest, prefixed, short
from archcalc.render.table import conditions_text, ratio_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes

EVIDENT = ("params", "activation_bytes")  # a caption need not say what they are
USUAL = ("params", "macs", "activations", "depth")
COLUMNS = 4  # most panels in a row
PANEL = 21  # letters M in the width of a panel, at least
WIDTH = 11.0
MAX_NAME = 30
UNKNOWN = "–"


def size(networks: int, figures: int, look: Look = PLAIN) -> tuple[float, float]:
    """Width and height in inches for this number of bars."""
    width = look.width or WIDTH
    rows, _ = _grid(figures, look.ems(width))
    around = 1.4 if look.title else 0.1
    return width, around + rows * (0.6 + 0.3 * max(2, networks)) * look.letter_size(width) / NORMAL


def _grid(figures: int, ems: float) -> tuple[int, int]:
    """Return rows and columns of panels, with rows as full as possible."""
    rows = ceil(figures / max(1, min(COLUMNS, int(ems / PANEL))))
    return rows, ceil(figures / rows)


def bar_values(reports: Sequence[Report], figure: str, relative: bool = False) -> list[float | None]:
    """Return a figure of each network, or its ratio to the first; None if it is unknown or has no ratio."""
    found = [_value(report, figure) for report in reports]
    if not relative:
        return found
    return [ratio(value, found[0]) for value in found]


def _value(report: Report, figure: str) -> float | None:
    value: Any = getattr(report.totals, figure)
    known: float | None = largest(value) if isinstance(value, tuple) else value
    return known


def draw(sheet: Sheet, reports: Sequence[Report], figures: Sequence[str] = USUAL, relative: bool = False) -> None:
    """Draw the networks from top to bottom, with one panel for each of `figures`."""
    what = "Networks compared" + (f", relative to {shorten(reports[0].graph.name, MAX_NAME)}" if relative else "")
    sheet.frame(what, caption(reports, figures))
    grid = sheet.figure.subplots(*_grid(len(figures), sheet.ems), squeeze=False, sharey=True)
    axes = list(grid.flat)
    for i, (ax, figure) in enumerate(zip(axes, figures, strict=False)):
        _panel(sheet, ax, reports, figure, relative, sheet.theme.palette[i % 7])
    for ax in axes[len(figures) :]:
        ax.set_visible(False)
    axes[0].set_yticks(range(len(reports)), _names(reports, int(min(MAX_NAME, 0.6 * sheet.ems))))
    axes[0].set_ylim(len(reports) - 0.5, -0.5)  # the first on top, with the same margin for any number
    sheet.settle()
    row = axes[0].get_window_extent().height / len(reports) * 72 / sheet.dpi
    if row < 1.3 * sheet.small * (1 + max(tick.get_text().count("\n") for tick in axes[0].get_yticklabels())):
        raise sheet.no_room()
    for ax in axes[: len(figures)]:
        _make_room(ax)


def _names(reports: Sequence[Report], most: int) -> list[str]:
    """Return the networks' names, with their inputs if these differ."""
    names = [shorten(report.graph.name, most) for report in reports]
    shapes = [report.graph.inputs_text for report in reports]
    return names if len(set(shapes)) == 1 else [f"{n}\n{shape}" for n, shape in zip(names, shapes, strict=True)]


def _panel(sheet: Sheet, ax: Axes, reports: Sequence[Report], figure: str, relative: bool, colour: str) -> None:
    from matplotlib.patheffects import withStroke

    found = bar_values(reports, figure, relative)
    title, unit = FIGURES[figure].title, FIGURES[figure].heading_unit.replace("bytes", "B")
    plain = relative or FIGURES[figure].unit in SMALL_COUNTS
    factor, prefix = (1.0, "") if plain else prefixed(max(value or 0 for value in found))
    scaled = [(value or 0) / factor for value in found]
    ax.barh(range(len(found)), scaled, height=0.7, color=colour, gid=figure, zorder=2)
    for i, (text, wide) in enumerate(zip(_texts(reports, figure, found, relative), scaled, strict=True)):
        ax.annotate(
            text, (wide, i), (3, 0), textcoords="offset points", va="center", size=sheet.small, gid="value",
            path_effects=[withStroke(linewidth=2, foreground=sheet.theme.paper)], zorder=4,
        )  # fmt: skip
    written = "ratio" if relative else f"{prefix}{unit}" if unit == "B" else " ".join(filter(None, (prefix, unit)))
    ax.set_title(f"{title} ({written})" if written else title, loc="left", weight="bold")
    ax.grid(visible=False, axis="y")
    ax.tick_params(left=False)
    ax.locator_params(axis="x", nbins=3)
    ax.xaxis.set_major_formatter("{x:,g}")
    ax.set_xlim(0, max(scaled) or 1)
    if relative:
        ax.axvline(1, color=sheet.theme.faint, linewidth=0.9, linestyle=(0, (2, 2)), zorder=3)


def _texts(reports: Sequence[Report], figure: str, found: Sequence[float | None], relative: bool) -> list[str]:
    """Return the texts after the bars; a receptive field also says whether it is the whole input on both axes."""
    whole = [figure == "receptive_field" and {*report.totals.field_status} == {WHOLE} for report in reports]
    return [
        _text(value, relative) + ", whole" * (all_of_it and value is not None)
        for value, all_of_it in zip(found, whole, strict=True)
    ]


def _text(value: float | None, relative: bool) -> str:
    if value is None:
        return UNKNOWN
    if relative:
        return f"×{ratio_text(value)}"
    return f"≥ {short(int(value))}" if isinstance(value, AtLeast) else short(value)


def _make_room(ax: Axes) -> None:
    """Extend the scale until the numbers after the bars fit."""
    box, end = ax.get_window_extent(), ax.get_xlim()[1]
    texts = [text for text in ax.texts if text.get_gid() == "value"]
    room = box.width - max(text.get_window_extent().width for text in texts) - 12
    ax.set_xlim(0, end * box.width / max(room, box.width / 4))


def caption(reports: Sequence[Report], figures: Sequence[str]) -> str:
    """Return the conditions and the meaning of the figures."""
    first = reports[0]
    shapes = list(dict.fromkeys(report.graph.inputs_text for report in reports))
    inputs = f"input {shapes[0]}" if len(shapes) == 1 else "different inputs: see below each name"
    meanings = {key: f"{FIGURES[key].title}: {FIGURES[key].means}" for key in figures if key not in EVIDENT}
    if "flops" in figures:
        meanings["flops"] = f"FLOPs by convention {first.convention.name}: {first.convention.text}"
    if "receptive_field" in figures:
        meanings["receptive_field"] += "; whole: the whole input"
    conditions = f"{inputs} · {conditions_text(first.batch, first.dtype, first.mode)}"
    said = "; ".join(meanings.values())
    return f"{conditions} · {said}." if said else conditions
