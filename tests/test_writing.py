"""Graphs written as specs: the text is read again to the same figures, and what cannot be written is said."""

import re
from dataclasses import replace

import pytest
from click.testing import CliRunner
from support.golden_files import check_golden
from support.random_graphs import networks, sweep

from archcalc import ArchcalcError, load, parse
from archcalc.auditing.lint import check_spec
from archcalc.cli import cli
from archcalc.graph.graph import About
from archcalc.importers.building import Builder
from archcalc.ops import REGISTRY, Shape, make
from archcalc.ops.imported import Imported
from archcalc.ops.shape import shape_of
from archcalc.writing.recovery import compare, missing, spec_of_graph, unchecked

SAMPLE = [
    "bert-base", "densenet121", "fpn-resnet50", "googlenet", "gpt2", "mobilenet-v3-small", "shufflenet-v2-1.0",
    "torchvision/efficientnet_b0", "torchvision/swin_t", "transformer-base", "unet", "yolov3",
]  # fmt: skip
MODULES = {  # our names as torchvision's
    r"^stem\.": "", r"^head\.": "", r"stage(\d)": r"layer\1", r"\.body\.": ".", r"\.skip\.": ".downsample.",
}  # fmt: skip


def as_modules(graph):
    """A ResNet with the names of torchvision's modules, without identities."""
    names = []
    for node in graph.nodes:
        name = node.name
        for pattern, text in MODULES.items():
            name = re.sub(pattern, text, name)
        names.append(name)
    return replace(graph, nodes=tuple(n._replace(name=own) for n, own in zip(graph.nodes, names, strict=True)))


@pytest.mark.parametrize("name", SAMPLE)
def test_a_network_has_the_same_figures_when_it_is_read_again(name, tmp_path):
    text = spec_of_graph(load(name))
    (tmp_path / "a.yaml").write_text(text)
    assert check_spec(str(tmp_path / "a.yaml"))[0] == []
    assert len(text) < 100 * len(load(name).nodes)


def test_resnet50_as_a_library_names_it():
    text = spec_of_graph(as_modules(load("torchvision/resnet50")))
    check_golden("import-resnet50.yaml", text)
    assert len(text.splitlines()) <= 30


def test_random_networks_have_the_same_figures_when_they_are_read_again():
    written = []

    def check(network):
        try:
            graph = parse(network.spec())
        except ArchcalcError:  # a step that does not fit
            return
        try:
            written.append(spec_of_graph(graph))
        except ArchcalcError:  # side outputs that read each other
            assert len(graph.sides) > 1

    sweep(networks(), check, 100)
    assert len(written) > 90


@pytest.mark.parametrize(
    ("old", "new", "figure"),
    [
        ("linear(1000)", "linear(999)", "linear 999, not linear 1000"),
        (" | batchnorm", "", "relu 64×112×112, not batchnorm 64×112×112"),
        ("padding=1", "padding=2", "is not valid"),
        ("224, 224", "192, 192", "input 3×192×192, not input 3×224×224"),
        ("maxpool(3, stride=2, padding=1)", "maxpool(2)", "its flops would be"),
        ("layers:", "steps:", "is not valid"),
    ],
)
def test_other_figures_are_an_error(old, new, figure):
    graph = as_modules(load("torchvision/resnet50"))
    text = unchecked(graph)
    compare(graph, text)
    assert old in text
    with pytest.raises(ArchcalcError, match=figure):
        compare(graph, text.replace(old, new))


def imported():
    """A network with a function that no operator is, a shape without axes and a layer that nothing reads."""
    builder = Builder()
    at = builder.input("image", shape_of([3, 8, 8]))
    conv = builder.add(make(REGISTRY["conv"], [4, 3], {}), [at], "features.0")
    for number in range(5):
        builder.add(Imported("aten::roll", shape_of([4, 6, 6])), [conv], f"features.{number + 1}.roll")
    view = builder.add(Imported("aten::view", Shape([2, 2, 6, 6])), [conv], "head.view")
    builder.add(make(REGISTRY["relu"], [], {}), [conv], "head.relu")
    return builder.graph("mine", {"output": view}, About())


def test_what_the_language_lacks_is_said_at_once():
    with pytest.raises(ArchcalcError) as error:
        spec_of_graph(imported())
    assert str(error.value).splitlines() == [
        "mine cannot be written as a spec:",
        "  features.1.roll, features.2.roll, features.3.roll and 2 more: no operator of specs is aten::roll",
        "  head.view: no operator of specs is aten::view",
        "  head.relu: nothing reads its output",
    ]


def test_shapes_without_axes_and_axes_read_otherwise_are_said():
    builder = Builder()
    at = builder.input("image", shape_of([3, 8, 8]))
    turned = builder.add(make(REGISTRY["linear"], [4], {}), [at], "a", x=shape_of([3, 8, 8], "HWC"))
    scores = builder.add(make(REGISTRY["identity"], [], {}), [turned], "b", x=Shape([3, 8, 4]))
    found = [*missing(builder.graph("mine", {"output": scores}, About()))]
    assert found == ["a: linear reads the axes of its input in another way", "b: a shape without named axes: 3×8×4"]


def test_a_file_that_was_translated_has_its_text():
    graph = load("lenet5")
    translated = replace(graph, origin=graph.origin._replace(text="name: own", path="/a/lenet.cfg"))
    assert spec_of_graph(translated) == "name: own"
    assert spec_of_graph(graph) != graph.origin.text


def run(*arguments):
    return CliRunner().invoke(cli, ["import", *map(str, arguments)])


def test_the_command_writes_a_file_that_every_command_reads(tmp_path):
    file = tmp_path / "net.yaml"
    assert run("lenet5", "-o", file).exit_code == 0
    assert file.read_text() == run("lenet5").output
    assert CliRunner().invoke(cli, ["check", str(file)]).exit_code == 0
    again = run("lenet5", "-o", file)
    assert "already exists" in str(again.exception)
    assert run("vgg16", "--set", "classes=10", "-o", file, "--force").exit_code == 0
    assert load(file).nodes[-1].output == (10,)


def test_the_command_refuses_other_suffixes(tmp_path):
    done = run("lenet5", "-o", tmp_path / "net.txt")
    assert done.exit_code == 2
    assert ".yaml" in done.output
    assert not (tmp_path / "net.txt").exists()
