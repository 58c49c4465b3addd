"""Whole numbers that are exact formulas of symbols: polynomials of symbols, quotients rounded down, and divisors.

Code runs on a `Formula` as on an integer. It decides a comparison at an example, in which each symbol is a number, and
notes a condition. What follows from the same decisions is the same formula, so it holds wherever all conditions do.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any, NamedTuple, TypeAlias

from archcalc.errors import Refusal

Monomial: TypeAlias = "frozenset[tuple[Atom, int]]"  # atoms with their powers
ONE: Monomial = frozenset()
BOUND = 2**20  # comparisons with larger numbers keep within the language's bounds, and are not shown


class NotSymbolic(Refusal, NotImplementedError):
    """What is computed needs a number, not a symbol."""


class Quotient(NamedTuple):
    """⌊of / number⌋."""

    of: Formula
    number: int

    def at(self, values: Mapping[str, Any]) -> Any:
        return self.of.at(values) // self.number


class Divisor(NamedTuple):
    """The greatest common divisor of a formula and a number."""

    of: Formula
    number: int

    def at(self, values: Mapping[str, Any]) -> Any:
        return common_divisor(self.of.at(values), self.number)


Atom: TypeAlias = str | Quotient | Divisor


class Condition(NamedTuple):
    """`formula` ≥ 0, = 0 or ≠ 0."""

    formula: Formula
    relation: str

    def holds(self, values: Mapping[str, Any]) -> bool:
        value = self.formula.at(values)
        return bool({"≥": value >= 0, "=": value == 0, "≠": value != 0}[self.relation])


class Example:
    """A number for each symbol, to decide comparisons, and the conditions that follow; `as_numbers`: write it, too."""

    def __init__(self, values: Mapping[str, int], as_numbers: bool = False) -> None:
        self.values, self.as_numbers = dict(values), as_numbers
        self.conditions: dict[Condition, None] = {}
        self.bounds: dict[Condition, None] = {}  # likewise, of comparisons with the bounds of the language

    def symbol(self, name: str) -> Formula:
        """Return a symbol as a formula."""
        return _of(name, self)

    def note(self, formula: Any, relation: str) -> None:
        """Note a condition that holds at the example, unless it always holds."""
        if not isinstance(formula, Formula):
            return
        if relation == "≠" and formula.never_negative():
            self.note(formula - 1, "≥")
        elif relation != "≥":
            self.conditions[Condition(formula, relation)] = None
        elif not formula.never_negative():
            self.conditions |= {Condition(factor, relation): None for factor in formula.factors()}


class Formula:
    """A polynomial: whole factors by monomial, at least one of them with an atom.

    Numbers that do not depend on a symbol are plain integers. Quotients have one form: ⌊(⌊a/2⌋ + 1)/2⌋ is ⌊(a + 2)/4⌋.
    """

    __slots__ = ("_hash", "_value", "example", "terms")

    def __init__(self, terms: dict[Monomial, int], example: Example) -> None:
        self.terms = terms
        self.example = example
        self._hash = hash((id(example), frozenset(terms.items())))
        self._value: Any = None

    def at(self, values: Mapping[str, Any]) -> Any:
        """Evaluate it; the values may be integers, columns of NumPy, or anything else with their arithmetic."""
        products = (math.prod([_at(atom, values) ** power for atom, power in own]) for own in self.terms)
        return sum(factor * product for factor, product in zip(self.terms.values(), products, strict=True))

    @property
    def value(self) -> int:
        """Its value at the example."""
        if self._value is None:
            self._value = self.at(self.example.values)
        return int(self._value)

    @property
    def constant(self) -> int:
        """The number in the sum."""
        return self.terms.get(ONE, 0)

    def symbols(self) -> set[str]:
        """Return the names of the symbols in it."""
        return {name for atom in self.atoms() for name in ([atom] if isinstance(atom, str) else atom.of.symbols())}

    def atoms(self) -> dict[Atom, None]:
        """Return its atoms, in order of appearance."""
        return {atom: None for monomial in self.terms for atom, _ in monomial}

    def never_negative(self) -> bool:
        """Whether it is clear that it is at least 0 for all symbols of at least 1."""
        terms = self.terms.items()
        least = sum(factor for monomial, factor in terms if all(isinstance(atom, str) for atom, _ in monomial))
        quotients = [atom for atom in self.atoms() if isinstance(atom, Quotient)]
        grows = all(factor > 0 for monomial, factor in terms if monomial)
        return least >= 0 and grows and all(quotient.of.never_negative() for quotient in quotients)

    def factors(self) -> list[Formula]:
        """For a·b − 1 ≥ 0 return a − 1 and b − 1; of other formulas itself."""
        ((monomial, factor), *others) = sorted(self.terms.items(), key=lambda term: not term[0])
        if others != [(ONE, -1)] or factor < 1:
            return [self]
        made = [_of(atom, self.example) - 1 for atom, _ in monomial]
        return [one for one in made if not one.never_negative()] if all(one.value >= 0 for one in made) else [self]

    # Arithmetic

    def __add__(self, other: Any) -> Any:
        return _combined(self, other, 1)

    __radd__ = __add__

    def __sub__(self, other: Any) -> Any:
        return _combined(self, other, -1)

    def __rsub__(self, other: Any) -> Any:
        return -self + other

    def __neg__(self) -> Any:
        return self * -1

    def __mul__(self, other: Any) -> Any:
        made: dict[Monomial, int] = {}
        for first, factor in self.terms.items():
            for second, another in _terms(other).items():
                product = _product(first, second)
                made[product] = made.get(product, 0) + factor * another
        return _formula(made, self.example)

    __rmul__ = __mul__

    def __pow__(self, power: Any) -> Any:
        if type(power) is not int or power < 0:
            raise NotSymbolic(f"a power of {self} needs a whole number")
        return math.prod([self] * power)

    def __floordiv__(self, other: Any) -> Any:
        return _quotient(self, other, self.example)

    def __rfloordiv__(self, other: Any) -> Any:
        return _quotient(other, self, self.example)

    def __mod__(self, other: Any) -> Any:
        return self - (self // other) * other

    def __rmod__(self, other: Any) -> Any:
        return other - (other // self) * self

    def __abs__(self) -> Any:
        return self if self >= 0 else -self

    def __truediv__(self, other: Any) -> Any:
        if self % other == 0:
            return self // other
        raise NotSymbolic(f"{self} is divided by {other} to a fraction")

    # Comparisons, decided at the example

    def _decide(self, difference: Any, relation: str) -> bool:
        if not isinstance(difference, Formula):
            return bool(difference >= 0 if relation == "≥" else difference == 0)
        value = difference.value
        if relation == "≥":
            self.example.note(difference if value >= 0 else -difference - 1, "≥")
            return value >= 0
        self.example.note(difference, "=" if value == 0 else "≠")
        return value == 0

    def __ge__(self, other: Any) -> bool:
        return self._bounded(self - other) if _beyond(other) else self._decide(self - other, "≥")

    def __le__(self, other: Any) -> bool:
        return self._bounded(other - self) if _beyond(other) else self._decide(other - self, "≥")

    def _bounded(self, difference: Any) -> bool:
        self.example.bounds[Condition(difference if difference.value >= 0 else -difference - 1, "≥")] = None
        return bool(difference.value >= 0)

    def __gt__(self, other: Any) -> bool:
        return not self <= other

    def __lt__(self, other: Any) -> bool:
        return not self >= other

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Formula) and self._hash == other._hash and self.terms == other.terms:
            return True
        return self._decide(self - other, "=") if isinstance(other, Formula | int) else False

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __bool__(self) -> bool:
        return self != 0

    def __hash__(self) -> int:
        return self._hash

    def _refuse(self, *others: Any) -> Any:
        raise NotSymbolic(f"{self} is a symbol where a number is needed")

    __index__ = __int__ = __float__ = __round__ = __rtruediv__ = __rpow__ = __divmod__ = __rdivmod__ = _refuse

    def divisor(self, number: int) -> Any:
        """Return its greatest common divisor with a number."""
        rest = _formula({monomial: factor % number for monomial, factor in self.terms.items()}, self.example)
        if not isinstance(rest, Formula):
            return math.gcd(rest, number)
        return _of(Divisor(rest, number), self.example)

    def replaced(self, atom: Atom, by: Any) -> Any:
        """Return it with a formula in place of an atom."""
        made: Any = 0
        for monomial, factor in self.terms.items():
            powers = dict(monomial)
            power = powers.pop(atom, 0)
            made = made + _formula({frozenset(powers.items()): factor}, self.example) * by**power
        return made

    def text(self) -> str:
        """Write it, with the highest powers first, and a factor of all terms before them."""
        shared = frozenset[tuple[Any, int]]()
        if len(self.terms) > 1:
            powers = [dict(monomial) for monomial in self.terms]
            least = {atom: min(own.get(atom, 0) for own in powers) for atom in powers[0]}
            shared = frozenset((atom, power) for atom, power in least.items() if power)
        terms = [(_without(monomial, shared), factor) for monomial, factor in self.terms.items()]
        terms.sort(key=lambda term: (-sum(power for _, power in term[0]), _ordered(_monomial_text(term[0]))))
        text = ""
        for monomial, factor in terms:
            number = f"{abs(factor):,}" * (abs(factor) > 1 or not monomial)
            product = "·".join(filter(None, [number, _monomial_text(monomial)]))
            text += (" − " if text else "−") * (factor < 0) + " + " * bool(text and factor > 0) + product
        return f"{_monomial_text(shared)}·({text})" if shared else text

    def __format__(self, form: str = "") -> str:
        return str(self.value) if self.example.as_numbers else self.text()

    __repr__ = __format__


SUPERSCRIPTS = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")


def common_divisor(length: Any, number: int) -> Any:
    """Return the greatest common divisor of a dimension, which may be a formula or a column, and an integer."""
    if isinstance(length, int):
        return math.gcd(length, number)
    if isinstance(length, Formula):
        return length.divisor(number)
    import numpy as np  # it is installed: the dimension is one of its arrays

    return np.gcd(length, number)


def _at(atom: Atom, values: Mapping[str, Any]) -> Any:
    return values[atom] if isinstance(atom, str) else atom.at(values)


def _beyond(other: Any) -> bool:
    return isinstance(other, int) and abs(other) >= BOUND


def _terms(value: Any) -> dict[Monomial, int]:
    if isinstance(value, Formula):
        return value.terms
    if isinstance(value, int):
        return {ONE: int(value)}
    raise NotSymbolic(f"{value} is no whole number, so it cannot be multiplied or added to a symbol")


def _formula(terms: dict[Monomial, int], example: Example) -> Any:
    """Return a formula; a plain integer if there is no symbol in it."""
    kept = {monomial: factor for monomial, factor in terms.items() if factor}
    return Formula(kept, example) if kept.keys() - {ONE} else kept.get(ONE, 0)


def _combined(first: Formula, second: Any, sign: int) -> Any:
    made = dict(first.terms)
    for monomial, factor in _terms(second).items():
        made[monomial] = made.get(monomial, 0) + sign * factor
    return _formula(made, first.example)


def _product(first: Monomial, second: Monomial) -> Monomial:
    powers = dict(first)
    for atom, power in second:
        powers[atom] = powers.get(atom, 0) + power
    return frozenset(powers.items())


def _without(monomial: Monomial, shared: Monomial) -> Monomial:
    """Divide a monomial by one that is contained in it."""
    less = dict(shared)
    left = [(atom, power - less.get(atom, 0)) for atom, power in monomial]
    return frozenset((atom, power) for atom, power in left if power)


def _quotient(over: Any, by: Any, example: Example) -> Any:
    """Divide and round down: take out the whole multiples, and write what is left in one form."""
    if isinstance(by, Formula):
        return _exact(over, by, example)
    _terms(by)  # raises for a fraction
    if by < 0:
        over, by = -over, -by
    cut = {own: factor // by if factor > 0 or not own else -(-factor // by) for own, factor in over.terms.items()}
    whole = _formula(cut, example)
    rest = over - whole * by
    return whole + (_rest(rest, by, example) if isinstance(rest, Formula) else rest // by)


def _rest(rest: Formula, by: int, example: Example) -> Any:
    """Divide a formula whose factors are smaller than the divisor."""
    moving = [factor for monomial, factor in rest.terms.items() if monomial]
    if max(moving) < 0:  # ⌊−a/n⌋ = −⌊(a + n − 1)/n⌋
        return -_quotient(by - 1 - rest, by, example)
    if min(moving) < 0:
        more = _formula({monomial: factor // by for monomial, factor in rest.terms.items()}, example)
        return more + _rest(rest - more * by, by, example)
    common = math.gcd(by, *moving)
    if common > 1:
        terms = {monomial: factor // common for monomial, factor in rest.terms.items()}
        return _quotient(_formula(terms, example), by // common, example)
    inner = next(iter(rest.atoms()))
    if isinstance(inner, Quotient) and (rest - rest.constant).terms == _of(inner, example).terms:
        return _quotient(inner.of + rest.constant * inner.number, inner.number * by, example)
    return _of(Quotient(rest, by), example)


def _of(atom: Atom, example: Example) -> Formula:
    return Formula({frozenset({(atom, 1)}): 1}, example)


def _exact(over: Any, by: Formula, example: Example) -> Any:
    """Divide by a product of symbols. Raises NotSymbolic if something is left, which depends on the symbols."""
    ((monomial, factor), *others) = by.terms.items()
    example.note(by, "≠")
    if not others:
        terms = {_without(own, monomial): count // factor for own, count in _terms(over).items() if _has(own, monomial)}
        whole = _formula(terms, example)
        rest = over - whole * by
        if type(rest) is int and not rest:
            return whole
    raise NotSymbolic(f"{over} is divided by {by}, a symbol")


def _has(monomial: Monomial, part: Monomial) -> bool:
    powers = dict(monomial)
    return all(powers.get(atom, 0) >= power for atom, power in part)


def _monomial_text(monomial: Monomial) -> str:
    texts = [atom_text(atom) + str(power).translate(SUPERSCRIPTS) * (power > 1) for atom, power in monomial]
    return "·".join(sorted(texts))


def _ordered(name: str) -> str:
    return re.sub(r"\d+", lambda digits: digits[0].zfill(4), name)  # size10 after size9


def atom_text(atom: Atom) -> str:
    """Write a symbol, a quotient or a divisor: `⌊(size + 1)/2⌋`."""
    if isinstance(atom, str):
        return atom
    of = str(atom.of)
    if isinstance(atom, Divisor):
        return f"gcd({of}, {atom.number})"
    return f"⌊{f'({of})' if ' ' in of else of}/{atom.number}⌋"
