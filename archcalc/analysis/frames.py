"""What a module written by hand holds longer than archcalc's own `build`, as torchvision writes modules.

`build` frees each value after its last reader. In Python an argument lives until the call returns, and a variable
until something else is assigned to it. So values live longer here:

- A block is a module: what enters it lives until its last layer has run. The names of layers say what a block is, such
  as `stage1` and `stage1.0`.
- So are a weighted layer, batch normalization and activation in a row; and the last two before a weighted layer.
- What several layers read is a variable: it lives until their results join, and no layer overwrites it.
- The classifier is a module that returns last. It begins with the first `flatten` or `dropout` after the last join.
- A dense block has a list of features, and each of its layers concatenates the whole list (`as_written`). So features
  live until the block has run, and a concatenation belongs to the layer that reads it.

Layers of an `nn.Sequential` hold nothing longer, and a block of a spec may be no module at all: then this is more than
PyTorch holds. It is less for code that keeps each value in a variable of its own until the network returns.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import islice

from archcalc.analysis.once_per_graph import per_graph
from archcalc.graph.graph import Graph, Node
from archcalc.ops.activation import Activation

MODULES = dict.fromkeys(("build", "torchvision"))  # archcalc's own, and those written by hand
CLASSIFIER = "flatten", "dropout"  # what it begins with
UNITS = "weighted batchnorm activation", "batchnorm activation weighted"


@per_graph
def as_written(graph: Graph) -> Graph:
    """Return the graph in which a concatenation reads the parts of an earlier one that others read, too."""
    nodes, reads, shared = list(graph.nodes), _reads(graph), _several_read(graph)
    for i, node in enumerate(nodes):
        if node.op.name == "concat":
            lists = [nodes[j].inputs if nodes[j].op == node.op and j in shared else (j,) for j in reads[i]]
            parts = tuple([j for parts in lists for j in parts])
            nodes[i] = node._replace(inputs=parts, x=tuple([nodes[j].output for j in parts]))
    return replace(graph, nodes=tuple(nodes))


def overwritable(graph: Graph) -> list[bool]:
    """Return for each node whether it alone reads what it reads first."""
    shared = _several_read(graph)
    return [not read or read[0] not in shared for read in _reads(graph)]


def lifetimes(graph: Graph, ran: Sequence[int], last: dict[int, int]) -> dict[int, int]:
    """Return for each value the node after which it is freed; `last` has the last reader, `ran` the nodes that run."""
    nodes, until = graph.nodes, dict(zip(ran, ran, strict=True)) | last
    concats = [i for i in ran if nodes[i].op.name == "concat"]
    of_lists = {i for i in concats if all(last[j] > until[i] for j in nodes[i].inputs)}
    held = [(j, end) for j, end in (*_of_blocks(graph, ran), *_of_variables(graph, ran)) if j not in of_lists]
    for j, end in (*held, *_of_units(graph, ran), *_of_classifier(graph, ran)):
        until[j] = max(until[j], end)
    return until


def _of_blocks(graph: Graph, ran: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Yield what enters blocks, with their last nodes."""
    reads, blocks = _reads(graph), [_blocks(node) for node in graph.nodes]
    ends = {block: i for i in ran for block in blocks[i]}
    for i in ran:
        yield from ((j, ends[block]) for j in reads[i] for block in blocks[i] if block not in blocks[j])


def _of_variables(graph: Graph, ran: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Yield what several layers read, with the first join after them."""
    join, last = 0, dict[int, int]()
    for i in reversed(ran):
        join = i if graph.nodes[i].op.joins else join
        yield from ((j, last.setdefault(j, join)) for j in _reads(graph)[i] if j in _several_read(graph))


def _of_units(graph: Graph, ran: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Yield what enters UNITS, with their last nodes."""
    start = 0
    for i in ran:
        if i >= start and _is_unit(graph.nodes[i : i + 3], i):
            start = i + 3
            yield graph.nodes[i].inputs[0], i + 2


def _of_classifier(graph: Graph, ran: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Yield what enters the classifier, with the end of the network."""
    nodes = graph.nodes
    joined = max((i for i in ran if nodes[i].op.joins), default=0)
    first = (i for i in ran if i > joined and nodes[i].op.name in CLASSIFIER and not nodes[i].side)
    yield from ((nodes[i].inputs[0], len(nodes)) for i in islice(first, 1))


def _blocks(node: Node) -> list[str]:
    """Return the names of all blocks around a node."""
    path = node.name.split(".")
    return [".".join(path[:depth]) for depth in range(1, len(path))]


def _is_unit(nodes: Sequence[Node], first: int) -> bool:
    """Whether three nodes, the first of them at `first`, follow each other and are one of UNITS."""
    kinds = [
        "weighted" if node.op.weighted else "activation" if isinstance(node.op, Activation) else node.op.name
        for node in nodes
    ]
    return " ".join(kinds) in UNITS and [node.inputs for node in nodes[1:]] == [(first,), (first + 1,)]


@per_graph
def _reads(graph: Graph) -> list[tuple[int, ...]]:
    """Return for each node what it reads, without identities: those read nothing themselves."""
    sources, reads = list[int](), list[tuple[int, ...]]()
    for i, node in enumerate(graph.nodes):
        read = tuple([sources[j] for j in node.inputs])
        passes = node.op.name == "identity"
        sources.append(read[0] if passes else i)
        reads.append(() if passes else read)
    return reads


@per_graph
def _several_read(graph: Graph) -> set[int]:
    """Return the nodes whose results several others read."""
    readers = Counter(j for read in _reads(graph) for j in {*read})
    return {j for j, count in readers.items() if count > 1}
