"""Finding specs by name, path and folder; the public face."""

import pytest
from click.testing import CliRunner
from support.zoo import NAMES, network

import archcalc
from archcalc import ArchcalcError, SpecError, analyze, audit, load, networks, parse
from archcalc.auditing.claims import accuracies_of, claims_of
from archcalc.catalog import matching, titles
from archcalc.cli import cli

SMALL = """
name: small
input: [3, 8, 8]
params: {width: 4, widths: [1, 2]}
layers:
  - conv(width, 3)
  - conv(widths[1], 1)
"""


def test_public_face():
    assert archcalc.__all__ == [
        "ArchcalcError", "Graph", "Node", "Report", "SpecError", "analyze", "audit", "compare", "from_torch", "load",
        "networks", "parse", "search", "sweep",
    ]  # fmt: skip
    assert all(getattr(archcalc, name).__name__ == name for name in archcalc.__all__)
    assert {*archcalc.__all__, "__version__"} <= set(dir(archcalc))
    with pytest.raises(AttributeError, match="module 'archcalc' has no attribute 'laod'"):
        archcalc.laod  # noqa: B018  # the lookup is what is tested


def test_the_zoo():
    names = set(networks())
    assert {"vgg11", "vgg13", "vgg16", "vgg16-c", "vgg19", "alexnet", "cs231n/alexnet", "lenet5", "googlenet"} <= names
    assert {"resnet18", "resnet34", "resnet50", "resnet101", "resnet152", "densenet121"} <= names
    assert {"cs231n/inception-naive", "cs231n/inception-bottleneck"} <= names


@pytest.mark.parametrize("name", NAMES)
def test_every_network_is_found_by_its_name(name):
    graph = network(name)
    assert graph.name == name
    assert len({node.name for node in graph.nodes}) == len(graph.nodes)
    assert all(max(node.inputs, default=-1) < position for position, node in enumerate(graph.nodes))


def test_own_folder_and_path(tmp_path, monkeypatch):
    (tmp_path / "mine").mkdir()
    path = tmp_path / "mine" / "small.yaml"
    path.write_text(SMALL)
    monkeypatch.setenv("ARCHCALC_PATH", str(tmp_path))
    assert load("mine/small").nodes == load(path).nodes
    assert "mine/small" in networks()


def test_own_network_comes_before_the_zoo(tmp_path, monkeypatch):
    (tmp_path / "mine.yaml").write_text(SMALL.replace("small", "vgg16"))
    monkeypatch.setenv("ARCHCALC_PATH", str(tmp_path))
    assert analyze(load("vgg16")).totals.params < 1000


def test_a_broken_spec_of_ones_own_is_named(tmp_path, monkeypatch):
    (tmp_path / "bad.yaml").write_text("name: bad\nlayers: [relu\n")
    monkeypatch.setenv("ARCHCALC_PATH", str(tmp_path))
    assert analyze(load("vgg16")).totals.params == 138_357_544
    with pytest.raises(SpecError, match=r"bad\.yaml:3:1: not YAML"):
        networks()


def test_params_from_python():
    assert load("resnet50", classes=10).nodes[-1].output == (10,)
    assert parse(SMALL, widths=[3, 7]).nodes[-1].output == (7, 6, 6)
    assert parse(SMALL, width="2 + 3").nodes[1].output == (5, 6, 6)
    with pytest.raises(ArchcalcError, match="needs a number, text, truth value or list, not dict"):
        parse(SMALL, width={})
    with pytest.raises(ArchcalcError, match="small has no param 'wdth'; did you mean width"):
        parse(SMALL, wdth=3)


def test_a_default_that_fails_beside_what_is_given():
    text = SMALL.replace("{width: 4", "{a: 4, b: 16 // a, width: 4").replace("[3, 8, 8]", "[3, 16 // a, 8]")
    assert parse(text, a=0, b=3, input=(3, 8, 8)).nodes[1].output == (4, 6, 6)


def test_names_that_no_file_can_have():
    for name in ("vgg16\0", "\0.yaml", "a\0:b"):
        with pytest.raises(ArchcalcError):
            load(name)


def test_input_from_python():
    assert parse(SMALL, input=(1, 9, 9)).nodes[1].output == (4, 7, 7)


def test_a_text_of_several_networks():
    text = SMALL + "variants: {a: {width: 1}, b: {width: 2}}\n"
    assert parse(text, "b").nodes[1].output == (2, 6, 6)
    with pytest.raises(ArchcalcError, match="the text has a, b; select one with `network=`"):
        parse(text)


ALIASES = """
name: library
title: A library
aliases:
  seven: {network: vgg16, set: {classes: 7}}
  wide: {network: vgg16, input: [3, 256, 256]}
  same: vgg16
published:
  - {of: same, figure: params, printed: "138,357,544", source: its page}
accuracy:
  - {of: same, top1: 71.5, dataset: ImageNet validation, protocol: single crop, source: its page}
"""


@pytest.fixture
def library(tmp_path, monkeypatch):
    """A folder with the aliases above, in the search path."""
    (tmp_path / "lib").mkdir()
    path = tmp_path / "lib" / "library.yaml"
    path.write_text(ALIASES)
    monkeypatch.setenv("ARCHCALC_PATH", str(tmp_path))
    return path


def test_an_alias_is_the_network_it_stands_for(library):
    graph, target = load("lib/same"), load("vgg16")
    assert graph.nodes == target.nodes
    assert (graph.name, graph.about.stands_for, graph.about.family) == ("lib/same", "vgg16", "vgg")
    assert (graph.about.title, graph.about.paper) == ("A library", target.about.paper)
    assert [claim.source for claim in claims_of(graph.origin)] == ["its page"]
    assert [accuracy.printed for accuracy in accuracies_of(graph.origin)] == ["71.5"]


def test_an_alias_sets_params_and_input(library):
    assert load("lib/seven").nodes == load("vgg16", classes=7).nodes
    assert claims_of(load("lib/seven").origin) == ()
    assert load("lib/wide").input == (3, 256, 256)
    assert load(f"{library}:wide").nodes == parse(ALIASES, "wide").nodes == load("lib/wide").nodes


def test_an_alias_takes_params_and_input_too(library):
    assert load("lib/seven", classes=9).nodes[-1].output == (9,)
    assert load("lib/seven", classes=7).nodes == load("lib/seven").nodes
    assert claims_of(load("lib/same", classes=9).origin) == ()
    assert load("lib/wide", input=(3, 224, 224)).nodes == load("vgg16").nodes
    with pytest.raises(ArchcalcError, match="seven has no param 'wdth'; "):
        load("lib/seven", wdth=1)


def test_an_alias_of_an_alias_is_refused(library, tmp_path):
    (tmp_path / "second.yaml").write_text("name: second\naliases: {again: lib/same}\n")
    with pytest.raises(SpecError, match="lib/same is an alias itself"):
        load("again")


def test_names_by_pattern():
    assert matching(["vgg1[13]", "alexnet", "vgg11"]) == ["vgg11", "vgg13", "alexnet"]
    assert matching(["no such name"]) == ["no such name"]
    assert matching([]) == list(networks())
    with pytest.raises(ArchcalcError, match=r"no network matches 'wgg\*'"):
        matching(["wgg*"])


def test_what_the_zoo_refers_to_is_the_zoos_own(tmp_path, monkeypatch):
    (tmp_path / "mine.yaml").write_text(SMALL.replace("small", "alexnet"))
    (tmp_path / "second.yaml").write_text(SMALL.replace("small", "resnet18"))
    before = [verdict.computed for verdict in audit(load("googlenet"))]
    monkeypatch.setenv("ARCHCALC_PATH", str(tmp_path))
    assert analyze(load("alexnet")).totals.params < 1000
    assert [verdict.computed for verdict in audit(load("googlenet"))] == before  # against alexnet
    assert analyze(load("torchvision/resnet18")).totals.params == 11_689_512


def test_plain_names_come_first():
    names = list(networks())
    folders = [name for name in names if "/" in name]
    assert names[-len(folders) :] == folders


# What networks are called

FAMILY = SMALL.replace("name: small", "name: net\nvariants: {net-a: {width: 2}, net-b: {width: 3}}")
LIBRARY = "name: lib\naliases: {resnet50: {network: resnet50, set: {classes: 10}}}\n"


@pytest.fixture
def files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "other").mkdir()
    written = {"one.yaml": SMALL, "other/two.yml": SMALL, "family.yaml": FAMILY, "lib.yaml": LIBRARY, "plain": SMALL}
    for name, text in written.items():
        (tmp_path / name).write_text(text)
    (tmp_path / "bad.yaml").write_text("name: [")


@pytest.mark.usefixtures("files")
@pytest.mark.parametrize(
    ("asked", "called"),
    [
        ("one.yaml", "small"),
        ("plain", "small"),
        ("family.yaml:net-a family.yaml:net-b", "net-a|net-b"),
        ("lib.yaml", "resnet50"),
        ("lib.yaml:resnet50 vgg16", "resnet50|vgg16"),
        ("one.yaml other/two.yml vgg16", "small (one.yaml)|small (other/two.yml)|vgg16"),
        ("resnet50 lib.yaml", "resnet50|resnet50 (lib.yaml)"),
        ("torchvision/resnet50 lib.yaml", "torchvision/resnet50|resnet50"),
        ("bad.yaml none.yaml nothing", "bad.yaml|none.yaml|nothing"),
    ],
)
def test_networks_of_files_go_by_their_own_names(asked, called):
    names = asked.split()
    assert list(titles(names).values()) == called.split("|")
    if len(names) == 1 and "bad" not in asked:
        assert load(names[0]).name == called


@pytest.mark.usefixtures("files")
@pytest.mark.parametrize(
    "command",
    [
        "compare",
        "export --table list --format csv",
        "export --format markdown",
        "audit --format csv",
        "export --table show",
    ],
)
def test_every_command_calls_them_so(command):
    runner = CliRunner()
    asked = ["one.yaml", "other/two.yml", "lib.yaml"]
    if command.startswith("audit"):
        for name in ("one.yaml", "other/two.yml"):
            with open(name, "a") as file:
                file.write("published: {figure: params, printed: '121', source: a table}\n")
    done = runner.invoke(cli, [*command.split(), *asked], catch_exceptions=False)
    text = done.output.replace("\\", "")
    assert "small (one.yaml)" in text
    assert "small (other/two.yml)" in text
    assert "lib.yaml" not in text
    single = runner.invoke(cli, [*command.split(), asked[0], "vgg16"], catch_exceptions=False).output
    assert "one.yaml" not in single


@pytest.mark.usefixtures("files")
@pytest.mark.parametrize("form", ["table", "json", "markdown", "html", "latex"])
def test_a_summary_has_the_networks_own_name(form):
    text = CliRunner().invoke(cli, ["summarize", "one.yaml", "--format", form], catch_exceptions=False).output
    assert "small" in text
    assert "one.yaml" not in text
