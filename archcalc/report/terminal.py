"""Tables on the terminal. The only file that imports rich.

Where a table is wider than the terminal, columns give way (by their rank) before a line breaks.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

from rich.cells import cell_len
from rich.console import Console
from rich.padding import Padding
from rich.table import Table as RichTable
from rich.text import Text

from archcalc.report.table import Column, Table, cell

GAP = 2  # between columns; 1 where that lets another column in
NO_LIMIT = 10_000
HEIGHT = 25  # changes nothing; without it rich reads LINES, and fails on LINES=²
MIN_TEXT = 10  # columns that a text may be wrapped to
MAX_WORD = 16  # longer words are broken
STYLES = {"contradicted": "red", "explained": "yellow"} | dict.fromkeys(
    ("exact", "rounds", "truncates", "within"), "green"
)


def render_terminal(table: Table, width: int | None = None, colour: bool = False) -> str:
    """The table as text for `width` columns (None: no limit), with colours if wanted.

    Lines are wider only where the figures that always stay are: no digit is cut.
    """
    buffer = io.StringIO()
    console = Console(
        file=buffer,
        width=width or NO_LIMIT,
        height=HEIGHT,
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
        in_line = [column for column in table.shown() if not (column.heading or column.below)]
        widths = {column.key: _column_width(table, column) for column in in_line}
        columns = fitting(in_line, widths, width)
        least = {column.key: _longest_word(table, column) for column in columns if column.text}
        _print_rows(console, table, _Layout(columns, widths, least, width))
        left_out = [_called(column, in_line) for column in in_line if column not in columns]
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


def _called(column: Column, columns: Sequence[Column]) -> str:
    """A column's title, with its unit where others bear the same."""
    alike = [other for other in columns if other.title == column.title]
    return f"{column.title} ({column.unit})" if len(alike) > 1 else column.title


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
    return max(cell_len(line) for text in (*cells, column.title, column.unit) for line in text.split("\n"))


def _longest_word(table: Table, column: Column) -> int:
    """How narrow a text may be set: to its longest word, within reason."""
    words = (word for row in table.rows for word in cell(row.get(column.key), column.plain).split())
    return max(MIN_TEXT, min(MAX_WORD, max(map(cell_len, words), default=0)))


class _Layout:
    """Columns with their widths; where room is short, those of texts give way and their cells wrap."""

    def __init__(
        self, columns: Sequence[Column], widths: Mapping[str, int], least: Mapping[str, int], width: int
    ) -> None:
        self.columns = columns
        self.gap = GAP if _needed(columns, widths, GAP) <= width else 1
        self.widths = {column.key: widths[column.key] for column in columns}
        floors = {column.key: min(least[column.key], widths[column.key]) for column in columns if column.text}
        firm = {column.key for column in columns if column.firm}
        while _needed(columns, self.widths, self.gap) > width:
            room = {key: self.widths[key] - floor for key, floor in floors.items()}
            if not any(room.values()):
                return  # narrower than its figures, lines run over: no digit is cut
            self.widths[max(room, key=lambda key: (room[key] > 0, key not in firm, self.widths[key]))] -= 1

    def lines(self, cells: Sequence[str]) -> list[str]:
        """A row's lines, cells set flush left or right in their columns."""
        wrapped = [self.wrap(text, column) for text, column in zip(cells, self.columns, strict=True)]
        height = max(map(len, wrapped))
        return [self.line([parts[i] if i < len(parts) else "" for parts in wrapped]) for i in range(height)]

    def wrap(self, text: str, column: Column) -> list[str]:
        wide = self.widths[column.key]
        if cell_len(text) <= wide and "\n" not in text:
            return [text]
        return [line.plain.rstrip() for line in Text(text).wrap(_RULER, wide)]

    def line(self, cells: Sequence[str]) -> str:
        padded = []
        for text, column in zip(cells, self.columns, strict=True):
            space = " " * (self.widths[column.key] - cell_len(text))
            padded.append(text + space if column.text else space + text)
        return (" " * self.gap).join(padded)

    def offset(self, key: str) -> int | None:
        """Where a column begins in a line."""
        before = 0
        for column in self.columns:
            if column.key == key:
                return before
            before += self.widths[column.key] + self.gap
        return None


_RULER = Console(file=io.StringIO(), width=NO_LIMIT, height=HEIGHT)  # rich measures texts by a console


def _print_rows(console: Console, table: Table, layout: _Layout) -> None:
    columns = layout.columns
    heads = [(column.title, column.unit) if column.unit else ("", column.title) for column in columns]
    above = [layout.line([head[i] for head in heads]) for i in (0, 1)]
    console.print("\n".join(line for line in above if line.strip()), style="bold", soft_wrap=True)
    around = [column for column in table.columns if column.shown and (column.heading or column.below)]
    offset = layout.offset("outcome")
    if around or offset is not None:
        _print_among(console, table, layout, around, offset or 0)
    else:
        lines = (line for row in table.rows for line in layout.lines(_cells(row, columns)))
        console.print("\n".join(lines), soft_wrap=True)
    if table.totals:
        console.print("\n".join(layout.lines(_cells(table.totals, columns, total=True))), style="bold", soft_wrap=True)


def _print_among(console: Console, table: Table, layout: _Layout, around: Sequence[Column], offset: int) -> None:
    """Rows with headings above those that share them, texts below, and the verdict in its colour."""
    headings = [column.key for column in around if column.heading]
    above: list[str] = []
    for row in table.rows:
        own = [cell(row.get(key)) for key in headings]
        changed = next((i for i, text in enumerate(own) if own[: i + 1] != above[: i + 1]), len(own))
        if above and headings and changed == 0 and len(own) > 1:
            console.print()
        for i in range(changed, len(own)):
            style = "bold" if headings[i] == table.columns[0].key else "italic"
            console.print(Text(own[i], style=style))
        above = own
        for line in layout.lines(_cells(row, layout.columns)):
            styled, verdict = Text(line.rstrip()), str(row.get("verdict", ""))
            if verdict in STYLES:
                styled.stylize(STYLES[verdict], offset)
            console.print(styled, soft_wrap=True)
        for column in around:
            if column.below and row.get(column.key):
                console.print(Padding(Text(cell(row[column.key]), style="dim"), (0, 0, 0, GAP)))


def _cells(row: Mapping[str, Any], columns: Sequence[Column], total: bool = False) -> list[str]:
    """A row's cells; a total stays empty where there is no sum."""
    return ["" if total and c.key not in row else cell(row.get(c.key), c.plain) for c in columns]


def _summary(lines: Sequence[tuple[str, str]]) -> RichTable:
    grid = RichTable.grid(padding=(0, GAP, 0, 0))
    grid.add_column(no_wrap=True, style="bold")
    grid.add_column(overflow="fold")
    for label, text in lines:
        grid.add_row(label, Text(text))
    return grid
