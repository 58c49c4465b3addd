"""Import all networks of timm without weights, and compare parameters and multiply-accumulates with PyTorch's.

    python bench/import_timm.py [PATTERN]... [--record bench/records/timm.json] [--seconds 240] [--gigabytes 6]

Each network runs in a process of its own, with a limit of time and memory. What the record has is not run again unless
`--again` names a text of its row, such as a cause of failure. Exit code 1: a network that was imported has another
figure than PyTorch's.
"""

from __future__ import annotations

import sys
import time
import warnings
from typing import Any

import import_record
from import_oracle import BATCH, of_module, unknown_in
from torchvision_weights import torchvision_models

from archcalc import analyze
from archcalc.importers.torch import from_torch, weights_on_meta


def build(name: str) -> Any:
    """Build a network, without weights in memory where its constructor looks at none."""
    import timm

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            with weights_on_meta():
                return timm.create_model(name)
        except (NotImplementedError, RuntimeError):
            return timm.create_model(name)


def row(name: str) -> import_record.Row:
    """Import a network and compare it."""
    module, start = build(name), time.process_time()
    size = tuple(module.pretrained_cfg["input_size"])
    graph = from_torch(module, size, name=name)
    found = {"nodes": len(graph.nodes), "seconds": round(time.process_time() - start, 1), **unknown_in(graph)}
    theirs, totals = of_module(module, size, with_memory=False), analyze(graph, batch=BATCH).totals
    ours = {"params": totals.params, "macs": None if found["unknown"] else totals.macs}
    off = {key: [one, getattr(theirs, key)] for key, one in ours.items() if one not in (None, getattr(theirs, key))}
    return found | ours | {"off": off}


def main() -> int:
    """Run the bench; return the exit code."""
    given = import_record.options(__doc__, "bench/records/timm.json")
    torchvision_models()
    import timm

    return not import_record.summary(import_record.run(timm.list_models(), row, "timm", given))


if __name__ == "__main__":
    sys.exit(main())
