"""Figures of sweeps, held against runs of single combinations."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Any

from archcalc import ArchcalcError, load
from archcalc.graph.graph import Graph
from archcalc.ops.shape import AXES
from archcalc.sweep_grid import said
from archcalc.sweeping import sweep
from archcalc.symbolic import COUNTS, Setting, figures_at, number_of


def alone(name: str, values: Mapping[str, Any], keys: Sequence[str], **conditions: Any) -> tuple[dict[str, Any], str]:
    """The figures of one combination, and why it does not fit."""
    setting = Setting(name, {}, **conditions)
    try:
        return figures_at(setting, setting.graph(), values, keys)[1], ""
    except ArchcalcError as error:
        return dict.fromkeys(keys), said(error)


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


def differences(name: str, points: int, draw: random.Random) -> tuple[list[Any], int]:
    """The combinations of which a figure differs, and how many were compared."""
    over = drawn_values(load(name), draw, 1 if points < 20 else 5)
    rows = [*sweep(name, over, COUNTS).rows()]
    wrong, tried = [], draw.sample(rows, min(points, len(rows)))
    for row in tried:
        figures, problem = alone(name, {symbol: row[symbol] for symbol in over}, COUNTS)
        if {key: row[key] for key in COUNTS} != figures or bool(row["problem"]) != bool(problem):
            wrong.append((row, figures, problem))
    return wrong, len(tried)
