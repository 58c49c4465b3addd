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
from typing import Any, NamedTuple, TypeAlias

from archcalc.ops.arguments import show
from archcalc.spec.limits import take, tightest

MAX_LEAVES = 100_000  # values in a list, those of inner lists included
MAX_LIST_DEPTH = 50  # lists in lists
MAX_STEPS = 500_000  # loop rounds, block calls, layers and list items in one network
LEAST_STEPS = 100  # that a network takes from a pool, however small it is: it is looked up and analysed
LIMIT = 2**63

Evaluate: TypeAlias = Callable[["Names"], Any]
DIMENSIONS = {"in_channels": 0, "in_height": 1, "in_width": 2}


class Fault(Exception):
    """A value that the language refuses; the text says why. Any other exception is a mistake of archcalc."""


class Misuse(Fault):
    """A function given what it does not take; how it is written helps."""


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
        raise Misuse(f"needs numbers, not {show(value)}")
    return value


def whole(value: Any) -> int:
    """`value` if it is a whole number. Raises Fault."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise Misuse(f"needs whole numbers, not {show(value)}")
    return value


def listed(value: Any) -> tuple[Any, ...]:
    """`value` if it is a list. Raises Fault."""
    if not isinstance(value, tuple):
        raise Misuse(f"needs a list, not {show(value)}")
    return value


def add(left: Any, right: Any) -> Any:
    """A sum of numbers, or one list after another."""
    if isinstance(left, tuple) or isinstance(right, tuple):
        return listed(left) + listed(right)
    return numeric(left) + numeric(right)


def multiply(left: Any, right: Any) -> Any:
    """A product of numbers, or a list repeated: `[64] * 3`, `3 * [64]`."""
    items, times = (left, right) if isinstance(left, tuple) else (right, left)
    if not isinstance(items, tuple):
        return numeric(left) * numeric(right)
    if len(items) * whole(times) > MAX_LEAVES or leaves(items) * times > MAX_LEAVES:
        raise Fault(f"a list of more than {MAX_LEAVES:,} values")
    return items * times


def divide(left: Any, right: Any) -> Any:
    """Exact where it is whole: 6 / 3 is the integer 2, 7 / 2 is 3.5."""
    left, right = numeric(left), divisor(right)
    if isinstance(left, int) and isinstance(right, int) and left % right == 0:
        return left // right
    return left / right


def divisor(value: Any) -> Any:
    """`value` if one can divide by it. Raises Fault."""
    if numeric(value) == 0:
        raise Fault("division by zero")
    return value


def power(left: Any, right: Any) -> Any:
    """`left ** right`, refused before it grows beyond bounds."""
    if numeric(right) < 0:
        divisor(left)
    if isinstance(numeric(left), int) and abs(left) > 1 and right > 64:
        raise Fault("a number beyond 2^63")
    try:
        return left**right
    except OverflowError:  # of floats
        raise Fault("a number beyond bounds") from None


def comparable(left: Any, right: Any) -> bool:
    """Whether one of two values is the smaller: of numbers, of texts, and of lists where they first differ."""
    if isinstance(left, tuple) and isinstance(right, tuple):
        pair = next(((a, b) for a, b in zip(left, right, strict=False) if a != b), None)
        return pair is None or comparable(*pair)
    return all(isinstance(value, int | float) for value in (left, right)) or all(
        isinstance(value, str) for value in (left, right)
    )


def ordered(compare: Callable[[Any, Any], bool]) -> Callable[[Any, Any], bool]:
    """A comparison by size, of values that have one."""

    def run(left: Any, right: Any) -> bool:
        if not comparable(left, right):
            raise Fault(f"{show(left)} and {show(right)} have no order")
        return compare(left, right)

    return run


def contains(item: Any, items: Any) -> bool:
    """Whether a list has an item, or a text a part."""
    if isinstance(items, str) and isinstance(item, str):
        return item in items
    return item in listed(items)


def item(items: Any, index: Any) -> Any:
    """`items[index]` of a list or a text; what else has items (a figure its parts) has rules of its own."""
    if not isinstance(items, tuple | str):
        if not hasattr(items, "__getitem__"):
            raise Fault(f"{show(items)} is not a list")
        return items[index]
    if not -len(items) <= whole(index) < len(items):
        raise Fault("no item at that index")
    return items[index]


def part(items: Any, *bounds: Any) -> Any:
    """`items[start:stop:step]` of a list or a text."""
    if not isinstance(items, str):
        listed(items)
    for bound in bounds:
        if bound is not None:
            whole(bound)
    if bounds[-1] == 0:
        raise Fault("a step of 0")
    return items[slice(*bounds)]


def length(items: Any) -> int:
    """How many values a list has, or letters a text."""
    return len(items if isinstance(items, str) else listed(items))


def span(*bounds: Any) -> tuple[int, ...]:
    """`range` as a list of bearable length."""
    start, stop, step = map(whole, ((0, *bounds, 1), (*bounds, 1), bounds)[len(bounds) - 1])
    if step == 0:
        raise Fault("a step of 0")
    if -((start - stop) // step) >= MAX_LEAVES:
        raise Fault(f"a list of more than {MAX_LEAVES:,} values")
    return tuple(range(start, stop, step))


def rounded(value: Any, digits: Any = None) -> Any:
    """A number rounded half to even, as Python does; `digits` after the point."""
    if digits is not None and not -20 <= whole(digits) <= 20:
        raise Fault("rounds to -20 up to 20 digits")
    try:
        return round(numeric(value), digits)
    except OverflowError:  # next to the largest float
        raise Fault("a number beyond bounds") from None


def some_numbers(values: tuple[Any, ...]) -> tuple[Any, ...]:
    """Several numbers, or those of one list. Raises Fault where there is none."""
    items = listed(values[0]) if len(values) == 1 else values
    if not items:
        raise Misuse("needs at least one value")
    return tuple([numeric(item) for item in items])


def together(*lists: Any) -> tuple[Any, ...]:
    """`zip` of lists of one length."""
    if len({len(listed(items)) for items in lists}) > 1:
        raise Fault(f"lists of {' and '.join(str(len(items)) for items in lists[:8])} values do not pair up")
    return tuple(zip(*lists, strict=True))


def numbered(items: Any, start: Any = 0) -> tuple[Any, ...]:
    """`enumerate` as a list."""
    return tuple(enumerate(listed(items), whole(start)))


ARITHMETIC: dict[type[ast.AST], Callable[[Any, Any], Any]] = {
    ast.Add: add,
    ast.Sub: lambda left, right: numeric(left) - numeric(right),
    ast.Mult: multiply,
    ast.Div: divide,
    ast.FloorDiv: lambda left, right: numeric(left) // divisor(right),
    ast.Mod: lambda left, right: numeric(left) % divisor(right),
    ast.Pow: power,
}
COMPARISONS: dict[type[ast.AST], Callable[[Any, Any], bool]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: ordered(operator.lt),
    ast.LtE: ordered(operator.le),
    ast.Gt: ordered(operator.gt),
    ast.GtE: ordered(operator.ge),
    ast.In: contains,
    ast.NotIn: lambda item, items: not contains(item, items),
}


class Function(NamedTuple):
    """A function of values: how it is written, how many arguments it takes at least and at most, and what it does."""

    usage: str
    least: int
    most: int
    run: Callable[..., Any]


ANY = 10_000  # more arguments than an expression has room for
FUNCTIONS = {
    "abs": Function("abs(number)", 1, 1, lambda value: abs(numeric(value))),
    "enumerate": Function("enumerate(list)", 1, 2, numbered),
    "int": Function("int(number)", 1, 1, lambda value: int(numeric(value))),
    "len": Function("len(list)", 1, 1, length),
    "max": Function("max(a, b, …) or max(list)", 1, ANY, lambda *values: max(some_numbers(values))),
    "min": Function("min(a, b, …) or min(list)", 1, ANY, lambda *values: min(some_numbers(values))),
    "range": Function("range(stop), range(start, stop) or range(start, stop, step)", 1, 3, span),
    "round": Function("round(number) or round(number, digits)", 1, 2, rounded),
    "sum": Function("sum(list)", 1, 1, lambda items: sum(numeric(item) for item in listed(items))),
    "zip": Function("zip(list, list, …)", 0, ANY, together),
}
