"""The table of all networks: what `archcalc list` shows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from archcalc.analysis import analyze
from archcalc.catalog import catalog, read_spec
from archcalc.errors import ArchcalcError, suggest
from archcalc.graph import Graph
from archcalc.language import expand
from archcalc.report.table import Column, Table, axes

SCHEMA = 1  # of the JSON; raised when a key changes its meaning or goes
COLUMNS = (
    Column("name", "Network", text=True),
    Column("title", "Title", rank=3, text=True),
    Column("family", "Family", rank=2, text=True),
    Column("year", "Year", rank=1, plain=True),
    Column("input", "Input", "C×H×W"),
    Column("params", "Params"),
    Column("macs", "MACs"),
    Column("depth", "Depth", rank=4),
    Column("field", "Field", "pixels", rank=5, data=False),
    Column("receptive_field", "Receptive field", shown=False),
    Column("receptive_field_at", "Receptive field at", shown=False),
)


def listing(family: str | None = None, broken: Callable[[ArchcalcError], object] | None = None) -> Table:
    """All networks, or those of a family, with figures for one image at inference; `broken` as for `catalog`.

    Raises ArchcalcError where there is no such family.
    """
    rows: list[dict[str, Any]] = []
    found = catalog(broken)
    for name, path in found.items():
        spec = read_spec(path)
        if family is None or spec.about.family == family:
            rows.append(_row(name, expand(spec, name.rpartition("/")[2], name=name)))
    if not rows:
        families = {read_spec(path).about.family for path in found.values()}
        raise ArchcalcError(f"no family {family!r}; {suggest(family or '', families)}")
    count = f"{len(rows)} network{'s' if len(rows) != 1 else ''}"
    conditions = f"{count} · batch 1 · inference · MACs: multiply-accumulates of one forward pass"
    facts = {"schema": SCHEMA, "batch": 1, "dtype": "float32", "mode": "infer"}
    return Table("", COLUMNS, rows, "networks", facts, conditions)


def _row(name: str, graph: Graph) -> dict[str, Any]:
    totals = analyze(graph).totals
    return {
        "name": name,
        "title": graph.about.title,
        "family": graph.about.family,
        "year": graph.about.paper.get("year"),
        "input": list(graph.input),
        "params": totals.params,
        "macs": totals.macs,
        "depth": totals.depth,
        "field": axes(totals.receptive_field),
        "receptive_field": totals.receptive_field,
        "receptive_field_at": totals.receptive_field_at,
    }
