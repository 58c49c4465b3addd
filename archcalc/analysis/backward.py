"""The backward pass of a simulated program: the gradients of recorded calls, in reverse order."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from archcalc.analysis.memory_trace import Size, Trace
from archcalc.ops.calls import FULL, IMAGES, JOINED, NEW, PACKED, PART, PERMUTED, SAME, SLICE, SUM, TURNED, VIEWED

NOWHERE = -1  # the origin of a value that needs no gradient
OWN, SHARED, GAPS = range(3)  # a gradient's memory: its own, that of another tensor, or such with gaps


class Edge(NamedTuple):
    """A gradient to make: for the result of a call, or for a parameter (below NOWHERE); its size, and how.

    It has the size `first` in the dtype of the call's result, if autograd then casts it to its own dtype. A `viewed`
    one is a sum that autograd sees as a view: what it belongs to has fewer dimensions than the result.
    """

    origin: int
    size: Size
    rule: str
    scratch: Sequence[Size]
    first: Size
    viewed: bool = False

    @property
    def kind(self) -> str:
        """What its memory holds."""
        return "gradient" if self.origin < NOWHERE else "activation gradient"


class Record(NamedTuple):
    """A call that has a gradient: its node and edges, its result's size, and the tensors and numbers that it keeps."""

    node: int
    edges: list[Edge]
    size: Size
    kept: list[int]
    numbers: list[int]
    rebased: int | None = None  # if it works in place in a view: the origin of the view's base
    checkpoint: Checkpoint | None = None  # where it runs again before its gradient


class Checkpoint:
    """A segment that has run: its input, what it keeps, and its calls that keep something when they run again."""

    def __init__(self, nodes: range, inputs: dict[int, Any], kept: list[int]) -> None:
        self.nodes, self.inputs, self.kept = nodes, inputs, kept
        self.keeping: list[int] = []  # positions of calls
        self.ran_again = False


class Gradient(NamedTuple):
    """A gradient that is made: its memory, and whose that is."""

    edge: Edge
    storage: int
    state: int


class Backward:
    """Recorded calls, and the gradients of parameters."""

    def __init__(self, trace: Trace, single: bool, run_again: Callable[[Checkpoint], None]) -> None:
        self.trace, self.single, self.run_again = trace, single, run_again
        self.tape: list[Record] = []
        self.gradients: dict[int, int] = {}  # by parameter: its memory
        self.waiting: dict[int, tuple[int, int]] = {}  # by call or parameter: its gradient so far, and its state
        self.parts: dict[int, list[int]] = {}  # by call: further parts of that gradient, which are not added to it
        self.uses = Counter[int]()  # by parameter: how many of its gradients are still to come

    def run(self, loss: int, size: Size) -> None:
        """Compute all gradients from that of the call `loss`, which is one."""
        trace = self.trace
        self.uses = Counter(edge.origin for record in self.tape for edge in record.edges if edge.origin < NOWHERE)
        one = trace.make(size, "temporary")
        self.waiting[loss] = trace.share(one), OWN
        for position in range(len(self.tape) - 1, -1, -1):
            if position in self.waiting:
                incoming, state = self.waiting.pop(position)
                self.trace.node = self.tape[position].node
                checkpoint = self.tape[position].checkpoint
                self._differentiate(self.tape[position], incoming, state)
                trace.drop(*self.parts.pop(position, ()))
                if checkpoint and position == checkpoint.keeping[0]:
                    self.trace.drop(*checkpoint.kept)
        trace.drop(one)
        self.tape.clear()

    def _differentiate(self, record: Record, incoming: int, state: int) -> None:
        trace = self.trace
        if record.rebased is None:
            made = self._make(record, incoming, state)
        else:
            made = self._make_of_base(record, record.rebased)
        made = self._fit(record, made)
        trace.drop(incoming, *([] if record.checkpoint else record.kept), *record.numbers)
        for grad in sorted(made, key=lambda grad: grad.edge.rule != SUM):  # addmm has its bias first
            if self._add(grad):
                trace.drop(grad.storage)
            self._settle(grad.edge)

    def _settle(self, edge: Edge) -> None:
        """Add a parameter's gradient to that of earlier batches, if no other layer has one to come.

        The first one is copied if it is also the gradient of another value.
        """
        self.uses[edge.origin] -= 1
        if edge.origin < NOWHERE and not self.uses[edge.origin]:
            storage, _ = self.waiting.pop(edge.origin)
            copied = edge.rule == SAME and self.trace.refs[storage] > 1 and edge.origin not in self.gradients
            own = self.trace.make(edge.size, edge.kind) if copied else storage
            if self.gradients.setdefault(edge.origin, own) != storage:
                self.trace.drop(storage)

    def _make(self, record: Record, incoming: int, state: int) -> list[Gradient]:
        """Run the call's segment again if nothing of it did so before; then make the gradients, one after the other."""
        trace, made, packed = self.trace, list[Gradient](), list[int]()
        if record.checkpoint and not record.checkpoint.ran_again:
            self.run_again(record.checkpoint)
        if state == GAPS and record.edges[0].rule == PACKED:
            packed.append(trace.make(record.size, "temporary"))
            incoming, state = packed[0], OWN
        for edge in record.edges:
            scratch = [trace.make(size, "temporary") for size in edge.scratch]
            if edge.rule in (NEW, FULL, PACKED, TURNED, VIEWED, PART) or (edge.rule == JOINED and state == GAPS):
                size = record.size if edge.rule in (FULL, PART) else edge.first
                turned = (edge.rule == TURNED and self.single) or edge.rule == VIEWED
                made.append(Gradient(edge, trace.make(size, edge.kind), SHARED if turned else OWN))
            else:
                slices = edge.rule == SLICE and not self.single and edge.first != record.size
                gaps = slices or edge.rule == PERMUTED
                same = edge.rule == SAME or (edge.rule in (SUM, IMAGES) and not self._sums(edge, record))
                least = OWN if same else GAPS if gaps else SHARED
                made.append(Gradient(edge, trace.share(incoming), max(state, least)))
            trace.drop(*scratch)
        trace.drop(*packed, *[grad.storage for grad in made if grad.edge.origin == NOWHERE])
        made = [grad for grad in made if grad.edge.origin != NOWHERE]
        if record.checkpoint:  # nothing else holds what the segment kept as it ran again
            trace.drop(*record.kept)
        return made

    def _fit(self, record: Record, made: list[Gradient]) -> list[Gradient]:
        """Sum each gradient that is broadcast, and cast it to the value's dtype."""
        for i, (edge, *_) in enumerate(made):
            summed = [edge.first] * self._sums(edge, record)
            cast = [edge.size] if edge.first != edge.size else []
            for size in summed + cast:
                state = SHARED if edge.viewed else OWN
                replaced, made[i] = made[i], Gradient(edge, self.trace.make(size, edge.kind), state)
                self.trace.drop(replaced.storage)
        return made

    def _sums(self, edge: Edge, record: Record) -> bool:
        """Whether a gradient is summed; what is repeated for a `single` image is not."""
        rules = (FULL, SUM) if self.single else (FULL, SUM, IMAGES)
        return edge.rule in rules and (edge.viewed or edge.first != record.size)

    def _make_of_base(self, record: Record, base: int) -> list[Gradient]:
        """Like `_make` for a call in place in a view: copy the view's part of the base's gradient, and copy it back."""
        trace = self.trace
        whole, part = trace.make(record.size, "activation gradient"), trace.make(record.size, "temporary")
        made = self._make(record, part, OWN)
        trace.drop(part)
        if base == NOWHERE:
            trace.drop(whole)
        else:
            trace.drop(made[0].storage)
            made[0] = Gradient(made[0].edge, whole, OWN)
        return made

    def _add(self, grad: Gradient) -> bool:
        """Deliver a gradient to its call or parameter; return whether it was added to an earlier one."""
        origin = grad.edge.origin
        if origin not in self.waiting:
            self.waiting[origin] = grad.storage, grad.state
            return False
        if grad.edge.rule == PART:
            self.parts.setdefault(origin, []).append(grad.storage)
            return False
        earlier, state = self.waiting[origin]
        if state != OWN or self.trace.refs[earlier] > 1:
            self.waiting[origin] = self.trace.make(grad.edge.size, grad.edge.kind), OWN
            self.trace.drop(earlier)
        return True
