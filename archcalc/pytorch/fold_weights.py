"""Weights of a folded network: batch normalization's scale and shift multiplied into the layer before it.

With scale = γ/√(σ² + ε) for each output channel the weight w becomes w·scale, the bias b (b − μ)·scale + β; without
affine γ = 1 and β = 0. `analysis.folding` says what can be folded.
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
from archcalc.pytorch.network import Network

BATCHNORM = nn.BatchNorm1d | nn.BatchNorm2d
SMALL = 0.1  # of what a layer takes: a smaller output may be what is left where values cancel


def fold(network: Network) -> Network:
    """The network of `fold_batchnorm(network.graph)`, in evaluation mode, where both compute the same.

    It takes running statistics as they are. Its tensors are its own, on the same devices and in the same dtypes; what
    is folded is computed in float64 and rounded once. Side outputs (auxiliary heads) are gone.
    """
    known = {node.name: (module, node.op) for node, module in zip(network.graph.nodes, network.nodes, strict=True)}
    batchnorms: dict[str, list[nn.Module]] = {}
    for gone, host in folds(network.graph).items():
        batchnorms.setdefault(host, []).append(known[gone][0])
    state = {key: tensor.detach() for key, tensor in network.state_dict().items()}
    for host, after in batchnorms.items():
        state[f"{host}.weight"], state[f"{host}.bias"] = merge(*known[host], after)
    with torch.device("meta"):  # no weights are drawn only to be replaced
        folded = Network(fold_batchnorm(network.graph))
    folded.load_state_dict({key: state[key].clone() for key in folded.state_dict()}, assign=True)
    folded.eval()
    return folded


def apart(network: Network, batch: int) -> Iterator[tuple[str, float]]:
    """By how much the result, and each layer that something is folded into, differ afterwards.

    Relative to the largest value there, or to SMALL of the largest that goes into the layer or the network, if that is
    more: where values cancel, as in a normalization of a single value, nothing but rounding is left. It draws He's
    weights, random scales and shifts, and lets random images give the running statistics, so that values keep their
    size however deep the network is.
    """
    graph, weight = network.graph, next(network.parameters())
    image = torch.rand(max(batch, 2), *graph.input, dtype=weight.dtype, device=weight.device)
    randomise(network, image)
    last = {host: gone for gone, host in folds(graph).items()}  # of several in a row
    before = outputs(network, image, set(last.values()))
    after = outputs(fold(network), image, set(last))
    for host, gone in (*last.items(), ("", "")):
        output, taken = before[gone]
        largest = max(output.abs().max(), SMALL * max(taken, image.max()))
        yield host, float((output - after[host].output).abs().max() / largest)


def randomise(network: Network, image: Tensor) -> None:
    """Weights, biases and running statistics such as a trained network has them."""
    for module in network.modules():
        if isinstance(module, WEIGHTED):
            he(module)
        elif isinstance(module, BATCHNORM):
            module.momentum = None  # statistics are the mean over all batches seen: the one that follows
            if module.weight is not None:
                nn.init.uniform_(module.weight, 0.5, 1.5)
                nn.init.uniform_(module.bias, -0.5, 0.5)
    with torch.no_grad():
        network.train()(image)
    network.eval()


class Given(NamedTuple):
    """What a layer gives, and the size of the largest value that it takes."""

    output: Tensor
    taken: Tensor


def outputs(network: Network, image: Tensor, layers: Set[str]) -> dict[str, Given]:
    """What layers give in evaluation, by name, and as "" the network's result."""
    given: dict[str, Given] = {}
    result = network.graph.nodes[network.graph.result].name

    def keep(name: str, module: nn.Module, inputs: Sequence[Tensor], output: Tensor) -> None:
        taken = torch.stack([x.abs().max() for x in inputs]).max()
        given[name] = Given(output.clone(), taken)  # the next layer may work in place

    pairs = zip(network.graph.nodes, network.nodes, strict=True)
    hooks = [m.register_forward_hook(partial(keep, node.name)) for node, m in pairs if node.name in layers | {result}]
    with torch.no_grad():
        network(image)
    given[""] = given[result]
    for hook in hooks:
        hook.remove()
    return given


def batchnorms(network: nn.Module) -> int:
    """How many batch normalizations a network has."""
    return sum(isinstance(module, BATCHNORM) for module in network.modules())


def merge(layer: nn.Module, op: Operator, batchnorms: Sequence[nn.Module]) -> tuple[Tensor, Tensor]:
    """Weight and bias of a layer, `op`'s module, with the batch normalizations after it folded in.

    In the layer's own shapes and dtype. `op` is conv, conv_transpose or linear.
    """
    own = layer.weight.detach()
    weight = own.double()
    bias = weight.new_zeros(()) if layer.bias is None else layer.bias.detach().double()
    for batchnorm in batchnorms:
        scale, shift = scale_and_shift(batchnorm)
        weight, bias = weight * by_weight(scale, op, own), bias * scale + shift
    return weight.to(own.dtype), bias.to(own.dtype)


def scale_and_shift(batchnorm: nn.Module) -> tuple[Tensor, Tensor]:
    """What a `BatchNorm1d` or `2d` does in evaluation, y = scale·x + shift: both (channels,) in float64.

    Ioffe & Szegedy 2015, Algorithm 2, line 11.
    """
    scale = (batchnorm.running_var.double() + batchnorm.eps).rsqrt()
    if batchnorm.weight is not None:
        scale = scale * batchnorm.weight.detach().double()
    shift = -batchnorm.running_mean.double() * scale
    return scale, shift if batchnorm.bias is None else shift + batchnorm.bias.detach().double()


def by_weight(scale: Tensor, op: Operator, weight: Tensor) -> Tensor:
    """The scale of each output channel, (out,), laid beside the weights of that channel, to be multiplied with them.

    A weight is (out, in/groups, k, k) or (out, in); of a transposed convolution (in, out/groups, k, k), of a
    connection table (links, k, k).
    """
    if isinstance(op, ConvTranspose):
        scale = scale.view(op.groups, -1).repeat_interleave(len(weight) // op.groups, dim=0)
    elif isinstance(op, Conv) and op.connections is not None:
        rows = [row for row, seen in enumerate(op.connections) for _ in seen]
        scale = scale[torch.tensor(rows, device=scale.device)]
    return scale.view(*scale.shape, *[1] * (weight.dim() - scale.dim()))
