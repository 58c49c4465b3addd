"""Read figures as papers print them, with their significant digits: `138M`, `3.8×10⁹`, `96MB`, `28×28×256`.

The significant digits of a number are:

* all, if it has a decimal part (`3.86G`), does not end in zero (`138M`) or is a small count (depth, layers, pixels);
* otherwise those before its last zeros: `650,000` has 2, `800K` 1, `150K` 2, `50×` 1, `30%` 1;
* given by `to`, if the spec has it: `150K` to `1K` has 3.

A computed number matches it in one of four ways:

* **exact**: all digits are equal, including those that are not significant;
* **rounds**: equal if rounded to the significant digits; `about 100` or `~100` may differ by 1 in the last of them;
* **truncates**: equal if cut off after the significant digits;
* **within**: on the right side of a bound, `less than 25 million` or `> 3K`.
"""

import math
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from archcalc.errors import Refusal, shorten
from archcalc.ops import Shape, format_shape
from archcalc.ops.shape import USUAL, Sizes

if TYPE_CHECKING:
    from fractions import Fraction

Exact: TypeAlias = "int | Fraction"
COUNTS = {
    "": 1, "k": 10**3, "m": 10**6, "g": 10**9, "b": 10**9, "t": 10**12,
    "thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12,
}  # fmt: skip
BYTES = {
    "": 1, "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12,
    "kib": 2**10, "mib": 2**20, "gib": 2**30, "tib": 2**40,
}  # fmt: skip
BINARY_BYTES = BYTES | {"kb": 2**10, "mb": 2**20, "gb": 2**30, "tb": 2**40}
RATIOS = {"": 1, "%": 1, "x": 1, "×": 1}
Scales: TypeAlias = Mapping[str, int]
SCALES: Mapping[str, Scales] = {"bytes": BYTES, "ratio": RATIOS}  # by the figure's unit; COUNTS for all others

EVIDENCE = 4  # fewest digits of a number that says how it was counted

BOUNDS = {"<": "<", "under": "<", "less than": "<", ">": ">", "over": ">", "more than": ">"}
ABOUT = ("about", "~", "≈", "approx.", "approximately")
_WORDS = "|".join(map(re.escape, (*BOUNDS, *ABOUT)))
_NUMBER = (  # compiled when a number is first read
    rf"(?i)({_WORDS})?\s*([0-9]{{1,3}}(?:,[0-9]{{3}}){{0,9}}|[0-9]{{1,30}})(?:\.([0-9]{{1,20}}))?"
    r"(?:(?:\s*[×x·]\s*10\^?|e\+?)([0-9]{1,2}|[⁰¹²³⁴-⁹]{1,2}))?\s*([A-Za-z%×]*)"
)
_RAISED = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹", "0123456789")
_SHAPE = r"([0-9]{1,9})@([0-9]{1,9})[×x]([0-9]{1,9})|[0-9]{1,9}(?:[×x][0-9]{1,9}){0,2}"


class Number(NamedTuple):
    """A printed number: its value and its significant digits."""

    value: Exact
    step: Exact  # the value of 1 in the last significant digit
    digits: int  # the number of significant digits
    bound: str = ""  # `<` or `>`
    about: bool = False

    @property
    def evident(self) -> bool:
        """Whether its digits are evidence alone for a way to count; with fewer, some way gives nearly every number."""
        return self.digits >= EVIDENCE and not self.bound and not self.about

    @property
    def range(self) -> tuple[float, float]:
        """The least and the most that may match it: a quick test before the exact one."""
        least, most = math.floor(self.value - self.step), math.ceil(self.value + self.step)
        return least if self.bound != "<" else -math.inf, most if self.bound != ">" else math.inf

    def verdict(self, computed: Any) -> str:
        """Return exact, rounds, truncates or within; "" if the numbers differ."""
        exact = _exact(computed)
        if self.bound:
            return "within" if (exact < self.value if self.bound == "<" else exact > self.value) else ""
        if exact == self.value:
            return "exact"
        if abs(exact - self.value) * (1 if self.about else 2) <= self.step:
            return "rounds"
        return "truncates" if 0 < exact - self.value < self.step else ""

    def by(self, computed: Any) -> float | None:
        """Return the distance of a computed number from a bound, as a fraction of it; None if this is not a bound."""
        return float(abs(_exact(computed) - self.value) / self.value) if self.bound and self.value else None


class Dimensions(NamedTuple):
    """A printed shape: channels, height and width, each None where it is not printed; a vector is 1×1."""

    channels: int | None
    height: int | None
    width: int | None

    def verdict(self, computed: Shape) -> str:
        """Return exact, or "" if a printed dimension differs."""
        if computed.axes not in USUAL:
            return ""
        own = (self.channels, 1, 1) if self.height is None else self
        pairs = zip(own, _three(computed), strict=True)
        return "exact" if all(printed in (None, dimension) for printed, dimension in pairs) else ""

    def show(self, computed: Shape) -> str:
        """Format a shape in the order of papers, 28×28×256, or only the compared part of it: 28×28 or 256."""
        if computed.axes not in USUAL:
            return format_shape(computed)
        channels, height, width = _three(computed)
        size = [height, width] if self.height is not None or (height, width) != (1, 1) else []
        return format_shape([*size, channels] if self.channels is not None else size)


def _three(shape: Shape) -> Sizes:
    return (shape.channels, *(shape.lengths or (1, 1)))


def read_number(text: str, scales: Scales = COUNTS, to: str = "", small: bool = False) -> Number:
    """Read a number; `scales` has its possible units: COUNTS, BYTES or RATIOS.

    `to` is what the number is rounded to, if given; all digits of a `small` count are significant. Raises Refusal.
    """
    match = re.fullmatch(_NUMBER, text.strip())
    if match is None or match[5].lower() not in scales or re.search("[KMGT]i?b$", match[5]):
        example = next(e for unit, e in _EXAMPLES.items() if unit in scales)
        raise Refusal(f"cannot read the number {shorten(text)!r}; write {example}")
    word, whole, decimals = (match[1] or "").lower(), match[2].replace(",", ""), match[3] or ""
    power = int((match[4] or "0").translate(_RAISED)) - len(decimals) - 2 * (match[5] == "%")
    unit, about = scales[match[5].lower()], word in ABOUT
    value = _exact(int(whole + decimals) * unit, power)
    step = _exact(unit if decimals or (small and not about) else unit * 10 ** _zeros(whole), power)
    if to:
        step = _rounded_to(text, value, read_number(to, scales).value, word)
    return Number(value, step, len(str(value // step)), BOUNDS.get(word, ""), about)


def _exact(number: Any, power: int = 0) -> Any:
    """Return number·10^power: a fraction only where it is no whole number, since their module takes 2 ms to import."""
    if type(number) is int and (power >= 0 or not number % 10**-power):
        return number * 10**power if power >= 0 else number // 10**-power
    from fractions import Fraction

    return Fraction(number) * Fraction(10) ** power


def read_amount(text: str, unit: str) -> Exact:
    """Read what someone asks for of a figure with this unit: `5M`, of bytes `16GiB`. Raises Refusal."""
    number = read_number(text, SCALES.get(unit, COUNTS))
    if number.bound or number.about:
        raise Refusal(f"{shorten(text)!r} is not one number; write it alone")
    return number.value


def _zeros(whole: str) -> int:
    """Return the number of zeros at the end of a whole number; 0 itself has none."""
    return len(whole) - len(whole.rstrip("0")) if whole.strip("0") else 0


def _rounded_to(text: str, value: Exact, step: Exact, word: str) -> Exact:
    if word in BOUNDS:
        raise Refusal(f"{shorten(text)!r} is a bound, not a rounded number: remove `to`")
    if not step or value % step:
        raise Refusal(f"{shorten(text)!r} is not a multiple of its `to`")
    return step


_EXAMPLES = {
    "mb": "96MB, 58.1 MiB or 896 B",
    "%": "28%, 2.5× or 0.33",
    "million": "138M, 60 million, 3.8 billion or 340,908",
}


def read_dimensions(text: str) -> Dimensions:
    """Read `28×28×256` (height, width, channels), `28×28`, `6@28×28` or `4096`. Raises Refusal."""
    match = re.fullmatch(_SHAPE, text.strip())
    if match is None:
        hint = "write 28×28×256 (height, width, channels), 28×28, 6@28×28 or 4096"
        raise Refusal(f"cannot read the printed shape {shorten(text)!r}; {hint}")
    if match[1]:
        return Dimensions(*(int(size) for size in match.groups()))
    sizes = [int(size) for size in re.split("[×x]", match[0])]
    if len(sizes) == 1:
        return Dimensions(sizes[0], None, None)
    return Dimensions(sizes[2] if len(sizes) == 3 else None, sizes[0], sizes[1])
