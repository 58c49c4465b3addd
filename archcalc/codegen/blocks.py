"""Write a spec's blocks as classes: one walk over the steps creates modules, tracks channels and writes `forward`."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any

from archcalc.codegen import trees
from archcalc.codegen.calls import Calls, joined
from archcalc.codegen.classes import TRAINING, Flow, Line, Parameters, Unit, wrapped
from archcalc.codegen.expressions import Context, Labelled, Reader
from archcalc.codegen.facts import Facts
from archcalc.codegen.loops import Loop, loop_of
from archcalc.codegen.names import channels_of, class_name, identifier, numbered
from archcalc.ops.shaping import Identity
from archcalc.spec.layers import (
    Again,
    Branch,
    Call,
    Chain,
    Choose,
    Each,
    Join,
    Label,
    Outputs,
    Plan,
    Repeat,
    Side,
    Use,
    parts,
)
from archcalc.spec.network_spec import Block

ITSELF = trees.name("?itself")  # the output channels of the block that is being written
ROUND = trees.name("?round")  # the input channels of a loop's body
MOST_STEPS = 50_000  # to write a network; the largest of the zoo takes 2,000
MOST_PASSES = 4  # over a block that calls itself
MOST_REPEATED = 6  # modules of a repeat that are written one by one because the channels change
DEEPEST = 3  # nested plain blocks that are written inline


class Writer:
    """Writes the classes of a network; `units` has them in the order in which they are completed."""

    def __init__(self, facts: Facts, title: str, reserved: Iterable[str]) -> None:
        self.facts = facts
        self.calls = Calls(facts)
        self.steps = 0
        self.titles = {title, *reserved}
        self.units: list[Unit] = []
        self.known: dict[Any, Unit] = {}
        self.working: set[Any] = set()  # keys of the units that are being written
        self.met: set[Any] = set()  # the keys of those that call themselves
        self.inside: list[str] = []  # blocks that are being written inline

    def network(self, title: str) -> Unit:
        """Write the class of the whole network."""
        unit = Unit(title, self.facts.arguments())
        given, labels = self.facts.graph.inputs, dict[str, Labelled]()
        if given[0].place:  # inputs with names, which are labels
            unit.inputs = [unit.local(node.name) for node in given]
            for node, text in zip(given, unit.inputs, strict=True):
                labels[node.name] = Labelled(trees.name(text), trees.const(node.output.channels))
        context = Context(self.facts.base(), frozenset(), trees.const(given[0].output.channels), labels)
        self.write(unit, self.facts.spec.layers, context, title)
        return unit

    def write(self, unit: Unit, body: Plan, context: Context, label: str) -> None:
        """Write the statements of a unit; if its modules only follow each other, it is a Sequential."""
        line = Line(context, label, unit=unit, to="x", block=unit.forward, tensor=trees.name(unit.inputs[0]))
        unit.lines, start = [line], line.tensor
        self.walk(body, line)
        if line.tensor is start and not unit.forward and not line.extra:
            unit.end(None, *line.pending)
        else:
            line.flush()
            if unit.sides or unit.outputs:
                line.settle()
            if unit.outputs and self.facts.graph.outputs[:1] == ("output",):
                unit.outputs.insert(0, ast.unparse(line.tensor))
            unit.end(line.tensor)
        unit.out = trees.substituted(line.channels, unit.values)
        self.units.append(unit)

    def unit(
        self, plan: Plan, context: Context, titles: Sequence[str], own: Parameters, placed: Iterable[str] = (),
        inputs: Sequence[str] = (),
    ) -> Unit:  # fmt: skip
        """Return the unit of a plan in a context with known values, such as the blocks that parameters name.

        A unit that calls itself is written again with its own channels and names, until these no longer change.
        """
        values = ((name, context.names[name]) for name in context.own)
        key = id(plan), str(sorted((name, ast.dump(value)) for name, value in values if trees.known(value)))
        if key in self.working:
            self.met.add(key)
        if key in self.known:
            return self.known[key]
        out: ast.expr = ITSELF
        uses: set[str] = set()
        for _ in range(MOST_PASSES):
            known, taken, done = {**self.known}, {*self.titles}, len(self.units)
            unit = self.known[key] = Unit(self.title(*titles), own, placed, self.facts.arguments())
            unit.out, unit.uses = out, uses
            unit.inputs += inputs
            unit.locals |= {*inputs}
            self.working.add(key)
            self.write(unit, plan, context, titles[0])
            self.working.discard(key)
            if key not in self.met or (trees.same(unit.out, out) and unit.uses == uses):
                return unit
            out, uses, self.known, self.titles = unit.out, unit.uses, known, taken
            del self.units[done:]
        raise trees.Unstructured(f"{titles[0]} has no formula")

    def title(self, label: str, *others: str) -> str:
        """Return a new name of a class."""
        made = class_name(label)
        if made in self.titles:
            made += "".join(map(class_name, others)) or "Unit"
        made = numbered(made, self.titles)
        self.titles.add(made)
        return made

    def of_block(self, block: Block, names: Mapping[str, ast.expr], tensors: Iterable[str]) -> Unit:
        """Return the unit of a block with these parameters, and with tensors, whose channels are parameters, too."""
        python = {parameter: self.facts.names.python(parameter) for parameter, _ in block.parameters}
        own = [(p, run) for p, run in block.parameters if p in names and trees.same(names[p], trees.name(python[p]))]
        parameters = {python[p]: self.calls.constant(run) for p, run in own}
        titles = [block.name, *(ref for tree in names.values() for ref in trees.references(tree))]
        placed = [python[p] for p, run in own if not run]
        channels = [channels_of(python[p]) for p in tensors]
        given = {p: Labelled(trees.name(python[p]), trees.name(channels_of(python[p]))) for p in tensors}
        if {*channels} & {*parameters, *self.facts.arguments()}:
            raise trees.Unstructured("a parameter has the name of a tensor's channels")
        context = self.calls.inside(block, names, None, given)
        parameters |= dict.fromkeys(channels)
        return self.unit(block.body, context, titles, parameters, placed + channels, [python[p] for p in tensors])

    def lift(self, plan: Plan, flow: Flow) -> None:
        """Add a part of a block as a separate class, with the names that it sees as parameters."""
        context = flow.context
        seen = {own: tree for own, tree in context.names.items() if own in context.own and not trees.known(tree)}
        python = {own: self.facts.names.python(own) for own in seen}
        names = {**context.names, **{own: trees.name(text) for own, text in python.items()}}
        inner = Context(names, context.own, trees.IN_CHANNELS, {})
        unit = self.unit(plan, inner, [flow.label], dict.fromkeys(python.values()))
        self.make(flow, unit, {python[own]: tree for own, tree in seen.items()}, "layers")

    def make(self, flow: Flow, unit: Unit, values: Mapping[str, ast.expr], own: str, *extra: ast.expr) -> None:
        """Add the module of a unit, with arguments by Python names, and the tensors that it takes."""
        flow.add(unit.call(flow.channels, values), own, *extra)
        flow.channels = trees.substituted(unit.out, {**values, "in_channels": flow.channels})

    # Steps

    def walk(self, plan: Plan, flow: Flow) -> None:
        """Write what a plan does to the tensor of the flow, or add its modules."""
        self.steps += 1
        if self.steps > MOST_STEPS:
            raise trees.Unstructured("too much to write in blocks")
        flow.count()
        getattr(self, f"_{type(plan).__name__.lower()}")(plan, flow)

    def apart(self, plan: Plan, context: Context, label: str, extra: bool = False) -> Flow:
        """Return a plan as modules without statements; `extra` says that its only module may take more tensors."""
        made = Flow(context, label)
        self.walk(plan, made)
        if made.extra and not extra:
            raise trees.Unstructured("a label as an argument in a loop or a choice")
        return made

    def _chain(self, plan: Chain, flow: Flow) -> None:
        for step in plan.steps:
            self.walk(step, flow)

    def _label(self, plan: Label, flow: Flow) -> None:
        """Write a labelled step; its output is kept in a variable if a `use` refers to it."""
        around, flow.label = flow.label, plan.name
        flow.flush()
        flow.alone = True
        before = flow.channels
        if plan.name in self.facts.again:  # one module
            made = self.apart(plan.body, flow.context.inside({}), plan.name)
            flow.add(wrapped(made.pending), plan.name)
            flow.channels = made.channels
        else:
            with flow.within(flow.context.inside({})):
                self.walk(plan.body, flow)
        flow.flush(end=True)
        if isinstance(flow, Line) and plan.name in self.facts.used | self.facts.again:
            module = flow.tensor.func if isinstance(flow.tensor, ast.Call) and plan.name in self.facts.again else None
            if plan.name in self.facts.used:
                flow.keep(flow.unit.local(plan.name))
            flow.context.labels[plan.name] = Labelled(flow.tensor, flow.channels, module, before)
        flow.label = around

    def _use(self, plan: Use, flow: Flow) -> None:
        if not isinstance(flow, Line):
            raise trees.Unstructured(f"{plan.label} is labelled elsewhere")
        flow.flush()
        flow.tensor, flow.channels, *_ = flow.context.label(plan.label)

    def _side(self, plan: Side | Outputs, flow: Flow) -> None:
        """Write side outputs, which run only in training, or outputs."""
        if not isinstance(flow, Line) or self.working:
            raise trees.Unstructured("an output in a loop, a choice or the class of a block")
        flow.flush()
        flow.settle()
        for branch in plan.branches:
            label, side = branch.name or "output", isinstance(plan, Side)
            inner = self._branch(branch, flow, label, flow.unit.local(label))
            inner.keep(inner.to)
            flow.block += [ast.If(TRAINING, inner.block, [])] if side else inner.block
            (flow.unit.sides if side else flow.unit.outputs).append(inner.to)
            flow.unit.lines.pop()

    _outputs = _side

    def _again(self, plan: Again, flow: Flow) -> None:
        """Call the module of a labelled step again, on as many channels."""
        step = flow.context.label(plan.label)
        if not isinstance(flow, Line) or not (step.module and step.before and trees.same(step.before, flow.channels)):
            raise trees.Unstructured(f"{plan.label} again in a loop or a choice, or on other channels")
        flow.flush()
        flow.tensor, flow.channels = trees.call(step.module, flow.tensor), step.channels

    def _call(self, plan: Call, flow: Flow) -> None:
        """Add the module of an operator or block (none for `identity`), or write a block's steps inline."""
        block = self.calls.target(plan, flow.context)
        if not isinstance(block, Block):
            module = self.calls.module(plan, block, flow.context)
            if not block.needs_input:
                self._learned(plan, module, flow)
            elif block is not Identity:
                flow.add(module, plan.name, *self.calls.weight(plan, flow.context))
            flow.channels = self.calls.channels(plan, block, flow.context)
            return
        values = self.calls.bind(block, plan, flow.context)
        given = {own: flow.context.label(label) for own, label in self.facts.tensors(plan).items()}
        inside = self.calls.inside(block, values, flow.context, given)
        if not self.in_place(plan, block, inside):
            unit = self.of_block(block, self.calls.symbols(block, values), given)
            python = {self.facts.names.python(own): tree for own, tree in values.items()}
            python |= {channels_of(self.facts.names.python(own)): step.channels for own, step in given.items()}
            self.make(flow, unit, python, plan.name, *(step.tensor for step in given.values()))
            return
        self.inside.append(block.name)
        with flow.within(inside):
            self.walk(block.body, flow)
        self.inside.pop()

    def _learned(self, plan: Call, module: ast.expr, flow: Flow) -> None:
        """Write a tensor that does not depend on the one before."""
        if not isinstance(flow, Line):
            raise trees.Unstructured("a learned tensor in a loop or a choice")
        flow.flush()
        flow.tensor = trees.call(flow.unit.keep(identifier(flow.label, plan.name), module))

    def in_place(self, plan: Call, block: Block, inside: Context) -> bool:
        """Whether to write a block's steps inline: if it needs labels outside, or is only one call."""
        if block.name in self.facts.free_blocks:
            return True
        if len(self.inside) >= DEEPEST or block.name in self.inside:
            return False
        if isinstance(block.body, Repeat) and loop_of(self.facts, block.body, inside).fixed not in (0, 1):
            return False
        single = isinstance(block.body, Call | Choose | Repeat)
        alone = single and all(isinstance(part, Call) for part in parts(block.body) or (block.body,))
        return alone or plan is self.facts.spec.layers

    # Choices and loops

    def _choose(self, plan: Choose, flow: Flow) -> None:
        """Write the side that a test selects, or both sides if each ran for some input."""
        test = Reader(self.facts, plan, flow.context).truth(plan.test.tree)
        if not trees.known(test) and not (self.facts.ran(plan.yes) and self.facts.ran(plan.no)):
            test = trees.const(self.facts.ran(plan.yes))
        if trees.known(test):
            self.walk(plan.yes if ast.literal_eval(test) else plan.no, flow)
            return
        yes, no = (self.apart(side, flow.context, flow.label) for side in (plan.yes, plan.no))
        flow.add(ast.IfExp(test, wrapped(yes.pending), wrapped(no.pending)), yes.first or no.first)
        outs = [side.channels for side in (yes, no) if ITSELF.id not in trees.names_in(side.channels)]
        flow.channels = trees.chosen(test, outs[0], outs[-1]) if outs else ITSELF

    def _repeat(self, plan: Repeat | Each, flow: Flow) -> None:
        """Write a repeat or a chain of rounds: a comprehension if the channels stay equal, else a loop."""
        loop = loop_of(self.facts, plan, flow.context)
        if not loop.rounds or loop.fixed == 1:
            for _ in loop.rounds:
                self.walk(plan.body, flow)
            return
        made = self.apart(plan.body, loop.inner, flow.label, extra=True)
        if made.extra:
            self._with_labels(loop, made, flow)
        elif trees.same(made.channels, flow.channels):
            if made.pending:
                modules = ast.ListComp(wrapped(made.pending), loop.rounds)
                flow.add(ast.Starred(modules, ast.Load()), made.first)
        elif loop.fixed and loop.fixed * len(made.pending) <= MOST_REPEATED:
            self.walk(Chain((plan.body,) * loop.fixed, plan.place), flow)
        elif isinstance(flow, Line):
            self._counting(plan, loop, flow)
        else:
            self.lift(plan, flow)

    _each = _repeat

    def _with_labels(self, loop: Loop, made: Flow, flow: Flow) -> None:
        """Write a loop of a module that takes labels, too, and keeps the channels."""
        if not isinstance(flow, Line) or not trees.same(made.channels, flow.channels):
            raise trees.Unstructured("a label as an argument in a loop that changes the channels")
        flow.flush()
        each = trees.call("nn.ModuleList", ast.ListComp(wrapped(made.pending), loop.rounds))
        kept, layer = flow.unit.keep(identifier(flow.label, made.first), each), flow.unit.local("layer")
        flow.to = flow.to or flow.unit.local(flow.label)
        flow.keep(flow.to)
        call = trees.assign(flow.to, trees.call(layer, flow.tensor, *made.extra))
        flow.block.append(ast.For(ast.Name(layer, ast.Store()), kept, [call], []))

    def _counting(self, plan: Repeat | Each, loop: Loop, line: Line) -> None:
        unit = line.unit
        after = trees.substituted(self.after(plan, loop), unit.values)
        channels = unit.thread(line.channels)
        blocks = numbered("blocks", unit.taken | unit.held())
        made = self.apart(plan.body, loop.inner.at(channels), line.label)
        append = trees.call(trees.attribute(trees.name(blocks), "append"), wrapped(made.pending))
        block: list[ast.stmt] = [ast.Expr(append), trees.assign(channels.id, made.channels)]
        for rounds in reversed(loop.rounds):
            for test in reversed(rounds.ifs):
                block = [ast.If(test, block, [])]
            block = [ast.For(rounds.target, rounds.iter, block, [])]
        unit.init += [trees.assign(blocks, ast.List([], ast.Load())), *block]
        unit.values[channels.id] = after
        line.add(ast.Starred(trees.name(blocks), ast.Load()), made.first)
        line.channels = channels

    def after(self, plan: Repeat | Each, loop: Loop) -> ast.expr:
        """Return the channels after a loop as a formula of those before it."""
        before = loop.inner.channels
        out = self.apart(plan.body, loop.inner.at(ROUND), "").channels
        if ROUND.id in trees.names_in(out):
            grown = trees.grown(out, ROUND)
            return trees.binary(before, ast.Add(), loop.total(grown)) if grown else trees.UNKNOWN
        if loop.varying(out):
            return trees.UNKNOWN
        if self.facts.always(plan):
            return out
        return trees.chosen(loop.times, out, before) if loop.times else trees.UNKNOWN

    # Joins

    def _join(self, plan: Join, flow: Flow) -> None:
        """Write a join as an expression over its branches."""
        if not isinstance(flow, Line):
            self.lift(plan, flow)
            return
        flow.flush()
        flow.settle()
        if isinstance(plan.branches, Each):
            loop = loop_of(self.facts, plan.branches, flow.context)
            made = self.apart(plan.branches.body, loop.inner, flow.label)
            text, module = self.calls.join(plan, flow.context, [made.channels])
            branches = trees.call("nn.ModuleList", ast.ListComp(wrapped(made.pending), loop.rounds))
            kept = flow.unit.keep("branches", branches)
            rounds = [ast.comprehension(ast.Name("branch", ast.Store()), kept, [], 0)]
            of_rounds = ast.ListComp(trees.call("branch", flow.tensor), rounds)
            flow.tensor = joined(text, of_rounds, partial(flow.unit.keep, plan.name, module))
            alike = trees.UNKNOWN if loop.varying(made.channels) else made.channels
            flow.channels = loop.total(made.channels) if self.calls.adds_channels(plan) else alike
            return
        lines = self._branches(plan.branches, flow)
        outs = [line.channels for line in lines]
        text, module = self.calls.join(plan, flow.context, outs)
        tensors = ast.List([line.tensor for line in lines], ast.Load())
        flow.tensor = joined(text, tensors, partial(flow.unit.keep, plan.name, module))
        flow.channels = self.calls.joined_channels(plan, outs)

    def _branches(self, branches: Sequence[Branch], flow: Line) -> list[Line]:
        """Write the branches; if one has statements, all come before the join, in the order in which they run."""
        labels = [identifier(branch.name or str(number), "branch") for number, branch in enumerate(branches, 1)]
        lines = [self._branch(branch, flow, label) for branch, label in zip(branches, labels, strict=True)]
        if any(line.block for line in lines):
            for line in lines:
                line.settle()
                flow.block += line.block
        del flow.unit.lines[-len(lines) :]
        return lines

    def _branch(self, branch: Branch, flow: Line, label: str, to: str = "") -> Line:
        """Write a branch as a separate line."""
        line = Line(flow.context.inside({}), label, around=[*flow.around], unit=flow.unit, to=to, tensor=flow.tensor)
        flow.unit.lines.append(line)
        self.walk(branch.body, line)
        line.flush(end=True)
        return line
