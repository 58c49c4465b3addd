"""How graphs, reports and comparisons show themselves: as text in a terminal, as HTML in a notebook, as a DataFrame.

They know no table. `archcalc/__init__.py`, which may import all, puts what makes one into `makers`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol


class View(Protocol):
    """A table: `print` and a terminal show text, a notebook shows HTML."""

    def _repr_html_(self) -> str: ...

    def to_pandas(self) -> Any:
        """Return a pandas DataFrame: a row per layer or network, and figures by their keys; an unknown one is NA."""


makers: list[Callable[..., View]] = []  # one function, of what is shown, `depth`, conditions, and `unasked`


class Shown:
    """What shows itself as a table."""

    __slots__ = ()

    def summary(self, depth: int | None = None, **conditions: Any) -> View:
        """Return its table; with `depth` a row per block of so many parts of a name.

        A graph is analysed under the `conditions`, which are those of `analyze`.
        """
        return makers[0](self, depth, conditions)

    def to_pandas(self) -> Any:
        """Return a pandas DataFrame: a row per layer or network, and figures by their keys; an unknown one is NA."""
        return self.summary().to_pandas()

    def _repr_html_(self) -> str:
        return makers[0](self, None, {}, unasked=True)._repr_html_()

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, str]:
        """Return HTML and text for IPython, which keeps both in a notebook's file: the `repr` may have megabytes."""
        view = makers[0](self, None, {}, unasked=True)
        return {"text/html": view._repr_html_(), "text/plain": str(view)}
