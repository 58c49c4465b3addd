"""One network as a graph of operators: what every command reads. Immutable."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from archcalc.errors import ArchcalcError, Place, SpecError, shorten
from archcalc.ops import Operator, Shape

NONE: Mapping[str, Any] = {}  # plain, so that it can be pickled; nobody writes into it


class Node(NamedTuple):
    """One operator at its place in the network."""

    name: str  # unique, dotted by the blocks and labels it stands in: `stage2.0.body.conv1`
    op: Operator
    inputs: tuple[int, ...]  # positions of earlier nodes
    x: Any  # the input's shape; for a join, the tuple of its inputs' shapes
    output: Shape
    place: Place | None  # where the spec writes it
    side: bool  # on a side output, which exists only in training


class About(NamedTuple):
    """What a spec says of its network besides the layers."""

    title: str = ""
    family: str = ""
    paper: Mapping[str, Any] = NONE
    stands_for: str = ""  # of an alias: the network it is
    params: Mapping[str, Any] = NONE  # with their values


class Origin(NamedTuple):
    """A network of a spec, and what is set otherwise than the spec has it; the catalog reads the text again."""

    text: str
    path: str  # of the file; "": a text of no file
    network: str  # its name in the spec
    params: Mapping[str, Any] = NONE
    input: Shape | None = None

    @property
    def changed(self) -> bool:
        """Whether it is another network than the one that the spec names."""
        return bool(self.params) or self.input is not None


NOTHING_SAID = About()


class _Referred:
    """Whose instances can be referred to weakly, though they have slots."""

    __slots__ = ("__weakref__",)


@dataclass(frozen=True, slots=True)
class Graph(_Referred):
    """Nodes in the order they run; the first is the input, and inputs always come before their users.

    Plain data: a graph can be pickled, and graphs that say the same are equal.
    """

    name: str
    nodes: tuple[Node, ...]
    result: int  # the position of the network's output
    about: About = NOTHING_SAID
    sides: tuple[int, ...] = ()  # the positions of the side outputs
    misfit: SpecError | None = None  # why a side output is missing: its layers do not take this input
    origin: Origin | None = None  # None: built by hand, imported, or made from another graph

    @property
    def input(self) -> Shape:
        """The image's shape, channels×height×width."""
        return self.nodes[0].output

    def without_sides(self) -> Graph:
        """The network as at inference: without side outputs (auxiliary heads), and without an origin."""
        if not any(node.side for node in self.nodes):
            return self
        kept = [i for i, node in enumerate(self.nodes) if not node.side]
        new = {old: position for position, old in enumerate(kept)}
        nodes = (self.nodes[i] for i in kept)
        moved = tuple(node._replace(inputs=tuple(new[i] for i in node.inputs)) for node in nodes)
        return Graph(self.name, moved, new[self.result], self.about)


def require_graph(function: str, value: object) -> None:
    """Raise ArchcalcError, with what to write, if a function's argument is no Graph."""
    if isinstance(value, Graph):
        return
    hint = f"; write {function}(load({shorten(repr(value))}))" if isinstance(value, str) else ""
    raise ArchcalcError(f"{function} needs a Graph, not {type(value).__name__}{hint}")
