"""Channels along `forward`: an expression that grows too long is put into a variable of `__init__`."""

from __future__ import annotations

import ast
from collections.abc import Collection

from archcalc.codegen.naming import local_name
from archcalc.codegen.symbols import mentions, name, replace, size, substitute
from archcalc.codegen.unit import MAX_SIZE

SHORT = 3  # names, numbers and operations in what is written as it is: one operation reads as well as a name


class Channels:
    """One variable, `channels`, that holds the latest long expression."""

    def __init__(self, taken: Collection[str], statements: list[ast.stmt]) -> None:
        self.variable = local_name("channels", taken)
        self.statements = statements
        self.held: ast.expr | None = None

    def written(self, channels: ast.expr | None) -> ast.expr | None:
        """An expression in terms of the unit's parameters as it is written here."""
        if channels is None:
            return None
        short = channels if self.held is None else replace(channels, self.held, name(self.variable))
        if size(short) <= SHORT or not mentions(short):
            return short
        self.statements.append(_assigned(self.variable, short))
        self.held = channels
        return name(self.variable)

    def full(self, channels: ast.expr | None) -> ast.expr | None:
        """What `written` gave, or was made of it, in terms of the parameters again."""
        if channels is None or self.held is None:
            return channels
        made = substitute(channels, {self.variable: self.held})
        return made if size(made) <= MAX_SIZE else None

    def is_read(self, module: ast.expr) -> bool:
        """Whether a module is made with what the variable holds."""
        return self.variable in _read(module)

    def settle(self) -> list[ast.stmt]:
        """The statements, without values of the variable that nobody reads."""
        kept = []
        live = False
        for statement in reversed(self.statements):
            own = _target(statement) == self.variable
            if own and not live:
                continue
            reads = self.variable in _read(statement)
            live = reads or isinstance(statement, ast.AugAssign) if own else live or reads
            kept.append(statement)
        return kept[::-1]


def _assigned(variable: str, value: ast.expr) -> ast.stmt:
    """`variable = value`, or `variable += …` where it grows from what it is."""
    target = ast.Name(variable, ast.Store())
    grows = isinstance(value, ast.BinOp) and isinstance(value.left, ast.Name) and value.left.id == variable
    if isinstance(value, ast.BinOp) and grows and variable not in mentions(value.right):
        return ast.AugAssign(target, value.op, value.right)
    return ast.Assign([target], value)


def _target(statement: ast.stmt) -> str:
    target = statement.targets[0] if isinstance(statement, ast.Assign) else getattr(statement, "target", None)
    return target.id if isinstance(target, ast.Name) else ""


def _read(statement: ast.AST) -> set[str]:
    """The names that a statement reads, those given to units included."""
    found = {part.id for part in ast.walk(statement) if isinstance(part, ast.Name) and isinstance(part.ctx, ast.Load)}
    for part in ast.walk(statement):
        for given in getattr(part, "given", {}).values():
            found |= mentions(given) if given is not None else set()
    return found
