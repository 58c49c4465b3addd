"""A network layer by layer, from its graph: what is written where the spec's blocks have no counterpart in Python."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from itertools import takewhile
from typing import Any

from archcalc.codegen.calls import LENGTHS, fill, join_text, joined, telling
from archcalc.codegen.classes import TRAINING, Unit, classes, wrapped
from archcalc.codegen.facts import fields, may_overwrite
from archcalc.codegen.names import identifier, local_name
from archcalc.codegen.trees import assign, call, const, name
from archcalc.graph.graph import Graph, Node
from archcalc.ops.shaping import Identity


class Flat:
    """The one class of a network. `y` is what only the next statement reads; other tensors have their layers' names."""

    def __init__(self, graph: Graph, title: str) -> None:
        self.graph = graph
        self.unit = Unit(title, {}, ())
        self.allowed = may_overwrite(graph)
        self.tensors = {0: "x"}
        self.readers: dict[int, list[int]] = {}
        for position, node in enumerate(graph.nodes):
            for i in node.inputs:
                self.readers.setdefault(i, []).append(position)
        for end in {graph.result, *graph.sides}:
            self.readers.setdefault(end, []).append(len(graph.nodes))

    def source(self) -> str:
        """The class as text."""
        nodes, forward = self.graph.nodes, self.unit.forward
        groups = list(self._groups())
        for group, after in zip(groups, [*(nodes[group[0]].inputs for group in groups[1:]), ()], strict=True):
            made = self._made(group)
            own = after in ((group[-1],), ()) and len(self.readers[group[-1]]) == 1
            text = "y" if own else local_name(self._label(group), {"x", "y", *self.tensors.values()})
            self.tensors[group[-1]] = text
            line = assign(text, made)
            forward.append(ast.If(TRAINING, [line], []) if nodes[group[0]].side else line)
        result, *sides = (name(self.tensors[i]) for i in (self.graph.result, *self.graph.sides))
        if sides:
            forward.append(ast.If(TRAINING, [ast.Return(ast.Tuple([result, *sides], ast.Load()))], []))
        forward.append(ast.Return(result))
        return classes([self.unit], self.unit)

    def _groups(self) -> Iterator[list[int]]:
        """Layers that follow each other with nothing else between them."""
        group: list[int] = []
        for position, node in enumerate(self.graph.nodes[1:], 1):
            if group and not self._follows(group[-1], position, node):
                yield group
                group = []
            group.append(position)
        if group:
            yield group

    def _follows(self, last: int, position: int, node: Node) -> bool:
        before = self.graph.nodes[last]
        single = node.inputs == (last,) and self.readers.get(last) == [position]
        return single and not node.op.joins and not before.op.joins and node.side == before.side

    def _made(self, group: list[int]) -> ast.expr:
        """What a group makes of the tensors that its first layer reads."""
        nodes = self.graph.nodes
        first = nodes[group[0]]
        tensors = [name(self.tensors[i]) for i in first.inputs]
        if first.op.joins:
            own = [(first.op, first.x)]
            return joined(join_text(own), tensors, lambda: self.unit.keep(self._label(group), self._module(group[0])))
        modules = [self._module(i) for i in group if not isinstance(nodes[i].op, Identity)]
        return call(self.unit.keep(self._label(group), wrapped(modules)), *tensors) if modules else tensors[0]

    def _label(self, group: Sequence[int]) -> str:
        """What the names of some layers have in common, else the first one's."""
        names = [self.graph.nodes[i].name.split(".") for i in group]
        shared = takewhile(lambda parts: len({*parts}) == 1, zip(*names, strict=False))
        return identifier("_".join([first for first, *_ in shared] or names[0]), "layer")

    def _module(self, position: int) -> ast.Call:
        """A layer with the arguments that are not the defaults; one number where height and width are alike."""
        op, x = self.graph.nodes[position].op, self.graph.nodes[position].x
        given = {
            "in_channels": lambda: const(x[0]),
            "in_features": lambda: const(x[-1]),
            "in_shape": lambda: const(x if len(x) > 1 else x[0]),
        }
        values: dict[str, ast.expr] = {}
        for field, kind in fields(type(op)).items():
            value: Any = getattr(op, field)
            alike = kind in LENGTHS and type(value) is tuple and len(set(value)) == 1
            values[field] = const(value[0] if alike else value)
        in_place = bool(getattr(op, "inplace", False)) and position in self.allowed
        return fill(op.pytorch(x), telling(type(op), values, in_place), given)
