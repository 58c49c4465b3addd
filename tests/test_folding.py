"""Batch normalization folded: which, what it does to the figures, and that PyTorch then computes the same."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from support.operator_strategies import FLAG, REAL, Case, cases, examples
from support.torch_seed import seed_torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights, fuse_linear_bn_weights

from archcalc import Graph, Node, analyze, audit, load, parse
from archcalc.auditing.claims import claims_of
from archcalc.graph.batchnorm_folding import fold_batchnorm, folds
from archcalc.graph.graph import About
from archcalc.ops import REGISTRY, Operator, make
from archcalc.pytorch import Network, build
from archcalc.pytorch.fold_weights import fold, scale_and_shift

HEAD = "name: t\ninput: [4, 6, 6]\nlayers:\n"
CASES = {  # layers: where each batch normalization that can be folded goes
    "  - conv(4, 1) | batchnorm\n": {"batchnorm": "conv"},
    "  - conv(4, 1, bias=False) | batchnorm | relu\n": {"batchnorm": "conv"},
    "  - conv_transpose(6, 3, groups=2) | batchnorm\n": {"batchnorm": "conv_transpose"},
    "  - conv(2, 1, connections=[[0, 2], [1]]) | batchnorm\n": {"batchnorm": "conv"},
    "  - flatten | linear(5) | batchnorm\n": {"batchnorm": "linear"},
    "  - conv(4, 1) | batchnorm | batchnorm(affine=False)\n": {"batchnorm1": "conv", "batchnorm2": "conv"},
    "  - conv(4, 1) | batchnorm\n  - add(body=conv(3, 1) | batchnorm, skip=conv(3, 1))\n": {
        "batchnorm": "conv",
        "body.batchnorm": "body.conv",
    },
    "  - conv(4, 1)\n  - side: {head: flatten | linear(3) | batchnorm}\n  - batchnorm\n": {"batchnorm": "conv"},
    "  - batchnorm | conv(4, 1) | relu | batchnorm\n": {},  # the image; between them a ReLU
    "  - linear(5) | batchnorm\n": {},  # features along the width, channels elsewhere
    "  - conv(4, 1) | batchnorm(track_running_stats=False)\n": {},  # the statistics are those of the batch
    "  - conv(4, 1) | batchnorm(track_running_stats=False) | batchnorm\n": {},
    "  - conv(4, 1) | identity | batchnorm\n": {},
    "  - add(body=batchnorm | conv(4, 1), skip=identity)\n  - batchnorm\n": {},  # pre-activation
    "  - concat(x=conv(4, 1), y=conv(3, 1))\n  - batchnorm\n": {},
    "  - a: conv(4, 1)\n  - b: batchnorm\n  - add(x=use(a), y=use(b))\n": {},  # read twice
    "  - conv(4, 1) | groupnorm(2)\n": {},
}
FOLDED = {  # batch normalizations, and how many of them can be folded
    "resnet50": (53, 53),
    "resnet20": (19, 19),
    "torchvision/googlenet": (57, 57),
    "bn-inception": (69, 69),
    "torchvision/vgg11_bn": (8, 8),
    "resnext29-8x64d": (31, 31),
    "fractalnet-20": (35, 35),
    "preresnet110": (109, 55),  # the first of each unit stands after an addition, except the stem's
    "preresnet164": (163, 109),
    "densenet121": (121, 59),  # one of the two in each layer, and the stem's
    "densenet-40-12": (39, 0),  # all stand before their convolution
    "vgg16": (0, 0),
}
NETWORKS: dict[str, dict[str, Any]] = {  # small enough to run
    "resnet18": {"input": (3, 64, 64)},
    "torchvision/vgg11_bn": {"input": (3, 64, 64)},
    "torchvision/googlenet": {"input": (3, 64, 64)},
    "densenet-40-12": {"input": (3, 16, 16)},
    "densenet-bc-100-12": {"input": (3, 16, 16)},
    "resnext29-8x64d": {"input": (3, 16, 16)},
    "preresnet164": {"n": 2},
}


def normalizations(graph: Graph) -> list[Node]:
    return [node for node in graph.nodes if node.op.name == "batchnorm"]


def chain(x: Any, *ops: Operator) -> Graph:
    """A network of operators one after another."""
    source = make(REGISTRY["input"], (), {"shape": tuple(x)})
    nodes = [Node("input", source, (), (), source.output(()), None, False)]
    for i, op in enumerate(ops):
        before = nodes[-1].output
        nodes.append(Node(f"{op.name}{i}", op, (i,), before, op.output(before), None, False))
    return Graph("chain", tuple(nodes), (len(ops),), About())


def trained(graph: Graph, dtype: torch.dtype = torch.float64) -> Network:
    """A network with random running statistics, scales and shifts, in evaluation mode."""
    seed_torch(0)
    network = build(graph, dtype=dtype)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d) and module.running_var is not None:
            module.running_mean.normal_()
            module.running_var.uniform_(0.25, 2)
            if module.affine:
                nn.init.normal_(module.weight, 1, 0.5)
                nn.init.normal_(module.bias)
    return network.eval()


def outputs(network: Network, image: Tensor) -> dict[str, Tensor]:
    """What each node gives."""
    given: dict[str, Tensor] = {}
    for node, module in zip(network.graph.nodes, network.nodes, strict=True):
        module.register_forward_hook(lambda _, __, y, name=node.name: given.update({name: y.clone()}))
    with torch.no_grad():
        network(image)
    return given


def compare(network: Network, tolerance: float = 1e-10) -> None:
    """Raise AssertionError unless the folded network gives, at every node that is left, what the network gives."""
    image = torch.randn(2, *network.graph.input, dtype=torch.float64)
    whole, folded = outputs(network, image), outputs(fold(network), image)
    gone = folds(network.graph)
    ends = {host: name for name, host in gone.items()}  # the last of several
    assert folded.keys() == whole.keys() - gone.keys()
    for name, value in folded.items():
        expected = whole[ends.get(name, name)]
        difference = (value - expected).abs().max()
        if not difference <= tolerance * expected.abs().max():
            raise AssertionError(f"{name} differs by {difference} of {expected.abs().max()}")


def without_classifier(graph: Graph) -> Graph:
    """Cut off where the places go: VGG's 120 million weights there are nothing to fold."""
    end = next(i for i, node in enumerate(graph.nodes) if node.op.name == "flatten")
    return Graph(graph.name, graph.nodes[: end + 1], (end,), graph.about)


@pytest.mark.parametrize("layers", CASES)
def test_which_are_folded(layers: str) -> None:
    graph = parse(HEAD + layers)
    ran, folded = graph.without_sides(), fold_batchnorm(graph)
    assert folds(graph) == CASES[layers]
    left = [node for node in ran.nodes if node.name not in CASES[layers]]
    assert [node.name for node in folded.nodes] == [node.name for node in left]
    assert all(a.output == b.output and a.x == b.x for a, b in zip(folded.nodes, left, strict=True))
    result = ran.nodes[ran.result].name
    assert folded.nodes[folded.result].name == CASES[layers].get(result, result)
    for node, was in zip(folded.nodes, left, strict=True):
        read = [CASES[layers].get(ran.nodes[i].name, ran.nodes[i].name) for i in was.inputs]
        assert [folded.nodes[i].name for i in node.inputs] == read
        host = node.name in CASES[layers].values()
        assert node.op.bias if host else node.op == was.op


@pytest.mark.parametrize("layers", CASES)
def test_pytorch_computes_the_same(layers: str) -> None:
    compare(trained(parse(HEAD + layers)))


@pytest.mark.parametrize("name", FOLDED)
def test_figures(name: str) -> None:
    graph = load(name)
    before, after = analyze(graph), analyze(fold_batchnorm(graph))
    gone = [before.layer(layer) for layer in folds(graph)]
    assert (len(normalizations(graph.without_sides())), len(gone)) == FOLDED[name]
    hosts = [before.layer(layer).node for layer in set(folds(graph).values())]
    biased = [node.output for node in hosts if not node.op.bias]  # before they had none
    a, b = before.totals, after.totals
    assert b.params == a.params - sum(layer.params for layer in gone) + sum(y[0] for y in biased)
    assert b.buffers == a.buffers - sum(layer.buffers for layer in gone)
    assert b.activations == a.activations - sum(layer.activations for layer in gone)
    assert b.flops == a.flops - sum(layer.flops for layer in gone) + sum(map(math.prod, biased))
    assert b.layers == a.layers - len(gone)
    same = "macs", "depth", "receptive_field", "effective_stride", "effective_padding"
    assert [getattr(a, figure) for figure in same] == [getattr(b, figure) for figure in same]


def test_resnet50_is_convolutions_and_a_classifier() -> None:
    folded = analyze(fold_batchnorm(load("resnet50")))
    weighted = [layer for layer in folded.layers if layer.node.op.weighted]
    outs = [layer.node.output[0] for layer in weighted]
    weights = [layer.weights for layer in analyze(load("resnet50")).layers if layer.node.op.weighted]
    assert folded.totals.params == sum(weights) + sum(outs) == 25_530_472
    assert folded.totals.buffers == 0
    assert not normalizations(folded.graph)


@pytest.mark.parametrize("name", ["resnet20", "torchvision/googlenet", "densenet121"])
def test_folding_twice_changes_nothing(name: str) -> None:
    folded = fold_batchnorm(load(name))
    assert fold_batchnorm(folded) == folded
    assert folds(folded) == {}


def test_published_figures_are_of_the_network_as_printed() -> None:
    graph = load("resnet50")
    folded = fold_batchnorm(graph)
    assert claims_of(graph.origin)
    assert (folded.about, folded.origin) == (graph.about, None)
    assert audit(folded) == []


def test_a_folded_network_has_no_side_outputs() -> None:
    graph = load("torchvision/googlenet", input=(3, 64, 64))
    folded = fold(build(graph, "meta")).train()
    assert not any(node.side for node in folded.graph.nodes)
    assert folded(torch.empty(2, 3, 64, 64, device="meta")).shape == (2, 1000)


def test_a_side_output_that_does_not_fit_is_no_matter() -> None:
    graph = parse(HEAD + "  - conv(4, 1) | batchnorm\n  - side: {head: 'conv(4, 9)'}\n")
    assert graph.misfit
    assert not fold_batchnorm(graph).misfit
    assert analyze(fold_batchnorm(graph)).totals.layers == 2


@pytest.mark.parametrize("name", NETWORKS)
def test_networks_compute_the_same(name: str) -> None:
    graph = load(name, **NETWORKS[name])
    compare(trained(without_classifier(graph) if "vgg" in name else graph))


ATTRIBUTES = ["running_mean", "running_var", "weight", "bias"]


@pytest.mark.parametrize("attribute", ATTRIBUTES)
def test_the_comparison_would_notice(attribute: str, monkeypatch: pytest.MonkeyPatch) -> None:
    network = trained(parse(HEAD + "  - conv(4, 3) | batchnorm | relu\n"))

    def wrong(batchnorm: Any) -> tuple[Tensor, Tensor]:
        getattr(batchnorm, attribute).data.mul_(1 + 1e-6)
        try:
            return scale_and_shift(batchnorm)
        finally:
            getattr(batchnorm, attribute).data.div_(1 + 1e-6)

    compare(network)
    monkeypatch.setattr("archcalc.pytorch.fold_weights.scale_and_shift", wrong)
    with pytest.raises(AssertionError, match="conv differs"):
        compare(network)


LAYER = st.sampled_from(["conv", "conv_transpose", "linear"]).flatmap(cases)
BATCHNORM = st.fixed_dictionaries({}, optional={"eps": st.floats(1e-8, 1), "affine": FLAG, "momentum": REAL}).map(
    lambda keywords: make(REGISTRY["batchnorm"], (), keywords)
)


@pytest.mark.filterwarnings("ignore:Using padding='same'")  # of even kernels, which torch pads on one side more
@given(layer=LAYER, batchnorms=st.lists(BATCHNORM, min_size=1, max_size=3))
@examples(150)
def test_chains(layer: Case, batchnorms: list[Operator]) -> None:
    graph = chain(layer.x, layer.op, *batchnorms)
    rows = layer.op.name == "linear" and len(layer.y) > 1
    assert len(folds(graph)) == (0 if rows else len(batchnorms))
    compare(trained(graph))


@given(layer=LAYER.filter(lambda case: getattr(case.op, "connections", None) is None), batchnorm=BATCHNORM)
@examples(100)
def test_weights_are_those_of_pytorchs_fusion(layer: Case, batchnorm: Operator) -> None:
    """PyTorch's own has no transposed convolution in groups."""
    graph = chain(layer.x, layer.op, batchnorm)
    network = trained(graph)
    _, module, norm = network.nodes
    if not folds(graph) or (layer.op.name == "conv_transpose" and module.groups > 1):
        return
    weight, bias = fused(module, norm)
    folded = fold(network).nodes[1]
    torch.testing.assert_close(folded.weight, weight, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(folded.bias, bias, rtol=1e-12, atol=1e-12)


def fused(module: Any, norm: Any) -> tuple[nn.Parameter, nn.Parameter]:
    """By `torch.nn.utils.fusion`."""
    ones, zeros = torch.ones_like(norm.running_mean), torch.zeros_like(norm.running_mean)
    gamma, beta = (norm.weight, norm.bias) if norm.affine else (ones, zeros)
    bias = zeros if module.bias is None else module.bias
    given = module.weight, bias, norm.running_mean, norm.running_var, norm.eps, gamma, beta
    if isinstance(module, nn.Linear):
        return fuse_linear_bn_weights(*given)
    return fuse_conv_bn_weights(*given, transpose=isinstance(module, nn.ConvTranspose2d))


SMALL = HEAD + "  - conv(4, 3, bias=False) | batchnorm | relu\n  - concat(a=conv(2, 1), b=identity)\n  - batchnorm\n"


def test_tensors_are_its_own_and_the_network_stays() -> None:
    network = trained(parse(SMALL)).train()
    before = {key: tensor.clone() for key, tensor in network.state_dict().items()}
    folded = fold(network)
    assert network.training
    assert not any(module.training for module in folded.modules())
    assert all(parameter.requires_grad for parameter in folded.parameters())
    with torch.no_grad():
        for tensor in folded.state_dict().values():
            tensor.zero_()
    assert all(torch.equal(tensor, before[key]) for key, tensor in network.state_dict().items())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_rounds_once(dtype: torch.dtype) -> None:
    network = trained(parse(SMALL), dtype)
    folded = fold(network).state_dict()
    exact = fold(network.double()).state_dict()
    for key, tensor in folded.items():
        assert tensor.dtype == (exact[key].dtype if "tracked" in key else dtype)
        assert torch.equal(tensor, exact[key].to(tensor.dtype))


@pytest.mark.parametrize("name", ["resnet50", "torchvision/googlenet", "preresnet110", "bn-inception"])
def test_parameters_are_those_of_the_figures(name: str) -> None:
    folded = fold(build(load(name), "meta"))
    totals = analyze(folded.graph).totals
    assert sum(p.numel() for p in folded.parameters()) == totals.params
    assert sum(b.numel() for b in folded.buffers()) == totals.buffers


def test_draws_no_random_numbers() -> None:
    network = trained(parse(SMALL))
    seed_torch(0)
    fold(network)
    after = torch.rand(())
    seed_torch(0)
    assert torch.equal(after, torch.rand(()))
