"""Compute all figures of a graph: `analyze` combines the other modules layer by layer, and adds up."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from archcalc.analysis.conventions import CONVENTIONS, Convention
from archcalc.analysis.cost import DTYPES, Conditions, Run, run_of
from archcalc.analysis.depth import depths
from archcalc.analysis.dropped import expected
from archcalc.analysis.field_figures import by_key
from archcalc.analysis.figures import FIGURES, rule
from archcalc.analysis.memory_plan import in_place
from archcalc.analysis.once_per_graph import first_equals
from archcalc.analysis.receptive_field import Axes, receptive_fields
from archcalc.analysis.saved import saved_bytes
from archcalc.analysis.spatial_end import last_spatial
from archcalc.errors import ArchcalcError, SpecError, choose, shorten, suggest
from archcalc.graph.gc_pause import uncollected
from archcalc.graph.graph import Graph, Node, require_graph
from archcalc.ops.arguments import plain

MAX_BATCH = 10**9
MODES = {"infer": False, "train": True}  # whether it is training, with side outputs and dropout


class Layer(NamedTuple):
    """A node and its figures for the report's batch and dtype, as attributes by the registry's keys: `layer.macs`."""

    node: Node
    inputs: tuple[str, ...]
    run: Run  # equal layers share it
    field: Axes | None
    depth: int
    saved_bytes: int | None  # what backward keeps for it and for no earlier layer; None: unknown

    def __getattr__(self, key: str) -> int:
        return rule(key)(self.run)


class Totals(NamedTuple):
    """The figures of a network, as attributes by the registry's keys: `totals.macs`. Sums are computed when read.

    None: unknown; expected values are also None if training drops no branch.
    """

    runs: tuple[tuple[Run, int], ...]  # each distinct layer, and the number of equal ones
    whole: Mapping[str, Any]  # the figures that are not sums over layers

    def __getattr__(self, key: str) -> Any:
        if key in self.whole:
            return self.whole[key]
        of = rule(key)
        return sum([of(run) * count for run, count in self.runs])

    @property
    def figures(self) -> dict[str, Any]:
        """All figures by key, in the registry's order."""
        return {key: getattr(self, key) for key in FIGURES}


@dataclass(frozen=True, slots=True)
class Report:
    """The figures of a network, and their conditions."""

    graph: Graph  # as given; at inference `layers` omit its side outputs
    batch: int
    dtype: str
    mode: str
    convention: Convention
    layers: tuple[Layer, ...]
    totals: Totals

    @property
    def conditions(self) -> dict[str, Any]:
        """The conditions of the figures, as in tables and JSON: batch, dtype, mode and the name of the convention."""
        return {"batch": self.batch, "dtype": self.dtype, "mode": self.mode, "convention": self.convention.name}

    def layer(self, name: str) -> Layer:
        """Return the layer with that name. Raises ArchcalcError with the nearest names if there is none."""
        for layer in self.layers:
            if layer.node.name == name:
                return layer
        known = suggest(str(name), [layer.node.name for layer in self.layers]) or "`report.layers` has all"
        raise ArchcalcError(f"{self.graph.name} has no layer {name!r}; {known}")


@uncollected
def analyze(graph: Graph, batch: int = 1, dtype: str = "float32", mode: str = "infer", flops: str = "all") -> Report:
    """Compute all figures of a network for one forward pass of `batch` images.

    `mode="train"` includes side outputs and what dropout writes; the arithmetic is that of inference in both modes (see
    `ops.base`). `flops` names a convention. Raises ArchcalcError for an invalid batch, dtype, mode or convention;
    SpecError, with its place, for a layer without a rule for a figure (an unknown figure is never zero), and in
    training for a side output that does not accept this input.
    """
    require_graph("analyze", graph)
    rule = choose("convention", flops, CONVENTIONS)
    value_bytes, training = choose("dtype", dtype, DTYPES), choose("mode", mode, MODES)
    batch = images(batch)
    if training and graph.misfit:
        raise graph.misfit
    ran = graph if training else graph.without_sides()
    saved = None if graph.misfit else saved_bytes(graph, batch, dtype)
    layers = _layers(ran, _of_nodes(ran, graph, saved), Conditions(batch, value_bytes, training, rule))
    totals = _totals(ran, layers, None if saved is None else sum(saved))
    return Report(graph, batch, dtype, mode, rule, layers, totals)


def images(batch: object) -> int:
    """Return the number of images in a batch; accept NumPy's integers. Raises ArchcalcError for another value."""
    count = plain(batch)
    if type(count) is not int or not 1 <= count <= MAX_BATCH:
        given = "a number beyond 2^63" if isinstance(count, int) and abs(count) >= 2**63 else shorten(repr(batch))
        raise ArchcalcError(f"batch must be a whole number from 1 to {MAX_BATCH:,}, not {given}")
    return count


def _of_nodes(ran: Graph, graph: Graph, saved: Sequence[int] | None) -> Sequence[int | None]:
    """Select what backward keeps for the nodes that run, from that of all nodes in training; None if unknown."""
    if saved is None:
        return [None] * len(ran.nodes)
    return saved if ran is graph else [count for node, count in zip(graph.nodes, saved, strict=True) if not node.side]


def _layers(graph: Graph, saved: Sequence[int | None], conditions: Conditions) -> tuple[Layer, ...]:
    names = [node.name for node in graph.nodes]
    known: dict[tuple[int, bool], Run] = {}  # equal layers cost the same
    layers = []
    equals, overwriting = first_equals(graph), in_place(graph, conditions.training)
    columns = graph.nodes, equals, overwriting, receptive_fields(graph), depths(graph), saved
    for node, equal, overwrites, axes, depth, kept in zip(*columns, strict=True):
        key = equal, overwrites
        if key not in known:
            known[key] = _run(node, conditions, overwrites)
        layers.append(Layer(node, tuple([names[i] for i in node.inputs]), known[key], axes, depth, kept))
    return tuple(layers)


def _run(node: Node, conditions: Conditions, overwrites: bool) -> Run:
    try:
        return run_of(node, conditions, overwrites)
    except NotImplementedError as error:
        raise SpecError(f"{node.name}: {error}", node.place) from None


def _totals(graph: Graph, layers: Sequence[Layer], saved: int | None) -> Totals:
    counts = Counter([id(layer.run) for layer in layers])
    runs = {id(layer.run): layer.run for layer in layers}
    endpoint = layers[last_spatial(graph, [layer.field for layer in layers])]
    whole = {
        **by_key(endpoint.field),
        **expected(graph, lambda i: layers[i].macs)._asdict(),
        "saved_bytes": saved,
        "depth": layers[graph.result].depth,
        "receptive_field_at": endpoint.node.name,
        "output": graph.nodes[graph.result].output,
        "input": graph.input,
    }
    return Totals(tuple([(runs[i], count) for i, count in counts.items()]), whole)
