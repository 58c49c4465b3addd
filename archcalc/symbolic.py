"""A network's figures as exact formulas of symbols: its params, the lengths of its input, and the batch.

The spec is expanded with symbols in place of these numbers (`ops.symbols`); everything from expressions to sums over
layers runs on them as on numbers.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any, NamedTuple

from archcalc.analysis.conventions import CONVENTIONS
from archcalc.analysis.explanation import Line
from archcalc.analysis.figures import FIGURES
from archcalc.analysis.recipe import USUAL, Recipe
from archcalc.analysis.report import Report
from archcalc.catalog import build, load_with
from archcalc.errors import ArchcalcError, shorten, suggest
from archcalc.graph.gc_pause import uncollected
from archcalc.graph.graph import Graph, Origin
from archcalc.ops.shape import AXES
from archcalc.ops.symbols import Condition, Example, Formula, NotSymbolic, atom_text
from archcalc.spec.binding import InputShapes, plain_params, plain_shape

COUNTS = "params", "macs", "flops", "activations"
MOST = 200_000  # numbers at which the conditions on one symbol are tried


class Formulas(NamedTuple):
    """The formulas of a network's figures, and where they hold."""

    graph: Graph
    example: Example
    figures: dict[str, Any]  # formulas, or numbers without a symbol
    short: dict[str, Any]  # likewise, in which each quotient and divisor is a symbol
    where: dict[str, Any]  # what these symbols stand for
    ranges: dict[str, str]  # where they hold, symbol by symbol: `from 33 on`
    others: Sequence[Condition]  # and further conditions, each of several symbols

    @property
    def lines(self) -> list[Line]:
        """The formulas with short names, then what these stand for, each with its value at the example."""
        values = self.example.values
        lines = [Line(FIGURES[key].title, _text(self.short[key]), _value(self.figures[key]), key) for key in COUNTS]
        return lines + [Line(f"where {name}", atom_text(atom), atom.at(values)) for name, atom in self.where.items()]

    @property
    def limits(self) -> list[str]:
        """Where the formulas hold, in words."""
        own = [f"{symbol} {numbers or 'nowhere'}" for symbol, numbers in self.ranges.items()]
        return own + [f"{formula} {relation} 0" for formula, relation in self.others]

    def holds(self, values: Mapping[str, int]) -> bool:
        """Whether the formulas hold at some numbers."""
        return all(condition.holds(values) for condition in self.example.conditions)


class Setting(NamedTuple):
    """A network with params and an input, and the conditions of its figures."""

    name: str
    params: Mapping[str, Any]
    input: InputShapes | None = None
    batch: int = 1
    dtype: str = "float32"
    mode: str = "infer"
    convention: str = "all"
    recipe: Recipe = USUAL
    origin: Origin | None = None  # its spec, if it is known: a worker elsewhere cannot read the file

    @uncollected
    def load(self, params: Mapping[str, Any], input: InputShapes | None) -> Graph:
        """Load the network with other params and another input."""
        if self.origin is None:
            return load_with(self.name, params, input)
        return build(self.origin._replace(params=plain_params(params), input=plain_shape(input)), self.name)

    def graph(self) -> Graph:
        """Load the network. Raises ArchcalcError if it has no spec, and so no params."""
        graph = self.load(self.params, self.input)
        if graph.origin is None:
            written = f"write one: archcalc import {self.name}"
            raise ArchcalcError(f"{graph.name} has no spec, so it has no params; {written}")
        return graph


def formulas_of(
    name: str, symbols: Sequence[str], params: Mapping[str, Any], input: InputShapes | None = None, batch: int = 1,
    mode: str = "infer", convention: str = "all",
) -> Formulas:  # fmt: skip
    """Compute a network's figures as formulas. The network with these params, input and batch is the example.

    A symbol is a param, an axis of the input such as height, `size` for all of its lengths, or batch. Raises
    ArchcalcError for others, and where the network needs a number.
    """
    setting = Setting(name, params, input, batch, mode=mode, convention=convention)
    graph = setting.graph()
    example = Example({symbol: number_of(graph, symbol, batch) for symbol in symbols})
    try:
        found, figures = figures_at(setting, graph, symbols_of(example), COUNTS)
    except NotSymbolic as error:
        hint = f"; {convention} may need a number, all, torch and macs do not" if CONVENTIONS[convention].rules else ""
        raise ArchcalcError(f"{graph.name}: {error}{hint}") from None
    note_sizes(found, example)
    ranges, others = _where(example)
    short, where = _shortened(figures)
    return Formulas(graph, example, figures, short, where, ranges, others)


def figures_at(
    setting: Setting, graph: Graph, values: Mapping[str, Any], keys: Sequence[str]
) -> tuple[Graph, dict[str, Any]]:
    """Expand a network with other params, lengths and batch: numbers or formulas. Returns the graph and its figures.

    `graph` is the network with its own. Raises ArchcalcError, and NotSymbolic where a formula is not enough.
    """
    own = {symbol: value for symbol, value in values.items() if symbol in graph.about.params}
    images: Any = setting.batch if "batch" in own else values.get("batch", setting.batch)
    lengths = {symbol: values[symbol] for symbol in values if symbol not in own and symbol != "batch"}
    params = {**setting.params, **own}
    if own and (lengths or setting.input):
        _check_replaced(setting.load(params, None), [*lengths] or ["--input"])
    found = setting.load(params, _input(graph, lengths) if lengths else setting.input)
    totals = Report(found, images, setting.dtype, setting.mode, CONVENTIONS[setting.convention], setting.recipe).totals
    return found, {key: getattr(totals, key) for key in keys}


def symbols_of(example: Example) -> dict[str, Formula]:
    """Return the symbols of an example as formulas."""
    return {symbol: example.symbol(symbol) for symbol in example.values}


class Replaced(ArchcalcError):
    """A param that is a symbol decides a size of the input that is given otherwise."""


def _check_replaced(graph: Graph, by: Sequence[str]) -> None:
    """Raise Replaced if an input that others replace depends on a param that is a symbol."""
    for size in [size for node in graph.inputs for size in node.output if isinstance(size, Formula)]:
        symbol = min(size.symbols())
        raise Replaced(f"{symbol} is a size of the input of {graph.name}, as is {by[0]}; omit one of them")


def _input(graph: Graph, symbols: Mapping[str, Formula]) -> InputShapes:
    """Return the shapes of the inputs with symbols as lengths. Raises ArchcalcError if two stand for one axis."""
    shapes, named = {node.name: node.output for node in graph.inputs}, dict[str, str]()
    for symbol, formula in symbols.items():
        for axis in _axes(graph, symbol):
            if named.setdefault(axis, symbol) != symbol:
                raise ArchcalcError(f"{named[axis]} and {symbol} are the same axis; name one of them")
            for label, shape in shapes.items():
                shapes[label] = shape.with_size(axis, formula) if axis in shape.axes else shape
    return shapes if len(shapes) > 1 else next(iter(shapes.values()))


def _text(count: Any) -> str:
    return "" if count is None else str(count) if isinstance(count, Formula) else f"{count:,}"


def _value(count: Any) -> int | None:
    return count.value if isinstance(count, Formula) else count


def number_of(graph: Graph, symbol: str, batch: int) -> int:
    """Return what a symbol stands for in a graph. Raises ArchcalcError if that is no whole number."""
    params = graph.about.params
    if symbol in params:
        if type(params[symbol]) is not int:
            raise ArchcalcError(f"param {symbol} of {graph.name} is {shorten(str(params[symbol]))}, no whole number")
        return int(params[symbol])
    if symbol == "batch":
        return batch
    lengths = {graph.input.size(axis) for axis in _axes(graph, symbol)}
    if len(lengths) != 1:
        raise ArchcalcError(f"the input of {graph.name} is {graph.input.text}; name its axes, such as height,width")
    return int(lengths.pop())


def _axes(graph: Graph, symbol: str) -> list[str]:
    """Return the axes of the input that a symbol stands for. Raises ArchcalcError with the nearest names."""
    axes = [axis for axis in graph.input.axes if axis != "C"]
    words = {"size": axes} | {f"in_{AXES[axis]}": [axis] for axis in graph.input.axes}
    words |= {AXES[axis]: [axis] for axis in graph.input.axes}
    if not words.get(symbol):
        known = suggest(symbol, [*words, "batch", *graph.about.params])
        raise ArchcalcError(f"{graph.name} has no param or axis {shorten(symbol)!r}; {known}")
    return words[symbol]


def note_sizes(graph: Graph, example: Example) -> None:
    """Note that each size of each layer is at least 1; what only says so of their product is no further condition."""
    products = dict[Condition, None]()
    for node in graph.nodes:
        sizes = [size for size in node.output if isinstance(size, Formula)]
        if node.output.lengths:
            for size in sizes:
                example.note(size - 1, "≥")
        if len(sizes) > 1:
            product: Any = math.prod(node.output)
            products[Condition(product - 1, "≥")] = None
    example.conditions = {own: None for own in example.conditions if own not in products}


def _shortened(figures: Mapping[str, Any]) -> tuple[Any, dict[str, Any]]:
    """Write formulas with a short name for each quotient and divisor: `size1` depends on size alone.

    Returns the formulas, and what the names stand for.
    """
    made, where = dict(figures), dict[str, Any]()
    formulas = [formula for formula in figures.values() if isinstance(formula, Formula)]
    atoms = {atom: formula.example for formula in formulas for atom in formula.atoms() if not isinstance(atom, str)}
    for atom, example in sorted(atoms.items(), key=lambda item: -item[0].at(item[1].values)):
        symbols = atom.of.symbols()
        stem = symbols.pop() if len(symbols) == 1 else "n"
        name = f"{stem}{sum(own.startswith(stem) for own in where) + 1}"
        where[name] = atom
        by = example.symbol(name)
        made = {key: own.replaced(atom, by) if isinstance(own, Formula) else own for key, own in made.items()}
    return made, where


# Where the formulas hold


def _where(example: Example) -> tuple[dict[str, str], list[Condition]]:
    """Return where all conditions on one symbol hold, in words and for each symbol; and the other conditions."""
    of_one: dict[str, list[Condition]] = {symbol: [] for symbol in example.values}
    others = []
    for condition in example.conditions:
        (symbol, *more) = condition.formula.symbols()
        if more or _period(condition.formula) is None:
            others.append(condition)
        else:
            of_one[symbol].append(condition)
    ranges = {}
    for symbol, conditions in of_one.items():
        period = math.lcm(*[_period(condition.formula) or 1 for condition in conditions])
        last = max([_turn(condition.formula, symbol, period) for condition in conditions], default=0)
        if last + 2 * period > MOST:
            others += conditions
            continue
        true = [all(own.holds({symbol: n}) for own in conditions) for n in range(1, last + 2 * period + 1)]
        ranges[symbol] = _in_words(true, period)
    return ranges, others


def _period(part: Any) -> int | None:
    """Return after how many numbers of its symbol a part of a formula grows by the same amount again; None: never."""
    if isinstance(part, str):
        return 1
    if not isinstance(part, Formula):
        inner = _period(part.of)
        return inner and inner * part.number
    periods = [_period(atom) for atom in part.atoms()]
    linear = all(len(monomial) <= 1 and power == 1 for monomial in part.terms for _, power in monomial)
    return math.lcm(*[period or 1 for period in periods]) if linear and None not in periods else None


def _turn(formula: Formula, symbol: str, period: int) -> int:
    """Return a number from which on it depends only on the place in a period whether the formula is ≥ 0 or = 0."""
    values = [formula.at({symbol: n}) for n in range(1, min(period, MOST) + 1)]
    growth = formula.at({symbol: 1 + period}) - values[0]
    return period * (max(map(abs, values)) // abs(growth) + 1) if growth else 0


def _in_words(true: list[bool], period: int) -> str:
    """Describe the numbers from 1 on for which a condition is true; it repeats in the last two periods."""
    runs = [[n for n, _ in own] for holds, own in groupby(enumerate(true, 1), lambda own: own[1]) if holds]
    texts = [f"{run[0]} to {run[-1]}" if len(run) > 1 else f"{run[0]}" for run in runs]
    if all(true[-period:]):
        texts[-1] = f"from {runs[-1][0]} on"
    elif any(true[-period:]):
        texts[3:] = ["…"]
    return shorten(", ".join(texts), 200)
