"""What is published of networks: in the spec or in a file beside it, read when it is asked for."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from archcalc import ArchcalcError, SpecError, audit, load, networks, parse
from archcalc.auditing import claims
from archcalc.auditing.claims import accuracies_of, claims_of, recipes_of
from archcalc.auditing.lint import check_spec
from archcalc.catalog import origin, published_file
from archcalc.cli import cli

NETWORK = """name: mine
input: [3, 8, 8]
params: {n: 4}
variants: {a: {n: 4}, b: {n: 2}}
layers: ['conv(n, 1)']
"""
PUBLISHED = """published:
  - {of: a, figure: params, printed: "16", source: a table}
  - {of: b, figure: params, printed: "16", source: a table, explained_by: {text: twice, value: 2 * computed}}
  - {of: b, what: ratio, value: 'against["params"] / params', against: mine.yaml:a, printed: 2×, source: a table}
accuracy: {of: a, top1: 71.5, dataset: mine, protocol: single crop, source: a table}
recipe: {of: b, source: a table, epochs: 90}
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.yaml").write_text(NETWORK)
    (tmp_path / "mine.published.yaml").write_text(PUBLISHED)
    return tmp_path


def said(graph):
    """What is published of a network, without the places."""
    verdicts = [(v._replace(claim=None), v.claim.printed, v.claim.source, v.claim.note) for v in audit(graph)]
    return verdicts, accuracies_of(graph.origin), recipes_of(graph.origin)


def run(*arguments):
    return CliRunner().invoke(cli, arguments)


@pytest.mark.parametrize("network", ["a", "b"])
@pytest.mark.parametrize("suffixes", [(".yaml", ".yaml"), (".yml", ".yml"), (".yaml", ".yml"), (".yml", ".yaml")])
def test_both_ways_to_write_it_are_one(network, suffixes, folder):
    (folder / "mine.published.yaml").unlink()
    own, beside = suffixes
    published = PUBLISHED.replace("mine.yaml:a", f"mine{own}:a")
    path = folder / f"mine{own}"
    path.write_text(NETWORK + published)
    together = said(load(f"{path}:{network}"))
    assert any(together)
    path.write_text(NETWORK)
    assert said(load(f"{path}:{network}")) == ([], (), ())
    (folder / f"mine.published{beside}").write_text(published)
    assert said(load(f"{path}:{network}")) == together


def test_both_may_be_used(folder):
    figure = '{figure: macs, printed: "768", source: mine}'
    (folder / "mine.yaml").write_text(f"{NETWORK}published: {figure}\n")
    assert [verdict.claim.source for verdict in audit(load("mine.yaml:a"))] == ["mine", "a table"]


@pytest.mark.parametrize("name", ["googlenet", "resnet34", "vgg16", "torchvision/resnet50", "densenet121", "alexnet"])
def test_a_network_of_the_zoo_may_be_written_in_one_file(name):
    graph = load(name)
    text = graph.origin.text + Path(published_file(graph.origin)).read_text(encoding="utf-8")
    assert said(parse(text, graph.origin.network)) == said(graph)
    assert said(graph)[0]


def test_it_is_found_in_a_folder_of_ones_own_and_from_elsewhere(folder, monkeypatch):
    monkeypatch.setenv("ARCHCALC_PATH", str(folder))
    found = [audit(load(f"./mine.yaml:{network}")) for network in "ab"]
    assert [len(verdicts) for verdicts in found] == [1, 2]
    graph = load("./mine.yaml:a")
    monkeypatch.chdir("/")
    assert [len(audit(load(network))) for network in "ab"] == [1, 2]
    assert len(audit(graph)) == 1


def test_it_is_no_network(folder, monkeypatch):
    monkeypatch.setenv("ARCHCALC_PATH", str(folder))
    assert {"a", "b"} <= set(networks())
    assert not [path for path in networks().values() if ".published" in path.name]
    with pytest.raises(ArchcalcError, match=r"^mine\.published\.yaml: .* not a spec; name the spec, mine\.yaml$"):
        load("mine.published.yaml")


def test_without_its_network_it_is_an_error(folder, monkeypatch):
    (folder / "mine.yaml").unlink()
    message = r"mine\.published\.yaml: published figures, .*; there is no mine\.yaml beside it"
    with pytest.raises(ArchcalcError, match=message):
        check_spec("mine.published.yaml")
    monkeypatch.setenv("ARCHCALC_PATH", str(folder))
    with pytest.raises(ArchcalcError, match=message):
        networks()
    audited = run("audit")
    assert "there is no mine.yaml beside it" in audited.output
    assert audited.exit_code == 1


WRONG = {
    "published: {of: c, figure: params, printed: '1', source: s}": "1:17: the spec has no network 'c'",
    "published: {figure: parms, printed: '1', source: s}": "1:21: unknown figure 'parms'",
    "published: {figure: params, printed: many, source: s}": "1:38: cannot read the number",
    "accuracy: {top1: 101, dataset: d, protocol: p, source: s}": "1:18: not a percentage",
    "recipe: {epochs: 90}": "1:9: a recipe lacks `source`",
    "name: mine": "1:1: a file of published figures has no key 'name'",
    "published: [": "not YAML",
    "[]": "a file of published figures needs keys",
    "": "1:1: the text is empty",
}


@pytest.mark.parametrize("text", WRONG)
def test_check_reads_the_file_beside(text, folder):
    assert check_spec("mine.yaml") == ([], ("a", "b"))
    (folder / "mine.published.yaml").write_text(text)
    with pytest.raises(SpecError) as caught:
        check_spec("mine.yaml")
    assert str(caught.value).startswith("mine.published.yaml:")
    assert WRONG[text] in str(caught.value)
    load("mine.yaml:a")  # which does not read it


@pytest.fixture
def read(monkeypatch):
    """The names of the files of published figures that are read."""
    names, plain = [], claims.read_text
    monkeypatch.setattr(claims, "read_text", lambda path: names.append(Path(path).name) or plain(path))
    return names


READ = {
    ("summarize", "vgg16"): {"vgg.published.yaml"},
    ("summarize", "resnet50"): {"resnet.published.yaml"},  # though it is compared with VGG-19
    ("summarize", "vgg16", "--set", "classes=10"): set(),
    ("compare", "vgg16", "googlenet"): {"vgg.published.yaml", "googlenet.published.yaml"},
    ("list", "--family", "vgg"): set(),
    ("export", "vgg16", "--format", "pytorch"): set(),
    ("graph", "vgg16"): set(),
    ("compare", "vgg11", "vgg16", "--by", "layer"): set(),
}


@pytest.mark.parametrize("arguments", READ, ids=" ".join)
def test_files_are_read_only_when_they_are_asked_for(arguments, read):
    assert run(*arguments).exit_code == 0
    assert set(read) == READ[arguments]


def test_an_origin_is_enough_to_read_what_is_published(read, monkeypatch):
    monkeypatch.setattr("archcalc.catalog.expand", None)
    assert accuracies_of(origin("vgg16"))
    assert read == ["vgg.published.yaml"]


def test_claims_of_layers_are_read_only_where_they_are_shown():
    every, whole = claims_of(origin("vgg16")), claims_of(origin("vgg16"), layers=False)
    facts = [(claim.figure, claim.what, claim.printed, claim.source) for claim in every if not claim.layer]
    assert [(claim.figure, claim.what, claim.printed, claim.source) for claim in whole] == facts
    assert len(facts) < len(every)
