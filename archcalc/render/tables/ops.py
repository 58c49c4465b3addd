"""Tables of `archcalc ops`: the operators, from their classes and docstrings."""

from __future__ import annotations

import inspect
import re

from archcalc.errors import ArchcalcError
from archcalc.ops import FAMILIES, REGISTRY, Operator, operator_hint, signature
from archcalc.render.table import Column, Table

COLUMNS = (
    Column("family", "Family", rank=1, text=True),
    Column("signature", "Operator", text=True),
    Column("text", "What it is", text=True),
)

HELP_COLUMNS = (Column("figure", "Figure", text=True), Column("text", "Description", text=True))
LINE_BREAK = re.compile(r"(?<!\n)\n(?!\n)")  # within a paragraph of a docstring
ARITHMETIC = ("work", "training_work", "input_gradient", "weight_gradient")
FIGURES = ("output", "weights", "buffers", *ARITHMETIC, "writes", "saved")


def operators() -> Table:
    """Make the table of all operators of the language, by family."""
    rows = []
    for family, names in FAMILIES.items():
        members = [REGISTRY[name] for name in names if name != "input"]
        rows += [{"family": family, "signature": written(cls), "text": first_line(cls)} for cls in members]
    return Table("", COLUMNS, rows, "operators")


def operator_help(name: str) -> Table:
    """Make the table of one operator: signature and description. Raises ArchcalcError with the nearest name."""
    if name not in REGISTRY:
        raise ArchcalcError(f"no operator {name!r}; {operator_hint(name, REGISTRY) or '`archcalc ops` lists them all'}")
    cls = REGISTRY[name]
    says = {key: cls.says(key).replace("Raises Refusal", "Refused") for key in FIGURES}
    texts = {"": inspect.getdoc(cls) or "", **says}
    rows = [{"figure": figure.replace("_", " "), "text": LINE_BREAK.sub(" ", text)} for figure, text in texts.items()]
    return Table(written(cls), HELP_COLUMNS, rows, "figures", {"name": name, "signature": written(cls)})


def written(cls: type[Operator]) -> str:
    """Return an operator's call as a spec writes it; a join has its arguments after the branches."""
    call = signature(cls)
    more = ", " if cls.defaults else ""
    return call.replace("(", f"(a, b, …{more}", 1) if cls.joins else call


def first_line(cls: type[Operator]) -> str:
    """Return the first line of an operator's description."""
    return (inspect.getdoc(cls) or "").partition("\n")[0]
