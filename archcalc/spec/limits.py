"""Limits for many networks together, so that one command stays bounded, whatever its specs contain.

The budget of one network is part of the language (`spec/functions.py`); it takes its steps from the open pools.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar


class Pool:
    """Steps for a `purpose`."""

    def __init__(self, steps: int, purpose: str) -> None:
        self.steps = self.left = steps
        self.purpose = purpose


_open: ContextVar[tuple[Pool, ...]] = ContextVar("open", default=())  # the innermost first


@contextmanager
def shared(steps: int, purpose: str) -> Iterator[None]:
    """Allow so many steps for all networks and formulas inside the `with` block together."""
    token = _open.set((Pool(steps, purpose), *_open.get()))
    try:
        yield
    finally:
        _open.reset(token)


def tightest() -> Pool | None:
    """Return the open pool with the fewest steps left."""
    return min(_open.get(), key=lambda pool: pool.left, default=None)


def take(steps: int) -> None:
    """Take steps from every open pool, down to 0."""
    for pool in _open.get():
        pool.left = max(0, pool.left - steps)
