"""Print statements as lines, with long ones broken as ruff does."""

from __future__ import annotations

import ast
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from archcalc.codegen.trees import name, rebuilt

WIDTH = 120
STEP = "    "
Part = tuple[str, ast.expr | str, str]  # a part on separate lines, with its prefix and suffix


def text(node: ast.expr | str) -> str:
    """Print an expression on one line, as ruff formats it."""
    return node if isinstance(node, str) else ast.unparse(_spelled(node))


def _spelled(node: Any) -> Any:
    """Replace strings and single generators by names with the text of ruff, since names are printed unchanged."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return name(json.dumps(node.value))
    if isinstance(node, ast.Call) and [type(arg) for arg in node.args] == [ast.GeneratorExp]:
        return name(f"{ast.unparse(node.func)}{ast.unparse(_spelled(node.args[0]))}")
    return rebuilt(node, _spelled)


def function(title: str, parameters: Mapping[str, ast.expr | None], indent: str) -> list[str]:
    """Return the header of a method, with its parameters and their defaults."""
    own: list[Part] = [(f"{key}=", default, ",") if default else ("", key, ",") for key, default in parameters.items()]
    line = f"{indent}def {title}({', '.join(['self', *(key + text(default) for key, default, _ in own)])}):"
    return [line] if len(line) <= WIDTH else _broken(f"def {title}(", [("", "self", ","), *own], "):", indent)


def statements(nodes: Sequence[ast.stmt], indent: str) -> list[str]:
    """Print some statements as lines."""
    return [line for node in nodes for line in _statement(node, indent)]


def _statement(node: Any, indent: str) -> list[str]:
    if isinstance(node, ast.If | ast.For):
        word, head = (f"for {_bare(node.target)} in ", node.iter) if isinstance(node, ast.For) else ("if ", node.test)
        return [*expression(word, head, ":", indent), *statements(node.body, indent + STEP)]
    if isinstance(node, ast.Return):
        given = node.value or ""
        if isinstance(given, ast.Tuple) and len(f"{indent}return {_bare(given)}") <= WIDTH:
            given = _bare(given)
        return expression("return ", given, "", indent)
    return expression(f"{text(node.targets[0])} = " if isinstance(node, ast.Assign) else "", node.value, "", indent)


def _bare(node: ast.expr) -> str:
    """Print an expression; a tuple without parentheses."""
    return text(node).removeprefix("(").removesuffix(")") if isinstance(node, ast.Tuple) else text(node)


def expression(prefix: str, node: ast.expr | str, suffix: str, indent: str) -> list[str]:
    """Print an expression between a prefix and a suffix, broken only if necessary."""
    line = f"{indent}{prefix}{text(node)}{suffix}"
    if isinstance(node, ast.Starred):
        prefix, node = f"{prefix}*", node.value
    modules = isinstance(node, ast.Call) and text(node.func) == "super().__init__" and len(node.args) > 1
    opening, parts, closing = ("", [], "") if isinstance(node, str) else _parts(node)
    if not parts or (len(line) <= WIDTH and not modules):  # modules are always on separate lines
        return [line]
    whole = " ".join(before + text(part) + behind for before, part, behind in parts)
    if parts[-1][2] != "," and len(indent + STEP + whole) <= WIDTH:
        parts = [("", whole, "")]
    return _broken(prefix + opening, parts, closing + suffix, indent)


def _broken(opening: str, parts: Sequence[Part], closing: str, indent: str) -> list[str]:
    inside = [line for part in parts for line in expression(*part, indent + STEP)]
    return [indent + opening, *inside, indent + closing]


def _parts(node: ast.expr) -> tuple[str, list[Part], str]:
    """Return the parts of an expression that can be on separate lines, between brackets."""
    opening, closing = "[]" if isinstance(node, ast.ListComp) else "()"
    parts: Iterable[Part] = ()
    match node:
        case ast.Call(args=[ast.GeneratorExp() as only]):
            opening, parts = f"{text(node.func)}(", [("", text(only)[1:-1], "")]
        case ast.Call():
            keywords = [(f"{keyword.arg}=", keyword.value, ",") for keyword in node.keywords]
            opening, parts = f"{text(node.func)}(", [*(("", arg, ",") for arg in node.args), *keywords]
        case ast.Tuple():
            parts = [("", item, ",") for item in node.elts]
        case ast.ListComp():
            loops = (("", text(ast.ListComp(name("_"), [loop]))[3:-1], "") for loop in node.generators)
            parts = [("", node.elt, ""), *loops]
        case ast.IfExp():
            body, test = (("(", ")") if isinstance(side, ast.IfExp) else ("", "") for side in (node.body, node.test))
            parts = [(body[0], node.body, body[1]), ("if " + test[0], node.test, test[1]), ("else ", node.orelse, "")]
        case ast.BinOp():
            parts = [("", term, "") for term in _terms(node)]
    return opening, [*parts], closing


def _terms(node: ast.BinOp) -> list[str]:
    """Return the terms of a sum, each with its sign."""
    last = text(ast.BinOp(name("_"), node.op, node.right))[1:]
    before = text(node).removesuffix(last)
    chained = isinstance(node.left, ast.BinOp) and type(node.left.op) is type(node.op) and text(node.left) == before
    return [*(_terms(node.left) if chained else [before]), last.strip()]  # type: ignore[arg-type]  # it is a BinOp
