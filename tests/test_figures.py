"""The registry of figures: whatever it lists is everywhere, and a figure is one row and one function."""

import json

import pytest
import torch
from click.testing import CliRunner

from archcalc import ArchcalcError, analyze, audit, compare, load, parse
from archcalc.analysis.figures import FIGURES, NETWORK, STEP, SUM, Figure, numbers, stated, summed
from archcalc.auditing.figures import Figures, Numbers
from archcalc.cli import cli
from archcalc.pytorch.network import Network
from archcalc.render.pictures.comparison import bar_values, caption
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
    assert Numbers(Figures(report))["outputs"]["relu"] == 512
    assert bar_values([report], "outputs") == [1408]
    assert "outputs: values that layers give" in caption([report], ["outputs"])
    assert [verdict.computed for verdict in audit(report.graph)] == [704, 256]
    data = json.loads(printed("summarize", path, "--format", "json"))
    assert data["totals"]["outputs"] == sum(row["outputs"] for row in data["layers"]) == 704
    assert json.loads(printed("compare", path, "--format", "json"))["networks"][0]["outputs"] == 704
    lines = printed("compare", "lenet5", path, "--columns", "outputs", "--sort", "outputs").splitlines()
    assert lines[1].split() == ["Network", "Outputs"]
    assert [line.split() for line in lines[2:4]] == [["lenet5", "40,128"], ["mine", "704"]]


def test_without_its_row_the_figure_is_nowhere():
    report = analyze(parse(CLAIMED))
    assert "outputs" not in report.totals.figures()
    assert "outputs" not in {column.key for column in columns()}
    with pytest.raises(AttributeError, match="no figure 'outputs'"):
        report.totals.outputs  # noqa: B018
    with pytest.raises(AttributeError, match="no figure 'outputs'"):
        report.layers[0].outputs  # noqa: B018


def test_a_layer_has_the_figures_that_its_docstring_promises():
    report = analyze(load("lenet5"))
    layer, others = report.layers[1], FIGURES.keys() - set(summed()) - {"depth", "saved_bytes"}
    for key in FIGURES:
        assert hasattr(report.totals, key)
        assert hasattr(layer, key) == (key not in others)
    with pytest.raises(AttributeError, match="no figure 'receptive_field' that adds up over layers"):
        layer.receptive_field  # noqa: B018


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
    assert list(report.totals.figures()) == list(FIGURES)
    details = {"input", "receptive_field_at", "field_status"}
    assert {column.key for column in columns()} & set(FIGURES) == {*numbers(), *details}
    (row,) = comparison_table(compare(report)).rows
    assert {key: row[key] for key in FIGURES} == report.totals.figures()
    assert summarize(report).data()["totals"] == report.totals.figures()


def test_a_block_has_what_the_registry_says():
    figures = Figures(analyze(load("resnet18"), mode="train"))
    for key, figure in stated().items():
        if figure.adds == NETWORK:
            with pytest.raises(Exception, match="only a whole network has"):
                figures.figure(key, "stage1")
        else:
            assert figures.figure(key, "stage1") is not None


@pytest.mark.parametrize("part", ["", "stage1"])
def test_a_claim_on_a_training_step_needs_the_mode(part):
    """Without a step these figures are 0, which is no answer to what a step takes."""
    figures = Figures(analyze(load("resnet18")))
    assert len(STEP) == 8
    for key in STEP:
        with pytest.raises(ArchcalcError, match=rf"{key} .* is a figure of training: add `mode: train`"):
            figures.figure(key, part)


MOVED = {  # the layers, the last layer's bytes by hand for 2 images in float32: at inference and in training
    "conv": ("conv(8, 3, padding=1)", 4 * (2 * 3 * 64 + 2 * 8 * 64 + 8 * 27 + 8), None),
    "conv, float16, stride 2": ("conv(8, 1, stride=2, bias=False)", 2 * (2 * 3 * 64 + 2 * 8 * 16 + 8 * 3), None),
    "batchnorm": ("batchnorm", 4 * (2 * 2 * 3 * 64 + 3 + 3 + 3 + 3) + 8, None),
    "relu in place": ("conv(3, 1) | relu", 4 * (2 * 2 * 3 * 64), None),
    "relu of the image, a tensor of its own": ("relu", 4 * (2 * 2 * 3 * 64), None),
    "add": ("add(identity, conv(3, 1))", 4 * 3 * 2 * 3 * 64, None),
    "add of three, in place": ("conv(3, 1) | add(conv(3, 1), conv(3, 1), identity)", 4 * 4 * 2 * 3 * 64, None),
    "a gate": ("multiply(identity, global_avgpool)", 4 * 2 * (3 * 64 + 3 + 3 * 64), None),
    "flatten": ("flatten", 0, None),
    "identity": ("identity", 0, None),
    "concat": ("concat(identity, conv(5, 1))", 4 * 2 * (3 + 5 + 8) * 64, None),
    "dropout": ("dropout", 0, 4 * 2 * 2 * 3 * 64),
    "maxpool": ("maxpool(2)", 4 * 2 * (3 * 64 + 3 * 16), None),
    "linear": ("flatten | linear(10)", 4 * (2 * 192 + 2 * 10 + 1920 + 10), None),
}


@pytest.mark.parametrize("case", MOVED)
def test_bytes_moved_by_hand(case):
    layers, inferring, training = MOVED[case]
    graph = parse(f"name: t\ninput: [3, 8, 8]\nlayers: ['{layers}']")
    dtype = "float16" if "float16" in case else "float32"
    assert analyze(graph, 2, dtype).layers[-1].bytes_moved == inferring
    assert analyze(graph, 2, dtype, "train").layers[-1].bytes_moved == (inferring if training is None else training)


def test_the_image_moves_nothing():
    assert analyze(load("lenet5")).layers[0].bytes_moved == 0


MEASURED = ("lenet5", "alexnet", "googlenet", "resnet20", "densenet-40-12", "seresnet50", "squeezenet-bypass")


class Moving(Network):
    """A network that notes which tensors PyTorch hands to each node's module, which it gets, and what it holds."""

    def run(self, position, inputs):
        before = [x._version for x in inputs]
        storages = {x.untyped_storage()._cdata for x in inputs}
        module, output = self.node(position), super().run(position, inputs)
        written = [x._version for x in inputs] != before
        view = output.untyped_storage()._cdata in storages and not written
        held = [*inputs, output, *module.parameters(), *module.buffers()]
        self.moved[self.graph.nodes[position].name] = 0 if view else sum(x.numel() * x.element_size() for x in held)
        return output


@pytest.mark.parametrize("mode", ["infer", "train"])
@pytest.mark.parametrize("name", MEASURED)
def test_bytes_moved_are_those_of_the_tensors_in_pytorch(name, mode):
    report = analyze(load(name), 2, mode=mode)
    with torch.device("meta"):
        network = Moving(report.graph).train(mode == "train")
    network.moved = {"input": 0}
    with torch.set_grad_enabled(mode == "train"):
        network(torch.empty(2, *report.graph.input, device="meta"))
    assert {layer.node.name: layer.bytes_moved for layer in report.layers} == network.moved
    assert report.totals.bytes_moved == sum(network.moved.values())
