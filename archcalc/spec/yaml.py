"""Strict YAML: parse text to scalars, sequences and mappings with places. Only this file imports yaml.

It reads the events of the C parser one by one, so it never constructs objects or expands aliases. A tag, an anchor, an
alias, a duplicate key, a second document or too much nesting is an error with its place.
"""

from __future__ import annotations

import os
import re
import stat
import sys
from codecs import BOM_UTF16_BE, BOM_UTF16_LE
from collections.abc import Iterator
from functools import lru_cache
from itertools import accumulate
from typing import Any, NamedTuple, TypeAlias

import yaml

from archcalc.errors import MAX_OPTIONS, ArchcalcError, Place, Source, SpecError, shorten

MAX_BYTES = 16 * 2**20  # a spec of 100,000 written layers has 4 MiB
MAX_STEPS = 250_000  # lines and `|` in a text: no network has so many layers
MAX_VALUES = 200_000  # scalars, lists and mappings in a text: 66,000 labelled layers
SHORTER = "write repeated layers as n * layer or as a block"
MAX_NESTING = 50
Loader: Any = getattr(yaml, "CLoader", yaml.Loader)  # without libyaml PyYAML has only Loader


class Scalar(NamedTuple):
    """A text; `quoted` if it is in quotes."""

    text: str
    place: Place
    quoted: bool = False
    raw: str = ""  # as written, if it has several lines or escapes

    def at(self, start: int, end: int) -> Place:
        """Return the place of characters start to end of the text, or of those on the first line."""
        place = self.place
        if not self.raw:
            return Place(place.source, place.line, place.column + self.quoted + start, max(1, end - start))
        where = _positions(self.text, self.raw, place.line, place.column, self.quoted)
        line, column = where[start]
        last = max(c for at, c in where[start : max(end, start + 1)] if at == line)
        return Place(place.source, line, column, last - column + 1)


@lru_cache(maxsize=4)
def _positions(text: str, raw: str, line: int, column: int, quoted: bool) -> list[tuple[int, int]]:
    """Return line and column of each character of a scalar that is written as `raw`, starting at that line and column.

    YAML's folding changes only white space: the n-th visible character is also the n-th in the source.
    """
    header = re.match(r"[|>][^\n]*\n", raw)
    visible = _visible(raw, line, column, header.end() if header else int(quoted))
    found = []
    at = line, column
    for c in text:
        if not c.isspace():
            at = next(visible, at)
        found.append(at)
    return found


def _visible(raw: str, line: int, column: int, skip: int) -> Iterator[tuple[int, int]]:
    for position, c in enumerate(raw):
        if position >= skip and not c.isspace():
            yield line, column
        line, column = (line + 1, 1) if c == "\n" else (line, column + 1)


class Sequence(NamedTuple):
    """A list of values."""

    items: tuple[Value, ...]
    place: Place


class Mapping(NamedTuple):
    """Keys and values in the order of the text; keys are unique scalars."""

    entries: tuple[tuple[Scalar, Value], ...]
    place: Place

    def get(self, key: str) -> Value | None:
        """Return the value of `key`, or None."""
        return next((value for name, value in self.entries if name.text == key), None)


Value: TypeAlias = Scalar | Sequence | Mapping


def read_text(path: str | os.PathLike[str], utf16: bool = False) -> str:
    """Read the text of a spec file. Raises ArchcalcError unless it is a readable UTF-8 text of at most MAX_BYTES.

    If `utf16`, it is a table: it may be UTF-16 with a byte order mark, as spreadsheets write it.
    """
    try:
        with os.fdopen(os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0)), "rb") as file:
            state = os.fstat(file.fileno())
            if not stat.S_ISREG(state.st_mode):
                raise ArchcalcError(f"{path}: not a regular file")
            if state.st_size > MAX_BYTES:
                raise ArchcalcError(f"{path}: {state.st_size:,} bytes; a spec may have at most {MAX_BYTES:,}")
            data = file.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        directory = "is a directory; name a file in it" if os.path.isdir(path) else ""
        reason = directory or getattr(error, "strerror", None) or error
        hint = near_file(str(path)) if isinstance(error, FileNotFoundError) else ""
        raise ArchcalcError(f"{shorten(str(path), 200)}: {reason}{'; ' * bool(hint)}{hint}") from None
    encoding = "utf-16" if utf16 and data[:2] in (BOM_UTF16_LE, BOM_UTF16_BE) else "utf-8"
    return _decoded(data, str(path), encoding, "; save the table as CSV in UTF-8" * utf16)


def near_file(path: str, suffixes: tuple[str, ...] = ()) -> str:
    """Return `did you mean …?` with files of the same folder whose names are near, else "".

    Only files with one of the suffixes count; without them, files with that of the path.
    """
    from difflib import get_close_matches  # only an error needs it

    folder, (stem, suffix) = os.path.dirname(path), os.path.splitext(os.path.basename(path))
    try:
        found = [file for file in os.listdir(folder or os.curdir) if file.endswith(suffixes or suffix)]
    except (OSError, ValueError):
        return ""
    stems = {os.path.splitext(file)[0]: os.path.join(folder, file) for file in sorted(found)[:MAX_OPTIONS]}
    near = [stem] if stem in stems else get_close_matches(stem[:80], stems, n=3, cutoff=0.7)
    return f"did you mean {' or '.join(stems[own] for own in near)}?" if near else ""


def _decoded(data: bytes, source: str, encoding: str = "utf-8", hint: str = "") -> str:
    try:
        return data.decode(encoding).removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        name, byte = encoding.upper(), data[error.start]
        raise ArchcalcError(f"{source}: not a {name} text (byte {error.start} is 0x{byte:02x}){hint}") from None


def read_input() -> str:
    """Read the text of the standard input; again the same text. Raises ArchcalcError like `read_text`."""
    return _all_of(sys.stdin)


@lru_cache(maxsize=1)
def _all_of(stream: Any) -> str:
    if stream is None:
        raise ArchcalcError("the standard input is closed; name a file")
    data = stream.buffer.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise ArchcalcError(f"<text>: a spec may have at most {MAX_BYTES:,} bytes")
    return _decoded(data, "<text>")


def parse_yaml(text: str, name: str = "<text>") -> Value:
    """Parse a YAML text with one value. Raises SpecError for anything but plain, unambiguous YAML."""
    if len(text) > MAX_BYTES:
        raise ArchcalcError(f"{name}: {len(text):,} characters; a spec may have at most {MAX_BYTES:,}")
    text = text.removeprefix("\ufeff").replace("\r\n", "\n")
    source = Source(name, text.split("\n"))
    refused = [text.index(c) for c in set(text) if not c.isprintable() and c not in "\t\n"]
    if refused:
        start = min(refused)
        place = Place(source, text.count("\n", 0, start) + 1, start - text.rfind("\n", 0, start))
        raise SpecError(f"the character U+{ord(text[start]):04X} is not allowed", place)
    _refuse_many_steps(source, text)
    try:
        return _Reader(source, text).document()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = Place(source, mark.line + 1, mark.column + 1) if mark else Place(source, 1, 1)
        message = ", ".join(part for part in (error.context, error.problem) if part)
        raise SpecError(f"not YAML: {message}", place, _yaml_hint(message)) from None


def _refuse_many_steps(source: Source, text: str) -> None:
    """Raise SpecError at the line where a text gets more steps than any network has, since parsing it would take long.

    Counting characters takes milliseconds, parsing YAML seconds.
    """
    if len(source.lines) + text.count("|") <= MAX_STEPS:
        return
    steps = accumulate(1 + line.count("|") for line in source.lines)
    line = next(number for number, count in enumerate(steps, 1) if count > MAX_STEPS)
    raise SpecError(f"the text has more than {MAX_STEPS:,} lines and steps", Place(source, line, 1), SHORTER)


def _yaml_hint(message: str) -> str:
    if "mapping values are not allowed" in message:
        return "put a text that contains `: ` in quotes"
    if "alias" in message or "anchor" in message:
        return "a layer cannot start with * or &: write `2 * conv(…)`, or put it in quotes"
    if "cannot start any token" in message:
        return "indent with spaces, not tabs; put a text that starts with @ % or ` in quotes"
    return ""


class _Reader:
    """Builds the value from the parser's events."""

    def __init__(self, source: Source, text: str) -> None:
        self.source = source
        self.text = text
        self.events: Iterator[Any] = iter(())
        self.depth = 0
        self.values = 0

    def document(self) -> Value:
        loader = Loader(self.text)
        try:
            self.events = iter(loader.get_event, None)
            next(self.events)  # stream start
            event = next(self.events)
            if isinstance(event, yaml.StreamEndEvent):
                hint = "a spec needs at least name, input and layers"
                raise SpecError("the text is empty", Place(self.source, 1, 1), hint)
            value = self.value(next(self.events))
            next(self.events)  # document end
            last = next(self.events)
            if not isinstance(last, yaml.StreamEndEvent):
                raise SpecError("a second document; a file can have only one spec", self.place(last))
            return value
        finally:
            loader.dispose()

    def place(self, event: Any) -> Place:
        start, end = event.start_mark, event.end_mark
        width = end.column - start.column if end.line == start.line else 1
        return Place(self.source, start.line + 1, start.column + 1, max(1, width))

    def value(self, event: Any) -> Value:
        self.refuse_sharing(event)
        self.values += 1
        if self.values > MAX_VALUES:
            raise SpecError(f"the text has more than {MAX_VALUES:,} values", self.place(event), SHORTER)
        if isinstance(event, yaml.ScalarEvent):
            return self.scalar(event)
        self.depth += 1
        if self.depth > MAX_NESTING:
            raise SpecError(f"nested more than {MAX_NESTING} deep", self.place(event))
        value = self.sequence(event) if isinstance(event, yaml.SequenceStartEvent) else self.mapping(event)
        self.depth -= 1
        return value

    def refuse_sharing(self, event: Any) -> None:
        if isinstance(event, yaml.AliasEvent):
            raise SpecError("YAML aliases are not part of the language", self.place(event), "write a block and call it")
        if event.anchor is not None:
            raise SpecError("YAML anchors are not part of the language", self.place(event), "write a block and call it")
        if event.tag is not None:
            raise SpecError("YAML tags are not part of the language", self.place(event), "remove the word with !")

    def scalar(self, event: Any) -> Scalar:
        start, end = event.start_mark, event.end_mark
        written = self.text[start.index : end.index] if start.line != end.line else ""
        quoted = event.style in ("'", '"')
        if quoted and not written and end.column - start.column - 2 != len(event.value):
            written = self.text[start.index : end.index]  # it has an escape
        return Scalar(event.value, self.place(event), quoted, written)

    def sequence(self, event: Any) -> Sequence:
        place = self.place(event)
        items = []
        while not isinstance(item := next(self.events), yaml.SequenceEndEvent):
            items.append(self.value(item))
        return Sequence(tuple(items), place)

    def mapping(self, event: Any) -> Mapping:
        place = self.place(event)
        entries: list[tuple[Scalar, Value]] = []
        seen: dict[str, Place] = {}
        while not isinstance(item := next(self.events), yaml.MappingEndEvent):
            key = self.value(item)
            if not isinstance(key, Scalar):
                raise SpecError("a key must be a plain text", key.place)
            if key.text == "<<":
                raise SpecError("YAML merge keys are not part of the language", key.place, "write a block and call it")
            if key.text in seen:
                first = f"first at line {seen[key.text].line}"
                raise SpecError(f"the key {shorten(key.text)!r} is written twice", key.place, first)
            seen[key.text] = key.place
            entries.append((key, self.value(next(self.events))))
        return Mapping(tuple(entries), place)
