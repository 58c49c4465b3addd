"""Proving the figures: the same graph run in PyTorch, forward and backward, and every layer's figures compared."""

from __future__ import annotations

import contextlib
import gc
import math
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.utils.flop_counter import FlopCounterMode

from archcalc.analysis import DTYPES, analyze
from archcalc.analysis.folding import fold_batchnorm
from archcalc.analysis.saved import held_bytes, saved_bytes
from archcalc.errors import ArchcalcError
from archcalc.graph import Graph, Node
from archcalc.pytorch.build import Network, Training
from archcalc.pytorch.folding import fold

TOLERANCE = 1e-9  # relative to the largest output, in float64
DEVICES = ("auto", "cpu", "cuda", "meta")


class Check(NamedTuple):
    """One figure of a layer (or of the network, `layer` ""), as archcalc has it and as PyTorch does."""

    layer: str
    figure: str
    expected: Any
    measured: Any

    @property
    def equal(self) -> bool:
        """Whether the two agree."""
        return bool(self.expected == self.measured)

    def __str__(self) -> str:
        return f"{self.layer or 'the network'}: {self.figure}: expected {self.expected}, measured {self.measured}"


class Validation(NamedTuple):
    """All checks of one network, and the conditions they hold for."""

    network: str
    device: str
    batch: int
    dtype: str
    checks: tuple[Check, ...]
    seconds: float
    problem: str = ""  # why it could not be run as asked for

    @property
    def failed(self) -> bool:
        """Whether a figure differs, or nothing could be compared."""
        return bool(self.differences) or not self.checks

    @property
    def differences(self) -> tuple[Check, ...]:
        """The checks that failed."""
        return tuple(check for check in self.checks if not check.equal)


class Watched(Network):
    """A network that notes, for each node as it runs, what PyTorch says of it."""

    def __init__(self, graph: Graph) -> None:
        super().__init__(graph)
        self.outputs: dict[int, tuple[int, ...]] = {}
        self.macs: dict[int, int] = {}
        self.saved: dict[int, int] = {}
        self.counter: FlopCounterMode | None = None
        self.at = 0
        self.grown = 0  # on CUDA, what the forward pass has left behind

    def run(self, position: int, inputs: list[Tensor]) -> Tensor:
        """The node's output, its shape and multiply-accumulates noted."""
        self.at = position
        before = self.counter.get_total_flops() if self.counter else 0
        output = super().run(position, inputs)
        self.outputs[position] = tuple(output.shape[1:])
        if self.counter:
            self.macs[position] = (self.counter.get_total_flops() - before) // 2
        return output

    @contextlib.contextmanager
    def noting_saved(self) -> Iterator[None]:
        """Notes the bytes of each storage that is saved for backward, at the node that first saves it."""
        seen = {identity(tensor) for tensor in (*self.parameters(), *self.buffers())}
        alive: list[Any] = []

        def note(tensor: Tensor) -> Tensor:
            if identity(tensor) not in seen:
                seen.add(identity(tensor))
                alive.append(tensor.untyped_storage())  # or another could get its address
                self.saved[self.at] = self.saved.get(self.at, 0) + tensor.untyped_storage().nbytes()
            return tensor

        with saved_tensors_hooks(note, lambda tensor: tensor):
            yield


def identity(tensor: Tensor) -> int:
    """What tells a tensor's memory from that of others alive."""
    return int(tensor.untyped_storage()._cdata)


def validate_or_say(
    graph: Graph, device: str = "auto", batch: int = 2, dtype: str = "float32", folded: bool = False
) -> Validation:
    """As `validate`; what does not fit into memory runs on meta, and what cannot run is told as its problem."""
    where = pick(device)
    compare = validate_folded if folded else validate
    need = needed_bytes(graph, batch, dtype)
    room = memory_of(where)
    if room is not None and need > room:
        made = compare(graph, "meta", batch, dtype)
        return made._replace(
            problem=f"shapes only: needs about {need / 2**30:.1f} GiB, and {room / 2**30:.1f} are free"
        )
    start = time.perf_counter()
    try:
        return compare(graph, where, batch, dtype)
    except (MemoryError, RuntimeError) as error:
        if isinstance(error, MemoryError) or "memory" in str(error):
            problem = f"out of memory; about {need / 2**30:.1f} GiB were foreseen"
        else:  # such as a kernel that PyTorch lacks for this dtype on this device
            problem = f"PyTorch cannot run it: {str(error).partition(chr(10))[0]}"
        return Validation(graph.name, where, batch, dtype, (), time.perf_counter() - start, problem)


def needed_bytes(graph: Graph, batch: int, dtype: str) -> int:
    """Roughly what a step forward and backward needs: weights with gradients, what is saved, the largest values."""
    totals = analyze(graph, batch, dtype, "train").totals
    kept = sum(saved_bytes(graph, batch, dtype))
    largest = max(math.prod(node.output) for node in graph.nodes) * batch * DTYPES[dtype]
    return 2 * totals.param_bytes + totals.buffer_bytes + kept + 4 * largest


def memory_of(device: str) -> int | None:
    """Bytes that are free on a device; None where that is unknown or does not matter."""
    if device == "cuda":
        cached = torch.cuda.memory_reserved() - torch.cuda.memory_allocated()  # PyTorch's own, to be used again
        return int(torch.cuda.mem_get_info()[0] + cached)
    meminfo = Path("/proc/meminfo")
    if device == "cpu" and meminfo.exists():
        lines = dict(line.split(":", 1) for line in meminfo.read_text().splitlines() if ":" in line)
        return int(lines["MemAvailable"].split()[0]) * 1024 if "MemAvailable" in lines else None
    return None


def validate(graph: Graph, device: str = "auto", batch: int = 2, dtype: str = "float32") -> Validation:
    """Build a network, run it forward and backward, and compare every layer's figures.

    Output shapes, shapes of weights and buffers, multiply-accumulates of the forward pass and bytes saved for backward.
    `device` auto is CUDA where it is there, else the CPU; meta has shapes without values. Raises ArchcalcError for a
    device that is not there.
    """
    where = pick(device)
    start = time.perf_counter()
    with torch.device(where):
        network = Watched(graph).to(getattr(torch, dtype))
        image = torch.rand(batch, *graph.input, dtype=getattr(torch, dtype), requires_grad=True)
    network.train()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Using padding='same'")  # that it may copy the input is known
        with torch.no_grad(), FlopCounterMode(display=False) as network.counter:
            network(image.detach())
        network.counter = None
        before = requested(where)
        with network.noting_saved():
            output = network(image)
        network.grown = requested(where) - before
    result, sides = output if isinstance(output, Training) else (output, {})
    sum([result.sum(), *(side.sum() for side in sides.values())]).backward()
    checks = tuple(_checks(network, graph, batch, dtype))
    return Validation(graph.name, where, batch, dtype, checks, time.perf_counter() - start)


def validate_folded(graph: Graph, device: str = "auto", batch: int = 2, dtype: str = "float32") -> Validation:
    """As `validate` of the network with batch normalization folded, and that it computes what the unfolded one does.

    Both run in evaluation and float64, with running statistics, scales and shifts drawn at random; on the meta device
    there are no values to compare.
    """
    made = validate(fold_batchnorm(graph), device, batch, dtype)
    if made.device == "meta":
        return made
    start = time.perf_counter()
    with torch.device(made.device):
        network = Network(graph).double().eval()
        image = torch.rand(batch, *graph.input, dtype=torch.float64)
    for module in network.nodes:
        if getattr(module, "running_mean", None) is not None:
            randomise(module)
    with torch.no_grad():
        unfolded, folded = network(image), fold(network)(image)
    off = float((unfolded - folded).abs().max() / unfolded.abs().max().clamp(min=1e-300))
    agree = Check(
        "", "folded output", f"within {TOLERANCE:g}", f"within {TOLERANCE:g}" if off <= TOLERANCE else f"{off:g} off"
    )
    seconds = made.seconds + time.perf_counter() - start
    return made._replace(checks=(*made.checks, agree), seconds=seconds)


def randomise(batchnorm: nn.Module) -> None:
    """Statistics, scale and shift as after some training."""
    batchnorm.running_mean.uniform_(-1, 1)
    batchnorm.running_var.uniform_(0.5, 2)
    if batchnorm.weight is not None:
        nn.init.uniform_(batchnorm.weight, 0.5, 1.5)
    if batchnorm.bias is not None:
        nn.init.uniform_(batchnorm.bias, -1, 1)


def ignored(graph: Graph) -> dict[str, int]:
    """FLOPs (convention `all`, one image) by operator that PyTorch's counter does not count at all."""
    counts: dict[str, int] = {}
    for layer in analyze(graph, mode="train").layers:
        if not layer.macs and layer.flops:
            counts[layer.node.op.name] = counts.get(layer.node.op.name, 0) + layer.flops
    return counts


def requested(device: str) -> int:
    """Bytes that tensors have asked the CUDA allocator for, before any rounding; elsewhere 0."""
    if device != "cuda":
        return 0
    gc.collect()  # what it would free later must not be taken for the network's
    return int(torch.cuda.memory_stats()["requested_bytes.all.current"])


def _checks(network: Watched, graph: Graph, batch: int, dtype: str) -> Iterator[Check]:
    report = analyze(graph, batch, dtype, "train")
    cuda = next(network.parameters(), torch.empty(0)).is_cuda
    saved = saved_bytes(graph, batch, dtype, cuda)
    drops = any(node.op.joins and getattr(node.op, "p", 0) for node in graph.nodes)
    for i, (node, module) in enumerate(zip(graph.nodes, network.nodes, strict=True)):
        if not i:
            continue
        yield Check(node.name, "output", node.output, network.outputs.get(i))
        yield Check(node.name, "weights", node.op.weights(node.x), _shapes(module.named_parameters()))
        yield Check(node.name, "buffers", node.op.buffers(node.x), _shapes(module.named_buffers()))
        yield Check(node.name, "macs", _dense(node, report.layers[i].macs), network.macs.get(i))
        yield Check(node.name, "saved_bytes", saved[i], network.saved.get(i, 0))
        if not drops:  # what drop-path has dropped gets no gradient
            yield Check(node.name, "without gradient", [], [n for n, p in module.named_parameters() if p.grad is None])
    totals = report.totals
    yield Check("", "params", totals.params, sum(p.numel() for p in network.parameters()))
    yield Check("", "buffers", totals.buffers, sum(b.numel() for b in network.buffers()))
    if cuda:
        yield Check("", "requested_bytes grown", held_bytes(graph, batch, dtype, cuda), network.grown)


def _shapes(named: Any) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in named}


def _dense(node: Node, macs: int) -> int:
    """MACs as PyTorch runs them: a convolution by a connection table is a dense one with zeros."""
    connections = getattr(node.op, "connections", None)
    if connections is None:
        return macs
    links: int = node.x[0] * len(connections)
    return macs // sum(map(len, connections)) * links


def pick(device: str) -> str:
    """The device that is asked for. Raises ArchcalcError where it is not there."""
    there = torch.cuda.is_available()
    if device not in DEVICES:
        raise ArchcalcError(f"unknown device {device!r}; known: {', '.join(DEVICES)}")
    if device == "cuda" and not there:
        raise ArchcalcError("no CUDA device is there; --device cpu or meta")
    return ("cuda" if there else "cpu") if device == "auto" else device
