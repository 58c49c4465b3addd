"""Figures of a network for all combinations of some values of its params, input and batch, at once.

The plan runs once over symbols (`symbolic`), at the first combination. That gives formulas, and the conditions under
which every decision of the plan is the same. Where they hold the formulas are evaluated over arrays; at the first
combination that is left the plan runs again. So each figure is the one that a run at its combination alone gives.
"""

from __future__ import annotations

import itertools
import math
import os
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple, TypeAlias

from archcalc.analysis.figures import END, FIGURES, numbers
from archcalc.analysis.recipe import USUAL, Recipe
from archcalc.analysis.report import MAX_BATCH, images, require_conditions
from archcalc.errors import ArchcalcError, SpecError, choose, needs, shorten
from archcalc.graph.graph import Graph
from archcalc.ops.arguments import plain
from archcalc.ops.evaluation import Span, evaluate, factors, parts, span
from archcalc.ops.symbols import Condition, Example, NotSymbolic
from archcalc.spec.binding import InputShapes
from archcalc.sweep_rows import Rows, order_of
from archcalc.symbolic import COUNTS, Setting, figures_at, note_sizes, number_of, require_once, symbols_of

MOST = 10**8  # combinations in one sweep
MOST_CELLS = 10**9  # of combinations × figures
BLOCK = 2**20  # combinations at a time: with fewer, threads wait for Python's lock
LARGEST = 2**63 - 1
MOST_RUNS = 10**5  # of the plan, each for a few combinations or one
TRIED = 8  # values from each end at which a name is tried as a symbol
SWEPT = [  # figures that are whole numbers of formulas: no receptive fields, no expectations
    key for key, figure in numbers().items() if figure.adds != END and not key.startswith("expected_")
]
Block: TypeAlias = tuple[slice, ...]


class Plan(NamedTuple):
    """The formulas of the figures for all combinations of symbols that fulfil the conditions, or why there are none."""

    conditions: Sequence[Condition]
    figures: Mapping[str, Any]
    problem: ArchcalcError | None
    at: Mapping[str, int]  # the first of them


class Sweep(NamedTuple):
    """The figures of each combination, as arrays with an axis for each name in `over`.

    `figures` are masked where they are unknown and where a network does not fit; there `problem_at` is the number of
    one of the `problems`, from 1 on; elsewhere 0.
    """

    name: str
    over: dict[str, list[Any]]
    figures: dict[str, Any]
    problem_at: Any
    problems: list[str]

    @property
    def points(self) -> int:
        """How many combinations there are."""
        return int(self.problem_at.size)

    def rows(self, order: Any = None) -> Rows:
        """Return the values and figures of each combination, in an order of places; None: unknown.

        `problem` is "" or why it does not fit; where several fail alike, with the numbers of the first of them.
        """
        return Rows(self.over, self.figures, self.problem_at, ["", *self.problems], order)

    def order(self, key: str, least: bool = False) -> Any:
        """Return the places of all combinations by a name or figure: the largest first, or the least; unknown last.

        Texts are in the opposite order, as in tables. Raises ArchcalcError for values without an order.
        """
        return order_of(self.over, self.figures, key, least)


def sweep(
    name: str | os.PathLike[str], over: Mapping[str, Iterable[Any]], figures: Sequence[str] = COUNTS,
    params: Mapping[str, Any] | None = None, input: InputShapes | None = None, *, batch: int = 1,
    dtype: str = "float32", mode: str = "infer",
    convention: str = "all", recipe: Recipe = USUAL, jobs: int = 1,
) -> Sweep:  # fmt: skip
    """Compute figures of a network for all combinations of the values in `over`.

    A name in `over` is a param of the spec, an axis of the input such as height, `size` for all its lengths, or batch.
    Whole numbers run as arrays; other values, and params that decide how many layers there are, one after another.
    Raises ArchcalcError for a name or figure that is unknown, for too many combinations, and for a figure that does not
    fit 64 bits.
    """
    columns = _columns(over)
    figures = (figures,) if isinstance(figures, str) else figures
    for key in figures:
        if key in FIGURES and key not in SWEPT:
            raise ArchcalcError(f"a sweep has no {key}; `archcalc summarize` shows it of one combination")
        choose("figure", key, {key: key for key in SWEPT})
    if type(jobs) is not int or jobs < 1:
        raise ArchcalcError(f"jobs must be a whole number from 1 on, not {shorten(repr(jobs))}")
    for symbol in {*columns}.intersection((*figures, "problem")):
        raise ArchcalcError(f"{symbol} is a param here, and the name of a column; omit one of them")
    _check_size(columns, len(figures))
    setting = Setting(_path(name), dict(params or {}), input, images(batch), dtype, mode, convention, recipe)
    graph = setting.graph()
    require_conditions(graph, dtype, mode, convention, recipe)
    for symbol in {*columns}.intersection([*setting.params, *["batch"] * (batch > 1)]):
        raise ArchcalcError(f"{symbol} is swept, and set to one value; omit one of them")
    symbols = symbols_of(Example(dict.fromkeys(columns, 1)))
    require_once(setting, graph, {symbol: [*_tried(columns[symbol]), symbols[symbol]] for symbol in columns})
    varying = [symbol for symbol, values in columns.items() if _is_symbol(setting, graph, symbol, values, figures)]
    grid = _Grid(columns, tuple(figures))
    others = [symbol for symbol in columns if symbol not in varying]
    _check_runs(math.prod(len(columns[symbol]) for symbol in others), others)
    with ThreadPoolExecutor(jobs) as pool, grid:
        for places in itertools.product(*[range(len(columns[symbol])) for symbol in others]):
            at = dict(zip(others, places, strict=True))
            fixed = {symbol: columns[symbol][i] for symbol, i in at.items()}
            structure = _structure(grid, setting, graph, fixed, varying)
            list(pool.map(structure.fill, _blocks(grid, at)))
    return Sweep(graph.name, columns, grid.result(), grid.problem_at, [*grid.problems])


def _path(name: object) -> str:
    path = os.fspath(name) if isinstance(name, os.PathLike) else name
    if not isinstance(path, str):
        raise ArchcalcError(f"a sweep needs a name or a path, not {type(name).__name__}")
    return path


def _columns(over: Any) -> dict[str, list[Any]]:
    """Return the values of each name as lists of Python's. Raises ArchcalcError for others."""
    if not isinstance(over, Mapping) or not all(isinstance(symbol, str) for symbol in over):
        raise ArchcalcError('a sweep needs names with lists of values, such as {"size": [192, 224]}')
    for symbol, values in over.items():
        if isinstance(values, str) or not isinstance(values, Iterable):
            raise ArchcalcError(f"{shorten(symbol)} needs a list of values, not {shorten(repr(values))}")
    return {symbol: [plain(value) for value in values] for symbol, values in over.items()}


def _structure(
    grid: _Grid, setting: Setting, graph: Graph, fixed: Mapping[str, Any], symbols: Sequence[str]
) -> _Structure:
    """Return the part of a grid with these values."""
    params = {symbol: value for symbol, value in fixed.items() if symbol in graph.about.params}
    own = setting._replace(params={**setting.params, **params})
    return _Structure(grid, own, graph, {symbol: fixed[symbol] for symbol in fixed if symbol not in params}, symbols)


def _is_symbol(setting: Setting, graph: Graph, symbol: str, values: Sequence[Any], keys: Sequence[str]) -> bool:
    """Whether the plan can run with a symbol for these values; False: it runs once for each.

    A symbol stands for numbers from 1 on (`Formula.never_negative`). Raises ArchcalcError for an unknown name, and for
    lengths or batches that are no whole numbers.
    """
    if symbol in graph.about.params and not all(type(value) is int for value in (graph.about.params[symbol], *values)):
        return False
    if symbol in graph.about.params and not 1 <= min(values) <= max(values) <= LARGEST:
        return False
    number_of(graph, symbol, 1)
    if symbol not in graph.about.params:
        most = MAX_BATCH if symbol == "batch" else LARGEST
        for value in values:
            if type(value) is not int or not 1 <= value <= most:
                raise ArchcalcError(f"{symbol}={shorten(str(value))} is no whole number from 1 to {most:,}")
    first = next((value for value in _tried(values) if _runs(setting, graph, {symbol: value}, keys)), None)
    return first is not None and _runs(setting, graph, symbols_of(Example({symbol: first})), keys)


def _tried(values: Sequence[Any]) -> list[Any]:
    """Return some of the values."""
    return [*values[:TRIED], *values[TRIED:][-TRIED:]]


def _runs(setting: Setting, graph: Graph, values: Mapping[str, Any], keys: Sequence[str]) -> bool:
    """Whether the figures can be computed for these numbers, or formulas."""
    try:
        figures_at(setting, graph, values, keys)
    except (ArchcalcError, NotSymbolic):
        return False
    return True


def _check_size(columns: Mapping[str, Sequence[Any]], figures: int) -> None:
    if not columns:
        raise ArchcalcError("a sweep needs a name and its values, such as size=160:320:32")
    for symbol, values in columns.items():
        if not values:
            raise ArchcalcError(
                f"{shorten(symbol)} has no values; write {shorten(symbol)}=160:320:32 or {shorten(symbol)}=1,2,4"
            )
    sizes = [len(values) for values in columns.values()]
    product = " × ".join(f"{size:,}" for size in sizes)
    if math.prod(sizes) > MOST:
        raise ArchcalcError(
            f"{product} are {math.prod(sizes):,} combinations; a sweep has at most {MOST:,}: "
            "take larger steps, or sweep one part at a time"
        )
    if math.prod(sizes) * figures > MOST_CELLS:
        raise ArchcalcError(f"{figures} figures of {product} combinations take more than 8 GB; name fewer of them")


def _check_runs(runs: int, symbols: Iterable[str]) -> None:
    """Raise ArchcalcError if the plan has to run too often."""
    if runs > MOST_RUNS:
        raise ArchcalcError(
            f"this needs a run of the plan for each {' and '.join(symbols)}, more than {MOST_RUNS:,} runs; "
            "take larger steps, or sweep one part at a time"
        )


def numpy() -> Any:
    """Return NumPy. Raises ArchcalcError if it is not installed."""
    try:
        import numpy as np
    except ImportError:
        raise ArchcalcError(needs("a sweep", "NumPy", "sweep")) from None
    return np


class _Grid:
    """The arrays of a sweep, filled block by block."""

    def __init__(self, columns: Mapping[str, list[Any]], keys: tuple[str, ...]) -> None:
        np = numpy()
        self.columns, self.keys = columns, keys
        self.shape = tuple(map(len, columns.values()))
        self.arrays = {key: np.zeros(self.shape, np.int64) for key in keys}
        self.unknown: dict[str, Any] = {}  # by figure, where some are
        self.problem_at = np.zeros(self.shape, np.int32)
        self.problems: dict[str, int] = {}  # with their numbers
        self.lock = threading.Lock()
        self.stopped = False

    def __enter__(self) -> None:
        pass

    def __exit__(self, *error: object) -> None:
        self.stopped = True  # after Ctrl-C, threads need not go on

    def result(self) -> dict[str, Any]:
        """Return the figures as masked arrays; without a mask if all are known."""
        np = numpy()
        failed = self.problem_at > 0 if self.problems else np.ma.nomask
        masks = {key: self.unknown[key] | failed if key in self.unknown else failed for key in self.keys}
        return {key: np.ma.MaskedArray(array, masks[key]) for key, array in self.arrays.items()}

    def take(self, plan: Plan, block: Block, values: Mapping[str, Any], atoms: dict[Any, Any], holds: Any) -> None:
        """Write what the formulas of a plan give where it holds in a block."""
        np = numpy()
        if plan.problem:
            values_there = ", ".join(f"{symbol}={number:,}" for symbol, number in plan.at.items())
            text = f"{said(plan.problem)} ({values_there})" if plan.at else said(plan.problem)
            with self.lock:
                number = self.problems.setdefault(text, len(self.problems) + 1)
            self.problem_at[block][holds] = number
        for key, formula in plan.figures.items():
            if formula is None:
                with self.lock:
                    unknown = self.unknown.setdefault(key, np.zeros(self.shape, bool))
                unknown[block] |= holds
            else:
                np.copyto(self.arrays[key][block], evaluate(formula, values, atoms), where=holds)


class _Structure:
    """The part of a grid in which only symbols vary."""

    def __init__(
        self, grid: _Grid, setting: Setting, graph: Graph, fixed: Mapping[str, Any], symbols: Sequence[str]
    ) -> None:
        np = numpy()
        self.grid, self.setting, self.graph, self.fixed, self.symbols = grid, setting, graph, fixed, symbols
        self.plans: list[Plan] = []
        self.lock = threading.Lock()
        axes = [np.asarray(values if symbol in symbols else [0]) for symbol, values in grid.columns.items()]
        self.mesh = dict(zip(grid.columns, np.meshgrid(*axes, indexing="ij", sparse=True), strict=True))
        self.span = {symbol: (min(values), max(values)) for symbol, values in grid.columns.items() if symbol in symbols}

    def fill(self, block: Block) -> None:
        """Fill a block by the plans that are there, and by new ones for what is left."""
        np = numpy()
        values = {symbol: _part(self.mesh[symbol], block) for symbol in self.symbols}
        left = np.ones(self.grid.problem_at[block].shape, bool)
        atoms: dict[Any, Any] = {}
        for i in itertools.takewhile(lambda _: not self.grid.stopped, itertools.count()):
            if i == len(self.plans):
                self._plan(i, values, left)
            holds = _all_hold(self.plans[i].conditions, values, atoms) & left
            if holds.any():
                self.grid.take(self.plans[i], block, values, atoms, holds)
                left &= ~holds
                if not left.any():
                    return

    def _plan(self, number: int, values: Mapping[str, Any], left: Any) -> None:
        """Make the plan of this number at the first combination that is left, unless another thread did."""
        np = numpy()
        with self.lock:
            if number == len(self.plans):
                _check_runs(number, self.symbols)
                first = np.unravel_index(left.argmax(), left.shape)
                at = {symbol: int(np.broadcast_to(column, left.shape)[first]) for symbol, column in values.items()}
                self.plans.append(self._plan_at(at))

    def _plan_at(self, at: Mapping[str, int]) -> Plan:
        """Return the plan at a combination; where symbols are not enough, for this combination alone."""
        example = Example(at)
        try:
            found, figures = self._figures(symbols_of(example))
            note_sizes(found, example)
            if found.misfit and self._misfit(at) != self._misfit(symbols_of(Example(at, as_numbers=True))):
                return self._plan_of_one(example)
        except NotSymbolic:
            return self._plan_of_one(example)
        except ArchcalcError:
            alone = self._plan_of_one(example)
            same = alone.problem and str(alone.problem) == self._error_at(at)
            return alone._replace(conditions=self._conditions(example)) if same else alone
        _check_fits(figures, self._conditions(example), self.span, self.setting.name)
        return Plan(self._conditions(example), figures, None, at)

    def _figures(self, values: Mapping[str, Any]) -> tuple[Graph, dict[str, Any]]:
        return figures_at(self.setting, self.graph, {**self.fixed, **values}, self.grid.keys)

    def _misfit(self, values: Mapping[str, Any]) -> str:
        """Return why a side output is missing: with symbols perhaps only because they cannot stand there."""
        return str(self._figures(values)[0].misfit)

    def _error_at(self, at: Mapping[str, int]) -> str:
        """Return the error of a run with symbols that are written as numbers: if a run alone says the same, why, too.

        Another one says that a symbol cannot stand there.
        """
        try:
            self._figures(symbols_of(Example(at, as_numbers=True)))
        except ArchcalcError as error:
            return str(error)
        return ""

    def _plan_of_one(self, example: Example) -> Plan:
        alone = [Condition(example.symbol(symbol) - number, "=") for symbol, number in example.values.items()]
        figures = dict[str, Any]()
        try:
            figures = self._figures(example.values)[1]
        except ArchcalcError as error:
            return Plan(alone, {}, error, example.values)
        _check_fits(figures, [], {}, self.setting.name)
        return Plan(alone, figures, None, example.values)

    def _conditions(self, example: Example) -> list[Condition]:
        """Return the conditions of an example that may not hold somewhere in the grid."""
        made = [*example.conditions, *example.bounds]
        return [own for own in made if own.relation != "≥" or span(own.formula, self.span)[0] < 0]


def said(error: ArchcalcError) -> str:
    """Return the message of an error without its place."""
    return error.message if isinstance(error, SpecError) else str(error)


def _part(array: Any, block: Block) -> Any:
    """Return the part of a column of the mesh that lies in a block."""
    return array[tuple(own if size > 1 else slice(None) for own, size in zip(block, array.shape, strict=True))]


def _blocks(grid: _Grid, fixed: Mapping[str, int]) -> Iterator[Block]:
    """Yield slices of a grid of at most `BLOCK` combinations each; some of its axes have a fixed place."""
    ranges, room = [], BLOCK
    for symbol, size in reversed([*zip(grid.columns, grid.shape, strict=True)]):
        start, stop = (fixed[symbol], fixed[symbol] + 1) if symbol in fixed else (0, size)
        step = max(1, min(room, stop - start))
        ranges.append([slice(i, min(i + step, stop)) for i in range(start, stop, step)])
        room //= step
    yield from itertools.product(*reversed(ranges))


def _check_fits(figures: Mapping[str, Any], conditions: Iterable[Condition], last: Span, name: str) -> None:
    """Raise ArchcalcError if a figure, or a condition, may exceed 64 bits somewhere in the grid."""
    formulas = [*figures.items(), *[(str(own.formula), own.formula) for own in conditions]]
    for key, formula in formulas:
        if any(max(map(abs, [*span(part, last), *factors(part)])) > LARGEST for part in parts(formula)):
            up_to = ", ".join(f"{symbol}={number:,}" for symbol, (_, number) in last.items())
            at = f" (up to {up_to})" if up_to else ""
            raise ArchcalcError(f"{name}: {key} may exceed 2⁶³ − 1{at}; sweep smaller numbers")


def _all_hold(conditions: Sequence[Condition], values: Mapping[str, Any], atoms: dict[Any, Any]) -> Any:
    """Return where all conditions hold: an array, or True."""
    holds: Any = numpy().True_
    for formula, relation in conditions:
        value = evaluate(formula, values, atoms)
        holds = holds & (value >= 0 if relation == "≥" else value == 0 if relation == "=" else value != 0)
    return holds
