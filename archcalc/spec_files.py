"""Folders and files of specs: the zoo with its index, and the user's own folders.

The zoo is `specs/`, which is inside the package in a wheel; folders in ARCHCALC_PATH come before it. The index beside
the zoo's specs has one line per network: its name, its file, and its row of `archcalc list`. `make golden` writes it.
Loading a network always reads its file; names, families and rows come from the index only if no spec has changed since
the index was written.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any, NamedTuple

from archcalc.errors import ArchcalcError
from archcalc.spec.network_spec import SUFFIXES
from archcalc.spec.yaml import read_text

PUBLISHED = ".published"  # before the suffix of a file beside a spec
INDEX = "index.txt"


@lru_cache(maxsize=1)
def zoo() -> str:
    """Return the folder of archcalc's own specs."""
    package = os.path.dirname(__file__)
    inside = os.path.join(package, "specs")
    return inside if os.path.isdir(inside) else os.path.join(os.path.dirname(package), "specs")


def folders(beside: str = "") -> list[str]:
    """Return the folders of specs in order of search; the folder of the referring file `beside` comes first."""
    found = [*filter(None, os.environ.get("ARCHCALC_PATH", "").split(os.pathsep)), zoo()]
    if not beside or len(found) == 1:
        return found
    referring = os.path.realpath(beside)
    return sorted(found, key=lambda folder: not referring.startswith(os.path.join(os.path.realpath(folder), "")))


def files(folder: str) -> Iterator[tuple[str, str]]:
    """Yield the spec files of a folder, each after its prefix, "" or `cs231n/`; those without a prefix come first.

    Skip files of published figures, except one without a spec beside it, which is an error to read.
    """
    parts = [
        os.path.relpath(os.path.join(at, name), folder).split(os.sep) for at, _, own in os.walk(folder) for name in own
    ]
    for *inner, name in sorted(parts, key=lambda parts: (len(parts), parts)):
        path, (stem, suffix) = os.path.join(folder, *inner, name), os.path.splitext(name)
        if suffix not in SUFFIXES or not os.path.isfile(path):
            continue
        if not (stem.endswith(PUBLISHED) and sibling(path, stem.removesuffix(PUBLISHED))):
            yield "".join(f"{part}/" for part in inner), path


def stem_of(path: str) -> str:
    """Return the name of a file without its suffix."""
    return os.path.splitext(os.path.basename(path))[0]


def sibling(path: str, stem: str) -> str | None:
    """Return the YAML file with that stem in the folder of `path`, if there is one."""
    paths = (os.path.join(os.path.dirname(path), stem + suffix) for suffix in SUFFIXES)
    return next(filter(os.path.isfile, paths), None)


def published_beside(path: str) -> str | None:
    """Return the file of published figures beside a spec, if there is one."""
    return sibling(path, stem_of(path) + PUBLISHED)


def mentions(path: str, word: str) -> bool:
    """Whether a file may have a network of that name: searching the text is much faster than parsing the spec."""
    try:
        return word in read_text(path)
    except ArchcalcError:
        return False


def shown(path: str | os.PathLike[str]) -> str:
    """Return a path for errors: relative if it is below the working folder."""
    try:
        return os.fspath(path).removeprefix(os.path.join(os.getcwd(), "")).removeprefix(os.path.join(".", ""))
    except OSError:  # the working folder no longer exists
        return os.fspath(path)


class IndexLine(NamedTuple):
    """A network of the index: its file, from the folder, and its row as JSON."""

    file: str
    json: str

    def row(self) -> dict[str, Any]:
        """Return its row of `archcalc list`."""
        import json  # a command on one network needs no row

        row: dict[str, Any] = json.loads(self.json)
        return row


class Index(NamedTuple):
    """The networks of the zoo by name, and the digest of the specs and of the lines when the index was written."""

    digest: str
    lines: str
    entries: Mapping[str, IndexLine]


@lru_cache(maxsize=1)
def _index(folder: str) -> Index:
    try:
        with open(os.path.join(folder, INDEX), encoding="utf-8") as file:
            written, _, lines = file.read().partition("\n")
        cells = (line.split("\t") for line in lines.splitlines())
        return Index(written, lines, {name: IndexLine(file, row) for name, file, row in cells})
    except (OSError, ValueError):  # it is missing or broken
        return Index("", "", {})


def indexed_file(folder: str, name: str) -> str | None:
    """Return the file that the zoo's index names for a network, if the file exists."""
    entry = _index(folder).entries.get(name) if folder == zoo() else None
    return path if entry and os.path.isfile(path := os.path.join(folder, entry.file)) else None


def indexed(folder: str) -> Mapping[str, IndexLine]:
    """Return the networks of the zoo's index; none for another folder, or if a spec or a line has changed since."""
    if folder != zoo() or not (known := _index(folder)).entries:
        return {}
    return known.entries if known.digest == digest(folder, known.lines) else {}


def digest(folder: str, lines: str) -> str:
    """Hash the lines of an index, and paths and texts of all specs; times and sizes can be equal if texts differ."""
    from hashlib import sha256  # a command on one network needs no digest

    whole = sha256(lines.encode())
    for prefix, path in files(folder):
        with open(path, "rb") as file:
            text = file.read()
        whole.update(f"{prefix}{os.path.basename(path)} {len(text)}\n".encode() + text)
    return whole.hexdigest()
