"""Shapes with named axes; no other file indexes a shape.

A shape has its sizes in PyTorch's order, without the batch:

========  ===================  ======================================================
Features  `C`                  a vector of features
Map       `C×L`                channels at each position of a line,
          `C×H×W`              of an image,
          `C×D×H×W`            or of a volume
Tokens    `T×C`                features of each token,
          `H×W×C`, `D×H×W×C`   or of each position of an image or a volume
Ids       `T`                  numbers of tokens, which have no features yet
========  ===================  ======================================================

`channels` is the size of `C`, `lengths` are the sizes of the other axes, along which positions lie. Sizes may be
integers, NumPy int64 arrays or `Term`s. A shape is a tuple; it equals a tuple of its sizes, but no shape of other axes.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from operator import itemgetter
from typing import TYPE_CHECKING, Any, TypeAlias

from archcalc.errors import Refusal
from archcalc.ops.arguments import every, format_shape

if TYPE_CHECKING:
    from typing_extensions import Self

Sizes: TypeAlias = tuple[int, ...]  # of a tensor without named axes, such as a weight
MAPS = {1: "CL", 2: "CHW", 3: "CDHW"}  # the axes of a map, by the number of those along which positions lie
CHANNELS_LAST = {1: "TC", 2: "HWC", 3: "DHWC"}  # likewise of tokens
WAYS = {  # the operator that makes one order of axes into another, for errors
    ("TC", "CL"): "transpose", ("CL", "TC"): "transpose", ("CHW", "TC"): "tokens", ("CDHW", "TC"): "tokens",
    ("CHW", "HWC"): "permute('HWC')", ("HWC", "CHW"): "permute('CHW')", ("DHWC", "CDHW"): "permute('CDHW')",
}  # fmt: skip
USUAL = ("C", "CHW")  # axes that need no name beside their sizes


class Shape(tuple[Any, ...]):
    """The base class of all kinds. `Shape` itself has no axes: an import has such, for example attention's scores."""

    __slots__ = ()

    axes: str = ""
    channels: Any = 0
    lengths: Sizes = ()

    def __eq__(self, other: object) -> Any:
        if type(other) is type(self):
            return tuple.__eq__(self, other)
        return not isinstance(other, Shape) and tuple.__eq__(self, other)

    def __ne__(self, other: object) -> bool:
        return not self == other

    __hash__ = tuple.__hash__

    @classmethod
    def of(cls, channels: Any, lengths: Sequence[Any]) -> Self:
        """Return a shape of this kind."""
        raise NotImplementedError

    @property
    def last(self) -> Any:
        """The size of the last axis, which a linear layer reads."""
        return self[-1]

    def with_last(self, size: Any) -> Self:
        """Return the shape with another size of the last axis."""
        return type(self)((*self[:-1], size))

    def without_last(self, count: int) -> Sizes:
        """Return the sizes of all axes but the last `count`."""
        return tuple(self[: len(self) - count])

    @property
    def last_two(self) -> Sizes:
        """The sizes of the last two axes, those of a matrix."""
        return tuple(self[-2:])

    def with_channels(self, channels: Any) -> Self:
        """Return the shape with another number of channels."""
        return self.of(channels, self.lengths)

    def size(self, axis: str) -> Any:
        """Return the size of an axis by its letter, None if there is no such axis."""
        return self[self.axes.index(axis)] if axis in self.axes else None

    def with_size(self, axis: str, size: Any) -> Self:
        """Return the shape with another size of one axis."""
        at = self.axes.index(axis)
        return type(self)((*self[:at], size, *self[at + 1 :]))

    def with_lengths(self, lengths: Sequence[Any]) -> Self:
        """Return the shape with other lengths."""
        return self.of(self.channels, lengths)

    def dim(self, axis: str) -> int:
        """Return the dimension of an axis in PyTorch's tensor, whose dimension 0 is the batch. Raises Refusal."""
        if axis not in self.axes:
            raise Refusal(f"has no axis {axis!r} on {_described(self)}")
        return self.axes.index(axis) + 1

    @property
    def single(self) -> bool:
        """Whether it has one position only; of a vector, which has no positions, False."""
        lengths = self.lengths
        for length in lengths:
            if not every(length == 1):
                return False
        return bool(lengths)

    @property
    def text(self) -> str:
        """Its sizes, and their axes unless it is an image or a vector: `64×56×56`, `64×16000 (C×L)`."""
        return format_shape(self) if self.axes in ("", *USUAL) else f"{format_shape(self)} ({format_shape(self.axes)})"


class Features(Shape):
    """A vector of features."""

    __slots__ = ()
    axes = "C"
    channels = property(itemgetter(0))

    @classmethod
    def of(cls, channels: Any, lengths: Sequence[Any] = ()) -> Self:
        return cls((channels,))


class Map(Shape):
    """Channels at each position of a line, an image or a volume."""

    __slots__ = ()
    channels = property(itemgetter(0))
    lengths = property(itemgetter(slice(1, None)))  # in C, for speed

    @property
    def axes(self) -> str:  # type: ignore[override]  # of three kinds of maps
        return MAPS[len(self) - 1]

    @classmethod
    def of(cls, channels: Any, lengths: Sequence[Any]) -> Self:
        return cls((channels, *lengths))


class Tokens(Shape):
    """Features of each token, or of each position with the channels last."""

    __slots__ = ()
    channels = property(itemgetter(-1))
    lengths = property(itemgetter(slice(-1)))  # in C, for speed

    @property
    def axes(self) -> str:  # type: ignore[override]  # of three kinds
        return CHANNELS_LAST[len(self) - 1]

    @classmethod
    def of(cls, channels: Any, lengths: Sequence[Any]) -> Self:
        return cls((*lengths, channels))


class Ids(Shape):
    """Numbers of tokens; only an embedding reads them."""

    __slots__ = ()
    axes = "T"
    lengths = property(tuple)

    @classmethod
    def of(cls, channels: Any, lengths: Sequence[Any]) -> Self:
        return cls(lengths)


KINDS: dict[str, type[Shape]] = {
    "C": Features, **dict.fromkeys(MAPS.values(), Map), **dict.fromkeys(CHANNELS_LAST.values(), Tokens), "T": Ids,
}  # fmt: skip
BY_LETTERS = {"".join(sorted(axes)): axes for axes in KINDS if axes not in ("HWC", "DHWC")}  # axes in any order
AXES = {"C": "channels", "L": "length", "D": "depth", "H": "height", "W": "width", "T": "tokens"}


def shape_of(sizes: Sequence[Any], axes: str = "") -> Shape:
    """Return a shape with these axes; without them, of one size a vector, of two to four a map.

    Raises Refusal for more sizes.
    """
    if isinstance(sizes, Shape) and not axes:
        return sizes
    if not axes and not 1 <= len(sizes) <= 4:
        raise Refusal(f"needs one to four sizes, not {len(sizes)}")
    return KINDS[axes or ("C", *MAPS.values())[len(sizes) - 1]](sizes)


def axes_of(letters: Collection[str]) -> str:
    """Return the axes with these letters, in PyTorch's order, channels first. Raises Refusal if no shape has them."""
    for letter in letters:
        if letter not in AXES:
            known = ", ".join(f"{own} ({what})" for own, what in AXES.items())
            raise Refusal(f"has no axis {letter!r}; the axes are {known}")
    found = BY_LETTERS.get("".join(sorted(letters)), "")
    if not found:
        known = "; ".join(map(", ".join, BY_LETTERS.values()))
        raise Refusal(f"cannot have the axes {', '.join(letters)} together; a shape has {known}")
    return found


def axes_last(axes: str) -> str:
    """Return these axes with the channels last, if a shape has them so."""
    last = axes.replace("C", "") + "C"
    return last if last in KINDS else axes


def in_words(axes: Sequence[str]) -> str:
    """Format axes: `C×L, C×H×W or C×D×H×W`."""
    *most, last = map(format_shape, axes)
    return f"{', '.join(most)} or {last}" if most else last


def positions(x: Shape, name: str, *counts: int) -> Sizes:
    """Return the lengths of a map, along which the operator `name` slides its window.

    Raises Refusal unless it is a map with one of these numbers of lengths; without any, with one to three.
    """
    lengths = x.lengths
    if type(x) is Map and (not counts or len(lengths) in counts):
        return lengths
    raise _refusal(name, [MAPS[count] for count in counts or MAPS], x)


def broadcast(shapes: Sequence[Shape]) -> Shape:
    """Return the shape of values computed from values of each shape: sizes of 1 are repeated, vectors at all positions.

    Raises Refusal for numbers of tokens, for other axes, and for other sizes.
    """
    largest = max(shapes, key=len)
    featured(largest)
    sizes = dict.fromkeys(largest.axes, 1)
    for shape in shapes:
        if shape.axes not in ("C", largest.axes):
            raise Refusal("branches differ in shape")
        for axis, size in zip(shape.axes, shape, strict=True):
            if every(sizes[axis] == 1):
                sizes[axis] = size
            elif not every(size == 1) and not every(size == sizes[axis]):
                raise Refusal("branches differ in shape")
    return type(largest)(sizes.values())


def spacious(x: Shape, name: str) -> Sizes:
    """Return the lengths of a map or of tokens. Raises Refusal for shapes without positions or channels."""
    if isinstance(x, Map | Tokens):
        lengths: Sizes = x.lengths
        return lengths
    raise _refusal(name, [*MAPS.values(), *CHANNELS_LAST.values()], x)


def permuted(x: Shape, axes: str) -> Shape:
    """Return the shape with its axes in another order. Raises Refusal unless a kind of shape has them so."""
    if sorted(axes) != sorted(x.axes) or axes not in KINDS:
        known = [kind for kind in KINDS if sorted(kind) == sorted(x.axes)]
        raise Refusal(f"permute takes {_described(x)} to {' or '.join(map(repr, known))}, not {axes!r}")
    return KINDS[axes]([x.size(axis) for axis in axes])


def keeps_order(x: Shape, dims: Sequence[int]) -> bool:
    """Whether values keep their order in memory if PyTorch's dimensions are put into this order."""
    moved = [dim for dim in dims if x[dim - 1] != 1]
    return moved == sorted(moved)


def featured(x: Shape) -> None:
    """Raise Refusal for numbers of tokens: they have no features."""
    if isinstance(x, Ids):
        raise Refusal(f"numbers of tokens have no features: {x.text}")


def dim_of_channels(x: Shape) -> int:
    """Return PyTorch's dimension of the channels, after that of the batch; of tokens the last one."""
    return -1 if isinstance(x, Tokens) else 1


def channels_first(x: Shape, name: str) -> Shape:
    """Return a vector or map. Raises Refusal for tokens: PyTorch takes the second dimension as their channels."""
    if isinstance(x, Features | Map):
        return x
    raise _refusal(name, ["C", *MAPS.values()], x)


def tokens(x: Shape, name: str) -> Tokens:
    """Return tokens × features. Raises Refusal for another kind of shape."""
    return _with_axes(x, name, "TC")


def channels_last(x: Shape, name: str) -> Tokens:
    """Return an image with its channels last. Raises Refusal for another kind of shape."""
    return _with_axes(x, name, "HWC")


def _with_axes(x: Shape, name: str, axes: str) -> Tokens:
    if isinstance(x, Tokens) and x.axes == axes:
        return x
    raise _refusal(name, [axes], x)


def _refusal(name: str, accepted: Sequence[str], x: Shape) -> Refusal:
    """Return the error for a shape with other axes than the accepted ones, and what makes those of it."""
    way = next((f"; write {WAYS[x.axes, axes]} before it" for axes in accepted if (x.axes, axes) in WAYS), "")
    if x.axes == "C" and "CL" in accepted:
        way = f"; a line of them is input: {{C: 1, L: {x.channels}}}, or reshape(C=1, L={x.channels}) before it"
    return Refusal(f"{name} accepts {in_words(accepted)}, not {_described(x)}{way}")


def _described(x: Shape) -> str:
    return f"{format_shape(x)} features" if x.axes == "C" else f"{format_shape(x)} ({format_shape(x.axes)})"
