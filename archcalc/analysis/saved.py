"""What PyTorch keeps for the backward pass: by layer, each tensor once.

ReLU's result is the next convolution's input: one tensor, kept once, by the first layer that asks for it. Weights and
buffers exist anyway and are not counted; the image is, where a layer keeps it.
"""

from __future__ import annotations

import math

from archcalc.analysis.cost import DTYPES
from archcalc.analysis.memory_plan import plan
from archcalc.graph.graph import Graph
from archcalc.ops.base import Extra


def saved_bytes(graph: Graph, batch: int = 1, dtype: str = "float32", device: str = "cpu") -> list[int]:
    """For each node the bytes that backward keeps for it and not yet for one before; every value needs a gradient."""
    return _kept(graph, batch, dtype, device)[0]


def held_bytes(graph: Graph, batch: int = 1, dtype: str = "float32", device: str = "cpu") -> int:
    """What a forward pass leaves behind for backward: all that is saved but the image, and what the network gives."""
    counts, known = _kept(graph, batch, dtype, device)
    homes = plan(graph, training=True).homes
    ends = {homes[i] for i in (graph.result, *graph.sides)} - known - {0}
    image = _bytes(graph, 0, batch, dtype) if 0 in known else 0
    return sum(counts) - image + sum(_bytes(graph, i, batch, dtype) for i in ends)


def _kept(graph: Graph, batch: int, dtype: str, device: str) -> tuple[list[int], set[int]]:
    """For each node the bytes it keeps and none before it does; and whose tensors are kept.

    What works in place overwrites only what nobody keeps, so its tensor is as good as one of its own.
    """
    homes, _, all_saved = plan(graph, training=True)
    counts, known = list[int](), set[int]()
    extras: dict[int, int] = {}
    for position, (node, saved) in enumerate(zip(graph.nodes, all_saved, strict=True)):
        count = extras.get(id(saved))
        if count is None:
            count = extras[id(saved)] = sum(extra_bytes(extra, batch, dtype, device) for extra in saved.extras)
        for i in (*(node.inputs if saved.input else ()), *((position,) if saved.output else ())):
            if homes[i] not in known:
                known.add(homes[i])
                count += _bytes(graph, homes[i], batch, dtype)
        counts.append(count)
    return counts, known


def _bytes(graph: Graph, position: int, batch: int, dtype: str) -> int:
    return math.prod(graph.nodes[position].output) * batch * DTYPES[dtype]


def extra_bytes(extra: Extra, batch: int, dtype: str, device: str = "cpu") -> int:
    """What an extra takes on a device: cpu, cuda, or meta, which sums as CUDA does and draws noise as the CPU does."""
    own = DTYPES[dtype]
    mask = 1 if device == "cuda" else own
    sums = own if device == "cpu" else max(own, DTYPES["float32"])
    value_bytes = {"": own, "int64": 8, "mask": mask, "sums": sums}[extra.dtype]
    return math.prod(extra.shape) * (batch if extra.per_image else 1) * value_bytes
