"""Fold batch normalization into the layer before it, as is usual for deployment.

At inference batch normalization is y = a·x + b with a = γ/√(σ² + ε) and b = β − a·μ, fixed for each channel (Ioffe &
Szegedy 2015, Algorithm 2, line 11). After a convolution or linear layer that nothing else reads, a scales its weight
and bias, and b is added to the bias: params, written values and work decrease; MACs, depth and receptive field do not.

Not folded is batch normalization before a convolution (pre-activation), after a sum or a concatenation, of a tensor
that other layers read too, and without running statistics, where σ and μ are not fixed. It is not folded into a linear
layer over rows either, whose features are the last dimension, while the channels of batch normalization are the first.
Nor is it folded where layers share their weights.
"""

from __future__ import annotations

from collections import Counter

from archcalc.graph.gc_pause import uncollected
from archcalc.graph.graph import Graph, Node, reduced
from archcalc.ops.convolution import Conv, ConvTranspose, Linear
from archcalc.ops.normalization import BatchNorm
from archcalc.ops.shape import Features


@uncollected
def fold_batchnorm(graph: Graph) -> Graph:
    """Remove every batch normalization that can be folded; the layers before them get biases.

    The result is for inference, without side outputs. All other nodes keep their names, shapes and order. It has no
    origin, since what is published describes the original network. Folding again has no effect.
    """
    ran = graph.without_sides()
    hosts = _hosts(ran)
    kept = {i: node for i, node in enumerate(ran.nodes) if i not in hosts}
    return reduced(ran, kept | {i: _biased(kept[i]) for i in hosts.values()}, hosts)


def folds(graph: Graph) -> dict[str, str]:
    """Map the name of each batch normalization that `fold_batchnorm` folds to the layer it is folded into, in order.

    Several in a row are folded into the same layer.
    """
    ran = graph.without_sides()
    return {ran.nodes[gone].name: ran.nodes[host].name for gone, host in _hosts(ran).items()}


def _hosts(graph: Graph) -> dict[int, int]:
    """Map the index of each batch normalization that can be folded to that of its layer."""
    readers = Counter(i for node in graph.nodes for i in node.inputs)
    readers += Counter(graph.results)  # they are read outside
    sharing = {i for at, node in enumerate(graph.nodes) if node.shared for i in (at, node.shared.node)}
    hosts: dict[int, int] = {}
    for position, node in enumerate(graph.nodes):
        if not isinstance(node.op, BatchNorm) or not node.op.track_running_stats:
            continue
        (before,) = node.inputs
        host = hosts.get(before, before)  # of two in a row the second goes where the first goes
        if readers[before] == 1 and _can_host(graph.nodes[host]) and not {position, host} & sharing:
            hosts[position] = host
    return hosts


def _can_host(node: Node) -> bool:
    """Whether batch normalization can be folded into a node: it is affine, and its outputs are the channels."""
    if isinstance(node.op, Linear):
        return isinstance(node.output, Features)
    return isinstance(node.op, Conv | ConvTranspose)


def _biased(node: Node) -> Node:
    """Give a layer a bias if it has none."""
    return node if getattr(node.op, "bias", True) else node._replace(op=node.op.but(bias=True))
