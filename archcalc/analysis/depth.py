"""Depth: the number of weighted layers on the longest path, as papers count it; ResNet-50 has 50, without projections.

Weighted layers are convolutions, linear layers, and LeNet-5's subsampling and RBF layers, but not normalization.
"""

from __future__ import annotations

from archcalc.graph.graph import Graph


def depths(graph: Graph) -> list[int]:
    """Return for each node the most weighted layers on a path from the input to it, including itself."""
    counts: list[int] = []
    for node in graph.nodes:
        inputs = node.inputs
        before = counts[inputs[0]] if len(inputs) == 1 else max([counts[i] for i in inputs], default=0)
        counts.append(before + node.op.weighted)
    return counts
