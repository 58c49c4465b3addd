"""Functions that are called once, or only pass a call on, are written where they are called."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from archcalc.codegen.items import Item
from archcalc.codegen.symbols import fold, is_opaque, mentions, rebuilt, substitute
from archcalc.codegen.trace import Run
from archcalc.codegen.unit import Made, Unit


def reachable(unit: Unit, seen: set[Unit]) -> Iterator[Unit]:
    """A unit and all that it calls, each after those it calls itself, recursion apart."""
    seen.add(unit)
    for node in unit.nodes():
        if isinstance(node, Made) and node.unit not in seen:
            yield from reachable(node.unit, seen)
    yield unit


def inline(main: Unit) -> None:
    """Put single and trivial functions where they are called."""
    units = list(reachable(main, set()))
    calls: dict[Unit, list[Made]] = {unit: [] for unit in units}
    for node in (node for unit in units for node in unit.nodes() if isinstance(node, Made)):
        calls[node.unit].append(node)
    chosen = {unit for unit in units if unit is not main and _may_go(unit, calls[unit])}

    def change(node: Any) -> Any:
        if isinstance(node, Made):
            return expanded(node) if node.unit in chosen and _is_known(node) else node
        return rebuilt(node, change)

    for unit in units:
        _change(unit, change)
        _use_once(unit)


def _change(unit: Unit, change: Callable[[Any], Any]) -> None:
    if unit.items is not None:
        unit.items = [Item(change(item.made), item.label) for item in unit.items]
    unit.init = [change(statement) for statement in unit.init]


def _use_once(unit: Unit) -> None:
    """Write what is computed from the parameters where it is used, if that is in one place."""
    for key in reversed(list(unit.local)):
        others = [value for other, value in unit.local.items() if other != key]
        if sum(_count(key, tree) for tree in (*unit.nodes(), *others)) > 1:
            continue
        values = {key: unit.local.pop(key)}
        _change(unit, lambda node: fold(filled(node, values)))  # noqa: B023  # used at once
        unit.local = {other: substitute(value, values) for other, value in unit.local.items()}


def _count(key: str, node: ast.AST) -> int:
    if isinstance(node, Made):
        trees = [value for value in node.given.values() if value is not None]
        return sum(isinstance(part, ast.Name) and part.id == key for tree in trees for part in ast.walk(tree))
    return int(isinstance(node, ast.Name) and node.id == key)


def _may_go(unit: Unit, calls: Sequence[Made]) -> bool:
    if not unit.is_function or unit.holes or any(unit in reachable(u, set()) for u in _callees(unit)):
        return False
    made = unit.module()
    return len(calls) == 1 or _is_fixed(made) or _renames(made) or _is_settled(made, calls)


def _is_fixed(made: ast.expr) -> bool:
    """Whether a function calls one constructor with numbers."""
    return isinstance(made, ast.Call) and mentions(made) == {"nn"} and not is_opaque(made)


def _is_settled(made: ast.expr, calls: Sequence[Made]) -> bool:
    """Whether a function chooses between two modules, and each call says which."""
    known = isinstance(made, ast.IfExp) and all(map(_is_known, calls))
    return known and not any(isinstance(expanded(call), ast.IfExp) for call in calls)


def _renames(made: ast.expr) -> bool:
    """Whether a function only hands on what it is given."""
    given = made.given.items() if isinstance(made, Made) else ()
    return bool(given) and all(isinstance(value, ast.Name) and value.id == key for key, value in given)


def _callees(unit: Unit) -> set[Unit]:
    return {node.unit for node in unit.nodes() if isinstance(node, Made)}


def _is_known(made: Made) -> bool:
    return all(value is not None for value in made.given.values())


def expanded(made: Made) -> ast.expr:
    """What a call of a function makes."""
    unit = made.unit
    return fold(filled(unit.module(), unit.known(made.given), dict(made.runs)))  # type: ignore[no-any-return]  # of an expression


def filled(node: Any, values: Mapping[str, ast.expr], around: Mapping[Run, Run] | None = None) -> Any:
    """A tree with expressions in place of names; `around` are the callers' runs around those of the tree's unit."""
    if isinstance(node, ast.Name):
        return values.get(node.id, node)
    if not isinstance(node, Made):
        return rebuilt(node, lambda part: filled(part, values, around))
    given = {key: None if value is None else fold(filled(value, values)) for key, value in node.given.items()}
    runs = [(run, around[owner] if around else owner) for run, owner in node.runs if not around or owner in around]
    made = Made(node.unit, given, runs)
    made.positional = node.positional
    return made
