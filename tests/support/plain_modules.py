"""Small modules for tests of the importer, and what PyTorch says about them."""

import torch
from torch import nn

from archcalc import analyze
from archcalc.importers.torch import from_torch
from archcalc.pytorch.measure import Storages, flop_counter


def module(forward, **parts):
    """A module with these parts, whose forward is a function of itself and the inputs."""

    class Made(nn.Module):
        def __init__(self):
            super().__init__()
            for name, part in parts.items():
                setattr(self, name, part)

    Made.forward = forward
    return Made()


def own_params(made):
    return sum([weight.numel() for weight in made.parameters()])


def macs_of(made, *inputs):
    """What PyTorch counts, on meta."""
    twin = made.to("meta").eval().requires_grad_(False)
    with torch.no_grad(), flop_counter() as counter:
        twin(*[x.to("meta") for x in inputs])
    return counter.get_total_flops() // 2


def saved_by(made, *inputs):
    """The bytes that autograd keeps in training, without weights and buffers."""
    made, counts = made.to("meta").train(), []
    storages = Storages([*made.parameters(), *made.buffers()])

    def keep(tensor):
        counts.append(storages.add(tensor))
        return tensor.detach()

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        result = made(*[x.to("meta").requires_grad_(x.is_floating_point()) for x in inputs])
    assert result is not None
    return sum(counts)


def agrees(made, size, params=None, batch=2):
    """Import a module and compare it with PyTorch; return the graph."""
    graph = from_torch(made, size)
    report = analyze(graph, batch=batch)
    assert report.totals.params == (own_params(made) if params is None else params)
    inputs = [torch.empty(batch, *size)]
    assert analyze(graph, batch=batch, mode="train").totals.saved_bytes == saved_by(made, *inputs)
    assert report.totals.macs == macs_of(made, *inputs)
    return graph
