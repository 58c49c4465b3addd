"""A function of an imported network that archcalc has no operator for: the facts that the importer's rule gave.

It is no word of specs. What no rule gave is None, and unknown: it never counts as zero.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, TypeAlias

from archcalc.ops.base import Plain, Saved, Shape, Sizes, Unknown, Work, declared, values
from archcalc.ops.reads import EACH, Axis

Counts: TypeAlias = tuple[tuple[str, int], ...]  # operations by kind
Named: TypeAlias = tuple[tuple[str, Sizes], ...]  # the sizes of tensors by name


@declared
class Imported(Plain):
    """One call of a function such as `aten::einsum` or `onnx::Gather`, with any number of inputs."""

    joins: ClassVar[bool] = True
    unknown_calls: ClassVar[bool] = True
    function: str
    made: Shape
    tensors: Named = ()  # trainable
    state: Named = ()  # kept, but not trained
    counts: Counts | None = ()  # for one image; None: unknown
    common: Counts = ()  # once per batch, beside those
    gradient: Counts | None = None  # of all inputs, for one image
    gradient_of_weights: Counts | None = None  # for one image
    wrote: int = 0  # values for one image; 0 for a view or in place
    kept: Saved | None = None  # what backward keeps
    elementwise: bool = False  # whether each output position reads its own position only

    @property
    def name(self) -> str:  # type: ignore[override]  # of an operator, here of the function
        return self.function

    @property
    def weighted(self) -> bool:  # type: ignore[override]
        return bool(self.tensors) and "mac" in dict(self.counts or ())

    @property
    def unknown_memory(self) -> bool:  # type: ignore[override]
        return self.kept is None

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
        return {kind: batch * count for kind, count in self._known(self.gradient, "input's gradient")}

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
        """The same position of each input, if it works elementwise."""
        return [(EACH,) * len(shape.lengths) for shape in x]

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
