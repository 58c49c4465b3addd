"""Gated linear units: one half of the channels or features gates the other half."""

from __future__ import annotations

from typing import ClassVar

from archcalc.ops.activation import Activation
from archcalc.ops.arguments import require
from archcalc.ops.base import Calls, Extra, Saved, Shape, Work, operator
from archcalc.ops.calls import NEW, PART, VIEW, Call
from archcalc.ops.shape import dim_of_channels, featured


class Gated(Activation):
    """A function of the first half a of the channels, or of the features of tokens, and of the second half b."""

    counted: ClassVar[str] = "value of the result"

    def output(self, x: Shape) -> Shape:
        """Half of the channels. Raises Refusal for an odd number."""
        featured(x)
        require(x.channels % 2 == 0, f"{x.channels} channels cannot be halved")
        return x.with_channels(x.channels // 2)


@operator("glu")
class GLU(Gated):
    """a · sigmoid(b) (Dauphin et al. 2017), `torch.nn.GLU` over the channels or features."""

    per_value: ClassVar[Work] = {"exp": 1, "add": 1, "div": 1, "mul": 1}
    gradient: ClassVar[tuple[str, Work]] = (
        "Of a h = g·s, of b h·(1 − s)·a, s = sigmoid(b)",
        {"exp": 1, "add": 2, "div": 1, "mul": 3},
    )

    def pytorch(self, x: Shape) -> str:
        return f"nn.GLU(dim={dim_of_channels(x)})"


@operator("swiglu")
class SwiGLU(Gated):
    """silu(a) · b (Shazeer 2020); a and b are views of the input."""

    per_value: ClassVar[Work] = {"exp": 1, "add": 1, "div": 1, "mul": 2}
    gradient: ClassVar[tuple[str, Work]] = (
        "Of b g·silu(a), of a h·s·(1 + a·(1 − s)), h = g·b, s = sigmoid(a)",
        {"exp": 1, "add": 3, "div": 1, "mul": 5},
    )

    def saved(self, x: Shape, y: Shape) -> Saved:
        """The input, and silu(a)."""
        return Saved(input=True, extras=(Extra("silu", y),))

    def calls(self, x: Shape, y: Shape, training: bool, overwrites: bool) -> Calls:
        """Both halves, whose gradients are put together at last; silu, and the product."""
        made = Extra("silu", y)
        return (
            Call((0,), Extra("halves", x), VIEW),
            Call((1,), made, keeps=(1,), grads=(PART,)),
            Call((2, 1), made, keeps=(2, 1), grads=(NEW, PART)),
        )

    def pytorch(self, x: Shape) -> str:
        return f"SwiGLU(dim={dim_of_channels(x)})"
