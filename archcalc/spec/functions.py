"""The values of expressions: bounded numbers and lists, the names in scope, and the functions of the language.

Numbers are below 2⁶³, lists have at most MAX_LEAVES values, and all work takes steps from one `Budget`, so that no spec
can hang or exhaust memory. If a command expands many networks, their budgets take their steps from one `Pool`.
"""

from __future__ import annotations

import ast
import math
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple, TypeAlias

from archcalc.ops.arguments import show
from archcalc.ops.shape import Shape
from archcalc.ops.symbols import Formula
from archcalc.spec.limits import take, tightest

MAX_LEAVES = 100_000  # values in a list, including inner lists
MAX_LIST_DEPTH = 50  # lists in lists
MAX_STEPS = 500_000  # loop rounds, block calls, layers and list items in one network
LEAST_STEPS = 100  # fewest steps that a network takes from a pool, for loading and analysis
LIMIT = 2**63
NUMBERS = int | float | Formula

Evaluate: TypeAlias = Callable[["Names"], Any]
DIMENSIONS = {  # the axes that an expression can name
    "in_channels": "C", "in_height": "H", "in_width": "W", "in_length": "L", "in_depth": "D", "in_tokens": "T",
}  # fmt: skip


class Fault(Exception):
    """A value that the language does not allow; the text says why. Any other exception is a bug in archcalc."""


class Misuse(Fault):
    """A wrong argument of a function; a hint shows how to write the call."""


class Budget:
    """The steps that are left for one spec, at most those that are left in the pool."""

    def __init__(self, steps: int = MAX_STEPS) -> None:
        self.pool = tightest()
        self.shared = self.pool is not None and self.pool.left < steps
        self.steps = self.left = self.pool.left if self.pool and self.shared else steps

    def spend(self, steps: int = 1) -> None:
        """Take `steps`. Raises Fault if too few are left."""
        self.left -= steps
        if self.left < 0:
            raise Fault(f"takes more than {self._limit()}")

    def _limit(self) -> str:
        if self.pool and self.shared:
            return f"the {self.steps:,} steps left for {self.pool.purpose} (of {self.pool.steps:,})"
        return f"{self.steps:,} steps to expand"

    def close(self, least: int) -> None:
        """Take the spent steps from the pool, and `least` for other work."""
        take(least + max(0, self.steps - max(0, self.left)))


@dataclass(frozen=True)
class Reference:
    """A block or operator that is named as a value, e.g. `block: bottleneck`."""

    name: str

    def __str__(self) -> str:
        return self.name


@lru_cache(maxsize=64)
def references(names: tuple[str, ...]) -> Mapping[str, Reference]:
    """Return blocks and operators as values, by their names."""
    return {name: Reference(name) for name in names}


@dataclass(frozen=True)
class Tensor:
    """The output of a labelled step as the value of a block's parameter: the label, and the node."""

    label: str
    node: int

    def __str__(self) -> str:
        return self.label


class Names(dict[str, Any]):
    """The names that an expression sees: its own, those around it, the input's dimensions, blocks and operators.

    `later` are params that are not computed yet; an error for one of them says so.
    """

    __slots__ = ("budget", "later", "library", "parent", "read", "shape")

    def __init__(
        self, values: Mapping[str, Any], library: Mapping[str, Any], budget: Budget, parent: Names | None = None
    ) -> None:
        super().__init__(values)
        self.library = library
        self.budget = budget
        self.parent = parent
        self.later: frozenset[str] = parent.later if parent else frozenset()
        self.shape = Shape()
        if parent is None:
            self.read: dict[str, Any] = {}  # those of these that were read from inside

    def inner(self, values: Mapping[str, Any], shape: Shape) -> Names:
        """Return these names with more inside, for an input of this shape."""
        names = Names(values, self.library, self.budget, self)
        names.shape = shape
        return names

    def __missing__(self, name: str) -> Any:
        around = self.parent
        while around is not None:
            if name in around:
                value = around[name]
                if around.parent is None:
                    around.read[name] = value
                return value
            around = around.parent
        if name in DIMENSIONS and DIMENSIONS[name] in self.shape.axes:
            return self.shape.size(DIMENSIONS[name])
        if name in self.library:
            return self.library[name]
        raise KeyError(name)

    def value(self, name: str) -> Any:
        """Return the value of a name, None if there is none."""
        try:
            return self[name]
        except KeyError:
            return None

    def known(self) -> list[str]:
        """Return all names, for suggestions."""
        around = self.parent.known() if self.parent else [*self.library, *FUNCTIONS, *DIMENSIONS]
        return [*self, *around]


def leaves(value: Any, limit: int = MAX_LEAVES, depth: int = 0) -> int:
    """Count the values of a list, including inner lists. Raises Fault above `limit`, or if nested too deep."""
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
    """Return `value`; for a list take one step per value. Raises Fault if too few are left."""
    if isinstance(value, tuple):
        names.budget.spend(leaves(value))
    return value


def number(value: Any) -> Any:
    """Return `value` if it is a number within bounds; otherwise raise Fault."""
    if isinstance(value, int | Formula):
        if -LIMIT < value < LIMIT:
            return value
        raise Fault("a number beyond 2^63")
    if isinstance(value, float) and math.isfinite(value):
        return value
    raise Fault("not a finite real number")


def numeric(value: Any) -> Any:
    """Return `value` if it is a number, not a truth value; otherwise raise Fault."""
    if isinstance(value, bool) or not isinstance(value, NUMBERS):
        raise Misuse(f"needs numbers, not {show(value)}")
    return value


def whole(value: Any) -> int:
    """Return `value` if it is a whole number; otherwise raise Fault."""
    if isinstance(value, Formula):
        return operator.index(value)  # raises
    if isinstance(value, bool) or not isinstance(value, int):
        raise Misuse(f"needs whole numbers, not {show(value)}")
    return value


def listed(value: Any) -> tuple[Any, ...]:
    """Return `value` if it is a list; otherwise raise Fault."""
    if not isinstance(value, tuple):
        raise Misuse(f"needs a list, not {show(value)}")
    return value


def add(left: Any, right: Any) -> Any:
    """Add numbers, or join lists."""
    if isinstance(left, tuple) or isinstance(right, tuple):
        return listed(left) + listed(right)
    return numeric(left) + numeric(right)


def multiply(left: Any, right: Any) -> Any:
    """Multiply numbers, or repeat a list: `[64] * 3`, `3 * [64]`."""
    items, times = (left, right) if isinstance(left, tuple) else (right, left)
    if not isinstance(items, tuple):
        return numeric(left) * numeric(right)
    if len(items) * whole(times) > MAX_LEAVES or leaves(items) * times > MAX_LEAVES:
        raise Fault(f"a list of more than {MAX_LEAVES:,} values")
    return items * times


def divide(left: Any, right: Any) -> Any:
    """Divide exactly if the result is whole: 6 / 3 is the integer 2, 7 / 2 is 3.5."""
    left, right = numeric(left), divisor(right)
    if isinstance(left, int) and isinstance(right, int) and left % right == 0:
        return left // right
    return left / right


def divisor(value: Any) -> Any:
    """Return `value` if it is not 0; otherwise raise Fault."""
    if numeric(value) == 0:
        raise Fault("division by zero")
    return value


def power(left: Any, right: Any) -> Any:
    """Compute `left ** right`. Raises Fault, before computing it, if it is out of bounds."""
    if numeric(right) < 0:
        divisor(left)
    if isinstance(numeric(left), int) and abs(left) > 1 and right > 64:
        raise Fault("a number beyond 2^63")
    try:
        return left**right
    except OverflowError:  # of floats
        raise Fault("a number beyond bounds") from None


def comparable(left: Any, right: Any) -> bool:
    """Whether two values have an order: numbers, texts, or lists whose first different items have one."""
    if isinstance(left, tuple) and isinstance(right, tuple):
        pair = next(((a, b) for a, b in zip(left, right, strict=False) if a != b), None)
        return pair is None or comparable(*pair)
    return any(isinstance(left, kind) and isinstance(right, kind) for kind in (NUMBERS, str))


def ordered(compare: Callable[[Any, Any], bool]) -> Callable[[Any, Any], bool]:
    """Wrap a comparison: raise Fault for values without an order."""

    def run(left: Any, right: Any) -> bool:
        if not comparable(left, right):
            raise Fault(f"{show(left)} and {show(right)} have no order")
        return compare(left, right)

    return run


def contains(item: Any, items: Any) -> bool:
    """Whether a list has an item, or a text has a part."""
    if isinstance(items, str) and isinstance(item, str):
        return item in items
    return item in listed(items)


def item(items: Any, index: Any) -> Any:
    """Return `items[index]` of a list or text; a figure with parts has its own rules."""
    if not isinstance(items, tuple | str):
        if not hasattr(items, "__getitem__"):
            raise Fault(f"{show(items)} is not a list")
        return items[index]
    if not -len(items) <= whole(index) < len(items):
        raise Fault("no item at that index")
    return items[index]


def part(items: Any, *bounds: Any) -> Any:
    """Return `items[start:stop:step]` of a list or text."""
    if not isinstance(items, str):
        listed(items)
    for bound in bounds:
        if bound is not None:
            whole(bound)
    if bounds[-1] == 0:
        raise Fault("a step of 0")
    return items[slice(*bounds)]


def length(items: Any) -> int:
    """Return the number of values in a list, or of characters in a text."""
    return len(items if isinstance(items, str) else listed(items))


def span(*bounds: Any) -> tuple[int, ...]:
    """Return `range` as a list. Raises Fault if it is too long."""
    start, stop, step = map(whole, ((0, *bounds, 1), (*bounds, 1), bounds)[len(bounds) - 1])
    if step == 0:
        raise Fault("a step of 0")
    if -((start - stop) // step) >= MAX_LEAVES:
        raise Fault(f"a list of more than {MAX_LEAVES:,} values")
    return tuple(range(start, stop, step))


def rounded(value: Any, digits: Any = None) -> Any:
    """Round a number half to even, as Python does, to `digits` after the point."""
    if digits is not None and not -20 <= whole(digits) <= 20:
        raise Fault("digits must be a number from -20 to 20")
    try:
        return round(numeric(value), digits)
    except OverflowError:  # next to the largest float
        raise Fault("a number beyond bounds") from None


def some_numbers(values: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return several numbers, or those of one list. Raises Fault if there are none."""
    items = listed(values[0]) if len(values) == 1 else values
    if not items:
        raise Misuse("needs at least one value")
    return tuple([numeric(item) for item in items])


def together(*lists: Any) -> tuple[Any, ...]:
    """Return `zip` of lists of equal length. Raises Fault for different lengths."""
    if len({len(listed(items)) for items in lists}) > 1:
        raise Fault(f"needs lists of equal length, not {' and '.join(str(len(items)) for items in lists[:8])} values")
    return tuple(zip(*lists, strict=True))


def numbered(items: Any, start: Any = 0) -> tuple[Any, ...]:
    """Return `enumerate` as a list."""
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
    """A function of the language: how to write it, the fewest and most arguments, and its code."""

    usage: str
    least: int
    most: int
    run: Callable[..., Any]


ANY = 10_000  # more arguments than fit in an expression
FUNCTIONS = {
    "abs": Function("abs(number)", 1, 1, lambda value: abs(numeric(value))),
    "enumerate": Function("enumerate(list)", 1, 2, numbered),
    "int": Function("int(number)", 1, 1, lambda value: value if isinstance(value, Formula) else int(numeric(value))),
    "len": Function("len(list)", 1, 1, length),
    "max": Function("max(a, b, …) or max(list)", 1, ANY, lambda *values: max(some_numbers(values))),
    "min": Function("min(a, b, …) or min(list)", 1, ANY, lambda *values: min(some_numbers(values))),
    "range": Function("range(stop), range(start, stop) or range(start, stop, step)", 1, 3, span),
    "round": Function("round(number) or round(number, digits)", 1, 2, rounded),
    "sum": Function("sum(list)", 1, 1, lambda items: sum(numeric(item) for item in listed(items))),
    "zip": Function("zip(list, list, …)", 0, ANY, together),
}
