"""The registry of figures: what each is called, what it counts, what it means, and how it adds up over layers.

Whatever adds up, shows, sorts, compares, draws or checks figures reads this table. A new figure is one row here and one
function of a layer's `Run` in `cost`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, TypeAlias

from archcalc.analysis import cost
from archcalc.analysis.cost import Run

SUM = "sum"  # of layers, so an operator's layers, a block and the network have it, too
END = "end"  # of a layer; a block has that of its last layer, the network that of the layer it is stated at
PATH = "path"  # of the longest path in a block or the network; a layer stands at the end of one
NETWORK = "network"  # of the network alone
Rule: TypeAlias = Callable[[Run], int]


class Figure(NamedTuple):
    """One figure. Its key names it in JSON, CSV, specs and on the command line, and as an attribute in Python."""

    key: str
    title: str  # for people
    unit: str  # "": a detail of another figure, in data alone
    adds: str  # SUM, END, PATH or NETWORK
    means: str
    of: Rule | None = None  # its function; None: it takes the whole graph, see `report`
    counted: str = ""  # what a heading says besides the title, where that is neither bytes nor pixels

    @property
    def heading_unit(self) -> str:
        """What stands behind the title in a heading; params and MACs say themselves what they count."""
        return self.unit if self.unit in ("bytes", "pixels") else self.counted


SMALL_COUNTS = frozenset(("layers", "pixels", "branches"))  # units of counts that are small, so each digit counts
_ROWS = (
    Figure("layers", "layers", "layers", SUM, "operators of every kind, the input included", lambda run: 1),
    Figure("weights", "weights", "values", SUM, "trainable values that are no biases", lambda run: run.weights),
    Figure("biases", "biases", "values", SUM, "trainable values that layers add", lambda run: run.biases),
    Figure("params", "params", "values", SUM, "weights and biases", lambda run: run.weights + run.biases),
    Figure("params_with_statistics", "params and running statistics", "values", SUM,
           "what Keras prints as the total", lambda run: run.weights + run.biases + run.running_statistics),
    Figure("buffers", "buffers", "values", SUM, "values that are kept and not trained",
           lambda run: run.running_statistics + run.batch_counters + run.fixed_values),
    Figure("running_statistics", "running statistics", "values", SUM,
           "means and variances that batch normalization averages in training", lambda run: run.running_statistics),
    Figure("batch_counters", "batch counters", "values", SUM,
           "PyTorch's counters of the batches that a batch normalization has seen", lambda run: run.batch_counters),
    Figure("fixed_values", "fixed values", "values", SUM, "buffers that never change", lambda run: run.fixed_values),
    Figure("param_bytes", "params", "bytes", SUM, "memory of weights and biases", cost.param_bytes),
    Figure("buffer_bytes", "buffers", "bytes", SUM, "memory of the buffers; a counter is an int64", cost.buffer_bytes),
    Figure("macs", "MACs", "operations", SUM, "multiply-accumulates of one forward pass",
           lambda run: run.work.get("mac", 0)),
    Figure("flops", "FLOPs", "operations", SUM, "arithmetic of one forward pass, weighed by a convention",
           lambda run: run.conditions.convention.flops(run.work)),
    Figure("connections", "connections", "links", SUM,
           "pairs of a weighted layer's output value and an input value or bias", lambda run: run.connections),
    Figure("activations", "activations", "values", SUM, "values that layers write", lambda run: run.activations,
           counted="values"),
    Figure("activation_bytes", "activations", "bytes", SUM, "memory that layers write",
           lambda run: run.activations * run.conditions.value_bytes),
    Figure("bytes_moved", "bytes moved", "bytes", SUM,
           "inputs, outputs, weights and buffers that layers read and write; of a view none", cost.bytes_moved),
    Figure("saved_bytes", "kept for backward", "bytes", SUM,
           "what PyTorch keeps from a forward pass in training until the backward pass, each tensor once"),
    Figure("depth", "depth", "layers", PATH, "layers with weights on the longest path", counted="weighted layers"),
    Figure("receptive_field", "receptive field", "pixels", END, "the largest at the last layer with places"),
    Figure("effective_stride", "effective stride", "pixels", END, "how far the field moves from position to position"),
    Figure("effective_padding", "effective padding", "pixels", END, "how far the first field reaches out of the image"),
    Figure("receptive_field_at", "receptive field at", "", NETWORK, "the last layer with places"),
    Figure("field_status", "field status", "", END, "exact, varies, whole input, fixed or unknown"),
    Figure("field_min", "smallest field", "", END, "the smallest size of any position"),
    Figure("field_period", "period of the field", "", END, "the number of positions after which spans repeat"),
    Figure("field_stride", "stride of the field", "", END, "the stride as text, also where it is a fraction"),
    Figure("field_fixed", "fixed field", "", END, "the first and last position that come through a whole axis"),
    Figure("field_seen", "seen of the image", "", END, "the most positions of the image that one position sees"),
    Figure("field_seen_min", "least seen of the image", "", END, "the fewest that one position sees"),
    Figure("local_field", "local field", "pixels", END, "the field without what comes through a whole axis"),
    Figure("local_field_min", "smallest local field", "", END, "the smallest local size of any position"),
    Figure("expected_branches", "branches kept, expected", "branches", NETWORK, "of those that training drops"),
    Figure("droppable_branches", "droppable branches", "", NETWORK, "branches that training drops at random"),
    Figure("expected_depth", "depth, expected", "layers", NETWORK, "weighted layers that run on the longest path"),
    Figure("expected_macs", "MACs, expected", "operations", NETWORK, "MACs of the layers that run"),
    Figure("output", "output", "shape", END, "the shape it gives, without the batch"),
    Figure("input", "input", "shape", END, "the shape that goes in, without the batch"),
)  # fmt: skip
FIGURES = {figure.key: figure for figure in _ROWS}


def stated() -> dict[str, Figure]:
    """The figures that a source can print: all but details."""
    return {key: figure for key, figure in FIGURES.items() if figure.unit}


def numbers() -> dict[str, Figure]:
    """The figures of a network that can be compared and drawn: a field by height and width, all others one number."""
    return {key: figure for key, figure in stated().items() if figure.unit != "shape"}


def summed() -> list[str]:
    """The figures that each layer has by itself."""
    return [key for key, figure in FIGURES.items() if figure.of]


def rule(key: str) -> Rule:
    """The function of a figure of SUM. Raises AttributeError for any other name: it is looked up as an attribute."""
    figure = FIGURES.get(key)
    if figure is None or figure.of is None:
        raise AttributeError(f"no figure {key!r}")
    return figure.of
