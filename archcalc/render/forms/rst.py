"""Tables as reStructuredText: simple tables, each in a `table` directive with its title."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from unicodedata import combining, east_asian_width

from archcalc.graph.groups import grouped
from archcalc.render.forms.lines import grid
from archcalc.render.table import Table

ENUMERATOR = re.compile(r"\(?(\w{1,12}|#)[.)]( |$)")  # starts a list
# Private characters, which every program counts as one column
FILLER = "\U000f0000"  # follows a character that is two columns wide
STAND_INS = 0xF0001  # the first of those that stand for a character with its accents


def render_rst(tables: Sequence[Table]) -> str:
    """Render reStructuredText: conditions above each table, summary and notes below."""
    return "\n".join("\n".join(_blocks(table)).rstrip() + "\n" for table in tables)


def _blocks(table: Table) -> Iterator[str]:
    """Yield paragraphs, each with an empty line after it."""
    for text in filter(None, (table.conditions, *table.remarks)):
        yield _line(text) + "\n"
    if table.rows or table.totals:
        yield f".. table:: {_line(table.title)}".rstrip() + "\n"
        yield "".join(f"   {line}\n" for line in _grid(table).splitlines())
    if table.summary:
        yield "".join("- " + _escape(f"{label}: {text}").replace("\n", "; ") + "\n" for label, text in table.summary)
    for note in table.notes:
        yield _line(note) + "\n"
    for part in table.parts:
        yield from _blocks(part)


def _grid(table: Table) -> str:
    """Render the table with widths as docutils counts them: a combining accent 0, a Chinese character 2 columns."""
    signs: dict[str, int] = {}

    def measured(text: str) -> str:
        clusters = grouped(text, lambda sign, cluster: combining(sign) > 0)  # characters with the accents after them
        return "".join(stand_in("".join(cluster)) for cluster in clusters)

    def stand_in(cluster: str) -> str:
        if cluster.isascii():
            return cluster
        sign = chr(signs.setdefault(cluster, STAND_INS + len(signs)))
        return sign + FILLER * sum(east_asian_width(part) in "WF" for part in cluster)

    text = grid(table, "rst", lambda text: measured(_line(text)), lambda text: measured(f"**{_escape(text)}**"))
    return text.translate({sign: cluster for cluster, sign in signs.items()} | {ord(FILLER): ""})


def _line(text: str) -> str:
    """Escape a text so that it does not start a list, comment or other block."""
    escaped = " ".join(_escape(text).split())
    begins = re.match(r"[!-',-/:-@\[\]-`{-~+]", escaped) or ENUMERATOR.match(escaped) or combining(escaped[:1] or " ")
    return f"\\{escaped}" if begins else escaped


def _escape(text: str) -> str:
    """Escape markup, links (`javascript:x`, `a@b`), and `::`, which would swallow the next paragraph."""
    return re.sub(r"([\\*`|_@]|:(?!\s))", r"\\\1", text)
