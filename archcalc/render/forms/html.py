"""Tables as one self-contained HTML document: no scripts, no other files, with light and dark colours."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from html import escape

from archcalc.render.forms.lines import BELOW, ROW, body, in_line, totals
from archcalc.render.table import Column, Table, listed

PAGE = """\
:root { color-scheme: light dark; --line: #d0d7de; --soft: #59636e; --head: #f3f5f7; }
@media (prefers-color-scheme: dark) { :root { --line: #3d444d; --soft: #9198a1; --head: #1c2128; } }
body { margin: 2rem auto; padding: 0 1rem; width: fit-content; max-width: calc(100% - 2rem); background: Canvas;
  color: CanvasText; font: 0.9rem/1.45 system-ui, sans-serif; }
section { margin-bottom: 2.5rem; }
"""
# Of a notebook archcalc knows no colours: lines and heads let its own through
NOTEBOOK = """\
--line: rgb(128 128 128 / 0.4); --soft: rgb(128 128 128); --head: rgb(128 128 128 / 0.1);
font: 0.9rem/1.45 system-ui, sans-serif; overflow-x: auto;
summary { cursor: pointer; }
"""
TABLES = """\
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; margin: 0.75rem 0; }
caption { text-align: left; padding-bottom: 0.5rem; }
caption strong { display: block; font-size: 1.1rem; }
caption span, dt, .unit, .below td, .note { color: var(--soft); }
th, td { padding: 0.2rem 0.6rem; text-align: right; vertical-align: top; white-space: pre; }
th { font-weight: 600; }
td.text, th.text, th[colspan], .below td { text-align: left; }
td.text, .below td { white-space: pre-line; }
thead th { vertical-align: bottom; background: var(--head); border-bottom: 1px solid var(--line); }
.unit { display: block; font-weight: normal; font-size: 0.85em; }
th[colspan] { padding-top: 0.8rem; border-bottom: 1px solid var(--line); white-space: normal; }
.subheading th { font-weight: normal; font-style: italic; }
.below td { padding-top: 0; padding-left: 1.8rem; max-width: 40rem; }
tfoot td { font-weight: 600; border-top: 1px solid var(--line); }
tbody tr:hover { background: var(--head); }
.note { margin: 0.3rem 0; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: 0.15rem 1rem; }
dd { margin: 0; white-space: pre-line; }
"""


def render_html(tables: Sequence[Table]) -> str:
    """Render one HTML5 document with a section per table; the caption is the table's title and conditions."""
    title = listed(list(dict.fromkeys(table.called() for table in tables)))
    lines = [
        "<!DOCTYPE html>",
        '<html lang="en">',
        "<head>",
        '<meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{_text(title)} – archcalc</title>",
        f"<style>\n{PAGE}{TABLES}</style>",
        "</head>",
        "<body>",
        *(line for table in tables for line in ("<section>", *_table(table), "</section>")),
        "</body>",
        "</html>",
    ]
    return "\n".join(lines) + "\n"


def render_fragment(table: Table, more: Table | None = None, label: str = "") -> str:
    """Render a table as a part of a page, and below it another table that a click on the label opens."""
    lines = ['<div class="archcalc">', f"<style>\n.archcalc {{\n{NOTEBOOK}{TABLES}}}</style>", *_table(table)]
    lines += ["<details>", f"<summary>{_text(label)}</summary>", *_table(more), "</details>"] if more else []
    return "\n".join([*lines, "</div>"]) + "\n"


def _table(table: Table) -> Iterator[str]:
    columns = in_line(table)
    yield '<div class="scroll">'
    yield "<table>"
    if table.title or table.conditions:
        strong = f"<strong>{_text(table.title)}</strong>" if table.title else ""
        spans = "".join(f"<span>{_text(text)}</span>" for text in (table.conditions, *table.remarks))
        yield f"<caption>{strong}{spans}</caption>"
    if any(column.title for column in columns):
        yield from _row("thead", map(_head, columns))
    yield "<tbody>"
    yield from (_line(kind, cells, columns) for kind, cells in body(table, columns))
    yield "</tbody>"
    if table.totals:
        yield from _row("tfoot", map(_cell, totals(table, columns), columns))
    yield "</table>"
    yield "</div>"
    yield from _after(table)


def _after(table: Table) -> Iterator[str]:
    """Yield summary and notes of a table, then the tables that follow."""
    if table.summary:
        yield "<dl>"
        yield from (f"<dt>{_text(label)}</dt><dd>{_text(text)}</dd>" for label, text in table.summary)
        yield "</dl>"
    yield from (f'<p class="note">{_text(note)}</p>' for note in table.notes)
    for part in table.parts:
        yield from _table(part)


def _row(section: str, cells: Iterable[str]) -> Iterator[str]:
    yield f"<{section}>"
    yield f"<tr>{''.join(cells)}</tr>"
    yield f"</{section}>"


def _head(column: Column) -> str:
    unit = f'<span class="unit">{_text(column.unit)}</span>' if column.unit else ""
    return f'<th scope="col"{_class(column)}>{_text(column.title)}{unit}</th>'


def _line(kind: str, cells: Sequence[str], columns: Sequence[Column]) -> str:
    if kind == ROW:
        return f"<tr>{''.join(map(_cell, cells, columns))}</tr>"
    span, text = f'colspan="{len(columns)}"', _text(cells[0])
    own = f"<td {span}>{text}</td>" if kind == BELOW else f'<th scope="rowgroup" {span}>{text}</th>'
    return f'<tr class="{kind}">{own}</tr>'


def _cell(text: str, column: Column) -> str:
    return f"<td{_class(column)}>{_text(text)}</td>"


def _class(column: Column) -> str:
    return ' class="text"' if column.text else ""


def _text(text: str) -> str:
    return escape(text, quote=False)
