"""Turn the body of a table into text cells.

`body` is for formats in which a cell can span columns: headings, rows, and texts below rows. `grid` is for plain-text
formats, in which headings and texts are columns like all others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from archcalc.render.table import Column, Table, cell

HEADING, SUBHEADING, ROW, BELOW = "heading", "subheading", "row", "below"


def in_line(table: Table) -> list[Column]:
    """The shown columns that are neither headings nor texts below rows."""
    return [column for column in table.shown() if not (column.heading or column.below)]


def fitting(columns: Sequence[Column], widths: Mapping[str, int], width: int) -> list[Column]:
    """Return the columns that fit in a line: those of rank 0 always, then each of the next ranks that has room."""
    kept = {column for column in columns if not column.rank}
    for column in sorted(columns, key=lambda column: column.rank):
        if needed([*{*kept, column}], widths, 1) <= width:
            kept.add(column)
    return [column for column in columns if column in kept]


def needed(columns: Sequence[Column], widths: Mapping[str, int], gap: int) -> int:
    """Compute the width of a line of columns with a gap between them."""
    return sum(widths[column.key] for column in columns) + gap * (len(columns) - 1)


def body(table: Table, columns: Sequence[Column]) -> Iterator[tuple[str, list[str]]]:
    """Yield the kind and cells of each line; a line other than ROW has one cell. Headings appear when they change."""
    headings = [column for column in table.shown() if column.heading]
    below = [column for column in table.shown() if column.below]
    last: list[str] = []
    for row in table.rows:
        own = _cells(row, headings)
        for i, text in enumerate(own):
            if own[: i + 1] != last[: i + 1]:  # it, or a heading around it
                yield SUBHEADING if i else HEADING, [text]
        last = own
        yield ROW, _cells(row, columns)
        yield from ((BELOW, [cell(row[column.key])]) for column in below if row.get(column.key))


def totals(table: Table, columns: Sequence[Column]) -> list[str]:
    """Return the cells of the totals row, empty if a column has no total."""
    return [cell(table.totals[c.key], c.plain) if c.key in table.totals else "" for c in columns]


def titled(column: Column) -> str:
    """Return a column's title with its unit: `Output (C×H×W)`."""
    return f"{column.title} ({column.unit})" if column.unit else column.title


def grid(table: Table, form: str, escape: Callable[[str], str], strong: Callable[[str], str]) -> str:
    """Render all shown columns in a format of tabulate; escape titles and cells by `escape`, totals by `strong`."""
    from tabulate import tabulate

    columns = table.shown()
    heads = [escape(titled(column)) for column in columns]
    rows = [[escape(text) for text in _cells(row, columns)] for row in table.rows]
    if table.totals:
        rows.append([strong(text) if text else "" for text in totals(table, columns)])
    align = ["left" if column.text else "right" for column in columns]
    needed = heads if any(heads) or form == "pipe" else []
    # tabulate 0.9 fails on an alignment without rows
    return tabulate(rows, needed, tablefmt=form, colalign=align if rows else None, disable_numparse=True)


def _cells(row: Mapping[str, Any], columns: Sequence[Column]) -> list[str]:
    return [cell(row.get(column.key), column.plain) for column in columns]
