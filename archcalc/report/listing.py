"""The table of all networks: what `archcalc list` shows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from archcalc.analysis import analyze
from archcalc.catalog import load_with, networks, read_spec, settled, titles
from archcalc.collector import uncollected
from archcalc.errors import ArchcalcError, suggest
from archcalc.graph import Graph
from archcalc.language import expand
from archcalc.report.field import field_text
from archcalc.report.table import Column, Table, listed

SCHEMA = 2  # of the JSON; raised when a key changes its meaning or goes
COLUMNS = (
    Column("name", "Network", text=True),
    Column("stands_for", "Stands for", text=True, shown=False),
    Column("title", "Title", rank=6, text=True),
    Column("family", "Family", rank=1, text=True),
    Column("year", "Year", rank=2, plain=True),
    Column("input", "Input", "C×H×W", rank=3),
    Column("params", "Params"),
    Column("macs", "MACs"),
    Column("activations", "Activations", "values", shown=False),
    Column("depth", "Depth", rank=4),
    Column("field", "Field", "pixels", rank=5, data=False),
    Column("receptive_field", "Receptive field", shown=False),
    Column("receptive_field_at", "Receptive field at", shown=False),
    Column("field_status", "Field status", shown=False),
    Column("local_field", "Local field", shown=False),
)


@uncollected
def listing(family: str | None = None, broken: Callable[[ArchcalcError], object] | None = None) -> Table:
    """All networks, or those of a family, with figures for one image at inference; `broken` as for `networks`.

    Raises ArchcalcError where there is no such family.
    """
    rows: list[dict[str, Any]] = []
    families = set()
    for name, path in networks(broken).items():
        network = name.rpartition("/")[2]
        try:
            spec = settled(read_spec(path), network)
            families.add(spec.about.family)
            if family in (None, spec.about.family):
                rows.append(_row(name, expand(spec, network, name=name)))
        except ArchcalcError as error:
            if broken is None:
                raise
            broken(error)
    if not rows:
        raise ArchcalcError(f"no family {family!r}; {suggest(family or '', families)}")
    return _listed(rows)


@uncollected
def listing_of(names: Iterable[str]) -> Table:
    """As `listing`, of the networks with these names or paths. Raises ArchcalcError for one that is not there."""
    return _listed([_row(title, load_with(name, {})) for name, title in titles(names).items()])


def _listed(rows: Sequence[dict[str, Any]]) -> Table:
    count = f"{len(rows)} network{'s' if len(rows) != 1 else ''}"
    conditions = f"{count} · batch 1 · inference · MACs: multiply-accumulates of one forward pass"
    facts = {"schema": SCHEMA, "batch": 1, "dtype": "float32", "mode": "infer"}
    label = f"list of {listed([row['name'] for row in rows])}"
    return Table("", COLUMNS, rows, "networks", facts, conditions, label=label)


def _row(name: str, graph: Graph) -> dict[str, Any]:
    totals = analyze(graph).totals
    return {
        "name": name,
        "stands_for": graph.about.stands_for or None,
        "title": graph.about.title,
        "family": graph.about.family,
        "year": graph.about.paper.get("year"),
        "input": list(graph.input),
        "params": totals.params,
        "macs": totals.macs,
        "activations": totals.activations,
        "depth": totals.depth,
        "field": field_text(totals._asdict()),
        "receptive_field": totals.receptive_field,
        "receptive_field_at": totals.receptive_field_at,
        "field_status": totals.field_status,
        "local_field": totals.local_field,
    }
