"""Parameters, arithmetic and written values of one layer: the functions of the figures that are sums over layers."""

import math
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from archcalc.analysis.conventions import Convention
from archcalc.analysis.recipe import USUAL, Recipe
from archcalc.analysis.training_step import NO_STEP, Gradients, Step, step_of
from archcalc.graph.graph import Node
from archcalc.ops.base import Unknown, Work, is_bias
from archcalc.ops.imported import Imported
from archcalc.ops.shape import Ids, Shape, Sizes

DTYPES = {"float64": 8, "float32": 4, "float16": 2, "bfloat16": 2}  # bytes per value
WHOLE = {
    "bool": 1, "uint8": 1, "int8": 1, "uint16": 2, "int16": 2, "uint32": 4, "int32": 4, "uint64": 8, "int64": 8,
    "complex32": 4, "complex64": 8, "complex128": 16,
}  # fmt: skip  # likewise
STATISTICS = frozenset({"running_mean", "running_var"})  # buffers that training averages over batches
COUNTERS = frozenset({"num_batches_tracked"})  # buffers that are int64 in PyTorch, whatever the network's dtype
INDICES = frozenset({"relative_position_index"})  # likewise, but fixed


class Conditions(NamedTuple):
    """The conditions of a report's figures."""

    batch: int
    value_bytes: int
    training: bool
    convention: Convention
    recipe: Recipe = USUAL


class Run(NamedTuple):
    """Counts of one layer: its parameters and buffers, and the operations and written values for the whole batch."""

    node: Node
    conditions: Conditions
    weights: int
    biases: int
    running_statistics: int
    batch_counters: int
    fixed_values: int
    indices: int  # among the fixed values
    shared: int  # trainable values and buffers of another layer that it runs with
    work: Mapping[str, int] | None  # None: unknown, as are figures of it
    connections: int | None
    activations: int
    step: Step  # of training

    def flops(self, *works: Mapping[str, int] | None) -> int | None:
        """Return the FLOPs of some work by the report's convention; None if some of it is unknown."""
        counts = [None if work is None else self.conditions.convention.flops(work) for work in works]
        known = [count for count in counts if count is not None]
        return sum(known) if len(known) == len(works) else None

    def flops_by_cause(self, convention: Convention) -> dict[str, int] | None:
        """Return the FLOPs at inference by cause; None: unknown."""
        node = self.node
        return convention.parts(node.op, node.x, node.output, self.conditions.batch)

    @property
    def unknown(self) -> bool:
        """Whether arithmetic is unknown."""
        return self.work is None or None in self.step or self.connections is None


def flops(run: Run) -> int | None:
    """Return the FLOPs at inference; None: unknown."""
    convention = run.conditions.convention
    if not convention.rules:
        return run.flops(run.work)
    counted = run.flops_by_cause(convention)
    return None if counted is None else sum(counted.values())


def macs_of(*works: Mapping[str, int] | None) -> int | None:
    """Return the multiply-accumulates of some work; None if some of it is unknown."""
    known = [work.get("mac", 0) for work in works if work is not None]
    return sum(known) if len(known) == len(works) else None


def run_of(node: Node, conditions: Conditions, in_place: bool = True, needed: Gradients | None = None) -> Run:
    """Return the counts of a layer. Raises NotImplementedError for an operator without a rule.

    An operator that could work in place, but must not (`in_place` False), writes its output. `needed` says which
    gradients a training step computes; None: it is no training.
    """
    op, x, y, (batch, _, training, _, recipe) = node.op, node.x, node.output, conditions
    trained, kept = _sizes(node.weights()), _sizes(node.buffers())
    shared = sum(_sizes(op.weights(x) | op.buffers(x)).values()) - sum((trained | kept).values()) if node.shared else 0
    biases = _taken(trained, [*filter(is_bias, trained)]) if trained else 0
    statistics = counters = indices = 0
    if kept:
        statistics, counters, indices = [_taken(kept, names) for names in (STATISTICS, COUNTERS, INDICES)]
    written = math.prod(y) if not in_place and op.overwrites(training) else op.writes(x, y, training)
    weights = sum(trained.values()) if trained else 0
    work: Work | None = None
    links: int | None = None
    try:
        links = batch * op.links(x, y)
        work = op.batch_work(x, y, batch)
    except Unknown:
        pass  # an imported function without a rule
    step = step_of(node, batch, weights + biases, recipe, needed) if needed else NO_STEP
    owned = weights, biases, statistics, counters, sum(kept.values()) + indices, indices, shared
    return Run(node, conditions, *owned, work, links, batch * written, step)


def _sizes(tensors: Mapping[str, Sizes]) -> dict[str, int]:
    return {name: math.prod(shape) for name, shape in tensors.items()} if tensors else {}


def _taken(sizes: dict[str, int], names: Iterable[str]) -> int:
    """Take the sizes of these names out of a mapping. Returns their sum."""
    return sum([sizes.pop(name, 0) for name in names])


def param_bytes(run: Run) -> int:
    return (run.weights + run.biases) * _bytes_of(_stored_dtype(run.node), run.conditions)


def buffer_bytes(run: Run) -> int:
    real = run.running_statistics + run.fixed_values - run.indices
    return real * _bytes_of(_stored_dtype(run.node), run.conditions) + (run.batch_counters + run.indices) * 8


def activation_bytes(run: Run) -> int:
    """Of a complex value both numbers count as written."""
    dtype = dtype_of(run.node)
    return run.activations * _bytes_of(dtype, run.conditions) // (1 + dtype.startswith("complex"))


def _bytes_of(dtype: str, conditions: Conditions) -> int:
    """Return the bytes of each value; "" is the network's dtype, "complex" two numbers of it."""
    return (DTYPES | WHOLE).get(dtype, conditions.value_bytes * (1 + (dtype == "complex")))


def dtype_of(node: Node) -> str:
    """Return the dtype of a node's output: "" is the network's; numbers of tokens are int64."""
    return node.op.dtype if isinstance(node.op, Imported) else "int64" * isinstance(node.output, Ids)


def _stored_dtype(node: Node) -> str:
    """Return the dtype of a node's weights and buffers: the network's, unless the node is a tensor of an import."""
    return "" if node.inputs else dtype_of(node)


def _tensors(node: Node) -> Iterator[tuple[Shape, str]]:
    """Yield the shape and dtype of each input of a node, and of its output."""
    shapes = node.x if node.op.joins else (node.x,)
    read = node.op.read_dtypes if isinstance(node.op, Imported) else ()
    yield from zip(shapes, read or ["int64" * isinstance(shape, Ids) for shape in shapes], strict=True)
    yield node.output, dtype_of(node)


def bytes_moved(run: Run) -> int:
    node, (batch, _, training, *_) = run.node, run.conditions
    moves = bool(node.inputs) & ((run.activations > 0) | node.op.overwrites(training))  # not the image, not a view
    tensors: int = sum([math.prod(shape) * _bytes_of(dtype, run.conditions) for shape, dtype in _tensors(node)])
    owned = param_bytes(run) + buffer_bytes(run) + run.shared * run.conditions.value_bytes
    return (batch * tensors + owned) * moves
