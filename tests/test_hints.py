"""What people bring from elsewhere is recognised: other programs' files, names and shapes."""

import json
import pickle
import re
import zipfile

import pytest
import torch
from click.testing import CliRunner
from torch import nn

from archcalc import ArchcalcError, SpecError, load, parse
from archcalc.auditing.lint import check_spec
from archcalc.cli import cli
from archcalc.errors import Refusal
from archcalc.ops import REGISTRY, make
from archcalc.ops.shape import Map
from archcalc.ops.synonyms import ARGUMENTS, OPERATORS, WRITTEN, argument_name, operator_name

HEAD = "name: net\ninput: [3, 8, 8]\n"


# Names


def test_synonyms_are_of_operators_and_arguments_that_are_there():
    arguments = {name for cls in REGISTRY.values() for name in cls.types}
    assert OPERATORS.keys() <= REGISTRY.keys()
    assert ARGUMENTS.keys() <= arguments
    words = [word for others in (*OPERATORS.values(), *WRITTEN.values()) for word in others.split()]
    assert len(set(words)) == len(words)
    assert not {word.replace("_", "") for word in words} & {name.replace("_", "") for name in REGISTRY}


PYTORCH = {
    "conv": nn.Conv2d, "conv_transpose": nn.ConvTranspose2d, "linear": nn.Linear, "batchnorm": nn.BatchNorm2d,
    "layernorm": nn.LayerNorm, "groupnorm": nn.GroupNorm, "lrn": nn.LocalResponseNorm, "relu": nn.ReLU,
    "relu6": nn.ReLU6, "sigmoid": nn.Sigmoid, "tanh": nn.Tanh, "silu": nn.SiLU, "hardsigmoid": nn.Hardsigmoid,
    "hardswish": nn.Hardswish, "gelu": nn.GELU, "softmax": nn.Softmax, "maxpool": nn.MaxPool2d,
    "avgpool": nn.AvgPool2d, "adaptive_avgpool": nn.AdaptiveAvgPool2d, "adaptive_maxpool": nn.AdaptiveMaxPool2d,
    "upsample": nn.Upsample, "identity": nn.Identity, "flatten": nn.Flatten, "dropout": nn.Dropout,
    "channel_shuffle": nn.ChannelShuffle, "leaky_relu": nn.LeakyReLU, "elu": nn.ELU, "selu": nn.SELU,
    "prelu": nn.PReLU, "mish": nn.Mish, "softplus": nn.Softplus, "log_softmax": nn.LogSoftmax, "glu": nn.GLU,
    "instancenorm": nn.InstanceNorm2d, "rmsnorm": nn.RMSNorm, "dropout2d": nn.Dropout2d,
}  # fmt: skip


@pytest.mark.parametrize("name", PYTORCH)
def test_pytorchs_names_are_known(name):
    assert operator_name(PYTORCH[name].__name__, REGISTRY) == name


@pytest.mark.parametrize(
    ("word", "operator", "own"),
    [
        ("filters", "conv", "out_channels"), ("num_output", "conv", "out_channels"), ("kernel", "conv", "kernel_size"),
        ("num_output", "linear", "out_features"), ("units", "linear", "out_features"), ("pads", "avgpool", "padding"),
        ("pool_size", "maxpool", "kernel_size"), ("use_bias", "conv", "bias"), ("epsilon", "batchnorm", "eps"),
        ("local_size", "lrn", "size"), ("drop_rate", "dropout", "p"), ("dilation_rate", "conv", "dilation"),
        ("alpha", "leaky_relu", "negative_slope"), ("alpha", "lrn", "alpha"),
        ("out_features", "conv", ""), ("strides", "relu", ""),
    ],
)  # fmt: skip
def test_other_names_of_arguments(word, operator, own):
    assert argument_name(word, REGISTRY[operator].types) == own


def test_darknets_leaky_is_known():
    assert operator_name("leaky", REGISTRY) == "leaky_relu"


@pytest.mark.parametrize("name", ["scale", "skip", "average", "pad", "n_layers"])
def test_a_misspelt_param_is_not_taken_for_a_join(name):
    with pytest.raises(ArchcalcError) as caught:
        parse(f"{HEAD}layers:\n  - conv({name} * 8, 3)\n")
    assert "it is called" not in str(caught.value)


LABELS = {  # a label named like an operator elsewhere, above a step labelled like an argument; and its layer
    "dense: {units: 3 * relu}": "dense.units.relu1",
    "conv: {padding: maxpool(2)}": "conv",
    "fc: {bias: [flatten, linear(4)]}": "fc.bias.flatten",
}


@pytest.mark.parametrize("step", LABELS)
def test_steps_below_a_label_are_no_arguments(step):
    assert parse(f"{HEAD}layers:\n  - {step}\n").nodes[1].name == LABELS[step]


@pytest.mark.parametrize("step", ["dense: {units: 10}", "Conv2d: {padding: same}", "conv: {filters: 8, bias: false}"])
def test_arguments_below_a_label_are_no_steps(step):
    with pytest.raises(ArchcalcError, match="is a label here, but it has arguments instead of steps"):
        parse(f"{HEAD}layers:\n  - {step}\n")


EXAMPLES = [text for text in WRITTEN if text != "a | b, or chain(…)"]


@pytest.mark.parametrize(
    "text", [part.strip() for text in EXAMPLES for part in re.split(", or |, (?=crop_like)", text)]
)
def test_what_a_hint_writes_is_a_network(text):
    tokens = any(word in text for word in ("T=", "linear(3072"))
    head = f"name: net\ninput: {'{T: 197, C: 768}' if tokens else '[64, 224, 224]'}\n"
    assert len(parse(f"{head}layers:\n  - skip: relu\n  - {text}\n").nodes) > 2


SPELLINGS = {  # what people write first, and what the error must lead to
    ("[3, 8, 8]", "nn.Conv2d(3, 8, 3)"): "it is called conv here",
    ("[3, 8, 8]", "torch.cat(relu, identity)"): "it is called concat here",
    ("[3, 8, 8]", "relu + identity"): "write relu | identity for one after the other, add(relu, identity) for the sum",
    ("[3, 8, 8]", "conv(8, 3, 'same')"): "write padding='same'",
    ("[3, 8, 8]", "conv(8, 3, padding=same)"): "write it in quotes if it is a text: 'same'",
    ("[3, 8, 8]", "concat(relu, identity, axis=H)"): "write it in quotes if it is a text: 'H'",
    ("[3, 8, 8]", "conv(3, 16, 3)"): "larger than the padded input 8×8; leave out the input's channels",
    ("[3, 8, 8]", "ReflectionPad2d(3)"): "write pad(1, 'reflect')",
    ("[3, 8, 8]", "UpSampling2D(2)"): "write upsample(scale_factor=2)",
    ("[3, 8, 8]", "SEBlock(16)"): "write multiply(identity, global_avgpool |",
    ("[3, 8, 8]", "softmax(dim=1)"): "leave it out: it works along the channels",
    ("[3, 8, 8]", "parameter(3, 1, 1)"): "such as [64, 1, 1]",
    ("[3, 8, 8]", "lstm(5)"): "lstm accepts T×C, not 3×8×8 (C×H×W); write tokens before it",
    ("[3, 8, 8]", "mean(2, 3)"): "global_avgpool is the mean over all positions",
    ("{C: 4, L: 9}", "lstm(5)"): "write transpose before it",
    ("{C: 4, L: 9}", "conv(8, 3, padding=[2, 0])"): "needs a pair [before, after]",
    ("{T: 9, C: 4}", "conv(8, 3)"): "write transpose before it",
    ("{T: 9, C: 4}", "linear(4, 8)"): "not 8; leave out the size of the input",
    ("{T: 9, C: 4}", "lstm(input_size=4, hidden_size=8)"): "leave it out: archcalc infers it",
    ("{T: 9, C: 4}", "lstm(8, return_sequences=False)"): "slice(-1, None, axis='T') after it is the last token",
    ("{T: 9, C: 4}", "attention(2)"): "multihead_attention(8) is attention of tokens to themselves",
    ("{T: 9, C: 4}", "multihead_attention(embed_dim=4, num_heads=2)"): "leave it out: archcalc infers it",
}


@pytest.mark.parametrize(("shape", "written"), SPELLINGS)
def test_what_people_write_first_leads_to_the_right_word(shape, written):
    with pytest.raises(ArchcalcError) as caught:
        parse(f"name: net\ninput: {shape}\nlayers:\n  - {written}\n")
    assert SPELLINGS[shape, written] in str(caught.value)


INPUTS = {  # shapes and labels as they come to mind first
    "input: [1, 3, 8, 8]\nlayers: [relu]": "or [3, 8, 8], without the batch",
    "input: [3, 4, 8, 8]\nlayers: [relu]": "write {C: 3, D: 4, H: 8, W: 8}",
    "input: [[1, 8, 8], [3, 8, 8]]\nlayers: [relu]": "several inputs have names: {left:",
    "input: [3, 8, 8]\nlayers:\n  - down: relu\n  - concat(down, identity)": "write use(down)",
    "input: {a: [8], b: [8]}\nlayers: ['concat(a, b)']": "write use(a)",
}


@pytest.mark.parametrize("written", INPUTS)
def test_inputs_and_labels_that_people_write_first(written):
    with pytest.raises(ArchcalcError) as caught:
        parse(f"name: net\n{written}\n")
    assert INPUTS[written] in str(caught.value)


def test_a_text_for_a_param_is_quoted_within_the_shells_quotes():
    with pytest.raises(ArchcalcError, match=r"""write it in quotes if it is a text: --set p="'SAME'"$"""):
        parse("name: net\ninput: [3, 8, 8]\nparams: {p: 0}\nlayers:\n  - conv(8, 3, padding=p)\n", p="SAME")


MEANT = {  # arguments that are right, but probably begin with the size of the input; and right ones
    "lstm(5, 5)": "lstm has 5 layers of 5 units", "lstm(64, 256)": "lstm has 256 layers of 64 units", "lstm(64, 2)": "",
    "lstm(1)": "", "rmsnorm(64)": "rmsnorm has eps=64", "rmsnorm": "",
    "transpose | batchnorm(64)": "batchnorm has eps=64", "transpose | conv(64, 16, 2)": "conv has a kernel of 16",
    "transpose | conv(64, 3)": "", "transpose | conv(64, 16, groups=64)": "",
}  # fmt: skip


@pytest.mark.parametrize("written", MEANT)
def test_the_size_of_the_input_as_an_argument_is_remarked(written, tmp_path):
    path = tmp_path / "net.yaml"
    path.write_text(f"name: net\ninput: {{T: 40, C: 64}}\nlayers:\n  - {written}\n")
    remarks, _ = check_spec(str(path))
    assert [f"{MEANT[written]}; leave out the size of the input"] * bool(MEANT[written]) == [
        remark.partition(": ")[2] for remark in remarks
    ]


# Lists of one number, as PyTorch takes them

GEOMETRY = {
    "conv": ("kernel_size", "stride", "padding", "dilation"),
    "conv_transpose": ("kernel_size", "stride", "padding", "dilation", "output_padding"),
    "maxpool": ("kernel_size", "stride", "padding", "dilation"),
    "avgpool": ("kernel_size", "stride", "padding"),
    "adaptive_avgpool": ("output_size",),
    "adaptive_maxpool": ("output_size",),
    "upsample": ("size", "scale_factor"),
}
NEEDED = {"conv": {"kernel_size": 3}, "conv_transpose": {"kernel_size": 3, "stride": 2}, "maxpool": {"kernel_size": 3},
          "avgpool": {"kernel_size": 3}}  # fmt: skip


@pytest.mark.parametrize(("name", "argument"), [(name, part) for name, parts in GEOMETRY.items() for part in parts])
def test_a_list_of_one_number_stands_where_pytorch_takes_it(name, argument):
    channels = {"conv": (4, 4), "conv_transpose": (4, 4)}.get(name, ())
    keywords = {**NEEDED.get(name, {}), argument: (1,)}
    try:
        expected = tuple(PYTORCH[name](*channels, **keywords)(torch.rand(1, 4, 9, 9)).shape[1:])
    except (RuntimeError, ValueError):
        with pytest.raises(Refusal, match="needs one number or"):
            make(REGISTRY[name], channels[:1], keywords)
    else:
        assert make(REGISTRY[name], channels[:1], keywords).output(Map((4, 9, 9))) == expected


# Shapes


@pytest.mark.parametrize(
    ("name", "given", "shape"),
    [
        ("vgg16", "192", (3, 192, 192)), ("lenet5", "28x36", (1, 28, 36)), ("vgg16", "3x96x96", (3, 96, 96)),
        ("net.yaml", "20", (20,)), ("net.yaml", "3x4x5", (3, 4, 5)),
    ],
)  # fmt: skip
def test_a_size_alone_keeps_the_channels_of_an_image(name, given, shape, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.yaml").write_text("name: net\ninput: [16]\nlayers: [relu]\n")
    done = CliRunner().invoke(cli, ["summarize", name, "--input", given, "--format", "json"])
    if name == "lenet5":
        assert isinstance(done.exception, ArchcalcError)  # which takes 32×32 only
    else:
        assert tuple(json.loads(done.output)["input"]) == shape


# Remarks


def remarks(tmp_path, text):
    path = tmp_path / "net.yaml"
    path.write_text(text)
    said, _ = check_spec(path)
    done = CliRunner().invoke(cli, ["check", str(path)])
    assert done.exit_code == int(bool(said))
    return [line.removeprefix(f"{path}:") for line in said]


@pytest.mark.parametrize(
    ("layers", "said"),
    [
        ("conv(8, 3) | relu | linear(10)", "4:25: linear reads only the last axis of 8×6×6, the width"),
        ("global_avgpool | linear(10)", "4:22: linear reads only the last axis of 3×1×1, the width"),
        ("conv(8, 3) | flatten | linear(10)", None),
        ("global_avgpool | flatten | 2 * linear(10)", None),
    ],
)  # fmt: skip
def test_a_linear_layer_on_an_image(layers, said, tmp_path):
    assert remarks(tmp_path, f"{HEAD}layers:\n  - {layers}\n") == ([f"{said}; write flatten before it"] if said else [])


def test_a_linear_layer_on_a_sequence_is_fine(tmp_path):
    assert remarks(tmp_path, "name: net\ninput: {T: 16, C: 64}\nlayers:\n  - linear(10)\n") == []


def test_one_remark_for_a_layer_that_several_networks_have(tmp_path):
    text = f"{HEAD}params: {{n: 1}}\nvariants: {{a: {{n: 2}}, b: {{n: 3}}}}\nlayers:\n  - n * linear(8)\n"
    assert len(remarks(tmp_path, text)) == 1


@pytest.mark.parametrize(
    ("shape", "said"),
    [
        ("[32, 32, 3]", ["2:8: channels come first: write [3, 32, 32] for [32, 32, 3]"]),
        ("[3, 32, 32]", []), ("[4, 4, 4]", []), ("[64, 32, 3]", []), ("{C: 32, L: 32}", []),
    ],
)  # fmt: skip
def test_channels_that_come_last(shape, said, tmp_path):
    assert remarks(tmp_path, f"name: net\ninput: {shape}\nlayers:\n  - relu\n") == said


@pytest.mark.parametrize(
    ("branches", "said"),
    [
        ("x: 'conv(in_channels, 3, padding=1)', y: 'conv(in_channels, 3)'", "each axis needs one size"),  # padding
        ("x: 'conv(4, in_height - 1)', y: 'conv(4, in_height - 1, padding=1)'", "in_height was 8 in conv(4, in_he"),
        ("x: 'conv(4, 1) | conv(2 * in_channels, 1)', y: 'conv(in_channels, 1)'", "in_channels was 4 in conv(2 *"),
    ],
)
def test_a_dimension_that_is_the_same_in_all_branches_is_not_in_play(branches, said):
    with pytest.raises(SpecError) as caught:
        parse(f"name: net\ninput: [3, 8, 8]\nlayers:\n  - add: {{{branches}}}\n")
    assert said in caught.value.hint


# Files of other programs


class Bomb:
    def __reduce__(self):
        return open, ("fired", "w")


def zipped(path, *names):
    with zipfile.ZipFile(path, "w") as file:
        for name in names:
            file.writestr(name, b"x")


FILES = {  # what is written, and what it is called
    "net.caffemodel": (b"\x0a\x03VGG", "a Caffe file with weights"),
    "onnx-without-suffix": (b"\x08\x07\x12\x07pytorch\x1a\x052.0.0", "an ONNX network"),
    "old.pth": (pickle.dumps({"a": 1}), "a PyTorch file"),
    "weights.pkl": (pickle.dumps(Bomb()), "a pickle"),
    "model.safetensors": (b'\x10\0\0\0\0\0\0\0{"a": {"dtype"', "a safetensors file with weights"),
    "model.h5": (b"\x89HDF\r\n\x1a\n", "an HDF5 file"),
    "notebook.ipynb": (b'{"cells": [], "nbformat": 4}', "a Jupyter notebook"),
    "model.py": (b"import torch\nfrom torch import nn\n\n\nclass Net(nn.Module):\n    pass\n", "Python code"),
    "model.yaml": (b"import torch\nclass Net(nn.Module):\n    pass\n", "Python code"),
    "model.tflite": (b"\x1c\0\0\0TFL3", "a TensorFlow Lite network"),
    "saved_model.pb": (b"\x08\x01\x12", "a TensorFlow graph"),
    "figure.png": (b"\x89PNG\r\n\x1a\n", "an image"),
    "archive.tar.gz": (b"\x1f\x8b\x08", "a gzip archive"),
}


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("read", [load, check_spec])
def test_files_of_other_programs(name, read, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    data, what = FILES[name]
    (tmp_path / name).write_bytes(data)
    with pytest.raises(ArchcalcError) as caught:
        read(name)
    assert str(caught.value).startswith(f"{name}: this is {what}")
    assert ", not a spec\n  A path alone never runs or unpickles" in str(caught.value)
    assert not (tmp_path / "fired").exists()


@pytest.mark.parametrize(
    ("name", "inside", "what"),
    [
        ("net.pt", ["net/data.pkl", "net/data/0"], "a PyTorch file"), ("net", ["net/data.pkl"], "a PyTorch file"),
        ("net.keras", ["metadata.json", "config.json"], "a Keras file"), ("net.bin", ["a.txt"], "a zip archive"),
    ],
)  # fmt: skip
def test_zip_files(name, inside, what, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    zipped(name, *inside)
    with pytest.raises(ArchcalcError, match=f"this is {what}"):
        load(name)


def test_a_large_file_of_weights_is_recognised(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with open("large.pt", "wb") as file:
        file.truncate(10**8)
    with pytest.raises(ArchcalcError, match=r"large\.pt: this is a PyTorch file"):
        load("large.pt")


@pytest.mark.parametrize("text", [f"{HEAD}layers:\n  - nonsense\n", "name: net\nlayers: [", "backbone: 3\n", ""])
@pytest.mark.parametrize("suffix", ["yaml", "cfg", "py", "json", "txt"])
def test_a_spec_with_a_mistake_stays_a_spec(text, suffix, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / f"net.{suffix}").write_text(text)
    with pytest.raises(ArchcalcError) as caught:
        load(f"net.{suffix}")
    assert "this is" not in str(caught.value)


def test_the_advice_is_a_spec_that_loads(tmp_path):
    (tmp_path / "net.tflite").write_text("")
    with pytest.raises(ArchcalcError) as caught:
        load(tmp_path / "net.tflite")
    lines = [line.removeprefix("    ") for line in str(caught.value).split("\n") if line.startswith("    ")]
    assert len(parse("\n".join(lines)).nodes) == 7


TWINS = """name: t
input: {left: [3, 16, 16], right: [3, 16, 16]}
blocks:
  tower(n): conv(n, 3) | relu
layers:
  - first: tower(8)
  - add:
      one: identity
      other: use(right) | OTHER
"""


@pytest.mark.parametrize(("other", "remarks"), [("tower(8)", 1), ("again(first)", 0), ("conv(8, 3, bias=False)", 0)])
def test_towers_that_may_be_twins(other, remarks, tmp_path):
    path = tmp_path / "t.yaml"
    path.write_text(TWINS.replace("OTHER", other))
    found, _ = check_spec(str(path))
    says = "first.conv and other.conv are alike, each with its own weights; to share them, label the first and write"
    assert [says in remark for remark in found] == [True] * remarks
