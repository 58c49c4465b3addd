"""One network as a graph of operators: what every command reads. Immutable."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, NamedTuple

from archcalc.errors import Place
from archcalc.ops import Operator, Shape


class Node(NamedTuple):
    """One operator at its place in the network."""

    name: str  # unique, dotted by the blocks and labels it stands in: `stage2.0.body.conv1`
    op: Operator
    inputs: tuple[int, ...]  # positions of earlier nodes
    x: Any  # the input's shape; for a join, the tuple of its inputs' shapes
    output: Shape
    place: Place | None  # where the spec writes it
    side: bool  # on a side output, which exists only in training


class Accounting(NamedTuple):
    """Another way to count a figure, to explain a printed one: `text` says it, `value` computes it from the totals."""

    text: str
    value: Callable[[Mapping[str, Any]], float]


class Claim(NamedTuple):
    """A published figure: what it is of, the value as printed, where, and the accountings that may explain it."""

    figure: str
    printed: str
    source: str
    note: str
    mode: str
    accountings: tuple[Accounting, ...]
    places: Mapping[str, Place]  # where the spec writes each of its keys


class About(NamedTuple):
    """What a spec says of its network besides the layers."""

    title: str = ""
    family: str = ""
    paper: Mapping[str, Any] = MappingProxyType({})
    claims: tuple[Claim, ...] = ()


@dataclass(frozen=True, slots=True)
class Graph:
    """Nodes in the order they run; the first is the input, and inputs always come before their users."""

    name: str
    nodes: tuple[Node, ...]
    result: int  # the position of the network's output
    about: About

    @property
    def input(self) -> Shape:
        """The image's shape, channels×height×width."""
        return self.nodes[0].output

    def without_sides(self) -> Graph:
        """The network as at inference: side outputs (auxiliary heads) left out."""
        if not any(node.side for node in self.nodes):
            return self
        kept = [i for i, node in enumerate(self.nodes) if not node.side]
        new = {old: position for position, old in enumerate(kept)}
        nodes = (self.nodes[i] for i in kept)
        moved = tuple(node._replace(inputs=tuple(new[i] for i in node.inputs)) for node in nodes)
        return Graph(self.name, moved, new[self.result], self.about)
