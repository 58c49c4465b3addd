"""Types of operator arguments, and the rules that read them.

The annotation of an operator's field is one of these names; `read` checks a written value by the rule of that name.
A rule returns the value as the operator stores it, or raises `Refusal` with what the argument needs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from operator import eq, index
from typing import Any, Literal, TypeAlias

from archcalc.errors import Refusal
from archcalc.ops.symbols import Formula

MAX_LENGTH = 2**20  # largest kernel, stride, padding or size in an argument
PADDINGS = ("same", "SAME", "causal")
LISTS = {1: "[length]", 2: "[height, width]", 3: "[depth, height, width]"}  # how to write one number per axis

Positive: TypeAlias = int  # 1, 2, …
Index: TypeAlias = int  # 0, 1, …
Real: TypeAlias = float
PositiveReal: TypeAlias = float  # above 0
Probability: TypeAlias = float  # in [0, 1]
Flag: TypeAlias = bool
Sides: TypeAlias = tuple[int, ...]  # one number per axis, such as height and width; one number stands for all
Size: TypeAlias = tuple[int, ...]  # like Sides, or a list of one number, where PyTorch accepts that
Margin: TypeAlias = tuple[int, ...]  # like Size, zero allowed
Pairs: TypeAlias = tuple[tuple[int, int], ...]  # numbers before and after, per axis
Borders: TypeAlias = tuple[int, ...] | Pairs  # like Margin, or pairs; below zero they cut off
Padding: TypeAlias = Borders | Literal["same", "SAME", "causal"]
Shifts: TypeAlias = tuple[int, ...]  # one number per axis, of any sign
Scales: TypeAlias = tuple[float, ...]  # one number above 0 per axis
Connections: TypeAlias = tuple[tuple[int, ...], ...]  # for each output channel the input channels that it reads
Extent: TypeAlias = tuple[int, ...]  # the trailing dimensions of a shape
Dimension: TypeAlias = int  # 1, 2, …, or −1 for what is left
Place: TypeAlias = int  # of any sign, as Python's
Letters: TypeAlias = str  # axes, such as "HWC"
Interpolation: TypeAlias = Literal["nearest", "nearest-exact", "linear", "bilinear", "trilinear", "bicubic"]
PaddingMode: TypeAlias = Literal["zeros", "reflect", "replicate", "circular"]
Border: TypeAlias = Literal["constant", "reflect", "replicate", "circular"]
Approximation: TypeAlias = Literal["none", "tanh"]
Nonlinearity: TypeAlias = Literal["tanh", "relu"]


def show(value: object) -> str:
    """`value` as a spec writes it, shortened."""
    if isinstance(value, tuple):
        text = "[" + ", ".join(show(item) for item in value[:9]) + (", …]" if len(value) > 9 else "]")
    elif isinstance(value, str):
        text = repr(value[:60])
    else:
        text = str(value)
    return text if len(text) <= 60 else text[:59] + "…"


def plain(value: Any) -> Any:
    """Convert NumPy numbers and arrays to Python's; return other values unchanged."""
    if isinstance(value, Formula):
        return value
    value = value.tolist() if hasattr(value, "tolist") else value
    return index(value) if hasattr(value, "__index__") and not isinstance(value, bool) else value


def format_shape(shape: Sequence[Any]) -> str:
    """`64×56×56`."""
    return "×".join(str(dim) for dim in shape)


def whole(value: object, least: int) -> int:
    """Check for an integer of at least `least`."""
    if type(value) is not int and not isinstance(value, Formula):
        hint = "; // divides and rounds down" if isinstance(value, float) and value > 1 else ""
        hint = f"; write padding={value!r}" if value in PADDINGS else hint
        raise Refusal(f"needs a whole number, not {show(value)}{hint}")
    if value < least:
        raise Refusal(f"needs a whole number of at least {least}, not {value}")
    return value  # type: ignore[return-value]  # a formula has an integer's arithmetic


def per_axis(value: object, axes: int, least: int) -> tuple[int, ...]:
    """Read one integer per axis, or one for all, none above MAX_LENGTH."""
    return each_axis(value, axes, partial(whole, least=least))


def each_axis(value: object, axes: int, rule: Callable[[object], Any]) -> tuple[Any, ...]:
    """Read one number per axis, or one for all, none above MAX_LENGTH."""
    if isinstance(value, tuple) and len(value) != axes:
        raise Refusal(f"needs one number or {LISTS[axes]}, not {show(value)}")
    numbers = tuple([rule(item) for item in value]) if isinstance(value, tuple) else (rule(value),)
    if max(numbers) > MAX_LENGTH:
        raise Refusal(f"must be at most {MAX_LENGTH:,}, not {show(value)}")
    return numbers if len(numbers) == axes else numbers * axes


def only(value: object) -> object:
    """Return the item of a list of one; other values unchanged."""
    return value[0] if isinstance(value, tuple) and len(value) == 1 else value


def padding(value: object, axes: int) -> tuple[Any, ...] | str:
    """Read margins, pairs of margins, or a word."""
    if value in PADDINGS:
        return str(value)
    if isinstance(value, str):
        hint = "; 'valid' is 0" if value == "valid" else ""
        raise Refusal(f"needs a number, {LISTS[axes]} or 'same', not {show(value)}{hint}")
    return borders(value, axes, 0)


def borders(value: object, axes: int, least: int = -MAX_LENGTH) -> tuple[Any, ...]:
    """Read one integer per axis, or pairs before and after it."""
    if not isinstance(value, tuple) or not any(isinstance(pair, tuple) for pair in value):
        if isinstance(value, tuple) and len(value) == 2 * axes:
            raise Refusal(f"needs a pair [before, after] for each of {LISTS[axes]}, not {show(value)}")
        return per_axis(only(value), axes, least)
    if len(value) not in (1, axes) or not all(isinstance(pair, tuple) and len(pair) == 2 for pair in value):
        raise Refusal(f"needs a pair [before, after] for each of {LISTS[axes]}, not {show(value)}")
    return tuple([per_axis(pair, 2, least) for pair in value]) * (axes // len(value))


def dimension(value: object) -> int:
    """Check for an integer of at least 1, or −1."""
    return -1 if value == -1 else whole(value, 1)


def letters(value: object) -> str:
    """Check for letters of axes."""
    if isinstance(value, str) and 1 <= len(value) <= 4:
        return value
    raise Refusal(f"needs letters of axes such as 'C' or 'HWC', not {show(value)}")


def real(value: object) -> float:
    """Check for a number."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise Refusal(f"needs a number, not {show(value)}")
    return value


def positive_real(value: object) -> float:
    """Check for a number > 0."""
    number = real(value)
    if not number > 0:
        raise Refusal(f"needs a number above 0, not {show(value)}")
    return number


def probability(value: object) -> float:
    """Check for a number from 0 to 1."""
    number = real(value)
    if not 0 <= number <= 1:
        raise Refusal(f"needs a probability from 0 to 1, not {show(value)}")
    return number


def flag(value: object) -> bool:
    """Check for True or False."""
    if not isinstance(value, bool):
        hint = "; leave out the size of the input" if isinstance(value, int) and value > 1 else ""
        raise Refusal(f"needs True or False, not {show(value)}{hint}")
    return value


def extent(value: object) -> tuple[int, ...]:
    """Read one to eight positive integers."""
    items = value if isinstance(value, tuple) else (value,)
    if not 1 <= len(items) <= 8:
        raise Refusal(f"needs one to eight dimensions, not {len(items)}")
    return tuple(whole(item, 1) for item in items)


def connections(value: object) -> tuple[tuple[int, ...], ...]:
    """Read a list of lists of input channels, each list without repeats."""
    if not isinstance(value, tuple) or not value or not all(isinstance(row, tuple) and row for row in value):
        raise Refusal("needs a list of lists: for each output channel the input channels that it reads")
    for row in value:
        if len(set(row)) != len(row):
            raise Refusal(f"names an input channel twice: {show(row)}")
    return tuple(tuple(whole(item, 0) for item in row) for row in value)


def one_of(*options: str) -> Callable[[object], str]:
    """Return a rule that accepts one of these words."""

    def rule(value: object) -> str:
        if value not in options:
            raise Refusal(f"needs {' or '.join(repr(option) for option in options)}, not {show(value)}")
        return str(value)

    return rule


RULES: dict[str, Callable[[object], Any]] = {
    "Positive": partial(whole, least=1),
    "Index": partial(whole, least=0),
    "Real": real,
    "PositiveReal": positive_real,
    "Probability": probability,
    "Flag": flag,
    "Connections": connections,
    "Extent": extent,
    "Dimension": dimension,
    "Place": partial(whole, least=-MAX_LENGTH),
    "Letters": letters,
    "Interpolation": one_of("nearest", "nearest-exact", "linear", "bilinear", "trilinear", "bicubic"),
    "PaddingMode": one_of("zeros", "reflect", "replicate", "circular"),
    "Border": one_of("constant", "reflect", "replicate", "circular"),
    "Nonlinearity": one_of("tanh", "relu"),
    "Approximation": one_of("none", "tanh"),
}


PER_AXIS: dict[str, Callable[[object, int], Any]] = {  # the rules for one number per axis
    "Sides": partial(per_axis, least=1),
    "Size": lambda value, axes: per_axis(only(value), axes, 1),
    "Margin": lambda value, axes: per_axis(only(value), axes, 0),
    "Padding": padding,
    "Borders": borders,
    "Shifts": lambda value, axes: per_axis(only(value), axes, -MAX_LENGTH),
    "Scales": lambda value, axes: each_axis(value, axes, positive_real),
}


def read(annotation: str, value: object, axes: int = 2) -> Any:
    """Read `value` by the rule of an annotation, for so many axes; `… | None` also accepts None."""
    kind = annotation.removesuffix(" | None")
    if value is None and kind != annotation:
        return None
    return PER_AXIS[kind](value, axes) if kind in PER_AXIS else RULES[kind](value)


def same(shapes: Sequence[tuple[int, ...]]) -> bool:
    """Whether all shapes are equal; dimensions may be arrays."""
    first, *others = shapes
    return all(len(other) == len(first) and all(map(every, map(eq, other, first))) for other in others)


def each(function: Callable[[int], int], length: Any) -> Any:
    """Apply a function to a dimension, which may be an array."""
    if isinstance(length, int | Formula):
        return function(index(length))
    made = length.copy()
    made[:] = [function(one) for one in length.tolist()]
    return made


def least(first: Any, second: Any, sign: int = 1) -> Any:
    """Return the smaller of two dimensions, which may be arrays or formulas; with sign −1 the larger."""
    return (first + second - sign * abs(first - second)) // 2


def every(condition: Any) -> bool:
    """Whether a condition holds for all elements, if dimensions are NumPy int64 arrays; else whether it holds."""
    return bool(condition if type(condition) is bool else condition.all() if hasattr(condition, "all") else condition)


def certain(condition: Any) -> bool:
    """Return whether a condition holds. Raises NotImplementedError if it holds for some elements of an array only."""
    found = {*condition.tolist()} if hasattr(condition, "tolist") else {bool(condition)}
    if len(found) > 1:
        raise NotImplementedError("what is computed differs between the sizes")
    return found.pop()


def require(condition: Any, message: str) -> None:
    """Raise `Refusal` unless `condition` holds; if dimensions are arrays, for every element."""
    if not every(condition):
        raise Refusal(message)
