"""Build, compare and simplify Python expressions as trees. A tree is never changed.

A block or operator as a value is a constant with its `Reference`; it can be looked up, but never printed.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import lru_cache
from typing import Any

from archcalc.errors import Place, Source, SpecError
from archcalc.spec.expression import Expression
from archcalc.spec.functions import FUNCTIONS, Budget, Names, Reference
from archcalc.spec.yaml import Scalar

MAX_ITEMS = 16  # most items of a computed list that is written as values
MOST_OPERATIONS = 60  # in a formula


class Unstructured(Exception):
    """Raised if a network cannot be written in blocks; it is then written layer by layer."""


def const(value: Any) -> ast.expr:
    """Return the tree of a plain value or of a reference."""
    if isinstance(value, tuple):
        return ast.Tuple([const(item) for item in value], ast.Load())
    if isinstance(value, int | float) and not isinstance(value, bool) and value < 0:
        return ast.UnaryOp(ast.USub(), ast.Constant(-value))
    return ast.Constant(value)


def listed(items: Sequence[ast.expr]) -> ast.expr:
    """Return a tuple of several items, or the only item."""
    return items[0] if len(items) == 1 else ast.Tuple([*items], ast.Load())


def name(text: str) -> ast.Name:
    """Return the tree of a name."""
    return ast.Name(text, ast.Load())


IN_CHANNELS = name("in_channels")
UNKNOWN = name("?")  # channels without a formula; names that begin with ? are never printed


def attribute(owner: ast.expr, text: str) -> ast.Attribute:
    """Return `owner.text`."""
    return ast.Attribute(owner, text, ast.Load())


def call(function: ast.expr | str, *args: ast.expr, **keywords: ast.expr) -> ast.Call:
    """Return `function(*args, **keywords)`."""
    function = name(function) if isinstance(function, str) else function
    return ast.Call(function, list(args), [ast.keyword(key, value) for key, value in keywords.items()])


def assign(target: ast.expr | str, value: ast.expr) -> ast.Assign:
    """Return `target = value`."""
    return ast.Assign([ast.Name(target, ast.Store()) if isinstance(target, str) else target], value)


def known(node: ast.expr) -> bool:
    """Whether a tree is a plain value, which `ast.literal_eval` returns."""
    with suppress(ValueError):
        ast.literal_eval(node)
        return True
    return False


def is_const(node: ast.AST, value: int) -> bool:
    """Whether a tree is this number; True is not 1."""
    return isinstance(node, ast.Constant) and type(node.value) is int and node.value == value


def same(left: ast.expr, right: ast.expr) -> bool:
    """Whether two trees are equal."""
    return left is right or ast.dump(left) == ast.dump(right)


def names_in(*nodes: ast.AST) -> set[str]:
    """Return all names in some trees, including those of loops."""
    return {part.id for node in nodes for part in ast.walk(node) if isinstance(part, ast.Name)}


def references(node: ast.AST) -> Iterator[str]:
    """Yield the names of blocks and operators that are values in a tree."""
    constants: Iterator[Any] = (part.value for part in ast.walk(node) if isinstance(part, ast.Constant))
    return (value.name for value in constants if isinstance(value, Reference))


def operations(node: ast.expr) -> int:
    """Return the number of operations in a formula."""
    return sum(isinstance(part, ast.BinOp | ast.IfExp | ast.Call) for part in ast.walk(node))


def unknown(formula: ast.AST) -> bool:
    """Whether a part of a formula is unknown."""
    return any(own.startswith("?") for own in names_in(formula))


def rebuilt(node: Any, change: Callable[[Any], Any]) -> Any:
    """Copy `node`, with `change` applied to each of its children."""
    fields: dict[str, Any] = {}
    for field, value in ast.iter_fields(node):
        if isinstance(value, list):
            fields[field] = [change(item) if isinstance(item, ast.AST) else item for item in value]
        else:
            fields[field] = change(value) if isinstance(value, ast.AST) else value
    return type(node)(**fields)


def substituted(node: ast.expr, values: Mapping[str, ast.expr]) -> ast.expr:
    """Replace names in a formula by values. Returns UNKNOWN if a loop would capture a name, or if it gets too long."""
    loops = [loop.target for part in ast.walk(node) for loop in getattr(part, "generators", ())]
    if names_in(*loops) & {*values, *names_in(*values.values())}:
        return UNKNOWN

    def change(part: Any) -> Any:
        if isinstance(part, ast.Name):
            return values.get(part.id, part)
        made = rebuilt(part, change)
        return simplified(made) if isinstance(made, ast.expr) else made

    made: ast.expr = change(node)
    return made if operations(made) <= MOST_OPERATIONS else UNKNOWN


def simplified(node: ast.expr) -> ast.expr:
    """Simplify a tree with simplified parts; compute it if all parts are known."""
    if isinstance(node, ast.IfExp):
        return chosen(node.test, node.body, node.orelse)
    if isinstance(node, ast.BoolOp):
        return _logic(node)
    if isinstance(node, ast.Compare) and isinstance(node.ops[0], ast.Eq) and len(node.ops) == 1:
        node = const(True) if same(node.left, node.comparators[0]) else node
    if not names_in(node) - {*FUNCTIONS} and not known(node) and not isinstance(node, ast.Slice | ast.Starred):
        return _computed(node)
    return binary(node.left, node.op, node.right) if isinstance(node, ast.BinOp) else node


def _computed(node: ast.expr) -> ast.expr:
    """Compute a tree without names as the language does; return it unchanged for an error or a long list."""

    def named(part: Any) -> Any:
        reference = isinstance(part, ast.Constant) and isinstance(part.value, Reference)
        return name(part.value.name) if reference else rebuilt(part, named)

    made = _evaluated(ast.unparse(named(node)), frozenset(references(node)))
    return node if made is None or (isinstance(made, tuple) and len(made) > MAX_ITEMS) else const(made)


@lru_cache(maxsize=1024)
def _evaluated(text: str, library: frozenset[str]) -> Any:
    scalar = Scalar(text, Place(Source("", [text]), 1, 1))
    try:
        return Expression(scalar).value().run(Names({}, {own: Reference(own) for own in library}, Budget()))
    except SpecError:
        return None


def binary(left: ast.expr, op: ast.operator, right: ast.expr) -> ast.expr:
    """Return `left op right`, simplified if possible."""
    if known(left) and known(right):
        return _computed(ast.BinOp(left, op, right))
    neutral = 0 if isinstance(op, ast.Add | ast.Sub) else 1
    if is_const(right, neutral) and not isinstance(op, ast.Mod | ast.FloorDiv):
        return left
    if is_const(left, neutral) and isinstance(op, ast.Add | ast.Mult):
        return right
    match op, right:
        case ast.Add(), ast.BinOp(whole, ast.Sub(), part) if same(left, part):  # left + (whole - left)
            return whole
    return const(1) if isinstance(op, ast.FloorDiv) and same(left, right) else ast.BinOp(left, op, right)


def chosen(test: ast.expr, yes: ast.expr, no: ast.expr) -> ast.expr:
    """Return `yes if test else no`, or one side if that is equivalent."""
    if known(test):
        return yes if ast.literal_eval(test) else no
    alike = {ast.dump(yes), ast.dump(no)}
    if len(alike) == 1 or alike in _pairs(test, ast.Eq, ast.And):
        return no
    return yes if alike in _pairs(test, ast.NotEq, ast.Or) else ast.IfExp(test, yes, no)


def _pairs(test: ast.expr, sign: type[ast.cmpop], joint: type[ast.boolop]) -> list[set[str]]:
    """Return the sides of the comparisons by `sign` in a test: the test itself, or those that `joint` combines."""
    parts = test.values if isinstance(test, ast.BoolOp) and isinstance(test.op, joint) else [test]
    plain = (part for part in parts if isinstance(part, ast.Compare) and len(part.ops) == 1)
    return [{ast.dump(part.left), ast.dump(part.comparators[0])} for part in plain if isinstance(part.ops[0], sign)]


def _logic(node: ast.BoolOp) -> ast.expr:
    """Remove known operands at the start of `and` and `or`, as a test."""
    first, *rest = node.values
    if not known(first):
        return node
    if not rest or bool(ast.literal_eval(first)) is isinstance(node.op, ast.Or):  # it decides the test
        return const(bool(ast.literal_eval(first)))
    return simplified(ast.BoolOp(node.op, rest)) if len(rest) > 1 else rest[0]


def grown(out: ast.expr, before: ast.Name) -> ast.expr | None:
    """Return what a loop's body adds to the channels `before` it; None if it changes them otherwise."""
    if isinstance(out, ast.BinOp) and isinstance(out.op, ast.Add):
        for more, rest in ((out.right, out.left), (out.left, out.right)):
            if same(rest, before) and before.id not in names_in(more):
                return more
        if before.id not in names_in(out.right) and (inner := grown(out.left, before)) is not None:
            return binary(inner, ast.Add(), out.right)
    return None
