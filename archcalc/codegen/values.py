"""A spec's values as Python: its own expressions, with what never changes in this network worked out."""

from __future__ import annotations

import ast
import builtins
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple

from archcalc.codegen.symbols import LAZY, Unstructured, call, const, fold, mentions, name
from archcalc.codegen.trace import Run, compiled
from archcalc.errors import SpecError
from archcalc.language.expression import tree_of
from archcalc.language.values import DIMENSIONS, FUNCTIONS, Reference

if TYPE_CHECKING:
    from archcalc.codegen.unit import Unit

TAKEN = {"self", "nn", "torch"} | set(dir(builtins)) - set(FUNCTIONS)


def safe(text: str) -> str:
    """A name of the spec as a Python name that hides nothing the source needs."""
    if text.startswith("__"):  # Python would read it otherwise in a class
        text = text.strip("_") or "name"
    return text + "_" if text in TAKEN or text.rstrip("_") in TAKEN else text


class Site(NamedTuple):
    """Where a part of the plan stands: in which unit, all its runs there, and what its names and its input are."""

    unit: Unit
    runs: Sequence[Run]
    names: Mapping[str, ast.expr]  # the spec's, in Python
    channels: ast.expr | None  # the input's first dimension; None where no expression is known

    def inside(self, runs: Sequence[Run]) -> Site:
        """The same place, for other runs."""
        return self._replace(runs=runs)

    def value(self, run: Callable[[Any], Any]) -> ast.expr:
        """The expression that a function of the plan computes, in Python."""
        made: ast.expr = fold(Values(self).visit(tree_of(run)))
        return made

    def observed(self, axis: int) -> ast.expr:
        """A dimension of the input: its number where it is always the same, else an argument of the unit."""
        return self.unit.observed(self.runs, lambda run: run.x[axis], ("channels", "height", "width")[min(axis, 2)])

    def first(self) -> ast.expr:
        """The input's first dimension."""
        return self.observed(0) if self.channels is None else self.channels

    def last(self) -> ast.expr:
        """The input's last dimension."""
        rank = len(self.runs[0].x)
        return self.first() if rank == 1 else self.observed(rank - 1)

    def shape(self) -> ast.expr:
        """The input's shape; of a vector its length."""
        rank = len(self.runs[0].x)
        rest = [self.observed(axis) for axis in range(1, rank)]
        return ast.Tuple([self.first(), *rest], ast.Load()) if rank > 1 else self.first()

    def truths(self, tree: ast.expr) -> set[bool]:
        """What a test gives, over all runs."""
        test = compiled(tree)
        return {bool(test(run.settle())) for run in self.runs}

    def assume(self, tree: ast.expr) -> None:
        """Take for granted what all runs agree on: params it depends on are no arguments of the source."""
        for text in mentions(tree):
            with suppress(Unstructured):  # a block's name
                self.unit.assumed.append(Values(self).visit(name(text)))


class Values:
    """Translates the trees of one site."""

    def __init__(self, site: Site, bound: frozenset[str] = frozenset()) -> None:
        self.site = site
        self.bound = bound  # by comprehensions around

    def visit(self, node: Any) -> Any:
        """The same in Python. Raises Unstructured."""
        own = getattr(self, f"_{type(node).__name__.lower()}", None)
        if own:
            return own(node)
        fields = {field: self._field(value) for field, value in ast.iter_fields(node)}
        return type(node)(**fields)

    def _field(self, value: Any) -> Any:
        if isinstance(value, list):
            return [self._field(item) for item in value]
        return self.visit(value) if isinstance(value, ast.expr | ast.comprehension) else value

    def _constant(self, node: ast.Constant) -> ast.expr:
        return ast.Constant(node.value)

    def _name(self, node: ast.Name) -> ast.expr:
        text = node.id
        if text in self.bound:
            return ast.Name(safe(text), node.ctx)
        if text in self.site.names:
            return self.site.names[text]
        if text in DIMENSIONS:
            return self.site.first() if text == "in_channels" else self.site.observed(DIMENSIONS[text])
        return self.site.unit.program.param(text)

    def _list(self, node: ast.List | ast.Tuple) -> ast.expr:
        return ast.Tuple([self.visit(item) for item in node.elts], ast.Load())

    _tuple = _list

    def _call(self, node: ast.Call) -> ast.expr:
        assert isinstance(node.func, ast.Name)
        made = self.loop(node)
        return call("tuple", made) if node.func.id in LAZY else made

    def loop(self, node: ast.expr) -> ast.expr:
        """What a loop goes through; there `range` and its like need not become tuples."""
        if not isinstance(node, ast.Call):
            made: ast.expr = self.visit(node)
            return made
        assert isinstance(node.func, ast.Name)
        strict = {"strict": const(True)} if node.func.id == "zip" else {}
        lazy = node.func.id in LAZY
        return call(node.func.id, *[self.loop(arg) if lazy else self.visit(arg) for arg in node.args], **strict)

    def _binop(self, node: ast.BinOp) -> ast.expr:
        left, right = self.visit(node.left), self.visit(node.right)
        whole = isinstance(node.op, ast.Div) and self._is_whole(node)
        return ast.BinOp(left, ast.FloorDiv() if whole else node.op, right)

    def _is_whole(self, node: ast.BinOp) -> bool:
        """Whether a division gives an integer each time: the language's is exact, Python's gives a float."""
        if mentions(node) & self.bound:
            raise Unstructured("a division in a comprehension")
        compute = compiled(node)
        kinds = set()
        for run in self.site.runs:
            with suppress(SpecError):  # where no run comes to it, as in `n > 0 and 6 / n > 1`
                kinds.add(type(compute(run.settle())))
        return kinds == {int}

    def _ifexp(self, node: ast.IfExp) -> ast.expr:
        if mentions(node.test) & self.bound:
            return ast.IfExp(self.visit(node.test), self.visit(node.body), self.visit(node.orelse))
        test = compiled(node.test)
        runs: dict[bool, list[Run]] = {True: [], False: []}
        for run in self.site.runs:
            runs[bool(test(run.settle()))].append(run)
        if not all(runs.values()):
            self.site.assume(node.test)
            made: ast.expr = self.visit(node.body if runs[True] else node.orelse)
            return made
        yes, no = (Values(self.site.inside(runs[side]), self.bound) for side in (True, False))
        return ast.IfExp(self.visit(node.test), yes.visit(node.body), no.visit(node.orelse))

    def _compare(self, node: ast.Compare) -> ast.expr:
        try:
            operands = [self.visit(operand) for operand in (node.left, *node.comparators)]
        except Unstructured:  # blocks are compared
            truths = set() if mentions(node) & self.bound else self.site.truths(node)
            if len(truths) != 1:
                raise
            self.site.assume(node)
            return const(truths.pop())
        return ast.Compare(operands[0], node.ops, operands[1:])

    def _generatorexp(self, node: ast.GeneratorExp | ast.ListComp) -> ast.expr:
        inner, generators = self.generators(node)
        return call("tuple", ast.GeneratorExp(inner.visit(node.elt), generators))

    _listcomp = _generatorexp

    def generators(self, node: ast.GeneratorExp | ast.ListComp) -> tuple[Values, list[ast.comprehension]]:
        """The loops of a comprehension, and the translator that knows their names."""
        values, made = self, []
        for loop in node.generators:
            items = values.loop(loop.iter)
            values = Values(self.site, values.bound | mentions(loop.target))
            tests = [values.visit(test) for test in loop.ifs]
            made.append(ast.comprehension(values.visit(loop.target), items, tests, 0))
        return values, made


def is_reference(value: Any) -> bool:
    """Whether a value names a block or an operator."""
    return isinstance(value, Reference) or (isinstance(value, tuple) and any(map(is_reference, value)))
