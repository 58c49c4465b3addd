"""What `list` shows: networks by words, and by `--where`, an expression such as `params < 5M and macs < 1G`."""

from __future__ import annotations

import ast
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from itertools import pairwise
from math import inf
from typing import Any, TypeAlias

import click

from archcalc.analysis.at_least import AtLeast
from archcalc.errors import ArchcalcError, Place, Refusal, Source, SpecError, shorten, suggest
from archcalc.network_names import contains, fits, is_pattern
from archcalc.printed import Exact, read_amount
from archcalc.spec.expression import Expression
from archcalc.spec.yaml import Scalar

Row: TypeAlias = Mapping[str, Any]
Test: TypeAlias = Callable[[Row], "bool | None"]  # None: a figure is unknown

FIGURES = ("params", "macs", "activations", "depth", "receptive_field", "year")  # that `list` has
MAX_TEXT = 1000  # characters, and so less than 500 nested `not`
EXAMPLE = "write e.g. params < 5M and (depth >= 50 or year > 2015)"
COMPARISONS = {
    ast.Lt: operator.lt, ast.LtE: operator.le, ast.Gt: operator.gt, ast.GtE: operator.ge, ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
}  # fmt: skip
_NUMBER = r"(?<![\w.])([0-9]{1,18}(?:\.[0-9]{1,18})?)"
_SUFFIXED = re.compile(_NUMBER + r"(?: (?!(?:and|or|not|if|in|is)\b))?([A-Za-z]+)(?!\w)")  # 5M, or 5 M as in tables


class Where(Expression):
    """A test of the rows of `list`. Raises SpecError, with a caret, for a mistake.

    Python's parser has no `5M`, so it reads a number of the same length there.
    """

    def __init__(self, text: str) -> None:
        self.given = text.strip()
        place = Place(Source("--where", [self.given]), 1, 1, len(self.given[:MAX_TEXT]))
        if len(self.given) > MAX_TEXT:
            raise SpecError(f"the expression has {len(self.given):,} characters; at most {MAX_TEXT:,}", place)
        self.suffixed = {found.start(): found for found in _SUFFIXED.finditer(self.given)}
        super().__init__(Scalar(_SUFFIXED.sub(lambda found: "1" * len(found[0]), self.given), place))
        self.text = self.given
        self.holds({})  # raises for what is no test

    def syntax_error(self, tree: Any) -> SpecError:
        """Return why the text is not an expression; show it as it was written."""
        self.text = self.given
        if end := re.search(r"\b(and|or|not)$", self.text):
            return self.wrong(*end.span(), f"nothing follows {end[0]}", EXAMPLE)
        error = super().syntax_error(tree)
        error.hint = error.hint or EXAMPLE
        return error

    def holds(self, row: Row) -> bool | None:
        """Return whether the test holds of a row; None where the answer is unknown."""
        return self.test(self.tree, row)

    def test(self, node: ast.expr, row: Row) -> bool | None:
        """Run a comparison, or comparisons joined by `and`, `or` and `not`: all, so that every mistake is seen."""
        if isinstance(node, ast.BoolOp):
            found, decides = [self.test(value, row) for value in node.values], isinstance(node.op, ast.Or)
            return decides if decides in found else None if None in found else not decides
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            inner = self.test(node.operand, row)
            return None if inner is None else not inner
        if not isinstance(node, ast.Compare):
            raise self.error(node, f"{self.written(node)} is not a comparison", EXAMPLE)
        tests = [COMPARISONS.get(type(op)) for op in node.ops]
        values = [self.side(part, row) for part in (node.left, *node.comparators)]
        if None in tests:
            raise self.error(node, f"{self.written(node)}: compare with < <= > >= == or !=", EXAMPLE)
        pairs = zip(tests, pairwise(values), strict=True)
        return None if None in values else all(test and test(*pair) for test, pair in pairs)

    def side(self, node: ast.expr, row: Row) -> Any:
        """Return the figure that a name stands for, None if it is unknown; or a number."""
        if not isinstance(node, ast.Name):
            return self.number(node)
        if node.id not in FIGURES:
            hint = suggest(node.id, FIGURES) or f"known: {', '.join(FIGURES)}"
            raise self.error(node, f"list has no figure {self.written(node)}", hint)
        return known(row.get(node.id))

    def number(self, node: ast.expr) -> Exact:
        """Return the value of `5M`, `0.5` or `224`."""
        found = self.suffixed.get(node.col_offset)
        if found is None:
            value = getattr(node, "value", None)
            if isinstance(value, bool) or not isinstance(value, int | float) or not -inf < value < inf:
                raise self.error(node, f"{self.written(node)} is not a figure or a number", EXAMPLE)
            return Fraction(str(value))
        try:
            return read_amount(found[0], "")
        except Refusal as error:
            raise self.error(node, str(error)) from None


def known(value: Any) -> Any:
    """Return a figure, the largest of several lengths; None if it is unknown or only a lower bound."""
    values = value if isinstance(value, list | tuple) else [value]
    unknown = any(own is None or isinstance(own, AtLeast) for own in values)
    return None if unknown or not values else max(values)


def read_where(ctx: click.Context, param: click.Parameter, value: str | None) -> Test | None:
    """Read the expression. Raises SpecError."""
    return None if value is None else Where(value).holds


def having(rows: Sequence[dict[str, Any]], words: Sequence[str]) -> list[dict[str, Any]]:
    """Return the rows whose network or family has one of these words. Raises ArchcalcError for a word that none has."""
    found = [[one for one in rows if _has(one, word)] for word in words]
    for word, own in zip(words, found, strict=True):
        if not own:
            hint = suggest(word, {str(one[key]) for one in rows for key in ("name", "family")})
            problem = f"no network or family has {shorten(word)!r} in its name"
            raise ArchcalcError(f"{problem}; {hint or '`archcalc list` shows all'}")
    names = {one["name"] for own in found for one in own}
    return [one for one in rows if one["name"] in names or not words]


def _has(row: Row, word: str) -> bool:
    if is_pattern(word):
        return fits(row["name"], word)
    return contains(row["name"], word) or contains(str(row["family"]), word)
