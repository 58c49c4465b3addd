"""Figures of sweeps, held against runs of single combinations."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Any

from archcalc import ArchcalcError, analyze, load
from archcalc.analysis.conventions import CONVENTIONS
from archcalc.analysis.cost import DTYPES
from archcalc.analysis.figures import STEP
from archcalc.analysis.optimizers import OPTIMIZERS
from archcalc.analysis.recipe import USUAL
from archcalc.catalog import spec_to_expand
from archcalc.graph.graph import Graph
from archcalc.ops.shape import AXES, Shape
from archcalc.spec.binding import input_shapes, plain_params
from archcalc.sweep_grid import said
from archcalc.sweeping import SWEPT, sweep
from archcalc.symbolic import COUNTS, number_of


def alone(name: str, values: Mapping[str, Any], keys: Sequence[str], **conditions: Any) -> tuple[dict[str, Any], str]:
    """The figures of one combination as `summarize` has them, and why it does not fit."""
    known = load(name)
    params = {symbol: value for symbol, value in values.items() if symbol in known.about.params}
    lengths = {symbol: values[symbol] for symbol in values if symbol not in params and symbol != "batch"}
    given = dict(conditions)
    if "batch" in values and "batch" not in params:
        given["batch"] = values["batch"]
    try:
        usual = input_shapes(spec_to_expand(known.origin), known.origin.network, plain_params(params), None)
        inputs = {label: _lengthened(shape, lengths) for label, shape in usual.items()}
        shapes = inputs if len(inputs) > 1 else next(iter(inputs.values()))
        totals = analyze(
            load(name, shapes if lengths else None, **params), flops=given.pop("convention", "all"), **given
        )
        return totals.totals.figures(keys), ""
    except ArchcalcError as error:
        return dict.fromkeys(keys), said(error)


def _lengthened(shape: Shape, lengths: Mapping[str, int]) -> Shape:
    for symbol, length in lengths.items():
        every = [axis for axis in shape.axes if axis != "C"] if symbol == "size" else []
        for axis in every or [axis for axis in shape.axes if AXES[axis] == symbol.removeprefix("in_")]:
            shape = shape.with_size(axis, length)
    return shape


def drawn_conditions(graph: Graph, draw: random.Random, over: Mapping[str, Any]) -> tuple[list[str], dict[str, Any]]:
    """Some figures, and the conditions of a report; in half of the cases of training."""
    trains = draw.random() < 0.5
    conditions = {
        "batch": 1 if "batch" in over else draw.choice([1, 3, 32]),
        "dtype": draw.choice([*DTYPES]),
        "mode": "train" if trains else "infer",
        "convention": draw.choice(["all", *CONVENTIONS]),
    }
    if trains:
        frozen = (draw.choice(graph.nodes[1:]).name.split(".")[0],) if draw.random() < 0.4 else ()
        optimizer, decay = draw.choice([*OPTIMIZERS]), draw.random() < 0.5
        conditions["recipe"] = USUAL._replace(optimizer=optimizer, weight_decay=decay, frozen=frozen)
    known = [key for key in SWEPT if key not in over and (trains or key not in STEP)]
    return draw.sample(known, 8), conditions


def drawn_values(graph: Graph, draw: random.Random, many: int) -> dict[str, list[int]]:
    """Some whole-number params or lengths of a network, and values around their own."""
    params = [name for name, value in graph.about.params.items() if type(value) is int]
    lengths = [f"in_{AXES[axis]}" for axis in graph.input.axes if axis != "C"]
    chosen = draw.choice([params or lengths, lengths or params])[:3]
    over = {}
    for symbol in dict.fromkeys([*chosen, "batch"]):
        own, least = number_of(graph, symbol, 1), 0 if symbol in params else 1
        step, far = (draw.choice([1, 2, 8, 32]), 6) if own > 40 or symbol == "batch" else (1, 2)  # few layers more
        over[symbol] = sorted({own, *[max(least, own + step * draw.randint(-far, far)) for _ in range(many)]})
    return over


def differences(name: str, points: int, draw: random.Random, usual: bool = True) -> tuple[list[Any], int]:
    """The combinations of which a figure differs, and how many were compared; not `usual`: other conditions."""
    graph = load(name)
    over = drawn_values(graph, draw, 1 if points < 20 else 5)
    keys, conditions = ([*COUNTS], {}) if usual else drawn_conditions(graph, draw, over)
    rows = [*sweep(name, over, keys, **conditions).rows()]
    wrong, tried = [], draw.sample(rows, min(points, len(rows)))
    for row in tried:
        figures, problem = alone(name, {symbol: row[symbol] for symbol in over}, keys, **conditions)
        if {key: row[key] for key in keys} != figures or bool(row["problem"]) != bool(problem):
            wrong.append((row, figures, problem, conditions))
    return wrong, len(tried)
