"""Compute small integers that depend only on shapes, where onnx's inference does not."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeAlias

import numpy as np

from archcalc.importers.onnx_nodes.file import Call, Tensor
from archcalc.ops.base import Sizes

MOST = 4096  # values of a result
INT64 = 7  # among ONNX's types
Rule: TypeAlias = Callable[..., Any]  # of the attributes and the inputs


def folded(calls: Iterable[Call], tensors: Mapping[str, Tensor], sizes: Mapping[str, Sizes]) -> dict[str, Any]:
    """Return the whole numbers that calls compute from constants and shapes, as arrays."""
    whole = {name: one for name, one in tensors.items() if one.dtype.startswith(("int", "bool")) and one.values}
    known = {name: np.array(one.values, one.dtype).reshape(one.sizes) for name, one in whole.items()}
    found: dict[str, Any] = {}
    for call in calls:
        try:
            if call.op == "Shape":
                made = np.array(sizes[call.inputs[0]][call.given.get("start", 0) : call.given.get("end")])
            else:
                rule, read = RULES[call.op], [known[name] for name in call.inputs if name]
                with np.errstate(all="raise"):
                    made = np.array(rule(call.given, *read))
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError):
            continue  # the file is wrong, or the call reads what is unknown; then its shapes stay unknown
        if made.size <= MOST and made.dtype.kind in "iub":
            known[call.outputs[0]] = found[call.outputs[0]] = made
    return found


def _slice(given: Mapping[str, Any], x: Any, starts: Any, stops: Any, axes: Any = None, steps: Any = None) -> Any:
    axes, steps = range(len(starts)) if axes is None else axes, [1] * len(starts) if steps is None else steps
    parts = [slice(None)] * x.ndim
    for axis, start, stop, step in zip(axes, starts, stops, steps, strict=True):
        parts[axis] = slice(start, None if step == -1 and stop < -MOST else stop, step)  # −2⁶³: to the first place
    return x[tuple(parts)]


def _filled(given: Mapping[str, Any], sizes: Any, value: Any = None) -> Any:
    """Return one value so many times; as many as a result may have."""
    one = (given.get("value") or (0.0,))[0] if value is None else value
    return np.broadcast_to(one, sizes) if np.prod(sizes) <= MOST else None


RULES: Mapping[str, Rule] = {
    "Identity": lambda given, x: x,
    "Cast": lambda given, x: x if given.get("to") == INT64 else None,
    "Unsqueeze": lambda given, x, axes=None: np.expand_dims(x, tuple(given["axes"] if axes is None else axes)),
    "Squeeze": lambda given, x, axes=None: np.squeeze(x, tuple(axes) if axes is not None else given.get("axes")),
    "Reshape": lambda given, x, sizes: x.reshape(sizes),
    "Transpose": lambda given, x: x.transpose(given.get("perm")),
    "Add": lambda given, x, y: x + y,
    "Sub": lambda given, x, y: x - y,
    "Mul": lambda given, x, y: x * y,
    "Div": lambda given, x, y: x // y,
    "Mod": lambda given, x, y: np.mod(x, y),
    "Equal": lambda given, x, y: x == y,
    "Where": lambda given, *read: np.where(*read),
    "Concat": lambda given, *read: np.concatenate(read, given.get("axis", 0)),
    "Gather": lambda given, x, places: x.take(places, given.get("axis", 0)),
    "Slice": _slice,
    "ConstantOfShape": _filled,
    "Expand": lambda given, x, sizes: _filled(given, sizes, x),
    "Range": lambda given, *read: np.arange(*read) if len(range(*map(int, read))) <= MOST else None,
    "ReduceProd": lambda given, x: x.prod(keepdims=bool(given.get("keepdims", 1))),
}
