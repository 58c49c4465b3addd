"""In place only where a correct program can: by rule, and PyTorch agrees when the same networks run."""

import pytest
import torch
from support.torch_seed import seed_torch

from archcalc import analyze, load, parse
from archcalc.analysis.memory_plan import in_place
from archcalc.pytorch.network import module_of

HEAD = "name: t\ninput: [4, 6, 6]\nlayers:\n"
CASES = {  # layers: operators that work in place at inference, in training
    "  - conv(4, 1) | relu | conv(4, 1)\n": (["relu"], ["relu"]),
    "  - relu | conv(4, 1)\n": ([], []),  # the image
    "  - conv(4, 1) | identity | relu\n": (["relu"], ["relu"]),  # through a view
    "  - conv(4, 1)\n  - add(body=relu | conv(4, 1), skip=identity)\n": (["add"], ["add"]),  # the skip reads later
    "  - conv(4, 1)\n  - add(skip=identity, body=relu | conv(4, 1))\n": (["add"], ["add"]),  # relu read it before
    "  - conv(4, 1)\n  - add(body=conv(4, 1) | relu, skip=identity)\n": (
        ["relu", "add"],
        ["relu"],
    ),  # relu's output
    "  - conv(4, 1)\n  - add(body=batchnorm, skip=conv(4, 1))\n  - relu\n": (["add", "relu"], ["add", "relu"]),
    "  - conv(4, 1)\n  - add(inplace=False, body=batchnorm, skip=conv(4, 1))\n  - relu\n": (["relu"], ["relu"]),
    "  - a: conv(4, 1)\n  - concat(x=conv(4, 1), y=relu)\n": (["relu"], []),  # the convolution keeps its input
    "  - a: conv(4, 1) | relu\n  - conv(4, 1)\n  - add(x=use(a), y=identity)\n": (["relu", "add"], ["relu"]),
    "  - a: conv(4, 1)\n  - b: relu\n  - concat(x=use(a), y=use(b))\n": ([], []),
    "  - conv(4, 1) | sigmoid\n  - relu | maxpool(2) | relu\n": (["relu", "relu"], ["relu"]),
    "  - conv(4, 1) | leaky_relu(inplace=True) | relu\n": (["leaky_relu", "relu"], ["leaky_relu"]),  # keeps its result
    "  - conv(4, 1) | dropout(0.5, inplace=True)\n": ([], ["dropout"]),
    "  - conv(4, 1) | dropout(1, inplace=True)\n": ([], ["dropout"]),
    "  - conv(4, 1) | dropout(0, inplace=True)\n": ([], []),  # gives its input, which it leaves as it is
    "  - conv(4, 1) | sigmoid | dropout(0, inplace=True) | relu\n": (["relu"], []),
    "  - conv(4, 1)\n  - add(x=identity, y=conv(4, 1), z=identity)\n": ([], []),  # it would add the sum to itself
    "  - conv(4, 1)\n  - multiply(x=identity, y=conv(4, 1)) | relu\n": (["relu"], ["relu"]),
    # refused, silu runs out of place and keeps what the sum would overwrite
    "  - conv(4, 1)\n  - add(skip=identity, body=silu(inplace=True) | conv(4, 1))\n": (["add"], []),
    "  - conv(4, 1)\n  - side: {feature: identity}\n  - relu\n": (["relu"], []),  # in training it is asked for
}


def overwriting(graph, training):
    return [node.op.name for node, yes in zip(graph.nodes, in_place(graph, training), strict=True) if yes]


def run(graph, overwrites):
    """The network's output and, in training, the gradients of its weights; in place where `overwrites` says so."""
    seed_torch(0)
    image = torch.randn(2, *graph.input)
    values, parameters = [], []
    for node, yes in zip(graph.nodes, overwrites, strict=True):
        module = module_of(node.op, node.x)
        if hasattr(module, "inplace"):
            module.inplace = yes  # the sum, the activations and dropout
        parameters += module.parameters()
        values.append(module(*([values[i] for i in node.inputs] or [image.clone()])))
    values[graph.result].square().sum().backward()
    return [values[graph.result].detach(), *(p.grad for p in parameters)]


@pytest.mark.parametrize("layers", CASES)
def test_by_rule(layers):
    graph = parse(HEAD + layers)
    assert (overwriting(graph.without_sides(), False), overwriting(graph, True)) == CASES[layers]


@pytest.mark.parametrize("layers", [layers for layers in CASES if "dropout" not in layers])
def test_pytorch_computes_the_same_in_place(layers):
    graph = parse(HEAD + layers)
    kept, fresh = run(graph, in_place(graph, training=True)), run(graph, [False] * len(graph.nodes))
    assert all(torch.equal(a, b) for a, b in zip(kept, fresh, strict=True))


def test_this_would_notice():
    graph = parse(HEAD + "  - conv(4, 1)\n  - add(body=conv(4, 1) | relu, skip=identity)\n")
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        run(graph, [node.op.overwrites(True) for node in graph.nodes])


def test_what_cannot_be_in_place_is_written():
    report = analyze(parse(HEAD + "  - conv(4, 1)\n  - add(skip=identity, body=relu | conv(4, 1))\n"))
    assert [layer.activations for layer in report.layers] == [144, 144, 0, 144, 144, 0]


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("name", ["vgg16", "resnet50", "googlenet", "densenet121", "alexnet"])
def test_the_zoo_is_written_so_that_all_can(name, training):
    graph = load(name) if training else load(name).without_sides()
    wanted = [node.op.overwrites(training) for node in graph.nodes]
    assert in_place(graph, training) == wanted
