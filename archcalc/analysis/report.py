"""Compute all figures of a graph: `analyze` combines the other modules layer by layer, and adds up."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

from archcalc.analysis.at_least import AtLeast, add_known
from archcalc.analysis.conventions import CONVENTIONS, Convention
from archcalc.analysis.cost import DTYPES, Conditions, Run, run_of
from archcalc.analysis.depth import depths
from archcalc.analysis.dropped import Expected, expected
from archcalc.analysis.field_figures import by_key
from archcalc.analysis.figures import FIGURES, rule
from archcalc.analysis.memory_plan import in_place
from archcalc.analysis.once_per_graph import first_equals, of_batch
from archcalc.analysis.receptive_field import Axes, receptive_fields
from archcalc.analysis.recipe import USUAL, Recipe, is_trained, require_possible
from archcalc.analysis.saved import saved_bytes, unknown_calls, unknown_memory
from archcalc.analysis.spatial_end import last_spatial
from archcalc.analysis.training_step import Gradients, gradients
from archcalc.errors import ArchcalcError, SpecError, choose, shorten, suggest
from archcalc.graph.gc_pause import uncollected
from archcalc.graph.graph import Graph, Node, require_graph
from archcalc.ops.arguments import plain
from archcalc.shown import Shown

MAX_BATCH = 10**9
MODES = {"infer": False, "train": True}  # whether it is training, with side outputs and dropout


class Layer(NamedTuple):
    """A node and its figures for the report's batch and dtype.

    Figures that `summed()` lists are attributes by their keys: `layer.macs`. Of the others a layer has `depth`,
    `saved_bytes` and, in `field`, its receptive field.
    """

    node: Node
    inputs: tuple[str, ...]
    run: Run  # equal layers share it
    field: Axes | None
    depth: int
    saved_bytes: int | None  # what backward keeps for it and for no earlier layer; None: unknown
    weights_of: str  # the layer whose weights it shares; "": none

    def __getattr__(self, key: str) -> Any:
        return rule(key)(self.run)


class Totals:
    """The figures of a network, as attributes by the registry's keys: `totals.macs`. Each is computed when read.

    None: unknown; expected values are also None if training drops no branch. A sum of which some figures are unknown,
    such as one of an imported function, is an AtLeast, or None if the others are 0. Raises SpecError, with its place,
    for another layer without a rule for the figure that is read.
    """

    def __init__(self, report: Report) -> None:
        self.report = report

    @property
    def field(self) -> Mapping[str, Any]:
        """The figures of the receptive field."""
        return by_key(self.report.fields[self.report.field_end])

    @property
    def peak_inference_bytes(self) -> int | None:
        """The most that tensors hold at inference; None: unknown."""
        return self.report.peak(self.report.recipe._replace(optimizer=""))

    @property
    def peak_training_bytes(self) -> int | None:
        """The most that tensors hold in training by the recipe; None if nothing can be trained."""
        graph, recipe = self.report.graph, self.report.recipe
        trains = not graph.misfit and all(of_batch(graph)[i] for i in graph.ends)
        trains = trains and any(is_trained(graph, node, recipe) for node in graph.nodes)
        return self.report.peak(recipe) if trains else None

    def __getattr__(self, key: str) -> Any:
        if key in FIGURES and FIGURES[key].of is None:
            return self._of_graph(key)
        of = rule(key)
        counts = [(of(run), count) for run, count in self.report.distinct]
        return add_known([None if own is None else own * count for own, count in counts])

    def _of_graph(self, key: str) -> Any:
        report, ran = self.report, self.report.ran
        match key:
            case "input":
                return ran.input
            case "output":
                return ran.nodes[ran.result].output
            case "depth":
                least, most = (max(map(depths(ran, most).__getitem__, ran.results)) for most in (False, True))
                return least if least == most else AtLeast(least)
            case "saved_bytes":
                return None if report.saved is None else sum(report.saved)
            case "receptive_field_at":
                return ran.nodes[report.field_end].name
        return getattr(report.expected, key) if key in Expected._fields else self.field[key]

    def figures(self, keys: Iterable[str] = FIGURES) -> dict[str, Any]:
        """Return figures by key, all of them unless `keys` names some."""
        return {key: getattr(self, key) for key in keys}


@dataclass(frozen=True)
class Report(Shown):
    """The figures of a network, and their conditions. Those of layers and totals are computed when first read."""

    graph: Graph  # as given; at inference `layers` omit its side outputs
    batch: int
    dtype: str
    mode: str
    convention: Convention
    recipe: Recipe = USUAL

    @property
    def conditions(self) -> dict[str, Any]:
        """The conditions of the figures, as in tables and JSON: batch, dtype, mode and the name of the convention."""
        return {"batch": self.batch, "dtype": self.dtype, "mode": self.mode, "convention": self.convention.name}

    @property
    def training(self) -> dict[str, Any]:
        """What updates which weights in training, for data; empty at inference."""
        return self.recipe.facts if MODES[self.mode] else {}

    @property
    def optimizer(self) -> str:
        """What updates which weights in training (`Recipe.text`); "" at inference."""
        return self.recipe.text * MODES[self.mode]

    @property
    def totals(self) -> Totals:
        """The figures of the whole network."""
        return Totals(self)  # not kept, because it refers to this report

    @cached_property
    def runs(self) -> tuple[Run, ...]:
        """The counts of each layer; those of equal layers are computed once."""
        trains = MODES[self.mode]
        conditions = Conditions(self.batch, DTYPES[self.dtype], trains, self.convention, self.recipe)
        nodes = self.ran.nodes
        needed = gradients(self.ran, self.recipe) if trains else [None] * len(nodes)
        columns = first_equals(self.ran), in_place(self.ran, trains), needed, of_batch(self.ran)
        keys = list(zip(*columns, strict=True))
        known = {key: _run(nodes[key[0]], conditions, *key[1:]) for key in dict.fromkeys(keys)}
        return tuple([known[key] for key in keys])

    @cached_property
    def distinct(self) -> list[tuple[Run, int]]:
        """Each distinct layer, and the number of equal ones."""
        counts = Counter([id(run) for run in self.runs])
        return [(run, counts.pop(id(run))) for run in self.runs if id(run) in counts]

    @cached_property
    def expected(self) -> Expected:
        """The expected values of training."""
        macs = rule("macs")
        found = expected(self.ran, lambda i: macs(self.runs[i]) or 0)
        return found._replace(expected_macs=None) if self.without_rule else found

    @cached_property
    def without_rule(self) -> dict[str, str]:
        """The layers of whose arithmetic archcalc does not know everything, and the function of each."""
        if not any(run.unknown for run, _ in self.distinct):
            return {}
        return {node.name: node.op.name for node, run in zip(self.ran.nodes, self.runs, strict=True) if run.unknown}

    @cached_property
    def ran(self) -> Graph:
        """The graph of the layers that run: at inference without side outputs."""
        return self.graph if MODES[self.mode] else self.graph.without_sides()

    @cached_property
    def fields(self) -> list[Axes | None]:
        """The receptive field of each layer."""
        return receptive_fields(self.ran)

    @cached_property
    def field_end(self) -> int:
        """The index of the layer whose receptive field is the network's."""
        return last_spatial(self.ran, lambda: self.fields)

    @property
    def unknown_memory(self) -> str:
        """The first layer of whose memory archcalc knows nothing; "" if there is none."""
        return unknown_memory(self.graph)

    @cached_property
    def saved(self) -> list[int] | None:
        """What backward keeps for each node of the graph in training.

        None if a side output does not fit the input, or if archcalc does not know what a layer keeps.
        """
        return (
            None if self.graph.misfit or unknown_memory(self.graph) else saved_bytes(self.graph, self.batch, self.dtype)
        )

    def peak(self, recipe: Recipe) -> int | None:
        """Return the most bytes that tensors hold by a recipe, with this report's batch and dtype; None: unknown."""
        if unknown_calls(self.graph):
            return None
        from archcalc.analysis.simulation import simulate  # few figures need it

        recipe = recipe._replace(dtype=self.dtype, steps=2, single=self.batch == 1).brief
        trace = simulate(self.graph if recipe.optimizer else self.graph.without_sides(), recipe)
        return max(peak.peak for peak in trace.peaks(self.batch))

    @cached_property
    @uncollected
    def layers(self) -> tuple[Layer, ...]:
        """The layers in order, each with its figures."""
        ran = self.ran.nodes
        names = [node.name for node in ran]
        inputs = [tuple([names[i] for i in node.inputs]) for node in ran]
        saved: Sequence[int | None] = self.saved or [None] * len(ran)
        if len(saved) > len(ran):
            saved = [count for node, count in zip(self.graph.nodes, saved, strict=True) if not node.side]
        owners = [names[node.shared.node] if node.shared else "" for node in ran]
        columns = ran, inputs, self.runs, self.fields, depths(self.ran), saved, owners
        return tuple(map(Layer._make, zip(*columns, strict=True)))

    def layer(self, name: str) -> Layer:
        """Return the layer with that name. Raises ArchcalcError with the nearest names if there is none."""
        for layer in self.layers:
            if layer.node.name == name:
                return layer
        known = suggest(str(name), [layer.node.name for layer in self.layers]) or "`report.layers` has all"
        raise ArchcalcError(f"{self.graph.name} has no layer {name!r}; {known}")


@uncollected
def analyze(
    graph: Graph, batch: int = 1, dtype: str = "float32", mode: str = "infer", flops: str = "all",
    recipe: Recipe = USUAL,
) -> Report:  # fmt: skip
    """Compute all figures of a network for one forward pass of `batch` images, and in training for one step.

    `mode="train"` includes side outputs, what dropout writes, and the figures of a step (`step_macs` and others) by
    `recipe`, whose dtype is not read; `macs` and `flops` are those of inference in both modes (see `ops.base`). `flops`
    names a convention. Raises ArchcalcError for an invalid batch, dtype, mode, convention or recipe; SpecError, with
    its place, for a layer without a rule for a figure (an unknown figure is never zero; what needs the whole graph
    raises when it is read), and in training for a side output that does not accept this input.
    """
    require_graph("analyze", graph)
    report = report_of(graph, images(batch), dtype, mode, flops, recipe)
    report.runs  # noqa: B018  # raises if a layer has no rule
    return report


def report_of(graph: Graph, batch: Any, dtype: str, mode: str, flops: str, recipe: Recipe) -> Report:
    """Return a report like `analyze`, of a batch that may be a formula; a layer without a rule raises later."""
    convention = require_conditions(graph, dtype, mode, flops, recipe)
    if MODES[mode] and graph.misfit:
        raise graph.misfit
    return Report(graph, batch, dtype, mode, convention, recipe)


def require_conditions(graph: Graph, dtype: str, mode: str, flops: str, recipe: Recipe) -> Convention:
    """Return the convention. Raises ArchcalcError for an invalid dtype, mode, convention or recipe."""
    convention = choose("convention", flops, CONVENTIONS)
    choose("dtype", dtype, DTYPES)
    trains = choose("mode", mode, MODES)
    require_possible(graph, recipe)
    if not trains and recipe != USUAL:
        raise ArchcalcError("a recipe applies to training; use mode train")
    return convention


def images(batch: object) -> int:
    """Return the number of images in a batch; accept NumPy's integers. Raises ArchcalcError for another value."""
    count = plain(batch)
    if type(count) is not int or not 1 <= count <= MAX_BATCH:
        given = "a number beyond 2^63" if isinstance(count, int) and abs(count) >= 2**63 else shorten(repr(batch))
        raise ArchcalcError(f"batch must be a whole number from 1 to {MAX_BATCH:,}, not {given}")
    return count


def _run(node: Node, conditions: Conditions, overwrites: bool, needed: Gradients | None, batched: bool) -> Run:
    conditions = conditions if batched else conditions._replace(batch=1)
    try:
        return run_of(node, conditions, overwrites, needed)
    except NotImplementedError as error:
        raise SpecError(f"{node.name}: {error}", node.place) from None
