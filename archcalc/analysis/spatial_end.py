"""The layer at which a network's receptive field is stated: the last one with positions."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from archcalc.analysis.field_figures import largest_local
from archcalc.analysis.once_per_graph import of_equals
from archcalc.analysis.receptive_field import Axes
from archcalc.graph.graph import Graph, Node
from archcalc.ops.reads import ALL, Window


def last_spatial(graph: Graph, fields: Callable[[], Sequence[Axes | None]]) -> int:
    """Return the last layer with positions on the way to the result, where papers state a network's receptive field.

    That is the last layer before global pooling or flattening; without these, the result. If branches are pooled one by
    one, it is the layer with the largest local field; only then are fields computed.
    """
    lost, ends = _lost(graph), []
    on_the_way = {*graph.results}
    for position in range(max(graph.results), -1, -1):
        if position in on_the_way and lost[position]:
            on_the_way.update(graph.nodes[position].inputs)
        elif position in on_the_way:
            ends.append(position)
    if len(ends) < 2:
        return ends[0] if ends else 0
    known = fields()
    return max(ends, key=lambda position: (_local(known[position]), position))


def _local(axes: Axes | None) -> float:
    return largest_local(axes) if axes else float("inf")


def _lost(graph: Graph) -> list[bool]:
    """Return for each node whether its positions are lost: it is a vector, or a single position after a global pool.

    A single position that is enlarged to several again has positions.
    """
    lost: list[bool] = []
    for node, (single, gone) in zip(graph.nodes, of_equals(graph, _positions), strict=True):
        still = single and bool(node.inputs) and all(lost[i] for i in node.inputs)
        lost.append(still or gone)
    return lost


def _positions(node: Node) -> tuple[bool, bool]:
    """Return whether there is a single position, and whether there is none, or one after a global pool."""
    single = node.output.single
    return single, not node.output.lengths or (single and not node.op.joins and _sees_all(node))


def _sees_all(node: Node) -> bool:
    """Whether a pool reads all positions; a convolution as large, or a pool with holes, does not count."""
    if node.op.weighted or not node.inputs or not node.x.lengths:
        return False
    windows = node.op.window(node.x)
    if node.x.single:
        return {*windows} == {ALL}  # others map one position to one
    return all(
        axis == ALL or (isinstance(axis, Window) and axis.kernel == length and not axis.padding)
        for axis, length in zip(windows, node.x.lengths, strict=True)
    )
