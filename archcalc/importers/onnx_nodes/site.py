"""One call of an ONNX file as a rule of `layers` sees it: its arguments, and the shapes of what it reads."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import Any, NamedTuple

from archcalc.errors import Refusal
from archcalc.importers.onnx_nodes.file import Call, File
from archcalc.ops import Operator, Shape
from archcalc.ops.base import Sizes
from archcalc.ops.shape import KINDS


class Layer(NamedTuple):
    """An operator of ours, the values that it reads and as which shapes, and its tensors by the names of values."""

    op: Operator
    reads: tuple[str, ...]
    x: Any
    tensors: Mapping[str, str] = {}  # nothing writes into it
    learned: Mapping[str, Operator] = {}  # for each stored tensor that it reads as an input the layer that makes it


class Values:
    """The values of a file, with their shapes so far."""

    def __init__(self, file: File) -> None:
        self.file = file
        self.constant = file.origins()
        self.numbers = file.numbers()
        self.shapes: dict[str, Shape] = {}  # of values that depend on an input

    def sizes(self, name: str) -> Sizes:
        """Return the sizes at the first batch."""
        return self.file.sizes[0].get(name, ())

    def dtype(self, name: str) -> str:
        """Return the dtype of whole numbers and of bool; "" for real numbers, which have the network's."""
        dtype = self.file.dtypes.get(name, "")
        return "" if "float" in dtype else dtype

    def stores(self, name: str) -> int:
        """Return how many values the file stores for one that depends on no input; places and single numbers aside."""
        stored = [self.file.tensors[one] for one in self.constant.get(name, ())]
        return sum([prod(one.sizes) for one in stored if one.dtype not in ("int32", "int64") and prod(one.sizes) > 1])

    def trained(self, name: str) -> bool:
        """Whether a stored tensor is trained: unless the file says that it is a constant or a buffer."""
        return not self.kinds(name).isdisjoint(("", "PARAMETER", "COMPUTED"))

    def kinds(self, name: str) -> set[str]:
        """Return what the file says about the stored tensors that a value is made of."""
        return {self.file.tensors[one].kind for one in self.constant[name]}

    def softmax_axis(self, call: Call) -> int | None:
        """Return the axis of a Softmax; None: several, as before version 13, where it is over all from its axis on."""
        old = self.file.opset.isdigit() and int(self.file.opset) < 13
        axis, sizes = call.given.get("axis", 1 if old else -1), self.sizes(call.inputs[0])
        return None if old and prod(sizes[axis:]) != prod(sizes[axis:][:1]) else axis

    def axis(self, name: str, axis: int) -> int:
        """Return an axis for one image, from 0; −1: of the batch, or unknown."""
        batch = self.file.batch_axis(name)
        axis %= max(1, len(self.sizes(name)))
        return -1 if batch < 0 or axis == batch else axis - (axis > batch)


class Site:
    """A call, and what its rule reads. What an operator of ours cannot say raises Refusal."""

    def __init__(self, call: Call, values: Values) -> None:
        self.call, self.values, self.x = call, values, call.inputs[0]

    @property
    def target(self) -> Sizes:
        """The sizes of the output for one image."""
        return self.values.file.per_image(self.call.outputs[0]) or ()

    @property
    def shape(self) -> Shape:
        """The shape of the first input."""
        return self.values.shapes[self.x]

    @property
    def map(self) -> Shape:
        """The first input as channels and lengths."""
        return self._as("C", "CL", "CHW", "CDHW")

    @property
    def last(self) -> Shape:
        """The first input with the channels last, unless it has other axes."""
        return self._as("C", "TC", "HWC", "DHWC")

    def _as(self, *kinds: str) -> Shape:
        return next((KINDS[kind](self.shape) for kind in kinds if len(kind) == len(self.shape)), self.shape)

    def given(self, key: str, default: Any = None) -> Any:
        """Return an attribute."""
        return self.call.given.get(key, default)

    def listed(self, place: int, key: str) -> tuple[Any, ...]:
        """Return numbers that are an input or an attribute, depending on the version of ONNX; () if left out.

        Raises KeyError for an input whose numbers are unknown.
        """
        if not self.call.input(place):
            return self.given(key) or ()
        return self.values.numbers[self.call.input(place)]

    def number(self, place: int, key: str, default: Any = None) -> Any:
        """Return a number that is an input or an attribute."""
        if not self.call.input(place):
            return self.given(key, default)
        return self.values.numbers[self.call.input(place)][0]

    def axis(self, axis: int) -> int:
        """Return an axis of the first input for one image. Raises Refusal for the batch's."""
        found = self.values.axis(self.x, axis)
        require(found >= 0)
        return found

    def letter(self, axis: int) -> str:
        """Return the letter of an axis of the first input."""
        return self.shape.axes[self.axis(axis)]

    def tensors(self, **places: int) -> dict[str, str]:
        """Return the stored tensors at these inputs, without those that are left out, or one number for all."""
        given = {name: self.call.input(place) for name, place in places.items() if self.call.input(place)}
        require({*given.values()} <= self.values.constant.keys())
        return {
            name: one for name, one in given.items() if prod(self.values.sizes(one)) <= max(1, self.values.stores(one))
        }

    def layer(self, op: Operator, shape: Shape, tensors: Mapping[str, str] | None = None) -> Layer:
        """Return an operator on the first input, as this shape."""
        return Layer(op, (self.x,), shape, tensors or {})


def require(fits: object) -> None:
    """Raise Refusal for a call that says more than our operator."""
    if not fits:
        raise Refusal("no operator says this")
