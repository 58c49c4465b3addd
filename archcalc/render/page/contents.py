"""What a page to explore shows, as plain data for its script.

A whole number stays one, unless a browser could not read it exactly: then it is a text, as is a lower bound (`≥123`).
None is unknown. Parts of a network are nested as their names say; `inputs` of a layer are places in the order of all.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from archcalc.analysis.at_least import AtLeast
from archcalc.analysis.explanation import Line
from archcalc.analysis.field_figures import by_key
from archcalc.analysis.figures import FIGURES
from archcalc.analysis.memory_trace import KINDS
from archcalc.analysis.needed_memory import Needs
from archcalc.analysis.parts import end, total
from archcalc.analysis.report import Layer, Report
from archcalc.comparing.alignment import Alignment
from archcalc.comparing.pairing import Match
from archcalc.graph.groups import Group, Part, indices, tree
from archcalc.ops.base import written_call
from archcalc.render.diagrams.layout import counted, kind_of, operator_text
from archcalc.render.table import cell, size_text, without_rule_text
from archcalc.render.tables.compare_parts import STATES, Row, difference, row_name, state
from archcalc.render.tables.explain import value_text
from archcalc.render.tables.field_words import field_text, field_unit
from archcalc.render.tables.figure_columns import heading
from archcalc.render.tables.summaries import about_text, conditions

EXACT = 2**53  # a browser reads larger numbers inexactly
POINTS = 600  # of the memory curve: as many as it is pixels wide
COLUMNS = "params", "macs", "flops", "activations", "saved_bytes", "param_bytes", "activation_bytes", "bytes_moved"
STEP = "step_macs", "step_flops"  # columns in training
COMPARED = COLUMNS[:5]
OPEN = "params", "macs", "saved_bytes"  # columns that are shown at first
TOTALS = (*COMPARED, "depth")
SECTIONS = {  # of the details of a layer, by key; the rest is what it costs
    "Sees": ("receptive_field", "effective_stride", "effective_padding"),
    "Writes and keeps": ("activations", "activation_bytes", "saved_bytes"),
}


class Explored(NamedTuple):
    """A network on the page: its figures, the explanation of each layer, and its memory or why that is unknown."""

    report: Report
    lines: Sequence[Sequence[Line]]
    memory: Needs | str


def page_data(networks: Sequence[Explored], alignments: Sequence[Alignment]) -> dict[str, Any]:
    """Return all that the page shows; the alignments are of the first network with each of the others."""
    compared = [_comparison(alignment, i) for i, alignment in enumerate(alignments, 1)]
    return {"networks": [_network(*network) for network in networks], "comparisons": compared}


def number(value: Any) -> Any:
    """Return a figure as the script reads it."""
    if isinstance(value, AtLeast):
        return f"≥{int(value)}"
    return value if value is None or -EXACT < value < EXACT else str(value)


def _network(report: Report, lines: Sequence[Sequence[Line]], memory: Needs | str) -> dict[str, Any]:
    graph, keys = report.graph, (*COLUMNS, *STEP * (report.mode == "train"))
    pool: dict[tuple[Any, ...], int] = {}  # equal lines of several layers exist once
    places = [[pool.setdefault(_line(line), len(pool)) for line in own] for own in lines]
    unknown = [without_rule_text(report.without_rule)] if report.without_rule else []
    return {
        "name": graph.name,
        "title": about_text(graph.about),
        "conditions": conditions(report),
        "notes": [*graph.about.notes, *(f"≥: at least so much, with {text}." for text in unknown)],
        "figures": [_total(report, key) for key in TOTALS],
        "columns": [
            _column("Operator"),
            _column("Output"),
            *(_column(heading(key), FIGURES[key].heading_unit, key, key in OPEN) for key in keys),
            _column("Field", field_unit(graph.input)),
        ],
        "parts": [_part(report, places, keys, part) for part in tree(report.ran).parts],
        "totals": ["", cell(end(report.layers).node.output), *_sums(report.layers, keys), ""],
        "lines": list(pool),
        "memory": memory if isinstance(memory, str) else _curve(memory),
    }


def _total(report: Report, key: str) -> list[Any]:
    """Return the title, value and unit of a figure of the network; what it keeps includes side outputs in any mode."""
    more = " with side outputs" if key == "saved_bytes" and len(report.layers) < len(report.graph.nodes) else ""
    return [heading(key) + more, number(getattr(report.totals, key)), FIGURES[key].heading_unit]


def _column(title: str, unit: str = "", key: str = "", on: bool = True) -> dict[str, Any]:
    """Return a column; one with a key has numbers, whose formula is the line of this key."""
    return {"title": title, "unit": unit, "key": key, "on": on, "section": _section(key, title)}


def _line(line: Line) -> tuple[Any, ...]:
    """Return name, formula, value, key and section of a line."""
    plain = line.value is None or type(line.value) in (int, AtLeast)
    value = number(line.value) if plain else value_text(line.value)
    return line.name, line.formula, value, line.key, _section(line.key, line.name)


def _section(key: str, name: str) -> str:
    if name.lower().startswith(("input", "output", "operator")):
        return "Shape"
    return next((title for title, keys in SECTIONS.items() if key in keys), "Sees" if name == "Field" else "Costs")


def _part(report: Report, lines: Sequence[Sequence[int]], keys: Sequence[str], part: Part) -> dict[str, Any]:
    """Return a layer with its lines, or a group with its parts."""
    own = [*indices([part])]
    layers = report.layers[own[0] : own[-1] + 1]
    node, last = layers[0].node, end(layers)
    group = isinstance(part, Group)
    does = counted(layer.node.op for layer in layers) if group else operator_text(node.op)
    name = part.name if isinstance(part, Group) else node.name
    made: dict[str, Any] = {
        "name": name,
        "label": name.rpartition(".")[2],
        "kind": "block" if group else kind_of(node),
        "cells": [does, cell(last.node.output), *_sums(layers, keys), field_text(by_key(last.field))],
        "side": all(layer.node.side for layer in layers),
    }
    if isinstance(part, Group):
        return made | {"parts": [_part(report, lines, keys, inner) for inner in part.parts]}
    given = {"inputs": list(node.inputs), "call": written_call(node.op), "lines": lines[part]}
    return made | given | {"shares": layers[0].weights_of}


def _sums(layers: Sequence[Layer], keys: Sequence[str]) -> list[Any]:
    return [number(total(layers, key)) for key in keys]


def _curve(needs: Needs) -> dict[str, Any]:
    """Return the memory over the step of the peak; `kinds` are those that exist, with their places among all."""
    curve, top = needs.curve(POINTS), needs.top
    titles = [*(KINDS if needs.recipe.optimizer else KINDS | {"input": "images"}).values()]
    used = [i for i in range(len(KINDS)) if any(point[i] for point in curve.points)]
    layer = needs.layer_at(top)
    return {
        "peak": f"{size_text(top.peak)} in {top.phase}" + (f" at {layer}" if layer else ""),
        "of": f"tensors on {needs.recipe.device.upper()}",
        "kinds": [[i, titles[i]] for i in used],
        "points": [[point[i] for i in used] for point in curve.points],
        "starts": curve.starts,
    }


def _comparison(alignment: Alignment, position: int) -> dict[str, Any]:
    """Return where the network at `position` differs from the first one."""
    units = "A", "B", "B − A"
    shown = [(key, unit, key == "macs" or (unit == units[-1] and key in OPEN)) for key in COMPARED for unit in units]
    columns = [_column(heading(key), unit, key, on) for key, unit, on in shown]
    return {
        "networks": [0, position],
        "columns": [_column("Difference"), *columns],
        "parts": [_match(alignment, match, alignment.root) for match in alignment.root.parts],
        "totals": ["", *_differences(alignment.left.layers, alignment.right.layers)],
    }


def _match(alignment: Alignment, match: Match, block: Match) -> dict[str, Any]:
    """Return a row of a `block`; `sides` names the parts of both networks, each with the span of its layers."""
    row = Row(state(alignment, match), (match,))
    text = difference(alignment, row) or STATES.get(row.state, "")
    made = {
        "name": row_name(row),
        "label": row_name(row, block),
        "state": row.state,
        "sides": [piece and f"{piece.start} {piece.stop} {piece.name}" for piece in (match.left, match.right)],
        "cells": [text, *_differences(*alignment.layers(match))],
    }
    return made | ({"parts": [_match(alignment, part, match) for part in match.parts]} if match.parts else {})


def _differences(left: Sequence[Layer], right: Sequence[Layer]) -> list[Any]:
    """Return sums over both sides and B − A, which is unknown where one of them is."""
    pairs = [(total(left, key), total(right, key)) for key in COMPARED]
    more = [b - a if type(a) is type(b) is int else None for a, b in pairs]
    return [number(value) for (a, b), own in zip(pairs, more, strict=True) for value in (a, b, own)]
