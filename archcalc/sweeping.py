"""Figures of a network for all combinations of some values of its params, input and batch, at once.

The plan runs once over symbols (`symbolic`), at the first combination. That gives formulas, and the conditions under
which every decision of the plan is the same. Where they hold the formulas are evaluated over arrays; at the first
combination that is left the plan runs again. So each figure is the one that a run at its combination alone gives.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

from archcalc.analysis.figures import END, numbers
from archcalc.analysis.recipe import USUAL, Recipe
from archcalc.errors import ArchcalcError, choose, shorten
from archcalc.graph.graph import Graph
from archcalc.ops.symbols import Example, NotSymbolic
from archcalc.spec.binding import InputShapes
from archcalc.sweep_grid import Grid, blocks, numpy, structure_of
from archcalc.symbolic import COUNTS, Replaced, Setting, figures_at, number_of, symbols_of

MOST = 10**8  # combinations in one sweep
TRIED = 8  # values from each end at which a name is tried as a symbol
SWEPT = [  # figures that are whole numbers of formulas: no receptive fields, no expectations
    key for key, figure in numbers().items() if figure.adds != END and not key.startswith("expected_")
]


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

    def rows(self) -> Iterator[dict[str, Any]]:
        """Yield the values and figures of each combination; None: unknown.

        `problem` is "" or why it does not fit; where several fail alike, with the numbers of the first of them.
        """
        columns = [(own.data.ravel(), numpy().ma.getmaskarray(own).ravel()) for own in self.figures.values()]
        for i, values in enumerate(itertools.product(*self.over.values())):
            figures = {key: None if mask[i] else int(data[i])
                       for key, (data, mask) in zip(self.figures, columns, strict=True)}  # fmt: skip
            at = int(self.problem_at.flat[i])
            yield {
                **dict(zip(self.over, values, strict=True)),
                **figures,
                "problem": self.problems[at - 1] if at else "",
            }


def sweep(
    name: str, over: Mapping[str, Sequence[Any]], figures: Sequence[str] = COUNTS,
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
    for key in figures:
        choose("figure", key, {key: key for key in SWEPT})
    for symbol in {*over}.intersection(figures):
        raise ArchcalcError(f"{symbol} is a param here, and a figure; omit the figure")
    columns = {symbol: list(values) for symbol, values in over.items()}
    sizes = [len(values) for values in columns.values()]
    _check_size(columns, sizes)
    setting = Setting(name, dict(params or {}), input, batch, dtype, mode, convention, recipe)
    graph = setting.graph()
    span = {symbol: (min(values), max(values)) for symbol, values in columns.items()
            if _is_symbol(setting, graph, symbol, values, figures)}  # fmt: skip
    grid, others = Grid(columns, tuple(figures)), [symbol for symbol in columns if symbol not in span]
    places = itertools.product(*[range(len(columns[symbol])) for symbol in others])
    structures = (dict(zip(others, own, strict=True)) for own in places)
    with ThreadPoolExecutor(jobs) as pool:
        for at in structures:
            fixed = {symbol: columns[symbol][i] for symbol, i in at.items()}
            structure = structure_of(grid, setting, graph, fixed, span)
            list(pool.map(structure.fill, blocks(grid, at)))
    problems = grid.numbered()
    return Sweep(graph.name, columns, grid.result(), grid.problem_at, problems)


def _is_symbol(setting: Setting, graph: Graph, symbol: str, values: Sequence[Any], keys: Sequence[str]) -> bool:
    """Whether the plan can run with a symbol for these values; False: it runs once for each.

    Raises ArchcalcError for an unknown name, and for lengths or batches that are no whole numbers.
    """
    if symbol in graph.about.params and not all(type(value) is int for value in (graph.about.params[symbol], *values)):
        return False
    number_of(graph, symbol, 1)
    if symbol not in graph.about.params:
        for value in values:
            if type(value) is not int or value < 1:
                raise ArchcalcError(f"{symbol}={shorten(str(value))} is no whole number from 1 on")
    first = next(
        (value for value in (*values[:TRIED], *values[-TRIED:]) if _runs(setting, graph, {symbol: value}, keys)), None
    )
    return first is not None and _runs(setting, graph, symbols_of(Example({symbol: first})), keys)


def _runs(setting: Setting, graph: Graph, values: Mapping[str, Any], keys: Sequence[str]) -> bool:
    """Whether the figures can be computed for these numbers, or formulas."""
    try:
        figures_at(setting, graph, values, keys)
    except Replaced:
        raise
    except (ArchcalcError, NotSymbolic):
        return False
    return True


def _check_size(columns: Mapping[str, Sequence[Any]], sizes: Sequence[int]) -> None:
    for symbol, values in columns.items():
        if not values:
            raise ArchcalcError(
                f"{shorten(symbol)} has no values; write {shorten(symbol)}=160:320:32 or {shorten(symbol)}=1,2,4"
            )
    if math.prod(sizes) > MOST:
        product = " × ".join(f"{size:,}" for size in sizes)
        raise ArchcalcError(
            f"{product} are {math.prod(sizes):,} combinations; a sweep has at most {MOST:,}: "
            "take larger steps, or sweep one part at a time"
        )
