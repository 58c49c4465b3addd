"""Operators as calls of PyTorch's modules: each says itself how it is written, here that is filled in."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache, reduce
from typing import Any

from archcalc.codegen.expressions import Reader, Scope, undivided
from archcalc.codegen.facts import Facts, arguments, fields
from archcalc.codegen.trees import (
    IN_CHANNELS,
    UNKNOWN,
    Unstructured,
    attribute,
    call,
    const,
    known,
    name,
    names_in,
    references,
    short,
    value_of,
)
from archcalc.ops import REGISTRY, Operator, Shape
from archcalc.ops.base import declared
from archcalc.spec.expression import tree_of
from archcalc.spec.functions import DIMENSIONS, Reference
from archcalc.spec.layers import Call, Join
from archcalc.spec.network_spec import Block

LENGTHS = ("Sides", "Size", "Margin", "Padding")  # of one number or two, all but the first also of a list of one
REAL = ("Real", "PositiveReal", "Probability")  # annotations of arguments that take any number
SIGNS: dict[str, ast.operator] = {"Sum": ast.Add(), "Product": ast.Mult(), "Mean": ast.Add()}


@lru_cache(maxsize=256)
def template(text: str) -> ast.Call:
    """An operator's text as a tree."""
    made = ast.parse(text, mode="eval").body
    assert isinstance(made, ast.Call)
    return made


def fill(text: str, written: Mapping[str, ast.expr], given: Mapping[str, Callable[[], ast.expr]]) -> ast.Call:
    """An operator's text with the arguments that are written, and what is `given` of the input."""

    def argument(node: ast.expr) -> ast.expr | None:
        if not isinstance(node, ast.Name):
            return node
        return given[node.id]() if node.id in given else written.get(node.id)

    form = template(text)
    keywords = {str(keyword.arg): argument(keyword.value) for keyword in form.keywords}
    args = [made for arg in form.args if (made := argument(arg)) is not None]
    return call(form.func, *args, **{key: made for key, made in keywords.items() if made is not None})


def telling(cls: type[Operator], values: Mapping[str, ast.expr], in_place: bool) -> dict[str, ast.expr]:
    """Arguments that say more than the defaults do; one number stands for two. `inplace` is what is right here."""
    defaults = {field.name: field.default for field in declared(cls)}
    said = {field: tree for field, tree in values.items() if not (known(tree) and _is(tree, defaults[field]))}
    return {k: tree for k, tree in said.items() if k != "inplace"} | ({"inplace": const(True)} if in_place else {})


def _is(tree: ast.expr, default: object) -> bool:
    value = value_of(tree)
    return value == default or (type(value) is int and (value, value) == default)


def joined(text: str, tensors: Sequence[ast.expr], keep: Callable[[], ast.expr]) -> ast.expr:
    """A join of some tensors, as an expression where that is short; `keep` makes its module an attribute."""
    kind = text.partition("(")[0]
    if kind == "Concat":
        return call("torch.cat", ast.List(list(tensors), ast.Load()), dim=const(1))
    if kind not in SIGNS:
        return call(keep(), *tensors)
    if len(tensors) == 1:
        return call(attribute(tensors[0], "clone"))
    made = reduce(lambda left, right: ast.BinOp(left, SIGNS[kind], right), tensors)
    return ast.BinOp(made, ast.Div(), const(len(tensors))) if kind == "Mean" else made


def joined_each(text: str, each: ast.ListComp, branches: ast.expr, keep: Callable[[], ast.expr]) -> ast.expr:
    """A join of what a list of modules gives."""
    kind = text.partition("(")[0]
    if kind == "Concat":
        return call("torch.cat", each, dim=const(1))
    if kind not in ("Sum", "Mean"):
        return call(keep(), ast.Starred(each, ast.Load()))
    made = call("sum", ast.GeneratorExp(each.elt, each.generators))
    return ast.BinOp(made, ast.Div(), call("len", branches)) if kind == "Mean" else made


def join_text(ops: Iterable[tuple[Operator, Any]]) -> str:
    """How some joins are written; a mean that drops branches has a module, and is called otherwise."""
    texts = {("Dropping" if getattr(op, "p", 0) else "") + op.pytorch(x) for op, x in ops}
    if len(texts) > 1:
        raise Unstructured(f"a join is sometimes {' and sometimes '.join(sorted(texts))}")
    return texts.pop()


class Calls:
    """What calls mean where they stand: which block or operator with which arguments, and operators as text."""

    def __init__(self, facts: Facts) -> None:
        self.facts = facts
        self.optional = {block.name: self._optional(block) for block in facts.spec.blocks.values()}

    def _optional(self, block: Block) -> set[str]:
        """Parameters that no call gives: their defaults stand where they are mentioned."""
        parameters = [parameter for parameter, _ in block.parameters]
        calls = [plan for plan in self.facts.plans if isinstance(plan, Call) and block in self.facts.callees(plan)]
        return {*parameters} - {parameter for plan in calls for parameter in arguments(parameters, plan)}

    def target(self, plan: Call, scope: Scope) -> Block | type[Operator]:
        """The block or operator that a call is of."""
        named = scope.names.get(plan.name, const(Reference(plan.name)))
        if not isinstance(named, ast.Constant) or not isinstance(named.value, Reference):
            raise Unstructured(f"{plan.name} is not known")
        own = named.value.name
        return self.facts.spec.blocks[own] if own in self.facts.spec.blocks else REGISTRY[own]

    # Blocks

    def bind(self, block: Block, plan: Call, scope: Scope) -> dict[str, ast.expr]:
        """A call's arguments by parameter, and defaults for the others."""
        reader, given = Reader(self.facts, plan, scope), self.facts.trace.given
        values = {}
        for parameter, argument in arguments([p for p, _ in block.parameters], plan).items():
            runs = given.get((plan.place[1:], parameter), ())
            whole = all(isinstance(leaf, int) for run in runs for leaf in _leaves(run))
            values[parameter] = short(reader.value(tree_of(argument.value), whole))
        for parameter, default in block.parameters:
            if parameter not in values and default is not None:
                inner = Reader(self.facts, block.body, self.inside(block, values, scope.channels))
                values[parameter] = undivided(inner.value(tree_of(default)))
        return {parameter: values[parameter] for parameter, _ in block.parameters}

    def inside(self, block: Block, values: Mapping[str, ast.expr], channels: ast.expr) -> Scope:
        """What a block's body sees."""
        parameters = frozenset(parameter for parameter, _ in block.parameters)
        return Scope({**self.facts.base(), **values}, parameters, channels)

    def symbols(self, block: Block, values: Mapping[str, ast.expr]) -> dict[str, ast.expr]:
        """A block's parameters as its own code names them; what names a block is that block."""
        names = {own: tree for own, tree in values.items() if any(references(tree))}
        for parameter, default in block.parameters:
            if parameter not in names and parameter in self.optional[block.name] and default is not None:
                inner = Reader(self.facts, block.body, self.inside(block, names, IN_CHANNELS))
                names[parameter] = inner.value(tree_of(default))
            elif parameter not in names:
                names[parameter] = name(self.facts.names.python(parameter))
        return names

    def constant(self, default: Any) -> ast.expr | None:
        """A default that mentions no names, else None: then each call gives the argument."""
        tree = tree_of(default) if default is not None else IN_CHANNELS
        made = None if names_in(tree) else Reader(self.facts, None, Scope({}, frozenset(), UNKNOWN)).value(tree)
        return made if made and known(made) else None

    # Operators

    def module(self, plan: Call, cls: type[Operator], scope: Scope) -> ast.Call:
        """The call that makes an operator's module, for an input of these channels."""
        nodes = self.facts.nodes(plan.place, cls.name)
        shapes = {node.x for _, node in nodes}
        given = {
            "in_channels": lambda: scope.channels,
            "in_features": lambda: self._shape(shapes, scope, -1)[-1],
            "in_shape": lambda: self._whole(self._shape(shapes, scope, 1)),
        }
        text = self.facts.one({node.op.pytorch(node.x) for _, node in nodes}, cls.name)
        in_place = all(getattr(node.op, "inplace", False) and i in self.facts.in_place for i, node in nodes)
        return fill(text, telling(cls, self.written(plan, cls, scope), in_place), given)

    def written(self, plan: Call | Join, cls: type[Operator], scope: Scope) -> dict[str, ast.expr]:
        """The arguments as the spec writes them."""
        kinds, reader = fields(cls), Reader(self.facts, plan, scope)
        written = arguments(kinds, plan)
        values = {field: reader.value(tree_of(a.value), kinds[field] not in REAL) for field, a in written.items()}
        return {field: self._length(tree) if kinds[field] in LENGTHS[1:] else tree for field, tree in values.items()}

    def _length(self, tree: ast.expr) -> ast.expr:
        """A length, or two. A spec takes a list of one number for that number, and PyTorch does not."""
        if isinstance(tree, ast.Tuple) and len(tree.elts) == 1:
            return tree.elts[0]
        number = isinstance(tree, ast.BinOp) and not isinstance(tree.op, ast.Add | ast.Mult)
        if not known(tree) and not number and self.facts.lists_of_one:
            raise Unstructured("a list that may be of one number")
        return tree

    def _shape(self, shapes: set[Shape], scope: Scope, start: int) -> list[ast.expr]:
        """The input's shape, what lies behind `start` as it is wherever the step runs. Raises Unstructured."""
        if all(len(shape) == 1 for shape in shapes):
            return [scope.channels]
        return [scope.channels, *map(const, self.facts.one({shape[start:] for shape in shapes}, "a height or width"))]

    def _whole(self, shape: Sequence[ast.expr]) -> ast.expr:
        return shape[0] if len(shape) == 1 else ast.Tuple(list(shape), ast.Load())

    def channels(self, plan: Call, cls: type[Operator], scope: Scope) -> ast.expr:
        """The first dimension of an operator's output."""
        written = arguments(fields(cls), plan)
        nodes = [node for _, node in self.facts.nodes(plan.place, cls.name)]
        for key in ("out_channels", "out_features"):
            if key in written and (key == "out_channels" or all(len(node.x) == 1 for node in nodes)):
                return Reader(self.facts, plan, scope).value(tree_of(written[key].value), True)
        if all(len(node.x) > len(node.output) == 1 for node in nodes):
            lengths = self._shape({node.x for node in nodes}, scope, 1)
            sizes = [length for length in lengths[1:] if value_of(length) > 1]
            return reduce(lambda left, right: ast.BinOp(left, ast.Mult(), right), sizes, scope.channels)
        if any(node.x[0] != node.output[0] for node in nodes):
            raise Unstructured(f"{cls.name} changes its channels")
        return scope.channels

    def join(self, plan: Join, scope: Scope) -> tuple[str, ast.Call]:
        """How a join is written, and its module."""
        nodes = self.facts.nodes(plan.place, plan.name)
        text = join_text((node.op, node.x) for _, node in nodes)
        trees = [tree_of(argument.value) for argument in (*plan.positional, *plan.named)]
        if names_in(*trees) & {*DIMENSIONS}:
            raise Unstructured("a join's argument mentions its input")
        cls = REGISTRY[plan.name]
        return text, fill(text.removeprefix("Dropping"), telling(cls, self.written(plan, cls, scope), False), {})


def _leaves(value: object) -> list[object]:
    return [leaf for item in value for leaf in _leaves(item)] if isinstance(value, tuple) else [value]
