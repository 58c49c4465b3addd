"""The figures of a network or of a part of it by name: what published figures are held against.

A part is a layer, a block (all layers whose names begin with its own) or `op:conv`, all layers of an operator.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property, partial
from typing import Any

from archcalc.analysis.cost import DTYPES
from archcalc.analysis.field_figures import by_key
from archcalc.analysis.parts import end, input_shape, own_depth, parts_by_name
from archcalc.analysis.report import Layer, Report
from archcalc.errors import ArchcalcError, shorten, suggest
from archcalc.ops import REGISTRY
from archcalc.spec.functions import Fault

FIGURES = {  # by key: the name for people, and the unit
    "params": ("params", "values"),
    "weights": ("weights", "values"),
    "biases": ("biases", "values"),
    "params_with_statistics": ("params and running statistics", "values"),
    "buffers": ("buffers", "values"),
    "running_statistics": ("running statistics", "values"),
    "batch_counters": ("batch counters", "values"),
    "fixed_values": ("fixed values", "values"),
    "param_bytes": ("params", "bytes"),
    "macs": ("MACs", "operations"),
    "flops": ("FLOPs", "operations"),
    "connections": ("connections", "links"),
    "activations": ("activations", "values"),
    "activation_bytes": ("activations", "bytes"),
    "saved_bytes": ("memory kept for backward", "bytes"),
    "depth": ("depth", "layers"),
    "layers": ("layers", "layers"),
    "receptive_field": ("receptive field", "pixels"),
    "local_field": ("local field", "pixels"),
    "effective_stride": ("effective stride", "pixels"),
    "effective_padding": ("effective padding", "pixels"),
    "expected_branches": ("branches kept, expected", "branches"),
    "expected_depth": ("depth, expected", "layers"),
    "expected_macs": ("MACs, expected", "operations"),
    "output": ("output", "shape"),
    "input": ("input", "shape"),
}
FIELDS = ("receptive_field", "local_field", "effective_stride", "effective_padding")
_BUFFERS = ("buffers", "running_statistics", "batch_counters", "fixed_values")
_SUMS = (
    "params", "params_with_statistics", "weights", "biases", *_BUFFERS, "macs", "flops", "connections", "activations",
)  # fmt: skip
_BYTES_OF = {"param_bytes": "params", "activation_bytes": "activations"}


class Figure(int):
    """A total that knows its parts: `macs["3x3"]` of a layer or block, `macs["op:conv"]` of an operator."""

    part: Callable[[str], int]

    def __getitem__(self, name: str) -> int:
        """The figure of a part. Raises Fault for one that is not there."""
        if not isinstance(name, str) or not name:
            raise Fault("a part is named by a text: a layer, a block or op:conv")
        try:
            return self.part(name)
        except ArchcalcError as error:
            raise Fault(str(error)) from None


class Numbers(dict[str, Any]):
    """All figures of a network that are numbers, by name."""

    def __missing__(self, name: object) -> Any:
        raise Fault(f"no figure {shorten(str(name))!r}; {suggest(str(name), self)}")


class Figures:
    """The figures of a network and of its parts, each worked out once."""

    def __init__(self, report: Report) -> None:
        self.report = report
        self.known: dict[tuple[str, str], Any] = {}

    def figure(self, name: str, part: str = "") -> Any:
        """A figure of FIGURES, of the network or a part: a number or a shape. Raises ArchcalcError for one it lacks."""
        if (name, part) not in self.known:
            self.known[name, part] = self._of_part(name, part) if part else self._of_network(name)
        return self.known[name, part]

    @cached_property
    def parts(self) -> dict[str, list[Layer]]:
        """All parts by name."""
        return parts_by_name(self.report.layers)

    @cached_property
    def numbers(self) -> Numbers:
        """The figures that are numbers: a receptive field only where it is known, and as high as wide."""
        numbers = Numbers()
        for name, (_, unit) in FIGURES.items():
            value = None if unit == "shape" else getattr(self.report.totals, name)
            if name in FIELDS:
                value = value[0] if value and value[0] == value[1] else None
            if isinstance(value, int):
                numbers[name] = Figure(value)
                numbers[name].part = partial(self.figure, name)
            elif value is not None:
                numbers[name] = value
        return numbers

    def _of_network(self, name: str) -> Any:
        graph = self.report.graph
        if FIGURES[name][1] == "shape":
            return graph.input if name == "input" else graph.nodes[graph.result].output
        value = getattr(self.report.totals, name)
        if name in FIELDS:
            return _square(value, name)
        if value is None:
            raise ArchcalcError(f"the {FIGURES[name][0]}, is not known of {graph.name}: see docs/counting.md")
        return value

    def _of_part(self, name: str, part: str) -> Any:
        operator = part.removeprefix("op:") if part.startswith("op:") else ""
        if operator and name not in ("layers", "saved_bytes", *_SUMS, *_BYTES_OF):
            raise ArchcalcError(f"the layers of an operator have no {FIGURES[name][0]} together; name a layer or block")
        if part not in self.parts and operator not in REGISTRY:
            what = f"no operator {operator!r}; {suggest(operator, REGISTRY)}" if operator else ""
            own = f"{self.report.graph.name} has no layer or block {part!r}; {suggest(part, self.parts)}"
            raise ArchcalcError(what or own)
        return _of_layers(self.parts.get(part, []), name, self.report.dtype)


def _of_layers(layers: Sequence[Layer], figure: str, dtype: str) -> Any:
    if figure == "layers":
        return len(layers)
    if figure in _SUMS:
        return sum(getattr(layer, figure) for layer in layers)
    if figure == "saved_bytes":
        return _kept(layers)
    if figure in _BYTES_OF:
        return DTYPES[dtype] * sum(getattr(layer, _BYTES_OF[figure]) for layer in layers)
    if figure.startswith("expected"):
        raise ArchcalcError(f"the {FIGURES[figure][0]}, is known of whole networks only")
    last = end(layers)
    if figure in FIELDS:
        return _square(by_key(last.field)[figure], figure)
    return {"output": last.node.output, "input": input_shape(layers), "depth": own_depth(layers)}[figure]


def _kept(layers: Sequence[Layer]) -> int:
    counts = [layer.saved_bytes for layer in layers if layer.saved_bytes is not None]
    if len(counts) < len(layers):
        raise ArchcalcError("what backward keeps is unknown where a side output does not take the input")
    return sum(counts)


def _square(pair: Any, figure: str) -> int:
    if pair is None or pair[0] is None or pair[0] != pair[1]:
        raise ArchcalcError(f"the {FIGURES[figure][0]} is unknown, or not one number for height and width")
    return int(pair[0])
