"""Figures as papers print them, read with the precision they have: `138M`, `60 million`, `96MB`, `28%`, `28×28×256`.

A printed number is held against an exact one with three outcomes that count as reproduced:

* **exact**: equal to the last digit;
* **rounds**: equal at the printed precision;
* **truncates**: equal when the further digits are cut off.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from fractions import Fraction
from typing import Any, NamedTuple, TypeAlias

from archcalc.errors import shorten
from archcalc.ops import Shape

_THOUSANDS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "b": 10**9}
COUNTS = _THOUSANDS | {"thousand": 10**3, "million": 10**6, "billion": 10**9}
BYTES = {"": 1, "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "kib": 2**10, "mib": 2**20, "gib": 2**30}
BINARY_BYTES = BYTES | {"kb": 2**10, "mb": 2**20, "gb": 2**30}
RATIOS = {"": Fraction(1), "%": Fraction(1, 100), "x": Fraction(1), "×": Fraction(1)}
Scales: TypeAlias = Mapping[str, int] | Mapping[str, Fraction]

_NUMBER = re.compile(r"([0-9][0-9,]{0,30})(?:\.([0-9]{1,20}))?\s*([A-Za-z%×]*)")
_SHAPE = re.compile(r"(?:([0-9]{1,9})@)?([0-9]{1,9}(?:[×x][0-9]{1,9}){0,2})")


class Number(NamedTuple):
    """A printed number and the place value of its last digit."""

    value: Fraction
    step: Fraction

    def verdict(self, computed: Any) -> str:
        """exact, rounds or truncates; "" where they differ."""
        exact = Fraction(computed)
        if exact == self.value:
            return "exact"
        if self.value and abs(exact - self.value) * 2 <= self.step:
            return "rounds"
        return "truncates" if self.value and 0 < exact - self.value < self.step else ""


class Dimensions(NamedTuple):
    """A printed shape: channels, height and width, each None where it is not printed."""

    channels: int | None
    height: int | None
    width: int | None

    def verdict(self, computed: Shape) -> str:
        """exact, or "" where what is printed differs. A vector is 1×1."""
        pairs = zip(self, self._of(computed), strict=True)
        return "exact" if all(printed in (None, dimension) for printed, dimension in pairs) else ""

    def show(self, computed: Shape) -> str:
        """A shape in the order papers print: 28×28×256, or 28×28 where only that is printed."""
        channels, height, width = self._of(computed)
        parts = [height, width] * (self.height is not None) + [channels] * (self.channels is not None)
        return "×".join(str(part) for part in parts)

    @staticmethod
    def _of(shape: Shape) -> Shape:
        return shape if len(shape) == 3 else (shape[0], 1, 1)


def read_number(text: str, scales: Scales = COUNTS) -> Number:
    """A number with its unit among `scales`: COUNTS, BYTES or RATIOS. Raises ValueError."""
    match = _NUMBER.fullmatch(text.strip())
    if match is None or match[3].lower() not in scales:
        example = next(e for unit, e in _EXAMPLES.items() if unit in scales)
        raise ValueError(f"cannot read the printed figure {shorten(text)!r}; write {example}")
    decimals = match[2] or ""
    step = Fraction(scales[match[3].lower()], 10 ** len(decimals))
    return Number(int(match[1].replace(",", "") + decimals) * step, step)


_EXAMPLES = {
    "mb": "96MB, 58.1 MiB or 896 B",
    "%": "28%, 2.5× or 0.33",
    "million": "138M, 60 million, 3.8 billion or 340,908",
}


def read_dimensions(text: str) -> Dimensions:
    """`28×28×256` (height, width, channels), `28×28`, `6@28×28` or `4096`. Raises ValueError."""
    match = _SHAPE.fullmatch(text.strip())
    if match is None:
        hint = "write 28×28×256 (height, width, channels), 28×28, 6@28×28 or 4096"
        raise ValueError(f"cannot read the printed shape {shorten(text)!r}; {hint}")
    sizes = [int(size) for size in re.split("[×x]", match[2])]
    channels = [int(match[1])] if match[1] else []
    if len(sizes) == 2:
        return Dimensions(channels[0] if channels else None, *sizes)
    if channels or len(sizes) == 3:
        height, width, channel = (*sizes, *channels) if len(sizes) == 2 else (*sizes[:2], sizes[-1])
        return Dimensions(channel, height, width)
    return Dimensions(sizes[0], None, None)
