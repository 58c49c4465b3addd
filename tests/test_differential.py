"""Random networks, whole: every figure archcalc has of them against PyTorch, and what they compute against a plain run.

`differences` holds a network against two oracles: PyTorch's own counts, layer by layer, as the network built from the
graph runs in the drawn dtype (`archcalc.pytorch.validation`); and `Plain`, which runs the drawn steps as they stand, in
float64. `disagreement` asks whether archcalc refuses what PyTorch refuses. `bench/fuzz.py` does the same with as
many as one likes.
"""

from __future__ import annotations

import re
import runpy
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeAlias

import pytest
import torch
from hypothesis import strategies as st
from support.plain_runs import Plain, Strict, shape
from support.random_graphs import ARGUMENTS, JOINS, doubtful, networks, sweep
from support.spec_steps import IDENTITY, Branch, Join, Label, Layer, Network, Side, Steps, Use
from support.torch_seed import seed_torch
from test_ops_torch import lopsided_padding
from torch import Tensor, nn

from archcalc import Graph, SpecError, analyze, parse
from archcalc.analysis.cost import DTYPES
from archcalc.analysis.saved import saved_bytes
from archcalc.ops import REGISTRY
from archcalc.ops.activation import HardSwish, Tanh
from archcalc.ops.convolution import Conv
from archcalc.ops.shaping import ChannelShuffle
from archcalc.pytorch import Check, Training, build, validate
from archcalc.pytorch import Network as Built
from archcalc.pytorch.fold_weights import fold
from archcalc.pytorch.layers import Concat

BATCH = 2
PRECISION = 1e-6  # of gradients in float64, relative to the largest; sums are added up in another order


def differences(network: Network) -> list[Check]:
    """What archcalc says of a network and PyTorch does not. An error is a difference too."""
    seed_torch(0)
    try:
        with lopsided_padding():
            graph = parse(network.spec())
            checks = [*validate(graph, "cpu", BATCH, network.dtype).checks, *writes(graph), *values(graph, network)]
            return [check for check in checks if not check.equal]
    except Exception as error:  # whatever it is, a network that fits together should not lead to it
        return [Check("", "error", None, repr(error))]


class Noting(Built):
    """A built network that notes the values each node writes: none where it gives its input's memory."""

    def __init__(self, graph: Graph) -> None:
        super().__init__(graph)
        self.written: dict[str, int] = {}

    def run(self, position: int, inputs: list[Tensor]) -> Tensor:
        memory = {tensor.untyped_storage().data_ptr() for tensor in inputs}
        output = super().run(position, inputs)
        own = output.untyped_storage().data_ptr() not in memory
        self.written[self.graph.nodes[position].name] = output.numel() if own else 0
        return output


def writes(graph: Graph) -> Iterator[Check]:
    """The values that each layer writes."""
    for mode in ("infer", "train"):
        built = Noting(graph).train(mode == "train")
        with torch.set_grad_enabled(mode == "train"):
            built(torch.rand(BATCH, *graph.input))
        for layer in analyze(graph, BATCH, mode=mode).layers[1:]:
            yield Check(layer.node.name, f"activations, {mode}", layer.activations, built.written[layer.node.name])


def values(graph: Graph, network: Network) -> Iterator[Check]:
    """What the network computes in every mode, one after the other, and what it leaves."""
    seed_torch(1)
    built = build(graph, dtype=torch.float64)
    nodes = nn.ModuleList(built.nodes[1:])
    plain = Plain(network, nodes)
    image = torch.randn(BATCH, *graph.input, dtype=torch.float64)
    for name, run in MODES.items():
        seen = image.clone()
        theirs = run(plain, plain.nodes, image.clone()) | {"image afterwards": image}
        ours = run(built, nodes, seen) | {"image afterwards": seen.detach()}
        for what in theirs | ours:
            exact = "gradient of" not in what and run is not folded
            yield Check("", f"{name}, {what}", "", unlike(ours.get(what), theirs.get(what), exact))


Values: TypeAlias = dict[str, Any]


def evaluated(network: nn.Module, nodes: nn.ModuleList, image: Tensor) -> Values:
    network.eval()
    with torch.no_grad():
        return {"output": network(image)}


def evaluated_with_gradients(network: nn.Module, nodes: nn.ModuleList, image: Tensor) -> Values:
    return learned(network.eval(), nodes, image)


def trained(network: nn.Module, nodes: nn.ModuleList, image: Tensor) -> Values:
    return learned(network.train(), nodes, image)


def trained_without_dropout(network: nn.Module, nodes: nn.ModuleList, image: Tensor) -> Values:
    """With everything that drops at random as in evaluation."""
    network.train()
    for node in nodes:
        node.train(not hasattr(node, "p"))
    return learned(network, nodes, image)


def folded(network: nn.Module, nodes: nn.ModuleList, image: Tensor) -> Values:
    """Of a built network, the output with batch normalization folded."""
    return evaluated(fold(network) if isinstance(network, Built) else network, nodes, image)


MODES: dict[str, Callable[[nn.Module, nn.ModuleList, Tensor], Values]] = {
    "evaluation": evaluated,
    "evaluation with gradients": evaluated_with_gradients,
    "training": trained,
    "training but for dropout": trained_without_dropout,
    "evaluation again": evaluated,
    "folded": folded,
}


def learned(network: nn.Module, nodes: nn.ModuleList, image: Tensor) -> Values:
    """All outputs, gradients and buffers."""
    seed_torch(2)
    network.zero_grad()
    output = network(image.requires_grad_())
    outputs = [output.result, *output.sides.values()] if isinstance(output, Training) else [output]
    sum((y * torch.linspace(-1, 1, y.numel()).view_as(y)).sum() for y in outputs).backward()
    found = {"gradient of the image": image.grad} | {f"output {i}": y.detach() for i, y in enumerate(outputs)}
    found |= {f"gradient of {name}": parameter.grad for name, parameter in nodes.named_parameters()}
    return found | {f"buffer {name}": buffer.clone() for name, buffer in nodes.named_buffers()}


def unlike(ours: Any, plain: Any, exact: bool) -> str:
    """How a value differs from the plain run's; "" if it is equal: to the bit, or within PRECISION."""
    if not isinstance(ours, Tensor) or not isinstance(plain, Tensor) or ours.shape != plain.shape:
        one, other = (f"shape {shape(x)}" if isinstance(x, Tensor) else type(x).__name__ for x in (ours, plain))
        return "" if ours is plain is None else f"{one}, not {other}"
    if not torch.equal(ours.isfinite(), plain.isfinite()):
        return "finite where a plain run's is not"
    ours, plain = (x.double().nan_to_num(0, 0, 0) for x in (ours, plain))
    off = float((ours - plain).abs().max())
    return f"up to {off:.2g} off a plain run's" if off > (not exact) * PRECISION * max(1, plain.abs().max()) else ""


HERE_ONLY = ("dilated by", "cannot pad", "connections", "rows for", "rbf needs a vector")  # as in test_ops_torch.py


def disagreement(network: Network) -> list[Check]:
    """Whether only one of archcalc and PyTorch refuses a network; what differs in one that both take."""
    ours, theirs = refusal_here(network), refusal_by_torch(network)
    if ours is None and theirs is None:
        return differences(network)
    if any(text in str(ours) for text in HERE_ONLY) or (ours and theirs and ours.place):
        return without_side(network) if isinstance(network.steps[-1], Side) else []
    return [Check("", "refusal", repr(ours), repr(theirs))]


def without_side(network: Network) -> list[Check]:
    """A side output at the end that does not fit is, at inference, as if it were not there."""
    bare = Network(network.shape, network.steps[:-1])
    try:
        totals = [analyze(parse(drawn.spec())).totals for drawn in (bare, network)]
    except Exception as error:
        return [Check("", "error", None, repr(error))]
    expected, measured = (made.figures | {"receptive_field_at": ""} for made in totals)  # a block alone opens no level
    expected["saved_bytes"] = None  # with that side output there is no training
    return [] if expected == measured else [Check("", "totals without the side output", expected, measured)]


def refusal_here(network: Network) -> SpecError | None:
    try:
        return parse(network.spec()).misfit
    except SpecError as error:
        return error


def refusal_by_torch(network: Network) -> Exception | None:
    try:
        with lopsided_padding(), torch.no_grad():
            Strict(network).eval()(torch.zeros(13, *network.shape))  # a batch that no number of channels is equal to
    except (RuntimeError, ValueError, IndexError) as error:
        return error
    return None


def agree(network: Network, compare: Callable[[Network], list[Check]] = differences) -> None:
    """Raise AssertionError, with the spec, for a network of which archcalc and PyTorch say different things."""
    found = compare(network)
    if found:
        lines = [f"{c.layer or 'the network'}: {c.figure}: expected {c.expected}, measured {c.measured}" for c in found]
        raise AssertionError("\n".join([*lines, network.spec()]))


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
    sweep(networks(), agree, 300)


def test_refuses_what_torch_refuses() -> None:
    refused = []

    def check(network: Network) -> None:
        refused.append(refusal_here(network) is not None)
        agree(network, disagreement)

    sweep(doubtful(), check, 300)
    assert 60 < sum(refused) < 240


def test_every_operator_is_drawn() -> None:
    assert {*ARGUMENTS, *JOINS, "input"} == set(REGISTRY)


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
    monkeypatch.setattr("archcalc.ops.joins.Join.output", lambda self, x: x[0])
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

    def differ(network: Network) -> list[Check]:
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
