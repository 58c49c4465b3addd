"""A recorded run as a Graph: each call as an operator of ours where one says the same, else with the facts about it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence, Set
from contextlib import suppress
from functools import cached_property
from math import prod
from typing import Any

from torch.nn import Parameter

from archcalc.errors import ArchcalcError, Refusal
from archcalc.graph.graph import About, Graph, Shared
from archcalc.importers.building import Builder
from archcalc.importers.torch.autograd import Keeping
from archcalc.importers.torch.functions import extras_of, facts, kept_by, saved
from archcalc.importers.torch.mapping import rule_for
from archcalc.importers.torch.site import Misfit, Plan, Site, first, ids, last
from archcalc.importers.torch.tape import Call, Tape
from archcalc.importers.torch.values import Known
from archcalc.ops import Operator, Shape
from archcalc.ops.base import REGISTRY, Extra, Saved
from archcalc.ops.imported import Imported
from archcalc.ops.joins import Elementwise
from archcalc.ops.shape import Ids, Sizes

SEQUENCES = frozenset(("linear", "layer_norm", "lstm", "gru", "rnn_tanh", "rnn_relu"))  # of tokens, channels last
UNCHECKED = frozenset(("batchnorm", "dropout", "dropout1d", "dropout2d", "dropout3d", "lstm", "gru", "rnn"))


def _inert(function: str, made: Shape, **own: Any) -> Imported:
    """Return a layer that computes nothing and keeps nothing."""
    return Imported(function, made, counts=(), gradients=(), gradient_of_weights=(), kept=Saved(), **own)


class Importer:
    """The graph of tapes, call by call."""

    def __init__(self, tapes: Sequence[Tape], sides: Set[str] = frozenset()) -> None:
        self.sides = sides  # the modules that run in training only
        self.values = Known(tapes)
        self.tape = self.values.tape
        self.builder = Builder()
        self.nodes: dict[int, int] = {}  # by value
        self.makers = {at: place for place, call in enumerate(self.tape.calls) for at in call.made}
        self.owners: dict[int, tuple[int, str]] = {}  # by weight, the node and its name there
        self.emitted: set[int] = set()  # the calls that have a node
        self.turns = Counter(call.turn for call in self.tape.calls if self._runs(call))
        self._reaching = self.tape.reaching()
        self.loose = dict(self._loose())  # by storage
        self.counted: set[int] = set()  # those of them that a row before keeps

    def run(self) -> None:
        """Add all nodes."""
        for name, at in self.tape.inputs.items():
            self._keep(at, self.builder.input(name or "input", self._input(at)))
        for place, call in enumerate(self.tape.calls):
            self.builder.side = call.module in self.sides
            if self._runs(call) and place not in self.emitted:
                self._add(place, call)
        self.builder.side = False

    def graph(self, name: str, about: About) -> Graph:
        """Return the graph."""
        results = {name or "output": self.node(at) for name, at in self.tape.results.items()}
        return self.builder.graph(name, results, about)

    def node(self, value: int) -> int:
        """Return the node of a value; weights and constants get theirs when they are first read."""
        if value not in self.nodes:
            if self.tape.values[value].source:
                self._keep(value, self._source(value))
            else:
                self._constant(value)
        return self.nodes[value]

    def covered(self) -> set[str]:
        """Return the modules of which an operator has all buffers."""
        weights = [at for at, (node, _) in self.owners.items() if self.builder.nodes[node].op.name == "batchnorm"]
        return {self.tape.values[at].name.rpartition(".")[0] for at in weights}

    def never_run(self, path: str, tensors: Mapping[str, Any]) -> None:
        """Add a row for weights and buffers that nothing reads."""
        sizes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
        trained = tuple([(name, sizes[name]) for name, tensor in tensors.items() if isinstance(tensor, Parameter)])
        state = tuple([(name, own) for name, own in sizes.items() if name not in dict(trained)])
        first, *_ = tensors.values()
        dtype = self.values.own_dtype(str(first.dtype).removeprefix("torch."))
        op = _inert("never run", Shape(), tensors=trained, state=state, dtype=dtype)
        self.builder.add(op, (), path or "unused")

    def _typed(self, value: int) -> Shape:
        self.node(value)
        return self.values.typed[value]

    def _runs(self, call: Call) -> bool:
        """Whether a call gets a node of its own: it is of the batch, or has a gradient."""
        return any(self.values.batched(at) or self.values.graded(at) for at in call.made)

    def _keep(self, value: int, node: int) -> None:
        self.nodes[value] = node
        self.values.typed[value] = self.builder.nodes[node].output

    def _input(self, at: int) -> Shape:
        sizes = self.values.image(at)
        if "int" in self.tape.values[at].dtype or self.tape.values[at].dtype == "bool":
            return ids(sizes)
        reader = next((call for call in self.tape.calls if at in call.reads), None)
        return last(sizes) if reader and reader.name in SEQUENCES else first(sizes)

    def _add(self, place: int, call: Call) -> None:
        self.emitted.add(place)
        if call.name == "drop_path":
            plan: Plan | None = Plan(
                REGISTRY["droppath"](**call.named), (call.reads[0],), self._typed(call.reads[0]), {}
            )
        else:
            plan = self._plan(call)
        if plan and (not call.function or self._fits(plan, place, self.tape.new(call, call.made[0]))):
            with suppress(Refusal):  # that it has the weights of several layers
                self._operator(plan, call, self._shared(plan))
                return
        self._function(place, call, plan)

    def _plan(self, call: Call) -> Plan | None:
        """Return the operator that says the same, if its shapes are those recorded."""
        dtypes = self._dtypes((*call.reads, *call.made))
        pairs = any(dtype.startswith("complex") for dtype in dtypes)  # no operator of ours has complex values
        rule = rule_for(call.name) if call.function and not pairs else None
        try:
            plan = rule(Site(call, self.values)) if rule else None
            if plan is None:
                return None
            made = plan.op.output(plan.x)
            weights = plan.op.weights(plan.x)
        except (Misfit, Refusal, ValueError, TypeError, AttributeError, KeyError):
            return None
        given = {name: self.values.sizes(at) for name, at in plan.weights.items() if name in weights}
        pooled = plan.op.name == "global_avgpool" and tuple(made)[:1] == tuple(self.values.image(call.made[0]))
        fits = pooled or (tuple(made) == tuple(self._image(call.made[0], plan)) and given == weights)
        return plan if fits else None

    def _image(self, value: int, plan: Plan) -> Sizes:
        if plan.op.name in ("lstm", "gru", "rnn"):
            sizes, axis = self.values.sizes(value), self.values.axis(value)
            return sizes[:axis] + sizes[axis + 1 :]
        return self.values.image(value)

    def _fits(self, plan: Plan, place: int, wrote: bool) -> bool:
        """Whether an operator writes and keeps what the call does, with weights that are parameters."""
        op, call = plan.op, self.tape.calls[place]
        inplace = getattr(op, "inplace", False) or (op.overwrites(False) and not wrote)
        writes = op.writes(plan.x, op.output(plan.x), False) > 0
        if writes != wrote and (wrote or not inplace):
            return False
        trained = op.weights(plan.x)
        sources = {name: self.tape.values[at].source for name, at in plan.weights.items()}
        owned = all(source == ("parameter" if name in trained else "buffer") for name, source in sources.items())
        plain = isinstance(op, Elementwise) and all(map(self.values.graded, plan.reads))
        part = call.overwrites and self.tape.values[call.made[0]].stored != prod(self.values.sizes(call.made[0]))
        if (op.joins and not (plain or op.name == "concat")) or part or self._mixed(call):
            return False
        graded = self.values.graded(call.made[0])
        return owned and ((graded and (plain or op.name in UNCHECKED)) or self._keeps(plan, place))

    def _mixed(self, call: Call) -> bool:
        """Whether a call reads or makes real numbers of another dtype than the network's."""
        return any("float" in self.values.dtype(at) for at in (*call.reads, *call.made))

    def _keeps(self, plan: Plan, place: int) -> bool:
        """Whether autograd keeps what the operator says."""
        kept = kept_by(place, self.values)
        if kept is None:
            return True
        call, own = self.tape.calls[place], plan.op.saved(plan.x, plan.op.output(plan.x))
        inputs = {call.reads[i] for i in kept[0].inputs} - {*plan.weights.values()}
        graded = self.values.graded(call.made[0])
        if graded and (plan.op.overwrites(False) or getattr(plan.op, "inplace", False)):
            return True
        said = {*plan.reads} if own.input else set[int]()
        extras = extras_of(kept, True, self.values) or ()
        sizes = [sorted(prod(extra.shape) for extra in some) for some in (own.extras, extras)]
        same = own.output == (0 in kept[0].made) and sizes[0] == sizes[1]
        return same and inputs == {at for at in said if self.values.graded(at) or own.input}

    def _operator(self, plan: Plan, call: Call, shared: Shared | None) -> None:
        inputs = [self.node(at) for at in plan.reads]
        node = self.builder.add(plan.op, inputs, self._name(call, plan.op.name), plan.x, shared)
        if not shared or shared.tensor:
            for name, at in plan.weights.items():
                self.owners.setdefault(at, (node, name))
        if plan.op.name == "global_avgpool" and len(self.values.image(call.made[0])) == 1:
            node = self.builder.add(REGISTRY["flatten"](), [node], self._name(call, "flatten"))
        self._keep(call.made[0], node)
        self._others(call, node)

    def _shared(self, plan: Plan) -> Shared | None:
        """Return whose weights an operator runs with. Raises Refusal if they are those of several nodes."""
        met = {name: self.owners[at] for name, at in plan.weights.items() if at in self.owners}
        if not met:
            return None
        (node, *others) = {node for node, _ in met.values()}
        if others or any(name != own for name, (_, own) in met.items()):
            raise Refusal("weights of several layers")
        if len(met) == len(plan.weights) and self.builder.nodes[node].op == plan.op:
            return Shared(node)
        (tensor, *more) = met
        if more or not plan.op.tied:
            raise Refusal("weights of a layer of another kind")
        return Shared(node, tensor)

    def _function(self, place: int, call: Call, plan: Plan | None) -> None:
        inputs, batched = [self.node(at) for at in call.reads], any(map(self.values.batched, call.made))
        known = facts(place, self.values) if call.function else {"counts": (), "gradients": ()}
        shapes: tuple[int, ...] = ()
        if batched and not any(map(self.values.batched, call.reads)):
            inputs, shapes = [*inputs, 0], (len(inputs),)
        kept = kept_by(place, self.values)
        for result, at in enumerate(call.made):
            if result and at not in self._used:
                continue
            self._require_images(call, at)
            value = self.tape.values[at]
            wrote = self._numbers(at) if self.tape.new(call, at) else 0
            means = plan.op if plan and not result and (plan.op.joins or plan.reads[0] == call.reads[0]) else None
            made = means.output(plan.x) if means and plan else self._made(at, call, bool(known.get("elementwise")))
            own = {**known} if not result else {"counts": (), "gradients": ()}
            rowless = () if result or kept is None else self._kept_without_row(call, kept[0])
            loose = [i for i, read in enumerate(call.reads) if self.tape.values[read].storage in self.loose]
            home = next(
                (self.nodes[read] for read in call.reads if self.tape.values[read].storage == value.storage), -1
            )
            order = sorted(inputs, key=lambda node: node != home) if result else inputs  # first the one that it views
            op = Imported(
                function=f"aten::{call.name}", made=made, wrote=wrote, shapes=shapes,
                dtype=self.values.dtype(at), read_dtypes=self._dtypes(call.reads) + ("",) * len(shapes),
                means=means, read=plan.x if means and plan and not means.joins else None,
                **own, **saved(kept, result, batched, self.values, rowless, loose),
            )  # fmt: skip
            self._keep(at, self.builder.add(op, order, self._name(call, call.name.strip("_"))))

    def _require_images(self, call: Call, at: int) -> None:
        """Raise ArchcalcError if a value that results depend on has one size for any number of images."""
        counts = {prod(sizes) for sizes in self.values.batches(at)}
        if len(counts) == 1 and any(counts) and self.values.batched(at) and at in self._reaching:
            name, size = self._name(call, call.name), prod(self.values.sizes(at))
            values = f"{size:,} value{'s' * (size != 1)}"
            raise ArchcalcError(f"{name} mixes the images of a batch into {values}; archcalc counts image by image")

    def _loose(self) -> Iterator[tuple[int, Extra]]:
        """Yield tensors that are no weight and no buffer, and inputs whose shape does not say their dtype."""
        for own in self.tape.values:
            if own.source == "tensor":
                yield own.storage, Extra("kept", (own.stored,), self.values.own_dtype(own.dtype), per_image=False)
        for at in self.tape.inputs.values():
            dtype = self.values.dtype(at)
            if dtype and not (dtype == "int64" and isinstance(self._input(at), Ids)):
                yield self.tape.values[at].storage, Extra("kept", self.values.image(at), dtype)

    def _kept_without_row(self, call: Call, kept: Keeping) -> tuple[Extra, ...]:
        """Return what backward keeps that no row writes: results that nothing reads, and loose tensors."""
        unread = [call.made[result] for result in kept.made if result and call.made[result] not in self._used]
        found = [Extra("kept", self.values.image(at), self.values.dtype(at), self.values.grows(at)) for at in unread]
        read = {self.tape.values[call.reads[i]].storage for i in kept.inputs} & self.loose.keys() - self.counted
        self.counted |= read
        return (*found, *map(self.loose.__getitem__, sorted(read)))

    def _dtypes(self, values: Sequence[int]) -> tuple[str, ...]:
        return tuple(map(self.values.dtype, values))

    @cached_property
    def _used(self) -> set[int]:
        """The values that something reads."""
        return {at for call in self.tape.calls for at in call.reads} | {*self.tape.results.values()}

    def _others(self, call: Call, node: int) -> None:
        """Add a row for each further result of an operator that something reads, such as an LSTM's last state."""
        for at in call.made[1:]:
            if at in self._used:
                made, wrote = Shape(self.values.image(at)), self._numbers(at)
                op = _inert(f"aten::{call.name}", made, wrote=wrote)
                self._keep(at, self.builder.add(op, [node], self._name(call, "state")))

    def _numbers(self, value: int) -> int:
        """Return how many numbers a tensor has for one image; a complex value is two."""
        return prod(self.values.image(value)) * (1 + self.tape.values[value].dtype.startswith("complex"))

    def _made(self, value: int, call: Call, elementwise: bool) -> Shape:
        """Return the shape of a result, with the axes of an argument of the same sizes if it is elementwise."""
        sizes = self.values.image(value)
        if elementwise:
            for at in call.reads:
                shape = self.values.typed.get(at)
                if shape is not None and tuple(shape) == sizes:
                    return type(shape)(sizes)
        return last(sizes) if len(sizes) == 1 else Shape(sizes)

    def _name(self, call: Call, word: str) -> str:
        if call.leaf and call.module and self.turns[call.turn] == 1:
            return call.module
        return f"{call.module}.{word}" if call.module else word

    def _source(self, value: int) -> int:
        """Add the node of a weight, a buffer or another tensor that no call made."""
        own = self.tape.values[value]
        sizes, made, name = self.values.sizes(value), self.values.image(value), own.name or own.source
        owner = self.owners.get(value)
        real = not self.values.dtype(value)
        if own.source == "parameter" and real and 1 <= len(made) <= 4 and (not owner or owner[1] == "weight"):
            op: Operator = REGISTRY["parameter"](sizes=made)
            node = self.builder.add(op, (), name, shared=Shared(*owner) if owner else None)
        elif own.source == "parameter" and not owner:
            op = _inert("tensor", Shape(made), tensors=(("weight", sizes),), dtype=self.values.dtype(value))
            node = self.builder.add(op, (), name)
        else:
            state = ((name, sizes),) if own.source == "buffer" and not owner else ()
            op = _inert("tensor", Shape(made), state=state, dtype=self.values.dtype(value))
            node = self.builder.add(op, (), name)
        self.owners.setdefault(value, (node, "weight"))
        return node

    def _constant(self, value: int) -> None:
        """Add one row for the calls that made a constant, as far as no row has them."""
        calls, sources = self._chain(value)
        wrote, counts, known = 0, Counter[str](), True
        for place in calls:
            call = self.tape.calls[place]
            wrote += sum(self.tape.values[at].stored for at in call.made if self.tape.new(call, at))
            found = facts(place, self.values) if call.function else {"counts": ()}
            known = known and found.get("counts") is not None
            counts.update(dict(found.get("common", ())))
        inputs = [self.node(at) for at in sources]
        made = Shape(self.values.image(value))
        module = self.tape.calls[self.makers[value]].module
        op = Imported(
            function="constant", made=made, counts=tuple(counts.items()) if known else None, wrote=wrote,
            gradients=(), kept=Saved(), dtype=self.values.dtype(value),
        )  # fmt: skip
        self.emitted |= {*calls}
        self._keep(value, self.builder.add(op, inputs, f"{module}.constant" if module else "constant"))

    def _chain(self, value: int) -> tuple[list[int], list[int]]:
        """Return the calls without a node that a constant needs, in order, and the tensors that these read."""
        calls, sources, todo = set[int](), dict[int, None](), [value]
        while todo:
            at = todo.pop()
            place = self.makers.get(at)
            if place is None or at in self.nodes:
                sources[at] = None
            elif place not in calls and place not in self.emitted:
                calls.add(place)
                todo += self.tape.calls[place].reads
        return sorted(calls), [*sources]
