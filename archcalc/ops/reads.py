"""Which positions of the input one output position reads, on one axis, such as height or width.

`Operator.window` returns one of these rules for each axis. `at(i)` returns the positions that output i reads: evenly
spaced, some perhaps outside the input. The rules hold for axes without ends and are periodic: output i + `period` reads
the positions of output i plus `advance`. Ceil mode, output padding and the input's size only decide how many outputs
there are.
"""

from __future__ import annotations

from math import gcd
from typing import NamedTuple, TypeAlias


class Window(NamedTuple):
    """A sliding window: output i reads `kernel` positions from i·stride − padding on, `dilation` apart."""

    kernel: int = 1
    stride: int = 1
    padding: int = 0
    dilation: int = 1

    @property
    def span(self) -> int:
        """Length from the first to the last position, both included."""
        return self.dilation * (self.kernel - 1) + 1

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


class Bilinear(Resampled):
    """Linear interpolation: output i lies at (i + ½)·length/target − ½ and reads the positions on both sides.

    If it lies exactly on a position, it reads only that one.
    """

    def at(self, i: int) -> range:
        place = (2 * i + 1) * self.length - self.target  # over 2·target
        below, rest = divmod(place, 2 * self.target)
        return range(below, below + (2 if rest else 1))


class AdaptiveWindow(Resampled):
    """Adaptive pooling to `target` outputs: output i reads from ⌊i·length/target⌋ to ⌈(i + 1)·length/target⌉ − 1."""

    def at(self, i: int) -> range:
        return range(i * self.length // self.target, -(-(i + 1) * self.length // self.target))


class Whole(NamedTuple):
    """Every output reads the whole axis; with `itself` its own position directly, and all others through statistics."""

    itself: bool = False


Reads: TypeAlias = Window | Transposed | Blocks | Nearest | Bilinear | AdaptiveWindow
Axis: TypeAlias = Reads | Whole

EACH = Window()  # each output reads its own position
ALL, EACH_AND_ALL = Whole(), Whole(itself=True)
