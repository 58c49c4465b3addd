"""Depth: the number of weighted layers on the longest path, as papers count it; ResNet-50 has 50, without projections.

Weighted layers are convolutions, linear layers, and LeNet-5's subsampling and RBF layers, but not normalization.
"""

from __future__ import annotations

from archcalc.graph.graph import Graph
from archcalc.ops.imported import Imported


def depths(graph: Graph, most: bool = False) -> list[int]:
    """Return for each node the most weighted layers on a path from the input to it, including itself.

    With `most` imported functions that may be weighted count, too: they have weights, but their work is unknown.
    """
    counts: list[int] = []
    for node in graph.nodes:
        inputs = node.inputs
        before = counts[inputs[0]] if len(inputs) == 1 else max([counts[i] for i in inputs], default=0)
        counts.append(
            before + (node.op.weighted or (most and isinstance(node.op, Imported) and node.op.may_be_weighted))
        )
    return counts
