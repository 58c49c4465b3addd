"""One network as a graph of operators: what every command reads. Immutable."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, NamedTuple, TypeAlias

from archcalc.errors import ArchcalcError, Place, SpecError, shorten
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


NO_PARAMS: Mapping[str, Callable[[Any], Any]] = MappingProxyType({})


class Setting(NamedTuple):
    """What a figure is taken of, where it is not the network as it stands: another one, other params, input or mode."""

    network: str = ""  # "": the network itself
    params: Mapping[str, Callable[[Any], Any]] = NO_PARAMS
    input: Shape | None = None  # None: the network's own
    mode: str = ""  # "": that of the claim
    convention: str = "all"
    place: Place | None = None


Reckoning: TypeAlias = Callable[[Mapping[str, Any]], Any]  # a figure from others, by their names


class Accounting(NamedTuple):
    """Another way to count a figure, to explain a printed one: what it is, under which setting, and its arithmetic."""

    text: str
    setting: Setting
    value: Reckoning | None  # None: the figure itself, in that setting
    because: str = ""  # why it is not for the whole column of a table; "": it is


class Claim(NamedTuple):
    """A published figure: what it is of, the value as printed, where, and what is known of it."""

    figure: str
    printed: str
    source: str
    note: str = ""
    clash: str = ""  # why no accounting gives it
    what: str = ""  # its name for people, where that is not the figure's
    unit: str = ""  # of what `value` gives; "": a ratio
    to: str = ""  # what the printed number is rounded to, where its digits do not say it
    layer: str = ""  # the layer or block it is of; "": the network
    mode: str = "infer"
    value: Reckoning | None = None  # what is printed, where it is worked out from the figures
    against: str = ""  # the network whose figures `value` knows as `against`
    accountings: tuple[Accounting, ...] = ()
    places: Mapping[str, Place] = MappingProxyType({})  # where the spec writes each of its keys


class Accuracy(NamedTuple):
    """A published accuracy or error, in percent as printed. It is carried, not computed."""

    metric: str
    printed: str
    dataset: str
    protocol: str
    source: str
    note: str = ""


class About(NamedTuple):
    """What a spec says of its network besides the layers."""

    title: str = ""
    family: str = ""
    paper: Mapping[str, Any] = MappingProxyType({})
    stands_for: str = ""  # of an alias: the network it is
    params: Mapping[str, Any] = MappingProxyType({})  # with their values
    claims: tuple[Claim, ...] = ()
    accuracy: tuple[Accuracy, ...] = ()
    recipes: tuple[Mapping[str, str], ...] = ()


class _Referred:
    """Whose instances can be referred to weakly, though they have slots."""

    __slots__ = ("__weakref__",)


@dataclass(frozen=True, slots=True)
class Graph(_Referred):
    """Nodes in the order they run; the first is the input, and inputs always come before their users."""

    name: str
    nodes: tuple[Node, ...]
    result: int  # the position of the network's output
    about: About
    sides: tuple[int, ...] = ()  # the positions of the side outputs
    misfit: SpecError | None = None  # why a side output is missing: its layers do not take this input
    related: Callable[[Setting], Graph] | None = field(default=None, compare=False, repr=False)
    # the graph of a setting: this network with other params or input, or one that its spec refers to

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


def require_graph(function: str, value: object) -> None:
    """Raise ArchcalcError, with what to write, if a function's argument is no Graph."""
    if isinstance(value, Graph):
        return
    hint = f"; write {function}(load({shorten(repr(value))}))" if isinstance(value, str) else ""
    raise ArchcalcError(f"{function} needs a Graph, not {type(value).__name__}{hint}")
