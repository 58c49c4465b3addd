"""Import torchvision's networks, and compare with PyTorch and with our specs.

    python bench/import_torchvision.py [PATTERN]... [--record FILE] [--seconds 240] [--gigabytes 6]

All 80 classification, 6 segmentation and 9 video models, the largest last. Parameters must be `sum(p.numel())`,
multiply-accumulates those of FlopCounterMode, and bytes kept for backward those of autograd on meta. Totals that differ
from those of the spec `torchvision/NAME` must have causes that explain them. "peak MiB" is the most memory of the
process when the network is imported, with what it reads of PyTorch. Exit code 1: one of this is not so, or a network
is not imported.
"""

from __future__ import annotations

import re
import resource
import sys
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import import_record
from import_oracle import Figures, of_graph, of_module, unknown_in
from torchvision_weights import torchvision_models

from archcalc import ArchcalcError, Graph, Report, analyze, load
from archcalc.graph.graph import Node
from archcalc.importers.torch import from_torch, weights_on_meta

TOTALS = ("params", "buffers", "macs", "flops", "activations", "depth", "receptive_field", "saved_bytes")
LAST = "regnet_y_128gf"


class Rows(NamedTuple):
    """Rows that count otherwise in an import and in our spec: a figure's sum over all other rows must be the same."""

    imported: str  # a pattern for the names of a row and its function, as `layers.0.attn.softmax aten::softmax`
    ours: str = "^$"  # a pattern for kinds of operators


BY_ROWS = {
    "activations": {
        "the code writes each step of attention, the spec its result": Rows(
            r".*(\.attn|self_attention|attn_layer\.1)\..*|.*partition_op.*", ".*attention"
        ),
        "the code adds into new tensors, the spec in place": Rows(".* add", "add"),
        "the code takes parts as views, the spec copies": Rows("^$", "chunk|slice"),
        "the code permutes by a view, the spec copies": Rows(".* (aten::)?permute", "permute|tokens"),
        "the code pads also where nothing is to pad": Rows(r".*\d\.pad aten::pad"),
    },
    "flops": {"the code computes masks at each call": Rows(".* constant")},
}
DEPTH = "attention is two linear layers in the code, one layer in the spec"
READS = "functions read unknown positions"
UNKNOWN = "what window attention keeps is unknown"
PARTS = "the code keeps whole tensors, the spec parts"


def names(models: Any) -> list[str]:
    """Return the names of all networks of torchvision that this bench imports."""
    parts = [models, models.segmentation, models.video]
    found = [name for part in parts for name in models.list_models(module=part)]
    return sorted(found, key=LAST.__eq__)


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


def row(name: str) -> import_record.Row:
    """Import a network and compare it."""
    models = torchvision_models()
    size, module, start = size_of(name, models), build(name, models), time.process_time()
    graph = from_torch(module, size, name=name)
    seconds, kilobytes = time.process_time() - start, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    ours, theirs = of_graph(graph), of_module(module, size)
    off = {key: pair for key, *pair in zip(Figures._fields, ours, theirs, strict=True) if pair[0] != pair[1]}
    found = {"nodes": len(graph.nodes), "seconds": round(seconds, 1), "peak MiB": kilobytes >> 10, **unknown_in(graph)}
    found |= {**ours._asdict(), "off": off}
    try:
        spec = load(f"torchvision/{name}", input=size)
    except ArchcalcError:
        return found
    return found | {"spec": compared(graph, spec)}


def compared(graph: Graph, spec: Graph) -> dict[str, Any]:
    """Return the totals that differ: the import's, the spec's, and the causes; none if they do not explain it."""
    found: dict[str, Any] = {}
    for key in TOTALS:
        reports = [analyze(each, mode="train" if key == "saved_bytes" else "infer") for each in (graph, spec)]
        pair = [getattr(report.totals, key) for report in reports]
        if pair[0] != pair[1]:
            found[key] = [*pair, [*causes(key, pair, *reports)]]
    return found


def causes(key: str, pair: list[Any], imported: Report, ours: Report) -> Iterable[str]:
    """Yield the causes of a difference, if they explain it."""
    operators = [layer.node.op for layer in ours.layers]
    if key in BY_ROWS:
        rows = BY_ROWS[key].values()
        mine = sums(imported, key, [each.imported for each in rows], lambda node: f"{node.name} {node.op.name}")
        theirs = sums(ours, key, [each.ours for each in rows], lambda node: node.op.name)
        if mine.pop() == theirs.pop():
            yield from [cause for cause, *own in zip(BY_ROWS[key], mine, theirs, strict=True) if own[0] != own[1]]
    elif key == "depth" and pair[0] - pair[1] == sum("attention" in op.name for op in operators):
        yield DEPTH
    elif key == "receptive_field" and any(layer.node.op.unknown_reads for layer in imported.layers):
        yield READS
    elif key == "saved_bytes" and pair[1] is None and any(op.unknown_memory for op in operators):
        yield UNKNOWN
    elif key == "saved_bytes" and any(op.name in ("chunk", "slice") for op in operators):
        yield PARTS


def sums(report: Report, key: str, patterns: list[str], text: Callable[[Node], str]) -> list[int]:
    """Return a figure's sum over the rows of each pattern, of the first one that matches, and of all other rows."""
    found = [0] * (len(patterns) + 1)
    for layer in report.layers:
        at = next((i for i, pattern in enumerate(patterns) if re.fullmatch(pattern, text(layer.node))), -1)
        found[at] += getattr(layer, key)
    return found


def main() -> int:
    """Run the bench; return the exit code."""
    given = import_record.options(__doc__, "bench/records/torchvision_import.json")
    rows = import_record.run(names(torchvision_models()), row, "torchvision", given)
    agree = import_record.summary(rows) and not any("error" in each for each in rows.values())
    specs = {name: each["spec"] for name, each in rows.items() if "spec" in each}
    equal = [name for name, differing in specs.items() if not differing]
    print(f"{len(specs)} have a spec, {len(equal)} are equal to it in every total")
    found = Counter((key, cause) for each in specs.values() for key, (*_, why) in each.items() for cause in why or [""])
    for (key, cause), count in sorted(found.items()):
        print(f"{count:4} {key}: {cause or 'no cause'}")
    return not (agree and all(cause for _, cause in found))


if __name__ == "__main__":
    sys.exit(main())
