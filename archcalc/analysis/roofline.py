"""How long a forward pass takes at least on a card, if it reaches the card's peaks.

Two figures, and neither is a prediction:

- `lower_bound`: the larger of all multiply-accumulates at their peaks, and params, input and output moved once. It
  holds for kernels that do the arithmetic that is counted. Winograd's algorithm needs less for a 3×3 convolution.
- `layer_times`: for each layer the larger of its arithmetic at the peak, and its bytes at full bandwidth
  (`bytes_moved`). The sum is an optimistic estimate, not a bound: kernels reach a part of the peak, but what one layer
  writes may still be in the cache when the next one reads it, and PyTorch's compiler merges layers.

As PyTorch does by default, convolutions in float32 run in TF32 where the card has it, and linear layers in float32.
Other arithmetic counts only by the bytes it moves.
"""

from __future__ import annotations

from math import prod
from typing import NamedTuple

from archcalc.analysis.cards import Card
from archcalc.analysis.cost import DTYPES, Run, bytes_moved
from archcalc.analysis.report import Report
from archcalc.graph.graph import Node

LAUNCH = 5e-6  # seconds: about what PyTorch takes to start one kernel; the GPU waits if a kernel is shorter


class LayerTime(NamedTuple):
    """Seconds of a layer: its arithmetic at the peak, and its bytes at full bandwidth."""

    node: Node
    compute: float
    memory: float

    @property
    def seconds(self) -> float:
        """The larger of both."""
        return max(self.compute, self.memory)

    @property
    def bound(self) -> str:
        """What limits the layer: compute, memory, or launch if it is shorter than a launch; "" if nothing runs."""
        if not self.seconds:
            return ""
        if self.seconds < LAUNCH:
            return "launch"
        return "compute" if self.compute > self.memory else "memory"


def layer_times(report: Report, card: Card) -> list[LayerTime]:
    """Return the times of each layer that runs. Raises ArchcalcError for a dtype without a known peak."""
    known = {id(run): (_arithmetic(run, report.dtype, card), bytes_moved(run) / card.bandwidth) for run in report.runs}
    return [LayerTime(node, *known[id(run)]) for node, run in zip(report.ran.nodes, report.runs, strict=True)]


def lower_bound(report: Report, card: Card) -> float:
    """Return the seconds that a forward pass takes at least. Raises ArchcalcError for a dtype without a known peak."""
    ran, totals = report.ran, report.totals
    values = report.batch * (prod(ran.input) + prod(ran.nodes[ran.result].output))
    moved: int = totals.param_bytes + totals.buffer_bytes + values * DTYPES[report.dtype]
    return max(sum(time.compute for time in layer_times(report, card)), moved / card.bandwidth)


def _arithmetic(run: Run, dtype: str, card: Card) -> float:
    """Return the seconds of a layer's multiply-accumulates, two operations each."""
    return 2 * run.work.get("mac", 0) / card.peak(dtype, tf32=run.node.op.name != "linear")
