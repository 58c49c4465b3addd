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
from archcalc.ops.base import POINT, Shape, Window


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


def meet(fields: Sequence[Field], length: int) -> Field | None:
    """The hull of branches' fields on an axis of the image; None where no one field fits all positions.

    That is so where strides differ. A branch that sees the same positions everywhere (stride 0) has all others in it
    if these are the whole axis; if not, what the join sees moves within a frame that stands still.
    """
    first = fields[0]
    if all(field == first for field in fields):
        return first
    still = [field for field in fields if field.stride == 0]
    if still and len(still) < len(fields):
        frame = meet(still, length)
        return frame if frame and frame.padding >= 0 and frame.size - frame.padding >= length else None
    if any(field.stride != first.stride for field in fields):
        return None
    padding = max(field.padding for field in fields)
    end = max(field.size - field.padding for field in fields)
    return Field(padding + end, first.stride, padding)


def receptive_fields(graph: Graph) -> list[Axes | None]:
    """For each node the field by height and width; None where it differs from position to position."""
    fields: list[Axes | None] = []
    lengths = (graph.input[1], graph.input[2]) if len(graph.input) == 3 else (1, 1)
    for node in graph.nodes:
        fields.append(_field(node, [fields[i] for i in node.inputs], lengths))
    return fields


def _field(node: Node, inputs: list[Axes | None], lengths: tuple[int, int]) -> Axes | None:
    known = [axes for axes in inputs if axes is not None]
    if len(known) < len(inputs):
        return None
    if not known:
        return Field(), Field()
    if node.op.joins:
        return _joined(node, known, lengths)
    (height, width), window = known[0], node.op.window(node.x)
    if window is None or window is POINT:
        return known[0] if window else None
    return through(height, window[0]), through(width, window[1])


def _joined(node: Node, branches: list[Axes], lengths: tuple[int, int]) -> Axes | None:
    if len(node.output) == 3:
        branches = [_spread(axes, shape, node.output) for axes, shape in zip(branches, node.x, strict=True)]
    height, width = (meet([axes[i] for axes in branches], lengths[i]) for i in (0, 1))
    return (height, width) if height and width else None


def _spread(axes: Axes, shape: Shape, output: Shape) -> Axes:
    """A branch's field at the join: a single position has no stride, and spread over many is the same at each."""
    if 1 not in (*shape[1:], *output[1:]):
        return axes
    height, width = (
        field._replace(stride=0) if length == 1 else field for field, length in zip(axes, shape[1:], strict=True)
    )
    return height, width


def last_spatial(graph: Graph, fields: Sequence[Axes | None]) -> int:
    """The last layer on the way to the result that still has places: where papers state a network's receptive field.

    That is the last one before global pooling or flattening; for a network that keeps its places, the result. Of
    several, on branches that are pooled apart, it is the one that sees most.
    """
    placeless, ends = _placeless(graph), []
    on_the_way = {graph.result}
    for position in range(graph.result, -1, -1):
        if position in on_the_way and placeless[position]:
            on_the_way.update(graph.nodes[position].inputs)
        elif position in on_the_way:
            ends.append(position)
    return max(ends, key=lambda position: (_seen(fields[position]), position), default=0)


def _seen(axes: Axes | None) -> float:
    return axes[0].size * axes[1].size if axes else float("inf")


def _placeless(graph: Graph) -> list[bool]:
    """For each node whether its values stand for no place: a vector, or the single position of a global pool."""
    placeless: list[bool] = []
    for node in graph.nodes:
        lost = bool(node.inputs) and all(placeless[i] for i in node.inputs)
        pooled = node.output[1:] == (1, 1) and not node.op.joins and _sees_all(node)
        placeless.append(lost or pooled or len(node.output) != 3)
    return placeless


def _sees_all(node: Node) -> bool:
    """Whether a pool reaches over all places; a convolution as large is a layer like any other."""
    windows = node.op.window(node.x)
    if windows is None or node.op.weighted or len(node.x) != 3:
        return False
    if node.x[1:] == (1, 1) and windows[0].stride:
        return False  # one position gives one
    return all(w.kernel == length and not w.padding for w, length in zip(windows, node.x[1:], strict=True))
