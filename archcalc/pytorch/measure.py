"""Measure a network while PyTorch runs it, node by node: shapes, multiply-accumulates and memory."""

from __future__ import annotations

import gc
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from math import prod
from typing import Any

import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils.flop_counter import FlopCounterMode, flop_registry, shape_wrapper

from archcalc.analysis.report import Layer
from archcalc.graph.graph import Graph
from archcalc.ops import Operator
from archcalc.ops.sequence import Recurrent
from archcalc.ops.shape import Sizes
from archcalc.pytorch.network import Network, ends_of

aten = torch.ops.aten
FUSED = {  # PyTorch's formulas for fused attention, also for the kernel of the CPU, of which its counter counts nothing
    aten._scaled_dot_product_flash_attention_for_cpu: flop_registry[aten._scaled_dot_product_flash_attention],
    aten._scaled_dot_product_flash_attention_for_cpu_backward: flop_registry[
        aten._scaled_dot_product_flash_attention_backward
    ],
}


def _bilinear(x: Sizes, weight: Sizes, y: Sizes, *_: Any, **others: Any) -> int:
    return 2 * prod(x[:-1]) * prod(weight)  # all weights for each row


UNCOUNTED = {  # products of which PyTorch's counter counts nothing: a MAC for each value of the matrix
    aten.mv: shape_wrapper(lambda matrix, *_, **others: 2 * prod(matrix)),
    **dict.fromkeys((aten.dot, aten.vdot), shape_wrapper(lambda vector, *_, **others: 2 * prod(vector))),
    aten.addmv: shape_wrapper(lambda start, matrix, *_, **others: 2 * prod(matrix)),
    aten._trilinear: shape_wrapper(_bilinear),
}


def flop_counter() -> FlopCounterMode:
    """Return PyTorch's counter, which counts attention on every device, and all products."""
    counter = FlopCounterMode(display=False)
    counter.flop_registry |= FUSED | UNCOUNTED
    return counter


@contextmanager
def counted_kernels(operators: Iterable[Operator]) -> Iterator[None]:
    """Run recurrent layers with products of matrices, which PyTorch's counter knows, instead of their own kernels."""
    if not any(isinstance(op, Recurrent) for op in operators):
        yield
        return
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "TF32 acceleration")  # PyTorch says it of any change of these flags
        with torch.backends.mkldnn.flags(enabled=False), torch.backends.cudnn.flags(enabled=False):
            yield


class Storages:
    """A set of storages. It keeps none alive, and does not confuse a new storage with a freed one."""

    def __init__(self, tensors: Iterable[Tensor] = ()) -> None:
        self.seen: dict[int, tuple[StorageWeakRef, int]] = {}
        for tensor in tensors:
            self.add(tensor)

    def add(self, tensor: Tensor) -> int:
        """Add a tensor's storage; return its bytes, or 0 if it was added before."""
        storage = tensor.untyped_storage()
        if storage._cdata in self.seen:
            return 0
        count = int(storage.nbytes())
        self.seen[storage._cdata] = StorageWeakRef(storage), count
        return count

    def alive(self) -> int:
        """Number of bytes of the storages that are still alive."""
        return sum(count for storage, count in self.seen.values() if not storage.expired())


class Watched(Network):
    """A network that records what PyTorch measures for each node.

    By position: `outputs` (shapes without the batch), `written` (bytes, unless the output shares an input's memory),
    `macs`, and `saved` (bytes kept for backward; a shared storage counts for the first node that keeps it). For the
    whole forward pass: `held`, the bytes alive after it besides weights, buffers and image, and `grown`, the growth of
    the CUDA allocator.

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
        self.made = Storages()
        self.at = 0
        for node, module in zip(graph.nodes, self.nodes, strict=True):
            if node.op.joins and hasattr(module, "p"):
                module.p = 0

    def run(self, position: int, inputs: list[Tensor]) -> Tensor:
        self.at = position
        before = self.counter.get_total_flops() if self.counter else 0
        given = [*inputs, *self.node(position).parameters(), *self.node(position).buffers()]
        storages = {x.untyped_storage()._cdata for x in given}
        output = super().run(position, inputs)
        own = output.untyped_storage()._cdata not in storages
        self.outputs[position] = tuple(output.shape[1:])
        self.written[position] = output.numel() * output.element_size() if own else 0
        if self.counter:
            self.macs[position] = (self.counter.get_total_flops() - before) // 2
        else:
            self.made.add(output)
        return output

    def measure(self, images: Sequence[Tensor]) -> None:
        """Run forward twice (to count MACs, then to record memory), then backward."""
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Using padding='same'")  # we know that it may copy the input
            operators = [node.op for node in self.graph.nodes]
            with torch.no_grad(), counted_kernels(operators), flop_counter() as self.counter:
                self(*[image.detach() for image in images])
            self.counter = None
            weights = [*self.parameters(), *self.buffers()]
            self.made = Storages([*weights, *images])
            before, alive = requested(images[0]), self.made.alive()
            with torch.enable_grad(), saved_tensors_hooks(partial(self.keep, Storages(weights)), lambda tensor: tensor):
                output = self(*images)
        self.grown, self.held = requested(images[0]) - before, self.made.alive() - alive
        with torch.enable_grad():
            sum([end.sum() for end in ends_of(output)]).backward()

    def keep(self, known: Storages, tensor: Tensor) -> Tensor:
        """Record a tensor that is saved for backward; do not count storages in `known`."""
        self.made.add(tensor)
        self.saved[self.at] = self.saved.get(self.at, 0) + known.add(tensor)
        return tensor.detach()  # a tensor that refers to itself would never be freed without backward


def requested(tensor: Tensor) -> int:
    """Bytes that tensors request from the CUDA allocator, before rounding; 0 if `tensor` is on another device."""
    if not tensor.is_cuda:
        return 0
    gc.collect()  # what it frees later must not count for the network
    return int(torch.cuda.memory_stats(tensor.device)["requested_bytes.all.current"])


def uncounted(layers: Iterable[Layer]) -> dict[str, int]:
    """FLOPs that PyTorch's counter omits, by operator, largest first: of a convolution its biases."""
    counts = Counter[str]()
    for layer in layers:
        counts[layer.node.op.name] += layer.flops - 2 * layer.macs
    return {name: count for name, count in counts.most_common() if count}
