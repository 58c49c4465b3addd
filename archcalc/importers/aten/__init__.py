"""Rules for ATen functions that are not mapped to archcalc's own operators: pure Python, on sizes alone."""

from collections.abc import Mapping

from archcalc.importers.aten import elementwise, moving, products, reductions
from archcalc.importers.aten.call import AtenCall, Facts, Rule, Tensor

RULES: Mapping[str, Rule] = {**elementwise.RULES, **moving.RULES, **reductions.RULES, **products.RULES}

__all__ = ["RULES", "AtenCall", "Facts", "Tensor", "facts"]


def facts(call: AtenCall) -> Facts | None:
    """Return what is known about a call; None: there is no rule."""
    rule = RULES.get(call.name)
    known = call.name in moving.RULES or not any("complex" in one.dtype for one in (*call.tensors, *call.made))
    return rule(call) if rule and known else None
