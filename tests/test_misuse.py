"""Python functions with arguments that they refuse: one clear error each; and with NumPy's numbers, which they take."""

from decimal import Decimal
from fractions import Fraction
from functools import cache
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from click.testing import CliRunner

from archcalc import ArchcalcError, analyze, audit, compare, load, parse
from archcalc.cli import cli

SPEC = """
name: small
input: [3, 8, 8]
params: {n: 2, x: 1.5, f: True, l: [1]}
layers: ['conv(n, 3)', 'dropout(x / 3) if f else relu', 'chain(relu for i in l)']
"""
GRAPH = parse(SPEC)
REPORT = analyze(GRAPH)
SELF = []
SELF.append(SELF)

REFUSED = {
    lambda: analyze("vgg16"): "analyze needs a Graph, not str; write analyze(load('vgg16'))",
    lambda: analyze(None): "analyze needs a Graph, not NoneType",
    lambda: analyze(REPORT): "analyze needs a Graph, not Report",
    lambda: audit("vgg16"): "audit needs a Graph, not str; write audit(load('vgg16'))",
    lambda: compare("vgg16"): "compare needs a Graph, not str; write compare(load('vgg16'))",
    lambda: compare(GRAPH, "vgg16"): "compare needs a Graph, not str; write compare(load('vgg16'))",
    lambda: compare([GRAPH, GRAPH]): "compare needs a Graph, not list",
    compare: "no network to compare",
    lambda: load(123): "load needs a name or a path, not int",
    lambda: load(None): "load needs a name or a path, not NoneType",
    lambda: load(b"vgg16"): "load needs a name or a path, not bytes",
    lambda: load(["vgg16"]): "load needs a name or a path, not list",
    lambda: load(GRAPH): "load needs a name or a path, not Graph",
    lambda: load(SimpleNamespace(name="vgg16")): "load needs a name or a path, not SimpleNamespace",
    lambda: load(""): "no network is called ''",
    lambda: load("a\0b"): r"no network is called 'a\x00b'",
    lambda: load("a\0b.yaml"): r"a\x00b.yaml: ",
    lambda: parse(b"name: a"): "parse needs the text of a spec, not bytes; load reads a file",
    lambda: parse(None): "parse needs the text of a spec, not NoneType; load reads a file",
    lambda: parse(Path("specs") / "vgg.yaml"): "vgg.yaml'); load reads a file",
    lambda: parse("specs/vgg.yaml"): "parse needs the text of a spec, not 'specs/vgg.yaml'; load reads a file",
    lambda: parse(SPEC, network=3): "the text has small; select one with `network=`",
    lambda: load("vgg16", input="3x224x224"): "input needs a shape such as (3, 224, 224), not '3x224x224'",
    lambda: load("vgg16", input=224): "input needs a shape such as (3, 224, 224), not 224",
    lambda: load("vgg16", input={3: 224}): "input needs a shape such as (3, 224, 224), not {3: 224}",
    lambda: load("vgg16", input=(3, 224.0, 224)): "input needs a whole number, not 224.0",
    lambda: load("vgg16", input=np.array([3.0, 224, 224])): "input needs a whole number, not 3.0",
    lambda: load("vgg16", input=(3, None, 224)): "input needs a whole number, not None",
    lambda: load("vgg16", input=(True, 224, 224)): "input needs a whole number, not True",
    lambda: load("vgg16", input=(np.True_, 224, 224)): "input needs a whole number, not True",
    lambda: load("vgg16", input=[[3, 224, 224]]): "input needs a whole number, not [3, 224, 224]",
    lambda: load("vgg16", input=[]): "input needs one to eight dimensions, not 0",
    lambda: load("vgg16", input=(10**400, 224, 224)): "input has a number beyond 2^63",
    lambda: load("vgg16", clases=10): "vgg16 has no param 'clases'; did you mean classes",
    lambda: parse(SPEC, n=None): "param n: needs a number, text, truth value or list, not NoneType",
    lambda: parse(SPEC, n=b"4"): "param n: needs a number, text, truth value or list, not bytes",
    lambda: parse(SPEC, n=1j): "param n: needs a number, text, truth value or list, not complex",
    lambda: parse(SPEC, x=Fraction(3, 2)): "param x: needs a number, text, truth value or list, not Fraction",
    lambda: parse(SPEC, x=Decimal("1.5")): "param x: needs a number, text, truth value or list, not Decimal",
    lambda: parse(SPEC, l={1}): "param l: needs a number, text, truth value or list, not set",
    lambda: parse(SPEC, l=[{}]): "param l: needs a number, text, truth value or list, not dict",
    lambda: parse(SPEC, l=SELF): "param l: lists nested too deeply",
    lambda: parse(SPEC, x=float("nan")): "param x: not a finite real number",
    lambda: parse(SPEC, x=np.float32("inf")): "param x: not a finite real number",
    lambda: parse(SPEC, n=10**5000): "param n: a number beyond 2^63",
    lambda: analyze(GRAPH, "2"): "batch must be a whole number from 1 to 1,000,000,000, not '2'",
    lambda: analyze(GRAPH, 2.0): "batch must be a whole number from 1 to 1,000,000,000, not 2.0",
    lambda: analyze(GRAPH, True): "batch must be a whole number from 1 to 1,000,000,000, not True",
    lambda: analyze(GRAPH, np.True_): "batch must be a whole number from 1 to 1,000,000,000, not ",
    lambda: analyze(GRAPH, np.array([2])): "batch must be a whole number from 1 to 1,000,000,000, not array([2])",
    lambda: analyze(GRAPH, 10**5000): "batch must be a whole number from 1 to 1,000,000,000, not a number beyond 2^63",
    lambda: compare(GRAPH, batch=None): "batch must be a whole number from 1 to 1,000,000,000, not None",
    lambda: analyze(GRAPH, dtype=None): "unknown dtype None; known: bfloat16, float16, float32, float64",
    lambda: analyze(GRAPH, dtype=["float32"]): "unknown dtype ['float32']",
    lambda: analyze(GRAPH, dtype=np.float32): "unknown dtype <class 'numpy.float32'>",
    lambda: analyze(GRAPH, mode=True): "unknown mode True; known: infer, train",
    lambda: analyze(GRAPH, mode="TRAIN"): "unknown mode 'TRAIN'; did you mean train?",
    lambda: analyze(GRAPH, flops=2): "unknown convention 2; one of all, torch, macs, torchinfo",
    lambda: REPORT.layer(3): "small has no layer 3; known: ",
}  # fmt: skip


@pytest.mark.parametrize("action", REFUSED, ids=REFUSED.values())
def test_a_wrong_argument(action):
    with pytest.raises(ArchcalcError) as caught:
        action()
    assert REFUSED[action] in str(caught.value)


@cache
def torch_side():
    pytest.importorskip("torch")
    from archcalc import pytorch

    return pytorch


IN_PYTORCH = {
    lambda: torch_side().build("vgg16"): "build needs a Graph, not str; write build(load('vgg16'))",
    lambda: torch_side().build(REPORT): "build needs a Graph, not Report",
    lambda: torch_side().build(GRAPH, dtype="float32"): "build needs a dtype such as torch.float32, not 'float32'",
    lambda: torch_side().validate("vgg16"): "validate needs a Graph, not str; write validate(load('vgg16'))",
    lambda: torch_side().validate(GRAPH, batch="2"): "batch must be a whole number from 1 to 1,000,000,000, not '2'",
    lambda: torch_side().validate(GRAPH, dtype=np.float32): "unknown dtype <class 'numpy.float32'>",
    lambda: torch_side().validate(GRAPH, device=0): "unknown device 0; known: auto, cpu, cuda, meta",
}


@pytest.mark.parametrize("action", IN_PYTORCH, ids=IN_PYTORCH.values())
def test_a_wrong_argument_in_pytorch(action):
    with pytest.raises(ArchcalcError) as caught:
        action()
    assert IN_PYTORCH[action] in str(caught.value)


@pytest.mark.parametrize(
    ("param", "given", "plain"),
    [
        ("n", np.int64(4), 4), ("n", np.uint8(4), 4), ("n", np.array(4), 4), ("n", np.str_("2 * 2"), 4),
        ("x", np.float64(0.5), 0.5), ("x", np.float32(0.5), 0.5), ("f", np.False_, False), ("f", False, False),
        ("l", np.array([1, 2]), (1, 2)), ("l", [np.int64(1), 2], (1, 2)), ("l", np.array([[1], [2]]), ((1,), (2,))),
    ],
)  # fmt: skip
def test_numpys_values_are_params(param, given, plain):
    found = parse(SPEC, **{param: given}).about.params[param]
    assert (found, type(found)) == (plain, type(plain))


@pytest.mark.parametrize("shape", [np.array([3, 9, 9]), (np.int64(3), np.int32(9), 9), [3, 9, 9], iter([3, 9, 9])])
def test_numpys_numbers_are_a_shape(shape):
    found = parse(SPEC, input=shape).input
    assert (found, {type(size) for size in found}) == ((3, 9, 9), {int})


def test_numpys_numbers_are_a_batch():
    assert type(analyze(GRAPH, np.int64(2)).batch) is int
    assert analyze(GRAPH, np.int64(2)) == analyze(GRAPH, 2)


@pytest.mark.parametrize("command", ["summarize", "compare", "validate", "export"])
@pytest.mark.parametrize("batch", ["9" * 321, str(10**9 + 1), "0", "-1", "2.5", "two", ""])
def test_a_wrong_batch_on_the_command_line(command, batch):
    result = CliRunner().invoke(cli, [command, "lenet5", "--batch", batch])
    assert (result.exit_code, type(result.exception)) == (2, SystemExit)
    assert "Invalid value for '--batch'" in result.stderr


@pytest.mark.parametrize("form", ["table", "markdown", "csv", "json", "latex", "rst", "html"])
def test_the_largest_batch(form):
    arguments = ["summarize", "lenet5", "--batch", str(10**9), "--format", form]
    assert CliRunner().invoke(cli, arguments, catch_exceptions=False).exit_code == 0
