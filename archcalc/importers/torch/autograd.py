"""What autograd keeps for one recorded call: the call again, alone, on meta tensors that lie in memory as they did."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks
from torch.utils._pytree import tree_map_only

from archcalc.importers.torch.attention import run_function
from archcalc.importers.torch.tape import Call, Ref, Tape


class Keeping(NamedTuple):
    """The tensors that backward keeps."""

    inputs: tuple[int, ...] = ()  # the places of arguments among `Call.reads`
    made: tuple[int, ...] = ()  # the places of results
    extras: tuple[tuple[int, str], ...] = ()  # numbers of values, and their dtypes


def keeping(call: Call, tape: Tape, graded: Mapping[int, bool]) -> Keeping | None:
    """Return what autograd keeps for a call; None if the call does not run on meta with gradients."""
    storages = {tape.values[at].storage: (tape.values[at].stored, tape.values[at].dtype) for at in call.reads}
    memory = {
        at: torch.empty(stored, dtype=getattr(torch, dtype), device="meta") for at, (stored, dtype) in storages.items()
    }
    tensors = {at: _tensor(tape, at, memory, graded[at]) for at in dict.fromkeys(call.reads)}
    if call.overwrites:  # PyTorch overwrites no tensor that somebody else made to have a gradient
        tensors = {at: tensor.clone() if tensor.requires_grad else tensor for at, tensor in tensors.items()}
    args, named = tree_map_only(Ref, lambda ref: tensors[ref.index], (call.args, dict(call.named)))
    if "dropout" in call.name:
        args = (*args[:2], True)  # as in training
    saved: list[Tensor] = []

    def keep(tensor: Tensor) -> Tensor:
        saved.append(tensor.detach())
        return tensor.detach()

    try:
        with torch.enable_grad(), saved_tensors_hooks(keep, lambda tensor: tensor):
            result = run_function(call.function, args, named)
    except (RuntimeError, NotImplementedError):
        return None
    made: list[Tensor] = []
    tree_map_only(Tensor, made.append, result)
    return _sorted(saved, [tensors[at] for at in call.reads], made)


def _tensor(tape: Tape, at: int, memory: Mapping[int, Tensor], graded: bool) -> Tensor:
    """Return a tensor that lies in its memory with the recorded strides."""
    value = tape.values[at]
    whole = memory[value.storage].requires_grad_(graded and value.dtype.startswith(("float", "bfloat", "complex")))
    with torch.enable_grad():  # views that are made without may not be overwritten
        tensor = whole.detach().as_strided(value.sizes, value.strides)
    return tensor.requires_grad_(whole.requires_grad).view_as(tensor) if whole.requires_grad else tensor


def _sorted(saved: Sequence[Tensor], reads: Sequence[Tensor], made: Sequence[Tensor]) -> Keeping:
    """Sort saved tensors by whose memory they lie in."""
    of_inputs = {_storage(tensor): place for place, tensor in reversed([*enumerate(reads)])}
    of_made = {_storage(tensor): place for place, tensor in reversed([*enumerate(made)])}
    inputs, results = dict[int, None](), dict[int, None]()
    extras: dict[Any, tuple[int, str]] = {}
    for tensor in saved:
        storage = _storage(tensor)
        if storage in of_inputs:
            inputs[of_inputs[storage]] = None
        elif storage in of_made:
            results[of_made[storage]] = None
        else:
            count = tensor.untyped_storage().nbytes() // tensor.element_size()
            extras[storage] = count, str(tensor.dtype).removeprefix("torch.")
    return Keeping(tuple(inputs), tuple(results), tuple(extras.values()))


def _storage(tensor: Tensor) -> int:
    return int(tensor.untyped_storage()._cdata)
