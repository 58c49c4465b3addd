"""Exceptions, and the texts of errors: what is wrong, where, in which block calls, and how to fix it.

Low-level code raises `Refusal` with the bare fact; the spec language turns it into a `SpecError` with its place; the
command line adds the exit code. Any other exception is a bug in archcalc and is not caught.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple, TypeVar

T = TypeVar("T")

MAX_SHOWN = 100  # characters of a source line in an error
MAX_TRAIL = 8  # block calls in an error
MAX_OPTIONS = 2_000  # names that are compared for a suggestion


class ArchcalcError(Exception):
    """An error in the user's request; its text is safe to print on a terminal."""

    def __str__(self) -> str:
        return printable(super().__str__())


class UnknownNetwork(ArchcalcError):
    """No network has this name."""


class Refusal(ValueError):
    """A value or a shape that archcalc does not accept; the text says why."""


class ArgumentError(Refusal):
    """A wrong argument of an operator or block; `argument` is its keyword, or its position from 0."""

    def __init__(self, message: str, argument: str | int | None = None) -> None:
        super().__init__(message)
        self.argument = argument


class Source(NamedTuple):
    """The text of a spec, and its name in error messages."""

    name: str
    lines: Sequence[str]

    def __repr__(self) -> str:
        return f"Source({self.name!r})"


class Place(NamedTuple):
    """A range of characters in one line of a spec; `line` and `column` count from 1."""

    source: Source
    line: int
    column: int
    width: int = 1

    def __str__(self) -> str:
        return f"{self.source.name}:{self.line}:{self.column}"

    def excerpt(self) -> str:
        """Return the line with a caret below it; of a very long line only the part around the column."""
        text = self.source.lines[self.line - 1] if self.line <= len(self.source.lines) else ""
        start = max(0, self.column - 1 - MAX_SHOWN // 2) if len(text) > MAX_SHOWN else 0
        shown = "".join(c if c.isprintable() else " " for c in text[start : start + MAX_SHOWN])
        indent = min(self.column - 1 - start, len(shown))
        width = max(1, min(self.width, len(shown) - indent))
        return f"{self.line:5d} | {shown}\n      | {' ' * indent}{'^' * width}"


class SpecError(ArchcalcError):
    """An error in a spec: `message`, `place`, the `trail` of block calls that lead there, and a `hint`."""

    def __init__(self, message: str, place: Place | None = None, hint: str = "", trail: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.message = message
        self.place = place
        self.hint = hint
        self.trail = tuple(trail)

    def __str__(self) -> str:
        what = [f"{self.place}: {self.message}", self.place.excerpt()] if self.place else [self.message]
        trail, half = [f"  in {call}" for call in self.trail], MAX_TRAIL // 2
        if len(trail) > MAX_TRAIL:
            trail[half:-half] = [f"  … {len(trail) - 2 * half} more calls"]
        return printable("\n".join([*what, *trail, *([f"  {self.hint}"] if self.hint else [])]))

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and vars(self) == vars(other)

    __hash__ = ArchcalcError.__hash__


class MisfitError(SpecError):
    """A layer that does not accept the shape of its input."""


def needs(what: str, library: str, extra: str) -> str:
    """Return the text of an error for a library that is not installed."""
    return f"{what} needs {library}: pip install 'archcalc[{extra}]'"


def printable(text: str) -> str:
    """Escape control characters except line breaks, so that no file can send commands to the terminal."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c == "\n" else ascii(c)[1:-1] for c in text)


def one_line(text: str) -> str:
    """Escape control characters, also line breaks, of a name that stands in a table."""
    return printable(text).replace("\n", "\\n")


def shorten(text: str, limit: int = 60) -> str:
    """Return `text`, or its beginning and an ellipsis if it is longer than `limit`."""
    return text if len(text) <= limit else text[: limit - 1] + "…"


def choose(what: str, name: object, options: Mapping[str, T]) -> T:
    """Return the option `name`. Raises ArchcalcError with the nearest names if there is none."""
    if isinstance(name, str) and name in options:
        return options[name]
    hint = suggest(str(name), options) or f"one of {', '.join(options)}"
    raise ArchcalcError(f"unknown {what} {shorten(repr(name))}; {hint}")


def suggest(name: str, known: Iterable[str]) -> str:
    """Return `did you mean …?` with the nearest of `known`; if none is near, list them if they are few, else ""."""
    from difflib import get_close_matches  # only an error needs it

    options = sorted(set(known))
    likely = options if len(options) <= MAX_OPTIONS else [option for option in options if option[:2] == name[:2]]
    by_lower = {option.lower(): option for option in likely[:MAX_OPTIONS]}
    near = get_close_matches(name[:80].lower(), by_lower, n=3, cutoff=0.7)
    if near:
        return f"did you mean {' or '.join(by_lower[option] for option in near)}?"
    return f"known: {', '.join(shorten(option) for option in options)}" if 0 < len(options) <= 16 else ""
