"""A unit that labels or branches: modules as attributes, and how `forward` leads through them."""

from __future__ import annotations

import ast
from collections import ChainMap
from collections.abc import Sequence
from typing import NamedTuple

from archcalc.codegen import operators
from archcalc.codegen.channels import Channels
from archcalc.codegen.items import Item, Items, wrapped
from archcalc.codegen.loops import entered, unrolled
from archcalc.codegen.naming import Attributes, identifier, local_name
from archcalc.codegen.symbols import (
    Unstructured,
    add,
    attribute,
    call,
    mentions,
    name,
    size,
)  # fmt: skip
from archcalc.codegen.trace import rounds
from archcalc.codegen.unit import IN_CHANNELS, Unit
from archcalc.codegen.values import Site
from archcalc.language.expression import tree_of
from archcalc.language.plan import Branch, Call, Chain, Choose, Each, Join, Label, Plan, Repeat, Side, Use

GROUP = 2  # unlabelled modules that are attributes each: more would be conv1, norm1, relu1, … without a meaning
X, SIDES = "x", "sides"


class Value(NamedTuple):
    """A tensor in `forward`, and its first dimension in terms of the unit's parameters."""

    tensor: ast.expr
    channels: ast.expr | None


class Way(NamedTuple):
    """A branch of a join: its label, what it does and where."""

    label: str
    body: Plan
    site: Site


class Flow:
    """Builds the two methods of one unit."""

    def __init__(self, unit: Unit, channels: ast.expr | None, main: bool) -> None:
        self.unit = unit
        self.program = unit.program
        self.main = main
        self.attributes = Attributes()
        self.forward: list[ast.stmt] = []
        self.locals = {X, SIDES}
        self.labels: ChainMap[str, Value] = ChainMap()
        self.pending: list[Item] = []
        self.context = "layers"  # what a group of modules is called
        self.titled: Plan | None = None  # what bears a label that is the context
        self.target = X
        taken = {*unit.own, *unit.local, *self.program.params, IN_CHANNELS}
        self.channels = Channels(taken, self.attributes.statements)
        self.side_outputs: list[ast.expr] = []
        self.collects = self.program.trace.nested_sides
        if not main:
            self.outside()
        self.start = Value(name(X), channels)

    def outside(self) -> None:
        """Tensors from outside are arguments of `forward`."""
        for label in self.unit.piece.needs:
            text = self.local(label)
            self.labels[label] = Value(name(text), None)
            self.unit.arguments.append(text)
        if self.unit.piece.sides:
            self.unit.arguments.append(SIDES)

    def build(self) -> None:
        """Fill in the unit's methods and what it gives."""
        unit = self.unit
        if self.main and self.collects:
            self.forward.append(ast.Assign([ast.Name(SIDES, ast.Store())], ast.List([], ast.Load())))
        end = self.flush(self.run(unit.piece.body, unit.site(self.start.channels), self.start))
        self.give(end.tensor)
        self.attributes.settle()
        unit.init += self.channels.settle()
        unit.forward = self.forward
        unit.output = end.channels

    def give(self, tensor: ast.expr) -> None:
        """The end of `forward`."""
        sides = self.side_outputs
        if self.main and (sides or self.collects):
            tensor = self.bound(tensor)
            more: list[ast.expr] = [ast.Starred(name(SIDES), ast.Load())] if self.collects else sides
            self.in_training([ast.Return(ast.Tuple([tensor, *more], ast.Load()))])
        last = self.forward[-1] if self.forward else None
        if isinstance(last, ast.Assign) and ast.dump(last.targets[0]) == ast.dump(ast.Name(_id(tensor), ast.Store())):
            self.forward[-1] = ast.Return(last.value)
        else:
            self.forward.append(ast.Return(tensor))

    def local(self, label: str) -> str:
        """A variable of `forward` for a label."""
        text = local_name(identifier(label, "branch"), self.locals)
        self.locals.add(text)
        return text

    def assign(self, text: str, tensor: ast.expr) -> ast.expr:
        """A variable that holds a tensor."""
        self.forward.append(ast.Assign([ast.Name(text, ast.Store())], tensor))
        return name(text)

    def bound(self, tensor: ast.expr) -> ast.expr:
        """A tensor that may be mentioned twice."""
        return tensor if isinstance(tensor, ast.Name) else self.assign(self.target, tensor)

    def entering(self, site: Site, value: Value) -> Site:
        """The site with the channels as they are written here; where no rule is known, the number that is always so."""
        known = value.channels
        if known is None and len({run.x[0] for run in site.runs}) == 1:
            known = site.observed(0)
        return site._replace(channels=self.channels.written(known))

    # Steps

    def run(self, plan: Plan, site: Site, value: Value) -> Value:
        """Go through a part of the plan; what is pending is made later."""
        own = getattr(self, f"_{type(plan).__name__.lower()}")
        made: Value = own(plan, site, value)
        return made

    def plain(self, plan: Plan, site: Site, value: Value) -> Value:
        """Modules one after the other, which wait for more of their kind."""
        count = len(self.channels.statements)
        entered = self.entering(site, value)
        if any(self.channels.is_read(item.made) for item in self.pending):  # before the variable changes
            late = self.channels.statements[count:]
            del self.channels.statements[count:]
            value = self.flush(value) if late else value
            self.channels.statements += late
        items = self.unit.make(plan, entered)
        self.pending += items.made
        return value._replace(channels=self.channels.full(items.channels))

    def flush(self, value: Value) -> Value:
        """The pending modules as attributes, and the call of them."""
        items, self.pending = self.pending, []
        if not items:
            return value
        tensor = value.tensor
        if len(items) <= GROUP and not any(isinstance(item.made, ast.Starred) for item in items):
            for item in items:
                tensor = call(self.attributes.add(item.label, item.made), tensor)
        else:
            tensor = call(self.attributes.add(self.context, wrapped(items)), tensor)
        return value._replace(tensor=self.assign(self.target, tensor))

    def _chain(self, plan: Chain, site: Site, value: Value) -> Value:
        for position, step in enumerate(plan.steps):
            value = self.run(step, site.inside([run.inner[position] for run in site.runs]), value)
        return value

    def _label(self, plan: Label, site: Site, value: Value) -> Value:
        value = self.flush(value)
        inside = site.inside(rounds(site.runs))
        if self.program.pure(plan.body, inside.runs):
            value = self.labelled(plan, inside, value)
        else:
            value = self.nested(plan, inside, value)
        return self.kept(plan.name, value) if plan.name in self.program.trace.labels_used else value

    def kept(self, label: str, value: Value) -> Value:
        """A tensor under its label, since something uses it later."""
        last = self.forward[-1] if self.forward else None
        text = self.local(label)
        if isinstance(last, ast.Assign) and _id(last.targets[0]) == _id(value.tensor) == self.target:
            self.forward.pop()
            value = value._replace(tensor=last.value)
        value = self.labels[label] = value._replace(tensor=self.assign(text, value.tensor))
        return value

    def labelled(self, plan: Label, site: Site, value: Value) -> Value:
        """A labelled module."""
        items = self.unit.make(plan.body, self.entering(site, value))
        value = value._replace(channels=self.channels.full(items.channels))
        if not items.made:
            return value
        attr = self.attributes.add(_titled(plan.name, plan.body, items), wrapped(items.made), True)
        return value._replace(tensor=self.assign(self.target, call(attr, value.tensor)))

    def nested(self, plan: Label, site: Site, value: Value) -> Value:
        """A labelled step that branches: its parts are attributes here."""
        context, self.context = self.context, identifier(plan.name, "layer")
        self.titled = plan.body
        self.labels = self.labels.new_child()
        value = self.flush(self.run(plan.body, site, value))
        self.labels = self.labels.parents
        self.context = context
        return value

    def _choose(self, plan: Choose, site: Site, value: Value) -> Value:
        yes = {run.inner[0].plan is plan.yes for run in site.runs}
        if self.program.is_chain(plan, site.runs):
            return self.plain(plan, site, value)
        site.assume(tree_of(plan.test))
        return self.run(plan.yes if yes.pop() else plan.no, site.inside(rounds(site.runs)), value)

    def _repeat(self, plan: Repeat | Each, site: Site, value: Value) -> Value:
        if self.program.is_chain(plan, site.runs):
            return self.plain(plan, site, value)
        for body, own in unrolled(plan, site):
            value = self.run(body, own, value)
        return value

    _each = _repeat

    def _call(self, plan: Call, site: Site, value: Value) -> Value:
        if self.program.pure(plan, site.runs):
            return self.plain(plan, site, value)
        value = self.flush(value)
        items = self.unit.called(plan, self.entering(site, value))
        piece = site.runs[0].callee
        assert piece
        more = [self.found(label).tensor for label in piece.needs]
        sides = [name(SIDES)] if piece.sides else []
        titled = plan is self.titled
        attr = self.attributes.add(self.context if titled else items.made[0].label, items.made[0].made, titled)
        tensor = call(attr, value.tensor, *more, *sides)
        return Value(self.assign(self.target, tensor), self.channels.full(items.channels))

    def found(self, label: str) -> Value:
        """The output of a labelled step. Raises Unstructured where `forward` does not have it."""
        if label not in self.labels:
            raise Unstructured(f"no {label} here")
        return self.labels[label]

    def _use(self, plan: Use, site: Site, value: Value) -> Value:
        self.flush(value)
        return self.found(plan.label)

    # Joins and side outputs

    def _join(self, plan: Join, site: Site, value: Value) -> Value:
        value = self.flush(value)
        value = value._replace(tensor=self.bound(value.tensor))
        ways = self.ways(plan, site)
        if ways is None:
            return self.listed(plan, site, value)
        plain = all(self.program.pure(way.body, way.site.runs) for way in ways)
        ends = [self.way(way, value, plain) for way in ways]
        tensor = self.joined(plan, site, [end.tensor for end in ends])
        return Value(self.assign(self.target, tensor), _together(plan, [end.channels for end in ends]))

    def ways(self, plan: Join, site: Site) -> list[Way] | None:
        """The branches; None where they come from a loop that may run more or less often."""
        if isinstance(plan.branches, Each):
            tree = tree_of(plan.branches.rounds)
            if mentions(tree) & {*self.program.params, *site.names}:
                return None
            return [Way("branch", body, own) for body, own in unrolled(plan.branches, site)]
        return [
            Way(branch.name or "branch", branch.body, site.inside([run.inner[position] for run in site.runs]))
            for position, branch in enumerate(plan.branches)
        ]

    def way(self, way: Way, value: Value, plain: bool) -> Value:
        """One branch: an expression, or a variable where some branch wants statements."""
        if plain:
            return self.short_way(way, value)
        target, self.target = self.target, self.local(way.label)
        context, self.context = self.context, identifier(way.label, "branch")
        self.labels = self.labels.new_child()
        end = self.flush(self.run(way.body, way.site, value))
        self.labels = self.labels.parents
        self.target, self.context = target, context
        return end

    def short_way(self, way: Way, value: Value) -> Value:
        """A branch that is one attribute, or nothing."""
        items = self.unit.make(way.body, self.entering(way.site, value))
        channels = self.channels.full(items.channels)
        if not items.made:
            return Value(value.tensor, channels)
        attr = self.attributes.add(identifier(way.label, "branch"), wrapped(items.made), True)
        return Value(call(attr, value.tensor), channels)

    def joined(self, plan: Join, site: Site, tensors: Sequence[ast.expr]) -> ast.expr:
        """The tensors brought together as the operator says."""
        template = self.template(plan, site)
        if isinstance(template.func if isinstance(template, ast.Call) else None, ast.Call):
            made = self.joining(plan, site, ast.unparse(template.func))  # type: ignore[attr-defined]  # it is a call
            return call(self.attributes.add(plan.name, made), *tensors)
        return operators.joined(template, tensors)

    def template(self, plan: Join, site: Site) -> ast.expr:
        """How the operator writes a join."""
        nodes = [self.program.graph.nodes[run.y] for run in site.runs]
        sources = {operators.form(node.op, node.x) for node in nodes}
        if len(sources) > 1:
            raise Unstructured(f"{plan.name} is sometimes written otherwise")
        return ast.parse(sources.pop(), mode="eval").body

    def joining(self, plan: Join, site: Site, source: str) -> ast.expr:
        """The module of a join that has one."""
        op = self.program.operators(site.runs)[0]
        return operators.fill(source, op, operators.written(op, plan, site), site)

    def listed(self, plan: Join, site: Site, value: Value) -> Value:
        """Branches from a loop, in a ModuleList."""
        assert isinstance(plan.branches, Each)
        as_chain = site._replace(channels=self.channels.written(value.channels))
        generators, own = entered(plan.branches, as_chain, None)
        items = self.unit.make(plan.branches.body, own)
        if not items.made:
            raise Unstructured("branches that do nothing")
        made = call("nn.ModuleList", ast.ListComp(wrapped(items.made), generators))
        modules = self.attributes.add("branches", made)
        branch = local_name("branch", self.locals)
        loop = ast.comprehension(ast.Name(branch, ast.Store()), modules, [], 0)
        each = ast.ListComp(call(branch, value.tensor), [loop])
        tensor = operators.joined_each(self.template(plan, site), each, modules)
        return Value(self.assign(self.target, tensor), None)

    def _side(self, plan: Side, site: Site, value: Value) -> Value:
        value = self.flush(value)
        value = value._replace(tensor=self.bound(value.tensor))
        before, self.forward = self.forward, []
        for position, branch in enumerate(plan.branches):
            self.side_output(branch, site.inside([run.inner[position] for run in site.runs]), value)
        body, self.forward = self.forward, before
        self.in_training(body)
        return value

    def in_training(self, body: list[ast.stmt]) -> None:
        """Statements that run in training only."""
        last = self.forward[-1] if self.forward else None
        if isinstance(last, ast.If):
            last.body += body
        else:
            self.forward.append(ast.If(TRAINING, body, []))

    def side_output(self, branch: Branch, site: Site, value: Value) -> None:
        """One side output: a variable for the end of `forward`, or an item of the list it was given."""
        label = branch.name or "side"
        pure = self.program.pure(branch.body, site.runs)
        way = Way(label, branch.body, site)
        if self.collects:
            end = self.way(way, value, pure)
            self.forward.append(ast.Expr(call(attribute(name(SIDES), "append"), end.tensor)))
            return
        text = self.local(label)
        end = self.short_way(way, value) if pure else self.way(way, value, False)
        self.side_outputs.append(self.assign(text, end.tensor))


TRAINING = attribute(name("self"), "training")


def _titled(label: str, body: Plan, items: Items) -> str:
    """An attribute's name for a label; one that is no name is put behind what it labels."""
    return identifier(label, items.made[-1].label if isinstance(body, Call) else "layer")


def _together(plan: Join, channels: Sequence[ast.expr | None]) -> ast.expr | None:
    """The first dimension after a join: the sum of a concatenation, else that of any branch."""
    known = [channel for channel in channels if channel is not None]
    if plan.name != "concat":
        return min(known, key=_roundabout, default=None)
    if len(known) < len(channels):
        return None
    total = known[0]
    for channel in known[1:]:
        total = add(total, channel)
    return total


def _roundabout(channels: ast.expr) -> tuple[bool, bool, int]:
    """What is preferred among expressions for the same number: no choice, what is said of the output, the shorter."""
    choice = any(isinstance(part, ast.IfExp) for part in ast.walk(channels))
    return choice, isinstance(channels, ast.Name) and channels.id == IN_CHANNELS, size(channels)


def _id(tensor: ast.expr) -> str:
    return tensor.id if isinstance(tensor, ast.Name) else ""
