"""Record what other tools say a training needs, for the table in docs/explanation/memory.md (`make golden` makes it).

    python bench/estimators.py

It runs torchinfo and torchsummary (`pip install torchinfo torchsummary`) and PyTorch's MemTracker on the PyTorch source
that archcalc exports, for batches of 32 in float32. MemTracker runs two steps with SGD and momentum on fake tensors of
the CPU, since a PyTorch without CUDA makes no others; the optimizer works on whole lists (foreach), as on CUDA.
"""

import contextlib
import io
import json
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.distributed._tools.mem_tracker import MemTracker
from torch.nn.functional import cross_entropy

from archcalc import Graph, load
from archcalc.codegen import pytorch_source

NETWORKS = ("vgg16", "resnet50", "densenet121", "squeezenet1.0", "unet-padded")
BATCH = 32
RECORD = Path(__file__).parent / "records" / "estimators.json"


def module(graph: Graph) -> Any:
    """Run the exported source; return its network."""
    names: dict[str, Any] = {"__name__": graph.name}
    exec(pytorch_source(graph), names)  # our own source
    return next(made for made in reversed(list(names.values())) if isinstance(made, type))()


def with_mem_tracker(graph: Graph, batch: int = BATCH) -> int:
    """Return MemTracker's peak."""
    with FakeTensorMode():
        network = module(graph).train()
        optimizer = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9, foreach=True)
        image = torch.empty(batch, *graph.input)
        target = torch.zeros(batch, *graph.nodes[graph.result].output[1:], dtype=torch.int64)
        tracker = MemTracker()
        tracker.track_external(network, optimizer, image, target)
        with tracker:
            for _ in range(2):
                tracker.reset_mod_stats()
                output = network(image)
                loss = cross_entropy(output, target)
                loss.backward()
                optimizer.step()
                optimizer.zero_grad()
    return int(tracker.get_tracker_snapshot("peak")[torch.device("cpu")]["Total"])


def with_torchinfo(graph: Graph) -> int:
    """Return torchinfo's "Estimated Total Size": input, outputs of layers twice, parameters."""
    from torchinfo import summary

    with torch.device("meta"):
        made = summary(module(graph), (BATCH, *graph.input), device="meta", verbose=0, mode="train")
    return int(made.total_input + made.total_output_bytes + made.total_param_bytes)


def with_torchsummary(graph: Graph) -> int:
    """Return torchsummary's "Estimated Total Size (MB)": input, outputs of modules twice, parameters."""
    from torchsummary import summary

    text = io.StringIO()
    with contextlib.redirect_stdout(text):
        summary(module(graph), graph.input, batch_size=BATCH, device="cpu")
    line = next(line for line in text.getvalue().splitlines() if line.startswith("Estimated Total Size"))
    return int(float(line.split()[-1]) * 2**20)


def main() -> int:
    estimators = {
        f"MemTracker of PyTorch {torch.__version__.partition('+')[0]}, momentum": with_mem_tracker,
        f"torchinfo {version('torchinfo')}": with_torchinfo,
        f"torchsummary {version('torchsummary')}": with_torchsummary,
    }
    record: dict[str, Any] = {"batch": BATCH, "networks": {}}
    for name in NETWORKS:
        graph = load(name)
        record["networks"][name] = {title: estimate(graph) for title, estimate in estimators.items()}
        print(name, record["networks"][name], flush=True)
    RECORD.write_text(json.dumps(record, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
