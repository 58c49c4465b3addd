"""Weights that several layers share: a labelled step that runs again, and a layer with the weight of another one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from archcalc.errors import Place, SpecError
from archcalc.graph.graph import Shared
from archcalc.ops import REGISTRY, Operator, format_shape
from archcalc.spec.equal_calls import Made
from archcalc.spec.functions import Names, Tensor
from archcalc.spec.layers import Plan


class Step(NamedTuple):
    """A labelled step that has run: its plan, the names that it saw, and its nodes."""

    body: Plan
    names: Names
    nodes: range


def share_all(made: list[Made], first: range, again: range, label: str, place: Place) -> None:
    """Give nodes the weights and buffers of those of an earlier run of the same step.

    Raises SpecError if that run had other layers, weights of other shapes, or weighted layers with other arguments.
    """
    fixed = "its layers must not depend on their input"
    if [type(made[i].op) for i in first] != [type(made[i].op) for i in again]:
        raise SpecError(f"{label} has other layers for this input", place, fixed)
    for i, position in zip(first, again, strict=True):
        owner, own = (_tensors(made[at]) for at in (i, position))
        if owner != own:
            name = next(name for name in owner if owner[name] != own.get(name))
            shapes = " and ".join(format_shape(sizes[name]) for sizes in (owner, own))
            hint = "inputs of the same weights have the same channels, and the same sizes if weights depend on them"
            raise SpecError(f"{label}: the {name} of its {made[i].op.name} would be {shapes}", place, hint)
        if owner and made[i].op != made[position].op:
            raise SpecError(f"{label}: its {made[i].op.name} has other arguments for this input", place, fixed)
        if owner:
            shared = made[i].shared
            made[position] = made[position]._replace(shared=shared if shared and not shared.tensor else Shared(i))


def _tensors(made: Made) -> dict[str, tuple[int, ...]]:
    return made.op.weights(made.x) | made.op.buffers(made.x)


def tied(made: Sequence[Made], op: Operator, x: tuple[int, ...], tensor: Tensor, place: Place) -> Shared:
    """Return where an operator with the input `x` has its weight from. Raises SpecError if it does not fit."""
    if not op.tied:
        known = " or ".join(sorted(name for name, one in REGISTRY.items() if one.tied))
        raise SpecError(f"{op.name} cannot share a weight; {known} can", place)
    owner, at = made[tensor.node], tensor.node
    own, other = op.weights(x)["weight"], owner.op.weights(owner.x).get("weight")
    if own != other:
        has = f"a weight of {format_shape(other)}" if other else "no weight"
        hint = "" if other else "label a single layer"
        raise SpecError(f"{op.name} needs a weight of {format_shape(own)}; {tensor} has {has}", place, hint)
    while shared := made[at].shared:
        at = shared.node
    return Shared(at, "weight")
