"""archcalc: what a neural network costs, exactly.

>>> from archcalc import analyze, load
>>> analyze(load("vgg16")).totals.params
138357544
"""

from archcalc.analysis import Report, analyze
from archcalc.catalog import catalog, load, parse
from archcalc.comparison import compare
from archcalc.errors import ArchcalcError, SpecError
from archcalc.graph import Graph, Node
from archcalc.published import audit

__version__ = "0.1.0"

__all__ = [
    "ArchcalcError", "Graph", "Node", "Report", "SpecError", "analyze", "audit", "catalog", "compare", "load", "parse",
]  # fmt: skip
