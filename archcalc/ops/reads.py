"""Which positions of the input one output position reads, on one axis, such as height or width.

`Operator.window` returns one of these rules for each axis. `at(i)` returns the positions that output i reads: evenly
spaced, some perhaps outside the input. The rules hold for axes without ends and are periodic: output i + `period` reads
the positions of output i plus `advance`. Ceil mode, output padding and the input's size only decide how many outputs
there are. `Wrapped` and `Piece` depend on the ends, so they have no period. `Rearranged` is a rule for all axes.
"""

from collections.abc import Iterable, Sequence
from math import gcd, prod
from typing import NamedTuple, TypeAlias


def span_of(kernel: int, dilation: int) -> int:
    """Return the length of a window from its first to its last position."""
    return kernel if dilation == 1 else dilation * (kernel - 1) + 1


class Window(NamedTuple):
    """A sliding window: output i reads `kernel` positions from i·stride − padding on, `dilation` apart."""

    kernel: int = 1
    stride: int = 1
    padding: int = 0
    dilation: int = 1

    @property
    def span(self) -> int:
        """Length from the first to the last position, both included."""
        return span_of(self.kernel, self.dilation)

    @property
    def period(self) -> int:
        return 1

    @property
    def advance(self) -> int:
        return self.stride

    def at(self, i: int) -> range:
        start = i * self.stride - self.padding
        return range(start, start + self.span, self.dilation)


class Transposed(NamedTuple):
    """A transposed convolution: output i reads the integers among (i + padding − dilation·t) / stride, t < kernel.

    If the kernel is smaller than the stride, some outputs read nothing.
    """

    kernel: int
    stride: int = 1
    padding: int = 0
    dilation: int = 1

    @property
    def period(self) -> int:
        return self.stride

    @property
    def advance(self) -> int:
        return 1

    def at(self, i: int) -> range:
        """The positions of every (stride/g)-th tap t from the first that divides; g = gcd(stride, dilation)."""
        common, place = gcd(self.stride, self.dilation), i + self.padding
        taps, step = self.stride // common, self.dilation // common
        first = place // common * pow(step, -1, taps) % taps
        if place % common or first >= self.kernel:
            return range(0)
        reads = (self.kernel - 1 - first) // taps + 1
        last = (place - self.dilation * first) // self.stride
        return range(last - (reads - 1) * step, last + 1, step)


class Blocks(NamedTuple):
    """Blocks of `size` positions, the first of which starts at `start`: output i reads all positions of its block."""

    size: int
    start: int = 0

    @property
    def period(self) -> int:
        return self.size

    @property
    def advance(self) -> int:
        return self.size

    def at(self, i: int) -> range:
        first = i - (i - self.start) % self.size
        return range(first, first + self.size)


class Resampled(NamedTuple):
    """A rule that maps `length` positions to `target` positions."""

    length: int
    target: int

    @property
    def period(self) -> int:
        return self.target // gcd(self.length, self.target)

    @property
    def advance(self) -> int:
        return self.length // gcd(self.length, self.target)


class Nearest(Resampled):
    """Nearest neighbour: output i reads ⌊i·length/target⌋."""

    def at(self, i: int) -> range:
        place = i * self.length // self.target
        return range(place, place + 1)


class NearestExact(Resampled):
    """Nearest neighbour by the middle of positions: output i reads ⌊(i + ½)·length/target⌋."""

    def at(self, i: int) -> range:
        place = (2 * i + 1) * self.length // (2 * self.target)
        return range(place, place + 1)


class Bilinear(Resampled):
    """Linear interpolation: output i lies at (i + ½)·length/target − ½ and reads the positions on both sides.

    If it lies exactly on a position, it reads only that one.
    """

    def at(self, i: int) -> range:
        place = (2 * i + 1) * self.length - self.target  # over 2·target
        below, rest = divmod(place, 2 * self.target)
        return range(below, below + (2 if rest else 1))


class Aligned(Resampled):
    """Linear interpolation with aligned corners: output i lies at i·(length − 1)/(target − 1).

    `length` and `target` are one less than the numbers of positions; a single output lies at 0.
    """

    def at(self, i: int) -> range:
        below, rest = divmod(i * self.length, self.target)
        return range(below, below + (2 if rest else 1))


class Cubic(NamedTuple):
    """Cubic interpolation: where linear interpolation reads two positions, it reads one more on each side."""

    linear: Bilinear | Aligned

    @property
    def period(self) -> int:
        return self.linear.period

    @property
    def advance(self) -> int:
        return self.linear.advance

    def at(self, i: int) -> range:
        near = self.linear.at(i)
        return range(near.start - 1, near.stop + 1) if len(near) > 1 else near


class AdaptiveWindow(Resampled):
    """Adaptive pooling to `target` outputs: output i reads from ⌊i·length/target⌋ to ⌈(i + 1)·length/target⌉ − 1."""

    def at(self, i: int) -> range:
        return range(i * self.length // self.target, -(-(i + 1) * self.length // self.target))


class Wrapped(NamedTuple):
    """A window whose positions outside the input are read inside: `mode` is reflect, replicate or circular."""

    kernel: int
    stride: int
    padding: int
    dilation: int
    length: int
    mode: str

    def at(self, i: int) -> Sequence[int]:
        window = Window(self.kernel, self.stride, self.padding, self.dilation)
        return sorted({self._inside(j) for j in window.at(i)})

    def _inside(self, j: int) -> int:
        last = self.length - 1
        if self.mode == "circular":
            return j % self.length
        return max(0, min(j, last)) if self.mode == "replicate" else last - abs(last - abs(j))


class Piece(NamedTuple):
    """A part of a concatenation: its `length` positions are the outputs from `start` on."""

    start: int
    length: int

    def at(self, i: int) -> range:
        return range(i - self.start, i - self.start + (0 <= i - self.start < self.length))


class Rearranged(NamedTuple):
    """Values in their order in memory, as a shape with other lengths; positions are numbered in this order.

    `channels` are those of both shapes; `last` says of each whether they are its last axis, not the first.
    """

    before: Sequence[int]
    after: Sequence[int]
    channels: tuple[int, int]
    last: tuple[bool, bool]

    def at(self, i: int) -> Iterable[int]:
        places, made = prod(self.before), prod(self.after)
        old, new = self.channels
        if self.last == (True, True):
            return range(i * new // old, -(-(i + 1) * new // old))
        if self.last == (False, False):
            common = gcd(places, made)
            return range(i % common, places, common)
        values = range(i * new, (i + 1) * new) if self.last[1] else range(i, new * made, made)
        return {value // old if self.last[0] else value % places for value in values}


class Whole(NamedTuple):
    """Every output reads the whole axis; with `itself` its own position directly, and all others through statistics."""

    itself: bool = False


Endless: TypeAlias = Window | Transposed | Blocks | Nearest | NearestExact | Bilinear | Aligned | Cubic | AdaptiveWindow
Reads: TypeAlias = Endless | Wrapped | Piece
Axis: TypeAlias = Reads | Whole | Rearranged

EACH = Window()  # each output reads its own position
ALL, EACH_AND_ALL = Whole(), Whole(itself=True)
