"""Hints for layers and shapes in the notation of other programs."""

from __future__ import annotations

import re
from collections.abc import Iterable

from archcalc.ops import REGISTRY
from archcalc.ops.synonyms import UNJOINED, argument_name, operator_name
from archcalc.spec.yaml import Mapping, Scalar, Sequence, Value

KIND_KEYS = ("type", "op", "layer", "class_name", "module")  # keys of other programs for the kind of a layer
SHAPE = re.compile(r"[0-9]{1,9}(?:[xX][0-9]{1,9}){1,7}")
NUMBER = re.compile(r"[0-9]+(?:\.[0-9]+)?")
VALUES = ("true", "false", "none", "same", "valid", "nearest", "bilinear")


def call_hint(value: Mapping) -> str:
    """Return the call `conv(out_channels=8)` for a mapping such as `{type: conv, filters: 8}`; otherwise ""."""
    kind = next((item for key, item in value.entries if key.text in KIND_KEYS and isinstance(item, Scalar)), None)
    if kind is None:
        return ""
    return f"write {_call(kind.text, ((key.text, item) for key, item in value.entries if item is not kind))}"


def arguments_hint(name: str, body: Value) -> str:
    """Return the call for arguments under an operator's name, `conv: {filters: 8}` or `conv: [8, 3]`; otherwise ""."""
    arguments = [(key.text, item) for key, item in body.entries] if isinstance(body, Mapping) else []
    items = body.items if isinstance(body, Sequence) else (body,)
    numbers = [item.text for item in items if isinstance(item, Scalar) and NUMBER.fullmatch(item.text)]
    if not any(_is_value(item) for _, item in arguments) and (not numbers or len(numbers) < len(items)):
        return ""
    own = operator_name(name, REGISTRY)
    if not own or REGISTRY[own].joins:
        return ""
    if numbers:
        return f"write {own}({', '.join(numbers)})"
    fits = all(argument_name(key, REGISTRY[own].types) for key, _ in arguments)
    return f"write {_call(own, arguments)}" if fits else ""


def join_hint(name: str) -> str:
    """Return how to write a join that has a number in place of a branch."""
    own = "".join(f", {key}=…" for key in REGISTRY[name].needed)
    return UNJOINED.get(name) or f"write {name}(identity, relu{own})"


def _is_value(item: Value) -> bool:
    """Whether a text is certainly an argument, not a step under a label."""
    return isinstance(item, Scalar) and (bool(NUMBER.fullmatch(item.text)) or item.text.lower() in VALUES)


def _call(name: str, arguments: Iterable[tuple[str, Value]]) -> str:
    own = operator_name(name, REGISTRY) or name
    known = REGISTRY[own].types if own in REGISTRY else ()
    written = {argument_name(key, known) or key: item.text for key, item in arguments if isinstance(item, Scalar)}
    return f"{own}({', '.join(f'{key}={text}' for key, text in written.items())})" if written else own


def shape_hint(text: str) -> str:
    """Return the list for a shape such as `3x32x32`; otherwise ""."""
    if not SHAPE.fullmatch(text):
        return ""
    sizes = [int(size) for size in re.split("[xX]", text)]
    first = " (channels come first)" if channels_last(sizes) else ""
    return f"write {[sizes[-1], *sizes[:-1]] if first else sizes}{first}"


def channels_last(sizes: Iterable[int]) -> bool:
    """Whether a shape is a square image with its channels last: 224×224×3."""
    height, width, channels, *more = [*sizes, 0, 0, 0][:4]
    return height == width > 4 >= channels > 0 and not any(more)
