"""Conventions for FLOPs: each has a weight for every kind of arithmetic.

Papers, lectures and tools count differently and often do not say how. A convention has a name, a description and
weights for `ops.KINDS`; FLOPs are the weighted sum of an operator's work.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from archcalc.ops import KINDS


class Convention(NamedTuple):
    """A way to count FLOPs."""

    name: str
    text: str
    weights: Mapping[str, int]

    def flops(self, work: Mapping[str, int]) -> int:
        """Return the FLOPs of some work. Raises KeyError for a kind without a weight: unknown is not zero."""
        return sum(count * weight for kind, count in work.items() if (weight := self.weights[kind]))


_ONCE = dict.fromkeys(KINDS, 1)
_NONE = dict.fromkeys(KINDS, 0)
CONVENTIONS = {
    convention.name: convention
    for convention in (
        Convention("all", "2·MACs + every other arithmetic operation", _ONCE | {"mac": 2}),
        Convention("torch", "2·MACs and nothing else, as torch.utils.flop_counter", _NONE | {"mac": 2}),
        Convention("macs", "multiply-accumulates counted once, as most papers' “FLOPs”", _NONE | {"mac": 1}),
    )
}
