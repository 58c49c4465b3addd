"""Which positions of its input one output position reads, on one axis (height or width).

An operator's `window` gives one of these per axis. `at(i)` is what output i reads: evenly spaced positions, some
perhaps outside the input. It is a rule for endless axes that repeats: `period` outputs on, everything is `advance`
inputs further. Ceil mode, output padding and the size of the input only decide how many outputs there are.
"""

from __future__ import annotations

from math import gcd
from typing import NamedTuple, TypeAlias


class Window(NamedTuple):
    """A sliding window: output i reads `kernel` positions, each `dilation` after the last, from i·stride − padding."""

    kernel: int = 1
    stride: int = 1
    padding: int = 0
    dilation: int = 1

    @property
    def span(self) -> int:
        """From the first to the last position read, both included."""
        return self.dilation * (self.kernel - 1) + 1

    @property
    def period(self) -> int:
        """All outputs are alike."""
        return 1

    @property
    def advance(self) -> int:
        """The stride."""
        return self.stride

    def at(self, i: int) -> range:
        """The window."""
        start = i * self.stride - self.padding
        return range(start, start + self.span, self.dilation)


class Transposed(NamedTuple):
    """A transposed convolution: output i reads the whole numbers among (i + padding − dilation·t) / stride, t < kernel.

    There are none for some outputs where the kernel is smaller than the stride.
    """

    kernel: int
    stride: int = 1
    padding: int = 0
    dilation: int = 1

    @property
    def period(self) -> int:
        """The stride."""
        return self.stride

    @property
    def advance(self) -> int:
        """One input in so many outputs."""
        return 1

    def at(self, i: int) -> range:
        """Every (stride/g)-th tap from the first that divides, g = gcd(stride, dilation); later taps read earlier."""
        common, place = gcd(self.stride, self.dilation), i + self.padding
        taps, step = self.stride // common, self.dilation // common
        first = place // common * pow(step, -1, taps) % taps
        if place % common or first >= self.kernel:
            return range(0)
        reads = (self.kernel - 1 - first) // taps + 1
        last = (place - self.dilation * first) // self.stride
        return range(last - (reads - 1) * step, last + 1, step)


class Resampled(NamedTuple):
    """From `length` to `target` positions."""

    length: int
    target: int

    @property
    def period(self) -> int:
        """The target's size over the common divisor."""
        return self.target // gcd(self.length, self.target)

    @property
    def advance(self) -> int:
        """The input's size over the common divisor."""
        return self.length // gcd(self.length, self.target)


class Nearest(Resampled):
    """Nearest neighbour: output i reads ⌊i·length/target⌋."""

    def at(self, i: int) -> range:
        """One position."""
        place = i * self.length // self.target
        return range(place, place + 1)


class Bilinear(Resampled):
    """Linear interpolation: output i lies at (i + ½)·length/target − ½ and reads the positions on either side.

    Where it lies on a position, it reads that one alone.
    """

    def at(self, i: int) -> range:
        """One or two positions."""
        place = (2 * i + 1) * self.length - self.target  # over 2·target
        below, rest = divmod(place, 2 * self.target)
        return range(below, below + (2 if rest else 1))


class AdaptiveWindow(Resampled):
    """Adaptive pooling to `target` outputs: output i reads from ⌊i·length/target⌋ to ⌈(i + 1)·length/target⌉ − 1."""

    def at(self, i: int) -> range:
        """A stretch."""
        return range(i * self.length // self.target, -(-(i + 1) * self.length // self.target))


class Whole(NamedTuple):
    """Every output reads the whole axis; with `itself`, its own position directly and all through statistics."""

    itself: bool = False


Reads: TypeAlias = Window | Transposed | Nearest | Bilinear | AdaptiveWindow
Axis: TypeAlias = Reads | Whole

EACH = Window()
POINT = (EACH, EACH)  # hands on what is there
ALL, EACH_AND_ALL = Whole(), Whole(itself=True)
