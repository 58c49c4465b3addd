"""The memory of training steps: by hand, and byte for byte against PyTorch's CPU allocator, phase by phase."""

import json
from pathlib import Path
from random import Random

import pytest
import torch
from support.checkpointable import checkpointable
from support.inexact_memory import inexact
from support.random_graphs import networks, sweep
from support.torchvisions import torchvisions

from archcalc import ArchcalcError, SpecError, load, parse
from archcalc.analysis.autocast import RULES
from archcalc.analysis.checkpoints import blocks
from archcalc.analysis.frames import MODULES
from archcalc.analysis.memory_trace import KINDS
from archcalc.analysis.optimizers import OPTIMIZERS
from archcalc.analysis.recipe import Recipe
from archcalc.analysis.simulation import simulate
from archcalc.analysis.workspaces import most_in
from archcalc.ops.joins import Add
from archcalc.pytorch import Network, network
from archcalc.pytorch.memory_validation import _workspaces, compare_memory
from archcalc.pytorch.training_memory import measure_training


def differences(graph, recipe, batch):
    return [check for phase in compare_memory(graph, recipe, batch) for check in phase.differences()]


HEAD = "name: t\ninput: [3, 8, 8]\nlayers:\n  - conv(4, 3, padding=1)\n"
CONSTRUCTS = {  # what it shows: the layers after a convolution, the first of which changes nothing
    "in place, pooling, dropout": "  - batchnorm | relu | maxpool(2) | dropout | flatten | linear(5)",
    "a residual block": "  - relu\n  - add(body=conv(4, 3, padding=1) | batchnorm | relu | conv(4, 1), skip=identity)",
    "a dense block": "  - 2 * concat(identity, batchnorm | relu | conv(4, 1))",
    "three readers of one value": "  - add(conv(4, 1), sigmoid, gelu, identity)\n  - mean(tanh, conv(4, 1), silu)",
    "a gate": "  - multiply(body=identity, gate=global_avgpool | conv(4, 1) | sigmoid)",
    "vector gates": "  - multiply(identity, global_avgpool | flatten | linear(4) | sigmoid)\n"
    "  - divide(add(global_avgpool | flatten, identity), sigmoid)",
    "what is repeated": "  - subtract(conv(1, 1), maximum(identity, global_avgpool))\n"
    "  - add(conv(1, 1), conv(4, 3) | upsample(size=8), global_avgpool | flatten)",
    "local response normalization": "  - relu | lrn(5) | lrn(3) | conv(5, 1)",
    "in place in a view": "  - linear(6)\n  - add(linear(5), linear(5))\n  - channel_shuffle(2) | relu | linear(3)",
    "in place in a view, beside a branch": "  - mean(tanh, linear(8) | relu, conv(16, 1) | sigmoid | conv(4, 1))",
    "a slice that a matrix copies": "  - concat(linear(4), identity | linear(4)) | groupnorm(4)",
    "results in place": "  - elu(inplace=True) | conv(4, 1) | selu(inplace=True) | conv(4, 1) | mish(inplace=True)",
    "masks": "  - clamp(-1, 1) | conv(4, 1) | clamp(min=0) | maximum(conv(4, 1), identity, global_avgpool)",
    "halves": "  - swiglu | conv(4, 1) | glu | conv(8, 3) | flatten | swiglu | linear(4) | log_softmax",
    "exponentials": "  - softplus | exp | divide(conv(4, 1), identity) | subtract(identity, conv(4, 1))",
    "channels of images": "  - instancenorm | conv(4, 1) | instancenorm(affine=True, track_running_stats=True)\n"
    "  - dropout2d(0.5, inplace=True) | conv(4, 1) | dropout2d(0.5)",
    "channels of positions": "  - channel_layernorm | conv(4, 1) | normalize | conv(4, 1) | channel_layernorm",
    "features": "  - flatten | linear(6) | rmsnorm | linear(5) | normalize | rmsnorm(elementwise_affine=False)",
    "copies in place": "  - hardswish(inplace=True) | conv(4, 1) | silu(inplace=True) | relu6(inplace=True)",
    "a shortcut of zeros": "  - relu | pad_shortcut(7, stride=2) | batchnorm | adaptive_avgpool(2)",
    "stochastic branches": "  - add(body=conv(4, 1) | stochastic_depth(0.5), skip=droppath(0.5))",
    "padding on one side": "  - conv(4, 2, padding='same') | upsample(scale_factor=2) | conv_transpose(3, 2)",
    "side outputs": "  - side: [global_avgpool | flatten | linear(5)]\n  - layernorm | flatten | linear(5)",
    "products": "  - tokens\n  - matmul(transpose=True): [linear(5), linear(5) | relu]\n  - softmax\n"
    "  - matmul(identity, concat(linear(3), linear(2))) | relu\n  - matmul(transpose, identity)",
    "turned features": "  - tokens | linear(8)\n  - attention(2):\n      - rotary_embedding(2)\n"
    "      - linear(8) | rotary_embedding(2)\n      - relu | linear(8)\n  - relu",
    "products of images": "  - matmul(conv(4, 1), conv(4, 1) | relu)\n  - permute('HWC')\n"
    "  - matmul(transpose=True): [linear(5), linear(5)]\n  - relu",
    "places": "  - groupnorm(2) | leaky_relu(inplace=True) | adaptive_maxpool(3) | softmax",
}


@pytest.mark.filterwarnings("ignore:Using padding='same'")
@pytest.mark.parametrize("what", CONSTRUCTS)
def test_constructs_take_the_memory_that_pytorch_takes(what):
    graph = parse(HEAD + CONSTRUCTS[what])
    assert differences(graph, Recipe("momentum", weight_decay=True), 3) == []


@pytest.mark.filterwarnings("ignore:Using padding='same'")
@pytest.mark.parametrize("what", CONSTRUCTS)
def test_constructs_take_the_memory_that_pytorch_takes_under_autocast(what):
    graph = parse(HEAD + CONSTRUCTS[what])
    assert differences(graph, Recipe("adam", smoothing=True, amp=True, image_gradient=True), 3) == []


@pytest.mark.parametrize("foreach", [False, True])
@pytest.mark.parametrize("weight_decay", [False, True])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_optimizers_take_the_memory_that_pytorch_takes(optimizer, weight_decay, foreach):
    assert differences(load("lenet5"), Recipe(optimizer, weight_decay, foreach), 2) == []


@pytest.mark.parametrize("foreach", [False, True])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_master_weights_take_the_memory_that_pytorch_takes(optimizer, foreach):
    recipe = Recipe(optimizer, True, foreach, "bfloat16", frozen=("c1",), master_weights=True)
    assert differences(load("lenet5"), recipe, 2) == []


def test_the_test_above_would_notice_masters_in_low_precision(monkeypatch):
    monkeypatch.setattr(torch.Tensor, "float", torch.Tensor.clone)
    found = differences(load("lenet5"), Recipe("sgd", dtype="bfloat16", master_weights=True), 2)
    assert "end of optimizer 1" in {check.figure for check in found}


RECIPES = {
    "lenet5": Recipe("sgd", smoothing=True),
    "resnet20": Recipe("adam", True, accumulate=2),
    "d2l/densenet": Recipe("momentum", frozen=("stem", "block1")),
    "squeezenet1.1": Recipe(),
    "blocks/inception": Recipe("rmsprop", smoothing=True, accumulate=2, frozen=("3x3", "5x5.conv1")),
    "d2l/lenet": Recipe("adamw", dtype="bfloat16"),
    "d2l/mlp": Recipe("adamw", amp=True, accumulate=2),
    "resnet110": Recipe("momentum", frozen=("stem", "stage1"), amp=True, steps=2),
    "blocks/residual-basic": Recipe("sgd", image_gradient=True),
}


@pytest.mark.parametrize("name", RECIPES)
def test_recipes_take_the_memory_that_pytorch_takes(name):
    assert differences(load(name), RECIPES[name], 2) == []


@pytest.mark.parametrize("amp", [False, True])
@pytest.mark.parametrize("name", ["resnet20", "lenet5", "d2l/densenet", "squeezenet1.1"])
def test_checkpointed_blocks_take_the_memory_that_pytorch_takes(name, amp):
    graph = load(name)
    recipe = Recipe("momentum", checkpoint=tuple(blocks(graph)), steps=2, amp=amp)
    assert differences(graph, recipe, 2) == []
    most = [
        max(peak.peak for peak in simulate(graph, each).peaks(64)) for each in (recipe, recipe._replace(checkpoint=()))
    ]
    assert most[0] < most[1]


GATED = (
    "input: [3, 8, 8]\nblocks:\n  gated:\n"
    "    - multiply(body=relu | conv(4, 1) | relu, gate=global_avgpool | conv(4, 1) | sigmoid)\n"
    "    - stochastic_depth(0.5)\n"
    "name: t\nlayers:\n  - conv(4, 3)\n  - a: gated\n  - b: gated\n  - flatten | linear(5)\n"
)


def test_a_checkpointed_block_does_not_overwrite_its_input():
    graph = parse(GATED)
    assert blocks(graph) == ["a", "b"]
    assert differences(graph, Recipe("sgd", checkpoint=("a", "b")), 2) == []


CHECKPOINTED = {  # what it shows of block `a`: the layers between a convolution and a head
    "overwritten after it": "  - add(a=sigmoid | conv(4, 1), skip=relu)",
    "overwritten beside it": "  - add(skip=identity, a=sigmoid | conv(4, 1))",
    "in place in a view": "  - a: linear(8) | relu\n  - conv(4, 1)",
    "a matrix with a bias": "  - a: concat(softmax, softmax, identity) | linear(9)",
    "factors of images": "  - a: conv(4, 1) | droppath(0.5)",
    "a copy in place": "  - a: conv(4, 1) | silu(inplace=True) | conv(4, 1) | relu6(inplace=True)",
}


@pytest.mark.parametrize("what", CHECKPOINTED)
def test_a_checkpointed_block_takes_the_memory_that_pytorch_takes(what):
    graph = parse(f"{HEAD}{CHECKPOINTED[what]}\n  - flatten | linear(3)")
    assert differences(graph, Recipe("sgd", checkpoint=("a",), steps=2), 3) == []


@pytest.mark.parametrize("what", ["overwritten after it", "overwritten beside it"])
def test_pytorch_refuses_a_program_that_overwrites_the_input_of_a_checkpointed_block(what, monkeypatch):
    monkeypatch.setattr(network, "reading_entries", lambda *args: set())
    graph = parse(f"{HEAD}{CHECKPOINTED[what]}\n  - flatten | linear(3)")
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        measure_training(graph, Recipe("sgd", checkpoint=("a",)), 2)


@pytest.mark.parametrize(
    ("names", "problem"),
    [
        ("stge1", "resnet20 has no part 'stge1'; did you mean stage1 or stage3.1 or stage2.1?"),
        ("zzz", "resnet20 has no part 'zzz'; `archcalc summarize resnet20` lists them"),
        ("stage1.0.add", "stage1.0.add cannot be checkpointed: it has several inputs or outputs"),
        ("stage1.1 stage1", "stage1.1 is inside stage1; omit one"),
        ("stage1 stage1.0", "stage1.0 is inside stage1; omit one"),
        ("stage1 stage2 stage1", "stage1 is given twice; omit one"),
    ],
)
def test_blocks_that_cannot_be_checkpointed(names, problem):
    with pytest.raises(ArchcalcError) as caught:
        simulate(load("resnet20"), Recipe("sgd", checkpoint=tuple(names.split())))
    assert str(caught.value) == problem


def test_blocks_side_by_side_can_be_checkpointed():
    graph = parse("name: t\ninput: [3, 8, 8]\nlayers:\n  - stage1: conv(4, 3)\n  - stage10: relu | conv(4, 3)\n")
    assert differences(graph, Recipe("sgd", checkpoint=("stage10", "stage1")), 2) == []


@pytest.mark.parametrize(
    ("recipe", "problem"),
    [
        (Recipe("adamW"), "unknown optimizer 'adamW'; did you mean adamw"),
        (Recipe("sgd", dtype="float8"), "unknown dtype 'float8'"),
        (Recipe("sgd", device="tpu"), "unknown device 'tpu'"),
        (Recipe("sgd", master_weights=True), "master weights need a network in float16 or bfloat16, not float32"),
        (Recipe("sgd", dtype="bfloat16", amp=True), "autocast needs a network in float32, not bfloat16"),
        (
            Recipe("sgd", frozen=("c1", "s2", "c3", "s4", "c5", "f6")),
            "lenet5 cannot be trained: no part of it has weights",
        ),
        (Recipe("sgd", frozen=("c1", "typo")), "lenet5 has no part 'typo'; `archcalc summarize lenet5` lists them"),
        (Recipe("sgd", accumulate=0), "accumulate must be a whole number from 1, not 0"),
        (Recipe("sgd", accumulate=-1), "accumulate must be a whole number from 1, not -1"),
        (Recipe("sgd", steps=0), "steps must be a whole number from 1, not 0"),
    ],
)
def test_recipes_that_make_no_sense(recipe, problem):
    with pytest.raises(ArchcalcError) as caught:
        simulate(load("lenet5"), recipe)
    assert str(caught.value).startswith(problem)


def test_a_side_output_that_does_not_fit():
    graph = load("googlenet", input=(3, 64, 64))
    assert simulate(graph, Recipe()).peaks(1)
    with pytest.raises(SpecError):
        simulate(graph, Recipe("sgd"))


def test_in_place_in_a_view_without_gradient_under_autocast():
    graph = parse("name: t\ninput: [2, 7, 1]\nlayers:\n  - add(lrn(1) | flatten, conv(2, 1) | flatten)\n")
    assert differences(graph, Recipe("sgd", amp=True), 2) == []


@pytest.mark.parametrize(
    "layers",
    [CONSTRUCTS["a slice that a matrix copies"], "  - flatten | linear(1) | concat(linear(3), linear(1) | tanh)"],
)
def test_one_image(layers):
    graph = parse(HEAD + layers)
    assert differences(graph, Recipe("sgd"), 1) == []


@pytest.mark.filterwarnings("ignore:Using padding='same'")
@pytest.mark.parametrize("amp", [False, True])
def test_random_networks(amp):
    def check(network):
        graph = parse(network.spec())
        trained = any(node.op.weights(node.x) for node in graph.nodes)
        if network.dtype == "float32" and not inexact(graph):
            assert differences(graph, Recipe("sgd" if trained else "", amp=amp), 2) == []

    sweep(networks(), check, 20, seed=3)


@pytest.mark.filterwarnings("ignore:Using padding='same'")
def test_random_networks_with_a_part_checkpointed():
    checked = []

    def check(network):
        graph = parse(network.spec())
        names = checkpointable(graph)
        if names and any(node.op.weights(node.x) for node in graph.nodes) and not inexact(graph):
            block = Random(network.spec()).choice(names)
            checked.append(block)
            assert differences(graph, Recipe("sgd", checkpoint=(block,), steps=1), 2) == []

    sweep(networks(), check, 26, seed=4)
    assert len(checked) > 10


def test_the_tests_above_would_notice_one_gradient_more(monkeypatch):
    graph = parse(HEAD + CONSTRUCTS["a residual block"])
    calls = Add.calls
    monkeypatch.setattr(Add, "calls", lambda *args: tuple(call._replace(grads=()) for call in calls(*args)))
    found = {check.figure for check in differences(graph, Recipe("sgd", steps=2), 3)}
    assert found == {"allocations of backward 1", "allocations of backward 2"}


@pytest.mark.parametrize(("operator", "phase"), [("concat", "inference"), ("lrn", "backward"), ("loss", "forward")])
def test_the_tests_above_would_notice_a_cast_less(monkeypatch, operator, phase):
    monkeypatch.delitem(RULES["cpu"], operator)
    graph = parse(HEAD + "  - lrn(3) | concat(conv(4, 1), tanh) | flatten | linear(5)")
    found = differences(graph, Recipe("sgd", steps=1, amp=True), 3)
    assert any(phase in check.figure for check in found)


def test_the_tests_above_would_notice_a_value_held_too_long(monkeypatch):
    held = []

    def run(self, position, inputs):
        held.append(inputs)
        return Network.node(self, position)(*inputs)

    monkeypatch.setattr(Network, "run", run)
    found = [check.figure for check in differences(parse(HEAD + "  - sigmoid | tanh"), Recipe(), 3)]
    assert found == ["peak of inference 0", "end of inference 0"]


# On CUDA

RECORD = json.loads(next((Path(__file__).parent.parent / "bench/records").glob("*-memory.json")).read_text())
CUBLAS = 0, 33 * 2**20, 65 * 2**20  # workspaces on an H100: of no thread, of the one that runs forward, of both
SIMULATED = [
    case
    for case in RECORD["cases"]
    if not case["problem"] and "weights" not in case["options"]
    if not {*case["options"]} - {"loop", "smoothing", "accumulate"} and not case["network"].startswith("fractalnet")
]  # FractalNet's joins dropped branches at random there


BUILT, WRITTEN = ([case for case in SIMULATED if case["module"] == module] for module in MODULES)
SMALLEST = [case for case in BUILT if case["network"] == "alexnet" and case["batch"] == 1][:1]  # cuDNN needs most
AUTOCAST = [case for case in SIMULATED if case["precision"] == "autocast"]


@pytest.mark.parametrize(
    "case",
    BUILT[::5] + SMALLEST + WRITTEN[:11] + AUTOCAST[::8],
    ids=lambda case: f"{case['network']}-{case['module']}",
)
def test_recorded_on_a_gpu(case, monkeypatch):
    """All phases end at the predicted byte, and cuBLAS's workspaces; only library workspaces lift peaks."""
    recipe = Recipe(
        case["optimizer"].replace("none", ""),
        case["weight_decay"] > 0,
        False if "loop" in case["options"] else None,
        case["precision"].replace("autocast", "float32"),
        "cuda",
        module=case["module"],
        smoothing="smoothing" in case["options"],
        accumulate=2 if "accumulate" in case["options"] else 1,
        amp=case["precision"] == "autocast",
        single=case["batch"] == 1,
    )
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: RECORD["device"])
    graph = load(case["network"]) if case["module"] == "build" else torchvisions(case["network"])
    terms = _workspaces(graph, recipe, case["batch"])
    workspace = 0
    targets = 0 if recipe.optimizer else 8 * case["batch"]  # see the record's `targets`
    measured = [counts for phase, counts in case["phases"].items() if phase != "weights"]
    for peak, counts in zip(simulate(graph, recipe).peaks(case["batch"]), measured, strict=True):
        most, end = counts[0] - targets, counts[1] - targets
        assert end - peak.end in CUBLAS
        assert most >= peak.peak + workspace
        assert most <= peak.peak + most_in(peak.phase, terms) or peak.phase == "state"
        workspace = end - peak.end
        if peak.phase == "optimizer":
            assert most == peak.peak + workspace


# By hand


def phases(trace, batch):
    return {(peak.phase, peak.step): (peak.peak, peak.end) for peak in trace.peaks(batch)}


def test_a_perceptron_by_hand():
    """Two linear layers 8 → 4 → 2, batch 10: 46 parameters, 320 bytes of images, 80 of targets."""
    graph = parse("name: t\ninput: [8]\nlayers:\n  - linear(4) | relu | linear(2)\n")
    trace = simulate(graph, Recipe("momentum"))
    state = 4 * (8 * 4 + 4 + 4 * 2 + 2) + 320 + 80
    hidden, output, gradients = 10 * 4 * 4, 10 * 2 * 4, 184
    kept = hidden + output + 4 + 4  # the hidden values, log-probabilities, the loss, and the number of places
    found = phases(trace, 10)
    assert found["state", 0] == (state, state)
    assert found["inference", 0] == (state + hidden + output, state)
    assert found["forward", 1] == (state + output + kept, state + output + kept)
    after_loss = state + output + 4  # output and loss
    # at the ReLU: the loss's gradient, the ReLU's values, its gradient and the next, and those of linear2's weights
    assert found["backward", 1] == (after_loss + 4 + 3 * hidden + 4 * (4 * 2 + 2), after_loss + gradients)
    assert found["optimizer", 1] == (after_loss + 2 * gradients, after_loss + gradients)
    assert found["forward", 2] == found["forward", 3]
    assert found["forward", 2][0] == found["forward", 1][0] + gradients + 4  # momentum, and the last loss
    assert phases(simulate(graph, Recipe()), 10)["state", 0] == (state - 80, state - 80)  # an inference has no targets


def test_a_perceptron_under_autocast_by_hand():
    """The same layers: casts of the image, of weights and biases, and of the output for the loss."""
    graph = parse("name: t\ninput: [8]\nlayers:\n  - linear(4) | relu | linear(2)\n")
    state = 4 * (8 * 4 + 4 + 4 * 2 + 2) + 320 + 80
    first, bias, image, hidden, output = 2 * (8 * 4 + 4), 2 * 2, 160, 10 * 4 * 2, 10 * 2 * 2
    found = phases(simulate(graph, Recipe("sgd", amp=True)), 10)
    assert found["inference", 0] == (state + first + image + hidden, state)
    kept = image + hidden + output + 2 * (4 * 2) + 2 * output + 4 + 4  # of the weights those of the second layer
    assert found["forward", 1][1] == state + kept
    assert found["forward", 1][0] == state + kept + first + bias + 2 * output  # all casts; the output in float32


def test_budget_and_peaks_agree():
    trace = simulate(load("resnet20"), Recipe("adam", smoothing=True))
    curve = trace.curve(4)
    assert curve[-1] == sum(event.bytes for event in trace.events(4))
    for peak in trace.peaks(4):
        held = trace.budget(4, peak.at)
        assert sum(held.values()) == peak.peak == curve[peak.at]
        assert {kind for kind, _ in held} <= {*KINDS}


@pytest.mark.parametrize(
    ("name", "recipe"),
    [
        ("googlenet", Recipe("adamw", weight_decay=True, accumulate=3)),
        ("densenet-40-12", Recipe("rmsprop", device="cuda", smoothing=True)),
        ("fractalnet-20", Recipe("nesterov", weight_decay=True)),
        ("resnet20", Recipe("momentum", device="cuda", frozen=("stem",), checkpoint=("stage2.0",), dtype="bfloat16")),
        ("lenet5", Recipe("sgd", single=True)),
    ],
)
def test_a_longer_trace_is_that_of_more_steps(name, recipe):
    graph = load(name)
    longer, expected = simulate(graph, recipe).longer(4), simulate(graph, recipe._replace(steps=7))
    for part in ("changes", "sizes", "kinds", "phases"):
        assert getattr(longer, part) == getattr(expected, part)


def test_the_first_step_is_no_model_of_others():
    graph, recipe = load("lenet5"), Recipe("adam", device="cuda")
    assert simulate(graph, recipe._replace(steps=2)).longer(1).changes != simulate(graph, recipe).changes


def test_what_is_frozen_keeps_less():
    graph = load("resnet20")
    whole = simulate(graph, Recipe("adam"))
    part = simulate(graph, Recipe("adam", frozen=("stem", "stage1")))
    for (name, peak), (_, less) in zip(phases(whole, 8).items(), phases(part, 8).items(), strict=True):
        assert peak == less if name[1] == 0 else less < peak


def test_work_is_linear_in_the_layers():
    def events(layers):
        graph = parse(f"name: t\ninput: [4, 8, 8]\nlayers:\n  - {layers} * (conv(4, 1) | relu)\n")
        return len(simulate(graph, Recipe("momentum")).changes)

    assert events(400) - events(200) == events(300) - events(100)


def test_what_kernels_allocate_is_apart():
    measured = measure_training(load("lenet5"), Recipe("sgd", steps=1), 2)
    assert all(phase.in_kernels >= 0 for phase in measured)
    assert max(phase.in_kernels for phase in measured[1:]) > 0
