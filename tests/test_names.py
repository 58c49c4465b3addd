"""Names of layers: what a person writes is kept, and in PyTorch no layer's weights come under another layer's name."""

import pytest
from support.random_graphs import networks, sweep

from archcalc import parse
from archcalc.pytorch import build, validate

HEAD = "name: net\ninput: [4, 8, 8]\n"


def names(made):
    return [node.name for node in made.nodes[1:]]


def assert_apart(graph):
    """Raise AssertionError if two nodes share a name, or a layer has the name of a group of layers."""
    found = [node.name for node in graph.nodes]
    groups = {name[:at] for name in found for at, sign in enumerate(name) if sign == "."}
    assert len(set(found)) == len(found)
    assert not groups & set(found)


def assert_in_pytorch(graph):
    """Raise AssertionError unless the module has each layer's weights under that layer's name, and all figures."""
    module = build(graph, "meta")
    tensors = [(node.name, {**node.weights(), **node.buffers()}) for node in graph.nodes]
    state = [f"{layer}.{tensor}" for layer, own in tensors for tensor in own]
    assert sorted(module.state_dict()) == sorted(state)
    assert validate(graph, "meta").differences == ()


BESIDE = {  # layers, and the names they get
    "a branch of layers beside two layers": (
        "- conv(4, 3, padding=1)\n- conv(4, 3, padding=1)\n- concat: {conv1: 'conv(4, 1) | relu', skip: identity}",
        "conv2 conv3 conv1.conv conv1.relu skip concat",
    ),
    "a branch of layers beside one layer": (
        "- add: {relu: 'conv(4, 1) | batchnorm', skip: identity}\n- relu",
        "relu.conv relu.batchnorm skip add relu1",
    ),
    "a branch beside branches without a name": (
        "- add(2 * conv(4, 1), 2 * conv(4, 1))\n- add: {branch2: 'conv(4, 1)', skip: identity}",
        "branch1.conv1 branch1.conv2 branch3.conv1 branch3.conv2 add1 branch2 skip add2",
    ),
    "a branch of one layer": ("- conv(4, 1)\n- add: {conv: relu, skip: identity}", "conv1 conv skip add"),
    "a branch of the join's name with a number": ("- 2 * add(add1=relu, x=identity)", "add11 x1 add2 add12 x2 add3"),
    "a side output": ("- side: {relu: flatten | linear(2)}\n- relu", "relu.flatten relu.linear relu1"),
    "side outputs without a name": (
        "- side: [flatten | relu, flatten | tanh]\n- side: {side1: flatten | relu}\n- relu",
        "side2.flatten side2.relu side3.flatten side3.tanh side1.flatten side1.relu relu",
    ),
    "a label and a branch": (
        "- up: relu | relu\n- concat: {skip: use(up), up: tanh | tanh}",
        "up.relu1 up.relu2 up1.tanh1 up1.tanh2 concat",
    ),
    "a branch of two joins": (
        "- add: {body: relu, skip: identity}\n- add: {body: relu, other: identity}",
        "body1 skip add1 body2 other add2",
    ),
    "a branch of two joins, and its number": (
        "- add: {body: relu, skip: identity}\n- add: {body: relu, body1: tanh | tanh}",
        "body2 skip add1 body3 body1.tanh1 body1.tanh2 add2",
    ),
    "a label, a branch and two layers": (
        "- relu: tanh\n- add: {relu: tanh | tanh, relu2: tanh}\n- relu | relu",
        "relu relu1.tanh1 relu1.tanh2 relu2 add relu3 relu4",
    ),
    "operators whose names end in a number": (
        "- 7 * relu\n- relu6",
        "relu1 relu2 relu3 relu4 relu5 relu7 relu8 relu6",
    ),
    "numbered names that meet": ("- 12 * relu\n- add(relu=relu6, relu6=relu6)", None),
}  # fmt: skip


@pytest.mark.parametrize("name", BESIDE)
def test_what_is_written_keeps_its_name_and_others_step_aside(name):
    layers, expected = BESIDE[name]
    made = parse(f"{HEAD}layers:\n{layers}\n")
    assert expected is None or names(made) == expected.split()
    assert_apart(made)
    assert_in_pytorch(made)


@pytest.mark.slow
def test_random_networks_have_names_apart():
    sweep(networks(clashing=True), lambda network: assert_apart(parse(network.spec())), 100)


@pytest.mark.usefixtures("quiet_and_alone")
def test_random_networks_agree_with_pytorch():
    sweep(networks(clashing=True), lambda network: assert_in_pytorch(parse(network.spec())), 40)
