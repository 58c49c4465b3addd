"""One network as an immutable graph of operators; every command reads it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from archcalc.errors import ArchcalcError, Place, SpecError, shorten
from archcalc.ops import Operator, Shape
from archcalc.ops.shape import Sizes

NONE: Mapping[str, Any] = {}  # a plain dict, so that it can be pickled; nothing writes into it


class Node(NamedTuple):
    """One operator in the graph, with its name, inputs and shapes."""

    name: str  # unique; blocks and labels around it, with dots: `stage2.0.body.conv1`
    op: Operator
    inputs: tuple[int, ...]  # indices of earlier nodes
    x: Any  # the input's shape; for a join, the tuple of its inputs' shapes
    output: Shape
    place: Place | None  # where the spec writes it
    side: bool  # on a side output, which exists only in training


class About(NamedTuple):
    """Facts about a network that a spec gives beside the layers."""

    title: str = ""
    family: str = ""
    paper: Mapping[str, Any] = NONE
    stands_for: str = ""  # for an alias: the target network
    params: Mapping[str, Any] = NONE  # with their values


class Origin(NamedTuple):
    """The spec of a graph, and the params and input that differ from it; the catalog reads the text again."""

    text: str
    path: str  # of the file; "" if the text is not from a file
    network: str  # its name in the spec
    params: Mapping[str, Any] = NONE
    input: Sizes | None = None

    @property
    def changed(self) -> bool:
        """Whether params or input differ from the spec."""
        return bool(self.params) or self.input is not None


NOTHING_SAID = About()


class _Referred:
    """Base class that allows weak references to instances with slots."""

    __slots__ = ("__weakref__",)


@dataclass(frozen=True, slots=True)
class Graph(_Referred):
    """Nodes in the order in which they run; the first is the input, and each node comes after its inputs.

    Plain data: a graph can be pickled, and graphs with equal contents are equal.
    """

    name: str
    nodes: tuple[Node, ...]
    result: int  # the index of the output's node
    about: About = NOTHING_SAID
    sides: tuple[int, ...] = ()  # the indices of the side outputs' nodes
    misfit: SpecError | None = None  # why a side output is missing: its layers do not accept this input
    origin: Origin | None = None  # None: built by hand, imported, or made from another graph

    def __hash__(self) -> int:
        raise TypeError("a Graph has no hash: for a key in a dict or set use graph.name or id(graph)")

    @property
    def input(self) -> Shape:
        """The shape of the input."""
        return self.nodes[0].output

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
    moved = tuple([node._replace(inputs=tuple([new[i] for i in node.inputs])) for node in nodes.values()])
    return Graph(graph.name, moved, new[graph.result], graph.about)


def require_graph(function: str, value: object) -> None:
    """Raise ArchcalcError, with what to write, if a function's argument is not a Graph."""
    if isinstance(value, Graph):
        return
    hint = f"; write {function}(load({shorten(repr(value))}))" if isinstance(value, str) else ""
    raise ArchcalcError(f"{function} needs a Graph, not {type(value).__name__}{hint}")
