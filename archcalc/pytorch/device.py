"""Devices, and how much memory is free on them."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import torch

from archcalc.analysis.cost import DTYPES
from archcalc.analysis.report import analyze
from archcalc.errors import ArchcalcError, choose
from archcalc.graph.graph import Graph

DEVICES = {name: name for name in ("auto", "cpu", "cuda", "meta")}


def pick(device: str) -> str:
    """Resolve a device name; `auto` is CUDA if available, else the CPU. Raises ArchcalcError if it is not available."""
    chosen, available = choose("device", device, DEVICES), torch.cuda.is_available()
    if chosen == "cuda" and not available:
        raise ArchcalcError("no CUDA device is available; use --device cpu or --device meta")
    return ("cuda" if available else "cpu") if chosen == "auto" else chosen


def room(device: str) -> int | None:
    """Number of free bytes on a device; None if it is unknown or irrelevant."""
    if device == "cuda":
        cached = torch.cuda.memory_reserved() - torch.cuda.memory_allocated()  # PyTorch reuses it
        return int(torch.cuda.mem_get_info()[0] + cached)
    if device == "cpu":
        return min(filter(None, (_of_machine(), _of_container())), default=None)
    return None


def metered(work: Callable[[], None]) -> dict[str, int]:
    """Run something on CUDA; return what PyTorch's allocator counts, with the peaks since the start."""
    torch.cuda.reset_peak_memory_stats()
    work()
    torch.cuda.synchronize()
    counts: dict[str, int] = torch.cuda.memory_stats()
    return counts


def needed_bytes(graph: Graph, batch: int, dtype: str) -> int:
    """Estimate the memory of a forward and a backward pass: weights, gradients, saved tensors, largest outputs."""
    totals = analyze(graph, batch, dtype, "train").totals
    largest = max(math.prod(node.output) for node in graph.nodes) * batch * DTYPES[dtype]
    return int(2 * totals.param_bytes + totals.buffer_bytes + (totals.saved_bytes or 0) + 4 * largest)


def _of_machine(meminfo: Path = Path("/proc/meminfo")) -> int | None:
    try:
        lines = dict(line.split(":", 1) for line in meminfo.read_text().splitlines() if ":" in line)
        return int(lines["MemAvailable"].split()[0]) * 1024
    except (OSError, KeyError):
        return None


def _of_container(group: Path = Path("/sys/fs/cgroup")) -> int | None:
    """Number of bytes left of a container's limit (cgroup v2)."""
    try:
        most, used = (group / "memory.max").read_text(), (group / "memory.current").read_text()
        return max(int(most) - int(used), 1)
    except (OSError, ValueError):  # no container, or no limit
        return None


def out_of_memory(error: BaseException) -> bool:
    """Whether an error reports that memory is exhausted."""
    texts = "can't allocate memory", "_STATUS_ALLOC_FAILED"
    return isinstance(error, MemoryError | torch.cuda.OutOfMemoryError) or any(text in str(error) for text in texts)
