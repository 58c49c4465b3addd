"""Operators made of others: their figures are the sums of their parts', and their calls those of the parts in turn."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from functools import reduce
from typing import Any, ClassVar, NamedTuple

from archcalc.ops.base import Calls, Operator, Plain, Saved, Shape, Sizes, Work, add_work, values
from archcalc.ops.calls import Extra

SUM_OF_PARTS = "The sum of its parts."


class Part(NamedTuple):
    """One step within an operator. Values have numbers: the inputs of the whole, then the parts' results."""

    op: Operator
    x: Any
    y: Shape
    reads: tuple[int, ...]
    weights: Mapping[str, str] = {}  # by name in the part: the name in the whole
    calls: Calls | None = None  # if not those of `op`


def total(works: Iterable[Work]) -> Work:
    """Add up operations by kind."""
    return reduce(add_work, works, {})


class Composite(Plain):
    """An operator of several parts, the last of which makes its output."""

    made_of: ClassVar[tuple[type[Operator], ...]]  # the operators of its parts, for `archcalc ops`

    @abstractmethod
    def parts(self, x: Any) -> Sequence[Part]:
        """Return the parts in the order in which they run."""

    def weights(self, x: Any) -> dict[str, Sizes]:
        """Those of its parts."""
        return {part.weights[name]: sizes for part in self.parts(x) for name, sizes in part.op.weights(part.x).items()}

    def work(self, x: Any, y: Shape) -> Work:
        """The sum of its parts."""
        return total(part.op.work(part.x, part.y) for part in self.parts(x))

    def work_per_batch(self, x: Any) -> Work:
        return total(part.op.work_per_batch(part.x) for part in self.parts(x))

    def input_gradient(self, x: Any, y: Shape, batch: int) -> Work:
        """The sum of its parts."""
        return self.gradients_of(x, y, batch, [True] * (len(x) if self.joins else 1))

    def gradients_of(self, x: Any, y: Shape, batch: int, needed: Sequence[bool]) -> Work:
        """All gradients between the parts, and those of the inputs that need one."""
        if not any(needed):
            return {}
        outer = [part for part in self.parts(x) if self._reads_inputs(part, x) and needed[part.reads[0]]]
        again = [part for i, part in enumerate(outer) if part.reads[0] in [other.reads[0] for other in outer[:i]]]
        sums = {"add": batch * sum([values(part.x) for part in again])}
        return total([self.inner_gradient(x, y, batch), sums, *_gradients(outer, batch)])

    def inner_gradient(self, x: Any, y: Shape, batch: int) -> Work:
        return total(_gradients([part for part in self.parts(x) if not self._reads_inputs(part, x)], batch))

    def weight_gradient(self, x: Any, y: Shape, batch: int) -> Work:
        """The sum of its parts."""
        return total(part.op.weight_gradient(part.x, part.y, batch) for part in self.parts(x))

    def links(self, x: Any, y: Shape) -> int:
        """The sum of its parts."""
        return sum(part.op.links(part.x, part.y) for part in self.parts(x))

    @classmethod
    def says(cls, figure: str) -> str:
        text = super().says(figure)
        if text != SUM_OF_PARTS:
            return text
        told = {part.name: part.says(figure) for part in cls.made_of}
        return "\n\n".join([text, *[f"{name}: {own}" for name, own in told.items() if own != "None."]])

    def _reads_inputs(self, part: Part, x: Any) -> bool:
        return max(part.reads) < (len(x) if self.joins else 1)

    def calls(self, x: Any, y: Shape, training: bool, overwrites: bool) -> Calls:
        """Those of its parts, one after the other."""
        inputs, weights = len(x) if self.joins else 1, [*self.weights(x)]
        results, made = [*range(inputs)], list[Any]()
        for number, part in enumerate(self.parts(x)):
            own = part.op.calls(part.x, part.y, training, False) if part.calls is None else part.calls
            used = [inputs + weights.index(part.weights[name]) for name in part.op.weights(part.x)]
            first = inputs + len(weights) + len(made)
            numbers = [*[results[i] for i in part.reads], *used, *range(first, first + len(own))]
            for call in own:
                these = call.reads, call.keeps, call.holds, call.crossed
                reads, keeps, holds, crossed = (tuple([numbers[i] for i in each]) for each in these)
                own_part = number, part.op.name
                made.append(call._replace(reads=reads, keeps=keeps, holds=holds, crossed=crossed, part=own_part))
            results.append(numbers[-1])
        return tuple(made)

    def saved(self, x: Any, y: Shape) -> Saved:
        """What its parts keep."""
        first, kept, state, extras = len(x) if self.joins else 1, set[int](), list[str](), list[Extra]()
        parts = self.parts(x)
        for number, part in enumerate(parts, first):
            own = part.op.saved(part.x, part.y)
            kept.update(part.reads * own.input + (number,) * own.output)
            state += [part.weights[name] for name in own.state]
            extras += own.extras
        last = first + len(parts) - 1
        extras += [Extra("result", parts[i - first].y) for i in sorted(kept) if first <= i < last]
        return Saved(min(kept) < first, last in kept, tuple(state), tuple(extras))


def _gradients(parts: Iterable[Part], batch: int) -> list[Work]:
    return [part.op.input_gradient(part.x, part.y, batch) for part in parts]
