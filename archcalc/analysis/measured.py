"""Computed figures beside measured ones: plain data, without PyTorch."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple


class Check(NamedTuple):
    """One figure of a layer (`layer` "": of the network), as archcalc computes it and as PyTorch measures it."""

    layer: str
    figure: str
    expected: Any
    measured: Any
    tolerance: float = 0  # the largest difference that counts as equal

    @property
    def equal(self) -> bool:
        """Whether both figures are equal, within the tolerance."""
        if self.tolerance:
            return bool(abs(self.measured - self.expected) <= self.tolerance)
        return bool(self.expected == self.measured)


class Validation(NamedTuple):
    """All checks of one network, and their conditions."""

    network: str
    device: str
    batch: int
    dtype: str
    checks: tuple[Check, ...]
    seconds: float
    problem: str = ""  # why the network could not be run
    remark: str = ""  # what was not compared
    uncounted: Mapping[str, int] = MappingProxyType({})  # FLOPs that PyTorch's counter leaves out, by operator

    @property
    def failed(self) -> bool:
        """Whether a figure differs, or nothing could be compared."""
        return bool(self.differences) or not self.checks

    @property
    def differences(self) -> tuple[Check, ...]:
        """The checks that failed."""
        return tuple(check for check in self.checks if not check.equal)
