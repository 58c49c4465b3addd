"""Figures of graphs: sums, receptive fields, depth, conventions; the exact figures we promise."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archcalc import ArchcalcError, SpecError, analyze, catalog, load, parse
from archcalc.analysis.conventions import CONVENTIONS
from archcalc.analysis.receptive_field import Field, meet, through
from archcalc.ops import KINDS, Window

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


@pytest.mark.parametrize("name", sorted(catalog()))
@pytest.mark.parametrize("mode", ["infer", "train"])
def test_totals_are_the_sums_of_the_layers(name, mode):
    report = analyze(load(name), batch=2, mode=mode)
    sums = "weights biases params params_with_statistics buffers running_statistics batch_counters fixed_values"
    for figure in (*sums.split(), "macs", "flops", "connections", "activations"):
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
    for convention in CONVENTIONS.values():
        assert set(convention.weights) == set(KINDS)
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
        ({"batch": 0}, "batch must be a whole number of at least 1, not 0"),
        ({"batch": 1.5}, "batch must be"),
        ({"dtype": "float23"}, "unknown dtype 'float23'; did you mean float32"),
        ({"mode": "training"}, "unknown mode 'training'"),
        ({"flops": "torsh"}, "unknown convention 'torsh'; did you mean torch?"),
    ],
)
def test_wrong_conditions(options, message):
    with pytest.raises(ArchcalcError, match=message):
        totals("  - relu\n", **options)


class TestReceptiveField:
    def field(self, layers):
        figures = totals(layers)
        return figures.receptive_field, figures.effective_stride, figures.effective_padding

    def test_chain(self):
        assert self.field("  - conv(4, 3, padding=1) | maxpool(2) | conv(4, 3, padding=1)\n") == (
            (8, 8),
            (2, 2),
            (3, 3),
        )

    def test_asymmetric_and_dilated(self):
        size, stride, padding = self.field(
            "  - conv(4, [1, 7], padding=[0, 3]) | conv(4, 3, stride=[1, 2], dilation=2)\n"
        )
        assert (size, stride, padding) == ((5, 11), (1, 2), (0, 3))

    def test_branches_take_the_hull(self):
        assert self.field("  - concat(conv(4, 1), conv(4, 5, padding=2), maxpool(3, stride=1, padding=1))\n")[0] == (
            5,
            5,
        )
        assert self.field("  - concat(conv(4, 2), conv(4, 3, padding=1) | conv(4, 2))\n")[0] == (4, 4)

    def test_branches_centered_differently(self):
        """[0, 2] by a 3×3 without padding, [-2, 0] by a shifted one: the hull has 5, either branch 3."""
        assert meet([Field(3, 1, 0), Field(3, 1, 2)], 9) == Field(5, 1, 2)

    def test_different_strides_have_no_one_field(self):
        assert meet([Field(3, 1, 1), Field(3, 2, 1)], 9) is None

    def test_two_that_see_everything(self):
        assert meet([Field(30, 0, 0), Field(34, 0, 6)], 30) == Field(36, 0, 6)

    def test_a_still_frame_has_the_others_in_it_only_if_it_is_the_whole(self):
        assert meet([Field(9, 0, 0), Field(3, 1, 1)], 9) == Field(9, 0, 0)
        assert meet([Field(9, 0, 0), Field(3, 1, 1)], 12) is None

    def test_a_gate_of_one_position_is_spread(self):
        report = analyze(parse(HEAD + "  - multiply(identity, conv(3, 32) | sigmoid)\n"))
        assert report.layers[-1].field == (Field(32, 0, 0), Field(32, 0, 0))

    @pytest.mark.parametrize("order", ["deep, shallow", "shallow, deep"])
    def test_of_branches_pooled_apart_the_one_that_sees_most(self, order):
        deep, shallow = "4 * conv(3, 3, padding=1) | global_avgpool", "conv(3, 1) | global_avgpool"
        branches = order.replace("deep", deep).replace("shallow", shallow)
        assert totals(f"  - concat({branches})\n").receptive_field == (9, 9)

    def test_a_pool_over_everything_is_a_global_pool(self):
        for pool in ("avgpool(16)", "global_avgpool", "maxpool(16)"):
            layers = f"  - conv(3, 3, stride=2, padding=1) | {pool} | flatten | linear(2)\n"
            assert totals(layers).receptive_field == (3, 3)

    def test_a_single_position_has_no_stride(self):
        report = analyze(parse(HEAD + "  - add(conv(4, 32), 5 * conv(4, 3, stride=2, padding=1))\n"))
        assert report.layers[-1].field == (Field(63, 0, 31), Field(63, 0, 31))

    def test_it_is_stated_at_the_last_layer_with_places(self):
        gate = "multiply(identity, global_avgpool | conv(4, 1) | sigmoid)"
        figures = totals(
            f"  - conv(4, 3) | groupnorm(2)\n  - {gate}\n  - last: conv(4, 3)\n  - global_avgpool | flatten\n"
        )
        assert (figures.receptive_field, figures.receptive_field_at) == ((32, 32), "last")

    def test_a_gate_sees_everything(self):
        layers = "  - conv(4, 3)\n  - multiply(identity, global_avgpool | conv(4, 1) | sigmoid)\n"
        report = analyze(parse(HEAD + layers))
        assert report.layers[-1].field == (Field(32, 0, 0), Field(32, 0, 0))

    def test_upsampling_is_unknown_not_zero(self):
        report = analyze(parse(HEAD + "  - conv(4, 3) | upsample(scale_factor=2) | conv(4, 3)\n"))
        assert [layer.field is None for layer in report.layers] == [False, False, True, True]
        assert report.totals.receptive_field is None

    @given(st.lists(st.tuples(st.integers(1, 5), st.integers(1, 3), st.integers(0, 2)), min_size=1, max_size=6))
    def test_against_brute_force(self, windows):
        """Walk back from two output positions: first and last input position seen, and the step between outputs."""
        field = Field()
        for window in windows:
            field = through(field, Window(*window))
        spans = []
        for position in (0, 1):
            first = last = position
            for kernel, stride, padding in reversed(windows):
                first, last = first * stride - padding, last * stride - padding + kernel - 1
            spans.append((first, last))
        assert field == Field(spans[0][1] - spans[0][0] + 1, spans[1][0] - spans[0][0], -spans[0][0])


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
    with pytest.raises(SpecError, match=r"<text>:4:5: batchnorm: has no arithmetic of one image without running"):
        totals("  - batchnorm(track_running_stats=False)\n")


GRADIENT = {  # networks whose every position is seen, to be compared with where gradients flow to
    "residual": "  - conv(2, 3, padding=1)\n  - add(conv(2, 5, padding=2) | maxpool(3, stride=2, padding=1), "
    "conv(2, 1, stride=2))\n  - conv(2, [3, 1])\n",
    "inception": "  - concat(conv(2, 1), 2 * conv(2, 3, padding=1), avgpool(3, stride=1, padding=1))\n",
    "even": "  - concat(conv(2, 2), conv(2, 3, padding=1) | conv(2, 2))\n  - avgpool(2) | conv(2, 3, dilation=2)\n",
    "gate": "  - conv(2, 3, padding=1)\n  - multiply(identity, global_avgpool | conv(2, 1) | sigmoid)\n",
    "shortcut": "  - add(conv(4, 3, stride=2, padding=1), pad_shortcut(4, stride=2))\n",
}


@pytest.mark.parametrize("name", GRADIENT)
def test_receptive_field_is_where_gradients_flow(name):
    """Weights of one: an output position's gradient is positive just where it sees the input."""
    torch = pytest.importorskip("torch")
    graph = parse(f"name: t\ninput: [2, 24, 24]\nlayers:\n{GRADIENT[name]}")
    field = analyze(graph).layers[graph.result].field
    image = (1 + torch.rand(1, 2, 24, 24, generator=torch.Generator().manual_seed(0)) / 9).requires_grad_()
    values = []
    for node in graph.nodes:
        module = node.op.module(node.x)
        for parameter in module.parameters():
            torch.nn.init.constant_(parameter, 0.01)
        if node.op.name == "maxpool":
            module = torch.nn.AvgPool2d(node.op.kernel_size, node.op.stride, node.op.padding)  # the same window
        values.append(module(*([values[i] for i in node.inputs] or [image])))
    _, height, width = graph.nodes[graph.result].output
    at = (height // 2, width // 2)
    (gradient,) = torch.autograd.grad(values[graph.result][0, :, at[0], at[1]].sum(), image)
    seen = gradient[0].abs().sum(0) > 0
    for axis, (size, stride, padding) in enumerate(field):
        first = max(0, at[axis] * stride - padding)
        last = min(23, at[axis] * stride - padding + size - 1)
        places = torch.nonzero(seen.any(dim=1 - axis)).flatten()
        assert (int(places.min()), int(places.max())) == (first, last)
