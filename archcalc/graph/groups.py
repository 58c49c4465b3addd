"""A network as a tree of groups, given by the dotted names of its layers, and the repeats among them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple, TypeAlias, TypeVar

from archcalc.graph.graph import Graph

T = TypeVar("T")


def grouped(items: Iterable[T], joins: Callable[[T, Sequence[T]], bool]) -> list[list[T]]:
    """Group neighbours: an item belongs to the group before it if `joins` is true for both."""
    groups: list[list[T]] = []
    for item in items:
        if groups and joins(item, groups[-1]):
            groups[-1].append(item)
        else:
            groups.append([item])
    return groups


class Group(NamedTuple):
    """Layers whose names start with the same parts; `name` is the full name (`stage2.0`), "" for the network."""

    name: str
    parts: tuple[Part, ...]

    @property
    def label(self) -> str:
        """The last part of its name."""
        return self.name.rpartition(".")[2]

    @property
    def numbered(self) -> bool:
        """Whether it has a number instead of a label."""
        return self.label.isdigit()


Part: TypeAlias = Group | int  # a group, or the index of a node


def tree(graph: Graph) -> Group:
    """Return the network as a group of groups, in the order in which they run."""
    paths = [node.name.split(".") for node in graph.nodes]
    return Group("", tuple(_parts(paths, range(len(paths)), 0)))


def _parts(paths: list[list[str]], indices: range, depth: int) -> Iterator[Part]:
    start = indices.start
    while start < indices.stop:
        path = paths[start]
        if len(path) == depth + 1:
            yield start
            start += 1
            continue
        end = start + 1
        while end < indices.stop and len(paths[end]) > depth + 1 and paths[end][depth] == path[depth]:
            end += 1
        yield Group(".".join(path[: depth + 1]), tuple(_parts(paths, range(start, end), depth + 1)))
        start = end


Segment: TypeAlias = Sequence[Part]  # a group, or consecutive layers


class Repeats:
    """Finds equal neighbours in a network that are connected one after the other."""

    def __init__(self, graph: Graph) -> None:
        self.nodes = graph.nodes
        self.last_reader = [0] * len(graph.nodes)
        for index, node in enumerate(graph.nodes):
            for source in node.inputs:
                self.last_reader[source] = index
        for end in graph.ends:
            self.last_reader[end] = len(graph.nodes)
        self._known: dict[tuple[int, int], _Likeness | None] = {}

    def runs(self, segments: Sequence[Segment]) -> list[list[int]]:
        """Return the indices of the segments in groups, in which each repeats the one before it."""
        return grouped(range(len(segments)), lambda i, run: self._repeats(segments[i - 1], segments[i]))

    def _repeats(self, segment: Segment, following: Segment) -> bool:
        """Whether the second equals the first and reads its output, which nothing else reads."""
        one, other = self._likeness(segment), self._likeness(following)
        if one is None or other is None or one.form != other.form:
            return False
        return self.last_reader[one.way_out] <= other.last  # the second reads only one node: this one

    def _likeness(self, segment: Segment) -> _Likeness | None:
        every = tuple(indices(segment))
        key = every[0], every[-1]
        if key not in self._known:
            self._known[key] = self._look(segment, every)
        return self._known[key]

    def _look(self, segment: Segment, indices: Sequence[int]) -> _Likeness | None:
        """Describe a segment; None if it has several inputs or outputs."""
        start, stop = indices[0], indices[-1] + 1
        entries = {source for i in indices for source in self.nodes[i].inputs if source < start}
        exits = [i for i in indices if self.last_reader[i] >= stop]
        if len(entries) != 1 or len(exits) != 1:
            return None
        group = segment[0] if isinstance(segment[0], Group) else None
        grows = bool(group and group.numbered)  # channels of numbered blocks may grow, e.g. in DenseNet
        form = group is None, exits[0] - start, *self._form(group.parts if group else segment, start, grows)
        return _Likeness(form, exits[0], indices[-1])

    def _form(self, parts: Segment, start: int, skipped: bool) -> Iterator[Any]:
        """Yield operators, connections, shapes (without channels if they are `skipped`) and labels of inner groups."""
        for part in parts:
            if isinstance(part, Group):
                yield part.label, len(part.parts)
                yield from self._form(part.parts, start, skipped)
            else:
                node = self.nodes[part]
                sources = tuple(max(source - start, -1) for source in node.inputs)
                output, x = (node.output.lengths, None) if skipped else (node.output, node.x)
                yield node.op, sources, output, x, node.side


class _Likeness(NamedTuple):
    """A segment with one input and one output: its form without its place, its output node, its last node."""

    form: tuple[Any, ...]
    way_out: int
    last: int


def indices(segment: Segment) -> Iterator[int]:
    """Yield the indices of all nodes in a segment, in order."""
    for part in segment:
        if isinstance(part, Group):
            yield from indices(part.parts)
        else:
            yield part
