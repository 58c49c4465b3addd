"""An ONNX file as plain data: calls, constants, and the sizes of all values at each batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any, NamedTuple

from archcalc.errors import ArchcalcError, shorten
from archcalc.ops.arguments import format_shape
from archcalc.ops.base import Sizes

FIRST = "DequantizeLinear Cast Reshape Squeeze Unsqueeze Expand Tile Slice Gather GatherElements GatherND Pad"
OF_FIRST = {*FIRST.split()}  # what they compute is made of their first input
PASSED = "Concat Gather Slice Squeeze Unsqueeze Cast Identity Reshape Add Sub Mul Div"
NUMBERS = {"Shape", *PASSED.split()}  # what makes numbers of shapes
MOST_AXES, MOST_NUMBERS = 4096, 2**20
NOT_CONSTANT = {"If", "Loop", "Scan"}  # what they compute is in graphs of their own
SAME_NUMBERS = {"Identity", "Cast", "Reshape", "Squeeze", "Unsqueeze", "Flatten", "Expand"}


class Tensor(NamedTuple):
    """A tensor that the file stores; `values` only of a small one."""

    sizes: Sizes
    dtype: str
    values: tuple[Any, ...] | None = None
    kind: str = ""  # PARAMETER, BUFFER, COMPUTED (by the exporter) and others, if the file says so


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
    tensors: dict[str, Tensor]
    dtypes: Mapping[str, str]
    sizes: Sequence[Mapping[str, Sizes]]  # at each batch, by name
    batch: int | None = None  # that of the file; None: any

    def origins(self) -> dict[str, tuple[str, ...]]:
        """Return for each value that depends on no input the stored tensors that it is made of.

        Numbers of shapes, and those that are drawn, are made of none.
        """
        found: dict[str, tuple[str, ...]] = {name: (name,) for name in self.tensors}
        drawn: set[str] = set()
        for call in self.calls:
            read = [name for name in call.inputs if name]
            needed = [] if call.op in ("Shape", "Size") else read
            if call.op in NOT_CONSTANT or not all(one in found for one in needed):
                continue
            if call.op.startswith("Random") or not drawn.isdisjoint(read):
                drawn.update(call.outputs)
            of = [] if not drawn.isdisjoint(call.outputs) else needed[:1] if call.op in OF_FIRST else needed
            made = tuple(dict.fromkeys([one for name in of for one in found[name]]))
            found.update({name: found.get(name) or made for name in call.outputs if name})
        return found

    def numbers(self) -> dict[str, tuple[Any, ...]]:
        """Return the numbers of small stored tensors, and of values that are these in another form."""
        known = {name: one.values for name, one in self.tensors.items() if one.values}
        for call in self.calls:
            if call.op in SAME_NUMBERS and call.inputs[0] in known:
                known.setdefault(call.outputs[0], known[call.inputs[0]])
        return known

    def bounded(self) -> bool:
        """Whether numbers of shapes stay few when Concat joins them, as onnx's inference does without a limit."""
        most = {name: prod(one.sizes) for name, one in self.tensors.items() if one.dtype.startswith("int")}
        for call in self.calls:
            each = [most.get(name, 0) for name in call.inputs]
            joined = sum(each) if call.op == "Concat" else max(each, default=0)
            if joined > MOST_NUMBERS:
                return False
            if call.op in NUMBERS:
                most[call.outputs[0]] = MOST_AXES if call.op == "Shape" else joined
        return True

    def require_order(self) -> None:
        """Raise ArchcalcError if a call reads what no call before it makes."""
        known = {"", *self.inputs, *self.tensors}
        for call in self.calls:
            for name in call.inputs:
                if name not in known:
                    value = f"{call.op} reads {shorten(name)}, which nothing before it makes"
                    raise ArchcalcError(f"{value}: a cycle, or a part of the file is missing")
            known.update(call.outputs)

    def require_sizes(self) -> None:
        """Raise ArchcalcError unless all values that depend on an input have sizes proportional to the batch."""
        constant, read = self.origins(), read_by(self.calls, self.outputs)
        for call in self.calls:
            for name in call.outputs if call.op != "SplitToSequence" else ():
                if name in read and name not in constant and self.per_image(name) is None:
                    known = [format_shape(sizes[name]) if name in sizes else "unknown" for sizes in self.sizes]
                    at = f"at batch 1 and 2: {' and '.join(known)}" if len(known) > 1 else known[0]
                    raise ArchcalcError(f"the shape that {call.op} gives ({shorten(name)}) is {at}")

    def per_image(self, name: str) -> Sizes | None:
        """Return the sizes for one image: without the batch's axis, if it is 1 long.

        None if they are unknown, or not proportional to the batch.
        """
        one, two = self.sizes[0].get(name), self.sizes[-1].get(name)
        if one is None or two is None or (len(self.sizes) > 1 and prod(two) != 2 * prod(one)):
            return None
        axis = self.batch_axis(name)
        return one if axis < 0 else one[:axis] + one[axis + 1 :]

    def batch_axis(self, name: str) -> int:
        """Return the axis of the batch, if it has that alone; else −1. Of one batch only the first that is 1 long."""
        one, two = self.sizes[0][name], self.sizes[-1][name]
        grown = [axis for axis, (a, b) in enumerate(zip(one, two, strict=True)) if (a, b) == (1, len(self.sizes))]
        return grown[0] if grown else -1


def read_by(calls: Sequence[Call], outputs: Sequence[str]) -> set[str]:
    """Return the names of all values that are read, or are results."""
    return {*outputs, *[name for call in calls for name in call.inputs]}
