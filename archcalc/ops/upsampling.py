"""Interpolation to other lengths."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any, ClassVar

from archcalc.ops.arguments import Flag, Interpolation, Scales, Sides, each, every, require
from archcalc.ops.base import Plain, Saved, Shape, Work, format_shape, operator, values
from archcalc.ops.reads import EACH, Aligned, Bilinear, Cubic, Nearest, NearestExact, Reads
from archcalc.ops.shape import Map, positions

NEAREST: dict[str, type[Nearest | NearestExact]] = {"nearest": Nearest, "nearest-exact": NearestExact}
LINEAR = {1: "linear", 2: "bilinear", 3: "trilinear"}  # PyTorch's modes of linear interpolation, by number of axes


def scaled(length: Any, scale: float) -> Any:
    """Return ⌊length · scale⌋, in floating point as PyTorch does; a length may be an array."""
    return length * int(scale) if scale == int(scale) else each(lambda one: math.floor(one * scale), length)


@operator("upsample")
class Upsample(Plain):
    """Interpolate to lengths `size`, or ⌊scale_factor · length⌋, `torch.nn.Upsample`.

    `mode` is nearest, nearest-exact, or by PyTorch's names linear on a line, bilinear or bicubic on an image, trilinear
    in a volume. With align_corners the first and the last positions of input and output lie on each other.
    """

    code: ClassVar[str] = "nn.Upsample(size=size, scale_factor=scale_factor, mode=mode, align_corners=align_corners)"
    size: Sides | None = None
    scale_factor: Scales | None = None
    mode: Interpolation = "nearest"
    align_corners: Flag | None = None

    def output(self, x: Shape) -> Shape:
        """(channels, height, width). Raises Refusal unless exactly one of size and scale_factor is given."""
        lengths = positions(x, self.name)
        require((self.size is None) != (self.scale_factor is None), "upsample needs either size or scale_factor")
        modes = [*NEAREST, LINEAR[len(lengths)]] + ["bicubic"] * (len(lengths) == 2)
        *others, last = map(repr, modes)
        require(self.mode in modes, f"mode must be {', '.join(others)} or {last} on {format_shape(x.axes)}")
        unaligned = self.mode not in NEAREST or self.align_corners is None
        require(unaligned, "align_corners needs an interpolation such as mode='bilinear', as in PyTorch")
        targets = self.size or tuple(map(scaled, lengths, self.scale_factor or ()))
        require(all(every(length >= 1) for length in targets), "scale_factor leaves no output")
        return Map((x.channels, *targets))

    @property
    def _near(self) -> int:
        return 4 if self.mode == "bicubic" else 2

    def work(self, x: Shape, y: Shape) -> Work:
        """nearest: none, it copies; bilinear: for each value 6 products and 3 sums, to weight four neighbours.

        Of m neighbours on each of n axes, m + … + mⁿ products and mⁿ − 1 sums; m is 2, bicubic 4. So bicubic 20 and 15.
        """
        if self.mode in NEAREST:
            return {}
        powers = [self._near ** (axis + 1) for axis in range(len(x.lengths))]
        return {"mul": values(y) * sum(powers), "add": values(y) * (powers[-1] - 1)}

    def input_gradient(self, x: Shape, y: Shape, batch: int) -> Work:
        """For each output value an addition; bilinear: 6 products, and an addition to each of four neighbours.

        Otherwise products as forward, and an addition for each of mⁿ neighbours.
        """
        count = batch * values(y)
        near = self._near ** len(x.lengths)
        return {"add": count} if self.mode in NEAREST else {"mul": batch * self.work(x, y)["mul"], "add": count * near}

    def saved(self, x: Shape, y: Shape) -> Saved:
        """Nothing."""
        return Saved()

    def window(self, x: Shape) -> tuple[Reads, ...]:
        """The nearest position, or the positions on both sides, of bicubic two on each side."""
        scales = self.scale_factor or (None,) * len(x.lengths)
        return tuple(map(self._reads, x.lengths, self.output(x).lengths, scales))

    def _reads(self, length: int, target: int, scale: float | None) -> Reads:
        """Return what is read on an axis. PyTorch computes with a given scale_factor, not with the lengths."""
        exact = Fraction(str(scale)) if isinstance(scale, float) else None
        ratio = (exact.denominator, exact.numerator) if exact else (length, target)
        if self.mode in NEAREST:
            return NEAREST[self.mode](*ratio)
        if self.align_corners and target == 1:
            return EACH
        linear = Aligned(length - 1, target - 1) if self.align_corners else Bilinear(*ratio)
        return Cubic(linear) if self.mode == "bicubic" else linear
