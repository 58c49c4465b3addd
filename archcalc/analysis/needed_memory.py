"""What memory an inference or a training step needs: one result, which tables, JSON and pictures read.

`memory_needs(graph, recipe, batch, card)` simulates the recipe, on CUDA replays PyTorch's allocator, and gives for the
moment at which most is held the bytes by kind and by layer. The CUDA context and what libraries take beside the tensors
are `terms`, each an interval, and in no other figure.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import count, zip_longest
from typing import NamedTuple

from archcalc.analysis.allocator import APART, replay
from archcalc.analysis.allocator import Phase as Replayed
from archcalc.analysis.cards import Card
from archcalc.analysis.fit import Fit, batches, largest, space_of
from archcalc.analysis.memory_trace import KINDS, NO_NODE, Peak, Trace
from archcalc.analysis.recipe import BATCHES, USUAL, Recipe, needing_two
from archcalc.analysis.report import Report, analyze
from archcalc.analysis.roofline import LayerTime, layer_times, lower_bound, step_bound, winograd_may_win
from archcalc.analysis.simulation import simulate
from archcalc.analysis.workspaces import Term, workspace_terms
from archcalc.errors import ArchcalcError
from archcalc.graph.graph import Graph

STEPS = 2  # from the second one on all are alike
REPEATED = "forward", "backward"  # phases that each batch of a step has


class PhaseNeeds(NamedTuple):
    """Bytes at the peak and at the end of a phase; the last step stands for all later ones."""

    phase: str
    step: int | None  # None: before training
    batches: tuple[int, int] | None  # of a step, the first and the last; None if it has one, or for all together
    peak: int
    end: int
    allocated: int | None  # the peak of PyTorch's allocator; None on the CPU
    layer: str | None  # see `layer_at`


class Curve(NamedTuple):
    """What is held over a step: points with the bytes of each of KINDS, and where phases begin among them."""

    points: list[tuple[int, ...]]
    starts: list[tuple[str, int]]


class Times(NamedTuple):
    """Seconds on a card: what a forward pass and a training step take at least, and a time for each layer."""

    forward: float
    step: float | None  # None at inference
    winograd: bool  # whether that algorithm may take less
    layers: list[LayerTime]


@dataclass(frozen=True)
class Needs:
    """The memory that a recipe needs for one batch; see `memory_needs`."""

    graph: Graph
    recipe: Recipe
    batch: int
    card: Card | None
    report: Report = field(repr=False)  # of a forward pass in `recipe.products`
    trace: Trace = field(repr=False)

    @cached_property
    def peaks(self) -> list[Peak]:
        """The peaks of all phases; if it trains, without that of the inference."""
        return [peak for peak in self.trace.peaks(self.batch) if peak.step or peak.phase in self._before]

    @property
    def kinds(self) -> dict[str, str]:
        """The kinds of tensors, with their titles."""
        return KINDS if self.recipe.optimizer else KINDS | {"input": "images"}

    @property
    def _before(self) -> Sequence[str]:
        return ("state",) if self.recipe.optimizer else ("state", "inference")

    @cached_property
    def top(self) -> Peak:
        """The first phase with the highest peak."""
        return max(self.peaks, key=lambda peak: peak.peak)

    @cached_property
    def inference(self) -> Peak:
        """The peak of an inference."""
        return next(peak for peak in self.trace.peaks(self.batch) if peak.phase == "inference")

    def layer_at(self, peak: Peak) -> str | None:
        """Return the layer at which a peak is reached; None: the loss, the optimizer or what was there before."""
        node = NO_NODE if peak.phase in ("state", "optimizer") else self.trace.changes[peak.at][2]
        return None if node == NO_NODE else self.graph.nodes[node].name

    def held(self, peak: Peak, depth: int | None = None) -> dict[str | None, Counter[str]]:
        """Return what is held at a peak: bytes by kind, of each layer in order, and of no layer (None).

        With `depth`, layers whose names start with the same `depth` parts count as one.
        """
        names = [".".join(node.name.split(".")[:depth]) for node in self.graph.nodes]
        found: dict[str | None, Counter[str]] = {name: Counter() for name in (*names, None)}
        for (kind, node), held in self.trace.budget(self.batch, peak.at).items():
            found[None if node is None else names[node]][kind] += held
        return found

    def budget(self, peak: Peak) -> dict[str, int]:
        """Return what is held at a peak: bytes of each of KINDS, 0 included."""
        held = sum(self.held(peak).values(), Counter[str]())
        return {kind: held[kind] for kind in KINDS}

    @cached_property
    def _events(self) -> list[list[tuple[int, int]]]:
        """The events of each of `peaks`, for the allocator."""
        phases = zip(self.trace.phases, self.trace.requests(self.batch), strict=True)
        return [events for phase, events in phases if phase.step or phase.name in self._before]

    @cached_property
    def _replayed(self) -> list[Replayed]:
        """What the allocator makes of each of `peaks`; empty on the CPU."""
        return replay(self._events) if self.recipe.device == "cuda" else []

    @cached_property
    def phases(self) -> list[PhaseNeeds]:
        """The phases in order. Where gradients of many batches are added up, equal batches are one phase."""
        rows, seen = dict[PhaseNeeds, list[int]](), Counter[tuple[str, int]]()
        for own, made in zip_longest(self.peaks, self._replayed):
            allocated = made.peak.allocated if made else None
            row = PhaseNeeds(own.phase, own.step or None, None, own.peak, own.end, allocated, self.layer_at(own))
            seen[own.phase, own.step] += 1
            rows.setdefault(row, []).append(seen[own.phase, own.step])
        return [row._replace(batches=self._batches(row.phase, numbers)) for row, numbers in rows.items()]

    def _batches(self, phase: str, numbers: Sequence[int]) -> tuple[int, int] | None:
        """Return the first and last batch of a phase, None if there is one only; the last simulated is all later."""
        most = self.recipe.accumulate
        if phase not in REPEATED or most == 1:
            return None
        return numbers[0], most if numbers[-1] == BATCHES else numbers[-1]

    @property
    def top_phase(self) -> PhaseNeeds:
        """The phase of `top`."""
        return next(row for row in self.phases if (row.phase, row.step or 0, row.peak) == self.top[:3])

    @property
    def allocated(self) -> int | None:
        """The peak of what PyTorch's allocator allocates; None on the CPU."""
        return max((phase.peak.allocated for phase in self._replayed), default=None)

    @cached_property
    def reserved(self) -> tuple[int, int] | None:
        """The peak of what the allocator reserves if addresses only fall and if they only rise, the smaller one first.

        It shows how much the unknown addresses matter, and is no bound. None on the CPU.
        """
        if not self._replayed:
            return None
        ends = sorted(made[-1].end.reserved for made in (self._replayed, replay(self._events, count(0, APART))))
        return ends[0], ends[1]

    @cached_property
    def terms(self) -> Sequence[Term]:
        """What CUDA takes beside the tensors: on the card, or without one at most on any."""
        return workspace_terms(self.report, self.card) if self.recipe.device == "cuda" else ()

    @property
    def needs_two(self) -> str:
        """The layer for which PyTorch refuses to train with a single image; "" if none."""
        return needing_two(self.graph, self.recipe)

    @cached_property
    def fit(self) -> Fit | None:
        """The largest batches that fit the card, and what is lacking for this one; None without a card."""
        if self.card is None:
            return None
        return largest(batches(self.graph, self.recipe, self.card), space_of(self.card), self.batch)

    @cached_property
    def times(self) -> Times | None:
        """How long it takes on the card; None without a card or known peak."""
        if self.card is None:
            return None
        held = zip(self.trace.kinds, self.trace.sizes, strict=True)
        state = sum(fixed for kind, (fixed, _) in held if kind == "optimizer state")
        report, card = self.report, self.card
        try:
            step = step_bound(report, card, state) if self.recipe.optimizer else None
            return Times(lower_bound(report, card), step, winograd_may_win(report, card), layer_times(report, card))
        except ArchcalcError:
            return None

    def curve(self, most: int) -> Curve:
        """Return what is held over the step of the peak, in at most so many points.

        A point is the moment of its part of the events at which most is held.
        """
        changes, phases = self.trace.changes, self.trace.phases
        own = [i for i, phase in enumerate(phases) if phase.step == self.top.step and phase.name != "state"]
        end = [*[phase.start for phase in phases], len(changes)][own[-1] + 1]
        start = min(phases[own[0]].start, end - 1)  # without events: the last one before
        width = min(most, end - start)
        sums, total, highest = dict.fromkeys(KINDS, 0), 0, [-1] * width
        points: list[tuple[int, ...]] = [()] * width
        for i, (storage, sign, _) in enumerate(changes[:end]):
            fixed, each = self.trace.sizes[storage]
            change = sign * (fixed + self.batch * each)
            sums[self.trace.kinds[storage]] += change
            total += change
            if i >= start and total > highest[at := (i - start) * width // (end - start)]:
                highest[at], points[at] = total, tuple(sums.values())
        at_start = [min((phases[i].start - start) * width // (end - start), width - 1) for i in own]
        return Curve(points, [(phases[i].name, at) for i, at in zip(own, at_start, strict=True)])


def memory_needs(graph: Graph, recipe: Recipe, batch: int = 1, card: Card | None = None) -> Needs:
    """Compute what memory a recipe needs for batches of so many images; without an optimizer no side output runs.

    Raises ArchcalcError for an invalid batch, and like `simulate`.
    """
    trained = recipe if recipe.optimizer else USUAL  # at inference nothing of it is read
    report = analyze(graph, batch, recipe.products, "train" if recipe.optimizer else "infer", recipe=trained)
    recipe = recipe._replace(single=report.batch == 1, steps=STEPS)
    return Needs(report.ran, recipe, report.batch, card, report, simulate(report.ran, recipe.brief))
