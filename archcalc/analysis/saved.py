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


def saved_bytes(graph: Graph, batch: int = 1, dtype: str = "float32", device: str = "cpu") -> list[int]:
    """For each node the bytes that backward keeps for it and not yet for one before; every value wants a gradient."""
    return [count for count, _ in _kept(graph, batch, dtype, device)]


def held_bytes(graph: Graph, batch: int = 1, dtype: str = "float32", device: str = "cpu") -> int:
    """What a forward pass leaves behind for backward: all that is saved but the image, and what the network gives."""
    memory = _memory(graph, in_place(graph, training=True))
    ends = {memory[i] for i in (graph.result, *graph.sides)}
    total, known = 0, {0}
    for count, new in _kept(graph, batch, dtype, device):
        total += count - (_bytes(graph, 0, batch, dtype) if 0 in new else 0)
        known |= new
    return total + sum(_bytes(graph, i, batch, dtype) for i in ends - known)


def _kept(graph: Graph, batch: int, dtype: str, device: str) -> Iterator[tuple[int, set[int]]]:
    """For each node the bytes it keeps, and whose memory is newly among them."""
    overwrites = in_place(graph, training=True)
    memory = _memory(graph, overwrites)
    known: set[int] = set()
    for position, node in enumerate(graph.nodes):
        saved = saved_as_run(node, overwrites[position])
        tensors = {memory[i] for i in node.inputs} if saved.input else set()
        tensors |= {memory[position]} if saved.output else set()
        new = tensors - known
        extras = (extra_bytes(extra, batch, dtype, device) for extra in saved.extras)
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


def extra_bytes(extra: Extra, batch: int, dtype: str, device: str = "cpu") -> int:
    """What an extra takes on a device: cpu, cuda, or meta, which sums as CUDA does and draws noise as the CPU does."""
    own = DTYPES[dtype]
    mask = 1 if device == "cuda" else own
    sums = own if device == "cpu" else max(own, DTYPES["float32"])
    value_bytes = {"": own, "int64": 8, "mask": mask, "sums": sums}[extra.dtype]
    return math.prod(extra.shape) * (batch if extra.per_image else 1) * value_bytes
