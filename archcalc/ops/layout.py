"""Operators that arrange values in other axes.

Every value of a graph lies in memory in the order of its axes, without gaps, and so does its gradient. So what changes
the order of values copies them (`permute`), and what keeps it is a view (`reshape`).
"""

from __future__ import annotations

from math import prod
from typing import ClassVar

from archcalc.ops.arguments import Dimension, Letters, Positive, Shifts, every, require
from archcalc.ops.base import Calls, Extra, Shape, Work, operator, values
from archcalc.ops.calls import NEW, SAME, VIEW, Call
from archcalc.ops.reads import EACH, Axis, Nearest, Rearranged, Window, Wrapped
from archcalc.ops.shape import (
    Map,
    Tokens,
    axes_last,
    axes_of,
    featured,
    keeps_order,
    permuted,
    positions,
    shape_of,
    spacious,
)  # fmt: skip
from archcalc.ops.shaping import Mover, View


class Reordered(Mover):
    """An operator that puts PyTorch's dimensions into another order, in new memory."""

    def order(self, x: Shape) -> tuple[int, ...]:
        """Return the dimensions of PyTorch's tensor in their new order."""
        raise NotImplementedError

    def pytorch(self, x: Shape) -> str:
        return f"Permute{self.order(x)}"

    def calls(self, x: Shape, y: Shape, training: bool, overwrites: bool) -> Calls:
        """Views and a copy; the gradient is copied, too, unless the order in memory stays."""
        flat = Call((0,), Extra("view", x), VIEW, grads=(VIEW,))
        moved = Call((1,), Extra("view", y), VIEW, grads=(VIEW if keeps_order(x, self.order(x)) else NEW,))
        return flat, moved, Call((2,), Extra("output", y), grads=(SAME,))


@operator("permute")
class Permute(Reordered):
    """The axes in another order, such as 'HWC' for channels last: `torch.permute` and a copy."""

    axes: Letters

    def output(self, x: Shape) -> Shape:
        """The sizes in the order of `axes`. Raises Refusal if no shape has its axes so."""
        return permuted(x, self.axes)

    def order(self, x: Shape) -> tuple[int, ...]:
        return tuple([x.dim(axis) for axis in self.axes])


@operator("transpose")
class Transpose(Reordered):
    """Tokens as channels × length, and back: `torch.transpose(1, 2)` and a copy."""

    def output(self, x: Shape) -> Shape:
        """(channels, length) of T×C, (tokens, features) of C×L. Raises Refusal for other axes."""
        kind = {"CL": Tokens, "TC": Map}.get(x.axes)
        require(kind, f"transpose accepts C×L or T×C, not {x.text}; permute('HWC') changes the order of others")
        return kind.of(x.channels, x.lengths)  # type: ignore[union-attr]  # required above

    def order(self, x: Shape) -> tuple[int, ...]:
        return (2, 1)


@operator("tokens")
class ToTokens(Reordered):
    """A token for each position, as in ViT (Dosovitskiy et al. 2020): `x.flatten(2).transpose(1, 2)` and a copy.

    Channels last is a view: `x.flatten(1, 2)`.
    """

    def output(self, x: Shape) -> Shape:
        """(positions, channels)."""
        return Tokens.of(x.channels, (prod(spacious(x, self.name)),))

    def order(self, x: Shape) -> tuple[int, ...]:
        first = x.dim("C")
        return (*range(2, len(x.axes) + 1), 1) if first == 1 else (*range(1, first + 1),)

    def pytorch(self, x: Shape) -> str:
        return "nn.Flatten(1, -2)" if isinstance(x, Tokens) else f"PositionsToTokens{self.order(x)}"

    def writes(self, x: Shape, y: Shape, training: bool) -> int:
        """The output; nothing if the channels are last."""
        return 0 if isinstance(x, Tokens) else values(y)

    def window(self, x: Shape) -> tuple[Axis, ...]:
        """One position each."""
        same = x.channels, x.channels
        return (Rearranged(x.lengths, (prod(x.lengths),), same, (True, True)),) * len(x.lengths)

    def calls(self, x: Shape, y: Shape, training: bool, overwrites: bool) -> Calls:
        """Views, a copy and a view of it; channels last only that view, of tokens none."""
        copied = () if isinstance(x, Tokens) else super().calls(x, y, training, overwrites)
        if len(x.lengths) == 1:
            return copied
        return *copied, Call((len(copied),), Extra("view", y), VIEW, grads=(VIEW,))


class Sized(Mover):
    """An operator with a number for each axis, in the order of `input: [channels, height, width]`, or by its letter."""

    def given(self) -> dict[str, int]:
        """Return the numbers that are given, by axis."""
        return {axis: size for axis, size in vars(self).items() if size is not None}


@operator("reshape")
class Reshape(Sized, View):
    """The same values in their order with other sizes: `reshape(512, 4, 4)`, `reshape(T=196, C=768)`, `torch.reshape`.

    One size is features, three are channels, height, width; others need names. A size of −1 is what is left. Of a
    shape with channels last the output has channels last, too.
    """

    C: Dimension | None = None
    H: Dimension | None = None
    W: Dimension | None = None
    L: Dimension | None = None
    D: Dimension | None = None
    T: Dimension | None = None

    def output(self, x: Shape) -> Shape:
        """The sizes. Raises Refusal unless they are those of a shape with as many values."""
        featured(x)
        given = self.given()
        require("".join(given) != "CH", "cannot have the axes C, H together; name them, such as T=196, C=768")
        axes = axes_of(given)
        axes = axes_last(axes) if isinstance(x, Tokens) else axes
        require("C" in axes, "reshape needs a size of C, the channels or features")
        left = [axis for axis, size in given.items() if size == -1]
        require(len(left) < 2, f"only one size can be -1, not {' and '.join(left)}")
        known = prod([size for size in given.values() if size != -1])
        if left:
            require(values(x) % known == 0, f"{values(x)} values of {x.text} cannot be divided by {known}")
            given |= {left[0]: values(x) // known}
        y = shape_of([given[axis] for axis in axes], axes)
        require(values(y) == values(x), f"{x.text} has {values(x)} values, but {y.text} has {values(y)}")
        return y

    def pytorch(self, x: Shape) -> str:
        return f"Reshape({', '.join(map(str, self.output(x)))})"

    def window(self, x: Shape) -> tuple[Axis, ...]:
        """The positions of its values, in memory's order."""
        y = self.output(x)
        last = isinstance(x, Tokens), isinstance(y, Tokens)
        return (Rearranged(x.lengths, y.lengths, (x.channels, y.channels), last),) * max(1, len(x.lengths))


@operator("repeat")
class Repeat(Sized):
    """The values of an axis several times over: `repeat(H=2, W=2)`, `torch.Tensor.repeat`."""

    C: Positive | None = None
    H: Positive | None = None
    W: Positive | None = None
    L: Positive | None = None
    D: Positive | None = None
    T: Positive | None = None

    def counts(self, x: Shape) -> list[int]:
        """Return how often each axis of the input is repeated."""
        return [self.given().get(axis, 1) for axis in x.axes]

    def output(self, x: Shape) -> Shape:
        """The input's sizes times the counts. Raises Refusal for an axis that it does not have."""
        featured(x)
        y = x
        for axis, count in self.given().items():
            x.dim(axis)
            y = y.with_size(axis, y.size(axis) * count)
        return y

    def pytorch(self, x: Shape) -> str:
        return f"Repeat({', '.join(map(str, self.counts(x)))})"

    def input_gradient(self, x: Shape, y: Shape, batch: int) -> Work:
        """For each value of the input n − 1 additions for n copies."""
        return {"add": batch * (values(y) - values(x))}

    def window(self, x: Shape) -> tuple[Axis, ...]:
        """The position that it copies."""
        axes = zip(x.lengths, self.output(x).lengths, strict=True)
        return tuple([EACH if old == new else Wrapped(1, 1, 0, 1, old, "circular") for old, new in axes])

    def calls(self, x: Shape, y: Shape, training: bool, overwrites: bool) -> Calls:
        """A copy; its gradient is a sum, or the incoming one if nothing is repeated."""
        return (Call((0,), Extra("output", y), grads=(SAME if {*self.counts(x)} == {1} else NEW,)),)


@operator("roll")
class Roll(Mover):
    """Positions moved along each axis by so many places, the last ones to the front: `torch.roll`."""

    shifts: Shifts

    def output(self, x: Shape) -> Shape:
        """The input's shape. Raises Refusal for a vector."""
        spacious(x, self.name)
        return x

    def pytorch(self, x: Shape) -> str:
        dims = tuple([x.dim(axis) for axis in x.axes if axis != "C"])
        return f"Roll(shifts, {dims})"

    def window(self, x: Shape) -> tuple[Axis, ...]:
        """The position so many places before."""
        axes = zip(x.lengths, self.shifts, strict=True)
        return tuple([Wrapped(1, 1, shift, 1, n, "circular") if shift % n else EACH for n, shift in axes])


@operator("pixel_shuffle")
class PixelShuffle(Mover):
    """Each r² channels as r×r positions, `torch.nn.PixelShuffle` (Shi et al. 2016)."""

    code: ClassVar[str] = "nn.PixelShuffle(upscale_factor)"
    upscale_factor: Positive

    def output(self, x: Shape) -> Shape:
        """(channels / r², r·height, r·width). Raises Refusal if the channels cannot be divided by r²."""
        lengths, factor = positions(x, self.name, 2), self.upscale_factor
        require(factor > 1, "pixel_shuffle by 1 changes nothing; write identity")
        require(x.channels % factor**2 == 0, f"{x.channels} channels cannot be divided by {factor}²")
        return Map.of(x.channels // factor**2, [factor * length for length in lengths])

    def window(self, x: Shape) -> tuple[Axis, ...]:
        """The position that it comes from."""
        return (Nearest(1, self.upscale_factor),) * 2


@operator("pixel_unshuffle")
class PixelUnshuffle(Mover):
    """Each r×r positions as r² channels, `torch.nn.PixelUnshuffle`."""

    code: ClassVar[str] = "nn.PixelUnshuffle(downscale_factor)"
    downscale_factor: Positive

    def output(self, x: Shape) -> Shape:
        """(r²·channels, height / r, width / r). Raises Refusal if height or width cannot be divided by r."""
        lengths, factor = positions(x, self.name, 2), self.downscale_factor
        require(factor > 1, "pixel_unshuffle by 1 changes nothing; write identity")
        whole = all(every(length % factor == 0) for length in lengths)
        require(whole, f"{x.text} cannot be divided into squares of {factor}×{factor}")
        return Map.of(x.channels * factor**2, [length // factor for length in lengths])

    def window(self, x: Shape) -> tuple[Axis, ...]:
        """The positions of its square."""
        return (Window(self.downscale_factor, self.downscale_factor),) * 2
