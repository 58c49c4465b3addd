"""One recorded call as a rule of `mapping` sees it: its arguments by name, and its tensors as shapes of one image."""

from __future__ import annotations

from typing import Any, NamedTuple

from archcalc.importers.torch.tape import Call, Ref
from archcalc.importers.torch.values import Known
from archcalc.ops import Operator, Shape
from archcalc.ops.shape import CHANNELS_LAST, MAPS, Features, Ids, Map, Sizes, Tokens


class Plan(NamedTuple):
    """An operator that says the same as a call: what it reads, as which shape, and its weights by name."""

    op: Operator
    reads: tuple[int, ...]  # values
    x: Any
    weights: dict[str, int]  # values


class Misfit(Exception):
    """A rule does not say what a call does."""


class Site:
    """A call, its arguments by name, and the shapes of its tensors."""

    def __init__(self, call: Call, values: Known) -> None:
        self.call, self.values = call, values
        schema = call.function._schema.arguments
        self.defaults = {each.name: (at, each.default_value) for at, each in enumerate(schema)}

    @property
    def made(self) -> Sizes:
        """The sizes of the result for one image."""
        return self.shape(self.call.made[0])

    @property
    def first(self) -> int:
        """The value of the first argument."""
        return self.value(next(iter(self.defaults)))

    @property
    def axes(self) -> int:
        """The number of lengths that the function's name says: 2 of `max_pool2d`."""
        return int(self.call.name[-2])

    def given(self, *names: str) -> list[str]:
        """Return those of the names that the schema has."""
        return [name for name in names if name in self.defaults]

    def arg_or(self, name: str) -> Any:
        """Return an argument, None if this overload has none of this name."""
        return self.arg(name) if name in self.defaults else None

    def shapes_of(self, value: int) -> Sizes:
        """Return the sizes of a weight."""
        return self.values.sizes(value)

    def any_shape(self, value: int) -> Shape:
        """Return the shape of a value for one image, or of one that all images share."""
        return self.values.shape(value)

    def image(self, value: int, axis: int) -> Sizes:
        """Return the sizes without the batch. Raises Misfit unless this axis is the batch's."""
        if self.values.axis(value) != axis:
            raise Misfit("batch")
        sizes = self.values.sizes(value)
        return sizes[:axis] + sizes[axis + 1 :]

    def arg(self, name: str) -> Any:
        """Return an argument by its name in ATen's schema. Raises Misfit for another overload without it."""
        if name not in self.defaults:
            raise Misfit(name)
        position, default = self.defaults[name]
        return self.call.args[position] if position < len(self.call.args) else self.call.named.get(name, default)

    def value(self, name: str) -> int:
        """Return the value of a tensor argument. Raises Misfit if it is none."""
        given = self.arg(name)
        if not isinstance(given, Ref):
            raise Misfit(name)
        return given.index

    def shape(self, value: int) -> Shape:
        """Return a tensor's shape for one image. Raises Misfit unless the batch is its first axis."""
        if self.values.axis(value):
            raise Misfit("batch")
        return self.any_shape(value)

    def x(self) -> Shape:
        """Return the shape of the input, of any axes but the last; one without named axes has the channels last."""
        shape, axis = self.any_shape(self.value("input")), self.values.axis(self.value("input"))
        if axis == len(self.values.sizes(self.value("input"))) - 1:
            raise Misfit("batch")
        return shape if shape.axes else last(shape)

    def map(self, axes: int) -> Map:
        """Return the input as a map with so many lengths. Raises Misfit if it is none."""
        shape = self.shape(self.value("input" if "input" in self.defaults else "self"))
        if len(shape) != axes + 1:
            raise Misfit("axes")
        return Map(shape)

    def weights(self, *names: str) -> dict[str, int]:
        """Return the values of weights that are given."""
        return {name: self.value(name) for name in names if self.arg(name) is not None}

    def plan(self, op: Operator, x: Any, weights: dict[str, int] | None = None, name: str = "") -> Plan:
        """Return an operator for the first argument, or the one with this name."""
        return Plan(op, (self.value(name) if name else self.first,), x, weights or {})


def last(sizes: Sizes) -> Shape:
    """Return a shape with the channels last; without named axes for more than four sizes or none."""
    kinds: dict[int, type[Shape]] = {1: Features} | {1 + count: Tokens for count in CHANNELS_LAST}
    return kinds.get(len(sizes), Shape)(sizes)


def first(sizes: Sizes) -> Shape:
    """Return a shape with the channels first, likewise."""
    kinds: dict[int, type[Shape]] = {1: Features} | {1 + count: Map for count in MAPS}
    return kinds.get(len(sizes), Shape)(sizes)


def ids(sizes: Sizes) -> Shape:
    """Return the shape of whole numbers."""
    return Ids(sizes) if len(sizes) == 1 else Shape(sizes)


def each(value: Any, count: int) -> tuple[Any, ...]:
    """Return one number per axis; ATen repeats a single one."""
    numbers = tuple(value) if isinstance(value, tuple | list) else (value,)
    return numbers * count if len(numbers) == 1 else numbers
