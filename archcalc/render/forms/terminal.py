"""Tables for the terminal. The only file that imports rich: for colours, wrapping and non-Latin scripts.

If a table is wider than the terminal, columns are left out by their rank before texts wrap.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from archcalc.render.forms.lines import fitting, needed
from archcalc.render.table import Column, Table, cell

GAP = 2  # between columns; 1 if another column then fits
NO_LIMIT = 10_000
HEIGHT = 25  # has no effect, but without it rich reads LINES, and fails on LINES=²
MIN_TEXT = 10  # the narrowest width of a wrapped text
MAX_WORD = 16  # longer words are broken
STYLES = {"contradicted": "red", "explained": "yellow"} | dict.fromkeys(
    ("exact", "rounds", "truncates", "within"), "green"
)
# Characters that are one column wide: Latin, Greek, and signs of arithmetic and typography.
NARROW = re.compile(
    "[ -~\xa0-\xac\xae-\u02ff\u0370-\u0482\u2010-\u2027\u2070-\u209c\u2190-\u21ff\u2200-\u22ff"
    "\u2308-\u230b\u2500-\u25fc]*"
)


class Line(NamedTuple):
    """A line of output; `style` applies to the characters from `start` to `end` (None: end of the line)."""

    text: str
    style: str = ""
    start: int = 0
    end: int | None = None


def render_terminal(table: Table, width: int | None = None, colour: bool = False) -> str:
    """Render a table as text of `width` columns (None: no limit), with `colour` if True.

    Lines are wider only if the columns that are always shown are wider: no digit is cut.
    """
    lines = _lines(table, width or NO_LIMIT)
    return "".join(f"{_painted(line) if colour and line.style else line.text.rstrip()}\n" for line in lines)


def _painted(line: Line) -> str:
    from rich.color import ColorSystem
    from rich.style import Style

    text, (start, end, _) = line.text.rstrip(), slice(line.start, line.end).indices(len(line.text.rstrip()))
    styled = Style.parse(line.style).render(text[start:end], color_system=ColorSystem.STANDARD)
    return text[:start] + styled + text[end:]


def cell_len(text: str) -> int:
    """Number of terminal columns that a text takes."""
    if NARROW.fullmatch(text):
        return len(text)
    from rich.cells import cell_len as measured

    return measured(text)


def wrap(text: str, width: int) -> list[str]:
    """Wrap a text at words to lines of `width` columns."""
    lines = text.split("\n")
    if all(len(line) <= width and NARROW.fullmatch(line) for line in lines):
        return lines
    from rich.console import Console
    from rich.text import Text

    ruler = Console(file=io.StringIO(), width=NO_LIMIT, height=HEIGHT)  # rich needs a console to measure texts
    return [line.plain.rstrip() for line in Text(text).wrap(ruler, width)]


def _lines(table: Table, width: int) -> Iterator[Line]:
    yield from _wrapped(table.title, width, "bold")
    yield from _wrapped(table.conditions, width)
    if table.rows:
        yield from _body(table, width)
    for note in table.notes:
        yield from _wrapped(note, width, "dim" if table.totals else "")
    if table.summary:
        yield Line("")
        yield from _summary(table.summary, width)
    for part in table.parts:
        yield Line("")
        yield from _lines(part, width)


def _wrapped(text: str, width: int, style: str = "", indent: int = 0) -> Iterator[Line]:
    """Yield the wrapped lines of a text; none if it is empty."""
    if text:
        yield from (Line(" " * indent + line, style) for line in wrap(text, width - indent))


def _body(table: Table, width: int) -> Iterator[Line]:
    in_line = [column for column in table.shown() if not (column.heading or column.below)]
    widths = {column.key: _column_width(table, column) for column in in_line}
    columns = fitting(in_line, widths, width)
    least = {column.key: _longest_word(table, column) for column in columns if column.text}
    yield from _rows(table, _Layout(columns, widths, least, width), width)
    left_out = [_called(column, in_line) for column in in_line if column not in columns]
    if left_out:
        yield from _wrapped(f"Not shown at this width: {', '.join(left_out)}.", width, "dim")


def _summary(lines: Sequence[tuple[str, str]], width: int) -> Iterator[Line]:
    """Yield labels with texts beside them; wrap texts, but not within words."""
    wide = max(cell_len(label) for label, _ in lines)
    least = min(MAX_WORD, max(cell_len(word) for _, text in lines for word in text.split()))
    for label, text in lines:
        first, *others = wrap(text, max(least, width - wide - GAP))
        yield Line(label + " " * (wide - cell_len(label) + GAP) + first, "bold", 0, len(label))
        yield from (Line(" " * (wide + GAP) + line) for line in others)


def _called(column: Column, columns: Sequence[Column]) -> str:
    """Return a column's title, with its unit if another column has the same title."""
    alike = [other for other in columns if other.title == column.title]
    return f"{column.title} ({column.unit})" if len(alike) > 1 else column.title


def _column_width(table: Table, column: Column) -> int:
    cells = [cell(row.get(column.key), column.plain) for row in (*table.rows, table.totals)]
    return max(cell_len(line) for text in (*cells, column.title, column.unit) for line in text.split("\n"))


def _longest_word(table: Table, column: Column) -> int:
    """Return the least width of a text column: its longest word, within MIN_TEXT and MAX_WORD."""
    words = (word for row in table.rows for word in cell(row.get(column.key), column.plain).split())
    return max(MIN_TEXT, min(MAX_WORD, max(map(cell_len, words), default=0)))


class _Layout:
    """Columns and their widths; if the line is too wide, text columns become narrower and their cells wrap."""

    def __init__(
        self, columns: Sequence[Column], widths: Mapping[str, int], least: Mapping[str, int], width: int
    ) -> None:
        self.columns = columns
        self.gap = GAP if needed(columns, widths, GAP) <= width else 1
        self.widths = {column.key: widths[column.key] for column in columns}
        floors = {column.key: min(least[column.key], widths[column.key]) for column in columns if column.text}
        firm = {column.key for column in columns if column.firm}
        while needed(columns, self.widths, self.gap) > width:
            room = {key: self.widths[key] - floor for key, floor in floors.items()}
            if not any(room.values()):
                return  # the line is too wide even so: no digit is cut
            self.widths[max(room, key=lambda key: (room[key] > 0, key not in firm, self.widths[key]))] -= 1

    def lines(self, cells: Sequence[str]) -> list[str]:
        """Return the lines of a row, with cells aligned left or right."""
        wrapped = [wrap(text, self.widths[column.key]) for text, column in zip(cells, self.columns, strict=True)]
        height = max(map(len, wrapped))
        return [self.line([parts[i] if i < len(parts) else "" for parts in wrapped]) for i in range(height)]

    def line(self, cells: Sequence[str]) -> str:
        padded = []
        for text, column in zip(cells, self.columns, strict=True):
            space = " " * (self.widths[column.key] - cell_len(text))
            padded.append(text + space if column.text else space + text)
        return (" " * self.gap).join(padded)

    def offset(self, key: str) -> int | None:
        """Return the position at which a column starts, or None."""
        before = 0
        for column in self.columns:
            if column.key == key:
                return before
            before += self.widths[column.key] + self.gap
        return None


def _rows(table: Table, layout: _Layout, width: int) -> Iterator[Line]:
    columns = layout.columns
    heads = [(column.title, column.unit) if column.unit else ("", column.title) for column in columns]
    above = [layout.line([head[i] for head in heads]) for i in (0, 1)]
    yield from (Line(line, "bold") for line in ([line for line in above if line.strip()] or [""]))
    start = layout.offset("outcome")
    around = [column for column in table.columns if column.shown and (column.heading or column.below)]
    headings = [column for column in around if column.heading]
    before: Mapping[str, Any] = {}
    for row in table.rows:
        yield from _headings(headings, before, row, width)
        before = row
        style = "" if start is None else STYLES.get(str(row.get("verdict", "")), "")
        yield from (Line(line, style, start or 0) for line in layout.lines(_cells(row, columns)))
        for column in around:
            if column.below and row.get(column.key):
                yield from _wrapped(cell(row[column.key]), width, "dim", GAP)
    if table.totals:
        yield from (Line(line, "bold") for line in layout.lines(_cells(table.totals, columns, total=True)))


def _headings(
    columns: Sequence[Column], before: Mapping[str, Any], row: Mapping[str, Any], width: int
) -> Iterator[Line]:
    """Yield headings above a row, from the first that differs from the previous row; a gap above the outermost."""
    own, above = ([cell(of.get(column.key)) for column in columns] for of in (row, before))
    changed = next((i for i in range(len(own)) if not before or own[i] != above[i]), len(own))
    if before and changed == 0 and len(own) > 1:
        yield Line("")
    for i in range(changed, len(own)):
        yield from _wrapped(own[i], width, "italic" if i else "bold")


def _cells(row: Mapping[str, Any], columns: Sequence[Column], total: bool = False) -> list[str]:
    """Return a row's cells; a total is empty if the column has no sum."""
    return ["" if total and c.key not in row else cell(row.get(c.key), c.plain) for c in columns]
