"""Import torchvision's networks, and compare with PyTorch and with our specs.

    python bench/import_torchvision.py [NAME]... [--record FILE]

NAME is a name of torchvision (`resnet50`); without one, all 80 classification, 6 segmentation and 9 video models.
Parameters must be `sum(p.numel())`, multiply-accumulates those of FlopCounterMode, and bytes kept for backward those of
autograd on meta. Totals that differ from those of the spec `torchvision/NAME` are shown. Exit code 1: a figure differs
from PyTorch's.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import time
import warnings
from pathlib import Path
from typing import Any

from import_oracle import Figures, import_torchvision, of_graph, of_module

from archcalc import ArchcalcError, analyze, load
from archcalc.importers.torch import from_torch, weights_on_meta

TOTALS = ("params", "buffers", "macs", "flops", "activations", "depth", "receptive_field", "saved_bytes")
KINDS = ("", "segmentation", "video")


def names(models: Any) -> list[str]:
    """Return the names of all networks of torchvision that this bench imports."""
    parts = [models, models.segmentation, models.video]
    return [name for part in parts for name in models.list_models(module=part)]


def size_of(name: str, models: Any) -> tuple[int, ...]:
    """Return the size of one input: the one that the network was made for."""
    home = models.get_model_builder(name).__module__
    if ".video" in home:
        return (3, 16, 224, 224)
    return (3, 299, 299) if name == "inception_v3" else (3, 224, 224)


def build(name: str, models: Any) -> Any:
    """Build a network without weights in memory."""
    with weights_on_meta(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        backbone = {"weights_backbone": None} if "segmentation" in models.get_model_builder(name).__module__ else {}
        return models.get_model(name, weights=None, **backbone)


def row(name: str, models: Any) -> dict[str, Any]:
    """Import a network and compare it."""
    size, start = size_of(name, models), time.perf_counter()
    module = build(name, models)
    graph = from_torch(module, size, name=name)
    seconds = time.perf_counter() - start
    megabytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    ours, theirs = of_graph(graph), of_module(module, size)
    off = {key: pair for key, *pair in zip(Figures._fields, ours, theirs, strict=True) if pair[0] != pair[1]}
    found = {
        "seconds": round(seconds, 2),
        "peak MiB": megabytes,
        **ours._asdict(),
        "off": off,
        "notes": graph.about.notes,
    }
    try:
        spec = load(f"torchvision/{name}", input=size)
    except ArchcalcError:
        return found
    pairs = [(analyze(each).totals, analyze(each, mode="train").totals) for each in (graph, spec)]
    compared = {key: [getattr(pair[key == "saved_bytes"], key) for pair in pairs] for key in TOTALS}
    return found | {"spec": {key: pair for key, pair in compared.items() if pair[0] != pair[1]}}


def main() -> int:
    """Run the bench; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*")
    parser.add_argument("--record", type=Path)
    options = parser.parse_args()
    models = import_torchvision().models
    rows: dict[str, Any] = {}
    for name in options.names or names(models):
        try:
            rows[name] = row(name, models)
        except Exception as error:
            rows[name] = {"error": f"{type(error).__name__}: {error}"}
        print(name, json.dumps(rows[name]), flush=True)
        if options.record:
            options.record.write_text(json.dumps(rows, indent=1) + "\n")
    wrong = [name for name, row in rows.items() if row.get("off", True)]
    print(f"{len(rows) - len(wrong)} of {len(rows)} equal to PyTorch{': not ' if wrong else ''}{', '.join(wrong)}")
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
