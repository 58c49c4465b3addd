"""What modules written by hand hold longer: simulated, and measured with modules that are written as torchvision's."""

import pytest
import torch
from torch import nn

from archcalc import ArchcalcError, load, parse
from archcalc.analysis import frames
from archcalc.analysis.checkpoints import blocks
from archcalc.analysis.recipe import Recipe
from archcalc.analysis.simulation import simulate
from archcalc.pytorch.training_memory import measure_training


def conv_bn(channels, out, kernel=1, stride=1):
    convolution = nn.Conv2d(channels, out, kernel, stride, kernel // 2, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(out))


class Unit(nn.Module):
    """As GoogLeNet's BasicConv2d."""

    def __init__(self, *sizes):
        super().__init__()
        self.conv, self.bn = conv_bn(*sizes)

    def forward(self, x):
        x = self.conv(x)
        x = self.bn(x)
        return nn.functional.relu(x, inplace=True)


class Residual(nn.Module):
    def __init__(self, channels, width, stride):
        super().__init__()
        self.conv1, self.bn1 = conv_bn(channels, width, 3, stride)
        self.conv2, self.bn2 = conv_bn(width, width, 3)
        self.downsample = conv_bn(channels, width, 1, stride) if stride > 1 else None

    def forward(self, x):
        identity = x
        out = self.conv1(x)
        out = self.bn1(out).relu_()
        out = self.conv2(out)
        out = self.bn2(out)
        if self.downsample is not None:
            identity = self.downsample(x)
        out += identity
        return out.relu_()


class Plus(nn.Module):
    """As in MobileNetV2, not in place."""

    def __init__(self, channels):
        super().__init__()
        self.conv = nn.Sequential(nn.Conv2d(channels, channels, 1), nn.ReLU(True))

    def forward(self, x):
        return x + self.conv(x)


class Fire(nn.Module):
    def __init__(self, channels, width):
        super().__init__()
        self.squeeze, self.one = nn.Conv2d(channels, width, 1), nn.Conv2d(width, width, 1)
        self.three = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x):
        x = self.squeeze(x).relu_()
        return torch.cat([self.one(x).relu_(), self.three(x).relu_()], 1)


class DenseLayer(nn.Module):
    def __init__(self, channels, growth):
        super().__init__()
        self.norm, self.conv = nn.BatchNorm2d(channels), nn.Conv2d(channels, growth, 3, padding=1)

    def forward(self, features):
        joined = torch.cat(features, 1)
        return self.conv(self.norm(joined).relu_())


class Dense(nn.Module):
    def __init__(self, channels, growth, depth):
        super().__init__()
        self.layers = nn.ModuleList(DenseLayer(channels + i * growth, growth) for i in range(depth))

    def forward(self, x):
        features = [x]
        for layer in self.layers:
            features.append(layer(features))
        return torch.cat(features, 1)


class Net(nn.Module):
    def __init__(self, *features, classifier=()):
        super().__init__()
        self.features = nn.Sequential(*features)
        self.classifier = nn.Sequential(*classifier or (nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.LazyLinear(5)))

    def forward(self, x):
        x = self.features(x)
        return torch.flatten(self.classifier(x), 1)


HEAD = """
name: t
input: [3, 16, 16]
blocks:
  conv_bn(c, k=1, s=1): [ "conv(c, k, stride=s, padding=k // 2, bias=False) | batchnorm" ]
  residual(c, s=1):
    - add: {body: "conv_bn(c, 3, s) | relu | conv_bn(c, 3)", skip: "identity if s == 1 else conv_bn(c, 1, s)"}
    - relu
  plus(c):
    - add: {skip: identity, body: "conv(c, 1) | relu"}
  fire(c):
    - conv(c, 1) | relu
    - concat: {one: "conv(c, 1) | relu", three: "conv(c, 3, padding=1) | relu"}
  dense(growth):  # after a concatenation of one
    - concat: {old: identity, new: "batchnorm | relu | conv(growth, 3, padding=1)"}
layers:
"""
TAIL = "  - head: global_avgpool | flatten | linear(5)\n"
NETWORKS = {  # what it shows: the layers as a spec, and the module
    "residual blocks": (
        "  - stem: conv_bn(8, 3) | relu\n  - stage: residual(8) | residual(8)\n  - next: residual(16, 2)\n" + TAIL,
        lambda: Net(
            *conv_bn(3, 8, 3), nn.ReLU(True), nn.Sequential(Residual(8, 8, 1), Residual(8, 8, 1)), Residual(8, 16, 2)
        ),
    ),
    "sums that are not in place": (
        "  - stem: conv(8, 3, padding=1)\n  - a: plus(8)\n  - b: plus(8)\n" + TAIL,
        lambda: Net(nn.Conv2d(3, 8, 3, padding=1), Plus(8), Plus(8)),
    ),
    "units": (
        "  - conv_bn(4, 3) | relu | conv_bn(6) | relu | conv_bn(6) | relu\n" + TAIL,
        lambda: Net(Unit(3, 4, 3), Unit(4, 6), Unit(6, 6)),
    ),
    "branches and a classifier": (
        "  - a: fire(8)\n  - b: fire(12)\n  - dropout | conv(5, 1) | relu | global_avgpool | flatten\n",
        lambda: Net(
            Fire(3, 8),
            Fire(16, 12),
            classifier=(nn.Dropout(), nn.Conv2d(24, 5, 1), nn.ReLU(True), nn.AdaptiveAvgPool2d(1)),
        ),
    ),
    "dense blocks": (
        "  - stem: conv(6, 3, padding=1)\n  - a: concat(identity) | 3 * dense(4)\n"
        "  - b: maxpool(2)\n  - c: concat(identity) | 2 * dense(4)\n" + TAIL,
        lambda: Net(nn.Conv2d(3, 6, 3, padding=1), Dense(6, 4, 3), nn.MaxPool2d(2), Dense(18, 4, 2)),
    ),
}
RECIPE, BATCH = Recipe("momentum", module="torchvision", steps=2), 3


def off(what, recipe=RECIPE):
    """By how much each phase's peak and end are predicted too high."""
    layers, make = NETWORKS[what]
    graph = parse(HEAD + layers)

    def made(graph, recipe):
        module = make()
        module(torch.zeros(2, *graph.input))  # lazy layers find their sizes
        return module

    pairs = zip(simulate(graph, recipe).peaks(BATCH), measure_training(graph, recipe, BATCH, made), strict=True)
    return [(ours.peak - theirs.peak, ours.end - theirs.end) for ours, theirs in list(pairs)[1:]]


@pytest.mark.parametrize("what", NETWORKS)
def test_modules_written_by_hand_take_the_memory_that_pytorch_takes(what):
    assert {*off(what)} == {(0, 0)}


@pytest.mark.parametrize("what", NETWORKS)
def test_what_build_holds_is_less(what):
    found = off(what, RECIPE._replace(module="build"))
    assert min(found) < (0, 0)
    assert max(found) == (0, 0)


@pytest.mark.parametrize(
    ("rule", "what"),
    {
        "_of_blocks": "residual blocks",
        "_of_units": "units",
        "_of_variables": "branches and a classifier",
        "_of_classifier": "branches and a classifier",
    }.items(),
)
def test_each_rule_is_needed(rule, what, monkeypatch):
    monkeypatch.setattr(frames, rule, lambda graph, ran: iter(()))
    assert min(off(what)) < (0, 0)


def test_a_dense_block_is_not_read_in_pairs(monkeypatch):
    monkeypatch.setattr("archcalc.analysis.simulation.as_written", lambda graph: graph)
    assert {*off("dense blocks")} != {(0, 0)}


def test_a_sum_in_place_would_be_less(monkeypatch):
    monkeypatch.setattr("archcalc.analysis.simulation.overwritable", lambda graph: [True] * len(graph.nodes))
    assert min(off("sums that are not in place")) < (0, 0)


@pytest.mark.parametrize("name", ["densenet-40-12", "resnet20", "squeezenet1.0", "unet", "fractalnet-20", "googlenet"])
def test_no_phase_needs_less_than_with_build(name):
    graph = load(name)
    for optimizer in "", "momentum":
        own, by_hand = (simulate(graph, Recipe(optimizer, module=module)) for module in frames.MODULES)
        for ours, theirs in zip(own.peaks(2), by_hand.peaks(2), strict=True):
            assert (theirs.peak, theirs.end) >= (ours.peak, ours.end)


def test_checkpointed_blocks_have_one_input():
    """So a dense block is checkpointed layer by layer, and its layers concatenate two values each."""
    graph = load("densenet-40-12")
    recipe = Recipe("sgd", checkpoint=tuple(blocks(graph)), module="torchvision")
    assert max(simulate(graph, recipe).curve(4)) < max(simulate(graph, recipe._replace(checkpoint=())).curve(4))


def test_an_unknown_module():
    with pytest.raises(ArchcalcError, match="unknown module 'torchvison'; did you mean torchvision"):
        simulate(load("lenet5"), Recipe(module="torchvison"))
