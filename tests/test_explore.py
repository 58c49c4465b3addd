"""The page of `archcalc explore` as text: its data are the figures, it loads nothing, and no name becomes markup."""

import json
import re
from functools import cache

import html5lib
import pytest
from click.testing import CliRunner

from archcalc import analyze, load, parse
from archcalc.analysis.at_least import AtLeast
from archcalc.analysis.explanation import explain, explain_layers
from archcalc.analysis.memory_trace import KINDS
from archcalc.analysis.needed_memory import memory_needs
from archcalc.cli import cli
from archcalc.render.page.contents import COLUMNS, COMPARED, STEP, Explored, number
from archcalc.render.page.document import render_page

SPEC = """\
name: net
title: {title}
input: [3, 32, 32]
blocks:
  block(channels):
    - add:
        body: conv(channels, 3, padding=1) | relu | conv(channels, 3, padding=1)
        skip: conv(channels, 1)
layers:
  - stem: conv(8, 3)
  - stage: 2 * block(16)
  - head: global_avgpool | flatten | linear(10)
"""
HOSTILE = '</script><img src=x onerror="throw 1">'


@cache
def page(*names):
    """The page of some networks, as the command writes it."""
    done = CliRunner().invoke(cli, ["explore", *names, "-o", "-"], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


def document(text):
    return html5lib.HTMLParser(strict=True, namespaceHTMLElements=False).parse(text)


def data(text):
    (own,) = [script for script in document(text).iter("script") if script.get("type") == "application/json"]
    return json.loads(own.text)


def run(*arguments):
    return CliRunner().invoke(cli, ["explore", *map(str, arguments)])


def layers(parts):
    return [layer for part in parts for layer in (layers(part["parts"]) if "parts" in part else [part])]


@pytest.mark.parametrize("name", ["vgg16", "googlenet", "unet", "vit-b-16", "char-rnn"])
def test_the_figures_are_those_of_the_report(name):
    (network,), report = data(page(name))["networks"], analyze(load(name), mode="train")
    shown = layers(network["parts"])
    assert [layer["name"] for layer in shown] == [layer.node.name for layer in report.layers]
    assert [layer["inputs"] for layer in shown] == [list(node.inputs) for node in report.ran.nodes]
    keys = [column["key"] for column in network["columns"]]
    assert keys == ["", "", *COLUMNS, *STEP, ""]
    for i, key in [(i, key) for i, key in enumerate(keys) if key]:
        assert [layer["cells"][i] for layer in shown] == [number(getattr(layer, key)) for layer in report.layers]
        assert network["totals"][i] == number(getattr(report.totals, key))
        assert network["totals"][i] == (sum(part["cells"][i] or 0 for part in network["parts"]) or None)


def test_a_block_has_the_sums_of_its_layers():
    def check(part):
        for inner in part.get("parts", ()):
            check(inner)
        if "parts" in part:
            for i in range(2, 2 + len(COLUMNS)):
                assert part["cells"][i] == sum(inner["cells"][i] for inner in part["parts"])

    for part in data(page("googlenet"))["networks"][0]["parts"]:
        check(part)


def test_the_lines_are_those_of_explain():
    (network,), report = data(page("googlenet"))["networks"], analyze(load("googlenet"), mode="train")
    for layer in layers(network["parts"])[::10]:
        lines = [network["lines"][i] for i in layer["lines"]]
        _, expected = explain(report, layer["name"])
        assert [line[:2] for line in lines] == [[line.name, line.formula] for line in expected]
        macs = [line.value for line in expected if line.key == "macs"]
        assert [line[2] for line in lines if line[3] == "macs"] == macs
    assert len({tuple(map(str, line)) for line in network["lines"]}) == len(network["lines"])


def test_the_curve_ends_at_the_peak():
    needs = memory_needs(load("vgg16"), analyze(load("vgg16"), mode="train").recipe)
    memory = data(page("vgg16"))["networks"][0]["memory"]
    assert max(map(sum, memory["points"])) == needs.top.peak
    assert [title for _, title in memory["kinds"]] == [[*KINDS.values()][i] for i, _ in memory["kinds"]]
    assert "at stage3.relu3" in memory["peak"]


def test_a_comparison_adds_up_and_names_the_parts_of_both_sides():
    own = data(page("resnet50", "torchvision/resnet50"))
    (comparison,), keys = own["comparisons"], ["macs", "params"]
    titles = [(column["key"], column["unit"]) for column in comparison["columns"]]
    for key in keys:
        a, b, more = (titles.index((key, unit)) for unit in ("A", "B", "B − A"))
        sums = [sum(part["cells"][i] for part in comparison["parts"]) for i in (a, b, more)]
        assert sums == [comparison["totals"][i] for i in (a, b, more)]
        assert sums[1] - sums[0] == sums[2]
    assert [key for key, unit in titles if unit == "A"] == list(COMPARED)
    states = {part["name"]: part["state"] for part in comparison["parts"]}
    assert states["stage1"], states["stage2"] == ("equal", "changed")
    named = [layer["sides"] for layer in layers(comparison["parts"])]
    assert [side.split()[:2] for side, _ in named if side] == [[str(i), str(i + 1)] for i in range(len(named))]


@pytest.mark.parametrize("names", [("vgg16",), ("resnet50", "torchvision/resnet50")])
def test_nothing_outside_the_file_is_named(names):
    text = page(*names)
    policy = re.search(r'Policy" content="(.*?)"', text)[1]
    assert policy.startswith("default-src 'none'; style-src 'sha256-")
    assert "unsafe" not in policy
    assert not re.findall(r"https?://(?!www\.w3\.org/)", text.replace("http://www.w3.org", ""))
    assert not [tag for tag in document(text).iter() if {"src", "href"} & {*tag.attrib}]


def hostile_page():
    """The page of a network whose name, title, layer and reason are markup."""
    graph = parse(SPEC.replace("{title}", json.dumps(HOSTILE)))
    node = graph.nodes[3]._replace(name=f"{HOSTILE}.conv")
    object.__setattr__(graph, "nodes", (*graph.nodes[:3], node, *graph.nodes[4:]))
    object.__setattr__(graph, "name", HOSTILE)
    report = analyze(graph)
    return render_page([Explored(report, explain_layers(report), HOSTILE)], [])


@pytest.mark.parametrize(("name", "most"), [("vgg16", 100_000), ("resnet152", 400_000), ("densenet264", 1_100_000)])
def test_a_page_is_small(name, most):
    assert most / 2 < len(page(name).encode()) < most


def test_hostile_texts_stay_texts():
    text = hostile_page()
    assert not [*document(text).iter("img")]
    assert len([*document(text).iter("script")]) == 2
    (network,) = data(text)["networks"]
    assert network["name"] == HOSTILE
    assert network["title"].startswith(HOSTILE)
    assert "<img" not in text


def test_what_a_browser_cannot_read_exactly_is_a_text():
    assert number(2**53) == "9007199254740992"
    assert number(-(2**53) + 1) == -(2**53) + 1
    assert number(AtLeast(7)) == "≥7"
    assert number(None) is None


def test_unknown_figures_stay_unknown(tmp_path):
    (tmp_path / "net.py").write_text(
        "import torch\n\nclass Net(torch.nn.Module):\n    def __init__(self):\n        super().__init__()\n"
        "        self.conv = torch.nn.Conv2d(3, 4, 3)\n\n    def forward(self, x):\n"
        "        return torch.fft.rfft2(self.conv(x)).abs()\n"
    )
    pytest.importorskip("torch")
    out = tmp_path / "net.html"
    done = run(f"torch:{tmp_path}/net.py:Net", "--input", "3x8x8", "--mode", "infer", "-o", out)
    assert done.exit_code == 0, done.output
    (network,) = data(out.read_text())["networks"]
    macs = [column["key"] for column in network["columns"]].index("flops")
    assert None in [layer["cells"][macs] for layer in layers(network["parts"])]
    assert network["totals"][macs].startswith("≥")
    assert isinstance(network["memory"], str)
    assert any(note.startswith("≥") for note in network["notes"])


def test_options_reach_the_page(tmp_path):
    out = tmp_path / "own.html"
    (tmp_path / "own.yaml").write_text(SPEC.replace("{title}", "My own"))
    done = run(tmp_path / "own.yaml", "--input", "3x64x64", "--batch", "4", "--mode", "infer", "-o", out)
    assert done.exit_code == 0, done.output
    (network,) = data(out.read_text())["networks"]
    assert network["conditions"].startswith("input 3×64×64 · batch 4 (all figures) · float32 · inference")
    assert [name for name, _ in network["memory"]["starts"]] == ["inference"]
    assert "images" in [title for _, title in network["memory"]["kinds"]]


def test_what_is_kept_includes_side_outputs_and_says_so():
    (network,) = data(page("googlenet", "--mode", "infer"))["networks"]
    (kept,) = [figure for figure in network["figures"] if figure[0].startswith("Kept")]
    i = [column["key"] for column in network["columns"]].index("saved_bytes")
    assert kept[0] == "Kept for backward with side outputs"
    assert kept[1] > network["totals"][i] == sum(part["cells"][i] for part in network["parts"])


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], "name a network, e.g. archcalc explore resnet50 -o resnet50.html"),
        (["vgg16"], "name the file to write with -o"),
        (["vgg16", "-o", "page.pdf"], "is not one of .html, .htm"),
        (["vgg61", "-o", "page.html"], "did you mean vgg"),
        (["*", "-o", "page.html"], "at most 8 networks"),
        (["vgg16", "-o", "no/such/page.html"], "No such file"),
    ],
)
def test_wrong_requests(arguments, expected, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = run(*arguments)
    assert done.exit_code
    assert expected in (done.output or str(done.exception)) + str(done.exception)


def test_a_page_is_not_overwritten(tmp_path):
    out = tmp_path / "page.html"
    out.write_text("mine")
    assert "already exists" in str(run("lenet5", "-o", out).exception)
    assert out.read_text() == "mine"
    assert run("lenet5", "-o", out, "--force").exit_code == 0
    assert len(data(out.read_text())["networks"]) == 1
