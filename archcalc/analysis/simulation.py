"""The memory of inference and of training steps, simulated as PyTorch runs `archcalc.pytorch.build`.

With `Recipe(module="torchvision")` it is that of a module written by hand (see `analysis.frames`).

`simulate(graph, Recipe(...))` returns a `Trace`: every allocation and every free, in order, for every batch:

- `trace.events(batch)`: the events with their bytes; the input of an allocator
- `trace.curve(batch)`: the sum after each event
- `trace.peaks(batch)`: for each phase its largest and its last sum, and where the largest is
- `trace.budget(batch, at)`: what is allocated after an event, by kind and node: `at` is a peak's

The phases are `state` (parameters, buffers, image and, to train, targets), `inference`, and for each step `forward`
(with the loss), `backward` and `optimizer` (with `zero_grad`). From the second step on all steps are alike.

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
- Under autocast calls read casts (`analysis.autocast`). Those of trained weights live until forward and loss are done.
  A gradient is cast to the dtype of the value if its call made it in another (`validate_outputs` in engine.cpp).
- The first step of the optimizer makes master weights. Each step copies all gradients to float32 before the update.

What each operator calls is in `ops` (see `ops.calls`), the loss in `analysis.loss`, the optimizers in
`analysis.optimizers`. Library workspaces are not in it, nor anything else that a kernel allocates and frees.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from operator import and_
from typing import NamedTuple

from archcalc.analysis.autocast import CAST, LOSS
from archcalc.analysis.backward import NOWHERE, Backward, Checkpoint, Edge, Record
from archcalc.analysis.checkpoints import Segment, reading_entries, segments
from archcalc.analysis.cost import COUNTERS, DTYPES, INDICES
from archcalc.analysis.frames import MODULES, as_written, lifetimes, overwritable
from archcalc.analysis.loss import SUM_OF_TWO, cross_entropy
from archcalc.analysis.memory_plan import in_place
from archcalc.analysis.memory_trace import NO_NODE, Size, Trace
from archcalc.analysis.once_per_graph import first_equals, of_batch
from archcalc.analysis.optimizers import Update
from archcalc.analysis.programs import Compiled, Programs, Source, calls_as_run
from archcalc.analysis.recipe import Recipe, is_frozen, require_possible
from archcalc.analysis.saved import unknown_calls
from archcalc.errors import ArchcalcError, choose
from archcalc.graph.gc_pause import uncollected
from archcalc.graph.graph import Graph, Node, Shared, require_graph
from archcalc.ops.base import Extra, Shape, Sizes
from archcalc.ops.calls import IN_PLACE, NEW, SAME, VIEW, given

DEVICES = dict.fromkeys(("cpu", "cuda"))
RANDOM_STATE = Extra("random state", (5056,), "byte", per_image=False)  # of the CPU's generator


class Value(NamedTuple):
    """A tensor. Its origin is the number of the call that made it, or of a parameter; NOWHERE if without gradient."""

    storage: int
    size: Size
    origin: int
    base: int | None = None  # of a view: the origin of the tensor that it shows in another shape
    dtype: str = ""  # "": the network's


@uncollected
def simulate(graph: Graph, recipe: Recipe) -> Trace:
    """Simulate an inference and, with an optimizer, training steps.

    Raises ArchcalcError for an unknown dtype or device, an impossible recipe (`recipe.require_possible`), a block that
    cannot be checkpointed, or if nothing is trained or an output does not depend on the input, autocast of other dtypes
    than float32, or master weights of another than float16 and bfloat16; SpecError in training for a side output that
    does not accept the graph's input.
    """
    require_graph("simulate", graph)
    choose("dtype", recipe.dtype, DTYPES)
    if recipe.amp and recipe.dtype != "float32":
        raise ArchcalcError(f"autocast needs a network in float32, not {recipe.dtype}")
    if recipe.master_weights and DTYPES[recipe.dtype] != 2:
        raise ArchcalcError(f"master weights need a network in float16 or bfloat16, not {recipe.dtype}")
    if layer := unknown_calls(graph):
        raise ArchcalcError(f"archcalc does not know what {layer} keeps in memory")
    choose("device", recipe.device, DEVICES)
    choose("module", recipe.module, MODULES)
    if recipe.optimizer:
        require_possible(graph, recipe)
        fixed = next((graph.nodes[i].name for i in graph.ends if not of_batch(graph)[i]), "")
        if fixed:
            raise ArchcalcError(f"{graph.name} cannot be trained: its output {fixed} does not depend on the input")
    if graph.misfit and recipe.optimizer:
        raise graph.misfit
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
        self.by_hand = recipe.module != "build"
        lists = self.by_hand and not recipe.checkpoint  # a checkpointed block has one input
        self.graph, self.recipe, self.trace = as_written(graph) if lists else graph, recipe, Trace()
        self.batched = of_batch(self.graph)
        self.backward = Backward(self.trace, recipe.single, self.run_again)
        self.segments = segments(graph, recipe.checkpoint)
        self.within: Checkpoint | None = None  # the checkpoint whose calls run
        self.left = -1  # of the calls that keep something, when a segment runs again
        self.programs = Programs(recipe.dtype, recipe.device, recipe.amp, recipe.single)
        self.casts: dict[int, Value] = {}  # of leaves, by storage: autocast reuses them until its context ends
        self.parameters: list[list[Value]] = []  # by node
        self.ends: list[int] = []  # storages of the last output and side outputs
        self.loss: list[Value] = []

    def build(self) -> None:
        """Allocate parameters, buffers, image and, to train, targets."""
        trace = self.trace
        trace.begin("state")
        for trace.node, node in enumerate(self.graph.nodes):
            trained = not is_frozen(node.name, self.recipe.frozen)
            owned = self.shared(node) if node.shared else {}
            owned |= zip(node.weights(), self.weights(node, trained), strict=True)
            self.parameters.append([owned[name] for name in node.op.weights(node.x)])
            for name, shape in node.buffers().items():
                size = self.programs.size(Extra(name, shape, "int64" if name in COUNTERS | INDICES else "", False))
                buffer = Value(trace.make(size, "buffer"), size, NOWHERE)
                self.parameters[-1] += [buffer] * (not node.inputs)  # a constant
            if node.shared and not node.inputs:
                self.parameters[-1] = self.parameters[node.shared.node]
        trace.node = NO_NODE
        self.images = [self.image(i, node.output) for i, node in enumerate(self.graph.inputs)]
        for places in places_of(self.graph) if self.recipe.optimizer else ():
            trace.make(self.programs.size(Extra("target", places, "int64")), "input")

    def image(self, position: int, shape: Shape) -> Value:
        """Allocate an input; if it has a gradient, one of the first calls adds up what its readers give."""
        size = self.programs.size(given(shape))
        return Value(self.trace.make(size, "input"), size, position if self.recipe.image_gradient else NOWHERE)

    def shared(self, node: Node) -> dict[str, Value]:
        """Return the weights that a node shares, by their names."""
        share = node.shared or Shared(0)
        owner = self.graph.nodes[share.node]
        owned = dict(zip(owner.op.weights(owner.x), self.parameters[share.node], strict=False))  # a constant has none
        return {share.tensor: owned["weight"]} if share.tensor else owned

    def weights(self, node: Node, trained: bool) -> Iterator[Value]:
        """Allocate the parameters of a node; each has a number below NOWHERE."""
        for name, shape in node.weights().items():
            size = self.programs.size(Extra(name, shape, per_image=False))
            storage = self.trace.make(size, "parameter")
            yield Value(storage, size, NOWHERE - 1 - storage if trained else NOWHERE)

    def infer(self) -> None:
        """Run forward without gradients, and drop the result."""
        self.trace.begin("inference")
        self.trace.drop(*[value.storage for value in self.forward(training=False)])
        self.leave_autocast()

    def train(self, step: int) -> None:
        """Run forward, loss and backward."""
        trace = self.trace
        trace.begin("forward", step)
        for image in self.images if self.recipe.image_gradient else ():
            edge = Edge(NOWHERE - 1 - image.storage, image.size, SAME, (), image.size)
            self.backward.tape.append(Record(NO_NODE, [edge], image.size, [], []))
        results = self.forward(training=True)
        trace.drop(*self.ends)
        self.ends = [value.storage for value in results]
        trace.node = NO_NODE
        for i, value in zip(self.graph.ends, results, strict=True):
            self.lose(value, self.graph.nodes[i].output, first=value is results[0])
        if self.loss[-1].origin == NOWHERE:
            raise ArchcalcError(f"{self.graph.name} cannot be trained: no part of it has weights that are not frozen")
        self.leave_autocast()
        trace.begin("backward", step)
        self.backward.run(self.loss[-1].origin, self.loss[-1].size)

    def lose(self, output: Value, shape: Shape, first: bool) -> None:
        """Compute the loss of an output; it replaces that of the last step, or is added to that of other outputs."""
        smoothing = self.recipe.smoothing
        of_loss = partial(Source, LOSS, (shape,), (), cross_entropy(shape, smoothing))
        loss = self.call(self.programs.of((LOSS, shape), (output.dtype,), of_loss), [output], True)
        if not first:
            parts = [*self.loss, loss]
            of_sum = partial(Source, "sum", (), ((), ()), SUM_OF_TWO)
            loss = self.call(self.programs.of("sum", (), of_sum), parts, True)
            self.trace.drop(parts[1].storage)
        self.trace.drop(*[value.storage for value in self.loss])
        self.loss = [loss]

    def optimize(self, step: int) -> None:
        """Run the optimizer, and free the gradients."""
        recipe, trace, gradients = self.recipe, self.trace, self.backward.gradients
        trace.begin("optimizer", step)
        every = {value.origin: value for values in self.parameters for value in values}  # shared ones once
        trained = [value for origin, value in every.items() if origin in gradients]
        sizes, copies = [value.size for value in trained], list[int]()
        if recipe.master_weights:
            sizes = [(2 * fixed, each) for fixed, each in sizes]  # in float32
            for size in sizes if step == 1 else ():
                trace.make(size, "optimizer state")
            copies = [trace.make(size, "gradient") for size in sizes]
        foreach = recipe.device == "cuda" if recipe.foreach is None else recipe.foreach
        host = recipe.device != "cuda"
        update = Update(trace, sizes, host, step == 1, recipe.weight_decay)
        update.run(recipe.optimizer, foreach)
        trace.drop(*copies, *[gradients.pop(value.origin) for value in trained])

    def forward(self, training: bool) -> list[Value]:
        """Run the network; return its result, and in training its side outputs."""
        graph, trace, nodes = self.graph, self.trace, self.graph.nodes
        ends = graph.ends if training else graph.results
        kept = [i for i, node in enumerate(nodes) if training or not node.side]
        self.last = {j: i for i in kept for j in nodes[i].inputs} | dict.fromkeys(ends, len(nodes))
        self.overwriting = self.overwriters(training)
        if self.by_hand:
            self.last = lifetimes(graph, kept, self.last)
            self.overwriting = [*map(and_, self.overwriting, overwritable(graph))]
        self.ending = dict[int, list[int]]()  # by node: the values that are freed after it
        for j, i in self.last.items():
            self.ending.setdefault(i, []).append(j)
        values = {i: image._replace(storage=trace.share(image.storage)) for i, image in enumerate(self.images)}
        done = 0
        for i in kept[len(values) :]:
            if training and i in self.segments:
                self.run_segment(self.segments[i], values)
                done = self.segments[i].nodes.stop
            elif i >= done:
                self.run_node(i, values, training)
        results = [values[i]._replace(storage=trace.share(values[i].storage)) for i in ends]
        trace.drop(*[value.storage for value in values.values()])
        return results

    def run_node(self, i: int, values: dict[int, Value], training: bool) -> None:
        """Run a node, and free the values that nothing holds after it."""
        node, self.trace.node, overwrites = self.graph.nodes[i], i, self.overwriting[i]
        inputs = [values[j] for j in node.inputs]
        batched = [self.batched[j] for j in node.inputs]
        source = partial(calls_as_run, node, training, overwrites, batched)
        dtypes = tuple([value.dtype for value in inputs])
        program = self.programs.of((first_equals(self.graph)[i], training, overwrites), dtypes, source)
        values[i] = self.call(program, [*inputs, *self.parameters[i]], training)
        self.trace.drop(*[values.pop(j).storage for j in self.ending.get(i, ()) if j in values])

    def run_segment(self, segment: Segment, values: dict[int, Value]) -> None:
        """Run a segment as torch.utils.checkpoint does: it keeps its input, and the state of the random numbers."""
        trace, entry = self.trace, segment.entry
        kept = [trace.make(self.programs.size(RANDOM_STATE), "kept"), trace.share(values[entry].storage)]
        checkpoint = self.within = Checkpoint(segment.nodes, {entry: values[entry]}, kept)
        inner = self.entered(checkpoint)
        for i in segment.nodes:
            self.run_node(i, inner, training=True)
        self.within = None
        values[segment.nodes[-1]] = inner.pop(segment.nodes[-1])
        trace.drop(*[value.storage for value in inner.values()])
        trace.drop(*[values.pop(j).storage for j in [*values] if self.last[j] in segment.nodes])
        if not checkpoint.keeping:
            trace.drop(*kept)

    def entered(self, checkpoint: Checkpoint) -> dict[int, Value]:
        """Return the values with which a segment begins, with references of their own."""
        return {i: value._replace(storage=self.trace.share(value.storage)) for i, value in checkpoint.inputs.items()}

    def run_again(self, checkpoint: Checkpoint) -> None:
        """Run a segment again, up to the last tensor that it keeps; then its calls keep what they need."""
        trace, node, backward = self.trace, self.trace.node, self.backward
        checkpoint.ran_again = True
        state = trace.make(self.programs.size(RANDOM_STATE), "temporary")
        tape, backward.tape = backward.tape, list[Record]()
        self.left, inner = len(checkpoint.keeping), self.entered(checkpoint)
        for i in checkpoint.nodes:
            if self.left:
                self.run_node(i, inner, training=True)
        self.left = -1
        trace.drop(*[value.storage for value in inner.values()], state)
        self.leave_autocast()
        trace.drop(*[number for record in backward.tape for number in record.numbers])
        again = [record for record in backward.tape if record.kept]
        for position, record in zip(checkpoint.keeping, again, strict=True):
            tape[position].kept.extend(record.kept)
        backward.tape, trace.node = tape, node

    def overwriters(self, training: bool) -> Sequence[bool]:
        """Return for each node whether it works in place."""
        graph = self.graph
        if self.segments and training:
            needed_again = reading_entries(graph, self.segments)
            return [able and i not in needed_again for i, able in enumerate(in_place(graph, training))]
        if training or not graph.sides:
            return in_place(graph, training)
        allowed = iter(in_place(graph.without_sides(), training))
        return [not node.side and next(allowed) for node in graph.nodes]

    def call(self, program: Sequence[Compiled], values: list[Value], gradients: bool) -> Value:
        """Run calls on inputs and weights; return the last result, with a reference of its own."""
        trace = self.trace
        for position, step in enumerate(program):
            (self.run_cast if step.call.makes.name == CAST else self.run_call)(step, values, gradients)
            trace.drop(*[values[i].storage for i in step.done])
            if self.left == 0:  # it runs again, and nothing more of it is needed
                later = [i for other in program[position + 1 :] for i in other.done]
                trace.drop(*[values[i].storage for i in later if i < len(values) - 1])
                break
        return values[-1] if program else values[0]._replace(storage=trace.share(values[0].storage))

    def run_call(self, step: Compiled, values: list[Value], gradients: bool) -> None:
        """Run one call and append its result to the values."""
        call, trace = step.call, self.trace
        needs = gradients and any(values[i].origin != NOWHERE for i, *_ in step.grads)
        if needs and self.left == 1 and (call.keeps or step.extras) and len(values) not in call.keeps:
            made, rebased = values[0]._replace(storage=trace.share(values[0].storage)), None  # it stops in this call
        else:
            made, rebased = self.result(step, values, needs)
        values.append(made)
        kind = "kept" if needs else "temporary"
        extras, numbers = ([trace.make(size, kind) for size in sizes] for sizes in (step.extras, step.numbers))
        trace.drop(*[trace.make(size, "temporary") for size in step.uses])
        if needs:
            self.record(step, values, Record(trace.node, [], step.size, extras, numbers, rebased))
        else:
            trace.drop(*extras, *numbers)

    def run_cast(self, step: Compiled, values: list[Value], gradients: bool) -> None:
        """Run a cast, or reuse that of the same leaf: a trained weight, or an image that needs a gradient."""
        trace, read = self.trace, values[step.call.reads[0]]
        if trace.kinds[read.storage] not in ("parameter", "input") or read.origin == NOWHERE or read.base is not None:
            self.run_call(step, values, gradients)
        elif known := self.casts.get(read.storage):
            values.append(known._replace(storage=trace.share(known.storage)))
        else:
            self.run_call(step, values, gradients)
            self.casts[read.storage] = values[-1]._replace(storage=trace.share(values[-1].storage))

    def leave_autocast(self) -> None:
        """Free the casts that it would reuse."""
        self.trace.drop(*[cast.storage for cast in self.casts.values()])
        self.casts.clear()

    def result(self, step: Compiled, values: list[Value], needs: bool) -> tuple[Value, int | None]:
        """Create the result of a call; if it works in place in a view, return the origin of the view's base, too."""
        call, trace = step.call, self.trace
        origin = len(self.backward.tape) if needs else NOWHERE
        if call.where == NEW:
            return Value(trace.make(step.size, "activation"), step.size, origin, dtype=call.makes.dtype), None
        first = values[call.reads[0]]
        made = Value(trace.share(first.storage), step.size, origin, first.base, call.makes.dtype)
        if call.where == VIEW:
            return made._replace(base=first.origin if first.base is None else first.base), None
        if call.where != IN_PLACE or first.base is None or not needs:
            return made, None
        values[call.reads[0]] = first._replace(origin=first.base)
        return made._replace(origin=origin + 1, base=origin), first.base

    def record(self, step: Compiled, values: list[Value], record: Record) -> None:
        """Record a call for backward, with its edges and what it keeps."""
        call, trace, kept = step.call, self.trace, record.kept
        in_kernel = self.within and self.recipe.device == "cpu"  # a copy that a checkpoint drops dies in its kernel
        kept += [trace.make((0, 0) if in_kernel else size, "kept") for size in step.copies]
        for i in call.keeps:
            if i not in call.crossed or any(values[j].origin != NOWHERE for j in call.keeps if j != i):
                kept.append(trace.share(values[i].storage))
                if trace.kinds[kept[-1]] == "activation" and not self.within:
                    trace.kinds[kept[-1]] = "kept"
        edges = [
            Edge(values[i].origin, values[i].size, rule, scratch, first or values[i].size, viewed)
            for i, rule, scratch, first, viewed in step.grads
        ]
        edges = [edge for edge in edges if edge.origin != NOWHERE or call.joint]
        checkpoint = self.within if kept else None
        if checkpoint:
            checkpoint.keeping.append(len(self.backward.tape))
            trace.drop(*kept)
            kept = []
        self.left -= bool(kept) and self.left > 0
        self.backward.tape.append(record._replace(edges=edges, kept=kept, checkpoint=checkpoint))
        if record.rebased is not None:  # the view is taken anew from its base (as_strided)
            edge = Edge(len(self.backward.tape) - 1, step.size, NEW, (), step.size)
            self.backward.tape.append(Record(trace.node, [edge], step.size, [], []))


def places_of(graph: Graph) -> list[Sizes]:
    """Return the shapes of the outputs without their channels, each once: each has a target for the loss."""
    every = [graph.nodes[i].output.lengths for i in graph.ends]
    return [own for i, own in enumerate(every) if own not in every[:i]]  # no set: equal formulas may have other hashes
