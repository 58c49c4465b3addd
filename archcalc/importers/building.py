"""Build a graph node by node, as an importer finds the layers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from archcalc.errors import one_line
from archcalc.graph.graph import About, Graph, Node, Shared
from archcalc.ops import Input, Operator, Shape


class Builder:
    """The nodes of a graph so far; inputs come first. Names are made unique by a number: `relu`, `relu2`."""

    def __init__(self) -> None:
        self.nodes: list[Node] = []
        self.side = False  # whether nodes are on a side output, which exists only in training
        self._names: dict[str, int] = {}

    def input(self, name: str, shape: Shape) -> int:
        """Add an input of the network; return the node's index."""
        op = Input(shape)
        self.nodes.append(Node(self._unique(name), op, (), shape, shape, None, False))
        return len(self.nodes) - 1

    def add(self, op: Operator, inputs: Sequence[int], name: str, x: Any = None, shared: Shared | None = None) -> int:
        """Add a node; return its index. Its input's shape is that of its inputs, unless `x` gives it other axes.

        Raises Refusal if the operator does not accept the shape.
        """
        if x is None:
            shapes = tuple([self.nodes[i].output for i in inputs])
            x = shapes if op.joins else shapes[0] if shapes else Shape()
        node = Node(self._unique(name), op, tuple(inputs), x, op.output(x), None, self.side, shared)
        self.nodes.append(node)
        return len(self.nodes) - 1

    def graph(self, name: str, results: Mapping[str, int], about: About) -> Graph:
        """Return the graph; `results` are the outputs' nodes by name, whose names count only if there are several."""
        sides = tuple([i for i in results.values() if self.nodes[i].side])
        main = {one_line(key): i for key, i in results.items() if i not in sides}
        outputs = tuple(main) if len(main) > 1 else ()
        return Graph(name, tuple(self.nodes), tuple(main.values()), about, sides, outputs=outputs)

    def _unique(self, name: str) -> str:
        name = one_line(name)
        self._names[name] = count = self._names.get(name, 0) + 1
        return self._unique(f"{name}{count}") if count > 1 else name
