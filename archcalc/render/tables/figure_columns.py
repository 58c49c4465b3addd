"""Columns of figures, with the registry's titles and units, for several commands."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from archcalc.analysis.figures import FIGURES
from archcalc.render.table import BYTES, COUNT, Column

LARGE = ("values", "operations", "links")  # units of figures that may be shown in millions


def heading(key: str) -> str:
    """Return a figure's title with a capital: `Activations`, `MACs`."""
    title = FIGURES[key].title
    return title[0].upper() + title[1:]


def figure_column(key: str, rank: int = 0, unit: str | None = None) -> Column:
    """Return the column of a figure for people and programs; `unit` replaces that of the registry."""
    figure = FIGURES[key]
    kind = BYTES if figure.unit == "bytes" else COUNT if figure.unit in LARGE else ""
    return Column(key, heading(key), figure.heading_unit if unit is None else unit, rank, kind=kind)


def data(keys: Iterable[str]) -> Iterator[Column]:
    """Return columns for programs; people see them if they name them."""
    return (_hidden(key) for key in keys)


def _hidden(key: str) -> Column:
    if key in FIGURES:
        return figure_column(key)._replace(shown=False)
    title, kind = key.replace("_", " ").capitalize(), BYTES if key.endswith("bytes") else ""
    return Column(key, title, shown=False, kind=kind)
