"""Limits for many networks together, so that one command stays bounded, whatever its specs contain.

The budget of one network is part of the language (`spec/functions.py`); it takes its steps from the open pools.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar


class Pool:
    """Steps for a `purpose`; steps that are taken from it are also taken from the pool around it, `outer`."""

    def __init__(self, steps: int, purpose: str, outer: Pool | None) -> None:
        self.steps = self.left = steps
        self.purpose = purpose
        self.outer = outer


_pool: ContextVar[Pool | None] = ContextVar("pool", default=None)


@contextmanager
def shared(steps: int, purpose: str) -> Iterator[None]:
    """Allow so many steps for all networks and formulas inside the `with` block together."""
    token = _pool.set(Pool(steps, purpose, _pool.get()))
    try:
        yield
    finally:
        _pool.reset(token)


def tightest() -> Pool | None:
    """Return the open pool with the fewest steps left."""
    return min(_pools(), key=lambda pool: pool.left, default=None)


def take(steps: int) -> None:
    """Take steps from every open pool, down to 0."""
    for pool in _pools():
        pool.left = max(0, pool.left - steps)


def _pools() -> Iterator[Pool]:
    pool = _pool.get()
    while pool:
        yield pool
        pool = pool.outer
