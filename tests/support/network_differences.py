"""Compare a random network with PyTorch: its figures, what it computes, and whether it is refused.

`differences` holds a network against two oracles: PyTorch's own counts, layer by layer, as the network built from the
graph runs in the drawn dtype (`archcalc.pytorch.validation`); and `Plain`, which runs the drawn steps as they stand, in
float64. `disagreement` asks whether archcalc refuses what PyTorch refuses.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from archcalc import Graph, SpecError, analyze, parse
from archcalc.errors import MisfitError
from archcalc.ops import Shape
from archcalc.pytorch import Check, build, validate
from archcalc.pytorch import Network as Built
from archcalc.pytorch.fold_weights import fold
from archcalc.pytorch.inputs import random_inputs
from archcalc.pytorch.layers import Constant, Parameter
from archcalc.pytorch.network import ends_of
from support.plain_runs import Plain, Strict, shape
from support.random_graphs import ATTENTIONS, OF_TOKENS, WINDOWED
from support.spec_steps import Network, Side
from support.torch_seed import seed_torch
from support.torch_warnings import lopsided_padding

BATCH = 2
PRECISION = 1e-6  # of gradients in float64, relative to the largest; sums are added up in another order
# And outputs of these.
IN_ANOTHER_ORDER = {*ATTENTIONS, *OF_TOKENS, *WINDOWED}


def differences(network: Network, skipped: list[str] | None = None) -> list[Check]:
    """Return what archcalc says of a network and PyTorch does not. An error is a difference too.

    `skipped` gets what is not compared: values that rounding decides.
    """
    passed = [] if skipped is None else skipped
    seed_torch(0)
    try:
        with lopsided_padding():
            graph = parse(network.spec())
            checks = [*validate(graph, "cpu", BATCH, network.dtype).checks, *writes(graph)]
            checks += values(graph, network, passed)
            return [check for check in checks if not check.equal]
    except Exception as error:  # whatever it is, a network that fits together should not lead to it
        return [Check("", "error", None, repr(error))]


class Noting(Built):
    """A built network that notes the values each node writes: none where it gives its input's memory."""

    def __init__(self, graph: Graph) -> None:
        super().__init__(graph)
        self.written: dict[str, int] = {}

    def run(self, position: int, inputs: list[Tensor]) -> Tensor:
        existing = [*inputs, *self.node(position).parameters(), *self.node(position).buffers()]
        memory = {tensor.untyped_storage().data_ptr() for tensor in existing}
        output = super().run(position, inputs)
        own = output.untyped_storage().data_ptr() not in memory
        self.written[self.graph.nodes[position].name] = output.numel() if own else 0
        return output


def writes(graph: Graph) -> Iterator[Check]:
    """The values that each layer writes."""
    for mode in ("infer", "train"):
        built = Noting(graph).train(mode == "train")
        with torch.set_grad_enabled(mode == "train"):
            built(*random_inputs(graph, BATCH))
        for layer in analyze(graph, BATCH, mode=mode).layers[len(graph.inputs) :]:
            yield Check(layer.node.name, f"activations, {mode}", layer.activations, built.written[layer.node.name])


def values(graph: Graph, network: Network, skipped: list[str]) -> Iterator[Check]:
    """What the network computes in every mode, one after the other, and what it leaves.

    What differs by so little that rounding explains it, as `decided_by_rounding` measures, is `skipped`.
    """
    seed_torch(1)
    built = build(graph, dtype=torch.float64)
    nodes = nn.ModuleList(built.nodes[len(graph.inputs) :])
    for node in nodes:
        fill(node)
    plain = Plain(network, nodes)
    images = random_inputs(graph, BATCH, torch.float64)
    fused = bool(IN_ANOTHER_ORDER & {node.op.name for node in graph.nodes})
    for name, run in MODES.items():
        seen = [image.clone() for image in images]
        theirs = run(plain, plain.nodes, [image.clone() for image in images]) | afterwards(images)
        ours = run(built, nodes, seen) | afterwards(seen)
        for what in theirs | ours:
            exact = "gradient of" not in what and run is not folded and not fused
            off = unlike(ours.get(what), theirs.get(what), exact)
            if off and decided_by_rounding(plain, run, images, what, ours.get(what), theirs.get(what)):
                skipped.append(f"{name}, {what}: {off}")
            else:
                yield Check("", f"{name}, {what}", "", off)
    found = sorted(tuple(tensor.shape) for tensor in built.state_dict().values())
    yield Check("", "tensors of the state dict", state(plain.nodes), found)


def decided_by_rounding(
    plain: Plain, run: Callable[..., Values], images: Sequence[Tensor], what: str, ours: Any, theirs: Any
) -> bool:
    """Whether a value differs by no more than 100 times what it changes if images and weights change by 1e-14 of them.

    That is a change of about 50 roundings, which a difference of 1e-6 exceeds 100,000,000 times.
    """
    if not isinstance(ours, Tensor) or not isinstance(theirs, Tensor) or ours.shape != theirs.shape:
        return False
    if not torch.equal(ours.isfinite(), theirs.isfinite()):
        return False
    kept = {name: tensor.clone() for name, tensor in plain.state_dict().items()}
    usual = run(plain, plain.nodes, [image.clone() for image in images])[what]
    with torch.no_grad():
        for parameter in plain.parameters():
            parameter.mul_(1 + 1e-14 * torch.randn_like(parameter))
    near = [image * (1 + 1e-14 * torch.randn_like(image)) if image.is_floating_point() else image for image in images]
    changed = run(plain, plain.nodes, near)[what]
    plain.load_state_dict(kept)
    return largest(ours, theirs) <= 100 * largest(changed, usual)


def largest(one: Tensor, other: Tensor) -> float:
    """Return the largest difference of two tensors."""
    return float((one - other).abs().nan_to_num(0, 0, 0).max())


def state(nodes: nn.ModuleList) -> list[tuple[int, ...]]:
    """The shapes of all weights and buffers, each once, in order of size."""
    return sorted(tuple(tensor.shape) for tensor in (*nodes.parameters(), *nodes.buffers()))


def fill(node: nn.Module) -> None:
    """Give a learned tensor or a constant random values: one value everywhere would show little."""
    if isinstance(node, Parameter | Constant):
        for tensor in (*node.parameters(), *node.buffers()):
            nn.init.uniform_(tensor, 0.5, 2)


def afterwards(images: Sequence[Tensor]) -> Values:
    return {f"image {i} afterwards": image.detach() for i, image in enumerate(images)}


Values: TypeAlias = dict[str, Any]


def evaluated(network: nn.Module, nodes: nn.ModuleList, images: Sequence[Tensor]) -> Values:
    network.eval()
    with torch.no_grad():
        return {f"output {i}": y for i, y in enumerate(ends_of(network(*images)))}


def evaluated_with_gradients(network: nn.Module, nodes: nn.ModuleList, images: Sequence[Tensor]) -> Values:
    return learned(network.eval(), nodes, images)


def trained(network: nn.Module, nodes: nn.ModuleList, images: Sequence[Tensor]) -> Values:
    return learned(network.train(), nodes, images)


def trained_without_dropout(network: nn.Module, nodes: nn.ModuleList, images: Sequence[Tensor]) -> Values:
    """With everything that drops at random as in evaluation."""
    network.train()
    for node in nodes:
        node.train(not hasattr(node, "p"))
    return learned(network, nodes, images)


def folded(network: nn.Module, nodes: nn.ModuleList, images: Sequence[Tensor]) -> Values:
    """Of a built network, the output with batch normalization folded."""
    return evaluated(fold(network) if isinstance(network, Built) else network, nodes, images)


MODES: dict[str, Callable[[nn.Module, nn.ModuleList, Sequence[Tensor]], Values]] = {
    "evaluation": evaluated,
    "evaluation with gradients": evaluated_with_gradients,
    "training": trained,
    "training but for dropout": trained_without_dropout,
    "evaluation again": evaluated,
    "folded": folded,
}


def learned(network: nn.Module, nodes: nn.ModuleList, images: Sequence[Tensor]) -> Values:
    """All outputs, gradients and buffers."""
    seed_torch(2)
    network.zero_grad()
    outputs = ends_of(network(*[image.requires_grad_(image.is_floating_point()) for image in images]))
    sum((y * torch.linspace(-1, 1, y.numel()).view_as(y)).sum() for y in outputs).backward()
    found = {f"gradient of image {i}": image.grad for i, image in enumerate(images)}
    found |= {f"output {i}": y.detach() for i, y in enumerate(outputs)}
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


HERE_ONLY = (
    "dilated by",
    "cannot pad",
    "connections",
    "rows for",
    "rbf needs a vector",
    "needs more than one position",  # PyTorch only to train
)  # see test_ops_torch.py


def disagreement(network: Network) -> list[Check]:
    """Whether only one of archcalc and PyTorch refuses a network; what differs in one that both take."""
    ours, theirs = refusal_here(network), refusal_by_torch(network)
    if ours is None and theirs is None:
        return differences(network)
    if any(text in str(ours) for text in HERE_ONLY) or (ours and theirs and ours.place):
        dropped = isinstance(network.steps[-1], Side) and isinstance(ours, MisfitError)  # not for a wrong argument
        return without_side(network) if dropped else []
    return [Check("", "refusal", repr(ours), repr(theirs))]


def without_side(network: Network) -> list[Check]:
    """A side output at the end that does not fit is, at inference, as if it were not there."""
    bare = replace(network, steps=network.steps[:-1])
    try:
        totals = [analyze(parse(drawn.spec())).totals for drawn in (bare, network)]
    except Exception as error:
        return [Check("", "error", None, repr(error))]
    # a block alone opens no level
    expected, measured = (made.figures() | {"receptive_field_at": ""} for made in totals)
    expected |= {"saved_bytes": None, "peak_training_bytes": None}  # with that side output there is no training
    return [] if expected == measured else [Check("", "totals without the side output", expected, measured)]


def refusal_here(network: Network) -> SpecError | None:
    try:
        return parse(network.spec()).misfit
    except SpecError as error:
        return error


def refusal_by_torch(network: Network) -> Exception | None:
    try:
        with lopsided_padding(), torch.no_grad():
            Strict(network).eval()(*map(zeros, network.inputs.values()))
    except (RuntimeError, ValueError, IndexError) as error:
        return error
    return None


def zeros(x: Shape) -> Tensor:
    return torch.zeros(Strict.batch, *x, dtype=torch.long if x.axes == "T" else None)


def agree(network: Network, compare: Callable[[Network], list[Check]] = differences) -> None:
    """Raise AssertionError, with the spec, for a network of which archcalc and PyTorch say different things."""
    found = compare(network)
    if found:
        lines = [f"{c.layer or 'the network'}: {c.figure}: expected {c.expected}, measured {c.measured}" for c in found]
        raise AssertionError("\n".join([*lines, network.spec()]))
