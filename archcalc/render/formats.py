"""The formats of tables. A renderer is imported when its format is used."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import import_module
from typing import NamedTuple

from archcalc.render.choice import Choice, chosen, in_units
from archcalc.render.table import Table


class Format(NamedTuple):
    """A format: the function that renders a list of tables as one text, and the suffix of its files.

    `every` is True for formats that programs read: they have a row for every layer, check and so on.
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
MOST_ROWS = 6_000  # in a table for people; no network of the zoo has more layers
USUAL = Choice()
SUFFIXES = {form.suffix: name for name, form in FORMATS.items()}


def render(table: Table, format: str = "table", width: int | None = None, colour: bool = False) -> str:
    """Render a table in one of FORMATS; only `table` uses width (None: no limit) and colour."""
    return render_all([table], format, width, colour, several=False)


def render_all(
    tables: Sequence[Table], format: str = "table", width: int | None = None, colour: bool = False,
    several: bool = True, choice: Choice = USUAL,
) -> str:  # fmt: skip
    """Render tables as one document in one of FORMATS, with columns, order and units as `choice` says.

    CSV and TSV put the rows of all tables below each other; JSON is a list if `several`. These contain every row and
    all digits; the other formats contain at most MOST_ROWS of a table, and say so.
    """
    tables = [chosen(table, choice) for table in tables]
    if not FORMATS[format].every:
        tables = [for_people(table, choice) for table in tables]
    module, _, function = FORMATS[format].renderer.partition(":")
    renderer: Callable[..., str] = getattr(import_module(module), function)
    if format == "table":
        return "\n".join(renderer(table, width, colour) for table in tables)
    return renderer(tables, several) if format == "json" else renderer(tables)


def for_people(table: Table, choice: Choice = USUAL, most: int = 0, others: str = "") -> Table:
    """Write numbers in units, and cut a table to `most` rows, usually MOST_ROWS; a note says what contains the others.

    Totals still include all rows.
    """
    return in_units(_cut(table, most or MOST_ROWS, others or "CSV, TSV and JSON contain all rows"), choice)


def _cut(table: Table, most: int, others: str) -> Table:
    """Keep the first rows of a table and of its parts; leave out parts without rows."""
    count, parts = len(table.rows), [_cut(part, most, others) for part in table.parts if part.rows]
    note = [f"Rows 1 to {most:,} of {count:,}; {others}."] if count > most else []
    return table._replace(rows=table.rows[:most], notes=[*note, *table.notes], parts=parts)
