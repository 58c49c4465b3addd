"""Classes in the making, and as text: each gets the parameters that it uses, and is called with them."""

from __future__ import annotations

import ast
from collections import ChainMap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from archcalc.codegen.expressions import Scope
from archcalc.codegen.format import STEP, function, statements, text
from archcalc.codegen.names import identifier, local_name, numbered
from archcalc.codegen.trees import (
    IN_CHANNELS,
    UNKNOWN,
    Unstructured,
    assign,
    attribute,
    call,
    name,
    names_in,
    operations,
    rebuilt,
    references,
    short,
    substituted,
    unknown,
)

TRAINING = attribute(name("self"), "training")

Given = tuple[ast.expr, ast.expr]  # a tensor and its channels


class Unit:
    """A class in the making: its parameters, and the statements of `__init__` and `forward`."""

    def __init__(self, title: str, parameters: Mapping[str, ast.expr | None], taken: Iterable[str]) -> None:
        self.title = title
        self.parameters = dict(parameters)  # by Python's name, with a default or None
        self.taken = {*taken, *parameters, "in_channels"}  # names that a new variable may not have
        self.attributes: set[str] = set()
        self.init: list[ast.stmt] = []
        self.forward: list[ast.stmt] = []
        self.modules: list[ast.expr] | None = None  # of one that only runs them in order
        self.lines: list[Line] = []  # those that are being written, or whose tensors are still to be joined
        self.values: dict[str, ast.expr] = {"in_channels": IN_CHANNELS}  # of variables that hold channels, as formulas
        self.locals: set[str] = {"x"}  # of `forward`
        self.sides: list[str] = []
        self.out: ast.expr = UNKNOWN  # its channels, as a formula

    def keep(self, label: str, module: ast.expr) -> ast.Attribute:
        """`self.label = module`."""
        node = attribute(name("self"), numbered(label, self.attributes))
        self.attributes.add(node.attr)
        self.init.append(assign(node, module))
        return node

    def formula(self, channels: ast.expr) -> ast.expr:
        """Channels by the parameters, without variables."""
        try:
            return short(substituted(channels, self.values))
        except Unstructured:
            return UNKNOWN

    def thread(self, channels: ast.expr) -> ast.Name:
        """A variable that holds the channels, and may be given others: no other expression reads it any more."""
        held = names_in(*(tree for line in self.lines for tree in line.held(line is self.lines[-1])))
        mine = ({*self.values} & names_in(channels)) - held
        if isinstance(channels, ast.Name) and mine:
            return channels
        target = min(mine - {"in_channels"}, default="") or numbered("channels", self.taken | held)
        self.values[target] = self.formula(channels)
        self.init.append(assign(target, channels))
        return name(target)

    def collect(self) -> str:
        """A new list of modules."""
        held = names_in(*(tree for line in self.lines for tree in line.held()))
        target = numbered("blocks" if "layers" in self.taken else "layers", self.taken | held)
        self.init.append(assign(target, ast.List([], ast.Load())))
        return target


@dataclass
class Flow:
    """Modules that run one after the other, and what the next one sees."""

    scope: Scope
    label: str  # of what is written
    pending: list[ast.expr] = field(default_factory=list)  # modules
    first: str = ""  # what the first of them is called by itself

    @property
    def channels(self) -> ast.expr:
        """Those behind the last module."""
        return self.scope.channels

    @channels.setter
    def channels(self, formula: ast.expr) -> None:
        self.scope = self.scope.at(formula)

    def add(self, module: ast.expr, own: str) -> None:
        """One more module, which is called `own` where no label stands."""
        self.first = self.first if self.pending else own
        self.pending.append(module)


@dataclass
class Line(Flow):
    """Statements of `forward`, for a tensor that modules and joins are applied to."""

    unit: Unit = field(kw_only=True)
    to: str = ""  # the variable that they write to; a new one where they need one
    block: list[ast.stmt] = field(default_factory=list)
    tensor: ast.expr = field(default_factory=lambda: name("x"))
    labels: ChainMap[str, Given] = field(default_factory=ChainMap)  # labelled steps, as `use` looks for them
    alone: bool = True  # whether nothing else stands under the label
    bound: list[ast.expr] = field(default_factory=list)  # arguments of blocks that are written in place

    def branch(self, label: str) -> Line:
        """The same, up to here, with a variable and statements of its own."""
        made = Line(self.scope, label, unit=self.unit, tensor=self.tensor, labels=self.labels.new_child())
        self.unit.lines.append(made)
        return made

    def held(self, last: bool = False) -> Iterator[ast.expr]:
        """What is still to be written, or read again; the `last` line may change its channels."""
        yield from (*self.pending, *self.bound, *(channels for _, channels in self.labels.values()))
        if not last:
            yield self.channels

    def count(self) -> None:
        """Put channels by a long formula into a variable."""
        threaded = names_in(self.channels) & ({*self.unit.values} - {"in_channels"})
        if not self.pending and operations(self.channels) >= (1 if threaded else 2):
            self.channels = self.unit.thread(self.channels)

    def flush(self, end: bool = False) -> None:
        """Call the modules, as one attribute; at the `end` by the label, if nothing else stands under it."""
        if self.pending:
            self.settle()
            text = self.label if end and self.alone else self.first
            kept = self.unit.keep(identifier(text, self.first), wrapped(self.pending))
            self.tensor, self.pending = call(kept, self.tensor), []
        self.alone = False

    def settle(self) -> None:
        """Make the tensor a variable."""
        if not isinstance(self.tensor, ast.Name):
            self.to = self.to or self.local(self.label)
            self.keep(self.to)

    def keep(self, target: str) -> None:
        """Put the tensor into a variable of this name."""
        if not (isinstance(self.tensor, ast.Name) and self.tensor.id == target):
            self.block.append(assign(target, self.tensor))
        self.tensor = name(target)

    def local(self, label: str) -> str:
        """A new variable of `forward`."""
        made = local_name(identifier(label, "layer"), self.unit.locals)
        self.unit.locals.add(made)
        return made


def wrapped(modules: Sequence[ast.expr]) -> ast.expr:
    """Modules as one."""
    if len(modules) == 1 and not isinstance(modules[0], ast.Starred):
        return modules[0]
    return call("nn.Sequential", *modules) if modules else call("nn.Identity")


class Made(ast.expr):
    """A call that makes a unit's module; which of the arguments the unit uses is known at the end."""

    _fields = ("channels", "bound")

    def __init__(self, unit: Unit, channels: ast.expr, given: Mapping[str, ast.expr], positional: int) -> None:
        self.unit = unit
        self.channels = channels
        self.keys = tuple(given)  # Python's names
        self.bound = list(given.values())
        self.positional = positional  # how many the spec gives by position


def classes(units: Sequence[Unit], network: Unit) -> str:
    """The classes' text, the network's last."""
    settled = Settled(units, network)
    return "\n\n\n".join(settled.lines(unit) for unit in units if unit is network or id(unit) in settled.made) + "\n"


class Settled:
    """What each unit uses, itself and for those that it makes."""

    def __init__(self, units: Sequence[Unit], network: Unit) -> None:
        self.network = network
        self.bodies = {id(unit): self._body(unit) for unit in units}
        self.uses: dict[int, set[str]] = {id(unit): set() for unit in units}
        before = -1
        while (count := sum(map(len, self.uses.values()))) > before:
            before = count
            for unit in units:
                self.uses[id(unit)] |= set(self._used(unit))
        nodes = [part for body in self.bodies.values() for node in body for part in ast.walk(node)]
        self.made = {id(part.unit) for part in nodes if isinstance(part, Made)}

    def _body(self, unit: Unit) -> list[ast.stmt]:
        """The statements of `__init__`, then the modules of a unit that only runs them."""
        modules = [ast.Expr(module) for module in unit.modules or ()]
        body = [*_needed(unit.init, modules), *modules]
        if any(any(references(node)) for node in body):
            raise Unstructured("a block as a value")
        if any(map(unknown, body)):
            raise Unstructured("channels without a formula")
        return body

    def _used(self, unit: Unit) -> Iterator[str]:
        known = {"in_channels", *unit.parameters, *self.network.parameters}
        waiting: list[ast.AST] = list(self.bodies[id(unit)])
        while waiting:
            node = waiting.pop()
            if isinstance(node, Made):
                uses = self.uses[id(node.unit)]
                waiting += [tree for key, tree in zip(node.keys, node.bound, strict=True) if key in uses]
                waiting += [node.channels] if "in_channels" in uses else []
                yield from self.passed(node.unit)
            elif isinstance(node, ast.Name) and node.id in known:
                yield node.id
            else:
                waiting += ast.iter_child_nodes(node)

    def passed(self, unit: Unit) -> list[str]:
        """The spec's params that a unit needs."""
        return [own for own in self.network.parameters if own in self.uses[id(unit)] and own not in unit.parameters]

    # Text

    def lines(self, unit: Unit) -> str:
        """A class."""
        init = [self._lowered(node) for node in self.bodies[id(unit)]]
        start, count = call("super().__init__"), len(unit.modules or ())
        sequential = unit.modules is not None or _in_order(unit.forward, init)
        if unit.modules is not None:
            start.args = [node.value for node in init[len(init) - count :]]
            body = [*init[: len(init) - count], ast.Expr(start)]
        else:
            body = [ast.Expr(start), *init]
        lines = [f"class {unit.title}(nn.{'Sequential' if sequential else 'Module'}):", *self._docstring(unit)]
        lines += [*function("__init__", self._signature(unit), STEP), *statements(body, STEP * 2)]
        if not sequential:
            lines += ["", *function("forward", {"x": None}, STEP), *statements(unit.forward, STEP * 2)]
        return "\n".join(lines)

    def _signature(self, unit: Unit) -> dict[str, ast.expr | None]:
        uses = self.uses[id(unit)]
        own = {key: default for key, default in unit.parameters.items() if key in uses}
        if unit is self.network:
            return own
        first: dict[str, ast.expr | None] = {"in_channels": None} if "in_channels" in uses else {}
        first |= {key: None for key, default in own.items() if default is None}
        return {**first, **dict.fromkeys(self.passed(unit)), **own}

    def _docstring(self, unit: Unit) -> list[str]:
        """What a class does to the channels, if it changes them."""
        if not names_in(unit.out) <= {*self._signature(unit)}:
            return []
        changed = text(unit.out) != "in_channels" and "in_channels" in self.uses[id(unit)]
        return [f'{STEP}"""Channels: in_channels → {text(unit.out)}."""', ""] if changed else []

    def _lowered(self, node: Any) -> Any:
        """A tree with its calls of units written out, by position as far as the spec writes them so."""
        if not isinstance(node, Made):
            return rebuilt(node, self._lowered)
        given = dict(zip(node.keys, node.bound, strict=True)) | {own: name(own) for own in self.passed(node.unit)}
        placed = list(node.unit.parameters)[: node.positional]
        args: list[ast.expr] = []
        keywords: dict[str, ast.expr] = {}
        for own in self._signature(node.unit):
            if own == "in_channels":
                args.append(self._lowered(node.channels))
            elif own in given and own in placed and not keywords:
                args.append(self._lowered(given[own]))
            elif own in given:
                keywords[own] = self._lowered(given[own])
            else:
                placed = []  # what follows a default that is left out
        return call(node.unit.title, *args, **keywords)


def _needed(body: Sequence[ast.stmt], after: Sequence[ast.stmt]) -> list[ast.stmt]:
    """Statements without the variables that nobody reads afterwards."""
    kept: list[ast.stmt] = []
    read = _read(*after)
    for node in reversed(body):
        inside = read | _read(node)
        if isinstance(node, ast.For):
            block = [part for part in node.body if not _variable(part) or _variable(part) in inside]
            kept.insert(0, ast.For(node.target, node.iter, block, []))
        elif not _variable(node) or _variable(node) in read:
            kept.insert(0, node)
        else:
            continue
        read |= _read(kept[0])
    return kept


def _read(*nodes: ast.AST) -> set[str]:
    parts = (part for node in nodes for part in ast.walk(node) if isinstance(part, ast.Name))
    return {part.id for part in parts if isinstance(part.ctx, ast.Load)}


def _variable(node: ast.stmt) -> str:
    target = node.targets[0] if isinstance(node, ast.Assign) else None
    return target.id if isinstance(target, ast.Name) else ""


def _in_order(forward: Sequence[ast.stmt], init: Sequence[ast.stmt]) -> bool:
    """Whether `forward` calls each attribute once, one after the other as they are made, as nn.Sequential does."""
    attributes = [text(node.targets[0]) for node in init if isinstance(node, ast.Assign) and not _variable(node)]
    calls = [f"x = {own}(x)" for own in attributes]
    written = [line.replace("return x", "").replace("return ", "x = ") for line in statements(forward, "")]
    return bool(attributes) and [line for line in written if line] == calls
