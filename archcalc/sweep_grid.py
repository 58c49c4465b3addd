"""The arrays of a sweep, and how formulas fill them: one plan per region in which all decisions are the same."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple, TypeAlias

from archcalc.errors import ArchcalcError, SpecError, needs
from archcalc.graph.graph import Graph
from archcalc.ops.evaluation import Span, evaluate, factors, parts, span
from archcalc.ops.symbols import Condition, Example, NotSymbolic
from archcalc.symbolic import Setting, figures_at, note_sizes, symbols_of

BLOCK = 2**20  # combinations at a time: with fewer, threads wait for Python's lock
LARGEST = 2**63 - 1
MOST_RUNS = 10**5  # of the plan, each for a few combinations or one
NOT_COMPUTED = "not computed"
Block: TypeAlias = tuple[slice, ...]


def numpy() -> Any:
    """Return NumPy. Raises ArchcalcError if it is not installed."""
    try:
        import numpy as np
    except ImportError:
        raise ArchcalcError(needs("a sweep", "NumPy", "sweep")) from None
    return np


class Plan(NamedTuple):
    """The formulas of the figures for all combinations of symbols that fulfil the conditions, or why there are none."""

    conditions: Sequence[Condition]
    figures: Mapping[str, Any]
    problem: ArchcalcError | None
    at: Mapping[str, int]  # one of them
    region: str = ""  # of a problem: all its conditions, also those that hold in the whole grid


class Note(NamedTuple):
    """A problem: its number, the place of its first combination, and its text, which has the numbers of that."""

    number: int
    place: tuple[int, ...]
    text: str


class Grid:
    """The arrays of a sweep, or of a part of it, filled block by block."""

    lock = threading.Lock()  # of notes and masks; for all grids, so that they travel without it

    def __init__(self, columns: Mapping[str, list[Any]], keys: tuple[str, ...]) -> None:
        np = numpy()
        self.columns, self.keys = columns, keys
        self.shape = tuple(map(len, columns.values()))
        self.arrays = {key: np.zeros(self.shape, np.int64) for key in keys}
        self.unknown: dict[str, Any] = {}  # by figure, where some are
        self.problem_at = np.zeros(self.shape, np.int32)
        self.noted: dict[str, Note] = {}  # by region, in the order of their numbers
        self.stopped = False  # by Ctrl-C: threads need not go on

    def result(self) -> dict[str, Any]:
        """Return the figures as masked arrays; without a mask if all are known."""
        np = numpy()
        failed = self.problem_at > 0 if self.noted else np.ma.nomask
        masks = {key: self.unknown[key] | failed if key in self.unknown else failed for key in self.keys}
        return {key: np.ma.MaskedArray(array, masks[key]) for key, array in self.arrays.items()}

    def numbered(self) -> list[str]:
        """Number the problems by their first combinations, whoever came first; return their texts, equal ones once."""
        np = numpy()
        ordered = sorted(self.noted.values(), key=lambda note: note.place)
        texts = {text: i for i, text in enumerate(dict.fromkeys(note.text for note in ordered), 1)}
        numbers = np.array([0, *(texts[note.text] for note in self.noted.values())], np.int32)
        if any(number != i for i, number in enumerate(numbers)):
            self.problem_at = numbers[self.problem_at]
        return [*texts]

    def note(self, region: str, place: Iterable[int], text: Callable[[], str]) -> int:
        """Return the number of the problem of a region, in which it has a place; the first place gives the text."""
        with self.lock:
            own, place = self.noted.get(region), (*place,)
            if own is None or place < own.place:
                own = self.noted[region] = Note(own.number if own else len(self.noted) + 1, place, text())
            return own.number

    def mark(self, where: Any, place: Iterable[int], why: str) -> None:
        """Note why combinations are not computed."""
        self.problem_at[where] = self.note(why, place, lambda: f"{NOT_COMPUTED}: {why}")

    def put(self, part: Grid, block: Block) -> None:
        """Write a part of the grid."""
        np = numpy()
        for key in self.keys:
            self.arrays[key][block] = part.arrays[key]
        for key, unknown in part.unknown.items():
            self.unknown.setdefault(key, np.zeros(self.shape, bool))[block] = unknown
        numbers = [0]
        for region, (_, place, text) in part.noted.items():
            moved = (own.start + i for own, i in zip(block, place, strict=True))
            numbers.append(self.note(region, moved, partial(str, text)))
        self.problem_at[block] = np.array(numbers, np.int32)[part.problem_at]  # last: now it is there

    def take(
        self, plan: Plan, block: Block, values: Mapping[str, Any], atoms: dict[Any, Any], holds: Any, problem: int
    ) -> None:
        """Write what the formulas of a plan give where it holds in a block, or the number of its problem."""
        np, all_hold = numpy(), holds.all()
        if problem:
            np.copyto(self.problem_at[block], problem, where=holds)
        for key, formula in plan.figures.items():
            if formula is None:
                with self.lock:
                    unknown = self.unknown.setdefault(key, np.zeros(self.shape, bool))
                unknown[block] |= holds
            else:
                np.copyto(self.arrays[key][block], evaluate(formula, values, atoms), where=True if all_hold else holds)


def structure_of(grid: Grid, setting: Setting, graph: Graph, fixed: Mapping[str, Any], span: Span) -> Structure:
    """Return the part of a grid with these values."""
    params = {symbol: value for symbol, value in fixed.items() if symbol in graph.about.params}
    own = setting._replace(params={**setting.params, **params})
    return Structure(grid, own, graph, {symbol: fixed[symbol] for symbol in fixed if symbol not in params}, span)


class Structure:
    """The part of a grid in which only symbols vary."""

    def __init__(self, grid: Grid, setting: Setting, graph: Graph, fixed: Mapping[str, Any], span: Span) -> None:
        np = numpy()
        self.grid, self.setting, self.graph, self.fixed, self.span = grid, setting, graph, fixed, span
        self.plans: list[Plan] = []
        self.lock = threading.Lock()
        axes = [np.asarray(values if symbol in span else [0], np.int64) for symbol, values in grid.columns.items()]
        self.mesh = dict(zip(grid.columns, np.meshgrid(*axes, indexing="ij", sparse=True), strict=True))

    def fill(self, block: Block) -> None:
        """Fill a block by the plans that are there, and by new ones for what is left."""
        values = {symbol: _part(self.mesh[symbol], block) for symbol in self.span}
        shape = self.grid.problem_at[block].shape
        left: Any = numpy().True_  # as small as what decides it
        atoms: dict[Any, Any] = {}
        for i in itertools.takewhile(lambda _: not self.grid.stopped, itertools.count()):
            if i == len(self.plans):
                self._plan(i, _first(left, shape, values)[1])
            plan = self.plans[i]
            holds = _all_hold(plan.conditions, values, atoms, left)
            if holds.any():
                number = self._note(plan, plan.problem, block, *_first(holds, shape, values)) if plan.problem else 0
                self.grid.take(plan, block, values, atoms, holds, number)
                left = left & ~holds
                if not left.any():
                    return

    def _plan(self, number: int, at: Mapping[str, int]) -> None:
        """Make the plan of this number at a combination, unless another thread did."""
        with self.lock:
            if number == len(self.plans):
                check_runs(number, self.span)
                self.plans.append(self._plan_at(at))

    def _note(
        self, plan: Plan, problem: ArchcalcError, block: Block, place: Iterable[int], at: Mapping[str, int]
    ) -> int:
        """Return the number of a plan's problem, whose first combination in a block is at a place."""

        def text() -> str:
            alone = None if at == plan.at or not plan.at else self._plan_of_one(Example(at)).problem
            numbers = ", ".join(f"{symbol}={number:,}" for symbol, number in (at if alone else plan.at).items())
            return said(alone or problem) + (f" ({numbers})" if numbers else "")

        region = f"{self.setting.params} {self.fixed} {plan.region}"
        return self.grid.note(region, (own.start + i for own, i in zip(block, place, strict=True)), text)

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
            region = "; ".join(sorted(f"{formula} {relation} 0" for formula, relation in _noted(example)))
            conditions = self._conditions(example)
            same = alone.problem and str(alone.problem) == self._error_at(at)
            safe = not any(_may_exceed(own.formula, self.span) for own in conditions)
            return alone._replace(conditions=conditions, region=region) if same and safe else alone
        check_fits(figures, self._conditions(example), self.span, self.setting.name)
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
            return Plan(alone, {}, error, example.values, str(example.values))
        check_fits(figures, [], {}, self.setting.name)
        return Plan(alone, figures, None, example.values)

    def _conditions(self, example: Example) -> list[Condition]:
        """Return the conditions of an example that may not hold somewhere in the grid."""
        return [own for own in _noted(example) if own.relation != "≥" or span(own.formula, self.span)[0] < 0]


def _noted(example: Example) -> list[Condition]:
    return [*example.conditions, *example.bounds]


def _first(where: Any, shape: tuple[int, ...], values: Mapping[str, Any]) -> tuple[tuple[int, ...], dict[str, int]]:
    """Return the place of the first combination that is marked in a block, and its numbers."""
    np = numpy()
    place = tuple(map(int, np.unravel_index(np.broadcast_to(where, shape).argmax(), shape)))
    return place, {symbol: int(np.broadcast_to(column, shape)[place]) for symbol, column in values.items()}


def check_runs(runs: int, symbols: Iterable[str]) -> None:
    """Raise ArchcalcError if the plan has to run too often."""
    if runs > MOST_RUNS:
        raise ArchcalcError(
            f"this needs a run of the plan for each {' and '.join(symbols)}, more than {MOST_RUNS:,} runs; "
            "take larger steps, or sweep one part at a time"
        )


def said(error: ArchcalcError) -> str:
    """Return the message of an error without its place."""
    return error.message if isinstance(error, SpecError) else str(error)


def _part(array: Any, block: Block) -> Any:
    """Return the part of a column of the mesh that lies in a block."""
    return array[tuple(own if size > 1 else slice(None) for own, size in zip(block, array.shape, strict=True))]


def blocks(grid: Grid, fixed: Mapping[str, int], room: int = BLOCK) -> Iterator[Block]:
    """Yield slices of a grid of at most `room` combinations each; some of its axes have a fixed place."""
    ranges = []
    for symbol, size in reversed([*zip(grid.columns, grid.shape, strict=True)]):
        start, stop = (fixed[symbol], fixed[symbol] + 1) if symbol in fixed else (0, size)
        step = max(1, min(room, stop - start))
        ranges.append([slice(i, min(i + step, stop)) for i in range(start, stop, step)])
        room //= step
    yield from itertools.product(*reversed(ranges))


def check_fits(figures: Mapping[str, Any], conditions: Iterable[Condition], last: Span, name: str) -> None:
    """Raise ArchcalcError if a figure, or a condition, may exceed 64 bits somewhere in the grid."""
    formulas = [*figures.items(), *[(own.formula, own.formula) for own in conditions]]
    for key, formula in formulas:
        if _may_exceed(formula, last):
            up_to = ", ".join(f"{symbol}={number:,}" for symbol, (_, number) in last.items())
            at = f" (up to {up_to})" if up_to else ""
            raise ArchcalcError(f"{name}: {key} may exceed 2⁶³ − 1{at}; sweep smaller numbers")


def _may_exceed(formula: Any, of: Span) -> bool:
    return any(max(map(abs, [*span(part, of), *factors(part)])) > LARGEST for part in parts(formula))


def _all_hold(conditions: Sequence[Condition], values: Mapping[str, Any], atoms: dict[Any, Any], left: Any) -> Any:
    """Return which of the combinations that are left fulfil all conditions."""
    holds = left
    for formula, relation in conditions:
        value = evaluate(formula, values, atoms)
        holds = holds & (value >= 0 if relation == "≥" else value == 0 if relation == "=" else value != 0)
        if not holds.any():
            break
    return holds
