"""Measure memory in training on a CUDA device, and validate figures on it; write one record file.

    python bench/gpu.py [--networks NAME...] [--batch N] [--memory-batch N] [--dtype NAME] [--device cpu] [--out FOLDER]

First measure memory, with a separate process for each network: inference, then three training steps with SGD and
momentum. For each phase (inference; forward, backward and optimizer of a step) record peak and final value of three
counts: `requested`, the bytes that tensors request; `allocated`, in blocks; `reserved`, in segments of the device. The
optimizer creates its momentum buffers in the first step, so all later steps are like the third. Output and loss of a
step live until the next step replaces them, as in any training loop; gradients are freed after the optimizer step.
Then run all checks of `archcalc validate`. Without --networks: memory of a few networks, validation of the whole zoo.

The record is written atomically after each network; `complete` says whether the run finished. Exit code 1: a figure
differs, or a network cannot run; 2: no CUDA device, or an unknown network. `--device cpu` does the same without counts.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import platform
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import torch

from archcalc import ArchcalcError, Graph, __version__, load
from archcalc.analysis.cost import DTYPES
from archcalc.analysis.recipe import Recipe
from archcalc.catalog import matching, origin
from archcalc.cli.output import write
from archcalc.pytorch.training_memory import Loop
from archcalc.pytorch.validation import validate_or_say

SCHEMA = 1  # of the record; it rises when a key changes its meaning or is removed
MEMORY = ["alexnet", "vgg16", "googlenet", "resnet18", "torchvision/resnet50", "densenet121", "squeezenet1.0"]
STEPS = 3
COUNTS = {"requested": "requested_bytes", "allocated": "allocated_bytes", "reserved": "reserved_bytes"}
LISTED = 20  # most differences per network that the record lists; it counts all
ENVIRONMENT = (
    "PYTORCH_ALLOC_CONF",
    "PYTORCH_CUDA_ALLOC_CONF",
    "CUBLAS_WORKSPACE_CONFIG",
)  # variables that change the counts


def environment(device: str) -> dict[str, Any]:
    """Describe the device and the versions of a record."""
    properties = torch.cuda.get_device_properties(0) if device == "cuda" else None
    return {
        "schema": SCHEMA,
        "complete": False,
        "date": datetime.now(timezone.utc).strftime("%Y-%m-%d"),
        "device": properties.name if properties else device,
        "device_bytes": properties.total_memory if properties else None,
        "capability": f"{properties.major}.{properties.minor}" if properties else None,
        "archcalc": __version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version(),
        "cudnn_benchmark": torch.backends.cudnn.benchmark,
        "cudnn_allow_tf32": torch.backends.cudnn.allow_tf32,
        "matmul_allow_tf32": torch.backends.cuda.matmul.allow_tf32,
        "environment": {name: os.environ[name] for name in ENVIRONMENT if name in os.environ},
    }


def counts() -> dict[str, dict[str, int]]:
    """Return for each count of the allocator its peak since the last reset, and its current value, in bytes."""
    stats = torch.cuda.memory_stats()
    return {
        name: {"peak": stats[f"{key}.all.peak"], "end": stats[f"{key}.all.current"]} for name, key in COUNTS.items()
    }


def metered(work: Callable[[], None], device: str) -> dict[str, dict[str, int]] | None:
    """Do the work and return the allocator's counts during it; None without CUDA."""
    if device != "cuda":
        work()
        return None
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    work()
    torch.cuda.synchronize()
    return counts()


def protocol(graph: Graph, device: str, batch: int, dtype: str) -> Iterator[tuple[str, Any]]:
    """Run the phases; yield the name and the counts of each."""
    torch.manual_seed(0)
    loop = Loop(graph, Recipe("momentum", dtype=dtype, device=device, steps=STEPS), batch)
    (state, *_), *phases = loop.phases()
    loop.state()
    yield state, counts() if device == "cuda" else None  # weights, buffers, image and target
    for name, step, work in phases:
        yield f"{name}{step or ''}", metered(work, device)


def memory(name: str, device: str, batch: int, dtype: str) -> dict[str, Any]:
    """Measure one network's memory; after an error return the phases done and the problem."""
    graph = load(name)
    made = {"network": name, "input": list(graph.input), "batch": batch, "dtype": dtype, "problem": "", "phases": {}}
    try:
        for phase, measured in protocol(graph, device, batch, dtype):
            made["phases"][phase] = measured
    except Exception as error:  # any error: the next network must still run
        made["problem"] = problem(error)
    return made


def problem(error: BaseException) -> str:
    """Return the first line of an error, for the record."""
    return f"{type(error).__name__}: {error}".splitlines()[0]


def memory_apart(name: str, device: str, batch: int, dtype: str) -> dict[str, Any]:
    """Do the same in a separate process, where blocks and workspaces of other networks do not count."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        try:
            return pool.submit(memory, name, device, batch, dtype).result()
        except BrokenProcessPool as error:
            return {"network": name, "batch": batch, "dtype": dtype, "problem": problem(error), "phases": {}}


def memory_line(made: dict[str, Any]) -> str:
    """Return a line with the peaks of the last step in MiB."""
    last = [made["phases"].get(f"{name}{STEPS}") for name in ("forward", "backward", "optimizer")]
    if made["problem"] or not all(last):
        return made["problem"] or "no counts without CUDA"
    peaks = (f"{count} {max(phase[count]['peak'] for phase in last) / 2**20:,.1f}" for count in COUNTS)
    return f"{', '.join(peaks)} MiB at the peak of a step"


def validation(name: str, device: str, batch: int, dtype: str) -> dict[str, Any]:
    """Validate one network; return its entry of the record."""
    made = validate_or_say(load(name), device, batch, dtype)
    differences = made.differences
    return {
        "network": name,
        "device": made.device,
        "batch": made.batch,
        "dtype": made.dtype,
        "checks": len(made.checks),
        "differences": len(differences),
        "seconds": round(made.seconds, 3),
        "problem": made.problem,
        "by_figure": dict(Counter(check.figure for check in differences)),
        "first": [
            {"layer": d.layer, "figure": d.figure, "expected": d.expected, "measured": d.measured}
            for d in differences[:LISTED]
        ],
    }


def validation_line(made: dict[str, Any]) -> str:
    """Return a line with the numbers of checks and differences, and the first difference."""
    line = f"{made['checks']:,} checks, {made['differences']:,} different, {made['seconds']:.1f} s"
    first = "".join(f"; first {d['layer'] or 'the network'}: {d['figure']}" for d in made["first"][:1])
    return f"{line}{first}{'; ' if made['problem'] else ''}{made['problem']}"


def run(options: argparse.Namespace) -> int:
    """Measure memory, then validate; write the record after each network."""
    names = matching(options.networks)
    for name in names:
        origin(name)  # report a wrong name before hours of work
    record: dict[str, Any] = {**environment(options.device), "memory": [], "networks": []}
    path = options.out / file_name(record)
    options.out.mkdir(parents=True, exist_ok=True)
    for name in names if options.networks else MEMORY:
        made = memory_apart(name, options.device, options.memory_batch, options.dtype)
        record["memory"].append(made)
        keep(record, path)
        print(f"memory    {name:<28}  {memory_line(made)}", flush=True)
    for name in names:
        made = validation(name, options.device, options.batch, options.dtype)
        record["networks"].append(made)
        keep(record, path)
        print(f"validate  {name:<28}  {validation_line(made)}", flush=True)
    record["complete"] = True
    keep(record, path)
    checks, different = (sum(made[key] for made in record["networks"]) for key in ("checks", "differences"))
    print(f"networks: {len(names)} · checks: {checks:,}, different: {different:,} · {path}")
    return int(different > 0 or any(made["problem"] for made in (*record["memory"], *record["networks"])))


def file_name(record: dict[str, Any]) -> str:
    """`NVIDIA-H100-80GB-HBM3-2.13.0+cu130-2026-01-31.json`."""
    return re.sub(r"[^\w.+-]+", "-", f"{record['device']}-{record['torch']}-{record['date']}") + ".json"


def keep(record: dict[str, Any], path: Path) -> None:
    """Write the record atomically."""
    write(path, json.dumps(record, indent=1, ensure_ascii=False, default=str) + "\n", force=True)


def positive(text: str) -> int:
    """Read a batch size."""
    number = int(text)
    if number < 1:
        raise ValueError
    return number


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--networks", nargs="+", default=[], metavar="NAME", help="names, or patterns such as 'resnet*'"
    )
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument("--batch", type=positive, default=2, help="for the validation")
    parser.add_argument("--memory-batch", type=positive, default=32)
    parser.add_argument("--dtype", choices=list(DTYPES), default="float32")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "records", metavar="FOLDER")
    options = parser.parse_args(arguments)
    if options.device == "cuda" and not torch.cuda.is_available():
        print(
            "no CUDA device is available; --device cpu runs everything without the allocator's counts", file=sys.stderr
        )
        return 2
    try:
        return run(options)
    except (ArchcalcError, OSError) as error:  # OSError: the folder cannot be made
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped; the record contains the networks done so far", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
