"""Check the texts in pictures, and networks to draw."""

from functools import cache
from itertools import combinations

from click.testing import CliRunner

from archcalc import analyze
from archcalc.analysis.needed_memory import memory_needs
from archcalc.analysis.recipe import Recipe
from archcalc.catalog import matching
from archcalc.cli import cli
from archcalc.comparing.accuracy import points_or_torchvisions, published_point
from archcalc.network_names import papers_own
from support.zoo import network

MANY = "alexnet zfnet vgg11 vgg16 googlenet inception-v3 resnet18 resnet50 resnet152 densenet264 lenet5 squeezenet1.0"


def shown_texts(figure):
    """Yield all texts of a figure with their boxes, in dots."""
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
    """Raise AssertionError if two texts overlap, the figure's edge cuts a text, or a legend covers one."""
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
    areas = [ax.get_window_extent() for ax in figure.axes]
    for text in figure.texts:  # names beside points
        if text.get_gid() == "label":
            box = text.get_window_extent()
            inside = any(a.x0 <= box.x0 and box.x1 <= a.x1 + 1 and a.y0 <= box.y0 and box.y1 <= a.y1 + 1 for a in areas)
            assert inside, f"{text.get_text()!r} is outside of the axes"
    for legend in figure.legends:
        own, box = [text.get_text() for text in (*legend.get_texts(), legend.get_title())], legend.get_window_extent()
        assert box.y0 >= 0
        for text, other in boxes:
            if text not in own:
                assert not box.overlaps(other), f"the legend covers {text!r}"


def check_leaders(figure):
    """Raise AssertionError if a line to a name cuts a name, including its own."""
    names = [(text.get_text(), text.get_window_extent()) for text in figure.texts if text.get_gid() == "label"]
    for line in figure.get_children():
        if line.get_gid() == "leader":
            path = line.get_path().transformed(line.get_transform())
            for name, box in names:
                assert not path.intersects_bbox(box.padded(-1), filled=False), f"a line cuts {name!r}"


@cache
def figures(name, **options):
    return analyze(network(name), **options)


@cache
def needs(name, *recipe, batch=4, **options):
    return memory_needs(network(name), Recipe(*recipe, **options), batch)


def reports(names, **options):
    return [figures(name, **options) for name in names.split()]


@cache
def point(name):
    return published_point(name)


def points(*patterns):
    return [found for name in matching(patterns) if (found := point(name))]


@cache
def papers():
    """The points of the picture without names."""
    return points_or_torchvisions(papers_own(matching(())))[0]


def label_texts(made):
    return [text for text in made.figure.texts if text.get_gid() == "label"]


def plot(*arguments):
    return CliRunner().invoke(cli, ["plot", *map(str, arguments)], catch_exceptions=False)
