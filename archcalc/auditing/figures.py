"""The figures of a network and of its parts by name, for checking published figures.

A part is a layer, a block (all layers whose names start with its name) or `op:conv`, all layers of an operator.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property, partial
from typing import Any

from archcalc.analysis.figures import FIGURES, NETWORK, STEP, SUM, Figure, numbers
from archcalc.analysis.parts import part_figure, parts_by_name
from archcalc.analysis.report import MODES, Layer, Report
from archcalc.errors import ArchcalcError, shorten, suggest
from archcalc.ops import REGISTRY
from archcalc.spec.functions import Fault


class Total(int):
    """A total with its parts: `macs["3x3"]` of a layer or block, `macs["op:conv"]` of an operator."""

    part: Callable[[str], int]

    def __getitem__(self, name: str) -> int:
        """Return the figure of a part. Raises Fault if there is no such part."""
        if not isinstance(name, str) or not name:
            raise Fault("the name of a part must be a text: a layer, a block or op:conv")
        try:
            return self.part(name)
        except ArchcalcError as error:
            raise Fault(str(error)) from None


class Numbers(dict[str, Any]):
    """The figures of a network that are numbers, by key, each computed when it is read; `more` are other values."""

    def __init__(self, figures: Figures, **more: Any) -> None:
        super().__init__(dict.fromkeys(numbers()), **more)
        self.figures = figures

    def __getitem__(self, name: Any) -> Any:
        """Return a figure with its parts. Raises Fault if there is none of that name, or if it is unknown."""
        key = str(name)
        if key not in self:
            raise Fault(f"no figure {shorten(key)!r}; {suggest(key, self) or 'one of ' + ', '.join(self)}")
        value = super().__getitem__(key)
        if value is not None:
            return value
        try:
            value = self.figures.figure(key)
        except ArchcalcError as error:
            raise Fault(str(error)) from None
        if isinstance(value, int):
            value = Total(value)
            value.part = partial(self.figures.figure, key)
        return value

    def __repr__(self) -> str:
        return f"the figures of {self.figures.report.graph.name}"


class Figures:
    """The figures of a network and of its parts, each computed once."""

    def __init__(self, report: Report) -> None:
        self.report = report
        self.known: dict[tuple[str, str], Any] = {}

    def figure(self, name: str, part: str = "") -> Any:
        """Return a figure of the network or of a part: a number or a shape. Raises ArchcalcError if it is unknown."""
        if name in STEP and not MODES[self.report.mode]:
            raise ArchcalcError(f"{name} ({FIGURES[name].title}) is a figure of training: add `mode: train`")
        if (name, part) not in self.known:
            self.known[name, part] = self._of_part(name, part) if part else self._of_network(name)
        return self.known[name, part]

    @cached_property
    def parts(self) -> dict[str, list[Layer]]:
        """The layers of each part, by name."""
        return parts_by_name(self.report.layers)

    def _of_network(self, name: str) -> Any:
        value, figure = getattr(self.report.totals, name), FIGURES[name]
        if figure.unit == "pixels":
            return _square(value, figure)
        if value is None:
            of = self.report.graph.name
            raise ArchcalcError(f"{name} ({figure.title}) is unknown for {of}; it means: {figure.means}")
        return value

    def _of_part(self, name: str, part: str) -> Any:
        figure, operator = FIGURES[name], part.removeprefix("op:") if part.startswith("op:") else ""
        if operator and figure.adds != SUM:
            raise ArchcalcError(f"the layers of an operator have no common {figure.title}; name a layer or block")
        if part not in self.parts and operator not in REGISTRY:
            if operator:
                hint = suggest(operator, REGISTRY) or "`archcalc ops` lists them"
                raise ArchcalcError(f"no operator {operator!r}; {hint}")
            hint = suggest(part, self.parts) or "`archcalc summarize --all` shows them"
            if any(f"{node.name}.".startswith(f"{part}.") for node in self.report.graph.nodes):
                hint = "it is on a side output, which needs `mode: train`"
            raise ArchcalcError(f"{self.report.graph.name} has no layer or block {part!r}; {hint}")
        if figure.adds == NETWORK:
            raise ArchcalcError(f"only a whole network has {name} ({figure.title})")
        value = part_figure(self.parts.get(part, []), name)
        if value is None and figure.adds == SUM:
            raise ArchcalcError("what backward keeps is unknown if a side output does not accept the input")
        return _square(value, figure) if figure.unit == "pixels" else value


def _square(by_axis: Any, figure: Figure) -> int:
    alike = {*(by_axis or (None,))}
    value = alike.pop()
    if value is None or alike:
        raise ArchcalcError(f"the {figure.title} is unknown, or differs between height and width")
    return int(value)
