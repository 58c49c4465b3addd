"""Pausing the cyclic garbage collector while a large graph comes about.

A network of 100,000 layers is some millions of objects that all stay alive and form no cycles; the collector would
walk them again and again, and the time a layer takes would grow with the network (threefold at 100,000 layers).
"""

from __future__ import annotations

import gc
from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")


def uncollected(function: Callable[P, R]) -> Callable[P, R]:
    """`function`, run with the collector paused; as it was afterwards."""

    @wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        was = gc.isenabled()
        gc.disable()
        try:
            return function(*args, **kwargs)
        finally:
            if was:
                gc.enable()

    return run
