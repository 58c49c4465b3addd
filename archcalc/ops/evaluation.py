"""Values of formulas of symbols: over arrays, and between which numbers they are."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import zip_longest
from typing import Any, TypeAlias

from archcalc.ops.symbols import Formula, Quotient, common_divisor

Span: TypeAlias = Mapping[str, tuple[int, int]]  # the least and the largest number of each symbol


def span(formula: Any, of: Span) -> tuple[int, int]:
    """Return numbers between which a formula is, and each part of its sum, for symbols between these numbers."""
    if not isinstance(formula, Formula):
        return formula or 0, formula or 0
    low = high = 0
    for monomial, factor in formula.terms.items():
        least, most = factor, factor
        for atom, power in monomial:
            for _ in range(power):
                ends = [end * own for end in (least, most) for own in _span(atom, of)]
                least, most = min(ends), max(ends)
        low, high = low + least, high + most
    return low, high


def parts(formula: Any) -> Iterator[Any]:
    """Yield a formula, and those whose quotients and divisors it has: they are evaluated, too."""
    yield formula
    for atom in formula.atoms() if isinstance(formula, Formula) else ():
        if not isinstance(atom, str):
            yield from parts(atom.of)


def factors(formula: Any) -> list[int]:
    """Return the numbers by which its terms are multiplied."""
    return [*formula.terms.values()] if isinstance(formula, Formula) else []


def _span(atom: Any, of: Span) -> tuple[int, int]:
    if isinstance(atom, str):
        return of[atom]
    low, high = span(atom.of, of)
    return (low // atom.number, high // atom.number) if isinstance(atom, Quotient) else (1, atom.number)


def evaluate(formula: Any, values: Mapping[str, Any], atoms: dict[Any, Any]) -> Any:
    """Evaluate a formula over arrays; `atoms` remembers the values of quotients and divisors.

    Terms with the same atoms but for one symbol are added before they are multiplied: most arrays then have only the
    axis of this symbol. Products of the same axes are added first, so that few sums are over all combinations.
    """
    if not isinstance(formula, Formula):
        return formula
    symbol = _most_frequent(formula)
    sums: dict[Any, Any] = {}
    for monomial, factor in formula.terms.items():
        own = [(atom, power) for atom, power in monomial if _of_one(atom, symbol)]
        others = monomial.difference(own)
        sums[others] = sums.get(others, 0) + factor * _product(own, values, atoms)
    products = [total * _product(others, values, atoms) if others else total for others, total in sums.items()]
    products.sort(key=lambda own: getattr(own, "size", 1), reverse=True)
    result = products.pop(0)
    while products:
        result = result + products.pop(min(range(len(products)), key=lambda i: _enlarged(result, products[i])))
    return result


def _enlarged(first: Any, second: Any) -> int:
    """Return the size of a sum."""
    shapes = zip_longest(getattr(first, "shape", ()), getattr(second, "shape", ()), fillvalue=1)
    return math.prod([max(sizes) for sizes in shapes])


def _most_frequent(formula: Formula) -> str:
    names = Counter(name for monomial in formula.terms for atom, _ in monomial
                    for name in ([atom] if isinstance(atom, str) else sorted(atom.of.symbols())))  # fmt: skip
    return names.most_common(1)[0][0]


def _of_one(atom: Any, symbol: str) -> bool:
    return atom == symbol if isinstance(atom, str) else atom.of.symbols() == {symbol}


def _product(powers: Any, values: Mapping[str, Any], atoms: dict[Any, Any]) -> Any:
    return math.prod([_atom(atom, values, atoms) for atom, power in powers for _ in range(power)])


def _atom(atom: Any, values: Mapping[str, Any], atoms: dict[Any, Any]) -> Any:
    if isinstance(atom, str):
        return values[atom]
    if atom not in atoms:
        of = evaluate(atom.of, values, atoms)
        atoms[atom] = of // atom.number if isinstance(atom, Quotient) else common_divisor(of, atom.number)
    return atoms[atom]
