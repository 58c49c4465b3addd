"""How long a forward pass and a training step take at least on a card, if they reach the card's peaks.

Three figures, and none is a prediction:

- `lower_bound`: the larger of all multiply-accumulates at their peaks, and params, inputs and outputs moved once, but
  for the tables of embeddings. It holds for kernels that do the arithmetic that is counted; see `winograd_may_win`.
- `step_bound`: the same for forward, backward and the optimizer. Gradients are written and read once, the optimizer's
  state is read and written, and the weights are written. What checkpoints run again is not counted.
- `layer_times`: for each layer the larger of its arithmetic at the peak, and its bytes at full bandwidth
  (`bytes_moved`). The sum is an optimistic estimate, not a bound: kernels reach a part of the peak, but what one layer
  writes may still be in the cache when the next one reads it, and PyTorch's compiler merges layers.

As PyTorch does by default, convolutions in float32 run in TF32 where the card has it, and linear layers in float32.
Other arithmetic counts only by the bytes it moves.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import prod
from typing import NamedTuple

from archcalc.analysis.cards import Card
from archcalc.analysis.cost import DTYPES, Run, bytes_moved, param_bytes
from archcalc.analysis.report import Report
from archcalc.graph.graph import Node
from archcalc.ops.convolution import Conv

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
    known = {
        id(run): (_arithmetic(run, [run.work], report.dtype, card), bytes_moved(run) / card.bandwidth)
        for run in report.runs
    }
    return [LayerTime(node, *known[id(run)]) for node, run in zip(report.ran.nodes, report.runs, strict=True)]


def lower_bound(report: Report, card: Card) -> float:
    """Return the seconds that a forward pass takes at least. Raises ArchcalcError for a dtype without a known peak."""
    return max(sum(time.compute for time in layer_times(report, card)), _moved(report) / card.bandwidth)


def step_bound(report: Report, card: Card, state: int) -> float:
    """Return the seconds that a step by the report's recipe takes at least; `state` has the bytes of the optimizer's.

    Raises ArchcalcError for a dtype without a known peak.
    """
    recipe, runs = report.recipe, report.runs
    passes = sum(_arithmetic(run, run.step[:3], report.dtype, card) for run in runs)
    updated = [run for run in runs if run.step.optimizer]
    update = sum(sum((run.step.optimizer or {}).values()) for run in updated) / card.peak(report.dtype)
    trained = sum(run.weights + run.biases for run in updated) * DTYPES[recipe.dtype]
    moved = recipe.accumulate * _moved(report) + 3 * trained + 2 * state
    return max(recipe.accumulate * passes + update, moved / card.bandwidth)


def winograd_may_win(report: Report, card: Card) -> bool:
    """Whether Winograd's algorithm may beat the bounds: a 3×3 convolution in float32 with a quarter of the MACs.

    TF32 does not have it; if its peak is four times that of float32, nothing is won.
    """
    slow = report.dtype == "float32" and card.peak("float32", tf32=True) < 4 * card.peak("float32")
    convolutions = (run.node.op for run in report.runs if isinstance(run.node.op, Conv))
    return slow and ((3, 3), (1, 1), (1, 1)) in {(op.kernel_size, op.stride, op.dilation) for op in convolutions}


def _moved(report: Report) -> int:
    """Return the bytes of params, buffers, inputs and outputs, without tables of which only an embedding reads rows."""
    ran, totals = report.ran, report.totals
    ends = [node.output for node in ran.inputs] + [ran.nodes[i].output for i in ran.results]
    moved: int = totals.param_bytes + totals.buffer_bytes + report.batch * sum(map(prod, ends)) * DTYPES[report.dtype]
    whole = {node.shared.node for node in ran.nodes if node.shared and node.op.name != "embedding"}
    tables = [run for i, run in enumerate(report.runs) if ran.nodes[i].op.name == "embedding" and i not in whole]
    return moved - sum(map(param_bytes, tables))


def _arithmetic(run: Run, works: Iterable[Mapping[str, int] | None], dtype: str, card: Card) -> float:
    """Return the least seconds of some works' multiply-accumulates, two operations each; unknown work adds nothing."""
    macs = sum(work.get("mac", 0) for work in works if work)
    return 2 * macs / card.peak(dtype, tf32=run.node.op.name != "linear")
