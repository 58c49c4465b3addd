"""Tensors without an input: learned ones, such as a position table or a layer scale, and constants.

They are the same for each image: PyTorch keeps them as 1 × their sizes, and joins broadcast them over the batch.
"""

from __future__ import annotations

from typing import ClassVar

from archcalc.errors import Refusal
from archcalc.ops.arguments import Extent, Positive, Real
from archcalc.ops.base import Calls, Plain, Saved, Shape, Sizes, Work, operator
from archcalc.ops.reads import Axis
from archcalc.ops.shape import axes_of, shape_of


@operator("parameter")
class Parameter(Plain):
    """A learned tensor, `torch.nn.Parameter` of 1 × its sizes: a class token, a position table, a layer scale.

    At first all of its values are `value`.
    """

    needs_input: ClassVar[bool] = False
    sizes: Extent | None = None
    C: Positive | None = None
    T: Positive | None = None
    L: Positive | None = None
    D: Positive | None = None
    H: Positive | None = None
    W: Positive | None = None
    value: Real = 0

    def output(self, x: Shape) -> Shape:
        """Its sizes: a list as at `input:`, or sizes by axis, such as T=197, C=768."""
        named = {axis: getattr(self, axis) for axis in "CTLDHW" if getattr(self, axis) is not None}
        if bool(named) == (self.sizes is not None):
            raise Refusal("needs one list of sizes, such as [64, 1, 1], or sizes by axis, such as T=197, C=768")
        if self.sizes is not None:
            return shape_of(self.sizes)
        axes = axes_of(named)
        return shape_of([named[axis] for axis in axes], axes)

    def weights(self, x: Shape) -> dict[str, Sizes]:
        """weight (1, sizes)."""
        return {"weight": (1, *self.output(x))}

    def formula(self, x: Shape, y: Shape) -> dict[str, str]:
        return {"weight": "·".join(map(str, y))}

    def work(self, x: Shape, y: Shape) -> Work:
        """None."""
        return {}

    def input_gradient(self, x: Shape, y: Shape, batch: int) -> Work:
        """None: there is no input."""
        return {}

    def writes(self, x: Shape, y: Shape, training: bool) -> int:
        """Nothing: the tensor exists."""
        return 0

    def saved(self, x: Shape, y: Shape) -> Saved:
        """Nothing."""
        return Saved()

    def calls(self, x: Shape, y: Shape, training: bool, overwrites: bool) -> Calls:
        """None."""
        return ()

    def window(self, x: Shape) -> tuple[Axis, ...]:
        """Nothing."""
        return ()

    def pytorch(self, x: Shape) -> str:
        y = self.output(x)
        sizes = y if self.sizes is not None else y.axes  # numbers, or the arguments' names
        return f"{type(self).__name__}({', '.join(map(str, sizes))}, value=value)"


@operator("constant")
class Constant(Parameter):
    """A tensor of fixed values, a buffer of 1 × its sizes: a mask, a table of sines; here all are `value`."""

    def weights(self, x: Shape) -> dict[str, Sizes]:
        """None."""
        return {}

    def formula(self, x: Shape, y: Shape) -> dict[str, str]:
        return {}

    def buffers(self, x: Shape) -> dict[str, Sizes]:
        """values (1, sizes)."""
        return {"values": (1, *self.output(x))}
