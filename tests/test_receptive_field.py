"""Receptive fields: known figures, a walk over every position, and where gradients flow."""

from __future__ import annotations

from collections import Counter
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.field_oracle import check, graphs, stated, walk

from archcalc import analyze, load, parse
from archcalc.analysis import field_tables
from archcalc.analysis.field_figures import FieldFigures, by_axis, by_key
from archcalc.analysis.field_tables import Laid, Room, Worked, merge, through
from archcalc.ops.convolution import Conv
from archcalc.ops.reads import Nearest, Reads, Transposed, Window

HEAD = "name: t\ninput: {}\nlayers:\n"


def report(layers: str, size: int = 60, channels: int = 3):
    steps = layers if layers.startswith("  ") else f"  - {layers}\n"
    return analyze(parse(HEAD.format([channels, size, size]) + steps))


def field(layers: str, size: int = 60, channels: int = 3) -> FieldFigures:
    """The figures of the last layer, which are the same by height and width."""
    height, width = by_axis(report(layers, size, channels).layers[-1].field)
    assert height == width
    return height


UP = "conv_transpose(1, "
ONE_STRIDE = {  # layers: smallest and largest size, stride, padding
    "conv(4, 3, padding=1) | conv_transpose(4, 3, stride=1, padding=1) | conv(4, 3)": (7, 7, 1, 2),
    UP + "2, stride=2)": (1, 1, "1/2", 0),
    UP + "3, stride=2, padding=1)": (1, 2, "1/2", 0),
    UP + "4, stride=2, padding=1)": (2, 2, "1/2", 1),
    UP + "5, stride=2, padding=2)": (2, 3, "1/2", 1),
    UP + "4, stride=3)": (1, 2, "1/3", 1),
    UP + "2, stride=3)": (0, 1, "1/3", 0),
    UP + "2, stride=2, dilation=3) | conv(1, 2)": (2, 3, "1/2", 1),
    UP + "3, stride=2, padding=1, output_padding=1)": (1, 2, "1/2", 0),
    "upsample(scale_factor=2)": (1, 1, "1/2", 0),
    "upsample(scale_factor=2) | conv(1, 3, padding=1)": (2, 2, "1/2", 1),
    "upsample(scale_factor=2, mode='bilinear')": (2, 2, "1/2", 1),
    "upsample(scale_factor=2, mode='bilinear') | conv(1, 3, padding=1)": (3, 3, "1/2", 1),
    "upsample(scale_factor=3, mode='bilinear')": (1, 2, "1/3", 1),
    "upsample(scale_factor=3) | conv(1, 3)": (1, 2, "1/3", 0),
    "upsample([45, 45], mode='bilinear')": (2, 2, "4/3", 0),
    "adaptive_avgpool(7)": (9, 10, "60/7", 0),
    "adaptive_avgpool(6)": (10, 10, 10, 0),
    "adaptive_maxpool(7)": (9, 10, "60/7", 0),
    "maxpool(3, stride=2, ceil_mode=True) | conv(1, 3, padding=1)": (7, 7, 2, 2),
    "concat(conv(1, 3, stride=2, padding=1), maxpool(3, stride=2, ceil_mode=True))": (4, 4, 2, 1),
    "concat(conv(1, 3, stride=2, padding=1), maxpool(3, stride=2, ceil_mode=True)) | conv(1, 3)": (8, 8, 2, 1),
    "conv(4, 3, padding=1) | maxpool(2) | conv(4, 3, padding=1)": (8, 8, 2, 3),
    "concat(conv(4, 1), conv(4, 5, padding=2), maxpool(3, stride=1, padding=1))": (5, 5, 1, 2),
    "concat(conv(4, 2), conv(4, 3, padding=1) | conv(4, 2))": (4, 4, 1, 1),
    "conv(4, 9, padding=4, dilation=3) | conv(4, 1, stride=3)": (25, 25, 3, 4),
    "pad_shortcut(4, stride=2)": (1, 1, 2, 0),
}


SPANS = {  # layers on a line of 9 positions: what each position of the last layer sees
    "roll(2)": "7 8 0 1 2 3 4 5 6",
    "pad([[1, 0]], mode='circular')": "8 0 1 2 3 4 5 6 7 8",
    "pad(1, mode='reflect')": "1 0 1 2 3 4 5 6 7 8 7",
    "pad([[0, 2]], mode='replicate')": "0 1 2 3 4 5 6 7 8 8 8",
    "pad([[0, 1]])": "0 1 2 3 4 5 6 7 8 -",
    "conv(2, 3, padding=1, padding_mode='circular')": "0-8 0-2 1-3 2-4 3-5 4-6 5-7 6-8 0-8",
    "conv(2, 3, padding='causal')": "0 0-1 0-2 1-3 2-4 3-5 4-6 5-7 6-8",
    "conv(2, 4, stride=4, padding='SAME')": "0-2 3-6 7-8",
    "slice(1, None, 3, axis='L')": "1 4 7",
    "slice(0, 4, axis='L') | conv(2, 3, padding=1)": "0-1 0-2 1-3 2-3",
    "chunk(2, 1, axis='L')": "5 6 7 8",
    "center_crop(4)": "2 3 4 5",
    "repeat(L=2) | slice(8, 11, axis='L')": "8 0 1",
    "tokens | roll(1) | transpose | conv(2, 2)": "0-8 0-1 1-2 2-3 3-4 4-5 5-6 6-7",
    "reshape(C=9, L=3)": "0-6 1-7 2-8",  # the first has the values 0, 3, 6 and so on
    "transpose | reshape(T=3, C=9)": "0-2 3-5 6-8",
    "upsample(5, mode='linear', align_corners=True)": "0 2 4 6 8",
    "upsample(scale_factor=0.5)": "0 2 4 6",
}


@pytest.mark.parametrize("layers", SPANS)
def test_what_each_position_sees(layers):
    (line,) = analyze(parse(f"name: t\ninput: {{C: 3, L: 9}}\nlayers:\n  - {layers}\n")).layers[-1].field
    seen = [stated(line, i)[1] for i in range(line.positions)]
    assert " ".join("-" if not s else str(s[0]) if s[0] == s[1] else f"{s[0]}-{s[1]}" for s in seen) == SPANS[layers]


def test_tokens_are_counted_on_both_axes_of_the_image():
    height, width = analyze(parse(HEAD.format([1, 2, 3]) + "  - tokens\n")).layers[-1].field
    assert [height.local[0].at(i)[0] for i in range(6)] == [0, 0, 0, 1, 1, 1]
    assert [width.local[0].at(i)[0] for i in range(6)] == [0, 1, 2, 0, 1, 2]


def test_a_field_that_is_no_box_is_unknown():
    """After the roll the first column sees the row before."""
    steps = "tokens | roll(1) | transpose | reshape(3, 6, 8)"
    assert analyze(parse(HEAD.format([3, 6, 8]) + f"  - {steps}\n")).layers[-1].field is None
    assert analyze(parse(HEAD.format([3, 6, 8]) + f"  - {steps.replace('roll(1) | ', '')}\n")).layers[-1].field


@pytest.mark.parametrize("layers", ONE_STRIDE)
def test_the_local_field(layers):
    least, most, stride, padding = ONE_STRIDE[layers]
    found = field(layers)
    assert (found.size_min, found.size, found.stride, found.padding) == (least, most, Fraction(stride), padding)
    assert (found.local_min, found.local, found.fixed) == (least, most, None)
    assert found.status == ("exact" if least == most else "varies")


@pytest.mark.parametrize(
    ("layers", "period"),
    [(UP + "3, stride=2, padding=1)", 2), (UP + "4, stride=3)", 3), ("adaptive_avgpool(7)", 7),
     ("conv(4, 3)", None), ("upsample(scale_factor=3) | conv(1, 3)", 3)],
)  # fmt: skip
def test_the_period(layers, period):
    assert field(layers).period == period


def test_adaptive_windows_of_10_to_7():
    found = field("adaptive_avgpool(7)", 10)
    assert (found.size_min, found.size, found.stride) == (2, 3, Fraction(10, 7))


GATE = "multiply(identity, global_avgpool | conv(in_channels, 1) | sigmoid)"
VECTOR_GATE = "multiply(identity, global_avgpool | flatten | linear(in_channels) | sigmoid)"
WHOLE = {  # layers: local size, stride, padding; None where no local path is left
    "global_avgpool | upsample([9, 9])": None,
    "global_avgpool | upsample([9, 9], mode='bilinear') | conv(1, 3)": None,
    "concat(a=identity, b=global_avgpool | upsample([60, 60])) | conv(1, 5)": (5, 1, 0),
    f"conv(4, 3) | {GATE.replace('identity', 'conv(4, 5, padding=2)')} | conv(4, 3, stride=2)": (9, 2, 2),
    "conv(2, 3) | groupnorm(1) | conv(2, 3)": (5, 1, 0),
    "conv(2, 3) | layernorm | conv(2, 3)": (5, 1, 0),
    "conv(2, 5, padding=2) | flatten | linear(3)": None,
    f"3 * {GATE}": (1, 1, 0),
    f"3 * {VECTOR_GATE}": (1, 1, 0),
    f"conv(4, 3) | {VECTOR_GATE.replace('identity', 'conv(4, 5, padding=2)')} | conv(4, 3, stride=2)": (9, 2, 2),
    "maximum(global_avgpool | flatten, conv(3, 3, padding=1), conv(1, 1))": (3, 1, 1),
    "add(global_avgpool | upsample([60, 60]), identity)": (1, 1, 0),
}


@pytest.mark.parametrize("layers", WHOLE)
def test_whole_input(layers):
    found = field(layers)
    assert (found.status, found.fixed, found.seen, found.seen_min) == ("whole input", (0, 59), 60, 60)
    local = None if found.local is None else (found.local, found.stride, found.padding)
    assert local == WHOLE[layers]
    assert found.size >= found.size_min >= 60
    assert found.size >= (found.local or 0)


def test_global_pooling_and_back_beside_the_image():
    found = field("concat(a=identity, b=global_avgpool | upsample([33, 33]))", 33)
    assert (found.status, found.size, found.local) == ("whole input", 33, 1)


def test_a_stride_that_leaves_rows_unread():
    found = field("conv(1, 3) | conv(1, 9, stride=4) | global_avgpool", 64)
    assert (found.status, found.fixed, found.size, found.stride) == ("fixed", (0, 62), 63, None)


def test_only_one_axis_is_read_whole():
    height, width = by_axis(report("conv(2, 3) | linear(5)").layers[-1].field)
    assert (height.status, height.size, width.status, width.size) == ("exact", 3, "whole input", 60)
    height, width = by_axis(report("conv(2, 3) | layernorm(58)").layers[-1].field)
    assert (height.status, height.size, width.status, width.local) == ("exact", 3, "whole input", 3)


def test_height_and_width_apart():
    height, width = by_axis(
        report("conv(4, [1, 7], padding=[0, 3]) | conv(4, 3, stride=[1, 2], dilation=2)", 32).layers[-1].field
    )
    assert (height.size, height.stride, height.padding) == (5, 1, 0)
    assert (width.size, width.stride, width.padding) == (11, 2, 3)


@pytest.mark.parametrize(
    ("layers", "size", "padding"),
    [("add(conv(1, 3), conv(1, 1, stride=2))", 5, 0),  # five positions into three, in two ways
     ("add(conv(3, 3, stride=2, padding=1) | upsample([51, 51]), identity)", 51, 1)],  # resized to its skip
)  # fmt: skip
def test_branches_of_different_strides_have_no_one_stride(layers, size, padding):
    made = report(layers, size)
    found = by_axis(made.layers[-1].field)[0]
    assert (found.status, found.size, found.stride, found.padding) == ("exact", 3, None, padding)
    walked = walk(made.graph, 0)[-1]
    assert [stated(made.layers[-1].field[0], i)[1] for i in range(len(walked))] == [seen.span for seen in walked]


@pytest.mark.parametrize("order", ["deep, shallow", "shallow, deep"])
def test_of_branches_pooled_apart_the_one_with_the_largest_local_field(order):
    deep, shallow = "4 * conv(3, 3, padding=1) | global_avgpool", f"conv(3, 1) | {GATE} | global_avgpool"
    branches = order.replace("deep", deep).replace("shallow", shallow)
    totals = report(f"concat({branches})").totals
    assert (totals.receptive_field, totals.field_status) == ((9, 9), ("exact", "exact"))


class TestTheLastLayerWithPlaces:
    def at(self, layers: str, size: int = 32) -> tuple[str, Any]:
        totals = report(layers, size).totals
        return totals.receptive_field_at, totals.receptive_field

    @pytest.mark.parametrize("pool", ["avgpool(16)", "global_avgpool", "maxpool(16)", "adaptive_maxpool(1)"])
    def test_it_is_before_a_pool_over_everything(self, pool):
        layers = f"  - last: conv(3, 3, stride=2, padding=1)\n  - {pool} | flatten | linear(2)\n"
        assert self.at(layers) == ("last", (3, 3))

    @pytest.mark.parametrize("pool", ["avgpool(16, padding=4)", "avgpool(16, padding=[0, 4])", "avgpool(15)",
                                      "maxpool(2, dilation=15)",
                                      "subsample(16)", "conv(2, 16)"])  # fmt: skip
    def test_a_pool_with_padding_or_weights_is_a_layer_like_any_other(self, pool):
        layers = f"  - conv(3, 3, stride=2, padding=1)\n  - last: {pool}\n  - flatten\n"
        assert self.at(layers)[0] == "last"

    def test_one_position_to_one_is_no_pool(self):
        assert self.at("  - conv(3, 32)\n  - last: maxpool(1) | relu\n  - flatten\n")[0] == "last.relu"
        assert self.at("  - last: conv(3, 32)\n  - global_avgpool | flatten\n")[0] == "last"

    def test_what_is_pooled_and_enlarged_again_has_places(self):
        totals = report(
            "  - conv(3, 3) | global_avgpool | conv(4, 1) | upsample([9, 9])\n  - last: conv(4, 3)\n"
        ).totals
        assert (totals.receptive_field_at, totals.field_status) == ("last", ("whole input", "whole input"))

    def test_a_gate_does_not_end_it(self):
        layers = f"  - conv(4, 3) | groupnorm(2)\n  - {GATE}\n  - last: conv(4, 3)\n  - global_avgpool | flatten\n"
        totals = report(layers, 32).totals
        assert (totals.receptive_field_at, totals.local_field) == ("last", (5, 5))
        assert totals.field_status == ("whole input", "whole input")


def test_a_network_on_an_image_smaller_than_its_field():
    figures = analyze(load("resnet50", input=(3, 32, 32))).totals
    assert (figures.receptive_field, figures.field_stride, figures.effective_padding) == (
        (483, 483), ("32", "32"), (241, 241),
    )  # fmt: skip
    assert figures.field_status == ("exact", "exact")
    assert figures.field_seen == figures.field_seen_min == (32, 32)


@pytest.mark.parametrize(("name", "size"), [("vgg16", 224), ("vgg16", 96), ("resnet18", 64), ("alexnet", 227)])
def test_what_is_seen_of_the_image(name, size):
    """The most and the least of any position, against the walk."""
    made = analyze(load(name, input=(3, size, size)))
    at = [node.name for node in made.graph.nodes].index(made.totals.receptive_field_at)
    sizes = [seen.span[1] - seen.span[0] + 1 for seen in walk(made.graph, 0)[at]]
    assert (made.totals.field_seen, made.totals.field_seen_min) == ((max(sizes),) * 2, (min(sizes),) * 2)


def test_figures_that_there_are_not():
    found = by_key(report("global_avgpool").layers[-1].field)
    assert (
        found["effective_stride"] is found["effective_padding"] is found["field_stride"] is found["local_field"] is None
    )
    assert found["receptive_field"] == (60, 60)
    found = by_key(report(UP + "2, stride=2)").layers[-1].field)
    assert (found["effective_stride"], found["field_stride"]) == (None, ("1/2", "1/2"))


def test_unknown_is_none(monkeypatch):
    monkeypatch.setattr(field_tables, "MOST", 50)
    made = report("upsample([59, 59]) | conv(1, 3) | relu")
    assert [layer.field is None for layer in made.layers] == [False, True, True, True]
    assert made.totals.receptive_field is None
    assert made.totals.field_status == ("unknown", "unknown")


def test_figures_of_layers_that_see_the_same_are_worked_out_once():
    """A table of 100,000 branches took twice as long and a third more memory."""
    made = report("conv(4, 3) | add(relu for i in range(9))")
    found = [by_key(layer.field) for layer in made.layers[1:]]
    assert all(figures is found[0] for figures in found)


@given(st.lists(st.tuples(st.integers(1, 5), st.integers(1, 3), st.integers(0, 2)), min_size=1, max_size=6))
def test_a_chain_of_windows_by_brute_force(windows):
    """Walk back from two output positions: first and last input position seen, and the step between outputs."""
    table = Laid(1, ((0, 0),))
    for window in windows:
        table = through(Window(*window), table, 9, Room())
    spans = []
    for position in (0, 1):
        first = last = position
        for kernel, stride, padding in reversed(windows):
            first, last = first * stride - padding, last * stride - padding + kernel - 1
        spans.append((first, last))
    assert table == Laid(spans[1][0] - spans[0][0], (spans[0],))


RULES: list[Reads] = [Nearest(10, 7), Window(3, 2, 1, 2), Transposed(5, 3, 1, 2), Window(40, 1, 3), Nearest(7, 11),
                      Transposed(2, 3), Window(2, 1)]  # fmt: skip


def test_a_table_that_is_not_laid_out_says_the_same(monkeypatch):
    def tables():
        table = Laid(1, ((0, 0),))
        for rule in RULES:
            other = through(rule, Laid(1, ((0, 0),)), 5, Room())
            table = through(rule, table, 5, Room())
            yield table
            if other.advance * table.period == table.advance * other.period:
                yield merge([table, other], 5, Room())

    laid = list(tables())
    monkeypatch.setattr(field_tables, "LAID", 0)
    worked = list(tables())
    assert any(isinstance(table, Worked) for table in worked)
    for one, other in zip(laid, worked, strict=True):
        assert [one.at(i) for i in range(-60, 60)] == [other.at(i) for i in range(-60, 60)]


def test_thousands_of_tables_that_are_not_laid_out(monkeypatch):
    """Positions outside the layers are asked for from table to table: in a loop, not by calls within calls."""
    monkeypatch.setattr(field_tables, "LAID", 0)
    made = report("  - upsample([1, 331]) | maxpool([1, 2])\n  - 400 * conv(1, [1, 3], padding=[0, 1])\n", 300, 1)
    height, width = made.layers[-1].field
    assert (height.positions, width.positions) == (1, 165)
    assert isinstance(width.local[0], Worked)
    assert by_axis(made.layers[-1].field)[1].local > 800


def test_long_axes_stay_cheap():
    """What would take too long is unknown: a million positions that differ, on every layer."""
    layers = f"  - conv_transpose(1, 1, stride=[1, {2**20}])\n  - 50 * conv(1, 1)\n"
    made = analyze(parse(HEAD.format([1, 1, 2]) + layers))
    assert made.totals.receptive_field is None


@pytest.mark.parametrize(("convolutions", "known"), [(200, True), (300, False)])
def test_positions_of_two_strides_are_paid_for_on_every_layer(convolutions, known):
    layers = f"  - add(conv(1, [1, 2048]), conv(1, 1, stride=[1, 2]))\n  - {convolutions} * conv(1, 3, padding=1)\n"
    made = analyze(parse(HEAD.format([1, 1, 4095]) + layers))
    assert (made.totals.receptive_field is not None) == known


def test_a_gate_on_an_axis_of_millions_is_known():
    layers = f"  - conv(4, 3, stride=2)\n  - 100 * (conv(4, 3, padding=1) | {GATE})\n"
    found = by_axis(analyze(parse(HEAD.format([4, 9, 10**7]) + layers)).layers[-1].field)[1]
    assert (found.fixed, found.local, found.seen_min) == ((0, 10**7 - 2), 403, 10**7 - 1)


UNREAD = "adaptive_avgpool([20, 20]) | conv(1, 2, stride=3)"  # the last rows
SEEN = [
    "conv(1, 5, padding=2) | conv(1, 3, stride=2)",
    "conv(1, 9, padding=20)",
    f"add({UNREAD}, {UNREAD} | global_avgpool | upsample([7, 7])) | conv(1, 9, padding=9)",
    "add(identity, conv(1, 2, stride=7) | global_avgpool | upsample([200, 200])) | 3 * conv(1, 3, padding=1)",
    "add(identity, conv(1, 1, stride=9) | conv(1, 9) | global_avgpool | upsample(200)) | conv(1, 9, padding=30)",
    "conv(1, 3, stride=9) | global_avgpool | upsample(9)",
    "groupnorm(1) | conv_transpose(1, 3, stride=4)",
    "add(identity, conv(1, 1, stride=9) | global_avgpool | upsample(200)) | conv_transpose(1, 5, stride=3, padding=2)",
]


@pytest.mark.parametrize("layers", SEEN)
def test_sizes_are_those_of_some_position(layers):
    """The figures look at a few positions; here all are looked at."""
    made = report(layers, 200, 1).layers[-1].field[0]
    found, fields = by_axis((made, made))[0], [stated(made, i) for i in range(made.positions)]
    ideal, seen = ([span[1] - span[0] + 1 if span else 0 for span in column] for column in zip(*fields, strict=True))
    sizes = [max(pair) for pair in zip(ideal, seen, strict=True)] if made.fixed else ideal
    assert (found.seen_min, found.seen) == (min(seen), max(seen))
    assert (found.size_min, found.size) == (min(sizes), max(sizes))


BRANCHES = {  # layers, and a branch that adds to what they see
    "the rest of the image": (
        "multiply(identity, conv(4, 1, stride=4) | global_avgpool) | conv(4, 9, padding=4)", "global_avgpool",
    ),
    "what gaps leave out": (
        "groupnorm(1) | conv_transpose(4, 5, stride=4, padding=2, dilation=2)", "adaptive_avgpool(30)",
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", BRANCHES)
def test_no_figure_falls_where_a_branch_is_added(what):
    layers, branch = BRANCHES[what]
    start = by_axis(report(layers, channels=4).layers[-1].field)[0]
    size = report(layers, channels=4).layers[-1].node.output[1]
    branch = f"{branch} | upsample([{size}, {size}])"
    more = by_axis(report(f"{layers} | concat(identity, {branch})", channels=4).layers[-1].field)[0]
    for figure in ("size", "size_min", "seen", "seen_min"):
        assert getattr(more, figure) >= getattr(start, figure)


def test_a_kernel_of_a_million():
    found = (
        analyze(parse(HEAD.format([1, 1, 9]) + f"  - conv(1, [1, {2**20}], padding=[0, {2**20}])\n")).layers[-1].field
    )
    assert by_axis(found)[1].size == 2**20


def check_all(count: int, seed: int) -> Counter[str]:
    counts: Counter[str] = Counter()
    for own, graph in graphs(count, seed):
        check(graph, own, counts)
    return counts


def test_random_graphs():
    """Nothing outside what is stated, and all of it where nothing was cut; `make fields` does it with thousands.

    What may be stated and not seen (docs/explanation/receptive-field.md): rows that a stride or dilation skips at an
    end or behind gaps, where a part is fixed or cut; and a field on one axis of what reads only padding on the other.
    """
    counts = check_all(40, 2026)
    assert min(counts[kind] for kind in ("reached", "exact", "varies", "whole input", "fixed", "local")) > 20
    assert counts["blind"] < 20


WRONG = {
    "a window one too small": lambda window: window._replace(kernel=window.kernel - (window.kernel > 1)),
    "a window one too large": lambda window: window._replace(kernel=window.kernel + 1),
    "another stride": lambda window: window._replace(stride=window.stride + 1),
    "another padding": lambda window: window._replace(padding=window.padding + 1),
    "no dilation": lambda window: window._replace(dilation=1),
}


@pytest.mark.parametrize("what", WRONG)
def test_a_wrong_window_is_noticed(what, monkeypatch):
    right = Conv.window
    monkeypatch.setattr(Conv, "window", lambda op, x: tuple(WRONG[what](axis) for axis in right(op, x)))
    with pytest.raises(AssertionError, match=r"axis [01], position \d+, seed"):
        check_all(20, 1)
