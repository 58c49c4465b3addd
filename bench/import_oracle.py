"""What PyTorch says about a module: its parameters, its multiply-accumulates, and what autograd keeps, all on meta."""

from __future__ import annotations

import gc
import sys
import warnings
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks

from archcalc import Graph, analyze
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


def import_torchvision() -> Any:
    """Import torchvision, with the two functions defined that its binary part would define for another PyTorch."""
    try:
        import torchvision
    except (ImportError, RuntimeError, OSError):
        for name in [name for name in sys.modules if name.startswith("torchvision")]:
            del sys.modules[name]
        library = torch.library.Library("torchvision", "FRAGMENT")
        for name in ("nms", "qnms"):
            library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        import torchvision

        torchvision.archcalc_library = library  # as long as torchvision
    return torchvision
