"""Normalizations over the channels or features of each position."""

from __future__ import annotations

from typing import ClassVar

from archcalc.errors import Refusal
from archcalc.ops.arguments import Flag, Real
from archcalc.ops.base import Calls, Extra, SameShape, Saved, Shape, Sizes, Work, operator, values
from archcalc.ops.calls import FULL, NEW, NUMBER, PERMUTED, SAME, SUM, VIEW, Call
from archcalc.ops.normalization import affine_gradient, statistics_gradient, statistics_work
from archcalc.ops.shape import Map, dim_of_channels


@operator("channel_layernorm")
class ChannelLayerNorm(SameShape):
    """Layer normalization over the channels at each position, `torchvision.models.convnext.LayerNorm2d`.

    It permutes the channels to the end, normalizes, and copies the result back.
    """

    code: ClassVar[str] = "ChannelLayerNorm(in_channels, eps=eps, elementwise_affine=elementwise_affine, bias=bias)"
    eps: Real = 1e-5
    elementwise_affine: Flag = True
    bias: Flag = True

    def output(self, x: Shape) -> Shape:
        """The input's shape. Raises Refusal for a vector, and for tokens: layernorm is over their features."""
        if not isinstance(x, Map):
            raise Refusal(f"channel_layernorm accepts C×L, C×H×W or C×D×H×W; write layernorm for {x.text}")
        return x

    def weights(self, x: Shape) -> dict[str, Sizes]:
        """weight and bias, one value per channel."""
        if not self.elementwise_affine:
            return {}
        return {"weight": (x.channels,)} | ({"bias": (x.channels,)} if self.bias else {})

    def work(self, x: Shape, y: Shape) -> Work:
        """For n values at g positions 3n − g sums, 2n products, 3g divisions, g roots; n each for weight and bias."""
        shifted = self.elementwise_affine and self.bias
        return statistics_work(values(y), values(x.lengths), self.elementwise_affine, shifted)

    def input_gradient(self, x: Shape, y: Shape, batch: int) -> Work:
        """As of layernorm: 4n − 2g additions, 3n + 2g products, 2g divisions; with a weight n products, else n sums."""
        return statistics_gradient(batch * values(x), batch * values(x.lengths), self.elementwise_affine)

    def weight_gradient(self, x: Shape, y: Shape, batch: int) -> Work:
        """As of layernorm: for n values n differences, 2n products, and n − C sums for each of weight and bias."""
        return affine_gradient(batch * values(x), self.weights(x))

    def saved(self, x: Shape, y: Shape) -> Saved:
        """Input, weight, bias, and mean and 1/σ of each position (on CUDA at least float32)."""
        extras = (Extra("mean", x.lengths, "sums"), Extra("rstd", x.lengths, "sums"))
        return Saved(input=True, state=tuple(self.weights(x)), extras=extras)

    def calls(self, x: Shape, y: Shape, training: bool, overwrites: bool) -> Calls:
        """A view with the channels last, one function, a view with the channels first, and a copy of that."""
        weights = range(1, 1 + len(self.weights(x)))
        view, made, alike = 1 + len(weights), Extra("normalized", y), 1 in (x.channels, values(x.lengths))
        read = (view, *weights)
        return (
            Call((0,), Extra("view", x), VIEW, grads=(VIEW if alike else PERMUTED,)),
            Call(read, made, keeps=read, extras=self.saved(x, y).extras),
            Call((view + 1,), Extra("view", y), VIEW, grads=(VIEW,)),
            Call((view + 2,), made, grads=(SAME,)),
        )


class OfEach(SameShape):
    """A normalization by the squares of the channels or features of each position."""

    def _sums(self, x: Shape) -> Shape:
        return x.with_channels(1)


@operator("rmsnorm")
class RMSNorm(OfEach):
    """x / √(mean of x² + eps) · w over the features (Zhang & Sennrich 2019), the values of `torch.nn.RMSNorm`.

    It runs step by step in the network's dtype. Without eps, that is the smallest number that changes 1.
    """

    code: ClassVar[str] = "RMSNorm(in_channels, eps=eps, elementwise_affine=elementwise_affine)"
    eps: Real | None = None
    elementwise_affine: Flag = True

    def output(self, x: Shape) -> Shape:
        """The input's shape. Raises Refusal for a map, whose channels are not PyTorch's last dimension."""
        if isinstance(x, Map):
            raise Refusal(f"rmsnorm is over the features of a vector or tokens, not {x.text}")
        return super().output(x)

    def weights(self, x: Shape) -> dict[str, Sizes]:
        """weight, one value per feature."""
        return {"weight": (x.channels,)} if self.elementwise_affine else {}

    def work(self, x: Shape, y: Shape) -> Work:
        """For n values at g positions n additions, 2n products, 2g divisions, g roots; with a weight n products."""
        count, places = values(y), values(x.lengths)
        products = count * 3 if self.elementwise_affine else count * 2
        return {"mul": products, "add": (count - places) + places, "div": places * 2, "sqrt": places}

    def input_gradient(self, x: Shape, y: Shape, batch: int) -> Work:
        """r·h − x·k, where r = 1/√(mean of x² + eps), h = w·g, and k = Σ(h·x)/C·r·r·r at each position.

        For n values at g positions 2n − g additions, 3n + 3g products, g divisions; with a weight n products.
        """
        count, places = batch * values(x), batch * values(x.lengths)
        products = count * 4 if self.elementwise_affine else count * 3
        return {"add": count * 2 - places, "mul": products + places * 3, "div": places}

    def weight_gradient(self, x: Shape, y: Shape, batch: int) -> Work:
        """Σ g·(r·x): for n values and C features n products and n − C sums."""
        count = batch * values(x)
        return {"mul": count, "add": count - x.channels} if self.elementwise_affine else {}

    def saved(self, x: Shape, y: Shape) -> Saved:
        """The input, and the reciprocal root of each position; with a weight that, and r·x."""
        scaled = (Extra("scaled", x),) if self.elementwise_affine else ()
        return Saved(input=True, state=tuple(self.weights(x)), extras=(Extra("root", self._sums(x)), *scaled))

    def calls(self, x: Shape, y: Shape, training: bool, overwrites: bool) -> Calls:
        """x·x, its mean, + eps, 1/√, · x, · weight."""
        n, made, each = 1 + len(self.weights(x)), Extra("values", x), Extra("root", self._sums(x))
        scaled, weighted = (0, n + 3), (n + 4, 1)
        calls = (
            Call((0, 0), made, keeps=(0,)),
            Call((n,), each),
            Call((n + 1,), each, uses=(NUMBER,), grads=(SAME,)),
            Call((n + 2,), each, keeps=(n + 3,), scratch=((each,) * 2,)),  # −1/2 · grad · y³
            Call(scaled, made, keeps=scaled, crossed=scaled, grads=(FULL, FULL)),
            Call(weighted, made, keeps=weighted, crossed=weighted, grads=(FULL, FULL)),
        )
        return calls if self.elementwise_affine else calls[:-1]


@operator("normalize")
class Normalize(OfEach):
    """x / max(√(Σx²), eps) over the channels or features of each position, `torch.nn.functional.normalize`."""

    eps: Real = 1e-12

    def weights(self, x: Shape) -> dict[str, Sizes]:
        """None."""
        return {}

    def work(self, x: Shape, y: Shape) -> Work:
        """For n values at g positions n products, n − g sums, g roots, g comparisons, n divisions."""
        count, places = values(y), values(x.lengths)
        return {"mul": count, "add": count - places, "sqrt": places, "compare": places, "div": count}

    def input_gradient(self, x: Shape, y: Shape, batch: int) -> Work:
        """g/d + x·(k/s), where s = √(Σx²), d = max(s, eps), and k = −Σ(g·(x/d/d)) if s ≥ eps, else 0.

        For n values at g positions 2n − g additions, 2n products, 3n + g divisions, g comparisons.
        """
        count, places = batch * values(x), batch * values(x.lengths)
        return {"add": count * 2 - places, "mul": count * 2, "div": count * 3 + places, "compare": places}

    def saved(self, x: Shape, y: Shape) -> Saved:
        """The input, and for each position √(Σx²) and its maximum with eps."""
        return Saved(input=True, extras=(Extra("norm", self._sums(x)), Extra("divisor", self._sums(x))))

    def calls(self, x: Shape, y: Shape, training: bool, overwrites: bool) -> Calls:
        """√(Σx²), its maximum with eps, a view of that for all channels, and x divided by it."""
        each, made, mask = Extra("norm", self._sums(x)), Extra("quotient", y), Extra("mask", self._sums(x), "bool")
        zero = Extra("zero", (), per_image=False)
        return (
            Call((0,), each, keeps=(0, 1), scratch=((made, mask),)),  # grad · (x / y), where y is not 0
            Call((1,), each, keeps=(1,), scratch=((zero, mask),)),
            Call((2,), Extra("view", y), VIEW, grads=(SUM,)),
            Call((3, 0), made, keeps=(3, 0), crossed=(0,), grads=(NEW, NEW), scratch=((made,) * 3,)),
        )

    def pytorch(self, x: Shape) -> str:
        return f"Normalize(dim={dim_of_channels(x)}, eps=eps)"
