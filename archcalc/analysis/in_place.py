"""Which operators work in place: those that ask to, where nothing else needs the memory they write into.

ReLU overwrites the convolution's output, `add` its first branch. That is safe only where nobody reads the old values
afterwards and, in training, where backward does not keep them. Elsewhere the operator writes a tensor of its own, as a
correct program must. The image is its owner's and never overwritten.
"""

from __future__ import annotations

from archcalc.graph import Graph, Node


def in_place(graph: Graph, training: bool) -> list[bool]:
    """For each node whether it works in its (first) input's memory."""
    homes = _homes(graph, training)
    readers: dict[int, list[int]] = {}
    for position, node in enumerate(graph.nodes):
        if homes[position] == position:  # a view reads nothing
            for home in {homes[i] for i in node.inputs}:
                readers.setdefault(home, []).append(position)
    readers.setdefault(homes[graph.result], []).append(len(graph.nodes))  # whoever asked for the result
    return [
        node.op.overwrites(training) and _free(graph.nodes, homes[node.inputs[0]], position, readers, training)
        for position, node in enumerate(graph.nodes)
    ]


def _homes(graph: Graph, training: bool) -> list[int]:
    """For each node the one whose tensor it gives: its own, or for a view its input's."""
    homes: list[int] = []
    for position, node in enumerate(graph.nodes):
        op = node.op
        own = not node.inputs or op.overwrites(training) or op.writes(node.x, node.output, training) > 0
        homes.append(position if own else homes[node.inputs[0]])
    return homes


def _free(nodes: tuple[Node, ...], home: int, at: int, readers: dict[int, list[int]], training: bool) -> bool:
    if home == 0 or max(readers[home]) > at:
        return False
    if not training:
        return True
    maker = nodes[home]
    kept = maker.op.saved(maker.x, maker.output).output
    return not kept and not any(_keeps_input(nodes[reader]) for reader in readers[home] if reader < at)


def _keeps_input(node: Node) -> bool:
    return node.op.saved(node.x, node.output).input
