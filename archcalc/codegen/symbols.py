"""Python expressions as trees: made, put together, and simplified as a person would.

Trees are never changed: whoever wants another one makes it.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from archcalc.codegen.trace import compiled
from archcalc.errors import SpecError
from archcalc.language.values import FUNCTIONS, Budget, Names

LAZY = {"range", "zip", "enumerate", "tuple"}  # functions that give no number


class Unstructured(Exception):
    """What the translation block by block cannot express; the network is then written layer by layer."""


def const(value: Any) -> ast.expr:
    """A plain value. Raises Unstructured for a block or operator."""
    if isinstance(value, tuple):
        return ast.Tuple([const(item) for item in value], ast.Load())
    if isinstance(value, int | float) and not isinstance(value, bool) and value < 0:
        return ast.UnaryOp(ast.USub(), ast.Constant(-value))
    if value is None or isinstance(value, int | float | str):
        return ast.Constant(value)
    raise Unstructured(f"{value} as a value")


def name(text: str) -> ast.Name:
    """A name."""
    return ast.Name(text, ast.Load())


def attribute(owner: ast.expr, text: str) -> ast.Attribute:
    """`owner.text`."""
    return ast.Attribute(owner, text, ast.Load())


def call(function: ast.expr | str, *args: ast.expr, **keywords: ast.expr) -> ast.Call:
    """`function(*args, **keywords)`; a function given as text may be dotted."""
    if isinstance(function, str):
        function = ast.parse(function, mode="eval").body
    return ast.Call(function, list(args), [ast.keyword(key, value) for key, value in keywords.items()])


def binary(left: ast.expr, op: ast.operator, right: ast.expr) -> ast.expr:
    """`left op right`, simplified."""
    made: ast.expr = fold(ast.BinOp(left, op, right))
    return made


def add(left: ast.expr, right: ast.expr) -> ast.expr:
    """The sum, simplified."""
    return binary(left, ast.Add(), right)


def multiply(left: ast.expr, right: ast.expr) -> ast.expr:
    """The product, simplified."""
    return binary(left, ast.Mult(), right)


def rebuilt(node: Any, change: Callable[[Any], Any]) -> Any:
    """`node` with `change` done to each of its children."""
    fields = {}
    for field, value in ast.iter_fields(node):
        if isinstance(value, list):
            fields[field] = [change(item) if isinstance(item, ast.AST) else item for item in value]
        else:
            fields[field] = change(value) if isinstance(value, ast.AST) else value
    return type(node)(**fields) if fields else node


def same(left: ast.expr | None, right: ast.expr | None) -> bool:
    """Whether both are known and written alike."""
    if left is None or right is None or left is right:
        return left is not None and right is not None
    return not is_opaque(left) and ast.dump(left) == ast.dump(right)


def is_opaque(node: ast.AST) -> bool:
    """Whether it has a call of a unit, which does not show what it is given."""
    return any(hasattr(part, "given") for part in ast.walk(node))


def mentions(node: ast.AST) -> set[str]:
    """The names in it."""
    return {part.id for part in ast.walk(node) if isinstance(part, ast.Name)}


def size(node: ast.AST) -> int:
    """How many names, numbers and operations it has."""
    return sum(isinstance(part, ast.Name | ast.Constant | ast.BinOp | ast.IfExp) for part in ast.walk(node))


def substitute(node: ast.expr, values: Mapping[str, ast.expr]) -> ast.expr:
    """`node` with expressions in place of names, simplified."""

    def change(part: Any) -> Any:
        if isinstance(part, ast.Name):
            return values.get(part.id, part)
        return rebuilt(part, change)

    made: ast.expr = fold(change(node))
    return made


def replace(node: ast.expr, old: ast.expr, new: ast.expr) -> ast.expr:
    """`node` with `new` wherever it has `old`."""
    wanted = ast.dump(old)

    def change(part: Any) -> Any:
        return new if isinstance(part, ast.expr) and ast.dump(part) == wanted else rebuilt(part, change)

    made: ast.expr = fold(change(node))
    return made


def fold(node: Any) -> Any:
    """`node` with its arithmetic of numbers done, and what changes nothing left out."""
    node = rebuilt(node, fold)
    rule = _RULES.get(type(node))
    made = rule(node) if rule else None
    if made is not None:
        return made
    return _computed(node) if isinstance(node, _COMPUTED) and _closed(node) else node


def _closed(node: ast.expr) -> bool:
    """Whether it is made of numbers alone."""
    names = mentions(node)
    return names <= set(FUNCTIONS) - LAZY and not any(isinstance(part, ast.GeneratorExp) for part in ast.walk(node))


def _computed(node: ast.expr) -> ast.expr:
    try:
        return const(compiled(node)(Names({}, {}, Budget())))
    except (SpecError, Unstructured):
        return node


def is_number(node: ast.expr | None, value: object = None) -> bool:
    """Whether it is a number, or this one."""
    found = isinstance(node, ast.Constant) and type(node.value) in (int, float)
    return found and (value is None or node.value == value)  # type: ignore[union-attr]  # it is a constant


def _sum(node: ast.BinOp) -> ast.expr | None:
    """A sum with its numbers last and each other term once; of what may be lists only neighbours are put together."""
    listed = [*_terms(node.left), *_terms(node.right)]
    texts = [text for text, _ in listed]
    if "" in texts:
        terms = _merged((1, term) for term in listed)
        settled = len(terms) == len(listed) and not texts[-1] and terms[""][0]
        return None if settled else _joined(terms)
    return _joined(_merged((1, term) for term in listed)) if len(texts) == 2 and texts[0] == texts[1] else None


def _joined(terms: dict[str, tuple[Any, Any]]) -> ast.expr:
    number = terms.pop("", (0, None))[0]
    parts = [part if count == 1 else _times(count, part) for count, part in terms.values() if count]
    if number or not parts:
        parts.append(const(number))
    made = parts[0]
    for part in parts[1:]:
        made = ast.BinOp(made, ast.Add(), part)
    return made


def _times(count: Any, part: ast.expr) -> ast.expr:
    return ast.BinOp(const(count), ast.Mult(), part)


def _merged(terms: Iterable[tuple[int, tuple[str, tuple[Any, Any]]]]) -> dict[str, tuple[Any, Any]]:
    """Terms by their text, those alike added up; each comes with a sign."""
    merged: dict[str, tuple[Any, Any]] = {}
    for sign, (text, (count, part)) in terms:
        merged[text] = (merged.get(text, (0, part))[0] + sign * count, part)
    return merged


def _term(node: ast.expr) -> tuple[Any, ast.expr]:
    """`3 * n` as (3, n)."""
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult) and isinstance(node.left, ast.Constant):
        return node.left.value, node.right
    return 1, node


def _product(node: ast.BinOp) -> ast.expr | None:
    left, right = node.left, node.right
    if is_number(left, 1):
        return right
    if is_number(right, 1):
        return left
    if is_number(right) and not is_number(left):
        return binary(right, ast.Mult(), left)
    if is_number(left) and isinstance(right, ast.BinOp) and isinstance(right.op, ast.Mult) and is_number(right.left):
        return binary(_computed(ast.BinOp(left, ast.Mult(), right.left)), ast.Mult(), right.right)
    return None


def _quotient(node: ast.BinOp) -> ast.expr | None:
    count, part = _term(node.left)
    if any(isinstance(part, ast.Div) or isinstance(getattr(part, "value", 0), float) for part in ast.walk(node)):
        return None  # it rounds
    if is_number(node.right, 1):
        return node.left
    if same(node.left, node.right) and not _closed(node.left):
        return const(1)
    if is_number(node.right) and type(count) is int and count % node.right.value == 0:  # type: ignore[attr-defined]  # it is a constant
        return binary(const(count // node.right.value), ast.Mult(), part) if not _closed(part) else None  # type: ignore[attr-defined]  # the same
    return None


def _difference(node: ast.BinOp) -> ast.expr | None:
    return node.left if is_number(node.right, 0) else None


def _arithmetic(node: ast.BinOp) -> ast.expr | None:
    rules = {ast.Add: _sum, ast.Sub: _difference, ast.Mult: _product, ast.FloorDiv: _quotient}
    rule = rules.get(type(node.op))
    return rule(node) if rule else None


def _choice(node: ast.IfExp) -> ast.expr | None:
    if isinstance(node.test, ast.Constant):
        return node.body if node.test.value else node.orelse
    return node.body if same(node.body, node.orelse) else None


def _logic(node: ast.BoolOp) -> ast.expr | None:
    decisive = isinstance(node.op, ast.Or)
    open_ = [value for value in node.values if not isinstance(value, ast.Constant)]
    if any(isinstance(value, ast.Constant) and bool(value.value) is decisive for value in node.values):
        return const(decisive)
    if not open_:
        return const(not decisive)
    return open_[0] if len(open_) == 1 else ast.BoolOp(node.op, open_)


def _equality(node: ast.Compare) -> ast.expr | None:
    if len(node.ops) == 1 and isinstance(node.ops[0], ast.Eq | ast.NotEq) and same(node.left, node.comparators[0]):
        return const(isinstance(node.ops[0], ast.Eq))
    return None


_RULES: dict[type, Callable[[Any], ast.expr | None]] = {
    ast.BinOp: _arithmetic,
    ast.IfExp: _choice,
    ast.BoolOp: _logic,
    ast.Compare: _equality,
}
_COMPUTED = (ast.BinOp, ast.Compare, ast.Subscript, ast.Call)


def difference(later: ast.expr, earlier: ast.expr) -> ast.expr | None:
    """`later − earlier`, where that is a sum of known terms; None where it is not."""
    terms = _merged([*((1, term) for term in _terms(later)), *((-1, term) for term in _terms(earlier))])
    return None if any(count < 0 for count, _ in terms.values()) else _joined(terms)


def _terms(node: ast.expr) -> Iterator[tuple[str, tuple[Any, Any]]]:
    """The terms of a sum by their text, each with its factor; a number is its own factor."""
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        yield from _terms(node.left)
        yield from _terms(node.right)
    elif is_number(node):
        yield "", (node.value, None)  # type: ignore[attr-defined]  # it is a constant
    else:
        count, part = _term(node)
        yield ast.dump(part), (count, part)


def text(node: ast.expr) -> str:
    """The expression on one line, as ruff formats it."""
    return ast.unparse(_spelled(node))


def _spelled(node: Any) -> Any:
    """Strings in double quotes, powers of simple things without spaces: as names, which are written as they are."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return name(json.dumps(node.value))
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Pow) and _simple(node.left) and _simple(node.right):
        return name(f"{ast.unparse(node.left)}**{ast.unparse(node.right)}")
    if isinstance(node, ast.Call) and isinstance(node.args[0] if len(node.args) == 1 else None, ast.GeneratorExp):
        return name(f"{ast.unparse(node.func)}{ast.unparse(_spelled(node.args[0]))}")
    return rebuilt(node, _spelled)


def _simple(node: ast.expr) -> bool:
    return isinstance(node, ast.Name | ast.Attribute) or is_number(node)
