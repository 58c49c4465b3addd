"""A function of an imported network that archcalc has no operator for: the facts that the importer's rule gave.

It is no word of specs. What no rule gave is None, and unknown: it never counts as zero.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest
from typing import Any, ClassVar, TypeAlias

from archcalc.ops.base import Operator, Plain, Saved, Shape, Sizes, Unknown, Work, add_work, declared, values
from archcalc.ops.joins import Join
from archcalc.ops.reads import EACH, Axis

Counts: TypeAlias = tuple[tuple[str, int], ...]  # operations by kind
Named: TypeAlias = tuple[tuple[str, Sizes], ...]  # the sizes of tensors by name


@declared
class Imported(Plain):
    """One call of a function such as `aten::einsum` or `onnx::Gather`, with any number of inputs.

    `means` is the operator that computes the same on the first input (a join on all of them), but writes or keeps other
    tensors, since its tensors lie in memory without gaps. It says which positions are read.
    """

    joins: ClassVar[bool] = True
    unknown_calls: ClassVar[bool] = True
    function: str
    made: Shape
    tensors: Named = ()  # trainable
    state: Named = ()  # kept, but not trained
    counts: Counts | None = None  # for one image; None: unknown
    common: Counts = ()  # once per batch, beside those
    gradients: tuple[Counts | None, ...] | None = None  # of each input, for one image; of further ones none
    common_gradients: tuple[Counts, ...] = ()  # once per batch, beside those, such as sums over the images
    gradient_of_weights: Counts | None = None  # for one image
    wrote: int = 0  # values for one image, a complex one as two; 0 for a view or in place
    kept: Saved | None = None  # what backward keeps
    elementwise: bool = False  # whether each output position reads its own position only
    kept_inputs: tuple[int, ...] | None = None  # which inputs `kept.input` stands for; None: all
    shapes: tuple[int, ...] = ()  # the inputs of which only the shape is read
    dtype: str = ""  # of the values and weights; "": the network's; "complex": two numbers of it
    read_dtypes: tuple[str, ...] = ()  # of the inputs, likewise; without them all have the network's
    means: Operator | None = None
    read: Any = None  # the shape that `means` reads

    @property
    def name(self) -> str:  # type: ignore[override]  # of an operator, here of the function
        return self.function

    @property
    def weighted(self) -> bool:  # type: ignore[override]
        if self.means:
            return self.means.weighted
        return bool(self.tensors) and "mac" in dict(self.counts or ())

    @property
    def may_be_weighted(self) -> bool:
        """Whether it has weights and unknown work, so that it may be a weighted layer."""
        return not self.means and bool(self.tensors) and self.counts is None

    @property
    def of_shape(self) -> tuple[int, ...]:  # type: ignore[override]
        return self.shapes

    @property
    def unknown_memory(self) -> bool:  # type: ignore[override]
        return self.kept is None

    @property
    def unknown_reads(self) -> bool:  # type: ignore[override]
        return not (self.means or self.elementwise)

    def output(self, x: Sequence[Shape]) -> Shape:
        return self.made

    def weights(self, x: Sequence[Shape]) -> dict[str, Sizes]:
        return dict(self.tensors)

    def buffers(self, x: Sequence[Shape]) -> dict[str, Sizes]:
        return dict(self.state)

    def work(self, x: Sequence[Shape], y: Shape) -> Work:
        return dict(self._known(self.counts, "work"))

    def work_per_batch(self, x: Sequence[Shape]) -> Work:
        return dict(self.common)

    def input_gradient(self, x: Sequence[Shape], y: Shape, batch: int) -> Work:
        return self.gradients_of(x, y, batch, [True] * len(x))

    def gradients_of(self, x: Sequence[Shape], y: Shape, batch: int, needed: Sequence[bool]) -> Work:
        work: Work = {}
        gradients = (None,) * len(needed) if self.gradients is None else self.gradients
        for wanted, each, common in zip_longest(needed, gradients, self.common_gradients, fillvalue=()):
            if wanted:
                known = {kind: batch * count for kind, count in self._known(each, "input's gradient")}
                work = add_work(add_work(work, known), dict(common))
        return work

    def weight_gradient(self, x: Sequence[Shape], y: Shape, batch: int) -> Work:
        known = self._known(self.gradient_of_weights, "weights' gradient") if self.tensors else ()
        return {kind: batch * count for kind, count in known}

    def writes(self, x: Sequence[Shape], y: Shape, training: bool) -> int:
        return self.wrote

    def saved(self, x: Sequence[Shape], y: Shape) -> Saved:
        if self.kept is None:
            raise self._no_rule("saved tensors")
        return self.kept

    def windows(self, x: Sequence[Shape]) -> list[tuple[Axis, ...] | None]:
        """As `means` reads; else the same position of each input, if it works elementwise."""
        if not self.means:
            return [None if i in self.shapes else (EACH,) * len(shape.lengths) for i, shape in enumerate(x)]
        if isinstance(self.means, Join):
            return self.means.windows(tuple(x))
        return [self.means.window(self.read), *[None] * (len(x) - 1)]

    def links(self, x: Sequence[Shape], y: Shape) -> int:
        if self.counts is None and self.tensors:
            raise self._no_rule("connections")
        biases = any("bias" in name for name, _ in self.tensors)
        return (dict(self.counts or ()).get("mac", 0) + biases * values(y)) * self.weighted

    def _known(self, counts: Counts | None, figure: str) -> Counts:
        if counts is None:
            raise self._no_rule(figure)
        return counts

    def _no_rule(self, figure: str) -> Unknown:
        return Unknown(f"archcalc has no rule for the {figure} of {self.function}")
