"""Random networks, whole: every figure archcalc has of them against PyTorch, and what they compute against a plain run.

`bench/fuzz.py` does the same with as many as one likes.
"""

from __future__ import annotations

import re
import runpy
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import strategies as st
from support.drawn_counts import SEVERAL, lines, traits
from support.network_differences import (
    agree,
    decided_by_rounding,
    differences,
    disagreement,
    evaluated,
    refusal_here,
)
from support.plain_runs import Plain
from support.random_graphs import ARGUMENTS, ATTENTIONS, JOINS, LEARNED, SIZES, doubtful, networks, sweep
from support.reference_operators import REFERENCES, recurrent
from support.spec_steps import IDENTITY, Again, Branch, Join, Label, Layer, Network, Outputs, Side, Steps, Use

from archcalc import Graph, SpecError, analyze, parse
from archcalc.analysis.cost import DTYPES
from archcalc.analysis.saved import saved_bytes
from archcalc.ops import REGISTRY
from archcalc.ops.activation import HardSwish, Tanh
from archcalc.ops.convolution import Conv
from archcalc.ops.shape import shape_of
from archcalc.ops.shaping import ChannelShuffle
from archcalc.pytorch import Check, build
from archcalc.pytorch import Network as Built
from archcalc.pytorch.layers import Concat

CONV, RELU, NORM = Layer("conv", {"out_channels": 4, "kernel_size": 1}), Layer("relu", {}), Layer("batchnorm", {})
LRN, FLATTEN = Layer("lrn", {"size": 3}), Layer("flatten", {})


def join(name: str, *ways: Steps, **keywords: Any) -> Join:
    return Join(name, keywords, tuple(Branch("", way) for way in ways))


def side(*ways: Steps) -> Side:
    return Side(tuple(Branch("", way) for way in ways))


DROPOUT, THICK = Layer("dropout", {"p": 0.5}), Layer("conv", {"out_channels": 4, "kernel_size": 3, "padding": 1})
DROPPING = join("mean", (IDENTITY,), (NORM, CONV), (LRN,), p=1)
REGRESSIONS: dict[str, Steps] = {
    "a sum of one, of which something else reads the input": (
        Label("a", (CONV,)), join("concat", (join("add", (IDENTITY,)), RELU), (Use("a"),)),
    ),
    "a product of one keeps nothing": (CONV, join("multiply", (CONV,)), CONV),
    "a product of one is a tensor of its own": (
        Label("a", (CONV,)), join("add", (join("multiply", (IDENTITY,)), RELU), (Use("a"),)),
    ),
    "a sum that reads its first input once more at the end": (CONV, join("add", (IDENTITY,), (CONV,), (IDENTITY,))),
    "a sum of the same twice": (CONV, join("add", (IDENTITY,), (IDENTITY,))),
    "a side output reads the result": (CONV, side((RELU, CONV))),
    "a side output reads another one's end": (CONV, side((Label("head", (CONV,)), side((RELU, CONV)))), RELU),
    "a view of the image": (FLATTEN,),
    "dropout that does nothing, and something else reads its input": (
        Label("a", (THICK,)), DROPOUT, RELU, join("add", (IDENTITY,), (Use("a"),)),
    ),
    "dropout that does nothing to the image": (DROPOUT, RELU, CONV),
    "dropout that does nothing to what backward needs": (THICK, Layer("sigmoid", {}), DROPOUT, RELU),
    "what drop-path drops is freed": 6 * (NORM, DROPPING, Layer("sigmoid", {})),
}  # fmt: skip


@pytest.mark.parametrize("name", REGRESSIONS)
def test_regression(name: str) -> None:
    agree(Network((4, 6, 6), REGRESSIONS[name]))


@pytest.mark.parametrize("strategy", [networks(), doubtful()], ids=["networks", "doubtful"])
def test_every_dtype_is_drawn(strategy: st.SearchStrategy[Network]) -> None:
    drawn: Counter[str] = Counter()
    sweep(strategy, lambda network: drawn.update([network.dtype]), 80)
    assert set(drawn) == set(DTYPES)
    assert drawn["float32"] > 40


def test_the_dtype_is_compared_and_told() -> None:
    """A kernel that PyTorch lacks in half precision is noticed, and the spec that is shown says the dtype."""
    agree(Network((4, 6, 6), (LRN,)))
    with pytest.raises(AssertionError, match=r'3d_out_frame" not implemented(?s:.*)# in float16\nname: drawn'):
        agree(Network((4, 6, 6), (LRN,), dtype="float16"))


USELESS = {
    "nothing uses the output of this conv": (Label("a", (CONV,)), RELU, CONV, Use("a")),
    "nothing uses the output of this relu": (Label("a", (CONV,)), RELU, join("add", (Use("a"), CONV), (Use("a"),))),
    "a side output has no layers": (Label("a", (CONV,)), CONV, side((Use("a"),)), RELU),
}


@pytest.mark.parametrize("message", USELESS)
def test_what_nobody_needs_is_refused(message: str) -> None:
    with pytest.raises(SpecError, match=message):
        parse(Network((4, 6, 6), USELESS[message]).spec())


def test_a_side_output_with_nothing_but_another_one_in_it() -> None:
    with pytest.raises(SpecError, match="a side output has no layers"):
        parse(Network((4, 6, 6), (CONV, side((side((RELU,)),)))).spec())


def test_a_side_output_that_does_not_fit_with_one_in_it() -> None:
    large = Layer("conv", {"out_channels": 4, "kernel_size": 9})
    agree(Network((4, 6, 6), (CONV, RELU, side((CONV, side((RELU,)), large)))), disagreement)


@pytest.mark.slow
def test_random_networks() -> None:
    sweep(networks(), agree, 150)


def test_refuses_what_torch_refuses() -> None:
    refused = []

    def check(network: Network) -> None:
        refused.append(refusal_here(network) is not None)
        agree(network, disagreement)

    sweep(doubtful(), check, 150)
    assert 30 < sum(refused) < 120


def test_every_operator_is_drawn() -> None:
    assert {*ARGUMENTS, *JOINS, *ATTENTIONS, *LEARNED, "crop_like", "input"} == set(REGISTRY)


def test_what_is_counted_is_drawn() -> None:
    """Every axes of inputs, several inputs and outputs, and shared weights."""
    drawn: Counter[str] = Counter()
    sweep(networks(), lambda network: drawn.update(traits(network)), 200)
    assert min(drawn[word] for word in (*SEVERAL, *(f"axes {axes}" for axes in SIZES))) > 3
    assert drawn["several inputs"] > 50
    assert len(set(drawn) & set(REGISTRY)) > 0.9 * len(REGISTRY)


def test_what_a_network_has() -> None:
    tower = Label("tower", (CONV, FLATTEN, Layer("linear", {"out_features": 5})))
    table = Label("table", (Layer("linear", {"out_features": 5, "bias": False}),))
    outputs = Outputs(
        (Branch("first", (Layer("linear", {"out_features": 5}, "table"),)), Branch("second", (IDENTITY,)))
    )
    again = join("add", (IDENTITY,), (Use("right"), Again("tower")), (Layer("parameter", {"sizes": (5,)}),))
    line = join("concat", (IDENTITY,), (Use("line"), FLATTEN))
    others = (("right", shape_of((4, 6, 6))), ("line", shape_of((3, 7), "CL")))
    made = Network((4, 6, 6), (tower, table, outputs, again, line), others=others, first="left")
    agree(made)
    expected = {"conv", "flatten", "linear", "add", "concat", "identity", "parameter", "input", "axes CHW", "axes CL"}
    assert traits(made) == expected | {"several inputs", "inputs of different axes", "again", "tied", "outputs"}
    graph = parse(made.spec())
    assert len(graph.inputs) == 3
    assert len(graph.results) == 3
    assert analyze(graph).totals.params == (4 * 4 + 4) + (144 * 5 + 5) + 5 * 5 + 5 + 5
    text = "\n".join(lines(Counter(traits(made))))
    assert "again 1, tied 1" in text
    assert "lstm 0" in text


def test_weights_that_are_not_shared_are_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    tower = Label("tower", (CONV, Layer("tanh", {})))
    again = Network((4, 6, 6), (tower, join("add", (IDENTITY,), (Again("tower"),))))
    monkeypatch.setattr("archcalc.spec.expansion.share_all", lambda *_: None)
    figures = {check.figure for check in differences(again)}
    assert "tensors of the state dict" in figures
    assert "evaluation, output 0" in figures


# The values of a channel are all equal, so only their rounding is normalized
EQUAL = (Layer("global_avgpool", {}), Layer("upsample", {"size": (3, 5)}), Layer("instancenorm", {"eps": 1e-40}))


@pytest.mark.parametrize(
    ("steps", "difference", "decided"),
    [(EQUAL, 1e-3, True), (EQUAL, 1e9, False), ((CONV, RELU), 1e-9, False), ((CONV, RELU), 1e-5, False)],
)
def test_only_rounding_excuses_a_difference(steps: Steps, difference: float, decided: bool) -> None:
    network = Network((4, 6, 7), steps)
    built = build(parse(network.spec()), dtype=torch.float64)
    plain = Plain(network, built.nodes[1:])
    images = [torch.linspace(0.1, 1, 2 * 4 * 42, dtype=torch.float64).view(2, 4, 6, 7)]
    theirs = evaluated(plain, plain.nodes, images)["output 0"]
    before = {name: tensor.clone() for name, tensor in plain.state_dict().items()}
    assert decided_by_rounding(plain, evaluated, images, "output 0", theirs + difference, theirs) is decided
    assert all(torch.equal(tensor, before[name]) for name, tensor in plain.state_dict().items())


def test_a_small_difference_where_order_is_free_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    def off(inputs: torch.Tensor, hidden: torch.Tensor, h: torch.Tensor, c: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return torch.tanh(inputs + hidden) * (1 + 1e-5), c

    skipped: list[str] = []
    network = Network(shape_of((3, 4), "TC"), (Layer("rnn", {"hidden_size": 3}),))
    assert not differences(network, skipped)
    monkeypatch.setitem(REFERENCES, "rnn", recurrent(off))
    assert "evaluation, output 0" in {check.figure for check in differences(network, skipped)}
    assert skipped == []


def test_what_is_not_compared_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if rounding decided every value: nothing of a wrong network differs, but the list says so."""
    monkeypatch.setattr("support.network_differences.decided_by_rounding", lambda *_: True)
    monkeypatch.setitem(REFERENCES, "rnn", recurrent(lambda inputs, hidden, h, c: (inputs + hidden, c)))
    skipped: list[str] = []
    assert not differences(Network(shape_of((3, 4), "TC"), (Layer("rnn", {"hidden_size": 3}),)), skipped)
    assert len(skipped) > 10
    assert re.match(r"evaluation, output 0: up to \S+ off a plain run's", skipped[0])


def overwrites(graph: Graph, training: bool) -> list[bool]:
    return [node.op.overwrites(True) for node in graph.nodes]


def settle_by_mode(network: Built) -> None:
    """Works in place in evaluation with gradients, too."""
    for position, allowed in network.overwriting[network.training].items():
        network.node(position).inplace = allowed


LIES = [
    (sys.modules[build.__module__], "in_place", overwrites),
    (Built, "_settle", settle_by_mode),
    (sys.modules[saved_bytes.__module__], "DTYPES", DTYPES | {"float16": 4}),
    (Tanh, "keeps_output", False),
    (HardSwish, "code", "nn.SiLU(inplace=inplace)"),
    (Conv, "work", lambda self, x, y: {"mac": 1}),
    (ChannelShuffle, "writes", lambda self, x, y, training: 0),
    (Concat, "forward", lambda self, *xs: torch.cat(xs[::-1], dim=1)),
]


@pytest.mark.parametrize(("owner", "name", "lie"), LIES)
def test_this_would_notice(owner: Any, name: str, lie: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(owner, name, lie)
    assert noticed(networks(), differences)


def test_this_would_notice_a_missing_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("archcalc.ops.joins.broadcast", lambda shapes: max(shapes, key=len))
    assert noticed(doubtful(), lambda network: [c for c in disagreement(network) if c.figure == "refusal"])


def noticed(strategy: st.SearchStrategy[Network], compare: Callable[[Network], list[Check]]) -> list[Check]:
    """What the first of 60 networks shows that shows anything."""
    found: list[Check] = []
    sweep(strategy, lambda network: found or found.extend(compare(network)), 60, enough=lambda: bool(found))
    return found


FUZZ = str(Path(__file__).parent.parent / "bench/fuzz.py")


def test_the_command_line_tells_how_many(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """The script as Python runs it, in this process, which has PyTorch loaded."""
    monkeypatch.setattr(sys, "argv", [FUZZ, "10", "3"])
    with pytest.raises(SystemExit) as caught:
        runpy.run_path(FUZZ, run_name="__main__")
    assert caught.value.code == 0
    assert re.search(r"^10 graphs, 0 differences, seed 3, \d+ s$", capsys.readouterr().out, re.MULTILINE)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "the following arguments are required: N"),
        (("many",), "argument N: needs a whole number of at least 1, not 'many'"),
        (("1.5",), "argument N: needs a whole number of at least 1, not '1.5'"),
        (("0",), "argument N: needs a whole number of at least 1, not '0'"),
        (("-3",), "argument N: needs a whole number of at least 1, not '-3'"),
        (("3", "-1"), "argument SEED: needs a whole number of at least 0, not '-1'"),
        (("3", "one"), "argument SEED: needs a whole number of at least 0, not 'one'"),
        (("3", "1", "2"), "unrecognized arguments: 2"),
    ],
)
def test_the_command_line_refuses(arguments: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        runpy.run_path(FUZZ)["main"](arguments)
    assert caught.value.code == 2
    assert message in capsys.readouterr().err


def test_the_command_line_draws_a_seed(capsys: pytest.CaptureFixture[str]) -> None:
    assert runpy.run_path(FUZZ)["main"](["1"]) == 0
    assert re.match(r"1 graphs, seed \d+\n", capsys.readouterr().out)


def test_the_command_line_shows_the_simplest_that_differs(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    main = runpy.run_path(FUZZ)["main"]
    checked: list[bool] = []

    def differ(network: Network, skipped: list[str]) -> list[Check]:
        checked.append(len(network.steps) > 1)
        return [Check("relu", "macs", 1, 2)] if checked[-1] else []

    monkeypatch.setitem(main.__globals__, "differences", differ)
    assert main(["100", "3"]) == 1
    text = capsys.readouterr().out
    assert "\nrelu: macs: expected 1, measured 2\nname: drawn\ninput: [1, 1, 1]\nlayers:\n" in text
    assert text.count("\n  - ") == 2
    before = checked.index(True)  # afterwards it tries others, of which some do not differ
    assert checked[before:].count(False)
    assert re.search(rf"found after {before} graphs, seed 3, \d+ s$", text)
