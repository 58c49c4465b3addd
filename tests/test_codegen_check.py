"""The check of generated source by itself: mistakes are noticed, and users' own specs come out right."""

import random

import pytest
from generated import assert_same_values

from archcalc import ArchcalcError, load, parse
from archcalc.codegen import flat, pytorch_source, source_of
from archcalc.codegen.check import compare, is_right
from archcalc.language import parse_spec

pytestmark = pytest.mark.usefixtures("quiet_and_alone")


def spec(layers, params="", blocks=""):
    return f'name: own\ninput: [3, 16, 16]\nparams: {{{params}}}\nblocks: {{{blocks}}}\nlayers:\n  - "{layers}"\n'


def written(text):
    return source_of(parse(text), parse_spec(text), "own")


# Users' own: each of these was once wrong

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
    text = spec(layers, params, blocks)
    try:
        graph = parse(text)
    except ArchcalcError as error:
        pytest.fail(f"the spec is wrong: {error}")
    assert_same_values(written(text), graph)


IN_BLOCKS = [OWN[i] for i in (0, 1, 5, 7, 9, 13, 14)]


@pytest.mark.parametrize(("layers", "params", "blocks"), IN_BLOCKS)
def test_not_layer_by_layer(layers, params, blocks, monkeypatch):
    monkeypatch.setattr(flat.Flat, "source", lambda self: pytest.fail("layer by layer"))
    written(spec(layers, params, blocks))


def test_a_param_on_which_a_fixed_number_depends_is_no_argument():
    source = written(spec("concat(conv(4, k, padding=k // 2) for k in ks) | conv(w, 1)", "ks: [1, 3], w: 8"))
    assert "def __init__(self, w=8):" in source


# The zoo


@pytest.mark.parametrize("name", ["lenet5", "googlenet", "resnet50", "densenet121", "fractalnet-20", "alexnet"])
def test_what_is_right_passes(name):
    compare(pytorch_source(name, {}), load(name), {})


def test_all_arguments():
    assert is_right(pytorch_source("resnet50", {}), load("resnet50", classes=10), {"classes": 10})
    assert not is_right(pytorch_source("resnet50", {}), load("resnet50", classes=10))


MISTAKES = [
    ("googlenet", "self.branch3x3(x), self.branch5x5(x)", "self.branch5x5(x), self.branch3x3(x)"),
    ("resnet50", "ConvBN(width, width, 3)", "ConvBN(width, width, 3, stride)"),
    ("resnet50", "nn.ReLU(inplace=True),\n            ConvBN(width, width, 3)", "ConvBN(width, width, 3)"),
    ("resnet50", "self.body(x) + self.skip(x)", "self.skip(x) + self.body(x)"),
    ("resnet50", "nn.MaxPool2d(3,", "nn.AvgPool2d(3,"),
    ("resnet50", "kernel // 2, bias=False", "kernel // 2, bias=False, padding_mode='reflect'"),
    ("resnet50", "nn.BatchNorm2d(channels)", "nn.BatchNorm2d(channels, momentum=0.2)"),
    ("resnet50", "nn.BatchNorm2d(channels)", "nn.BatchNorm2d(chanels)"),
    ("resnet50", "from torch import nn", "from torch import mm"),
    ("googlenet", "return x, head1, head2", "return x, head2, head1"),
    ("densenet121", "torch.cat([x, self.new(x)]", "torch.cat([self.new(x), x]"),
    ("densenet121", "self.new(x)", "self.new(x.relu_())"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "right", "wrong"), MISTAKES)
def test_a_mistake_is_noticed(name, right, wrong):
    source = pytorch_source(name, {})
    assert right in source
    assert not is_right(source.replace(right, wrong), load(name))


SMALL = spec("add(conv(4, 1) | relu(inplace=True), conv(4, 1))")
GRAPH = """
class Own(nn.Module):
    def __init__(self):
        super().__init__()
        {0}

    def forward(self, x):
        {1}
"""
HEAD = "import torch\nfrom torch import nn\n"
MODULES = "self.a = nn.Conv2d(3, 4, 1)\n        self.b = nn.Conv2d(3, 4, kernel_size=(1, 1), stride=1)"


@pytest.mark.parametrize(
    ("modules", "forward", "right"),
    [
        (MODULES, "return torch.relu(self.a(x)) + self.b(x)", False),  # a function has no module to be told by
        (f"{MODULES}\n        self.c = nn.ReLU(inplace=True)", "return self.c(self.a(x)) + self.b(x)", True),
        (f"{MODULES}\n        self.c = nn.ReLU()", "return sum([self.c(self.a(x)), self.b(x)])", True),
        (f"{MODULES}\n        self.c = nn.ReLU()", "y = self.b(x)\n        return self.c(self.a(x)) + y", False),
        (f"{MODULES}\n        self.c = nn.ReLU()", "return self.c(self.a(x)) + self.a(x)", False),
        (f"{MODULES}\n        self.c = nn.ReLU()", "return self.c(self.b(x)) + self.a(x)", False),
        (f"self.b = 1\n        {MODULES}", "return self.a(x) + self.b(x)", False),
        (f"{MODULES}\n        self.c = nn.ReLU()", "return self.a(x) + self.b(x)", False),
        (f"{MODULES}\n        self.train = nn.ReLU()", "return self.train(self.a(x)) + self.b(x)", False),
        (f"{MODULES}\n        self.c = nn.ReLU()\n        self.d = nn.Conv2d(3, 4, 1)",
         "return self.c(self.a(x)) + self.b(x)", False),
    ],
)  # fmt: skip
def test_what_is_compared(modules, forward, right):
    assert is_right(HEAD + GRAPH.format(modules, forward), parse(SMALL)) is right


def test_overwriting_what_is_read_again():
    graph = parse(spec("conv(4, 1) | add(relu(inplace=True), identity)"))
    source = HEAD + GRAPH.format("self.a, self.b = nn.Conv2d(3, 4, 1), nn.ReLU({})", "x = self.a(x)\n        return {}")
    assert is_right(source.format("", "self.b(x) + x"), graph)
    assert not is_right(source.format("True", "self.b(x) + x"), graph)


def test_wrong_source_is_never_given(monkeypatch):
    text = spec("add(conv(4, 1), conv(4, 1)) | relu")
    plain = flat.Flat.source
    monkeypatch.setattr("archcalc.codegen._blocks", lambda *_: "class Own(nn.Module):\n    pass\n")
    assert_same_values(written(text), parse(text))  # layer by layer
    monkeypatch.setattr(flat.Flat, "source", lambda self: plain(self).replace("nn.ReLU(", "nn.Sigmoid("))
    with pytest.raises(ArchcalcError, match="please report"):
        written(text)


def test_a_mistake_of_the_translation_is_no_error(monkeypatch):
    text = spec("add(conv(4, 1), conv(4, 1)) | relu")

    def fail(*_):
        raise KeyError("name")

    monkeypatch.setattr("archcalc.codegen.Program", fail)
    assert_same_values(written(text), parse(text))


def test_source_can_do_nothing_while_it_is_checked(tmp_path):
    target = tmp_path / "made"
    for evil in (f"open({str(target)!r}, 'w')", f"__import__('os').mkdir({str(target)!r})"):
        assert not is_right(f"{HEAD}{evil}\n" + GRAPH.format(MODULES, "return x"), parse(SMALL))
    assert not target.exists()


# Random ones, with few names, which therefore clash

NAMES = ["i", "j", "_", "w", "n", "channels", "height", "branch", "x", "k", "index", "nn", "branches"]


class Drawn:
    """A random spec."""

    def __init__(self, seed):
        self.random = random.Random(seed)
        names = {self.random.choice(NAMES): self.random.randint(1, 4) for _ in range(self.random.randint(0, 3))}
        lists = {key: [self.random.randint(1, 4) for _ in range(self.random.randint(1, 5))] for key in ("ks", "cs")}
        self.lists = list(lists)
        self.blocks = []
        own = [self.block(label, list(names)) for label in self.random.sample(["unit", "cell", "branch1"], 2)]
        layers = " | ".join(self.step(list(names), 0) for _ in range(self.random.randint(1, 3)))
        self.text = spec(layers, ", ".join(f"{k}: {v}" for k, v in {**names, **lists}.items()), ", ".join(own))

    def block(self, label, names):
        own = self.random.sample(NAMES, self.random.randint(1, 2))
        body = " | ".join(self.step(names + own, 1) for _ in range(self.random.randint(1, 3)))
        self.blocks.append((label, len(own)))
        return f"'{label}({', '.join(own)})': ['{body}']"

    def number(self, names):
        number = self.random.choice([*names, *names, "1", "2", "3"])
        other = self.random.choice([*names, "2"])
        return f"min(6, {self.random.choice([number, number, f'{number} * {other}', f'{number} + {other}'])})"

    def step(self, names, depth):
        size = self.number(names)
        kinds = [self.layer] if depth > 3 else [self.layer, self.layer, self.chain, self.loop, self.join, self.nested]
        return self.random.choice(kinds)(names, depth + 1, size)

    def layer(self, names, depth, size):
        return self.random.choice([f"conv({size}, 1)", f"conv(in_channels + {size}, 1)", "relu", "batchnorm"])

    def chain(self, names, depth, size):
        steps = f"{self.step(names, depth)} | {self.step(names, depth)}"
        return f"{self.random.choice([size, '2', '4'])} * ({steps})"

    def loop(self, names, depth, size):
        own = self.random.choice(NAMES)
        through = self.random.choice(["range(3)", f"range(1, {size} + 1)", "[1, 2, 3]", *self.lists])
        test = self.random.choice(["", "", f" if {own} > 1"])
        return f"chain({self.step([*names, own], depth)} for {own} in {through}{test})"

    def join(self, names, depth, size):
        kind = self.random.choice(["concat({0}, {1})", "add({0} | conv({2}, 1), conv({2}, 1))"])
        return kind.format(self.step(names, depth), self.step(names, depth), size)

    def nested(self, names, depth, size):
        if not self.blocks:
            return self.layer(names, depth, size)
        label, count = self.random.choice(self.blocks)
        return f"{label}({', '.join(self.number(names) for _ in range(count))})"


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
            assert_same_values(written(text), graph)
            checked += 1
    assert checked >= 3
