"""Generated source of the zoo: it is what `archcalc.pytorch.build` makes, and looks as a person would write it."""

import ast
import inspect
import re

import pytest
import torch
from click.testing import CliRunner
from support.counted_calls import times
from support.golden_files import check_golden
from support.source_runs import assert_same_operations, assert_same_values, carrying, made, run
from support.zoo import FAMILIES
from torch import nn

from archcalc import codegen, load, parse
from archcalc.catalog import spec_to_expand
from archcalc.cli import cli
from archcalc.codegen import export, pytorch_source
from archcalc.codegen.format import expression, text
from archcalc.codegen.names import MODULE, class_name
from archcalc.codegen.own_layers import FILES, FOLDER, PLAINER
from archcalc.codegen.trees import simplified
from archcalc.pytorch import build, validate_source
from archcalc.spec.expansion import expand

pytestmark = pytest.mark.usefixtures("quiet_and_alone")


@pytest.mark.parametrize("name", FAMILIES)
def test_each_family(name):
    graph = load(name)
    source = pytorch_source(load(name))
    assert export.in_blocks(graph, spec_to_expand(graph.origin), graph.origin.network) in source
    assert max(map(len, source.splitlines())) <= 120
    assert_same_operations(source, graph)


VALUES = [
    ("resnet18", {"size": 64, "classes": 10}, None),
    ("resnet50", {"size": 64, "depths": "[1, 2, 1, 2]"}, None),
    ("resnet50", {"size": 64, "late": True}, None),
    ("resnet34", {"size": 32, "shortcut": "project_all"}, None),
    ("torchvision/resnet50", {"size": 32}, None),
    ("preresnet164", {"n": 2}, None),
    ("wrn-40-2-b131", {"n": 1}, None),
    ("resnext50-32x4d", {"size": 32}, None),
    ("densenet121", {"size": 32}, None),
    ("squeezenet-bypass", {"size": 64}, None),
    ("squeezenet-complex-bypass", {"size": 64}, None),
    ("vgg11", {"size": 32}, None),
    ("googlenet", {}, (3, 96, 96)),
    ("torchvision/googlenet", {}, (3, 64, 64)),
    ("bn-inception", {"multiplier": 8}, (3, 64, 64)),
    ("stochastic-depth-110", {"n": 2}, None),
    ("mobilenet-v2-0.35", {"size": 32}, None),
    ("mobilenet-v3-large", {"size": 32, "width": 0.5}, None),
    ("torchvision/mnasnet0_5", {"size": 32}, None),
    ("efficientnet-b1", {"size": 32, "width": 0.5}, None),
    ("regnetx-200mf", {"size": 32}, None),
    ("convnext-tiny", {"size": 32, "width": 8}, None),
    ("shufflenet-v2-0.5", {"size": 32}, None),
]


@pytest.mark.parametrize(("name", "params", "shape"), VALUES, ids=str)
def test_values(name, params, shape):
    graph = load(name, input=shape, **params)
    assert_same_values(pytorch_source(graph), graph)


# A mistake is noticed, and the layer named where it is

STRIDED = """            ConvBN(in_channels, width, 1, stride=stride),
            nn.ReLU(inplace=True),
            ConvBN(width, width, 3),
"""
MISTAKES = [
    ("googlenet", "self.branch3x3(x), self.branch5x5(x)", "self.branch5x5(x), self.branch3x3(x)", "3a.concat"),
    ("resnet50", STRIDED, STRIDED.replace(", stride=stride", "").replace(", 3)", ", 3, stride)"),
     "stage2.0.body.conv1"),
    ("resnet50", "nn.ReLU(inplace=True),\n            ConvBN(width, width, 3)", "ConvBN(width, width, 3)",
     "stage1.0.body.relu1"),
    ("resnet50", "self.body(x) + self.skip(x)", "self.skip(x) + self.body(x)", "stage1.0.add"),
    ("resnet50", "nn.MaxPool2d(3,", "nn.AvgPool2d(3,", "stem.maxpool"),
    ("resnet50", "kernel // 2, bias=False", "kernel // 2, bias=False, padding_mode='reflect'", "stem.conv"),
    ("resnet50", "kernel // 2, bias=False", "kernel // 2", "stem.batchnorm"),
    ("resnet50", "ConvBN(width, 4 * width, 1)", "ConvBN(width, 4 * width, 3)", "stage1.0.body.conv3"),
    ("resnet50", "nn.BatchNorm2d(channels)", "nn.BatchNorm2d(channels, eps=1e-3)", "stem.batchnorm"),
    ("resnet50", "nn.BatchNorm2d(channels)", "nn.BatchNorm2d(channels, momentum=0.2)", "stem.batchnorm"),
    ("resnet50", "nn.Linear(2048, classes)", "nn.Linear(2048, classes), nn.Softmax(dim=1)", "the network"),
    ("resnet50", "ConvBN(width, width, 3)", "ConvBN(width, width, 3, stride)", "stage2.0.body.conv2"),
    ("googlenet", "return x, head1, head2", "return x, head2, head1", "the network"),
    ("densenet121", "torch.cat([x, self.new(x)]", "torch.cat([self.new(x), x]", "block1.0.concat"),
    ("densenet121", "self.new(x)", "self.new(x.relu_())", "block1.0.new.batchnorm1"),  # overwrites what it hands on
    ("stochastic-depth-110", "else 1 - self.p", "else self.p", "stage1.0.body.stochastic_depth"),
    ("fractalnet-20", ">= self.p", ">= 5 * self.p", "block1.0.deep.0.mean"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "right", "wrong", "layer"), MISTAKES)
def test_a_mistake_is_noticed(name, right, wrong, layer):
    source = pytorch_source(load(name))
    assert right in source
    differences = validate_source(load(name), source.replace(right, wrong)).differences
    assert differences[0].layer == ("" if layer == "the network" else layer)


def test_what_is_right_passes():
    source = pytorch_source(load("resnet50"))
    for right in ("nn.ReLU()", "nn.ReLU(True)"):  # where it works makes no difference
        assert_same_operations(source.replace("nn.ReLU(inplace=True)", right), load("resnet50"))


def test_the_command_names_the_layer(monkeypatch):
    plain = codegen.pytorch_source
    done = CliRunner().invoke(cli, ["validate", "resnet18", "--source"])
    assert done.exit_code == 0, done.output
    monkeypatch.setattr(codegen, "pytorch_source", lambda graph: plain(graph).replace("nn.MaxPool2d", "nn.AvgPool2d"))
    done = CliRunner().invoke(cli, ["validate", "resnet18", "--source"])
    assert done.exit_code == 1
    assert "stem.maxpool" in done.output
    assert "AvgPool2d(kernel_size=3" in done.output


def test_the_commands_load_a_network_once():
    for arguments in (["validate", "lenet5", "--source"], ["export", "lenet5", "--format", "pytorch"]):
        assert times(expand, lambda run=arguments: CliRunner().invoke(cli, run, catch_exceptions=False)) == 1


def test_the_command_finds_networks_of_files(tmp_path):
    (tmp_path / "net.yaml").write_text("name: mine\ninput: [3, 8, 8]\nlayers:\n  - conv(4, 3) | relu\n")
    done = CliRunner().invoke(cli, ["validate", str(tmp_path / "net.yaml"), "resnet18", "--source"])
    assert done.exit_code == 0, done.output
    assert "mine" in done.output


def test_the_command_says_what_it_cannot_run(monkeypatch):
    monkeypatch.setattr(codegen, "pytorch_source", lambda *_: "class A:\n    def __init__(self, x):\n        pass\n")
    done = CliRunner().invoke(cli, ["validate", "resnet18", "--source"])
    assert done.exit_code == 1
    assert "missing 1 required positional argument" in done.output
    assert CliRunner().invoke(cli, ["validate", "resnet18", "--source", "--fold-bn"]).exit_code == 2


def test_weights_that_are_not_carried_over_are_noticed():
    graph = load("blocks/residual-basic")
    with pytest.raises(AssertionError):
        assert_same_values(pytorch_source(graph), graph, carry=lambda model, other: None)


def test_the_line_that_carries_weights_over():
    source = pytorch_source(load("googlenet"))
    model, other = made(source), build(load("googlenet"), "meta")
    carrying(source)(model, other)  # raises where names or shapes do not go together
    assert "model.load_state_dict(dict(zip(model.state_dict(), other.state_dict().values())))" in source


def test_what_is_written_more_plainly_is_there():
    text = "".join((FOLDER / file).read_text(encoding="utf-8") for file in FILES)
    assert text.count(PLAINER[0]) == 1


# How it looks


@pytest.mark.parametrize("name", ["resnet50", "googlenet", "densenet121", "blocks/residual-bottleneck"])
def test_golden(name):
    check_golden(f"codegen/{name.replace('/', '_').replace('-', '_')}.py", pytorch_source(load(name)))


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
    source = pytorch_source(graph)
    assert_same_values(source, graph)
    assert not {"class Act", "class After", "nn.Identity", "self.pool1"} & set(re.split(r"[(:=]| =", source))
    for line in [
        "class Plain(nn.Sequential):",
        "class Residual(nn.Module):",
        '    """Channels: in_channels → channels."""',
        "            nn.ReLU(inplace=True),",
        "class Choosing(nn.Sequential):",
        "    def __init__(self, width=4):",
        "        self.pool2 = nn.MaxPool2d(2)",
    ]:
        assert line in source.splitlines(), source
    assert source.count("def forward") == 2  # of what branches


@pytest.mark.parametrize("name", ["resnet50", "googlenet", "densenet121", "wrn-28-10", "inception-v3", "vgg16"])
def test_channels_are_told_as_they_are(name):
    network = run(pytorch_source(load(name)))
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


def test_only_what_is_used():
    source = pytorch_source(load("resnet20"))
    tree = ast.parse(source)
    defined = {node.name for node in tree.body if isinstance(node, ast.ClassDef | ast.FunctionDef)}
    assert {name for name in defined if source.count(f"{name}(") < 2} == {"ResNet20"}
    assert "PadShortcut" in defined
    assert "DropPath" not in source
    assert "import torch\n" not in source


BROKEN = [
    ("a + (b if c else d) + (e - f)", ["a", "+ (b if c else d)", "+ (e - f)"]),
    ("(a + b) * (c + d) * e", ["(a + b)", "* (c + d)", "* e"]),
    ("(a if b else c) if (d if e else f) else g", ["(a if b else c)", "if (d if e else f)", "else g"]),
    ("[a + b for i, a in c if a for b in d]", ["a + b", "for i, a in c if a", "for b in d"]),
    ("f(a, b=(c, d))", ["a,", "b=(c, d),"]),
    ("f((a for a in b))", ["a for a in b"]),
]


@pytest.mark.parametrize(("written", "parts"), BROKEN)
def test_long_expressions_are_broken_at_their_parts(written, parts, monkeypatch):
    monkeypatch.setattr("archcalc.codegen.format.WIDTH", len(written) + 1)
    lines = expression("x = ", ast.parse(written, mode="eval").body, "", "")
    assert [line.strip() for line in lines[1:-1]] == parts
    joined = "\n".join(lines)
    assert ast.dump(ast.parse(joined)) == ast.dump(ast.parse(f"x = {written}"))


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
    assert all(MODULE.fullmatch(name) for name in dir(nn.Sequential()) if not name.startswith("_"))


@pytest.mark.parametrize(
    ("written", "wanted"),
    [
        ("stride // stride", "1"), ("x if 2 > 1 else y", "x"), ("0 + a", "a"), ("6 / 3", "2"),
        ("(4, 5)[1] + max(2, 3)", "8"), ("2 ** (c - 1) ** 2", "2 ** (c - 1) ** 2"), ("2 ** c", "2 ** c"),
        ("'same'", '"same"'), ("x // 1", "x // 1"), ("(1,) * 100000", "(1,) * 100000"), ("1 // 0", "1 // 0"),
        ("1 if x == y else 2", "1 if x == y else 2"), ("x if x == y else y", "y"), ("x if x != y else y", "x"),
        ("x if a and x == y else y", "y"), ("x if a or x == y else y", "x if a or x == y else y"),
        ("y // 2 + (x - y // 2)", "x"), ("y + (x - z)", "y + (x - z)"),
    ],
)  # fmt: skip
def test_expressions_are_simplified_as_a_person_would(written, wanted):
    class Simplify(ast.NodeTransformer):
        def generic_visit(self, node):
            made = super().generic_visit(node)
            return simplified(made) if isinstance(made, ast.expr) else made

    assert text(Simplify().visit(ast.parse(written, mode="eval").body)) == wanted
