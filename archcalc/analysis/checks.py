"""Computed figures beside measured ones: plain data, which whoever measures fills in."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple


class Check(NamedTuple):
    """One figure of a layer (or of the network, `layer` ""), as archcalc has it and as PyTorch does."""

    layer: str
    figure: str
    expected: Any
    measured: Any
    tolerance: float = 0  # how far a measured number may be off

    @property
    def equal(self) -> bool:
        """Whether the two agree."""
        if self.tolerance:
            return bool(abs(self.measured - self.expected) <= self.tolerance)
        return bool(self.expected == self.measured)


class Validation(NamedTuple):
    """All checks of one network, and the conditions they hold for."""

    network: str
    device: str
    batch: int
    dtype: str
    checks: tuple[Check, ...]
    seconds: float
    problem: str = ""  # why it could not be run as asked for
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
