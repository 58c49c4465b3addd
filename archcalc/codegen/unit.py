"""A piece of the plan as a class or function: which modules it makes, and how channels go through it."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from archcalc.codegen import operators
from archcalc.codegen.items import Item, Items, wrapped
from archcalc.codegen.loops import repeated
from archcalc.codegen.naming import numbered
from archcalc.codegen.symbols import (
    Unstructured,
    call,
    const,
    is_number,
    mentions,
    name,
    replace,
    same,
    size,
    substitute,
)
from archcalc.codegen.trace import Piece, Run, rounds
from archcalc.codegen.values import Site, safe
from archcalc.language.expression import tree_of
from archcalc.language.plan import Call, Chain, Choose, Each, Label, Plan, Repeat, Side, Use
from archcalc.ops.shaping import Identity

if TYPE_CHECKING:
    from archcalc.codegen.program import Program

IN_CHANNELS = "in_channels"
MAX_SIZE = 200  # parts of an expression for channels; the zoo's have up to 9, larger ones grow without a rule
MAX_HOLES = 40  # arguments that the spec does not write; the zoo needs none, and so many explain nothing


class Made(ast.expr):
    """The call of a unit's class or function; what it is given is sorted out when all units are known."""

    _fields = ()

    def __init__(self, unit: Unit, given: dict[str, ast.expr | None], runs: Sequence[tuple[Run, Run]]) -> None:
        super().__init__()
        self.unit = unit
        self.given = given  # None: not known as an expression
        self.positional: tuple[str, ...] = ()
        self.runs = runs  # the unit's own, with the caller's around each


class Unit:
    """One class or function of the source."""

    def __init__(self, program: Program, piece: Piece, names: dict[str, ast.expr] | None = None) -> None:
        self.program = program
        self.piece = piece
        self.names = names or {}  # the spec's, in Python
        self.own: dict[str, ast.expr | None] = {}  # parameters in Python, with their defaults
        self.local: dict[str, ast.expr] = {}  # what is computed from them first
        self.assumed: list[ast.expr] = []
        self.holes: dict[str, dict[Run, int]] = {}  # arguments that the spec does not write: numbers, by the unit's run
        self.output: ast.expr | None = None  # its first dimension
        self.items: list[Item] | None = None  # where it is a plain chain
        self.init: list[ast.stmt] = []
        self.forward: list[ast.stmt] = []
        self.arguments: list[str] = []  # of forward, after x
        if piece.block:
            self.parameters(piece.block.parameters)

    def parameters(self, parameters: Sequence[tuple[str, Any]]) -> None:
        """Parameters: those that no call gives are computed, the others may have a default."""
        for key, default in parameters:
            if key in self.piece.references:
                continue
            site = Site(self, self.piece.runs, dict(self.names), name(IN_CHANNELS))
            text = safe(key)
            value = site.value(default) if default else None
            self.names[key] = name(text)
            if value is None or key in self.piece.given:
                self.own[text] = value
            elif size(value) == 1 and IN_CHANNELS not in mentions(value):
                self.names[key] = value
            else:
                self.local[text] = value

    def nodes(self) -> Iterator[ast.AST]:
        """Everything in its source, calls of other units included."""
        for item in self.items or ():
            yield from ast.walk(item.made)
        for statement in (*self.init, *self.forward):
            yield from ast.walk(statement)

    @property
    def is_function(self) -> bool:
        """Whether it only says which one module is made."""
        if self.items is None or self.piece is self.program.piece or len(self.items) > 1:
            return False
        return not self.items or not isinstance(self.items[0].made, ast.Starred)

    def module(self) -> ast.expr:
        """The one module that a function makes."""
        return wrapped(self.items or [])

    def site(self, channels: ast.expr | None) -> Site:
        """Where its body begins."""
        return Site(self, self.piece.runs, self.names, channels)

    def observed(self, runs: Sequence[Run], measure: Callable[[Run], int], label: str) -> ast.expr:
        """What is the same in all runs as a number, anything else as a hole."""
        found = {measure(run) for run in runs}
        if len(found) == 1:
            return const(found.pop())
        return self.hole([(run.owner, measure(run)) for run in runs], label)

    def hole(self, values: Sequence[tuple[Run, int]], label: str) -> ast.expr:
        """An argument for a number that differs. Raises Unstructured where it differs within a run."""
        by_run: dict[Run, int] = {}
        for run, value in values:
            if by_run.setdefault(run, value) != value:
                raise Unstructured(f"{label} differ within {self.piece.label}")
        known = next((text for text, hole in self.holes.items() if hole == by_run), None)
        if known:
            return name(known)
        if len(self.holes) >= MAX_HOLES:
            raise Unstructured(f"{self.piece.label} wants too many numbers")
        taken = {*self.own, *self.local, *self.holes, *self.program.params, IN_CHANNELS}
        text = numbered(label, taken)
        self.holes[text] = by_run
        return name(text)

    def make(self, plan: Plan, site: Site) -> Items:
        """The modules of a part of the plan."""
        if not self.program.is_chain(plan, site.runs):
            return self.apart(plan, site)
        made = _MAKERS[type(plan)](self, plan, site)
        if made.channels is not None and size(made.channels) > MAX_SIZE:
            return made._replace(channels=None)
        return made

    def chain(self, plan: Chain, site: Site) -> Items:
        """Steps one after the other."""
        made: list[Item] = []
        for position, step in enumerate(plan.steps):
            items = self.make(step, site.inside([run.inner[position] for run in site.runs]))
            made += items.made
            site = site._replace(channels=items.channels)
        return Items(made, site.channels)

    def labelled(self, plan: Label, site: Site) -> Items:
        """A step whose label nobody asks for."""
        return self.make(plan.body, site.inside(rounds(site.runs)))

    def choose(self, plan: Choose, site: Site) -> Items:
        """A conditional expression; what is chosen each time, where it is always the same."""
        yes = [run.inner[0] for run in site.runs if run.inner[0].plan is plan.yes]
        no = [run.inner[0] for run in site.runs if run.inner[0].plan is not plan.yes]
        if not (yes and no):
            site.assume(tree_of(plan.test))
            return self.make(plan.yes if yes else plan.no, site.inside(yes or no))
        test = site.value(plan.test)
        first, second = self.make(plan.yes, site.inside(yes)), self.make(plan.no, site.inside(no))
        label = (first.made or second.made or [Item(test, "identity")])[-1].label
        made = ast.IfExp(test, wrapped(first.made), wrapped(second.made))
        return Items([Item(made, label)], self.either(test, first.channels, second.channels))

    def either(self, test: ast.expr, yes: ast.expr | None, no: ast.expr | None) -> ast.expr | None:
        """Channels after a choice: where the test says that two things are equal, one stands for both."""
        if yes is None or no is None:
            return (yes or no) if self.program.guessing else None
        for equal, other, left, right in _equalities(test, yes, no):
            if same(replace(equal, left, right), other) or same(replace(equal, right, left), other):
                return other
        return yes if same(yes, no) else ast.IfExp(test, yes, no)

    def called(self, plan: Call, site: Site) -> Items:
        """An operator's module or a block's, also of one that wants more than its input."""
        callees = {run.callee for run in site.runs}
        if len(callees) > 1:
            raise Unstructured(f"{plan.name} is sometimes one block and sometimes another")
        piece = callees.pop()
        return self.operator(plan, site) if piece is None else self.of_block(plan, piece, site)

    def operator(self, plan: Call, site: Site) -> Items:
        """An operator's module; none for `identity`."""
        kinds = {type(op): op for op in self.program.operators(site.runs)}
        if len(kinds) > 1:
            raise Unstructured(f"{plan.name} is sometimes one operator and sometimes another")
        op = next(iter(kinds.values()))
        if isinstance(op, Identity):
            return Items([], site.channels)
        args = operators.written(op, plan, site)
        made = operators.module(op, args, site, self.program.in_place(site.runs))
        return Items([Item(made, op.name)], operators.channels(op, args, site))

    def of_block(self, plan: Call, piece: Piece, site: Site) -> Items:
        """The call of a block's class or function."""
        unit = self.program.unit(piece)
        parameters = [key for key, _ in piece.block.parameters] if piece.block else []
        written = dict(zip(parameters, plan.positional, strict=False))
        placed = tuple(safe(key) for key in written if key not in piece.references)
        written |= {argument.keyword: argument for argument in plan.named}
        given: dict[str, ast.expr | None] = {IN_CHANNELS: site.channels}
        given |= {safe(k): site.value(arg.value) for k, arg in written.items() if k not in piece.references}
        made = Made(unit, given, [(run.inner[0], run.owner) for run in site.runs])
        made.positional = placed
        return Items([Item(made, piece.label)], unit.outcome(given))

    def outcome(self, given: dict[str, ast.expr | None]) -> ast.expr | None:
        """The output's first dimension, for a caller who gives this."""
        if self.output is None:
            return None
        values = self.known(given)
        unknown = {key for key in (*self.own, *self.holes, IN_CHANNELS) if key not in values}
        return None if mentions(self.output) & unknown else substitute(self.output, values)

    def known(self, given: Mapping[str, ast.expr | None]) -> dict[str, ast.expr]:
        """What its names stand for, for a caller who gives this: with the defaults, and what is computed from them."""
        values = {key: value for key, value in given.items() if value is not None}
        for key, default in self.own.items():
            if key not in values and default is not None:
                values[key] = substitute(default, values)
        for key, value in self.local.items():
            values[key] = substitute(value, values)
        return values

    def apart(self, plan: Plan, site: Site) -> Items:
        """What branches as a class of its own, since it is repeated or chosen."""
        runs = [run for own in site.runs for run in (own, *own.below())]
        outside = any(isinstance(run.plan, Use) and run.y < own.start for own in site.runs for run in own.below())
        if outside or any(isinstance(run.plan, Side) for run in runs) or isinstance(plan, Use | Side):
            raise Unstructured("what is repeated or chosen uses something outside")
        unit = self.program.apart(self, plan, site)
        given: dict[str, ast.expr | None] = {key: name(key) for key in unit.own}
        given |= {value.id: site.names[key] for key, value in unit.names.items() if isinstance(value, ast.Name)}
        given[IN_CHANNELS] = site.channels
        pairs = [(run, run.outside) for run in site.runs if run.outside]
        made = Made(unit, given, pairs)
        made.positional = tuple(unit.own)
        return Items([Item(made, unit.piece.label)], unit.outcome(given))

    def fits(self, site: Site) -> bool:
        """Whether it can stand at another site: for runs that it knows, with names that are alike or are given."""
        if not {*site.runs} <= {*self.piece.runs} or self.names.keys() != site.names.keys():
            return False
        pairs = [(value, site.names[key]) for key, value in self.names.items()]
        return all(same(own, other) or isinstance(own, ast.Name) for own, other in pairs)

    def repeat(self, plan: Repeat, site: Site) -> Items:
        """A repetition; what only says whether there is something at all is no matter of arguments."""
        inner = rounds(site.runs)
        tree = tree_of(plan.count)
        counts = {len(run.inner) for run in site.runs}
        switch = isinstance(tree, ast.Name) and tree.id in self.program.params and counts <= {0, 1}
        if not inner or switch:
            site.assume(tree)
            return self.make(plan.body, site.inside(inner)) if inner else Items([], site.channels)
        count = site.value(plan.count)
        if isinstance(count, ast.IfExp) and _is_switch(count):
            site.assume(tree)
            return self.perhaps(count, self.make(plan.body, site.inside(inner)), site)
        return repeated(self, plan, site, count)

    def perhaps(self, count: ast.IfExp, items: Items, site: Site) -> Items:
        """What is there once or not at all."""
        yes, no = wrapped(items.made), call("nn.Identity")
        made = ast.IfExp(count.test, yes, no) if is_number(count.body, 1) else ast.IfExp(count.test, no, yes)
        label = items.made[-1].label if items.made else "identity"
        unchanged = same(items.channels, site.channels)
        return Items([Item(made, label)], items.channels if unchanged else None)

    def each(self, plan: Each, site: Site) -> Items:
        """A loop over a list."""
        inner = rounds(site.runs)
        tree = tree_of(plan.rounds)
        assert isinstance(tree, ast.GeneratorExp | ast.ListComp)
        if not inner:
            site.assume(tree)
            return Items([], site.channels)
        return repeated(self, plan, site, None)


def _is_switch(count: ast.IfExp) -> bool:
    """Whether a count is `1 if … else 0`, or the reverse."""
    ends = count.body, count.orelse
    return any(is_number(ends[i], 1) and is_number(ends[1 - i], 0) for i in (0, 1))


def _equalities(test: ast.expr, yes: ast.expr, no: ast.expr) -> list[tuple[ast.expr, ast.expr, ast.expr, ast.expr]]:
    """What is equal where the test holds, or where it fails; with the channels there, and those elsewhere."""
    parts = test.values if isinstance(test, ast.BoolOp) and isinstance(test.op, ast.And) else [test]
    found = []
    for part in parts:
        if isinstance(part, ast.Compare) and len(part.ops) == 1:
            sides = part.left, part.comparators[0]
            if isinstance(part.ops[0], ast.Eq):
                found.append((yes, no, *sides))
            elif isinstance(part.ops[0], ast.NotEq) and len(parts) == 1:
                found.append((no, yes, *sides))
    return found


_MAKERS: dict[type, Callable[[Unit, Any, Site], Items]] = {
    Chain: Unit.chain,
    Label: Unit.labelled,
    Choose: Unit.choose,
    Call: Unit.called,
    Repeat: Unit.repeat,
    Each: Unit.each,
}
