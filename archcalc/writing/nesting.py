"""A graph as nested steps: chains, joins with branches, and pieces for its modules; where it does not nest, labels.

Nodes are read in their order, which the steps keep. There is a stack of chains: a layer extends the last chain, or
begins one; a join takes the last chains as its branches. A chain is closed: nothing else reads a value inside it.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from archcalc.graph.graph import Graph, Node
from archcalc.graph.groups import Group, Part, indices, tree
from archcalc.ops import REGISTRY
from archcalc.spec.functions import DIMENSIONS, FUNCTIONS
from archcalc.spec.layers import is_reserved
from archcalc.writing.terms import IDENTITY, Ref, Steps, Term, arguments, labels_in, plain, replaced, values_of

BRANCHES = {"add": ("body", "skip"), "multiply": ("x", "gate")}  # names of two branches, one of which is longer


class Unit(NamedTuple):
    """A node, a module that becomes a piece, or a side output."""

    part: Part
    first: int
    out: int  # the node of its output; of a side output the last one
    inputs: tuple[int, ...]  # nodes outside it whose outputs it reads
    reads: tuple[int, ...]  # nodes outside it whose outputs or weights it reads
    side: bool


class Chain:
    """Steps, the node that they start from (None: a learned tensor), and the node of the last output."""

    def __init__(self, start: int | None, out: int | None = None) -> None:
        self.start = start
        self.out = start if out is None else out
        self.steps: list[tuple[Term, int]] = []  # each with the node of its output

    def after(self, flow: int | None) -> Iterator[tuple[Term, int]]:
        """Yield its steps, where the step before gives the output of `flow`."""
        if self.steps and self.start not in (None, flow):
            yield use(self.start), -1
        yield from self.steps


def use(node: int | None) -> Term:
    """Return the step that reads the output of a node."""
    return Term("use", keys=("skip",), values=(Ref(node or 0),))


def nested(graph: Graph, names: dict[int, str]) -> Steps:
    """Return the steps of a graph; `names` are the labels of its inputs that `use` may read."""
    return _Nesting(graph, names).network()


def own_name(name: str) -> str:
    """Return the last part of a node's or module's name as a label; of a number, with the part before it."""
    *_, before, last = ["", *name.split(".")]
    text = re.sub(r"[^A-Za-z0-9_]+", "_", f"{before}_{last}" if last.isdigit() else last).strip("_") or "step"
    taken = text.isdigit() or is_reserved(text) or text in (*REGISTRY, *FUNCTIONS, *DIMENSIONS)
    return f"{text}_out" if taken else text[:60]


class _Nesting:
    def __init__(self, graph: Graph, names: dict[int, str]) -> None:
        self.graph = graph
        self.nodes = graph.nodes
        self.names = names
        self.on_side = False
        self.readers: dict[int, list[int]] = {i: [] for i, _ in enumerate(graph.nodes)}
        for reader, node in enumerate(graph.nodes):
            for read in self.reads(node):
                self.readers[read].append(reader)
        for result in graph.results:
            self.readers[result].append(len(graph.nodes))

    def reads(self, node: Node) -> set[int]:
        """Return the nodes whose output or weights a node reads."""
        return {*node.inputs, *([node.shared.node] if node.shared else [])}

    def network(self) -> Steps:
        """Return the steps of the network."""
        layers = tree(self.graph).parts[len(self.graph.inputs) :]
        steps = self.sequence([*self.units(layers)], 0, self.graph.results)
        return replaced(steps, {Ref(i): name for i, name in self.names.items()})

    def units(self, parts: Iterable[Part]) -> Iterator[Unit]:
        """Yield nodes and modules; a module with several outputs is taken apart."""
        for part in parts:
            if isinstance(part, int):
                node = self.nodes[part]
                yield Unit(part, part, part, node.inputs, tuple(self.reads(node)), node.side)
            elif unit := self.module(part):
                yield unit
            else:
                yield from self.units(part.parts)

    def module(self, group: Group) -> Unit | None:
        """Return a module that has one output, which follows its other nodes."""
        inside = list(indices([group]))
        first, stop = inside[0], inside[-1] + 1
        outside = [i for i in inside if max(self.readers[i], default=-1) >= stop]
        ends = [i for i in inside if i in self.graph.sides]
        inputs = {read: None for i in inside for read in self.nodes[i].inputs if read < first}
        reads = {read for i in inside for read in self.reads(self.nodes[i]) if read < first}
        side = self.nodes[first].side
        out = ends if side else outside
        owns = any(node.shared and node.shared.node in inside for node in self.nodes[stop:])
        if len(inside) == 1 or len(out) != 1 or owns or (side and (outside or ends != [stop - 1])):
            return None
        return Unit(group, first, out[0], tuple(inputs), tuple(reads), side)

    def sequence(self, units: Sequence[Unit], entry: int, results: Sequence[int]) -> Steps:
        """Return steps from the output of `entry` to the results."""
        left = Counter([read for unit in units for read in unit.reads] + [*results])
        stack, sides = [Chain(None, entry)], list[Unit]()
        for unit in units:
            left.subtract(unit.reads)
            if self.on_side or not unit.side:
                self.add(unit, stack, left)
                continue
            sides.append(unit)
            if unit.out in self.graph.sides:
                stack[-1].steps.append((self.side(sides, stack[-1].out), -1))
                sides = []
        return self.labelled(self.emitted(stack, entry, results))

    def add(self, unit: Unit, stack: list[Chain], left: Counter[int]) -> None:
        """Add a unit to the chains; `left` counts for each output who will still read it."""
        if isinstance(unit.part, int) and self.nodes[unit.part].op.joins:
            self.join(unit.part, stack, left)
            return
        flow = stack[-1].out
        start: int | None = flow if flow in unit.inputs else unit.inputs[0] if unit.inputs else None
        step = self.piece(unit.part, start, unit.out) if isinstance(unit.part, Group) else self.layer(unit.part)
        self.extend(stack, start, step, unit.out, left)

    def emitted(self, stack: list[Chain], entry: int, results: Sequence[int]) -> list[tuple[Term, int]]:
        """Return the steps of all chains, one after the other, and what gives the results."""
        ways = self.last(stack, results) if len(results) > 1 else []
        steps = list[tuple[Term, int]]()
        flow: int | None = entry
        for chain in stack:
            steps += chain.after(flow)
            flow = chain.out if chain.steps else flow
        if ways:
            names = [own_name(name) for name in self.graph.outputs]
            steps.append((Term("outputs", parts=branches(names, [self.branch(way, flow) for way in ways])), -1))
        elif flow != results[0]:
            steps.append((use(results[0]), -1))
        return steps

    def branch(self, way: Chain, flow: int | None, idle: Steps = ()) -> Steps:
        """Return a chain as a branch of what reads `flow`; `idle` if it has no steps, and starts from there."""
        if not way.steps:
            return idle if idle and way.start == flow else (use(way.start),)
        return self.labelled([*way.after(flow)])

    def last(self, stack: list[Chain], read: Sequence[int]) -> list[Chain]:
        """Take the last chains off that only one node reads, or that are outputs; of other nodes return empty ones."""
        found = list[Chain]()
        for node in reversed(read):
            chain, alone = stack[-1], len(self.readers[node]) == 1 and read.count(node) == 1
            found.append(stack.pop() if len(stack) > 1 and chain.out == node and alone else Chain(node))
        return found[::-1]

    def extend(self, stack: list[Chain], start: int | None, step: Term, out: int, left: Counter[int]) -> None:
        """Add a step to the last chain, or to a new one if something else will read the last output."""
        if start is None or stack[-1].out != start or left[start] > 0:
            stack.append(Chain(start))
        stack[-1].steps.append((step, out))
        stack[-1].out = out

    def join(self, at: int, stack: list[Chain], left: Counter[int]) -> None:
        """Add a join; the last chains that only it reads are its branches."""
        node = self.nodes[at]
        ways = self.last(stack, node.inputs)
        starts = [way.start for way in ways]
        flow = stack[-1].out if stack[-1].out in starts else next((own for own in starts if own is not None), None)
        keys, values = arguments(node.op, node.x)
        steps = [self.branch(way, flow, (IDENTITY,)) for way in ways]
        parts = branches(branch_names(node.op.name, steps), steps)
        self.extend(stack, flow, Term("join", node.op.name, keys, values, parts), at, left)

    def piece(self, group: Group, start: int | None, out: int) -> Term:
        """Return a module as a step."""
        entry = -1 if start is None else start
        steps = self.sequence([*self.units(group.parts)], entry, [out])
        if _reads(steps, Ref(entry)):
            steps = (Term("label", "x", parts=(IDENTITY,)), *replaced(steps, {Ref(entry): "x"}))
        return Term("piece", group.label if group.numbered else own_name(group.name), parts=steps)

    def layer(self, at: int) -> Term:
        """Return a node as a step."""
        node = self.nodes[at]
        if node.shared and not node.shared.tensor:
            return Term("again", keys=("again",), values=(Ref(node.shared.node, True),))
        keys, values = arguments(node.op, node.x)
        tie = ((node.shared.tensor,), (Ref(node.shared.node, True),)) if node.shared else ((), ())
        return Term("op", node.op.name, keys + tie[0], values + tie[1])

    def side(self, units: Sequence[Unit], flow: int | None) -> Term:
        """Return nodes that are a side output as a step after the output of `flow`."""
        entry = next((read for unit in units for read in unit.inputs if read < units[0].first), -1)
        self.on_side = True
        steps = self.sequence(units, entry, [units[-1].out])
        self.on_side = False
        first, name = steps[0], own_name(self.nodes[units[-1].out].name)
        if len(steps) == 1 and first.kind == "piece":
            name, steps = first.name if not first.name.isdigit() else name, first.parts
        start = () if entry in (flow, -1) else (use(entry),)
        return Term("side", parts=(Term("branch", name, parts=(*start, *steps)),))

    def labelled(self, steps: Sequence[tuple[Term, int]]) -> Steps:
        """Give modules different names, label each step that another one refers to, and name the references."""
        terms = [step for step, _ in steps]
        read = {value.node for value in values_of(terms) if isinstance(value, Ref)}
        taken = labels_in([part for term in terms for part in term.parts]) | {*self.names.values()}
        words = dict[int, str]()
        for i, (step, out) in enumerate(steps):
            if step.kind == "piece" and not step.name.isdigit():
                terms[i] = step._replace(name=_unique(step.name, taken))
            if out in read:
                own = terms[i].name if terms[i].kind == "piece" and not step.name.isdigit() else ""
                words[out] = own or _unique(own_name(self.nodes[out].name), taken)
        words_by = {Ref(out, weights): word for out, word in words.items() for weights in (False, True)}
        made = zip(replaced(terms, words_by), [out for _, out in steps], strict=True)
        return tuple([Term("label", words[out], parts=(term,)) if out in words else term for term, out in made])


def branch_names(join: str, ways: Sequence[Steps]) -> list[str]:
    """Return the names of branches: of their modules, or by what they do; "" for none."""
    own = [way[0].name if len(way) == 1 and way[0].kind == "piece" else "" for way in ways]
    own = [name if name and not name.isdigit() else "" for name in own]
    if join in BRANCHES and len(ways) == 2:
        long, short = BRANCHES[join] if join == "add" else BRANCHES[join][::-1]
        turned = len(list(_all(ways[1]))) > len(list(_all(ways[0])))
        usual = [short, long] if turned else [long, short]
        own = [name or other for name, other in zip(own, usual, strict=True)]
    return own if all(own) and len(set(own)) == len(own) else [""] * len(own)


def branches(names: Sequence[str], ways: Sequence[Steps]) -> Steps:
    """Return branches; of a module that is a whole branch, and has no branches itself, only the steps."""
    whole = [way[0].parts if len(way) == 1 and way[0].kind == "piece" else way for way in ways]
    chosen = [inner if all(map(plain, inner)) else way for inner, way in zip(whole, ways, strict=True)]
    return tuple([Term("branch", name, parts=steps) for name, steps in zip(names, chosen, strict=True)])


def _reads(steps: Steps, ref: Ref) -> bool:
    """Whether steps refer to an output, except on side outputs."""
    return any(ref in step.values or _reads(step.parts, ref) for step in steps if step.kind != "side")


def _all(steps: Steps) -> Iterator[Term]:
    for step in steps:
        yield from step.below()


def _unique(name: str, taken: set[str]) -> str:
    made, number = name, 2
    while made in taken:
        made, number = f"{name}{number}", number + 1
    taken.add(made)
    return made
