"""The rounds of a loop in a spec."""

from __future__ import annotations

import ast
from typing import Any, NamedTuple

from archcalc.codegen import trees
from archcalc.codegen.expressions import Context, Reader
from archcalc.codegen.facts import Facts
from archcalc.spec.layers import Each, Repeat


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


def loop_of(facts: Facts, plan: Repeat | Each, context: Context) -> Loop:
    """Return the rounds of a loop; none if it never ran."""
    reader, ran = Reader(facts, plan, context), facts.ran(plan.body)
    if isinstance(plan, Repeat):
        count = reader.value(plan.count.tree, True)
        count = count if ran or trees.known(count) else trees.const(0)
        rounds = [ast.comprehension(ast.Name("_", ast.Store()), trees.call("range", count), [], 0)]
        return Loop([] if trees.is_const(count, 0) else rounds, context, count)
    tree: Any = plan.rounds.tree
    inner, rounds = reader.loops(tree)
    if any(any(trees.references(loop.iter)) for loop in rounds):
        raise trees.Unstructured("a loop over blocks")
    return Loop(rounds if ran else [], inner)
