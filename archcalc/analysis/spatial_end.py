"""Where a network's receptive field is stated: the last layer that still has places."""

from __future__ import annotations

from collections.abc import Sequence

from archcalc.analysis.field_figures import largest_local
from archcalc.analysis.receptive_field import Axes
from archcalc.graph.graph import Graph, Node
from archcalc.ops.reads import ALL, Window


def last_spatial(graph: Graph, fields: Sequence[Axes | None]) -> int:
    """The last layer on the way to the result that still has places: where papers state a network's receptive field.

    That is the last one before global pooling or flattening; for a network that keeps its places, the result. Of
    several, on branches that are pooled apart, it is the one with the largest local field.
    """
    placeless, ends = _placeless(graph), []
    on_the_way = {graph.result}
    for position in range(graph.result, -1, -1):
        if position in on_the_way and placeless[position]:
            on_the_way.update(graph.nodes[position].inputs)
        elif position in on_the_way:
            ends.append(position)
    return max(ends, key=lambda position: (_local(fields[position]), position), default=0)


def _local(axes: Axes | None) -> float:
    return largest_local(axes) if axes else float("inf")


def _placeless(graph: Graph) -> list[bool]:
    """For each node whether its values stand for no place: a vector, or the single position of a global pool.

    Enlarged again to several positions, that has places: the network goes on from there.
    """
    placeless: list[bool] = []
    for node in graph.nodes:
        single = node.output[1:] == (1, 1)
        lost = single and bool(node.inputs) and all(placeless[i] for i in node.inputs)
        pooled = single and not node.op.joins and _sees_all(node)
        placeless.append(lost or pooled or len(node.output) != 3)
    return placeless


def _sees_all(node: Node) -> bool:
    """Whether a pool reads all places; a convolution as large, or a pool with holes, is a layer like any other."""
    if node.op.weighted or len(node.x) != 3:
        return False
    windows = node.op.window(node.x)
    if node.x[1:] == (1, 1):
        return windows == (ALL, ALL)  # any other takes one position to one
    return all(
        axis == ALL or (isinstance(axis, Window) and axis.kernel == length and not axis.padding)
        for axis, length in zip(windows, node.x[1:], strict=True)
    )
