"""Batch normalization folded into the layer before it: the network as it is deployed once it is trained.

At inference batch normalization is y = a·x + b with a = γ/√(σ² + ε) and b = β − a·μ, fixed for each channel (Ioffe &
Szegedy 2015, Algorithm 2, line 11). After a convolution or linear layer that nobody else reads, a goes into the weight
and b into the bias: parameters, written values and arithmetic fall, MACs, depth and receptive field stay.

What stays is batch normalization before its convolution (pre-activation), of a sum, a concatenation or a tensor that
something else reads as well, and any without running statistics, which has no fixed σ and μ. A linear layer over rows
stays apart too: its features are the last dimension, and the channels of batch normalization the first.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace

from archcalc.graph.gc_pause import uncollected
from archcalc.graph.graph import Graph, Node
from archcalc.ops.convolution import Conv, ConvTranspose, Linear
from archcalc.ops.normalization import BatchNorm


@uncollected
def fold_batchnorm(graph: Graph) -> Graph:
    """The network at inference with every batch normalization that can be folded gone, and biases in its place.

    Side outputs are left out, since in training nothing can be folded; all other nodes keep their names, shapes and
    order. Published figures are left out too: they are of the network as printed. Folding twice changes nothing more.
    """
    ran = graph.without_sides()
    hosts = _hosts(ran)
    biased = set(hosts.values())
    kept = [i for i in range(len(ran.nodes)) if i not in hosts]
    new = {old: position for position, old in enumerate(kept)}
    new |= {gone: new[host] for gone, host in hosts.items()}
    nodes = tuple(_moved(ran.nodes[i], new, i in biased) for i in kept)
    about = graph.about._replace(claims=())
    return Graph(graph.name, nodes, new[ran.result], about, related=graph.related)


def folds(graph: Graph) -> dict[str, str]:
    """For each batch normalization that `fold_batchnorm` folds, in order, the layer that it goes into, by their names.

    Several in a row go into the same layer.
    """
    ran = graph.without_sides()
    return {ran.nodes[gone].name: ran.nodes[host].name for gone, host in _hosts(ran).items()}


def _hosts(graph: Graph) -> dict[int, int]:
    """For each batch normalization that can be folded, the position of the layer it goes into."""
    readers = Counter(i for node in graph.nodes for i in node.inputs)
    readers[graph.result] += 1  # whoever asked for it
    hosts: dict[int, int] = {}
    for position, node in enumerate(graph.nodes):
        if not isinstance(node.op, BatchNorm) or not node.op.track_running_stats:
            continue
        (before,) = node.inputs
        host = hosts.get(before, before)  # of two in a row the second goes where the first went
        if readers[before] == 1 and _can_host(graph.nodes[host]):
            hosts[position] = host
    return hosts


def _can_host(node: Node) -> bool:
    """Whether it is affine, with batch normalization's channels for its outputs."""
    if isinstance(node.op, Linear):
        return len(node.output) == 1
    return isinstance(node.op, Conv | ConvTranspose)


def _moved(node: Node, new: Mapping[int, int], biased: bool) -> Node:
    """The node among those that are left; `biased` if something is folded into it."""
    op = node.op
    if biased and not getattr(op, "bias", True):
        op = replace(op, bias=True)  # type: ignore[type-var]  # every registered operator is a dataclass
    return node._replace(op=op, inputs=tuple([new[i] for i in node.inputs]))
