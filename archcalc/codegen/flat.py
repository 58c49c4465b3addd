"""Write a network layer by layer from its graph, if classes cannot express the spec's blocks."""

from __future__ import annotations

import ast
from collections import Counter
from typing import Any

from archcalc.codegen.calls import LENGTHS, fill, join_text, joined, not_default
from archcalc.codegen.classes import TRAINING, Unit, class_texts
from archcalc.codegen.facts import fields, may_overwrite
from archcalc.codegen.names import identifier
from archcalc.codegen.trees import assign, attribute, call, const, name
from archcalc.graph.graph import Graph
from archcalc.ops.shaping import Identity


class Flat:
    """Writes a network as one class; its layers have their names in the graph.

    A tensor that only the next layer reads is the variable `x`; others have the names of their layers.
    """

    def __init__(self, graph: Graph, title: str) -> None:
        self.graph = graph
        self.unit = Unit(title, {})
        self.allowed = may_overwrite(graph)
        self.tensors: dict[int, str] = {}
        self.modules: dict[int, ast.expr] = {}
        self.reads = Counter(i for node in graph.nodes for i in node.inputs) + Counter({*graph.ends})
        if len(graph.inputs) > 1:
            self.unit.inputs = [self.unit.local(node.name) for node in graph.inputs]

    def source(self) -> str:
        """Return the class as text."""
        forward, inputs = self.unit.forward, self.unit.inputs
        for position, node in enumerate(self.graph.nodes):
            made = name(inputs[position]) if position < len(inputs) else self._made(position)
            text = self.tensors[position] = self._tensor(position)
            lines: list[ast.stmt] = [] if isinstance(made, ast.Name) and made.id == text else [assign(text, made)]
            forward += [ast.If(TRAINING, lines, [])] if lines and node.side else lines
        self.unit.sides = [self.tensors[i] for i in self.graph.sides]
        self.unit.outputs = [self.tensors[i] for i in self.graph.results]
        self.unit.end(name(self.tensors[self.graph.result]))
        return class_texts([self.unit], self.unit)

    def _tensor(self, position: int) -> str:
        """Return the variable for the output of a layer, or for an input."""
        if len(self.graph.inputs) > 1 and position < len(self.graph.inputs):
            return self.unit.inputs[position]
        after = [node.inputs for node in self.graph.nodes[position + 1 : position + 2]]
        if self.reads[position] == 1 and after in ([(position,)], []):
            return "x"
        return self.unit.local(self.graph.nodes[position].name)

    def _made(self, position: int) -> ast.expr:
        """Return the expression for the output of a layer."""
        node = self.graph.nodes[position]
        tensors: list[ast.expr] = [name(self.tensors[i]) for i in node.inputs]

        def keep() -> ast.expr:
            if node.shared and not node.shared.tensor:
                return self.modules[node.shared.node]
            module = self.unit.keep(identifier(node.name, "layer"), self._module(position))
            return self.modules.setdefault(position, module)

        if tie := self.graph.tie(node):
            tensors.append(attribute(self.modules[tie.node], tie.tensor))
        if node.op.joins:
            return joined(join_text(self.graph, [position]), ast.List(tensors, ast.Load()), keep)
        return tensors[0] if isinstance(node.op, Identity) else call(keep(), *tensors)

    def _module(self, position: int) -> ast.Call:
        """Return a layer's call without defaults; height and width are one number if they are equal."""
        node = self.graph.nodes[position]
        op, x = node.op, node.x
        values: dict[str, ast.expr] = {}
        for field, kind in fields(type(op)).items():
            value: Any = getattr(op, field)
            alike = kind in LENGTHS and type(value) is tuple and len(set(value)) == 1 and type(value[0]) is not tuple
            values[field] = const(value[0] if alike else value)
        in_place = bool(getattr(op, "inplace", False)) and position in self.allowed
        first, last = op.ends(x)
        text, written = op.tied if node.shared else op.pytorch(x), not_default(type(op), values, in_place)
        return fill(text, written, {x}, const(first.channels), const(last.channels))
