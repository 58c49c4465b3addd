"""Integers that remember how they were computed.

The arithmetic of an operator runs on plain integers to compute a figure, and on `Term`s to print its formula. Both use
the same code, so they cannot differ.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


class Term(int):
    """An integer with its formula as text; `rank` is 0 for a number, 1 for a product, 2 for a sum.

    Sums, products and quotients keep their text: `⌊(56 + 2·1 − 3)/1⌋ + 1`, without ⌊⌋ if one number divides another.
    Parentheses stand where they are needed, and around a product to the right of another product:
    `64·224·224·(3·3·3)`. Other operations return a plain number.
    """

    text: str
    rank: int

    def __new__(cls, value: int, text: str = "", rank: int = 0) -> Term:
        """Create a number, or `value` with `text` as its formula."""
        term = super().__new__(cls, value)
        term.text = text or str(int(value))
        term.rank = rank
        return term

    def __mul__(self, other: Any) -> Any:
        return times(self, other)

    def __rmul__(self, other: Any) -> Any:
        return times(other, self)

    def __add__(self, other: Any) -> Any:
        return plus(self, other)

    def __radd__(self, other: Any) -> Any:
        return plus(other, self)

    def __sub__(self, other: Any) -> Any:
        return plus(self, other, sign="−")

    def __rsub__(self, other: Any) -> Any:
        return plus(other, self, sign="−")

    def __floordiv__(self, other: Any) -> Any:
        return over(self, other)

    def __neg__(self) -> Any:
        return Term(-int(self), f"−{self.text}" if self.rank < 2 else f"−({self.text})", 2)


def traced(value: Any) -> Any:
    """Convert the integers in a value, such as a shape, to Terms."""
    if type(value) is int:
        return Term(value)
    if isinstance(value, tuple) and not hasattr(value, "_fields"):
        return type(value)(map(traced, value))
    return value


def term(value: int) -> Term:
    """Convert `value` to a Term."""
    return value if isinstance(value, Term) else Term(value)


def times(left: int, right: int) -> Term:
    """Multiply; omit a factor 1 that the spec does not write (an empty product, a condition)."""
    a, b = term(left), term(right)
    if type(left) in (int, bool) and left == 1:
        return b
    if type(right) in (int, bool) and right == 1:
        return a
    first = f"({a.text})" if a.rank == 2 else a.text
    second = f"({b.text})" if b.rank else b.text
    return Term(int(a) * int(b), f"{first}·{second}", 1)


def plus(left: int, right: int, sign: str = "+") -> Term:
    """Add or subtract; omit a plain 0."""
    a, b = term(left), term(right)
    value = int(a) + int(b) if sign == "+" else int(a) - int(b)
    if type(right) is int and right == 0:
        return a
    if type(left) is int and left == 0 and sign == "+":
        return b
    second = f"({b.text})" if b.rank == 2 and sign == "−" else b.text
    return Term(value, f"{a.text} {sign} {second}", 2)


def over(left: int, right: int) -> Term:
    """Divide and round down; omit a divisor 1 of a product or number."""
    a, b = term(left), term(right)
    whole = a.rank < 2 and int(a) % int(b) == 0
    if whole and int(b) == 1:
        return a
    text = f"{f'({a.text})' if a.rank == 2 else a.text}/{f'({b.text})' if b.rank else b.text}"
    return Term(int(a) // int(b), text if whole else f"⌊{text}⌋", int(whole))


def weight_text(sizes: Sequence[int], x: Any) -> str:
    """PyTorch's (out, in, height, width) as a product in the usual order: `(3·3·64)·128`."""
    out, *rest = sizes or (1,)
    fan_in = [*rest[1:], rest[0]] if len(rest) == 1 + len(getattr(x, "lengths", ())) else rest
    text = "·".join(str(dim) for dim in fan_in)
    return f"({text})·{out}" if len(rest) > 1 else f"{text}·{out}" if rest else str(out)
