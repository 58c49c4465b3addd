"""Build classes and print them: each has the parameters that it uses, and is called with them."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from archcalc.codegen import trees
from archcalc.codegen.expressions import Context
from archcalc.codegen.format import STEP, function, statements, text
from archcalc.codegen.names import VARIABLES, identifier, numbered
from archcalc.spec.functions import Reference

TRAINING = trees.attribute(trees.name("self"), "training")

Parameters = Mapping[str, ast.expr | None]  # defaults by Python name; None: no default


class Unit:
    """A class that is being built: its parameters, and the statements of `__init__` and `forward`."""

    def __init__(self, title: str, own: Parameters, placed: Iterable[str] = (), params: Iterable[str] = ()) -> None:
        self.title = title
        self.parameters = dict(own)
        self.placed = {"in_channels", *placed}  # arguments that calls give by position
        self.params = [*params]  # params of the spec that are arguments of the network
        self.taken = {"in_channels", *own, *params}  # names that a new variable must not have
        self.uses: set[str] = set()  # the names in `taken` that it uses
        self.attributes: set[str] = set()
        self.init: list[ast.stmt] = []
        self.forward: list[ast.stmt] = []  # empty for a Sequential
        self.lines: list[Line] = []  # lines that are being written, or will be joined
        self.values: dict[str, ast.expr] = {"in_channels": trees.IN_CHANNELS}  # formulas of variables with channels
        self.locals = {*VARIABLES}  # variables of `forward`
        self.inputs = ["x"]  # what `forward` takes
        self.outputs: list[str] = []  # variables of outputs
        self.sides: list[str] = []  # variables of side outputs
        self.out: ast.expr = trees.UNKNOWN  # the formula of its output channels

    def end(self, result: ast.expr | None, *modules: ast.expr) -> None:
        """Add the call of `super().__init__`, for a Sequential with its modules, and the `return` of `forward`."""
        initial = ast.Expr(trees.call("super().__init__", *modules))
        self.init.insert(0 if result else len(self.init), initial)
        results: list[ast.expr] = [*map(trees.name, self.outputs)] or ([result] if result else [])
        if result and self.sides:
            given = ast.Tuple([*results, *map(trees.name, self.sides)], ast.Load())
            self.forward.append(ast.If(TRAINING, [ast.Return(given)], []))
        returned = ast.Tuple(results, ast.Load()) if len(results) > 1 else results[0] if results else None
        self.forward += [ast.Return(returned)] if returned else []
        self.init = _needed(self.init, _read(self.init))
        self.uses = _read(self.init) & self.taken

    def signature(self) -> dict[str, ast.expr | None]:
        """Return the class's arguments: channels, those without a default, the spec's params, and the others."""
        own = {key: default for key, default in self.parameters.items() if key in self.uses}
        passed = [key for key in self.params if key in self.uses and key not in own]
        first = ["in_channels"] if "in_channels" in self.uses else []
        return dict.fromkeys([*first, *(key for key in own if not own[key]), *passed]) | own

    def call(self, channels: ast.expr, values: Mapping[str, ast.expr]) -> ast.Call:
        """Return the call that creates the module, with the arguments that differ from the defaults."""
        given = {"in_channels": channels, **values}
        passed = {
            key: given.get(key, trees.name(key)) for key, default in self.signature().items()
            if not (default and trees.same(default, given[key]))
        }  # fmt: skip
        by_name = {key: tree for key, tree in passed.items() if key not in self.placed}
        return trees.call(self.title, *(tree for key, tree in passed.items() if key in self.placed), **by_name)

    def text(self) -> str:
        """Print the class."""
        attributes = [text(target) for target in map(_target, self.init) if isinstance(target, ast.Attribute)]
        forward = statements(self.forward, STEP * 2)
        ran = [line.strip().replace("return x", "").replace("return ", "x = ") for line in forward]
        sequential = [line for line in ran if line] == [f"x = {own}(x)" for own in attributes]
        lines = [f"class {self.title}(nn.{'Sequential' if sequential else 'Module'}):", *self._docstring()]
        lines += [*function("__init__", self.signature(), STEP), *statements(self.init, STEP * 2)]
        return "\n".join(
            lines if sequential else [*lines, "", *function("forward", dict.fromkeys(self.inputs), STEP), *forward]
        )

    def _docstring(self) -> list[str]:
        """Return a docstring that says how the class changes the channels, if it does."""
        stated = "in_channels" in self.uses and trees.names_in(self.out) <= {*self.signature()}
        changed = stated and text(self.out) != "in_channels"
        return [f'{STEP}"""Channels: in_channels → {text(self.out)}."""', ""] if changed else []

    def keep(self, label: str, module: ast.expr) -> ast.Attribute:
        """Add `self.label = module`."""
        node = trees.attribute(trees.name("self"), numbered(label, self.attributes))
        self.attributes.add(node.attr)
        self.init.append(trees.assign(node, module))
        return node

    def local(self, label: str) -> str:
        """Return a new variable of `forward`."""
        made = numbered(identifier(label, "layer"), self.locals)
        self.locals.add(made)
        return made

    def thread(self, channels: ast.expr) -> ast.Name:
        """Return a variable with the channels that can be assigned again: no other expression reads it later."""
        held = self.held()
        mine = ({*self.values} & trees.names_in(channels)) - held
        if isinstance(channels, ast.Name) and mine:
            return channels
        target = min(mine - {"in_channels"}, default="") or numbered("channels", self.taken | held)
        self.values[target] = trees.substituted(channels, self.values)
        self.init.append(trees.assign(target, channels))
        return trees.name(target)

    def held(self) -> set[str]:
        """Return the names in what will be written or read again; the last line may change its channels."""
        found = (tree for line in self.lines for tree in line.held())
        return trees.names_in(*found, *(line.channels for line in self.lines[:-1]))


@dataclass
class Flow:
    """Modules that run one after the other, and the context of the next one."""

    context: Context
    label: str  # of the step that is being written
    pending: list[ast.expr] = field(default_factory=list)  # modules
    extra: Sequence[ast.expr] = ()  # what the only module takes beside the tensor
    first: str = ""  # the name of the first module, without a label
    around: list[Context] = field(default_factory=list)  # contexts around the current one, outermost first
    alone: bool = True  # whether nothing else is under the label

    @property
    def channels(self) -> ast.expr:
        """The channels after the last module."""
        return self.context.channels

    @channels.setter
    def channels(self, formula: ast.expr) -> None:
        self.context = self.context.at(formula)

    def add(self, module: ast.expr, own: str, *extra: ast.expr) -> None:
        """Add a module; `own` is its name if there is no label, `extra` what it takes beside the tensor."""
        if extra or self.extra:
            self.flush()
            if self.pending:
                raise trees.Unstructured("a label as an argument in a loop or a choice")
        self.extra = extra
        self.first = self.first if self.pending else own
        self.pending.append(module)

    def count(self) -> None:
        """Do nothing: only a line has variables."""

    def flush(self, end: bool = False) -> None:
        """Do nothing: only a line calls its modules."""

    @contextmanager
    def within(self, inside: Context) -> Iterator[None]:
        """Use the context inside a label, or inside a block that is written inline."""
        self.around.append(self.context)
        self.context = inside
        yield
        self.context = self.around.pop().at(self.channels)


@dataclass
class Line(Flow):
    """Statements of `forward` on a tensor that goes through modules and joins."""

    unit: Unit = field(kw_only=True)
    to: str = ""  # the variable that they assign; "": a new one if needed
    block: list[ast.stmt] = field(default_factory=list)
    tensor: ast.expr = field(default_factory=lambda: trees.name("x"))

    def held(self) -> Iterator[ast.expr]:
        """Yield what will be written or read again."""
        yield from self.pending
        for context in (*self.around, self.context):
            yield from (*context.names.values(), *(label.channels for label in context.labels.values()))

    def count(self) -> None:
        """Assign channels with a long formula to a variable."""
        threaded = trees.names_in(self.channels) & ({*self.unit.values} - {"in_channels"})
        if not self.pending and trees.operations(self.channels) >= (1 if threaded else 2):
            self.channels = self.unit.thread(self.channels)

    def flush(self, end: bool = False) -> None:
        """Call the modules as one attribute; at the `end` it has the label's name, if nothing else is under it."""
        if self.pending:
            self.settle()
            own = self.label if end and self.alone else self.first
            kept = self.unit.keep(identifier(own, self.first), wrapped(self.pending))
            self.tensor, self.pending, self.extra = trees.call(kept, self.tensor, *self.extra), [], ()
        self.alone = False

    def settle(self) -> None:
        """Assign the tensor to a variable."""
        if not isinstance(self.tensor, ast.Name):
            self.to = self.to or self.unit.local(self.label)
            self.keep(self.to)

    def keep(self, target: str) -> None:
        """Assign the tensor to the variable `target`."""
        if not (isinstance(self.tensor, ast.Name) and self.tensor.id == target):
            self.block.append(trees.assign(target, self.tensor))
        self.tensor = trees.name(target)


def wrapped(modules: Sequence[ast.expr]) -> ast.expr:
    """Wrap modules to one module."""
    if len(modules) == 1 and not isinstance(modules[0], ast.Starred):
        return modules[0]
    return trees.call("nn.Sequential", *modules) if modules else trees.call("nn.Identity")


def class_texts(units: Sequence[Unit], network: Unit) -> str:
    """Print the classes that are called, the network's last. Raises Unstructured for what cannot be printed."""
    called = trees.names_in(*(node for unit in units for node in unit.init))
    printed = [unit for unit in units if unit is network or unit.title in called]
    nodes = [part for unit in printed for node in unit.init for part in ast.walk(node)]
    if any(map(trees.unknown, nodes)) or any(isinstance(getattr(node, "value", None), Reference) for node in nodes):
        raise trees.Unstructured("a block as a value, or channels without a formula")
    return "\n\n\n".join(unit.text() for unit in printed)


def _needed(body: Sequence[ast.stmt], read: set[str]) -> list[ast.stmt]:
    """Remove the assignments of variables that nothing reads."""
    body = [ast.For(n.target, n.iter, _needed(n.body, read), []) if isinstance(n, ast.For) else n for n in body]
    return [node for node in body if not isinstance(target := _target(node), ast.Name) or target.id in read]


def _read(body: Sequence[ast.stmt]) -> set[str]:
    names = (part for node in body for part in ast.walk(node) if isinstance(part, ast.Name))
    return {part.id for part in names if isinstance(part.ctx, ast.Load)}


def _target(node: ast.stmt) -> ast.expr | None:
    return node.targets[0] if isinstance(node, ast.Assign) else None
