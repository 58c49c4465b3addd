"""Types of operator arguments, and the rules that read them.

The annotation of an operator's field is one of these names; `read` checks a written value by the rule of that name.
A rule returns the value as the operator stores it, or raises `Refusal` with what the argument needs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from operator import index
from typing import Any, Literal, TypeAlias

from archcalc.errors import Refusal

MAX_LENGTH = 2**20  # largest kernel, stride, padding or size in an argument
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
Padding: TypeAlias = tuple[int, ...] | Literal["same"]
Connections: TypeAlias = tuple[tuple[int, ...], ...]  # for each output channel the input channels that it reads
Extent: TypeAlias = tuple[int, ...]  # the trailing dimensions of a shape
Interpolation: TypeAlias = Literal["nearest", "linear", "bilinear", "trilinear"]
Approximation: TypeAlias = Literal["none", "tanh"]


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
    value = value.tolist() if hasattr(value, "tolist") else value
    return index(value) if hasattr(value, "__index__") and not isinstance(value, bool) else value


def format_shape(shape: Sequence[Any]) -> str:
    """`64×56×56`."""
    return "×".join(str(dim) for dim in shape)


def whole(value: object, least: int) -> int:
    """Check for an integer of at least `least`."""
    if type(value) is not int:
        hint = "; // divides and rounds down" if isinstance(value, float) and value > 1 else ""
        raise Refusal(f"needs a whole number, not {show(value)}{hint}")
    if value < least:
        raise Refusal(f"needs a whole number of at least {least}, not {value}")
    return value


def per_axis(value: object, axes: int, least: int) -> tuple[int, ...]:
    """Read one integer per axis, or one for all, none above MAX_LENGTH."""
    if isinstance(value, tuple) and len(value) != axes:
        raise Refusal(f"needs one number or {LISTS[axes]}, not {show(value)}")
    lengths = tuple([whole(item, least) for item in value]) if isinstance(value, tuple) else (whole(value, least),)
    if max(lengths) > MAX_LENGTH:
        raise Refusal(f"must be at most {MAX_LENGTH:,}, not {show(value)}")
    return lengths if len(lengths) == axes else lengths * axes


def only(value: object) -> object:
    """Return the item of a list of one; other values unchanged."""
    return value[0] if isinstance(value, tuple) and len(value) == 1 else value


def padding(value: object, axes: int) -> tuple[int, ...] | str:
    """Read a margin or `"same"`."""
    if value == "same":
        return "same"
    if isinstance(value, str):
        hint = "; 'valid' is 0" if value == "valid" else ""
        raise Refusal(f"needs a number, {LISTS[axes]} or 'same', not {show(value)}{hint}")
    return per_axis(only(value), axes, 0)


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
        raise Refusal(f"needs True or False, not {show(value)}")
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
    "Interpolation": one_of("nearest", "linear", "bilinear", "trilinear"),
    "Approximation": one_of("none", "tanh"),
}


PER_AXIS: dict[str, Callable[[object, int], Any]] = {  # the rules for one number per axis
    "Sides": partial(per_axis, least=1),
    "Size": lambda value, axes: per_axis(only(value), axes, 1),
    "Margin": lambda value, axes: per_axis(only(value), axes, 0),
    "Padding": padding,
}


def read(annotation: str, value: object, axes: int = 2) -> Any:
    """Read `value` by the rule of an annotation, for so many axes; `… | None` also accepts None."""
    kind = annotation.removesuffix(" | None")
    if value is None and kind != annotation:
        return None
    return PER_AXIS[kind](value, axes) if kind in PER_AXIS else RULES[kind](value)


def same(shapes: Sequence[tuple[int, ...]]) -> bool:
    """Whether all shapes are equal; dimensions may be arrays."""
    first = shapes[0]
    return all(len(s) == len(first) and all(every(a == b) for a, b in zip(s, first, strict=True)) for s in shapes)


def common_divisor(length: Any, n: int) -> Any:
    """Greatest common divisor of a dimension, which may be an array, and an integer."""
    if isinstance(length, int):
        return math.gcd(length, n)
    import numpy as np  # it is installed: the dimension is one of its arrays

    return np.gcd(length, n)


def every(condition: Any) -> bool:
    """Whether a condition holds for all elements, if dimensions are NumPy int64 arrays; else whether it holds."""
    return bool(condition.all()) if hasattr(condition, "all") else bool(condition)


def require(condition: Any, message: str) -> None:
    """Raise `Refusal` unless `condition` holds; if dimensions are arrays, for every element."""
    if not every(condition):
        raise Refusal(message)
