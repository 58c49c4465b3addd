"""Compare our translation of YOLO models with the summaries that Ultralytics publishes in its configurations.

The models are read from the installed package `ultralytics`, which is not imported. `records/ultralytics-summaries.csv`
has what is published of them, before convolutions and normalizations are fused. Their GFLOPs are those of the package
thop: 2 · (MACs of convolutions and linear layers + 4 per normalized value + 3 per value of a softmax).
A transposed convolution counts as if it read as many positions as it writes, and products of attention count nothing.
They count at 32×32 pixels and multiply by the area, so that a linear layer counts once for each 32×32. Sizes are 640,
of YOLO11's classifiers 224; parameters are of 80 classes.

    python bench/ultralytics_summaries.py
"""

import csv
import sys
from importlib.util import find_spec
from pathlib import Path

from archcalc import ArchcalcError, analyze, parse
from archcalc.importers.ultralytics import ultralytics_spec

RECORD = Path(__file__).parent / "records/ultralytics-summaries.csv"
TIMES = {"conv": 1, "conv_transpose": 4}  # strides are 2
COUNTED = {"batchnorm": 4, "softmax": 3}  # per value


def thop_gflops(report, areas):
    """What thop counts, in GFLOPs, for an image of so many 32×32 areas."""
    total = 0
    for layer in report.layers:
        name = layer.node.op.name
        if name in TIMES:
            total += layer.macs * TIMES[name]
        elif name == "linear":
            total += layer.macs * (1 if layer.node.name.startswith("dfl") else areas)
        elif name == "batchnorm" or (name == "softmax" and layer.node.name.startswith("dfl")):
            total += COUNTED[name] * layer.activations
    return 2 * total / 1e9


def models():
    """The folder of models of the installed package."""
    found = find_spec("ultralytics")
    if found is None or not found.submodule_search_locations:
        sys.exit("install ultralytics to read its models")
    return Path(found.submodule_search_locations[0]) / "cfg/models"


def compared(row, folder):
    """Our parameters and GFLOPs."""
    path = folder / row["file"]
    size, classes = (224, 1000) if path.name == "yolo11-cls.yaml" else (640, 80)
    text = ultralytics_spec(path.read_text(), path.name, path.stem, row["scale"])
    params = analyze(parse(text, classes=80)).totals.params
    return params, thop_gflops(analyze(parse(text, classes=classes, input=(3, size, size))), (size // 32) ** 2)


def main():
    folder, wrong, unknown = models(), 0, 0
    for row in csv.DictReader(RECORD.open()):
        try:
            params, gflops = compared(row, folder)
        except ArchcalcError as error:
            unknown += 1
            print(f"{row['file']:24} {row['scale']}  not translated: {str(error).splitlines()[0]}")
            continue
        same = params == int(row["parameters"]), abs(gflops - float(row["gflops"])) <= 0.0501
        wrong += not same[0]
        print(f"{row['file']:24} {row['scale']}  {params:>11,} {'=' if same[0] else '≠'} {int(row['parameters']):>11,}"
              f"  {gflops:8.3f} {'=' if same[1] else '≠'} {row['gflops']} GFLOPs")  # fmt: skip
    print(f"{wrong} with other parameters, {unknown} not translated")
    return wrong


if __name__ == "__main__":
    sys.exit(main())
