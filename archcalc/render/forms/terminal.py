"""Tables for the terminal. The only file that imports rich: for colours, wrapping and non-Latin scripts.

If a table is wider than the terminal, columns are left out by their rank before texts wrap.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from archcalc.render.forms.lines import BELOW, HEADING, ROW, SUBHEADING, body, fitting, in_line, needed, totals
from archcalc.render.table import Column, Table, cell

GAP = 2  # between columns; 1 if another column then fits
NO_LIMIT = 10_000
HEIGHT = 25  # has no effect, but without it rich reads LINES, and fails on LINES=²
MIN_TEXT = 10  # the narrowest width of a wrapped text
MAX_WORD = 16  # longer words are broken
STYLES = {"contradicted": "red", "explained": "yellow"} | dict.fromkeys(
    ("exact", "rounds", "truncates", "within"), "green"
)
AROUND = {HEADING: "bold", SUBHEADING: "italic", BELOW: "dim"}  # styles of lines above and below rows
# Characters that are one column wide: Latin, Greek, and signs of arithmetic and typography.
NARROW = re.compile(
    "[ -~\xa0-\xac\xae-\u02ff\u0370-\u0482\u1d2c-\u1dbf\u2007\u2010-\u2027\u2070-\u209c\u2190-\u21ff\u2200-\u22ff"
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
    for remark in table.remarks:
        yield from _wrapped(remark, width)
    if table.rows:
        yield from _body(table, width)
    for note in (*table.notes, *table.hints):
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
    every = in_line(table)
    widths = {column.key: _column_width(table, column) for column in every}
    columns = fitting(every, widths, width)
    wide = needed(columns, widths, 1) > width
    least = {column.key: _longest_word(table, column) for column in columns if wide}
    yield from _rows(table, _Layout(columns, widths, least, width), width)
    left_out = [_called(column, every) for column in every if column not in columns]
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
    """Return the least width of a column: its longest word, of a text column within MIN_TEXT and MAX_WORD."""
    cells = [cell(row.get(column.key), column.plain) for row in (*table.rows, table.totals)]
    longest = max((cell_len(word) for text in cells for word in text.split()), default=0)
    if column.text:
        return max(MIN_TEXT, min(MAX_WORD, longest))
    return max(longest, cell_len(column.title), cell_len(column.unit))


class _Layout:
    """Columns and their widths; if the line is too wide, columns become narrower and their cells wrap: texts first."""

    def __init__(
        self, columns: Sequence[Column], widths: Mapping[str, int], least: Mapping[str, int], width: int
    ) -> None:
        self.columns = columns
        self.gap = GAP if needed(columns, widths, GAP) <= width else 1
        self.widths = {column.key: widths[column.key] for column in columns}
        self.narrow([column for column in columns if column.text], least, width)
        self.narrow([column for column in columns if not column.text], least, width)  # at spaces: no digit is cut

    def narrow(self, columns: Sequence[Column], least: Mapping[str, int], width: int) -> None:
        """Narrow these columns, the widest first, until the line fits or each is as narrow as possible."""
        firm = {column.key for column in columns if column.firm}
        while needed(self.columns, self.widths, self.gap) > width:
            room = {column.key: self.widths[column.key] - least[column.key] for column in columns}
            if not any(own > 0 for own in room.values()):
                return
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
        keys = list(self.widths)
        return sum(self.widths[own] + self.gap for own in keys[: keys.index(key)]) if key in keys else None


def _rows(table: Table, layout: _Layout, width: int) -> Iterator[Line]:
    columns = layout.columns
    heads = [(column.title, column.unit) if column.unit else ("", column.title) for column in columns]
    above = [layout.line([head[i] for head in heads]) for i in (0, 1)]
    yield from (Line(line, "bold") for line in ([line for line in above if line.strip()] or [""]))
    start = layout.offset("outcome")
    gaps = sum(column.heading for column in table.shown()) > 1  # above the outer of two headings
    done = 0
    for kind, cells in body(table, columns):
        if kind == ROW:
            style = "" if start is None else STYLES.get(str(table.rows[done].get("verdict", "")), "")
            yield from (Line(line, style, start or 0) for line in layout.lines(cells))
            done += 1
        else:
            if kind == HEADING and done and gaps:
                yield Line("")
            yield from _wrapped(cells[0], width, AROUND[kind], GAP if kind == BELOW else 0)
    if table.totals:
        yield from (Line(line, "bold") for line in layout.lines(totals(table, columns)))
