"""Translate the spec's expressions to Python, as they are written. Refuse what Python would compute differently."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from typing import Any, NamedTuple

from archcalc.codegen import trees
from archcalc.codegen.facts import Facts
from archcalc.codegen.trees import Unstructured
from archcalc.spec.functions import DIMENSIONS, Reference


class Labelled(NamedTuple):
    """What a labelled step gives to later steps: its output, and its module if that is used again."""

    tensor: ast.expr
    channels: ast.expr
    module: ast.expr | None = None
    before: ast.expr | None = None  # the channels of its input


class Context(NamedTuple):
    """The names that an expression sees, and the channels of its input."""

    names: Mapping[str, ast.expr]  # by the spec's names
    own: frozenset[str]  # names of blocks and loops, which hide the spec's params
    channels: ast.expr
    labels: dict[str, Labelled]  # labelled steps for `use`, `again` and arguments

    def label(self, own: str) -> Labelled:
        """Return a labelled step. Raises Unstructured if it is not in this class."""
        if own not in self.labels:
            raise Unstructured(f"{own} is labelled elsewhere")
        return self.labels[own]

    def at(self, channels: ast.expr) -> Context:
        """Return the context after another layer."""
        return self._replace(channels=channels)

    def inside(self, names: Mapping[str, ast.expr]) -> Context:
        """Return an inner context with more names, and with its own labels."""
        return self._replace(names={**self.names, **names}, own=self.own | {*names}, labels={**self.labels})


class Reader(NamedTuple):
    """Translates expressions of the step `plan` to Python."""

    facts: Facts
    plan: Any
    context: Context

    def value(self, node: ast.expr, whole: bool = False) -> ast.expr:
        """Translate a value; `whole` says that the language requires a whole number there, or several.

        Raises Unstructured for what Python would compute differently.
        """
        load = ast.Load()
        match node:
            case ast.BinOp(op=ast.Div() | ast.FloorDiv()) if whole:
                made = self._quotient(node)
            case ast.Constant():
                made = trees.const(node.value)
            case ast.Name():
                made = self._name(node.id)
            case ast.List(elts=items) | ast.Tuple(elts=items):
                made = ast.Tuple([self.value(item, whole) for item in items], load)
            case ast.IfExp():
                made = trees.chosen(self.truth(node.test), self.value(node.body, whole), self.value(node.orelse, whole))
            case ast.BoolOp():
                made = self._logic(node)
            case ast.Subscript():
                made = trees.simplified(ast.Subscript(self.value(node.value), self.value(node.slice, True), load))
            case ast.ListComp() | ast.GeneratorExp():
                context, loops = self.loops(node)
                item = Reader(self.facts, self.plan, context).value(node.elt)
                made = trees.call("tuple", ast.GeneratorExp(item, loops))
            case ast.Call():
                made = self._call(node)
            case _:
                inner = whole and isinstance(node, ast.Slice)
                made = trees.rebuilt(node, lambda part: self.value(part, inner) if isinstance(part, ast.expr) else part)
                made = trees.simplified(made)
        return undivided(made) if whole else made

    def _quotient(self, node: ast.BinOp) -> ast.expr:
        """Translate a division with a whole result."""
        left, right = undivided(self.value(node.left)), undivided(self.value(node.right))
        exact = isinstance(node.op, ast.Div) and trees.known(left) and trees.known(right)
        return trees.binary(left, ast.Div() if exact or trees.is_const(right, 1) else ast.FloorDiv(), right)

    def _name(self, own: str) -> ast.expr:
        if own in self.context.names:
            return self.context.names[own]
        if own == "in_channels":
            return self.context.channels
        return trees.const(self.facts.dimension(self.plan, own) if own in DIMENSIONS else Reference(own))

    def _logic(self, node: ast.BoolOp) -> ast.expr:
        made = self.truth(node)
        if not trees.known(made) and not all(isinstance(part, ast.Compare) for part in node.values):
            raise Unstructured("`and` and `or` give True or False in a spec")
        return trees.const(bool(ast.literal_eval(made))) if trees.known(made) else made

    def _call(self, node: ast.Call) -> ast.expr:
        """Translate a call of a function; make an iterator of Python a tuple."""
        function = node.func.id  # type: ignore[attr-defined]  # the language calls names alone
        numbers = function == "range"
        args = [self.value(arg, True) if numbers else self.listed(arg, function != "len") for arg in node.args]
        made = trees.call(function, *args)
        return trees.call("tuple", made) if function in ("range", "zip", "enumerate") else trees.simplified(made)

    def listed(self, node: ast.expr, once: bool = True) -> ast.expr:
        """Translate a list; if it is read only `once`, an iterator is enough."""
        made = self.value(node)
        wrapped = isinstance(made, ast.Call) and isinstance(made.func, ast.Name) and made.func.id == "tuple"
        return made.args[0] if wrapped and once else made  # type: ignore[attr-defined]  # it is a call

    def truth(self, node: ast.expr) -> ast.expr:
        """Translate a test, where `and` and `or` can be those of Python."""
        if isinstance(node, ast.BoolOp) or (isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not)):
            made = trees.rebuilt(node, lambda part: self.truth(part) if isinstance(part, ast.expr) else part)
            return trees.simplified(made)
        return self.value(node)

    def loops(self, node: ast.ListComp | ast.GeneratorExp) -> tuple[Context, list[ast.comprehension]]:
        """Translate the loops of a comprehension. Returns the context of its item, and the loops."""
        context, loops = self.context, []
        for loop in node.generators:
            listed = Reader(self.facts, self.plan, context).listed(loop.iter)
            visible = trees.names_in(*context.names.values())
            python = {own: self.facts.names.loop(own, visible) for own in sorted(trees.names_in(loop.target))}
            context = context.inside({own: trees.name(text) for own, text in python.items()})
            inner = Reader(self.facts, self.plan, context)
            tests = [inner.truth(test) for test in loop.ifs]
            loops.append(ast.comprehension(_target(loop.target, python), listed, tests, 0))
        return context, loops


def _target(node: ast.expr, python: Mapping[str, str]) -> ast.expr:
    """Return the target of a loop with Python names."""
    if isinstance(node, ast.Tuple):
        return ast.Tuple([_target(part, python) for part in node.elts], ast.Store())
    return ast.Name(python[node.id], ast.Store())  # type: ignore[attr-defined]  # the language has only names there


def undivided(node: ast.expr) -> ast.expr:
    """Return the tree if it has no division. Raises Unstructured otherwise: a spec divides exactly, Python does not."""
    if _divides(node):
        raise Unstructured("a division is exact in the spec")
    return node


def _divides(node: ast.AST) -> bool:
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("int", "round"):
        return False
    return isinstance(node, ast.Div) or any(map(_divides, ast.iter_child_nodes(node)))
