"""Memory besides parameters and activations: buffers by kind, and what backward keeps."""

import json

import pytest
import torch
from click.testing import CliRunner

from archcalc import ArchcalcError, analyze, load, networks, parse
from archcalc.analysis import memory_plan
from archcalc.analysis.memory_plan import in_place, plan_memory
from archcalc.analysis.once_per_graph import per_graph
from archcalc.analysis.saved import held_bytes
from archcalc.auditing.figures import Figures, Numbers
from archcalc.cli import cli
from archcalc.graph.batchnorm_folding import fold_batchnorm
from archcalc.ops.activation import ReLU
from archcalc.pytorch import build
from archcalc.render.tables.summaries import summarize, summary

HEAD = "name: t\ninput: [10, 8, 8]\nlayers:\n"

XCEPTION = """
name: xception-without-top
input: [3, 299, 299]
blocks:
  sep(channels):
    - conv(in_channels, 3, padding=1, groups=in_channels, bias=False) | conv(channels, 1, bias=False) | batchnorm
  entry(channels, first):
    - add:
        body: (sep(channels) if first else relu | sep(channels)) | relu | sep(channels) | maxpool(3, 2, padding=1)
        skip: conv(channels, 1, stride=2, bias=False) | batchnorm
  middle:
    - add(body=3 * (relu | sep(728)), skip=identity)
layers:
  - conv(32, 3, stride=2, bias=False) | batchnorm | relu | conv(64, 3, bias=False) | batchnorm | relu
  - entry(128, True) | entry(256, False) | entry(728, False)
  - 8 * middle
  - add:
      body: relu | sep(728) | relu | sep(1024) | maxpool(3, stride=2, padding=1)
      skip: conv(1024, 1, stride=2, bias=False) | batchnorm
  - sep(1536) | relu | sep(2048) | relu | global_avgpool | flatten
"""
TINY_YOLO = """
name: tiny-yolo2
input: [3, 416, 416]
blocks:
  unit(channels): conv(channels, 3, padding=1, bias=False) | batchnorm | relu
layers:
  - chain(unit(16 * 2 ** i) | maxpool(2) for i in range(5))
  - unit(512) | unit(1024) | unit(1024) | conv(98, 1)
"""

KINDS = {  # spec: params, running statistics, counters, fixed values; the line of the summary
    "batchnorm of 10 channels": (HEAD + "  - batchnorm\n", (20, 20, 1, 0), "20 running statistics + 1 counter = 88 B"),
    "without statistics in the folded network": (HEAD + "  - conv(4, 1)\n", (44, 0, 0, 0), None),
    "Chollet 2016, as Keras lists it": (
        XCEPTION, (20_806_952, 54_528, 40, 0), "54,528 running statistics + 40 counters = 218,432 B",
    ),
    "keras-yolo2: 15,834,098 trainable, 6,112 not": (
        TINY_YOLO, (15_834_098, 6_112, 8, 0), "6,112 running statistics + 8 counters = 24,512 B",
    ),
    "prototypes": (
        "name: t\ninput: [84]\nlayers:\n  - rbf(10) | batchnorm\n", (20, 20, 1, 840),
        "20 running statistics + 1 counter + 840 fixed values = 3,448 B",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", KINDS)
def test_kinds_of_buffers(case):
    text, (params, statistics, counters, fixed), line = KINDS[case]
    report = analyze(parse(text))
    totals = report.totals
    kinds = (totals.params, totals.running_statistics, totals.batch_counters, totals.fixed_values)
    assert kinds == (params, statistics, counters, fixed)
    assert totals.buffers == statistics + counters + fixed
    assert totals.params_with_statistics == params + statistics
    said = dict(summary(report))
    assert said.get("buffers") == line
    assert (f"\n{params + statistics:,} with running statistics" in said["params"]) == bool(statistics)


def test_lenet5_has_fixed_prototypes():
    assert dict(summary(analyze(load("lenet5"))))["buffers"] == "840 fixed values = 3,360 B"


def test_the_total_with_statistics_is_a_figure_of_parts_too():
    figures = Figures(analyze(parse(XCEPTION)))
    assert figures.figure("params_with_statistics") == 20_861_480
    assert figures.figure("params_with_statistics", "op:batchnorm") == 2 * 54_528
    assert figures.figure("batch_counters", "op:batchnorm") == 40


def test_compare_shows_it_where_it_is_asked_for(tmp_path):
    path = tmp_path / "xception.yaml"
    path.write_text(XCEPTION)
    run = CliRunner().invoke
    asked = run(cli, ["compare", str(path), "--columns", "params_with_statistics"]).output
    assert "20,861,480" in asked
    assert "20,861,480" not in run(cli, ["compare", str(path)]).output
    (entry,) = json.loads(run(cli, ["compare", str(path), "--format", "json"]).output)["networks"]
    assert entry["params_with_statistics"] == 20_861_480


NIN = """
name: nin-d2l
input: [1, 224, 224]
blocks:
  nin(channels, kernel, stride, padding):
    - conv(channels, kernel, stride, padding) | relu | conv(channels, 1) | relu | conv(channels, 1) | relu
layers:
  - nin(96, 11, 4, 0) | maxpool(3, 2) | nin(256, 5, 1, 2) | maxpool(3, 2) | nin(384, 3, 1, 1) | maxpool(3, 2)
  - dropout | nin(10, 3, 1, 1) | global_avgpool | flatten
"""
TRAINED = ["lenet5", "vgg11", "resnet20", "torchvision/resnet18", "googlenet", "densenet-40-12", "squeezenet1.1"]


def autograd_keeps(graph, batch):
    """Bytes that a plain training step keeps, weights and buffers left out; the image needs no gradient."""
    network = build(graph, "meta").train()
    known = {storage(tensor) for tensor in [*network.parameters(), *network.buffers()]}
    kept = {}
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.setdefault(storage(t), t), lambda t: t):
        made = network(torch.empty(batch, *graph.input, device="meta"))
    assert made is not None
    return sum(tensor.untyped_storage().nbytes() for key, tensor in kept.items() if key not in known)


def storage(tensor):
    return tensor.untyped_storage()._cdata


@pytest.mark.parametrize("batch", [2, 5])
@pytest.mark.parametrize("name", TRAINED)
def test_kept_for_backward_is_what_autograd_keeps(name, batch):
    graph = load(name)
    expected = autograd_keeps(graph, batch)
    for mode in ("infer", "train"):
        assert analyze(graph, batch, mode=mode).totals.saved_bytes == expected


EXACT = {
    "resnet50": (32, 2_614_443_520),  # the image among them
    "torchvision/resnet50": (2, 172_031_488),
    "vgg16": (2, 146_509_824),
}


@pytest.mark.parametrize("name", EXACT)
def test_the_summary_shows_it(name):
    batch, kept = EXACT[name]
    said = dict(summary(analyze(load(name), batch)))
    assert said["training"].startswith(f"{kept:,} bytes kept for backward = {kept / 1e6:,.2f} MB = ")
    assert "twice" not in "".join(said.values())


def test_network_in_network_of_an_exercise():
    report = analyze(parse(NIN), 2)
    assert (report.totals.params, report.totals.macs) == (1_992_166, 2 * 762_297_352)
    assert report.totals.saved_bytes == autograd_keeps(report.graph, 2)


@pytest.mark.parametrize("name", ["lenet5", "googlenet", "resnet20"])
def test_layers_add_up_to_it_in_training(name):
    report = analyze(load(name), 3, mode="train")
    assert sum(layer.saved_bytes for layer in report.layers) == report.totals.saved_bytes
    rows = summarize(report, depth=1).rows
    assert sum(row["saved_bytes"] for row in rows) == report.totals.saved_bytes
    figures = Figures(report)
    assert Numbers(figures)["saved_bytes"] == report.totals.saved_bytes
    assert sum(figures.figure("saved_bytes", row["name"]) for row in rows) == report.totals.saved_bytes


SAID = {  # spec: how the line of the summary goes on
    "lenet5": "88,176 bytes kept for backward",
    "googlenet": "MiB\nside outputs included",
    "blocks/inception": "MiB\nwith a gradient for the input",
}


@pytest.mark.parametrize("name", SAID)
def test_what_else_the_line_says(name):
    assert dict(summary(analyze(load(name))))["training"].endswith(SAID[name])


def test_what_begins_without_weights_keeps_less_where_its_input_needs_no_gradient():
    graph = load("blocks/inception")
    assert autograd_keeps(graph, 2) < analyze(graph, 2).totals.saved_bytes


def test_a_side_output_that_does_not_fit():
    graph = load("googlenet", input=(3, 64, 64))
    report = analyze(graph)
    assert report.totals.saved_bytes is None
    assert {layer.saved_bytes for layer in report.layers} == {None}
    assert {row["saved_bytes"] for row in summarize(report).rows} == {None}
    said = dict(summary(report))["training"]
    assert said == (
        "unknown: a side output does not accept this input (avgpool: kernel 5 is larger than the padded input 4)"
    )
    for part in ("", "input"):
        with pytest.raises(ArchcalcError, match=r"kept for backward|what backward keeps"):
            Figures(report).figure("saved_bytes", part)


def test_a_folded_network_is_trained_as_it_stands():
    graph = fold_batchnorm(load("resnet20"))
    report = analyze(graph, 2)
    assert report.totals.saved_bytes == autograd_keeps(graph, 2)
    training = dict(summarize(report, gone=("a",)).summary)["training"]
    assert training.endswith("MiB\nfor the folded network, which has no side outputs")


def test_half_precision_halves_it():
    one, half = (analyze(load("vgg11"), 2, dtype).totals.saved_bytes for dtype in ("float32", "float16"))
    pooled = sum(8 * layer.activations for layer in analyze(load("vgg11"), 2).layers if layer.node.op.name == "maxpool")
    assert one - pooled == 2 * (half - pooled)  # the positions of the largest are int64


def test_an_operator_without_a_rule_for_it_is_named(monkeypatch):
    graph = parse(HEAD + "  - conv(4, 1) | relu\n")

    def none(self, x, y):
        raise self._no_rule("saved tensors")

    monkeypatch.setattr(ReLU, "saved", none)
    with pytest.raises(ArchcalcError, match=r"<text>:4:18: relu: operator relu has no rule for its saved tensors"):
        analyze(graph).layers  # noqa: B018
    with pytest.raises(ArchcalcError, match="relu has no rule for its saved tensors"):
        analyze(graph).totals.saved_bytes  # noqa: B018


TWICE = """name: t
input: [4, 6, 6]
blocks: {f: silu(inplace=True)}
layers:
  - conv(4, 1) | f
  - a: conv(4, 1)
  - concat(x=conv(4, 1), y=f)
"""


def test_the_same_operator_keeps_another_thing_where_it_cannot_work_in_place():
    """The first silu overwrites its input and keeps a copy of it; the second keeps what the convolution keeps, too."""
    report = analyze(parse(TWICE))
    assert [layer.saved_bytes for layer in report.layers if layer.node.op.name == "silu"] == [4 * 144, 0]
    assert report.totals.saved_bytes == autograd_keeps(report.graph, 1)


def test_one_walk_serves_both():
    graph = load("resnet20")
    walked = plan_memory(graph, training=True)
    assert len(walked.homes) == len(walked.overwrites) == len(walked.values) == len(graph.nodes)


def test_compare_shows_what_is_kept_where_it_is_asked_for():
    shown = CliRunner().invoke(cli, ["compare", "vgg16", "resnet50", "--columns", "saved_bytes"]).output
    assert "Kept for backward" in shown
    assert f"{analyze(load('vgg16')).totals.saved_bytes / 1e6:.2f}" in shown


WRITTEN = {  # values of one image that torchvision 0.28.0's modules write at inference, counted as they dispatch
    "alexnet": 742_248, "resnet18": 5_320_168, "resnet34": 7_828_968, "resnet50": 22_582_248, "resnet101": 32_818_152,
    "resnet152": 45_462_504, "wide_resnet50_2": 29_155_304, "wide_resnet101_2": 42_803_176,
    "resnext50_32x4d": 29_155_304, "resnext101_32x8d": 62_773_224, "resnext101_64x4d": 62_773_224,
    "densenet121": 33_645_032, "densenet161": 62_420_584, "densenet169": 40_463_336, "densenet201": 51_991_528,
    "squeezenet1_0": 7_750_128, "squeezenet1_1": 4_521_552, "inception_v3": 23_586_899, "googlenet": 9_257_928,
    "vgg11": 9_141_224, "vgg13": 13_958_120, "vgg16": 15_262_696, "vgg19": 16_567_272, "vgg11_bn": 16_567_272,
    "vgg13_bn": 26_201_064, "vgg16_bn": 28_810_216, "vgg19_bn": 31_419_368,
    "mobilenet_v2": 13_725_416, "mobilenet_v3_large": 9_565_008, "mobilenet_v3_small": 3_272_112,
    "mnasnet0_5": 6_460_872, "mnasnet0_75": 9_944_184, "mnasnet1_0": 11_357_736, "mnasnet1_3": 15_248_336,
    "efficientnet_b0": 15_961_988, "efficientnet_b1": 26_064_072, "efficientnet_b2": 38_801_674,
    "efficientnet_b3": 56_939_720, "efficientnet_b4": 118_986_888, "efficientnet_b5": 238_971_320,
    "efficientnet_b6": 404_795_968, "efficientnet_b7": 703_926_488, "efficientnet_v2_s": 81_731_040,
    "efficientnet_v2_m": 207_783_348, "efficientnet_v2_l": 364_599_080,
    "regnet_x_400mf": 7_154_616, "regnet_x_800mf": 11_509_224, "regnet_x_1_6gf": 17_884_952,
    "regnet_x_3_2gf": 25_759_544, "regnet_x_8gf": 31_924_264, "regnet_x_16gf": 57_580_008, "regnet_x_32gf": 82_099_688,
    "regnet_y_400mf": 9_477_416, "regnet_y_800mf": 13_232_696, "regnet_y_1_6gf": 20_392_572,
    "regnet_y_3_2gf": 28_368_180, "regnet_y_8gf": 48_944_792, "regnet_y_16gf": 57_482_272, "regnet_y_32gf": 75_979_332,
    "regnet_y_128gf": 533_433_836, "convnext_tiny": 27_285_736, "convnext_small": 43_542_760,
    "convnext_base": 58_006_504, "convnext_large": 86_933_992, "shufflenet_v2_x0_5": 2_953_000,
    "shufflenet_v2_x1_0": 5_765_208, "shufflenet_v2_x1_5": 8_246_568, "shufflenet_v2_x2_0": 11_160_152,
}  # fmt: skip


NEW_SUMS = "mobilenet_v2", "mnasnet", "regnet"  # `x + f(x)` there; here a sum is written into its first input


def written(name):
    """The values that torchvision's module writes, by ours."""
    report = analyze(load(f"torchvision/{name}"))
    sums = sum(layer.flops for layer in report.layers if layer.node.op.name == "add")  # of two, one per value
    views = sum(layer.activations for layer in report.layers if layer.node.op.name == "chunk")  # copied here
    return report.totals.activations + name.startswith(NEW_SUMS) * sums - views


def test_torchvisions_networks_write_what_its_modules_do():
    """Those without attention: how many values attention writes on its way depends on the kernel."""
    names = [name.partition("/")[2] for name in networks() if name.startswith("torchvision/")]
    convolutional = [name for name in names if not name.startswith(("vit", "swin", "maxvit"))]
    assert {name: written(name) for name in convolutional} == WRITTEN


@pytest.mark.parametrize("name", ["densenet121", "densenet201"])
def test_a_concatenation_of_one_copies(name):
    """torchvision concatenates a block's input alone before its first layer; the paper's network does not."""
    here, there = (analyze(load(f"{folder}{name}"), 2).totals for folder in ("", "torchvision/"))
    copied = 64 * 56**2 + 128 * 28**2 + 256 * 14**2 + (512 if name == "densenet121" else 896) * 7**2
    assert there.activations - here.activations == 2 * copied
    assert (there.params, there.macs, there.saved_bytes) == (here.params, here.macs, here.saved_bytes)


def test_a_graphs_memory_is_walked_once_in_each_mode(monkeypatch):
    walks, last_readers = [], memory_plan._last_readers
    monkeypatch.setattr(memory_plan, "_last_readers", lambda *args: walks.append(1) or last_readers(*args))
    graph = load("lenet5")
    for _ in range(2):
        assert analyze(graph, batch=3).layers
        assert analyze(graph, mode="train", dtype="float16").layers
        held_bytes(graph), in_place(graph, True), in_place(graph, False)
    assert len(walks) == 2
    assert analyze(load("lenet5")).layers
    assert len(walks) == 4  # another graph, if an equal one


def test_what_is_remembered_of_a_graph_goes_with_it():
    @per_graph
    def once(graph, text):
        made.append(text)
        return object()

    made, graph = [], load("lenet5")
    assert once(graph, "a") is once(graph, "a") is not once(graph, "b")
    assert made == ["a", "b"]
    (known,) = [cell.cell_contents for cell in once.__closure__ if isinstance(cell.cell_contents, dict)]
    assert len(known) == 1
    del graph
    assert not known
