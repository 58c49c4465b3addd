"""archcalc: what a neural network costs, exactly.

>>> from archcalc import analyze, load
>>> analyze(load("vgg16")).totals.params
138357544
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from archcalc import shown

if TYPE_CHECKING:
    from archcalc.analysis.report import Report, analyze
    from archcalc.auditing.verdicts import audit
    from archcalc.catalog import load, networks, parse
    from archcalc.comparing.totals import compare
    from archcalc.errors import ArchcalcError, SpecError
    from archcalc.graph.graph import Graph, Node
    from archcalc.importers.torch.modules import from_torch
    from archcalc.searching import search
    from archcalc.sweeping import sweep

__version__ = "0.2.0"

__all__ = [
    "ArchcalcError", "Graph", "Node", "Report", "SpecError", "analyze", "audit", "compare", "from_torch", "load",
    "networks", "parse", "search", "sweep",
]  # fmt: skip

_HOMES = {
    "analysis.report": ("Report", "analyze"),
    "catalog": ("load", "networks", "parse"),
    "comparing.totals": ("compare",),
    "errors": ("ArchcalcError", "SpecError"),
    "graph.graph": ("Graph", "Node"),
    "importers.torch.modules": ("from_torch",),
    "searching": ("search",),
    "sweeping": ("sweep",),
    "auditing.verdicts": ("audit",),
}


def _view(*args: Any, **keywords: Any) -> "shown.View":
    """Make the table that a graph, report or comparison shows."""
    from archcalc.notebook import view

    return view(*args, **keywords)


shown.makers[:] = [_view]


def __getattr__(name: str) -> object:
    """A public name, imported when it is first used, so that the command line starts fast."""
    for module, names in _HOMES.items():
        if name in names:
            globals()[name] = value = getattr(import_module(f"archcalc.{module}"), name)
            return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
