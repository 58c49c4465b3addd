"""Compare the networks of torchvision with those of specs/torchvision/: same weights, same images, same outputs?

    python bench/torchvision_weights.py [NAME]...

NAME is a name of torchvision (`resnet50`); without one, all of them. Nothing is downloaded: weights,
biases, scales and shifts of batch normalization are random; random images set its running statistics. (With the initial
zeros and ones of PyTorch, those of two layers could be swapped unnoticed.) Weights and buffers of torchvision's module
are copied into ours layer by layer, in the order in which they run. Then the outputs for two images are compared, in
evaluation and float32, including auxiliary heads. The largest difference may be 1e-4. Outputs that hardly depend on
the image fail too, since they prove nothing. Exit code 1: a network failed; 2: torchvision is missing or the network
is unknown.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import torch
from tools import torchvision_models
from torch import Tensor, nn

from archcalc import Graph, load, networks
from archcalc.pytorch import Network, Training, build
from archcalc.pytorch.layers import Parameter

FOLDER = "torchvision/"
LIMIT = 1e-4  # for the largest difference
SEED = 0
BATCHNORM = nn.modules.batchnorm._BatchNorm
LEARNED = ("layer_scale", "class_token", "pos_embedding")  # torchvision's names of tensors that are layers of ours
WHOLE = (  # modules of torchvision that are one layer of ours
    "MultiheadAttention", "ShiftedWindowAttention", "ShiftedWindowAttentionV2", "RelativePositionalMultiHeadAttention",
)  # fmt: skip
PARTS = {"to_qkv": "qkv", "merge": "proj"}  # torchvision's names of their parts, and ours
HEADED = {"aux_logits": True, "transform_input": False, "init_weights": False}  # for networks with auxiliary heads


class Comparison(NamedTuple):
    """The result for one network."""

    layers: int  # whose weights were copied
    outputs: int  # the network's, and one for each auxiliary head
    difference: float  # the largest between two outputs
    scale: float  # the largest absolute value of an output
    spread: float  # the smallest difference of an output between the two images

    @property
    def verdict(self) -> str:
        if not self.difference <= LIMIT:  # also if it is NaN
            return f"DIFFERENT: above {LIMIT:.1e}"
        return "equal" if self.spread > 100 * LIMIT else "PROVES NOTHING: the outputs hardly depend on the image"

    def __str__(self) -> str:
        compared = f"{self.layers:>3} layers  {self.outputs} output{'s' if self.outputs > 1 else ' '}"
        figures = f"difference {self.difference:.1e}  of {self.scale:8.3g}  between images {self.spread:8.3g}"
        return f"{compared}  {figures}  {self.verdict}"


class Layer(NamedTuple):
    """A module with weights or buffers, its own or also those of its parts, and its name in the network."""

    name: str
    module: nn.Module
    whole: bool = True

    @property
    def learned(self) -> bool:
        """Whether it is a learned tensor: one of our layers, and in torchvision a part of a larger module."""
        own = [name for name, _ in self.module.named_parameters(recurse=False)]
        return isinstance(self.module, Parameter) or any(name in LEARNED for name in own)

    @property
    def state(self) -> dict[str, Tensor]:
        """Its tensors by our names; an index as one row."""
        module, found = self.module, dict[str, Tensor]()
        for name, tensor in (*module.named_parameters(recurse=self.whole), *module.named_buffers(recurse=self.whole)):
            part, _, own = name.rpartition(".")
            found["weight" if name in LEARNED else f"{PARTS.get(part, part)}.{own}".lstrip(".")] = (
                tensor.flatten() if own == "relative_position_index" else tensor
            )
        return found


def graph_of(name: str, shape: tuple[int, ...] | None = None) -> Graph:
    """Load our network for a name of torchvision."""
    return load(FOLDER + name, input=shape)


def module_of(graph: Graph) -> nn.Module:
    """Create torchvision's module of such a network, on the CPU."""
    headed = HEADED if any(node.side for node in graph.nodes) else {}
    with torch.device("cpu"):
        made: nn.Module = torchvision_models().get_model(graph.name.removeprefix(FOLDER), weights=None, **headed)
    return made


def known_names() -> list[str]:
    """Return the names of torchvision that `graph_of` knows."""
    return [name.removeprefix(FOLDER) for name in sorted(networks()) if name.startswith(FOLDER)]


def randomise(module: nn.Module, images: Tensor) -> None:
    """Draw weights that keep the size of values, and biases; let the images set running statistics."""
    for layer in module.modules():
        if isinstance(layer, BATCHNORM):
            layer.momentum = None  # the mean over all batches, which is the one below
    for name, tensor in module.named_parameters():
        if name.endswith("bias"):
            nn.init.normal_(tensor, std=0.1)
        elif tensor.dim() == 1:
            nn.init.uniform_(tensor, 0.5, 1.5)
        else:
            nn.init.kaiming_normal_(tensor.detach() if tensor.dim() > 3 else tensor.detach().flatten(0, -2))
    module.train()
    with torch.no_grad():
        module(images)


@contextlib.contextmanager
def with_heads(module: nn.Module) -> Iterator[None]:
    """Let auxiliary heads run with all layers in evaluation: only the network itself is in training mode."""
    module.eval()
    module.training = True
    yield
    module.eval()


def layers_as_run(module: nn.Module, image: Tensor) -> list[Layer]:
    """Return the layers with weights or buffers in the order in which they run, with auxiliary heads where they branch.

    Raises ValueError for a layer that does not run: its weights would be compared with nothing.
    """
    layers = list(layers_within(module))
    ran: dict[str, Layer] = {}
    hooks = [
        layer.module.register_forward_hook(lambda *_, layer=layer: ran.setdefault(layer.name, layer) and None)
        for layer in layers
    ]
    with torch.no_grad(), with_heads(module):
        module(image)
    for hook in hooks:
        hook.remove()
    if idle := [layer.name for layer in layers if layer.name not in ran]:
        raise ValueError(f"these layers do not run: {', '.join(idle)}")
    return learned_last(ran.values(), layers)


def layers_within(module: nn.Module, name: str = "") -> Iterator[Layer]:
    """Yield the layers with weights or buffers in the order in which they are defined."""
    whole = type(module).__name__ in WHOLE
    if (layer := Layer(name, module, whole)).state:
        yield layer
    for part, inner in () if whole else module.named_children():
        yield from layers_within(inner, f"{name}.{part}".lstrip("."))


def layers_of(network: Network) -> list[Layer]:
    """Return the same for one of our networks."""
    named = zip(network.graph.nodes, network.nodes, strict=True)
    layers = [layer for layer in (Layer(node.name, module) for node, module in named) if layer.state]
    return learned_last(layers, layers)


def learned_last(ran: Iterable[Layer], defined: Iterable[Layer]) -> list[Layer]:
    """Return layers as they run, and after them learned tensors as they are defined: they do not run themselves."""
    return [layer for layer in ran if not layer.learned] + [layer for layer in defined if layer.learned]


def copy_weights(theirs: Sequence[Layer], ours: Sequence[Layer]) -> None:
    """Copy weights and buffers layer by layer, in the order in which the layers run.

    Orders of definition differ: torchvision's GoogLeNet defines its heads last, our graphs where they branch. Sizes of
    1 may differ: a linear layer at each position is a 1×1 convolution here. Raises ValueError if the name or another
    size of a tensor differs.
    """
    for their, our in zip(theirs, ours, strict=False):
        if _shapes(their) != _shapes(our):
            raise ValueError(f"{their.name} has {_shapes(their)}, our {our.name} {_shapes(our)}")
        for name, tensor in our.state.items():
            with torch.no_grad():
                tensor.copy_(their.state[name].reshape(tensor.shape))
    if len(theirs) != len(ours):
        raise ValueError(f"{len(theirs)} layers have weights, {len(ours)} of ours")


def _shapes(layer: Layer) -> dict[str, tuple[int, ...]]:
    return {name: tuple(size for size in tensor.shape if size > 1) for name, tensor in layer.state.items()}


def outputs(module: nn.Module, images: Tensor, heads: bool) -> list[Tensor]:
    """Return the result in evaluation, then the outputs of auxiliary heads in the order in which they run."""
    with torch.no_grad():
        result = module.eval()(images)
        if not heads:
            return [result]
        with with_heads(module):
            made = module(images)
    if isinstance(made, Training):
        return [result, *made.sides.values()]
    return [result, *(value for name, value in sorted(made._asdict().items()) if name.startswith("aux_logits"))]


def compare(theirs: nn.Module, graph: Graph) -> Comparison:
    """Compare a module of torchvision with our network. Raises ValueError if layers do not match."""
    heads = any(node.side for node in graph.nodes)
    randomise(theirs, torch.randn(4, *graph.input))
    network = build(graph)
    layers = layers_of(network)
    images = torch.randn(2, *graph.input)
    copy_weights(layers_as_run(theirs, images[:1]), layers)
    return compared(len(layers), outputs(theirs, images, heads), outputs(network, images, heads))


def compared(layers: int, theirs: Sequence[Tensor], ours: Sequence[Tensor]) -> Comparison:
    """Compare two lists of outputs for two images each. Raises ValueError if their numbers or shapes differ."""
    if [their.shape for their in theirs] != [our.shape for our in ours]:
        raise ValueError(f"outputs {[tuple(t.shape) for t in theirs]}, ours {[tuple(t.shape) for t in ours]}")
    return Comparison(
        layers,
        len(ours),
        _largest(their - our for their, our in zip(theirs, ours, strict=True)),
        _largest(theirs),
        min(_largest([first - second]) for first, second in theirs),
    )


def _largest(tensors: Iterable[Tensor]) -> float:
    """Return the largest absolute value, or NaN if there is one."""
    return float(torch.stack([tensor.abs().max() for tensor in tensors]).max())


def verdict(name: str) -> tuple[str, bool]:
    """Return the line about one network, and whether it is equal."""
    torch.manual_seed(SEED)
    graph = graph_of(name)
    try:
        made = compare(module_of(graph), graph)
    except ValueError as error:
        return f"DIFFERENT: {error}", False
    return str(made), made.verdict == "equal"


def main(names: Sequence[str]) -> int:
    try:
        torchvision_models()
    except ModuleNotFoundError as error:
        print(f"torchvision needs the module {error.name}: pip install -e '.[bench]'", file=sys.stderr)
        return 2
    known = known_names()
    if unknown := [name for name in names if name not in known]:
        print(f"not in specs/{FOLDER}: {', '.join(unknown)}; known: {', '.join(known)}", file=sys.stderr)
        return 2
    start, failed = time.perf_counter(), 0
    for name in names or known:
        line, equal = verdict(name)
        print(f"{FOLDER + name:<29}  {line}", flush=True)
        failed += not equal
    print(f"{len(names or known)} networks, {failed} failed · {time.perf_counter() - start:.0f} s", end=" · ")
    print(f"torchvision {sys.modules['torchvision'].__version__}, torch {torch.__version__}")
    return int(failed > 0)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME")
    sys.exit(main(parser.parse_args().names))
