"""What expressions compute with: numbers and lists within bounds, the names in scope, and the functions of values.

Numbers stay below 2⁶³, lists below MAX_LEAVES values, and all work is drawn from one `Budget`, so that no spec can
hang or exhaust memory. Where a command expands many networks, their budgets are drawn from one `Pool`.
"""

from __future__ import annotations

import ast
import math
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from archcalc.ops.arguments import show
from archcalc.pool import take, tightest

MAX_LEAVES = 100_000  # values in a list, those of inner lists included
MAX_LIST_DEPTH = 50  # lists in lists
MAX_STEPS = 500_000  # loop rounds, block calls, layers and list items in one network
LEAST_STEPS = 100  # that a network takes from a pool, however small it is: it is looked up and analysed
LIMIT = 2**63

Evaluate: TypeAlias = Callable[["Names"], Any]
DIMENSIONS = {"in_channels": 0, "in_height": 1, "in_width": 2}


class Fault(Exception):
    """A value that the language refuses; the text says why."""


class Budget:
    """What is left of the work one spec may cause: at most what is left of the pool that it is in."""

    def __init__(self, steps: int = MAX_STEPS) -> None:
        self.pool = tightest()
        self.shared = self.pool is not None and self.pool.left < steps
        self.steps = self.left = self.pool.left if self.pool and self.shared else steps

    def spend(self, steps: int = 1) -> None:
        """Take `steps` off. Raises Fault when nothing is left."""
        self.left -= steps
        if self.left < 0:
            raise Fault(f"takes more than {self._limit()}")

    def _limit(self) -> str:
        if self.pool and self.shared:
            return f"the {self.steps:,} steps left for {self.pool.purpose} (of {self.pool.steps:,})"
        return f"{self.steps:,} steps to expand"

    def close(self, least: int) -> None:
        """Take what was spent off the pool, and `least` for what is no step."""
        take(least + max(0, self.steps - max(0, self.left)))


@dataclass(frozen=True, slots=True)
class Reference:
    """A block or operator named where a value stands, as in `block: bottleneck`."""

    name: str

    def __str__(self) -> str:
        return self.name


class Names(dict[str, Any]):
    """The names an expression sees: its own values, those around it, the input's dimensions, blocks and operators.

    `later` are params whose turn has not come: they are unknown still, and the error says so.
    """

    __slots__ = ("budget", "later", "library", "parent", "shape")

    def __init__(
        self, values: Mapping[str, Any], library: Mapping[str, Reference], budget: Budget, parent: Names | None = None
    ) -> None:
        super().__init__(values)
        self.library = library
        self.budget = budget
        self.parent = parent
        self.later: frozenset[str] = parent.later if parent else frozenset()
        self.shape: tuple[int, ...] = ()

    def inner(self, values: Mapping[str, Any], shape: tuple[int, ...]) -> Names:
        """These names with some more in front, for an input of this shape."""
        names = Names(values, self.library, self.budget, self)
        names.shape = shape
        return names

    def __missing__(self, name: str) -> Any:
        around = self.parent
        while around is not None:
            if name in around:
                return around[name]
            around = around.parent
        if name in DIMENSIONS and len(self.shape) > DIMENSIONS[name]:
            return self.shape[DIMENSIONS[name]]
        if name in self.library:
            return self.library[name]
        raise KeyError(name)

    def known(self) -> list[str]:
        """All names, for a suggestion."""
        around = self.parent.known() if self.parent else [*self.library, *FUNCTIONS, *DIMENSIONS]
        return [*self, *around]


def leaves(value: Any, limit: int = MAX_LEAVES, depth: int = 0) -> int:
    """How many values a list holds, inner lists included. Raises Fault above `limit`, or if nested too deep."""
    if not isinstance(value, tuple):
        return 1
    if depth > MAX_LIST_DEPTH:
        raise Fault(f"lists nested more than {MAX_LIST_DEPTH} deep")
    count = 1
    for item in value:
        count += leaves(item, limit - count, depth + 1)
        if count > limit:
            raise Fault(f"a list of more than {MAX_LEAVES:,} values")
    return count


def charge(names: Names, value: Any) -> Any:
    """`value`, paid for: a list costs a step a value. Raises Fault."""
    if isinstance(value, tuple):
        names.budget.spend(leaves(value))
    return value


def number(value: Any) -> Any:
    """`value` if it is a number within bounds. Raises Fault."""
    if isinstance(value, int):
        if -LIMIT < value < LIMIT:
            return value
        raise Fault("a number beyond 2^63")
    if isinstance(value, float) and math.isfinite(value):
        return value
    raise Fault("not a finite real number")


def numeric(value: Any) -> Any:
    """`value` if arithmetic can be done with it. Raises Fault."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise Fault(f"wants numbers, not {show(value)}")
    return value


def divide(left: Any, right: Any) -> Any:
    """Exact where it is whole: 6 / 3 is the integer 2, 7 / 2 is 3.5."""
    if isinstance(left, int) and isinstance(right, int) and left % right == 0:
        return left // right
    return left / right


def power(left: Any, right: Any) -> Any:
    """`left ** right`, refused before it grows beyond bounds."""
    if isinstance(left, int) and abs(left) > 1 and right > 64:
        raise Fault("a number beyond 2^63")
    return left**right


def multiply(left: Any, right: Any) -> Any:
    """A product of numbers, or a list repeated: `[64] * 3`, `3 * [64]`."""
    items, times = (left, right) if isinstance(left, tuple) else (right, left)
    if isinstance(items, tuple) and type(times) is int and leaves(items) * times > MAX_LEAVES:
        raise Fault(f"a list of more than {MAX_LEAVES:,} values")
    return left * right


def span(*bounds: int) -> tuple[int, ...]:
    """`range` as a list of bearable length."""
    counts = range(*bounds)
    if len(counts) >= MAX_LEAVES:
        raise Fault(f"a list of more than {MAX_LEAVES:,} values")
    return tuple(counts)


def integer(value: Any) -> int:
    """A number cut to its whole part."""
    return int(numeric(value))


def rounded(value: Any, digits: Any = None) -> Any:
    """A number rounded half to even, as Python does; `digits` after the point."""
    if digits is not None and not -20 <= digits <= 20:
        raise Fault("rounds to -20 up to 20 digits")
    return round(numeric(value), digits)


def total(items: tuple[Any, ...]) -> Any:
    """The sum of a list of numbers."""
    return sum(numeric(item) for item in items)


def together(*lists: tuple[Any, ...]) -> tuple[Any, ...]:
    """`zip` of lists of one length."""
    if len({len(items) for items in lists}) > 1:
        raise Fault(f"lists of {' and '.join(str(len(items)) for items in lists[:8])} values do not pair up")
    return tuple(zip(*lists, strict=True))


def numbered(items: tuple[Any, ...], start: int = 0) -> tuple[Any, ...]:
    """`enumerate` as a list."""
    return tuple(enumerate(items, start))


ARITHMETIC: dict[type[ast.AST], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: multiply,
    ast.Div: divide,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: power,
}
COMPARISONS: dict[type[ast.AST], Callable[[Any, Any], bool]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.In: lambda a, b: a in b,
    ast.NotIn: lambda a, b: a not in b,
}
FUNCTIONS: dict[str, Callable[..., Any]] = {
    "abs": abs,
    "enumerate": numbered,
    "int": integer,
    "len": len,
    "max": max,
    "min": min,
    "range": span,
    "round": rounded,
    "sum": total,
    "zip": together,
}
USAGE = {
    "abs": "abs(number)",
    "enumerate": "enumerate(list)",
    "int": "int(number)",
    "len": "len(list)",
    "max": "max(a, b, …) or max(list)",
    "min": "min(a, b, …) or min(list)",
    "range": "range(stop), range(start, stop) or range(start, stop, step)",
    "round": "round(number) or round(number, digits)",
    "sum": "sum(list)",
    "zip": "zip(list, list, …)",
}
FAULTS = (Fault, TypeError, ValueError, ZeroDivisionError, OverflowError, IndexError, AttributeError)


def fault_text(fault: Exception) -> str:
    """What went wrong in a computation, in the language's words."""
    if isinstance(fault, ZeroDivisionError):
        return "division by zero"
    if isinstance(fault, IndexError):
        return "no item at that index"
    if isinstance(fault, OverflowError):
        return "a number beyond bounds"
    return str(fault) if isinstance(fault, Fault) else "these values do not go together"
