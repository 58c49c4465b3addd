"""Units as source: who is called with what, in which order they stand, and their text."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, NamedTuple

from archcalc.codegen.inline import inline, reachable
from archcalc.codegen.layout import STEP, WIDTH, expression, statements
from archcalc.codegen.naming import class_name
from archcalc.codegen.program import Program
from archcalc.codegen.symbols import Unstructured, call, const, mentions, name, rebuilt, same, text
from archcalc.codegen.tidy import runs_in_order, without_identities
from archcalc.codegen.trace import compiled
from archcalc.codegen.unit import IN_CHANNELS, Made, Unit
from archcalc.codegen.values import TAKEN
from archcalc.errors import SpecError

NONE = ast.Constant(None)
MAP = 3  # dimensions of what has channels, height and width


class Signature(NamedTuple):
    """What a unit's class or function takes."""

    channels: bool
    own: dict[str, ast.expr | None]
    extras: tuple[str, ...]  # numbers and params of the spec that it needs

    @property
    def by_keyword(self) -> bool:
        """Whether the extras stand behind arguments with defaults."""
        return any(default is not None for default in self.own.values())


class Writer:
    """The text of a program's units."""

    def __init__(self, program: Program, title: str, reserved: set[str]) -> None:
        self.program = program
        self.main = program.main
        inline(self.main)
        self.order = list(reachable(self.main, set()))
        for unit in self.order:
            without_identities(unit)
        self.made = {unit: [node for node in unit.nodes() if isinstance(node, Made)] for unit in self.order}
        self.used: dict[Unit, set[str]] = {unit: set() for unit in self.order}
        while self._spread() or self._fill():
            pass
        self.signatures = {unit: self._signature(unit) for unit in self.order}
        self.names = self._named(title, reserved)

    # What each unit uses: names in its text, and names in what it gives to units that use it

    def _spread(self) -> bool:
        """Go on finding what is used; whether anything was new."""
        grown = False
        for unit in self.order:
            before = len(self.used[unit])
            self.used[unit] |= self._read(unit)
            grown |= len(self.used[unit]) > before
        return grown

    def _read(self, unit: Unit) -> set[str]:
        found = self.used[unit] | {text for item in unit.items or () for text in mentions(item.made)}
        found |= {text for statement in unit.init for text in mentions(statement)}
        for made in self.made[unit]:
            wanted = self.used[made.unit]
            for key, value in made.given.items():
                found |= mentions(value) if key in wanted and value is not None else set()
            found |= {key for key in wanted if key in self.program.params and self._is_param(made.unit, key)}
        for key in found & {*unit.own, *unit.local}:
            value = unit.local.get(key) or unit.own.get(key)
            found = found | mentions(value) if value is not None else found
        return found

    @staticmethod
    def _is_param(unit: Unit, key: str) -> bool:
        """Whether a name of a unit is the spec's param and not its own."""
        return key not in unit.own and key not in unit.local and key not in unit.holes

    def _fill(self) -> bool:
        """Give numbers that callers must know; whether any was missing."""
        filled = False
        for unit in self.order:
            for made in self.made[unit]:
                filled |= self._fill_call(unit, made)
        return filled

    def _fill_call(self, unit: Unit, made: Made) -> bool:
        missing = [key for key in made.unit.holes if key in self.used[made.unit] and key not in made.given]
        for key in missing:
            hole = made.unit.holes[key]
            made.given[key] = self._number(unit, [(owner, hole[run]) for run, owner in made.runs], key)
        if made.given.get(IN_CHANNELS) is None and IN_CHANNELS in self.used[made.unit]:
            made.given[IN_CHANNELS] = self._number(unit, [(owner, run.x[0]) for run, owner in made.runs], "channels")
            return True
        return bool(missing)

    @staticmethod
    def _number(unit: Unit, values: list[tuple[Any, int]], label: str) -> ast.expr:
        found = {value for _, value in values}
        return const(found.pop()) if len(found) == 1 else unit.hole(values, label.rstrip("0123456789"))

    def _signature(self, unit: Unit) -> Signature:
        used = self.used[unit]
        own = {key: default for key, default in unit.own.items() if key in used}
        holes = [key for key in unit.holes if key in used]
        params = [key for key in self.program.params if key in used and self._is_param(unit, key)]
        return Signature(IN_CHANNELS in used and unit is not self.main, own, (*holes, *params))

    # Names

    def _named(self, title: str, reserved: set[str]) -> dict[Unit, str]:
        taken = {*TAKEN, *reserved}
        for unit in self.order:
            taken |= self.used[unit]
        names = {self.main: title}
        taken.add(title)
        for unit in sorted(self.order[:-1], key=lambda unit: unit.piece.block is None):
            form = str if unit.is_function else class_name
            names[unit] = next(option for option in map(form, self._titles(unit)) if option not in taken)
            taken.add(names[unit])
        return names

    @staticmethod
    def _titles(unit: Unit) -> Iterator[str]:
        """What a unit may be called: by its block, the blocks that its parameters name, and a number."""
        label = unit.piece.label
        yield label
        words = [value for part in unit.piece.key[1:] if isinstance(part, tuple) for value in part[1].split()]
        yield "_".join([label, *words])
        more = "unit" if unit.piece.block is None else "block"
        yield from (f"{label}_{more}{n if n > 1 else ''}" for n in range(1, 10_000))

    # Text

    def source(self) -> str:
        """All classes and functions."""
        return "\n\n\n".join("\n".join(self._unit(unit)) for unit in self.order) + "\n"

    def _unit(self, unit: Unit) -> list[str]:
        if unit.is_function:
            made = ast.Return(unit.module())
            return [*self._header("def", self.names[unit], unit, ""), *self._body(unit, [made], STEP)]
        if unit.items is not None:
            start = call("super().__init__", *[item.made for item in unit.items])
            lines = [f"class {self.names[unit]}(nn.Sequential):", *self._doc(unit)]
            lines += self._header("def", "__init__", unit, STEP)
            return lines + self._body(unit, [ast.Expr(start)], STEP * 2)
        return self._module(unit)

    def _module(self, unit: Unit) -> list[str]:
        if runs_in_order(unit):
            lines = [f"class {self.names[unit]}(nn.Sequential):", *self._doc(unit)]
            lines += [*self._header("def", "__init__", unit, STEP), f"{STEP * 2}super().__init__()"]
            return lines + self._body(unit, unit.init, STEP * 2)
        lines = [f"class {self.names[unit]}(nn.Module):", *self._doc(unit)]
        if unit.init:
            lines += [*self._header("def", "__init__", unit, STEP), f"{STEP * 2}super().__init__()"]
            lines += [*self._body(unit, unit.init, STEP * 2), ""]
        lines.append(f"{STEP}def forward({', '.join(['self', 'x', *unit.arguments])}):")
        return lines + statements(unit.forward, STEP * 2)

    def _doc(self, unit: Unit) -> list[str]:
        """A docstring that says how channels go through a block, where its parameters say it and every run agrees."""
        taken, output = self._parameters(unit), unit.output
        if output is None or unit is self.main or same(output, name(IN_CHANNELS)) or IN_CHANNELS not in taken:
            return []
        if not mentions(output) <= set(taken):
            return []
        runs, count = unit.piece.runs, compiled(output)
        maps = all(len(run.x) == len(run.output) == MAP for run in runs)
        with suppress(SpecError):  # the spec has another name for it
            if maps and all(count(run.settle()) == run.output[0] for run in runs):
                return [f'{STEP}"""Channels: {IN_CHANNELS} → {text(output)}."""', ""]
        return []

    def _body(self, unit: Unit, nodes: list[Any], indent: str) -> list[str]:
        """The statements, after those that compute what they use."""
        first: list[ast.stmt] = []
        for key, value in unit.local.items():
            if key in self.used[unit]:
                first.append(ast.Assign([name(key)], value))
        for key, default in self.signatures[unit].own.items():
            if default is not None and not _is_literal(default):
                missing = ast.Compare(name(key), [ast.Is()], [NONE])
                first.insert(0, ast.Assign([name(key)], ast.IfExp(missing, default, name(key))))
        return statements([self._finished(node) for node in (*first, *nodes)], indent)

    def _header(self, word: str, title: str, unit: Unit, indent: str) -> list[str]:
        own: dict[str, ast.expr | None] = {"self": None} if title == "__init__" else {}
        own |= self._parameters(unit)
        parts = [key if default is None else f"{key}={text(default)}" for key, default in own.items()]
        line = f"{indent}{word} {title}({', '.join(parts)}):"
        if len(line) <= WIDTH:
            return [line]
        inner = indent + STEP
        lines = [[f"{inner}{k},"] if d is None else expression(f"{k}=", d, ",", inner) for k, d in own.items()]
        return [f"{indent}{word} {title}(", *(line for part in lines for line in part), f"{indent}):"]

    def _parameters(self, unit: Unit) -> dict[str, ast.expr | None]:
        """What a unit takes, with the defaults."""
        signature = self.signatures[unit]
        made: dict[str, ast.expr | None] = {IN_CHANNELS: None} if signature.channels else {}
        for key, default in signature.own.items():
            made[key] = default if default is None or _is_literal(default) else NONE
        if unit is self.main:
            return made | {key: const(self.program.params[key]) for key in signature.extras}
        if signature.extras and signature.by_keyword:
            made["*"] = None
        return made | dict.fromkeys(signature.extras)

    def _finished(self, node: Any) -> Any:
        """A tree with its calls of units written out."""
        return self._called(node) if isinstance(node, Made) else rebuilt(node, self._finished)

    def _called(self, made: Made) -> ast.expr:
        """The call of a unit."""
        signature = self.signatures[made.unit]
        args = [self._given(made, IN_CHANNELS)] if signature.channels else []
        placed = [key for key in signature.own if key in made.positional]
        named = [key for key in signature.own if key in made.given and key not in placed]
        while placed and self._is_default(made, signature, placed[-1]):
            placed.pop()
        args += [self._given(made, key) for key in placed]
        named = [key for key in named if not self._is_default(made, signature, key)]
        keywords = {key: self._given(made, key) for key in named}
        if signature.by_keyword or named or len(placed) < len(signature.own):
            keywords |= {key: self._given(made, key) for key in signature.extras}
        else:
            args += [self._given(made, key) for key in signature.extras]
        return call(name(self.names[made.unit]), *args, **keywords)

    @staticmethod
    def _is_default(made: Made, signature: Signature, key: str) -> bool:
        default = signature.own[key]
        return default is not None and _is_literal(default) and same(made.given[key], default)

    @staticmethod
    def _given(made: Made, key: str) -> ast.expr:
        value = made.given.get(key, name(key))
        if value is None:
            raise Unstructured(f"no value for {key}")
        return value


def _is_literal(node: ast.expr) -> bool:
    if isinstance(node, ast.Tuple):
        return all(map(_is_literal, node.elts))
    return isinstance(node, ast.Constant) or (isinstance(node, ast.UnaryOp) and isinstance(node.operand, ast.Constant))
