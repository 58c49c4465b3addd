"""Pictures: nothing overlaps or is cut, what is drawn are the figures, and files are the same every time."""

import os
import random
import subprocess
import sys
import warnings
import xml.etree.ElementTree as ET
from functools import cache
from itertools import combinations, pairwise

import matplotlib
import pytest
from click.testing import CliRunner

from archcalc import analyze, load, parse
from archcalc import cli as cli_module
from archcalc.analysis import field_tables
from archcalc.analysis.figures import numbers
from archcalc.catalog import load_with, matching
from archcalc.cli import cli
from archcalc.comparing.accuracy import Point, frontier, papers_own, published_point, published_points
from archcalc.render.pictures import comparison, fields, names, pareto, profile
from archcalc.render.pictures.labels import Spot, place
from archcalc.render.pictures.sheets import DARK, LIGHT, sheet, short, ticks_between

FACTORS = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9}


# ---- nothing overlaps, nothing is cut


def shown_texts(figure):
    """All texts that are drawn, with the boxes they take, in dots."""
    texts = [*figure.texts, *(text for legend in figure.legends for text in legend.get_texts())]
    texts += [legend.get_title() for legend in figure.legends]
    for ax in figure.axes:
        if ax.get_visible():
            texts += [*ax.texts, ax.title, ax._left_title, ax._right_title]
            texts += axis_texts(ax) if ax.axison else []
    return [(text, text.get_window_extent()) for text in texts if text.get_visible() and text.get_text().strip()]


def axis_texts(ax):
    found = []
    for axis, limits in ((ax.xaxis, ax.get_xlim()), (ax.yaxis, ax.get_ylim())):
        found += [axis.label, axis.get_offset_text()]
        for tick in axis.get_major_ticks():
            inside = min(limits) <= tick.get_loc() <= max(limits)
            found += [label for label in (tick.label1, tick.label2) if inside and label.get_visible()]
    return found


def check_readable(figure):
    """Raise AssertionError where two texts overlap, one is cut by the figure's edge, or a legend covers one."""
    figure.draw_without_rendering()
    boxes = [(text.get_text(), box) for text, box in shown_texts(figure)]
    assert len(boxes) > 3
    for text, box in boxes:
        inside = box.x0 >= 0 and box.y0 >= 0 and box.x1 <= figure.bbox.x1 and box.y1 <= figure.bbox.y1
        assert inside, f"{text!r} is cut: {box}"
    for (one, a), (other, b) in combinations(boxes, 2):
        apart = a.x1 <= b.x0 or b.x1 <= a.x0 or a.y1 <= b.y0 or b.y1 <= a.y0
        assert apart, f"{one!r} and {other!r} overlap"
    check_leaders(figure)
    for legend in figure.legends:
        own, box = [text.get_text() for text in (*legend.get_texts(), legend.get_title())], legend.get_window_extent()
        assert box.y0 >= 0
        for text, other in boxes:
            if text not in own:
                assert not box.overlaps(other), f"the legend covers {text!r}"


def check_leaders(figure):
    """Raise AssertionError where a line that leads to a name cuts a name, its own too."""
    names = [(text.get_text(), text.get_window_extent()) for text in figure.texts if text.get_gid() == "label"]
    for line in figure.get_children():
        if line.get_gid() == "leader":
            path = line.get_path().transformed(line.get_transform())
            for name, box in names:
                assert not path.intersects_bbox(box.padded(-1), filled=False), f"a line cuts {name!r}"


@cache
def figures(name, **options):
    return analyze(load(name), **options)


def reports(names, **options):
    return [figures(name, **options) for name in names.split()]


@cache
def points(*patterns):
    return published_points(matching(patterns))[0]


@cache
def papers():
    return published_points(papers_own(matching(())))[0]


MANY = "alexnet zfnet vgg11 vgg16 googlenet inception-v3 resnet18 resnet50 resnet152 densenet264 lenet5 squeezenet1.0"
PICTURES = {
    "profile vgg16": (profile, profile.SIZE, lambda: (reports("vgg16")[0],)),
    "profile alexnet": (profile, profile.SIZE, lambda: (reports("alexnet")[0],)),
    "profile googlenet by block": (profile, profile.SIZE, lambda: (reports("googlenet", mode="train")[0], 1)),
    "profile inception-v3": (profile, profile.SIZE, lambda: (reports("inception-v3", batch=32)[0],)),
    "profile densenet264": (profile, profile.SIZE, lambda: (reports("densenet264")[0],)),
    "profile resnet1202": (profile, profile.SIZE, lambda: (reports("resnet1202")[0],)),
    "profile one layer": (profile, profile.SIZE, lambda: (reports("blocks/conv3x3")[0],)),
    "profile 1D": (profile, profile.SIZE, lambda: (analyze(parse("name: t\ninput: [9]\nlayers: [linear(2)]\n")),)),
    "fields one": (fields, fields.SIZE, lambda: (reports("vgg16"),)),
    "fields two": (fields, fields.SIZE, lambda: (reports("vgg16 resnet1202"),)),
    "fields many": (fields, fields.SIZE, lambda: (reports(MANY),)),
    "fields log": (fields, fields.SIZE, lambda: (reports("lenet5 resnet110"),)),
    "fields 1D": (fields, fields.SIZE, lambda: ([analyze(parse("name: t\ninput: [9]\nlayers: [linear(2)]\n"))],)),
    "compare one": (comparison, comparison.size(1, 4), lambda: (reports("lenet5"),)),
    "compare two": (comparison, comparison.size(2, 4), lambda: (reports("resnet50 torchvision/resnet50"),)),
    "compare many, all": (comparison, comparison.size(12, len(numbers())), lambda: (reports(MANY), list(numbers()))),
    "compare all": (comparison, comparison.size(50, 4), lambda: ((reports(MANY) * 5)[:50],)),
    "compare ratios": (comparison, comparison.size(12, 4), lambda: (reports(MANY), comparison.USUAL, True)),
    "pareto papers": (pareto, pareto.SIZE, lambda: (papers(),)),
    "pareto all": (pareto, pareto.SIZE, lambda: (points(),)),
    "pareto torchvision": (pareto, pareto.SIZE, lambda: (points("torchvision/*"),)),
    "pareto three": (pareto, pareto.SIZE, lambda: (points("alexnet", "resnet50", "torchvision/vgg16"),)),
    "pareto one": (pareto, pareto.SIZE, lambda: (points("resnet50"),)),
}


DARK_TOO = "profile googlenet by block", "fields many", "compare ratios", "pareto torchvision"  # the layout is the same
THEMES = [(name, dark) for name in PICTURES for dark in (False, True) if not dark or name in DARK_TOO]


@pytest.mark.parametrize(("name", "dark"), THEMES)
def test_pictures_are_readable(name, dark):
    picture, size, arguments = PICTURES[name]
    with sheet(*size, dark) as made:
        unnamed = picture.draw(made, *arguments())
        assert not unnamed
        assert made.figure.get_facecolor() == matplotlib.colors.to_rgba((DARK if dark else LIGHT).paper)
        check_readable(made.figure)


def test_lines_lead_neither_through_names_nor_through_each_other():
    """Nothing else stands in their way where there is but one set of networks; and one that did would be noticed."""
    with sheet(*pareto.SIZE) as made:
        pareto.draw(made, papers())
        leaders = [line for line in made.figure.get_children() if line.get_gid() == "leader"]
        ways = [line.get_path().transformed(line.get_transform()) for line in leaders]
        assert len(ways) > 10
        assert not any(one.intersects_path(other, filled=False) for one, other in combinations(ways, 2))
        check_leaders(made.figure)
        leaders[0].set_xdata((0, 1))
        leaders[0].set_ydata([label_texts(made)[0].get_position()[1]] * 2)
        with pytest.raises(AssertionError, match="a line cuts"):
            check_leaders(made.figure)


@pytest.mark.parametrize(("apart", "near"), [(0.01, True), (0.5, False)])
def test_a_name_that_could_be_anothers_has_a_line(apart, near):
    with sheet(6, 6) as made:
        ax = made.figure.add_subplot()
        two = [names.Named("one", 0.3, 0.5, 8), names.Named("other", 0.3 + apart, 0.5, 8)]
        assert names.write_names(made, ax, two, 9) == []
        assert any(child.get_gid() == "leader" for child in made.figure.get_children()) == near


@pytest.mark.parametrize("spoil", ["overlap", "cut", "legend"])
def test_the_test_above_would_notice(spoil):
    with sheet(*profile.SIZE) as made:
        profile.draw(made, reports("lenet5")[0])
        if spoil == "legend":
            made.figure.legend([made.figure.axes[1].patches[0]], ["x"], loc="upper left")
        else:
            made.figure.text(*{"overlap": (0.03, 0.02), "cut": (0.99, 0.5)}[spoil], "some words", size=9)
        with pytest.raises(
            AssertionError, match={"overlap": "overlap", "cut": "is cut", "legend": "overlap|cover"}[spoil]
        ):
            check_readable(made.figure)


def luminance(colour):
    parts = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in matplotlib.colors.to_rgb(colour)]
    return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2]


def contrast(one, other):
    """WCAG's contrast, 1 to 21."""
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("theme", [LIGHT, DARK], ids=["light", "dark"])
def test_colours_stand_out(theme):
    assert contrast(theme.ink, theme.paper) > 12
    assert contrast(theme.faint, theme.paper) > 4.5
    assert all(contrast(colour, theme.paper) > 1.9 for colour in (*theme.palette, theme.rest))
    assert len(set(theme.palette)) == 7


# ---- what is drawn are the figures


@pytest.mark.parametrize("depth", [None, 1])
@pytest.mark.parametrize("name", ["vgg16", "resnet50", "densenet264", "lenet5"])
def test_profiles_are_drawn_to_scale(name, depth):
    report = analyze(load(name), batch=2)
    with sheet(*profile.SIZE) as made:
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
    with sheet(*profile.SIZE) as made:
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


UNEVEN = """
name: flat
input: [3, 8, 8]
layers:
  - concat: {a: 'maxpool(2) | upsample(8)', b: 'conv(4, 1)'}
"""


def label_texts(made):
    return [text for text in made.figure.texts if text.get_gid() == "label"]


def test_lines_differ_in_more_than_colour_and_are_named_at_their_ends():
    some = reports("vgg16 resnet50 googlenet alexnet lenet5 zfnet squeezenet1.0 densenet121")
    with sheet(*fields.SIZE) as made:
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
    with sheet(*comparison.size(1, 1)) as made:
        comparison.draw(made, [report], ["receptive_field"])
        assert (fields.curve(report).end, made.figure.axes[0].texts[0].get_text()) == ENDS[layers]


def test_bars_of_networks_that_see_the_whole_input_say_so():
    some = reports("torchvision/resnet50 timm/seresnet50")
    with sheet(*comparison.size(2, 1)) as made:
        comparison.draw(made, some, ["receptive_field"])
        assert [text.get_text() for text in made.figure.axes[0].texts] == ["427", "427, whole"]


@pytest.mark.usefixtures("no_room")
def test_what_has_no_ratio_is_nothing_but_unknown():
    some = [analyze(parse(UNKNOWN)), *reports("timm/seresnet50")]
    with sheet(*comparison.size(2, 1)) as made:
        comparison.draw(made, some, ["receptive_field"], relative=True)
        assert [text.get_text() for text in made.figure.axes[0].texts] == ["–", "–"]


@pytest.mark.parametrize("layers", ["identity", "conv(1, 3, padding=1)"])
def test_small_fields_have_whole_ticks(layers):
    small = analyze(parse(f"name: t\ninput: [1, 1, 1]\nlayers: ['{layers}']"))
    with sheet(*fields.SIZE) as made:
        fields.draw(made, [small])
        ticks = made.figure.axes[0].get_yticks()
        assert list(ticks) == [int(tick) for tick in ticks]


@pytest.mark.usefixtures("no_room")
def test_a_network_without_any_field_is_named():
    flat = analyze(parse(UNEVEN))
    assert "The field of flat is unknown." in fields.caption([flat], [fields.curve(flat)])
    with sheet(*fields.SIZE) as made:
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
    with sheet(*fields.SIZE) as made:
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
    with sheet(*comparison.size(4, len(numbers()))) as made:
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
    with sheet(*comparison.size(48, 4)) as made:
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
        totals, about = figures(point.name).totals, figures(point.name).graph.about
        assert (point.macs, point.params) == (totals.macs, totals.params)
        said = [a for a in about.accuracy if a.source == point.source and a.dataset == "ImageNet validation"]
        printed = [a for a in said if (a.metric == "top1_error") == point.error]
        assert any(abs(float(a.printed) - abs(point.top1 - 100 * point.error)) < 1e-9 for a in printed)


def test_by_default_only_the_papers_networks_are_drawn(tmp_path, monkeypatch):
    asked, one = [], points("alexnet")
    monkeypatch.setattr("archcalc.comparing.accuracy.published_points", lambda names: asked.append(names) or (one, []))
    for arguments in ((), ("*",), ("torchvision/*",)):
        assert run("pareto", *arguments, "--force", "-o", tmp_path / "x.svg").exit_code == 0
    own, every, library = asked
    assert every == matching(())
    assert own == [name for name in every if "/" not in name]
    assert library == [name for name in every if name.startswith("torchvision/")]


@cache
def some_points():
    return points("torchvision/*", "resnet50", "alexnet", "googlenet")


def test_balls_are_where_and_as_large_as_they_should():
    points = some_points
    with sheet(*pareto.SIZE) as made:
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


# ---- labels


@pytest.mark.parametrize("seed", range(2))
def test_labels_never_overlap(seed):
    chance = random.Random(seed)
    spots = [Spot(chance.gauss(300, 60), chance.gauss(200, 40), chance.uniform(2, 25), 60, 9) for _ in range(40)]
    placed = place(spots, (0, 0, 600, 400))
    boxes = [(p.x - 30, p.y - 4.5, p.x + 30, p.y + 4.5) for p in placed if p]
    assert len(boxes) == 40
    for a, b in combinations(boxes, 2):
        assert a[2] <= b[0] or b[2] <= a[0] or a[3] <= b[1] or b[3] <= a[1]
    assert all(a[0] >= 0 and a[1] >= 0 and a[2] <= 600 and a[3] <= 400 for a in boxes)


def test_a_lonely_label_stands_beside_its_ball():
    (only,) = place([Spot(300, 200, 10, 60, 9)], (0, 0, 600, 400))
    assert only.distance < 3
    assert (only.x, only.y) != (300, 200)


def test_where_there_is_no_room_there_is_no_label():
    placed = place([Spot(30, 20, 5, 50, 9)] * 9, (0, 0, 60, 40))
    assert sum(where is not None for where in placed) == 2
    assert place([Spot(30, 10, 5, 80, 9)], (0, 0, 60, 20)) == [None]


# ---- files


def run(*arguments):
    return CliRunner().invoke(cli, ["plot", *map(str, arguments)], catch_exceptions=False)


COMMANDS = {
    "pareto": ("pareto", "alexnet", "resnet50"),
    "profile": ("profile", "lenet5", "--batch", "2"),
    "receptive-field": ("receptive-field", "lenet5", "squeezenet1.0", "--input", "3x64x64"),
    "compare": ("compare", "lenet5", "alexnet", "--relative", "--columns", "flops"),
}
BEGIN = {".svg": b"<?xml", ".png": b"\x89PNG", ".pdf": b"%PDF"}


@pytest.mark.parametrize("name", COMMANDS)
def test_the_same_command_writes_the_same_file(name, tmp_path):
    for target in (tmp_path / "a.svg", tmp_path / "b.svg"):
        result = run(*COMMANDS[name], "-o", target)
        assert (result.exit_code, result.output) == (0, "")
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()


@pytest.mark.parametrize("suffix", BEGIN)
def test_the_suffix_says_the_format_and_files_are_the_same_every_time(suffix, tmp_path):
    made = []
    for target in (tmp_path / f"a{suffix}", tmp_path / f"b{suffix}"):
        run(*COMMANDS["compare"], "-o", target)
        made.append(target.read_bytes())
    assert made[0] == made[1]
    assert made[0].startswith(BEGIN[suffix])
    assert not any(word in made[0] for word in (b"CreationDate", b"dc:date", str(tmp_path).encode()))


def test_another_process_writes_the_same_and_has_no_global_state(tmp_path):
    code = (
        "import sys; from archcalc import cli; from click.testing import CliRunner\n"
        "assert not {'matplotlib', 'numpy'} & set(sys.modules)\n"
        f"CliRunner().invoke(cli.cli, ['plot', 'compare', 'lenet5', '-o', {str(tmp_path / 'a.svg')!r}])\n"
        "assert 'matplotlib.pyplot' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    run("compare", "lenet5", "-o", tmp_path / "b.svg")
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()


def test_the_layout_does_not_waver():
    """The last digits of its solver do, so places are rounded."""
    with sheet(*profile.SIZE) as made:
        profile.draw(made, figures("lenet5"))
        for ax in made.figure.axes:
            assert ax.get_position().bounds == pytest.approx([round(v, 5) for v in ax.get_position().bounds], abs=1e-12)


def test_svg_is_well_formed_and_suffixes_may_be_large(tmp_path):
    assert run("profile", "lenet5", "-o", tmp_path / "x.SVG").exit_code == 0
    root = ET.fromstring((tmp_path / "x.SVG").read_bytes())
    assert root.get("width") == f"{profile.SIZE[0] * 72:g}pt"


def test_dark_is_another_picture(tmp_path):
    run("compare", "lenet5", "-o", tmp_path / "light.svg")
    run("compare", "lenet5", "--dark", "-o", tmp_path / "dark.svg")
    assert DARK.paper in (tmp_path / "dark.svg").read_text()
    assert DARK.paper not in (tmp_path / "light.svg").read_text()


def test_settings_of_others_stay_as_they_are(tmp_path):
    with matplotlib.rc_context({"font.size": 31.0, "axes.facecolor": "red"}):
        before = dict(matplotlib.rcParams)
        run("compare", "lenet5", "-o", tmp_path / "a.svg")
        with pytest.raises(RuntimeError, match="stop"), sheet(3, 3):
            raise RuntimeError("stop")
        assert dict(matplotlib.rcParams) == before
    run("compare", "lenet5", "-o", tmp_path / "b.svg")
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()


def test_networks_left_out_are_named(tmp_path):
    result = run("pareto", "vgg1*", "alexnet", "lenet5", "-o", tmp_path / "x.svg")
    assert (
        "omitted, since no top-1 for a single crop is published: vgg11, vgg13, vgg16-c, vgg16, vgg19, lenet5"
        in result.stderr
    )
    assert result.stdout == ""


def test_options_of_networks_count(tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(profile, "draw", lambda made, *arguments: seen.append(arguments))
    options = ["--batch", "2", "--input", "1x36x36", "--mode", "train", "--dtype", "float16"]
    run("profile", "d2l/lenet", *options, "--set", "classes=9", "--depth", "1", "-o", tmp_path / "x.svg")
    ((drawn, depth),) = seen
    assert (drawn.batch, drawn.graph.input, drawn.mode, drawn.dtype, depth) == (2, (1, 36, 36), "train", "float16", 1)
    assert drawn.layers[-1].node.output == (9,)


def test_networks_and_figures_to_compare(tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(comparison, "draw", lambda made, *arguments: seen.append(arguments))
    run("compare", "--family", "alexnet", "lenet5", "--columns", "flops, macs,flops", "--convention", "torch",
        "-o", tmp_path / "x.svg")  # fmt: skip
    run("compare", "lenet5", "--columns", "", "--force", "-o", tmp_path / "x.svg")
    (drawn, columns, relative), (_, usual, _) = seen
    assert [report.graph.name for report in drawn][:2] == ["lenet5", "alexnet"]
    assert {report.convention.name for report in drawn} == {"torch"}
    assert (columns, usual, relative) == (["flops", "macs"], list(comparison.USUAL), False)


SPEC = """
name: odd
title: "a_b $x^2$ \\\\alpha % & <i> # {y} |"
input: [3, 8, 8]
layers: ["conv(4, 3) | relu", "global_avgpool | flatten | linear(2)"]
accuracy:
  - {source: "A & B $1$ 2020", dataset: ImageNet validation, protocol: single crop 8, top1: 50, note: "50% of $x$"}
"""


def test_signs_in_names_are_no_markup(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    name = "o$d_{d}^2$ <b>&|*%#\\.yaml"
    (tmp_path / name).write_text(SPEC)
    for command in COMMANDS:
        assert run(command, name, "-o", f"{command}.svg").exit_code == 0
    with sheet(*profile.SIZE) as made:
        profile.draw(made, analyze(load_with(name, {}, title=name)))
        check_readable(made.figure)
        assert made.figure.texts[0].get_text() == f"{name} · a_b $x^2$ \\alpha % & <i> # {{y}} |"
        assert not any(text.get_parse_math() for text, _ in shown_texts(made.figure))


def test_signs_that_the_font_lacks_are_no_warning():
    graph = parse("name: x\ntitle: 殘差網絡\ninput: [3, 8, 8]\nlayers: [relu]\n")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with sheet(*profile.SIZE) as made:
            profile.draw(made, analyze(graph))
            assert made.save(".png").startswith(BEGIN[".png"])


def test_long_names_are_cut(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    name = "n" * 150 + ".yaml"
    (tmp_path / name).write_text(SPEC)
    long = [analyze(load_with(name, {}, title=name)), *reports("lenet5")]
    for picture, size, arguments in (
        (profile, profile.SIZE, (long[0],)),
        (fields, fields.SIZE, (long,)),
        (comparison, comparison.size(2, 4), (long,)),
        (pareto, pareto.SIZE, (published_points([name, "alexnet"])[0],)),
    ):
        with sheet(*size) as made:
            assert not picture.draw(made, *arguments)
            check_readable(made.figure)


# ---- wrong requests


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["profile", "lenet5", "-o", "x.jpg"],
            "the suffix of 'x.jpg' is not one of .svg, .png, .pdf",
        ),
        (["profile", "lenet5", "-o", "x"], "the suffix of 'x' is not one of"),
        (["profile", "lenet5"], "missing option '-o'"),
        (["profile", "lenet55", "-o", "x.svg"], "did you mean lenet5 or alexnet?"),
        (["profile", "-o", "x.svg"], "missing argument 'NAME'"),
        (["receptive-field", "-o", "x.svg"], "missing argument 'NAME...'"),
        (["compare", "-o", "x.svg"], "name networks, e.g. archcalc plot compare resnet50 vgg16, or use --family"),
        (
            ["compare", "lenet5", "--columns", "macs,param", "-o", "x.svg"],
            "unknown column 'param'; did you mean params?",
        ),
        (["compare", "lenet5", "--convention", "macs", "-o", "x.svg"], "draw them with --columns flops"),
        (["profile", "lenet5", "--convention", "macs", "-o", "x.svg"], "--convention"),
        (["pareto", "lenet5", "-o", "x.svg"], "nothing to draw: no top-1 on ImageNet validation for a single crop"),
        (["pareto", "none*", "-o", "x.svg"], "no network matches 'none*'"),
        (["receptive-field", "*", "-o", "x.svg"], "networks are too many to distinguish their lines; name at most 28"),
        (["profile", "lenet5", "-o", "no/x.svg"], "cannot write no/x.svg: No such file or directory"),
        (["profile", "lenet5", "-o", "there.svg"], "there.svg already exists (use --force to overwrite it)"),
        (["profile", "lenet5", "-o", "folder.svg"], "folder.svg is a directory"),
        (["profile", "no such network", "-o", "there.svg"], "there.svg already exists"),  # told before any work
        (["paretto", "-o", "x.svg"], "no command 'paretto'; did you mean pareto?"),
    ],
)
def test_wrong_requests(arguments, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "there.svg").write_text("old")
    (tmp_path / "folder.svg").mkdir()
    assert message in refused(["plot", *arguments], monkeypatch, capsys)
    assert (tmp_path / "there.svg").read_text() == "old"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["folder.svg", "there.svg"]


def refused(arguments, monkeypatch, capsys):
    """What the command says on the standard error as it exits with 2."""
    monkeypatch.setattr(sys, "argv", ["archcalc", *arguments])
    with pytest.raises(SystemExit) as stop:
        cli_module.main()
    printed = capsys.readouterr()
    assert (stop.value.code, printed.out) == (2, "")
    assert "Traceback" not in printed.err
    return printed.err


def test_force_writes_over(tmp_path):
    (tmp_path / "x.svg").write_text("old")
    assert run("profile", "lenet5", "--force", "-o", tmp_path / "x.svg").exit_code == 0
    assert (tmp_path / "x.svg").read_bytes().startswith(b"<?xml")


@pytest.mark.parametrize("name", COMMANDS)
def test_without_matplotlib_the_error_says_what_to_install(name, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    said = refused(["plot", *COMMANDS[name], "-o", str(tmp_path / "x.svg")], monkeypatch, capsys)
    assert said.splitlines()[-1] == "error: a picture needs matplotlib: pip install 'archcalc[plot]'"
    assert not list(tmp_path.iterdir())


def test_help_has_an_example_for_every_picture():
    for name in COMMANDS:
        assert f"archcalc plot {name}" in run(name, "-h").output
        assert f"archcalc plot {name}" in run("-h").output


def test_a_backend_that_is_none_is_told(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "archcalc", "plot", "profile", "lenet5", "-o", str(tmp_path / "a.png")],
        capture_output=True, text=True, check=False, env=os.environ | {"MPLBACKEND": "nonsense"},
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr.startswith("error: matplotlib does not start: Key backend: 'nonsense'")
