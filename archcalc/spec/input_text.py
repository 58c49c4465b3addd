"""Read the shapes of inputs as they are written on the command line and in a source: `3x224x224`, `ids=int64:128`."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from archcalc.errors import Refusal, choose
from archcalc.ops.shape import AXES, Sizes, axes_of, shape_of
from archcalc.spec.hints import channels_last

if TYPE_CHECKING:
    from typing_extensions import Self

DTYPES = (
    "float32", "float64", "float16", "bfloat16", "bool", "uint8", "int8", "int16", "int32", "int64", "complex64",
)  # fmt: skip


class TypedSizes(tuple[Any, ...]):
    """Sizes of an input of an imported module, without the batch, and the dtype that they are written with."""

    dtype: str

    def __new__(cls, sizes: Sequence[int], dtype: str) -> Self:
        """Create it. Raises ArchcalcError for an unknown dtype."""
        made = super().__new__(cls, sizes)
        made.dtype = choose("dtype", dtype, {name: name for name in DTYPES})
        return made


def read_inputs(values: Sequence[str]) -> Sizes | Mapping[str, Sizes] | None:
    """Read the shape of the only input, or the shapes of several as `NAME=SHAPE`; None if there is none.

    Raises Refusal for what is not a shape, ArchcalcError for an unknown dtype.
    """
    named = [re.fullmatch(r"([A-Za-z0-9_-]+)=(.*)", value) for value in values]
    if not any(match and match[1] not in AXES for match in named):
        if len(values) > 1:
            raise Refusal("write the names of several inputs: --input image=3x224x224 --input numbers=4")
        return read_shape(values[0]) if values else None
    for value, match in zip(values, named, strict=True):
        if match is None or match[1] in AXES:
            raise Refusal(f"{value[:60]!r} lacks the name of an input; write NAME={value[:60]}")
    shapes: dict[str, Sizes] = {}
    for name, text in (match.groups() for match in named if match):
        if name in shapes:
            raise Refusal(f"{name[:60]} has two shapes; write it once")
        shapes[name] = read_shape(text)
    return shapes


def read_shape(value: str) -> Sizes:
    """Read `3x224x224`, `C=64,L=16000` or `int64:128`; `int64` alone is one number per sample.

    Raises Refusal for what is not a shape, ArchcalcError for an unknown dtype.
    """
    if "=" in value:
        return _by_axis(value)
    dtype, colon, sizes = value.partition(":")
    if colon or value in DTYPES:
        return TypedSizes(_sizes(sizes) if colon else (), dtype)
    plain = _sizes(value)
    if channels_last(plain):
        raise Refusal(f"write the channels first: {plain[2]}x{plain[0]}x{plain[1]}, not {value}")
    return plain


def _sizes(value: str) -> Sizes:
    if not re.fullmatch(r"[1-9][0-9]{0,9}([xX×][1-9][0-9]{0,9}){0,7}", value):
        raise Refusal(f"{value[:60]!r} is not a shape; write channels x height x width, e.g. 3x224x224")
    return tuple(int(part) for part in re.split("[xX×]", value))


def _by_axis(value: str) -> Sizes:
    pairs = [part.partition("=") for part in value.split(",")]
    sizes = {axis.strip(): size.strip() for axis, _, size in pairs}
    if len(sizes) < len(pairs) or not all(re.fullmatch("[1-9][0-9]{0,9}", size) for size in sizes.values()):
        raise Refusal(f"{value[:60]!r} is not a shape; write each axis once, e.g. C=64,L=16000")
    try:
        axes = axes_of([*sizes])
    except Refusal as error:
        raise Refusal(f"{value[:60]!r} {error}") from None
    return shape_of([int(sizes[axis]) for axis in axes], axes)
