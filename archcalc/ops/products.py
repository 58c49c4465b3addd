"""Products of two branches as matrices."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from archcalc.ops.arguments import Flag, require, same
from archcalc.ops.base import Calls, Extra, Saved, Shape, Work, operator, values
from archcalc.ops.calls import JOINED, NEW, UNSAFE_VIEW, VIEW, Call
from archcalc.ops.joins import Join, Shapes
from archcalc.ops.reads import ALL, EACH, Axis
from archcalc.ops.shape import Map, featured


@operator("matmul")
class MatMul(Join):
    """The matrix product of two branches over their last two axes, `torch.matmul`: T×C · C×K = T×K.

    With transpose the second one is turned first: T×C · (S×C)ᵀ = T×S, the scores Q·Kᵀ of attention. Other axes are the
    same in both, such as heads. The output's axes are those of the first branch.
    """

    of_batch: ClassVar[bool] = True
    code: ClassVar[str] = "MatrixProduct(transpose=transpose)"
    transpose: Flag = False

    def output(self, x: Shapes) -> Shape:
        """The first input's shape with another last size. Raises Refusal if axes or inner sizes differ."""
        require(len(x) == 2, f"matmul needs two branches, not {len(x)}")
        first, second = x
        for shape in x:
            featured(shape)
            require(len(shape) > 1, f"matmul needs two axes or more, not the {shape.text} features of a vector")
        alike = len(first) == len(second) and (len(first) == 2 or type(first) is type(second))
        require(alike, f"matmul needs two branches with the same axes, not {first.text} and {second.text}")
        turned = self.transpose and type(second) is Map and len(second) > 2
        require(not turned, f"transpose turns T×C, C×L or channels last, not {second.text}")
        require(same([first.without_last(2), second.without_last(2)]), "branches differ before their last two axes")
        inner, last = second.last_two[:: -1 if self.transpose else 1]
        require(first.last == inner, f"the inner sizes {first.last} and {inner} differ; transpose turns the second one")
        return first.with_last(last)

    def work(self, x: Shapes, y: Shape) -> Work:
        """For each value of the output as many multiply-accumulates as the inner size."""
        return {"mac": values(y) * x[0].last}

    def input_gradient(self, x: Shapes, y: Shape, batch: int) -> Work:
        """g·Bᵀ and Aᵀ·g: as many multiply-accumulates as forward for each."""
        return self.gradients_of(x, y, batch, (True, True))

    def gradients_of(self, x: Shapes, y: Shape, batch: int, needed: Sequence[bool]) -> Work:
        return {"mac": batch * self.work(x, y)["mac"] * sum(needed)}

    def saved(self, x: Shapes, y: Shape) -> Saved:
        """Both inputs."""
        return Saved(input=True)

    def calls(self, x: Shapes, y: Shape, training: bool, overwrites: bool) -> Calls:
        """The second one transposed, whose gradient is copied; then views, the product, and a view of it."""
        made, first, second = Extra("output", y), *[Extra("view", shape) for shape in x]
        copied = self.transpose and 1 not in x[1].last_two
        flat = Call((1,), second, VIEW, grads=(VIEW,))
        turned = (flat, Call((2,), second, VIEW, grads=(NEW if copied else VIEW,))) * self.transpose
        n = 2 + len(turned)
        return (
            *turned,
            Call((0,), first, VIEW, grads=(VIEW,)),
            Call((n - 1,), second, VIEW, grads=(VIEW,)),
            Call((n, n + 1), made, keeps=(n, n + 1), crossed=(n, n + 1)),
            Call((n + 2,), made, UNSAFE_VIEW, grads=(JOINED if len(y) > 2 else VIEW,)),
        )

    def window(self, x: Shapes) -> tuple[Axis, ...]:
        """Of the first branch the row, of the second the column; channels or features are no positions."""
        return self.windows(x)[0] or ()

    def windows(self, x: Shapes) -> list[tuple[Axis, ...] | None]:
        first, second = x
        before, last = (EACH,) * (len(first) - 2), ALL if self.transpose else EACH
        if type(first) is not type(second):
            return [(EACH,) if type(second) is Map else (ALL,), (ALL,)]
        if type(first) is Map:
            return [(*before, ALL), (*before[1:], ALL, last)[1 - len(first) :]]
        return [(*before, EACH), (*before, ALL)]
