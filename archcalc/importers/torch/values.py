"""What is known about the values of a run: sizes for one image, whether they are of the batch, whether they train."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

from archcalc.importers.torch.batches import batch_axis, per_image
from archcalc.importers.torch.tape import Tape
from archcalc.ops import Shape
from archcalc.ops.shape import Sizes

PAIRS = {"float16": "complex32", "float32": "complex64", "float64": "complex128"}  # complex values, by their numbers


class Known:
    """The values of tapes of several batches; `typed` has the shapes, with axes, of those that have a node."""

    def __init__(self, tapes: Sequence[Tape]) -> None:
        self.tapes = tapes
        self.tape = tapes[0]
        self.typed: dict[int, Shape] = {}

    def batches(self, value: int) -> list[Sizes]:
        """Return the sizes in each batch."""
        return [tape.values[value].sizes for tape in self.tapes]

    def sizes(self, value: int) -> Sizes:
        return self.tape.values[value].sizes

    def axis(self, value: int) -> int:
        """The axis of the batch; 0 for what all images share."""
        return batch_axis(self.batches(value)) if self.batched(value) else 0

    def batched(self, value: int) -> bool:
        return self._batched[value]

    def grows(self, value: int) -> bool:
        """Whether its size depends on the batch."""
        return len({*self.batches(value)}) > 1

    def graded(self, value: int) -> bool:
        """Whether it depends on an input or a weight, and has a gradient."""
        return self._graded[value]

    def dtype(self, value: int) -> str:
        """Return its dtype as in `Extra`: "" for that of the network."""
        return self.own_dtype(self.tape.values[value].dtype)

    def own_dtype(self, dtype: str) -> str:
        """Return a dtype of PyTorch as in `Extra`; one of 8 bits is a number of a byte."""
        if dtype == PAIRS.get(self.network_dtype):
            return "complex"
        return "" if dtype == self.network_dtype else "uint8" if dtype.startswith("float8") else dtype

    @cached_property
    def network_dtype(self) -> str:
        """The dtype of the first weight, or else of the first input, that has real numbers."""
        values = [value for value in self.tape.values if value.source == "parameter"]
        values += [self.tape.values[at] for at in self.tape.inputs.values()]
        return next((value.dtype for value in values if value.dtype.startswith(("float", "bfloat"))), "float32")

    def image(self, value: int) -> Sizes:
        """Return the sizes for one image; of what all images share without a first axis of 1."""
        sizes = per_image(self.batches(value))
        if sizes is None:
            sizes = self.sizes(value)
            sizes = sizes[1:] if len(sizes) > 1 and sizes[0] == 1 else sizes
        return sizes

    def shape(self, value: int) -> Shape:
        """Return its shape for one image, with axes if those are known."""
        return self.typed.get(value) or Shape(self.image(value))

    @cached_property
    def _batched(self) -> list[bool]:
        """Whether each value depends on an input, or has a size that depends on the batch."""
        found = [self.grows(at) for at in range(len(self.tape.values))]
        for at in self.tape.inputs.values():
            found[at] = True
        for call in self.tape.calls:
            reads = any(found[at] for at in call.reads)
            for at in call.made:
                found[at] = found[at] or reads
        return found

    @cached_property
    def _graded(self) -> list[bool]:
        real = [value.dtype.startswith(("float", "bfloat", "complex")) for value in self.tape.values]
        found = [value.source == "parameter" for value in self.tape.values]
        for at in self.tape.inputs.values():
            found[at] = real[at]
        for call in self.tape.calls:
            reads = call.reads if call.tracked else call.reads[:1] if call.overwrites else []
            for at in call.made:
                found[at] = real[at] and any(found[read] for read in reads)
        return found
