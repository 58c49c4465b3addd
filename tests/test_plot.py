"""Pictures: what is drawn are the figures."""

from functools import cache
from itertools import pairwise

import pytest
from support.pictures import MANY, figures, label_texts, needs, plot, points, reports

from archcalc import analyze, load, parse
from archcalc.analysis import field_tables
from archcalc.analysis.figures import numbers
from archcalc.analysis.memory_trace import KINDS
from archcalc.auditing.claims import accuracies_of
from archcalc.catalog import matching
from archcalc.comparing.accuracy import (
    Point,
    frontier,
    points_or_torchvisions,
    published_errors,
    published_point,
    published_points,
)
from archcalc.render.pictures import comparison, fields, memory, pareto, profile
from archcalc.render.pictures.sheets import sheet, short, ticks_between

FACTORS = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9}


@pytest.mark.parametrize("depth", [None, 1])
@pytest.mark.parametrize("name", ["vgg16", "resnet50", "densenet264", "lenet5"])
def test_profiles_are_drawn_to_scale(name, depth):
    report = analyze(load(name), batch=2)
    with sheet(profile.SIZE) as made:
        profile.draw(made, report, depth)
        drawn = {}
        for ax in made.figure.axes:
            for patch in ax.patches:
                if patch.get_gid() in profile.DRAWN:
                    title = ax.get_title(loc="left")
                    unit = title.partition("(")[2].rstrip(")").split(" ")[0]
                    factor = FACTORS[unit if unit in FACTORS else ""]
                    drawn[patch.get_gid()] = [round(value * factor) for value in patch.get_data().values]
                    assert f"total {getattr(report.totals, patch.get_gid()):,}" in ax.get_title(loc="right")
                    assert ax.get_ylim()[1] >= max(patch.get_data().values)
    expected = profile.bars(report, depth)
    for figure in profile.DRAWN:
        assert drawn[figure] == [getattr(bar, figure) for bar in expected]
        assert sum(drawn[figure]) == getattr(report.totals, figure)


def test_a_bar_is_a_layer_with_weights_and_what_follows():
    bars = profile.bars(analyze(load("vgg16")))
    assert [bar.name for bar in bars[:3]] == ["input", "stage1.conv1", "stage1.conv2"]
    assert len(bars) == 1 + 16
    assert len(profile.bars(figures("resnet50"))) == 1 + 54  # normalization begins none
    assert bars[2].activations == 3_211_264 + 802_816  # with the pooling behind it
    assert [name for _, _, name in profile.blocks_of(bars)][-3:] == ["fc6", "fc7", "fc8"]
    assert profile.blocks_of(bars)[1] == (1, 3, "stage1")


def test_blocks_are_named_above_their_bars():
    with sheet(profile.SIZE) as made:
        report = analyze(load("resnet50"))
        profile.draw(made, report)
        strip = made.figure.axes[0]
        middles = {name: (start + stop - 1) / 2 for start, stop, name in profile.blocks_of(profile.bars(report))}
        named = {text.get_text(): text.get_position()[0] for text in strip.texts}
    assert list(named) == ["input", "stem", "stage1", "stage2", "stage3", "stage4", "head"]
    for name in ("stage1", "stage2", "stage3", "stage4"):
        assert named[name] == pytest.approx(middles[name])


def test_fields_of_vgg16():
    assert fields.curve(analyze(load("vgg16"))).fields == [1, 3, 6, 10, 16, 24, 32, 44, 60, 76, 100, 132, 164, 212]


@pytest.mark.parametrize("name", ["resnet50", "googlenet", "densenet264", "inception-v3", "squeezenet1.0"])
def test_a_field_ends_as_the_totals_say(name):
    for mode in ("infer", "train"):
        report = analyze(load(name), mode=mode)
        sizes = fields.curve(report).fields
        assert sizes[0] == 1
        assert sizes[-1] == max(report.totals.receptive_field)
        assert max(sizes) == sizes[-1]
        assert None not in sizes


@pytest.mark.parametrize("recipe", [("momentum",), ()])
def test_memory_is_drawn_to_scale(recipe):
    found = needs("vgg16", *recipe)
    points = found.curve(memory.MOST).points
    with sheet(memory.SIZE) as made:
        memory.draw(made, found)
        ax = made.figure.axes[0]
        drawn = {patch.get_gid(): patch.get_data() for patch in ax.patches if patch.get_gid() in KINDS}
    factor = FACTORS[ax.get_ylabel().removesuffix("B")]
    for i, kind in enumerate(KINDS):
        values = [point[i] for point in points]
        assert (kind in drawn) == any(values)
        if kind in drawn:
            height = (drawn[kind].values - drawn[kind].baseline) * factor
            assert height == pytest.approx(values, abs=1)
    (peak,) = [line.get_ydata()[0] for line in ax.lines if line.get_gid() == "peak"]
    assert peak * factor == pytest.approx(found.top.peak, abs=1)
    assert ax.get_ylim()[1] > peak


UNEVEN = """
name: flat
input: [3, 8, 8]
layers:
  - concat: {a: 'maxpool(2) | upsample(8)', b: 'conv(4, 1)'}
"""


def test_lines_differ_in_more_than_colour_and_are_named_at_their_ends():
    some = reports("vgg16 resnet50 googlenet alexnet lenet5 zfnet squeezenet1.0 densenet121")
    with sheet(fields.SIZE) as made:
        assert fields.draw(made, some) == []
        ax = made.figure.axes[0]
        curves, ends = ax.lines[:8], [line for line in ax.lines if line.get_gid() == "end"]
        looks = [(line.get_color(), str(line.get_linestyle()), line._unscaled_dash_pattern) for line in curves]
        for one, other in pairwise(looks):
            assert one[0] != other[0]
            assert one[2] != other[2]
        for line, end in zip(curves, ends, strict=True):
            assert (line.get_xdata()[-1], line.get_ydata()[-1]) == (end.get_xdata()[0], end.get_ydata()[0])
            assert line.get_color() == end.get_color()
        assert not made.figure.legends
        texts = {f"{report.graph.name}: {max(report.totals.receptive_field):,}" for report in some}
        assert {text.get_text() for text in label_texts(made)} == texts


def test_no_two_lines_look_alike():
    looks = {(fields.DASHES[i % len(fields.DASHES)], i % 7) for i in range(fields.LIMIT)}
    assert len(looks) == fields.LIMIT == 28


@pytest.fixture
def no_room(monkeypatch):
    """Fields that vary with the position are not worked out: they are unknown."""
    monkeypatch.setattr(field_tables, "MOST", 0)


def test_a_network_that_sees_more_does_not_look_as_if_it_saw_less():
    plain, gated = reports("timm/seresnet50 torchvision/resnet50")[::-1]
    sizes = fields.curve(gated).fields
    assert sizes == sorted(sizes)
    assert (sizes[4], sizes[5], sizes[-1]) == (224, 224, 427)  # the first gate is behind four layers
    assert fields.curve(gated).end == "whole, local 427"
    assert "Whole: " in fields.caption([gated], [fields.curve(gated)])
    assert "Whole: " not in fields.caption([plain], [fields.curve(plain)])


ENDS = {  # layers on 1×9×9: what stands at the end of the line, and behind the bar
    "conv(1, 3)": ("3", "3"),
    "conv(1, 9) | upsample([9, 9])": ("whole", "9, whole"),
    "groupnorm(1) | conv(1, 3)": ("whole, local 3", "9, whole"),
    "conv(1, 3) | linear(5)": ("3 × whole", "9"),
    "conv(1, 2, stride=2) | global_avgpool | upsample([9, 9])": ("0…7 fixed", "8"),
}


@pytest.mark.parametrize("layers", ENDS)
def test_only_what_is_seen_by_height_and_width_is_called_whole(layers):
    report = analyze(parse(f"name: t\ninput: [1, 9, 9]\nlayers: ['{layers}']"))
    with sheet(comparison.size(1, 1)) as made:
        comparison.draw(made, [report], ["receptive_field"])
        assert (fields.curve(report).end, made.figure.axes[0].texts[0].get_text()) == ENDS[layers]


def test_bars_of_networks_that_see_the_whole_input_say_so():
    some = reports("torchvision/resnet50 timm/seresnet50")
    with sheet(comparison.size(2, 1)) as made:
        comparison.draw(made, some, ["receptive_field"])
        assert [text.get_text() for text in made.figure.axes[0].texts] == ["427", "427, whole"]


@pytest.mark.usefixtures("no_room")
def test_what_has_no_ratio_is_nothing_but_unknown():
    some = [analyze(parse(UNKNOWN)), *reports("timm/seresnet50")]
    with sheet(comparison.size(2, 1)) as made:
        comparison.draw(made, some, ["receptive_field"], relative=True)
        assert [text.get_text() for text in made.figure.axes[0].texts] == ["–", "–"]


@pytest.mark.parametrize("layers", ["identity", "conv(1, 3, padding=1)"])
def test_small_fields_have_whole_ticks(layers):
    small = analyze(parse(f"name: t\ninput: [1, 1, 1]\nlayers: ['{layers}']"))
    with sheet(fields.SIZE) as made:
        fields.draw(made, [small])
        ticks = made.figure.axes[0].get_yticks()
        assert list(ticks) == [int(tick) for tick in ticks]


@pytest.mark.usefixtures("no_room")
def test_a_network_without_any_field_is_named():
    flat = analyze(parse(UNEVEN))
    assert "The field of flat is unknown." in fields.caption([flat], [fields.curve(flat)])
    with sheet(fields.SIZE) as made:
        assert fields.draw(made, [flat, *reports("vgg16")]) == []
        assert [text.get_text() for text in label_texts(made)] == ["vgg16: 212"]


UNKNOWN = """
name: up
input: [3, 32, 32]
layers: ["conv(4, 3) | conv(4, 3)", "conv_transpose(4, 3, stride=2)", "conv(4, 3)"]
"""


@pytest.mark.usefixtures("no_room")
def test_a_depth_is_unknown_where_one_of_its_layers_is():
    assert fields.curve(analyze(parse(UNEVEN))).fields == [None, None]


@pytest.mark.usefixtures("no_room")
def test_unknown_fields_are_gaps():
    report = analyze(parse(UNKNOWN))
    assert fields.curve(report).fields == [1, 3, 5, None, None]
    with sheet(fields.SIZE) as made:
        fields.draw(made, [report, *reports("vgg16")])
        first, second = made.figure.axes[0].lines[:2]
        drawn = [str(y) for y in first.get_ydata()]
        assert drawn == ["1.0", "3.0", "5.0", "nan", "nan"]
        assert list(second.get_ydata()) == fields.curve(reports("vgg16")[0]).fields
        assert [text.get_text() for text in label_texts(made)] == ["up: unknown from here on", "vgg16: 212"]
        inputs = {line.get_ydata()[0] for line in made.figure.axes[0].lines if line.get_gid() == "input"}
        assert inputs == {32, 224}


@pytest.mark.usefixtures("no_room")
@pytest.mark.parametrize("relative", [False, True])
def test_comparisons_are_drawn_to_scale(relative):
    made_of = [*reports("vgg16 resnet50 lenet5"), analyze(parse(UNKNOWN))]
    with sheet(comparison.size(4, len(numbers()))) as made:
        comparison.draw(made, made_of, list(numbers()), relative)
        axes = [ax for ax in made.figure.axes if ax.get_visible()]
        for ax, figure in zip(axes, numbers(), strict=True):
            unit = ax.get_title(loc="left").partition("(")[2].rstrip(")").removesuffix("B").split(" ")[0]
            factor = FACTORS.get(unit, 1)
            wanted = comparison.bar_values(made_of, figure, relative)
            assert [bar.get_width() * factor for bar in ax.patches] == pytest.approx([value or 0 for value in wanted])
            texts = [text.get_text() for text in ax.texts]
            assert [text == "–" for text in texts] == [value is None for value in wanted]
            end = max(text.get_window_extent().x1 for text in ax.texts)
            assert max(bar.get_window_extent().x1 for bar in ax.patches) < end <= ax.get_window_extent().x1
    names = [text.get_text() for text in axes[0].get_yticklabels()]
    assert names == ["vgg16\n3×224×224", "resnet50\n3×224×224", "lenet5\n1×32×32", "up\n3×32×32"]
    assert comparison.bar_values(made_of, "receptive_field") == [212, 483, 32, None]
    assert comparison.bar_values(made_of, "macs", relative=True)[0] == 1


def test_there_is_no_air_above_many_bars():
    with sheet(comparison.size(48, 4)) as made:
        comparison.draw(made, reports(MANY) * 4)
        ax = made.figure.axes[0]
        assert ax.get_ylim() == (47.5, -0.5)
        title, top = ax._left_title.get_window_extent(), max(bar.get_window_extent().y1 for bar in ax.patches)
        assert 0 < title.y0 - top < 0.5 * made.figure.dpi


ACCURACIES = {
    "alexnet": 57.1, "bn-inception": 74.8, "densenet121": 74.98, "googlenet": 68.7, "inception-v3": 78.8,
    "preresnet200": 78.34, "resnet50": 75.3, "resnext101-64x4d": 79.6, "torchvision/resnet50": 76.13,
    "torchvision/inception_v3": 77.294, "vgg16": None, "zfnet": None, "squeezenet1.0": None, "resnet110": None,
    "lenet5": None, "inception-v2": None, "inception-v3-79": None,
}  # fmt: skip


@pytest.mark.parametrize("name", ACCURACIES)
def test_accuracies_are_of_one_protocol(name):
    """Ten crops, dense evaluation, ensembles, other data sets and other sizes are left out."""
    found = published_point(name)
    assert (found.top1 if found else None) == ACCURACIES[name]


def test_points_are_of_the_specs_and_the_figures():
    assert len(points()) > 40
    _, without = published_points(["alexnet", "lenet5", "resnet50", "vgg16"])
    assert without == ["lenet5", "vgg16"]
    for point in points():
        totals, known = figures(point.name).totals, accuracies_of(figures(point.name).graph.origin)
        assert (point.macs, point.params) == (totals.macs, totals.params)
        said = [a for a in known if a.source == point.source and a.dataset == "ImageNet validation"]
        printed = [a for a in said if (a.metric == "top1_error") == point.error]
        assert any(abs(float(a.printed) - abs(point.top1 - 100 * point.error)) < 1e-9 for a in printed)


def test_the_picture_and_the_table_show_one_test():
    for point in points():
        errors = published_errors(figures(point.name).graph)
        assert (errors.top1_error, errors.source) == (pytest.approx(100 - point.top1), point.source)


def test_of_two_sources_both_show_the_one_with_more_figures(tmp_path):
    one = "{source: one, dataset: ImageNet validation, protocol: single crop 8, top1: 60}"
    both = "{source: both, dataset: ImageNet validation, protocol: single crop 8, top1_error: 41, top5_error: 20}"
    for said, source, top1 in (([one], "one", 60), ([one, both], "both", 59)):
        text = f"name: mine\ninput: [3, 8, 8]\nlayers: ['conv(1, 3)']\naccuracy: [{', '.join(said)}]\n"
        (tmp_path / "mine.yaml").write_text(text)
        found = published_point(str(tmp_path / "mine.yaml"))
        assert (found.source, found.top1) == (source, top1)
        assert published_errors(parse(text)).source == source


def test_by_default_only_the_papers_networks_are_drawn(tmp_path, monkeypatch):
    asked, one = [], points("alexnet")
    monkeypatch.setattr(
        "archcalc.comparing.accuracy.published_points",
        lambda names: asked.append(list(names)) or (list(one), ["vgg16"]),
    )
    for arguments in ((), ("*",), ("torchvision/*",)):
        assert plot("pareto", *arguments, "--force", "-o", tmp_path / "x.svg").exit_code == 0
    own, instead, every, _, library, _ = asked
    assert every == matching(())
    assert own == [name for name in every if "/" not in name]
    assert instead == ["torchvision/vgg16"]
    assert library == [name for name in every if name.startswith("torchvision/")]


def test_where_a_paper_tests_otherwise_the_point_is_torchvisions(tmp_path):
    (tmp_path / "vgg19.yaml").write_text(MINE.replace("mine", "vgg19"))
    names = ["vgg16", "alexnet", "lenet5", str(tmp_path / "vgg19.yaml"), "vgg13", "torchvision/vgg13"]
    found, without = points_or_torchvisions(names)
    assert [p.name for p in found] == ["alexnet", "torchvision/vgg13", "torchvision/vgg16"]
    assert without == ["lenet5", "vgg19"]


MINE = "name: mine\ninput: [3, 8, 8]\nlayers: ['conv(1, 3)']\n"


def test_a_network_of_ones_own_is_drawn_beside_the_others(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.yaml").write_text(MINE)
    seen = []
    monkeypatch.setattr(pareto, "draw", lambda made, points: seen.extend(points))
    result = plot("pareto", "alexnet", "lenet5", "resnet50", "--point", "mine.yaml=70.5", "--point", "resnet50=77",
                  "--point", "lenet5=1e1", "-o", "x.svg")  # fmt: skip
    assert (result.exit_code, result.output) == (0, "")
    assert [(p.name, p.top1, bool(p.source)) for p in seen] == [
        ("alexnet", 57.1, True), ("mine", 70.5, False), ("resnet50", 77, False), ("lenet5", 10, False),
    ]  # fmt: skip
    assert (seen[1].macs, seen[1].params) == (972, 28)
    with sheet(pareto.SIZE) as made:
        monkeypatch.undo()
        pareto.draw(made, seen)
        bold = [text.get_text() for text in label_texts(made) if text.get_weight() == "bold"]
        assert bold == ["mine", "resnet50", "lenet5"]
        assert "Bold: the authors' own figure." in made.said
    with sheet(pareto.SIZE) as made:
        pareto.draw(made, seen[1:])
        assert "published in" not in made.said


@cache
def some_points():
    return points("torchvision/*", "resnet50", "alexnet", "googlenet")


def test_balls_are_where_and_as_large_as_they_should():
    points = some_points
    with sheet(pareto.SIZE) as made:
        assert pareto.draw(made, points()) == []
        balls = made.figure.axes[0].collections[0]
        drawn = {
            (round(x * 1e9), round(y, 4)): size
            for (x, y), size in zip(balls.get_offsets(), balls.get_sizes(), strict=True)
        }
        assert set(drawn) == {(p.macs, p.top1) for p in points()}
        largest = max(p.params for p in points())
        for p in points():
            assert drawn[p.macs, p.top1] == pytest.approx(max(pareto.SMALLEST, p.params / largest * pareto.LARGEST))
        labels = [text for text in made.figure.texts if text.get_gid() == "label"]
        folder = "torchvision/"
        named = [folder * (text.get_style() == "italic") + text.get_text() for text in labels]
        assert sorted(named) == sorted(p.name for p in points())


def test_the_frontier():
    given = {"a": (5, 60), "b": (1, 50), "c": (3, 50), "d": (5, 61), "e": (9, 61), "f": (9, 70)}
    some = [Point(name, "f", macs, 1, top1, "s", "") for name, (macs, top1) in given.items()]
    assert [p.name for p in frontier(some)] == ["b", "d", "f"]


def test_the_caption_of_a_profile_has_its_conditions_and_no_convention_of_flops():
    report = analyze(load("lenet5"), batch=2, mode="train")
    assert profile.caption(report).startswith("input 1×32×32 · batch 2 (all figures) · float32 · training · MACs: ")


def test_the_caption_names_protocol_and_sources():
    text = pareto.caption(points())
    assert "single crop" in text
    assert "If a source prints the error: 100 − error." in text
    assert "100 −" not in pareto.caption(points("torchvision/*"))  # which prints accuracies
    for point in points():
        assert point.source in text
        assert point.note in text


@pytest.mark.parametrize(
    ("largest", "sizes"),
    [
        (143_000_000, [100_000_000, 20_000_000, 2_000_000]),
        (1_200_000, [1_000_000, 200_000, 20_000]),
        (7, [5, 1]),
        (1, [1]),
    ],
)
def test_ball_sizes_of_the_legend(largest, sizes):
    assert pareto.ball_sizes(largest) == sizes


def test_short_numbers():
    values = (0, 7, 1311, 12_345, 999_600, 999_499, 7 * 10**6, 25_557_032, 15_470_264_320, 5 * 10**12, 10**16)
    texts = ["0", "7", "1,311", "12.3k", "1.00M", "999k", "7.00M", "25.6M", "15.5G", "5.00T", "10,000T"]
    assert [short(v) for v in values] == texts
    assert list(ticks_between(0.3, 20)) == [0.5, 1, 2, 5, 10, 20]
