"""The tables of graphs, reports and comparisons, for notebooks and terminals: see `shown.py`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from shutil import get_terminal_size
from typing import Any

from archcalc.analysis.report import Report, analyze
from archcalc.comparing.totals import Comparison
from archcalc.errors import ArchcalcError, needs, shorten
from archcalc.graph.graph import Graph
from archcalc.render.formats import for_people, render
from archcalc.render.forms.html import render_fragment
from archcalc.render.table import Table
from archcalc.render.tables.compare import comparison_table
from archcalc.render.tables.summaries import summarize

MOST_LAYERS = 6_000  # of a graph that a notebook shows unasked, within a second or two
MOST_ROWS, OTHERS = 500, "print() and to_pandas() have more"  # of a table in a notebook


@dataclass(frozen=True, repr=False)
class TableView:
    """A table as text, and what a notebook shows of it."""

    text: Table
    html: Table
    more: Table | None  # rows behind a line that opens them
    every: Callable[[], Table]  # with a row for each layer or network

    def __repr__(self) -> str:
        return render(self.text, width=get_terminal_size().columns).rstrip("\n")

    def _repr_html_(self) -> str:
        label = f"Layer by layer: {len(self.more.rows):,} rows" if self.more else ""
        shown = partial(for_people, most=MOST_ROWS, others=OTHERS)
        return render_fragment(shown(self.html), self.more and shown(self.more), label)

    def to_pandas(self) -> Any:
        """Return a pandas DataFrame. Raises ArchcalcError if pandas is missing."""
        try:
            import pandas
        except ModuleNotFoundError:
            raise ArchcalcError(needs("to_pandas", "pandas", "pandas")) from None
        table = self.every()
        columns = {key: [row.get(key) for row in table.rows] for key in table.data_keys()}
        frame = pandas.DataFrame(columns, dtype=object)
        sums = {key: sum(value for value in values if isinstance(value, int)) for key, values in columns.items()}
        small = [key for key, total in sums.items() if total < 2**63]  # of others a sum in pandas would be wrong
        frame[small] = frame[small].convert_dtypes()
        return frame


def view(
    shown: Graph | Report | Comparison, depth: int | None, conditions: Mapping[str, Any], unasked: bool = False
) -> TableView:
    """Make the table of a graph, report or comparison. Raises ArchcalcError.

    If `unasked`, as where a notebook shows a value by itself, the text has blocks only, an error becomes the text, and
    a very large graph has no figures.
    """
    try:
        if unasked and isinstance(shown, Graph) and len(shown.nodes) > MOST_LAYERS:
            raise ArchcalcError(f"{len(shown.nodes):,} layers; summary() makes the table, analyze() the figures")
        return _view(shown, depth, conditions, unasked)
    except ArchcalcError as error:
        if not unasked:
            raise
        name = shown.name if isinstance(shown, Graph) else ""
        return _alone(Table(name, [], [], notes=[str(error)]))


def _alone(table: Table) -> TableView:
    return TableView(table, table, None, lambda: table)


def _view(
    shown: Graph | Report | Comparison, depth: int | None, conditions: Mapping[str, Any], unasked: bool
) -> TableView:
    if depth is not None and (type(depth) is not int or depth < 1):
        raise ArchcalcError(f"depth must be a whole number of at least 1, not {shorten(repr(depth))}")
    if not isinstance(shown, Graph) and (conditions or (depth and isinstance(shown, Comparison))):
        given = ", ".join(conditions) or "depth"
        raise ArchcalcError(f"summary of a {type(shown).__name__.lower()} has no {given}; it is for summary of a graph")
    if isinstance(shown, Comparison):
        return _alone(comparison_table(shown))
    report = analyze(shown, **conditions) if isinstance(shown, Graph) else shown
    table, blocks = summarize(report, depth=depth), summarize(report, depth=depth or 1)
    more = table._replace(title="", conditions="", remarks=(), summary=(), notes=(), parts=())
    split = len(blocks.rows) < len(table.rows)
    return TableView(
        blocks if unasked else table, blocks, more if split else None, lambda: summarize(report, everything=True)
    )
