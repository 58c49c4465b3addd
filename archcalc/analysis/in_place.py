"""Which operators work in place: those that ask to, where nothing else needs the memory they write into.

ReLU overwrites the convolution's output, `add` its first branch. That is safe only where nobody reads the old values
afterwards and, in training, where backward does not keep them. Elsewhere the operator writes a tensor of its own, as a
correct program must. The image is its owner's and never overwritten.
"""

from __future__ import annotations

from dataclasses import replace

from archcalc.graph import Graph, Node
from archcalc.ops import Saved

NOTHING = Saved()


def in_place(graph: Graph, training: bool) -> list[bool]:
    """For each node whether it works in its (first) input's memory."""
    made = homes(graph, training)
    readers: dict[int, list[int]] = {}
    for position, node in enumerate(graph.nodes):
        if made[position] == position:  # a view reads nothing
            for i in node.inputs:
                readers.setdefault(made[i], []).append(position)
    for end in {graph.result, *graph.sides}:
        readers.setdefault(made[end], []).append(len(graph.nodes))  # whoever asked for the result, or a side output
    kept: list[Saved] = []  # what backward needs of each node as it really works: at inference nothing
    decided: list[bool] = []
    for position, node in enumerate(graph.nodes):
        again = made[node.inputs[0]] in [made[i] for i in node.inputs[1:]] if node.inputs else False  # x + y + x
        free = not again and node.op.overwrites(training) and _free(made[node.inputs[0]], position, readers, kept)
        decided.append(free)
        kept.append(saved_as_run(node, decided[-1]) if training else NOTHING)
    return decided


def homes(graph: Graph, training: bool) -> list[int]:
    """For each node the one whose tensor it gives: its own, or for a view its input's."""
    made: list[int] = []
    for position, node in enumerate(graph.nodes):
        op = node.op
        own = not node.inputs or op.overwrites(training) or op.writes(node.x, node.output, training) > 0
        made.append(position if own else made[node.inputs[0]])
    return made


def _free(home: int, at: int, readers: dict[int, list[int]], kept: list[Saved]) -> bool:
    """Whether node `at` may overwrite what `home` made: nobody reads it later, and backward does not keep it."""
    if home == 0 or max(readers[home]) > at:
        return False
    return not (kept[home].output or any(kept[reader].input for reader in readers[home] if reader < at))


def saved_as_run(node: Node, overwrites: bool) -> Saved:
    """What backward keeps of an operator that asks to work in place, as it is allowed to."""
    asks = getattr(node.op, "inplace", False)
    op = node.op if overwrites or not asks else replace(node.op, inplace=False)  # type: ignore[type-var]  # a dataclass
    return op.saved(node.x, node.output)
