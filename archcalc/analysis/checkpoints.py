"""Activation checkpointing: parts of a network that keep only their input, and run again in backward."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from archcalc.analysis.memory_plan import plan_memory
from archcalc.analysis.recipe import require_parts
from archcalc.errors import ArchcalcError
from archcalc.graph.graph import Graph
from archcalc.graph.groups import Group, indices, tree


class Segment(NamedTuple):
    """Consecutive nodes, and the node before them that they read."""

    entry: int
    nodes: range


def blocks(graph: Graph) -> list[str]:
    """Return the blocks that can be checkpointed: those with numbers (`stage1.0`), and whole groups without such."""
    found, groups = list[str](), [tree(graph)]
    while groups:
        group = groups.pop()
        inner = [part for part in group.parts if isinstance(part, Group)]
        if group.name and not any(part.numbered for part in inner) and _segment(graph, list(indices(group.parts))):
            found.append(group.name)
        else:
            groups += reversed(inner)
    return found


def segments(graph: Graph, names: Sequence[str]) -> dict[int, Segment]:
    """Return the segments of some blocks, by their first nodes.

    Raises ArchcalcError unless each block reads one value from outside, and only its last value is read there; and if
    a block is inside another one, or does not exist.
    """
    require_parts(graph, names)
    found = dict[int, Segment]()
    for name in names:
        if names.count(name) > 1:
            raise ArchcalcError(f"{name} is given twice; omit one")
        if outer := [other for other in names if name.startswith(f"{other}.")]:
            raise ArchcalcError(f"{name} is inside {outer[0]}; omit one")
        nodes = [i for i, node in enumerate(graph.nodes) if f"{node.name}.".startswith(f"{name}.")]
        segment = _segment(graph, nodes)
        if segment is None:
            raise ArchcalcError(f"{name} cannot be checkpointed: it has several inputs or outputs")
        found[nodes[0]] = segment
    return found


def _segment(graph: Graph, nodes: Sequence[int]) -> Segment | None:
    """Return the segment of some nodes; None if they have several inputs or outputs."""
    inside = range(nodes[0], nodes[-1] + 1)
    entries = {j for i in nodes for j in graph.nodes[i].inputs if j not in inside}
    read = {j for node in graph.nodes[inside.stop :] for j in node.inputs if j in inside}
    read |= {end for end in graph.ends if end in inside}
    if len(entries) != 1 or read != {inside[-1]} or any(graph.nodes[i].side for i in nodes):
        return None
    return Segment(entries.pop(), inside)


def reading_entries(graph: Graph, found: dict[int, Segment]) -> set[int]:
    """Return the nodes, also those outside, that must not overwrite a segment's input, which is needed again."""
    homes = plan_memory(graph, True).homes
    entries = {homes[part.entry] for part in found.values()}
    return {i for i, node in enumerate(graph.nodes) if node.inputs and homes[node.inputs[0]] in entries}
