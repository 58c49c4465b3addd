"""Which operators work in place: those that can, if nothing else needs the memory that they overwrite.

ReLU overwrites the convolution's output, `add` its first branch. That is safe only if no layer reads the old values
afterwards and, in training, if backward does not need them. Otherwise the operator writes a new tensor, as a correct
program must. The image belongs to the caller and is never overwritten, nor is a learned tensor.
"""

from __future__ import annotations

import math
from collections.abc import Sequence, Set
from typing import NamedTuple

from archcalc.analysis.cost import dtype_of
from archcalc.analysis.once_per_graph import first_equals, of_batch, of_equals, per_graph
from archcalc.errors import SpecError
from archcalc.graph.graph import Graph, Node
from archcalc.ops.base import Extra, Saved, Unknown
from archcalc.ops.calls import VIEW
from archcalc.ops.imported import Imported
from archcalc.ops.joins import Elementwise

NOTHING = Saved()


class Memory(NamedTuple):
    """Which tensor holds the output of each node, and in training what backward keeps, node by node."""

    homes: Sequence[int]  # the node whose tensor holds the output: itself, also in place; for a view, its input's
    overwrites: Sequence[bool]  # whether it works in its (first) input's memory
    values: Sequence[int]  # of one image, in tensors that backward keeps for this node and for no earlier one
    common: Sequence[int]  # likewise in tensors that all images share, besides weights and buffers
    extras: Sequence[tuple[Extra, ...]]  # tensors that exist only for backward
    kept: Set[int]  # the nodes whose tensors backward keeps


def in_place(graph: Graph, training: bool) -> Sequence[bool]:
    """Return for each node whether it works in its (first) input's memory."""
    return plan_memory(graph, training).overwrites


@per_graph
def plan_memory(graph: Graph, training: bool) -> Memory:
    """Decide in one walk which nodes work in place. Raises SpecError if an operator has no rule for saved tensors."""
    able, homes = _homes(graph, training)
    last = _last_readers(graph, homes)
    kept: set[int] = set()
    known: dict[tuple[int, bool], Saved] = {}  # equal layers keep the same
    overwrites, values, common, extras = list[bool](), list[int](), list[int](), list[tuple[Extra, ...]]()
    batched, graded = of_batch(graph), _graded(graph)
    owned = [not (node.inputs or _makes(node)) for node in graph.nodes]  # by the caller, or a weight or buffer
    for position, (node, equal) in enumerate(zip(graph.nodes, first_equals(graph), strict=True)):
        free = able[position]
        if free:
            sources = [homes[i] for i in node.inputs]
            free = not owned[sources[0]] and batched[sources[0]] == batched[position]
            free = free and _free(sources, position, last, kept)
        overwrites.append(free)
        if not training:
            continue
        saved = known.get((equal, free))
        if saved is None:
            saved = known[equal, free] = saved_as_run(node, free)
        saved = saved if graded[position] else NOTHING
        counts, (read, own) = [0, 0], _read(node, saved, graded, batched)
        for i in (*(read if saved.input else ()), *((position,) if saved.output else ())):
            if homes[i] not in kept:
                kept.add(homes[i])
                output, typed = graph.nodes[homes[i]].output, _typed(graph.nodes[homes[i]])
                if typed and not (owned[homes[i]] and graph.nodes[homes[i]].op.name != "input"):
                    own = (*own, typed._replace(per_image=batched[homes[i]]))
                elif batched[homes[i]] or not owned[homes[i]]:
                    counts[batched[homes[i]]] += math.prod(output)
        common.append(counts[False])
        values.append(counts[True])
        extras.append(own if batched[position] else tuple([extra._replace(per_image=False) for extra in own]))
    return Memory(homes, overwrites, values, common, extras, kept)


def _read(
    node: Node, saved: Saved, graded: Sequence[bool], batched: Sequence[bool]
) -> tuple[Sequence[int], tuple[Extra, ...]]:
    """Return the inputs that backward keeps, if it keeps inputs, and the tensors that exist only for it."""
    op = node.op
    if saved is not NOTHING and isinstance(op, Elementwise) and not all(graded[i] and batched[i] for i in node.inputs):
        return _factors(node, [graded[i] for i in node.inputs], [batched[i] for i in node.inputs])
    some = op.kept_inputs if isinstance(op, Imported) else None
    return node.inputs if some is None else [node.inputs[i] for i in some], saved.extras


def _typed(node: Node) -> Extra | None:
    """Return a node's output if it has a dtype of its own."""
    dtype = dtype_of(node)
    return Extra(node.name, node.output, dtype) if dtype else None


def _makes(node: Node) -> bool:
    """Whether a node without inputs makes a tensor in the pass, as some imported functions do."""
    return isinstance(node.op, Imported) and node.op.wrote > 0


def _graded(graph: Graph) -> list[bool]:
    """Return for each node whether its output needs a gradient: not if it is made of constants alone."""
    if "constant" not in {node.op.name for node in graph.nodes}:
        return [True] * len(graph.nodes)
    found: list[bool] = []
    for node in graph.nodes:
        own = node.op.name == "input" or bool(node.op.weights(node.x))
        found.append(own or any(found[i] for i in node.inputs))
    return found


def _factors(node: Node, graded: list[bool], batched: list[bool]) -> tuple[tuple[int, ...], tuple[Extra, ...]]:
    """Return the inputs, and the partial results, that backward of an elementwise join keeps.

    A factor of a product is kept only if the other one needs a gradient.
    """
    sources, kept, made = [*range(len(graded))], set[int](), dict[int, Extra]()
    for call in node.op.calls(node.x, node.output, True, False):
        for i in call.keeps:
            if any(graded[j] for j in call.reads if j != i or i not in call.crossed):
                kept.add(sources[i])
        batched.append(any(batched[i] for i in call.reads))
        graded.append(any(graded[i] for i in call.reads))
        made[len(sources)] = call.makes._replace(per_image=batched[-1])
        sources.append(sources[call.reads[0]] if call.where == VIEW else len(sources))
    partial = tuple([extra for number, extra in made.items() if number in kept])
    return tuple([i for place, i in enumerate(node.inputs) if place in kept]), partial


def _free(sources: list[int], at: int, last: list[int], kept: set[int]) -> bool:
    """Whether node `at` may overwrite its first source: not read later, not kept for backward."""
    first, *others = sources
    return last[first] <= at and first not in kept and first not in others  # not in others: x + y + x


def _last_readers(graph: Graph, homes: Sequence[int]) -> list[int]:
    """Return for each node the last one that reads its tensor, or itself if none does."""
    last = list(range(len(graph.nodes)))
    for position, node in enumerate(graph.nodes):
        for i in node.inputs:
            last[homes[i]] = position
    for end in graph.ends:
        last[homes[end]] = len(graph.nodes)  # the caller reads the result and the side outputs
    return last


def _homes(graph: Graph, training: bool) -> tuple[list[bool], list[int]]:
    """Return for each node whether it can work in place, and the node whose tensor holds its output."""
    writes = of_equals(graph, lambda node: node.op.writes(node.x, node.output, training) > 0)
    overwrites = of_equals(graph, lambda node: node.op.overwrites(training))
    able = [can and not written for can, written in zip(overwrites, writes, strict=True)]
    homes: list[int] = []
    for position, node in enumerate(graph.nodes):
        own = able[position] or writes[position] or not node.inputs
        homes.append(position if own else homes[node.inputs[0]])
    return able, homes


def saved_as_run(node: Node, overwrites: bool) -> Saved:
    """Return what backward keeps for an operator that does or does not overwrite its input."""
    able = getattr(node.op, "inplace", False)
    op = node.op if overwrites or not able else node.op.but(inplace=False)
    try:
        return op.saved(node.x, node.output)
    except Unknown:
        return NOTHING  # such a network runs in PyTorch, so nothing overwrites what an imported function keeps
    except NotImplementedError as error:
        raise SpecError(f"{node.name}: {error}", node.place) from None
