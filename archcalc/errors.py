"""What goes wrong, said once: what is wrong, where, by which calls, and what to do about it.

Low code raises the narrow fact as `Refusal`; the spec language turns it into a `SpecError` that knows its place; the
command line adds the exit code. Any other exception is a mistake of archcalc and passes through as it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple, TypeVar

T = TypeVar("T")

MAX_SHOWN = 100  # characters of a source line in an error
MAX_TRAIL = 8  # block calls in an error
MAX_OPTIONS = 2_000  # names compared for a suggestion


class ArchcalcError(Exception):
    """A request that cannot be met; its text is written for the person who made it, and fit for a terminal."""

    def __str__(self) -> str:
        return printable(super().__str__())


class Refusal(ValueError):
    """A value or a shape that archcalc does not take; the text says why."""


class ArgumentError(Refusal):
    """An argument of an operator or block that is wrong; `argument` is its keyword, or its position from 0."""

    def __init__(self, message: str, argument: str | int | None = None) -> None:
        super().__init__(message)
        self.argument = argument


class Source(NamedTuple):
    """A spec's text and the name it goes by in errors."""

    name: str
    lines: Sequence[str]

    def __repr__(self) -> str:
        return f"Source({self.name!r})"


class Place(NamedTuple):
    """A stretch of one line of a spec; `line` and `column` count from 1."""

    source: Source
    line: int
    column: int
    width: int = 1

    def __str__(self) -> str:
        return f"{self.source.name}:{self.line}:{self.column}"

    def excerpt(self) -> str:
        """The line with a caret below it; of a very long line, the part around the column."""
        text = self.source.lines[self.line - 1] if self.line <= len(self.source.lines) else ""
        start = max(0, self.column - 1 - MAX_SHOWN // 2) if len(text) > MAX_SHOWN else 0
        shown = "".join(c if c.isprintable() else " " for c in text[start : start + MAX_SHOWN])
        indent = min(self.column - 1 - start, len(shown))
        width = max(1, min(self.width, len(shown) - indent))
        return f"{self.line:5d} | {shown}\n      | {' ' * indent}{'^' * width}"


class SpecError(ArchcalcError):
    """A spec that cannot be read or expanded: `message` with its `place`, the `trail` of block calls and a `hint`."""

    def __init__(self, message: str, place: Place | None = None, hint: str = "", trail: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.message = message
        self.place = place
        self.hint = hint
        self.trail = tuple(trail)

    def __str__(self) -> str:
        before = [f"{self.place}: {self.message}", self.place.excerpt()] if self.place else [self.message]
        return printable("\n".join([*before, *self._after()]))

    def _after(self) -> Iterable[str]:
        trail = self.trail
        if len(trail) > MAX_TRAIL:
            half = MAX_TRAIL // 2
            trail = (*trail[:half], f"… {len(trail) - 2 * half} more calls", *trail[-half:])
        yield from (f"  in {call}" if not call.startswith("…") else f"  {call}" for call in trail)
        if self.hint:
            yield f"  {self.hint}"


class MisfitError(SpecError):
    """A layer that does not take its input's shape."""


def printable(text: str) -> str:
    """`text` with its control characters, line breaks apart, written out: no file moves a reader's cursor."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c == "\n" else ascii(c)[1:-1] for c in text)


def shorten(text: str, limit: int = 60) -> str:
    """`text`, or its beginning with an ellipsis where it is too long to be shown."""
    return text if len(text) <= limit else text[: limit - 1] + "…"


def choose(what: str, name: object, options: Mapping[str, T]) -> T:
    """The option of that name. Raises ArchcalcError with the nearest."""
    if isinstance(name, str) and name in options:
        return options[name]
    raise ArchcalcError(f"unknown {what} {shorten(repr(name))}; {suggest(str(name), options) or 'see --help'}")


def suggest(name: str, known: Iterable[str]) -> str:
    """`did you mean …?` with the nearest of `known`, else the list of them if it is short, else nothing."""
    from difflib import get_close_matches  # only an error needs it

    options = sorted(set(known))
    likely = options if len(options) <= MAX_OPTIONS else [option for option in options if option[:2] == name[:2]]
    by_lower = {option.lower(): option for option in likely[:MAX_OPTIONS]}
    near = get_close_matches(name[:80].lower(), by_lower, n=3, cutoff=0.7)
    if near:
        return f"did you mean {' or '.join(by_lower[option] for option in near)}?"
    return f"known: {', '.join(shorten(option) for option in options)}" if 0 < len(options) <= 16 else ""
