"""Conventions: figures of tools to the last digit, ledgers that add up, and what is unknown."""

import csv
import io
import json
from collections import Counter

import pytest
from click.testing import CliRunner
from support.programs import BENCH, program
from support.zoo import NAMES, report

from archcalc import analyze, load, parse
from archcalc.analysis.at_least import AtLeast
from archcalc.analysis.conventions import CONVENTIONS
from archcalc.analysis.ledger import Ledger, ledger_of, ledgers_of
from archcalc.cli import cli
from archcalc.errors import ArchcalcError
from archcalc.graph.graph import About
from archcalc.importers.building import Builder
from archcalc.ops import REGISTRY
from archcalc.ops.imported import Imported
from archcalc.ops.shape import Features, Shape
from archcalc.render.tables.conventions import IMPORTED, ledger_text, side_by_side

RECORD = json.loads((BENCH / "records" / "conventions.json").read_text())
RESNET50 = {
    "macs": 4_089_184_256,
    "torchinfo": 4_089_238_376,
    "fvcore": 4_111_512_576,
    "fvcore-train": 4_144_854_528,
    "thop": 4_133_742_592,
    "ptflops": 4_132_436_968,
    "mmcv": 4_121_924_096,
    "ptflops-aten": 4_089_185_256,
    "torch": 8_178_368_512,
    "calflops": 8_211_108_352,
}


@pytest.fixture(scope="module")
def bench():
    """The program that made the record."""
    return program("conventions")


def shown(*args):
    return CliRunner().invoke(cli, args, catch_exceptions=False).output


def figure(name, tool):
    return ledger_of(report(name), CONVENTIONS[tool]).figure


@pytest.mark.parametrize(("tool", "printed"), RESNET50.items())
def test_resnet50_as_each_tool_prints_it(tool, printed):
    assert analyze(load("torchvision/resnet50"), flops=tool).totals.flops == printed


CAUSES = {
    "the tool fails": 1,  # fvcore-train on inception_v3: batch normalization of one value per channel
    "training runs the side outputs, too": 1,
    "padding='same' runs as aten::_convolution_mode, which the tool does not count": 3,
    "torchvision writes ConvNeXt's blocks with channels last, as layer normalization and linear layers": 4 * 6,
}


def test_the_tools_print_what_archcalc_says_but_for_named_causes(bench):
    cases = [case for case in bench.cases(RECORD) if case[0] != "moving"]
    found = Counter(bench.cause_of(*case) for case in cases)
    assert found == {**CAUSES, "equal": len(cases) - sum(CAUSES.values())}


def test_another_difference_has_no_cause(bench):
    for home in ("build", "torchvision"):
        printed = RECORD[home]["torchvision/convnext_tiny"]
        assert not any(bench.cause_of(home, "torchvision/convnext_tiny", tool, printed[tool] + 1) for tool in printed)


def test_no_tool_counts_functions_that_move_values(bench):
    pytest.importorskip("torch")
    assert {*RECORD["moving"]["moving"]} == {*bench.TOOLS}
    assert {bench.cause_of(*case) for case in bench.cases(RECORD) if case[0] == "moving"} == {"equal"}
    assert not any(isinstance(own.figure, AtLeast) for own in ledgers_of(bench.report_of("moving"))[:-4])


def test_the_record_has_every_network_of_torchvision(bench):
    names = {name for name in NAMES if name.startswith("torchvision/")}
    for home, expected in (("build", names), ("torchvision", set(filter(bench.calls_modules, names)))):
        assert {name: {*by} for name, by in RECORD[home].items()} == {name: {*bench.TOOLS} for name in expected}


@pytest.mark.parametrize("name", NAMES)
def test_the_parts_add_up(name):
    for own in ledgers_of(report(name)):
        known = sum(own.parts.values())
        assert all(count > 0 for count in own.parts.values())
        assert own.figure == known or (not known and own.figure is None)
        assert isinstance(own.figure, AtLeast) == bool(own.unknown and known)


@pytest.mark.parametrize(
    "name", ["torchvision/vit_b_16", "swin-t", "yolov3", "unet", "googlenet", "char-rnn", "bert-base"]
)
def test_the_ledger_has_the_figures_of_the_report(name):
    for batch in (1, 3):
        for own in ledgers_of(analyze(load(name), batch)):
            by_layer = analyze(load(name), batch, flops=own.convention.name)
            assert by_layer.totals.flops == own.figure
            assert sum(layer.flops or 0 for layer in by_layer.layers) == (own.figure or 0)


def test_a_part_says_how_much_it_counts():
    own = ledger_of(report("torchvision/resnet50"), CONVENTIONS["fvcore"])
    assert ledger_text(own) == (
        "MACs 4,089,184,256 + batch normalization 22,227,968 (2 per value) + average pooling 100,352"
        " = fvcore 4,111,512,576"
    )


def test_fvcore_counts_products_of_attention_that_is_not_fused():
    assert RECORD["build"]["torchvision/vit_b_16"]["fvcore-matmul"] == 17_582_740_224
    assert figure("torchvision/vit_b_16", "fvcore-matmul") == 17_582_740_224
    assert figure("torchvision/vit_b_16", "fvcore") == 16_867_412_736
    assert figure("torchvision/swin_t", "fvcore-matmul") == figure("torchvision/swin_t", "fvcore")  # never fused


def test_a_ledger_of_nothing_known_has_no_zero():
    own = Ledger(CONVENTIONS["thop"], None, {}, ("aten::fft",))
    assert ledger_text(own) == "thop –; it cannot count aten::fft"


@pytest.mark.parametrize(("name", "recorded"), RECORD["xla"].items())
def test_xla_counts_these_products_and_the_rest_of_a_network_by_kind(name, recorded):
    parts = recorded["parts"]
    assert parts["products"] == figure(name, "xla")
    assert sum(parts.values()) == pytest.approx(recorded["whole"], rel=1e-5)  # XLA adds in float32


def test_xla_leaves_out_products_with_padding():
    own = ledger_of(report("torchvision/resnet50"), CONVENTIONS["xla"])
    assert own.parts["products within the image (2 per MAC)"] == 7_892_407_808
    assert figure("torchvision/resnet50", "macs") * 2 - 4_096_000 == 8_174_272_512


@pytest.mark.parametrize(
    ("line", "pairs"),
    [
        ("conv(1, 3, padding=1, bias=False)", 8 * 3 - 2),
        ("conv(1, 3, padding=1, stride=2, bias=False)", 4 * 3 - 1),
        ("conv(1, 3, padding=2, dilation=2, bias=False)", 8 * 3 - 4),
        ("conv(1, 3, padding=1, padding_mode='reflect', bias=False)", 8 * 3),
        ("conv_transpose(1, 3, bias=False)", 8 * 3),
        ("conv_transpose(1, 3, padding=1, bias=False)", 8 * 3 - 2),
    ],
)
def test_pairs_inside_the_image(line, pairs):
    graph = parse(f"name: a\ninput: {{C: 1, L: 8}}\nlayers:\n  - {line}\n")
    assert figure_of(graph, "xla") == 2 * pairs


def figure_of(graph, tool, batch=1):
    return ledger_of(analyze(graph, batch), CONVENTIONS[tool]).figure


def test_darknets_total_of_yolov3():
    assert round(figure("yolov3", "darknet") / 1e9, 3) == 65.879  # as its log prints: Total BFLOPS 65.879
    assert round(figure("yolov4-tiny", "darknet") / 1e9, 3) == 6.910


def test_netscope_counts_without_groups_and_scale_layers():
    line = "conv(6, 3, groups=3, padding=1) | batchnorm | lrn(5) | relu | flatten | linear(10)"
    graph = parse(f"name: a\ninput: [3, 4, 4]\nlayers:\n  - {line}\n")
    assert figure_of(graph, "netscope") == 9 * 16 * 3 * 6 + 96 + 5 * 96 + 96 * 10
    assert ledger_of(report("vit-b-16"), CONVENTIONS["netscope"]).unknown[0] == "tokens"


def test_convnet_burdens_table():
    assert round(figure("torchvision/squeezenet1_1", "convnet-burden") / 1e6) == 360
    assert round(figure("mobilenet-v1", "convnet-burden") / 1e6) == 579


def test_torchinfo_counts_a_linear_layer_at_one_token():
    graph = parse("name: a\ninput: {T: 5, C: 4}\nlayers:\n  - linear(3)\n")
    assert figure_of(graph, "torchinfo") == 4 * 3 + 3
    assert figure_of(graph, "fvcore") == 5 * 4 * 3


@pytest.mark.parametrize(
    ("shape", "line", "printed"),  # by mmcv 1.7.2
    [
        ("{C: 4, L: 8}", "conv_transpose(4, 3)", 0),
        ("[4, 8, 8]", "conv_transpose(4, 3, groups=2)", 5008),
        ("{C: 4, D: 8, H: 8, W: 8}", "conv_transpose(4, 3)", 0),
        ("[4, 8, 8]", "upsample(scale_factor=2)", 1024),
        ("{C: 4, L: 8}", "upsample(scale_factor=2)", 64),
        ("{T: 5, C: 4}", "linear(3)", 60),
        ("{T: 5, C: 4}", "layernorm(elementwise_affine=False)", 20),
        ("{C: 4, L: 5}", "groupnorm(2)", 40),
        ("{C: 4, L: 5}", "batchnorm(affine=False)", 20),
        ("{C: 4, D: 8, H: 8, W: 8}", "conv(6, 3, groups=2, padding='same')", 168_960),
        ("{C: 4, L: 9}", "adaptive_maxpool(2)", 36),
        ("[3, 1, 1]", "leaky_relu", 3),
        ("[3, 1, 1]", "prelu", 3),
        ("[3, 1, 1]", "hardswish", 0),
        ("{T: 8, C: 4}", "lstm(4)", 0),
    ],
)
def test_modules_as_mmcv_counts_them(shape, line, printed):
    graph = parse(f"name: a\ninput: {shape}\nlayers:\n  - {line}\n")
    batch = 1 if "upsample" in line else 3  # of which mmcv sees the first image alone
    assert (figure_of(graph, "mmcv") or 0, figure_of(graph, "mmcv", 3) or 0) == (printed, printed * batch)


def test_an_operator_that_a_tool_cannot_count_is_unknown():
    graph = parse("name: a\ninput: [3, 8, 8]\nlayers:\n  - conv(4, 3)\n  - sigmoid\n")
    own = ledger_of(analyze(graph), CONVENTIONS["convnet-burden"])
    assert (own.unknown, f"{own.figure:,}") == (("sigmoid",), "≥ 4,032")
    assert [layer.flops for layer in analyze(graph, flops="convnet-burden").layers] == [0, 4032, None]


def test_a_tool_counts_no_training_step():
    totals = analyze(load("lenet5"), mode="train", flops="fvcore").totals
    assert totals.step_flops is None
    assert totals.step_macs == analyze(load("lenet5"), mode="train").totals.step_macs
    text = shown("summarize", "lenet5", "--mode", "train", "--convention", "fvcore")
    assert "FLOPs unknown: fvcore counts a forward pass; all, torch and macs count a step" in text


def test_conventions_are_found_in_any_case_and_unknown_ones_suggested():
    with pytest.raises(ArchcalcError, match=r"unknown convention 'fvcor'; did you mean fvcore\?"):
        shown("summarize", "lenet5", "--convention", "fvcor")
    assert "(fvcore: MACs, 2 per value" in shown("summarize", "lenet5", "--convention", "FVCORE")


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("torchinf", "no network or convention is called 'torchinf'; did you mean torchinfo"),
        ("vgg61", "did you mean vgg19"),
        ("Keras", "keras counts no FLOPs; its params are archcalc compare NETWORK --columns params_with_statistics"),
        ("zzzqq", "no network is called 'zzzqq'; `archcalc list` shows all names"),
        ("\x1bthop", r"no network or convention is called '\x1bthop'; did you mean thop?"),
    ],
)
def test_a_name_that_is_neither_a_network_nor_a_convention(name, says):
    with pytest.raises(ArchcalcError) as error:
        shown("conventions", name)
    assert says in str(error.value)


@pytest.mark.parametrize("arguments", [["--batch", "3"], ["thop", "--set", "size=3"]])
def test_options_of_a_network_need_one(arguments):
    result = CliRunner().invoke(cli, ["conventions", *arguments])
    assert result.exit_code == 2
    assert f"{arguments[-2]} is for a network; name one, or omit it" in result.output


def test_imported_networks_have_a_remark():
    notes = [side_by_side(own, ledgers_of(own)).notes for own in (imported("f", counts=None), analyze(load("lenet5")))]
    assert notes == [[IMPORTED], []]


def imported(function, **facts):
    built = Builder()
    ends = {"": built.add(Imported(function, Shape((8,)), **facts), [built.input("x", Features((8,)))], function)}
    return analyze(built.graph("net", ends, About()))


@pytest.mark.parametrize(
    ("function", "facts", "unknown"),
    [
        ("aten::transpose", {"counts": ()}, False),
        ("aten::transpose", {"counts": None}, True),
        ("aten::mul", {"counts": (("mul", 8),)}, True),
        ("aten::arange", {"counts": (), "common": (("mul", 8),)}, True),
        ("tensor", {"counts": (), "tensors": (("weight", (8,)),)}, True),  # torchinfo counts some of them
        ("aten::upsample_nearest2d", {"counts": ()}, True),  # fvcore counts 1 per value
    ],
)
def test_what_only_moves_values_is_not_counted(function, facts, unknown):
    for tool in ("fvcore", "thop", "ptflops", "calflops", "torchinfo"):
        assert bool(ledger_of(imported(function, **facts), CONVENTIONS[tool]).unknown) == unknown
    assert ledger_of(imported(function, **facts), CONVENTIONS["netscope"]).unknown == (function,)


def test_inputs_have_their_names():
    builder = Builder()
    ends = [builder.input(name, Features((8,))) for name in ("x", "y")]
    made = analyze(builder.graph("two", {"": builder.add(REGISTRY["add"](), ends, "add")}, About()))
    assert side_by_side(made, []).conditions.startswith("input x 8, y 8 · batch 1")


def test_parts_in_csv_are_json():
    rows = csv.DictReader(io.StringIO(shown("conventions", "lenet5", "--format", "csv")))
    data = json.loads(shown("conventions", "lenet5", "--format", "json"))["conventions"]
    assert [json.loads(row["parts"]) for row in rows] == [row["parts"] for row in data]


def test_parts_are_words_for_people():
    text = shown("conventions", "lenet5", "--columns", "parts")
    assert "all             MACs (2 per MAC) 651,360, additions 14,482, multiplications 18,584, tanh 8,084" in text


def test_the_command_in_json():
    data = json.loads(shown("conventions", "torchvision/resnet50", "--batch", "2", "--format", "json"))
    rows = {row["convention"]: row for row in data["conventions"]}
    assert [*rows] == [*CONVENTIONS]
    assert rows["ptflops"]["figure"] == 2 * RESNET50["ptflops"] == sum(rows["ptflops"]["parts"].values())
    listed = json.loads(shown("conventions", "--format", "json"))["conventions"]
    assert {row["unit"] for row in listed} == {"MACs", "FLOPs"}
    (one,) = json.loads(shown("conventions", "Thop", "--format", "json"))["conventions"]
    assert one["convention"] == "thop"
