"""Rules for ATen functions that are not mapped to archcalc's own operators: pure Python, on sizes alone."""

from archcalc.importers.aten.call import AtenCall, Facts, Kept, Tensor

__all__ = ["AtenCall", "Facts", "Kept", "Tensor", "facts"]


def facts(call: AtenCall) -> Facts | None:
    """Return what is known about a call; None: there is no rule."""
    return None
