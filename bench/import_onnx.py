"""Export networks of the zoo to ONNX with PyTorch, import the files, and compare with the spec.

    python bench/import_onnx.py [NAME ...] [--files FOLDER] [--record bench/records/onnx.json]

Each network is exported eight ways: by the newer exporter (dynamo) and the older one, for inference and for training,
with optimizations and without. MACs have to be those of the spec; parameters those of the spec, or of `--fold-bn` where
a note says that the file has no batch normalization. Weights are random, so that no exporter merges equal ones. Exports
take most of the time; FOLDER keeps the files, and those that it has are not exported again. The record is written
anew, with the versions and the date. Exit code 1 at a difference.
"""

import argparse
import itertools
import json
import sys
import tempfile
import time
import warnings
from datetime import date
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from archcalc import ArchcalcError, Graph, analyze, load
from archcalc.graph.batchnorm_folding import fold_batchnorm
from archcalc.importers.onnx_file import from_onnx
from archcalc.pytorch import build

USUAL = (
    "squeezenet1.1 resnet18 densenet121 mobilenet-v2 mobilenet-v3-small shufflenet-v2-1.0 "
    "efficientnet-b0 regnety-400mf unet deit-ti"
)


def module_of(graph: Graph, trains: bool) -> torch.nn.Module:
    """Return the network in PyTorch with random weights and statistics, no two of them equal."""
    module = build(graph.without_sides())
    with torch.no_grad():
        for tensor in (*module.parameters(), *module.buffers()):
            if tensor.is_floating_point():
                tensor.uniform_(0.1, 1.0)
    return module.train(trains)


def export(graph: Graph, path: Path, dynamo: bool, trains: bool, optimizes: bool) -> None:
    module = module_of(graph, trains)
    inputs = tuple(
        [
            torch.zeros(1, *node.output, dtype=torch.int64) if node.output.axes == "T" else torch.rand(1, *node.output)
            for node in graph.inputs
        ]
    )
    if dynamo:
        torch.onnx.export(module, inputs, path, dynamo=True, optimize=optimizes, external_data=False, verbose=False)
        return
    mode = torch.onnx.TrainingMode.TRAINING if trains else torch.onnx.TrainingMode.EVAL
    torch.onnx.export(module, inputs, path, dynamo=False, training=mode, do_constant_folding=optimizes)


def compared(graph: Graph, path: Path) -> tuple[dict[str, Any], list[str]]:
    """Return what a file has, for the record, and what differs from the spec."""
    started = time.process_time()
    found = analyze(from_onnx(path))
    took = time.process_time() - started
    spec = analyze(graph.without_sides()).totals
    folded = analyze(fold_batchnorm(graph.without_sides())).totals
    said = any("may be folded" in note for note in found.graph.about.notes)
    kind = {folded.params: "folded"} if said else {}
    params = (kind | {spec.params: "equal"}).get(found.totals.params)
    row = {
        "layers": len(found.layers), "macs": found.totals.macs, "params": found.totals.params, "is": params,
        "functions": sorted({layer.node.op.name for layer in found.layers if "::" in layer.node.op.name}),
        "megabytes": round(path.stat().st_size / 1e6, 1), "seconds": round(took, 2),
    }  # fmt: skip
    wrong = [] if found.totals.macs == spec.macs else [f"MACs {found.totals.macs:,}, not {spec.macs:,}"]
    return row, wrong + [f"params {found.totals.params:,}, not {spec.params:,}"] * (params is None)


def tried(name: str, graph: Graph, path: Path, *how: bool) -> tuple[dict[str, Any], list[str]]:
    """Export a network unless its file is there, and compare it."""
    try:
        if not path.exists():
            export(graph, path, *how)
    except Exception as error:  # PyTorch's own, of any kind
        path.unlink(missing_ok=True)
        return {"not exported": str(error).strip().splitlines()[0][:200]}, []
    try:
        return compared(graph, path)
    except ArchcalcError as error:
        return {}, [str(error)]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", default=USUAL.split())
    parser.add_argument("--files", type=Path)
    parser.add_argument("--record", type=Path)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    rows: dict[str, Any] = {}
    failed = 0
    with tempfile.TemporaryDirectory() as folder:
        files = options.files or Path(folder)
        files.mkdir(parents=True, exist_ok=True)
        for name in options.names:
            graph = load(name)
            for dynamo, trains, optimizes in itertools.product((True, False), repeat=3):
                way = f"{'newer' if dynamo else 'older'}-{'train' if trains else 'eval'}{'-opt' * optimizes}"
                path = files / f"{name.replace('/', '_')}-{way}.onnx"
                rows[f"{name} {way}"], wrong = tried(name, graph, path, dynamo, trains, optimizes)
                failed += bool(wrong)
                print(f"{name} {way}: {'; '.join(wrong) or 'right'} {rows[f'{name} {way}']}", flush=True)
                if not options.files:
                    path.unlink(missing_ok=True)
    exported = [row for row in rows.values() if "not exported" not in row]
    folded = sum(row.get("is") == "folded" for row in exported)
    print(f"{len(exported)} of {len(rows)} exported; {failed} differ; {folded} have folded batch normalization")
    if options.record:
        versions = {"date": str(date.today()), "torch": torch.__version__, "onnx": metadata.version("onnx")}
        lines = [f" {json.dumps(key)}: {json.dumps(row)}" for key, row in {"versions": versions, **rows}.items()]
        options.record.write_text("{\n" + ",\n".join(lines) + "\n}\n")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
