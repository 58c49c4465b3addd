"""Hints for branches that do not fit: which branch, and the dimensions that its layers mention."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from typing import Any

from archcalc.errors import MisfitError, Place, Refusal, shorten
from archcalc.ops import Operator, Shape, format_shape
from archcalc.spec.functions import DIMENSIONS
from archcalc.spec.layers import Call, below
from archcalc.spec.network_spec import Spec

MOST = 4  # most layers in an error


def join_misfit(
    spec: Spec,
    op: Operator,
    branches: Sequence[tuple[str, Place]],
    shapes: Sequence[Shape],
    made: Sequence[Any],
    why: str,
) -> MisfitError:
    """Return the error for branches, each with its name and place, that do not fit each other."""
    listed = ", ".join(
        f"{name} {format_shape(shape)}" for (name, _), shape in [*zip(branches, shapes, strict=True)][:6]
    )
    more = ", …" if len(shapes) > 6 else ""
    place = branches[odd_one(op, shapes)][1]
    return MisfitError(f"{op.name}: {why}: {listed}{more}", place, join_hint(spec, op, shapes, made))


def join_hint(spec: Spec, op: Operator, shapes: Sequence[Shape], made: Sequence[Any]) -> str:
    """Return a hint on the branches of a join, or ""; `made` are the nodes in them.

    A dimension that all branches share is not the reason, e.g. in_channels if a padding is missing.
    """
    differing = [name for name, axis in DIMENSIONS.items() if len({shape.size(axis) for shape in shapes}) > 1]
    known = [_in_play(call, x, names) for call, x, names in _mentioning(spec, made, differing)]
    if known:
        seen = ", ".join(dict.fromkeys(known[-MOST:]))
        return f"{seen}\n  each layer sees its own input; pass a width to a block: gate(width=in_channels)"
    return getattr(op, "accepts", "")


def odd_one(op: Operator, shapes: Sequence[Shape]) -> int:
    """Return the index of the first branch that does not fit the first one, or of the last branch if each fits."""
    return next((i for i, shape in enumerate(shapes) if not _agree(op, shapes[0], shape)), len(shapes) - 1)


def _agree(op: Operator, first: Shape, second: Shape) -> bool:
    try:
        op.output((first, second))
    except Refusal:
        return False
    return True


def _mentioning(spec: Spec, made: Sequence[Any], dimensions: Sequence[str]) -> Iterator[tuple[Call, Shape, list[str]]]:
    """Yield the layers whose arguments mention one of these dimensions, with input shapes and dimensions."""
    bodies = [spec.layers, *(block.body for block in spec.blocks.values())]
    calls = {plan.place[1:3]: plan for body in bodies for plan in below(body) if isinstance(plan, Call)}
    for node in made:
        call = calls.get(node.place[1:3])
        mentioned = _mentions(call, dimensions) if call else []
        names = [name for name in mentioned if DIMENSIONS[name] in node.x.axes]
        if call and names:
            yield call, node.x, names


def _mentions(call: Call, dimensions: Sequence[str]) -> list[str]:
    trees = [argument.value.tree for argument in (*call.positional, *call.named)]
    found = {node.id for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Name)}
    return [name for name in dimensions if name in found]


def _in_play(call: Call, x: Shape, names: Sequence[str]) -> str:
    place = call.place
    text = place.source.lines[place.line - 1][place.column - 1 :][: place.width]
    return f"{' and '.join(f'{name} was {x.size(DIMENSIONS[name])}' for name in names)} in {shorten(text)}"
