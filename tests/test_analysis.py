"""Figures of graphs: sums, receptive fields, depth, conventions; the exact figures we promise."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.zoo import NAMES, network

from archcalc import ArchcalcError, SpecError, analyze, load, parse
from archcalc.analysis.conventions import CONVENTIONS
from archcalc.analysis.figures import summed
from archcalc.ops import KINDS

HEAD = "name: t\ninput: [3, 32, 32]\nlayers:\n"

EXACT = {  # params, MACs; DESIGN's promise, LeCun et al. 1998, the papers' own networks
    "vgg16": (138_357_544, 15_470_264_320),
    "alexnet": (60_965_224, 724_406_816),
    "cs231n/alexnet": (62_378_344, 1_135_256_096),
    "lenet5": (60_000, 325_680),
    "googlenet": (6_998_552, 1_582_671_872),
    "resnet18": (11_689_512, 1_814_073_344),
    "resnet50": (25_557_032, 3_857_973_248),
    "densenet121": (7_978_856, 2_834_161_664),
    "cs231n/inception-naive": (1_089_952, 854_196_224),
    "cs231n/inception-bottleneck": (346_720, 271_351_808),
}


def totals(layers, **options):
    return analyze(parse(HEAD + layers), **options).totals


@pytest.mark.parametrize("name", EXACT)
def test_exact_figures(name):
    figures = analyze(load(name)).totals
    assert (figures.params, figures.macs) == EXACT[name]


def test_vgg16_as_the_lecture_has_it():
    figures = analyze(load("vgg16")).totals
    assert figures.weights == 138_344_128
    assert figures.activations == 15_237_608
    assert figures.activation_bytes == 60_950_432
    assert figures.receptive_field == (212, 212)


def test_lenet5_connections_layer_by_layer():
    """LeCun et al. 1998, II-B, layer by layer from C1 to F6; the output's 840 links make up the printed total."""
    report = analyze(load("lenet5"))
    counts = [layer.connections for layer in report.layers if layer.connections]
    assert counts == [122_304, 5_880, 151_600, 2_000, 48_120, 10_164, 840]
    assert report.totals.connections == 340_908
    assert [layer.params for layer in report.layers if layer.params] == [156, 12, 1_516, 32, 48_120, 10_164]


def test_googlenet_heads_exist_only_in_training():
    assert analyze(load("googlenet"), mode="train").totals.params == 13_378_280
    assert analyze(load("googlenet")).totals.depth == 22


@pytest.mark.parametrize(
    ("name", "depth", "field"),
    [
        ("resnet18", 18, 435),
        ("resnet50", 50, 483),
        ("resnet101", 101, 1027),
        ("resnet152", 152, 1507),
        ("alexnet", 8, 195),
    ],
)
def test_depth_and_receptive_field(name, depth, field):
    """Fields as Araujo et al., Distill 2019, have them for the stride on the first 1×1; depths are in the names."""
    figures = analyze(load(name)).totals
    assert (figures.depth, figures.receptive_field) == (depth, (field, field))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("mode", ["infer", "train"])
def test_totals_are_the_sums_of_the_layers(name, mode):
    report = analyze(network(name), batch=2, mode=mode)
    for figure in summed():
        assert getattr(report.totals, figure) == sum(getattr(layer, figure) for layer in report.layers), figure
    assert report.totals.params == report.totals.weights + report.totals.biases
    parts = report.totals.running_statistics, report.totals.batch_counters, report.totals.fixed_values
    assert report.totals.buffers == sum(parts)


@given(st.integers(1, 64), st.sampled_from(["float64", "float32", "float16", "bfloat16"]))
def test_batch_and_dtype_scale_what_they_must(batch, dtype):
    one, many = analyze(load("lenet5")).totals, analyze(load("lenet5"), batch=batch, dtype=dtype).totals
    assert many.params == one.params
    for figure in ("macs", "activations", "flops", "connections"):
        assert getattr(many, figure) == batch * getattr(one, figure), figure
    assert many.activation_bytes * 4 == many.activations * {"float64": 32, "float32": 16}.get(dtype, 8)


def test_batchnorm_counter_is_int64_in_any_dtype():
    figures = totals("  - batchnorm\n", dtype="float16")
    assert (figures.buffers, figures.buffer_bytes) == (7, 6 * 2 + 8)


def test_dropout_writes_in_training_only():
    assert totals("  - dropout\n").activations == 3 * 32 * 32
    assert totals("  - dropout\n", mode="train").activations == 2 * 3 * 32 * 32


def test_every_convention_weighs_every_kind():
    for name in ("all", "torch", "macs"):
        assert set(CONVENTIONS[name].weights) == set(KINDS)
    with pytest.raises(KeyError):
        CONVENTIONS["all"].flops({"fft": 1})


def test_conventions():
    layers = "  - conv(4, 1) | relu\n"
    macs, adds, compares = 4 * 3 * 1024, 4 * 1024, 4 * 1024
    assert totals(layers).flops == 2 * macs + adds + compares
    assert totals(layers, flops="torch").flops == 2 * macs
    assert totals(layers, flops="macs").flops == macs


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch": 0}, "batch must be a whole number from 1 to 1,000,000,000, not 0"),
        ({"batch": 1.5}, "batch must be"),
        ({"dtype": "float23"}, "unknown dtype 'float23'; did you mean float32"),
        ({"mode": "training"}, "unknown mode 'training'"),
        ({"flops": "torsh"}, "unknown convention 'torsh'; did you mean torch?"),
    ],
)
def test_wrong_conditions(options, message):
    with pytest.raises(ArchcalcError, match=message):
        totals("  - relu\n", **options)


def test_depth_takes_the_longest_path():
    assert (
        totals("  - add(conv(3, 1) | conv(3, 1) | conv(3, 1), conv(3, 1))\n  - batchnorm | flatten | linear(2)\n").depth
        == 4
    )


def test_a_layer_by_name():
    report = analyze(load("vgg16"))
    assert report.layer("stage1.conv1").params == 1_792
    with pytest.raises(ArchcalcError, match=r"no layer 'stage1.conv3'; did you mean"):
        report.layer("stage1.conv3")


def test_a_figure_without_a_rule_is_an_error_not_zero():
    with pytest.raises(SpecError, match=r"<text>:4:5: batchnorm: without running statistics the work"):
        totals("  - batchnorm(track_running_stats=False)\n")
