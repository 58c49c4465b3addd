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
from pathlib import Path
from typing import Any, NamedTuple

from archcalc.errors import ArchcalcError
from archcalc.spec.network_spec import SUFFIXES
from archcalc.spec.yaml import read_text

PUBLISHED = ".published"  # before the suffix of a file beside a spec
INDEX = "index.txt"


@lru_cache(maxsize=1)
def zoo() -> Path:
    """Return the folder of archcalc's own specs."""
    package = Path(__file__).parent
    return package / "specs" if (package / "specs").is_dir() else package.parent / "specs"


def folders(beside: str = "") -> list[Path]:
    """Return the folders of specs in order of search; the folder of the referring file `beside` comes first."""
    found = [*(Path(folder) for folder in os.environ.get("ARCHCALC_PATH", "").split(os.pathsep) if folder), zoo()]
    if not beside or len(found) == 1:
        return found
    referring = Path(beside).resolve()
    return sorted(found, key=lambda folder: folder.resolve() not in referring.parents)


def files(folder: Path) -> Iterator[tuple[str, Path]]:
    """Yield the spec files of a folder, each after its prefix, "" or `cs231n/`; those without a prefix come first.

    Skip files of published figures, except one without a spec beside it, which is an error to read.
    """
    paths = (path for path in folder.rglob("*") if path.suffix in SUFFIXES and path.is_file())
    for path in sorted(paths, key=lambda path: (len(path.parts), path)):
        if not (path.stem.endswith(PUBLISHED) and sibling(path, path.stem.removesuffix(PUBLISHED))):
            relative = path.parent.relative_to(folder).as_posix()
            yield ("" if relative == "." else relative + "/"), path


def sibling(path: Path, stem: str) -> Path | None:
    """Return the YAML file with that stem in the folder of `path`, if there is one."""
    paths = (path.with_name(stem + suffix) for suffix in SUFFIXES)
    return next((path for path in paths if path.is_file()), None)


def mentions(path: Path, word: str) -> bool:
    """Whether a file may have a network of that name: searching the text is much faster than parsing the spec."""
    try:
        return word in read_text(path)
    except ArchcalcError:
        return False


def shown(path: Path) -> str:
    """Return a path for errors: relative if it is below the working folder."""
    try:
        return str(path).removeprefix(os.path.join(os.getcwd(), ""))
    except OSError:  # the working folder no longer exists
        return str(path)


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
def _index(folder: Path) -> Index:
    try:
        written, _, lines = (folder / INDEX).read_text(encoding="utf-8").partition("\n")
        cells = (line.split("\t") for line in lines.splitlines())
        return Index(written, lines, {name: IndexLine(file, row) for name, file, row in cells})
    except (OSError, ValueError):  # it is missing or broken
        return Index("", "", {})


def indexed_file(folder: Path, name: str) -> Path | None:
    """Return the file that the zoo's index names for a network, if the file exists."""
    entry = _index(folder).entries.get(name) if folder == zoo() else None
    return path if entry and (path := folder / entry.file).is_file() else None


def indexed(folder: Path) -> Mapping[str, IndexLine]:
    """Return the networks of the zoo's index; none for another folder, or if a spec or a line has changed since."""
    if folder != zoo() or not (known := _index(folder)).entries:
        return {}
    return known.entries if known.digest == digest(folder, known.lines) else {}


def digest(folder: Path, lines: str) -> str:
    """Hash the lines of an index, and paths and texts of all specs; times and sizes can be equal if texts differ."""
    from hashlib import sha256  # a command on one network needs no digest

    whole = sha256(lines.encode())
    for _, path in files(folder):
        text = path.read_bytes()
        whole.update(f"{path.relative_to(folder).as_posix()} {len(text)}\n".encode() + text)
    return whole.hexdigest()
