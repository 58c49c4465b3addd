"""What is left out of a finished unit: attributes that do nothing, and a `forward` that only runs the rest in order."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from typing import Any

from archcalc.codegen.symbols import rebuilt
from archcalc.codegen.unit import Unit


def without_identities(unit: Unit) -> None:
    """Leave out attributes that are `nn.Identity()`, and their calls."""
    idle = {_attribute(statement) for statement in unit.init if _is_identity(statement)}

    def change(node: Any) -> Any:
        made = rebuilt(node, change)
        return made.args[0] if isinstance(made, ast.Call) and _called(made) in idle else made

    if idle:
        unit.init = [statement for statement in unit.init if _attribute(statement) not in idle]
        unit.forward = [made for statement in unit.forward if not _does_nothing(made := change(statement))]


def runs_in_order(unit: Unit) -> bool:
    """Whether `forward` calls each attribute once, one after the other as they are made, as nn.Sequential does."""
    attributes = [own for statement in unit.init if (own := _attribute(statement))]
    return bool(attributes) and _chain(unit.forward) == attributes


def _chain(forward: Sequence[ast.stmt]) -> list[str] | None:
    """The attributes that statements call on `x` one after the other; None where they do anything else."""
    chain: list[str] = []
    for statement in forward:
        if not isinstance(statement, ast.Return) and _variable(statement) != "x":
            return None
        node, calls = getattr(statement, "value", None), []
        while isinstance(node, ast.Call) and (own := _called(node)):
            calls.append(own)
            node = node.args[0]
        if not isinstance(node, ast.Name) or node.id != "x":
            return None
        chain += calls[::-1]
    return chain


def _attribute(statement: ast.stmt) -> str:
    """The attribute that a statement makes; "" of any other."""
    target = statement.targets[0] if isinstance(statement, ast.Assign) else None
    return target.attr if isinstance(target, ast.Attribute) else ""


def _called(node: ast.Call) -> str:
    """The attribute that is called with one argument; "" for any other call."""
    function = node.func
    own = isinstance(function, ast.Attribute) and isinstance(function.value, ast.Name) and function.value.id == "self"
    return function.attr if isinstance(function, ast.Attribute) and own and len(node.args) == 1 else ""


def _is_identity(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Assign) and ast.unparse(statement.value) == "nn.Identity()"


def _variable(statement: ast.stmt) -> str:
    """The variable that a statement gives a value to; "" of any other."""
    target = statement.targets[0] if isinstance(statement, ast.Assign) else None
    return target.id if isinstance(target, ast.Name) else ""


def _does_nothing(statement: ast.stmt) -> bool:
    value = statement.value if isinstance(statement, ast.Assign) else None
    return isinstance(value, ast.Name) and value.id == _variable(statement)
