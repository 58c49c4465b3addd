"""Which operators work in place: those that ask to, where nothing else needs the memory they write into.

ReLU overwrites the convolution's output, `add` its first branch. That is safe only where nobody reads the old values
afterwards and, in training, where backward does not keep them. Elsewhere the operator writes a tensor of its own, as a
correct program must. The image is its owner's and never overwritten.
"""

from __future__ import annotations

import math
from collections.abc import Sequence, Set
from typing import NamedTuple

from archcalc.analysis.once_per_graph import first_equals, of_equals, per_graph
from archcalc.errors import SpecError
from archcalc.graph.graph import Graph, Node
from archcalc.ops.base import Extra, Saved


class Memory(NamedTuple):
    """Whose memory the values of each node are in, and in training what backward keeps, node by node."""

    homes: Sequence[int]  # the node whose tensor it gives: its own, also in place, or for a view its input's
    overwrites: Sequence[bool]  # whether it works in its (first) input's memory
    values: Sequence[int]  # of one image, in the tensors that backward keeps for it and for none before
    extras: Sequence[tuple[Extra, ...]]  # what exists only for backward
    kept: Set[int]  # the nodes whose tensors backward keeps


def in_place(graph: Graph, training: bool) -> Sequence[bool]:
    """For each node whether it works in its (first) input's memory."""
    return plan(graph, training).overwrites


@per_graph
def plan(graph: Graph, training: bool) -> Memory:
    """Decide in one walk who works in place. Raises SpecError for an operator without a rule for saved tensors."""
    asks, homes = _homes(graph, training)
    last = _last_readers(graph, homes)
    kept: set[int] = set()
    known: dict[tuple[int, bool], Saved] = {}  # equal layers keep the same
    overwrites, values, extras = list[bool](), list[int](), list[tuple[Extra, ...]]()
    for position, (node, equal) in enumerate(zip(graph.nodes, first_equals(graph), strict=True)):
        free = asks[position] and _free([homes[i] for i in node.inputs], position, last, kept)
        overwrites.append(free)
        if not training:
            continue
        saved = known.get((equal, free))
        if saved is None:
            saved = known[equal, free] = saved_as_run(node, free)
        count = 0
        for i in (*(node.inputs if saved.input else ()), *((position,) if saved.output else ())):
            if homes[i] not in kept:
                kept.add(homes[i])
                count += math.prod(graph.nodes[homes[i]].output)
        values.append(count)
        extras.append(saved.extras)
    return Memory(homes, overwrites, values, extras, kept)


def _free(sources: list[int], at: int, last: list[int], kept: set[int]) -> bool:
    """Whether node `at` may overwrite its first source: no image, read by nobody later, and not kept by backward."""
    first, *others = sources
    return first > 0 and last[first] <= at and first not in kept and first not in others  # the last: x + y + x


def _last_readers(graph: Graph, homes: Sequence[int]) -> list[int]:
    """For each node the last one that reads its tensor, itself if none does."""
    last = list(range(len(graph.nodes)))
    for position, node in enumerate(graph.nodes):
        for i in node.inputs:
            last[homes[i]] = position
    for end in {graph.result, *graph.sides}:
        last[homes[end]] = len(graph.nodes)  # whoever asked for the result, or a side output
    return last


def _homes(graph: Graph, training: bool) -> tuple[list[bool], list[int]]:
    """For each node whether it asks to work in place, and whose tensor it gives: its own, or for a view its input's."""
    asks = of_equals(graph, lambda node: node.op.overwrites(training))
    writes = of_equals(graph, lambda node: node.op.writes(node.x, node.output, training) > 0)
    homes: list[int] = []
    for position, node in enumerate(graph.nodes):
        own = asks[position] or writes[position] or not node.inputs
        homes.append(position if own else homes[node.inputs[0]])
    return asks, homes


def saved_as_run(node: Node, overwrites: bool) -> Saved:
    """What backward keeps of an operator that asks to work in place, as it is allowed to."""
    asks = getattr(node.op, "inplace", False)
    op = node.op if overwrites or not asks else node.op.but(inplace=False)
    try:
        return op.saved(node.x, node.output)
    except NotImplementedError as error:
        raise SpecError(f"{node.name}: {error}", node.place) from None
