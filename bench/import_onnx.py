"""Export networks of the zoo to ONNX with PyTorch, import the files, and compare with the spec.

NAME selects networks. Each is exported eight ways: by the newer exporter (dynamo) and the older one, for inference and
for training, with optimizations and without. MACs have to be those of the spec; parameters those of the spec, or of
`--fold-bn` where the file has no batch normalization. Weights are random, so that no exporter merges equal ones. Exit
code 1 at a difference.
"""

import argparse
import itertools
import sys
import tempfile
import time
import warnings
from pathlib import Path

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


def differences(graph: Graph, path: Path) -> list[str]:
    found = analyze(from_onnx(path))
    spec = analyze(graph.without_sides())
    folded = analyze(fold_batchnorm(graph.without_sides())).totals
    said = any("may be folded" in note for note in found.graph.about.notes)
    params = {spec.totals.params} | ({folded.params} if said else set())
    wrong = [] if found.totals.macs == spec.totals.macs else [f"MACs {found.totals.macs:,}, not {spec.totals.macs:,}"]
    if found.totals.params not in params:
        wrong.append(f"params {found.totals.params:,}, not {' or '.join(f'{count:,}' for count in params)}")
    foreign = {layer.node.op.name for layer in found.layers if layer.node.op.name.startswith("onnx::")}
    print(f"    {len(found.layers)} layers, as functions of ONNX: {', '.join(sorted(foreign)) or 'none'}")
    return wrong


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", default=USUAL.split())
    failed = exported = 0
    warnings.simplefilter("ignore")
    for name in parser.parse_args().names:
        graph = load(name)
        for dynamo, trains, optimizes in itertools.product((True, False), repeat=3):
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / "network.onnx"
                way = f"{'newer' if dynamo else 'older'} {'train' if trains else 'eval'} {'optimized' * optimizes}"
                try:
                    export(graph, path, dynamo, trains, optimizes)
                except Exception as error:  # PyTorch's own, of any kind
                    print(f"{name} {way}: not exported: {str(error).strip().splitlines()[0]}", flush=True)
                    continue
                exported += 1
                started = time.process_time()
                try:
                    wrong = differences(graph, path)
                except ArchcalcError as error:
                    wrong = [str(error)]
                took = time.process_time() - started
                print(f"{name} {way}: {'; '.join(wrong) or 'equal'} ({took:.2f} s)", flush=True)
                failed += bool(wrong)
    print(f"{exported} files, {failed} differ")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
