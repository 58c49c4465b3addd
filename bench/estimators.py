"""Print what other estimators say a training needs, beside archcalc, as a table for docs/explanation/memory.md.

    python estimators.py

It runs torchinfo and torchsummary (`pip install torchinfo torchsummary`) on the PyTorch source that archcalc exports,
and computes the formulas of Accelerate (four times the parameters' bytes) and DeepSpeed (ZeRO-2 on one GPU, 20 bytes
per parameter), which know only the number of parameters. Images in batches of 32, float32.
"""

import contextlib
import io
import sys
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

import torch

from archcalc import Graph, load
from archcalc.analysis.needed_memory import memory_needs
from archcalc.analysis.recipe import Recipe
from archcalc.codegen import pytorch_source

NETWORKS = ("vgg16", "resnet50", "densenet121", "squeezenet1.0", "unet")
BATCH = 32


def module(graph: Graph) -> Any:
    """Run the exported source; return its network."""
    names: dict[str, Any] = {"__name__": graph.name}
    exec(pytorch_source(graph), names)  # our own source
    return next(made for made in reversed(list(names.values())) if isinstance(made, type))()


def with_torchinfo(graph: Graph) -> float:
    """Return torchinfo's "Estimated Total Size": input, outputs of layers twice, parameters."""
    from torchinfo import summary

    with torch.device("meta"):
        made = summary(module(graph), (BATCH, *graph.input), device="meta", verbose=0, mode="train")
    return float(made.total_input + made.total_output_bytes + made.total_param_bytes)


def with_torchsummary(graph: Graph) -> float:
    """Return torchsummary's "Estimated Total Size (MB)": input, outputs of modules twice, parameters."""
    from torchsummary import summary

    text = io.StringIO()
    with contextlib.redirect_stdout(text):
        summary(module(graph), graph.input, batch_size=BATCH, device="cpu")
    line = next(line for line in text.getvalue().splitlines() if line.startswith("Estimated Total Size"))
    return float(line.split()[-1]) * 2**20


def of_parameters(each: int) -> Callable[[Graph], float]:
    """Return a formula: bytes per parameter."""
    return lambda graph: each * float(memory_needs(graph, Recipe(), 1).report.totals.params)


def ours(optimizer: str) -> Callable[[Graph], float]:
    """Return archcalc's peak on CUDA."""
    return lambda graph: float(memory_needs(graph, Recipe(optimizer, device="cuda"), BATCH).top.peak)


def main() -> int:
    found = {
        "archcalc, momentum": ours("momentum"),
        "archcalc, Adam": ours("adam"),
        f"torchinfo {version('torchinfo')}": with_torchinfo,
        f"torchsummary {version('torchsummary')}": with_torchsummary,
        "Accelerate, Adam": of_parameters(16),
        "DeepSpeed, Adam": of_parameters(20),
    }
    print(f"| network | {' | '.join(found)} |\n| --- |{' ---: |' * len(found)}")
    for name in NETWORKS:
        graph = load(name)
        print(f"| {name} | {' | '.join(f'{estimate(graph) / 2**30:.2f}' for estimate in found.values())} |", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
