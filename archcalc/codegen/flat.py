"""A network layer by layer, from its graph: what is written where the spec's blocks have no counterpart in Python."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from typing import Any

from archcalc.codegen.calls import LENGTHS, fill, join_text, joined, telling
from archcalc.codegen.classes import Unit, classes
from archcalc.codegen.facts import fields, may_overwrite
from archcalc.codegen.names import identifier, local_name
from archcalc.codegen.trees import assign, attribute, call, const, name
from archcalc.graph.graph import Graph, Node
from archcalc.ops.shaping import Identity

TRAINING = attribute(name("self"), "training")


class Flat:
    """The one class of a network."""

    def __init__(self, graph: Graph, title: str) -> None:
        self.graph = graph
        self.unit = Unit(title, {}, ())
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
        groups = list(self._groups())
        self.tensors[0] = "x"
        if not self._fleeting(0, groups[0] if groups else []):
            self.tensors[0] = "image"
            self.unit.forward.append(assign("image", name("x")))
        for group, following in zip(groups, [*groups[1:], []], strict=True):
            self._write(group, following)
        self._give()
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

    def _fleeting(self, position: int, following: Sequence[int]) -> bool:
        """Whether a tensor is read by the next group alone, as its only input."""
        if not following:
            return self.readers.get(position) == [len(self.graph.nodes)]
        node = self.graph.nodes[following[0]]
        return not node.side and node.inputs == (position,) and self.readers[position] == [following[0]]

    def _write(self, group: list[int], following: list[int]) -> None:
        first, last = self.graph.nodes[group[0]], group[-1]
        tensors = [name(self.tensors[i]) for i in first.inputs]
        made = self._join(group[0], tensors) if first.op.joins else self._modules(group, tensors[0])
        text = "x"
        if first.side or not self._fleeting(last, following):
            text = local_name(self._label(group), {*self.tensors.values(), "x"})
        self.tensors[last] = text
        line = assign(text, made)
        self.unit.forward.append(ast.If(TRAINING, [line], []) if first.side else line)

    def _modules(self, group: Sequence[int], tensor: ast.expr) -> ast.expr:
        made = [self._module(i) for i in group if not isinstance(self.graph.nodes[i].op, Identity)]
        if not made:
            return tensor
        module = made[0] if len(made) == 1 else call("nn.Sequential", *made)
        return call(self.unit.attributes.add(self._label(group), module, True), tensor)

    def _label(self, group: Sequence[int]) -> str:
        """What the names of some layers have in common, else the first one's."""
        names = [self.graph.nodes[i].name.split(".") for i in group]
        shared = [parts[0] for parts in zip(*names, strict=False) if len(set(parts)) == 1]
        same = shared == names[0][: len(shared)]
        return identifier("_".join(shared if shared and same else names[0]), "layer")

    def _module(self, position: int) -> ast.expr:
        x = self.graph.nodes[position].x
        given = {
            "in_channels": lambda: const(x[0]),
            "in_features": lambda: const(x[-1]),
            "in_shape": lambda: const(x if len(x) > 1 else x[0]),
        }
        return fill(self.graph.nodes[position].op.pytorch(x), self._written(position), given)

    def _join(self, position: int, tensors: Sequence[ast.expr]) -> ast.expr:
        node = self.graph.nodes[position]

        def keep() -> ast.expr:
            module = fill(node.op.pytorch(node.x), self._written(position), {})
            return self.unit.attributes.add(self._label([position]), module, True)

        return joined(join_text([(node.op, node.x)]), tensors, keep)

    def _written(self, position: int) -> dict[str, ast.expr]:
        """An operator's arguments that are not the defaults; one number where height and width are alike."""
        op = self.graph.nodes[position].op
        values: dict[str, ast.expr] = {}
        for field, kind in fields(type(op)).items():
            value: Any = getattr(op, field)
            alike = kind in LENGTHS and type(value) is tuple and len(set(value)) == 1
            values[field] = const(value[0] if alike else value)
        return telling(type(op), values, bool(getattr(op, "inplace", False)) and position in self.allowed)

    def _give(self) -> None:
        result = name(self.tensors[self.graph.result])
        if self.graph.sides:
            sides = [name(self.tensors[i]) for i in self.graph.sides]
            self.unit.forward.append(ast.If(TRAINING, [ast.Return(ast.Tuple([result, *sides], ast.Load()))], []))
        self.unit.forward.append(ast.Return(result))
