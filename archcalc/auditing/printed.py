"""Figures as papers print them, read with the digits that count: `138M`, `800K`, `~10 million`, `96MB`, `28×28×256`.

Which digits of a number count:

* all, where it has a decimal part (`3.86G`), ends in no zero (`138M`) or is a small count (depth, layers, pixels);
* else those before its last zeros: `650,000` has 2, `800K` 1, `150K` 2, `50×` 1, `30%` 1;
* as `to` says, where the spec has it: `150K` to `1K` has 3.

A computed number agrees with it in one of four ways:

* **exact**: every digit is the same, those that do not count too;
* **rounds**: equal when rounded to the digits that count; of `about 100` or `~100`: at most 1 off in the last of them;
* **truncates**: equal when cut to the digits that count;
* **within**: on the right side of a bound, `less than 25 million` or `> 3K`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from fractions import Fraction
from typing import Any, NamedTuple, TypeAlias

from archcalc.errors import Refusal, shorten
from archcalc.ops import Shape, format_shape

COUNTS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "b": 10**9, "thousand": 10**3, "million": 10**6, "billion": 10**9}
BYTES = {"": 1, "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "kib": 2**10, "mib": 2**20, "gib": 2**30}
BINARY_BYTES = BYTES | {"kb": 2**10, "mb": 2**20, "gb": 2**30}
RATIOS = {"": Fraction(1), "%": Fraction(1, 100), "x": Fraction(1), "×": Fraction(1)}
Scales: TypeAlias = Mapping[str, int] | Mapping[str, Fraction]
SCALES: Mapping[str, Scales] = {"bytes": BYTES, "ratio": RATIOS}  # by the figure's unit; COUNTS for all others

BOUNDS = {"<": "<", "under": "<", "less than": "<", ">": ">", "over": ">", "more than": ">"}
ABOUT = ("about", "~", "≈", "approx.", "approximately")
_WORDS = "|".join(map(re.escape, (*BOUNDS, *ABOUT)))
_NUMBER = re.compile(
    rf"({_WORDS})?\s*([0-9]{{1,3}}(?:,[0-9]{{3}}){{0,9}}|[0-9]{{1,30}})(?:\.([0-9]{{1,20}}))?\s*([A-Za-z%×]*)",
    re.IGNORECASE,
)
_SHAPE = re.compile(r"([0-9]{1,9})@([0-9]{1,9})[×x]([0-9]{1,9})|[0-9]{1,9}(?:[×x][0-9]{1,9}){0,2}")


class Number(NamedTuple):
    """A printed number: its value, and the digits of it that count."""

    value: Fraction
    step: Fraction  # the place value of the last digit that counts
    digits: int  # how many digits count
    bound: str = ""  # `<` or `>`
    about: bool = False

    def verdict(self, computed: Any) -> str:
        """exact, rounds, truncates or within; "" where they differ."""
        exact = Fraction(computed)
        if self.bound:
            return "within" if (exact < self.value if self.bound == "<" else exact > self.value) else ""
        if exact == self.value:
            return "exact"
        if abs(exact - self.value) * (1 if self.about else 2) <= self.step:
            return "rounds"
        return "truncates" if 0 < exact - self.value < self.step else ""

    def by(self, computed: Any) -> float | None:
        """How far a computed number is from a bound, as a part of the bound; None for a number that is no bound."""
        return float(abs(Fraction(computed) - self.value) / self.value) if self.bound and self.value else None


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


def read_number(text: str, scales: Scales = COUNTS, to: str = "", small: bool = False) -> Number:
    """A number with its unit among `scales`: COUNTS, BYTES or RATIOS.

    `to` is what it is rounded to, if that is said; of a `small` count all digits count. Raises Refusal.
    """
    match = _NUMBER.fullmatch(text.strip())
    if match is None or match[4].lower() not in scales or re.search("[kKmMgG]i?b$", match[4]):
        example = next(e for unit, e in _EXAMPLES.items() if unit in scales)
        raise Refusal(f"cannot read the printed figure {shorten(text)!r}; write {example}")
    word, whole, decimals = (match[1] or "").lower(), match[2].replace(",", ""), match[3] or ""
    unit = Fraction(scales[match[4].lower()], 10 ** len(decimals))
    value, about = int(whole + decimals) * unit, word in ABOUT
    step = unit * (1 if decimals or (small and not about) else 10 ** _zeros(whole))
    if to:
        step = _rounded_to(text, value, read_number(to, scales).value, word)
    return Number(value, step, len(str(value // step)), BOUNDS.get(word, ""), about)


def _zeros(whole: str) -> int:
    """How many zeros a whole number ends in; 0 of itself counts as a digit."""
    return len(whole) - len(whole.rstrip("0")) if whole.strip("0") else 0


def _rounded_to(text: str, value: Fraction, step: Fraction, word: str) -> Fraction:
    if word in BOUNDS:
        raise Refusal(f"{shorten(text)!r} is a bound, which is not rounded: leave out `to`")
    if not step or value % step:
        raise Refusal(f"{shorten(text)!r} is no multiple of what `to` says it is rounded to")
    return step


_EXAMPLES = {
    "mb": "96MB, 58.1 MiB or 896 B",
    "%": "28%, 2.5× or 0.33",
    "million": "138M, 60 million, 3.8 billion or 340,908",
}


def read_dimensions(text: str) -> Dimensions:
    """`28×28×256` (height, width, channels), `28×28`, `6@28×28` or `4096`. Raises Refusal."""
    match = _SHAPE.fullmatch(text.strip())
    if match is None:
        hint = "write 28×28×256 (height, width, channels), 28×28, 6@28×28 or 4096"
        raise Refusal(f"cannot read the printed shape {shorten(text)!r}; {hint}")
    if match[1]:
        return Dimensions(*(int(size) for size in match.groups()))
    sizes = [int(size) for size in re.split("[×x]", match[0])]
    if len(sizes) == 1:
        return Dimensions(sizes[0], None, None)
    return Dimensions(sizes[2] if len(sizes) == 3 else None, sizes[0], sizes[1])
