"""How many channels a plan gives, as a formula of what it is given."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping, Sequence
from functools import reduce
from typing import Any

from archcalc.codegen.blocks import Facts, arguments
from archcalc.codegen.calls import Calls
from archcalc.codegen.expressions import Reader, Scope, undivided
from archcalc.codegen.trees import (
    Unstructured,
    binary,
    call,
    chosen,
    const,
    is_const,
    known,
    name,
    names_in,
    operations,
    references,
    same,
    simplified,
    substituted,
    value_of,
)
from archcalc.ops import REGISTRY, Operator
from archcalc.spec.expression import tree_of
from archcalc.spec.functions import Reference
from archcalc.spec.layers import Call, Chain, Choose, Each, Join, Label, Plan, Repeat, Side, Use
from archcalc.spec.network_spec import Block

IN_CHANNELS = name("in_channels")
UNKNOWN = name("?")  # the channels that a loop's body is given
MOST_OPERATIONS = 60  # of a formula
MOST_ROUNDS = 8  # of a loop with a known number of rounds that is followed round by round


class Recursive(Unstructured):
    """A block whose formula is being worked out is called."""


class Formulas:
    """Channels by formula; a block's is worked out once."""

    def __init__(self, facts: Facts) -> None:
        self.facts = facts
        self.calls = Calls(facts)
        self.found: dict[Any, ast.expr] = {}
        self.working: set[Any] = set()
        self.met: set[Any] = set()  # blocks that were called while their formula was worked out
        self.labels: dict[str, ast.expr] = {}  # channels of labelled steps; UNKNOWN where a label stands twice
        self.optional = {block.name: self._optional(block) for block in facts.spec.blocks.values()}

    def _optional(self, block: Block) -> set[str]:
        """Parameters that no call gives: their defaults stand where they are mentioned."""
        parameters = [parameter for parameter, _ in block.parameters]
        calls = [plan for plan in self.facts.plans if isinstance(plan, Call) and block in self.facts.callees(plan)]
        return {*parameters} - {parameter for plan in calls for parameter in arguments(parameters, plan)}

    # What a call is of

    def target(self, plan: Call, scope: Scope) -> Block | type[Operator]:
        """The block or operator that a call is of."""
        named = scope.names.get(plan.name, const(Reference(plan.name)))
        if not isinstance(named, ast.Constant) or not isinstance(named.value, Reference):
            raise Unstructured(f"{plan.name} is not known")
        own = named.value.name
        return self.facts.spec.blocks[own] if own in self.facts.spec.blocks else REGISTRY[own]

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

    # Formulas

    def out(self, plan: Plan, scope: Scope) -> ast.expr:
        """The channels of a plan's output. Raises Unstructured where no formula is known."""
        self.facts.spend()
        made: ast.expr = getattr(self, f"_{type(plan).__name__.lower()}")(plan, scope)
        return short(made)

    def _chain(self, plan: Chain, scope: Scope) -> ast.expr:
        return reduce(lambda channels, step: self.out(step, scope.at(channels)), plan.steps, scope.channels)

    def _label(self, plan: Label, scope: Scope) -> ast.expr:
        self.labels[plan.name] = UNKNOWN if plan.name in self.labels else self.out(plan.body, scope)
        return self.out(plan.body, scope) if self.labels[plan.name] is UNKNOWN else self.labels[plan.name]

    def _side(self, plan: Side, scope: Scope) -> ast.expr:
        return scope.channels

    def _use(self, plan: Use, scope: Scope) -> ast.expr:
        made = self.labels.get(plan.label, UNKNOWN)
        if made is UNKNOWN:  # there is none, or several
            raise Unstructured(f"{plan.label} is labelled elsewhere")
        return made

    def _call(self, plan: Call, scope: Scope) -> ast.expr:
        target = self.target(plan, scope)
        if not isinstance(target, Block):
            return self.calls.channels(plan, target, scope)
        values = self.bind(target, plan, scope)
        python = {self.facts.names.python(parameter): tree for parameter, tree in values.items()}
        return substituted(
            self.formula(target, self.symbols(target, values)), {**python, "in_channels": scope.channels}
        )

    def formula(self, block: Block, names: Mapping[str, ast.expr]) -> ast.expr:
        """A block's formula. One that calls itself is worked out again with what that gave, and must stay the same."""
        key = named(block.name, names)
        if key in self.working:
            self.met.add(key)
            raise Recursive(block.name)
        if key not in self.found:
            inside = self.inside(block, names, IN_CHANNELS)
            self.working.add(key)
            try:
                made = self._body(block, inside)
            finally:
                self.working.discard(key)
            if self.met & self.working:
                return made  # true only as long as those are not known
            self.found[key] = made
            if key in self.met and not self._holds(block, inside, made):
                self.found.clear()
                raise Unstructured(f"{block.name} has no formula")
        return self.found[key]

    def _holds(self, block: Block, inside: Scope, made: ast.expr) -> bool:
        """Whether a block gives what its formula says if the blocks that it calls do."""
        try:
            return same(made, self._body(block, inside))
        except Unstructured:
            return False

    def _body(self, block: Block, inside: Scope) -> ast.expr:
        labels, self.labels = self.labels, {}
        try:
            return self.out(block.body, inside)
        finally:
            self.labels = labels

    def _choose(self, plan: Choose, scope: Scope) -> ast.expr:
        test = self.choice(plan, scope)
        if isinstance(test, bool):
            return self.out(plan.yes if test else plan.no, scope)
        try:
            yes = self.out(plan.yes, scope)
        except Recursive:
            return self.out(plan.no, scope)
        try:
            return chosen(test, yes, self.out(plan.no, scope))
        except Recursive:
            return yes

    def choice(self, plan: Choose, scope: Scope) -> ast.expr | bool:
        """A choice's test; True or False where it is decided, as where only one side ever ran."""
        tree = tree_of(plan.test)
        test = Reader(self.facts, plan, scope).truth(tree)
        if known(test):
            return bool(value_of(test))
        if self.facts.ran(plan.yes) and self.facts.ran(plan.no):
            return test
        return self.facts.ran(plan.yes)

    def count(self, plan: Repeat, scope: Scope) -> ast.expr:
        """How often a repeat runs: 0 where it never did."""
        tree = tree_of(plan.count)
        made = Reader(self.facts, plan, scope).value(tree, True)
        if known(made) or self.facts.ran(plan.body):
            return made
        return const(0)

    def _repeat(self, plan: Repeat, scope: Scope) -> ast.expr:
        count = self.count(plan, scope)
        out = scope.channels if is_const(count, 0) else self.out(plan.body, scope)
        if same(out, scope.channels):
            return out
        if known(count) and value_of(count) <= MOST_ROUNDS:
            return reduce(lambda made, _: self.out(plan.body, scope.at(made)), range(value_of(count) - 1), out)
        grown = _grown(self.out(plan.body, scope.at(UNKNOWN)))
        if grown is None:
            return out if known(count) or self.facts.always(plan) else chosen(count, out, scope.channels)
        return binary(scope.channels, ast.Add(), binary(count, ast.Mult(), grown))

    def _each(self, plan: Each, scope: Scope) -> ast.expr:
        """A chain of rounds: the last one's channels, or those of all added up."""
        inner, loops = self.rounds(plan, scope)
        if not loops or same(self.out(plan.body, inner), scope.channels):
            return scope.channels
        out = self.out(plan.body, inner.at(UNKNOWN))
        grown = _grown(out)
        if grown is not None:
            return binary(scope.channels, ast.Add(), call("sum", ast.GeneratorExp(grown, loops)))
        if not self.facts.always(plan) or names_in(out) & names_in(*(loop.target for loop in loops)):
            raise Unstructured("a loop's last round")
        return out

    def rounds(self, plan: Each, scope: Scope) -> tuple[Scope, list[ast.comprehension]]:
        """A loop's rounds, none where there never were any, and what its body sees."""
        tree: Any = tree_of(plan.rounds)
        inner, loops = Reader(self.facts, plan, scope).loops(tree)
        if any(any(references(loop.iter)) for loop in loops):
            raise Unstructured("a loop over blocks")
        if not self.facts.ran(plan.body):
            return scope, []
        return inner, loops

    def _join(self, plan: Join, scope: Scope) -> ast.expr:
        if not isinstance(plan.branches, Each):
            return self.together(plan, list(self._outs(plan, scope)))
        inner, loops = self.rounds(plan.branches, scope)
        out = self.out(plan.branches.body, inner)
        varies = names_in(out) & names_in(*(loop.target for loop in loops))
        if plan.name == "concat" and not varies and len(loops) == 1 and not loops[0].ifs:
            return binary(simplified(call("len", loops[0].iter)), ast.Mult(), out)
        if plan.name == "concat":
            return call("sum", ast.GeneratorExp(out, loops))
        if varies:
            raise Unstructured("branches with channels of their own")
        return out

    def together(self, plan: Join, outs: Sequence[ast.expr]) -> ast.expr:
        """The channels of a join: all added up, or those of the plainest branch."""
        if plan.name != "concat":
            return min(outs, key=operations)
        return reduce(lambda left, right: binary(left, ast.Add(), right), outs)

    def _outs(self, plan: Join, scope: Scope) -> Iterator[ast.expr]:
        """The branches' channels; if they are equal, but for those of which no formula is known."""
        failed: Unstructured | None = None
        found = False
        for part in plan.branches:
            try:
                yield self.out(part.body, scope)
                found = True
            except Unstructured as error:  # noqa: PERF203  # each branch may lack one
                failed = error
                if plan.name == "concat":
                    raise
        if failed and not found:
            raise failed


def short(formula: ast.expr) -> ast.expr:
    """A formula that a person would read. Raises Unstructured for a longer one: one of another doubles fast."""
    if operations(formula) > MOST_OPERATIONS:
        raise Unstructured("a formula too long to read")
    return formula


def named(own: Any, names: Mapping[str, ast.expr]) -> Any:
    """What tells a class from others of the same plan: the values that it knows, such as the blocks it is made of."""
    return own, str(sorted((key, ast.dump(tree)) for key, tree in names.items() if known(tree)))


def _grown(out: ast.expr) -> ast.expr | None:
    """What a loop's body adds to UNKNOWN channels; None if its output does not depend on them."""
    if UNKNOWN.id not in names_in(out):
        return None
    if isinstance(out, ast.BinOp) and isinstance(out.op, ast.Add):
        for grown, rest in ((out.right, out.left), (out.left, out.right)):
            if same(rest, UNKNOWN) and UNKNOWN.id not in names_in(grown):
                return grown
        if UNKNOWN.id not in names_in(out.right) and (inner := _grown(out.left)) is not None:
            return binary(inner, ast.Add(), out.right)
    raise Unstructured("channels that grow by no sum")


def _leaves(value: object) -> list[object]:
    return [leaf for item in value for leaf in _leaves(item)] if isinstance(value, tuple) else [value]
