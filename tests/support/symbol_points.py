"""Formulas of symbols, held against the figures of networks at random numbers."""

from __future__ import annotations

import math
import random
import re
from collections.abc import Mapping, Sequence
from typing import Any

from archcalc import Graph, analyze, load
from archcalc.symbolic import COUNTS, Formulas, formulas_of

LETTERS = {"height": "H", "width": "W", "length": "L", "tokens": "T", "depth": "D"}
SUPERSCRIPTS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹", "0123456789")
PYTHON = str.maketrans({"·": "*", "−": "-", "/": "//", "⌊": "(", "⌋": ")"})


def evaluated(text: str, values: Mapping[str, Any]) -> Any:
    """The value of a formula's text."""
    plain = re.sub(r"(?<=\d),(?=\d{3})", "", text)
    powers = re.sub("[⁰¹²³⁴⁵⁶⁷⁸⁹]+", lambda power: f"**{power[0].translate(SUPERSCRIPTS)}", plain)
    return eval(powers.translate(PYTHON), {"gcd": math.gcd}, dict(values))


def graph_at(graph: Graph, symbols: Sequence[str], values: Mapping[str, int]) -> tuple[Graph, int]:
    """The network with numbers in place of symbols, and the batch."""
    params = {name: values[name] for name in symbols if name in graph.about.params}
    shape = graph.input
    for name in symbols:
        axes = graph.input.axes.replace("C", "") if name == "size" else LETTERS.get(name.removeprefix("in_"), "")
        for axis in () if name in params else axes:
            shape = shape.with_size(axis, values[name])
    return load(graph.name, input=None if shape == graph.input else shape, **params), values.get("batch", 1)


def points(found: Formulas, many: int, drawn: random.Random) -> list[dict[str, int]]:
    """Random numbers at which a network's formulas hold."""
    made, example = list[dict[str, int]](), found.example.values
    for _ in range(200 * many):
        step = drawn.choice([1, 1, 2, 8, 32])
        values = {name: max(1, number + step * drawn.randint(-7, 7)) for name, number in example.items()}
        if values != example and found.holds(values):
            made.append(values)
        if len(made) == many:
            break
    return made


def differences(name: str, symbols: Sequence[str], many: int, seed: int = 0) -> tuple[list[Any], int]:
    """The points at which a network's figures are not those of its formulas, and how many points there are."""
    found = formulas_of(name, symbols, {})
    tried = points(found, many, random.Random(seed))
    wrong = list[Any]()
    for values in tried:
        graph, batch = graph_at(found.graph, symbols, values)
        totals = analyze(graph, batch).totals
        short = values | {own: atom.at(values) for own, atom in found.where.items()}
        for key in COUNTS:
            texts = evaluated(str(found.figures[key]), values), evaluated(str(found.short[key]), short)
            wrong += [(values, key)] * ({*texts} != {getattr(totals, key)})
    return wrong, len(tried)
