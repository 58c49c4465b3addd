"""A network layer by layer, from its graph: what is written where the spec's blocks have no counterpart in Python."""

from __future__ import annotations

import ast
from typing import Any

from archcalc.codegen.calls import LENGTHS, fill, join_text, joined, telling
from archcalc.codegen.classes import TRAINING, Unit, classes
from archcalc.codegen.facts import fields, may_overwrite
from archcalc.codegen.names import VARIABLES, identifier, numbered
from archcalc.codegen.trees import assign, call, const, name
from archcalc.graph.graph import Graph
from archcalc.ops.shaping import Identity


class Flat:
    """The one class of a network; its layers have their names in the graph.

    `x` is a tensor that only the next layer reads; all others are called by their layers.
    """

    def __init__(self, graph: Graph, title: str) -> None:
        self.graph = graph
        self.unit = Unit(title, {})
        self.allowed = may_overwrite(graph)
        self.tensors: dict[int, str] = {}
        self.readers: dict[int, list[int]] = {}
        for position, node in enumerate(graph.nodes):
            for i in node.inputs:
                self.readers.setdefault(i, []).append(position)
        for end in {graph.result, *graph.sides}:
            self.readers.setdefault(end, []).append(len(graph.nodes))

    def source(self) -> str:
        """The class as text."""
        forward = self.unit.forward
        self.tensors[0] = self._tensor(0, "image")
        forward += [assign("image", name("x"))] if self.tensors[0] == "image" else []
        for position, node in enumerate(self.graph.nodes[1:], 1):
            made = self._made(position)
            text = self.tensors[position] = self._tensor(position, node.name)
            line = assign(text, made)
            forward.append(ast.If(TRAINING, [line], []) if node.side else line)
        result, *sides = (name(self.tensors[i]) for i in (self.graph.result, *self.graph.sides))
        if sides:
            forward.append(ast.If(TRAINING, [ast.Return(ast.Tuple([result, *sides], ast.Load()))], []))
        self.unit.end(result)
        return classes([self.unit], self.unit)

    def _tensor(self, position: int, label: str) -> str:
        """The variable of what a layer gives."""
        last = position + 1 == len(self.graph.nodes)
        alone = last or self.graph.nodes[position + 1].inputs == (position,)
        if alone and self.readers.get(position) == [position + 1]:
            return "x"
        return numbered(identifier(label, "layer"), {*VARIABLES, *self.tensors.values()})

    def _made(self, position: int) -> ast.expr:
        """What a layer makes of the tensors that it reads."""
        node = self.graph.nodes[position]
        tensors: list[ast.expr] = [name(self.tensors[i]) for i in node.inputs]

        def keep() -> ast.expr:
            return self.unit.keep(identifier(node.name, "layer"), self._module(position))

        if node.op.joins:
            return joined(join_text([(node.op, node.x)]), ast.List(tensors, ast.Load()), keep)
        return tensors[0] if isinstance(node.op, Identity) else call(keep(), *tensors)

    def _module(self, position: int) -> ast.Call:
        """A layer with the arguments that are not the defaults; one number where height and width are alike."""
        op, x = self.graph.nodes[position].op, self.graph.nodes[position].x
        values: dict[str, ast.expr] = {}
        for field, kind in fields(type(op)).items():
            value: Any = getattr(op, field)
            alike = kind in LENGTHS and type(value) is tuple and len(set(value)) == 1
            values[field] = const(value[0] if alike else value)
        in_place = bool(getattr(op, "inplace", False)) and position in self.allowed
        return fill(op.pytorch(x), telling(type(op), values, in_place), {x}, const(x[0]))
