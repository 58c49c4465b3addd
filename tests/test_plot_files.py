"""Pictures as files: the same every time, options count, and what a wrong request says."""

import os
import re
import subprocess
import sys
import warnings
import xml.etree.ElementTree as ET

import matplotlib
import pytest
from support.pictures import check_readable, figures, plot, reports, shown_texts

from archcalc import analyze, parse
from archcalc.catalog import load_with
from archcalc.comparing.accuracy import published_points
from archcalc.render.pictures import comparison, fields, pareto, profile
from archcalc.render.pictures.sheets import DARK, sheet

COMMANDS = {
    "pareto": ("pareto", "alexnet", "resnet50"),
    "profile": ("profile", "lenet5", "--batch", "2"),
    "memory": ("memory", "lenet5", "--batch", "2", "--optimizer", "adam"),
    "receptive-field": ("receptive-field", "lenet5", "squeezenet1.0", "--input", "3x64x64"),
    "compare": ("compare", "lenet5", "alexnet", "--relative-to", "lenet5", "--columns", "flops"),
}
BEGIN = {".svg": b"<?xml", ".png": b"\x89PNG", ".pdf": b"%PDF"}


@pytest.mark.parametrize("name", COMMANDS)
def test_the_same_command_writes_the_same_file(name, tmp_path):
    for target in (tmp_path / "a.svg", tmp_path / "b.svg"):
        result = plot(*COMMANDS[name], "-o", target)
        assert (result.exit_code, result.output) == (0, "")
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()


@pytest.mark.parametrize("suffix", BEGIN)
def test_the_suffix_says_the_format_and_files_are_the_same_every_time(suffix, tmp_path):
    made = []
    for target in (tmp_path / f"a{suffix}", tmp_path / f"b{suffix}"):
        plot(*COMMANDS["compare"], "-o", target)
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
    plot("compare", "lenet5", "-o", tmp_path / "b.svg")
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()


def test_the_layout_does_not_waver():
    """The last digits of its solver do, so places are rounded."""
    with sheet(profile.SIZE) as made:
        profile.draw(made, figures("lenet5"))
        for ax in made.figure.axes:
            assert ax.get_position().bounds == pytest.approx([round(v, 5) for v in ax.get_position().bounds], abs=1e-12)


def test_svg_is_well_formed_and_suffixes_may_be_large(tmp_path):
    assert plot("profile", "lenet5", "-o", tmp_path / "x.SVG").exit_code == 0
    root = ET.fromstring((tmp_path / "x.SVG").read_bytes())
    assert root.get("width") == f"{profile.SIZE[0] * 72:g}pt"


def test_dark_is_another_picture(tmp_path):
    plot("compare", "lenet5", "-o", tmp_path / "light.svg")
    plot("compare", "lenet5", "--dark", "-o", tmp_path / "dark.svg")
    assert DARK.paper in (tmp_path / "dark.svg").read_text()
    assert DARK.paper not in (tmp_path / "light.svg").read_text()


def test_settings_of_others_stay_as_they_are(tmp_path):
    with matplotlib.rc_context({"font.size": 31.0, "axes.facecolor": "red"}):
        before = dict(matplotlib.rcParams)
        plot("compare", "lenet5", "-o", tmp_path / "a.svg")
        with pytest.raises(RuntimeError, match="stop"), sheet((9, 9)):
            raise RuntimeError("stop")
        assert dict(matplotlib.rcParams) == before
    plot("compare", "lenet5", "-o", tmp_path / "b.svg")
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()


def test_networks_left_out_are_named(tmp_path):
    result = plot("pareto", "vgg1*", "alexnet", "lenet5", "-o", tmp_path / "x.svg")
    assert "omitted, since no top-1 for a single crop is published: vgg16-c, lenet5" in result.stderr
    assert result.stdout == ""


def test_options_of_networks_count(tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(profile, "draw", lambda made, **arguments: seen.append(tuple(arguments.values())))
    options = ["--batch", "2", "--input", "1x36x36", "--mode", "train", "--dtype", "float16"]
    plot("profile", "d2l/lenet", *options, "--set", "classes=9", "--depth", "1", "-o", tmp_path / "x.svg")
    ((drawn, depth),) = seen
    assert (drawn.batch, drawn.graph.input, drawn.mode, drawn.dtype, depth) == (2, (1, 36, 36), "train", "float16", 1)
    assert drawn.layers[-1].node.output == (9,)


def test_networks_and_figures_to_compare(tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(comparison, "draw", lambda made, **arguments: seen.append(tuple(arguments.values())))
    plot("compare", "--family", "alexnet", "lenet5", "--columns", "flops, macs,flops", "--convention", "torch",
        "-o", tmp_path / "x.svg")  # fmt: skip
    plot("compare", "lenet5", "--force", "-o", tmp_path / "x.svg")
    (drawn, columns, base), (_, usual, _) = seen
    assert [report.graph.name for report in drawn][:2] == ["lenet5", "alexnet"]
    assert {report.convention.name for report in drawn} == {"torch"}
    assert (columns, usual, base) == (("flops", "macs"), comparison.USUAL, None)


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
        assert plot(command, name, "-o", f"{command}.svg").exit_code == 0
    with sheet(profile.SIZE) as made:
        profile.draw(made, analyze(load_with(name, {}, title=name)))
        check_readable(made.figure)
        assert made.figure.texts[0].get_text() == f"{name} · a_b $x^2$ \\alpha % & <i> # {{y}} |"
        assert not any(text.get_parse_math() for text, _ in shown_texts(made.figure))


def test_signs_that_the_font_lacks_are_no_warning():
    graph = parse("name: x\ntitle: 殘差網絡\ninput: [3, 8, 8]\nlayers: [relu]\n")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with sheet(profile.SIZE) as made:
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
        with sheet(size) as made:
            assert not picture.draw(made, *arguments)
            check_readable(made.figure)


# Wrong requests


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["profile", "lenet5", "-o", "x.jpg"],
            "the suffix of 'x.jpg' is not one of .svg, .png, .pdf",
        ),
        (["profile", "lenet5", "-o", "x"], "the suffix of 'x' is not one of"),
        (["profile", "lenet5", "-o", "-"], "the suffix of '-' is not one of"),
        (["profile", "lenet5", "-o", "x.svg", "-o", "x.png"], "'-o' / '--output': write it once"),
        (["profile", "lenet5"], "missing option '-o'"),
        (["profile", "lenet55", "-o", "x.svg"], "did you mean lenet5 or alexnet?"),
        (["profile", "-o", "x.svg"], "missing argument 'NAME'"),
        (["receptive-field", "-o", "x.svg"], "missing argument 'NAME...'"),
        (["compare", "-o", "x.svg"], "name networks, e.g. archcalc plot compare resnet50 vgg16, or use --family"),
        (
            ["compare", "lenet5", "--columns", "macs,param", "-o", "x.svg"],
            "unknown column 'param'; did you mean params?",
        ),
        (["compare", "lenet5", "--columns", ",", "-o", "x.svg"], "write names with commas"),
        (["compare", "lenet5", "--convention", "macs", "-o", "x.svg"], "draw them with --columns flops"),
        (["profile", "lenet5", "--convention", "macs", "-o", "x.svg"], "--convention"),
        (["pareto", "lenet5", "-o", "x.svg"], "nothing to draw: no top-1 on ImageNet validation for a single crop"),
        (["pareto", "none*", "-o", "x.svg"], "no network matches 'none*'"),
        (["receptive-field", "*", "-o", "x.svg"], "networks are too many to distinguish their lines; name at most 28"),
        (["profile", "lenet5", "-o", "no/x.svg"], "cannot write no/x.svg: No such file or directory"),
        (["profile", "lenet5", "-o", "there.svg"], "there.svg already exists (use --force to overwrite it)"),
        (["profile", "lenet5", "-o", "folder.svg"], "folder.svg is a directory"),
        (["profile", "no such network", "-o", "there.svg"], "there.svg already exists"),  # told before any work
        (
            ["profile", "lenet5", "--width", "three", "-o", "x.svg"],
            "'three' is not possible; write one (3.5 inches), two",
        ),
        (
            ["profile", "lenet5", "--width", "0", "-o", "x.svg"],
            "'0' is not possible; write one (3.5 inches), two (7.16",
        ),
        (["profile", "lenet5", "--width", "nan", "-o", "x.svg"], "or inches from 1 to 50"),
        (["profile", "lenet5", "--height", "-3", "-o", "x.svg"], "'-3' is not possible; write inches from 1 to 50"),
        (
            ["profile", "lenet5", "--font-size", "1000", "-o", "x.svg"],
            "'1000' is not possible; write points from 4 to 40",
        ),
        (
            ["profile", "lenet5", "--font-size", "12", "--width", "one", "-o", "x.svg"],
            "letters of 12 points need a width of 4.7 inches; change --width or --font-size",
        ),
        (
            ["profile", "lenet5", "--width", "one", "--height", "1", "-o", "x.svg"],
            "3.5×1 inches have no room for the texts; use a larger --height or a smaller --font-size",
        ),
        (["compare", "lenet5", "alexnet", "--height", "1.5", "-o", "x.svg"], "smaller --font-size or --no-title"),
        (["profile", "lenet5", "--font", "Comic Sans", "-o", "x.svg"], "'Comic Sans' is not one of 'sans', 'serif'"),
        (
            ["pareto", "--point", "mine.yaml", "-o", "x.svg"],
            "'mine.yaml' is not a network and its accuracy in percent; write",
        ),
        (["pareto", "--point", "lenet5=101", "-o", "x.svg"], "write e.g. mine.yaml=76.3"),
        (["pareto", "--point", "lenet5=nan", "-o", "x.svg"], "write e.g. mine.yaml=76.3"),
        (["pareto", "--point", "=7", "-o", "x.svg"], "write e.g. mine.yaml=76.3"),
        (
            ["pareto", "--point", "flat.yaml=7", "-o", "x.svg"],
            "flat has no place in the picture: its MACs or params are",
        ),
        (["pareto", "--point", "no/such.yaml=7", "-o", "x.svg"], "no/such.yaml"),
        (["paretto", "-o", "x.svg"], "no command 'paretto'; did you mean pareto?"),
    ],
)
def test_wrong_requests(arguments, message, tmp_path, monkeypatch, refused):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "there.svg").write_text("old")
    (tmp_path / "folder.svg").mkdir()
    (tmp_path / "flat.yaml").write_text("name: flat\ninput: [3, 8, 8]\nlayers: [relu]\n")
    assert message in refused("plot", *arguments)
    assert (tmp_path / "there.svg").read_text() == "old"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["flat.yaml", "folder.svg", "there.svg"]


def test_force_writes_over(tmp_path):
    (tmp_path / "x.svg").write_text("old")
    assert plot("profile", "lenet5", "--force", "-o", tmp_path / "x.svg").exit_code == 0
    assert (tmp_path / "x.svg").read_bytes().startswith(b"<?xml")


@pytest.mark.parametrize("name", COMMANDS)
def test_without_matplotlib_the_error_says_what_to_install(name, tmp_path, monkeypatch, refused):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    said = refused("plot", *COMMANDS[name], "-o", str(tmp_path / "x.svg"))
    assert said == "error: a picture needs matplotlib: pip install 'archcalc[plot]'"  # no word on what is left out
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", COMMANDS)
def test_a_picture_for_a_column_has_its_width_and_its_caption_is_printed(name, tmp_path):
    result = plot(*COMMANDS[name], "--width", "one", "--font", "serif", "-o", tmp_path / "x.pdf")
    assert result.exit_code == 0
    assert result.stdout == ""
    assert re.fullmatch(r"caption: .+\. .+ · archcalc [\d.]+\n", result.stderr)
    text = (tmp_path / "x.pdf").read_bytes()
    assert re.search(rb"/MediaBox \[ ?0 0 252 ", text)
    assert b"/FontFile2" in text
    assert b"STIXGeneral" in text
    assert b"/Type3" not in text
    plot(*COMMANDS[name], "--width", "2.5", "--height", "3", "--font-size", "5", "-o", tmp_path / "x.svg")
    svg = (tmp_path / "x.svg").read_text()
    assert 'width="180pt" height="216pt"' in svg
    assert "<image" not in svg
    titled = plot(*COMMANDS[name], "--width", "two", "--height", "7", "--title", "-o", tmp_path / "x.png")
    assert titled.output == ""


def test_help_has_an_example_for_every_picture():
    for name in COMMANDS:
        assert f"archcalc plot {name}" in plot(name, "-h").output
        assert f"archcalc plot {name}" in plot("-h").output


def test_a_backend_that_is_none_is_told(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "archcalc", "plot", "profile", "lenet5", "-o", str(tmp_path / "a.png")],
        capture_output=True, text=True, check=False, env=os.environ | {"MPLBACKEND": "nonsense"},
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr.startswith("error: matplotlib does not start: Key backend: 'nonsense'")
