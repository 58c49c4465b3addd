"""What a diagram of a network shows: boxes in clusters, arrows with shapes. `dot.py` and `mermaid.py` write it.

A box is a layer together with the layers that only work on its output (`conv · batchnorm · relu`), or a whole block.
Equal neighbours that follow each other are one box or cluster with `×5`. A layer that only passes a tensor on
(`identity`) is an arrow.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple, TypeAlias

from archcalc.analysis.parts import total
from archcalc.analysis.report import Report
from archcalc.graph.graph import Graph, Node
from archcalc.graph.groups import Group, Part, Repeats, Segment, grouped, indices, tree
from archcalc.ops import Operator, Shape, format_shape
from archcalc.ops.reads import EACH
from archcalc.render.table import MODE_NAMES, axes, cell
from archcalc.render.tables.summaries import about_text, owns_nothing

READABLE = 36  # most boxes of the default depth
LINES = 4  # most lines of a collapsed block; a longer one shows counts of operators
WIDTH = 26  # characters per line of a box, about


class Box(NamedTuple):
    """A layer or a collapsed block; `copies` are the nodes that it represents: the first copy's and its repeats'."""

    label: str  # its label in the spec, or ""
    lines: tuple[str, ...]  # operators
    figures: tuple[str, ...]  # of a collapsed block, including its repeats
    kind: str  # of KINDS
    copies: tuple[tuple[int, ...], ...]
    times: int = 1  # its own repeats, not those of its clusters
    side: bool = False

    def text(self) -> list[str]:
        """Return label, operators and repeats as at least one line; the first is the label if there is one."""
        lines = [text for text in (self.label, *self.lines) if text]
        if self.times == 1:
            return lines
        if len(lines) > 1 and not self.label:  # the repeats are those of all lines
            return [f"×{self.times}", *lines]
        return [f"{lines[0]}  ×{self.times}", *lines[1:]]


class Cluster(NamedTuple):
    """A block that shows its parts."""

    label: str
    parts: tuple[Box | Cluster, ...]
    times: int = 1

    @property
    def text(self) -> str:
        """Its label and number of repeats, or "" if it has neither."""
        return f"{self.label}  ×{self.times}".strip() if self.times > 1 else self.label


class Edge(NamedTuple):
    """A tensor from one box to another; boxes are numbered in the order of the diagram."""

    source: int
    target: int
    shapes: tuple[Shape, Shape]  # in the first and in the last repeat, which may differ
    side: bool

    @property
    def text(self) -> str:
        """`64×56×56`, or `64…224×56×56` if repeats differ."""
        first, last = self.shapes
        return "×".join(str(a) if a == b else f"{a}…{b}" for a, b in zip(first, last, strict=True))


Drawn: TypeAlias = Box | Cluster
KINDS = {  # of boxes, with fill and border: pale, so that dark text is readable on any background
    "end": ("#ececec", "#8a8a8a"),
    "weighted": ("#cfe3f5", "#3f7fb5"),
    "join": ("#fce3bd", "#c98a1b"),
    "pool": ("#cfe9dc", "#3c9a77"),
    "plain": ("#f6f6f6", "#8a8a8a"),
    "block": ("#e5dcf0", "#8462ac"),
}
TEXT = "#1a1a1a"  # colour of text on boxes


@dataclass(frozen=True, slots=True)
class Diagram:
    """Boxes and clusters in the order in which they run, arrows between boxes, title and notes."""

    name: str
    title: tuple[str, ...]  # lines: network, description, input and mode
    parts: tuple[Drawn, ...]
    edges: tuple[Edge, ...]
    notes: tuple[str, ...]  # what the diagram leaves out

    def boxes(self) -> list[Box]:
        """All boxes, in the order of their numbers in edges."""
        return list(boxes(self.parts))


def boxes(parts: Iterable[Drawn]) -> Iterator[Box]:
    """Yield all boxes of nested clusters, in order."""
    for part in parts:
        if isinstance(part, Box):
            yield part
        else:
            yield from boxes(part.parts)


def diagram(report: Report, depth: int | None = None, everything: bool = False, unfold: bool = False) -> Diagram:
    """Lay out a network, with blocks collapsed below `depth` parts of a name.

    The default depth is the deepest one with at most READABLE boxes. If there is room, it also opens the first of the
    blocks that differ only in numbers. `everything` draws one box per layer; `unfold` draws each repeat.
    """
    drawing = _Drawing(report, everything, unfold)
    if everything:
        depth = drawing.deepest
    depth, parts = (depth, drawing.parts(depth)) if depth else drawing.readable()
    outputs = drawing.graph.outputs
    named = [name if name == "output" else f"output {name}" for name in outputs] or ["output"]
    ends = [_output(name, side=False) for name in named]
    ends += [_output("side output", side=True) for _ in drawing.graph.sides]
    edges = _Arrows(drawing.graph, [*boxes(parts), *ends]).edges()
    notes = tuple(_notes(parts, edges, depth, bool(drawing.opened)))
    return Diagram(report.graph.name, _title(report), (*parts, *ends), tuple(edges), notes)


def _output(label: str, side: bool) -> Box:
    return Box(label, (), (), "end", ((),), side=side)


class _Drawing:
    """Assigns the layers of a network to boxes, and its blocks to clusters."""

    def __init__(self, report: Report, everything: bool, unfold: bool) -> None:
        self.graph = report.graph if report.mode == "train" else report.graph.without_sides()
        self.nodes = self.graph.nodes
        self.layers = report.layers
        self.everything, self.unfold = everything, unfold
        self.root = tree(self.graph)
        self.repeats = Repeats(self.graph)
        self.room, self.opened = 0, set[tuple[object, ...]]()

    @property
    def deepest(self) -> int:
        """The depth at which no block is collapsed."""
        return 1 + max(node.name.count(".") for node in self.nodes)

    def readable(self) -> tuple[int, tuple[Drawn, ...]]:
        """Return the default depth and its boxes and clusters."""
        for depth in range(self.deepest, 0, -1):
            parts = self.parts(depth)
            room = READABLE - len(list(boxes(parts)))
            if room >= 0:
                return depth, self.parts(depth, room)
        return 1, parts

    def parts(self, depth: int, room: int = 0) -> tuple[Drawn, ...]:
        """Collapse blocks of that depth; open the first of each kind as far as there is room."""
        self.room, self.opened = room, set()
        return tuple(self._inside([self.root.parts], depth))

    def _inside(self, copies: Sequence[Segment], depth: int) -> Iterator[Drawn]:
        """Yield the boxes and clusters of a block; `copies` are its parts and those of its repeats."""
        first = copies[0]
        spans = grouped(range(len(first)), lambda i, span: self._follows(first[i - 1], first[i]))
        for run in self._runs([[first[j] for j in span] for span in spans]):
            segments = [[copy[j] for j in spans[i]] for copy in copies for i in run]
            blocks = [part for segment in segments for part in segment if isinstance(part, Group)]
            layers = [tuple(part for part in segment if not isinstance(part, Group)) for segment in segments]
            if blocks:
                yield from self._block(blocks, len(run), depth)
            elif not self._passes_on(layers[0]):
                yield self._box(layers, len(run))

    def _runs(self, segments: Sequence[Segment]) -> list[list[int]]:
        return [[i] for i in range(len(segments))] if self.unfold else self.repeats.runs(segments)

    def _follows(self, before: Part, part: Part) -> bool:
        """Whether a layer belongs to the box before it: it only works on that output, by position, without a label."""
        if self.everything or isinstance(before, Group) or isinstance(part, Group):
            return False
        node, params = self.nodes[part], self.layers[part].params
        alone = node.inputs == (before,) and self.repeats.last_reader[before] == part and self.nodes[before].inputs
        if not alone or node.op.weighted or _label(node):
            return False
        return bool(params) or owns_nothing(self.layers[part]) or {*node.op.window(node.x)} <= {EACH}

    def _passes_on(self, segment: Sequence[int]) -> bool:
        """Whether a layer is drawn as an arrow."""
        node, reader = self.nodes[segment[0]], self.repeats.last_reader[segment[0]]
        return len(segment) == 1 and node.op.name == "identity" and 0 < reader < len(self.nodes) and not self.everything

    def _box(self, copies: Sequence[tuple[int, ...]], times: int) -> Box:
        nodes = [self.nodes[i] for i in copies[0]]
        kind = kind_of(nodes[0])
        lines = () if kind == "end" else tuple(_lines([operator_text(node.op) for node in nodes]))
        return Box(_label(nodes[0]), lines, (), kind, tuple(copies), times, all(node.side for node in nodes))

    def _block(self, blocks: Sequence[Group], times: int, depth: int) -> Iterator[Drawn]:
        label = _labels(blocks[:times])
        inside = tuple(self._inside([block.parts for block in blocks], depth))
        only = inside[0] if len(inside) == 1 else None
        if isinstance(only, Box) and only.times == 1:
            yield only._replace(label=".".join(filter(None, (label, only.label))), times=times)
        elif inside and self._closes(blocks[0], depth, inside):
            yield self._collapsed(label, blocks, times, list(boxes(inside)))
        elif inside:
            yield Cluster(label, inside, times)

    def _closes(self, block: Group, depth: int, inside: Sequence[Drawn]) -> bool:
        """Whether a block is one box: at this depth, unless it is the first of its kind and there is room to open it.

        A plain chain stays closed: its box shows all its layers.
        """
        level = block.name.count(".") + 1
        if level != depth:
            return level > depth
        kind, shown = tuple(self._kind(block)), list(boxes(inside))
        opens = kind not in self.opened and not self._chain(shown) and len(shown) <= self.room + 1
        if opens:
            self.opened.add(kind)
            self.room -= len(shown) - 1
        return not opens

    def _kind(self, block: Group) -> Iterator[object]:
        """Yield labels and operators of a block, which are equal for blocks that differ only in numbers."""
        for part in block.parts:
            if isinstance(part, Group):
                yield from (part.label, len(part.parts), *self._kind(part))
            else:
                yield self.nodes[part].op.name

    def _collapsed(self, label: str, blocks: Sequence[Group], times: int, inside: Sequence[Box]) -> Box:
        copies = tuple(tuple(indices(block.parts)) for block in blocks)
        layers = [self.layers[i] for copy in copies for i in copy]
        lines = self._chain(inside) or [counted(self.nodes[i].op for i in copies[0])]
        together = " together" if len(copies) > 1 else ""
        params, macs = (total(layers, figure) for figure in ("params", "macs"))
        figures = (f"{cell(params)} params", f"{cell(macs)} MACs{together}")
        return Box(label, tuple(lines), figures, "block", copies, times, all(layer.node.side for layer in layers))

    def _chain(self, inside: Sequence[Box]) -> list[str]:
        """Return the layers of a block that is a short plain chain, one line per box; else nothing."""
        plain = all(box.lines and box.kind not in ("join", "block") for box in inside)
        chained = all(
            set(self.nodes[box.copies[0][0]].inputs) <= set(before.copies[before.times - 1])
            for before, box in pairwise(inside)
        )
        if not plain or not chained or len(inside) > LINES:
            return []
        return [" · ".join(box.lines) + (f" ×{box.times}" if box.times > 1 else "") for box in inside]


class _Arrows:
    """Finds the arrows: the inputs of drawn layers that come from another box."""

    def __init__(self, graph: Graph, every: Sequence[Box]) -> None:
        self.graph, self.every = graph, every
        self.home: dict[int, int] = {}  # by node: its box
        self.drawn: dict[int, int] = {}  # by node: the corresponding node of the first copy, which is drawn
        for index, box in enumerate(every):
            for copy in box.copies:
                self.home |= dict.fromkeys(copy, index)
                self.drawn |= zip(copy, box.copies[0], strict=True)

    def edges(self) -> list[Edge]:
        """Return the edges in the order of their targets; those to outputs last."""
        found: dict[tuple[int, ...], Edge] = {}
        for index, box in enumerate(self.every):
            for place, position in enumerate(box.copies[0]):
                for slot in range(len(self.graph.nodes[position].inputs)):
                    start = self.source(position, slot)
                    if self.home[start] != index:  # a collapsed block reads a tensor once
                        key = (self.drawn[start], index) if box.kind == "block" else (start, index, position, slot)
                        found.setdefault(key, self.edge(start, index, place, slot))
        return [*found.values(), *self.results()]

    def source(self, position: int, slot: int) -> int:
        """Return the node that computes an input, before layers that only pass it on."""
        i = self.graph.nodes[position].inputs[slot]
        while i not in self.home:
            i = self.graph.nodes[i].inputs[0]
        return i

    def edge(self, start: int, index: int, place: int, slot: int) -> Edge:
        """Create the edge to a layer of a box, with the shapes in the first and in the last copy that has it."""
        copies = self.every[index].copies
        others = (self.source(copy[place], slot) for copy in copies)
        last = [i for i in others if self.drawn[i] == self.drawn[start]][-1]
        shapes = self.graph.nodes[start].output, self.graph.nodes[last].output
        return Edge(self.home[start], index, shapes, self.graph.nodes[copies[0][place]].side)

    def results(self) -> Iterator[Edge]:
        """Yield the edges to the outputs, which are the last boxes."""
        ends = self.graph.ends
        for index, i in enumerate(ends, len(self.every) - len(ends)):
            yield Edge(self.home[i], index, (self.graph.nodes[i].output,) * 2, self.every[index].side)


def _labels(blocks: Sequence[Group]) -> str:
    """Return the labels of equal neighbours: `a–b`; "" if they are only numbered."""
    if blocks[0].numbered:
        return ""
    return blocks[0].label if len(blocks) == 1 else f"{blocks[0].label}–{blocks[-1].label}"


def _label(node: Node) -> str:
    """Return the last part of a layer's name, or "" if it is only its operator's name."""
    last = node.name.rpartition(".")[2]
    return "" if re.fullmatch(rf"{node.op.name}\d*_*", last) and node.inputs else last


def kind_of(node: Node) -> str:
    """Return the kind of a layer, one of KINDS."""
    if not node.inputs:
        return "end"
    kinds = {"weighted": node.op.weighted, "join": node.op.joins, "pool": "pool" in node.op.name}
    return next((kind for kind, applies in kinds.items() if applies), "plain")


def _lines(texts: Sequence[str]) -> Iterable[str]:
    """Join the operators of a box to one line, or to two if one would be long."""
    if sum(map(len, texts)) <= WIDTH:
        return [" · ".join(texts)]
    return [texts[0], *([" · ".join(texts[1:])] if texts[1:] else [])]


def counted(ops: Iterable[Operator]) -> str:
    """Count operators: `3 conv, linear`; only weighted layers if there are any."""
    every = list(ops)
    counts = Counter(op.name for op in [op for op in every if op.weighted] or every)
    return ", ".join(f"{count} {name}" if count > 1 else name for name, count in counts.items())


ARGUMENTS: Mapping[str, Callable[[Any], str]] = {  # the arguments to show, in order, and how; "": not shown
    "kernel_size": format_shape,
    "out_channels": str,
    "out_features": str,
    "output_size": format_shape,
    "size": lambda size: str(size) if isinstance(size, int) else format_shape(size),
    "scale_factor": lambda factor: f"×{axes(factor)}",
    "stride": lambda stride: "" if {*stride} == {1} else f"/{axes(stride)}",
    "dilation": lambda dilation: "" if {*dilation} == {1} else f"dilation {axes(dilation)}",
    "groups": lambda groups: "" if groups == 1 else f"{groups} groups",
    "num_groups": lambda groups: f"{groups} groups",
    "connections": lambda links: "by table",
    "p": lambda p: f"{p:g}" if p else "",
}


def operator_text(op: Operator) -> str:
    """Describe an operator with its main arguments: `conv 3×3, 64, /2`."""
    values = {name: vars(op).get(name) for name in ARGUMENTS}
    if "pool" in op.name and "kernel_size" in vars(op) and values["stride"] is None:
        values["stride"] = values["kernel_size"]
    words = [ARGUMENTS[name](value) for name, value in values.items() if value is not None]
    return f"{op.name} {', '.join(word for word in words if word)}".rstrip()


def _title(report: Report) -> tuple[str, ...]:
    graph = report.graph
    conditions = f"input {graph.inputs_text} · one image · {MODE_NAMES[report.mode]}"
    return tuple(filter(None, (graph.name, about_text(graph.about), conditions)))


def _notes(parts: Sequence[Drawn], edges: Sequence[Edge], depth: int, first: bool) -> Iterator[str]:
    """Yield notes on what the diagram leaves out; `first` says that the first blocks of some kinds are open."""
    every = list(boxes(parts))
    if any(box.kind == "block" for box in every):
        but = ", except the first of each kind" if first else ""
        yield f"Blocks below depth {depth} are one box each{but} (--depth {depth + 1} shows more, --all each layer)."
    if any(len(box.copies) > 1 for box in every):
        yield "Equal neighbours are drawn once, with their number of repeats (--unfold draws each)."
    growing = [edge.text for edge in edges if edge.shapes[0] != edge.shapes[1]]
    if growing:
        yield f"{growing[0]}: in the first repeat and in the last."
