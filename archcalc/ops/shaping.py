"""Operators that move values about, drop them at random, or do nothing."""

from __future__ import annotations

from typing import ClassVar

from archcalc.ops.arguments import Extent, Flag, Positive, Probability, Size, require
from archcalc.ops.base import Extra, Plain, Saved, Shape, Work, operator, spatial, values
from archcalc.ops.reads import ALL, POINT, Axis, Window


class Mover(Plain):
    """An operator without arithmetic."""

    def output(self, x: Shape) -> Shape:
        """As the input."""
        return x

    def work(self, x: Shape, y: Shape) -> Work:
        """None."""
        return {}

    def saved(self, x: Shape, y: Shape) -> Saved:
        """Nothing."""
        return Saved()


class View(Mover):
    """An operator whose output is its input's memory under another shape."""

    def writes(self, x: Shape, y: Shape, training: bool) -> int:
        """Nothing."""
        return 0


@operator("input")
class Input(Mover):
    """The image; the first row of every table. Its values count as activations."""

    code: ClassVar[str] = "nn.Identity()"
    shape: Extent

    def output(self, x: Shape) -> Shape:
        """The given shape."""
        return self.shape


@operator("identity")
class Identity(View):
    """Its input, unchanged, `torch.nn.Identity`."""

    code: ClassVar[str] = "nn.Identity()"


@operator("flatten")
class Flatten(View):
    """All values as one vector, `torch.nn.Flatten`."""

    code: ClassVar[str] = "nn.Flatten()"

    def output(self, x: Shape) -> Shape:
        """(features,)."""
        return (values(x),)

    def window(self, x: Shape) -> tuple[Axis, Axis]:
        """All of the height and width: a vector has no places."""
        return (ALL, ALL) if len(x) == 3 else POINT


@operator("channel_shuffle")
class ChannelShuffle(Mover):
    """Interleaves groups of channels, `torch.nn.ChannelShuffle` (Zhang et al. 2017)."""

    code: ClassVar[str] = "ChannelShuffle(groups)"
    groups: Positive

    def output(self, x: Shape) -> Shape:
        """As the input. Raises Refusal if the channels do not divide into the groups."""
        require(x[0] % self.groups == 0, f"{x[0]} channels do not divide into {self.groups} groups")
        return x


@operator("pad_shortcut")
class PadShortcut(Mover):
    """Every stride-th value, and zero channels added: the shortcut of CIFAR ResNets (He et al. 2015, option A).

    The zeros are divided between the first and the last channels, the odd one last.
    """

    code: ClassVar[str] = "PadShortcut(in_channels, out_channels, stride=stride)"
    out_channels: Positive
    stride: Size = (1, 1)

    def output(self, x: Shape) -> Shape:
        """(out_channels, ⌈height/stride⌉, ⌈width/stride⌉). Raises Refusal if it would lose channels."""
        channels, height, width = spatial(x, self.name)
        require(channels <= self.out_channels, f"cannot pad {channels} channels to {self.out_channels}")
        return self.out_channels, -(-height // self.stride[0]), -(-width // self.stride[1])

    def window(self, x: Shape) -> tuple[Window, Window]:
        """Every stride-th position."""
        return Window(1, self.stride[0]), Window(1, self.stride[1])


@operator("dropout")
class Dropout(Mover):
    """Drops values with probability p in training, `torch.nn.Dropout` (Srivastava et al. 2014)."""

    code: ClassVar[str] = "nn.Dropout(p, inplace=inplace)"
    p: Probability = 0.5
    inplace: Flag = False

    def writes(self, x: Shape, y: Shape, training: bool) -> int:
        """The output, in training only."""
        return values(y) if training and self.p and not self.inplace else 0

    def overwrites(self, training: bool) -> bool:
        """In training, if asked to work in place."""
        return training and self.inplace and self.p > 0

    def saved(self, x: Shape, y: Shape) -> Saved:
        """The noise; on CUDA and not in place PyTorch keeps one byte a value instead. With p = 1 a single zero."""
        drawn = Extra("noise", y, "" if self.inplace else "mask")
        noise = drawn if self.p < 1 else Extra("noise", (), per_image=False)
        return Saved(extras=(noise,) if self.p else ())


@operator("droppath")
class DropPath(Mover):
    """Drops a whole branch for an image with probability p in training, and scales what stays by 1/(1 − p)."""

    code: ClassVar[str] = "DropPath(p)"
    p: Probability

    def writes(self, x: Shape, y: Shape, training: bool) -> int:
        """The output, in training only."""
        return values(y) if training and self.p else 0

    def saved(self, x: Shape, y: Shape) -> Saved:
        """One factor per image."""
        return Saved(extras=(Extra("noise", (1,)),) if self.p else ())


@operator("stochastic_depth")
class StochasticDepth(Mover):
    """Drops a whole branch for the batch with probability p in training; evaluation scales it by 1 − p.

    As Huang et al. (2016) do it: what stays in training is left as it is. A branch that is dropped need not run.
    """

    code: ClassVar[str] = "StochasticDepth(p)"
    p: Probability

    def work(self, x: Shape, y: Shape) -> Work:
        """A multiplication for each value, at inference too; with p = 0 none."""
        return {"mul": values(y)} if self.p else {}

    def writes(self, x: Shape, y: Shape, training: bool) -> int:
        """The scaled output."""
        return values(y) if self.p else 0

    def saved(self, x: Shape, y: Shape) -> Saved:
        """Nothing."""
        return Saved()
