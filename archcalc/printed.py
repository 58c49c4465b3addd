"""Figures as papers print them, read with the precision they have: `138M`, `60 million`, `96MB`, `28%`, `28×28×256`.

A printed number is held against an exact one; these outcomes count as reproduced:

* **exact**: equal to the last digit;
* **rounds**: equal at the printed precision;
* **truncates**: equal when the further digits are cut off;
* **within**: of a printed bound, as `< 25 million`: below it (or above, for `>`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from fractions import Fraction
from typing import Any, NamedTuple, TypeAlias

from archcalc.errors import shorten
from archcalc.ops import Shape, format_shape

COUNTS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "b": 10**9, "thousand": 10**3, "million": 10**6, "billion": 10**9}
BYTES = {"": 1, "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "kib": 2**10, "mib": 2**20, "gib": 2**30}
BINARY_BYTES = BYTES | {"kb": 2**10, "mb": 2**20, "gb": 2**30}
RATIOS = {"": Fraction(1), "%": Fraction(1, 100), "x": Fraction(1), "×": Fraction(1)}
Scales: TypeAlias = Mapping[str, int] | Mapping[str, Fraction]

_NUMBER = re.compile(r"([<>]?)\s*([0-9]{1,3}(?:,[0-9]{3}){0,9}|[0-9]{1,30})(?:\.([0-9]{1,20}))?\s*([A-Za-z%×]*)")
_SHAPE = re.compile(r"([0-9]{1,9})@([0-9]{1,9})[×x]([0-9]{1,9})|[0-9]{1,9}(?:[×x][0-9]{1,9}){0,2}")


class Number(NamedTuple):
    """A printed number, the place value of its last digit, and `<` or `>` where it is a bound."""

    value: Fraction
    step: Fraction
    bound: str = ""

    def verdict(self, computed: Any) -> str:
        """exact, rounds, truncates or within; "" where they differ."""
        exact = Fraction(computed)
        if self.bound:
            return "within" if (exact < self.value if self.bound == "<" else exact > self.value) else ""
        if exact == self.value:
            return "exact"
        if abs(exact - self.value) * 2 <= self.step:
            return "rounds"
        return "truncates" if 0 < exact - self.value < self.step else ""


class Dimensions(NamedTuple):
    """A printed shape: channels, height and width, each None where it is not printed; a vector is 1×1."""

    channels: int | None
    height: int | None
    width: int | None

    def verdict(self, computed: Shape) -> str:
        """exact, or "" where what is printed differs."""
        if len(computed) not in (1, 3):
            return ""
        own = self._own()
        pairs = zip(own, _three(computed), strict=True)
        return "exact" if all(printed in (None, dimension) for printed, dimension in pairs) else ""

    def show(self, computed: Shape) -> str:
        """A shape in the order papers print: 28×28×256, or 28×28 or 256 where that is all there is to compare."""
        if len(computed) not in (1, 3):
            return format_shape(computed)
        channels, height, width = _three(computed)
        places = [height, width] if self.height is not None or (height, width) != (1, 1) else []
        return format_shape([*places, channels] if self.channels is not None else places)

    def _own(self) -> tuple[int | None, ...]:
        return (self.channels, 1, 1) if self.height is None else self


def _three(shape: Shape) -> Shape:
    return shape if len(shape) == 3 else (shape[0], 1, 1)


def read_number(text: str, scales: Scales = COUNTS, to: str = "") -> Number:
    """A number with its unit among `scales`: COUNTS, BYTES or RATIOS; `to` is what it is rounded to, if that is said.

    Raises ValueError.
    """
    match = _NUMBER.fullmatch(text.strip())
    if match is None or match[4].lower() not in scales or re.search("[kKmMgG]i?b$", match[4]):
        example = next(e for unit, e in _EXAMPLES.items() if unit in scales)
        raise ValueError(f"cannot read the printed figure {shorten(text)!r}; write {example}")
    decimals = match[3] or ""
    step = Fraction(scales[match[4].lower()], 10 ** len(decimals))
    value = int(match[2].replace(",", "") + decimals) * step
    return Number(value, read_number(to, scales).value if to else step, match[1])


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
    if match[1]:
        return Dimensions(*(int(size) for size in match.groups()))
    sizes = [int(size) for size in re.split("[×x]", match[0])]
    if len(sizes) == 1:
        return Dimensions(sizes[0], None, None)
    return Dimensions(sizes[2] if len(sizes) == 3 else None, sizes[0], sizes[1])
