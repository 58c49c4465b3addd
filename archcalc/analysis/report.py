"""Graph → figures. `analyze` gathers what the files beside it compute, layer by layer, and adds it up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from archcalc.analysis.conventions import CONVENTIONS, Convention
from archcalc.analysis.cost import DTYPES, Cost, cost_of
from archcalc.analysis.depth import depths
from archcalc.analysis.dropped import Expected, expected
from archcalc.analysis.field_figures import by_key
from archcalc.analysis.field_tables import Span
from archcalc.analysis.memory_plan import in_place
from archcalc.analysis.receptive_field import Axes, Field, receptive_fields
from archcalc.analysis.saved import saved_bytes
from archcalc.analysis.spatial_end import last_spatial
from archcalc.errors import ArchcalcError, SpecError, choose, shorten, suggest
from archcalc.graph.gc_pause import uncollected
from archcalc.graph.graph import Graph, Node, require_graph
from archcalc.ops.arguments import plain

MAX_BATCH = 10**9
MODES = {"infer": False, "train": True}  # whether side outputs run and dropout drops


class Layer(NamedTuple):
    """A node and its figures, for the report's batch and dtype."""

    node: Node
    inputs: tuple[str, ...]
    weights: int
    biases: int
    params: int
    buffers: int
    running_statistics: int
    batch_counters: int
    fixed_values: int
    buffer_bytes: int
    work: Mapping[str, int]
    macs: int
    connections: int
    activations: int
    flops: int
    field: Axes | None
    depth: int
    saved_bytes: int | None  # what backward keeps for it in training and for none before; None: see Totals

    @property
    def params_with_statistics(self) -> int:
        """Trainable values and running statistics: what Keras prints as the total."""
        return self.params + self.running_statistics


class Totals(NamedTuple):
    """Sums over the layers, and their number; depth, receptive field and expectations are the network's."""

    layers: int
    weights: int
    biases: int
    params: int
    params_with_statistics: int  # params + running statistics
    buffers: int
    running_statistics: int
    batch_counters: int
    fixed_values: int
    param_bytes: int
    buffer_bytes: int
    macs: int
    flops: int
    connections: int
    activations: int
    activation_bytes: int
    saved_bytes: int | None  # in training, side outputs included; None where one does not take this input
    depth: int
    receptive_field: tuple[int, int] | None  # from here on as `field_figures.by_key` says, by height and width
    effective_stride: tuple[int, int] | None
    effective_padding: tuple[int | None, int | None] | None
    receptive_field_at: str  # the layer it is stated at, the last one with places
    field_status: tuple[str, str]
    field_min: tuple[int, int] | None
    field_period: tuple[int | None, int | None] | None
    field_stride: tuple[str | None, str | None] | None
    field_fixed: tuple[Span, Span] | None
    field_seen: tuple[int, int] | None
    field_seen_min: tuple[int, int] | None
    local_field: tuple[int | None, int | None] | None
    local_field_min: tuple[int | None, int | None] | None
    expected_branches: float | None  # expectations over what training drops; None where it drops no branch
    droppable_branches: int | None
    expected_depth: float | None
    expected_macs: float | None


SUMMED = [figure for figure in Layer._fields if figure in Totals._fields and figure not in ("depth", "saved_bytes")]
EXPECTATIONS = ("expected_branches", "droppable_branches", "expected_depth", "expected_macs")


@dataclass(frozen=True, slots=True)
class Report:
    """A network's figures under stated conditions."""

    graph: Graph  # as given; without its side outputs at inference, `layers` are fewer
    batch: int
    dtype: str
    mode: str
    convention: Convention
    layers: tuple[Layer, ...]
    totals: Totals

    def layer(self, name: str) -> Layer:
        """The layer of that name. Raises ArchcalcError with the nearest."""
        for layer in self.layers:
            if layer.node.name == name:
                return layer
        known = suggest(str(name), [layer.node.name for layer in self.layers])
        raise ArchcalcError(f"{self.graph.name} has no layer {name!r}; {known}")


@uncollected
def analyze(graph: Graph, batch: int = 1, dtype: str = "float32", mode: str = "infer", flops: str = "all") -> Report:
    """All figures of a network for one forward pass of `batch` images.

    `mode="train"` has the side outputs and what dropout writes; the arithmetic is that of inference in both (see
    `ops.base`). `flops` names a convention. Raises ArchcalcError for a batch, dtype, mode or convention that is none,
    and SpecError, with its place, for a layer without a rule for a figure: what is unknown is never zero; in training
    also for a side output that does not take this input.
    """
    require_graph("analyze", graph)
    rule = choose("convention", flops, CONVENTIONS)
    value_bytes, training = choose("dtype", dtype, DTYPES), choose("mode", mode, MODES)
    batch = images(batch)
    if training and graph.misfit:
        raise graph.misfit
    ran = graph if training else graph.without_sides()
    saved = None if graph.misfit else saved_bytes(graph, batch, dtype)
    layers = _layers(ran, _of_nodes(ran, graph, saved), batch, value_bytes, training, rule)
    endpoint = layers[last_spatial(ran, [layer.field for layer in layers])]
    dropping = expected(ran, [layer.macs for layer in layers])
    totals = _totals(
        layers, layers[ran.result].depth, endpoint, value_bytes, dropping, None if saved is None else sum(saved)
    )
    return Report(graph, batch, dtype, mode, rule, layers, totals)


def images(batch: object) -> int:
    """The number of images in a batch; NumPy's whole numbers are fine. Raises ArchcalcError."""
    count = plain(batch)
    if type(count) is not int or not 1 <= count <= MAX_BATCH:
        given = "a number beyond 2^63" if isinstance(count, int) and abs(count) >= 2**63 else shorten(repr(batch))
        raise ArchcalcError(f"batch must be a whole number from 1 to {MAX_BATCH:,}, not {given}")
    return count


def _of_nodes(ran: Graph, graph: Graph, saved: Sequence[int] | None) -> Sequence[int | None]:
    """What backward keeps of the nodes that run, from that of all in training; of each None where it is unknown."""
    if saved is None:
        return [None] * len(ran.nodes)
    return saved if ran is graph else [count for node, count in zip(graph.nodes, saved, strict=True) if not node.side]


def _layers(
    graph: Graph, saved: Sequence[int | None], batch: int, value_bytes: int, training: bool, rule: Convention
) -> tuple[Layer, ...]:  # fmt: skip
    names = [node.name for node in graph.nodes]
    known: dict[tuple[int, object, bool], tuple[Cost, int]] = {}  # equal layers on equal shapes cost the same
    layers = []
    columns = graph.nodes, in_place(graph, training), receptive_fields(graph), depths(graph), saved
    for node, overwrites, axes, depth, kept in zip(*columns, strict=True):
        key = id(node.op), node.x, overwrites
        if key not in known:
            made = _cost(node, batch, value_bytes, training, overwrites)
            known[key] = made, rule.flops(made.work)
        figures, flops = known[key]
        layers.append(Layer(node, tuple([names[i] for i in node.inputs]), *figures, flops, axes, depth, kept))
    return tuple(layers)


def _cost(node: Node, batch: int, value_bytes: int, training: bool, overwrites: bool) -> Cost:
    try:
        return cost_of(node, batch, value_bytes, training, overwrites)
    except NotImplementedError as error:
        raise SpecError(f"{node.name}: {error}", node.place) from None


def _totals(
    layers: tuple[Layer, ...],
    depth: int,
    endpoint: Layer,
    value_bytes: int,
    dropping: Expected | None,
    saved: int | None,
) -> Totals:
    columns = dict(zip(Layer._fields, zip(*layers, strict=True), strict=True))
    sums: dict[str, Any] = {figure: sum(columns[figure]) for figure in SUMMED}
    expectations: dict[str, Any] = dict(zip(EXPECTATIONS, dropping or (None,) * 4, strict=True))
    return Totals(
        layers=len(layers),
        params_with_statistics=sums["params"] + sums["running_statistics"],
        param_bytes=sums["params"] * value_bytes,
        activation_bytes=sums["activations"] * value_bytes,
        saved_bytes=saved,
        depth=depth,
        receptive_field_at=endpoint.node.name,
        **by_key(endpoint.field),
        **sums,
        **expectations,
    )


__all__ = [
    "CONVENTIONS", "DTYPES", "MAX_BATCH", "MODES", "Axes", "Convention", "Field", "Layer", "Report", "Totals",
    "analyze", "images",
]  # fmt: skip
