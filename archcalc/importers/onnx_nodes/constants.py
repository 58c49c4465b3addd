"""Compute small integers that depend only on shapes, where onnx's inference does not."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from math import prod
from operator import add, eq, floordiv, mod, mul, sub
from typing import Any, TypeAlias

from archcalc.importers.onnx_nodes.file import Call, Tensor
from archcalc.ops.base import Sizes

MOST = 4096  # values of a result
Values: TypeAlias = tuple[Any, ...]
SAME = {"Identity", "Cast", "Unsqueeze", "Squeeze", "Reshape", "Flatten"}
OF_TWO: Mapping[str, Callable[[Any, Any], Any]] = {
    "Add": add, "Sub": sub, "Mul": mul, "Div": floordiv, "Mod": mod, "Equal": eq, "Max": max, "Min": min,
}  # fmt: skip


def folded(calls: Iterable[Call], tensors: Mapping[str, Tensor], sizes: Mapping[str, Sizes]) -> dict[str, Values]:
    """Return the values of numbers and lists of numbers that calls compute from constants and shapes."""
    known = {name: one.values for name, one in tensors.items() if one.values and len(one.sizes) < 2}
    found: dict[str, Values] = {}
    for call in calls:
        read = [known.get(name) for name in call.inputs]
        try:
            made = _made(call, read, sizes.get(call.input(0)))
        except (ArithmeticError, IndexError, TypeError, ValueError):
            continue  # the file is wrong, or reads what is unknown; then its shapes stay unknown
        if made is not None and len(made) <= MOST:
            known[call.outputs[0]] = found[call.outputs[0]] = made
    return found


def _made(call: Call, read: Sequence[Any], sizes: Sizes | None) -> Values | None:
    if call.op == "Shape":
        return None if sizes is None else sizes[call.given.get("start", 0) : call.given.get("end")]
    if not read or None in read[: 1 if call.op in SAME else None]:
        return None
    first = read[0]
    if call.op in SAME:
        return tuple(map(int, first)) if call.op == "Cast" else first
    if call.op in OF_TWO and len(read) == 2:
        most = max(map(len, read))
        return tuple(map(OF_TWO[call.op], *[one * most if len(one) == 1 else one for one in read]))
    match call.op:
        case "Concat":
            return sum(read, ())
        case "Gather":
            return tuple([first[i] for i in read[1]])
        case "Slice":
            start, stop, *more = [one[0] for one in read[1:]]
            return first[start : stop : more[1] if len(more) > 1 else 1]
        case "ConstantOfShape" if prod(first) <= MOST and len(first) < 2:
            return (call.given.get("value", (0,)) or (0,)) * prod(first)
        case "Where":
            most = max(map(len, read))
            rows = zip(*[one * most if len(one) == 1 else one for one in read], strict=True)
            return tuple([yes if chosen else no for chosen, yes, no in rows])
        case "ReduceProd" | "Size":
            return (prod(first),)
    return None
