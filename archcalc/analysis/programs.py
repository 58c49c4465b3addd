"""The calls of operators with sizes in bytes, under autocast with casts; equal operators share them."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Sequence
from itertools import zip_longest
from typing import NamedTuple

from archcalc.analysis.autocast import CAST, with_casts
from archcalc.analysis.cost import DTYPES
from archcalc.analysis.memory_trace import Size
from archcalc.graph.graph import Node
from archcalc.ops.base import Calls, Extra, Sizes
from archcalc.ops.calls import FLAG, FULL, IMAGES, NEW, NONE, NUMBER, SAME, SLICE, SUM, VIEW, Call


class Source(NamedTuple):
    """The calls of an operator, with the shapes of the inputs and weights that they read."""

    operator: str
    inputs: Sequence[Sizes]
    weights: Sequence[Sizes]
    calls: Calls
    batched: Sequence[bool] = ()  # whether each input differs from image to image; (): all do


class Compiled(NamedTuple):
    """A call with sizes in bytes, its gradients as in `Edge`, and the values to free after it.

    A gradient is (read, rule, scratch, size that it has first if autograd then casts it, whether it is `viewed`).
    """

    call: Call
    size: Size
    extras: list[Size]
    numbers: list[Size]  # those of the extras that are Python's
    copies: list[Size]
    uses: list[Size]
    grads: list[tuple[int, str, list[Size], Size | None, bool]]
    done: list[int]


class Programs:
    """Compiled calls, by a key that equal operators share."""

    def __init__(self, dtype: str, device: str, amp: bool, single: bool) -> None:
        self.device, self.amp, self.single = device, amp, single
        own, cuda = DTYPES[dtype], device == "cuda"
        self.value_bytes = DTYPES | {  # on CUDA what is always on the CPU takes no memory
            "": own,
            "int64": 8,
            "bool": 1,
            "mask": 1 if cuda else own,
            "wide": max(own, DTYPES["float32"]),
            "sums": own if device == "cpu" else max(own, DTYPES["float32"]),
            "number": 0 if cuda else 8,
            "draw": 0 if cuda else 4,
            "flag": 0 if cuda else 1,
            "byte": 0 if cuda else 1,
        }
        self.known: dict[Hashable, list[Compiled]] = {}

    def of(self, key: Hashable, dtypes: tuple[str, ...], source: Callable[[], Source]) -> list[Compiled]:
        """Return the compiled calls of a key, for inputs of these dtypes."""
        found = self.known.get((key, dtypes))
        if found is None:
            operator, inputs, weights, calls, batched = source()
            columns = inputs, dtypes, batched or [True] * len(inputs)
            reads = [Extra("input", *column) for column in zip(*columns, strict=True)]
            reads += [Extra("weight", shape, per_image=False) for shape in weights]
            calls = calls if all(batched) else _with_common(calls, reads, len(inputs), self.single)
            if self.amp:
                calls = with_casts(operator, calls, reads, self.device)
            found = self.known[key, dtypes] = self._compile(calls, reads)
        return found

    def size(self, extra: Extra) -> Size:
        """Return the size of a tensor."""
        count = math.prod(extra.shape) * self.value_bytes[extra.dtype]
        return (0, count) if extra.per_image else (count, 0)

    def _compile(self, calls: Calls, reads: Sequence[Extra]) -> list[Compiled]:
        """Compute the sizes of calls, whose results have the numbers after their reads, and where each is read last."""
        first, values = len(reads), [*reads, *[call.makes for call in calls]]
        last = {value: i for i, call in enumerate(calls) for value in (first + i, *call.reads, *call.holds)}
        done: list[list[int]] = [[] for _ in calls]
        for value, i in last.items():
            if first <= value < first + len(calls) - 1:
                done[i].append(value)
        return [self._compile_one(call, values, ended) for call, ended in zip(calls, done, strict=True)]

    def _compile_one(self, call: Call, values: Sequence[Extra], done: list[int]) -> Compiled:
        numbers = [extra for extra in call.extras if extra in (NUMBER, FLAG)]
        extras = [extra for extra in call.extras if extra not in numbers]
        rules = [rule for rule in zip_longest(call.reads, call.grads, call.scratch) if rule[1] != NONE]
        grads = [
            (i, rule or NEW, [*map(self.size, scratch or ())], self._made_first(read, call), viewed(read, rule))
            for i, rule, scratch in rules
            for read in [values[i]]
        ]
        parts = extras, numbers, call.copies, call.uses
        kept, counted, copies, uses = ([self.size(extra) for extra in part] for part in parts)
        return Compiled(call, self.size(call.makes), kept, counted, copies, uses, grads, done)

    def _made_first(self, read: Extra, call: Call) -> Size | None:
        """Return the size that a gradient has in the result's dtype, if autograd then casts it to that of the read.

        Normalizations make the gradients of their weights in the weights' dtype, and a cast that of what it reads. No
        other function reads a weight that is wider than its result.
        """
        if read.dtype == call.makes.dtype or call.makes.name == CAST or read.name == "weight":
            return None
        return self.size(read._replace(dtype=call.makes.dtype))


def viewed(read: Extra, rule: str) -> bool:
    """Whether a gradient is a sum that is seen as a view: that of a weight without a dimension for images."""
    return rule in (FULL, SUM) and read.name in ("weight", CAST) and not read.per_image


def _with_common(calls: Calls, reads: Sequence[Extra], inputs: int, single: bool) -> Calls:
    """Return calls of values that all images share: so are results of nothing else; gradients are summed over images.

    A `single` image needs no sum. The first `inputs` of `reads` are inputs, the others weights.
    """
    summed = {**dict.fromkeys((SAME, SUM, SLICE, VIEW), IMAGES), NEW: FULL, "": FULL}
    summed = {SUM: SAME, FULL: NEW} if single else summed
    differs, made, sizes = [read.per_image for read in reads], list[Call](), [read.shape for read in reads]
    for call in calls:
        differs.append(any(differs[i] for i in call.reads))
        sizes.append(call.makes.shape)
        if differs[-1]:
            rules = zip_longest(call.reads, call.grads, fillvalue="")
            common = {i for i in call.reads if not differs[i]} - {*range(inputs, len(reads))}
            alike = {i for i in common if sizes[i] == call.makes.shape or not single}
            grads = [summed.get(rule, rule) if i in alike else rule for i, rule in rules]
            made.append(call._replace(grads=tuple(grads)))
        else:
            extras, copies, uses = (tuple(map(_common, own)) for own in (call.extras, call.copies, call.uses))
            made.append(call._replace(makes=_common(call.makes), extras=extras, copies=copies, uses=uses))
    return tuple(made)


def _common(extra: Extra) -> Extra:
    return extra._replace(per_image=False)


def calls_as_run(node: Node, training: bool, overwrites: bool, batched: Sequence[bool] = ()) -> Source:
    """Return the calls of a node that does or does not overwrite its input; `batched` as in `Source`."""
    able = getattr(node.op, "inplace", False)
    op = node.op if overwrites or not able else node.op.but(inplace=False)
    inputs, weights = node.x if op.joins else (node.x,) * len(node.inputs), op.weights(node.x)
    return Source(op.name, inputs, [*weights.values()], op.calls(node.x, node.output, training, overwrites), batched)
