"""All units of one network: what they know of each other, found in passes until nothing changes."""

from __future__ import annotations

import ast
from collections.abc import Collection, Sequence
from typing import Any

from archcalc.codegen.flow import Flow
from archcalc.codegen.operators import may_overwrite
from archcalc.codegen.symbols import Unstructured, const, mentions, name
from archcalc.codegen.trace import Piece, Run, Trace, rounds
from archcalc.codegen.unit import IN_CHANNELS, Made, Unit
from archcalc.codegen.values import Site, safe
from archcalc.graph import Graph
from archcalc.language.expression import Written, tree_of
from archcalc.language.plan import Call, Chain, Choose, Each, Join, Label, Plan, Repeat, Side, Use
from archcalc.ops import Operator

PASSES = 12  # the zoo takes 2; a pass more for params that only then turn out to decide something


class Program:
    """The units of a network. Raises Unstructured where it cannot be put into blocks."""

    def __init__(self, trace: Trace, graph: Graph, network: str, fixed: Collection[str] = ()) -> None:
        self.trace = trace
        self.graph = graph
        self.piece = trace.main(network)
        if self.piece.needs:
            raise Unstructured("a label without layers")
        self.values: dict[str, Any] = dict(trace.globals)
        self.static = {text for text, value in self.values.items() if not _is_numeric(value)} | set(fixed)
        self.outputs: dict[Any, ast.expr | None] = {}
        self.guessing = True  # in the first pass nothing is known of a block that calls itself
        self.allowed = may_overwrite(graph)
        self.units: dict[Any, Unit] = {}
        self.main = self.passes()

    def passes(self) -> Unit:
        """The network's unit, once params and channels are settled."""
        for _ in range(PASSES):
            self.units = {}
            main = self.built(Unit(self, self.piece), self.entry())
            outputs = {key: unit.output for key, unit in self.units.items()}
            fixed = self.taint() - self.static
            if not fixed and not self.guessing and _alike(outputs, self.outputs):
                return main
            self.outputs, self.guessing = outputs, False
            self.static |= fixed
        raise Unstructured("channels that cannot be settled")

    @property
    def params(self) -> dict[str, Any]:
        """The spec's params that are arguments of the source, by their names in Python."""
        return {safe(text): value for text, value in self.values.items() if text not in self.static}

    def entry(self) -> ast.expr:
        """The image's channels: as the spec writes them, where the input is its own."""
        shape = self.graph.input
        own = self.trace.spec.input
        written = tree_of(own) if isinstance(own, Written) else None
        standard = written is not None and own(self.trace.globals) == shape
        if standard and isinstance(written, ast.List | ast.Tuple) and isinstance(written.elts[0], ast.Name):
            return self.param(written.elts[0].id)
        return const(shape[0])

    def param(self, text: str) -> ast.expr:
        """A param of the spec: its value, or an argument."""
        if text not in self.values:
            raise Unstructured(f"{text} as a value")
        return const(self.values[text]) if text in self.static else name(safe(text))

    def operators(self, runs: Sequence[Run]) -> list[Operator]:
        """The operators that these runs made."""
        return [self.graph.nodes[run.y].op for run in runs]

    def in_place(self, runs: Sequence[Run]) -> bool:
        """Whether an operator asks to work in place, and may wherever it stands."""
        return all(getattr(self.graph.nodes[run.y].op, "inplace", False) and run.y in self.allowed for run in runs)

    def pure(self, plan: Plan, runs: Sequence[Run]) -> bool:
        """Whether a part of the plan is modules one after the other."""
        if isinstance(plan, Call):
            return not any(run.callee and (run.callee.needs or run.callee.sides) for run in runs)
        if isinstance(plan, Chain):
            return all(self.pure(step, [run.inner[i] for run in runs]) for i, step in enumerate(plan.steps))
        if isinstance(plan, Label) and plan.name in self.trace.labels_used:
            return False
        if isinstance(plan, Join | Side | Use):
            return False
        inner = rounds(runs)
        if isinstance(plan, Choose):
            yes = [run for run in inner if run.plan is plan.yes]
            no = [run for run in inner if run.plan is not plan.yes]
            return (not yes or self.pure(plan.yes, yes)) and (not no or self.pure(plan.no, no))
        return not inner or self.pure(plan.body, inner)

    def is_chain(self, plan: Plan, runs: Sequence[Run]) -> bool:
        """Whether it is modules one after the other, with classes made of what branches in a loop or choice."""
        if isinstance(plan, Chain):
            return all(self.is_chain(step, [run.inner[i] for run in runs]) for i, step in enumerate(plan.steps))
        if self.pure(plan, runs):
            return True
        chosen = isinstance(plan, Choose) and len({run.inner[0].plan is plan.yes for run in runs}) > 1
        return (chosen or isinstance(plan, Repeat | Each)) and self.closed(runs)

    @staticmethod
    def closed(runs: Sequence[Run]) -> bool:
        """Whether nothing in a loop or choice leads outside."""
        for own in rounds(runs):
            for run in (own, *own.below()):
                if isinstance(run.plan, Side) or (isinstance(run.plan, Use) and run.y < own.start):
                    return False
        return True

    def unit(self, piece: Piece) -> Unit:
        """The unit of a block."""
        if piece.key not in self.units:
            self.built(Unit(self, piece), name(IN_CHANNELS))
        return self.units[piece.key]

    def apart(self, parent: Unit, plan: Plan, site: Site) -> Unit:
        """A unit for a part of another: one made for more runs or other names does, if it can be given these."""
        start = (*parent.piece.key, id(plan))
        known = [unit for key, unit in self.units.items() if key[: len(start)] == start]
        fit = [unit for unit in known if unit.piece.body is plan and unit.fits(site)]
        key = fit[0].piece.key if fit else (*start, len(known))
        if key not in self.units:
            piece = Piece(key, parent.piece.label, plan)
            piece.runs = list(site.runs)
            for run in site.runs:
                run.outside = run.outside or run.owner
                _own(run, run)
            unit = Unit(self, piece, dict(site.names))
            taken = {*self.params, IN_CHANNELS}
            used = [text for value in site.names.values() for text in mentions(value)]
            unit.own = {text: None for text in used if text not in taken}
            unit.own |= {text: None for text in parent.own | parent.local if text in used}
            self.built(unit, name(IN_CHANNELS))
        return self.units[key]

    def built(self, unit: Unit, channels: ast.expr) -> Unit:
        """Translate a unit's body."""
        self.units[unit.piece.key] = unit
        unit.output = self.outputs.get(unit.piece.key)
        body, runs = unit.piece.body, unit.piece.runs
        if self.is_chain(body, runs) and not _labelled(body):
            items = unit.make(body, unit.site(channels))
            unit.items, unit.output = items.made, items.channels
        else:
            Flow(unit, channels, unit.piece is self.piece).build()
        return unit

    def taint(self) -> set[str]:
        """Params on which something depends that was taken for granted."""
        sources = _Sources(self)
        return {text for unit in self.units.values() for tree in unit.assumed for text in sources.of(unit, tree)}


class _Sources:
    """Which params a value comes from, through all calls."""

    def __init__(self, program: Program) -> None:
        self.params = {safe(text): text for text in program.values if text not in program.static}
        self.loops: dict[Unit, dict[str, set[str]]] = {}
        self.calls: dict[Unit, list[tuple[Unit, Made]]] = {}
        for unit in program.units.values():
            self.loops[unit] = {}
            for node in unit.nodes():
                self._note(unit, node)

    def _note(self, unit: Unit, node: ast.AST) -> None:
        if isinstance(node, Made):
            self.calls.setdefault(node.unit, []).append((unit, node))
        if isinstance(node, ast.comprehension):
            for text in mentions(node.target):
                self.loops[unit].setdefault(text, set()).update(mentions(node.iter))

    def of(self, unit: Unit, tree: ast.expr) -> set[str]:
        """The params that an expression of a unit depends on."""
        seen: set[tuple[Unit, str]] = set()
        waiting = [(unit, text) for text in mentions(tree)]
        found = set()
        while waiting:
            at, text = waiting.pop()
            if (at, text) in seen:
                continue
            seen.add((at, text))
            if text in self.params and text not in at.own and text not in at.local:
                found.add(self.params[text])
            waiting += self._behind(at, text)
        return found

    def _behind(self, unit: Unit, text: str) -> list[tuple[Unit, str]]:
        """The names that a name of a unit gets its value from."""
        found = [(unit, other) for other in self.loops[unit].get(text, ())]
        trees = [(unit, tree) for tree in (unit.local.get(text), unit.own.get(text)) if tree is not None]
        trees += [(caller, made.given[text]) for caller, made in self.calls.get(unit, []) if made.given.get(text)]  # type: ignore[misc]  # just asked
        return found + [(at, other) for at, tree in trees for other in mentions(tree)]


def _own(run: Run, owner: Run) -> None:
    """Make a run and all in it, blocks that it calls apart, belong to an owner."""
    run.owner = owner
    if run.callee is None:
        for inner in run.inner:
            _own(inner, owner)


def _labelled(plan: Plan) -> bool:
    steps = plan.steps if isinstance(plan, Chain) else (plan,)
    return any(isinstance(step, Label) for step in steps)


def _is_numeric(value: Any) -> bool:
    if isinstance(value, tuple):
        return all(map(_is_numeric, value))
    return isinstance(value, int | float) and not isinstance(value, bool)


def _alike(left: dict[Any, ast.expr | None], right: dict[Any, ast.expr | None]) -> bool:
    def dumped(outputs: dict[Any, ast.expr | None]) -> dict[Any, str]:
        return {key: ast.dump(tree) if tree is not None else "" for key, tree in outputs.items()}

    return dumped(left) == dumped(right)
