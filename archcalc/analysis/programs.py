"""The calls of operators with sizes in bytes; equal operators share them."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterable
from itertools import zip_longest
from typing import NamedTuple

from archcalc.analysis.cost import DTYPES
from archcalc.analysis.memory_trace import Size
from archcalc.graph.graph import Node
from archcalc.ops.base import Calls, Extra
from archcalc.ops.calls import FLAG, NEW, NUMBER, Call


class Compiled(NamedTuple):
    """A call with sizes in bytes, its gradients as (read, rule, scratch), and the values to free after it."""

    call: Call
    size: Size
    extras: list[Size]
    numbers: list[Size]  # those of the extras that are Python's
    copies: list[Size]
    uses: list[Size]
    grads: list[tuple[int, str, int]]
    done: list[int]


class Programs:
    """Compiled calls, by a key that equal operators share."""

    def __init__(self, dtype: str, device: str) -> None:
        self.dtype, self.device = dtype, device
        self.known: dict[Hashable, list[Compiled]] = {}

    def of(self, key: Hashable, inputs: int, calls: Callable[[], Calls]) -> list[Compiled]:
        """Return the compiled calls of a key; they read so many inputs and weights."""
        found = self.known.get(key)
        if found is None:
            found = self.known[key] = self._compile(calls(), inputs)
        return found

    def size(self, extra: Extra) -> Size:
        """Return the size of a tensor; on CUDA those that are always on the CPU take no memory."""
        own, cuda = DTYPES[self.dtype], self.device == "cuda"
        others = {
            "int64": 8,
            "bool": 1,
            "mask": 1 if cuda else own,
            "sums": own if self.device == "cpu" else max(own, DTYPES["float32"]),
            "number": 0 if cuda else 8,
            "draw": 0 if cuda else 4,
            "flag": 0 if cuda else 1,
            "byte": 0 if cuda else 1,
        }
        count = math.prod(extra.shape) * (others[extra.dtype] if extra.dtype else own)
        return (0, count) if extra.per_image else (count, 0)

    def _compile(self, calls: Calls, first: int) -> list[Compiled]:
        """Compute the sizes of calls, whose results have numbers from `first` on, and where each is read last."""
        last = {value: i for i, call in enumerate(calls) for value in (first + i, *call.reads, *call.holds)}
        done: list[list[int]] = [[] for _ in calls]
        for value, i in last.items():
            if first <= value < first + len(calls) - 1:
                done[i].append(value)
        return [self._compile_one(call, ended) for call, ended in zip(calls, done, strict=True)]

    def _compile_one(self, call: Call, done: list[int]) -> Compiled:
        numbers = [extra for extra in call.extras if extra in (NUMBER, FLAG)]
        extras = [extra for extra in call.extras if extra not in numbers]
        rules = zip_longest(call.reads, call.grads, call.scratch)
        grads = [(read, rule or NEW, scratch or 0) for read, rule, scratch in rules]
        sizes = self._sizes
        return Compiled(
            call,
            self.size(call.makes),
            sizes(extras),
            sizes(numbers),
            sizes(call.copies),
            sizes(call.uses),
            grads,
            done,
        )

    def _sizes(self, extras: Iterable[Extra]) -> list[Size]:
        return [self.size(extra) for extra in extras]


def calls_as_run(node: Node, training: bool, overwrites: bool) -> Calls:
    """Return the calls of a node that does or does not overwrite its input."""
    able = getattr(node.op, "inplace", False)
    op = node.op if overwrites or not able else node.op.but(inplace=False)
    return op.calls(node.x, node.output, training, overwrites)
