"""Pictures of networks in Mermaid, Graphviz and SVG, and the command that writes them."""

import json
import re
import shutil
import subprocess
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
from archcalc.render.diagrams.dot import render_dot, render_svg
from archcalc.render.diagrams.layout import diagram
from archcalc.render.diagrams.mermaid import render_mermaid

DOT = shutil.which("dot")
needs_dot = pytest.mark.skipif(DOT is None, reason="Graphviz is not installed")


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
    """What Graphviz makes of a text; its warnings are errors."""
    done = subprocess.run([DOT, f"-T{form}"], input=text, capture_output=True, text=True, check=True)
    assert not done.stderr
    return done.stdout


@needs_dot
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


@needs_dot
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
            pytest.param("a.svg", [], "<?xml", marks=needs_dot),
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
                ["-o", "a.png"],
                "the suffix of 'a.png' is not one of .mmd, .mermaid, .dot, .gv, .svg; change it, or use",
            ),
            (["-o", "a"], "the suffix of 'a' is not one of"),
            (["--depth", "2", "--all"], "use one of them"),
            (["--depth", "0"], "0 is not in the range"),
            (["--format", "png"], "'png' is not one of"),
        ],
    )
    def test_wrong_requests(self, options, message):
        result = self.run("lenet5", *options)
        assert result.exit_code == 2
        assert message in " ".join(result.output.split())

    def test_svg_without_graphviz_says_what_to_install(self, monkeypatch, tmp_path):
        monkeypatch.setenv("PATH", str(tmp_path))
        result = self.run("lenet5", "-o", str(tmp_path / "a.svg"))
        assert "apt install graphviz" in str(result.exception)
        assert not (tmp_path / "a.svg").exists()

    def test_graphviz_that_fails(self, monkeypatch, tmp_path):
        program = tmp_path / "dot"
        program.write_text("#!/bin/sh\necho out of luck >&2\nexit 3\n")
        program.chmod(0o755)
        monkeypatch.setenv("PATH", str(tmp_path))
        with pytest.raises(ArchcalcError, match="Graphviz failed: out of luck"):
            render_svg(diagram(analyze(load("lenet5"))))


@needs_dot
def test_svg_has_no_ground_and_says_what_it_shows_and_leaves_out():
    text = render_svg(diagram(analyze(load("resnet50"))))
    svg = ElementTree.fromstring(text.encode())
    texts = " ".join(text.text for text in svg.iter("{http://www.w3.org/2000/svg}text"))
    assert all(word in texts for word in ("stage4", "×5", "64×56×56", "conv 7×7, 64, /2"))
    assert texts.startswith("resnet50 Deep residual networks (He et al. 2015) input 3×224×224 · one image · inference")
    assert "Blocks below depth 3" in texts
    whites = [a for a in svg.iter() if a.get("fill") in ("white", "#ffffff")]
    assert not whites
