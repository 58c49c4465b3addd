"""Run a plan: call blocks, compute the shapes of layers, and build the graph node by node."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from archcalc.errors import MisfitError, Place, Refusal, SpecError, shorten
from archcalc.graph.graph import NONE, Graph, Node, Origin
from archcalc.ops import REGISTRY, Input, Operator, Shape, operator_hint
from archcalc.ops.arguments import show
from archcalc.spec.arguments import Arguments
from archcalc.spec.binding import (
    Called,
    GivenInput,
    count_of,
    evaluate,
    operator_with,
    output_of,
    parameters_of,
    place_of,
    settle_inputs,
    settle_params,
)
from archcalc.spec.equal_calls import Expanded, Kept, Made, kept_for
from archcalc.spec.functions import LEAST_STEPS, Budget, Fault, Names, Reference, Tensor, leaves, references
from archcalc.spec.in_play import join_misfit
from archcalc.spec.layers import Again, Branch, Call, Chain, Choose, Each, Join, Label, Outputs, Plan, Repeat, Side, Use
from archcalc.spec.network_spec import Block, Spec
from archcalc.spec.node_names import LABELLED, RUNNING, Scope, bounded
from archcalc.spec.reading import require_alike, require_read
from archcalc.spec.sharing import Step, share_all, tied

MAX_NODES = 200_000
MAX_CALLS = 40  # nested calls of blocks


def expand(
    spec: Spec, network: str, overrides: Mapping[str, Any] = NONE, inputs: GivenInput | None = None, name: str = ""
) -> Graph:
    """Expand a network of a spec to its graph; `name` is the graph's name, if given.

    `overrides` maps params to expressions or plain values. Raises SpecError with place and trail.
    """
    expansion = Expansion(spec)
    try:
        return expansion.graph(network, overrides, inputs, name or network)
    except SpecError as error:
        error.trail = tuple(expansion.trail())
        raise
    except RecursionError:
        place = expansion.calls[-1].place if expansion.calls else None
        raise SpecError("layers nested too deeply", place, trail=expansion.trail()) from None
    finally:
        expansion.budget.close(LEAST_STEPS)


class Frame(NamedTuple):
    """What a plan runs in: the names that its expressions see, and the scope in which its layers get their names."""

    names: Names
    scope: Scope
    alone: bool = False  # whether the scope belongs to this plan only


class Expansion:
    """One expansion of a spec, by `graph`. Every step goes through `run`, which a subclass may override.

    The first of equal calls of a block runs, the others copy its nodes: calls with equal arguments and inputs, at the
    same depth of calls, that read equal params. This requires that no `use` in the block refers to a label outside,
    that no side output is dropped, and that a block without its own scope calls none with one. With `sharing = False`
    every call runs.
    """

    sharing = True

    def __init__(self, spec: Spec) -> None:
        self.spec = spec
        self.made: list[Made] = []
        self.calls: list[Called] = []
        self.side = False
        self.ends: list[int] = []  # the nodes of side outputs
        self.misfit: MisfitError | None = None
        self.library: dict[str, Block | type[Operator]] = {**spec.blocks}  # and the operators that are called
        self.budget = Budget()
        self.globals = Names({}, references((*REGISTRY, *spec.blocks)), self.budget)
        self.opened = 0  # calls of blocks with their own scope
        self.reached: list[int] = []  # the nodes that `use` refers to; -1 for a dropped side output
        self.outputs: dict[str, int] = {}  # the nodes of outputs, by the names of their branches
        self.passed = -1  # the node that an `outputs` step passed on last

    def graph(self, network: str, overrides: Mapping[str, Any], inputs: GivenInput | None, name: str) -> Graph:
        """Expand a network like `expand`, but raise errors without a trail."""
        changed = settle_params(self.spec, network, overrides, self.globals)
        shapes, given = settle_inputs(self.spec, inputs, self.globals)
        root = Scope(None, "", 0)
        self.sharing &= not any(hasattr(size, "tolist") for shape in shapes.values() for size in shape)  # columns
        self.kept = kept_for(self.spec, self.globals) if self.sharing else Kept()
        for label, shape in shapes.items():
            self._input(label, shape, root)
        end = self.run(self.spec.layers, 0, Frame(self.globals, root, alone=True))
        outputs = self.outputs if end == self.passed else {"output": end} | self.outputs
        about = self.spec.about._replace(params=dict(self.globals))
        origin = Origin(self.spec.text, self.spec.path, network, changed, given)
        results, sides = tuple(outputs.values()), tuple(dict.fromkeys(self.ends))
        require_read(self.made, len(shapes), {*results}, {*sides})
        require_alike(self.made)
        names = tuple(outputs) if len(outputs) > 1 else ()
        return Graph(name, tuple(self._named()), results, about, sides, self.misfit, origin, names)

    def _input(self, label: str, shape: Shape, root: Scope) -> None:
        """Add an input; its name is a label."""
        first = self._add(root, label or "input", Input(shape), (), (), shape, None)
        if label:
            root.labels[label] = first
            self.made[-1] = self.made[-1]._replace(number=LABELLED, place=self.spec.inputs[label].sizes.place)

    def _named(self) -> list[Node]:
        return [
            Node(bounded(scope.entry(base, number), place), op, inputs, x, output, place, side, shared)
            for scope, base, number, op, inputs, x, output, place, side, shared in self.made
        ]

    def trail(self) -> list[str]:
        """Return the running calls, the innermost first."""
        return [*map(str, reversed(self.calls))]

    def _add(
        self, scope: Scope, base: str, op: Operator, inputs: tuple[int, ...], x: Any, output: Shape, place: Place | None
    ) -> int:
        if len(self.made) >= MAX_NODES:
            raise SpecError(f"more than {MAX_NODES:,} layers", place)
        self.made.append(Made(scope, base, scope.enter(base), op, inputs, x, output, place, self.side))
        return len(self.made) - 1

    def run(self, plan: Plan, x: int, frame: Frame) -> int:
        """Run a plan on node `x`. Returns the node of the output."""
        self.budget.left -= 1
        if self.budget.left < 0:
            self._pay(None, plan.place)
        return HANDLERS[type(plan)](self, plan, x, frame)

    def _pay(self, value: Any, place: Place) -> None:
        """Take a step from the budget, or for a list one per value, since an operator reads all of them."""
        try:
            self.budget.spend(leaves(value))
        except Fault as fault:
            raise SpecError(f"the network {fault}", place) from None

    def _seen(self, x: int, frame: Frame) -> Names:
        """Return the names that an expression sees in a layer with the input `x`."""
        frame.names.shape = self.made[x].output
        return frame.names

    def _chain(self, plan: Chain, x: int, frame: Frame) -> int:
        frame = Frame(frame.names, frame.scope) if frame.alone else frame
        for step in plan.steps:
            x = self.run(step, x, frame)
        return x

    def _repeat(self, plan: Repeat, x: int, frame: Frame) -> int:
        frame, count = Frame(frame.names, frame.scope), count_of(plan, self._seen(x, frame), MAX_NODES)
        for _ in range(count):
            x = self.run(plan.body, x, frame)
        return x

    def _choose(self, plan: Choose, x: int, frame: Frame) -> int:
        return self.run(plan.yes if plan.test.run(self._seen(x, frame)) else plan.no, x, frame)

    def _each(self, plan: Each, x: int, frame: Frame) -> int:
        for names in plan.rounds.run(self._seen(x, frame)):
            x = self.run(plan.body, x, Frame(names, frame.scope))
        return x

    def _label(self, plan: Label, x: int, frame: Frame) -> int:
        labels = frame.scope.labels
        if plan.name in labels:
            raise SpecError(f"the label {plan.name} is used twice here", plan.place, "give each step its own label")
        labels[plan.name] = RUNNING
        before = len(self.made)
        labels[plan.name] = y = self._within(plan.name, LABELLED, plan.body, x, frame.names, frame.scope)
        frame.scope.steps[plan.name] = Step(plan.body, frame.names, range(before, len(self.made)))
        return y

    def _within(
        self, base: str, number: int, body: Plan, x: int, names: Names, scope: Scope, outer: Scope | None = None
    ) -> int:
        """Run a plan in a new scope, with the labels of `outer`; a single layer gets the name of the scope."""
        before, inner = len(self.made), Scope(scope, base, number, outer)
        y = self.run(body, x, Frame(names, inner, alone=True))
        if len(self.made) == before + 1 and self.made[-1].scope is inner:
            self.made[-1] = self.made[-1]._replace(scope=scope, base=base, number=number)
        return y

    def _join(self, plan: Join, x: int, frame: Frame) -> int:
        before, ways = len(self.made), self._ways(plan, self._seen(x, frame))
        ends = [self._branch(way, "branch", x, names, frame.scope) for way, names in ways]
        shapes = tuple([self.made[end].output for end in ends])
        op = self._operator(plan, REGISTRY[plan.name], evaluate(plan, self._seen(x, frame), frame.scope), 2)
        try:
            output = output_of(op, shapes)
        except Refusal as error:
            branches = [(way.name or f"branch {i}", way.place) for i, (way, _) in enumerate(ways, 1)]
            raise join_misfit(self.spec, op, branches, shapes, self.made[before:], str(error)) from None
        return self._add(frame.scope, plan.name, op, tuple(ends), shapes, output, plan.place)

    def _branch(self, way: Branch, base: str, x: int, names: Names, scope: Scope) -> int:
        number = scope.enter_branch(way.name) if way.name else scope.enter(base)
        return self._within(way.name or base, number, way.body, x, names, scope)

    def _ways(self, plan: Join, names: Names) -> list[tuple[Branch, Names]]:
        """Return branches with the names that each sees."""
        if isinstance(each := plan.branches, Each):
            ways = [(Branch(None, each.body, each.place), inner) for inner in each.rounds.run(names)]
            if not ways:
                raise SpecError(f"{plan.name} has no branches", plan.place)
            return ways
        return [(branch, names) for branch in plan.branches]

    def _sides(self, plan: Side, x: int, frame: Frame) -> int:
        before, self.side = self.side, True
        for branch in plan.branches:
            self._side_output(branch, x, frame)
        self.side = before
        return x

    def _side_output(self, branch: Branch, x: int, frame: Frame) -> None:
        """Run a side output; if its layers do not accept this input, drop it: inference does not need it."""
        made, calls, ends = len(self.made), len(self.calls), len(self.ends)
        try:
            end = self._branch(branch, "side", x, frame.names, frame.scope)
        except MisfitError as error:
            error.trail = tuple(self.trail())
            error.__context__ = error.__traceback__ = None  # they refer to this object
            self.misfit = self.misfit or error
            del self.made[made:], self.calls[calls:], self.ends[ends:]
            self.reached.append(-1)
            return
        if end < made:
            raise SpecError("a side output has no layers", branch.place)
        self.ends.append(end)

    def _outputs(self, plan: Outputs, x: int, frame: Frame) -> int:
        for position, branch in enumerate(plan.branches, 1):
            name = branch.name or f"output{position}"
            if name in self.outputs:
                raise SpecError(f"two outputs are named {name}", branch.place, "give each output its own name")
            if self.side:
                raise SpecError("a side output cannot have outputs", plan.place)
            self.outputs[name] = self._branch(branch, "output", x, frame.names, frame.scope)
        self.passed = x
        self.reached.append(-1)  # a copy of these nodes would be no output
        return x

    def _use(self, plan: Use, x: int, frame: Frame) -> int:
        bound, label = frame.names.value(plan.label), plan.label
        if isinstance(bound, Reference) and not frame.scope.labelling(label):
            label = bound.name  # an argument that names a label, and an operator or block, too
        scope = None if isinstance(bound, Tensor) else frame.scope.labelled(label, "use", plan.place)
        target = scope.labels[label] if scope else bound.node
        if self.made[target].side and not self.side:
            raise SpecError(f"{plan.label} is on a side output, which does not exist at inference", plan.place)
        self.reached.append(target)
        return target

    def _again(self, plan: Again, x: int, frame: Frame) -> int:
        """Run a labelled step again; each layer has the weights of its first run."""
        scope, before = frame.scope.labelled(plan.label, "again", plan.place), len(self.made)
        if plan.label not in scope.steps:
            raise SpecError(f"{plan.label} is an input, which has no weights", plan.place, f"write use({plan.label})")
        step, base = scope.steps[plan.label], f"{plan.label}_again"
        y = self._within(base, frame.scope.enter(base), step.body, x, step.names, frame.scope, scope)
        share_all(self.made, step.nodes, range(before, len(self.made)), plan.label, plan.place)
        self.reached.append(step.nodes.start)
        return y

    def _call(self, plan: Call, x: int, frame: Frame) -> int:
        target, shape = self._target(plan, frame), self.made[x].output
        frame.names.shape = shape
        given = plan.constant or evaluate(plan, frame.names, frame.scope)
        if isinstance(target, Block):
            return self._shared(plan, target, given, x, frame)
        for values in given.lists:
            self._pay(values, plan.place)
        if isinstance(given.keywords.get("weight"), Tensor):
            return self._tied(plan, target, given, x, frame)
        if not target.needs_input:
            x, shape = -1, Shape()
        key = target, given.text, shape
        if key not in self.kept.layers:
            self.kept.layers[key] = self._layer(plan, target, given, shape)
        op, output = self.kept.layers[key]
        return self._add(frame.scope, target.name, op, (x,) if x >= 0 else (), shape, output, plan.place)

    def _tied(self, plan: Call, cls: type[Operator], given: Arguments, x: int, frame: Frame) -> int:
        """Add a layer with the weight of another one: `linear(1000, weight=tokens)`."""
        tensor, x_shape = given.keywords["weight"], self.made[x].output
        rest = {name: value for name, value in given.keywords.items() if name != "weight"}
        op, output = self._layer(plan, cls, given._replace(keywords=rest), x_shape)
        shared = tied(self.made, op, x_shape, tensor, place_of(plan, "weight"))
        self.reached.append(shared.node)
        at = self._add(frame.scope, cls.name, op, (x,), x_shape, output, plan.place)
        self.made[at] = self.made[at]._replace(shared=shared)
        return at

    def _target(self, plan: Call, frame: Frame) -> Block | type[Operator]:
        try:
            named = frame.names[plan.name]
        except KeyError:
            label = f"write use({plan.name})" if frame.scope.labelling(plan.name) else ""
            hint = label or operator_hint(plan.name, self.globals.library) or "`archcalc ops` lists the operators"
            raise SpecError(f"unknown operator or block {shorten(plan.name)}", plan.place, hint) from None
        if not isinstance(named, Reference):
            hint = f"write use({plan.name})" if isinstance(named, Tensor) else ""
            raise SpecError(f"an operator or block is needed here, but {plan.name} is {show(named)}", plan.place, hint)
        if named.name not in self.library:
            self.library[named.name] = REGISTRY[named.name]
        target = self.library[named.name]
        if isinstance(target, type) and target.joins:
            raise SpecError(f"{named.name} needs branches", plan.place, f"write {named.name}(a, b) itself")
        return target

    def _layer(self, plan: Call, cls: type[Operator], given: Arguments, shape: Shape) -> tuple[Operator, Shape]:
        if cls is Input:
            raise SpecError("input is not a step", plan.place, "use(label) gives the output of an earlier step")
        op = self._operator(plan, cls, given, len(shape.lengths) or 2)
        try:
            return op, output_of(op, shape)
        except Refusal as error:
            message = str(error) if str(error).startswith(f"{cls.name} ") else f"{cls.name}: {error}"
            raise MisfitError(message, plan.place) from None

    def _operator(self, plan: Call | Join, cls: type[Operator], given: Arguments, axes: int) -> Operator:
        """Return an operator with these arguments; calls with the same text share one object."""
        key = cls, given.text, axes
        if key not in self.kept.operators:
            self.kept.operators[key] = operator_with(plan, cls, given, axes)
        return self.kept.operators[key]

    def _shared(self, plan: Call, block: Block, given: Arguments, x: int, frame: Frame) -> int:
        """Run a block call, or copy the nodes of an equal call. A plain chain merges into the scope around it."""
        own = block.structured
        self.opened += own
        scope = Scope(frame.scope, "", frame.scope.enter("")) if own and not frame.alone else frame.scope
        key = block.name, given.text, self.made[x].output, self.side, len(self.calls)
        known = self.kept.expanded.get(key)
        if known and known.fits(self.globals, MAX_NODES - len(self.made), self.budget.left):
            return self._copy(known, x, scope)
        made, ends, reached = len(self.made), len(self.ends), len(self.reached)
        left, opened = self.budget.left, self.opened
        around, self.globals.read = self.globals.read, {}
        y = self._block(plan, block, given, x, scope, own or frame.alone)
        read, self.globals.read = self.globals.read, around
        around.update(read)
        whole = (own or self.opened == opened) and min(self.reached[reached:], default=made) >= made
        if self.sharing and whole:
            nodes, ends_here, steps = self.made[made:], self.ends[ends:], left - self.budget.left
            self.kept.expanded[key] = Expanded(scope if own else None, made, nodes, ends_here, y, steps, read)
        return y

    def _block(self, plan: Call, block: Block, given: Arguments, x: int, scope: Scope, alone: bool) -> int:
        """Run a block call in a scope, which may belong to it alone."""
        bound = parameters_of(plan, block, given)
        self.calls.append(Called(block, bound, plan.place))
        if len(self.calls) > MAX_CALLS:
            raise SpecError(f"more than {MAX_CALLS} nested block calls", plan.place, "does a block call itself?")
        names = self.globals.inner(bound, self.made[x].output)
        for parameter, default in block.parameters:
            if parameter not in bound and default is not None:
                names[parameter] = default.run(names)
        y = self.run(block.body, x, Frame(names, scope, alone))
        self.calls.pop()
        return y

    def _copy(self, known: Expanded, x: int, scope: Scope) -> int:
        """Copy the nodes of an equal call to node `x`, and take their steps. Returns the node of the output."""
        first, shift = known.first, len(self.made) - known.first
        scopes = {known.scope: scope.named_as(known.scope)} if known.scope else {}
        for own, base, number, op, inputs, x_shape, output, place, side, shared in known.made:
            moved = tuple([x if i < first else i + shift for i in inputs])
            weights = shared and shared._replace(node=shared.node + shift)
            to, count = (own.under(scopes), number) if scopes else (scope, scope.enter(base))
            self.made.append(Made(to, base, count, op, moved, x_shape, output, place, side, weights))
        self.ends += [end + shift for end in known.ends]
        self.budget.left -= known.steps
        self.globals.read.update(known.read)
        return x if known.result < first else known.result + shift


HANDLERS: dict[type, Callable[..., int]] = {  # methods of the class: those of an object would keep it alive
    Chain: Expansion._chain, Repeat: Expansion._repeat, Choose: Expansion._choose, Call: Expansion._call,
    Each: Expansion._each, Join: Expansion._join, Side: Expansion._sides, Label: Expansion._label, Use: Expansion._use,
    Outputs: Expansion._outputs, Again: Expansion._again,
}  # fmt: skip
