"""The tables of `archcalc conventions`: what each convention counts, and a network's FLOPs by all of them."""

from __future__ import annotations

from collections.abc import Iterable

from archcalc.analysis.conventions import CONVENTIONS, Convention
from archcalc.analysis.ledger import Ledger
from archcalc.analysis.report import Report
from archcalc.render.table import COUNT, Column, Table, cell, conditions_text, input_data
from archcalc.render.tables.figure_columns import data

SCHEMA = 1  # of the JSON; raised when a key changes its meaning or goes
IMPORTED = "Tools count how code is written: what they print of the imported code may differ from these figures."
NAME = Column("convention", "Convention", text=True, firm=True)
UNIT = Column("unit", "Unit", text=True)
TOOL = Column("tool", "Tool", rank=1, text=True)


def conventions_table(names: Iterable[str] = CONVENTIONS) -> Table:
    """List conventions, with what each counts and misses."""
    more = Column("more", "What it counts", text=True, below=True, data=False)
    columns = (NAME, UNIT, TOOL, more, *data(("counts", "misses", "quirks")))
    rows = [{**about(own), "more": _more(own)} for own in map(CONVENTIONS.__getitem__, names)]
    return Table("Conventions for FLOPs", columns, rows, "conventions", {"schema": SCHEMA}, label="conventions")


def about(own: Convention) -> dict[str, str]:
    """Return what is known of a convention, for programs."""
    return {
        "convention": own.name,
        "unit": own.unit,
        "tool": own.tool,
        "counts": own.text,
        "misses": own.misses,
        "quirks": own.quirks,
    }


def _more(own: Convention) -> str:
    parts = [own.text, f"It misses {own.misses}" * bool(own.misses), own.quirks.rstrip(".")]
    return ". ".join(part[0].upper() + part[1:] for part in parts if part) + "."


def side_by_side(report: Report, found: Iterable[Ledger]) -> Table:
    """Show a network's FLOPs by each convention, with the parts that add up to them."""
    graph = report.graph
    columns = (
        NAME,
        Column("figure", "Figure", kind=COUNT),
        UNIT,
        TOOL,
        Column("ledger", "Ledger", text=True, below=True, data=False),
        *data(("parts", "unknown")),
    )
    rows = [
        {
            **about(own.convention),
            "figure": own.figure,
            "ledger": ledger_text(own),
            "parts": own.parts,
            "unknown": list(own.unknown),
        }
        for own in found
    ]
    totals = report.totals
    facts = {"schema": SCHEMA, "name": graph.name, **input_data(graph), "batch": report.batch, "mode": "infer"}
    text = conditions_text(report.batch, mode="infer", inputs=[graph.inputs_text])
    kept = f"{totals.params:,} params + {totals.running_statistics:,} running statistics"
    summary = [("keras", f"prints {totals.params_with_statistics:,} total params = {kept}")]
    notes = [IMPORTED] * (graph.origin is None)
    return Table(graph.name, columns, rows, "conventions", facts, text, summary=summary, notes=notes)


def ledger_text(own: Ledger) -> str:
    """Write a figure as its parts: `MACs 4,089,184,256 + biases 1,000 = ptflops-aten 4,089,185,256`."""
    parts = []
    for cause, count in own.parts.items():
        name, bracket, note = cause.partition(" (")
        parts.append(f"{name} {count:,}{bracket}{note}")
    name = own.convention.name
    known = f"{' + '.join(parts) or '0'} = {name} {cell(own.figure)}"
    text = f"{name} –" if own.figure is None else known
    return text + f"; it cannot count {', '.join(own.unknown)}" * bool(own.unknown)
