"""PyTorch source of labels as arguments and of shared weights: in blocks, and equal to `build` in values."""

import os
import subprocess
import sys

import pytest
from support.source_runs import assert_same_values
from support.zoo import network
from test_sharing_weights import GRAPHS, SPECS

from archcalc import parse
from archcalc.codegen import export, pytorch_source
from archcalc.codegen.trees import Unstructured
from archcalc.pytorch import validate_source
from archcalc.spec.network_spec import parse_spec

UP = """
class Up(nn.Module):
    \"\"\"Channels: in_channels → n.\"\"\"

    def __init__(self, in_channels, n, skip_channels):
        super().__init__()
        self.upsampled = nn.ConvTranspose2d(in_channels, n, 2, stride=2)
        self.conv = nn.Sequential(nn.Conv2d(skip_channels + n, n, 3, padding=1), nn.ReLU(inplace=True))

    def forward(self, x, skip):
        upsampled = self.upsampled(x)
        x = torch.cat([skip, upsampled], dim=1)
        return self.conv(x)
"""
HEADER = "name: net\ninput: [3, 8, 8]\n"
IN_BLOCKS = {
    "a tower that adds": (
        "layers:\n  - tower: add(conv(3, 3, padding=1), identity) | relu\n  - again(tower)\n  - conv(2, 1)\n",
        "class Tower(nn.Module)", "x = self.tower(self.tower(x))\n",
    ),
    "a tower in a block": (
        "blocks:\n  twice(n):\n    - one: conv(in_channels, 3, padding=1)\n    - relu | again(one) | conv(n, 1)\n"
        "layers: [twice(3), twice(3)]\n",
        "x = self.one(x)\n        x = self.one(self.relu(x))\n",
    ),
    "labels of one name": (
        "blocks:\n  one:\n    - a: conv(in_channels, 1)\n    - again(a)\n"
        "layers:\n  - a: conv(3, 1)\n  - one\n  - again(a)\n",
        "self.a",
    ),
    "a label that is passed on": (
        "blocks:\n  inner(y): ['add(identity, use(y) | conv(4, 1))', 'relu']\n"
        "  outer(x): ['conv(4, 1)', 'inner(x)', 'conv(4, 1)']\n"
        "layers:\n  - a: conv(5, 1)\n  - outer(a)\n  - outer(a)\n",
        "def forward(self, x, x_):",
    ),
    "a loop": (
        "params: {n: 3}\nblocks:\n  mix(memory): ['add(conv(4, 1), use(memory))', 'relu']\n"
        "layers:\n  - a: conv(4, 1)\n  - loop: n * mix(a)\n  - conv(2, 1)\n",
        "for layer in self.loop:\n            x = layer(x, a)\n",
    ),
    "a tensor and a param of one name": (
        "params: {skip: 4}\nblocks:\n  mix(skip): ['add(conv(4, 1), use(skip))', 'relu']\n"
        "layers:\n  - a: conv(skip, 1)\n  - mix(a)\n  - conv(skip, 1)\n",
        "def forward(self, x, skip):",
    ),
    "a weight of a table": (
        "layers:\n  - flatten\n  - table: linear(192)\n  - relu\n  - linear(192, weight=table)\n",
        "self.linear(x, self.table.weight)",
    ),
}  # fmt: skip
FLAT = {
    "a weight that is not alone": "- flatten\n  - table: relu | linear(192)\n  - linear(192, weight=table)",
    "other channels": "- pool: maxpool(2)\n  - conv(4, 1)\n  - again(pool)",
    "a loop that changes the channels": "- a: conv(3, 1)\n  - 3 * grow(a)",
    "among other layers of a loop": "- a: conv(3, 1)\n  - 2 * (conv(6, 1) | grow(a) | conv(3, 1))",
}
GROW = "blocks:\n  grow(old): ['concat(identity, use(old))', 'relu']\n"


def in_blocks(text):
    graph = parse(text)
    assert_same_values(pytorch_source(graph), graph)
    return export.in_blocks(graph, parse_spec(text), graph.name)


# Written layer by layer, by a step that runs again: with a tied weight inside, in a loop, or with an input's label.
LAYER_BY_LAYER = {"tied again", "normalized", "crossed"}


@pytest.mark.parametrize("name", sorted({*SPECS} - LAYER_BY_LAYER))
def test_each_is_in_blocks(name):
    assert export.in_blocks(GRAPHS[name], parse_spec(SPECS[name]), GRAPHS[name].name)


@pytest.mark.parametrize("name", IN_BLOCKS)
def test_in_blocks(name):
    layers, *parts = IN_BLOCKS[name]
    written = in_blocks(HEADER + layers)
    for part in parts:
        assert part in written


def test_it_looks_as_a_person_would_write_it():
    assert UP in pytorch_source(GRAPHS["decoder"])


@pytest.mark.parametrize("name", FLAT)
def test_what_blocks_cannot_express_is_right_layer_by_layer(name):
    with pytest.raises(Unstructured):
        in_blocks(f"{HEADER}{GROW}layers:\n  {FLAT[name]}\n")


@pytest.mark.parametrize("name", ["transformer-base", "gpt2"])
def test_transformers(name):
    source = pytorch_source(network(name))
    assert source.count("class ") > 3
    assert validate_source(network(name), source).differences == ()
    wrong = source.replace("(x, self.table.weight)", "(x, self.table.weight * 1)")
    assert validate_source(network(name), wrong).differences


def test_the_text_does_not_depend_on_the_hashes_of_names():
    code = "import archcalc.codegen as c; print(c.pytorch_source(__import__('archcalc').load('mobilenet-v2')))"
    runs = []
    for seed in "13":
        variables = {**os.environ, "PYTHONHASHSEED": seed}
        runs.append(subprocess.run([sys.executable, "-c", code], env=variables, capture_output=True, check=True))
    assert runs[0].stdout == runs[1].stdout
    assert b"class MobileNetV2" in runs[0].stdout
