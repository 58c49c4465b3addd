"""Operators that take a part of their input, or put something around it. What they give is a copy, never a view."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from archcalc.ops.arguments import (
    Border,
    Borders,
    Letters,
    Pairs,
    Place,
    Positive,
    Real,
    Sides,
    each,
    every,
    least,
    require,
)
from archcalc.ops.base import Calls, Extra, Saved, Shape, Work, format_shape, operator, values
from archcalc.ops.borders import padded_lengths, padding_calls, pairs_of, reads_of
from archcalc.ops.calls import SAME, VIEW, Call
from archcalc.ops.joins import Join, Shapes
from archcalc.ops.reads import EACH, Axis, Window
from archcalc.ops.shape import Map, spacious
from archcalc.ops.shaping import Mover
from archcalc.ops.symbols import Formula


def cut_calls(parts: Sequence[Shape], y: Shape) -> Calls:
    """Return the calls that take a part, one axis after the other, and copy what is left.

    The gradient of each part is one of zeros, with the incoming gradient in its place.
    """
    views = [Call((i,), Extra("part", part), VIEW) for i, part in enumerate(parts)]
    return *views, Call((len(parts),), Extra("output", y), grads=(SAME,))


def of_dim(dim: int, usual: int) -> str:
    """Return an argument that names a dimension of PyTorch's tensor, "" for the module's default."""
    return "" if dim == usual else f", dim={dim}"


def first_length(x: Shape) -> int:
    """Return the first dimension of positions in PyTorch's tensor."""
    return 2 if isinstance(x, Map) else 1


class AlongAxis(Mover):
    """An operator that takes some positions of one axis, or some channels."""

    axis: Letters

    def kept(self, size: int) -> range:
        """Return which places of the axis stay."""
        raise NotImplementedError

    def count(self, size: Any) -> Any:
        """Return how many places stay."""
        return each(lambda size: len(self.kept(size)), size)

    def output(self, x: Shape) -> Shape:
        """The input's shape with fewer places on the axis. Raises Refusal if none is left, or without that axis."""
        x.dim(self.axis)
        size = self.count(x.size(self.axis))
        require(size > 0, f"{self.name} of axis {self.axis} leaves nothing of {x.text}")
        return x.with_size(self.axis, size)

    def window(self, x: Shape) -> tuple[Axis, ...]:
        """The position that it keeps."""
        kept = self.kept(x.size(self.axis))
        own = Window(1, kept.step, -kept.start)
        return tuple([own if axis == self.axis else EACH for axis in x.axes if axis != "C"])

    def calls(self, x: Shape, y: Shape, training: bool, overwrites: bool) -> Calls:
        """A view unless everything stays, and a copy; the gradient is put into zeros."""
        return cut_calls([y] if y != x else [], y)


def _place(place: int, size: Any) -> Any:
    """Return a place on an axis from its start on, at most its end."""
    return least(size + place, 0, -1) if place < 0 else least(place, size)


@operator("slice")
class Slice(AlongAxis):
    """The places start, start + step, … before stop on one axis, as Python's `x[start:stop:step]`; None is an end.

    A place below 0 counts from the end: `slice(-1, None, axis='T')` is the last token. The axis stays.
    """

    start: Place | None
    stop: Place | None
    step: Positive = 1
    axis: Letters = "C"

    def kept(self, size: int) -> range:
        return range(*slice(self.start, self.stop, self.step).indices(size))

    def count(self, size: Any) -> Any:
        start = 0 if self.start is None else _place(self.start, size)
        stop = size if self.stop is None else _place(self.stop, size)
        return least(-((start - stop) // self.step), 0, -1)

    def pytorch(self, x: Shape) -> str:
        return f"Slice(start, stop, step=step{of_dim(x.dim(self.axis), 1)})"


@operator("chunk")
class Chunk(AlongAxis):
    """One of several equal parts of an axis, from 0, `torch.chunk`: `chunk(2, 0)` is the first half of the channels.

    Parts have ⌈size / chunks⌉ places; the last may have fewer.
    """

    chunks: Positive
    index: Place
    axis: Letters = "C"

    def count(self, size: Any) -> Any:
        equal = isinstance(size, Formula) and -self.chunks <= self.index < self.chunks and size % self.chunks == 0
        return size // self.chunks if equal else super().count(size)

    def kept(self, size: int) -> range:
        most = -(-size // self.chunks)
        starts = range(0, size, most)
        found = -len(starts) <= self.index < len(starts)
        require(found, f"has no chunk {self.index}: axis {self.axis} gives {len(starts)}, from 0")
        return range(size)[starts[self.index] :][:most]

    def pytorch(self, x: Shape) -> str:
        return f"Chunk(chunks, index{of_dim(x.dim(self.axis), 1)})"


def starts(x: Shape, lengths: Sequence[int], name: str) -> list[int]:
    """Return where a central part with these lengths starts. Raises Refusal if it is larger than the input."""
    pairs = [*zip(spacious(x, name), lengths, strict=True)]
    fits = all(every(length <= whole) for whole, length in pairs)
    require(fits, f"{name} to {format_shape(lengths)} does not fit into {x.text}; pad enlarges")
    return [(whole - length) // 2 for whole, length in pairs]


def central_calls(x: Shape, y: Shape) -> Calls:
    """Return the calls that crop axis by axis, and copy."""
    parts = list[Shape]()
    part = x
    for axis in x.axes:
        if x.size(axis) != y.size(axis):
            part = part.with_size(axis, y.size(axis))
            parts.append(part)
    return cut_calls(parts, y)


@operator("center_crop")
class CenterCrop(Mover):
    """The central positions. Of an odd number that is cut off, one more is cut at the end (U-Net's crop).

    torchvision rounds half to even there: it starts one place later if 3, 7, 11, … are cut off.
    """

    size: Sides

    def output(self, x: Shape) -> Shape:
        """The input's shape with lengths `size`. Raises Refusal if one is larger than the input's."""
        starts(x, self.size, self.name)
        return x.with_lengths(self.size)

    def pytorch(self, x: Shape) -> str:
        return f"CenterCrop(size{of_dim(first_length(x), 2)})"

    def window(self, x: Shape) -> tuple[Axis, ...]:
        """The position that it keeps."""
        return tuple([Window(1, 1, -start) for start in starts(x, self.size, self.name)])

    def calls(self, x: Shape, y: Shape, training: bool, overwrites: bool) -> Calls:
        """A view for each axis that is cut, and a copy; gradients are put into zeros."""
        return central_calls(x, y)


@operator("crop_like")
class CropLike(Join):
    """The first input, cropped at the centre to the lengths of the second (U-Net, Ronneberger et al. 2015).

    Only the second one's shape is read. `center_crop` says where an odd number is cut off.
    """

    of_shape: ClassVar[tuple[int, ...]] = (1,)

    def output(self, x: Shapes) -> Shape:
        """The first input's channels, the second's lengths. Raises Refusal for other axes or larger lengths."""
        require(len(x) == 2, f"crop_like needs two branches, not {len(x)}")
        first, second = x
        require(first.axes == second.axes, "branches differ in their axes")
        starts(first, second.lengths, self.name)
        return first.with_lengths(second.lengths)

    def pytorch(self, x: Shapes) -> str:
        return f"CropLike({'' if first_length(x[0]) == 2 else 'dim=1'})"

    def windows(self, x: Shapes) -> list[tuple[Axis, ...] | None]:
        """Of the first input the position that is kept, of the second nothing."""
        first, second = x
        return [tuple([Window(1, 1, -start) for start in starts(first, second.lengths, self.name)]), None]

    def work(self, x: Shapes, y: Shape) -> Work:
        """None."""
        return {}

    def calls(self, x: Shapes, y: Shape, training: bool, overwrites: bool) -> Calls:
        """As of center_crop."""
        moved = [call._replace(reads=tuple([i and i + 1 for i in call.reads])) for call in central_calls(x[0], y)]
        return tuple(moved)


@operator("pad")
class Pad(Mover):
    """Positions around the input, `torch.nn.functional.pad`: one number, one per axis, or pairs [before, after].

    They have the value `value`; or mode is reflect (without the last position), replicate or circular. Numbers below 0
    cut off. With channels last only constant.
    """

    padding: Borders
    mode: Border = "constant"
    value: Real = 0

    @property
    def pairs(self) -> Pairs:
        """What comes before and after each axis."""
        return pairs_of(self.padding)

    def output(self, x: Shape) -> Shape:
        """The input's shape with longer lengths. Raises Refusal where PyTorch does."""
        last = not isinstance(x, Map) and self.mode != "constant"
        require(not last, f"pad {self.mode} accepts channels first, not {x.text}; write permute before it")
        return x.with_lengths(padded_lengths(spacious(x, self.name), self.pairs, self.mode, self.name))

    def pytorch(self, x: Shape) -> str:
        return f"Pad(padding, mode=mode, value=value{of_dim(first_length(x), 2)})"

    def input_gradient(self, x: Shape, y: Shape, batch: int) -> Work:
        """constant: none. Else an addition for each value that is read, circular for each axis."""
        if self.mode != "circular":
            return {} if self.mode == "constant" else {"add": batch * values(y)}
        return {"add": batch * sum(values(call.makes.shape) for call in padding_calls(x, self.pairs, self.mode))}

    def writes(self, x: Shape, y: Shape, training: bool) -> int:
        """The output; nothing if circular adds nothing."""
        return values(y) if padding_calls(x, self.pairs, self.mode) else 0

    def saved(self, x: Shape, y: Shape) -> Saved:
        """constant: nothing; reflect, replicate: the input; circular: for each axis which positions it copies."""
        calls = padding_calls(x, self.pairs, self.mode)
        extras = tuple([extra for call in calls for extra in call.extras])
        return Saved(input=any(call.keeps for call in calls), extras=extras)

    def window(self, x: Shape) -> tuple[Axis, ...]:
        """The position that it copies."""
        axes = zip(x.lengths, self.pairs, strict=True)
        return tuple([reads_of(Window(1, 1, pair[0]), length, pair, self.mode) for length, pair in axes])

    def calls(self, x: Shape, y: Shape, training: bool, overwrites: bool) -> Calls:
        """One copy; circular one for each axis."""
        return tuple([call._replace(reads=(i,)) for i, call in enumerate(padding_calls(x, self.pairs, self.mode))])
