"""Run generated PyTorch source by itself, and check it against `archcalc.pytorch.build`."""

import ast

import torch

from archcalc.pytorch import build, validate_source
from archcalc.pytorch.inputs import random_inputs
from archcalc.pytorch.network import ends_of
from archcalc.pytorch.source_proof import run_source
from support.torch_seed import seed_torch

IMPORTS = {"torch", "math"}  # what the source may import


def run(source):
    """Return the network's class, from its text alone."""
    tree = ast.parse(source)
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]
    assert {getattr(node, "module", None) or node.names[0].name for node in imports} <= IMPORTS
    assert "archcalc" not in ast.unparse(tree.body[1:])  # after the docstring
    return run_source(source)


def made(source, **arguments):
    """Return the network on the meta device."""
    with torch.device("meta"):
        return run(source)(**arguments)


def states(network):
    """Return the shapes of the parameters, and of all values in the state, in order."""
    return [p.shape for p in network.parameters()], [value.shape for value in network.state_dict().values()]


def carrying(source):
    """Return the docstring's line that loads weights, as a function of `model` and `other`."""
    (line,) = [line for line in ast.get_docstring(ast.parse(source)).splitlines() if "load_state_dict" in line]

    def carry(model, other):
        exec(line.strip(), {"model": model, "other": other})  # what is tested

    return carry


# By values


def assert_same_values(source, graph, carry=None):
    """Raise AssertionError unless both have equal outputs for equal weights, in evaluation and in training."""
    seed_torch(0)
    built, own = build(graph), run(source)()
    with torch.no_grad():
        for value in built.state_dict().values():
            if value.is_floating_point():
                value.add_(torch.rand_like(value) / 8)  # running statistics and biases that are no longer 0 or 1
    (carry or carrying(source))(own, built)
    images = random_inputs(graph, 2)
    for training in (False, True):
        with torch.set_grad_enabled(training):
            expected, given = (seeded(network.train(training), *images) for network in (built, own))
        assert isinstance(given, tuple) == isinstance(expected, tuple)
        _assert_equal(ends_of(expected), ends_of(given))
    _assert_equal(built.state_dict().values(), own.state_dict().values())  # running statistics
    total = sum(value.sum() for value in ends_of(given))
    if total.requires_grad:
        total.backward()  # raises if something that backward needs was overwritten


def _assert_equal(expected, given):
    for left, right in zip(expected, given, strict=True):
        assert torch.equal(left.nan_to_num(), right.nan_to_num())


def seeded(network, *images):
    """Return the output of a network; dropout and similar layers draw equal numbers each time."""
    seed_torch(1)
    return network(*[image.clone() for image in images])


# By operations


def assert_same_operations(source, graph):
    """Raise AssertionError, with the layer, unless both run the same operations, in evaluation and in training."""
    run(source)
    for check in validate_source(graph, source).checks:
        assert check.equal, f"{check.layer or 'the network'} {check.figure}: {check.expected}, not {check.measured}"
