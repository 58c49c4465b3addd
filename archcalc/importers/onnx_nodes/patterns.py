"""Functions that exporters write out as several nodes, as one call again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from math import isclose, pi, sqrt
from typing import Any, TypeAlias

from archcalc.importers.onnx_nodes.file import Call, File

Pattern: TypeAlias = Any  # "x", a number, or an operator and the patterns of its inputs
COMMUTE = {"Add", "Mul"}
ERF = ("Erf", ("Div", "x", sqrt(2))), ("Erf", ("Mul", "x", 1 / sqrt(2)))
CUBIC = ("Mul", ("Add", "x", ("Mul", ("Pow", "x", 3), 0.044715)), sqrt(2 / pi))
HARD = ("HardSigmoid", "x"), ("Div", ("Clip", ("Add", "x", 3), 0, 6), 6)
PATTERNS: Sequence[tuple[Pattern, str, dict[str, Any]]] = (
    (("Mul", "x", ("Sigmoid", "x")), "Swish", {}),
    (("Mul", "x", ("HardSigmoid", "x")), "HardSwish", {}),
    (("Mul", "x", ("Tanh", ("Softplus", "x"))), "Mish", {}),
    (("Div", ("Mul", "x", ("Clip", ("Add", "x", 3), 0, 6)), 6), "HardSwish", {}),
    (("Div", ("Clip", ("Add", "x", 3), 0, 6), 6), "HardSigmoid", {"alpha": 1 / 6}),
    *[(("Mul", ("Mul", "x", ("Add", erf, 1)), 0.5), "Gelu", {}) for erf in ERF],
    *[(("Mul", ("Mul", "x", 0.5), ("Add", erf, 1)), "Gelu", {}) for erf in ERF],
    *[(("Mul", "x", ("Mul", ("Add", erf, 1), 0.5)), "Gelu", {}) for erf in ERF],
    (("Mul", ("Mul", "x", 0.5), ("Add", ("Tanh", CUBIC), 1)), "Gelu", {"approximate": "tanh"}),
    (("Mul", ("Mul", "x", ("Add", ("Tanh", CUBIC), 1)), 0.5), "Gelu", {"approximate": "tanh"}),
)


class Matcher:
    """Find patterns among a file's calls."""

    def __init__(self, file: File) -> None:
        self.file = file
        self.maker = {name: call for call in file.calls for name in call.outputs}
        self.uses = Counter([*file.outputs, *[name for call in file.calls for name in call.inputs]])
        self.constant = file.origins()

    def calls(self) -> list[Call]:
        """Return the calls, those of a pattern as one at the place of the last."""
        gone: set[str] = set()
        made = []
        for call in reversed(self.file.calls):
            if call.outputs[0] not in gone:
                new, inner = self.merged(call)
                gone |= inner
                made.append(new)
        return made[::-1]

    def merged(self, call: Call) -> tuple[Call, set[str]]:
        """Return the call that a pattern is with this one as its last, and the values within it."""
        if call.op == "Add":
            return self.linear(call)
        if call.op == "SequenceAt":
            return self.part(call), {call.inputs[0]}
        for pattern, op, given in PATTERNS:
            if pattern[0] == call.op:
                found: dict[str, str] = {}
                inner = set[str]()
                if self.call_matches(call, pattern, found, inner) and found["x"] not in self.constant:
                    return call._replace(op=op, inputs=(found["x"],), given=given), inner
        return call, set()

    def linear(self, call: Call) -> tuple[Call, set[str]]:
        """A product with a stored matrix and the addition of a stored vector are a linear layer."""
        for product, bias in (call.inputs, call.inputs[::-1]):
            maker = self.maker.get(product)
            if maker and maker.op == "MatMul" and self.uses[product] == 1 and self.constant.get(bias):
                x, weight = maker.inputs
                sizes = self.file.sizes[0]
                if weight in self.constant and x not in self.constant and sizes.get(bias) == sizes[weight][-1:]:
                    return call._replace(op="MatMul", name=maker.name, inputs=(x, weight, bias)), {product}
        return call, set()

    def part(self, call: Call) -> Call:
        """One of the equal parts of SplitToSequence is a slice."""
        maker, place = self.maker.get(call.inputs[0]), self.numbers(call.inputs[1])
        size, size_of_part = (
            [self.file.sizes[0].get(name, ()) for name in (maker.inputs[0], call.outputs[0])] if maker else ((), ())
        )
        if not maker or not place or not size or len(size) != len(size_of_part):
            return call
        axis = maker.given.get("axis", 0)
        given = {"start": place[0] * size_of_part[axis], "size": size_of_part[axis], "axis": axis}
        return call._replace(op="Slice", inputs=maker.inputs[:1], given=given)

    def call_matches(self, call: Call, pattern: Pattern, found: dict[str, str], inner: set[str]) -> bool:
        op, *parts = pattern
        names = [name for name in call.inputs if name]
        if call.op != op or len(names) != len(parts):
            return False
        for order in (names, names[::-1])[: 1 + (op in COMMUTE)]:
            trial, within = dict(found), set(inner)
            if all(self.matches(name, part, trial, within) for name, part in zip(order, parts, strict=True)):
                found.update(trial)
                inner |= within
                return True
        return False

    def matches(self, name: str, pattern: Pattern, found: dict[str, str], inner: set[str]) -> bool:
        """Whether a value is what a pattern says; `found` has what `x` stands for."""
        if pattern == "x":
            return found.setdefault("x", name) == name
        if not isinstance(pattern, tuple):
            numbers = self.numbers(name)
            return len(numbers) == 1 and isclose(numbers[0], pattern, rel_tol=1e-4)
        maker = self.maker.get(name)
        inner.add(name)
        return maker is not None and self.uses[name] == 1 and self.call_matches(maker, pattern, found, inner)

    def numbers(self, name: str) -> tuple[Any, ...]:
        stored = self.constant.get(name, ())
        return self.file.tensors[stored[0]].values or () if len(stored) == 1 else ()
