"""Count the work of a call, so that no test depends on the speed of a machine."""

from __future__ import annotations

import builtins
import inspect
import sys
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

WALKERS = ("all", "any", "max", "min", "sorted", "sum")  # built-in functions that read lists


def steps(call: Callable[[], object]) -> int:
    """Count the lines of Python that a call runs, and the items that it passes to WALKERS."""
    count = 0

    def trace(frame: Any, event: str, argument: object) -> Any:
        nonlocal count
        count += event == "line"
        return trace

    def walk(items: tuple[Any, ...]) -> None:
        nonlocal count
        count += len(items)

    before = sys.gettrace()
    with _counted(walk):
        sys.settrace(trace)
        try:
            call()
        finally:
            sys.settrace(before)
    return count


@contextmanager
def _counted(walk: Callable[[tuple[Any, ...]], None]) -> Iterator[None]:
    originals = {name: getattr(builtins, name) for name in WALKERS}

    def counted(original: Callable[..., Any]) -> Callable[..., Any]:
        def run(first: Any, *more: Any, **keywords: Any) -> Any:
            first = first if more else tuple(first)
            walk(first if isinstance(first, tuple) else more)
            return original(first, *more, **keywords)

        return run

    for name, original in originals.items():
        setattr(builtins, name, counted(original))
    try:
        yield
    finally:
        for name, original in originals.items():
            setattr(builtins, name, original)


def peak_bytes(call: Callable[[], object]) -> int:
    """Return the most memory that a call uses at one time."""
    tracemalloc.start()
    try:
        call()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def times(function: Callable[..., Any], call: Callable[[], object]) -> int:
    """Count how often a call runs a function, under any name."""
    code, count = inspect.unwrap(function).__code__, 0

    def profile(frame: Any, event: str, argument: object) -> None:
        nonlocal count
        count += event == "call" and frame.f_code is code

    sys.setprofile(profile)
    try:
        call()
    finally:
        sys.setprofile(None)
    return count


@contextmanager
def at_most(calls: int) -> Iterator[None]:
    """Allow so many calls in the `with` block. Raises TooMuch at the next one, so that a test does not hang."""
    left = 2 * calls  # Python reports the start and the end of each call; to tell them apart takes longer

    def profile(frame: Any, event: str, argument: object) -> None:
        nonlocal left
        left -= 1
        if left < 0:
            sys.setprofile(None)
            raise TooMuch(f"more than {calls:,} calls")

    sys.setprofile(profile)
    try:
        yield
    finally:
        sys.setprofile(None)


class TooMuch(BaseException):
    """Raised for more work than a test allows; no tested code catches it."""
