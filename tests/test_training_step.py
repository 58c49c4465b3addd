"""The arithmetic of a training step: which gradients it needs, what the optimizer does, and PyTorch's counter."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from support.counting_arithmetic import Counted
from support.operator_cases import CASES, case_id
from support.operator_values import BATCH, by_name, images, module
from support.torch_seed import seed_torch
from support.torch_warnings import lopsided_padding
from support.zoo import FAMILIES

from archcalc import analyze, load, parse
from archcalc.analysis.figures import FIGURES, STEP
from archcalc.analysis.optimizers import OPTIMIZERS, work_per_value
from archcalc.analysis.recipe import USUAL, is_frozen
from archcalc.analysis.report import Layer, Report
from archcalc.auditing.recipe_cost import with_cost
from archcalc.cli import cli
from archcalc.errors import ArchcalcError
from archcalc.graph.graph import Graph, Node
from archcalc.ops.convolution import Conv, ConvTranspose
from archcalc.pytorch.inputs import random_inputs
from archcalc.pytorch.measure import flop_counter
from archcalc.pytorch.meta_kernels import MetaKernels
from archcalc.pytorch.network import Network, ends_of
from archcalc.render.table import bytes_text


def trained(name: str, batch: int = 1, **recipe: Any) -> Report:
    return analyze(load(name), batch, mode="train", recipe=USUAL._replace(**recipe))


# against PyTorch's counter


def counted(graph: Graph, image_gradient: bool = False, frozen: Sequence[str] = ()) -> tuple[int, int]:
    """Return the multiply-accumulates that PyTorch counts of two images on meta, forward and backward."""
    with torch.device("meta"):
        network = Network(graph).train()
        images = random_inputs(graph, 2)
        images[0].requires_grad_(image_gradient)
    for node, made in zip(graph.nodes, network.nodes, strict=True):
        if node.op.joins and hasattr(made, "p"):
            made.p = 0
        if is_frozen(node.name, frozen):
            made.requires_grad_(False)
    with lopsided_padding(), MetaKernels(), flop_counter() as counter:
        output = network(*images)
        forward = counter.get_total_flops()
        sum([end.sum() for end in ends_of(output)]).backward()
    return forward // 2, (counter.get_total_flops() - forward) // 2


def dense(node: Node, macs: int) -> int:
    """Return the MACs of a convolution with a connection table as PyTorch runs it, with zeros for missing links."""
    table = getattr(node.op, "connections", None)
    return macs if table is None else macs // sum(map(len, table)) * node.x[0] * len(table)


def over(layer: Layer) -> int:
    """Return how often PyTorch's counter counts a gradient of weights: once for each group of a convolution."""
    return layer.node.op.groups if isinstance(layer.node.op, Conv | ConvTranspose) else 1


def expected(report: Report) -> tuple[int, int]:
    """Return the multiply-accumulates that PyTorch's counter should find, forward and backward."""
    forward = sum(dense(layer.node, layer.macs) for layer in report.layers)
    backward = [layer.backward_input_macs + layer.backward_weight_macs * over(layer) for layer in report.layers]
    return forward, sum(dense(layer.node, macs) for layer, macs in zip(report.layers, backward, strict=True))


@pytest.mark.parametrize("name", FAMILIES)
def test_macs_are_those_of_pytorch(name: str) -> None:
    assert counted(load(name)) == expected(trained(name, 2))


@pytest.mark.parametrize("name", ["resnext50-32x4d", "alexnet", "googlenet"])
def test_a_gradient_for_the_image_counts_as_in_pytorch(name: str) -> None:
    assert counted(load(name), image_gradient=True) == expected(trained(name, 2, image_gradient=True))


FROZEN = {
    "resnet18": ("stem", "stage1"),  # the first layers
    "resnext50-32x4d": ("stage2", "stage4.0"),  # layers in between: gradients of their inputs remain
    "alexnet": ("fc6", "fc8"),
    "googlenet": ("conv1", "conv2.conv1", "3a", "4a.3x3", "head1"),
    "densenet-40-12": ("stem", "block1"),
}


@pytest.mark.parametrize("name", FROZEN)
def test_frozen_layers_compute_what_pytorch_computes(name: str) -> None:
    frozen = FROZEN[name]
    found = counted(load(name), frozen=frozen)
    assert found == expected(trained(name, 2, frozen=frozen))
    assert found[1] < counted(load(name))[1]


def test_the_comparison_would_notice(monkeypatch: pytest.MonkeyPatch) -> None:
    name = "resnext50-32x4d"
    found = counted(load(name))
    assert found == expected(trained(name, 2)) != expected(trained(name, 2, image_gradient=True))
    monkeypatch.setitem(globals(), "over", lambda layer: 1)
    assert found != expected(trained(name, 2))


def test_resnet18_as_pytorch_tests_it() -> None:
    """The FLOPs of torch's test_flop_counter.py, with a gradient for the image, and those without."""
    assert 2 * trained("torchvision/resnet18").totals.step_macs == 10_648_412_160
    assert 2 * trained("torchvision/resnet18", image_gradient=True).totals.step_macs == 10_884_440_064


MATRICES = [case for case in CASES if case[0] in {"conv", "conv_transpose", "linear"}]


@pytest.mark.parametrize("case", MATRICES, ids=case_id)
def test_an_operator_against_pytorchs_counter(case: Any) -> None:
    example = by_name(case)
    op, x, made, xs = example.op, example.x, module(example, training=True), images(example)
    found = []
    for image_gradient in (False, True):
        with lopsided_padding():
            output = made(*[image.clone().requires_grad_(image_gradient) for image in xs])
        with flop_counter() as counter:
            output.sum().backward()
        found.append(counter.get_total_flops() // 2)
    node = Node("layer", op, (0,), x, op.output(x), None, side=False)
    weight, image = (
        dense(node, rule(x, node.output, BATCH)["mac"]) for rule in (op.weight_gradient, op.input_gradient)
    )
    assert found == [weight * getattr(op, "groups", 1), weight * getattr(op, "groups", 1) + image]


@pytest.mark.parametrize(
    ("name", "x", "keywords", "macs"),
    [
        ("conv", (3, 8, 8), {"out_channels": 5, "kernel_size": 3}, 6 * 6 * 5 * 3 * 3 * 3),
        ("conv", (6, 8, 8), {"out_channels": 4, "kernel_size": 3, "groups": 2}, 6 * 6 * 4 * 3 * 3 * 3),
        ("conv", (6, 8, 8), {"out_channels": 6, "kernel_size": 3, "groups": 6}, 6 * 6 * 6 * 3 * 3),
        ("conv_transpose", (3, 4, 4), {"out_channels": 5, "kernel_size": 2, "stride": 2}, 4 * 4 * 3 * 2 * 2 * 5),
        ("linear", (7,), {"out_features": 5}, 35),
    ],
)
def test_macs_by_hand(name: str, x: Any, keywords: Any, macs: int) -> None:
    """Each product of the forward pass has one in the gradient of its input, and one in that of its weight."""
    example = by_name((name, x, (), keywords))
    op, x = example.op, example.x
    y = op.output(x)
    bias = int(np.prod(y)) * 2 - op.weights(x)["bias"][0]
    assert op.input_gradient(x, y, 2) == {"mac": 2 * macs}
    assert op.weight_gradient(x, y, 2) == {"mac": 2 * macs, "add": bias}


# which gradients a network needs

SPEC = """
name: small
input: [3, 8, 8]
layers:
  - relu(inplace=False)
  - first: conv(4, 1, bias=False)
  - add:
      body: relu(inplace=False) | conv(4, 1, bias=False)
      skip: identity
      other: relu(inplace=False)
  - side:
      aux: flatten | linear(2)
  - flatten | linear(5)
"""


def test_gradients_by_hand() -> None:
    report = analyze(parse(SPEC), batch=2, mode="train")
    found = {layer.node.name: layer.run.step.of_input for layer in report.layers}
    nonzero = {name: {kind: n for kind, n in work.items() if n} for name, work in found.items()}
    assert nonzero == {
        "input": {},
        "relu": {},  # nothing before it has weights
        "first": {"add": 2 * 2 * 256},  # three gradients of its output are added up; it needs none itself
        "body.relu": {"compare": 512},
        "body.conv": {"mac": 2 * 64 * 16},
        "skip": {},
        "other": {"compare": 512},
        "add": {"add": 2 * 256},  # the side output and the classifier read it
        "aux.flatten": {},
        "aux.linear": {"mac": 2 * 2 * 256},
        "flatten": {},
        "linear": {"mac": 2 * 5 * 256},
    }
    with_image = analyze(parse(SPEC), batch=2, mode="train", recipe=USUAL._replace(image_gradient=True))
    more = {layer.node.name: layer.run.step.of_input for layer in with_image.layers}
    assert more["relu"] == {"compare": 2 * 192, "add": 0}
    assert more["first"] == {"mac": 2 * 64 * 12, "add": 2 * 2 * 256}


@pytest.mark.parametrize("name", ["googlenet", "resnet50", "densenet-40-12", "lenet5", "alexnet"])
def test_totals_add_up_and_the_forward_pass_stays(name: str) -> None:
    totals, at_inference = trained(name).totals, analyze(load(name).without_sides()).totals
    parts = totals.forward_flops + totals.backward_input_flops + totals.backward_weight_flops + totals.optimizer_flops
    assert totals.step_flops == parts
    assert totals.step_macs == totals.macs + totals.backward_input_macs + totals.backward_weight_macs
    assert totals.backward_weight_macs == totals.macs > totals.backward_input_macs
    assert [getattr(at_inference, key) for key in STEP] == [0] * len(STEP)
    if not load(name).sides:
        assert (totals.macs, totals.flops) == (at_inference.macs, at_inference.flops)


def test_the_figures_of_a_step() -> None:
    assert len(STEP) == 8
    assert all("training" in FIGURES[key].means or "gradients" in FIGURES[key].means for key in STEP[:-3])


def test_a_frozen_layer_by_hand() -> None:
    """The image's side of the first trained layer needs no gradient; a frozen layer hands one on."""
    body = "name: t\ninput: [3, 8, 8]\nlayers:\n  - a: conv(4, 1)\n  - r: relu\n  - b: conv(5, 1)\n  - c: conv(6, 1)\n"

    def works(*frozen: str) -> dict[str, tuple[int, int, int]]:
        report = analyze(parse(body), mode="train", recipe=USUAL._replace(optimizer="sgd", frozen=frozen))
        steps = {layer.node.name: layer.run.step for layer in report.layers[1:]}
        return {
            name: (sum(step.of_input.values()), step.of_weight.get("mac", 0), sum(step.optimizer.values()))
            for name, step in steps.items()
        }

    nothing, a, b, c = (0, 0, 0), (0, 64 * 12, 2 * 16), (64 * 20, 64 * 20, 2 * 25), (64 * 30, 64 * 30, 2 * 36)
    assert works() == {"a": a, "r": (64 * 4, 0, 0), "b": b, "c": c}
    assert works("a") == {"a": nothing, "r": nothing, "b": (0, *b[1:]), "c": c}
    assert works("b") == {"a": a, "r": (64 * 4, 0, 0), "b": (b[0], 0, 0), "c": c}
    assert works("a", "b") == {"a": nothing, "r": nothing, "b": nothing, "c": (0, *c[1:])}
    assert works("a", "b", "c") == dict.fromkeys("arbc", nothing)


# optimizers

Step = dict[str, Counted]


def updated(name: str, decay: float, p: Counted, g: Counted, state: dict[str, Any], step: int) -> Counted:
    """Return the new values after one step of torch.optim with rate 0.1, and change the state."""
    if decay and name == "adamw":
        p = p * (1 - 0.1 * decay)
    elif decay:
        g = g + decay * p
    if name == "sgd":
        return p - 0.1 * g
    if name in ("momentum", "nesterov"):
        state["b"] = b = 0.9 * state["b"] + g if "b" in state else g
        return p - 0.1 * (g + 0.9 * b if name == "nesterov" else b)
    zero = Counted(np.zeros_like(g.data), g.tally)
    m, v = state.get("m", zero), state.get("v", zero)
    if name == "rmsprop":
        state["v"] = v = 0.99 * v + g * g * 0.01
        return p - 0.1 * g / (v.sqrt() + 1e-8)
    state["m"] = m = m + 0.1 * (g - m)
    state["v"] = v = 0.999 * v + g * g * 0.001
    rate, root = 0.1 / (1 - 0.9**step), np.sqrt(1 - 0.999**step)
    return p - rate * m / (v.sqrt() / root + 1e-8)


MADE = {
    "sgd": lambda p, decay: torch.optim.SGD([p], 0.1, weight_decay=decay),
    "momentum": lambda p, decay: torch.optim.SGD([p], 0.1, momentum=0.9, weight_decay=decay),
    "nesterov": lambda p, decay: torch.optim.SGD([p], 0.1, momentum=0.9, nesterov=True, weight_decay=decay),
    "adam": lambda p, decay: torch.optim.Adam([p], 0.1, weight_decay=decay),
    "adamw": lambda p, decay: torch.optim.AdamW([p], 0.1, weight_decay=decay),
    "rmsprop": lambda p, decay: torch.optim.RMSprop([p], 0.1, weight_decay=decay),
}


@pytest.mark.parametrize("decay", [0, 0.01])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_the_update_takes_what_its_formula_takes(name: str, decay: float) -> None:
    seed_torch(0)
    p = torch.nn.Parameter(torch.randn(7, dtype=torch.float64))
    optimizer = MADE[name](p, decay)
    state: dict[str, Any] = {}
    for step in (1, 2, 3):
        p.grad = torch.randn_like(p)
        tally: Counter[str] = Counter()
        state = {key: Counted(value.data, tally) for key, value in state.items()}
        found = updated(
            name, decay, Counted(p.detach().numpy().copy(), tally), Counted(p.grad.numpy(), tally), state, step
        )
        optimizer.step()
        np.testing.assert_allclose(found.data, p.detach().numpy(), rtol=1e-10)
        expected_work = {kind: 7 * count for kind, count in work_per_value(name, bool(decay)).items()}
        assert (tally == expected_work) == (step > 1 or name not in ("momentum", "nesterov")), (step, tally)


def test_the_update_of_a_network() -> None:
    totals = trained("lenet5", optimizer="adamw", weight_decay=True).totals
    assert totals.optimizer_flops == totals.params * (5 + 5 + 2 + 1 + 1)
    assert trained("lenet5").totals.optimizer_flops == totals.params * 4


# recipes


@pytest.mark.parametrize(
    ("recipe", "cost"),  # × 859,440 MACs of a step
    [({"iterations": "370,000", "batch": "256"}, "8.1×10^13"),  # 81,406,156,800,000
     ({"iterations": "up to 300,000", "batch": "120"}, "up to 4×10^13"),  # 30,939,840,000,000
     ({"iterations": "about 64,000", "batch": "128"}, "about 7.0×10^12"),  # 7,040,532,480,000
     ({"iterations": "123", "batch": "120"}, "12,685,334,400"),
     ({"epochs": "20", "images": "60,000"}, "1,031,328,000,000"),
     ({"epochs": "90", "images": "1.2 million"}, "9.3×10^13"),  # 92,819,520,000,000
     ({"epochs": "about 90", "images": "1.2 million"}, "about 9×10^13"),
     ({"iterations": "7 rounds", "batch": "128", "epochs": "2", "images": "3"}, "5,156,640"),
     ({"iterations": "600 epochs", "batch": "128"}, ""), ({"epochs": "90"}, ""),
     ({"iterations": "over 100", "batch": "2"}, ""),
     ({"iterations": "100", "batch": "32 on each of 8 GPUs"}, ""), ({"source": "a"}, "")],
)  # fmt: skip
def test_the_cost_of_a_recipe(recipe: dict[str, str], cost: str) -> None:
    found = with_cost(load("lenet5"), recipe)
    assert found.pop("cost", "").rpartition(" = ")[2].removesuffix(" MACs") == cost
    assert found == recipe


def test_the_cost_says_what_it_multiplies() -> None:
    found = with_cost(load("lenet5"), {"epochs": "20", "images": "60,000"})
    assert found["cost"].startswith("20 epochs × 60,000 images × 859,440 MACs = ")


# bad input


def test_an_optimizer_is_of_training() -> None:
    with pytest.raises(ArchcalcError, match="use mode train"):
        analyze(load("lenet5"), recipe=USUAL._replace(optimizer="adam"))
    with pytest.raises(ArchcalcError, match="lenet5 has no part 'c11'; did you mean c1"):
        trained("lenet5", frozen=("c11",))
    with pytest.raises(ArchcalcError, match="unknown optimizer 'adm'; did you mean adam"):
        trained("lenet5", optimizer="adm")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("compare lenet5 --columns params,step_macs", "step_macs is a figure of training; add --mode train"),
        ("compare lenet5 --sort -step_flops", "step_flops is a figure of training; add --mode train"),
        ("plot compare lenet5 --columns step_macs -o a.svg", "step_macs is a figure of training; add --mode train"),
        ("compare lenet5 --optimizer adam", "--optimizer applies to training; use --mode train"),
        ("summarize lenet5 --weight-decay", "--weight-decay applies to training"),
        ("export lenet5 --freeze c1", "--freeze applies to training"),
        ("plot compare lenet5 --freeze c1 -o a.svg", "--freeze applies to training"),
        ("summarize lenet5 --mode train --freeze c2", "lenet5 has no part 'c2'; `archcalc summarize"),
        ("compare lenet5 vgg11 --mode train --freeze c1", "vgg11 has no part 'c1'"),
        ("summarize lenet5 --mode train --optimizer adm", "did you mean adam"),
    ],
)
def test_messages(arguments: str, message: str) -> None:
    result = CliRunner().invoke(cli, arguments.split())
    assert result.exit_code != 0
    assert message in result.output + str(result.exception)


def test_a_wide_table_has_a_column_for_each_pass() -> None:
    arguments = ["summarize", "lenet5", "--depth", "1", "--format", "markdown"]
    headings = ["Forward (FLOPs)", "Backward (input FLOPs)", "Backward (weight FLOPs)", "Optimizer (FLOPs)"]
    shown = CliRunner().invoke(cli, [*arguments, "--mode", "train"]).output
    assert [title for title in headings if title in shown] == headings
    assert f"{trained('lenet5').totals.backward_input_flops:,}" in shown
    assert "Backward" not in CliRunner().invoke(cli, arguments).output


@pytest.mark.parametrize(
    ("command", "width", "headings"),
    [
        ("resnet50 --depth 1", 120, "Output Activations Params Forward Backward Backward Optimizer"),
        ("googlenet --batch 32", 120, "Output Params Forward Backward Backward Optimizer"),
        ("resnet50 --depth 1", 80, "Output Field Forward Backward Backward Optimizer"),
        ("vgg16", 80, "Output Field Forward Backward Backward"),
        ("vgg16", 60, "Output Forward Backward"),
    ],
)
def test_the_passes_stay_as_a_terminal_gets_narrower(command: str, width: int, headings: str) -> None:
    arguments = ["summarize", *command.split(), "--mode", "train"]
    lines = CliRunner().invoke(cli, arguments, env={"COLUMNS": str(width)}).output.splitlines()
    assert " ".join(next(line for line in lines if "Output" in line).split()) == headings


def test_a_summary_of_training_has_the_peak() -> None:
    arguments = ["summarize", "lenet5", "--batch", "64", "--freeze", "c1", "--optimizer", "adam"]
    peak = trained("lenet5", 64, optimizer="adam", frozen=("c1",)).totals.peak_training_bytes
    shown = CliRunner().invoke(cli, [*arguments, "--mode", "train"]).output
    assert f"memory       {bytes_text(peak)} at the peak of training on CUDA\n" in shown
    assert "optimizer: adam, c1 frozen\n" in shown
    assert "at the peak" not in CliRunner().invoke(cli, arguments[:2]).output


def test_a_table_names_the_optimizer() -> None:
    arguments = ["compare", "lenet5", "--mode", "train", "--columns", "step_flops", "--optimizer", "adamw"]
    assert "optimizer: adamw" in CliRunner().invoke(cli, arguments).output
    assert "optimizer" not in CliRunner().invoke(cli, ["compare", "lenet5"]).output
