"""Joins: operators with several inputs, which a spec writes with branches: `add: {body: …, skip: …}`.

`x` is the tuple of the inputs' shapes. A sum of n inputs takes n − 1 additions per value.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from math import prod
from typing import ClassVar, TypeAlias

from archcalc.ops.arguments import Letters, Probability, require, same
from archcalc.ops.base import Calls, Extra, Plain, Saved, Shape, Work, operator, values
from archcalc.ops.calls import FULL, IN_PLACE, NEW, NUMBER, SAME, SLICE, VIEW, Call
from archcalc.ops.reads import EACH, Axis, Piece
from archcalc.ops.shape import Map, featured

Shapes: TypeAlias = tuple[Shape, ...]


def alike(shapes: Sequence[Shape]) -> bool:
    """Whether shapes have the same axes and sizes. Raises Refusal for numbers of tokens."""
    featured(shapes[0])
    return len({*map(type, shapes)}) == 1 and same(shapes)


class Join(Plain):
    """An operator with two or more inputs of equal shape."""

    joins: ClassVar[bool] = True

    def output(self, x: Shapes) -> Shape:
        """The inputs' shape. Raises Refusal if they differ."""
        require(alike(x), "branches differ in shape")
        return x[0]

    def window(self, x: Shapes) -> tuple[Axis, ...]:
        """The same position of each input."""
        return super().window(x[0])

    def windows(self, x: Shapes) -> list[tuple[Axis, ...] | None]:
        """Which positions of each input an output position reads; None: nothing of it."""
        return [Plain.window(self, shape) for shape in x]

    def input_gradient(self, x: Shapes, y: Shape, batch: int) -> Work:
        """None: each input has the output's gradient, or a part of it."""
        return {}

    def saved(self, x: Shapes, y: Shape) -> Saved:
        """Nothing."""
        return Saved()


@operator("add")
class Add(Join):
    """Elementwise sum, in place into its first input where nothing else needs that, as in residual networks."""

    code: ClassVar[str] = "Sum()"

    def work(self, x: Shapes, y: Shape) -> Work:
        """For each value n − 1 additions for n inputs."""
        return {"add": values(y) * (len(x) - 1)}

    def writes(self, x: Shapes, y: Shape, training: bool) -> int:
        """Nothing: in place, into its first input; the output if something else needs that input."""
        return 0

    def overwrites(self, training: bool) -> bool:
        return True

    def calls(self, x: Shapes, y: Shape, training: bool, overwrites: bool) -> Calls:
        """One sum after the other, in place from the second on."""
        return sums(x, y, overwrites)


@operator("multiply")
class Multiply(Join):
    """Elementwise product; an input of channels×1×1 is broadcast over all positions (squeeze-and-excitation)."""

    code: ClassVar[str] = "Product()"

    def output(self, x: Shapes) -> Shape:
        """The largest input's shape. Raises Refusal if another one is neither of this shape nor channels×1×1."""
        largest = x[0]
        for shape in x[1:]:
            if shape.axes == largest.axes and largest.single:
                largest = shape
        for shape in x:
            gate = shape.single and isinstance(shape, Map)
            spread = shape.of(shape.channels, largest.lengths) if gate and shape.axes == largest.axes else shape
            require(alike([spread, largest]), "branches differ in shape")
        return largest

    def work(self, x: Shapes, y: Shape) -> Work:
        """A multiplication for each value of the product of the first two inputs, of the first three, and so on."""
        if len(x) == 1:
            return {}
        return {"mul": values(y) + sum(values(shape) for shape in self._partial(x))}

    def input_gradient(self, x: Shapes, y: Shape, batch: int) -> Work:
        """For each factor of each product one with the other factor; for a gate the sum of these over its positions."""
        return self.gradients_of(x, y, batch, [True] * len(x))

    def gradients_of(self, x: Shapes, y: Shape, batch: int, needed: Sequence[bool]) -> Work:
        left, known, work = x[0], needed[0], {"mul": 0, "add": 0}
        for right, needs, made in zip(x[1:], needed[1:], (*self._partial(x), y), strict=False):
            for factor, wanted in (left, known), (right, needs):
                work["mul"] += batch * values(made) * wanted
                work["add"] += batch * (values(made) - values(factor)) * wanted
            left, known = made, known or needs
        return work

    def _partial(self, x: Shapes) -> list[Shape]:
        return [*accumulate(x[:-1], lambda *pair: self.output(pair))][1:]

    def saved(self, x: Shapes, y: Shape) -> Saved:
        """All inputs and all products except the last."""
        partial = tuple(Extra("partial product", shape) for shape in self._partial(x))
        return Saved(input=len(x) > 1, extras=partial)

    def calls(self, x: Shapes, y: Shape, training: bool, overwrites: bool) -> Calls:
        """One product after the other; each keeps its factors for each other's gradients."""
        if len(x) == 1:
            return (Call((0,), Extra("output", y), grads=(SAME,)),)
        calls, left, shape = [], 0, x[0]
        for right, (other, made) in enumerate(zip(x[1:], (*self._partial(x), y), strict=True), 1):
            grads = tuple([NEW if read == made else FULL for read in (shape, other)])
            call = Call((left, right), Extra("product", made), keeps=(left, right), grads=grads, crossed=True)
            calls.append(call)
            left, shape = len(x) + right - 1, made
        return tuple(calls)


@operator("mean")
class Mean(Join):
    """Elementwise mean of its inputs, FractalNet's join (Larsson et al. 2016).

    With p > 0 (drop-path) training drops each input for the whole batch with probability p, but always keeps one, and
    returns the mean of those kept. The arithmetic of training counts all inputs.
    """

    code: ClassVar[str] = "Mean(p)"
    p: Probability = 0

    def work(self, x: Shapes, y: Shape) -> Work:
        """For each value n − 1 additions and a division."""
        return {"add": values(y) * (len(x) - 1), "div": values(y)}

    def input_gradient(self, x: Shapes, y: Shape, batch: int) -> Work:
        """For each value a division; each input has the same gradient."""
        return {"div": batch * values(y)}

    def calls(self, x: Shapes, y: Shape, training: bool, overwrites: bool) -> Calls:
        """The sum, and a division in place, which keeps its number. No branch is dropped."""
        divide = Call((2 * len(x) - 2,), Extra("output", y), IN_PLACE, extras=(NUMBER,))
        return sums(x, y, overwrites=False) + (divide,) * (len(x) > 1)


@operator("concat")
class Concat(Join):
    """Concatenation along the channels, or along another axis: `torch.cat`."""

    axis: Letters = "C"

    def output(self, x: Shapes) -> Shape:
        """The sum of the sizes on the axis. Raises Refusal if the inputs differ in another one."""
        first = x[0]
        first.dim(self.axis)
        require(alike([shape.with_size(self.axis, 1) for shape in x]), "branches differ in shape")
        return first.with_size(self.axis, sum(shape.size(self.axis) for shape in x))

    def windows(self, x: Shapes) -> list[tuple[Axis, ...] | None]:
        """The same position of each input; along another axis than the channels a part of the output for each."""
        if self.axis == "C":
            return super().windows(x)
        sizes = [shape.size(self.axis) for shape in x]
        parts = map(Piece, accumulate(sizes, initial=0), sizes)
        letters = [axis for axis in x[0].axes if axis != "C"]
        return [tuple([part if axis == self.axis else EACH for axis in letters]) for part in parts]

    def pytorch(self, x: Shapes) -> str:
        dim = x[0].dim(self.axis)
        return "Concat()" if dim == 1 else f"Concat({dim})"

    def work(self, x: Shapes, y: Shape) -> Work:
        """None: it copies."""
        return {}

    def calls(self, x: Shapes, y: Shape, training: bool, overwrites: bool) -> Calls:
        """One function; its gradients are slices of the incoming one. Those with gaps within an image are copied."""
        dim = x[0].dim(self.axis)
        dense = prod(x[0][: dim - 1]) == 1
        reads, calls = [*range(len(x))], list[Call]()
        for i, shape in enumerate(x if dim > 1 else ()):
            flat = Call((i,), Extra("view", shape), VIEW, grads=(VIEW,))
            again = flat._replace(
                reads=(len(x) + 2 * i,), grads=(VIEW if dense or shape == y or prod(shape[dim - 1 :]) == 1 else NEW,)
            )
            reads[i] = len(x) + 2 * i + 1
            calls += [flat, again]
        return *calls, Call(tuple(reads), Extra("output", y), grads=(SLICE if dense else VIEW,) * len(x))


def sums(x: Shapes, y: Shape, overwrites: bool) -> Calls:
    """x₁ + x₂ into new memory unless it `overwrites` x₁, then the others in place; of one input a copy."""
    made, last = Extra("sum", y), len(x) - 1
    if not last:
        return () if overwrites else (Call((0,), made, grads=(SAME,)),)
    first = Call((0, 1), made, IN_PLACE if overwrites else NEW, grads=(SAME, SAME))
    return first, *(first._replace(reads=(last + i - 1, i), where=IN_PLACE) for i in range(2, last + 1))
