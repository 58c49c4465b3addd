"""Plans: the steps and layer expressions of a spec, parsed, before any shape is known.

Parsing gives a plan, `expansion.py` runs it. The YAML form and the expression form of a step give the same plan:
`- add: {body: …, skip: …}` and `add(body=…, skip=…)`.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Collection, Iterable, Iterator
from typing import NamedTuple, TypeAlias

from archcalc.errors import Place, SpecError, shorten, suggest
from archcalc.ops import REGISTRY
from archcalc.ops.synonyms import argument_hint, operator_hint
from archcalc.spec.arguments import NOTHING, Argument, Arguments, constant_arguments
from archcalc.spec.expression import FLOW_HINT, MAX_DEPTH, TOO_DEEP, Compiled, Expression
from archcalc.spec.hints import arguments_hint, call_hint, join_hint
from archcalc.spec.yaml import Mapping, Scalar, Sequence, Value

LABEL = re.compile(r"(?!\d+$)[A-Za-z0-9_][A-Za-z0-9_-]{0,99}")
WITH_ARGUMENTS = re.compile(r"([A-Za-z_]\w*)\s*\(")  # a join's key: `mean(0.15)`
SIDE, OUTPUTS, USE, AGAIN, CHAIN = "side", "outputs", "use", "again", "chain"


class Chain(NamedTuple):
    """Steps that run one after the other."""

    steps: tuple[Plan, ...]
    place: Place


class Repeat(NamedTuple):
    """`n * layer`."""

    count: Compiled  # type: ignore[assignment]  # hides tuple.count
    body: Plan
    place: Place


class Choose(NamedTuple):
    """`layer if test else layer`."""

    test: Compiled
    yes: Plan
    no: Plan
    place: Place


class Call(NamedTuple):
    """A call of an operator or block, by its name or by a parameter that names it."""

    name: str
    positional: tuple[Argument, ...]
    named: tuple[Argument, ...]
    place: Place
    constant: Arguments | None = None  # its arguments, if they are the same in each run


class Each(NamedTuple):
    """`layer for i in list`: one layer per round; the rounds are a chain, or the branches of a join."""

    rounds: Compiled
    body: Plan
    place: Place


class Branch(NamedTuple):
    """One way into a join or to a side output; without a name it is numbered."""

    name: str | None
    body: Plan
    place: Place


class Join(NamedTuple):
    """Branches from one input, joined by an operator."""

    name: str
    branches: tuple[Branch, ...] | Each
    place: Place
    positional: tuple[Argument, ...] = ()
    named: tuple[Argument, ...] = ()


class Side(NamedTuple):
    """Side outputs: branches that exist only in training; the next step reads their input."""

    branches: tuple[Branch, ...]
    place: Place


class Outputs(NamedTuple):
    """Outputs of the network; the next step, if any, reads their input."""

    branches: tuple[Branch, ...]
    place: Place


class Label(NamedTuple):
    """A labelled step; the label becomes part of the names of its nodes, and `use(label)` returns its output."""

    name: str
    body: Plan
    place: Place


class Use(NamedTuple):
    """The output of an earlier labelled step, or an input: a long skip."""

    label: str
    place: Place


class Again(NamedTuple):
    """An earlier labelled step once more, with the same weights."""

    label: str
    place: Place


Plan: TypeAlias = Chain | Repeat | Choose | Call | Each | Join | Side | Outputs | Label | Use | Again


def is_join(name: str) -> bool:
    """Whether a name is that of a join."""
    return name in REGISTRY and REGISTRY[name].joins


def is_reserved(name: str) -> bool:
    """Whether a name is reserved for joins, outputs, `use`, `again` and `chain`."""
    return name in (SIDE, OUTPUTS, USE, AGAIN, CHAIN) or is_join(name)


def parts(plan: Plan) -> Iterable[Plan]:
    """Return the plans directly inside a plan."""
    if isinstance(plan, Chain):
        return plan.steps
    if isinstance(plan, Choose):
        return plan.yes, plan.no
    if isinstance(plan, Join | Side | Outputs):
        return (plan.branches,) if isinstance(plan.branches, Each) else [branch.body for branch in plan.branches]
    return (plan.body,) if isinstance(plan, Repeat | Each | Label) else ()


def below(plan: Plan) -> Iterator[Plan]:
    """Yield a plan and all plans inside it."""
    yield plan
    for part in parts(plan):
        yield from below(part)


def structured(plan: Plan) -> bool:
    """Whether a plan has branches or labels: a block with such a body is a numbered module."""
    return any(isinstance(part, Join | Side | Outputs | Label) for part in below(plan))


class Planner:
    """Parses YAML steps to plans, and collects every name that expressions mention."""

    def __init__(self) -> None:
        self.mentions: set[str] = set()

    def steps(self, value: Value, what: str) -> Plan:
        """Parse a list of steps, or a single step."""
        if not isinstance(value, Sequence):
            return self.step(value, what)
        if not value.items:
            raise SpecError(f"{what} has no steps", value.place, "write `identity` for a branch that does nothing")
        steps = tuple(self.step(item, what) for item in value.items)
        return steps[0] if len(steps) == 1 else Chain(steps, value.place)

    def step(self, value: Value, what: str) -> Plan:
        """Parse a step: an expression, a nested list, or one key with its value."""
        if isinstance(value, Scalar):
            if not value.text.strip():
                raise SpecError(f"{what} is empty", value.place, "write `identity` for a branch that does nothing")
            return LayerExpression(value, self.mentions).layer()
        if isinstance(value, Sequence):
            return self.steps(value, what)
        if len(value.entries) != 1:
            second = value.entries[1][0] if value.entries else value
            raise SpecError("a step can have only one key", second.place, call_hint(value) or self.layout_hint(value))
        key, body = value.entries[0]
        if is_join(key.text):
            return Join(key.text, self.branches(body, key.text), key.place)
        if (written := WITH_ARGUMENTS.match(key.text)) and is_join(written[1]):
            call = LayerExpression(key, self.mentions).join_call()
            return Join(call.name, self.branches(body, call.name), key.place, call.positional, call.named)
        if key.text in (SIDE, OUTPUTS):
            branches = self.branches(body, key.text)
            return Side(branches, key.place) if key.text == SIDE else Outputs(branches, key.place)
        return self.label(key, body)

    def layout_hint(self, value: Mapping) -> str:
        """Return how to write a step that has several keys."""
        first, body = value.entries[0] if value.entries else (None, None)
        branching = first and (first.text in (SIDE, OUTPUTS) or is_join(first.text))
        if first and branching and isinstance(body, Scalar) and not body.text:
            return f"indent the branches further than {first.text}"
        return "start each step on a line of its own with `- `"

    def label(self, key: Scalar, body: Value) -> Plan:
        """Parse a labelled step."""
        check_label(key.text, key.place)
        if hint := arguments_hint(key.text, body):
            raise SpecError(f"{key.text} is a label here, but it has arguments instead of steps", body.place, hint)
        return Label(key.text, self.steps(body, key.text), key.place)

    def branches(self, value: Value, join: str) -> tuple[Branch, ...]:
        """Parse branches, named by keys or as a list."""
        if isinstance(value, Scalar):
            raise SpecError(f"{join} needs branches", value.place, f"write `{join}: {{a: …, b: …}}` or a list")
        if isinstance(value, Sequence):
            made = [Branch(None, self.step(item, f"a branch of {join}"), item.place) for item in value.items]
        else:
            for key, _ in value.entries:
                check_label(key.text, key.place)
            made = [Branch(key.text, self.steps(body, key.text), body.place) for key, body in value.entries]
        if not made:
            raise SpecError(f"{join} has no branches", value.place)
        return tuple(made)


def check_label(text: str, place: Place) -> None:
    """Raise SpecError unless a text can be part of a node's name."""
    if is_reserved(text):
        hint = f"write `- {text}(…)`" if text in (USE, AGAIN, CHAIN) else "choose another name"
        raise SpecError(f"{text!r} is a word of the language", place, hint)
    if not LABEL.fullmatch(text):
        hint = FLOW_HINT if ")" in text else "use letters, digits, _ and -, not only digits"
        raise SpecError(f"{shorten(text)!r} cannot be a label", place, hint)


class LayerExpression(Expression):
    """An expression that describes layers."""

    def layer(self, node: ast.expr | None = None) -> Plan:
        """Parse a layer. Raises SpecError for anything else."""
        node = self.tree if node is None else node
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise self.error(node, TOO_DEEP)
        plan = self._layer(node)
        self.depth -= 1
        return plan

    def _layer(self, node: ast.expr) -> Plan:
        place = self.place(node)
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
            return Chain(tuple(self.layer(step) for step in _flatten(node)), place)
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult):
            return self._repeat(node)
        if isinstance(node, ast.IfExp):
            return Choose(self.value(node.test), self.layer(node.body), self.layer(node.orelse), place)
        if isinstance(node, ast.Name):
            return self._named(node, place)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            return self._call_layer(node, node.func.id, place)
        hint = "write a | b for a then b, n * a to repeat, a if c else b to choose"
        if isinstance(node, ast.GeneratorExp | ast.ListComp):
            hint = "write chain(conv(n, 3) for n in [8, 16])"
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
            left, right = self.written(node.left), self.written(node.right)
            hint = f"write {left} | {right} for one after the other, add({left}, {right}) for the sum"
        named = node.func if isinstance(node, ast.Call) else node
        if isinstance(named, ast.Attribute):  # nn.Conv2d
            hint = operator_hint(named.attr, REGISTRY) or hint
        raise self.error(node, f"a layer is needed here, not {self.written(node)}", hint)

    def _repeat(self, node: ast.BinOp) -> Plan:
        left, right = self.written(node.left), self.written(node.right)
        if _is_layer(node.left):
            left = left if isinstance(node.left, ast.Call | ast.Name) else f"({left})"
            raise self.error(node, "the count comes first", f"write {right} * {left}")
        if isinstance(node.right, ast.Constant):
            hint = f"write {right} * {left}" if isinstance(node.left, ast.Name | ast.Call) else ""
            raise self.error(node, f"a layer is needed after *, not {right}", hint)
        return Repeat(self.value(node.left), self.layer(node.right), self.place(node.left))

    def _named(self, node: ast.Name, place: Place) -> Plan:
        self.mentions.add(node.id)
        if node.id in (USE, AGAIN, CHAIN) or is_join(node.id):
            raise self.error(node, f"{node.id} needs arguments", f"write {node.id}(…)")
        return Call(node.id, (), (), place, NOTHING)

    def _call_layer(self, node: ast.Call, name: str, place: Place) -> Plan:
        self.mentions.add(name)
        if name in (USE, AGAIN):
            label = self._label(node, name)
            return Use(label, place) if name == USE else Again(label, place)
        if name == CHAIN:
            return self._chain(node, place)
        if is_join(name):
            return Join(
                name, self._branches(node, name), place, named=self._named_values(node, name, REGISTRY[name].types)
            )
        return self._call_with_values(node, name, place)

    def _call_with_values(self, node: ast.Call, name: str, place: Place) -> Call:
        positional = tuple([Argument("", self.value(arg), self.place(arg)) for arg in node.args])
        named = self._named_values(node, name)
        return Call(name, positional, named, place, constant_arguments((*positional, *named)))

    def _named_values(self, node: ast.Call, name: str, known: Collection[str] | None = None) -> tuple[Argument, ...]:
        """Parse the values of the keywords `known`; by default of all."""
        keywords = [(key, k) for key, k in self._keywords(node, name) if known is None or key in known]
        return tuple(Argument(key, self.value(k.value), self.place(k)) for key, k in keywords)

    def join_call(self) -> Call:
        """Parse a join with arguments, as the key of its branches: `mean(0.15)`."""
        if isinstance(self.tree, ast.Call) and isinstance(self.tree.func, ast.Name):
            return self._call_with_values(self.tree, self.tree.func.id, self.place(self.tree))
        raise self.error(self.tree, "a join is needed here", "such as mean(0.15)")

    def _keywords(self, node: ast.Call, name: str) -> Iterator[tuple[str, ast.keyword]]:
        """Yield the keywords of a call. Raises SpecError if one is written twice, and for **."""
        seen: set[str] = set()
        for keyword in node.keywords:
            if keyword.arg is None:
                raise self.error(keyword, "** in a call is not part of the expression language")
            if keyword.arg in seen:
                raise self.error(keyword, f"{name}: gets {shorten(keyword.arg)} twice")
            seen.add(keyword.arg)
            yield keyword.arg, keyword

    def _label(self, node: ast.Call, name: str) -> str:
        if len(node.args) == 1 and not node.keywords:
            target = node.args[0]
            if isinstance(target, ast.Name):
                return target.id
            if isinstance(target, ast.Constant) and isinstance(target.value, str):
                return target.value
        raise self.error(node, f"{name} takes one label", f"write {name}(stem) or {name}('stem')")

    def _chain(self, node: ast.Call, place: Place) -> Plan:
        if node.keywords or not node.args:
            raise self.error(node, "chain needs layers", "write chain(block(i) for i in range(3))")
        steps = [self._each(arg) if isinstance(arg, ast.GeneratorExp) else self.layer(arg) for arg in node.args]
        return Chain(tuple(steps), place)

    def _each(self, node: ast.GeneratorExp) -> Each:
        return Each(self.rounds(node), self.layer(node.elt), self.place(node))

    def _branches(self, node: ast.Call, name: str) -> tuple[Branch, ...] | Each:
        branches = [(key, k) for key, k in self._keywords(node, name) if key not in REGISTRY[name].types]
        if len(node.args) == 1 and not branches and isinstance(node.args[0], ast.GeneratorExp):
            return self._each(node.args[0])
        if number := next((arg for arg in node.args if isinstance(arg, ast.Constant)), None):
            raise self.error(number, f"a branch of {name} is a layer, not {self.written(number)}", join_hint(name))
        plain = [Branch(None, self.layer(arg), self.place(arg)) for arg in node.args]
        named = []
        for key, k in branches:
            if isinstance(k.value, ast.Constant):
                raise self.error(k, f"{name}: has no argument {key!r}", argument_hint(key, REGISTRY[name].types))
            check_label(key, self.place(k))
            named.append(Branch(key, self.layer(k.value), self.place(k.value)))
        if not plain and not named:
            raise self.error(node, f"{name} has no branches", join_hint(name))
        return (*plain, *named)


def _flatten(node: ast.expr) -> list[ast.expr]:
    """Return the steps of `a | b | c`, which Python reads as ((a | b) | c); a long chain is not deep."""
    steps = []
    while isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
        steps.append(node.right)
        node = node.left
    return [node, *reversed(steps)]


def _is_layer(node: ast.expr) -> bool:
    """Whether an expression is certainly a layer, and not a number."""
    if isinstance(node, ast.BinOp):
        return isinstance(node.op, ast.BitOr) or (isinstance(node.op, ast.Mult) and _is_layer(node.right))
    named = node.func if isinstance(node, ast.Call) else node
    return isinstance(named, ast.Name) and named.id in REGISTRY


def check_keys(value: Value, known: Collection[str], what: str) -> Mapping:
    """Return `value` if it is a mapping with only known keys; otherwise raise SpecError."""
    if not isinstance(value, Mapping):
        raise SpecError(f"{what} needs keys: {', '.join(known)}", value.place)
    for key, _ in value.entries:
        if key.text not in known:
            raise SpecError(f"{what} has no key {shorten(key.text)!r}", key.place, suggest(key.text, known))
    return value
