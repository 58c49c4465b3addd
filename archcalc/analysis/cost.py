"""Parameters, arithmetic and written values of each layer."""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

from archcalc.graph.graph import Node

DTYPES = {"float64": 8, "float32": 4, "float16": 2, "bfloat16": 2}  # bytes a value
STATISTICS = frozenset({"running_mean", "running_var"})  # buffers that training averages
COUNTERS = frozenset({"num_batches_tracked"})  # buffers that PyTorch keeps in int64 whatever the network's dtype


class Cost(NamedTuple):
    """What one layer costs: counts of values and operations; `buffer_bytes` in bytes."""

    weights: int
    biases: int
    params: int
    buffers: int  # those that follow, added up
    running_statistics: int
    batch_counters: int
    fixed_values: int
    buffer_bytes: int
    work: Mapping[str, int]  # this and what follows: of the whole batch
    macs: int
    connections: int
    activations: int


def cost_of(node: Node, batch: int, value_bytes: int, training: bool, in_place: bool = True) -> Cost:
    """The cost of a node for a batch: weights and buffers once, work and activations for every image.

    An operator that asks to work in place and cannot (`in_place` False) writes its output.
    """
    weights = biases = statistics = counters = fixed = 0
    for name, shape in node.op.weights(node.x).items():
        if name == "bias":
            biases += math.prod(shape)
        else:
            weights += math.prod(shape)
    for name, shape in node.op.buffers(node.x).items():
        if name in STATISTICS:
            statistics += math.prod(shape)
        elif name in COUNTERS:
            counters += math.prod(shape)
        else:
            fixed += math.prod(shape)
    work = MappingProxyType({kind: batch * count for kind, count in node.op.work(node.x, node.output).items()})
    links = batch * node.op.links(node.x, node.output)
    copies = node.op.overwrites(training) and not in_place
    writes = batch * (math.prod(node.output) if copies else node.op.writes(node.x, node.output, training))
    buffer_bytes = (statistics + fixed) * value_bytes + counters * 8
    buffers = statistics + counters + fixed, statistics, counters, fixed, buffer_bytes
    return Cost(weights, biases, weights + biases, *buffers, work, work.get("mac", 0), links, writes)
