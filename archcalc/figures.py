"""The figures of a network or of a part of it by name: what published figures are held against.

A part is a layer, a block (all layers whose names begin with its own) or `op:conv`, all layers of an operator.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from archcalc.analysis import DTYPES, Layer, Report
from archcalc.analysis.part import end, input_shape, own_depth
from archcalc.errors import ArchcalcError, shorten, suggest
from archcalc.language.values import Fault

FIGURES = {  # by key: the name for people, and the unit
    "params": ("params", "values"),
    "weights": ("weights", "values"),
    "biases": ("biases", "values"),
    "buffers": ("buffers", "values"),
    "param_bytes": ("params", "bytes"),
    "macs": ("MACs", "operations"),
    "flops": ("FLOPs", "operations"),
    "connections": ("connections", "links"),
    "activations": ("activations", "values"),
    "activation_bytes": ("activations", "bytes"),
    "depth": ("depth", "layers"),
    "layers": ("layers", "layers"),
    "receptive_field": ("receptive field", "pixels"),
    "effective_stride": ("effective stride", "pixels"),
    "effective_padding": ("effective padding", "pixels"),
    "expected_branches": ("branches kept, expected", "branches"),
    "expected_depth": ("depth, expected", "layers"),
    "expected_macs": ("MACs, expected", "operations"),
    "output": ("output", "shape"),
    "input": ("input", "shape"),
}
FIELDS = {"receptive_field": "size", "effective_stride": "stride", "effective_padding": "padding"}
_SUMS = ("params", "weights", "biases", "buffers", "macs", "flops", "connections", "activations")
_BYTES_OF = {"param_bytes": "params", "activation_bytes": "activations"}


class Figure(int):
    """A total that knows its parts: `macs["3x3"]` of a layer or block, `macs["op:conv"]` of an operator."""

    part: Callable[[str], int]

    def __getitem__(self, name: str) -> int:
        """The figure of a part. Raises Fault for one that is not there."""
        try:
            return self.part(name)
        except ArchcalcError as error:
            raise Fault(str(error)) from None


class Figures(dict[str, Any]):
    """All figures of a network that are numbers, by name."""

    def __missing__(self, name: object) -> Any:
        raise Fault(f"no figure {shorten(str(name))!r}; {suggest(str(name), self)}")


def by_name(report: Report) -> Figures:
    """The figures that a network has as numbers: a receptive field only where it is known, and as high as wide."""
    figures = Figures()
    for name, (_, unit) in FIGURES.items():
        value = None if unit == "shape" else getattr(report.totals, name)
        if name in FIELDS:
            value = value[0] if value and value[0] == value[1] else None
        if isinstance(value, int):
            figures[name] = Figure(value)
            figures[name].part = partial(figure_of, report, name)
        elif value is not None:
            figures[name] = value
    return figures


def figure_of(report: Report, figure: str, part: str = "") -> Any:
    """A figure of FIGURES, of the network or a part: a number, or a shape. Raises ArchcalcError where there is none."""
    if part:
        return _of_layers(report.part(part), figure, report.dtype)
    if figure == "input":
        return report.graph.input
    if figure == "output":
        return report.graph.nodes[report.graph.result].output
    value = getattr(report.totals, figure)
    if figure in FIELDS:
        return _square(value, figure)
    if value is None:
        raise ArchcalcError(f"{report.graph.name} has no {FIGURES[figure][0]}: training drops no branch of it")
    return value


def _of_layers(layers: Sequence[Layer], figure: str, dtype: str) -> Any:
    if figure == "layers":
        return len(layers)
    if figure in _SUMS:
        return sum(getattr(layer, figure) for layer in layers)
    if figure in _BYTES_OF:
        return DTYPES[dtype] * sum(getattr(layer, _BYTES_OF[figure]) for layer in layers)
    if figure.startswith("expected"):
        raise ArchcalcError(f"the {FIGURES[figure][0]}, is known of whole networks only")
    if not layers:
        raise ArchcalcError(f"no layers to have a {FIGURES[figure][0]}")
    last = end(layers)
    if figure in FIELDS:
        return _square(tuple(getattr(axis, FIELDS[figure]) for axis in last.field) if last.field else None, figure)
    return {"output": last.node.output, "input": input_shape(layers), "depth": own_depth(layers)}[figure]


def _square(pair: Any, figure: str) -> int:
    if pair is None or pair[0] != pair[1]:
        raise ArchcalcError(f"the {FIGURES[figure][0]} is unknown, or not one number for height and width")
    return int(pair[0])
