"""The registry of figures: the key, title, unit and definition of each, and how it adds up over layers.

All code that adds up, shows, sorts, compares, draws or checks figures reads this table. A new figure is one row here
and one function of a layer's `Run` in `cost`.
"""

import re
from collections.abc import Callable
from typing import NamedTuple, TypeAlias

from archcalc.analysis import cost
from archcalc.analysis.cost import Run, macs_of

SUM = "sum"  # over layers: of an operator, a block or the network
END = "end"  # of a layer; for a block that of its last layer, for the network see `spatial_end`
PATH = "path"  # of the longest path in a block or the network, or up to a layer
NETWORK = "network"  # of a whole network only
Rule: TypeAlias = Callable[[Run], "int | None"]  # None: unknown


class Figure(NamedTuple):
    """One figure. Its key is its name in JSON, CSV, specs and on the command line, and its attribute in Python."""

    key: str
    title: str  # for people
    unit: str  # "": a detail of another figure, only in data
    adds: str  # SUM, END, PATH or NETWORK
    means: str
    of: Rule | None = None  # its function; None: it needs the whole graph, see `report`
    counted: str = ""  # what a heading says after the title, if the unit is neither bytes nor pixels

    @property
    def heading_unit(self) -> str:
        """The text after the title in a heading; none for params and MACs, whose titles say what they count."""
        return self.unit if self.unit in ("bytes", "pixels") else self.counted


SMALL_COUNTS = frozenset(("layers", "pixels", "branches"))  # units of small counts: all printed digits are significant
_ROWS = (
    Figure("layers", "layers", "layers", SUM, "count of operators of every kind, including the input", lambda run: 1),
    Figure("weights", "weights", "values", SUM, "trainable values except biases", lambda run: run.weights),
    Figure("biases", "biases", "values", SUM, "trainable values that a layer adds: biases, and β of normalization",
           lambda run: run.biases),
    Figure("params", "params", "values", SUM, "all weights and biases, also frozen ones",
           lambda run: run.weights + run.biases),
    Figure("params_with_statistics", "params and running statistics", "values", SUM,
           "weights, biases and running statistics, which Keras prints as the total",
           lambda run: run.weights + run.biases + run.running_statistics),
    Figure("buffers", "buffers", "values", SUM,
           "values that are kept but not trained: running statistics, batch counters and fixed values",
           lambda run: run.running_statistics + run.batch_counters + run.fixed_values),
    Figure("running_statistics", "running statistics", "values", SUM,
           "mean and variance per channel, averaged over batches in training", lambda run: run.running_statistics),
    Figure("batch_counters", "batch counters", "values", SUM,
           "PyTorch's counters of training batches, one per batch normalization", lambda run: run.batch_counters),
    Figure("fixed_values", "fixed values", "values", SUM, "buffers that never change, such as LeNet-5's prototypes",
           lambda run: run.fixed_values),
    Figure("param_bytes", "params", "bytes", SUM, "memory of weights and biases", cost.param_bytes),
    Figure("buffer_bytes", "buffers", "bytes", SUM, "memory of buffers; a counter takes 8 bytes", cost.buffer_bytes),
    Figure("macs", "MACs", "operations", SUM,
           "multiply-accumulates of convolutions, linear and recurrent layers, and products of matrices",
           lambda run: macs_of(run.work)),
    Figure("flops", "FLOPs", "operations", SUM, "arithmetic operations, each kind times its weight in the convention",
           cost.flops),
    Figure("forward_flops", "forward FLOPs", "operations", SUM,
           "FLOPs of a forward pass in training, with statistics of the batch and dropout",
           lambda run: run.flops(run.step.forward)),
    Figure("backward_input_macs", "backward input MACs", "operations", SUM,
           "multiply-accumulates for the gradients of inputs; the image needs none",
           lambda run: macs_of(run.step.of_input)),
    Figure("backward_input_flops", "backward input FLOPs", "operations", SUM, "FLOPs for the gradients of inputs",
           lambda run: run.flops(run.step.of_input)),
    Figure("backward_weight_macs", "backward weight MACs", "operations", SUM,
           "multiply-accumulates for the gradients of weights; frozen ones need none",
           lambda run: macs_of(run.step.of_weight)),
    Figure("backward_weight_flops", "backward weight FLOPs", "operations", SUM, "FLOPs for the gradients of weights",
           lambda run: run.flops(run.step.of_weight)),
    Figure("optimizer_flops", "optimizer FLOPs", "operations", SUM,
           "FLOPs of the update of all weights and biases that are not frozen",
           lambda run: run.flops(run.step.optimizer)),
    Figure("step_macs", "step MACs", "operations", SUM, "multiply-accumulates of a training step: forward and backward",
           lambda run: macs_of(*run.step)),
    Figure("step_flops", "step FLOPs", "operations", SUM,
           "FLOPs of a training step: forward, backward and optimizer, without the loss",
           lambda run: run.flops(*run.step)),
    Figure("connections", "connections", "links", SUM,
           "pairs of an output value and an input value or bias, in weighted layers", lambda run: run.connections),
    Figure("activations", "activations", "values", SUM,
           "values of the input, and of all outputs except views and operators in place; dropout only in training",
           lambda run: run.activations, counted="values"),
    Figure("activation_bytes", "activations", "bytes", SUM, "memory of the activations",
           cost.activation_bytes),
    Figure("bytes_moved", "bytes moved", "bytes", SUM,
           "inputs, output, params and buffers of each layer; the input itself and views move none", cost.bytes_moved),
    Figure("saved_bytes", "kept for backward", "bytes", SUM,
           "tensors that PyTorch keeps from the forward to the backward pass, each once, without weights and buffers; "
           "as if nothing were frozen"),
    Figure("peak_inference_bytes", "peak at inference", "bytes", NETWORK,
           "most that tensors hold at a time in an inference on CUDA, params and input included"),
    Figure("peak_training_bytes", "peak in training", "bytes", NETWORK,
           "most that tensors hold at a time in training steps on CUDA, with SGD and momentum unless --optimizer, "
           "--weight-decay or --freeze say otherwise; unknown if nothing can be trained"),
    Figure("depth", "depth", "layers", PATH, "count of weighted layers on the longest path", counted="weighted layers"),
    Figure("receptive_field", "receptive field", "pixels", END,
           "largest size at any position of the last layer with height and width, before global pooling"),
    Figure("effective_stride", "effective stride", "pixels", END,
           "distance between the local fields of neighbouring positions; null unless it is one whole number"),
    Figure("effective_padding", "effective padding", "pixels", END,
           "how far the local field of the first position extends outside the image"),
    Figure("receptive_field_at", "receptive field at", "", NETWORK,
           "name of the layer whose field is the network's"),
    Figure("field_status", "field status", "", END, "one of exact, varies, whole input, fixed and unknown"),
    Figure("field_min", "smallest field", "", END, "smallest receptive field of any position"),
    Figure("field_period", "period of the field", "", END, "local fields repeat after so many positions, if not 1"),
    Figure("field_stride", "stride of the field", "", END, "the effective stride as a text, also if it is a fraction"),
    Figure("field_fixed", "fixed field", "", END,
           "first and last input position that all positions see through layers that read a whole axis"),
    Figure("field_seen", "seen of the image", "", END, "length of the largest part of the image that a position sees"),
    Figure("field_seen_min", "least seen of the image", "", END, "length of the smallest part of the image"),
    Figure("local_field", "local field", "pixels", END,
           "receptive field without what comes through layers that read a whole axis"),
    Figure("local_field_min", "smallest local field", "", END, "smallest local field of any position"),
    Figure("expected_branches", "branches kept, expected", "branches", NETWORK,
           "expected number of droppable branches that run in training"),
    Figure("droppable_branches", "droppable branches", "", NETWORK, "branches that stochastic depth may drop"),
    Figure("expected_depth", "depth, expected", "layers", NETWORK,
           "expected number of weighted layers that run on the longest path in training"),
    Figure("expected_macs", "MACs, expected", "operations", NETWORK, "expected MACs of layers that run in training"),
    Figure("output", "output", "shape", END, "shape of the output, without the batch"),
    Figure("input", "input", "shape", END, "shape of the input, without the batch"),
)  # fmt: skip
FIGURES = {figure.key: figure for figure in _ROWS}
STEP = [key for key in FIGURES if re.match("forward_|backward_|optimizer_|step_", key)]  # of training; at inference 0


def stated() -> dict[str, Figure]:
    """Return the figures that a source can print: all except details."""
    return {key: figure for key, figure in FIGURES.items() if figure.unit}


def numbers() -> dict[str, Figure]:
    """Return the figures that can be compared and drawn: numbers, or for a field a pair for height and width."""
    return {key: figure for key, figure in stated().items() if figure.unit != "shape"}


def summed() -> list[str]:
    """Return the keys of the figures that are sums of a function of each layer."""
    return [key for key, figure in FIGURES.items() if figure.of]


def rule(key: str) -> Rule:
    """Return the function of a figure that `summed` lists. Raises AttributeError for another name."""
    figure = FIGURES.get(key)
    if figure is None or figure.of is None:
        raise AttributeError(f"no figure {key!r} that adds up over layers")
    return figure.of
