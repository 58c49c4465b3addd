"""Random networks, whole: every figure archcalc has of them against PyTorch, and what they compute against a plain run.

`differences` holds a network against two oracles: PyTorch's own counts, layer by layer, as the network built from the
graph runs (`archcalc.pytorch.validate`); and `Plain`, which runs the drawn steps as they stand, module by module. It
knows neither the language nor the graph, and works in place nowhere. `disagreement` asks whether archcalc refuses the
networks that PyTorch refuses. `bench/fuzz.py` does the same with as many as one likes.
"""

from __future__ import annotations

import re
import runpy
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import reduce
from pathlib import Path
from typing import Any

import pytest
import torch
from graphs import ARGUMENTS, IMAGES_ONLY, JOINS, doubtful, networks, sweep
from steps import IDENTITY, Branch, Join, Label, Layer, Network, Repeat, Side, Step, Steps, Use
from test_ops_torch import lopsided_padding
from torch import Tensor, nn

from archcalc import Graph, SpecError, analyze, parse
from archcalc.ops import REGISTRY, make
from archcalc.ops.activation import Tanh
from archcalc.ops.convolution import Conv
from archcalc.ops.shaping import ChannelShuffle
from archcalc.pytorch import Check, Training, build, validate
from archcalc.pytorch import Network as Built
from archcalc.pytorch.folding import fold
from archcalc.pytorch.layers import Concat

BATCH = 2
PRECISION = 1e-6  # of gradients in float64, relative to the largest; sums are added up in another order


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Small tensors gain nothing from threads, and lose much."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


class Plain(nn.Module):
    """Runs drawn steps as they stand. Its first run makes the modules, in order; later runs go through the same."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network
        self.nodes = nn.ModuleList()
        self.sides: list[Tensor] = []
        self.at = 0

    def forward(self, image: Tensor) -> Tensor | Training:
        self.at = 0
        self.sides = []
        result = self.steps(self.network.steps, image, {})
        sides = {str(i): side for i, side in enumerate(self.sides)}
        return Training(result, sides) if sides and self.training else result

    def steps(self, steps: Steps, x: Tensor, labels: dict[str, Tensor]) -> Tensor:
        for step in steps:
            x = self.step(step, x, labels)
        return x

    def step(self, step: Step, x: Tensor, labels: dict[str, Tensor]) -> Tensor:
        if isinstance(step, Layer):
            return self.module(step, shape(x))(x)
        if isinstance(step, Use):
            return labels[step.label]
        if isinstance(step, Join):
            return self.join(step, [self.steps(branch.steps, x, dict(labels)) for branch in step.branches])
        if isinstance(step, Side):
            for branch in step.branches:
                self.sides.append(self.steps(branch.steps, x, dict(labels)))
            return x
        for _ in range(step.count if isinstance(step, Repeat) else 1):
            x = self.steps(step.steps, x, dict(labels))
        if isinstance(step, Label):
            labels[step.name] = x
        return x

    def module(self, step: Layer | Join, x: Any) -> nn.Module:
        self.at += 1
        if self.at > len(self.nodes):
            made = make(REGISTRY[step.name], (), step.keywords).module(x)
            if hasattr(made, "inplace"):
                made.inplace = False
            self.nodes.append(made.train(self.training))
        return self.nodes[self.at - 1]

    def join(self, step: Join, ways: list[Tensor]) -> Tensor:
        module = self.module(step, tuple(map(shape, ways)))
        if getattr(module, "p", 0):
            return module(*ways)  # what it drops is drawn at random
        if step.name == "concat":
            return torch.cat(ways, dim=1)
        total = reduce(torch.mul if step.name == "multiply" else torch.add, ways)
        return total / len(ways) if step.name == "mean" else total


def shape(x: Tensor) -> tuple[int, ...]:
    return tuple(x.shape[1:])


def differences(network: Network) -> list[Check]:
    """What archcalc says of a network and PyTorch does not. An error is a difference too."""
    torch.manual_seed(0)
    try:
        with lopsided_padding():
            graph = parse(network.spec())
            checks = [*validate(graph, "cpu", BATCH).checks, *writes(graph), *values(graph, network)]
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
    """What the network computes and, in training, its gradients and buffers; and again with what training left."""
    torch.manual_seed(1)
    built = build(graph, dtype=torch.float64)
    torch.manual_seed(1)
    plain, image = Plain(network).eval(), torch.randn(BATCH, *graph.input, generator=torch.Generator().manual_seed(3))
    plain(image)  # makes the modules, with the same weights
    plain.double()
    image = image.double()
    for name, run in (("evaluation", evaluated), ("again", evaluated), ("training", trained), ("folded", folded)):
        before = image.clone()
        theirs = run(plain, plain.nodes, before.clone()) | {"image afterwards": before}
        ours = run(built, nn.ModuleList(built.nodes[1:]), image) | {"image afterwards": image}
        for what in theirs | ours:
            exact = "gradient" not in what and run is not folded
            yield Check("", f"{name}, {what}", "", unlike(ours.get(what), theirs.get(what), exact))


def evaluated(network: nn.Module, nodes: nn.ModuleList, image: Tensor) -> dict[str, Any]:
    network.eval()
    with torch.no_grad():
        return {"output": network(image)}


def folded(network: nn.Module, nodes: nn.ModuleList, image: Tensor) -> dict[str, Any]:
    """Of a built network, the output with batch normalization folded."""
    return evaluated(fold(network) if isinstance(network, Built) else network, nodes, image)


def trained(network: nn.Module, nodes: nn.ModuleList, image: Tensor) -> dict[str, Any]:
    network.train()
    torch.manual_seed(2)
    image = image.clone().requires_grad_()
    output = network(image)
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


class Strict(Plain):
    """Refuses, besides what PyTorch does, what PyTorch takes for something else than a spec means.

    That is: other broadcasts than a gate's, one image without a batch, an empty output.
    """

    def step(self, step: Step, x: Tensor, labels: dict[str, Tensor]) -> Tensor:
        if isinstance(step, Layer) and step.name in IMAGES_ONLY and x.dim() != 4:
            raise ValueError("an image is wanted")
        y = super().step(step, x, labels)
        if y.numel() == 0:
            raise ValueError("an empty output")
        return y

    def join(self, step: Join, ways: list[Tensor]) -> Tensor:
        if step.name == "multiply" and all(way.dim() == 4 for way in ways):
            torch.stack([way[:, :, 0, 0] for way in ways])
            torch.stack([way for way in ways if way.shape[2:] != (1, 1)] or ways)
        elif step.name != "concat":
            torch.stack(ways)
        return super().join(step, ways)


HERE_ONLY = ("dilated by", "cannot pad", "connections", "rows for", "rbf wants a vector")  # as in test_ops_torch.py


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
    expected, measured = (made._replace(receptive_field_at="") for made in totals)  # a block by itself opens no level
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
        raise AssertionError("\n".join([*map(str, found), network.spec()]))


CONV, RELU, NORM = Layer("conv", {"out_channels": 4, "kernel_size": 1}), Layer("relu", {}), Layer("batchnorm", {})
LRN, FLATTEN = Layer("lrn", {"size": 3}), Layer("flatten", {})


def join(name: str, *ways: Steps, **keywords: Any) -> Join:
    return Join(name, keywords, tuple(Branch("", way) for way in ways))


def side(*ways: Steps) -> Side:
    return Side(tuple(Branch("", way) for way in ways))


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
    "what drop-path drops is freed": 6 * (NORM, DROPPING, Layer("sigmoid", {})),
}  # fmt: skip


@pytest.mark.parametrize("name", REGRESSIONS)
def test_regression(name: str) -> None:
    agree(Network((4, 6, 6), REGRESSIONS[name]))


USELESS = {
    "nothing uses the output of this conv": (Label("a", (CONV,)), RELU, CONV, Use("a")),
    "nothing uses the output of this relu": (Label("a", (CONV,)), RELU, join("add", (Use("a"), CONV), (Use("a"),))),
    "a side output without layers": (Label("a", (CONV,)), CONV, side((Use("a"),)), RELU),
}


@pytest.mark.parametrize("message", USELESS)
def test_what_nobody_needs_is_refused(message: str) -> None:
    with pytest.raises(SpecError, match=message):
        parse(Network((4, 6, 6), USELESS[message]).spec())


def test_a_side_output_with_nothing_but_another_one_in_it() -> None:
    with pytest.raises(SpecError, match="a side output without layers"):
        parse(Network((4, 6, 6), (CONV, side((side((RELU,)),)))).spec())


def test_a_side_output_that_does_not_fit_with_one_in_it() -> None:
    large = Layer("conv", {"out_channels": 4, "kernel_size": 9})
    agree(Network((4, 6, 6), (CONV, RELU, side((CONV, side((RELU,)), large)))), disagreement)


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


LIES = [
    (sys.modules[build.__module__], "in_place", lambda graph, training: [n.op.overwrites(True) for n in graph.nodes]),
    (Tanh, "keeps_output", False),
    (Conv, "work", lambda self, x, y: {"mac": 1}),
    (ChannelShuffle, "writes", lambda self, x, y, training: 0),
    (Concat, "forward", lambda self, *xs: torch.cat(xs[::-1], dim=1)),
]


@pytest.mark.parametrize(("owner", "name", "lie"), LIES)
def test_this_would_notice(owner: Any, name: str, lie: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(owner, name, lie)
    found: list[Check] = []
    sweep(networks(), lambda network: found.extend(differences(network)), 60)
    assert found


def test_this_would_notice_a_missing_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("archcalc.ops.joins.Join.output", lambda self, x: x[0])
    found: list[Check] = []
    sweep(doubtful(), lambda network: found.extend(disagreement(network)), 60)
    assert "refusal" in {check.figure for check in found}


FUZZ = str(Path(__file__).parent.parent / "bench/fuzz.py")


def test_the_command_line_tells_how_many() -> None:
    done = subprocess.run([sys.executable, FUZZ, "10", "3"], capture_output=True, text=True, check=True)
    assert re.search(r"^10 graphs, 0 differences, seed 3, \d+ s$", done.stdout, re.MULTILINE)


def test_the_command_line_shows_the_simplest_that_differs(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fuzz = runpy.run_path(FUZZ)
    lie = [Check("relu", "macs", 1, 2)]
    monkeypatch.setitem(fuzz["main"].__globals__, "differences", lambda network: lie if len(network.steps) > 1 else [])
    assert fuzz["main"](100, 3) == 1
    text = capsys.readouterr().out
    assert "\nrelu: macs: expected 1, measured 2\nname: drawn\ninput: [1, 1, 1]\nlayers:\n" in text
    assert text.count("\n  - ") == 2
    assert re.search(r"found after \d+ graphs, seed 3, \d+ s$", text)
