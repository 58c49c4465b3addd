"""Bars in the table of a network, for `archcalc summarize --bars`: they show where the cost is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from archcalc.analysis.at_least import bounded
from archcalc.analysis.figures import FIGURES
from archcalc.render.table import Column, Table

WIDTH = 8  # characters of the longest bar
EIGHTHS = " ▏▎▍▌▋▊▉█"
BARRED = ("activations", "params", "macs")
BARS = frozenset([*BARRED, *(f"{figure}_bar" for figure in BARRED)])  # what has bars, and their columns
RANKS = {"op": 9, "formula": 8, "field": 7, "flops": 6, "output": 5, "activations_bar": 4, "activations": 3,
         "params": 2, "macs": 1}  # fmt: skip  # bars of params and MACs are always shown
NOTE = "Bars: the longest is the largest figure of the column; percentages are of its total."


def with_bars(table: Table) -> Table:
    """Add a column of bars and percentages after activations, params and MACs, for people only."""
    shares = {figure: _shares(table, figure) for figure in BARRED}
    rows = [{**row, **{f"{figure}_bar": shares[figure][i] for figure in BARRED}} for i, row in enumerate(table.rows)]
    return table._replace(columns=list(_columns(table.columns)), rows=rows, notes=[NOTE, *table.notes])


def _columns(columns: Sequence[Column]) -> Iterator[Column]:
    for column in columns:
        yield column._replace(rank=RANKS.get(column.key, column.rank))
        if column.key in BARRED:
            key = f"{column.key}_bar"
            yield Column(key, f"Of {FIGURES[column.key].title}", rank=RANKS.get(key, 0), data=False)


def _shares(table: Table, figure: str) -> list[str]:
    values = [row[figure] or 0 for row in table.rows]
    largest, total = max(values, default=0), table.totals[figure]
    return [share_text(value, largest, None if bounded({"": total}) else total) for value in values]


def share_text(value: int, largest: int, total: int | None) -> str:
    """Return a bar relative to the largest value, and the share of the total if that is known; "" for 0.

    For example `███▏      12.3%`.
    """
    if not value:
        return ""
    share = value / total if total else None
    percent = "–" if share is None else "<0.1%" if share < 0.0005 else f"{share:.1%}"
    return f"{bar(value / largest):<{WIDTH}} {percent:>6}"


def bar(part: float, width: int = WIDTH) -> str:
    """Draw a part, from 0 to 1, of `width` characters in steps of an eighth; anything above 0 is visible."""
    eighths = max(round(part * width * 8), int(part > 0))
    whole, rest = divmod(eighths, 8)
    return "█" * whole + (EIGHTHS[rest] if rest else "")
