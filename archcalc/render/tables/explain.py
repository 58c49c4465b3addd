"""The tables of `archcalc explain`: figures with their formulas, of a layer, a group, or of symbols."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from archcalc.analysis.explanation import Line
from archcalc.analysis.report import Layer, Report
from archcalc.graph.graph import Graph
from archcalc.ops.base import written_call
from archcalc.ops.shape import Shape
from archcalc.render.table import Column, Table, axes, cell, conditions_text
from archcalc.render.tables.summaries import conditions, facts

SCHEMA = 1  # of the JSON; raised when a key changes its meaning or goes
COLUMNS = (
    Column("name", "Figure", text=True),
    Column("key", "", shown=False),
    Column("formula", "Formula", text=True),
    Column("value", "", shown=False),
    Column("text", "Value", data=False),
)


def explanation(report: Report, name: str, layers: Sequence[Layer], lines: Sequence[Line]) -> Table:
    """Make the table of a layer, or of a group of layers."""
    one = layers[0].node if len(layers) == 1 else None
    what = written_call(one.op) if one else f"{len(layers)} layers"
    rows = [line._asdict() | {"text": value_text(line.value)} for line in lines]
    shared = one and layers[0].weights_of
    return Table(
        title=f"{report.graph.name} · {name}: {what}",
        columns=COLUMNS,
        rows=rows,
        rows_key="lines",
        facts=facts(report) | {"schema": SCHEMA, "layer": name, "layers": [layer.node.name for layer in layers]},
        conditions=conditions(report),
        notes=[f"It has the weights of {shared}."] if shared else [],
    )


def formulas_table(
    graph: Graph, lines: Sequence[Line], limits: Sequence[str], symbols: Mapping[str, int], **given: Any
) -> Table:
    """Make the table of a network's formulas of symbols, with their values at an example."""
    example = ", ".join(f"{symbol} {number:,}" for symbol, number in symbols.items())
    return Table(
        title=f"{graph.name}: formulas of {', '.join(symbols)}",
        columns=[column._replace(title="Example") if column.key == "text" else column for column in COLUMNS],
        rows=[line._asdict() | {"text": value_text(line.value)} for line in lines],
        rows_key="lines",
        facts={"schema": SCHEMA, "name": graph.name, **given, "symbols": dict(symbols), "holds_for": list(limits)},
        conditions=f"{conditions_text(mode=given['mode'], convention=given['convention'])} · example: {example}",
        notes=[f"Exact for {'; '.join(limits)}."],
    )


def value_text(value: Any) -> str:
    """Return a value for people; of a field one number if the axes are equal, and of a join a shape per input."""
    if isinstance(value, tuple) and not isinstance(value, Shape):
        return ", ".join(map(cell, value)) if isinstance(value[0], Shape) else axes(value)
    return cell(value)
