"""Measure the memory of inference and training steps, phase by phase, by the events of PyTorch's CPU allocator."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from functools import lru_cache, partial
from itertools import accumulate, count
from typing import Any, NamedTuple, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.profiler import ProfilerActivity, profile, record_function

from archcalc.analysis.recipe import Recipe, is_frozen
from archcalc.analysis.simulation import places_of
from archcalc.graph.graph import Graph
from archcalc.ops.shape import Shape, Tokens
from archcalc.pytorch.inputs import random_inputs
from archcalc.pytorch.network import Checkpointed, Network, ends_of

MARK = "archcalc: phase"
Maker: TypeAlias = Callable[[Graph, Recipe], nn.Module]
SGD = torch.optim.SGD
OPTIMIZERS: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "sgd": partial(SGD, lr=1e-3),
    "momentum": partial(SGD, lr=1e-3, momentum=0.9),
    "nesterov": partial(SGD, lr=1e-3, momentum=0.9, nesterov=True),
    "adam": partial(torch.optim.Adam, lr=1e-3),
    "adamw": partial(torch.optim.AdamW, lr=1e-3),
    "rmsprop": partial(torch.optim.RMSprop, lr=1e-3),
}


def own_network(graph: Graph, recipe: Recipe) -> nn.Module:
    """Build a network for a recipe, with its checkpoints and frozen parts. Its joins drop no branch."""
    network = Checkpointed(graph, recipe.checkpoint) if recipe.checkpoint else Network(graph)
    for node, module in zip(graph.nodes, network.nodes, strict=True):
        if node.op.joins and hasattr(module, "p"):
            module.p = 0
        if is_frozen(node.name, recipe.frozen):
            module.requires_grad_(False)
    return network


class Loop:
    """A network, built by `make`, and the state of its training loop.

    Output and loss live until the next step replaces them; gradients are freed after the optimizer step.
    """

    def __init__(self, graph: Graph, recipe: Recipe, batch: int, make: Maker = own_network) -> None:
        self.graph, self.recipe, self.batch, self.make = graph, recipe, batch, make
        self.output: Any = None
        self.loss: Any = None
        self.masters: list[tuple[Tensor, Tensor]] = []  # weights in float16 or bfloat16, and their float32 copies

    def state(self) -> None:
        """Create network and image; to train, optimizer and targets, too."""
        self.weights()
        self.rest()

    def weights(self) -> None:
        """Create the network."""
        with torch.device(self.recipe.device):
            self.network = self.make(self.graph, self.recipe).to(getattr(torch, self.recipe.dtype))

    def rest(self) -> None:
        """Create the image; to train, optimizer and targets, too."""
        recipe, graph = self.recipe, self.graph
        dtype = getattr(torch, recipe.dtype)
        if recipe.optimizer:
            self.optimizer = self.create_optimizer([*self.network.parameters()])
        self.images = random_inputs(graph, self.batch, dtype, recipe.device)
        for image in self.images:
            image.requires_grad_(recipe.image_gradient)
        self.targets = {
            places: torch.zeros(self.batch, *places, dtype=torch.long, device=recipe.device)
            for places in (places_of(graph) if recipe.optimizer else ())
        }

    def infer(self) -> None:
        """Run a forward pass in evaluation and drop its result."""
        self.network.eval()
        with torch.no_grad(), self.autocast():
            self.network(*self.images)
        self.network.train()

    def forward(self) -> None:
        """Compute output and loss, which replace those of the last step; add the losses of side outputs."""
        ends = [self.graph.nodes[i].output for i in self.graph.ends]
        with self.autocast():
            self.output = self.network(*self.images)
            result, *sides = zip(ends_of(self.output), ends, strict=True)
            self.loss = self._loss(*result)
            for side in sides:
                self.loss = self.loss + self._loss(*side)

    def backward(self) -> None:
        """Compute the gradients."""
        self.loss.backward()

    def optimize(self) -> None:
        """Update the weights, and free the gradients.

        Master weights are made in the first step. They get float32 copies of all gradients, are updated, and are copied
        into the weights.
        """
        if self.recipe.master_weights and not self.masters:
            trained = [weight for weight in self.network.parameters() if weight.grad is not None]
            self.masters = [(weight, weight.detach().float()) for weight in trained]
            self.optimizer = self.create_optimizer([master for _, master in self.masters])
        for weight, master in self.masters:
            master.grad = weight.grad.float()
        self.optimizer.step()
        for weight, master in self.masters:
            weight.detach().copy_(master)
        self.optimizer.zero_grad(set_to_none=True)
        self.network.zero_grad(set_to_none=True)

    def create_optimizer(self, weights: list[Tensor]) -> torch.optim.Optimizer:
        """Create the recipe's optimizer."""
        decay = 1e-4 if self.recipe.weight_decay else 0
        return OPTIMIZERS[self.recipe.optimizer](weights, foreach=self.recipe.foreach, weight_decay=decay)

    def autocast(self) -> torch.autocast:
        """Return the context of forward and loss."""
        return torch.autocast(self.recipe.device, torch.bfloat16, enabled=self.recipe.amp)

    def phases(self) -> Iterator[tuple[str, int, Callable[[], None]]]:
        """Yield all phases in order, with their steps."""
        yield "state", 0, self.state
        yield "inference", 0, self.infer
        for step in range(1, self.recipe.steps + 1) if self.recipe.optimizer else ():
            for _ in range(self.recipe.accumulate):
                yield "forward", step, self.forward
                yield "backward", step, self.backward
            yield "optimizer", step, self.optimize

    def _loss(self, output: Tensor, shape: Shape) -> Tensor:
        targets, smoothing = self.targets[shape.lengths], 0.1 if self.recipe.smoothing else 0.0
        if isinstance(shape, Tokens):
            output, targets = output.flatten(0, -2), targets.flatten()  # PyTorch takes the second dimension as classes
        return cross_entropy(output, targets, label_smoothing=smoothing)


class Measured(NamedTuple):
    """Bytes of one phase: its largest and its last sum, all allocations, and how much higher kernels lift the peak."""

    phase: str
    step: int
    peak: int
    end: int
    allocated: int
    in_kernels: int


class Change(NamedTuple):
    """An allocation, or with negative bytes a free, and the kernels that run, by their numbers."""

    address: int
    bytes: int
    kernels: tuple[int, ...]


def measure_training(graph: Graph, recipe: Recipe, batch: int, make: Maker = own_network) -> list[Measured]:
    """Run the network that `make` builds on the CPU, phase by phase, and add up the events of PyTorch's allocator.

    What a kernel allocates and frees itself is left out, and reported as `in_kernels`. A kernel is an operator of
    PyTorch that does not only run other operators.
    """
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # otherwise the profiler prints that it starts and stops
    loop, phases = Loop(graph, recipe, batch, make), list[tuple[str, int]]()
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiled:
        for phase, step, work in loop.phases():
            phases.append((phase, step))
            with record_function(MARK):
                work()
    roots = [event for event in profiled.profiler.kineto_results.experimental_event_tree() if event.name == MARK]
    changes = [list(_changes(root)) for root in roots]
    inside, position, measured = _within_kernels([change for part in changes for change in part]), count(), []
    total = whole = 0
    for (phase, step), part in zip(phases, changes, strict=True):
        outside = [0 if next(position) in inside else change.bytes for change in part]
        curve = [*accumulate(outside, initial=total)]
        with_kernels = [*accumulate((change.bytes for change in part), initial=whole)]
        total, whole = curve[-1], with_kernels[-1]
        allocated = sum(change for change in outside if change > 0)
        measured.append(Measured(phase, step, max(curve), total, allocated, max(with_kernels) - max(curve)))
    return measured


def _changes(root: Any) -> Iterator[Change]:
    """Yield the CPU's allocations and frees below an event of the profiler, in order."""
    composed, both = _composed()
    stack: list[tuple[Any, tuple[int, ...]]] = [(root, ())]
    while stack:
        event, kernels = stack.pop()
        if event.tag.name == "Allocation":
            fields = event.typed[1]
            if fields.device.type == "cpu" and fields.alloc_size:
                yield Change(fields.ptr, fields.alloc_size, kernels)
            continue
        inner = {child.name for child in event.children if child.tag.name != "Allocation"}
        casts = inner == {"aten::to", event.name}  # for autocast, before it runs
        runs_itself = casts or (event.name in both and event.name in inner)
        if event.name.startswith("aten::") and event.name not in composed and not runs_itself:
            kernels = (*kernels, event.id)
        stack += [(child, kernels) for child in reversed(event.children)]


@lru_cache
def _composed() -> tuple[set[str], set[str]]:
    """Return the operators that only run other operators, and those of which some overloads do, such as upsampling."""
    found: dict[bool, set[str]] = {True: set(), False: set()}
    composite = {*torch._C._dispatch_get_registrations_for_dispatch_key("CompositeImplicitAutograd")}
    for name in torch._C._dispatch_get_all_op_names():
        operator, _, overload = name.partition(".")
        if "out" not in overload:
            found[name in composite].add(operator)
    return found[True] - found[False], found[True] & found[False]


def _within_kernels(changes: list[Change]) -> set[int]:
    """Return the positions of allocations that are freed within the same kernel, and of those frees."""
    made, found = dict[int, int](), set[int]()
    for i, change in enumerate(changes):
        if change.bytes > 0:
            made[change.address] = i
        elif {*changes[made[change.address]].kernels} & {*change.kernels}:
            found |= {made[change.address], i}
    return found
