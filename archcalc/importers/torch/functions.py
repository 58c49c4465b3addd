"""The facts about a call without an operator of its own: work by the rules, what is kept by autograd itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from archcalc.importers import aten
from archcalc.importers.torch.autograd import Keeping, keeping
from archcalc.importers.torch.batches import affine, merged
from archcalc.importers.torch.tape import Call, Ref, Tape
from archcalc.importers.torch.values import Known
from archcalc.ops.base import Extra, Saved
from archcalc.ops.imported import Counts


def facts(call: int, values: Known) -> dict[str, Any]:
    """Return what is known about a call, as arguments of `Imported`: work, gradients, whether it is elementwise."""
    found = [aten.facts(_as_rules_read(tape.calls[call], tape, values)) for tape in values.tapes]
    known = [one for one in found if one is not None]
    if len(known) < len(found):
        return {}
    name = values.tape.calls[call].name
    works = [one.work for one in known if one.work is not None]
    each, common = merged(works, f"the work of {name}") if len(works) == len(known) else (None, ())
    rows = zip(*[one.gradients for one in known], strict=True)
    gradients = [_gradient(works, name) for works in rows]
    return {
        "counts": each, "common": common, "elementwise": known[0].elementwise,
        "gradients": tuple([of_one for of_one, _ in gradients]),
        "common_gradients": tuple([shared for _, shared in gradients]),
    }  # fmt: skip


def _gradient(works: Sequence[Mapping[str, int] | None], name: str) -> tuple[Counts | None, Counts]:
    known = [work for work in works if work is not None]
    return merged(known, f"the gradient of {name}") if len(known) == len(works) else (None, ())


def _as_rules_read(call: Call, tape: Tape, values: Known) -> aten.AtenCall:
    def tensor(at: int) -> aten.Tensor:
        value = tape.values[at]
        return aten.Tensor(value.sizes, value.dtype, values.graded(at))

    def read(given: Any) -> Any:
        if isinstance(given, Ref):
            return tensor(given.index)
        return type(given)([read(one) for one in given]) if isinstance(given, list | tuple) else given

    named = {name: read(given) for name, given in call.named.items()}
    return aten.AtenCall(call.name, read(call.args), named, tuple(map(tensor, call.made)))


def kept_by(call: int, values: Known) -> list[Keeping] | None:
    """Return what autograd keeps for batches of 2 and 3; None: unknown."""
    own = values.tape.calls[call]
    if own.function is None or not own.tracked or not any(map(values.graded, own.made)):
        return [Keeping()] * 2
    graded = {at: values.graded(at) for at in own.reads}
    found = [keeping(tape.calls[call], tape, graded) for tape in values.tapes[:2]]
    known = [one for one in found if one is not None]
    alike = len({(one.inputs, one.made, len(one.extras)) for one in known}) == 1
    return known if len(known) == len(found) and alike else None


def extras_of(kept: Sequence[Keeping], batched: bool, values: Known) -> tuple[Extra, ...] | None:
    """Return the extra tensors for one image; None if the number of values is another one."""
    found: list[Extra] = []
    for (two, dtype), (three, _) in zip(*[each.extras for each in kept], strict=True):
        grown = affine((two, three), "a kept tensor")
        if grown.fixed and grown.each:
            return None
        found.append(Extra("kept", (grown.each or grown.fixed,), values.own_dtype(dtype), batched and grown.each > 0))
    return tuple(found)


def saved(
    kept: Sequence[Keeping] | None,
    result: int,
    batched: bool,
    values: Known,
    rowless: tuple[Extra, ...] = (),
    loose: Sequence[int] = (),
) -> dict[str, Any]:
    """Return what is kept, as arguments of `Imported` for one result of a call; the first one has what has no row.

    `loose` are the places of arguments that are counted there.
    """
    extras = None if kept is None else extras_of(kept, batched, values)
    if kept is None or extras is None:
        return {"kept": None}
    if result:
        return {"kept": Saved(output=result in kept[0].made), "kept_inputs": ()}
    inputs = tuple([i for i in kept[0].inputs if i not in loose])
    return {"kept": Saved(bool(inputs), 0 in kept[0].made, (), extras + rowless), "kept_inputs": inputs}
