"""Where specs lie: the zoo with its index, and folders of the user's own.

The zoo is `specs/`, which the wheel carries inside the package; folders named in ARCHCALC_PATH come before it. The
index beside the zoo's specs has a line for each network: its name, its file, and its row of `archcalc list`. `make
golden` writes it. To load a network its file is read, whatever the index says; names, families and rows are taken from
the index only while all specs are as they were when it was written.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from archcalc.spec.network_spec import SUFFIXES

PUBLISHED = ".published"  # before the suffix of a file beside a spec
INDEX = "index.txt"


@lru_cache(maxsize=1)
def zoo() -> Path:
    """The folder of archcalc's own specs."""
    package = Path(__file__).parent
    return package / "specs" if (package / "specs").is_dir() else package.parent / "specs"


def folders(beside: str = "") -> list[Path]:
    """Where specs are looked for, first come first served; for what a file refers to, first where that file lies."""
    found = [*(Path(folder) for folder in os.environ.get("ARCHCALC_PATH", "").split(os.pathsep) if folder), zoo()]
    if not beside or len(found) == 1:
        return found
    referring = Path(beside).resolve()
    return sorted(found, key=lambda folder: folder.resolve() not in referring.parents)


def files(folder: Path) -> Iterator[tuple[str, Path]]:
    """Each spec file of a folder with the prefix of its networks' names, "" or `cs231n/`; those with plain names first.

    Skip files of published figures, except one without its networks' file, which is an error to read.
    """
    paths = (path for path in folder.rglob("*") if path.suffix in SUFFIXES and path.is_file())
    for path in sorted(paths, key=lambda path: (len(path.parts), path)):
        if not (path.stem.endswith(PUBLISHED) and sibling(path, path.stem.removesuffix(PUBLISHED))):
            relative = path.parent.relative_to(folder).as_posix()
            yield ("" if relative == "." else relative + "/"), path


def sibling(path: Path, stem: str) -> Path | None:
    """The YAML file of that stem in the folder of `path`."""
    paths = (path.with_name(stem + suffix) for suffix in SUFFIXES)
    return next((path for path in paths if path.is_file()), None)


class Entry(NamedTuple):
    """A network of the index: its file, from the folder, and its row as JSON."""

    file: str
    json: str

    def row(self) -> dict[str, Any]:
        """What `archcalc list` has of it."""
        import json  # a command on one network needs no row

        row: dict[str, Any] = json.loads(self.json)
        return row


class Index(NamedTuple):
    """The networks of the zoo by name, and the digest of the specs that they were read from."""

    digest: str
    entries: Mapping[str, Entry]


@lru_cache(maxsize=1)
def _index(folder: Path) -> Index:
    try:
        digest, *lines = (folder / INDEX).read_text(encoding="utf-8").splitlines()
        cells = (line.split("\t") for line in lines)
        return Index(digest, {name: Entry(file, row) for name, file, row in cells})
    except (OSError, ValueError):  # it is missing or broken
        return Index("", {})


def indexed_file(folder: Path, name: str) -> Path | None:
    """The file of the zoo that the index names for a network, if it is there."""
    entry = _index(folder).entries.get(name) if folder == zoo() else None
    return path if entry and (path := folder / entry.file).is_file() else None


def indexed(folder: Path) -> Mapping[str, Entry]:
    """All networks of the zoo; none of another folder, and none if a spec is not as the index has read it."""
    if folder != zoo() or not (known := _index(folder)).entries:
        return {}
    return known.entries if known.digest == digest(folder) else {}


def digest(folder: Path) -> str:
    """A number for the paths and texts of all specs: times and sizes can be equal where texts differ."""
    from hashlib import sha256  # a command on one network needs no digest

    whole = sha256()
    for _, path in files(folder):
        text = path.read_bytes()
        whole.update(f"{path.relative_to(folder).as_posix()} {len(text)}\n".encode() + text)
    return whole.hexdigest()
