"""The receptive field of every layer: which input positions one output position can see.

On each axis output position i of a layer sees the input positions from i·stride − padding to
i·stride − padding + size − 1, some of which may lie outside the image. Through a window (k, s, p) on a layer
(size, stride, padding): size + (k − 1)·stride, stride·s, padding + p·stride (Araujo et al., Distill 2019). Where
branches meet, the field is the hull of theirs, which is the largest of them when they are centered alike. A layer that
every output sees whole (global pooling, flatten) has the stride 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from archcalc.graph import Graph, Node
from archcalc.ops import Window


class Field(NamedTuple):
    """A receptive field on one axis, in input positions."""

    size: int = 1
    stride: int = 1
    padding: int = 0


Axes = tuple[Field, Field]


def through(field: Field, window: Window) -> Field:
    """The field of a window over a layer with this field."""
    kernel, stride, padding = window
    step = field.stride
    return Field(field.size + (kernel - 1) * step, step * stride, field.padding + padding * step)


def meet(fields: Sequence[Field]) -> Field | None:
    """The hull of branches' fields; None where their strides differ, so that no one field fits all positions."""
    first = fields[0]
    if all(field == first for field in fields):
        return first
    whole = [field for field in fields if field.stride == 0]
    if whole:  # one branch sees everything at every position; so does the join
        return max(whole)
    if any(field.stride != first.stride for field in fields):
        return None
    padding = max(field.padding for field in fields)
    end = max(field.size - field.padding for field in fields)
    return Field(padding + end, first.stride, padding)


def receptive_fields(graph: Graph) -> list[Axes | None]:
    """For each node the field by height and width; None where it differs from position to position."""
    fields: list[Axes | None] = []
    for node in graph.nodes:
        fields.append(_field(node, [fields[i] for i in node.inputs]))
    return fields


def _field(node: Node, inputs: list[Axes | None]) -> Axes | None:
    known = [axes for axes in inputs if axes is not None]
    if len(known) < len(inputs):
        return None
    if not known:
        return Field(), Field()
    height, width = meet([axes[0] for axes in known]), meet([axes[1] for axes in known])
    window = node.op.window(node.x)
    if height is None or width is None or window is None:
        return None
    return through(height, window[0]), through(width, window[1])


def last_spatial(graph: Graph, fields: Sequence[Axes | None]) -> int:
    """The last layer on the way to the result that still has places: where papers state a network's receptive field.

    That is the last one before global pooling or flattening; for a network that keeps its places, the result.
    """
    on_the_way = {graph.result}
    for position in range(graph.result, -1, -1):
        if position not in on_the_way:
            continue
        axes = fields[position]
        if axes is None or (axes[0].stride and axes[1].stride):
            return position
        on_the_way.update(graph.nodes[position].inputs)
    return 0
