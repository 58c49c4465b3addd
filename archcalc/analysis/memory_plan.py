"""Which operators work in place: those that ask to, where nothing else needs the memory they write into.

ReLU overwrites the convolution's output, `add` its first branch. That is safe only where nobody reads the old values
afterwards and, in training, where backward does not keep them. Elsewhere the operator writes a tensor of its own, as a
correct program must. The image is its owner's and never overwritten.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from archcalc.analysis.per_graph import first_equals, of_equals, per_graph
from archcalc.errors import SpecError
from archcalc.graph.graph import Graph, Node
from archcalc.ops import Saved

NOTHING = Saved()


class Memory(NamedTuple):
    """Whose memory the values of each node are in, and what backward keeps, node by node."""

    homes: Sequence[int]  # the node whose tensor it gives: its own, also in place, or for a view its input's
    overwrites: Sequence[bool]  # whether it works in its (first) input's memory
    saved: Sequence[Saved]  # what backward keeps of it as it really works; at inference nothing


def in_place(graph: Graph, training: bool) -> Sequence[bool]:
    """For each node whether it works in its (first) input's memory."""
    return plan(graph, training).overwrites


@per_graph
def plan(graph: Graph, training: bool) -> Memory:
    """Decide in one walk who works in place. Raises SpecError for an operator without a rule for saved tensors."""
    first = first_equals(graph)
    asks = of_equals(graph, lambda node: node.op.overwrites(training))
    made = _homes(graph, asks, training)
    last = _last_readers(graph, made)
    kept: set[int] = {0}  # nodes whose values must stay: the image, and what backward keeps
    decided: list[bool] = []
    all_saved: list[Saved] = []
    known: dict[tuple[int, bool], Saved] = {}  # equal layers keep the same
    for position, node in enumerate(graph.nodes):
        free = asks[position] and _free([made[i] for i in node.inputs], position, last, kept)
        decided.append(free)
        if not training:
            continue
        key = first[position], free
        if key not in known:
            known[key] = saved_as_run(node, free)
        saved = known[key]
        all_saved.append(saved)
        if saved.input:
            kept.update([made[i] for i in node.inputs])
        if saved.output:
            kept.add(position)
    return Memory(made, decided, all_saved or [NOTHING] * len(graph.nodes))


def _free(sources: list[int], at: int, last: list[int], kept: set[int]) -> bool:
    """Whether node `at` may overwrite its first source: nobody reads it later, and backward does not keep it."""
    first, *others = sources
    return last[first] <= at and first not in kept and first not in others  # the last: x + y + x


def _last_readers(graph: Graph, made: list[int]) -> list[int]:
    """For each node the last one that reads its tensor, itself if none does."""
    last = list(range(len(graph.nodes)))
    for position, node in enumerate(graph.nodes):
        for i in node.inputs:
            last[made[i]] = position
    for end in {graph.result, *graph.sides}:
        last[made[end]] = len(graph.nodes)  # whoever asked for the result, or a side output
    return last


def _homes(graph: Graph, asks: Sequence[bool], training: bool) -> list[int]:
    """For each node the one whose tensor it gives: its own, or for a view its input's."""
    writes = of_equals(graph, lambda node: not node.inputs or node.op.writes(node.x, node.output, training) > 0)
    made: list[int] = []
    for position, node in enumerate(graph.nodes):
        own = asks[position] or writes[position]
        made.append(position if own else made[node.inputs[0]])
    return made


def saved_as_run(node: Node, overwrites: bool) -> Saved:
    """What backward keeps of an operator that asks to work in place, as it is allowed to."""
    asks = getattr(node.op, "inplace", False)
    op = node.op if overwrites or not asks else replace(node.op, inplace=False)  # type: ignore[type-var]  # a dataclass
    try:
        return op.saved(node.x, node.output)
    except NotImplementedError as error:
        raise SpecError(f"{node.name}: {error}", node.place) from None
