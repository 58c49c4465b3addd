"""The tables of `archcalc explain`: the figures of a layer or group with their formulas."""

from __future__ import annotations

from collections.abc import Sequence

from archcalc.analysis.explanation import Line
from archcalc.analysis.report import Layer, Report
from archcalc.ops.base import written_call
from archcalc.ops.shape import Shape
from archcalc.render.table import Column, Table, axes, cell
from archcalc.render.tables.summaries import conditions, facts

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
    rows = [line._asdict() | {"text": _text(line)} for line in lines]
    shared = one and layers[0].weights_of
    return Table(
        title=f"{report.graph.name} · {name}: {what}",
        columns=COLUMNS,
        rows=rows,
        rows_key="lines",
        facts=facts(report) | {"layer": name, "layers": [layer.node.name for layer in layers]},
        conditions=conditions(report),
        notes=[f"It has the weights of {shared}."] if shared else [],
    )


def _text(line: Line) -> str:
    """Return the value for people; of a field one number if the axes are equal, and of a join a shape per input."""
    value = line.value
    if isinstance(value, tuple) and not isinstance(value, Shape):
        return ", ".join(map(cell, value)) if isinstance(value[0], Shape) else axes(value)
    return cell(value)
