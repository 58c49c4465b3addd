"""Facts about a spec's network, collected before it is written: which steps ran, on which inputs, and the params."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from archcalc.analysis.memory_plan import in_place
from archcalc.codegen.names import PythonNames
from archcalc.codegen.trees import Unstructured, const, name, names_in, references
from archcalc.errors import Place
from archcalc.graph.graph import Graph, Node
from archcalc.ops import REGISTRY, Operator, Shape
from archcalc.spec.arguments import Argument
from archcalc.spec.expansion import Expansion
from archcalc.spec.functions import DIMENSIONS, FUNCTIONS, Tensor
from archcalc.spec.layers import (
    Again,
    Call,
    Choose,
    Each,
    Join,
    Label,
    Outputs,
    Plan,
    Repeat,
    Side,
    Use,
    below,
    parts,
)
from archcalc.spec.network_spec import Block, Spec

LENGTHS = {*DIMENSIONS} - {"in_channels"}  # the names of lengths, which the source does not compute


class Trace(Expansion):
    """An expansion that records the input shapes of each step, and the arguments of each block call."""

    sharing = False

    def __init__(self, spec: Spec) -> None:
        super().__init__(spec)
        self.shapes: dict[int, list[Shape]] = {}  # by the step's id
        self.idle: set[int] = set()  # loops without a round in some run
        self.changing: set[int] = set()  # steps that changed the channels
        self.given: dict[tuple[Any, str], list[Any]] = {}  # by the place of a call, and a parameter

    def run(self, plan: Plan, x: int, *rest: Any) -> int:
        """Run a step and record it."""
        self.shapes.setdefault(id(plan), []).append(self.made[x].output)
        if self.calls and plan is self.calls[-1].block.body:
            for parameter, value in self.calls[-1].given.items():
                self.given.setdefault((self.calls[-1].place[1:], parameter), []).append(value)
        body = id(plan.body) if isinstance(plan, Repeat | Each) else 0
        before = len(self.shapes.get(body, ()))
        y: int = super().run(plan, x, *rest)
        if body and len(self.shapes.get(body, ())) == before:
            self.idle.add(id(plan))
        if self.made[x].output.channels != self.made[y].output.channels:
            self.changing.add(id(plan))
        return y


class Facts:
    """The facts about a spec's network: its graph, what ran, and the params that can be arguments of the source."""

    def __init__(self, spec: Spec, graph: Graph, trace: Trace, definitions: Mapping[str, Any]) -> None:
        self.spec = spec
        self.graph = graph
        self.trace = trace
        blocks = spec.blocks.values()
        self.plans = [plan for body in (spec.layers, *(block.body for block in blocks)) for plan in below(body)]
        self.trees = [tree for plan in below(spec.layers) for tree in _written(plan)]
        seen: set[str] = set()  # names in blocks from outside
        for block in blocks:
            own = [tree for plan in below(block.body) for tree in _written(plan)]
            own += [run.tree for _, run in block.parameters if run]
            self.trees += own
            seen |= names_in(*own) - {parameter for parameter, _ in block.parameters}
        self.layers: dict[Any, list[tuple[int, Node]]] = {}  # by line, column and width, and by operator
        for position, node in enumerate(graph.nodes):
            self.layers.setdefault((node.place and node.place[1:], node.op.name), []).append((position, node))
        self.in_place = may_overwrite(graph)
        self.params = {key: const(value) for key, value in graph.about.params.items()}
        values = [*self.params.values(), *(const(value) for given in trace.given.values() for value in given)]
        lists = (part for tree in (*values, *self.trees) for part in ast.walk(tree))
        self.lists_of_one = any(isinstance(part, ast.List | ast.Tuple) and len(part.elts) == 1 for part in lists)
        self.values = {own for tree in self.params.values() for own in references(tree)} | names_in(*self.trees)
        self.free_blocks: set[str] = set()  # blocks that need labels outside, or have side outputs
        while more := {block.name for block in blocks if self._free(block)} - self.free_blocks:
            self.free_blocks |= more
        labels = [self.tensors(plan) for plan in self.plans]
        again = [plan.label for plan in self.plans if isinstance(plan, Again)]
        self.again = {*again, *(own["weight"] for own in labels if "weight" in own)}  # labels of modules that run again
        self.used = {plan.label for plan in self.plans if isinstance(plan, Use)}  # labels of tensors
        self.used |= {label for own in labels for key, label in own.items() if key != "weight"}
        hidden = {parameter for block in blocks for parameter, _ in block.parameters}
        self.names = PythonNames({*definitions, *hidden})
        self.fixed = (hidden & seen) | {key for key, tree in self.params.items() if any(references(tree))}
        self.fixed |= self._defining(definitions) | self._deciding({*self.params, *FUNCTIONS} - hidden)

    # Params

    def arguments(self) -> dict[str, ast.expr]:
        """Return the params that can be arguments: values by Python name."""
        return {self.names.python(key): tree for key, tree in self.params.items() if key not in self.fixed}

    def base(self) -> dict[str, ast.expr]:
        """Return the spec's params as they are in the source: names, or values."""
        return {key: tree if key in self.fixed else name(self.names.python(key)) for key, tree in self.params.items()}

    def _defining(self, definitions: Mapping[str, Any]) -> set[str]:
        """Return the params that define other params or the input's shape: arguments would silently change those."""
        mentioned = names_in(*self.trees) | {plan.name for plan in self.plans if isinstance(plan, Call)}
        shapes = [own.sizes for own in self.spec.inputs.values()]
        runs = [*shapes, *(run for key, run in definitions.items() if key in mentioned)]
        return names_in(*(run.tree for run in runs)) & {*definitions}

    def _deciding(self, alone: set[str]) -> set[str]:
        """Return the params that may decide what the source omits: steps that did not run, tests of params `alone`."""
        found = {own for plan in self.plans if self.ran(plan) for own in self._decided(plan)}
        tests = [part.test for tree in self.trees for part in ast.walk(tree) if isinstance(part, ast.IfExp)]
        tests += [plan.test.tree for plan in self.plans if isinstance(plan, Choose)]
        found |= {own for test in tests if names_in(test) <= alone for own in names_in(test)}
        flows: dict[str, set[str]] = {}
        for own, tree in self._flows():
            flows.setdefault(own, set()).update(names_in(tree))
        while more := {own for name in found for own in flows.get(name, ())} - found:
            found |= more
        return {*self.params} if found & LENGTHS else found

    def _decided(self, plan: Plan) -> set[str]:
        """Return the names that decided that a part of a step did not run, and the dimensions that the step reads."""
        names = names_in(*_written(plan))
        choice = isinstance(plan, Repeat) and isinstance(plan.count.tree, ast.IfExp)
        choice |= isinstance(plan, Choose | Repeat | Each) and not all(map(self.ran, parts(plan)))
        return names if choice else names & LENGTHS

    def _flows(self) -> Iterator[tuple[str, ast.expr]]:
        """Yield the names of blocks and loops, and `in_channels`, each with an expression that gives it values."""
        for block in self.spec.blocks.values():
            yield from ((parameter, run.tree) for parameter, run in block.parameters if run)
        loops = (loop for tree in self.trees for part in ast.walk(tree) for loop in getattr(part, "generators", ()))
        yield from ((own, loop.iter) for loop in loops for own in names_in(loop.target))
        for plan in self.plans:
            for callee in self.callees(plan):
                yield from ((own, a.value.tree) for own, a in arguments(callee.parameters, plan).items())
            if isinstance(plan, Repeat | Each) and id(plan.body) in self.trace.changing:
                yield from (("in_channels", tree) for tree in _written(plan))
            if isinstance(plan, Call) and plan.name in REGISTRY:
                written = arguments(fields(REGISTRY[plan.name]).items(), plan)
                yield from (("in_channels", a.value.tree) for own, a in written.items() if own == "out_channels")

    # Blocks

    def callees(self, plan: Plan) -> list[Block]:
        """Return the blocks that a call may run; if a parameter names the block, all blocks that are used as values."""
        if not isinstance(plan, Call) or plan.name in REGISTRY:
            return []
        own = {plan.name} if plan.name in self.spec.blocks else self.values
        return [block for block in self.spec.blocks.values() if block.name in own]

    def _free(self, block: Block) -> bool:
        """Whether a block, or one that it calls, has side outputs or uses labels outside of it."""
        plans = [*below(block.body)]
        labels = {plan.name for plan in plans if isinstance(plan, Label)} | {own for own, _ in block.parameters}
        callees = {callee.name for plan in plans for callee in self.callees(plan)}
        own = any(
            isinstance(plan, Side | Outputs) or (isinstance(plan, Use | Again) and plan.label not in labels)
            for plan in plans
        )
        return own or bool(callees & self.free_blocks)

    def tensors(self, plan: Plan) -> dict[str, str]:
        """Return the labels that a call gives to a block, by parameter, and a label whose weight it takes."""
        if not isinstance(plan, Call):
            return {}
        found = {key: a for block in self.callees(plan) for key, a in arguments(block.parameters, plan).items()}
        found = {key: a for key, a in found.items() if self._tensor(self.trace.given.get((plan.place[1:], key), ()))}
        if plan.name in REGISTRY and REGISTRY[plan.name].tied:
            found = {a.keyword: a for a in plan.named if a.keyword == "weight"}
        return {key: ast.unparse(a.value.tree) for key, a in found.items()}

    def _tensor(self, values: Iterable[Any]) -> bool:
        return any(isinstance(value, Tensor) for value in values)

    # What ran

    def ran(self, plan: Plan) -> bool:
        """Whether a step ever ran."""
        return id(plan) in self.trace.shapes

    def always(self, plan: Plan) -> bool:
        """Whether a loop had at least one round in each run."""
        return self.ran(plan) and id(plan) not in self.trace.idle

    def dimension(self, plan: Plan, text: str) -> int:
        """Return `in_height` or another length of a plan. Raises Unstructured if it differs between runs."""
        found: int = one({shape.size(DIMENSIONS[text]) for shape in self.trace.shapes.get(id(plan), ())}, text)
        return found

    def nodes(self, place: Place, op: str) -> list[tuple[int, Node]]:
        """Return the layers of an operator from a place in the spec. Raises Unstructured if there are none."""
        if (place[1:], op) not in self.layers:
            raise Unstructured(f"{op} never runs")
        return self.layers[place[1:], op]


def one(values: set[Any], what: str) -> Any:
    """Return the only value. Raises Unstructured if there are several."""
    if len(values) != 1:
        raise Unstructured(f"{what} differs from one run to another")
    return next(iter(values))


def arguments(names: Iterable[tuple[str, Any]], plan: Any) -> dict[str, Argument]:
    """Return the arguments of a call by the names of a block's parameters or an operator's fields."""
    own = [name for name, _ in names]
    return dict(zip(own, plan.positional, strict=False)) | {a.keyword: a for a in plan.named if a.keyword in own}


def fields(cls: type[Operator]) -> dict[str, str]:
    """Return the kinds of an operator's arguments by name, in order."""
    return {name: kind.partition(" | ")[0] for name, kind in cls.types.items()}


def may_overwrite(graph: Graph) -> set[int]:
    """Return the nodes that can work in place both in training and at inference."""
    training = in_place(graph, True)
    inference = iter(in_place(graph.without_sides(), False))
    return {i for i, node in enumerate(graph.nodes) if training[i] & (node.side or next(inference))}


def _written(plan: Plan) -> Iterator[ast.expr]:
    """Yield the expressions of a plan itself."""
    if isinstance(plan, Call | Join):
        yield from (argument.value.tree for argument in (*plan.positional, *plan.named))
    if isinstance(plan, Repeat | Choose | Each):
        run: Any = plan.count if isinstance(plan, Repeat) else plan.test if isinstance(plan, Choose) else plan.rounds
        yield run.tree
