"""Joins: operators of several inputs, written in a spec with branches: `add: {body: …, skip: …}`.

Here `x` is the tuple of the inputs' shapes. Of n equal inputs, a sum takes n − 1 additions a value.
"""

from __future__ import annotations

from typing import ClassVar, TypeAlias

from archcalc.ops.arguments import Probability, every, require, same
from archcalc.ops.base import Extra, Plain, Saved, Shape, Work, operator, values

Shapes: TypeAlias = tuple[Shape, ...]


class Join(Plain):
    """An operator of two or more inputs of one shape."""

    joins: ClassVar[bool] = True

    def output(self, x: Shapes) -> Shape:
        """The inputs' shape. Raises Refusal if they differ."""
        require(same(x), "branches differ in shape")
        return x[0]

    def saved(self, x: Shapes, y: Shape) -> Saved:
        """Nothing."""
        return Saved()


@operator("add")
class Add(Join):
    """Elementwise sum, into its first input where nothing else needs that, as residual networks do it."""

    code: ClassVar[str] = "Sum()"

    def work(self, x: Shapes, y: Shape) -> Work:
        """For each value n − 1 additions of n inputs."""
        return {"add": values(y) * (len(x) - 1)}

    def writes(self, x: Shapes, y: Shape, training: bool) -> int:
        """Nothing: in place, into its first input; the output where something else needs that input."""
        return 0

    def overwrites(self, training: bool) -> bool:
        """Its first input."""
        return True


@operator("multiply")
class Multiply(Join):
    """Elementwise product; an input of channels×1×1 is spread over height and width (squeeze-and-excitation)."""

    code: ClassVar[str] = "Product()"

    def output(self, x: Shapes) -> Shape:
        """The largest input's shape. Raises Refusal if another is neither alike nor channels×1×1."""
        largest = x[0]
        for shape in x[1:]:
            if len(shape) == len(largest) == 3 and every((largest[1] == 1) & (largest[2] == 1)):
                largest = shape
        for shape in x:
            gate = len(shape) == len(largest) == 3 and every((shape[1] == 1) & (shape[2] == 1))
            require(same([shape[:1], largest[:1]]) if gate else same([shape, largest]), "branches differ in shape")
        return largest

    def work(self, x: Shapes, y: Shape) -> Work:
        """A multiplication for each value of the products of the first two inputs, the first three, …"""
        if len(x) == 1:
            return {}
        return {"mul": values(y) + sum(values(shape) for shape in self._partial(x))}

    def _partial(self, x: Shapes) -> list[Shape]:
        products = [x[0]]
        for shape in x[1:-1]:
            products.append(self.output((products[-1], shape)))
        return products[1:]

    def saved(self, x: Shapes, y: Shape) -> Saved:
        """All inputs, and the products before the last."""
        partial = tuple(Extra("partial product", shape) for shape in self._partial(x))
        return Saved(input=len(x) > 1, extras=partial)


@operator("mean")
class Mean(Join):
    """Elementwise mean of its inputs, FractalNet's join (Larsson et al. 2016).

    With drop-path, training drops each input for the whole batch with probability p, but for one that is kept in any
    case, and takes the mean of those that stay.
    """

    code: ClassVar[str] = "Mean(p)"
    p: Probability = 0

    def work(self, x: Shapes, y: Shape) -> Work:
        """For each value n − 1 additions and a division."""
        return {"add": values(y) * (len(x) - 1), "div": values(y)}


@operator("concat")
class Concat(Join):
    """Concatenation along the channels, `torch.cat(dim=1)`."""

    code: ClassVar[str] = "Concat()"

    def output(self, x: Shapes) -> Shape:
        """The channels added up. Raises Refusal if the inputs differ in height or width."""
        require(len({len(shape) for shape in x}) == 1 and same([shape[1:] for shape in x]), "branches differ in shape")
        return sum(shape[0] for shape in x), *x[0][1:]

    def work(self, x: Shapes, y: Shape) -> Work:
        """None: it copies."""
        return {}
