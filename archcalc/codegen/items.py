"""Modules that a part of the plan makes."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from typing import NamedTuple

from archcalc.codegen.symbols import call


class Item(NamedTuple):
    """A module that is made: the expression, and what it is called after."""

    made: ast.expr
    label: str


class Items(NamedTuple):
    """Modules one after the other, and the first dimension of what they give."""

    made: list[Item]
    channels: ast.expr | None


def wrapped(items: Sequence[Item]) -> ast.expr:
    """Modules as one."""
    if not items:
        return call("nn.Identity")
    if len(items) == 1 and not isinstance(items[0].made, ast.Starred):
        return items[0].made
    return call("nn.Sequential", *[item.made for item in items])
