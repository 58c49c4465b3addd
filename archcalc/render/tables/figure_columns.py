"""Columns of figures, with titles and units of the registry; what is of one command alone stands with the command."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from archcalc.analysis.figures import FIGURES
from archcalc.render.table import Column


def heading(key: str) -> str:
    """A figure's title as it begins a heading: `Activations`, `MACs`."""
    title = FIGURES[key].title
    return title[0].upper() + title[1:]


def figure_column(key: str, rank: int = 0, unit: str | None = None) -> Column:
    """A figure for people and programs; `unit` in place of the registry's."""
    return Column(key, heading(key), FIGURES[key].heading_unit if unit is None else unit, rank)


def data(keys: Iterable[str]) -> Iterator[Column]:
    """Columns for programs only."""
    return (Column(key, "", shown=False) for key in keys)
