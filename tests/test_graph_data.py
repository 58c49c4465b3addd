"""A graph is plain data: it can be pickled, compared, and made by hand; its origin leads back to its spec."""

import pickle
from dataclasses import replace

import pytest

from archcalc import ArchcalcError, Graph, analyze, audit, compare, load, networks, parse
from archcalc.auditing.claims import accuracies_of, claims_of, recipes_of
from archcalc.catalog import build, origin, spec_to_expand, variant
from archcalc.codegen import source
from archcalc.graph.batchnorm_folding import fold_batchnorm
from archcalc.graph.graph import About
from archcalc.render.formats import render
from archcalc.render.tables.summaries import summarize
from archcalc.spec.network_spec import Changes

SPEC = """
name: small
input: [3, size, size]
params: {size: 8, block: wide, widths: '[4, 6]'}
blocks:
  wide(n): ['conv(n, 3)']
  thin(n): ['conv(n, 1)']
layers:
  - block(widths[0]) | batchnorm
  - side: {head: "conv(2, 5) | global_avgpool"}
  - block(widths[1])
published: {figure: params, printed: "342", source: the table}
"""


def again(value):
    return pickle.loads(pickle.dumps(value))


@pytest.mark.parametrize("name", sorted(networks()))
def test_a_network_of_the_zoo_can_be_pickled_and_made_again(name):
    graph = load(name)
    assert again(graph) == graph
    assert build(graph.origin, name) == graph
    assert not graph.origin.changed


MADE = {
    "a text": lambda path: parse(SPEC),
    "a file": load,
    "with params": lambda path: load(path, block="thin", widths=[2, 3]),
    "with an expression": lambda path: load(path, size="2 * 8"),
    "with input": lambda path: parse(SPEC, input=(12,)),
    "too small for its side output": lambda path: parse(SPEC, input=(6,)),
    "folded": lambda path: fold_batchnorm(load(path)),
    "without sides": lambda path: load(path).without_sides(),
    "by hand": lambda path: by_hand(),
}


def by_hand():
    """The nodes of a spec as a graph that no spec writes."""
    made = parse(SPEC).without_sides()
    return Graph("by hand", tuple(node._replace(place=None) for node in made.nodes), made.results)


@pytest.fixture
def path(tmp_path):
    file = tmp_path / "small.yaml"
    file.write_text(SPEC)
    return file


def test_as_a_key_a_graph_says_what_to_use():
    graph = parse(SPEC)
    with pytest.raises(TypeError, match=r"for a key in a dict or set use graph\.name or id\(graph\)"):
        {graph: 1}  # noqa: B018
    assert graph == parse(SPEC) != replace(graph, name="other")


@pytest.mark.parametrize("how", MADE)
def test_other_graphs_can_be_pickled(how, path):
    graph = MADE[how](path)
    assert again(graph) == graph
    assert graph != replace(graph, results=(0,))
    if graph.origin:
        assert build(graph.origin) == graph


def test_graphs_that_differ_in_what_a_side_output_lacks_are_not_equal():
    graph = parse(SPEC, input=(6,))
    assert graph.misfit
    assert replace(graph, misfit=None) != graph


@pytest.mark.parametrize(
    ("given", "params", "size"),
    [
        ({}, {}, None),
        ({"size": 8, "widths": [4, 6]}, {}, None),
        ({"size": "4 + 4"}, {}, None),
        ({"input": (3, 8, 8)}, {}, None),
        ({"size": "2 * 8"}, {"size": 16}, None),
        ({"block": "wide"}, {}, None),
        ({"input": (12,), "widths": (4, 7)}, {"widths": (4, 7)}, (3, 12, 12)),
    ],
)
def test_an_origin_says_what_is_set_otherwise(given, params, size):
    found = parse(SPEC, **given).origin
    assert (found.params, found.input, found.changed) == (params, size, bool(params or size))


@pytest.mark.parametrize(("flag", "changed"), [(1, False), (True, True), (1.0, True), ("1", False), ("1 == 1", True)])
def test_equal_values_of_another_type_are_set_otherwise(flag, changed):
    text = "name: small\ninput: [3, 8, 8]\nparams: {flag: 1}\nlayers: ['relu if flag else identity']\n"
    assert parse(text, flag=flag).origin.changed == changed


def test_an_origin_needs_no_expansion(monkeypatch):
    monkeypatch.setattr("archcalc.catalog.expand", None)
    found = origin("torchvision/resnet50")
    assert (found.network, found.changed) == ("resnet50", False)
    assert spec_to_expand(found).about.family == "resnet"


def test_a_graph_outlives_its_file(path, monkeypatch, tmp_path):
    graph = load(path)
    path.unlink()
    monkeypatch.chdir(tmp_path)
    assert [verdict.verdict for verdict in audit(again(graph))] == ["exact"]


def test_a_graph_by_hand_is_welcome():
    graph = by_hand()
    assert graph.about == About()
    report = analyze(graph)
    assert report.totals.params == analyze(parse(SPEC)).totals.params
    assert "by hand" in render(summarize(report, verdicts=audit(report)))
    assert audit(graph) == []
    assert (claims_of(None), accuracies_of(None), recipes_of(None)) == ((), (), ())
    assert compare(graph, load("resnet50")).entries[0].errors is None
    assert source(graph).startswith('"""by hand')
    with pytest.raises(ArchcalcError, match="by hand has no spec: load it by name, or parse its text"):
        variant(graph, Changes())


def test_pytorch_takes_a_graph_by_hand():
    pytorch = pytest.importorskip("archcalc.pytorch")
    assert pytorch.validate(by_hand(), device="meta").differences == ()
