"""What PyTorch keeps for the backward pass: by layer, each tensor once.

ReLU's result is the next convolution's input: one tensor, kept once, by the first layer that asks for it. Weights and
buffers exist anyway and are not counted; the image is, where a layer keeps it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from archcalc.analysis.cost import DTYPES
from archcalc.analysis.in_place import homes, in_place, saved_as_run
from archcalc.graph import Graph
from archcalc.ops.base import Extra

BYTES = {"int64": 8, "bool": 1}  # of extras that are not in the network's dtype


def saved_bytes(graph: Graph, batch: int = 1, dtype: str = "float32", cuda: bool = False) -> list[int]:
    """For each node the bytes that backward keeps for it and not yet for one before; every value wants a gradient."""
    return [count for count, _ in _kept(graph, batch, dtype, cuda)]


def held_bytes(graph: Graph, batch: int = 1, dtype: str = "float32", cuda: bool = False) -> int:
    """What a forward pass leaves behind for backward: all that is saved but the image, and what the network gives."""
    memory = _memory(graph, in_place(graph, training=True))
    ends = {memory[i] for i in (graph.result, *graph.sides)}
    total, known = 0, {0}
    for count, new in _kept(graph, batch, dtype, cuda):
        total += count - (_bytes(graph, 0, batch, dtype) if 0 in new else 0)
        known |= new
    return total + sum(_bytes(graph, i, batch, dtype) for i in ends - known)


def _kept(graph: Graph, batch: int, dtype: str, cuda: bool) -> Iterator[tuple[int, set[int]]]:
    """For each node the bytes it keeps, and whose memory is newly among them."""
    overwrites = in_place(graph, training=True)
    memory = _memory(graph, overwrites)
    known: set[int] = set()
    for position, node in enumerate(graph.nodes):
        saved = saved_as_run(node, overwrites[position])
        tensors = {memory[i] for i in node.inputs} if saved.input else set()
        tensors |= {memory[position]} if saved.output else set()
        new = tensors - known
        mask = cuda and node.op.name == "dropout" and not overwrites[position]  # there one byte a value
        extras = (_extra(extra, batch, "bool" if mask else dtype) for extra in saved.extras)
        yield sum(_bytes(graph, i, batch, dtype) for i in new) + sum(extras), new
        known |= new


def _bytes(graph: Graph, position: int, batch: int, dtype: str) -> int:
    return math.prod(graph.nodes[position].output) * batch * DTYPES[dtype]


def _memory(graph: Graph, overwrites: list[bool]) -> list[int]:
    """For each node the one that made the memory its values are in."""
    memory: list[int] = []
    for position, home in enumerate(homes(graph, training=True)):
        node = graph.nodes[position]
        own = home == position and not overwrites[position]
        memory.append(position if own else memory[node.inputs[0]])
    return memory


def _extra(extra: Extra, batch: int, dtype: str) -> int:
    value_bytes = (BYTES | DTYPES)[extra.dtype or dtype]
    return math.prod(extra.shape) * (batch if extra.per_image else 1) * value_bytes
