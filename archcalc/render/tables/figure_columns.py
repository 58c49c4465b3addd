"""Columns of figures, with the registry's titles and units, for several commands."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from archcalc.analysis.figures import FIGURES
from archcalc.render.table import Column


def heading(key: str) -> str:
    """Return a figure's title with a capital: `Activations`, `MACs`."""
    title = FIGURES[key].title
    return title[0].upper() + title[1:]


def figure_column(key: str, rank: int = 0, unit: str | None = None) -> Column:
    """Return the column of a figure for people and programs; `unit` replaces that of the registry."""
    return Column(key, heading(key), FIGURES[key].heading_unit if unit is None else unit, rank)


def data(keys: Iterable[str]) -> Iterator[Column]:
    """Return columns for programs only."""
    return (Column(key, "", shown=False) for key in keys)
