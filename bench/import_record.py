"""Import the networks of a library, each in a process of its own, with a record that a later run continues."""

from __future__ import annotations

import argparse
import fnmatch
import gc
import json
import multiprocessing
import resource
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import datetime, timezone
from importlib.metadata import version
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, TypeAlias

import torch

Row: TypeAlias = dict[str, Any]


def options(text: str, record: str) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=text, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", default=["*"], help="names of networks, or patterns such as `resnet*`")
    parser.add_argument("--record", type=Path, default=Path(record))
    parser.add_argument("--seconds", type=int, default=240, help="a network's limit of time")
    parser.add_argument("--gigabytes", type=int, default=6, help="a network's limit of memory")
    parser.add_argument("--again", help="run networks again whose row holds this text")
    return parser.parse_args()


def run(names: Sequence[str], row: Callable[[str], Row], library: str, given: argparse.Namespace) -> dict[str, Row]:
    """Import the networks that the record lacks; return the rows of all that were asked for."""
    torch.set_num_threads(1)
    about = {name: version(name).partition("+")[0] for name in ("torch", library)}
    known: dict[str, Row] = {}
    if given.record.exists():
        read = json.loads(given.record.read_text())
        known, made_by = read["networks"], {name: read["about"][name] for name in about}
        if made_by != about:
            raise SystemExit(f"{given.record} is of {made_by}, installed is {about}: choose another file by --record")
    asked = [name for name in names if any(fnmatch.fnmatchcase(name, pattern) for pattern in given.names)]
    for name in asked:
        if name not in known or (given.again and given.again in json.dumps(known[name])):
            known[name] = limited(name, row, given)
            print(name, json.dumps(known[name]), flush=True)
            _write(given.record, {**about, "date": datetime.now(timezone.utc).date().isoformat()}, known)
    return {name: known[name] for name in asked}


def _write(path: Path, about: dict[str, str], rows: dict[str, Row]) -> None:
    lines = [f"  {json.dumps(name)}: {json.dumps(rows[name], sort_keys=True)}" for name in sorted(rows)]
    text = ",\n".join(lines)
    path.write_text(f'{{\n "about": {json.dumps(about)},\n "networks": {{\n{text}\n }}\n}}\n')


def limited(name: str, row: Callable[[str], Row], given: argparse.Namespace) -> Row:
    """Import a network in a process of its own."""
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe(duplex=False)
    worker = context.Process(target=_work, args=(name, row, given.gigabytes, theirs))
    worker.start()
    theirs.close()
    try:
        found: Row = ours.recv() if ours.poll(given.seconds) else {"error": f"more than {given.seconds} s"}
    except EOFError:
        found = {"error": "the process ended"}
    worker.kill()
    worker.join()
    return found


def _work(name: str, row: Callable[[str], Row], gigabytes: int, pipe: Connection) -> None:
    gc.freeze()
    resource.setrlimit(resource.RLIMIT_AS, (gigabytes << 30,) * 2)
    try:
        pipe.send(row(name))
    except MemoryError:
        pipe.send({"error": f"more than {gigabytes} GiB"})
    except Exception as error:
        pipe.send({"error": f"{type(error).__name__}: {error}".partition("\n")[0]})


def summary(rows: dict[str, Row]) -> bool:
    """Print how many networks agree with PyTorch, and each failure by its cause; return whether all imported agree."""
    made = {name: row for name, row in rows.items() if "error" not in row}
    off = {name: row["off"] for name, row in made.items() if row["off"]}
    plain = [name for name, row in made.items() if not (row["unknown"] or row["unknown memory"])]
    print(f"{len(made)} of {len(rows)} imported, {len(made) - len(off)} equal, {len(plain)} without unknown figures")
    for cause, count in Counter(row["error"] for row in rows.values() if "error" in row).most_common():
        print(f"{count:4} {cause}")
    for name, pairs in off.items():
        print(f"off: {name} {pairs}")
    return not off
