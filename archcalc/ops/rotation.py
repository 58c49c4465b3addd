"""Positions of tokens, told by turning their features."""

from __future__ import annotations

from typing import ClassVar

from archcalc.ops.arguments import Positive, PositiveReal, require
from archcalc.ops.attention import require_heads
from archcalc.ops.base import Calls, Extra, Plain, Saved, Shape, Sizes, Work, operator, values
from archcalc.ops.calls import NEW, SAME, VIEW, Call
from archcalc.ops.shape import tokens


@operator("rotary_embedding")
class RotaryEmbedding(Plain):
    """Turn pairs of features of each head by angles that grow with the position (RoFormer, Su et al. 2021).

    Of d features of a head, the i-th and the (i + d/2)-th are a pair, as in Llama (RoFormer's are neighbours); position
    t turns it by t·base^(−2i/d). With the halves a and b of a head: a·cos − b·sin and b·cos + a·sin.
    """

    code: ClassVar[str] = "RotaryEmbedding(in_shape, num_heads, base=base)"
    num_heads: Positive
    base: PositiveReal = 10000.0

    def output(self, x: Shape) -> Shape:
        """The input's shape. Raises Refusal unless it is tokens, and each head has an even number of features."""
        features = tokens(x, self.name).channels
        require_heads(features, self.num_heads)
        size = features // self.num_heads
        require(size % 2 == 0, f"{size} features of a head cannot be put into pairs")
        return x

    def buffers(self, x: Shape) -> dict[str, Sizes]:
        """cos and sin (tokens, features of a head), signs included; a batch has them once."""
        table = (x.size("T"), x.channels // self.num_heads)
        return {"cos": table, "sin": table}

    def work(self, x: Shape, y: Shape) -> Work:
        """For each value 2 products and a sum; the tables are computed before."""
        return {"mul": values(y) * 2, "add": values(y)}

    def input_gradient(self, x: Shape, y: Shape, batch: int) -> Work:
        """The gradient turned back: for each value 2 products and a sum."""
        return {"mul": batch * values(y) * 2, "add": batch * values(y)}

    def saved(self, x: Shape, y: Shape) -> Saved:
        """Only the tables."""
        return Saved(state=("cos", "sin"))

    def calls(self, x: Shape, y: Shape, training: bool, overwrites: bool) -> Calls:
        """A view with heads, · cos, the halves of heads exchanged, · sin, their sum, and a view without heads."""
        made = Extra("values", x)
        return (
            Call((0,), made, VIEW, grads=(VIEW,)),
            Call((1,), made, grads=(NEW,)),
            Call((1,), made, grads=(NEW,)),
            Call((3,), made, grads=(NEW,)),
            Call((2, 4), made, grads=(SAME, SAME)),
            Call((5,), made, VIEW, grads=(VIEW,)),
        )
