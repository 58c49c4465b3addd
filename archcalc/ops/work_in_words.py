"""Arithmetic in words, for the help of operators whose work is stated per value."""

from __future__ import annotations

from collections.abc import Mapping

OPERATIONS = {  # names of the kinds of work, singular and plural
    "add": ("an addition", "additions"),
    "mul": ("a multiplication", "multiplications"),
    "div": ("a division", "divisions"),
    "compare": ("a comparison", "comparisons"),
    "exp": ("a power of e", "powers of e"),
    "log": ("a logarithm", "logarithms"),
    "tanh": ("a tanh", "tanh"),
}


def in_words(work: Mapping[str, int]) -> str:
    """`an addition, 2 comparisons and a division`; "" without work."""
    counts = [OPERATIONS[kind][0] if n == 1 else f"{n} {OPERATIONS[kind][1]}" for kind, n in work.items()]
    if not counts:
        return ""
    return " and ".join(filter(None, (", ".join(counts[:-1]), counts[-1])))
