"""The registry of figures: whatever it lists is everywhere, and a figure is one row and one function."""

import json

import pytest
from click.testing import CliRunner

from archcalc import analyze, audit, compare, load, parse
from archcalc.analysis.figures import FIGURES, NETWORK, SUM, Figure, numbers, stated, summed
from archcalc.auditing.figures import Figures
from archcalc.cli import cli
from archcalc.render.pictures.comparison import caption, values
from archcalc.render.tables.compare import columns, comparison_table
from archcalc.render.tables.summaries import summarize

CLAIMED = """
name: mine
input: [3, 8, 8]
layers: ['conv(4, 3, padding=1)', relu]
published:
  - {figure: outputs, printed: "448", source: a book}
  - {figure: outputs, layer: relu, printed: "256", source: a book}
"""


def printed(*arguments):
    done = CliRunner().invoke(cli, [str(argument) for argument in arguments], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout


@pytest.fixture
def planted(monkeypatch):
    """A figure that no other module knows: the values that layers give, views and all."""
    of = lambda run: run.conditions.batch * run.node.output[0] * 64  # noqa: E731  # the function of the row
    monkeypatch.setitem(FIGURES, "outputs", Figure("outputs", "outputs", "values", SUM, "values that layers give", of))


@pytest.mark.usefixtures("planted")
def test_a_planted_figure_is_everywhere(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(CLAIMED)
    report = analyze(load(str(path)), batch=2)
    assert [layer.outputs for layer in report.layers] == [384, 512, 512]
    assert report.totals.outputs == 1408
    assert Figures(report).figure("outputs", "op:conv") == 512
    assert Figures(report).numbers["outputs"]["relu"] == 512
    assert values([report], "outputs") == [1408]
    assert "outputs: values that layers give" in caption([report], ["outputs"])
    assert [verdict.computed for verdict in audit(report.graph)] == [704, 256]
    data = json.loads(printed("summarize", path, "--format", "json"))
    assert data["totals"]["outputs"] == sum(row["outputs"] for row in data["layers"]) == 704
    assert json.loads(printed("compare", path, "--format", "json"))["networks"][0]["outputs"] == 704
    lines = printed("compare", "lenet5", path, "--columns", "outputs", "--sort", "outputs").splitlines()
    assert lines[1].split() == ["Network", "Outputs"]
    assert lines[2].split() == ["mine", "704"]


def test_without_its_row_the_figure_is_nowhere():
    report = analyze(parse(CLAIMED))
    assert "outputs" not in report.totals.figures
    assert "outputs" not in columns()
    with pytest.raises(AttributeError, match="no figure 'outputs'"):
        report.totals.outputs  # noqa: B018
    with pytest.raises(AttributeError, match="no figure 'outputs'"):
        report.layers[0].outputs  # noqa: B018


def test_rows_of_the_registry_are_whole():
    for key, figure in FIGURES.items():
        assert key == figure.key
        assert figure.title
        assert figure.means
        assert (figure.of is None) or figure.adds == SUM
    assert set(summed()) < set(numbers()) < set(stated()) < set(FIGURES)


@pytest.mark.parametrize("name", ["googlenet", "stochastic-depth-110"])
def test_totals_have_every_figure_and_nothing_else(name):
    report = analyze(load(name), mode="train")
    assert list(report.totals.figures) == list(FIGURES)
    assert {key for key in columns() if key in FIGURES} == set(numbers()) | {"input"}
    (row,) = comparison_table(compare(report)).rows
    assert {key: row[key] for key in FIGURES} == report.totals.figures
    assert summarize(report).data["totals"] == report.totals.figures


def test_a_block_has_what_the_registry_says():
    figures = Figures(analyze(load("resnet18")))
    for key, figure in stated().items():
        if figure.adds == NETWORK:
            with pytest.raises(Exception, match="of whole networks only"):
                figures.figure(key, "stage1")
        else:
            assert figures.figure(key, "stage1") is not None
