"""Joins: operators with several inputs, which a spec writes with branches: `add: {body: …, skip: …}`.

`x` is the tuple of the inputs' shapes. A sum of n inputs takes n − 1 additions per value.

Elementwise joins repeat sizes of 1, and a vector at all positions: a gate of C features, or of C×1×1, beside C×H×W. The
gradient of what is repeated is a sum over the repetitions.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from math import prod
from typing import ClassVar, NamedTuple, TypeAlias

from archcalc.ops.arguments import Flag, Letters, Probability, require, same
from archcalc.ops.base import Calls, Extra, Plain, Saved, Shape, Sizes, Work, add_work, operator, values
from archcalc.ops.calls import FULL, IN_PLACE, NEW, NUMBER, SAME, SLICE, SUM, VIEW, Call
from archcalc.ops.reads import EACH, Axis, Piece
from archcalc.ops.shape import broadcast, featured
from archcalc.ops.work_in_words import in_words

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
        return super().window(max(x, key=len))

    def windows(self, x: Shapes) -> list[tuple[Axis, ...] | None]:
        """Which positions of each input an output position reads; None: nothing of it."""
        return [Plain.window(self, shape) for shape in x]

    def input_gradient(self, x: Shapes, y: Shape, batch: int) -> Work:
        """None: each input has the output's gradient, or a part of it."""
        return {}

    def saved(self, x: Shapes, y: Shape) -> Saved:
        """Nothing."""
        return Saved()


class Application(NamedTuple):
    """One application of a join's function: the shapes of its two inputs and of its result."""

    left: Shape
    right: Shape
    made: Shape


class Elementwise(Join):
    """A function of two inputs: of the first and the second, then of the result and the third, and so on."""

    accepts: ClassVar[str] = "each axis needs one size, or 1; a vector of channels is repeated at all positions"
    per_value: ClassVar[Work]
    gradients: ClassVar[tuple[tuple[str, Work], tuple[str, Work]]]  # of x₁ and x₂: the formula, and its work per value
    keeps: ClassVar[bool] = True  # whether backward needs both inputs

    def output(self, x: Shapes) -> Shape:
        """The inputs' shape; sizes of 1 are repeated, and vectors at all positions. Raises Refusal if others differ."""
        return x[0] if alike(x) else broadcast(x)

    def applications(self, x: Shapes) -> list[Application]:
        """Return the applications of the function, one after the other; one fewer than inputs."""
        y, found = self.output(x), list[Application]()
        left, *others = [shape if shape.axes == y.axes else y.of(shape.channels, (1,) * len(y.lengths)) for shape in x]
        for right in others:
            found.append(Application(left, right, self.output((left, right))))
            left = found[-1].made
        return found

    def work(self, x: Shapes, y: Shape) -> Work:
        """For each value of each result `per_value`."""
        count = values(y) * (len(x) - 1) if alike(x) else sum(values(each.made) for each in self.applications(x))
        return {kind: count * each for kind, each in self.per_value.items()}

    def input_gradient(self, x: Shapes, y: Shape, batch: int) -> Work:
        """`gradients` for each value of each result; for what is repeated a sum over the repetitions."""
        return self.gradients_of(x, y, batch, [True] * len(x))

    def gradients_of(self, x: Shapes, y: Shape, batch: int, needed: Sequence[bool]) -> Work:
        known, work = needed[0], dict.fromkeys(("add", *self.gradients[0][1], *self.gradients[1][1]), 0)
        for each, needs in zip(self.applications(x), needed[1:], strict=True):
            for factor, (_, gradient), wanted in zip(each, self.gradients, (known, needs), strict=False):
                count = batch * values(each.made) * wanted
                work = add_work(work, {kind: count * n for kind, n in gradient.items()})
                work["add"] += count - batch * values(factor) * wanted
            known = known or needs
        return work

    def saved(self, x: Shapes, y: Shape) -> Saved:
        """All inputs and all results except the last."""
        partial = tuple([Extra("partial result", each.made) for each in self.applications(x)[:-1]])
        return Saved(input=len(x) > 1, extras=partial) if self.keeps else Saved()

    def views(self, x: Shapes) -> tuple[Sizes | None, ...]:
        """Return for each vector beside positions the sizes that it gets there; −1 stands for the channels."""
        axes = max(x, key=len).axes
        repeated = tuple([-1 if axis == "C" else 1 for axis in axes])
        return tuple([None if shape.axes == axes else repeated for shape in x])

    def pytorch(self, x: Shapes) -> str:
        views = self.views(x)
        more = ", views=" if "torch" in self.code else "views="
        return f"{self.code[:-1]}{more}{views})" if any(views) else self.code

    def calls(self, x: Shapes, y: Shape, training: bool, overwrites: bool) -> Calls:
        """One function after the other; before them a view of each vector beside positions."""
        if len(x) == 1:
            return () if overwrites else (Call((0,), Extra("output", y), grads=(SAME,)),)
        calls, numbers = list[Call](), list(range(len(x)))
        for i, view in enumerate(self.views(x)):
            if view:
                numbers[i] = len(x) + len(calls)
                calls.append(Call((i,), Extra("view", x[i]), VIEW, grads=(VIEW,)))
        left, in_place = numbers[0], overwrites
        for right, each in zip(numbers[1:], self.applications(x), strict=True):
            in_place = in_place if left == numbers[0] else alike(each[::2])
            calls.append(self.call(left, right, each.made, in_place))
            left = len(x) + len(calls) - 1
        return tuple(calls)

    def call(self, left: int, right: int, made: Shape, in_place: bool) -> Call:
        """Return the call for the values with these numbers; `in_place`: the left one may be overwritten."""
        raise self._no_rule("call")

    @classmethod
    def says(cls, figure: str) -> str:
        (left, of_left), (right, of_right) = cls.gradients
        if figure == "work":
            return f"For each value of each result {in_words(cls.per_value)}."
        if figure == "input_gradient":
            work = in_words(add_work(of_left, of_right))
            counted = f": for each value of each result {work}" if work else ""
            return f"Of x₁ {left}, of x₂ {right}{counted}; for what is repeated a sum over the repetitions."
        return "Nothing." if figure == "saved" and not cls.keeps else super().says(figure)


@operator("add")
class Add(Elementwise):
    """Elementwise sum, in place into its first input where nothing else needs that, as `out += identity`.

    With `inplace=False` into a new tensor, as `x + y`.
    """

    code: ClassVar[str] = "Sum()"
    per_value: ClassVar[Work] = {"add": 1}
    gradients: ClassVar[tuple[tuple[str, Work], tuple[str, Work]]] = ("g", {}), ("g", {})
    keeps: ClassVar[bool] = False
    inplace: Flag = True

    def writes(self, x: Shapes, y: Shape, training: bool) -> int:
        """Nothing in place; the output if its first input is repeated, or if something else needs that."""
        return 0 if self.inplace and alike([x[0], y]) else values(y)

    def overwrites(self, training: bool) -> bool:
        return self.inplace

    def call(self, left: int, right: int, made: Shape, in_place: bool) -> Call:
        return Call((left, right), Extra("sum", made), IN_PLACE if in_place else NEW, grads=(SUM, SUM))


@operator("subtract")
class Subtract(Elementwise):
    """Elementwise difference x₁ − x₂, of more inputs x₁ − x₂ − x₃ and so on."""

    code: ClassVar[str] = "Elementwise(torch.sub)"
    per_value: ClassVar[Work] = {"add": 1}
    gradients: ClassVar[tuple[tuple[str, Work], tuple[str, Work]]] = ("g", {}), ("−g", {})
    keeps: ClassVar[bool] = False

    def call(self, left: int, right: int, made: Shape, in_place: bool) -> Call:
        return Call((left, right), Extra("difference", made), grads=(SUM, FULL))


@operator("multiply")
class Multiply(Elementwise):
    """Elementwise product, such as that of features and their gate (squeeze-and-excitation, Hu et al. 2018)."""

    code: ClassVar[str] = "Elementwise(torch.mul)"
    per_value: ClassVar[Work] = {"mul": 1}
    gradients: ClassVar[tuple[tuple[str, Work], tuple[str, Work]]] = ("g·x₂", {"mul": 1}), ("g·x₁", {"mul": 1})

    def call(self, left: int, right: int, made: Shape, in_place: bool) -> Call:
        both = left, right
        return Call(both, Extra("product", made), keeps=both, crossed=both, grads=(FULL, FULL))


@operator("divide")
class Divide(Elementwise):
    """Elementwise quotient x₁ / x₂, of more inputs x₁ / x₂ / x₃ and so on."""

    code: ClassVar[str] = "Elementwise(torch.div)"
    per_value: ClassVar[Work] = {"div": 1}
    gradients: ClassVar[tuple[tuple[str, Work], tuple[str, Work]]] = (
        ("g/x₂", {"div": 1}),
        ("−g·(x₁/x₂/x₂)", {"div": 2, "mul": 1}),
    )

    def call(self, left: int, right: int, made: Shape, in_place: bool) -> Call:
        """Backward keeps x₁ only for the gradient of x₂, which it computes first."""
        result, both = Extra("quotient", made), (right, left)
        return Call(both, result, keeps=both, crossed=(left,), grads=(FULL, FULL), scratch=((result,) * 3,))


@operator("maximum")
class Maximum(Elementwise):
    """Elementwise maximum, `torch.maximum`."""

    code: ClassVar[str] = "Elementwise(torch.maximum)"
    per_value: ClassVar[Work] = {"compare": 1}
    gradients: ClassVar[tuple[tuple[str, Work], tuple[str, Work]]] = (
        ("g, g/2 if both are equal, 0 if it is smaller", {"compare": 2, "div": 1}),
        ("likewise", {"compare": 2, "div": 1}),
    )

    def call(self, left: int, right: int, made: Shape, in_place: bool) -> Call:
        result, mask, both = Extra("maximum", made), Extra("mask", made, "bool"), (right, left)
        scratch = mask, result, mask  # equal; g/2; smaller
        return Call(both, result, keeps=both, grads=(FULL, FULL), scratch=(scratch, scratch))


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
        made, n = Extra("output", y), len(x)
        if n == 1:
            return (Call((0,), made, grads=(SAME,)),)
        first = Call((0, 1), made, grads=(SAME, SAME))
        others = [first._replace(reads=(n + i - 2, i), where=IN_PLACE) for i in range(2, n)]
        return first, *others, Call((2 * n - 2,), made, IN_PLACE, extras=(NUMBER,))


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
            whole = dense or shape == y or prod(shape[dim - 1 :]) == 1
            calls += [flat, flat._replace(reads=(len(x) + 2 * i,), grads=(VIEW if whole else NEW,))]
            reads[i] = len(x) + 2 * i + 1
        return *calls, Call(tuple(reads), Extra("output", y), grads=(SLICE if dense else VIEW,) * len(x))
