"""Generated PyTorch source: every feature of the language, params as arguments, and what goes wrong."""

import inspect

import pytest
from generated import assert_same_values, made, run, states
from graphs import networks, sweep
from test_architecture import imported_by

from archcalc import ArchcalcError, SpecError, load, parse
from archcalc.codegen import CARRYING, pytorch_source, source_of
from archcalc.codegen.flat import Flat
from archcalc.codegen.layers import layers
from archcalc.language import parse_spec
from archcalc.ops import Operator
from archcalc.pytorch import build

pytestmark = pytest.mark.usefixtures("quiet_and_alone")


def test_random_networks():
    def check(network):
        spec, graph = network.spec(), parse(network.spec())
        assert_same_values(source_of(graph, parse_spec(spec), "drawn"), graph)

    sweep(networks(), check, 60)


def test_random_networks_layer_by_layer():
    def check(network):
        graph = parse(network.spec())
        lines = [*(f"\n\n{text}\n" for text in layers().values()), Flat(graph, "Drawn").source()]
        head = f'"""\n{CARRYING[-1]}\n"""\nimport torch\nfrom torch import nn\n\n'
        assert_same_values(head + "".join(lines), graph)

    sweep(networks(), check, 30)


# Arguments

SWITCHED = [
    ("resnet50", "classes", 10), ("resnet50", "depths", (1, 1, 2, 1)), ("densenet121", "growth", 12),
    ("densenet121", "depths", (1, 2, 3, 4)), ("wrn-28-10", "k", 1), ("wrn-28-10", "n", 2),
    ("fractalnet-20", "columns", 2),
    ("resnext50-32x4d", "cardinality", 8), ("squeezenet1.0", "stem", (64, 3)), ("blocks/dense-block", "depth", 3),
    ("blocks/conv1x7-7x1", "channels", 16), ("googlenet", "classes", 7), ("vgg16", "depths", (1, 2, 3, 2, 4)),
]  # fmt: skip


@pytest.mark.parametrize(("name", "param", "value"), SWITCHED)
def test_params_are_arguments(name, param, value):
    source = pytorch_source(name, {})
    assert states(made(source, **{param: value})) == states(build(load(name, **{param: value}), "meta"))
    assert states(made(source, **{param: value})) != states(made(source))


def arguments(name, **params):
    return list(inspect.signature(run(pytorch_source(name, params))).parameters)


def test_what_something_was_decided_by_is_no_argument():
    assert arguments("resnet50") == ["classes", "depths"]  # neither `strided` nor `late`, which choose blocks
    assert arguments("vgg16") == ["classes", "last", "depths"]
    assert arguments("vgg11") == ["classes"]  # its third convolutions are not there to be repeated
    assert arguments("blocks/residual-basic") == ["channels"]


def test_set_params_are_the_defaults():
    signature = inspect.signature(run(pytorch_source("resnet50", {"classes": "5 * 2"})))
    assert signature.parameters["classes"].default == 10


# A user's own

FEATURES = """
name: features
title: "A \\"title\\" with \\"\\"\\"quotes\\"\\"\\" and a back\\\\slash"
input: [3, size, size]
params: {size: 32, width: 8, classes: 10, act: relu, widths: [8, 16, 16], modes: "['nearest', 'bilinear']", nn: 4,
  drop: 0.1, forward: 2, sizes: [1, 2, 4]}
blocks:
  conv_bn(channels, kernel=3, stride=1, padding=kernel // 2):
    - conv(channels, kernel, stride=stride, padding=padding, bias=False) | batchnorm
  shortcut(channels, stride):
    - identity if stride == 1 and in_channels == channels else conv_bn(channels, 1, stride)
  residual(channels, stride=1, p=0):
    - add:
        body: conv_bn(channels, 3, stride) | act | conv_bn(channels) | droppath(p)
        skip: shortcut(channels, stride)
    - act
  excite(hidden=in_channels // nn):
    - multiply:
        x: identity
        gate: global_avgpool | conv(hidden, 1) | relu | conv(in_channels * nn, 1) | sigmoid
  double(channels):
    - 2 * (conv(channels, 3, padding=1) | relu)
  level(n, channels):
    - down: double(channels)
    - maxpool(2)
    - level(n - 1, 2 * channels) if n > 1 else double(2 * channels)
    - conv_transpose(channels, 2, stride=2)
    - concat: {skip: use(down), up: identity}
    - up: double(channels)
  torch:
    - conv(width, 1)
    - add(use('stage-2'), identity)
  aux(c):
    - side:
        deep: global_avgpool | flatten | linear(c)
    - conv_bn(width)
  mixed(a, unit=conv_bn):
    - unit(a) | act
  pooled(sizes):
    - concat(adaptive_avgpool(s) | upsample([16, 16], mode=modes[1]) for s in sizes)
  features:
    - mean(0.5): [conv_bn(in_channels), relu, identity]
  drop_path(p):
    - droppath(p) | relu
  sized:
    - maxpool(2) | add(flatten | linear(4), flatten | linear(4))
layers:
  - stem: conv_bn(width) | act
  - lambda: chain(residual(w, 2 if i == 1 else 1, p=drop * i / 3) for i, w in enumerate(widths))
  - excite
  - stage-2: level(2, width)
  - mid: conv(width, 1)
  - torch
  - parameters: aux(classes)
  - 3x3: mixed(width) | mixed(width, unit=residual)
  - pyramid: pooled(sizes)
  - grow: 5 * conv(in_channels + nn, 1)
  - forward * (add(conv_bn(in_channels), identity) | relu)
  - features
  - chain(drop_path(p) | unit(8) for p, unit in zip([0.5, 0], [conv, linear])) if False else drop_path(0.25)
  - side: [flatten | linear(classes), global_maxpool | flatten, sized]
  - conv(in_height * 2, 1, stride=2)
  - sized
  - batchnorm
  - linear(classes / 2) | softmax
"""


@pytest.fixture
def written(tmp_path):
    """Sources of specs given as text."""

    def write(spec, **params):
        path = tmp_path / "own.yaml"
        path.write_text(spec)
        return pytorch_source(str(path), params)

    return write


def test_every_feature_of_the_language(written):
    source = written(FEATURES)
    assert_same_values(source, parse(FEATURES))
    for line in [
        "class ConvBN(nn.Sequential):",
        "class DropPathBlock(nn.Sequential):",
        "            Level(channels, n - 1, 2 * channels) if n > 1 else Double(channels, 2 * channels),",
        "    def forward(self, x, stage_2):",
        "        self.parameters_ = Aux(8, classes)",
        "class MixedResidual(nn.Sequential):",
        "        self.branches = nn.ModuleList(",
        "            return x, *sides",
    ]:
        assert line in source.splitlines()


LOOPS = """
name: loops
input: [3, 8, 8]
params: {n: 3, g: 2}
blocks:
  perhaps(n):
    - n * conv(8, 1) | relu
    - conv(in_channels + 1, 1)
  every(kernels):
    - chain(conv(6, k, padding=k // 2) | relu for k in kernels)
    - conv(in_channels, 1)
  grown(n):
    - n * concat(identity, conv(g, 1))
    - conv(in_channels, 1)
  doubled:
    - n * conv(2 * in_channels, 1)
  different(n):
    - add(conv(in_channels, 1), identity) if n % 2 else concat(identity, relu)
layers:
  - perhaps(0) | perhaps(2) | perhaps(1)
  - every([]) | every([1, 3]) | every([3])
  - grown(2) | grown(0) | grown(4)
  - doubled
  - conv(4, 1)
  - chain(different(i) for i in range(3))
  - chain(conv(c, k, padding=k // 2) for c, k in zip([4, 8], [1, 3]) if c > n)
  - chain(layer(2) for layer in [maxpool, avgpool])
"""


def test_loops(written):
    source = written(LOOPS)
    assert_same_values(source, parse(LOOPS))
    assert "Concat" not in source
    for line in [
        "            *[nn.Conv2d(in_channels if i == 0 else 8, 8, 1) for i in range(n)],",
        "            nn.Conv2d(8 if n else in_channels, (8 if n else in_channels) + 1, 1),",
        "            *[GrownUnit(in_channels + 2 * i) for i in range(n)],",  # `g` decides the numbers of calls
        "            nn.Conv2d(in_channels + 2 * n, in_channels + 2 * n, 1),",
    ]:
        assert line in source.splitlines(), source


LAYER_BY_LAYER = """
name: flat
input: [4, 6, 6]
blocks:
  again(n):
    - n * add(use(top), identity)
layers:
  - top: conv(4, 3, padding=1)
  - again(1) | relu | again(2)
  - side: {own: "relu | conv(2, 1)"}
  - concat(sigmoid, identity)
"""


def test_what_blocks_cannot_express_is_written_layer_by_layer(written):
    source = written(LAYER_BY_LAYER)
    assert source.count("class ") == 1
    assert_same_values(source, parse(LAYER_BY_LAYER))


@pytest.mark.parametrize("layers", [
    "- identity", "- relu", "- add(identity)", "- add(identity) | relu", "- concat(identity, relu)",
    "- mean(relu, identity)",
    "- 0 * conv(3, 1)", "- 400 * conv(3, 1)", "- side: {a: relu}",
    "- a: conv(3, 1)\n  - add(identity) | relu\n  - add(use(a), identity)", "- a: identity\n  - add(use(a), relu)",
    "- layernorm", "- layernorm(6)", "- upsample(scale_factor=2)",
    "- conv(4, 3, 1, 1, 1, 1, False)", "- maxpool(2, 2, 0, 1, True)",
    "- subsample([2, 3], stride=2)", "- pad_shortcut(6, [2, 1])",
    "- conv(2, [1, 3], connections=[[0, 1], [2]], padding=1)",
    "- flatten | layernorm | rbf(3)", "- gelu('tanh') | scaled_tanh(slope=1)", "- _a: conv(3, 1)\n  - __b: conv(3, 1)",
])  # fmt: skip
def test_small_networks(layers, written):
    spec = f"name: small\ninput: [3, 6, 6]\nlayers:\n  {layers}\n"
    assert_same_values(written(spec), parse(spec))


def test_input_of_another_size():
    source = pytorch_source("vgg11", {}, (3, 64, 64))
    assert "nn.Linear(512 * 2 * 2, 4096)" in source
    assert "Input 3×64×64" in source


# What goes wrong


def test_an_operator_without_source(monkeypatch):
    monkeypatch.setattr("archcalc.ops.activation.ReLU.code", Operator.code)
    with pytest.raises(SpecError, match=r"stem\.relu: operator relu has no rule for its PyTorch module"):
        pytorch_source("resnet18", {})


def test_a_side_output_that_does_not_fit():
    with pytest.raises(SpecError, match="kernel 5×5 is larger than the padded input 3×3"):
        pytorch_source("inception-v3", {}, (3, 224, 224))


def test_errors_of_the_request():
    with pytest.raises(ArchcalcError, match="no network is called 'resnet51'"):
        pytorch_source("resnet51", {})
    with pytest.raises(ArchcalcError, match="has no param 'clases'"):
        pytorch_source("resnet50", {"clases": 3})


@pytest.mark.parametrize("join", ["add", "multiply", "mean"])
def test_a_join_of_too_many_branches(join, tmp_path):
    path = tmp_path / "wide.yaml"
    path.write_text(f"name: wide\ninput: [4, 2, 2]\nlayers:\n  - {join}(sigmoid for i in range(2000))\n")
    with pytest.raises(ArchcalcError, match="wide cannot be written as PyTorch source: a join has too many branches"):
        pytorch_source(str(path), {})


def test_torch_is_not_imported():
    assert imported_by("from archcalc.codegen import pytorch_source\npytorch_source('lenet5', {})") == []
