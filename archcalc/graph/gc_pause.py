"""Turn off the garbage collector while a large graph is built.

A network of 100,000 layers is some millions of objects that all stay alive and form no cycles; the collector would
walk them again and again, and the time for a layer would grow with the network (threefold at 100,000 layers).
"""

from __future__ import annotations

import gc
from collections.abc import Callable
from functools import wraps
from threading import RLock
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")


def uncollected(function: Callable[P, R]) -> Callable[P, R]:
    """`function`, run with the collector off. The last call to end, of all threads, turns it on if it was on before."""

    @wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        call = object()
        try:
            _pause.begin(call)
            return function(*args, **kwargs)
        finally:
            _pause.end(call)

    return run


class _Pause:
    """The calls under way, in all threads, and whether the collector was on before the first of them."""

    def __init__(self) -> None:
        self.lock = RLock()  # a signal's handler or a finalizer may build a graph too, in the thread that holds it
        self.calls: set[object] = set()
        self.was_on = False

    def begin(self, call: object) -> None:
        with self.lock:
            first = not self.calls
            if first:
                self.was_on = gc.isenabled()
            self.calls.add(call)  # before the collector is off: if Ctrl-C comes in between, `end` turns it on
            if first:
                gc.disable()

    def end(self, call: object) -> None:
        with self.lock:
            if call in self.calls:
                self.calls.remove(call)
                if not self.calls and self.was_on:
                    gc.enable()


_pause = _Pause()
