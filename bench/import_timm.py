"""Import all networks of timm without weights, and compare parameters and multiply-accumulates with PyTorch's.

    python bench/import_timm.py [PATTERN] [--record bench/records/timm.json] [--seconds 120] [--gigabytes 6]

Each network runs in a process of its own, with a limit of time and memory. What the record has is not run again unless
`--again` names a cause of failure. Exit code 1: a network that was imported has another figure than PyTorch's.
"""

from __future__ import annotations

import argparse
import fnmatch
import json
import multiprocessing
import resource
import sys
import warnings
from collections import Counter
from math import prod
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from import_oracle import import_torchvision, of_module

from archcalc import analyze
from archcalc.importers.torch import from_torch, weights_on_meta
from archcalc.ops.imported import Imported

BATCH = 2


def row(name: str) -> dict[str, Any]:
    """Import a network and compare it."""
    import timm

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            with weights_on_meta():
                module = timm.create_model(name)
        except (NotImplementedError, RuntimeError):  # its constructor looks at weights
            module = timm.create_model(name)
    size = tuple(module.pretrained_cfg["input_size"])
    graph = from_torch(module, size, name=name)
    unknown = {node.op.function for node in graph.nodes if isinstance(node.op, Imported) and node.op.counts is None}
    nodes, kept = len(graph.nodes), sorted({n.name for n in graph.nodes if n.op.unknown_memory})
    found = {"nodes": nodes, "unknown": sorted(unknown), "unknown memory": kept[:3]}
    params = sum(map(_params, graph.nodes))
    theirs = of_module(module, size, with_memory=False)
    ours = {"params": params, "macs": None if unknown else analyze(graph, batch=BATCH).totals.macs}
    off = {key: [one, getattr(theirs, key)] for key, one in ours.items() if one not in (None, getattr(theirs, key))}
    return found | ours | {"off": off}


def _params(node: Any) -> int:
    return sum(map(prod, node.weights().values()))


def _work(name: str, gigabytes: int, pipe: Connection) -> None:
    limit = gigabytes << 30
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    try:
        pipe.send(row(name))
    except MemoryError:
        pipe.send({"error": f"more than {gigabytes} GiB"})
    except Exception as error:
        pipe.send({"error": f"{type(error).__name__}: {error}".partition("\n")[0]})


def limited(name: str, seconds: int, gigabytes: int) -> dict[str, Any]:
    """Import a network in a process of its own."""
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe(duplex=False)
    worker = context.Process(target=_work, args=(name, gigabytes, theirs))
    worker.start()
    theirs.close()
    try:
        found: dict[str, Any] = ours.recv() if ours.poll(seconds) else {"error": f"more than {seconds} s"}
    except EOFError:
        found = {"error": "the process ended"}
    worker.kill()
    worker.join()
    return found


def main() -> int:
    """Run the bench; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pattern", nargs="?", default="*")
    parser.add_argument("--record", type=Path, default=Path("bench/records/timm.json"))
    parser.add_argument("--seconds", type=int, default=120)
    parser.add_argument("--gigabytes", type=int, default=6)
    parser.add_argument("--again", help="run networks again whose row holds this text")
    parser.add_argument("--every", type=int, default=1, help="only every N-th network")
    options = parser.parse_args()
    import_torchvision()
    import timm
    import torch

    torch.set_num_threads(1)
    known = json.loads(options.record.read_text()) if options.record.exists() else {}
    for name in fnmatch.filter(timm.list_models(), options.pattern)[:: options.every]:
        if name in known and not (options.again and options.again in json.dumps(known[name])):
            continue
        known[name] = limited(name, options.seconds, options.gigabytes)
        print(name, json.dumps(known[name]), flush=True)
        rows = [f" {json.dumps(each)}: {json.dumps(known[each], sort_keys=True)}" for each in sorted(known)]
        options.record.write_text("{\n" + ",\n".join(rows) + "\n}\n")
    return summary(known)


def summary(known: dict[str, dict[str, Any]]) -> int:
    """Print how many networks agree, and each cause of failure; return the exit code."""
    made = {name: row for name, row in known.items() if "error" not in row}
    off = [name for name, row in made.items() if row["off"]]
    plain = [name for name, row in made.items() if not row["unknown"]]
    print(f"{len(made)} of {len(known)} imported, {len(made) - len(off)} equal, {len(plain)} without unknown figures")
    for cause, count in Counter(row["error"] for row in known.values() if "error" in row).most_common():
        print(f"{count:4} {cause}")
    print("\n".join(f"off: {name} {made[name]['off']}" for name in off))
    return bool(off)


if __name__ == "__main__":
    sys.exit(main())
