"""An ONNX file as plain data: calls, constants, and the sizes of all values at each batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any, NamedTuple

from archcalc.errors import ArchcalcError, shorten
from archcalc.ops.arguments import format_shape
from archcalc.ops.base import Sizes

NOT_CONSTANT = {"If", "Loop", "Scan"}  # what they compute is in graphs of their own


class Tensor(NamedTuple):
    """A tensor that the file stores; `values` only of a small one."""

    sizes: Sizes
    dtype: str
    values: tuple[Any, ...] | None = None


class Call(NamedTuple):
    """A node of the file. Inputs that are left out have the name ""."""

    op: str  # with its domain, unless it is ONNX's own
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    given: Mapping[str, Any]  # attributes: numbers, texts, tuples of them
    scope: str = ""  # the module of PyTorch that it belongs to, if the file says so

    def input(self, place: int) -> str:
        """Return the name of an input; "" if it is left out."""
        return self.inputs[place] if place < len(self.inputs) else ""


class File(NamedTuple):
    """A file, with sizes for batches of 1 and 2, or only 1. Numbers and texts are as the file has them: unchecked."""

    made_by: str
    opset: str
    calls: Sequence[Call]
    inputs: Sequence[str]
    outputs: Sequence[str]
    tensors: Mapping[str, Tensor]
    dtypes: Mapping[str, str]
    sizes: Sequence[Mapping[str, Sizes]]  # at each batch, by name
    batch: int | None = None  # that of the file; None: any

    def origins(self) -> dict[str, tuple[str, ...]]:
        """Return for each value that depends on no input the stored tensors that it is made of.

        Numbers of shapes are made of none.
        """
        found = {name: (name,) for name, one in self.tensors.items()}
        for call in self.calls:
            read = [name for name in call.inputs if name]
            if call.op in ("Shape", "Size"):
                found |= dict.fromkeys(call.outputs, ())
            elif all(name in found for name in read) and call.op not in NOT_CONSTANT:
                first = read[:1] if call.op == "DequantizeLinear" else read
                made = tuple(dict.fromkeys([one for name in first for one in found[name]]))
                found |= {name: found.get(name) or made for name in call.outputs if name}
        return found

    def require_sizes(self) -> None:
        """Raise ArchcalcError unless all values that depend on an input have sizes proportional to the batch."""
        constant = self.origins()
        read = {*self.outputs, *[name for call in self.calls for name in call.inputs]}
        for call in self.calls:
            for name in call.outputs:
                if name in read and name not in constant and self.per_image(name) is None:
                    known = [format_shape(sizes[name]) if name in sizes else "unknown" for sizes in self.sizes]
                    at = f"at batch 1 and 2: {' and '.join(known)}" if len(known) > 1 else known[0]
                    raise ArchcalcError(f"the shape that {call.op} gives ({shorten(name)}) is {at}")

    def per_image(self, name: str) -> Sizes | None:
        """Return the sizes for one image: without the batch's axis, if it is 1 long.

        None if they are unknown, or not proportional to the batch.
        """
        every = [sizes.get(name) for sizes in self.sizes]
        one, two = every[0], every[-1]
        if one is None or two is None or (len(every) > 1 and prod(two) != 2 * prod(one)):
            return None
        grown = [axis for axis, (a, b) in enumerate(zip(one, two, strict=True)) if a != b] or [0]
        axis = grown[0]
        return one[:axis] + one[axis + 1 :] if one and one[axis] == 1 else one

    def batch_axis(self, name: str) -> int:
        """Return the axis of the batch; of one batch only the first that is 1 long; −1: none."""
        one, two = self.sizes[0][name], self.sizes[-1][name]
        grown = [axis for axis, (a, b) in enumerate(zip(one, two, strict=True)) if a != b]
        if grown:
            return grown[0] if one[grown[0]] == 1 else -1
        return 0 if len(self.sizes) == 1 and one[:1] == (1,) else -1
