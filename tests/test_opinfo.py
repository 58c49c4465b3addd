"""Samples of PyTorch's own tests, with what PyTorch gave; `python bench/opinfo.py --record FILE` wrote them."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from support.programs import program

from archcalc import SpecError, parse

ROOT = Path(__file__).parent.parent
CASES = json.loads((ROOT / "tests" / "golden" / "opinfo.json").read_text(encoding="utf-8"))["cases"]


def difference(case):
    """What is wrong with a case, "" if nothing is."""
    try:
        node = parse(case["spec"]).nodes[-1]
    except SpecError as error:
        return "" if case["output"] is None else f"refused: {error}"
    if case["output"] is None:
        return f"accepted as {node.output}; PyTorch raises"
    batch = [] if case["batch"] is None else [case["batch"]]
    macs = node.op.work(node.x, node.output).get("mac", 0) if case["macs"] else 0
    ours = [*batch, *node.output], macs * (batch or [1])[0]
    return "" if ours == (case["output"], case["macs"]) else f"{ours}, PyTorch {case['output']} {case['macs']}"


def test_samples_have_the_shapes_and_macs_of_pytorch():
    wrong = [(case["function"], case["spec"], difference(case)) for case in CASES if difference(case)]
    assert not wrong


def test_the_samples_are_of_many_functions_and_some_are_refused():
    assert len({case["function"] for case in CASES}) > 80
    assert sum(case["output"] is None for case in CASES) > 20
    assert sum(case["macs"] > 0 for case in CASES) > 50


@pytest.mark.parametrize(
    "change",
    [lambda case: {"macs": case["macs"] + 1}, lambda case: {"output": None}, lambda case: {"output": [9, 9]}],
    ids=["MACs", "PyTorch raises", "another shape"],
)
def test_a_wrong_sample_is_noticed(change):
    case = next(case for case in CASES if case["macs"])
    assert not difference(case)
    assert difference(case | change(case))
    assert difference(case | {"spec": "name: sample\ninput: [3]\nlayers: [conv(4, 3)]\n"}).startswith("refused")


@pytest.fixture
def opinfo():
    pytest.importorskip("torch", reason="the bench runs PyTorch")
    return program("opinfo")


def sample(opinfo, function, *sizes, **own):
    """A sample of a convolution with a weight of 4 × 3 × 3 × 3 channels and positions."""
    import torch

    x, weight = torch.ones(sizes), torch.ones(4, 3, 3, 3)
    given = {"input": x, "weight": weight, **own}
    return opinfo.Sample(
        "nn.functional.conv2d", opinfo.FUNCTIONS["nn.functional.conv2d"], given, function(x, weight, own)
    )


def prepared(x, weight, own):
    import torch

    def prepare(device):
        tensors = [tensor.to(device) for tensor in (x, weight)]
        return lambda: torch.nn.functional.conv2d(*tensors, **own)

    return prepare


@pytest.mark.parametrize(
    ("sizes", "own", "kind"),
    [
        ((2, 3, 5, 5), {"stride": 2}, "equal"),
        ((3, 5, 5), {}, "equal"),  # without a batch
        ((2, 3, 2, 2), {}, "both refuse"),
        ((2, 6, 5, 5), {}, "both refuse"),  # channels of the weight
    ],
)
def test_verdicts_of_the_bench(opinfo, sizes, own, kind):
    assert opinfo.verdict(sample(opinfo, prepared, *sizes, **own))[0].kind == kind


def test_an_argument_that_the_language_lacks_is_a_refusal_with_its_name(opinfo):
    own = {"mystery": 2}
    verdict = opinfo.verdict(sample(opinfo, lambda x, weight, own: prepared(x, weight, {}), 2, 3, 5, 5, **own))[0]
    assert verdict[:2] == ("refused", "cannot say: the argument mystery")


def test_the_bench_reports_other_shapes_other_macs_and_what_pytorch_refuses(opinfo):
    def padded(x, weight, own):
        return prepared(x, weight, {"padding": 1})

    def twice(x, weight, own):
        def prepare(device):
            call = prepared(x, weight, own)(device)
            return lambda: (call(), call())[0]

        return prepare

    def raising(x, weight, own):
        return lambda device: lambda: 1 / 0

    for function, said in (padded, "PyTorch (2, 4, 5, 5)"), (twice, "3,888"), (raising, "accepted as (2, 4, 3, 3)"):
        verdict = opinfo.verdict(sample(opinfo, function, 2, 3, 5, 5))[0]
        assert verdict.kind == "wrong"
        assert said in verdict.why


def test_a_missing_module_is_named(opinfo, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "torch.testing._internal.common_methods_invocations", None)
    assert opinfo.main(["relu"]) == 2
    assert "pip install -e '.[bench]'" in capsys.readouterr().err
