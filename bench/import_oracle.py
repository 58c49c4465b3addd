"""What PyTorch says about a module: its parameters, its multiply-accumulates, and what autograd keeps, all on meta."""

from __future__ import annotations

import gc
import warnings
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks

from archcalc import Graph, analyze
from archcalc.ops.imported import Imported
from archcalc.pytorch.measure import Storages, flop_counter
from archcalc.pytorch.meta_kernels import MetaKernels

BATCH = 2


class Figures(NamedTuple):
    """The figures that an import and PyTorch must agree in, for a batch of two images."""

    params: int
    macs: int
    saved_bytes: int | None


def of_module(module: nn.Module, size: tuple[int, ...], with_memory: bool = True) -> Figures:
    """Measure a module on meta. It is changed: it moves to meta, and its buffers with it."""
    module.to("meta")
    params = sum([weight.numel() for weight in module.parameters()])
    saved = _saved(module, size) if with_memory else None
    module.eval().requires_grad_(False)
    image = torch.empty(BATCH, *size, device="meta")
    with torch.no_grad(), flop_counter() as counter:
        module(image)
    gc.collect()
    return Figures(params, counter.get_total_flops() // 2, saved)


def _saved(module: nn.Module, size: tuple[int, ...]) -> int:
    """Return the bytes that autograd keeps in training, without weights and buffers."""
    storages = Storages([*module.parameters(), *module.buffers()])
    counts: list[int] = []

    def keep(tensor: Tensor) -> Tensor:
        counts.append(storages.add(tensor))
        return tensor.detach()

    image = torch.empty(BATCH, *size, device="meta", requires_grad=True)
    with warnings.catch_warnings(), MetaKernels(), saved_tensors_hooks(keep, lambda tensor: tensor):
        warnings.simplefilter("ignore")
        module.train()
        result = module(image)
    del result
    return sum(counts)


def of_graph(graph: Graph) -> Figures:
    """Return what archcalc says of an imported network."""
    trained = analyze(graph, batch=BATCH, mode="train").totals
    return Figures(trained.params, analyze(graph, batch=BATCH).totals.macs, trained.saved_bytes)


def unknown_in(graph: Graph) -> dict[str, list[str]]:
    """Return the functions of unknown work, and the rows (at most three) of unknown memory."""
    work = {node.op.function for node in graph.nodes if isinstance(node.op, Imported) and node.op.counts is None}
    memory = sorted({node.name for node in graph.nodes if node.op.unknown_memory})
    return {"unknown": sorted(work), "unknown memory": memory[:3]}
