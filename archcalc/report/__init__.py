"""Figures → Table → text. Renderers are imported when they are asked for."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module

from archcalc.report.table import Column, Table

FORMATS = {
    "table": "archcalc.report.terminal:render_terminal",
    "markdown": "archcalc.report.text:render_markdown",
    "csv": "archcalc.report.text:render_csv",
    "json": "archcalc.report.text:render_json",
}


def render(table: Table, format: str = "table", width: int | None = None, colour: bool = False) -> str:
    """The table in one of FORMATS; only `table` has a width to keep to (None: no limit) and colours."""
    module, _, function = FORMATS[format].partition(":")
    renderer: Callable[..., str] = getattr(import_module(module), function)
    return renderer(table, width, colour) if format == "table" else renderer(table)


__all__ = ["FORMATS", "Column", "Table", "render"]
