"""The memory of inference and of training steps, simulated as PyTorch runs `archcalc.pytorch.build`.

`simulate(graph, Recipe(...))` returns a `Trace`: every allocation and every free, in order, for every batch:

- `trace.events(batch)`: the events with their bytes; the input of an allocator
- `trace.curve(batch)`: the sum after each event
- `trace.peaks(batch)`: for each phase its largest and its last sum, and where the largest is
- `trace.budget(batch, at)`: what is allocated after an event, by kind and node: `at` is a peak's
- `trace.largest_batch(limit)`: the largest batch whose sums are within a limit

The phases are `state` (parameters, buffers, image and target), `inference`, and for each step `forward` (with the
loss), `backward` and `optimizer` (with `zero_grad`). From the second step on all steps are alike.

The rules, and where PyTorch has them:

- A value is freed after its last use, as `pytorch.network.Network.forward` does. The caller holds image, output and
  loss, the last two until the next step replaces them.
- Backward runs the calls of the forward pass in reverse (torch/csrc/autograd/engine.cpp: of the functions that are
  ready the last one runs first). It makes a call's gradients while its incoming gradient and what it keeps are alive;
  then it frees the incoming gradient, then what is kept; then it adds each gradient to that of earlier readers.
- It adds in place if nothing else holds the earlier gradient, and that is no view; else into new memory
  (input_buffer.cpp). The first gradient of a parameter is not copied (accumulate_grad.h).
- A call that works in place in a view has the gradient of the view's base (custom_function.cpp and CopySlices).
- The gradient of the loss lives until backward returns.

What each operator calls is in `ops` (see `ops.calls`), the loss in `analysis.loss`, the optimizers in
`analysis.optimizers`. Library workspaces are not in it, nor anything else that a kernel allocates and frees.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import zip_longest
from typing import NamedTuple

from archcalc.analysis.backward import NOWHERE, Backward, Edge, Record
from archcalc.analysis.cost import COUNTERS, DTYPES
from archcalc.analysis.loss import SUM_OF_TWO, cross_entropy
from archcalc.analysis.memory_plan import in_place
from archcalc.analysis.memory_trace import NO_NODE, Size, Trace
from archcalc.analysis.once_per_graph import first_equals
from archcalc.analysis.optimizers import Update
from archcalc.graph.gc_pause import uncollected
from archcalc.graph.graph import Graph, Node
from archcalc.ops.base import Calls, Extra, Shape
from archcalc.ops.calls import IN_PLACE, NEW, VIEW, Call


class Recipe(NamedTuple):
    """How a network is trained; without an optimizer it only infers."""

    optimizer: str = ""  # a key of `analysis.optimizers.OPTIMIZERS`
    weight_decay: bool = False
    foreach: bool | None = None  # the optimizer's functions of whole lists; None: as PyTorch chooses, on CUDA
    dtype: str = "float32"
    device: str = "cpu"
    steps: int = 3
    smoothing: bool = False  # label smoothing
    accumulate: int = 1  # batches per step
    frozen: tuple[str, ...] = ()  # names of nodes and blocks whose parameters need no gradient
    single: bool = False  # whether the batch is one image: then no slice of it has gaps


class Base(NamedTuple):
    """The tensor that a view shows in another shape."""

    origin: int
    written: bool = False  # whether a call has worked in place in the view


class Value(NamedTuple):
    """A tensor. Its origin is the number of the call that made it, or of a parameter; NOWHERE if without gradient."""

    storage: int
    size: Size
    origin: int
    base: Base | None = None  # None: it is no view


class Compiled(NamedTuple):
    """A call with sizes in bytes, its gradients as (read, rule, scratch), and the values to free after it."""

    call: Call
    size: Size
    extras: list[Size]
    copies: list[Size]
    uses: list[Size]
    grads: list[tuple[int, str, int]]
    done: list[int]


@uncollected
def simulate(graph: Graph, recipe: Recipe) -> Trace:
    """Simulate an inference and, with an optimizer, training steps; all operators' weights must be trainable."""
    run = _Run(graph, recipe)
    run.build()
    run.infer()
    for step in range(1, recipe.steps + 1) if recipe.optimizer else ():
        for _ in range(recipe.accumulate):
            run.train(step)
        run.optimize(step)
    return run.trace


class _Run:
    """A program that runs: its tensors, and the calls whose gradients backward must compute."""

    def __init__(self, graph: Graph, recipe: Recipe) -> None:
        self.graph, self.recipe, self.trace = graph, recipe, Trace()
        self.backward = Backward(self.trace, recipe.single)
        self.views: dict[int, int] = {}  # by call in place in a view: the call that takes the view anew
        self.programs: dict[tuple[object, ...], list[Compiled]] = {}
        self.parameters: list[list[Value]] = []  # by node
        self.ends: list[int] = []  # storages of the last output and side outputs
        self.loss: list[Value] = []

    def size(self, extra: Extra) -> Size:
        """Return the size of a tensor."""
        return size_of(extra, self.recipe.dtype, self.recipe.device)

    def build(self) -> None:
        """Allocate parameters and buffers, image and targets."""
        trace = self.trace
        trace.begin("state")
        for trace.node, node in enumerate(self.graph.nodes):
            trained = not is_frozen(node.name, self.recipe.frozen)
            self.parameters.append(list(self.weights(node, trained)))
            for name, shape in node.op.buffers(node.x).items():
                trace.make(self.size(Extra(name, shape, "int64" if name in COUNTERS else "", False)), "buffer")
        size = self.size(Extra("image", self.graph.input))
        self.image = Value(trace.make(size, "input"), size, NOWHERE)
        for places in places_of(self.graph):
            trace.make(self.size(Extra("target", places, "int64")), "input")

    def weights(self, node: Node, trained: bool) -> Iterator[Value]:
        """Allocate the parameters of a node; each has a number below NOWHERE."""
        for name, shape in node.op.weights(node.x).items():
            size = self.size(Extra(name, shape, per_image=False))
            storage = self.trace.make(size, "parameter")
            yield Value(storage, size, NOWHERE - 1 - storage if trained else NOWHERE)

    def infer(self) -> None:
        """Run forward without gradients, and drop the result."""
        self.trace.begin("inference")
        self.trace.drop(*[value.storage for value in self.forward(training=False)])

    def train(self, step: int) -> None:
        """Run forward, loss and backward."""
        trace = self.trace
        trace.begin("forward", step)
        results = self.forward(training=True)
        trace.drop(*self.ends)
        self.ends = [value.storage for value in results]
        trace.node = NO_NODE
        for i, value in zip((self.graph.result, *self.graph.sides), results, strict=True):
            self.lose(value, self.graph.nodes[i].output, first=value is results[0])
        trace.begin("backward", step)
        self.backward.run(self.loss[-1].origin, self.loss[-1].size)
        self.views.clear()

    def lose(self, output: Value, shape: Shape, first: bool) -> None:
        """Compute the loss of an output; it replaces that of the last step, or is added to that of other outputs."""
        smoothing = self.recipe.smoothing
        loss = self.call(self.program(("loss", shape), 1, lambda: cross_entropy(shape, smoothing)), [output], True)
        if not first:
            parts = [*self.loss, loss]
            loss = self.call(self.program(("sum",), 2, lambda: SUM_OF_TWO), parts, True)
            self.trace.drop(parts[1].storage)
        self.trace.drop(*[value.storage for value in self.loss])
        self.loss = [loss]

    def optimize(self, step: int) -> None:
        """Run the optimizer, and free the gradients."""
        recipe, trace, gradients = self.recipe, self.trace, self.backward.gradients
        trace.begin("optimizer", step)
        trained = [value for values in self.parameters for value in values if value.origin in gradients]
        foreach = recipe.device == "cuda" if recipe.foreach is None else recipe.foreach
        host = recipe.device != "cuda"
        update = Update(trace, [value.size for value in trained], host, step == 1, recipe.weight_decay)
        update.run(recipe.optimizer, foreach)
        trace.drop(*[gradients.pop(value.origin) for value in trained])

    def forward(self, training: bool) -> list[Value]:
        """Run the network; return its result, and in training its side outputs."""
        graph, trace, nodes = self.graph, self.trace, self.graph.nodes
        ends = (graph.result, *(graph.sides if training else ()))
        kept = [i for i, node in enumerate(nodes) if training or not node.side]
        last = {j: i for i in kept for j in nodes[i].inputs} | dict.fromkeys(ends, len(nodes))
        equals, overwriting = first_equals(graph), self.overwriting(training)
        values = {0: self.image._replace(storage=trace.share(self.image.storage))}
        for i in kept[1:]:
            node, trace.node = nodes[i], i
            read = [*[values[j] for j in node.inputs], *self.parameters[i]]
            calls = partial(calls_as_run, node, training, overwriting[i])
            values[i] = self.call(self.program((equals[i], training, overwriting[i]), len(read), calls), read, training)
            trace.drop(*[values.pop(j).storage for j in {*node.inputs} if last[j] == i])
        results = [values[i]._replace(storage=trace.share(values[i].storage)) for i in ends]
        trace.drop(*[value.storage for value in values.values()])
        return results

    def overwriting(self, training: bool) -> Sequence[bool]:
        """Return for each node whether it works in place."""
        graph = self.graph
        if training or not graph.sides:
            return in_place(graph, training)
        allowed = iter(in_place(graph.without_sides(), training))
        return [not node.side and next(allowed) for node in graph.nodes]

    def program(self, key: tuple[object, ...], inputs: int, calls: Callable[[], Calls]) -> list[Compiled]:
        """Return compiled calls that read so many inputs and weights; equal keys share them."""
        found = self.programs.get(key)
        if found is None:
            found = self.programs[key] = self.compiled(calls(), inputs)
        return found

    def compiled(self, calls: Calls, first: int) -> list[Compiled]:
        """Compute the sizes of calls; their results have numbers from `first` on."""
        last = {value: i for i, call in enumerate(calls) for value in (first + i, *call.reads, *call.holds)}
        done: list[list[int]] = [[] for _ in calls]
        for value, i in last.items():
            if first <= value < first + len(calls) - 1:
                done[i].append(value)
        return [self.sized(call, ended) for call, ended in zip(calls, done, strict=True)]

    def sized(self, call: Call, done: list[int]) -> Compiled:
        """Compute the sizes of one call."""
        extras, copies, uses = ([*map(self.size, tensors)] for tensors in (call.extras, call.copies, call.uses))
        rules = zip_longest(call.reads, call.grads, call.scratch)
        grads = [(read, rule or NEW, scratch or 0) for read, rule, scratch in rules]
        return Compiled(call, self.size(call.makes), extras, copies, uses, grads, done)

    def call(self, program: Sequence[Compiled], values: list[Value], gradients: bool) -> Value:
        """Run calls on inputs and weights; return the last result, with a reference of its own."""
        trace = self.trace
        for step in program:
            call = step.call
            needs = gradients and any(values[i].origin != NOWHERE for i in call.reads)
            if needs:
                self.reread(values, call.reads[call.where == IN_PLACE :])
            made, rebased = self.result(step, values, needs)
            values.append(made)
            extras = [trace.make(size, "kept" if needs else "temporary") for size in step.extras]
            trace.drop(*[trace.make(size, "temporary") for size in step.uses])
            if needs:
                self.record(step, values, extras, rebased)
            else:
                trace.drop(*extras)
            trace.drop(*[values[i].storage for i in step.done])
        return values[-1] if program else values[0]._replace(storage=trace.share(values[0].storage))

    def result(self, step: Compiled, values: list[Value], needs: bool) -> tuple[Value, int | None]:
        """Create the result of a call; if it works in place in a view, return the origin of the view's base, too."""
        call, trace = step.call, self.trace
        origin = len(self.backward.tape) if needs else NOWHERE
        if call.where == NEW:
            return Value(trace.make(step.size, "activation"), step.size, origin), None
        first = values[call.reads[0]]
        made = Value(trace.share(first.storage), step.size, origin, first.base)
        if call.where == VIEW:
            return made._replace(base=first.base or Base(first.origin)), None
        if call.where != IN_PLACE or first.base is None or not needs:
            return made, None
        values[call.reads[0]] = first._replace(origin=first.base.origin)
        return made._replace(base=Base(origin, written=True)), first.base.origin

    def record(self, step: Compiled, values: list[Value], kept: list[int], rebased: int | None) -> None:
        """Record a call for backward, with what it keeps."""
        call, trace = step.call, self.trace
        kept += [trace.make(size, "kept") for size in step.copies]
        for i in call.keeps:
            if not call.crossed or any(values[j].origin != NOWHERE for j in call.reads if j != i):
                kept.append(trace.share(values[i].storage))
                if trace.kinds[kept[-1]] == "activation":
                    trace.kinds[kept[-1]] = "kept"
        edges = [Edge(values[i].origin, values[i].size, rule, scratch) for i, rule, scratch in step.grads]
        edges = [edge for edge in edges if edge.origin != NOWHERE]
        self.backward.tape.append(Record(trace.node, edges, kept, step.size, rebased))

    def reread(self, values: list[Value], reads: Sequence[int]) -> None:
        """Before reading a view in which a call has worked in place, take it anew from its base (as_strided)."""
        for i in reads:
            _, size, origin, base = values[i]
            if base and base.written:
                if origin not in self.views:
                    self.views[origin] = len(self.backward.tape)
                    self.backward.tape.append(Record(self.trace.node, [Edge(origin, size, NEW, 0)], [], size))
                values[i] = values[i]._replace(origin=self.views[origin], base=Base(base.origin))


def calls_as_run(node: Node, training: bool, overwrites: bool) -> Calls:
    """Return the calls of a node that does or does not overwrite its input."""
    able = getattr(node.op, "inplace", False)
    op = node.op if overwrites or not able else node.op.but(inplace=False)
    return op.calls(node.x, node.output, training, overwrites)


def size_of(extra: Extra, dtype: str, device: str) -> Size:
    """Return the size of a tensor; Python's numbers take no memory on CUDA."""
    own, cuda = DTYPES[dtype], device == "cuda"
    others = {
        "int64": 8,
        "bool": 1,
        "mask": 1 if cuda else own,
        "sums": own if device == "cpu" else max(own, DTYPES["float32"]),
        "number": 0 if cuda else 8,
        "flag": 0 if cuda else 1,
        "draw": 0 if cuda else 4,
    }
    count = math.prod(extra.shape) * (others[extra.dtype] if extra.dtype else own)
    return (0, count) if extra.per_image else (count, 0)


def is_frozen(name: str, frozen: Sequence[str]) -> bool:
    """Whether a node is one of these nodes, or in one of these blocks."""
    return any(f"{name}.".startswith(f"{part}.") for part in frozen)


def places_of(graph: Graph) -> list[Shape]:
    """Return the shapes of the outputs without their channels, each once: each has a target for the loss."""
    return [*dict.fromkeys(graph.nodes[i].output[1:] for i in (graph.result, *graph.sides))]
