"""What many networks may take together: the bound of a command, whatever the specs say that it reads.

The budget of one network is part of the language (`spec/functions.py`); it is drawn from the pool that it is in.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar


class Pool:
    """Steps for a `purpose`; what is taken of them is taken of those around it, `outer`, too."""

    def __init__(self, steps: int, purpose: str, outer: Pool | None) -> None:
        self.steps = self.left = steps
        self.purpose = purpose
        self.outer = outer


_pool: ContextVar[Pool | None] = ContextVar("pool", default=None)


@contextmanager
def shared(steps: int, purpose: str) -> Iterator[None]:
    """All networks that are expanded within, and figures worked out, may take so many steps together."""
    token = _pool.set(Pool(steps, purpose, _pool.get()))
    try:
        yield
    finally:
        _pool.reset(token)


def tightest() -> Pool | None:
    """The pool with the fewest steps left, of those that are open here."""
    return min(_pools(), key=lambda pool: pool.left, default=None)


def take(steps: int) -> None:
    """Take steps off every open pool, as many as are left."""
    for pool in _pools():
        pool.left = max(0, pool.left - steps)


def _pools() -> Iterator[Pool]:
    pool = _pool.get()
    while pool:
        yield pool
        pool = pool.outer
