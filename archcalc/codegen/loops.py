"""The rounds of a loop in a spec."""

from __future__ import annotations

import ast
from typing import NamedTuple

from archcalc.codegen import trees
from archcalc.codegen.expressions import Context


class Loop(NamedTuple):
    """The rounds of a loop, the context of its body, and for a repeat the number of rounds."""

    rounds: list[ast.comprehension]
    inner: Context
    times: ast.expr | None = None

    @property
    def fixed(self) -> int | None:
        """The number of rounds of a repeat, if it is known."""
        return ast.literal_eval(self.times) if self.times and trees.known(self.times) else None

    def varying(self, formula: ast.expr) -> set[str]:
        """Return the loop's names in a formula."""
        return trees.names_in(formula) & trees.names_in(*(loop.target for loop in self.rounds))

    def total(self, each: ast.expr) -> ast.expr:
        """Return the sum of a formula over all rounds."""
        first = self.rounds[0]
        if len(self.rounds) > 1 or first.ifs or self.varying(each):
            return trees.call("sum", ast.GeneratorExp(each, self.rounds))
        return trees.binary(self.times or trees.simplified(trees.call("len", first.iter)), ast.Mult(), each)
