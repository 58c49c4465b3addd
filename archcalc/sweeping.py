"""Figures of a network for all combinations of some values of its params, input and batch, at once.

The plan runs once over symbols (`symbolic`), at the first combination. That gives formulas, and the conditions under
which every decision of the plan is the same. Where they hold the formulas are evaluated over arrays; at the first
combination that is left the plan runs again. So each figure is the one that a run at its combination alone gives.
Threads fill blocks of one grid; on an engine (`engines`) workers fill parts of it, each with plans of its own.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any, NamedTuple

from archcalc import __version__
from archcalc.analysis.figures import END, numbers
from archcalc.analysis.recipe import USUAL, Recipe
from archcalc.engines import Lost, outcomes
from archcalc.errors import ArchcalcError, choose, shorten
from archcalc.graph.graph import Graph
from archcalc.ops.evaluation import Span
from archcalc.ops.symbols import Example, NotSymbolic
from archcalc.spec.binding import InputShapes
from archcalc.sweep_grid import BLOCK, Block, Grid, blocks, numpy, structure_of
from archcalc.symbolic import COUNTS, Replaced, Setting, figures_at, number_of, symbols_of

MOST = 10**8  # combinations in one sweep
PART = 4 * BLOCK  # combinations of a part for a worker, which has to make the plans first
MISSING = -1  # in `problem_at`, until a part is there
TRIED = 8  # values from each end at which a name is tried as a symbol
SWEPT = [  # figures that are whole numbers of formulas: no receptive fields, no expectations
    key for key, figure in numbers().items() if figure.adds != END and not key.startswith("expected_")
]


class Sweep(NamedTuple):
    """The figures of each combination, as arrays with an axis for each name in `over`.

    `figures` are masked where they are unknown and where a network does not fit; there `problem_at` is the number of
    one of the `problems`, from 1 on; elsewhere 0. On an engine some combinations may be `missing`: they are masked, and
    their problem says why.
    """

    name: str
    over: dict[str, list[Any]]
    figures: dict[str, Any]
    problem_at: Any
    problems: list[str]
    missing: int = 0  # combinations that are not computed
    stopped: bool = False  # by Ctrl-C

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
    convention: str = "all", recipe: Recipe = USUAL, jobs: int = 1, engine: str = "",
) -> Sweep:  # fmt: skip
    """Compute figures of a network for all combinations of the values in `over`.

    A name in `over` is a param of the spec, an axis of the input such as height, `size` for all its lengths, or batch.
    Whole numbers run as arrays; other values, and params that decide how many layers there are, one after another.
    `jobs` is a number of threads. The engine `dask` runs parts of the sweep in as many processes, `dask=ADDRESS` on the
    workers of a scheduler; there Ctrl-C, and workers that die again and again, leave combinations out.
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
    setting = setting._replace(name=graph.name, origin=graph.origin)
    span = {symbol: (min(values), max(values)) for symbol, values in columns.items()
            if _is_symbol(setting, graph, symbol, values, figures)}  # fmt: skip
    grid, others = Grid(columns, tuple(figures)), [symbol for symbol in columns if symbol not in span]
    places = itertools.product(*[range(len(columns[symbol])) for symbol in others])
    structures = (dict(zip(others, own, strict=True)) for own in places)
    missing, stopped = 0, False
    if engine:
        every = enumerate(block for at in structures for block in blocks(grid, at, PART))
        parts = (_part_of(grid, block, number, setting, span) for number, block in every)
        missing, stopped = _fill_far(grid, parts, engine, jobs)
    else:
        with ThreadPoolExecutor(jobs) as pool:
            for at in structures:
                fixed = {symbol: columns[symbol][i] for symbol, i in at.items()}
                structure = structure_of(grid, setting, graph, fixed, span)
                list(pool.map(structure.fill, blocks(grid, at)))
    problems = grid.numbered()
    return Sweep(graph.name, columns, grid.result(), grid.problem_at, problems, missing, stopped)


class Part(NamedTuple):
    """What a worker needs to compute a part of a sweep."""

    number: int
    block: Block  # where it lies
    columns: dict[str, list[Any]]  # the values in it
    keys: tuple[str, ...]
    setting: Setting
    span: Span  # of the symbols, in the whole sweep
    version: str = __version__


def _part_of(grid: Grid, block: Block, number: int, setting: Setting, span: Span) -> Part:
    columns = {symbol: values[own] for (symbol, values), own in zip(grid.columns.items(), block, strict=True)}
    return Part(number, block, columns, grid.keys, setting, span)


def compute_part(part: Part) -> Grid | ArchcalcError:
    """Compute a part of a sweep, on a worker."""
    if part.version != __version__:
        return ArchcalcError(f"a worker has archcalc {__version__}; install {part.version} there")
    fixed = {symbol: values[0] for symbol, values in part.columns.items() if symbol not in part.span}
    try:
        grid = Grid(part.columns, part.keys)
        structure = structure_of(grid, part.setting, part.setting.graph(), fixed, part.span)
        for block in blocks(grid, {}):
            structure.fill(block)
    except ArchcalcError as error:  # which a retry would meet again
        return error
    return grid


def _fill_far(grid: Grid, parts: Iterable[Part], engine: str, jobs: int) -> tuple[int, bool]:
    """Let workers fill a grid. Returns how many combinations are missing, and whether Ctrl-C stopped it.

    Raises the error of the first part that has one, and ArchcalcError if nothing is computed.
    """
    grid.problem_at.fill(MISSING)
    wrong, lost, stopped = dict[int, ArchcalcError](), list[tuple[Part, str]](), False
    needed = itertools.takewhile(lambda _: not wrong, parts)
    try:
        with closing(outcomes(engine, jobs, compute_part, needed)) as came:
            for part, outcome in came:
                if isinstance(outcome, Lost):
                    lost.append((part, outcome.why))
                elif isinstance(outcome, ArchcalcError):
                    wrong[part.number] = outcome
                else:
                    grid.put(outcome, part.block)
    except KeyboardInterrupt:
        stopped = True
    if wrong:
        raise wrong[min(wrong)]
    left = grid.problem_at == MISSING
    if left.all() and stopped:
        raise KeyboardInterrupt
    if left.all():
        hint = f" (the scheduler and its workers need archcalc {__version__}, too)" if "=" in engine else ""
        raise ArchcalcError(f"no part of the sweep is computed: {lost[0][1]}{hint}")
    for part, why in lost:
        grid.mark(part.block, [own.start for own in part.block], why)
    if stopped:
        grid.mark(left & (grid.problem_at == MISSING), grid.shape, "stopped")
    return int(numpy().count_nonzero(left)), stopped


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
