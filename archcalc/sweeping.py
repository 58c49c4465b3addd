"""Figures of a network for all combinations of some values of its params, input and batch, at once.

The plan runs once over symbols (`symbolic`), at the first combination. That gives formulas, and the conditions under
which every decision of the plan is the same. Where they hold the formulas are evaluated over arrays; at the first
combination that is left the plan runs again. So each figure is the one that a run at its combination alone gives.
Threads fill blocks of one grid; on an engine (`engines`) workers fill parts of it, each with plans of its own.
"""

from __future__ import annotations

import itertools
import math
import os
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any, NamedTuple

from archcalc import __version__
from archcalc.analysis.figures import END, FIGURES, numbers
from archcalc.analysis.recipe import USUAL, Recipe
from archcalc.analysis.report import MAX_BATCH, images, require_conditions
from archcalc.catalog import build
from archcalc.engines import Lost, outcomes
from archcalc.errors import ArchcalcError, choose, counted, shorten
from archcalc.graph.graph import Graph, Origin
from archcalc.ops.arguments import plain
from archcalc.ops.evaluation import Span
from archcalc.ops.symbols import Example, NotSymbolic
from archcalc.spec.binding import InputShapes
from archcalc.sweep_grid import BLOCK, LARGEST, Block, Grid, blocks, check_runs, numpy, structure_of
from archcalc.sweep_rows import Rows, order_of, order_of_problems
from archcalc.symbolic import COUNTS, Setting, figures_at, number_of, require_once, symbols_of

MOST = 10**8  # combinations in one sweep
MOST_CELLS = 10**9  # of combinations × figures
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

    def __repr__(self) -> str:
        shown = f"{counted(self.points, 'combination')} of {', '.join(self.over)}; {', '.join(self.figures)}"
        return f"<Sweep of {self.name}: {shown}>"

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
        """Return the places of all combinations by a column of the rows: the largest first, or the least; unknown last.

        Texts are in the opposite order, as in tables. Raises ArchcalcError for values without an order.
        """
        if key == "problem":
            return order_of_problems(["", *self.problems], self.problem_at, least)
        return order_of(self.over, self.figures, key, least)


def sweep(
    name: str | os.PathLike[str], over: Mapping[str, Iterable[Any]], figures: Sequence[str] = COUNTS,
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
    columns = columns_of(over)
    figures = (figures,) if isinstance(figures, str) else figures
    for key in figures:
        if key in FIGURES and key not in SWEPT:
            raise ArchcalcError(f"a sweep has no {key}; `archcalc summarize` shows it of one combination")
        choose("figure", key, {key: key for key in SWEPT})
    require_from_1("jobs", jobs)
    for symbol in {*columns}.intersection((*figures, "problem")):
        raise ArchcalcError(f"{symbol} is a param here, and the name of a column; omit one of them")
    if (points := math.prod(map(len, columns.values()))) * len(figures) > MOST_CELLS:
        raise ArchcalcError(f"{len(figures)} figures of {points:,} combinations take more than 8 GB; name fewer")
    setting = Setting(_path(name), dict(params or {}), input, images(batch), dtype, mode, convention, recipe)
    graph = setting.graph()
    require_conditions(graph, dtype, mode, convention, recipe)
    for symbol in {*columns}.intersection([*setting.params, *["batch"] * (batch > 1)]):
        raise ArchcalcError(f"{symbol} is swept, and set to one value; omit one of them")
    symbols = symbols_of(Example(dict.fromkeys(columns, 1)))
    require_once(setting, graph, {symbol: [*_tried(columns[symbol]), symbols[symbol]] for symbol in columns})
    varying = _varying(setting, graph, columns, figures)
    others = [symbol for symbol in columns if symbol not in varying]
    check_runs(math.prod(len(columns[symbol]) for symbol in others), others)
    span = {symbol: (min(columns[symbol]), max(columns[symbol])) for symbol in varying}
    grid = Grid(columns, tuple(figures))
    missing, stopped = (_fill_far(grid, setting, graph, span, engine, jobs) if engine else
                        _fill(grid, setting, graph, span, jobs))  # fmt: skip
    problems = grid.numbered()
    return Sweep(graph.name, columns, grid.result(), grid.problem_at, problems, missing, stopped)


def _structures(grid: Grid, span: Span) -> Iterator[dict[str, int]]:
    """Yield the places along the axes that are no symbols, each with a name."""
    others = [symbol for symbol in grid.columns if symbol not in span]
    for places in itertools.product(*[range(len(grid.columns[symbol])) for symbol in others]):
        yield dict(zip(others, places, strict=True))


def _fill(grid: Grid, setting: Setting, graph: Graph, span: Span, jobs: int) -> tuple[int, bool]:
    """Let threads fill a grid. Nothing is missing then."""
    with ThreadPoolExecutor(jobs) as pool:
        try:
            for at in _structures(grid, span):
                fixed = {symbol: grid.columns[symbol][i] for symbol, i in at.items()}
                structure = structure_of(grid, setting, graph, fixed, span)
                list(pool.map(structure.fill, blocks(grid, at)))
        finally:
            grid.stopped = True
    return 0, False


class Part(NamedTuple):
    """What a worker needs to compute a part of a sweep."""

    number: int
    block: Block  # where it lies
    columns: dict[str, list[Any]]  # the values in it
    keys: tuple[str, ...]
    setting: Setting
    origin: Origin  # with the text of the spec: a worker elsewhere cannot read the file
    title: str
    span: Span  # of the symbols, in the whole sweep
    version: str = __version__


def _parts(grid: Grid, setting: Setting, graph: Graph, span: Span) -> Iterator[Part]:
    origin = setting.origin(graph, {})
    every = (block for at in _structures(grid, span) for block in blocks(grid, at, PART))
    for number, block in enumerate(every):
        columns = {symbol: values[own] for (symbol, values), own in zip(grid.columns.items(), block, strict=True)}
        yield Part(number, block, columns, grid.keys, setting, origin, graph.name, span)


def compute_part(part: Part) -> Grid | ArchcalcError:
    """Compute a part of a sweep, on a worker."""
    if part.version != __version__:
        return ArchcalcError(f"a worker has archcalc {__version__}; install {part.version} there")
    fixed = {symbol: values[0] for symbol, values in part.columns.items() if symbol not in part.span}
    try:
        grid = Grid(part.columns, part.keys)
        structure = structure_of(grid, part.setting, build(part.origin, part.title), fixed, part.span)
        for block in blocks(grid, {}):
            structure.fill(block)
    except ArchcalcError as error:  # which a retry would meet again
        return error
    return grid


def _fill_far(
    grid: Grid, setting: Setting, graph: Graph, span: Span, engine: str, jobs: int
) -> tuple[int, bool]:  # fmt: skip
    """Let workers fill a grid. Returns how many combinations are missing, and whether Ctrl-C stopped it.

    Raises the error of the first part that has one, and ArchcalcError if nothing is computed.
    """
    grid.problem_at.fill(MISSING)
    wrong, lost, stopped = dict[int, ArchcalcError](), list[tuple[Part, str]](), False
    needed = itertools.takewhile(lambda _: not wrong, _parts(grid, setting, graph, span))
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


def _varying(setting: Setting, graph: Graph, columns: Mapping[str, Sequence[Any]], keys: Sequence[str]) -> list[str]:
    """Return the names with which the plan can run as symbols; for the others it runs once for each of their values.

    A symbol stands for numbers from 1 on (`Formula.never_negative`). Raises ArchcalcError for an unknown name, and for
    lengths or batches that are no whole numbers.
    """
    whole = {symbol: values for symbol, values in columns.items() if _is_whole(graph, symbol, values)}
    first = Example({symbol: values[0] for symbol, values in whole.items()})
    if _runs(setting, graph, symbols_of(first), keys):
        return [*whole]
    return [symbol for symbol, values in whole.items() if _runs_alone(setting, graph, symbol, values, keys)]


def _is_whole(graph: Graph, symbol: str, values: Sequence[Any]) -> bool:
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
    return True


def _runs_alone(setting: Setting, graph: Graph, symbol: str, values: Sequence[Any], keys: Sequence[str]) -> bool:
    """Whether the plan can run with one symbol, at the first of some values at which the network fits."""
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


def _check_size(columns: Mapping[str, Collection[Any]]) -> None:
    if not columns:
        raise ArchcalcError("a sweep needs a name and its values, such as size=160:320:32")
    for symbol, values in columns.items():
        if not len(values):
            raise ArchcalcError(
                f"{shorten(symbol)} has no values; write {shorten(symbol)}=160:320:32 or {shorten(symbol)}=1,2,4"
            )
    sizes = [len(values) for values in columns.values()]
    if math.prod(sizes) > MOST:
        product = " × ".join(f"{size:,}" for size in sizes) + " are " if len(sizes) > 1 else ""
        raise ArchcalcError(
            f"{product}{math.prod(sizes):,} combinations; a sweep has at most {MOST:,}: "
            "take larger steps, or sweep one part at a time"
        )


def require_from_1(name: str, number: object) -> None:
    """Raise ArchcalcError unless a number is a whole one from 1 on."""
    if type(number) is not int or number < 1:
        raise ArchcalcError(f"{name} must be a whole number from 1 on, not {shorten(repr(number))}")


def _path(name: object) -> str:
    path = os.fspath(name) if isinstance(name, os.PathLike) else name
    if not isinstance(path, str):
        raise ArchcalcError(f"a sweep needs a name or a path, not {type(name).__name__}")
    return path


def columns_of(over: Any) -> dict[str, list[Any]]:
    """Return the values of each name as lists of Python's. Raises ArchcalcError for others, and for too many."""
    if not isinstance(over, Mapping) or not all(isinstance(symbol, str) for symbol in over):
        raise ArchcalcError('a sweep needs names with lists of values, such as {"size": [192, 224]}')
    for symbol, values in over.items():
        if isinstance(values, str) or not isinstance(values, Iterable):
            raise ArchcalcError(f"{shorten(symbol)} needs a list of values, not {shorten(repr(values))}")
    sized = {symbol: values if isinstance(values, Collection) else [*values] for symbol, values in over.items()}
    _check_size(sized)
    return {symbol: [plain(value) for value in values] for symbol, values in sized.items()}
