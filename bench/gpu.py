"""Run all checks of `archcalc validate` on a CUDA device, for the whole zoo; write one record file.

    python bench/gpu.py [--networks NAME...] [--batch N] [--dtype NAME] [--device cpu] [--out FOLDER]

`bench/fit.py --device cuda` measures memory. The record is written atomically after each network; `complete` says
whether the run finished. Exit code 1: a figure differs, or a network cannot run; 2: no CUDA device, or an unknown
network.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import sys
from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import torch

from archcalc import ArchcalcError, __version__, load
from archcalc.analysis.cost import DTYPES
from archcalc.catalog import matching, origin
from archcalc.cli.output import write
from archcalc.pytorch.validation import validate_or_say

SCHEMA = 1  # of the record; it rises when a key changes its meaning or is removed
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


def problem(error: BaseException) -> str:
    """Return the first line of an error, for the record."""
    return f"{type(error).__name__}: {error}".splitlines()[0]


def cap(most: int) -> int:
    """Limit the allocator to this number of bytes; return the limit after its rounding, 0 without a cap."""
    torch.cuda.init()
    if not most:
        return 0
    total = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.set_per_process_memory_fraction(most / total, 0)
    return int(most / total * total)  # like the allocator computes it


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
    record: dict[str, Any] = {**environment(options.device), "networks": []}
    path = options.out / file_name(record)
    options.out.mkdir(parents=True, exist_ok=True)
    for name in names:
        made = validation(name, options.device, options.batch, options.dtype)
        record["networks"].append(made)
        keep(record, path)
        print(f"{name:<28}  {validation_line(made)}", flush=True)
    record["complete"] = True
    keep(record, path)
    checks, different = (sum(made[key] for made in record["networks"]) for key in ("checks", "differences"))
    print(f"networks: {len(names)} · checks: {checks:,}, different: {different:,} · {path}")
    return int(different > 0 or any(made["problem"] for made in record["networks"]))


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
    parser.add_argument("--batch", type=positive, default=2)
    parser.add_argument("--dtype", choices=list(DTYPES), default="float32")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "records", metavar="FOLDER")
    options = parser.parse_args(arguments)
    if options.device == "cuda" and not torch.cuda.is_available():
        print("no CUDA device is available; use --device cpu", file=sys.stderr)
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
