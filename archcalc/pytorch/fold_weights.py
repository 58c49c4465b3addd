"""Fold the weights of batch normalization into the layer before it.

For each output channel, with scale = γ/√(σ² + ε), the weight w becomes w·scale, the bias b becomes (b − μ)·scale + β.
Without affine γ = 1 and β = 0. `graph/batchnorm_folding.py` decides which layers can be folded.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence, Set
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor, nn

from archcalc.graph.batchnorm_folding import fold_batchnorm, folds
from archcalc.ops import Operator
from archcalc.ops.convolution import Conv, ConvTranspose
from archcalc.pytorch.initial_weights import WEIGHTED, he
from archcalc.pytorch.inputs import random_inputs
from archcalc.pytorch.network import Network

BATCHNORM = nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d
SMALL = 0.1  # of a layer's input: a smaller output may be the rest of values that cancel


def fold(network: Network) -> Network:
    """Build the network of `fold_batchnorm(network.graph)`, in evaluation mode; both compute the same.

    It uses the current running statistics. Its tensors are copies on the same devices and in the same dtypes; folded
    weights are computed in float64 and rounded once. Side outputs (auxiliary heads) are removed.
    """
    found = {node.name: (module, node.op) for node, module in zip(network.graph.nodes, network.nodes, strict=True)}
    batchnorms: dict[str, list[nn.Module]] = {}
    for gone, host in folds(network.graph).items():
        batchnorms.setdefault(host, []).append(found[gone][0])
    state = {key: tensor.detach() for key, tensor in network.state_dict().items()}
    for host, after in batchnorms.items():
        state[f"{host}.weight"], state[f"{host}.bias"] = merge(*found[host], after)
    with torch.device("meta"):  # do not draw weights that are replaced below
        folded = Network(fold_batchnorm(network.graph))
    folded.load_state_dict({key: state[key].clone() for key in folded.state_dict()}, assign=True)
    folded.eval()
    return folded


def differences(network: Network, batch: int) -> Iterator[tuple[str, float]]:
    """Measure how much folding changes the result, and the output of each layer that something is folded into.

    A difference is relative to the largest output, or to SMALL times the largest input of the layer or the network if
    that is larger: if values cancel, as in a normalization of a single value, only rounding errors are left. Weights
    are drawn by He's rule, scales and shifts at random, and random images set the running statistics, so that values
    keep their size in deep networks.
    """
    graph, weight = network.graph, next(network.parameters())
    images = random_inputs(graph, max(batch, 2), weight.dtype, weight.device)
    randomise(network, images)
    last = {host: gone for gone, host in folds(graph).items()}  # of several in a row the last
    before = outputs(network, images, set(last.values()))
    after = outputs(fold(network), images, set(last))
    for host, gone in (*last.items(), ("", "")):
        output, taken = before[gone]
        largest = max(output.abs().max(), SMALL * max(taken, *[image.max() for image in images]))
        yield host, float((output - after[host].output).abs().max() / largest)


def randomise(network: Network, images: Sequence[Tensor]) -> None:
    """Draw weights, biases and running statistics like those of a trained network."""
    for module in network.modules():
        if isinstance(module, WEIGHTED):
            he(module)
        elif isinstance(module, BATCHNORM):
            module.momentum = None  # take the mean over all batches, which is the one below
            if module.weight is not None:
                nn.init.uniform_(module.weight, 0.5, 1.5)
                nn.init.uniform_(module.bias, -0.5, 0.5)
    with torch.no_grad():
        network.train()(*images)
    network.eval()


class Observed(NamedTuple):
    """A layer's output, and the largest absolute value of its inputs."""

    output: Tensor
    taken: Tensor


def outputs(network: Network, images: Sequence[Tensor], layers: Set[str]) -> dict[str, Observed]:
    """Run the network in evaluation mode; return outputs of layers by name, and the result as ""."""
    given: dict[str, Observed] = {}
    result = network.graph.nodes[network.graph.result].name

    def keep(name: str, module: nn.Module, inputs: Sequence[Tensor], output: Tensor) -> None:
        taken = torch.stack([x.abs().max() for x in inputs]).max()
        given[name] = Observed(output.clone(), taken)  # a copy, since the next layer may work in place

    pairs = zip(network.graph.nodes, network.nodes, strict=True)
    hooks = [m.register_forward_hook(partial(keep, node.name)) for node, m in pairs if node.name in layers | {result}]
    with torch.no_grad():
        network(*images)
    given[""] = given[result]
    for hook in hooks:
        hook.remove()
    return given


def batchnorms(network: nn.Module) -> int:
    """Count the batch normalizations of a network."""
    return sum(isinstance(module, BATCHNORM) for module in network.modules())


def merge(layer: nn.Module, op: Operator, batchnorms: Sequence[nn.Module]) -> tuple[Tensor, Tensor]:
    """Fold batch normalizations into the layer before them; return its new weight and bias.

    Shapes and dtype are those of the layer. `op` is the layer's operator: conv, conv_transpose or linear.
    """
    own = layer.weight.detach()
    weight = own.double()
    bias = weight.new_zeros(()) if layer.bias is None else layer.bias.detach().double()
    for batchnorm in batchnorms:
        scale, shift = scale_and_shift(batchnorm)
        weight, bias = weight * by_weight(scale, op, own), bias * scale + shift
    return weight.to(own.dtype), bias.to(own.dtype)


def scale_and_shift(batchnorm: nn.Module) -> tuple[Tensor, Tensor]:
    """Compute y = scale·x + shift of a `BatchNorm1d` to `3d` in evaluation mode; both (channels,) in float64.

    Ioffe & Szegedy 2015, Algorithm 2, line 11.
    """
    scale = (batchnorm.running_var.double() + batchnorm.eps).rsqrt()
    if batchnorm.weight is not None:
        scale = scale * batchnorm.weight.detach().double()
    shift = -batchnorm.running_mean.double() * scale
    return scale, shift if batchnorm.bias is None else shift + batchnorm.bias.detach().double()


def by_weight(scale: Tensor, op: Operator, weight: Tensor) -> Tensor:
    """Reshape `scale`, (out,), so that it can be multiplied by a layer's weight.

    The weight is (out, in/groups, k, k) or (out, in); of a transposed convolution (in, out/groups, k, k); with a
    connection table (links, k, k).
    """
    if isinstance(op, ConvTranspose):
        scale = scale.view(op.groups, -1).repeat_interleave(len(weight) // op.groups, dim=0)
    elif isinstance(op, Conv) and op.connections is not None:
        rows = [row for row, seen in enumerate(op.connections) for _ in seen]
        scale = scale[torch.tensor(rows, device=scale.device)]
    return scale.view(*scale.shape, *[1] * (weight.dim() - scale.dim()))
