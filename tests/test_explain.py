"""`archcalc explain`: each formula evaluates to the figure of the report."""

import csv
import io
import re
from dataclasses import replace

import pytest
from click.testing import CliRunner

from archcalc import analyze, load
from archcalc.analysis.explanation import explain
from archcalc.analysis.field_figures import by_key
from archcalc.cli import cli
from archcalc.errors import ArchcalcError
from archcalc.ops.base import written_call
from archcalc.writing.layout import operator_call

NETWORKS = [
    "lenet5", "vgg16", "resnet50", "densenet121", "googlenet", "mobilenet-v2", "alexnet", "unet", "fractalnet-20",
    "torchvision/swin_t", "torchvision/vit_b_16", "torchvision/efficientnet_b0", "torchvision/shufflenet_v2_x1_0",
]  # fmt: skip
PYTHON = str.maketrans({"·": "*", "−": "-", "/": "//", "⌊": "(", "⌋": ")", ",": None})


def evaluated(text):
    text = re.sub(r"max\((\d+(?:, \d+)*)\)", lambda most: str(max(map(int, most[1].split(", ")))), text)
    return eval(text.translate(PYTHON), {})


def said(layers, lines):
    """The lines whose formula or value is not the report's."""
    wrong = []
    for line in lines:
        if line.formula:
            values = line.value if isinstance(line.value, tuple) else (line.value,)
            terms = [evaluated(term) for term in line.formula.split(" × ")]
            wrong += [line] * (set(terms) != set(values))
        if line.key and len(layers) == 1:
            layer = layers[0]
            known = {**by_key(layer.field), "output": layer.node.output}
            wrong += [line] * (line.value != (known[line.key] if line.key in known else getattr(layer, line.key)))
    return wrong


def all_wrong(report):
    names = [layer.node.name for layer in report.layers]
    groups = {name.rpartition(".")[0] for name in names} - {""}
    return [line for name in (*names, *groups) for line in said(*explain(report, name))]


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("conditions", [{"mode": "train"}, {"batch": 3, "dtype": "float16", "flops": "macs"}])
def test_each_line_evaluates_to_the_figure(name, conditions):
    graph = load(name)
    if graph.misfit:
        conditions = conditions | {"mode": "infer"}
    assert all_wrong(analyze(graph, **conditions)) == []


def test_a_wrong_line_is_noticed():
    report = analyze(load("lenet5"), mode="train")
    layers, lines = explain(report, "c1")
    assert said(layers, lines) == []
    macs = next(line for line in lines if line.key == "macs")
    for wrong in (macs._replace(formula=f"{macs.formula} + 1"), macs._replace(value=macs.value + 1)):
        assert said(layers, [wrong])


def run(*arguments):
    result = CliRunner().invoke(cli, ["explain", *arguments])
    if isinstance(result.exception, ArchcalcError):
        raise result.exception
    return result.output


def cells(*arguments):
    rows = csv.DictReader(io.StringIO(run(*arguments, "--format", "csv")))
    return {row["name"]: (row["formula"], row["value"]) for row in rows}


def test_the_arithmetic_that_a_student_would_write():
    found = cells("vgg16", "stage3.conv1")
    assert found["output height, width"] == ("⌊(56 + 2·1 − 3)/1⌋ + 1", "56")
    assert found["weight"] == ("(3·3·128)·256", "294912")
    assert found["bias"] == ("256", "256")
    assert found["MACs"] == ("256·56·56·(3·3·128)", "924844032")
    assert found["gradient of the input: MACs"] == found["gradient of the weights: MACs"] == found["MACs"]
    assert found["kept for backward, bytes: input"] == ("128·56·56·4", "1605632")
    assert found["receptive field"] == ("16 + (3 − 1)·4", "24x24")


def test_batch_dtype_and_mode():
    found = cells("vgg16", "stage3.conv1", "--batch", "8", "--dtype", "float16")
    assert found["MACs"][0] == "8·(256·56·56·(3·3·128))"
    assert found["kept for backward, bytes: input"][0] == "128·56·56·8·2"
    assert not [name for name in cells("vgg16", "stage3.conv1", "--mode", "infer") if "gradient" in name]


def test_a_group_is_the_sum_of_its_layers():
    found = cells("vgg16", "stage3")
    assert found["params"] == ("295,168 + 2·590,080", "1475328")
    assert found["output of stage3.maxpool"][1] == "256x28x28"


def test_shared_weights_are_named():
    layer = next(layer for layer in analyze(load("transformer-base")).layers if layer.weights_of)
    assert f"It has the weights of {layer.weights_of}." in run("transformer-base", layer.node.name)


def test_a_call_is_written_as_in_specs():
    for name in ("alexnet", "resnet18", "swin-t", "char-rnn", "vit-b-16"):
        ops = {node.op for node in load(name).nodes if node.inputs}
        assert [*map(written_call, ops)] == [*map(operator_call, ops)]


def test_an_operator_has_its_rules():
    assert run("conv") == CliRunner().invoke(cli, ["ops", "conv"]).output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["vgg16", "stage3.conf1"], "vgg16 has no layer or group 'stage3.conf1'; did you mean stage3.conv1"),
        (["vgg16", "conv3"], "vgg16 has no layer or group 'conv3'; did you mean stage3.conv3 or stage4.conv3 or"),
        (["vgg16", "stag3"], "vgg16 has no layer or group 'stag3'; did you mean stage3"),
        (["vgg16"], "name a layer or group of vgg16, e.g. archcalc explain vgg16 stage1.conv1"),
        (["convv"], "no operator 'convv'; did you mean conv"),
        (["vgg61"], "no network is called 'vgg61'; did you mean vgg19"),
    ],
)
def test_what_is_misspelt_gets_the_nearest_names(arguments, message):
    with pytest.raises(ArchcalcError, match=re.escape(message)):
        run(*arguments)


def test_a_count_without_arithmetic_has_commas():
    report = analyze(load("resnet50"), flops="xla")
    line = next(line for line in explain(report, "stem.conv")[1] if line.key == "flops")
    assert line[1:3] == ("232,429,056", 232_429_056)


def test_a_file_that_cannot_be_read_is_no_unknown_operator(tmp_path):
    (tmp_path / "conv").write_text("x")
    result = CliRunner().invoke(cli, ["explain", str(tmp_path / "conv")])
    assert isinstance(result.exception, ArchcalcError)
    assert "a spec needs keys" in str(result.exception)


def test_formulas_state_their_batch():
    said = CliRunner().invoke(cli, ["explain", "lenet5", "--symbolic", "size", "--batch", "7"]).output
    assert said.splitlines()[1].startswith("batch 7 (all figures) · inference")
    said = CliRunner().invoke(cli, ["explain", "lenet5", "--symbolic", "batch", "--batch", "7"]).output
    assert said.splitlines()[1] == "inference · FLOPs: all · example: batch 7"
    assert "write names with commas" in CliRunner().invoke(cli, ["explain", "lenet5", "--symbolic", ","]).output


def test_a_layer_comes_before_a_group_of_its_name(tmp_path):
    path = tmp_path / "two.yaml"
    path.write_text("name: two\ninput: [3, 8, 8]\nlayers:\n  - o: conv(4, 3)\n  - r: relu\n")
    report = analyze(load(str(path)))
    nodes = [node._replace(name={"r": "o.weight"}.get(node.name, node.name)) for node in report.graph.nodes]
    report = analyze(replace(report.graph, nodes=tuple(nodes)))
    layers, _ = explain(report, "o")
    assert [layer.node.name for layer in layers] == ["o"]
