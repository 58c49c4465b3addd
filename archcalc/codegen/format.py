"""Statements as lines, broken where they are too long, as ruff formats them."""

from __future__ import annotations

import ast
import json
from collections.abc import Mapping, Sequence
from typing import Any

from archcalc.codegen.trees import name, rebuilt

WIDTH = 120
STEP = "    "


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
    number = isinstance(node, ast.Constant) and type(node.value) in (int, float)
    return number or isinstance(node, ast.Name | ast.Attribute)


def function(title: str, parameters: Mapping[str, ast.expr | None], indent: str) -> list[str]:
    """The head of a method, with its parameters and their defaults."""
    line = f"{indent}def {title}({', '.join(['self', *map(_parameter, parameters.items())])}):"
    if len(line) <= WIDTH:
        return [line]
    inner = indent + STEP
    inside = [f"{inner}self,"]
    for own, default in parameters.items():
        inside += expression(f"{own}=", default, ",", inner) if default else [f"{inner}{own},"]
    return [f"{indent}def {title}(", *inside, f"{indent}):"]


def _parameter(parameter: tuple[str, ast.expr | None]) -> str:
    own, default = parameter
    return f"{own}={text(default)}" if default else own


def statements(nodes: Sequence[ast.stmt], indent: str) -> list[str]:
    """The lines of some statements."""
    return [line for node in nodes for line in _statement(node, indent)]


def _statement(node: ast.stmt, indent: str) -> list[str]:
    if isinstance(node, ast.If):
        return [*expression("if ", node.test, ":", indent), *statements(node.body, indent + STEP)]
    if isinstance(node, ast.For):
        head = f"for {_target(node.target)} in "
        return [*expression(head, node.iter, ":", indent), *statements(node.body, indent + STEP)]
    if isinstance(node, ast.Assign):
        return expression(f"{text(node.targets[0])} = ", node.value, "", indent)
    if isinstance(node, ast.Return) and node.value is not None:
        if isinstance(node.value, ast.Tuple) and len(node.value.elts) > 1:
            return [f"{indent}return {', '.join(map(text, node.value.elts))}"]
        return expression("return ", node.value, "", indent)
    assert isinstance(node, ast.Expr)
    return expression("", node.value, "", indent)


SIGNS = {ast.Add: "+", ast.FloorDiv: "//", ast.Mult: "*", ast.Sub: "-", ast.Div: "/", ast.Mod: "%", ast.Pow: "**"}


def expression(prefix: str, node: ast.expr, suffix: str, indent: str) -> list[str]:
    """An expression between a prefix and a suffix, broken as far as it must be."""
    line = f"{indent}{prefix}{text(node)}{suffix}"
    if len(line) <= WIDTH and not _always_broken(node):
        return [line]
    if isinstance(node, ast.Starred):
        return expression(f"{prefix}*", node.value, suffix, indent)
    if isinstance(node, ast.Call) and (node.args or node.keywords):
        return _call(prefix, node, suffix, indent)
    if isinstance(node, ast.Tuple) and node.elts:
        inside = [line for item in node.elts for line in expression("", item, ",", indent + STEP)]
        return [f"{indent}{prefix}(", *inside, f"{indent}){suffix}"]
    if isinstance(node, ast.ListComp):
        return [f"{indent}{prefix}[", *_comprehension(node, indent + STEP), f"{indent}]{suffix}"]
    return _parenthesized(prefix, node, suffix, indent) if isinstance(node, ast.IfExp | ast.BinOp) else [line]


def _always_broken(node: ast.expr) -> bool:
    """What is easier to read a line for each argument: the layers of a plain block."""
    initial = isinstance(node, ast.Call) and text(node.func) == "super().__init__"
    return initial and isinstance(node, ast.Call) and len(node.args) > 1


def _call(prefix: str, node: ast.Call, suffix: str, indent: str) -> list[str]:
    lines = [f"{indent}{prefix}{text(node.func)}("]
    only = len(node.args) == 1 and not node.keywords and isinstance(node.args[0], ast.GeneratorExp)
    for arg in node.args:
        lines += expression("", arg, "" if only else ",", indent + STEP)
    for keyword in node.keywords:
        lines += expression(f"{keyword.arg}=", keyword.value, ",", indent + STEP)
    return [*lines, f"{indent}){suffix}"]


def _comprehension(node: ast.ListComp, indent: str) -> list[str]:
    loops = [
        f"for {_target(loop.target)} in {text(loop.iter)}{''.join(f' if {text(test)}' for test in loop.ifs)}"
        for loop in node.generators
    ]
    line = f"{indent}{' '.join([text(node.elt), *loops])}"
    if len(line) <= WIDTH:
        return [line]
    return [*expression("", node.elt, "", indent), *(indent + loop for loop in loops)]


def _target(node: ast.expr) -> str:
    return ", ".join(map(text, node.elts)) if isinstance(node, ast.Tuple) else text(node)


def _parenthesized(prefix: str, node: ast.IfExp | ast.BinOp, suffix: str, indent: str) -> list[str]:
    inner = indent + STEP
    if len(inner + text(node)) <= WIDTH:
        inside = [inner + text(node)]
    elif isinstance(node, ast.IfExp):
        inside = expression("", node.body, "", inner)
        inside += expression("if ", node.test, "", inner)
        inside += expression("else ", node.orelse, "", inner)
    else:
        inside = _sum(node, inner)
    return [f"{indent}{prefix}(", *inside, f"{indent}){suffix}"]


def _sum(node: ast.BinOp, indent: str) -> list[str]:
    """A long sum, a line for each term."""
    terms: list[tuple[str, ast.expr]] = []
    left: ast.expr = node
    while isinstance(left, ast.BinOp) and type(left.op) is type(node.op):
        terms.append((SIGNS[type(left.op)] + " ", left.right))
        left = left.left
    terms.append(("", left))
    return [line for sign, term in reversed(terms) for line in expression(sign, term, "", indent)]
