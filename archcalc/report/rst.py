"""Tables as reStructuredText: simple tables, each in a `table` directive that bears its title."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence

from archcalc.report.lines import grid
from archcalc.report.table import Table

ENUMERATOR = re.compile(r"\(?(\w{1,12}|#)[.)]( |$)")  # what begins a list
WIDE = re.compile("([\u1100-\U0010ffff])")
FILLER = "\0"  # stands behind a sign that takes two columns, as docutils counts them


def render_rst(tables: Sequence[Table]) -> str:
    """reStructuredText, each table with what it is of above and what is to be said below."""
    return "\n".join("\n".join(_blocks(table)).rstrip() + "\n" for table in tables)


def _blocks(table: Table) -> Iterator[str]:
    """Paragraphs, each with the empty line behind it."""
    if table.conditions:
        yield _line(table.conditions) + "\n"
    if table.rows or table.totals:
        yield f".. table:: {_line(table.title)}".rstrip() + "\n"
        yield "".join(f"   {line}\n" for line in _grid(table).splitlines())
    if table.summary:
        yield "".join(
            f"- {_escape(label)}: {_escape(text)}".replace("\n", "; ") + "\n" for label, text in table.summary
        )
    for note in table.notes:
        yield _line(note) + "\n"
    for part in table.parts:
        yield from _blocks(part)


def _grid(table: Table) -> str:
    return grid(table, "rst", lambda text: _fill(_line(text)), lambda text: f"**{_escape(text)}**").replace(FILLER, "")


def _fill(text: str) -> str:
    return WIDE.sub(lambda m: m[1] + FILLER * (unicodedata.east_asian_width(m[1]) in "WF"), text)


def _line(text: str) -> str:
    """A text by itself that begins no list, comment or other block."""
    escaped = " ".join(_escape(text).split())
    begins = re.match(r"[!-',-/:-@\[\]-`{-~+]", escaped) or ENUMERATOR.match(escaped)
    return f"\\{escaped}" if begins else escaped


def _escape(text: str) -> str:
    """Text without markup."""
    return re.sub(r"([\\*`|_])", r"\\\1", text)
