"""What PyTorch says of a network as it runs, node by node: shapes, multiply-accumulates, and memory."""

from __future__ import annotations

import gc
import warnings
from collections.abc import Iterable
from functools import partial

import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils.flop_counter import FlopCounterMode

from archcalc.analysis.report import Layer
from archcalc.graph.graph import Graph
from archcalc.pytorch.network import Network, Training


class Memory:
    """Storages, each once. None is kept alive, and none that comes later can pass for one that is gone."""

    def __init__(self, tensors: Iterable[Tensor] = ()) -> None:
        self.seen: dict[int, tuple[StorageWeakRef, int]] = {}
        for tensor in tensors:
            self.add(tensor)

    def add(self, tensor: Tensor) -> int:
        """The bytes of a tensor's storage, 0 if it was seen before."""
        storage = tensor.untyped_storage()
        if storage._cdata in self.seen:
            return 0
        count = int(storage.nbytes())
        self.seen[storage._cdata] = StorageWeakRef(storage), count
        return count

    def alive(self) -> int:
        """The bytes of those that are still there."""
        return sum(count for storage, count in self.seen.values() if not storage.expired())


class Watched(Network):
    """A network that notes what PyTorch says of each node.

    By position: `outputs` (shapes without the batch), `written` (bytes of memory that is not an input's), `macs` and
    `saved` (bytes kept for backward, each storage at the node that keeps it first). Of the whole forward pass: `held`,
    the bytes alive after it besides weights, buffers and image, and `grown`, by what the CUDA allocator says it grew.

    Joins drop no branch, so that every layer can be compared.
    """

    def __init__(self, graph: Graph) -> None:
        super().__init__(graph)
        self.outputs: dict[int, tuple[int, ...]] = {}
        self.written: dict[int, int] = {}
        self.macs: dict[int, int] = {}
        self.saved: dict[int, int] = {}
        self.held = self.grown = 0
        self.counter: FlopCounterMode | None = None
        self.made = Memory()
        self.at = 0
        for node, module in zip(graph.nodes, self.nodes, strict=True):
            if node.op.joins and hasattr(module, "p"):
                module.p = 0

    def run(self, position: int, inputs: list[Tensor]) -> Tensor:
        """The node's output, and what there is to note of it."""
        self.at = position
        before = self.counter.get_total_flops() if self.counter else 0
        storages = {x.untyped_storage()._cdata for x in inputs}
        output = super().run(position, inputs)
        own = output.untyped_storage()._cdata not in storages
        self.outputs[position] = tuple(output.shape[1:])
        self.written[position] = output.numel() * output.element_size() if own else 0
        if self.counter:
            self.macs[position] = (self.counter.get_total_flops() - before) // 2
        else:
            self.made.add(output)
        return output

    def measure(self, image: Tensor) -> None:
        """Runs forward twice, to count and to keep for backward, and then backward."""
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Using padding='same'")  # that it may copy the input is known
            with torch.no_grad(), FlopCounterMode(display=False) as self.counter:
                self(image.detach())
            self.counter = None
            weights = [*self.parameters(), *self.buffers()]
            self.made = Memory([*weights, image])
            before, there = requested(image), self.made.alive()
            with torch.enable_grad(), saved_tensors_hooks(partial(self.keep, Memory(weights)), lambda tensor: tensor):
                output = self(image)
        self.grown, self.held = requested(image) - before, self.made.alive() - there
        result, sides = output if isinstance(output, Training) else (output, {})
        with torch.enable_grad():
            sum([result.sum(), *(side.sum() for side in sides.values())]).backward()

    def keep(self, known: Memory, tensor: Tensor) -> Tensor:
        """Notes a tensor that is saved for backward; what is `known` is there anyway."""
        self.made.add(tensor)
        self.saved[self.at] = self.saved.get(self.at, 0) + known.add(tensor)
        return tensor.detach()  # a tensor that keeps itself would stay for ever where no backward comes


def requested(tensor: Tensor) -> int:
    """Bytes that tensors have asked the CUDA allocator for, before any rounding; for a tensor elsewhere 0."""
    if not tensor.is_cuda:
        return 0
    gc.collect()  # what it would free later must not be taken for the network's
    return int(torch.cuda.memory_stats(tensor.device)["requested_bytes.all.current"])


def uncounted(layers: Iterable[Layer]) -> dict[str, int]:
    """FLOPs that PyTorch's counter leaves out, by operator, most first: for a convolution its biases."""
    counts: dict[str, int] = {}
    for layer in layers:
        counts[layer.node.op.name] = counts.get(layer.node.op.name, 0) + layer.flops - 2 * layer.macs
    return dict(sorted(((name, count) for name, count in counts.items() if count), key=lambda item: -item[1]))
