"""YOLO models as Ultralytics describes them: scales, modules by hand, the zoo's YOLOv5, and what is refused."""

import re

import pytest
from support import yolo_texts as texts
from support.fresh_python import imported_by

from archcalc import ArchcalcError, analyze, load, parse
from archcalc.importers.ultralytics import ultralytics_spec

V5 = {"n": (0.33, 0.25), "s": (0.33, 0.5), "m": (0.67, 0.75), "l": (1.0, 1.0), "x": (1.33, 1.25)}


def translated(text, name="model", scale=""):
    return parse(ultralytics_spec(text, "model.yaml", name, scale))


def params(graph, start=""):
    return sum(layer.params for layer in analyze(graph).layers if layer.node.name.startswith(start))


@pytest.mark.parametrize("scale", V5)
def test_yolov5_is_that_of_the_zoo(scale):
    depth, width = V5[scale]
    graph = translated(texts.pyramid("C3", depth_multiple=depth, width_multiple=width))
    ours, theirs = analyze(graph).totals, analyze(load(f"yolov5{scale}")).totals
    for key in ("params", "macs", "flops", "buffers"):
        assert getattr(ours, key) == getattr(theirs, key), key


def test_yolov8_by_hand():
    """Conv of k×k: k²·in·out + 2·out; C2f; heads of 64 and 80 channels; the 16 of the distribution."""

    def unit(inputs, outputs, k=1):
        return k * k * inputs * outputs + 2 * outputs

    graph = translated(texts.small(rows=[(-1, 2, "C2f", "[32, True]")]))
    c2f = unit(32, 32) + 4 * unit(16, 16, 3) + unit(64, 32)
    assert params(graph, "n2_c2f") == c2f
    box = unit(32, 64, 3) + unit(64, 64, 3) + 64 * 64 + 64
    score = unit(32, 32, 3) * 2 + 32 * 4 + 4
    assert params(graph) == unit(3, 16, 3) + unit(16, 32, 3) + c2f + box + score + 16
    assert graph.outputs == ("dfl", "scores")
    assert [graph.nodes[i].output.text for i in graph.results] == ["102400×1 (T×C)", "25600×4 (T×C)"]
    assert any("fixed numbers" in note for note in graph.about.notes)


def test_scales(tmp_path):
    text = texts.pyramid("C2f", anchors="", scales=texts.SCALES)
    small, large = translated(text, scale="n"), translated(text, scale="s")
    assert params(small) < params(large)
    assert params(translated(text)) == params(small)  # the first
    assert params(translated(text, "yolov8s")) == params(large)  # of the file's name
    (tmp_path / "yolov8.yaml").write_text(text)
    for scale, graph in (("n", small), ("s", large)):
        loaded = load(f"{tmp_path}/yolov8.yaml:{scale}")
        assert (loaded.name, params(loaded)) == (f"yolov8{scale}", params(graph))
    assert "The scale is n; FILE:s selects another." in load(tmp_path / "yolov8.yaml").about.notes
    with pytest.raises(ArchcalcError, match=r"no scale 'z'\n.*\n.*\n  known: n, s"):
        load(f"{tmp_path}/yolov8.yaml:z")


def test_classes_and_activation_are_params():
    text = texts.small(activation="nn.LeakyReLU(0.1)")
    assert {"leaky_relu"} == {n.op.name for n in translated(text).nodes} & {"silu", "leaky_relu"}
    spec = ultralytics_spec(texts.small(), "model.yaml", "model", "")
    assert params(parse(spec, classes=5)) - params(parse(spec)) == 33
    assert "relu" in {node.op.name for node in parse(spec, act="relu").nodes}


ROWS = {  # a row after 32 channels of 160×160: its parameters by hand, its output
    "C3k2": ("[32, False, 0.25]", 32 * 16 + 32 + (8 * 4 * 9 + 8 + 4 * 8 * 9 + 16) + 24 * 32 + 64, "32×160×160"),
    "SCDown": ("[64, 3, 2]", 32 * 64 + 128 + 9 * 64 + 128, "64×80×80"),
    "ADown": ("[64]", 9 * 16 * 32 + 64 + 16 * 32 + 64, "64×80×80"),
    "AConv": ("[64]", 9 * 32 * 64 + 128, "64×80×80"),
    "SPPF": ("[32, 5]", 32 * 16 + 32 + 64 * 32 + 64, "32×160×160"),
    "SPP": ("[32, [5, 9]]", 32 * 16 + 32 + 48 * 32 + 64, "32×160×160"),
    "C2PSA": ("[32]", 32 * 32 + 64 + (16 * 32 + 64 + 9 * 16 + 32 + 256 + 32) + 2 * 512 + 96 + 1024 + 64, "32×160×160"),
    "GhostConv": ("[64, 1]", 32 * 32 + 64 + 25 * 32 + 64, "64×160×160"),
    "DWConv": ("[64, 3]", 9 * 64 + 128, "64×160×160"),
    "Focus": ("[64, 3]", 9 * 128 * 64 + 128, "64×80×80"),
    "Bottleneck": ("[32]", 9 * 32 * 16 * 2 + 96, "32×160×160"),
    "nn.ZeroPad2d": ("[[0, 1, 2, 3]]", 0, "32×165×161"), "nn.MaxPool2d": ("[2, 2, 0]", 0, "32×80×80"),
    "nn.ConvTranspose2d": ("[32, 2, 2, 0]", 32 * 32 * 4 + 32, "32×320×320"),
    "SPPELAN": ("[32, 16]", 32 * 16 + 32 + 64 * 32 + 64, "32×160×160"),
    "ELAN1": ("[32, 32, 16]", 32 * 32 + 64 + 2 * (9 * 256 + 32) + 64 * 32 + 64, "32×160×160"),
}  # fmt: skip


@pytest.mark.parametrize("module", ROWS)
def test_a_module_by_hand(module):
    args, expected, shape = ROWS[module]
    graph = translated(texts.small("", rows=[(-1, 1, module, args)]))
    assert params(graph, "n2_") == expected
    assert graph.nodes[graph.result].output.text == shape


OTHERS = {
    "v8": texts.pyramid("C2f", anchors="", scales=texts.SCALES), "bottlenecks": texts.pyramid("BottleneckCSP", "SPP"),
    "ghosts": texts.pyramid("C3Ghost", anchors="", width_multiple=0.25),
    "areas": texts.small("Classify", rows=[(-1, 2, "A2C2f", "[64, True, 4]"), (-1, 2, "A2C2f", "[64, False]")]),
    "large-areas": texts.small("Classify", rows=[(-1, 1, "Conv", [64]), (-1, 1, "A2C2f", "[64, True, 1]")],
                               scales="{x: [1, 1, 512]}"),
    "attention": texts.small("Pose", "[nc, [5, 2]]", [(-1, 1, "Conv", [128, 3, 2]), (-1, 1, "C2PSA", [128])]),
    "segments": texts.small("Segment", "[nc, 32, 256]", [(-1, 2, "RepNCSPELAN4", [64, 32, 16, 2])]),
    "angles": texts.small("OBB", "[nc, 1]", [(-1, 2, "C2fCIB", "[64, True, True]"), (-1, 1, "C2", [64])]),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", OTHERS)
def test_pytorch_agrees(name):
    pytest.importorskip("torch")
    from archcalc.pytorch.validation import validate

    text = ultralytics_spec(OTHERS[name], "m.yaml", "m", "")
    assert not validate(parse(text, input=(3, 128, 128)), device="meta").problem


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (texts.small("Mystery"), r"model.yaml:6:5: row 2, Mystery: this module has no operator here"),
        (texts.small(rows=[(5, 1, "Conv", [8])]), "row 2, Conv: it reads .5., which are not all rows before it"),
        (texts.small(rows=[(-9, 1, "Conv", [8])]), "row 2, Conv: it reads"),
        (texts.small(rows=[(-1, 10**9, "Conv", [8])]), "row 2, Conv: it repeats 1000000000 times"),
        (texts.small(rows=[(-1, 1, "Conv", ["wide"])]), "argument 1, 'wide', is not a int that fits"),
        (texts.small(rows=[(-1, 1, "Conv", [10**11])]), "argument 1, 100000000000, is not a int that fits"),
        (texts.small(rows=[(-1, 1, "C3k2", "[8, True, 0.5, True]")]), "more than channels, c3k and e"),
        (texts.small(activation="__import__('os')"), "the activation .* has no operator here"),
        (texts.small(end2end=True), "end2end and reg_max have no operator here"),
        (texts.small(scales="{n: [1, 2]}"), "the scale n needs depth, width and the most channels"),
        ("backbone:\n  - Conv\nhead:\n  - []\n", "row 0 is not .from, repeats, module, args."),
        (texts.small().replace("nc: 4", "nc: !!python/object 4"), "tags are not part"),
    ],
)
def test_errors_name_the_line(text, message):
    with pytest.raises(ArchcalcError, match=message) as caught:
        translated(text)
    assert re.match(r"model\.yaml:\d+:\d+: ", str(caught.value))


def test_torch_stays_out(tmp_path):
    (tmp_path / "model.yaml").write_text(texts.small())
    found = imported_by(f"import archcalc; archcalc.analyze(archcalc.load({str(tmp_path / 'model.yaml')!r}))")
    assert not {*found} - {"difflib"}  # as a spec it has an unknown key
