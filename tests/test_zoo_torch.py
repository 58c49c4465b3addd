"""Every network of the zoo, run node by node in PyTorch on the meta device: shapes, weights, buffers, MACs agree."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from archcalc import analyze, catalog, load


def shapes(named):
    return {name: tuple(tensor.shape) for name, tensor in named}


@pytest.mark.filterwarnings("ignore:Using padding='same'")  # of even kernels, which torch pads on one side more
@pytest.mark.parametrize("name", sorted(catalog()))
def test_figures_are_pytorchs(name):
    graph = load(name)
    report = analyze(graph, batch=2, mode="train")
    values, macs, params = [], 0, 0
    with torch.device("meta"):
        for node, layer in zip(graph.nodes, report.layers, strict=True):
            module = node.op.module(node.x).eval()
            inputs = [values[i] for i in node.inputs] or [torch.empty(2, *graph.input)]
            with FlopCounterMode(display=False) as counter, torch.no_grad():
                values.append(module(*inputs))
            assert tuple(values[-1].shape) == (2, *node.output), node.name
            assert shapes(module.named_parameters()) == node.op.weights(node.x), node.name
            assert shapes(module.named_buffers()) == node.op.buffers(node.x), node.name
            if node.op.weighted and getattr(node.op, "connections", None) is None:  # torch runs the table densely
                assert counter.get_total_flops() // 2 == layer.macs, node.name
            macs += layer.macs
            params += sum(p.numel() for p in module.parameters())
    assert (report.totals.macs, report.totals.params) == (macs, params)
