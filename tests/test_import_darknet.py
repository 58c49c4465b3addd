"""Darknet configurations: public networks against Darknet's own counts and the zoo, and what is refused."""

import re

import pytest
from support import darknet_texts as texts
from support.fresh_python import imported_by

from archcalc import ArchcalcError, analyze, load, parse
from archcalc.catalog import spec_of
from archcalc.importers.darknet import darknet_spec

RESNET_50, RESNET_152 = (3, 4, 6, 3), (3, 8, 36, 3)
PRINTED = {  # text, parameters, BFLOPS as Darknet or pjreddie.com/darknet prints them
    "yolov3": (texts.yolov3(), 61_949_149, "65.864"), "yolov3-320": (texts.yolov3(320), 61_949_149, "38.97"),
    "yolov3-608": (texts.yolov3(608), 61_949_149, "140.69"), "yolov3-spp": (texts.yolov3(608, True), None, "141.45"),
    "yolov3-tiny": (texts.yolov3_tiny(), None, "5.56"), "yolov2": (texts.yolov2(), None, "62.94"),
    "yolov2-tiny": (texts.yolov2_tiny(), None, "5.41"), "alexnet": (texts.alexnet(), None, "2.27"),
    "vgg-16": (texts.vgg16(), None, "30.94"), "extraction": (texts.extraction(), None, "8.52"),
    "darknet19": (texts.darknet19(), None, "7.29"), "darknet19-448": (texts.darknet19(448), None, "22.33"),
    "darknet53": (texts.darknet53_classifier(), None, "18.57"), "resnet50": (texts.resnet(RESNET_50), None, "9.74"),
}  # fmt: skip
OTHERS = {  # without a printed count that is certain: multiply-accumulates and parameters, by hand below
    "reference": texts.reference(), "yolov1-tiny": texts.yolov1_tiny(), "resnet152": texts.resnet(RESNET_152),
    "densenet201": texts.densenet201(), "yolov4": texts.yolov4(), "yolov4-tiny": texts.yolov4_tiny(),
}  # fmt: skip


def translated(text, name="net"):
    return parse(darknet_spec(text, f"{name}.cfg", name))


def load_text(tmp_path, text, name="net.cfg"):
    (tmp_path / name).write_text(text)
    return load(tmp_path / name)


def darknets_own_count(graph, pools=False):
    """2 · weights · out_h · out_w per convolution, 2 · weights of a connected layer; later versions add pools."""
    total = 0
    for node in graph.nodes:
        weights = node.weights().get("weight", ())
        if node.op.name == "conv":
            out, each, tall, wide = weights
            total += 2 * out * each * tall * wide * node.output[1] * node.output[2]
        elif node.op.name == "linear":
            total += 2 * weights[0] * weights[1]
        elif pools and node.op.name == "maxpool":
            total += node.op.kernel_size[0] ** 2 * node.output[0] * node.output[1] * node.output[2]
        elif pools and node.op.name == "add":
            total += node.output[0] * node.output[1] * node.output[2]
    return total


@pytest.mark.parametrize("name", PRINTED)
def test_counts_that_darknet_prints(name):
    text, params, printed = PRINTED[name]
    graph = translated(text)
    totals = analyze(graph).totals
    assert params in (None, totals.params)
    assert f"{2 * totals.macs / 1e9:.{len(printed.partition('.')[2])}f}" == printed
    assert darknets_own_count(graph) == 2 * totals.macs


@pytest.mark.parametrize(("name", "printed"), [("yolov4", "128.459"), ("yolov4-tiny", "6.910")])
def test_later_versions_of_darknet_count_pools_and_shortcuts(name, printed):
    assert f"{darknets_own_count(translated(OTHERS[name]), pools=True) / 1e9:.3f}" == printed


@pytest.mark.parametrize(
    ("name", "zoo"),
    [
        ("yolov3", "yolov3"), ("yolov3-320", "yolov3-320"), ("yolov3-tiny", "yolov3-tiny"),
        ("yolov2-tiny", "yolov2-tiny"), ("yolov4-tiny", "yolov4-tiny"),
    ],
)  # fmt: skip
def test_figures_are_those_of_the_zoo(name, zoo):
    ours = analyze(translated({**OTHERS, **{n: text for n, (text, *_) in PRINTED.items()}}[name])).totals
    theirs = analyze(load(zoo)).totals
    for key in ("params", "macs", "buffers", "activations"):
        assert getattr(ours, key) == getattr(theirs, key), key


@pytest.mark.slow
@pytest.mark.parametrize("name", [*PRINTED, *OTHERS])
def test_pytorch_agrees(name):
    pytest.importorskip("torch")
    from archcalc.pytorch.validation import validate

    text = OTHERS.get(name) or PRINTED[name][0]
    assert not validate(translated(text), device="meta").problem


NET = "[net]\nheight=32\nwidth=32\nchannels=3\n"
CONV = "[convolutional]\nfilters=8\nsize=3\npad=1\nactivation=relu\n"


def lines(section, *before):
    return translated(NET + "".join(before) + section)


@pytest.mark.parametrize(
    ("section", "spec", "shape"),
    [
        ("[maxpool]\nsize=2\nstride=2", "maxpool(2, stride=2, ceil_mode=True)", "3×16×16"),
        ("[maxpool]\nsize=3\nstride=2", "maxpool(3, stride=2, padding=1)", "3×16×16"),
        ("[maxpool]\nsize=3\nstride=2\npadding=0", "maxpool(3, stride=2)", "3×15×15"),
        ("[maxpool]\nstride=4", "pad([[0, 1], [0, 1]], mode='replicate') | maxpool(4, stride=4, padding=1)", "3×8×8"),
        ("[connected]\noutput=7", "flatten | linear(7) | sigmoid", "7"),
        ("[convolutional]\nfilters=4\nsize=5\npad=1\ndilation=2\nactivation=mish",
         "conv(4, 5, padding=4, dilation=2) | mish", "4×32×32"),
        ("[convolutional]\nfilters=6\ngroups=3\nstride_x=2\nactivation=linear", "conv(6, 1, stride=[1, 2], groups=3)",
         "6×32×16"),
        ("[deconvolutional]\nfilters=2\nsize=4\nstride=2\npadding=1\nactivation=linear",
         "conv_transpose(2, 4, stride=2, padding=1)", "2×64×64"),
        ("[normalization]\nsize=5", "lrn(5, 5 * 0.0001, 0.75, 1.0)", "3×32×32"),
        ("[reorg3d]\nstride=4", "pixel_unshuffle(4)", "48×8×8"),
        ("[upsample]\nstride=3", "upsample(scale_factor=3)", "3×96×96"),
        ("[crop]\ncrop_height=20\ncrop_width=24", "center_crop([20, 24])", "3×20×24"),
        ("[softmax]", "flatten | softmax", "3072"), ("[dropout]\nprobability=.2", "dropout(0.2)", "3×32×32"),
        ("[batchnorm]", "batchnorm", "3×32×32"), ("[activation]\nactivation=swish", "silu", "3×32×32"),
    ],
)  # fmt: skip
def test_a_section(section, spec, shape):
    text = darknet_spec(NET + section, "a.cfg", "a")
    assert text.rstrip().endswith(f"0: {spec}")
    graph = parse(text)
    assert graph.nodes[graph.result].output.text == shape


def test_a_shortcut_of_unlike_shapes_adds_what_both_have():
    graph = translated(NET + CONV + CONV.replace("=8", "=16") + "stride=2\n[shortcut]\nfrom=-2\nactivation=leaky\n")
    names = ["skip2.slice1", "skip2.slice2", "first2", "rest2", "sum2", "shortcut2.concat", "shortcut2.leaky_relu"]
    assert [node.name for node in graph.nodes][-7:] == names
    assert graph.nodes[graph.result].output.text == "16×16×16"
    narrower = translated(NET + CONV + CONV.replace("=8", "=4") + "[shortcut]\nfrom=-2\nactivation=linear\n")
    assert narrower.nodes[narrower.result].output.text == "4×32×32"


def test_a_gate_and_parts_of_channels():
    text = NET + CONV + "[avgpool]\n[scale_channels]\nfrom=0\n[route]\nlayers=-1,0\ngroups=2\ngroup_id=1\n"
    graph = translated(text)
    assert [graph.nodes[i].output.text for i in graph.results] == ["8×32×32"]


def test_several_outputs_are_called_by_their_sections():
    graph = translated(texts.yolov3_tiny())
    assert graph.outputs == ("yolo16", "yolo23")
    assert "decodes their boxes" in graph.about.notes[0]


def test_the_door_reads_a_file_whatever_its_suffix(tmp_path):
    for name in ("net.cfg", "net.txt", "net"):
        graph = load_text(tmp_path, "# comment\n" + NET + CONV, name)
        assert graph.name == "net"
        assert graph.about.title.startswith(str(tmp_path / name))
        assert spec_of(graph.origin).networks() == ("net",)


ERRORS = [
    (NET + "[route]\nlayers=-9\n", 6, "[route] layers=-9 points before the first section"),
    (NET + "[route]\nlayers=5\n", 6, "[route] layers=5 points to section 5, which is not before this one"),
    (NET + "[iseg]\n", 5, "[iseg] has no operator here"),
    (NET + "[__class__]\n", 5, "[__class__] has no operator here"),
    (NET + "[convolutional]\nfilters=many\n", 6, "[convolutional] filters=many is not a whole number"),
    (NET + "[convolutional]\nstride=0\n", 6, "[convolutional] stride=0 must be at least 1"),
    (NET + "[convolutional]\nactivation=ramp\n", 6, "[convolutional] activation=ramp has no operator here"),
    (NET + "[convolutional]\nxnor=1\n", 6, "[convolutional] xnor=1 has no operator here"),
    (NET + "[convolutional]\nsize=64\n", 5, "[convolutional] leaves no output: its kernel is larger than its input"),
    (NET + CONV + "[shortcut]\nfrom=-9\n", 11, "[shortcut] from=-9 points before the first section"),
    (NET + CONV + CONV + "stride=3\n[shortcut]\nfrom=0\n", 17, "[shortcut] from=0 adds 8×32×32 to 8×11×11"),
    (NET + "[dropout]\nprobability=1e999\n", 6, "[dropout] probability=1e999 is not a number"),
    ("[net]\ninputs=256\n[rnn]\n", 1, "[net] needs height, width and channels"),
    ("[net]\nnonsense\n", 2, "neither a section nor option=value"),
    ("filters=3\n[net]\n", 1, "neither a section nor option=value"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "line", "message"), ERRORS)
def test_errors_name_the_line(text, line, message):
    with pytest.raises(ArchcalcError, match=re.escape(f"yolo.cfg:{line}:1: {message}")):
        darknet_spec(text, "yolo.cfg", "yolo")


def test_an_error_in_the_translated_spec_says_where_it_comes_from(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ArchcalcError, match=r"net\.cfg as a spec:5:\d+: .*\n.*conv0: conv\(8"):
        load_text(tmp_path, NET + CONV + "groups=2\n")


@pytest.mark.parametrize("name", ["net.yaml", "net.cfg"])
def test_a_part_of_a_file_with_one_network(tmp_path, name):
    (tmp_path / name).write_text(NET + CONV)
    with pytest.raises(ArchcalcError, match="has one network; leave out :n"):
        load(f"{tmp_path}/{name}:n")


def test_torch_stays_out(tmp_path):
    load_text(tmp_path, NET + CONV)
    assert not imported_by(f"import archcalc; archcalc.analyze(archcalc.load({str(tmp_path / 'net.cfg')!r}))")
