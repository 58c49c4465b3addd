"""Which operators work in place: those that ask to, where nothing else needs the memory they write into.

ReLU overwrites the convolution's output, `add` its first branch. That is safe only where nobody reads the old values
afterwards and, in training, where backward does not keep them. Elsewhere the operator writes a tensor of its own, as a
correct program must. The image is its owner's and never overwritten.
"""

from __future__ import annotations

from dataclasses import replace

from archcalc.graph import Graph, Node
from archcalc.ops import Saved


def in_place(graph: Graph, training: bool) -> list[bool]:
    """For each node whether it works in its (first) input's memory."""
    made = homes(graph, training)
    last = _last_readers(graph, made)
    kept: set[int] = {0}  # nodes whose values must stay: the image, and what backward keeps
    decided: list[bool] = []
    for position, node in enumerate(graph.nodes):
        sources = [made[i] for i in node.inputs]
        again = bool(sources) and sources[0] in sources[1:]  # x + y + x
        free = bool(sources) and last[sources[0]] <= position and sources[0] not in kept
        decided.append(free and not again and node.op.overwrites(training))
        if training and made[position] == position:  # a view reads nothing
            saved = saved_as_run(node, decided[-1])
            kept.update(sources if saved.input else (), [position] if saved.output else ())
    return decided


def _last_readers(graph: Graph, made: list[int]) -> list[int]:
    """For each node the last one that reads its tensor, itself if none does; views read nothing."""
    last = list(range(len(graph.nodes)))
    for position, node in enumerate(graph.nodes):
        if made[position] == position:
            for i in node.inputs:
                last[made[i]] = position
    for end in {graph.result, *graph.sides}:
        last[made[end]] = len(graph.nodes)  # whoever asked for the result, or a side output
    return last


def homes(graph: Graph, training: bool) -> list[int]:
    """For each node the one whose tensor it gives: its own, or for a view its input's."""
    made: list[int] = []
    for position, node in enumerate(graph.nodes):
        op = node.op
        own = not node.inputs or op.overwrites(training) or op.writes(node.x, node.output, training) > 0
        made.append(position if own else made[node.inputs[0]])
    return made


def saved_as_run(node: Node, overwrites: bool) -> Saved:
    """What backward keeps of an operator that asks to work in place, as it is allowed to."""
    asks = getattr(node.op, "inplace", False)
    op = node.op if overwrites or not asks else replace(node.op, inplace=False)  # type: ignore[type-var]  # a dataclass
    return op.saved(node.x, node.output)
