"""Specs written of other people's networks: each kind of file, hostile names, and what a command line can get wrong."""

import json
import re

import pytest
from click.testing import CliRunner
from support import caffe_texts, darknet_texts, yolo_texts

from archcalc import ArchcalcError, __version__, analyze, load, parse
from archcalc.analysis.figures import FIGURES
from archcalc.cli import cli
from archcalc.graph.graph import About
from archcalc.importers.building import Builder
from archcalc.ops import REGISTRY, make
from archcalc.ops.shape import shape_of
from archcalc.writing.recovery import CHANGED, spec_of_graph

KERAS = json.dumps({"class_name": "Sequential", "config": {"name": "net", "layers": [
    {"class_name": "InputLayer", "config": {"name": "image", "batch_shape": [None, 32, 32, 3]}},
    {"class_name": "Conv2D", "config": {"name": "conv", "filters": 8, "kernel_size": [3, 3], "activation": "relu"}},
    {"class_name": "Flatten", "config": {"name": "flat"}},
    {"class_name": "Dense", "config": {"name": "dense", "units": 10}},
]}})  # fmt: skip
FILES = {
    "net.cfg": (darknet_texts.yolov3_tiny(), (3, 224, 224)),
    "net.prototxt": (caffe_texts.squeezenet("1.1"), (3, 195, 195)),
    "net.json": (KERAS, (3, 16, 16)),
    "yolo.yaml": (yolo_texts.small(rows=[(-1, 2, "C2f", "[32, True]")]), (3, 320, 320)),
}
NAMES = [
    "null", "on", "1e3", "with space", "co:lon", "new\nline", "ünïcode", "conv", "channels", "relu", "input", "use",
    "for", "None", "True", "x", "image", "#", "-", "3", "add", "side", "in_channels", "len", "a" * 300,
]  # fmt: skip


def assert_equal_when_read_again(graph):
    again = parse(spec_of_graph(graph))
    for mode in ("infer", "train"):
        one, other = (analyze(own, mode=mode).totals for own in (graph, again))
        differ = [key for key in FIGURES if key not in CHANGED and getattr(one, key) != getattr(other, key)]
        assert not differ
    return again


@pytest.mark.parametrize("name", FILES)
def test_files_of_other_programs_as_they_are_and_for_another_input(name, tmp_path):
    text, other = FILES[name]
    (tmp_path / name).write_text(text)
    graph = load(tmp_path / name)
    assert_equal_when_read_again(graph)
    assert assert_equal_when_read_again(load(tmp_path / name, input=other)).input == other
    assert other != graph.input


def test_an_onnx_file(tmp_path):
    onnx = pytest.importorskip("onnx")
    helper, number = onnx.helper, onnx.TensorProto.FLOAT
    ends = [helper.make_tensor_value_info("x", number, [1, 3, 8, 8]), helper.make_tensor_value_info("y", number, None)]
    weight = helper.make_tensor("w", number, [3, 3, 3, 3], bytes(4 * 81), raw=True)
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], name="/a/Conv", pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c"], ["r"], name="/a/Relu"),
        helper.make_node("Add", ["r", "x"], ["y"], name="/Add"),
    ]
    model = helper.make_model(helper.make_graph(nodes, "g", ends[:1], ends[1:], [weight]))
    onnx.save(model, tmp_path / "net.onnx")
    graph = load(tmp_path / "net.onnx")
    again = assert_equal_when_read_again(graph)
    assert [node.op.name for node in again.nodes] == ["input", "conv", "relu", "identity", "add"]
    assert again.about.notes == graph.about.notes != ()


def named(*names):
    """A network of modules, each around a skip; one more layer reads all outputs."""
    builder = Builder()
    at, ends = builder.input("image", shape_of([4])), []
    for name in names:
        inner = at
        for part in ("a", "b"):
            inner = builder.add(make(REGISTRY["linear"], [4], {}), [inner], f"{name}.{part}")
        at = builder.add(make(REGISTRY["add"], [], {}), [at, inner], "sum")
        ends += [inner, at]
    end = builder.add(make(REGISTRY["concat"], [], {}), ends, "all")
    return builder.graph("names", {"output": end}, About(title='a "title": #1', notes=("a note: one",)))


def test_modules_with_hostile_names_twice():
    again = assert_equal_when_read_again(named(*NAMES, *NAMES))
    assert (again.about.title, again.about.notes) == ('a "title": #1', ("a note: one",))


@pytest.mark.parametrize("name", ["", "/", "../..", "7", "x.yaml", "Net(depth=3, 'a')", "ü", "a" * 500, "a: b\n# c"])
def test_a_network_with_a_hostile_name(name):
    builder = Builder()
    at = builder.input("image", shape_of([4]))
    end = builder.add(make(REGISTRY["relu"], [], {}), [at], "relu")
    assert_equal_when_read_again(builder.graph(name, {"output": end}, About()))


def test_side_outputs_that_read_each_other_are_said():
    graph = parse(
        """
        name: sides
        input: [4]
        layers:
          - side:
              one:
                - a: linear(4)
                - side: {two: use(a) | relu}
          - linear(2)
    """.replace("\n        ", "\n")
    )
    with pytest.raises(ArchcalcError, match="its side outputs read each other"):
        spec_of_graph(graph)


def run(*arguments):
    return CliRunner().invoke(cli, ["import", *map(str, arguments)])


def test_the_first_line_says_where_it_came_from():
    first = run("vgg16", "--set", "classes=10").output.splitlines()[0]
    assert first == f"# Written by archcalc {__version__} from vgg16, classes=10"


def test_a_skip_around_a_skip_is_read_by_its_label():
    text = spec_of_graph(load("unet"))
    assert max(len(line) - len(line.lstrip()) for line in text.splitlines()) <= 8


@pytest.mark.parametrize(
    ("output", "found"), [("no/net.yaml", "No such file"), (".", "suffix|directory"), ("net", "suffix")]
)
def test_files_that_cannot_be_written(output, found, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = run("lenet5", "-o", output)
    assert done.exit_code != 0
    assert re.search(found, f"{done.output}{done.exception}")
    assert [*tmp_path.iterdir()] == []


def test_standard_output_is_a_dash():
    assert run("lenet5", "-o", "-").output == run("lenet5").output


def test_what_cannot_be_written_leaves_no_file(tmp_path):
    (tmp_path / "net.yaml").write_text("name: net\ninput: [4]\nlayers: [linear(0)]\n")
    assert isinstance(run(tmp_path / "net.yaml", "-o", tmp_path / "out.yaml").exception, ArchcalcError)
    assert not (tmp_path / "out.yaml").exists()
