"""The best combinations of some values under bounds: all of them are computed (`sweeping`), so the best is the best."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from archcalc.analysis.figures import FIGURES
from archcalc.errors import ArchcalcError, Refusal, choose, shorten, suggest
from archcalc.printed import read_amount
from archcalc.sweep_grid import NOT_COMPUTED, numpy
from archcalc.sweeping import SWEPT, Sweep, columns_of, require_from_1, sweep

EXAMPLE = "write FIGURE < NUMBER, e.g. macs < 600M or peak(batch=32) < 8GB"
PEAKS = {"infer": "peak_inference_bytes", "train": "peak_training_bytes"}  # `peak`, by mode
_BOUND = re.compile(r"(\w+)\s*(?:\(\s*batch\s*=\s*(\d{1,10})\s*\))?\s*([<>]=?)\s*([^<>=\s].*)")


class Bound(NamedTuple):
    """A figure, at a batch of its own if one is given, that must be less or greater than a number."""

    key: str
    batch: int | None
    relation: str
    limit: int


class Found(NamedTuple):
    """The best combinations of a network: rows of values and figures, and how many of all fit."""

    name: str
    rows: list[dict[str, Any]]
    keys: list[str]  # of the figures in them
    points: int
    fitting: int
    problems: list[str]  # why others do not fit the network


def read_bounds(text: str, mode: str) -> list[Bound]:
    """Read `macs < 600M, peak(batch=32) < 8GB`. Raises ArchcalcError."""
    return [_bound(part.strip(), mode) for part in re.split(r",(?!\d{3})| and ", text)]


def _bound(text: str, mode: str) -> Bound:
    match = _BOUND.fullmatch(text)
    if match is None:
        raise ArchcalcError(f"{shorten(text)!r} is no bound; {EXAMPLE}")
    name, batch, relation, number = match.groups()
    key = PEAKS[mode] if name == "peak" else name
    if key not in SWEPT:
        raise ArchcalcError(
            f"{shorten(text)!r}: no figure {shorten(name)!r}; {suggest(name, [*SWEPT, 'peak']) or EXAMPLE}"
        )
    try:
        amount = read_amount(number, FIGURES[key].unit)
    except Refusal as error:
        raise ArchcalcError(f"{shorten(text)!r}: {error}") from None
    limit = math.ceil(amount) if relation in ("<", ">=") else math.floor(amount)  # figures are whole numbers
    return Bound(key, int(batch) if batch else None, relation, limit)


def search(
    name: str | os.PathLike[str], over: Mapping[str, Iterable[Any]], under: str | Sequence[Bound], goal: str,
    least: bool = False, best: int = 1, figures: Sequence[str] = (), **setting: Any,
) -> Found:  # fmt: skip
    """Return the `best` combinations of the values in `over` that keep all bounds, by the largest or least `goal`.

    Bounds may be a text such as `macs < 2G`. The goal is a name in `over` or a figure; of equal combinations that with
    fewer MACs comes first. Rows have other `figures`, too. Raises ArchcalcError as `sweep` does.
    """
    np = numpy()
    under = read_bounds(under, setting.get("mode", "infer")) if isinstance(under, str) else under
    over = columns_of(over)
    require_from_1("best", best)
    choose("goal", goal, {key: key for key in (*over, *SWEPT)})
    numbers = _numbers(goal, over[goal]) if goal in over else []
    if "batch" in over and any(bound.batch is not None for bound in under):
        raise ArchcalcError("batch is among the names to search over; write the bound without (batch=…)")
    keys = [bound.key for bound in under if bound.batch is None] + [goal] * (goal not in over) + ["macs", *figures]
    own = _whole(sweep(name, over, list(dict.fromkeys(keys)), **setting))
    columns = dict(own.figures)
    for batch in {bound.batch for bound in under if bound.batch is not None}:
        wanted = list(dict.fromkeys(bound.key for bound in under if bound.batch == batch))
        found = _whole(sweep(name, over, wanted, **{**setting, "batch": batch})).figures
        columns |= {f"{key}(batch={batch})": array for key, array in found.items()}
    fits = own.problem_at == 0
    for bound in under:
        fits &= _keeps(columns[bound.key if bound.batch is None else f"{bound.key}(batch={bound.batch})"], bound)
    order = _order(own, columns, goal, numbers, least, fits)[:best]
    rows = [{key: row[key] for key in (*over, *columns)} for row in own._replace(figures=columns).rows(order)]
    return Found(own.name, rows, list(columns), own.points, int(np.count_nonzero(fits)), own.problems)


def _whole(own: Sweep) -> Sweep:
    """Return a sweep in which nothing is missing. Raises KeyboardInterrupt if Ctrl-C stopped it, or ArchcalcError."""
    if own.stopped:
        raise KeyboardInterrupt
    if own.missing:
        why = next(problem for problem in own.problems if problem.startswith(NOT_COMPUTED))
        raise ArchcalcError(f"{own.missing:,} of {own.points:,} combinations are {why}; so none is known to be best")
    return own


def _keeps(figure: Any, bound: Bound) -> Any:
    """Return where a figure is known and keeps a bound."""
    data = figure.data
    holds = {"<": data < bound.limit, "<=": data <= bound.limit, ">": data > bound.limit, ">=": data >= bound.limit}
    return holds[bound.relation] & ~numpy().ma.getmaskarray(figure)


def _numbers(goal: str, values: Sequence[Any]) -> list[float]:
    """Return the values of a goal as numbers. Raises ArchcalcError if they have no order."""
    try:
        return [value if isinstance(value, int) else float(value) for value in values]
    except (TypeError, ValueError):
        raise ArchcalcError(f"{shorten(goal)} has values that are no numbers, so none is best; name a figure") from None


def _order(own: Sweep, columns: Mapping[str, Any], goal: str, numbers: Sequence[float], least: bool, fits: Any) -> Any:
    """Return the places of the combinations that fit, the best first; `numbers` are the goal's values, if swept."""
    np, (places,) = numpy(), fits.ravel().nonzero()
    if goal in own.over:
        axis = [*own.over].index(goal)
        shape = [-1 if i == axis else 1 for i in range(len(own.over))]
        values = np.broadcast_to(np.reshape(numbers, shape), fits.shape).ravel()
    else:
        values = columns[goal].data.ravel()
        places = places[~np.ma.getmaskarray(columns[goal]).ravel()[places]]
    ranked = values[places] if least else -values[places]
    return places[np.lexsort((columns["macs"].data.ravel()[places], ranked))]
