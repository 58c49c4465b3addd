"""Generated PyTorch source: how it looks."""

import ast
import inspect
import re

import pytest
import torch
from generated import assert_same_values, run
from golden_files import check_golden
from torch import nn

from archcalc import load, parse
from archcalc.codegen import pytorch_source, source_of
from archcalc.codegen.naming import MODULE, class_name
from archcalc.codegen.symbols import fold, same, text
from archcalc.language import parse_spec


@pytest.mark.parametrize("name", ["resnet50", "googlenet", "densenet121", "blocks/residual-bottleneck"])
def test_golden(name):
    check_golden(f"codegen/{name.replace('/', '_').replace('-', '_')}.py", pytorch_source(name, {}))


CHOOSING = """
name: choosing
input: [3, 8, 8]
params: {part: plain, join: residual, at: [2], width: 4}
blocks:
  plain(channels):
    - conv(channels, 1) | act
  act:
    - relu
  after(n):
    - (1 if n in at else 0) * maxpool(2)
  residual(channels):
    - add:
        body: plain(channels) | plain(channels)
        skip: conv(channels, 1)
  grown:
    - concat:
        own: identity
        more: conv(in_channels, 1)
layers:
  - part1: part(width)
  - pool1: after(1)
  - part2: part(width) | part(width)
  - pool2: after(2)
  - join: join(width)
  - grown
"""


def test_it_looks_as_a_person_would_write_it():
    graph = parse(CHOOSING)
    source = source_of(graph, parse_spec(CHOOSING), graph.name)
    assert_same_values(source, graph)
    assert not {"def act", "def after", "nn.Identity", "self.pool1", "class Plain"} & set(re.split(r"[(:=]| =", source))
    for line in [
        "class Part(nn.Sequential):",  # what `part` names by default, since steps are called part1 and part2
        "class Residual(nn.Module):",
        '    """Channels: in_channels → channels."""',
        "            nn.ReLU(inplace=True),",
        '    """Channels: in_channels → 2 * in_channels."""',
        "class Choosing(nn.Sequential):",
        "    def __init__(self, width=4):",
        "        self.pool2 = nn.MaxPool2d(2)",
    ]:
        assert line in source.splitlines(), source
    assert source.count("def forward") == 2  # of what branches


@pytest.mark.parametrize("name", ["resnet50", "googlenet", "densenet121", "wrn-28-10", "inception-v3", "vgg16"])
def test_channels_are_told_as_they_are(name):
    network = run(pytorch_source(name, {}))
    told = [
        own for own in network.__init__.__globals__.values() if (getattr(own, "__doc__", "") or "").startswith("Chan")
    ]
    checked = set()

    def watched(cls, init):
        def construct(self, *args, **keywords):
            init(self, *args, **keywords)
            given = inspect.signature(init).bind(self, *args, **keywords)
            given.apply_defaults()
            self.register_forward_hook(lambda _, x, y: check(cls, given.arguments, x[0], y))

        return construct

    def check(cls, arguments, x, y):
        before, after = cls.__doc__.removeprefix("Channels: ").removesuffix(".").split(" → ")
        assert [x.shape[1], y.shape[1]] == [eval(text, dict(arguments)) for text in (before, after)]  # what is tested
        checked.add(cls)

    for cls in told:
        cls.__init__ = watched(cls, cls.__init__)
    with torch.device("meta"):
        network()(torch.empty(2, *load(name).input))
    assert checked == set(told) != set()


def test_channels_are_told_only_where_that_says_something():
    assert "Channels" not in pytorch_source("alexnet", {})
    tree = ast.parse(pytorch_source("preresnet164", {}))
    told = {node.name: ast.get_docstring(node) for node in tree.body if isinstance(node, ast.ClassDef)}
    assert told["Unit"] == "Channels: in_channels → 4 * width."
    assert told["Act"] is None  # keeps them
    assert told["PreResNet164"] is None


def test_only_what_is_used():
    source = pytorch_source("resnet20", {})
    tree = ast.parse(source)
    defined = {node.name for node in tree.body if isinstance(node, ast.ClassDef | ast.FunctionDef)}
    assert {name for name in defined if source.count(f"{name}(") < 2} == {"ResNet20"}
    assert "PadShortcut" in defined
    assert "DropPath" not in source
    assert "import torch\n" not in source


@pytest.mark.parametrize(
    ("network", "title"),
    [
        ("resnet50", "ResNet50"),
        ("squeezenet1.0", "SqueezeNet1_0"),
        ("wrn-28-10", "WRN28_10"),
        ("resnext50-32x4d", "ResNeXt50_32x4d"),
        ("preresnet164", "PreResNet164"),
        ("googlenet", "GoogLeNet"),
        ("conv_bn", "ConvBN"),
        ("none", "NetNone"),
        ("3-a", "Net3A"),
    ],
)
def test_names_of_classes(network, title):
    assert class_name(network) == title


def test_names_that_modules_have():
    assert {name for name in dir(nn.Sequential()) if not name.startswith("_")} <= MODULE


@pytest.mark.parametrize(
    ("written", "wanted"),
    [
        ("6 + g", "g + 6"), ("g + 6 + g", "2 * g + 6"), ("2 * g + g", "3 * g"), ("stride // stride", "1"),
        ("2 * growth // 2", "growth"), ("a + b + a", "a + b + a"), ("(1,) + depths + (1,)", "(1,) + depths + (1,)"),
        ("width * 4", "4 * width"), ("x if 2 > 1 else y", "x"), ("stride == 1 and 3 == 3", "stride == 1"),
        ("(4, 5)[1] + max(2, 3)", "8"), ("2 ** (c - 1) ** 2", "2 ** (c - 1) ** 2"),
        ("2 ** c", "2**c"), ("'same'", '"same"'),
    ],
)  # fmt: skip
def test_expressions_are_simplified_as_a_person_would(written, wanted):
    assert text(fold(ast.parse(written, mode="eval").body)) == wanted


def test_calls_of_units_are_never_the_same():
    node = ast.parse("f(x)", mode="eval").body
    assert same(node, ast.parse("f(x)", mode="eval").body)
    node.given = {}
    assert not same(node, ast.parse("f(x)", mode="eval").body)
