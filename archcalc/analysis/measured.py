"""Computed figures beside measured ones: plain data, without PyTorch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from archcalc.analysis.recipe import Recipe


class Check(NamedTuple):
    """One figure of a layer (`layer` "": of the network), as archcalc computes it and as PyTorch measures it."""

    layer: str
    figure: str
    expected: Any
    measured: Any
    tolerance: float = 0  # the largest difference that counts as equal
    spare: int = 0  # by how much the measured figure may be larger

    @property
    def equal(self) -> bool:
        """Whether both figures are equal, within the tolerance."""
        if self.tolerance or self.spare:
            return bool(-self.tolerance <= self.measured - self.expected <= self.tolerance + self.spare)
        return bool(self.expected == self.measured)


class PhaseMemory(NamedTuple):
    """Bytes of a phase of an inference or a training, as archcalc simulates them and as PyTorch measures them."""

    phase: str
    step: int  # 0: before training
    predicted: Mapping[str, int]  # by figure
    measured: Mapping[str, int]
    spare: Mapping[str, int]  # by how much a measured figure may be larger; figures that are not in it are not compared
    in_kernels: int | None = None  # by how much kernels lift the peak for themselves; None: `measured` contains it

    def checks(self) -> Iterator[Check]:
        """Yield the figures that are compared."""
        for figure, spare in self.spare.items():
            name = f"{figure} of {self.phase} {self.step}"
            yield Check("", name, self.predicted[figure], self.measured[figure], spare=spare)

    def differences(self) -> list[Check]:
        """Return the figures that differ."""
        return [check for check in self.checks() if not check.equal]


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
    phases: tuple[PhaseMemory, ...] = ()  # if memory is validated; `checks` has what is compared of them
    recipe: Recipe | None = None  # if memory is validated

    @property
    def failed(self) -> bool:
        """Whether a figure differs, or nothing could be compared."""
        return bool(self.differences) or not self.checks

    @property
    def differences(self) -> tuple[Check, ...]:
        """The checks that failed."""
        return tuple(check for check in self.checks if not check.equal)
