"""Operators as calls of PyTorch's modules: each says itself how it is written, here that is filled in."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache, reduce
from typing import Any

from archcalc.codegen.blocks import Facts, arguments, fields
from archcalc.codegen.expressions import Reader, Scope
from archcalc.codegen.trees import Unstructured, attribute, call, const, known, names_in, value_of
from archcalc.ops import REGISTRY, Operator, Shape
from archcalc.ops.base import declared
from archcalc.spec.functions import DIMENSIONS
from archcalc.spec.layers import Call, Join

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
    """Writes the operators that a spec calls."""

    def __init__(self, facts: Facts) -> None:
        self.facts = facts

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
        values = {field: reader.value(a.value.tree, kinds[field] not in REAL) for field, a in written.items()}
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
                return Reader(self.facts, plan, scope).value(written[key].value.tree, True)
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
        trees = [argument.value.tree for argument in (*plan.positional, *plan.named)]
        if names_in(*trees) & {*DIMENSIONS}:
            raise Unstructured("a join's argument mentions its input")
        cls = REGISTRY[plan.name]
        return text, fill(text.removeprefix("Dropping"), telling(cls, self.written(plan, cls, scope), False), {})
