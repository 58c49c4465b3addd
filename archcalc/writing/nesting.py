"""A graph as nested steps: chains, joins with branches, and pieces for its modules; where it does not nest, labels.

Nodes are read in their order, which the steps keep. There is a stack of chains: a layer extends the last chain, or
begins one; a join takes the last chains as its branches. A chain is closed: nothing else reads a value inside it.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from archcalc.graph.graph import Graph, Node
from archcalc.graph.groups import Group, Part, indices, tree
from archcalc.writing.terms import (
    IDENTITY,
    Ref,
    Steps,
    Term,
    arguments,
    free_name,
    labels_in,
    plain,
    replaced,
    values_of,
)

BRANCHES = {"multiply": ("gate", "x")}  # names of a branch, and of one that does nothing, if not body and skip


class Unit(NamedTuple):
    """A node, or a module that becomes a piece."""

    part: Part
    out: int  # the node of its output
    inputs: tuple[int, ...]  # nodes outside it whose outputs it reads
    reads: tuple[int, ...]  # nodes outside it whose outputs or weights it reads


@dataclass
class Chain:
    """The node that its steps start from (None: a learned tensor), the last output, and steps with their nodes."""

    start: int | None
    out: int | None = None
    steps: list[tuple[Term, int]] = field(default_factory=list)

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
    nesting = _Nesting(graph, names)
    steps = nesting.sequence([*nesting.units(tree(graph).parts[len(graph.inputs) :])], 0, graph.results)
    return replaced(steps, {Ref(i): name for i, name in names.items()})


def own_name(name: str) -> str:
    """Return the last part of a node's or module's name as a label; of a number, with the part before it."""
    *_, before, last = ["", *name.split(".")]
    text = re.sub(r"[^A-Za-z0-9_]+", "_", f"{before}_{last}" if last.isdigit() else last).strip("_")[:60]
    return free_name(f"step{text}" if text.isdigit() or not text else text)


class _Nesting:
    def __init__(self, graph: Graph, names: dict[int, str]) -> None:
        self.graph = graph
        self.nodes = graph.nodes
        self.names = names
        self.readers: dict[int, list[int]] = {i: [] for i, _ in enumerate(graph.nodes)}
        for reader, node in enumerate(graph.nodes):
            for read in self.reads(node):
                self.readers[read].append(reader)
        for result in graph.results:
            self.readers[result].append(len(graph.nodes))

    def reads(self, node: Node) -> set[int]:
        """Return the nodes whose output or weights a node reads."""
        return {*node.inputs, *([node.shared.node] if node.shared else [])}

    def units(self, parts: Iterable[Part]) -> Iterator[Unit]:
        """Yield nodes and modules; a module with several outputs is taken apart."""
        for part in parts:
            if isinstance(part, int):
                node = self.nodes[part]
                yield Unit(part, part, node.inputs, tuple(self.reads(node)))
            elif unit := self.module(part):
                yield unit
            else:
                yield from self.units(part.parts)

    def module(self, group: Group) -> Unit | None:
        """Return a module that has several nodes and one output."""
        inside = list(indices([group]))
        first, stop = inside[0], inside[-1] + 1
        ends = self.graph.sides if self.nodes[first].side else ()
        outside = [i for i in inside if i in ends or max(self.readers[i], default=-1) >= stop]
        inputs = {read: None for i in inside for read in self.nodes[i].inputs if read < first}
        reads = {read for i in inside for read in self.reads(self.nodes[i]) if read < first}
        owns = any(node.shared and node.shared.node in inside for node in self.nodes[stop:])
        if len(inside) == 1 or len(outside) != 1 or owns:
            return None
        return Unit(group, outside[0], tuple(inputs), tuple(reads))

    def sequence(self, units: Sequence[Unit], entry: int, results: Sequence[int]) -> Steps:
        """Return steps from the output of `entry` to the results."""
        left = Counter([read for unit in units for read in unit.reads] + [*results])
        stack = [Chain(None, entry)]
        for unit in units:
            left.subtract(unit.reads)
            self.add(unit, stack, left)
            if unit.out in self.graph.sides and unit.out not in results:
                steps = self.branch(stack.pop(), stack[-1].out)
                name = own_name(self.nodes[unit.out].name if isinstance(unit.part, int) else unit.part.name)
                stack[-1].steps.append((Term("side", parts=branches([name], [steps])), -1))
        return self.labelled(self.emitted(stack, entry, results))

    def add(self, unit: Unit, stack: list[Chain], left: Counter[int]) -> None:
        """Add a unit to the last chain, or to a new one if something else will read the last output.

        `left` counts for each output who will still read it.
        """
        if isinstance(unit.part, int) and self.nodes[unit.part].op.joins:
            start, step = self.join(self.nodes[unit.part], stack)
        else:
            flow = stack[-1].out
            start = flow if flow in unit.inputs else unit.inputs[0] if unit.inputs else None
            step = self.piece(unit.part, start, unit.out) if isinstance(unit.part, Group) else self.layer(unit.part)
        if start is None or stack[-1].out != start or left[start] > 0:
            stack.append(Chain(start))
        stack[-1].steps.append((step, unit.out))
        stack[-1].out = unit.out

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

    def last(self, stack: list[Chain], read: Sequence[int], join: str = "") -> list[Chain]:
        """Take the last chains off that only one node reads, or that are outputs; of other nodes return empty ones.

        A skip around the same join with a skip, as in a U-Net, is read by its label.
        """
        found = list[Chain]()
        starts = {chain.start for chain in stack[1:]}
        for node in reversed(read):
            chain, alone = stack[-1], len(self.readers[node]) == 1 and read.count(node) == 1
            skips = starts & {*read} and any(step.name == join for step, _ in chain.steps if step.kind == "join")
            taken = len(stack) > 1 and chain.out == node and alone and not skips
            found.append(stack.pop() if taken else Chain(node))
        return found[::-1]

    def join(self, node: Node, stack: list[Chain]) -> tuple[int | None, Term]:
        """Return a join, and the node that it starts from; the last chains that only it reads are its branches."""
        ways = self.last(stack, node.inputs, node.op.name)
        starts = [way.start for way in ways]
        flow = stack[-1].out if stack[-1].out in starts else next((own for own in starts if own is not None), None)
        keys, values = arguments(node.op, node.x)
        steps = [self.branch(way, flow, (IDENTITY,)) for way in ways]
        parts = branches(branch_names(node.op.name, steps), steps)
        return flow, Term("join", node.op.name, keys, values, parts)

    def piece(self, group: Group, start: int | None, out: int) -> Term:
        """Return a module as a step."""
        entry = -1 if start is None else start
        steps = self.sequence([*self.units(group.parts)], entry, [out])
        if Ref(entry) in values_of([step for step in steps if step.kind != "side"]):
            label = free_name("x", labels_in(steps))
            steps = (Term("label", label, parts=(IDENTITY,)), *replaced(steps, {Ref(entry): label}))
        return Term("piece", group.label if group.numbered else own_name(group.name), parts=steps)

    def layer(self, at: int) -> Term:
        """Return a node as a step."""
        node = self.nodes[at]
        if node.shared and not node.shared.tensor:
            return Term("again", keys=("again",), values=(Ref(node.shared.node, True),))
        keys, values = arguments(node.op, node.x)
        tie = ((node.shared.tensor,), (Ref(node.shared.node, True),)) if node.shared else ((), ())
        return Term("op", node.op.name, keys + tie[0], values + tie[1])

    def labelled(self, steps: Sequence[tuple[Term, int]]) -> Steps:
        """Give modules different names, label each step that another one refers to, and name the references."""
        terms = [step for step, _ in steps]
        read = {value.node for value in values_of(terms) if isinstance(value, Ref)}
        taken = labels_in([part for term in terms for part in term.parts]) | {*self.names.values()}
        words = dict[int, str]()
        for i, (step, out) in enumerate(steps):
            if step.kind == "piece" and not step.name.isdigit():
                terms[i] = step._replace(name=free_name(step.name, taken))
                taken.add(terms[i].name)
            if out in read:
                own = terms[i].name if terms[i].kind == "piece" and not step.name.isdigit() else ""
                words[out] = own or free_name(own_name(self.nodes[out].name), taken)
                taken.add(words[out])
        words_by = {Ref(out, weights): word for out, word in words.items() for weights in (False, True)}
        made = zip(replaced(terms, words_by), [out for _, out in steps], strict=True)
        return tuple([Term("label", words[out], parts=(term,)) if out in words else term for term, out in made])


def branch_names(join: str, ways: Sequence[Steps]) -> list[str]:
    """Return the names of branches: of their modules, or by what they do; "" for none."""
    body, skip = BRANCHES.get(join, ("body", "skip"))
    own = [way[0].name if [part.kind for part in way] == ["piece"] else "" for way in ways]
    own = [
        skip if way == (IDENTITY,) else body if name == "" or name.isdigit() else name
        for name, way in zip(own, ways, strict=True)
    ]
    return own if len({*own}) == len(own) > 1 else [""] * len(own)


def branches(names: Sequence[str], ways: Sequence[Steps]) -> Steps:
    """Return branches; of a module that is a whole branch, and has no branches itself, only the steps."""
    whole = [way[0].parts if len(way) == 1 and way[0].kind == "piece" else way for way in ways]
    chosen = [inner if all(map(plain, inner)) else way for inner, way in zip(whole, ways, strict=True)]
    return tuple([Term("branch", name, parts=steps) for name, steps in zip(names, chosen, strict=True)])
