"""Pictures: nothing overlaps, nothing is cut."""

import random
from functools import partial
from itertools import combinations

import matplotlib
import pytest
from support.pictures import (
    MANY,
    check_leaders,
    check_readable,
    label_texts,
    needs,
    papers,
    points,
    reports,
    shown_texts,
)

from archcalc import __version__, analyze, parse
from archcalc.analysis.figures import numbers
from archcalc.comparing.accuracy import frontier
from archcalc.render.pictures import Look, comparison, fields, labels, memory, names, pareto, profile
from archcalc.render.pictures.labels import Spot, place
from archcalc.render.pictures.sheets import DARK, LIGHT, NARROW, sheet

PICTURES = {
    "profile vgg16": (profile, profile.SIZE, lambda: (reports("vgg16")[0],)),
    "profile alexnet": (profile, profile.SIZE, lambda: (reports("alexnet")[0],)),
    "profile googlenet by block": (profile, profile.SIZE, lambda: (reports("googlenet", mode="train")[0], 1)),
    "profile inception-v3": (profile, profile.SIZE, lambda: (reports("inception-v3", batch=32)[0],)),
    "profile densenet264": (profile, profile.SIZE, lambda: (reports("densenet264")[0],)),
    "profile resnet1202": (profile, profile.SIZE, lambda: (reports("resnet1202")[0],)),
    "profile one layer": (profile, profile.SIZE, lambda: (reports("blocks/conv3x3")[0],)),
    "profile 1D": (profile, profile.SIZE, lambda: (analyze(parse("name: t\ninput: [9]\nlayers: [linear(2)]\n")),)),
    "memory training": (memory, memory.SIZE, lambda: (needs("resnet50", "momentum"),)),
    "memory inference": (memory, memory.SIZE, lambda: (needs("lenet5"),)),
    "memory many batches": (memory, memory.SIZE, lambda: (needs("vgg16", "adam", accumulate=8),)),
    "fields one": (fields, fields.SIZE, lambda: (reports("vgg16"),)),
    "fields two": (fields, fields.SIZE, lambda: (reports("vgg16 resnet1202"),)),
    "fields many": (fields, fields.SIZE, lambda: (reports(MANY),)),
    "fields log": (fields, fields.SIZE, lambda: (reports("lenet5 resnet110"),)),
    "fields 1D": (fields, fields.SIZE, lambda: ([analyze(parse("name: t\ninput: [9]\nlayers: [linear(2)]\n"))],)),
    "compare one": (comparison, partial(comparison.size, 1, 4), lambda: (reports("lenet5"),)),
    "compare two": (comparison, partial(comparison.size, 2, 4), lambda: (reports("resnet50 torchvision/resnet50"),)),
    "compare many, all": (comparison, comparison.size(12, len(numbers())), lambda: (reports(MANY), list(numbers()))),
    "compare all": (comparison, partial(comparison.size, 50, 4), lambda: ((reports(MANY) * 5)[:50],)),
    "compare ratios": (comparison, partial(comparison.size, 12, 4), lambda: (reports(MANY), comparison.USUAL, True)),
    "pareto papers": (pareto, pareto.SIZE, lambda: (papers(),)),
    "pareto torchvision": (pareto, pareto.SIZE, lambda: (points("torchvision/*"),)),
    "pareto three": (pareto, pareto.SIZE, lambda: (points("alexnet", "resnet50", "torchvision/vgg16"),)),
    "pareto one": (pareto, pareto.SIZE, lambda: (points("resnet50"),)),
}


# the layout is the same
DARK_TOO = "profile googlenet by block", "memory training", "fields many", "compare ratios", "pareto torchvision"
THEMES = [(name, dark) for name in PICTURES for dark in (False, True) if not dark or name in DARK_TOO]


def drawn(made, picture, arguments):
    """Names without room, after a picture is drawn and checked."""
    unnamed = picture.draw(made, *arguments())
    check_readable(made.figure)
    return unnamed


def usual(size, look):
    return size(look=look) if callable(size) else size


@pytest.mark.parametrize(("name", "dark"), THEMES)
def test_pictures_are_readable(name, dark):
    picture, size, arguments = PICTURES[name]
    look = Look(dark=dark)
    with sheet(usual(size, look), look) as made:
        assert not drawn(made, picture, arguments)
        assert made.figure.get_facecolor() == matplotlib.colors.to_rgba((DARK if dark else LIGHT).paper)


COLUMNS = {"one": Look(3.5, title=False), "two": Look(7.16, title=False)}
LOOKS = {
    "one, with a title": Look(3.5),
    "one, serif": Look(3.5, serif=True, title=False),
    "one, low": Look(3.5, 2.8, title=False),
    "the largest letters": Look(3.5, letters=72 * 3.5 / NARROW, title=False),
    "the largest letters, with a title": Look(11, 16, letters=72 * 11 / NARROW),
    "a wide page with small letters": Look(16, 5, letters=6),
}
LARGE = "compare many, all", "compare all"  # as high as a wall
SOME = (
    "profile alexnet",
    "profile googlenet by block",
    "memory training",
    "fields many",
    "compare one",
    "pareto three",
)
SIZES = [(name, look) for look in COLUMNS for name in PICTURES if name not in LARGE]
SIZES += [("pareto torchvision", "one, serif"), *((name, look) for look in LOOKS for name in SOME)]


@pytest.mark.parametrize(("name", "look"), SIZES)
def test_pictures_are_readable_at_each_size(name, look):
    picture, size, arguments = PICTURES[name]
    look = (COLUMNS | LOOKS)[look]
    with sheet(usual(size, look), look) as made:
        unnamed = drawn(made, picture, arguments) or []
        assert len(unnamed) <= (len(arguments()[0]) - 10 if name in ("pareto papers", "pareto torchvision") else 3)
        assert made.figure.get_size_inches()[0] == look.width
        texts = {text.get_gid() for text in made.figure.texts}
        assert ({"title", "caption"} <= texts) == look.title
        assert made.said.endswith(f" · archcalc {__version__}")
        sizes = {round(text.get_size(), 4) for text, _ in shown_texts(made.figure)}
        assert sizes <= {round(size, 4) for size in (made.small, made.normal, made.large)}


def test_the_whole_zoo_is_readable_and_its_caption_counts_the_names_without_room(monkeypatch):
    """Those on the line have room, however few tries; without the limit of the last round, a line cuts a name."""
    monkeypatch.setattr(labels, "TRIES", 0)
    with sheet(pareto.SIZE) as made:
        unnamed = pareto.draw(made, points())
        check_readable(made.figure)
        assert len(label_texts(made)) == len(points()) - len(unnamed)
        assert not {p.name for p in frontier(points())} & set(unnamed)
        assert f"lack of room: {len(unnamed)} of {len(points())} networks" in " ".join(made.caption.get_text().split())
    settled = labels._Search.settled
    monkeypatch.setattr(labels._Search, "settled", lambda self, order, chosen, limit=0: settled(self, order, chosen))
    with sheet(pareto.SIZE) as made:
        assert pareto.draw(made, papers()) == []
        with pytest.raises(AssertionError, match="a line cuts"):
            check_leaders(made.figure)


def test_lines_lead_neither_through_names_nor_through_each_other():
    """Where the networks are few, lines do not meet; and a line through a name would be noticed."""
    with sheet(pareto.SIZE) as made:
        pareto.draw(made, points("torchvision/*"))
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
    with sheet((6, 6)) as made:
        ax = made.figure.add_subplot()
        two = [names.Named("one", 0.3, 0.5, 8), names.Named("other", 0.3 + apart, 0.5, 8)]
        assert names.write_names(made, ax, two, 9) == []
        assert any(child.get_gid() == "leader" for child in made.figure.get_children()) == near


@pytest.mark.parametrize("spoil", ["overlap", "cut", "legend", "outside"])
def test_the_test_above_would_notice(spoil):
    with sheet(profile.SIZE) as made:
        profile.draw(made, reports("lenet5")[0])
        if spoil == "legend":
            made.figure.legend([made.figure.axes[1].patches[0]], ["x"], loc="upper left")
        else:
            place = {"overlap": (0.03, 0.02), "cut": (0.99, 0.5), "outside": (0.8, 0.96)}[spoil]
            made.figure.text(*place, "some words", size=9, gid="label")
        with pytest.raises(
            AssertionError,
            match={"overlap": "overlap", "cut": "is cut", "legend": "overlap|cover", "outside": "outside"}[spoil],
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


# Labels


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
