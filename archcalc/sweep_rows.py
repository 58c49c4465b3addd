"""The combinations of a sweep as rows, which are made when they are read: a hundred million are too many at once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from archcalc.errors import ArchcalcError, shorten
from archcalc.sweep_grid import numpy

AT_ONCE = 4096  # rows made at a time


class Rows(Sequence[dict[str, Any]]):
    """The values and figures of each combination, in an order of places."""

    def __init__(
        self, over: Mapping[str, Sequence[Any]], figures: Mapping[str, Any], problem_at: Any, problems: Sequence[str],
        order: Any,
    ) -> None:  # fmt: skip
        self.over, self.problem_at, self.problems = over, problem_at, problems
        self.figures = {key: figure.ravel() for key, figure in figures.items()}
        self.order = numpy().arange(problem_at.size) if order is None else order

    def __len__(self) -> int:
        return len(self.order)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [*self._made(self.order[index])]
        return next(self._made(self.order[[index]]))

    def __iter__(self) -> Iterator[dict[str, Any]]:
        for start in range(0, len(self), AT_ONCE):
            yield from self._made(self.order[start : start + AT_ONCE])

    def _made(self, places: Any) -> Iterator[dict[str, Any]]:
        at = numpy().unravel_index(places, self.problem_at.shape)
        columns = [[values[i] for i in axis.tolist()] for values, axis in zip(self.over.values(), at, strict=True)]
        columns += [figure[places].tolist() for figure in self.figures.values()]  # None where it is masked
        columns.append([self.problems[i] for i in self.problem_at.ravel()[places].tolist()])
        keys = [*self.over, *self.figures, "problem"]
        for cells in zip(*columns, strict=True):
            yield dict(zip(keys, cells, strict=True))


def order_of(over: Mapping[str, Sequence[Any]], figures: Mapping[str, Any], key: str, least: bool) -> Any:
    """Return the places of all combinations in the order that `Sweep.order` describes."""
    np = numpy()
    if key not in over:
        own = figures[key].ravel()
        return np.lexsort((own.data if least else -own.data, np.ma.getmaskarray(own)))
    try:
        ranks = {value: i for i, value in enumerate(sorted(set(over[key])))}
    except TypeError:
        raise ArchcalcError(f"{shorten(key)} has no order; sort by a column of numbers or of texts") from None
    sign = 1 if least != any(isinstance(value, str) for value in ranks) else -1
    axes = [np.array([ranks[value] if name == key else 0 for value in values]) for name, values in over.items()]
    return np.argsort(sum(np.meshgrid(*axes, indexing="ij", sparse=True)).ravel() * sign, kind="stable")


def order_of_problems(texts: Sequence[str], problem_at: Any, least: bool) -> Any:
    """Likewise, by the texts of problems."""
    ranks = {text: i for i, text in enumerate(sorted(texts))}
    own = numpy().array([ranks[text] for text in texts])[problem_at].ravel()
    return numpy().argsort(-own if least else own, kind="stable")
