"""What PyTorch keeps for the backward pass, by layer; each tensor counts once.

The output of a ReLU is the input of the next convolution: one tensor, counted at the first layer that keeps it. Weights
and buffers exist anyway and are not counted; the image is counted if a layer keeps it.
"""

from __future__ import annotations

import math

from archcalc.analysis.cost import DTYPES, WHOLE
from archcalc.analysis.memory_plan import plan_memory
from archcalc.analysis.once_per_graph import of_batch
from archcalc.graph.graph import Graph
from archcalc.ops.base import Extra
from archcalc.ops.calls import given


def unknown_memory(graph: Graph) -> str:
    """Return the name of the first layer of whose memory archcalc knows nothing; "" if there is none."""
    return next((node.name for node in graph.nodes if node.op.unknown_memory), "")


def unknown_calls(graph: Graph) -> str:
    """Return the first layer of which archcalc does not know all that it allocates, which peaks need; or ""."""
    return next((node.name for node in graph.nodes if node.op.unknown_memory or node.op.unknown_calls), "")


def saved_bytes(graph: Graph, batch: int = 1, dtype: str = "float32", device: str = "cpu") -> list[int]:
    """Return for each node the bytes that backward keeps for it and for no earlier node; all values need gradients."""
    memory = plan_memory(graph, True)
    return [
        (values * batch + common) * DTYPES[dtype] + sum([extra_bytes(extra, batch, dtype, device) for extra in extras])
        for values, common, extras in zip(memory.values, memory.common, memory.extras, strict=True)
    ]


def held_bytes(graph: Graph, batch: int = 1, dtype: str = "float32", device: str = "cpu") -> int:
    """Return the bytes that are allocated after a forward pass: saved tensors except the inputs, and the outputs."""
    memory, batched = plan_memory(graph, True), of_batch(graph)
    entries = {i for i, node in enumerate(graph.nodes) if not node.inputs}
    ends = {memory.homes[i] for i in graph.ends} - memory.kept - entries
    values = sum([math.prod(graph.nodes[i].output) * (batch if batched[i] else 1) for i in ends])
    inputs = [given(graph.nodes[i].output) for i in entries & memory.kept if batched[i]]
    kept = sum([extra_bytes(extra, batch, dtype) for extra in inputs])
    return sum(saved_bytes(graph, batch, dtype, device)) + values * DTYPES[dtype] - kept


def extra_bytes(extra: Extra, batch: int, dtype: str, device: str = "cpu") -> int:
    """Return the bytes of an extra tensor on cpu, cuda or meta; meta has sums as on CUDA and masks as on the CPU."""
    own = DTYPES[dtype]
    mask = 1 if device == "cuda" else own
    wide = max(own, DTYPES["float32"])
    sums = own if device == "cpu" else wide
    value_bytes = WHOLE | DTYPES | {"": own, "complex": 2 * own, "mask": mask, "sums": sums, "wide": wide}
    return math.prod(extra.shape) * (batch if extra.per_image else 1) * value_bytes[extra.dtype]
