"""Pictures of networks in Mermaid, Graphviz and SVG, and the command that writes them."""

import json
import re
import struct
from dataclasses import replace
from html import unescape
from xml.etree import ElementTree

import pytest
from click.testing import CliRunner
from support.diagram_cases import NETWORKS, WAYS, drawn_as
from support.golden_files import check_golden

from archcalc import analyze, load, parse
from archcalc.cli import cli
from archcalc.errors import ArchcalcError
from archcalc.render.diagrams.dot import render_dot
from archcalc.render.diagrams.layout import diagram
from archcalc.render.diagrams.mermaid import render_mermaid
from archcalc.render.pictures import Look
from archcalc.render.pictures.graphviz import draw_dot


def read_mermaid(text):
    """The boxes' lines and the edges of a flowchart. Raises AssertionError where it is not well formed."""
    declared, edges, open_, closed = {}, [], 0, 0
    begin, title, end, *lines = text.splitlines()
    assert (begin, end) == ("---", "---")
    assert isinstance(json.loads(title.removeprefix("title: ")), str)
    body = [line.strip() for line in lines if not line.startswith("%%")]
    assert body[0] == "flowchart TB"
    for line in body[1:]:
        if match := re.fullmatch(r'(n\d+)\["([^"\[\]{}|`]*)"\]', line):
            assert match[1] not in declared
            declared[match[1]] = [shown(part) for part in match[2].split("<br/>")]
        elif match := re.fullmatch(r'subgraph (c\d+)\["([^"\[\]{}|`<>]+)"\]', line):
            assert match[1] not in declared
            declared[match[1]] = []
            open_ += 1
        elif line == "end":
            closed += 1
            assert closed <= open_
        elif match := re.fullmatch(r'n(\d+) (-->|-\.->)\|"([\d×…]+)"\| n(\d+)', line):
            assert {f"n{match[1]}", f"n{match[4]}"} <= set(declared)
            edges.append((int(match[1]), int(match[4]), match[3], match[2] == "-.->"))
        elif match := re.fullmatch(r"class (\S+) \w+", line):
            assert set(match[1].split(",")) <= set(declared)
        else:
            assert re.fullmatch(r"classDef \w+ [\w:#,-]+", line), line
    assert open_ == closed
    lines = [lines for name, lines in declared.items() if name[0] == "n"]
    return lines, edges


def shown(text):
    """A label as Mermaid shows it."""
    return unescape(re.sub(r"#(\d+);", r"&#\1;", text)).replace("\N{WORD JOINER}", "")


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", NETWORKS)
def test_mermaid_is_well_formed(name, way):
    picture = drawn_as(name, way)
    assert read_mermaid(render_mermaid(picture)) == (
        [[*box.text(), *box.figures] for box in picture.boxes()],
        [(edge.source, edge.target, edge.text, edge.side) for edge in picture.edges],
    )


def test_it_is_said_that_something_is_collapsed():
    for render in (render_mermaid, render_dot):
        text = " ".join(render(diagram(analyze(load("resnet50")))).splitlines())
        assert "Blocks below depth 3 are one box each (--depth 4 shows more, --all each layer)." in text
        assert "one box each" not in render(diagram(analyze(load("resnet18"))))


def test_side_outputs_are_dashed():
    picture = diagram(analyze(load("googlenet"), mode="train"), 1)
    assert [box.label for box in picture.boxes() if box.side] == ["head1", "head2", "side output", "side output"]
    assert render_mermaid(picture).count("-.->") == render_dot(picture).count(", style=dashed]") == 4
    assert not any(box.side for box in diagram(analyze(load("googlenet")), 1).boxes())


def graphviz(text, form="plain"):
    """What Graphviz makes of a text."""
    return draw_dot(text, form)[0].decode()


@pytest.mark.parametrize("name", ["googlenet", "resnet50", "densenet121", "blocks/fractal-block", "blocks/conv3x3"])
def test_graphviz_takes_it(name):
    picture = diagram(analyze(load(name)))
    lines = graphviz(render_dot(picture)).splitlines()
    assert sum(line.startswith("node ") for line in lines) == len(picture.boxes())
    assert sum(line.startswith("edge ") for line in lines) == len(picture.edges)


ODD = [
    'a "b" c',
    "p|q",
    "[x](y)",
    "<b>&amp;</b>",
    "back\\slash \\n \\",
    "*s* _u_ `c`",
    "1) one",
    "- item",
    "end",
    "{y} #35;",
]


@pytest.fixture(scope="module")
def odd():
    """A picture whose blocks have names that no spec could give them."""
    lines = "".join(f"  - x{i}:\n    - linear(4)\n    - linear({i + 5})\n" for i in range(len(ODD)))
    graph = parse(f"name: t\ninput: [4]\nlayers:\n{lines}")

    def renamed(node):
        block, dot, name = node.name.partition(".")
        return node._replace(name=f"{ODD[int(block[1:])]}.{name}") if dot else node

    graph = replace(graph, nodes=tuple(renamed(node) for node in graph.nodes), name='"n" <x> \\ {%%')
    return diagram(analyze(graph), 1), diagram(analyze(graph), 2)


def test_odd_names_survive_mermaid(odd):
    texts, _ = read_mermaid(render_mermaid(odd[0]))
    assert [lines[0] for lines in texts[1:-1]] == ODD
    lines = render_mermaid(odd[0]).splitlines()
    assert lines[1] == r'''title: "\"n\" ‹x› \\ {%% · input 4 · one image · inference"'''
    assert lines[3] == '%% "n" <x> \\ (%%'  # a brace would begin a directive
    read_mermaid(render_mermaid(odd[1]))


def test_frames_of_numbered_blocks_have_no_label():
    picture = diagram(analyze(load("resnet18")))
    mermaid, dot = render_mermaid(picture), render_dot(picture)
    assert mermaid.count('["stage1"]') == 1
    assert '["×2"]' in mermaid
    assert mermaid.count('[" "]') == dot.count('graph [label=""') == 6
    assert not re.search(r'subgraph c\d+\["\d', mermaid)


def test_odd_names_survive_graphviz(odd):
    for picture in odd:
        svg = ElementTree.fromstring(graphviz(render_dot(picture), "svg").encode())
        texts = {text.text.strip() for text in svg.iter("{http://www.w3.org/2000/svg}text")}
        assert {name.strip() for name in ODD} <= texts


def test_what_github_does_not_draw_is_said():
    def note(unfold):
        return "Too large for GitHub" in render_mermaid(diagram(analyze(load("densenet264")), unfold=unfold, depth=9))

    assert note(unfold=True)
    assert not note(unfold=False)


GOLDEN = {
    "resnet18.mmd": ("resnet18", None, render_mermaid),
    "googlenet.mmd": ("googlenet", None, render_mermaid),
    "googlenet-depth-1.mmd": ("googlenet", 1, render_mermaid),
    "googlenet-depth-1.dot": ("googlenet", 1, render_dot),
    "blocks-inception.dot": ("blocks/inception", None, render_dot),
    "blocks-dense-block.mmd": ("blocks/dense-block", None, render_mermaid),
}


@pytest.mark.parametrize("name", GOLDEN)
def test_golden_diagrams(name):
    network_, depth, render = GOLDEN[name]
    check_golden(f"diagrams/{name}", render(diagram(analyze(load(network_)), depth)))


class TestCommand:
    def run(self, *args):
        return CliRunner().invoke(cli, ["graph", *args])

    def test_mermaid_on_the_screen(self):
        result = self.run("resnet50", "--set", "classes=10", "--input", "3x64x64")
        assert result.exit_code == 0
        assert '["linear 10"]' in result.stdout
        assert '|"3×64×64"|' in result.stdout

    @pytest.mark.parametrize(
        ("file", "options", "beginning"),
        [
            ("a.mmd", [], '---\ntitle: "blocks/fire · input'),
            ("a.DOT", [], "// blocks/fire"),
            ("a.gv", [], "// blocks/fire"),
            ("a.txt", ["--format", "dot"], "// blocks/fire"),
            ("a.dot", ["--format", "mermaid"], "---"),
            ("a.svg", [], "<?xml"),
        ],
    )
    def test_files(self, tmp_path, file, options, beginning):
        path = tmp_path / file
        result = self.run("blocks/fire", *options, "-o", str(path))
        assert (result.exit_code, result.output) == (0, "")
        assert path.read_text(encoding="utf-8").startswith(beginning)
        late = self.run("no such network", *options, "-o", str(path))
        assert "already exists (use --force to overwrite it)" in str(late.exception)  # told before any work
        assert self.run("blocks/fire", *options, "-o", str(path), "--force").exit_code == 0

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            (
                ["-o", "a.jpg"],
                "the suffix of 'a.jpg' is not one of .mmd, .mermaid, .dot, .gv, .svg, .png, .pdf; change it, or use",
            ),
            (["-o", "a"], "the suffix of 'a' is not one of"),
            (["--depth", "2", "--all"], "use one of them"),
            (["--depth", "0"], "0 is not in the range"),
            (["--format", "jpg"], "'jpg' is not one of"),
            (["--format", "png"], "--format png needs -o FILE"),
            (["--width", "one"], "--width has no effect on Mermaid"),
            (["--font", "serif"], "--font has no effect on Mermaid"),
            (["--direction", "RL"], "'RL' is not one of"),
            (["--format", "dot", "--width", "three"], "'three' is not possible; write one (3.5 inches), two (7.16"),
        ],
    )
    def test_wrong_requests(self, options, message):
        result = self.run("lenet5", *options)
        assert result.exit_code == 2
        assert message in " ".join(result.output.split())

    def test_without_pygraphviz_it_says_what_to_install(self, monkeypatch, tmp_path):
        monkeypatch.setattr("archcalc.render.pictures.graphviz.find_spec", lambda name: None)
        result = self.run("lenet5", "-o", str(tmp_path / "a.svg"))
        assert "pip install 'archcalc[plot]', or use --format mermaid or dot" in str(result.exception)
        assert not (tmp_path / "a.svg").exists()

    def test_graphviz_that_fails(self):
        with pytest.raises(ArchcalcError, match="Graphviz failed: "):
            draw_dot("digraph {", "svg")

    def test_pictures_for_a_paper(self, tmp_path):
        options = ["lenet5", "--direction", "lr", "--width", "two", "--font", "serif"]
        for file in ("a.png", "a.pdf", "b.pdf", "a.svg"):
            result = self.run(*options, "-o", str(tmp_path / file))
            assert result.stdout == ""
            assert result.stderr.startswith("caption: lenet5 · LeNet-5 (LeCun et al. 1998) · input 1×32×32 · one image")
            assert "the smallest letters have 3.3 points; use a smaller --depth" in result.stderr
        width, height = struct.unpack(">II", (tmp_path / "a.png").read_bytes()[16:24])
        assert width / 400 == pytest.approx(7.16, abs=0.05)
        assert width > 10 * height
        pdf = (tmp_path / "a.pdf").read_bytes()
        assert pdf == (tmp_path / "b.pdf").read_bytes()
        assert b"STIXGeneral" in pdf
        assert b"FontFile2" in pdf
        svg = (tmp_path / "a.svg").read_text()
        assert "<image" not in svg
        assert "conv 5×5, 120 · scaled_tanh</text>" in svg
        assert "1998" not in svg

    def test_letters_that_are_large_enough_are_no_remark(self, tmp_path):
        result = self.run("lenet5", "--width", "one", "-o", str(tmp_path / "a.svg"))
        assert "letters" not in result.stderr
        larger = self.run("lenet5", "--font-size", "22", "-o", str(tmp_path / "b.svg"))
        assert larger.output == ""
        assert 'font-size="22.00"' in (tmp_path / "b.svg").read_text()

    def test_left_to_right_without_a_title(self):
        mermaid = self.run("lenet5", "--direction", "LR", "--no-title").stdout
        assert "flowchart LR" in mermaid
        assert "title:" not in mermaid
        assert "right: 110%" not in mermaid
        assert "rankdir=LR" in self.run("lenet5", "--direction", "LR", "--format", "dot").stdout


@pytest.mark.parametrize("look", [Look(3.5, title=False), Look(3.5, 2, letters=20)])
def test_frames_stay_around_their_boxes(look):
    """The margin around the whole picture is no margin of its frames."""
    drawn = graphviz(render_dot(diagram(analyze(load("resnet18"))), look), "json")
    found = json.loads(drawn)
    frames = [sub for sub in found["objects"] if sub["name"].startswith("cluster")]
    nodes = {node["_gvid"]: node for node in found["objects"] if "pos" in node}
    assert len(frames) > 4
    for frame in frames:
        left, bottom, right, _ = map(float, frame["bb"].split(","))
        for node in (nodes[i] for i in frame.get("nodes", [])):
            (x, y), wide, high = map(float, node["pos"].split(",")), float(node["width"]), float(node["height"])
            assert left + 7 < x - 36 * wide
            assert x + 36 * wide < right - 7
            assert bottom + 7 < y - 36 * high


def test_svg_has_no_ground_and_says_what_it_shows_and_leaves_out():
    text = graphviz(render_dot(diagram(analyze(load("resnet50")))), "svg")
    svg = ElementTree.fromstring(text.encode())
    texts = " ".join(text.text for text in svg.iter("{http://www.w3.org/2000/svg}text"))
    assert all(word in texts for word in ("stage4", "×5", "64×56×56", "conv 7×7, 64, /2"))
    assert texts.startswith("resnet50 Deep residual networks (He et al. 2015) input 3×224×224 · one image · inference")
    assert "Blocks below depth 3" in texts
    whites = [a for a in svg.iter() if a.get("fill") in ("white", "#ffffff")]
    assert not whites
