"""Operators that move values, drop them at random, or do nothing."""

from __future__ import annotations

from typing import ClassVar

from archcalc.ops.arguments import Extent, Flag, Positive, Probability, Size, require
from archcalc.ops.base import Calls, Extra, SameShape, Saved, Shape, Work, operator, values
from archcalc.ops.calls import DRAW, FLAG, IN_PLACE, NEW, NONE, NUMBER, VIEW, Call
from archcalc.ops.reads import ALL, Axis, Window
from archcalc.ops.shape import Features, Map, channels_first, featured, positions, shape_of


class Mover(SameShape):
    """An operator without arithmetic."""

    def work(self, x: Shape, y: Shape) -> Work:
        """None."""
        return {}

    def input_gradient(self, x: Shape, y: Shape, batch: int) -> Work:
        """None."""
        return {}

    def saved(self, x: Shape, y: Shape) -> Saved:
        """Nothing."""
        return Saved()


class Dropper(Mover):
    """An operator that drops values at random in training."""

    p: Probability

    def input_gradient(self, x: Shape, y: Shape, batch: int) -> Work:
        """For each value a product with what the forward pass drew; with p = 0 none."""
        return {"mul": batch * values(y)} if self.p else {}


class View(Mover):
    """An operator whose output shares the input's memory."""

    def writes(self, x: Shape, y: Shape, training: bool) -> int:
        """Nothing."""
        return 0

    def calls(self, x: Shape, y: Shape, training: bool, overwrites: bool) -> Calls:
        """A view."""
        return (Call((0,), Extra("view", y), VIEW, grads=(VIEW,)),)


@operator("input")
class Input(Mover):
    """The image; the first row of every table. Its values count as activations."""

    code: ClassVar[str] = "nn.Identity()"
    needs_input: ClassVar[bool] = False
    shape: Extent

    def output(self, x: Shape) -> Shape:
        """`shape`."""
        return shape_of(self.shape)

    def window(self, x: Shape) -> tuple[Axis, ...]:
        """It reads nothing."""
        return ()


@operator("identity")
class Identity(View):
    """The input, unchanged, `torch.nn.Identity`."""

    code: ClassVar[str] = "nn.Identity()"

    def output(self, x: Shape) -> Shape:
        """The input's shape."""
        return x

    def calls(self, x: Shape, y: Shape, training: bool, overwrites: bool) -> Calls:
        """None."""
        return ()


@operator("flatten")
class Flatten(View):
    """All values as one vector, `torch.nn.Flatten`."""

    code: ClassVar[str] = "nn.Flatten()"

    def output(self, x: Shape) -> Shape:
        """(features,)."""
        featured(x)
        return Features((values(x),))

    def calls(self, x: Shape, y: Shape, training: bool, overwrites: bool) -> Calls:
        """A view; of a vector none."""
        return super().calls(x, y, training, overwrites) if x.lengths else ()

    def window(self, x: Shape) -> tuple[Axis, ...]:
        """The whole input: a vector has no positions."""
        return (ALL,) * len(x.lengths)


@operator("channel_shuffle")
class ChannelShuffle(Mover):
    """Interleave groups of channels, `torch.nn.ChannelShuffle` (Zhang et al. 2017)."""

    code: ClassVar[str] = "ChannelShuffle(groups)"
    groups: Positive

    def output(self, x: Shape) -> Shape:
        """The input's shape. Raises Refusal if the channels cannot be divided into the groups."""
        channels = channels_first(x, self.name).channels
        require(channels % self.groups == 0, f"{channels} channels cannot be divided into {self.groups} groups")
        return x

    def calls(self, x: Shape, y: Shape, training: bool, overwrites: bool) -> Calls:
        """One copy; its gradient is a copy too, unless the channels keep their order."""
        made = Extra("output", y)
        copy = Call((0,), made, grads=(VIEW if self.groups in (1, x.channels) else NEW,))
        return copy, Call((1,), made, VIEW, grads=(VIEW,))


@operator("pad_shortcut")
class PadShortcut(Mover):
    """Keep every stride-th value and add channels of zeros: the shortcut of CIFAR ResNets (He et al. 2015, option A).

    Half of the new channels come first, the other half (one more if the number is odd) last.
    """

    code: ClassVar[str] = "PadShortcut(in_channels, out_channels, stride=stride)"
    out_channels: Positive
    stride: Size = (1, 1)

    def output(self, x: Shape) -> Shape:
        """(out_channels, ⌈height/stride⌉, ⌈width/stride⌉). Raises Refusal if out_channels is below the input's."""
        lengths = positions(x, self.name, 2)
        require(x.channels <= self.out_channels, f"cannot pad {x.channels} channels to {self.out_channels}")
        axes = zip(lengths, self.stride, strict=True)
        return Map((self.out_channels, *[-(-length // stride) for length, stride in axes]))

    def window(self, x: Shape) -> tuple[Window, ...]:
        """Every stride-th position."""
        return tuple([Window(1, stride) for stride in self.stride])

    def calls(self, x: Shape, y: Shape, training: bool, overwrites: bool) -> Calls:
        """Take every stride-th row, then column, as views with gradients of their own, and pad."""
        rows = Extra("rows", x.of(x.channels, (y.size("H"), x.size("W"))))
        columns = Extra("columns", x.of(x.channels, y.lengths))
        takes = [extra for extra, stride in zip((rows, columns), self.stride, strict=True) if stride > 1]
        calls = [Call((i,), extra, VIEW) for i, extra in enumerate((*takes, Extra("output", y)))]
        return *calls[:-1], calls[-1]._replace(where=NEW)


@operator("dropout")
class Dropout(Dropper):
    """Drop values with probability p in training, `torch.nn.Dropout` (Srivastava et al. 2014)."""

    code: ClassVar[str] = "nn.Dropout(p, inplace=inplace)"
    p: Probability = 0.5
    inplace: Flag = False

    def training_work(self, x: Shape, y: Shape, batch: int) -> Work:
        """For each value a comparison of a random number, a division by 1 − p and a product; with p = 1 only that."""
        count = batch * values(y)
        noise = {"compare": count, "div": count} if self.p < 1 else {}
        return noise | {"mul": count} if self.p else {}

    def writes(self, x: Shape, y: Shape, training: bool) -> int:
        """The output, in training only."""
        return values(y) if training and self.p and not self.inplace else 0

    def overwrites(self, training: bool) -> bool:
        return training and self.inplace and self.p > 0

    def saved(self, x: Shape, y: Shape) -> Saved:
        """The noise; on CUDA, unless in place, one byte per value; with p = 1 a single zero."""
        drawn = Extra("noise", y, "" if self.inplace else "mask")
        noise = drawn if self.p < 1 else Extra("noise", (), per_image=False)
        return Saved(extras=(noise,) if self.p else ())

    def calls(self, x: Shape, y: Shape, training: bool, overwrites: bool) -> Calls:
        """In training a product with the noise."""
        where = IN_PLACE if overwrites else NEW
        return (Call((0,), Extra("output", y), where, extras=self.saved(x, y).extras),) * (training and self.p > 0)


class ChannelDropout(Dropout):
    """Drop whole channels of an image with probability p in training."""

    axes: ClassVar[int]  # how many lengths the input has

    def training_work(self, x: Shape, y: Shape, batch: int) -> Work:
        """For each channel of an image a comparison and a division by 1 − p, for each value a product.

        With p = 1 only that; with p = 0 none.
        """
        channels = batch * x.channels
        noise = {"compare": channels, "div": channels} if self.p < 1 else {}
        return noise | {"mul": batch * values(y)} if self.p else {}

    def saved(self, x: Shape, y: Shape) -> Saved:
        """A factor for each channel; with p = 1 a single zero."""
        noise = Extra("noise", (x.channels,)) if self.p < 1 else Extra("noise", (), per_image=False)
        return Saved(extras=(noise,) if self.p else ())

    def output(self, x: Shape) -> Shape:
        """The input's shape. Raises Refusal for other axes."""
        positions(x, self.name, self.axes)
        return x


@operator("dropout1d")
class Dropout1d(ChannelDropout):
    """Drop whole channels of a line with probability p in training, `torch.nn.Dropout1d`."""

    code: ClassVar[str] = "nn.Dropout1d(p, inplace=inplace)"
    axes: ClassVar[int] = 1


@operator("dropout2d")
class Dropout2d(ChannelDropout):
    """Drop whole channels of an image with probability p in training, `torch.nn.Dropout2d` (Tompson et al. 2015)."""

    code: ClassVar[str] = "nn.Dropout2d(p, inplace=inplace)"
    axes: ClassVar[int] = 2


@operator("dropout3d")
class Dropout3d(ChannelDropout):
    """Drop whole channels of a volume with probability p in training, `torch.nn.Dropout3d`."""

    code: ClassVar[str] = "nn.Dropout3d(p, inplace=inplace)"
    axes: ClassVar[int] = 3


@operator("droppath")
class DropPath(Dropper):
    """In training drop a whole branch of an image with probability p, and scale kept branches by 1/(1 − p)."""

    code: ClassVar[str] = "DropPath(p)"
    p: Probability

    def training_work(self, x: Shape, y: Shape, batch: int) -> Work:
        """For each image a comparison and, if p < 1, a division by 1 − p; for each value a product; with p = 0 none."""
        noise = {"compare": batch, "div": batch} if self.p < 1 else {"compare": batch}
        return noise | {"mul": batch * values(y)} if self.p else {}

    def writes(self, x: Shape, y: Shape, training: bool) -> int:
        """The output, in training only."""
        return values(y) if training and self.p else 0

    def saved(self, x: Shape, y: Shape) -> Saved:
        """One factor per image."""
        return Saved(extras=(Extra("noise", (1,)),) if self.p else ())

    def calls(self, x: Shape, y: Shape, training: bool, overwrites: bool) -> Calls:
        """In training a product with the factors, which are divided by a number."""
        if not training or self.p == 0:
            return ()
        (noise,) = self.saved(x, y).extras
        drawn = Call((0,), noise, grads=(NONE,), uses=(NUMBER,) if self.p < 1 else ())
        return drawn, Call((0, 1), Extra("output", y), keeps=(1,))


@operator("stochastic_depth")
class StochasticDepth(Dropper):
    """In training drop a whole branch for the batch with probability p; in evaluation scale it by 1 − p.

    As in Huang et al. (2016), training does not scale a branch that it keeps. A dropped branch need not run.
    """

    code: ClassVar[str] = "StochasticDepth(p)"
    p: Probability

    def work(self, x: Shape, y: Shape) -> Work:
        """A multiplication for each value, also at inference; with p = 0 none."""
        return {"mul": values(y)} if self.p else {}

    def training_work(self, x: Shape, y: Shape, batch: int) -> Work:
        """A comparison for the batch, and a product for each value, as if the branch were kept; with p = 0 none."""
        return {"compare": 1, "mul": batch * values(y)} if self.p else {}

    def writes(self, x: Shape, y: Shape, training: bool) -> int:
        """The scaled output; with p = 0 nothing."""
        return values(y) if self.p else 0

    def calls(self, x: Shape, y: Shape, training: bool, overwrites: bool) -> Calls:
        """A product with a number, which is a bool in training, drawn before."""
        product = Call((0,), Extra("output", y), extras=(FLAG if training else NUMBER,))
        if self.p == 0:
            return ()
        return (Call((), DRAW), product) if training else (product,)
