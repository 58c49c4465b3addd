"""Generated source of every network of the zoo gives what `archcalc.pytorch.build`'s module gives."""

import pytest
from generated import assert_same_operations, assert_same_values, carrying, made

from archcalc import catalog, load
from archcalc.codegen import pytorch_source
from archcalc.codegen.flat import Flat
from archcalc.codegen.layers import FILE, PLAINER
from archcalc.pytorch import build

# Small enough to be run; of all others the operations are compared.
SMALL = {name for name in catalog() if name.startswith(("blocks/", "d2l/", "cs231n/inception"))}
SMALL |= {"lenet5", "resnet20", "plain20", "wrn-40-1", "fractalnet-20", "fractalnet-20-deepest"}
SMALL |= {"nin-cifar10", "densenet-40-12", "alexnet", "inception-v3"}  # the last two want their own size


pytestmark = pytest.mark.usefixtures("quiet_and_alone")


@pytest.fixture
def in_blocks(monkeypatch):
    """No network may be written layer by layer, which a mistake in the translation of blocks would lead to."""

    def refuse(self):
        raise AssertionError(f"{self.title} is written layer by layer")

    monkeypatch.setattr(Flat, "source", refuse)


@pytest.mark.parametrize("name", sorted(catalog()))
def test_the_zoo(name, in_blocks):
    source, graph = pytorch_source(name, {}), load(name)
    assert max(map(len, source.splitlines())) <= 120
    assert_same = assert_same_values if name in SMALL else assert_same_operations
    assert_same(source, graph)


def test_layer_by_layer_would_be_noticed(in_blocks, tmp_path):
    path = tmp_path / "flat.yaml"
    text = "name: flat\ninput: [3, 8, 8]\nblocks:\n  again(n):\n    - n * add(use(top), identity)\n"
    path.write_text(f"{text}layers:\n  - top: conv(3, 3, padding=1)\n  - again(1) | relu | again(2)\n")
    with pytest.raises(AssertionError, match="Flat is written layer by layer"):
        pytorch_source(str(path), {})


# Networks that are run with fewer blocks, or on a smaller image

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
]


@pytest.mark.parametrize(("name", "params", "shape"), VALUES, ids=str)
def test_values(name, params, shape):
    assert_same_values(pytorch_source(name, params, shape), load(name, input=shape, **params))


# The comparison can fail

STRIDED = """            ConvBN(in_channels, width, 1, stride),
            nn.ReLU(inplace=True),
            ConvBN(width, width, 3),
"""
MISTAKES = [
    ("googlenet", "self.branch3x3(x), self.branch5x5(x)", "self.branch5x5(x), self.branch3x3(x)"),  # swapped branches
    ("resnet50", STRIDED, STRIDED.replace(", stride", "").replace(", 3)", ", 3, stride)")),
    ("resnet50", "nn.ReLU(inplace=True),\n            ConvBN(width, width, 3)", "ConvBN(width, width, 3)"),
    ("resnet50", "ConvBN(width, width, 3),\n            nn.ReLU(inplace=True),", "ConvBN(width, width, 3),"),
    ("resnet50", "self.body(x) + self.skip(x)", "self.skip(x) + self.body(x)"),
    ("resnet50", "nn.MaxPool2d(3,", "nn.AvgPool2d(3,"),
    ("resnet50", "kernel // 2, bias=False", "kernel // 2, bias=False, padding_mode='reflect'"),
    ("resnet50", "nn.BatchNorm2d(channels)", "nn.BatchNorm2d(channels, eps=1e-3)"),
    ("resnet50", "nn.BatchNorm2d(channels)", "nn.BatchNorm2d(channels, momentum=0.2)"),  # in training alone
    ("googlenet", "return x, head1, head2", "return x, head2, head1"),
    ("densenet121", "torch.cat([x, self.new(x)]", "torch.cat([self.new(x), x]"),
    ("densenet121", "self.new(x)", "self.new(x.relu_())"),  # overwrites what it hands on
    ("stochastic-depth-110", "else 1 - self.p", "else self.p"),
    ("fractalnet-20", ">= self.p", ">= 5 * self.p"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "right", "wrong"), MISTAKES)
def test_a_mistake_is_noticed(name, right, wrong):
    source = pytorch_source(name, {})
    assert right in source
    with pytest.raises(AssertionError, match="computes otherwise"):
        assert_same_operations(source.replace(right, wrong), load(name))


def test_what_is_right_passes():
    source = pytorch_source("resnet50", {})
    for right in ("nn.ReLU()", "nn.ReLU(True)"):  # where it works makes no difference
        assert_same_operations(source.replace("nn.ReLU(inplace=True)", right), load("resnet50"))


def test_weights_that_are_not_carried_over_are_noticed():
    graph = load("blocks/residual-basic")
    with pytest.raises(AssertionError):
        assert_same_values(pytorch_source(graph.name, {}), graph, carry=lambda model, other: None)


def test_the_line_that_carries_weights_over():
    source = pytorch_source("googlenet", {})
    model, other = made(source), build(load("googlenet"), "meta")
    carrying(source)(model, other)  # raises where names or shapes do not go together
    assert "model.load_state_dict(dict(zip(model.state_dict(), other.state_dict().values())))" in source


def test_what_is_written_more_plainly_is_there():
    text = FILE.read_text(encoding="utf-8")
    assert all(text.count(own) == 1 for own in PLAINER)
