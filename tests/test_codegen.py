"""Generated PyTorch source: every construct of the language, params as arguments, and what goes wrong."""

import ast
import inspect

import pytest
from support.clashing_specs import Drawn, spec
from support.fresh_python import imported_by
from support.random_graphs import networks, sweep
from support.source_runs import assert_same_operations, assert_same_values, made, run, states

from archcalc import ArchcalcError, SpecError, load, parse
from archcalc.codegen import export, pytorch_source, source
from archcalc.codegen.trees import Unstructured
from archcalc.graph.graph import About, Graph, Node
from archcalc.ops import Input, Operator
from archcalc.ops.activation import ReLU
from archcalc.ops.convolution import Conv
from archcalc.ops.joins import Add
from archcalc.ops.shape import Map
from archcalc.pytorch import build
from archcalc.spec.network_spec import parse_spec

pytestmark = pytest.mark.usefixtures("quiet_and_alone")


def check(text, in_blocks=None):
    """The source of a spec, which is right; `in_blocks` says whether it must be in blocks, or layer by layer."""
    graph, parsed = parse(text), parse_spec(text)
    written = pytorch_source(graph)
    assert_same_values(written, graph)
    assert max(map(len, written.splitlines())) <= 120
    if in_blocks is not None:
        assert written_in_blocks(graph, parsed) is in_blocks, written
    return written


def written_in_blocks(graph, parsed):
    try:
        export.in_blocks(graph, parsed, graph.name)
    except Unstructured:
        return False
    return True


# Random networks, and random specs with few names, which therefore clash


def test_random_networks():
    sweep(networks(), lambda network: check(network.spec()), 60)


def test_a_result_with_a_label_beside_outputs():
    layers = "  - outputs: {first: identity}\n  - last: multiply(relu, sigmoid)\n  - side: {aux: use(last) | tanh}\n"
    assert "return last, first" in check(f"name: t\ninput: [3, 8, 8]\nlayers:\n  - conv(4, 3)\n{layers}", True)


def test_random_networks_layer_by_layer():
    def check_flat(network):
        graph = parse(network.spec())
        assert_same_values(source(graph), graph)

    sweep(networks(), check_flat, 30)


def test_a_layer_that_needs_math():
    layers = "  - permute('HWC')\n  - cosine_window_attention(2, 1, shift=1)\n"
    text = f"name: cosine\ninput: [3, 5, 4]\nlayers:\n{layers}"
    assert "\nimport math\n\nimport torch\nfrom torch import nn\n" in check(text)


@pytest.mark.parametrize("start", range(0, 50, 10))
def test_random_specs(start):
    checked = 0
    for seed in range(start, start + 10):
        text = Drawn(seed).text
        try:
            graph = parse(text)
        except ArchcalcError:
            continue
        if len(graph.nodes) < 60:
            check(text)
            checked += 1
    assert checked >= 3


# Each construct of the language

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
  - maxpool(2) | flatten | linear(4)
  - batchnorm
  - linear(classes / 2) | softmax
"""


def test_every_feature_of_the_language():
    written = check(FEATURES, in_blocks=True)
    for line in [
        "class ConvBN(nn.Sequential):",
        "            Level(channels, n - 1, 2 * channels) if n > 1 else Double(channels, 2 * channels),",
    ]:
        assert line in written.splitlines(), written


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


def test_loops():
    check(LOOPS)


OWN = [
    ("chain(add(conv(c, 1), conv(c, 1)) for c in [8, 16, 32])", "", ""),
    ("chain(add(conv(c, 1), conv(c, 1)) for c in cs)", "cs: [8, 16, 32]", ""),
    ("chain(2 * add(conv(c, 1), conv(c, 1)) for c in cs)", "cs: [8, 16, 32]", ""),
    ("n * chain(add(conv(c, 1), conv(c, 1)) for c in cs)", "cs: [8, 16, 32], n: 2", ""),
    ("chain(add(conv(c, 1), conv(c, 1)) if c > 8 else conv(c, 1) for c in cs)", "cs: [8, 16, 32]", ""),
    ("chain(conv(8, 3, padding=i, dilation=i) for i in [1, 2, 4])", "", ""),
    ("chain(conv(8, 3, padding=i, dilation=i) for i in [1, 2, 4, 2])", "", ""),
    ("n * (m * (conv(w, 3, padding=1) | relu) | maxpool(2))", "n: 2, m: 2, w: 8", ""),
    ("n * (conv(in_channels + g, 1) | m * conv(in_channels + g, 1))", "n: 4, m: 5, g: 2", ""),
    ("conv(2 * w, 1) | chain(conv(8, w, padding=w // 2) for w in ks)", "w: 4, ks: [1, 3, 1, 3]", ""),
    ("b(2, 4)", "ks: [1, 3, 1, 3]",
     "'b(a, q)': ['add(conv(a * q + q, 1), conv(a * q + q, 1))',"
     " 'chain(conv(8, channels, padding=channels // 2) for channels in ks)']"),
    ("chain(conv(8 + _, 1) for _ in ks if _ > 1)", "ks: [1, 2, 3, 2, 3]", ""),
    ("chain(conv(8, 1) for _ in ks if _ > 1)", "ks: [1, 2, 3, 2, 3]", ""),
    ("b(2, 3, 1)", "",
     "'b(a, b, c)': ['add(relu, identity)', 'conv(a * b + c, 1)', 'conv(b * c + a, 1)', 'conv(4, 1)']"),
    ("add(relu | concat(conv(c, 1) for c in cs), conv(9, 1))", "cs: [1, 3, 5]", ""),
    ("conv(round(w * 1.7 // 1), 1)", "w: 11", ""),
    ("dropout(4 * p // 2) | conv(int(10 * (4 * p // 2)), 1)", "p: 0.9", ""),
    ("concat(conv(4, k, padding=k // 2) for k in ks) | conv(8, 1)", "ks: [1, 3]", ""),
    ("__init__(4) | __class__(__new__=2)", "", "'__init__(__x)': ['conv(__x, 1)'], '__class__(__new__)': "
     "['add(conv(__new__, 1), conv(__new__, 1))']"),
]  # fmt: skip


@pytest.mark.parametrize(("layers", "params", "blocks"), OWN)
def test_users_own(layers, params, blocks):
    check(spec(layers, params, blocks))


def network(layers, blocks="", params="", size="[3, 8, 8]"):
    """A spec whose steps and blocks stand on lines of their own."""
    parts = [f"params: {params}\n" if params else "", f"blocks:\n{blocks}" if blocks else ""]
    return f"name: built\ninput: {size}\n{''.join(parts)}layers:\n{layers}\n"


LABELS = ("inner", "recorder", "walk", "_", "__", "___", "_0", "x", "self", "forward", "_modules", "training", "nn",
          "torch", "super", "append", "lambda", "3a")  # fmt: skip


@pytest.mark.parametrize("label", LABELS)
def test_labels(label):
    check(network(f"  - {label}: conv(4, 1)\n  - relu"), in_blocks=True)
    check(network(f"  - {label}: conv(4, 1)\n  - relu\n  - add(use('{label}'), identity)"), in_blocks=True)


CONSTRUCTS = {
    "a side output of a join": """
input: [12]
layers:
  - side:
      a: add(identity, identity, batchnorm)
  - add(identity, identity)
""",
    "a side output in a branch": """
layers:
  - add:
      body:
        - conv(3, 1)
        - side: {aux: "conv(2, 1)"}
        - relu
      skip: identity
""",
    "a side output in a block": """
blocks:
  stage:
    - conv(5, 1)
    - side: {aux: "dropout | conv(2, 1)", more: "relu"}
    - relu
layers:
  - stage | conv(4, 1) | stage
""",
    "use in a block, of what is outside": """
blocks:
  twice:
    - add(use(top), identity)
    - relu
layers:
  - top: conv(4, 1)
  - relu
  - twice | conv(4, 1) | twice
""",
    "the nearest label": """
layers:
  - a: conv(4, 1)
  - b:
      - a: conv(4, 1)
      - add(use(a), relu)
  - add(use(a), identity)
""",
    "blocks that label alike": """
blocks:
  inner(n):
    - top: conv(n, 1)
    - relu
    - concat(use(top), identity)
  outer(n):
    - top: conv(n, 1)
    - inner(n + 1)
    - concat(use(top), identity)
layers:
  - top: conv(2, 1)
  - outer(2) | inner(3)
  - concat(use(top), identity)
  - conv(in_channels, 1)
""",
    "joins over a generator": """
layers:
  - concat(conv(c, 1) for c in [1, 2])
  - add(conv(4, k, padding=k // 2) for k in [1, 3])
  - mean(conv(4, k, padding=k // 2) for k in [1, 3])
  - multiply(conv(4, k, padding=k // 2) for k in [1, 3])
  - add(conv(in_channels, 1) for k in [1])
""",
    "recursion": """
blocks:
  unit:
    - conv(4, 3, padding=1) | relu
  fractal(c):
    - unit if c == 1 else mean(unit, fractal(c - 1) | fractal(c - 1))
layers:
  - fractal(3) | conv(in_channels, 1)
""",
    "mutual recursion": """
blocks:
  even(n):
    - conv(n, 1)
    - odd(n - 1) if n > 1 else conv(9, 1)
  odd(n):
    - relu
    - even(n - 1) if n > 1 else conv(9, 1)
layers:
  - even(3) | conv(2, 1)
""",
    "recursion that passes arguments and params on": """
params: {w: 3}
blocks:
  even(n, a, b, c):
    - conv(a, 1)
    - odd(n - 1, b, c, a) if n > 1 else conv(9, 1)
  odd(n, a, b, c):
    - relu
    - even(n - 1, b, c, a) if n > 1 else conv(w, 1) | conv(9, 1)
layers:
  - even(4, 2, 3, 4) | odd(3, 4, 3, 2) | conv(w, 1)
""",
    "repeats that run once, or not at all": """
params: {ns: [0, 1, 2]}
blocks:
  aux:
    - side: {aux: "conv(2, 1)"}
    - relu
  b(n):
    - n * conv(4, 1) | relu
    - (1 if n in ns else 0) * maxpool(2)
layers:
  - conv(3, 1) | 1 * aux | 0 * conv(7, 1)
  - b(0) | b(1) | b(2) | b(3)
""",
    "a block parameter called channels": """
blocks:
  grow(channels):
    - 9 * concat(identity, conv(channels, 1))
    - conv(in_channels + channels, 1)
    - conv(channels, 1)
layers:
  - grow(4) | conv(2, 1)
""",
    "parameters called as the source's own": """
blocks:
  grow(layers, nn, self, torch=1, super=1):
    - 7 * concat(identity, conv(layers, 1))
    - chain(concat(identity, conv(channels, 1)) for channels in [1, 2])
    - conv(nn + self + torch, super)
    - conv(in_channels, 1)
layers:
  - grow(4, 2, 3) | grow(2, 1, 1, 2)
""",
    "a parameter called as a class": """
blocks:
  conv_bn(ConvBN, Mean=1):
    - Mean * conv(ConvBN, 1)
    - mean(0.5): [relu, identity]
layers:
  - conv_bn(4) | conv_bn(5, 2)
""",
    "parameters with underscores": """
blocks:
  b(__x, _y, _=2):
    - conv(__x, 1) | conv(_y, 1) | conv(_, 1)
    - _ * relu
layers:
  - b(4, 2) | b(5, 1, 3)
""",
    "a loop's name that the source's own loops have": """
layers:
  - chain(7 * (conv(in_channels + _, 1) | 7 * relu) | conv(_ + 1, 1) for _ in [1, 2])
  - chain(7 * (conv(4, layers) | relu) for layers in [1, 1] for branch in [1, 2])
  - concat(conv(branch, 1) for branch in [1, 2])
""",
    "a loop's name that a param has": """
params: {nn: 4, i: 3}
blocks:
  unit(index, nn):
    - conv(i + index, 1) | chain(relu for i in range(nn))
layers:
  - conv(i * nn, 1)
  - chain(unit(2, nn + i) for nn in [1, 2, 3])
  - conv(1 + nn, 1)
""",
    "a choice over params": """
params: {deep: True, n: 2}
layers:
  - conv(4, 1) if deep and n > 1 else relu
  - n * relu
""",
    "a choice over a block's parameter": """
blocks:
  b(n):
    - conv(4 * n, 1) if n > 1 else relu
    - conv(in_channels, 1)
layers:
  - b(1) | b(2)
""",
    "a choice over in_channels": """
blocks:
  b:
    - identity if in_channels == 4 else conv(4, 1)
    - conv(in_channels, 1)
layers:
  - b | conv(4, 1) | b
""",
    "a choice with and, or": """
blocks:
  b(n):
    - conv(2, 1) if n and (n > 1 or not n) else relu
layers:
  - b(1) | b(2) | b(0)
""",
    "repeats that change the channels": """
layers:
  - 9 * conv(in_channels + 2, 1)
  - 3 * (2 * conv(2 * in_channels, 1) | relu | conv(2, 1))
  - 8 * (8 * concat(identity, conv(1, 1)) | conv(4, 1))
  - conv(in_channels, 1)
""",
    "named branches, and nested joins": """
layers:
  - add(body=conv(3, 1) | relu, skip=identity)
  - concat(a=relu, b=conv(2, 1))
  - add(concat(conv(1, 1), add(conv(2, 1), conv(2, 1) | relu)), multiply(conv(3, 1), add(conv(3, 1), conv(3, 1))))
""",
    "what is drawn at random in branches": """
layers:
  - add(dropout | concat(dropout, relu) | conv(3, 1), dropout)
  - add(droppath(0.5), add(dropout, stochastic_depth(0.5)))
  - mean(0.5): [dropout, "concat(dropout, relu) | conv(3, 1)", identity]
""",
    "branches that grow": """
layers:
  - 7 * concat(identity, conv(2, 1))
  - concat(7 * concat(identity, conv(1, 1)), identity, 7 * concat(identity, conv(1, 1)))
  - conv(2, 1)
""",
    "a block that names a block": """
blocks:
  b(act, n=1):
    - n * conv(4, 1) | act
    - act
  c:
    - conv(5, 1) | batchnorm
layers:
  - b(c) | b(relu) | b(c, 2)
""",
    "blocks with the same param and parameter": """
params: {width: 4, height: 2}
blocks:
  a(x):
    - conv(height + x, 1)
  b(height):
    - conv(height, 1) | a(1) | relu
layers:
  - b(1) | b(width)
""",
    "defaults that mention others": """
params: {base: 2}
blocks:
  b(n, hidden=n * base, out=in_channels + 1, k=1):
    - conv(hidden, k) | relu | conv(out, k)
layers:
  - b(2) | b(3, out=2) | b(1, 7)
""",
    "divisions": """
params: {w: 8}
blocks:
  b(n):
    - conv(n, 1) | relu
  c(p):
    - droppath(p) | relu
layers:
  - conv(w / 2, 1) | b(w / 4) | dropout(w / 16) | c(1 / 4) | c(w / 8)
""",
    "functions": """
params: {ws: [2, 4, 3]}
layers:
  - chain(conv(c * i + len(ws), 1) for i, c in enumerate(ws, 1) if c != max(ws))
  - conv(sum(ws) + min(w for w in ws) + round(2.5) + abs(-1) + int(2.7), 1)
  - conv([c for c in ws][-1] + sum(range(len(ws))) + len(ws[1:]) + max([a * b for a, b in zip(ws, ws)]), 1)
  - conv(([1] * 3 + [2])[3] + 2 ** 2 % 3 - -1, 1)
""",
    "lists of one number": """
layers:
  - conv(4, 3, padding=[1]) | maxpool([2], stride=[2]) | subsample([2])
""",
    "layers on vectors": """
layers:
  - global_avgpool | flatten | batchnorm | layernorm | linear(5) | relu
  - linear(in_channels, True)
""",
    "layers on the last dimension": """
layers:
  - linear(5) | conv(4, 1)
  - layernorm
  - layernorm(5)
  - flatten | linear(2)
""",
    "parts of the channels": """
blocks:
  halves(channels=in_channels):
    - concat(chunk(2, 0), chunk(2, 1) | conv(channels - channels // 2, 1))
layers:
  - conv(8, 1) | 3 * halves | conv(4, 1) | halves | glu
""",
    "a learned tensor as wide as its block": """
blocks:
  scaled(channels):
    - multiply(conv(channels, 1), parameter(C=channels, H=1, W=1))
    - add(identity, parameter(C=in_channels, H=8, W=8))
layers:
  - scaled(4) | scaled(2)
""",
}
FLAT = {
    "a side output in a repeated block": """
blocks:
  stage:
    - conv(5, 1)
    - side: {aux: "conv(2, 1)"}
layers:
  - 2 * stage
""",
    "a side output in a block that a block calls in a join": """
blocks:
  aux:
    - side: {aux: "conv(2, 1)"}
    - relu
layers:
  - 2 * add(conv(3, 1) | aux, identity)
""",
    "use in a repeated block": """
blocks:
  twice(n):
    - n * add(use(top), identity)
layers:
  - top: conv(4, 1)
  - twice(1) | relu | twice(2)
""",
    "a choice over in_height": """
blocks:
  b:
    - relu if in_height > 4 else conv(4, 1)
    - conv(in_channels, 1)
layers:
  - b | maxpool(2) | b
""",
    "blocks that flatten different sizes": """
blocks:
  b:
    - flatten | linear(2)
layers:
  - add(maxpool(2) | b, b)
""",
    "a list of one number in a parameter": """
blocks:
  b(k):
    - maxpool(k) | relu
layers:
  - b([2]) | b(2)
""",
    "a loop over operators": """
layers:
  - chain(layer(2) for layer in [maxpool, avgpool])
""",
    "a division that is exact in a spec alone": """
params: {w: 8}
layers:
  - conv(w / 2 * 3, 1)
""",
    "channels that grow by no sum, in a block": """
blocks:
  b(n):
    - n * conv(in_channels * 2 - 2, 1)
layers:
  - b(9) | conv(2, 1)
""",
}


@pytest.mark.parametrize("construct", [*CONSTRUCTS, *FLAT])
def test_each_construct(construct):
    text = (CONSTRUCTS | FLAT)[construct].lstrip()
    size = "" if "input:" in text else "input: [3, 8, 8]\n"
    check(f"name: built\n{size}{text}", in_blocks=construct in CONSTRUCTS)


HOSTILE = ['"' * 3, "'" * 3, 'ends with a quote"', "a\\", "\\N{DASH} {x}", "\\x00 λ → 中", "%s"]


@pytest.mark.parametrize("title", HOSTILE)
def test_hostile_titles(title):
    quoted = title.replace("'", "''")
    graph = parse(f"name: none\ntitle: '{quoted}'\ninput: [3, 8, 8]\nlayers:\n  - conv(3, 1)\n")
    assert graph.about.title == title
    assert title in ast.get_docstring(ast.parse(source(graph)))
    assert_same_values(source(graph), graph)


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
def test_small_networks(layers):
    check(f"name: small\ninput: [3, 6, 6]\nlayers:\n  {layers}\n", in_blocks=True)


# A graph without a spec


X = Map((3, 8, 8))


def test_the_source_of_a_hand_made_graph():
    nodes = (
        Node("input", Input(X), (), (), X, None, False),
        Node("stem.conv", Conv(3, (3, 3), padding=(1, 1)), (0,), X, X, None, False),
        Node("stem.relu", ReLU(), (1,), X, X, None, False),
        Node("add", Add(), (2, 0), (X, X), X, None, False),
    )
    graph = Graph("by hand", nodes, (3,), About(paper={}, params={}))
    written = source(graph)
    assert written == pytorch_source(graph)
    assert_same_operations(written, graph)
    assert_same_values(written, graph)
    assert "class ByHand(nn.Module):" in written


def test_a_hand_made_graph_may_have_any_names():
    names = ("a b", "7.é", "..", "lambda", "self.x", "__init__.forward")
    nodes = [Node("input", Input(X), (), (), X, None, False)]
    for position, name in enumerate(names):
        op, inputs = (Add(), (position, 0)) if position % 2 else (ReLU(), (position,))
        nodes.append(Node(name, op, inputs, (X, X) if position % 2 else X, X, None, False))
    compile(source(Graph('"' * 3, tuple(nodes), (len(names),), About(paper={}, params={}))), "source", "exec")


# Arguments

SWITCHED = [
    ("resnet50", "classes", 10), ("resnet50", "depths", (1, 1, 2, 1)), ("densenet121", "growth", 12),
    ("densenet121", "depths", (1, 2, 3, 4)), ("wrn-28-10", "k", 1), ("wrn-28-10", "n", 2),
    ("fractalnet-20", "columns", 2),
    ("resnext50-32x4d", "cardinality", 8), ("squeezenet1.0", "stem", (64, 3)), ("blocks/dense-block", "depth", 3),
    ("googlenet", "classes", 7), ("vgg16", "depths", (1, 2, 3, 2, 4)),
]  # fmt: skip


@pytest.mark.parametrize(("name", "param", "value"), SWITCHED)
def test_params_are_arguments(name, param, value):
    source = pytorch_source(load(name))
    assert states(made(source, **{param: value})) == states(build(load(name, **{param: value}), "meta"))
    assert states(made(source, **{param: value})) != states(made(source))


def arguments(name, **params):
    return list(inspect.signature(run(pytorch_source(load(name, **params)))).parameters)


def test_what_something_was_decided_by_is_no_argument():
    assert arguments("resnet50") == ["classes", "depths"]  # neither `strided` nor `late`, which choose blocks
    assert arguments("vgg16") == ["classes", "last", "depths"]
    assert arguments("vgg11") == ["classes"]  # its third convolutions are not there to be repeated
    assert arguments("blocks/residual-basic") == []  # a block has a parameter `channels` of its own


def test_set_params_are_the_defaults():
    signature = inspect.signature(run(pytorch_source(load("resnet50", classes="5 * 2"))))
    assert signature.parameters["classes"].default == 10


def test_input_of_another_size():
    written = pytorch_source(load("vgg11", input=(3, 64, 64)))
    assert "channels = 512 * 2 * 2" in written
    assert "Input 3×64×64" in written


# What goes wrong


def test_an_operator_without_source(monkeypatch):
    monkeypatch.setattr("archcalc.ops.activation.ReLU.code", Operator.code)
    with pytest.raises(SpecError, match=r"stem\.relu: operator relu has no rule for its PyTorch module"):
        pytorch_source(load("resnet18"))


def test_a_side_output_that_does_not_fit():
    with pytest.raises(SpecError, match="kernel 5×5 is larger than the padded input 3×3"):
        pytorch_source(load("inception-v3", input=(3, 224, 224)))


def test_errors_of_the_request():
    for function in (pytorch_source, source):
        hint = rf"{function.__name__} needs a Graph, not str; write {function.__name__}\(load\('resnet50'\)\)"
        with pytest.raises(ArchcalcError, match=hint):
            function("resnet50")


def test_torch_is_not_imported():
    assert (
        imported_by(
            "from archcalc import load\nfrom archcalc.codegen import pytorch_source\npytorch_source(load('lenet5'))"
        )
        == []
    )


@pytest.mark.parametrize("join", ["add", "multiply", "mean"])
def test_a_join_of_too_many_branches(join, tmp_path):
    path = tmp_path / "wide.yaml"
    branches = "".join(f"      b{i}: sigmoid\n" for i in range(2000))
    path.write_text(f"name: wide\ninput: [4, 2, 2]\nlayers:\n  - {join}:\n{branches}")
    with pytest.raises(ArchcalcError, match="wide cannot be written as PyTorch source: a join has too many branches"):
        pytorch_source(load(path))
