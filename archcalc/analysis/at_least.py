"""Sums of figures of which some are unknown: lower bounds, which texts show as `≥ 1,234`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any


class AtLeast(int):
    """A sum of the known figures where others are unknown; data has the number alone."""

    def __format__(self, form: str) -> str:
        return f"≥ {int(self):{form}}"


def add_known(counts: Iterable[int | None]) -> int | None:
    """Add up; if a count is unknown or an AtLeast, the sum is an AtLeast, or None where it is 0."""
    found = list(counts)
    known = [count for count in found if count is not None]
    if len(known) == len(found) and AtLeast not in map(type, known):
        return sum(known)
    return AtLeast(sum(known)) if any(known) else None


def change(before: int | None, after: int | None) -> int | None:
    """Return after − before; None if one of them is unknown or a lower bound."""
    return after - before if type(before) is type(after) is int else None


def bounded(figures: Mapping[str, Any]) -> list[str]:
    """Return the keys of the figures that are lower bounds."""
    return [key for key, value in figures.items() if isinstance(value, AtLeast | AtLeastRatio)]


class AtLeastRatio(float):
    """The ratio of an AtLeast to a known figure."""


def ratio(value: float | None, base: float | None) -> float | None:
    """Return value / base; None if the base is 0 or not known exactly, or if the value is unknown."""
    if value is None or not base or type(base) is AtLeast:
        return None
    return AtLeastRatio(value / base) if type(value) is AtLeast else value / base
