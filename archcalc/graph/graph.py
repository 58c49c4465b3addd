"""One network as an immutable graph of operators; every command reads it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Any, NamedTuple

from archcalc.errors import ArchcalcError, Place, SpecError, shorten
from archcalc.ops import Operator, Shape
from archcalc.ops.shape import Sizes
from archcalc.shown import Shown

NONE: Mapping[str, Any] = {}  # a plain dict, so that it can be pickled; nothing writes into it


class Shared(NamedTuple):
    """The weights of an earlier node, which a node runs with: all of them and its buffers, or one tensor."""

    node: int
    tensor: str = ""  # "": all

    def own(self, tensors: dict[str, Sizes]) -> dict[str, Sizes]:
        """Return the tensors that are not shared."""
        return {name: sizes for name, sizes in tensors.items() if self.tensor not in ("", name)}


class Node(NamedTuple):
    """One operator in the graph, with its name, inputs and shapes."""

    name: str  # unique; blocks and labels around it, with dots: `stage2.0.body.conv1`
    op: Operator
    inputs: tuple[int, ...]  # indices of earlier nodes; none for an input and a learned tensor
    x: Any  # the input's shape; for a join, the tuple of its inputs' shapes
    output: Shape
    place: Place | None  # where the spec writes it
    side: bool  # on a side output, which exists only in training
    shared: Shared | None = None

    def weights(self) -> dict[str, Sizes]:
        """Return the shapes of its trainable tensors by name, without those that it shares."""
        tensors = self.op.weights(self.x)
        return self.shared.own(tensors) if self.shared else tensors

    def buffers(self) -> dict[str, Sizes]:
        """Return the shapes of its buffers by name, without those that it shares."""
        tensors = self.op.buffers(self.x)
        return self.shared.own(tensors) if self.shared else tensors


class About(NamedTuple):
    """Facts about a network that a spec gives beside the layers."""

    title: str = ""
    family: str = ""
    paper: Mapping[str, Any] = NONE
    stands_for: str = ""  # for an alias: the target network
    params: Mapping[str, Any] = NONE  # with their values
    notes: tuple[str, ...] = ()  # what a reader of its figures should know, such as what an imported file leaves out
    dtype: str = "float32"  # of the weights of an imported module


class Origin(NamedTuple):
    """The spec of a graph, and the params and input that differ from it; the catalog reads the text again."""

    text: str
    path: str  # of the file; "" if the text is not from a file
    network: str  # its name in the spec
    params: Mapping[str, Any] = NONE
    input: Sizes | Mapping[str, Sizes] | None = None  # of the only input, or by name

    @property
    def changed(self) -> bool:
        """Whether params or input differ from the spec."""
        return bool(self.params) or self.input is not None


NOTHING_SAID = About()


@dataclass(frozen=True)
class Graph(Shown):
    """Nodes in the order in which they run: first the inputs, then each node after those that it reads.

    Plain data: a graph can be pickled, and graphs with equal contents are equal.
    """

    name: str
    nodes: tuple[Node, ...]
    results: tuple[int, ...]  # the indices of the outputs' nodes
    about: About = NOTHING_SAID
    sides: tuple[int, ...] = ()  # the indices of the side outputs' nodes
    misfit: SpecError | None = None  # why a side output is missing: its layers do not accept this input
    origin: Origin | None = None  # None: built by hand, imported, or made from another graph
    outputs: tuple[str, ...] = ()  # the names of several results

    def __hash__(self) -> int:
        raise TypeError("a Graph has no hash: for a key in a dict or set use graph.name or id(graph)")

    @property
    def input(self) -> Shape:
        """The shape of the first input."""
        return self.nodes[0].output

    @property
    def inputs(self) -> Sequence[Node]:
        """The nodes of the inputs, which come first."""
        return [*takewhile(lambda node: node.op.name == "input", self.nodes)]

    @property
    def inputs_text(self) -> str:
        """The shapes of the inputs; of several with their names: `image 3×224×224, numbers 4`."""
        given = self.inputs
        return ", ".join(f"{node.name} {node.output.text}" for node in given) if len(given) > 1 else self.input.text

    @property
    def result(self) -> int:
        """The index of the first output's node."""
        return self.results[0]

    @property
    def ends(self) -> tuple[int, ...]:
        """The indices of the nodes of all outputs and side outputs."""
        return (*self.results, *self.sides)

    def owner(self, node: Node) -> Node:
        """Return the node that has a node's weights: itself, unless it shares them."""
        return self.nodes[node.shared.node] if node.shared else node

    def tie(self, node: Node) -> Shared | None:
        """Return the tensor of another node that a node runs with beside its own, or beside those that it shares."""
        return node.shared if not node.shared or node.shared.tensor else self.owner(node).shared

    def without_sides(self) -> Graph:
        """Return the network for inference, without side outputs (auxiliary classifiers) and without an origin."""
        if not any(node.side for node in self.nodes):
            return self
        return reduced(self, {i: node for i, node in enumerate(self.nodes) if not node.side}, {})


def reduced(graph: Graph, nodes: Mapping[int, Node], hosts: Mapping[int, int]) -> Graph:
    """Reduce a graph to these nodes, by their indices in it, without side outputs and without an origin.

    `hosts` maps each node that is gone, and whose output another node reads, to the node that replaces it.
    """
    new = {old: position for position, old in enumerate(nodes)}
    new |= {gone: new[host] for gone, host in hosts.items()}
    moved = tuple([_moved(node, new) for node in nodes.values()])
    results = tuple([new[i] for i in graph.results])
    return Graph(graph.name, moved, results, graph.about, outputs=graph.outputs)


def _moved(node: Node, new: Mapping[int, int]) -> Node:
    inputs = tuple([new[i] for i in node.inputs])
    if inputs == node.inputs and not node.shared:
        return node
    return node._replace(inputs=inputs, shared=node.shared and node.shared._replace(node=new[node.shared.node]))


def require_graph(function: str, value: object) -> None:
    """Raise ArchcalcError, with what to write, if a function's argument is not a Graph."""
    if isinstance(value, Graph):
        return
    hint = f"; write {function}(load({shorten(repr(value))}))" if isinstance(value, str) else ""
    raise ArchcalcError(f"{function} needs a Graph, not {type(value).__name__}{hint}")
