"""Compute small integers that depend only on shapes, where onnx's inference does not."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np

from archcalc.importers.onnx_nodes.file import Call, Tensor
from archcalc.ops.base import Sizes

MOST = 4096  # values of a result
INT64 = 7  # among ONNX's types
Rule: TypeAlias = Callable[[Call, Sequence[Any]], Any]


def folded(calls: Iterable[Call], tensors: Mapping[str, Tensor], sizes: Mapping[str, Sizes]) -> dict[str, Any]:
    """Return the whole numbers that calls compute from constants and shapes, as arrays."""
    whole = {name: one for name, one in tensors.items() if one.dtype.startswith(("int", "bool")) and one.values}
    known = {name: np.array(one.values).reshape(one.sizes) for name, one in whole.items()}
    found: dict[str, Any] = {}
    for call in calls:
        read = [known.get(name) for name in call.inputs]
        try:
            made = np.array(_shape(call, sizes[call.inputs[0]]) if call.op == "Shape" else RULES[call.op](call, read))
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError):
            continue  # the file is wrong, or the call reads what is unknown; then its shapes stay unknown
        if made.size <= MOST and made.dtype.kind in "iub":
            known[call.outputs[0]] = found[call.outputs[0]] = made
    return found


def _shape(call: Call, sizes: Sizes) -> Sizes:
    start: int = call.given.get("start", 0)
    return sizes[start : call.given.get("end")]


def _axes(call: Call, read: Sequence[Any]) -> tuple[int, ...] | None:
    """Return the axes that a call names: an input, or in old files an attribute."""
    given = read[1] if len(read) > 1 else call.given.get("axes")
    return None if given is None else tuple(map(int, given))


def _slice(call: Call, read: Sequence[Any]) -> Any:
    x, starts, stops, *more = read
    axes, steps = more[0] if more else range(len(starts)), more[1] if len(more) > 1 else [1] * len(starts)
    parts = {axis % x.ndim: slice(*place) for axis, *place in zip(axes, starts, stops, steps, strict=True)}
    return x[tuple([_backwards(parts.get(axis, slice(None))) for axis in range(x.ndim)])]


def _backwards(part: slice) -> slice:
    """Return a slice whose end beyond the first place, −2⁶³, is no place."""
    return slice(part.start, None, part.step) if part.step == -1 and part.stop < -MOST else part


def _filled(call: Call, read: Sequence[Any]) -> Any:
    (value,) = call.given.get("value") or (0,)
    return np.full(read[0], value) if np.prod(read[0]) <= MOST else None


RULES: Mapping[str, Rule] = {
    "Identity": lambda call, read: read[0],
    "Cast": lambda call, read: read[0] if call.given["to"] == INT64 else None,
    "Unsqueeze": lambda call, read: np.expand_dims(read[0], _axes(call, read) or ()),
    "Squeeze": lambda call, read: np.squeeze(read[0], _axes(call, read)),
    "Reshape": lambda call, read: read[0].reshape(read[1]),
    "Transpose": lambda call, read: read[0].transpose(call.given.get("perm")),
    "Add": lambda call, read: read[0] + read[1],
    "Sub": lambda call, read: read[0] - read[1],
    "Mul": lambda call, read: read[0] * read[1],
    "Div": lambda call, read: read[0] // read[1],
    "Mod": lambda call, read: np.mod(read[0], read[1]),
    "Equal": lambda call, read: read[0] == read[1] if read[0] is not None and read[1] is not None else None,
    "Where": lambda call, read: np.where(*read),
    "Concat": lambda call, read: np.concatenate(read, call.given.get("axis", 0)),
    "Gather": lambda call, read: read[0].take(read[1], call.given.get("axis", 0)),
    "Slice": _slice,
    "ConstantOfShape": _filled,
    "ReduceProd": lambda call, read: read[0].prod(keepdims=bool(call.given.get("keepdims", 1))),
}
