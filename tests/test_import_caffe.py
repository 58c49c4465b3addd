"""Caffe networks: public ones equal the zoo's, which come from the same papers; layer by layer; what is refused."""

import re

import pytest
from support import caffe_texts as texts
from support.fresh_python import imported_by

from archcalc import ArchcalcError, analyze, load, parse
from archcalc.importers.caffe import caffe_spec

NETWORKS = {
    "caffenet": texts.caffenet(), "vgg16": texts.vgg16(), "nin": texts.nin(), "resnet50": texts.resnet50(),
    "squeezenet1.0": texts.squeezenet(), "squeezenet1.1": texts.squeezenet("1.1"), "lenet": texts.lenet(),
    "googlenet-head": texts.googlenet_head(),
}  # fmt: skip


def translated(text):
    return parse(caffe_spec(text, "net.prototxt", "net"))


@pytest.mark.parametrize(
    ("name", "zoo", "given"),
    [
        ("caffenet", "alexnet", {}), ("vgg16", "vgg16", {}), ("nin", "nin", {}), ("resnet50", "resnet50", {}),
        ("squeezenet1.1", "squeezenet1.1", {"input": (3, 227, 227)}),
    ],
)  # fmt: skip
def test_public_networks_equal_the_zoo(name, zoo, given):
    ours, theirs = analyze(translated(NETWORKS[name])).totals, analyze(load(zoo, **given)).totals
    assert (ours.params, ours.macs) == (theirs.params, theirs.macs)
    softmax = 0 if name == "caffenet" else 1000  # the zoo's alexnet normalizes before it pools
    if softmax:
        assert ours.activations == theirs.activations + softmax


def test_networks_without_one_in_the_zoo():
    lenet = analyze(translated(NETWORKS["lenet"])).totals
    assert lenet.params == 20 * 26 + 50 * (20 * 25 + 1) + 500 * 801 + 10 * 501 == 431_080
    assert lenet.macs == 24 * 24 * 20 * 25 + 8 * 8 * 50 * 500 + 500 * 800 + 10 * 500
    head = analyze(translated(NETWORKS["googlenet-head"])).totals
    assert head.params == 9_472 + 4_160 + 110_784 + 163_696 + 388_736  # 3a and 3b as every implementation has them
    assert analyze(translated(NETWORKS["squeezenet1.0"])).totals.params == 1_248_424


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
def test_pytorch_agrees(name):
    pytest.importorskip("torch")
    from archcalc.pytorch.validation import validate

    assert not validate(translated(NETWORKS[name]), device="meta").problem


INPUT = 'input: "data"\ninput_dim: 1 input_dim: 6 input_dim: 8 input_dim: 8\n'


def one(kind, own="", bottoms='bottom: "data"', tops='top: "a"'):
    return f'{INPUT}layer {{\n  name: "a" type: "{kind}" {bottoms} {tops}\n  {own} }}\n'


DECONVOLUTION = "convolution_param { num_output: 6 kernel_size: 4 stride: 2 pad: 1 group: 6 bias_term: false }"
OLD = (
    one("POOLING", "pooling_param { global_pooling: true }")
    .replace('"POOLING"', "POOLING")
    .replace("layer {", "layers {")
)


@pytest.mark.parametrize(
    ("text", "spec", "shape"),
    [
        (one("Pooling", "pooling_param { kernel_size: 3 stride: 2 pad: 1 }"),
         "maxpool(3, stride=2, padding=1, ceil_mode=True)", "6×5×5"),
        (one("Pooling", "pooling_param { pool: AVE kernel_h: 2 kernel_w: 3 stride: 2 round_mode: FLOOR }"),
         "avgpool([2, 3], stride=2)", "6×4×3"),
        (one("Deconvolution", DECONVOLUTION),
         "conv_transpose(6, 4, stride=2, padding=1, groups=6, bias=False)", "6×16×16"),
        (one("Power", "power_param { scale: 0.5 shift: -1 }"),
         "multiply(identity, constant(C=1, H=1, W=1, value=0.5)) | add(identity, constant(C=1, H=1, W=1, value=-1.0))",
         "6×8×8"),
        (one("Scale", "scale_param { bias_term: true }"),
         "multiply(identity, parameter(C=in_channels, H=1, W=1)) | add(identity, parameter(C=in_channels, H=1, W=1))",
         "6×8×8"),
        (one("PReLU"), "prelu(in_channels)", "6×8×8"), (one("TanH"), "tanh", "6×8×8"),
        (one("ReLU", "relu_param { negative_slope: 0.1 }"), "leaky_relu(0.1)", "6×8×8"),
        (one("Reshape", "reshape_param { shape { dim: 0 dim: -1 dim: 4 dim: 0 } }"),
         "reshape(-1, 4, in_width)", "12×4×8"),
        (one("Permute", "permute_param { order: 0 order: 2 order: 3 order: 1 }"),
         "permute('HWC')", "8×8×6 (H×W×C)"),
        (one("Eltwise", "eltwise_param { coeff: 1.0 coeff: -1.0 }", 'bottom: "data" bottom: "data"'),
         "subtract(use(data), use(data))", "6×8×8"),
        (one("Eltwise", "eltwise_param { operation: MAX }", 'bottom: "data" bottom: "data"'),
         "maximum(use(data), use(data))", "6×8×8"),
        (OLD, "global_maxpool", "6×1×1"),
    ],
)  # fmt: skip
def test_a_layer(text, spec, shape):
    made = caffe_spec(text, "a.prototxt", "a")
    assert made.rstrip().endswith(f"- a: {spec}")
    graph = parse(made)
    assert graph.nodes[graph.result].output.text == shape


def test_slices_are_several_outputs():
    graph = translated(one("Slice", "slice_param { slice_point: 2 slice_point: 5 }", tops='top: "a" top: "b" top: "c"'))
    assert [graph.nodes[i].output.text for i in graph.results] == ["2×8×8", "3×8×8", "1×8×8"]


def test_weights_with_one_name_are_shared():
    own = 'convolution_param { num_output: 6 kernel_size: 3 pad: 1 } param { name: "w" } param { name: "b" }'
    text = one("Convolution", own) + one("Convolution", own, 'bottom: "a"', 'top: "b"').removeprefix(INPUT)
    assert analyze(translated(text)).totals.params == 6 * 55


def test_what_runs_only_in_training_is_left_out():
    text = one("ReLU") + 'layer { name: "drop" type: "Dropout" bottom: "a" top: "a" include { phase: TRAIN } }\n'
    text += 'layer { name: "loss" type: "SoftmaxWithLoss" bottom: "a" bottom: "label" top: "loss" }\n'
    assert [node.op.name for node in translated(text).nodes] == ["input", "relu"]


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        (one("Mystery"), 3, "a (Mystery): this type has no operator here"),
        (one("ReLU", bottoms='bottom: "c"'), 3, "a (ReLU): no layer before makes c"),
        (one("Pooling", "pooling_param { pool: STOCHASTIC }"), 3, "a (Pooling): STOCHASTIC has no operator here"),
        (one("Pooling", "pooling_param { kernel_size: 1 stride: 2 }"), 3, "a (Pooling): a stride larger than"),
        (one("Convolution", "convolution_param { num_output: many }"), 5, "num_output: many is not a whole number"),
        (one("LRN", "lrn_param { norm_region: WITHIN_CHANNEL }"), 3, "a (LRN): normalization within channels"),
        (one("Eltwise", "eltwise_param { coeff: 1 coeff: 0.5 }"), 3, "a (Eltwise): its coeff has no operator here"),
        (one("Eltwise", "eltwise_param { coeff: one }"), 5, "coeff: one is not a number"),
        (one("Eltwise", "eltwise_param { coeff: 2 coeff: 3 }"), 3, "a (Eltwise): its coeff has no operator here"),
        ('layer { name: "a" type: "ReLU" bottom: "b" top: "a" }', 1, "a (ReLU): the network has no input"),
        ('input: "data"\ninput_dim: 0\nlayer { }', 1, "the input data needs batch, channels, height and width"),
        (INPUT + "layer {\n  name:\n}", 5, "name lacks its value"),
        (INPUT + "layer {", 3, "expected the name of a field"),
        ("layer " + 30 * "{ a ", 1, "expected the name of a field"), ('layer { name: "', 1, "unexpected '\"'"),
    ],
)  # fmt: skip
def test_errors_name_the_line(text, line, message):
    with pytest.raises(ArchcalcError, match=rf"net\.prototxt:{line}:\d+: {re.escape(message)}"):
        translated(text)


def test_torch_stays_out(tmp_path):
    (tmp_path / "net.prototxt").write_text(NETWORKS["lenet"])
    assert not imported_by(f"import archcalc; archcalc.analyze(archcalc.load({str(tmp_path / 'net.prototxt')!r}))")
