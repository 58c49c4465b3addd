"""A spec's blocks as classes: `__init__` makes modules and keeps count of the channels, `forward` runs them."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

from archcalc.codegen.blocks import Facts, parts
from archcalc.codegen.calls import joined, joined_each
from archcalc.codegen.expressions import Scope
from archcalc.codegen.formulas import IN_CHANNELS, Formulas, named
from archcalc.codegen.names import class_name, identifier, local_name, numbered
from archcalc.codegen.trees import (
    Unstructured,
    assign,
    attribute,
    call,
    const,
    is_const,
    known,
    name,
    names_in,
    operations,
    references,
    same,
    value_of,
)
from archcalc.codegen.units import Given, Labels, Made, Unit
from archcalc.ops.shaping import Identity
from archcalc.spec.layers import Branch, Call, Chain, Choose, Each, Join, Label, Plan, Repeat, Side, Use
from archcalc.spec.network_spec import Block

TRAINING = attribute(name("self"), "training")
MOST_REPEATED = 6  # modules that are written out where a repeat changes the channels
DEEPEST_MELT = 3  # blocks within each other that are written where they are called
DEEPEST = 20  # blocks written into the block that calls them

Pieces = tuple[list[ast.expr], ast.expr]  # modules that run one after the other, and the channels behind them


class Line(NamedTuple):
    """Where statements of `forward` are written: what they see, and the variable that they write to."""

    unit: Unit
    scope: Scope
    labels: Labels
    label: str
    to: str
    block: list[ast.stmt]
    fresh: bool = True  # whether the label is of what is written alone
    depth: int = 0

    def at(self, channels: ast.expr) -> Line:
        """The same line further on."""
        return self._replace(scope=self.scope.at(channels), fresh=False)

    def within(self, label: str, to: str = "") -> Line:
        """What stands under a label, or in a branch that has a variable of its own."""
        return self._replace(labels=Labels(self.labels), label=label, fresh=True, to=to or self.to)

    def settled(self, tensor: ast.expr) -> ast.expr:
        """A tensor that is a variable."""
        if isinstance(tensor, ast.Name):
            return tensor
        return self.keep(self.to, tensor)

    def keep(self, target: str, tensor: ast.expr) -> ast.expr:
        """A tensor in a variable of this name."""
        if not (isinstance(tensor, ast.Name) and tensor.id == target):
            self.block.append(assign(target, tensor))
        return name(target)

    def local(self, label: str) -> str:
        """A new variable of `forward`."""
        made = local_name(identifier(label, "layer"), self.unit.locals)
        self.unit.locals.add(made)
        return made


class Writer:
    """Writes the units of a network; `units` has them in the order in which they are done."""

    def __init__(self, facts: Facts, title: str, reserved: Iterable[str]) -> None:
        self.facts = facts
        self.formulas = Formulas(facts)
        self.titles = {title, *reserved}
        self.units: list[Unit] = []
        self.known: dict[Any, Unit] = {}
        self.used = {plan.label for plan in facts.plans if isinstance(plan, Use)}
        self.melting: list[str] = []  # blocks that are being written into the code that calls them

    def network(self, title: str) -> Unit:
        """The unit of the whole network. Layers that are one call of a block are that block's."""
        unit = Unit(title, self.facts.arguments(), ())
        scope = Scope(self.facts.base(), frozenset(), const(self.facts.graph.input[0]))
        body, seen = self.facts.spec.layers, {""}
        while isinstance(body, Call) and isinstance(block := self.formulas.target(body, scope), Block):
            if block.name in seen:
                break
            seen.add(block.name)
            values = self.formulas.bind(block, body, scope)
            unit.held += values.values()
            scope, body = self.formulas.inside(block, values, scope.channels), block.body
        return self.write(unit, body, scope, title)

    # Units

    def write(self, unit: Unit, body: Plan, scope: Scope, label: str) -> Unit:
        """Write a unit's statements."""
        if self.in_order(body):
            unit.modules = self.pieces(unit, body, scope, label)[0]
        else:
            line = Line(unit, scope, Labels(), label, "x", unit.forward)
            tensor, _ = self.run(body, line, name("x"))
            if unit.sides:
                tensor = line.settled(tensor)
                given = ast.Tuple([tensor, *map(name, unit.sides)], ast.Load())
                unit.forward.append(ast.If(TRAINING, [ast.Return(given)], []))
            unit.forward.append(ast.Return(tensor))
        with suppress(Unstructured):
            unit.out = self.formulas.out(body, scope)
        self.units.append(unit)
        return unit

    def in_order(self, plan: Plan) -> bool:
        """Whether a plan is modules one after the other, none with a name or outside of its class."""
        if isinstance(plan, Chain):
            return all(map(self.in_order, plan.steps))
        return not isinstance(plan, Label | Join | Side | Use) and not self.facts.free(plan)

    def of_block(self, block: Block, names: Mapping[str, ast.expr]) -> Unit:
        """The unit of a block whose parameters are these; a block or operator that one names is part of what it is."""
        key = named(block.name, names)
        if key not in self.known:
            python = {parameter: self.facts.names.python(parameter) for parameter, _ in block.parameters}
            parameters = {
                python[parameter]: self.formulas.constant(default)
                for parameter, default in block.parameters if same(names[parameter], name(python[parameter]))
            }  # fmt: skip
            parts_ = [class_name(ref) for tree in names.values() for ref in references(tree)]
            unit = self.known[key] = Unit(self.title(block.name, *parts_), parameters, self.facts.arguments())
            unit.held += [tree for tree in names.values() if not isinstance(tree, ast.Name)]  # defaults
            self.write(unit, block.body, self.formulas.inside(block, names, IN_CHANNELS), block.name)
        return self.known[key]

    def title(self, label: str, *parts_: str) -> str:
        """A class's name that no other has."""
        made = class_name(label)
        if made in self.titles:
            made += "".join(parts_) or "Unit"
        made = numbered(made, self.titles)
        self.titles.add(made)
        return made

    def lifted(self, plan: Plan, scope: Scope, label: str) -> Made:
        """A part of a block as a class of its own, with the names that it sees as its parameters."""
        seen = {key: tree for key, tree in scope.names.items() if key in scope.own}
        own = {key: tree for key, tree in seen.items() if not known(tree)}
        names = {key: name(self.facts.names.python(key)) for key in own}
        key = named(id(plan), seen)
        if key not in self.known:
            parameters = dict.fromkeys(tree.id for tree in names.values())
            unit = self.known[key] = Unit(self.title(label), parameters, self.facts.arguments())
            self.write(unit, plan, Scope({**scope.names, **names}, scope.own, IN_CHANNELS), label)
        return Made(self.known[key], scope.channels, {names[key].id: tree for key, tree in own.items()}, 0)

    # Modules that run one after the other

    def pieces(self, unit: Unit | None, plan: Plan, scope: Scope, label: str) -> Pieces:
        """Modules that do what a plan does. Without a unit no statement can be written before them."""
        self.facts.spend()
        if isinstance(plan, Chain):
            return self._in_turn(unit, plan, scope, label)
        if isinstance(plan, Label):
            return self.pieces(unit, plan.body, scope, plan.name)
        if isinstance(plan, Repeat | Each):
            return self.loop(unit, plan, scope, label)
        if isinstance(plan, Choose):
            test = self.formulas.choice(plan, scope)
            if isinstance(test, bool):
                return self.pieces(unit, plan.yes if test else plan.no, scope, label)
            sides = [wrapped(self.pieces(None, side, scope, label)[0]) for side in parts(plan)]
            made: list[ast.expr] = [ast.IfExp(test, *sides)]
        elif self.facts.free(plan):
            raise Unstructured("what runs outside of its class")
        elif isinstance(plan, Call):
            made = self.called(plan, scope, label)
        else:
            made = [self.lifted(plan, scope, label)]
        return made, self.formulas.out(plan, scope)

    def _in_turn(self, unit: Unit | None, plan: Chain, scope: Scope, label: str) -> Pieces:
        made: list[ast.expr] = []
        held = unit.held if unit else []
        before = len(held)
        for step in plan.steps:
            more, channels = self.pieces(unit, step, scope, label)
            made += more
            held += more
            scope = scope.at(channels)
        del held[before:]
        return made, scope.channels

    def called(self, plan: Call, scope: Scope, label: str) -> list[ast.expr]:
        """The module of an operator or block; none for what does nothing. A block of one call or choice is that."""
        target = self.formulas.target(plan, scope)
        if not isinstance(target, Block):
            return [] if target is Identity else [self.formulas.calls.module(plan, target, scope)]
        values = self.formulas.bind(target, plan, scope)
        inside = self.formulas.inside(target, values, scope.channels)
        if self.melts(target, inside):
            self.melting.append(target.name)
            made = self.pieces(None, target.body, inside, label)[0]
            self.melting.pop()
            return made
        unit = self.of_block(target, self.formulas.symbols(target, values))
        given = {self.facts.names.python(parameter): tree for parameter, tree in values.items()}
        said = {
            own: given[own] for own, default in unit.parameters.items() if not (default and same(default, given[own]))
        }
        return [Made(unit, scope.channels, said, len(plan.positional))]

    def melts(self, block: Block, inside: Scope) -> bool:
        """Whether a block is no more than one call, or a choice between two, where it stands."""
        body = block.body
        if len(self.melting) == DEEPEST_MELT or block.name in self.melting:
            return False
        if not all(isinstance(part, Call) for part in parts(body) or (body,)):
            return False
        if isinstance(body, Repeat):
            return any(is_const(self.formulas.count(body, inside), number) for number in (0, 1))
        return isinstance(body, Call | Choose)

    def loop(self, unit: Unit | None, plan: Repeat | Each, scope: Scope, label: str) -> Pieces:
        """A repeat or a chain of rounds: a comprehension where the channels stay, else a loop that keeps count."""
        count: ast.expr = UNCOUNTED
        if isinstance(plan, Repeat):
            count, inner = self.formulas.count(plan, scope), scope
            loops = [ast.comprehension(ast.Name("_", ast.Store()), call("range", count), [], 0)]
        else:
            inner, loops = self.formulas.rounds(plan, scope)
        if not loops or is_const(count, 0):
            return [], scope.channels
        if is_const(count, 1):
            return self.pieces(unit, plan.body, scope, label)
        made = self.pieces(None, plan.body, inner, label)[0]
        if same(self.formulas.out(plan.body, inner), scope.channels):
            return [ast.Starred(ast.ListComp(wrapped(made), loops), ast.Load())] if made else [], scope.channels
        if known(count) and value_of(count) * len(made) <= MOST_REPEATED:
            return self.pieces(unit, Chain((plan.body,) * value_of(count), plan.place), scope, label)
        if unit is None:
            return [self.lifted(plan, scope, label)], self.formulas.out(plan, scope)
        return self._counting(unit, plan.body, inner, loops, label)

    def _counting(self, unit: Unit, body: Plan, inner: Scope, loops: Sequence[ast.comprehension], label: str) -> Pieces:
        channels = unit.thread(inner.channels)
        layers = unit.collect()
        inner = inner.at(channels)
        append = call(attribute(name(layers), "append"), wrapped(self.pieces(None, body, inner, label)[0]))
        block: list[ast.stmt] = [ast.Expr(append), assign(channels.id, self.formulas.out(body, inner))]
        for loop in reversed(loops):
            for test in reversed(loop.ifs):
                block = [ast.If(test, block, [])]
            block = [ast.For(loop.target, loop.iter, block, [])]
        unit.init.extend(block)
        return [ast.Starred(name(layers), ast.Load())], channels

    # Statements of `forward`

    def run(self, plan: Plan, line: Line, tensor: ast.expr) -> Given:
        """What a plan gives for a tensor; statements that come before it are written."""
        if self.in_order(plan):
            return self.kept([plan], line, tensor)
        if isinstance(plan, Choose) and isinstance(test := self.formulas.choice(plan, line.scope), bool):
            return self.run(plan.yes if test else plan.no, line, tensor)
        rule = getattr(self, f"_{type(plan).__name__.lower()}", None)
        if rule is None:
            raise Unstructured("a loop or choice of what runs outside of its class")
        made: Given = rule(plan, line, tensor)
        return made

    def _chain(self, plan: Chain, line: Line, tensor: ast.expr) -> Given:
        """Steps one after the other; plain ones without names are one module."""
        groups: list[list[Plan]] = []
        for step in plan.steps:
            if self.in_order(step) and groups and self.in_order(groups[-1][-1]):
                groups[-1].append(step)
            else:
                groups.append([step])
        line = line._replace(fresh=False)
        for group in groups:
            channels = line.scope.channels
            threaded = names_in(channels) & (line.unit.variables - {"in_channels"})
            if not isinstance(channels, ast.Name) and operations(channels) >= (1 if threaded else 2):
                line = line.at(line.unit.thread(channels))
            tensor = line.settled(tensor)
            tensor, channels = self.kept(group, line, tensor) if len(group) > 1 else self.run(group[0], line, tensor)
            line = line.at(channels)
        return tensor, line.scope.channels

    def kept(self, steps: Sequence[Plan], line: Line, tensor: ast.expr) -> Given:
        """Steps as one attribute, which is called."""
        pieces, channels = self.pieces(line.unit, Chain(tuple(steps), steps[0].place), line.scope, line.label)
        if not pieces:
            return tensor, channels
        first = steps[0]
        while not isinstance(first, Call) and parts(first):
            first = parts(first)[0]
        own = first.name if isinstance(first, Call) else "layers"
        kept = line.unit.attributes.add(identifier(line.label if line.fresh else own, own), wrapped(pieces), line.fresh)
        return call(kept, tensor), channels

    def _label(self, plan: Label, line: Line, tensor: ast.expr) -> Given:
        """A named step; what `use` asks for is kept in a variable."""
        tensor, channels = self.run(plan.body, line.within(plan.name), tensor)
        if plan.name in self.used:
            tensor = line.keep(line.local(plan.name), tensor)
            line.labels.known[plan.name] = tensor, channels
            line.unit.held.append(channels)
        return tensor, channels

    def _use(self, plan: Use, line: Line, tensor: ast.expr) -> Given:
        return line.labels.find(plan.label)

    def _side(self, plan: Side, line: Line, tensor: ast.expr) -> Given:
        """Side outputs, which are made in training alone."""
        line.unit.held.append(line.scope.channels)
        for branch in plan.branches:
            label = branch.name or "side"
            inner = line.within(label, line.local(label))._replace(block=[])
            inner.keep(inner.to, self.run(branch.body, inner, tensor)[0])
            line.block.append(ast.If(TRAINING, inner.block, []))
            line.unit.sides.append(inner.to)
        line.unit.held.pop()
        return tensor, line.scope.channels

    def _call(self, plan: Call, line: Line, tensor: ast.expr) -> Given:
        """A block's statements in place of its call: it has side outputs, or uses what is labelled elsewhere."""
        block = self.formulas.target(plan, line.scope)
        if line.depth >= DEEPEST or not isinstance(block, Block):
            raise Unstructured(f"{plan.name} calls itself")
        values = self.formulas.bind(block, plan, line.scope)
        labels = line.labels if line.fresh or not block.structured else Labels(line.labels)
        scope = self.formulas.inside(block, values, line.scope.channels)
        line.unit.held += values.values()
        return self.run(block.body, line._replace(scope=scope, labels=labels, depth=line.depth + 1), tensor)

    def _join(self, plan: Join, line: Line, tensor: ast.expr) -> Given:
        """A join, as an expression over its branches."""
        text, module = self.formulas.calls.join(plan, line.scope)
        tensor = line.settled(tensor)

        def keep() -> ast.expr:
            return line.unit.attributes.add(plan.name, module)

        if isinstance(plan.branches, Each):
            return self._over(plan.branches, line, tensor, text, keep), self.formulas.out(plan, line.scope)
        before = len(line.unit.held)
        line.unit.held.append(line.scope.channels)
        tensors, outs = self._branches(plan.branches, line, tensor)
        del line.unit.held[before:]
        return joined(text, tensors, keep), self.formulas.together(plan, outs)

    def _branches(self, branches: Sequence[Branch], line: Line, tensor: ast.expr) -> tuple[list[ast.expr], ...]:
        """What branches give, in the order in which they run, and their channels."""
        plain = all(isinstance(branch.body, Use) or self.in_order(branch.body) for branch in branches)
        tensors, outs = [], []
        for number, branch in enumerate(branches, 1):
            label = identifier(branch.name or str(number), "branch")
            inner = line.within(label, "" if plain else line.local(label))
            made, channels = self.run(branch.body, inner, tensor)
            tensors.append(made if plain else inner.settled(made))
            outs.append(channels)
            line.unit.held.append(channels)
        return tensors, outs

    def _over(self, each: Each, line: Line, tensor: ast.expr, text: str, keep: Any) -> ast.expr:
        """A join over the rounds of a loop, whose modules are a list."""
        inner, loops = self.formulas.rounds(each, line.scope)
        module = wrapped(self.pieces(None, each.body, inner, line.label)[0])
        branches = line.unit.attributes.add("branches", call("nn.ModuleList", ast.ListComp(module, loops)))
        rounds = [ast.comprehension(ast.Name("branch", ast.Store()), branches, [], 0)]
        return joined_each(text, ast.ListComp(call("branch", tensor), rounds), branches, keep)


UNCOUNTED = name("rounds")


def wrapped(modules: Sequence[ast.expr]) -> ast.expr:
    """Modules as one."""
    if len(modules) == 1 and not isinstance(modules[0], ast.Starred):
        return modules[0]
    return call("nn.Sequential", *modules) if modules else call("nn.Identity")
