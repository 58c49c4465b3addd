"""The table of `archcalc list`: all networks."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from archcalc.analysis.report import Report
from archcalc.graph.gc_pause import uncollected
from archcalc.ops.shape import shape_of
from archcalc.render.table import Column, Table, input_data, listed
from archcalc.render.tables.field_words import field_text, field_unit
from archcalc.render.tables.figure_columns import data, figure_column

FIELD = ("receptive_field", "receptive_field_at", "field_status", "local_field")
SCHEMA = 2  # of the JSON; raised when a key changes its meaning or goes
COLUMNS = (
    Column("name", "Network", text=True),
    Column("stands_for", "Stands for", text=True, shown=False),
    Column("title", "Title", rank=6, text=True),
    Column("family", "Family", rank=1, text=True),
    Column("year", "Year", rank=2, plain=True),
    Column("input", "Input", "C×H×W", rank=3),
    figure_column("params"),
    figure_column("macs"),
    *data(("activations",)),
    figure_column("depth", 4, ""),
    Column("field", "Field", "pixels", rank=5, data=False, of="receptive_field"),
    *data(FIELD),
)


@uncollected
def listing(networks: Iterable[dict[str, Any]]) -> Table:
    """Make the table of networks from their rows, with figures for one image at inference."""
    rows = [row | {"input": shape_of(row["input"], row.get("input_axes", ""))} for row in networks]
    count = f"{len(rows)} network{'s' if len(rows) != 1 else ''}"
    conditions = f"{count} · batch 1 · inference · MACs: multiply-accumulates of one forward pass"
    facts = {"schema": SCHEMA, "batch": 1, "dtype": "float32", "mode": "infer"}
    unit = field_unit(*[row["input"] for row in rows])
    columns = [column._replace(unit=unit) if column.key == "field" else column for column in COLUMNS]
    label = f"list of {listed([row['name'] for row in rows])}"
    return Table("", columns, rows, "networks", facts, conditions, label=label)


def row_of(report: Report) -> dict[str, Any]:
    """Return the row of a network."""
    graph, totals = report.graph, report.totals
    return {
        "name": graph.name,
        "stands_for": graph.about.stands_for or None,
        "title": graph.about.title,
        "family": graph.about.family,
        "year": graph.about.paper.get("year"),
        **input_data(graph),
        **{key: getattr(totals, key) for key in ("params", "macs", "activations", "depth", *FIELD)},
        "field": field_text(totals.field),
    }
