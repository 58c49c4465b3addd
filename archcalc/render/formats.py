"""Figures → Table → text. Renderers are imported when they are asked for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from importlib import import_module
from typing import NamedTuple

from archcalc.render.table import Column, Table


class Format(NamedTuple):
    """A form that tables take: what renders a list of them as one text, and the suffix of its files.

    `every` says that it is for programs, which want a row for every layer, check and so on.
    """

    renderer: str
    suffix: str
    every: bool = False


FORMATS = {
    "table": Format("archcalc.render.forms.terminal:render_terminal", ".txt"),
    "markdown": Format("archcalc.render.forms.text:render_markdown", ".md"),
    "csv": Format("archcalc.render.forms.text:render_csv", ".csv", every=True),
    "tsv": Format("archcalc.render.forms.text:render_tsv", ".tsv", every=True),
    "json": Format("archcalc.render.forms.text:render_json", ".json", every=True),
    "latex": Format("archcalc.render.forms.latex:render_latex", ".tex"),
    "rst": Format("archcalc.render.forms.rst:render_rst", ".rst"),
    "html": Format("archcalc.render.forms.html:render_html", ".html"),
}
MOST_ROWS = 6_000  # of a table for people: more than any network of the zoo has
SUFFIXES = {form.suffix: name for name, form in FORMATS.items()}


def render(table: Table, format: str = "table", width: int | None = None, colour: bool = False) -> str:
    """The table in one of FORMATS; only `table` has a width to keep to (None: no limit) and colours."""
    return render_all([table], format, width, colour, several=False)


def render_all(
    tables: Sequence[Table], format: str = "table", width: int | None = None, colour: bool = False, several: bool = True
) -> str:
    """Tables as one document, in one of FORMATS.

    CSV and TSV have the rows of all below each other; JSON is a list, unless there can never be `several`. These have
    every row; the other formats have MOST_ROWS of a table, and say so.
    """
    if not FORMATS[format].every:
        tables = [cut(table) for table in tables]
    module, _, function = FORMATS[format].renderer.partition(":")
    renderer: Callable[..., str] = getattr(import_module(module), function)
    if format == "table":
        return "\n".join(renderer(table, width, colour) for table in tables)
    return renderer(tables, several) if format == "json" else renderer(tables)


def cut(table: Table) -> Table:
    """The table with at most MOST_ROWS rows, and a note if it has more; its totals stay those of all."""
    count, parts = len(table.rows), [cut(part) for part in table.parts]
    if count <= MOST_ROWS:
        return replace(table, parts=parts)
    note = f"Rows 1 to {MOST_ROWS:,} of {count:,}; csv, tsv and json have them all."
    return replace(table, rows=table.rows[:MOST_ROWS], notes=[note, *table.notes], parts=parts)


__all__ = ["FORMATS", "SUFFIXES", "Column", "Format", "Table", "render", "render_all"]
