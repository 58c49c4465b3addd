"""Several nodes that exporters write for one function, as one call again; and one node for parts of a value, as slices.

A pattern is the name of a value, a number, or an operator and the patterns of its inputs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from math import isclose, pi, sqrt
from typing import Any, TypeAlias

from archcalc.importers.onnx_nodes.file import Call
from archcalc.importers.onnx_nodes.site import Values

Pattern: TypeAlias = Any
COMMUTE = {"Add", "Mul"}
CUBIC = ("Mul", ("Add", "x", ("Mul", ("Pow", "x", 3), 0.044715)), sqrt(2 / pi))
BELLS: Sequence[tuple[Pattern, dict[str, Any]]] = (
    (("Erf", ("Div", "x", sqrt(2))), {}),
    (("Erf", ("Mul", "x", 1 / sqrt(2))), {}),
    (("Tanh", CUBIC), {"approximate": "tanh"}),
)
SIX = ("Clip", ("Add", "x", 3), 0, 6)
GROUPS = ("Reshape", ("InstanceNormalization", ("Reshape", "x", "sizes"), 1, 0), "old sizes")
PATTERNS: Sequence[tuple[Pattern, str, dict[str, Any]]] = (
    (("Mul", "x", ("Sigmoid", "x")), "Swish", {}),
    (("Mul", "x", ("HardSigmoid", "x")), "HardSwish", {}),
    (("Mul", "x", ("Tanh", ("Softplus", "x"))), "Mish", {}),
    (("Div", ("Mul", "x", SIX), 6), "HardSwish", {}),
    (("Div", SIX, 6), "HardSigmoid", {"alpha": 1 / 6}),
    *[(("Mul", ("Mul", "x", ("Add", bell, 1)), 0.5), "Gelu", given) for bell, given in BELLS],
    *[(("Mul", ("Mul", "x", 0.5), ("Add", bell, 1)), "Gelu", given) for bell, given in BELLS],
    *[(("Mul", "x", ("Mul", ("Add", bell, 1), 0.5)), "Gelu", given) for bell, given in BELLS],
    (("Add", ("MatMul", "x", "weight"), "bias"), "MatMul", {}),
    (("Add", ("Mul", GROUPS, "weight"), "bias"), "GroupNormalization", {}),
)


class Matcher:
    """Find patterns among a file's calls."""

    def __init__(self, values: Values) -> None:
        self.values, calls = values, values.file.calls
        self.maker = {name: call for call in calls for name in call.outputs}
        self.uses = Counter([*values.file.outputs, *[name for call in calls for name in call.inputs]])

    def calls(self) -> list[Call]:
        """Return the calls, those of a pattern as one at the place of the last."""
        gone: set[str] = set()
        made = list[Call]()
        for call in reversed(self.values.file.calls):
            if call.op in ("Split", "SequenceAt"):
                made += self.parts(call)[::-1]
            elif call.outputs[0] not in gone:
                new, inner = self.merged(call)
                gone |= inner.keys()
                made.append(new)
        return made[::-1]

    def merged(self, call: Call) -> tuple[Call, dict[str, Call]]:
        """Return the call that a pattern is with this one as its last, and the calls within it by their values."""
        sizes, constant = self.values.sizes, self.values.constant
        for pattern, op, given in PATTERNS:
            found, inner = dict[str, str](), dict[str, Call]()
            if not self.call_matches(call, pattern, found, inner):
                continue
            x, *weights = [found[name] for name in ("x", "weight", "bias") if name in found]
            if x in constant or not all(map(constant.get, weights)):
                continue
            if op == "GroupNormalization":
                (norm,) = [one for one in inner.values() if one.op == "InstanceNormalization"]
                own = {**norm.given, "num_groups": sizes(norm.inputs[0])[1]}
                return call._replace(op=op, inputs=(x, *weights), given=own), inner
            if op != "MatMul" or sizes(weights[1]) == sizes(weights[0])[-1:]:
                return call._replace(op=op, inputs=(x, *weights), given=given), inner
        return call, {}

    def parts(self, call: Call) -> list[Call]:
        """Return the parts of Split, or one of the equal parts of SplitToSequence, as slices."""
        source, place = call, (0,)
        if call.op == "SequenceAt":
            source, place = self.maker.get(call.inputs[0], call), self.values.numbers.get(call.inputs[1], ())
        sizes = [self.values.sizes(output) for output in call.outputs]
        if source.op == "SequenceAt" or not place or not all(sizes):
            return [call]
        axis, made = source.given.get("axis", 0), list[Call]()
        start = place[0] * sizes[0][axis]
        for output, size in zip(call.outputs, sizes, strict=True):
            given = {"starts": (start,), "ends": (start + size[axis],), "axes": (axis,)}
            made.append(source._replace(op="Slice", inputs=source.inputs[:1], outputs=(output,), given=given))
            start += size[axis]
        return made

    def call_matches(self, call: Call, pattern: Pattern, values: dict[str, str], inner: dict[str, Call]) -> bool:
        """Whether a call is what a pattern says."""
        op, *parts = pattern
        names = [name for name in call.inputs if name]
        if call.op != op or len(names) != len(parts):
            return False
        for order in (names, names[::-1])[: 1 + (op in COMMUTE)]:
            trial, within = dict(values), dict(inner)
            if all(self.matches(name, part, trial, within) for name, part in zip(order, parts, strict=True)):
                values.update(trial)
                inner |= within
                return True
        return False

    def matches(self, name: str, pattern: Pattern, values: dict[str, str], inner: dict[str, Call]) -> bool:
        """Whether a value is what a pattern says."""
        if isinstance(pattern, str):
            return values.setdefault(pattern, name) == name
        if not isinstance(pattern, tuple):
            numbers = self.values.numbers.get(name, ())
            return len({*numbers}) == 1 and isclose(numbers[0], pattern, rel_tol=1e-4)
        maker = self.maker.get(name)
        if maker is None or self.uses[name] != 1:
            return False
        inner[name] = maker
        return self.call_matches(maker, pattern, values, inner)
