"""Tables on the terminal. The only file that imports rich.

Where a table is wider than the terminal, columns give way (by their rank) before a line breaks.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from archcalc.report.table import Column, Table, cell

GAP = 2  # between columns; 1 where that lets another column in
NO_LIMIT = 10_000
MIN_TEXT = 10  # columns that a text may be wrapped to
STYLES = {"contradicted": "red", "explained": "yellow", "exact": "green", "rounds": "green", "truncates": "green"}


def render_terminal(table: Table, width: int | None = None, colour: bool = False) -> str:
    """The table as text for `width` columns (None: no limit), with colours if wanted.

    Lines are wider only where the figures that always stay are: no digit is cut.
    """
    buffer = io.StringIO()
    console = Console(
        file=buffer,
        width=width or NO_LIMIT,
        force_terminal=colour,
        color_system="standard" if colour else None,
        highlight=False,
        emoji=False,
        markup=False,
        legacy_windows=False,
    )
    _print(console, table, width or NO_LIMIT)
    return "\n".join(line.rstrip() for line in buffer.getvalue().splitlines()) + "\n"


def _print(console: Console, table: Table, width: int) -> None:
    if table.title:
        console.print(Text(table.title, style="bold"))
    if table.conditions:
        console.print(table.conditions)
    if table.rows:
        widths = {column.key: _column_width(table, column) for column in table.shown()}
        columns = fitting(table.shown(), widths, width)
        _print_rows(console, table, columns, widths, width)
        left_out = [column.title for column in table.shown() if column not in columns]
        if left_out:
            console.print(Text(f"Not shown at this width: {', '.join(left_out)}.", style="dim"))
    for note in table.notes:
        console.print(Text(note, style="dim" if table.totals else ""))
    if table.summary:
        console.print()
        console.print(_summary(table.summary))
    for part in table.parts:
        console.print()
        _print(console, part, width)


def fitting(columns: Sequence[Column], widths: Mapping[str, int], width: int) -> list[Column]:
    """The columns that fit: the highest rank goes first, rank 0 never."""
    kept = list(columns)
    while _needed(kept, widths, 1) > width and any(column.rank for column in kept):
        kept.remove(max(kept, key=lambda column: column.rank))
    return kept


def _needed(columns: Sequence[Column], widths: Mapping[str, int], gap: int) -> int:
    return sum(widths[column.key] for column in columns) + gap * (len(columns) - 1)


def _column_width(table: Table, column: Column) -> int:
    cells = [cell(row.get(column.key), column.plain) for row in (*table.rows, table.totals)]
    return max(cell_len(text) for text in (*cells, column.title, column.unit))


def _print_rows(
    console: Console, table: Table, columns: Sequence[Column], widths: Mapping[str, int], width: int
) -> None:
    """The rows, a line each; where texts must wrap or have colours, rich lays them out, at 40 times the cost."""
    gap = GAP if _needed(columns, widths, GAP) <= width else 1
    rows = [_cells(row, columns) for row in table.rows]
    total = [_cells(table.totals, columns, total=True)] if table.totals else []
    figures = sum(widths[c.key] if not c.text else MIN_TEXT for c in columns) + gap * (len(columns) - 1)
    coloured = any(column.key == "verdict" for column in columns) or any("\n" in text for row in rows for text in row)
    too_wide = _needed(columns, widths, gap) > width
    if figures <= width and (coloured or too_wide):  # narrower than its figures, lines run over: no digit is cut
        console.print(_laid_out(columns, [*rows, *total], gap))
        return
    heads = [(column.title, column.unit) if column.unit else ("", column.title) for column in columns]
    above = [_line([head[i] for head in heads], columns, widths, gap) for i in (0, 1)]
    console.print("\n".join(line for line in above if line.strip()), style="bold", soft_wrap=True)
    console.print("\n".join(_line(row, columns, widths, gap) for row in rows), soft_wrap=True)
    for row in total:
        console.print(_line(row, columns, widths, gap), style="bold", soft_wrap=True)


def _line(cells: Sequence[str], columns: Sequence[Column], widths: Mapping[str, int], gap: int) -> str:
    """Cells set flush left or right in their columns."""
    padded = []
    for text, column in zip(cells, columns, strict=True):
        space = " " * (widths[column.key] - cell_len(text))
        padded.append(text + space if column.text else space + text)
    return (" " * gap).join(padded)


def _laid_out(columns: Sequence[Column], rows: Sequence[Sequence[str]], gap: int) -> RichTable:
    grid = RichTable(box=None, padding=(0, gap, 0, 0), pad_edge=False, header_style="bold")
    for column in columns:
        header = Text(column.title)
        if column.unit:
            header.append(f"\n{column.unit}")
        grid.add_column(header, justify="left" if column.text else "right", no_wrap=not column.text, overflow="fold")
    for row in rows:
        styles = [STYLES.get(text, "") if c.key == "verdict" else "" for text, c in zip(row, columns, strict=True)]
        grid.add_row(*(Text(text, style=style) for text, style in zip(row, styles, strict=True)))
    return grid


def _cells(row: Mapping[str, Any], columns: Sequence[Column], total: bool = False) -> list[str]:
    """A row's cells; a total stays empty where there is no sum."""
    return ["" if total and c.key not in row else cell(row.get(c.key), c.plain) for c in columns]


def _summary(lines: Sequence[tuple[str, str]]) -> RichTable:
    grid = RichTable.grid(padding=(0, GAP, 0, 0))
    grid.add_column(no_wrap=True, style="bold")
    grid.add_column()
    for label, text in lines:
        grid.add_row(label, Text(text))
    return grid
