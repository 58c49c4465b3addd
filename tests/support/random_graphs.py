"""Random networks over all operators: hypothesis strategies for tests of whole graphs.

`networks()` draws networks whose steps fit together, `doubtful()` some whose last step may not fit. Shapes are small,
so that a network runs in milliseconds. Most are in float32, others in any dtype. `sweep` draws any number of networks.
"""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Callable, Iterator
from itertools import count
from math import prod
from random import Random
from typing import Any, NamedTuple, TypeAlias

from hypothesis import HealthCheck, given, settings
from hypothesis import seed as seeded
from hypothesis import strategies as st

from archcalc.analysis.cost import DTYPES
from archcalc.ops import REGISTRY, Shape, make
from archcalc.ops.shape import MAPS, Features, Map, Tokens, shape_of
from archcalc.ops.upsampling import LINEAR
from archcalc.spec.functions import DIMENSIONS
from support.operator_cases import ELEMENTWISE
from support.operator_strategies import WRITTEN
from support.spec_steps import (
    IDENTITY,
    Again,
    Block,
    Branch,
    Choose,
    Join,
    Label,
    Layer,
    Network,
    Outputs,
    Repeat,
    Side,
    Step,
    Steps,
    Use,
    every_step,
    inlined,
    used,
)

LAYERS = 15  # most layers, approximately, without repetitions
CHANNELS = 8  # most output channels of a weighted layer
LENGTH = 12  # most height or width
MOST = 2000  # most values that a step has when it runs again
LENGTHS = {"CL": 2 * LENGTH, "CHW": LENGTH, "CDHW": 5}  # most length that upsampling gives, by axes

FLAG = st.booleans()
RARELY = st.sampled_from([False] * 5 + [True])
SOMETIMES = st.sampled_from([False] * 2 + [True])
MORE = st.sampled_from([False] + [True] * 19), st.sampled_from([False] + [True] * 2)  # in the main chain; in branches
DROP = st.sampled_from([0.5, 0, 1])
REAL = st.sampled_from([1.0, 0.75, 2])
ODD = ("training", "forward", "nodes", "conv1", "relu")  # labels that are also names of other things
CLASHING = (  # labels and branches with the names that unnamed layers, branches and blocks get
    "conv", "conv1", "conv2", "relu", "relu1", "relu2", "relu6", "relu61", "batchnorm1", "identity", "identity1",
    "branch", "branch1", "branch2", "side1", "side2", "add1", "concat1", "mean2", "w0", "w1", "l1", "relu_", "_0",
    "output1", "l1_again",
)  # fmt: skip
Draw: TypeAlias = st.DrawFn


def upto(most: int, least: int = 1) -> st.SearchStrategy[int]:
    return st.integers(least, max(least, most))


def per_axis(draw: Draw, most: Any, least: int = 1) -> Any:
    """Draw a number per axis up to its limit; one number if they are equal."""
    drawn = tuple(draw(upto(limit, least)) for limit in most)
    return drawn[0] if len(set(drawn)) == 1 else drawn


def spread(value: Any, x: Shape) -> tuple[int, ...]:
    return value if isinstance(value, tuple) else (value,) * len(x.lengths)


def some(draw: Draw, **optional: st.SearchStrategy[Any]) -> dict[str, Any]:
    """Draw some of the optional arguments."""
    return {name: draw(strategy) for name, strategy in optional.items() if draw(SOMETIMES)}


def divisors(number: int) -> list[int]:
    return [n for n in range(1, number + 1) if number % n == 0]


def conv(draw: Draw, x: Shape) -> dict[str, Any]:
    if draw(RARELY) and x.axes == "CHW":
        return table(draw, x)
    groups = draw(st.sampled_from(divisors(x.channels)))
    geometry = framed(draw, x) if draw(RARELY) else window(draw, x)
    keywords = {"out_channels": groups * draw(upto(CHANNELS // groups)), **geometry}
    return keywords | ({"groups": groups} if groups > 1 else {}) | some(draw, bias=FLAG)


def table(draw: Draw, x: Shape) -> dict[str, Any]:
    row = st.lists(st.integers(0, x.channels - 1), min_size=1, max_size=3, unique=True).map(tuple)
    rows = tuple(draw(st.lists(row, min_size=1, max_size=4)))
    return {"out_channels": len(rows), **window(draw, x), "connections": rows} | some(draw, bias=FLAG)


def window(draw: Draw, x: Shape) -> dict[str, Any]:
    """Draw the geometry of a convolution."""
    dilation = per_axis(draw, spread(2, x)) if draw(RARELY) else 1
    lopsided = {"dilation": dilation} if dilation != 1 else {}
    if draw(RARELY):
        return {"kernel_size": per_axis(draw, spread(4, x)), "padding": "same", **lopsided}
    padding = per_axis(draw, spread(2, x), 0)
    axes = zip(x.lengths, spread(padding, x), spread(dilation, x), strict=True)
    kernel = per_axis(draw, [min(4, (n + 2 * p - 1) // d + 1) for n, p, d in axes])
    lopsided |= {"padding": padding} if padding else {}
    return {"kernel_size": kernel, **lopsided} | ({"stride": per_axis(draw, spread(3, x))} if draw(RARELY) else {})


def framed(draw: Draw, x: Shape) -> dict[str, Any]:
    """Draw a convolution with another padding than zeros on both sides."""
    words = ["SAME", "same", *(["causal"] if x.axes == "CL" else [])]
    padding = draw(st.sampled_from([*words, "pairs"]))
    stride = {"stride": per_axis(draw, spread(3, x))} if padding != "same" else {}
    kernel = per_axis(draw, [min(3, length) for length in x.lengths])
    mode = draw(st.sampled_from(["zeros", *[name for name in BORDERS if min(x.lengths) > 2]]))
    if padding == "pairs":
        padding = tuple((draw(upto(2, 0)), draw(upto(2, 0))) for _ in x.lengths)
    return {"kernel_size": kernel, "padding": padding, **stride, "padding_mode": mode}


def pad(draw: Draw, x: Shape) -> dict[str, Any]:
    mode = draw(st.sampled_from(["constant", *[name for name in BORDERS if isinstance(x, Map)]]))
    most = {"reflect": [n - 1 for n in x.lengths], "circular": [*x.lengths]}.get(mode, [2] * len(x.lengths))
    pairs = tuple((draw(upto(min(2, n), 0)), draw(upto(min(2, n), 0))) for n in most)
    cut = mode == "constant" and draw(RARELY) and min(x.lengths) > 2
    return {"padding": -1 if cut else pairs, **({} if mode == "constant" else {"mode": mode})}


def along(draw: Draw, x: Shape) -> dict[str, Any]:
    return {"axis": draw(st.sampled_from(x.axes))} if draw(FLAG) else {}


def sliced(draw: Draw, x: Shape) -> dict[str, Any]:
    where = along(draw, x)
    size = x.size(where.get("axis", "C"))
    start = draw(upto(size - 1, 0))
    stop = draw(st.none() | st.integers(start + 1, size))
    return {"start": draw(st.sampled_from([start, start - size])), "stop": stop, "step": draw(upto(2)), **where}


def chunk(draw: Draw, x: Shape) -> dict[str, Any]:
    where = along(draw, x)
    size, chunks = x.size(where.get("axis", "C")), draw(upto(3))
    return {"chunks": chunks, "index": draw(upto(-(-size // -(-size // chunks)) - 1, 0)), **where}


def reshape(draw: Draw, x: Shape) -> dict[str, Any]:
    """Draw other lengths for the same values."""
    axes = draw(st.sampled_from(["C", "CL", "CHW", "TC"] if isinstance(x, Map) else ["C", "TC", "CHW"]))
    sizes, left = {}, prod(x)
    for axis in axes[1:]:
        sizes[axis] = draw(st.sampled_from([n for n in divisors(left) if n <= LENGTH]))
        left //= sizes[axis]
    return {axes[0]: draw(st.sampled_from([left, -1])), **sizes}


def repeat(draw: Draw, x: Shape) -> dict[str, Any]:
    return {axis: draw(upto(2)) for axis in x.axes if draw(SOMETIMES) and x.size(axis) <= 4}


def conv_transpose(draw: Draw, x: Shape) -> dict[str, Any]:
    groups = draw(st.sampled_from(divisors(x.channels)))
    # With one thread and a kernel of k×1×1, or an output padding of a whole stride, PyTorch puts the output of a volume
    # into memory as large as the input
    volume = x.axes == "CDHW"
    least = [1] * (len(x.lengths) - 1) + [2 if volume else 1]
    axes = [transposed_axis(draw, length, few, volume) for length, few in zip(x.lengths, least, strict=True)]
    names = ("kernel_size", "stride", "dilation", "padding", "output_padding")
    geometry = dict(zip(names, zip(*axes, strict=True), strict=True))
    keywords = {"out_channels": groups * draw(upto(CHANNELS // groups)), **geometry, "groups": groups}
    return keywords | some(draw, bias=FLAG)


def transposed_axis(draw: Draw, length: int, least: int, volume: bool) -> tuple[int, ...]:
    stride = draw(upto(min(3, LENGTH // length)))
    kernel = draw(upto(3, least))
    dilation = draw(upto(2)) if kernel > 1 else 1  # PyTorch's backward in float16 crashes for a dilated kernel of 1
    extra = draw(upto((stride if volume else max(stride, dilation)) - 1, 0))
    grown = (length - 1) * stride + dilation * (kernel - 1) + extra + 1
    return kernel, stride, dilation, draw(upto(min(2, (grown - 1) // 2), 0)), extra


def pool(draw: Draw, x: Shape, dilated: bool = False) -> dict[str, Any]:
    keywords = {"ceil_mode": True} if draw(FLAG) else {}
    if dilated and draw(RARELY) and min(x.lengths) > 2:  # otherwise a window may step over the input
        keywords["dilation"] = 2
    if draw(FLAG):
        keywords["stride"] = per_axis(draw, spread(3, x))
    reach = [min(4, (length - 1) // keywords.get("dilation", 1) + 1) for length in x.lengths]
    kernel = per_axis(draw, reach)
    if draw(FLAG):
        keywords["padding"] = per_axis(draw, [k // 2 for k in spread(kernel, x)], 0)
    return {"kernel_size": kernel, **keywords}


def divisor(draw: Draw, x: Shape) -> dict[str, Any]:
    return some(draw, divisor_override=upto(9)) if x.axes != "CL" else {}


def upsample(draw: Draw, x: Shape) -> dict[str, Any]:
    modes = ["nearest", "nearest-exact", LINEAR[len(x.lengths)], *(["bicubic"] if x.axes == "CHW" else [])]
    keywords = some(draw, mode=st.sampled_from(modes))
    if not keywords.get("mode", "nearest").startswith("nearest"):
        keywords |= some(draw, align_corners=FLAG)
    if draw(FLAG):
        return keywords | {"size": per_axis(draw, spread(LENGTHS[x.axes], x))}
    if draw(RARELY) and min(x.lengths) > 1 and max(x.lengths) <= LENGTHS[x.axes] // 2:
        return keywords | {"scale_factor": draw(st.sampled_from([0.5, 1.5]))}
    return keywords | {"scale_factor": per_axis(draw, [min(3, LENGTHS[x.axes] // length) for length in x.lengths])}


def layernorm(draw: Draw, x: Shape) -> dict[str, Any]:
    over = st.sampled_from([tuple(x)[i:] for i in range(len(x))])
    return some(draw, normalized_shape=over, eps=REAL, elementwise_affine=FLAG, bias=FLAG)


def groupnorm(draw: Draw, x: Shape) -> dict[str, Any]:
    # Of one value nothing is left but rounding, which a norm after it makes large
    groups = [n for n in divisors(x.channels) if prod(x) > n] or [1]
    return {"num_groups": draw(st.sampled_from(groups))} | some(draw, eps=REAL, affine=FLAG)


def pad_shortcut(draw: Draw, x: Shape) -> dict[str, Any]:
    keywords = {"out_channels": x.channels + draw(upto(4, 0))}
    return keywords | ({"stride": per_axis(draw, (3, 3))} if draw(RARELY) else {})


def nothing(draw: Draw, x: Shape) -> dict[str, Any]:
    return {}


def in_place(draw: Draw, x: Shape) -> dict[str, Any]:
    return {"inplace": draw(FLAG)} if draw(FLAG) else {}


INSTANCES: list[dict[str, Any]] = [{}, {"affine": True}, {"affine": True, "track_running_stats": True}]


def recurrent(draw: Draw, x: Shape) -> dict[str, Any]:
    return {"hidden_size": draw(upto(6))} | some(draw, num_layers=upto(2), bias=FLAG, bidirectional=FLAG)


def heads(draw: Draw, x: Shape) -> dict[str, Any]:
    return {"num_heads": draw(st.sampled_from(divisors(x.channels)))}


def rotary(draw: Draw, x: Shape) -> dict[str, Any]:
    return {"num_heads": draw(st.sampled_from(divisors(x.channels // 2)))} | some(draw, base=REAL)


def windowed(draw: Draw, x: Shape) -> dict[str, Any]:
    size = per_axis(draw, [min(4, length + 1) for length in x.lengths])
    shift = upto(min(2, min(spread(size, x)) - 1), 0)
    return {"window_size": size, **heads(draw, x)} | some(draw, shift=shift)


def gridded(draw: Draw, x: Shape) -> dict[str, Any]:
    grid = some(draw, grid=FLAG)
    given = windowed(draw, x) | grid | some(draw, scale=REAL)
    return {key: value for key, value in given.items() if key != "shift" or not grid.get("grid")}


# By operator, arguments that fit an input; in the order in which hypothesis simplifies a failing network.
ARGUMENTS: dict[str, Callable[[Draw, Shape], dict[str, Any]]] = {
    "relu": in_place,
    "conv": conv,
    "linear": lambda draw, x: {"out_features": draw(upto(9))} | some(draw, bias=FLAG),
    "identity": nothing,
    "flatten": nothing,
    "elu": lambda draw, x: some(draw, alpha=REAL) | in_place(draw, x),
    "selu": in_place,
    "prelu": lambda draw, x: {"num_parameters": x.channels} if not isinstance(x, Tokens) and draw(FLAG) else {},
    "mish": in_place,
    "softplus": lambda draw, x: some(draw, beta=REAL, threshold=REAL),
    "exp": nothing,
    "clamp": lambda draw, x: {"min": draw(REAL) - 2} | some(draw, max=REAL),
    "log_softmax": nothing,
    "glu": nothing,
    "swiglu": nothing,
    "sigmoid": nothing,
    "tanh": nothing,
    "scaled_tanh": lambda draw, x: some(draw, amplitude=REAL, slope=REAL),
    "relu6": in_place,
    "leaky_relu": lambda draw, x: some(draw, negative_slope=REAL) | in_place(draw, x),
    "silu": in_place,
    "hardsigmoid": in_place,
    "hardswish": in_place,
    "gelu": lambda draw, x: some(draw, approximate=st.just("tanh")),
    "softmax": nothing,
    "dropout": lambda draw, x: {"p": draw(DROP)} | in_place(draw, x),
    "droppath": lambda draw, x: {"p": draw(DROP)},
    "stochastic_depth": lambda draw, x: {"p": draw(DROP)},
    "batchnorm": lambda draw, x: some(draw, eps=REAL, momentum=REAL, affine=FLAG),
    "layernorm": layernorm,
    "groupnorm": groupnorm,
    "instancenorm": lambda draw, x: some(draw, eps=REAL) | draw(st.sampled_from(INSTANCES)),
    "channel_layernorm": lambda draw, x: some(draw, eps=REAL, elementwise_affine=FLAG, bias=FLAG),
    "rmsnorm": lambda draw, x: some(draw, eps=REAL, elementwise_affine=FLAG),
    "normalize": lambda draw, x: some(draw, eps=REAL),
    **dict.fromkeys(("dropout1d", "dropout2d", "dropout3d"), lambda draw, x: {"p": draw(DROP)} | in_place(draw, x)),
    "lrn": lambda draw, x: {"size": draw(upto(5))} | some(draw, alpha=REAL, beta=REAL, k=REAL),
    "channel_shuffle": lambda draw, x: {"groups": draw(st.sampled_from(divisors(x.channels)))},
    "rbf": lambda draw, x: {"out_features": draw(upto(9))},
    "maxpool": lambda draw, x: pool(draw, x, dilated=True),
    "avgpool": lambda draw, x: pool(draw, x) | some(draw, count_include_pad=FLAG) | divisor(draw, x),
    "subsample": pool,
    "adaptive_avgpool": lambda draw, x: {"output_size": per_axis(draw, spread(6 if x.axes != "CDHW" else 3, x))},
    "adaptive_maxpool": lambda draw, x: {"output_size": per_axis(draw, spread(6 if x.axes != "CDHW" else 3, x))},
    "global_avgpool": nothing,
    "global_maxpool": nothing,
    "upsample": upsample,
    "conv_transpose": conv_transpose,
    "pad_shortcut": pad_shortcut,
    "slice": sliced,
    "chunk": chunk,
    "roll": lambda draw, x: {"shifts": per_axis(draw, x.lengths, -2)},
    "pad": pad,
    "center_crop": lambda draw, x: {"size": per_axis(draw, x.lengths)},
    "repeat": repeat,
    "pixel_shuffle": lambda draw, x: {"upscale_factor": 2},
    "pixel_unshuffle": lambda draw, x: {"downscale_factor": 2},
    "permute": lambda draw, x: {"axes": draw(st.sampled_from(ORDERS[x.axes]))},
    "transpose": nothing,
    "tokens": nothing,
    "reshape": reshape,
    "embedding": lambda draw, x: {"num_embeddings": draw(upto(9)), "embedding_dim": draw(upto(9))},
    **dict.fromkeys(["lstm", "gru"], recurrent),
    "rnn": lambda draw, x: recurrent(draw, x) | some(draw, nonlinearity=st.just("relu")),
    "rotary_embedding": rotary,
    "multihead_attention": lambda draw, x: heads(draw, x) | some(draw, bias=FLAG, causal=FLAG, dropout=DROP),
    "window_attention": gridded,
    "cosine_window_attention": windowed,
}
BORDERS = ("reflect", "replicate", "circular")
ORDERS = {"CL": ("CL",), "TC": ("TC",), "C": ("C",)} | dict.fromkeys(["CHW", "HWC"], ("HWC", "CHW"))
ORDERS |= dict.fromkeys(["CDHW", "DHWC"], ("DHWC", "CDHW"))
OTHER_AXES = ("flatten", "permute", "transpose", "tokens", "reshape")  # what may change the axes
JOINS = ("add", "concat", "mean", *ELEMENTWISE[1:])
RECURRENT = ("rnn", "lstm", "gru")
OF_TOKENS = ("multihead_attention", "rotary_embedding", *RECURRENT)
WINDOWED = ("window_attention", "cosine_window_attention")
LEARNED = ("parameter", "constant")
USUAL = ("C", *MAPS.values(), "TC")  # the axes that a tensor without an input can have
AFTER = ("linear", "tanh", "relu", "sigmoid", "softmax", "gelu", "clamp", "layernorm", "dropout")
ATTENTIONS = {"attention": 3, "cross_attention": 2, "matmul": 2}  # joins of tokens, and how many branches each has
IMAGES_ONLY = ("subsample", "pad_shortcut", "pixel_shuffle", "pixel_unshuffle")
HALVING = ("glu", "swiglu", "rotary_embedding")  # need an even number of channels
MAPS_ONLY = (
    "conv", "maxpool", "avgpool", "adaptive_avgpool", "adaptive_maxpool", "global_avgpool", "global_maxpool",
    "upsample", "conv_transpose", "lrn", "instancenorm", "channel_layernorm", *IMAGES_ONLY,
)  # fmt: skip
SEQUENCES_ONLY = ("embedding", *OF_TOKENS, *WINDOWED)
DROPPED = ("dropout1d", "dropout2d", "dropout3d")
LAST = (
    *MAPS_ONLY,
    "rbf",
    "batchnorm",
    "groupnorm",
    "channel_shuffle",
    "embedding",
    *DROPPED,
)  # not with the channels last
REFUSED_BY_AXES = {
    "C": (*MAPS_ONLY, "transpose", "tokens", "roll", "pad", "center_crop", *DROPPED, *SEQUENCES_ONLY),
    "CL": ("rbf", "rmsnorm", "dropout2d", "dropout3d", *IMAGES_ONLY, *SEQUENCES_ONLY),
    "CHW": ("rbf", "rmsnorm", "transpose", "dropout1d", "dropout3d", *SEQUENCES_ONLY),
    "CDHW": ("rbf", "rmsnorm", "transpose", "dropout1d", "dropout2d", *IMAGES_ONLY, *SEQUENCES_ONLY),
    "TC": (*LAST, *WINDOWED),
    "HWC": (*LAST, "transpose", *OF_TOKENS),
    "DHWC": (*LAST, "transpose", *OF_TOKENS, *WINDOWED),
    "T": tuple(name for name in ARGUMENTS if name != "embedding"),
}
# By operator, the ranks and dtypes of input without a CPU kernel in PyTorch, and PyTorch's word for the kernel.
NO_KERNEL = {
    "lrn": ((3, 4), ("float16", "bfloat16"), "avg_pool3d_out_frame"),
    "avgpool": ((4,), ("float16", "bfloat16"), "avg_pool3d_out_frame"),
}
FUSSY = (  # accept few inputs; archcalc refuses a pixel shuffle by 1, which PyTorch accepts
    *[name for name in MAPS_ONLY if not name.startswith("pixel")],
    "rbf", "groupnorm", "layernorm", "batchnorm", "channel_shuffle", "glu",
)  # fmt: skip
FITTING = {axes: [name for name in ARGUMENTS if name not in refused] for axes, refused in REFUSED_BY_AXES.items()}
OFTEN = ("conv", "batchnorm", "relu", "maxpool", "linear")  # as in real networks


SIZES = {
    "CHW": st.tuples(upto(4), upto(LENGTH), upto(LENGTH)),
    "C": st.tuples(upto(9)),
    "CL": st.tuples(upto(6), upto(2 * LENGTH)),
    "CDHW": st.tuples(upto(4), upto(4), upto(4), upto(4)),
    "TC": st.tuples(upto(6), upto(7)),
    "T": st.tuples(upto(6)),
}
WIDTHS = st.sampled_from(["float32"] * 5 + [name for name in DTYPES if name != "float32"])
INPUTS = st.sampled_from(["CHW"] * 8 + ["C"] + ["CL", "CDHW", "TC"] * 2 + ["T"]).flatmap(
    lambda axes: SIZES[axes].map(lambda sizes: shape_of(sizes, axes))
)


class Known(NamedTuple):
    """A labelled step, or an input, which has no steps."""

    output: Shape
    x: Shape = Shape()
    steps: Steps = ()

    @property
    def weight(self) -> tuple[int, int]:
        """The rows and columns of its weight, if it is one layer with such as a linear one has; otherwise (0, 0)."""
        layer = self.steps[0] if len(self.steps) == 1 else None
        if not isinstance(layer, Layer) or layer.name not in ("linear", "embedding"):
            return 0, 0
        if layer.name == "linear":
            return layer.keywords["out_features"], self.x.last
        return layer.keywords["num_embeddings"], layer.keywords["embedding_dim"]


Labels: TypeAlias = ChainMap[str, Known]  # scope by scope


DEEPER = (*["join"] * 3, "label", "label", "again", "again", "side", "repeat", "choose", "block")


class Writer:
    """Draws the steps of one network, so that each fits the output before it."""

    def __init__(self, draw: Draw, layers: int = LAYERS, clashing: bool = False, several: bool = False) -> None:
        self.draw = draw
        self.clashing = clashing  # whether labels and branches have names that others would get
        self.dtype = draw(WIDTHS)
        self.left = layers
        self.numbers = count(1)
        self.several = several  # whether there may be several outputs
        self.inputs: dict[str, Shape] = {}  # several inputs, by name
        self.outputs: set[str] = set()  # their names

    def steps(self, x: Shape, labels: Labels, depth: int = 0, keep_rank: bool = False) -> tuple[Steps, Shape]:
        """Draw at least one step for an input's shape. Returns the steps and their output's shape."""
        steps: list[Step] = []
        while self.left > 0 and self.draw(MORE[depth > 0]):
            step, x = self.draw(one_step(self, x, labels, depth, keep_rank))
            if step == Layer("exp", {}):  # of what it made itself it would soon be beyond what floats tell apart
                steps.append(Layer("tanh", {}))
            steps.append(step)
        return tuple(steps) or (IDENTITY,), x

    def step(self, x: Shape, labels: Labels, depth: int, keep_rank: bool) -> tuple[Step, Shape]:
        kinds = ("layer",) * 10 + (DEEPER if depth < 3 else ())
        kinds += ("results",) if self.several and depth == 0 else ()
        kind = self.draw(st.sampled_from(kinds))
        if kind == "layer":
            return self.layer(x, keep_rank)
        return getattr(self, kind)(x, labels, depth + 1, keep_rank)

    def layer(self, x: Shape, keep_rank: bool) -> tuple[Layer, Shape]:
        self.left -= 1
        names = [name for name in FITTING[x.axes] if not (keep_rank and name in OTHER_AXES)]
        names = [name for name in names if runs(name, len(x), self.dtype) and divides(name, x)]
        names = [name for name in names if x.channels % 2 == 0 or name not in HALVING]
        names = [name for name in names if not x.single or name != "instancenorm"]
        often = [name for name in (*OFTEN, *WINDOWED) if name in names]
        name = self.draw(st.sampled_from(names + 3 * often))
        layer = Layer(name, ARGUMENTS[name](self.draw, x))
        return layer, layer.op(x).output(x)

    def label(self, x: Shape, labels: Labels, depth: int, keep_rank: bool) -> tuple[Label, Shape]:
        steps, y = self.steps(x, labels.new_child(), depth, keep_rank)
        name = self.name(labels, steps)
        labels[name] = Known(y, x, steps)
        return Label(name, steps), y

    def name(self, labels: Labels, steps: Steps = ()) -> str:
        """Draw a label for steps. It may hide one of a scope around it, if nothing that runs again can then find it."""
        own = labels.maps[0]
        hidden = [name for name in labels if name not in own and name not in self.inputs]
        odd = [name for name in ODD if name not in labels] if self.draw(RARELY) else []
        odd += [name for name in CLASHING if name not in self.inputs] if self.clashing else []
        seen = {
            label for step in every_step(steps) for label in (getattr(step, "label", ""), getattr(step, "weight", ""))
        }
        free = [name for name in (*hidden, *odd) if name not in (labels if own else own) and name not in seen]
        fresh = next(label for number in self.numbers if (label := f"l{number}") not in labels)
        return self.draw(st.sampled_from([fresh, *free]))

    def again(self, x: Shape, labels: Labels, depth: int, keep_rank: bool) -> tuple[Step, Shape]:
        """Draw a labelled step once more, on an input with the same channels and perhaps other lengths; or a tie.

        Without a label that can run again, draw one.
        """
        if self.draw(FLAG) and x.axes != "T":
            return self.tied(x, labels, keep_rank)
        fitting = [name for name, known in labels.items() if known.steps and known.x.axes == x.axes]
        fitting = [name for name in fitting if not keep_rank or labels[name].output.axes == x.axes]
        if not fitting:
            return self.label(x, labels, depth, keep_rank)
        name = self.draw(st.sampled_from(fitting))
        known = labels[name]
        like = x.with_last(known.x.last) if not isinstance(x, Map) else x.with_channels(known.x.channels)
        output = outcome(known, like) if self.draw(FLAG) else None
        if not output and not isinstance(x, Map) and x.lengths != known.x.lengths:
            return self.layer(x, keep_rank)
        before, _ = self.fit(((), x), like if output else known.x)
        steps: Steps = (*before, Again(name))
        step = steps[0] if len(steps) == 1 else Block(f"b{next(self.numbers)}", steps)
        return step, output or known.output

    def tied(self, x: Shape, labels: Labels, keep_rank: bool) -> tuple[Step, Shape]:
        """Draw a linear layer with the weight of a labelled one; first such a label."""
        fitting = [name for name, known in labels.items() if known.weight[1]]
        fitting = [name for name in fitting if name not in REGISTRY]  # as an argument, that is the operator
        if not fitting:
            name, linear = self.name(labels), Layer("linear", ARGUMENTS["linear"](self.draw, x))
            labels[name] = Known(linear.op(x).output(x), x, (linear,))
            return Label(name, (linear,)), labels[name].output
        name = self.draw(st.sampled_from(fitting))
        rows, columns = labels[name].weight
        layer = Layer("linear", {"out_features": rows} | some(self.draw, bias=FLAG), name)
        before = Layer("linear", {"out_features": columns})
        step = layer if x.last == columns else Block(f"b{next(self.numbers)}", (before, layer))
        return step, x.with_last(rows)

    def block(self, x: Shape, labels: Labels, depth: int, keep_rank: bool) -> tuple[Block, Shape]:
        steps, y = self.steps(x, labels.new_child(), depth, keep_rank)
        return Block(f"b{next(self.numbers)}", steps), y

    def repeat(self, x: Shape, labels: Labels, depth: int, keep_rank: bool) -> tuple[Step, Shape]:
        steps, y = self.steps(x, labels.new_child(), depth, keep_rank=True)
        if y == x and not inlined(steps):
            steps = (Block(f"b{next(self.numbers)}", steps),)
        return (Repeat(self.draw(st.integers(0, 3)), steps), x) if y == x else (Repeat(1, self.plain(steps)), y)

    def choose(self, x: Shape, labels: Labels, depth: int, keep_rank: bool) -> tuple[Step, Shape]:
        steps, y = self.steps(x, labels.new_child(), depth, keep_rank)
        own = next(
            (name for name, axis in DIMENSIONS.items() if axis in x.axes and name != "in_channels"), "in_channels"
        )
        test = f"{own} <= {x.size(DIMENSIONS[own])}"
        return Choose(test, self.plain(steps)), y

    def plain(self, steps: Steps) -> Steps:
        """Draw steps that can be written as an expression, if necessary in a block."""
        return steps if inlined(steps) else (Block(f"b{next(self.numbers)}", steps),)

    def side(self, x: Shape, labels: Labels, depth: int, keep_rank: bool) -> tuple[Side, Shape]:
        ways = [self.way(x, labels, depth, keep_rank=False)[0] for _ in range(self.draw(upto(2)))]
        return Side(tuple(self.named([way if gives_new(way) else (*way, IDENTITY) for way in ways]))), x

    def results(self, x: Shape, labels: Labels, depth: int, keep_rank: bool) -> tuple[Step, Shape]:
        """Draw outputs. The first one reads the input, which nothing else may do."""
        ways = [self.steps(x, labels.new_child(), depth)]
        ways += [self.way(x, labels, depth, keep_rank=False) for _ in range(self.draw(upto(1, 0)))]
        step = self.ended([steps for steps, _ in ways])
        return (Block(f"b{next(self.numbers)}", (step,)) if self.draw(RARELY) else step), x

    def ended(self, ways: list[Steps]) -> Outputs:
        """Draw the names of outputs. One step can have outputs without names, which get numbers."""
        numbered = "output1" not in self.outputs and self.draw(FLAG)
        names = [f"output{i}" if numbered else f"out{next(self.numbers)}" for i, _ in enumerate(ways, 1)]
        self.outputs |= {*names}
        return Outputs(tuple(Branch("" if numbered else name, way) for name, way in zip(names, ways, strict=True)))

    def embedded(self, x: Shape, labels: Labels) -> tuple[Steps, Shape]:
        """Return the first step, perhaps labelled, if numbers of tokens need one, and its output's shape."""
        if x.axes != "T":
            return (), x
        layer, y = self.layer(x, keep_rank=True)
        if self.draw(FLAG):
            return (layer,), y
        name = self.name(labels)
        labels[name] = Known(y, x, (layer,))
        return (Label(name, (layer,)),), y

    def more_inputs(self, x: Shape) -> Labels:
        """Draw more inputs, half of them like the first one, and return the labels that stand for inputs."""
        if not self.draw(FLAG):
            return Labels()
        names = self.draw(st.permutations(CLASHING)) if self.clashing else ["in0", "in1", "in2"]
        shapes = [x, *[x if self.draw(FLAG) else self.draw(INPUTS) for _ in range(self.draw(upto(2)))]]
        self.inputs = dict(zip(names, shapes, strict=False))
        return Labels({name: Known(shape) for name, shape in self.inputs.items()})

    def merge(self, name: str, x: Shape, labels: Labels) -> tuple[Step, Shape]:
        """Draw outputs or a join with a branch from an input that nothing has read."""
        inner = labels.new_child()
        first, z = self.embedded(self.inputs[name], inner)
        more, z = self.steps(z, inner, depth=1)
        way: Steps = (Use(name), *first, *more)
        if self.several and self.draw(FLAG):
            return self.ended([(IDENTITY,), way]), x
        if z.axes == x.axes and (isinstance(x, Map) or z.lengths == x.lengths):
            join = self.draw(st.sampled_from(("add", "maximum", "mean")))
            ways, y = [(IDENTITY,), self.fit((way, z), x)[0]], x
        else:
            join, flatten = "concat", Layer("flatten", {})
            ways, y = [(flatten,), (*way, flatten)], Features((prod(x) + prod(z),))
        return Join(join, {}, tuple(self.named(ways))), y

    def learned(self, x: Shape, last: Steps = ()) -> Steps:
        """Draw a tensor without an input, of a shape, and perhaps layers after it."""
        sizes = {"sizes": tuple(x)} if x.axes in ("C", "CHW") and self.draw(FLAG) else dict(zip(x.axes, x, strict=True))
        steps = [Layer(self.draw(st.sampled_from(LEARNED)), sizes | some(self.draw, value=REAL))]
        for _ in range(self.draw(upto(2, 0))):
            name = self.draw(st.sampled_from(AFTER))
            given = {"out_features": x.last} if name == "linear" else ARGUMENTS[name](self.draw, x)
            steps.append(Layer(name, given))
        return (*steps, *last)

    def join(self, x: Shape, labels: Labels, depth: int, keep_rank: bool) -> tuple[Join, Shape]:
        if x.axes == "TC" and self.draw(FLAG):
            return self.attention(x, labels, depth)
        name = self.draw(st.sampled_from(JOINS))
        if x.lengths and max(x.lengths) <= LENGTH // 2 and self.draw(RARELY):
            return self.cropped(x)
        ways = [self.way(x, labels, depth) for _ in range(self.draw(upto(2, 0)))]
        ways.insert(self.draw(upto(len(ways), 0)), self.steps(x, labels.new_child(), depth, keep_rank=True))
        if not isinstance(x, Map) and any(shape[:-1] != x[:-1] for _, shape in ways):  # no layer can restore these
            ways = [((IDENTITY,), x)] * len(ways)
        axis = self.draw(st.sampled_from(x.axes)) if name == "concat" and self.draw(RARELY) else "C"
        like = name if axis == "C" else "add"
        fitted = self.gated(ways, name) if name in ELEMENTWISE else self.fitted(ways, like)
        if axis == "C" and not keep_rank and isinstance(fitted[0][1], Map) and self.draw(RARELY):
            fitted = [self.flat(way, fitted[0][1] if name != "concat" else way[1]) for way in fitted]
        own = {"mean": {"p": DROP}, "add": {"inplace": FLAG}}.get(name, {})
        keywords = some(self.draw, **own)
        if "p" not in keywords and all(shape.axes in USUAL for _, shape in fitted) and self.draw(SOMETIMES):
            _, shape = self.draw(st.sampled_from(fitted))
            where = self.draw(upto(len(fitted), name == "divide"))  # only what divides is no 0
            fitted.insert(where, (self.learned(shape, (Layer("sigmoid", {}),) * (name == "divide")), shape))
        keywords |= {"axis": axis} if axis != "C" else {}
        branches = self.named([steps for steps, _ in fitted])
        op = make(REGISTRY[name], (), keywords)
        return Join(name, keywords, tuple(branches)), op.output(tuple(shape for _, shape in fitted))

    def attention(self, x: Shape, labels: Labels, depth: int) -> tuple[Join, Shape]:
        name = self.draw(st.sampled_from([*ATTENTIONS]))
        ways = [self.steps(x, labels.new_child(), depth, keep_rank=True) for _ in range(ATTENTIONS[name])]
        if any(shape.lengths != x.lengths for _, shape in ways):  # no layer can restore these
            ways = [((IDENTITY,), x)] * len(ways)
        if name == "matmul":
            return self.product(ways, x.size("T"))
        query, keywords = ways[0][1], heads(self.draw, ways[0][1]) | some(self.draw, causal=FLAG)
        if name == "attention":
            groups = self.draw(st.sampled_from(divisors(keywords["num_heads"])))
            keywords |= {"kv_heads": groups} if groups != keywords["num_heads"] else {}
            wanted = Tokens((x.size("T"), query.channels // keywords["num_heads"] * groups))
            ways = [ways[0], *[self.fit(way, wanted) for way in ways[1:]]]
        else:
            keywords = {"num_heads": keywords["num_heads"]} | some(self.draw, bias=FLAG)
        branches = self.named([steps for steps, _ in ways])
        return Join(name, keywords, tuple(branches)), query

    def product(self, ways: list[tuple[Steps, Shape]], size: int) -> tuple[Join, Shape]:
        """Draw a product of as many tokens each: of one turned, or of one that has as many features."""
        turned = self.draw(FLAG)
        ways[turned] = self.fit(ways[turned], Tokens((size, ways[0][1].channels if turned else size)))
        branches = self.named([steps for steps, _ in ways])
        join = Join("matmul", {"transpose": True} if turned else {}, tuple(branches))
        return join, Tokens((size, size if turned else ways[1][1].channels))

    def cropped(self, x: Shape) -> tuple[Join, Shape]:
        """Draw a padded input that is cropped to the input again: both branches read its values."""
        grow = Layer("pad", {"padding": self.draw(upto(3, 0))})
        branches = self.named([(grow,), (IDENTITY,)])
        return Join("crop_like", {}, tuple(branches)), x

    def named(self, branches: list[Steps]) -> list[Branch]:
        named = self.draw(FLAG)
        if named and self.clashing:
            names = self.draw(st.permutations(CLASHING))
            return [Branch(name, steps) for name, steps in zip(names, branches, strict=False)]
        return [Branch(f"w{i}" if named else "", steps) for i, steps in enumerate(branches)]

    def way(self, x: Shape, labels: Labels, depth: int, keep_rank: bool = True) -> tuple[Steps, Shape]:
        """Draw a branch from the join's input, or from the output of an earlier step."""
        known = [name for name, known in labels.items() if known.output.axes == x.axes]
        if known and self.draw(FLAG):
            name = self.draw(st.sampled_from(known))
            steps, y = self.steps(labels[name].output, labels.new_child(), depth, keep_rank)
            return (Use(name), *(steps if steps != (IDENTITY,) else ())), y
        return self.steps(x, labels.new_child(), depth, keep_rank)

    def fitted(self, ways: list[tuple[Steps, Shape]], name: str) -> list[tuple[Steps, Shape]]:
        """Add layers to branches so that all have the shape of the first one, or the same except channels."""
        target = ways[0][1]
        return [self.fit(way, target if name != "concat" else target.with_channels(way[1].channels)) for way in ways]

    def gated(self, ways: list[tuple[Steps, Shape]], name: str) -> list[tuple[Steps, Shape]]:
        """Return branches of one shape, some of them channels×1×1, 1×height×width or a vector of the channels."""
        target = ways[0][1]
        maps = isinstance(target, Map)
        gate = target.of(target.channels if self.draw(FLAG) else 1, (1,) * len(target.lengths)) if maps else target
        fitted: list[tuple[Steps, Shape]] = []
        for i, way in enumerate(ways):
            like = self.draw(st.sampled_from([target, target, gate, target.with_channels(1) if maps else target]))
            if i and target.lengths and self.draw(RARELY):
                units = Layer("linear", {"out_features": target.channels})
                fitted.append(((*way[0], Layer("flatten", {}), units), Features((target.channels,))))
            else:
                fitted.append(self.fit(way, like))
        if name == "divide":
            fitted = [(steps if i == 0 else (*steps, Layer("sigmoid", {})), y) for i, (steps, y) in enumerate(fitted)]
        return fitted

    def fit(self, way: tuple[Steps, Shape], target: Shape) -> tuple[Steps, Shape]:
        steps, x = way
        if isinstance(x, Map):
            return steps + tuple(self.fit_map(x, target)), target
        if x.last != target.last:
            steps = (*steps, Layer("linear", {"out_features": target.last}))
        return steps, target

    def fit_map(self, x: Shape, target: Shape) -> Iterator[Layer]:
        differs, size = x.lengths != target.lengths, spread(target.lengths, x)
        size = size[0] if len(size) == 1 else size
        if differs and (x.single or self.draw(FLAG)):
            yield Layer("upsample", {"size": size})
        elif differs:
            name = self.draw(st.sampled_from(["adaptive_avgpool", "adaptive_maxpool"]))
            yield Layer(name, {"output_size": size})
        if x.channels < target.channels and x.axes == "CHW" and self.draw(RARELY):
            yield Layer("pad_shortcut", {"out_channels": target.channels})
        elif x.channels != target.channels:
            yield Layer("conv", {"out_channels": target.channels, "kernel_size": 1})

    def flat(self, way: tuple[Steps, Shape], target: Shape) -> tuple[Steps, Shape]:
        """Draw a branch that ends in a vector with as many values as the target."""
        steps, x = way
        features = prod(target)
        head: Steps = (Layer("flatten", {}),)
        if x != target:
            head = (*head, Layer("linear", {"out_features": features}))
        return steps + head, Features((features,))


def runs(name: str, rank: int, dtype: str) -> bool:
    """Whether PyTorch has a CPU kernel for an operator on inputs of a rank and dtype."""
    ranks, dtypes, _ = NO_KERNEL.get(name, ((), (), ""))
    return rank not in ranks or dtype not in dtypes


def divides(name: str, x: Shape) -> bool:
    """Whether an input can be divided into the squares or groups of a pixel shuffle; one position would be a view."""
    if name == "pixel_unshuffle":
        return all(length % 2 == 0 for length in x.lengths)
    return name != "pixel_shuffle" or (x.channels % 4 == 0 and not x.single and max(x.lengths) <= LENGTH)


def outcome(known: Known, x: Shape) -> Shape | None:
    """Return the output of labelled layers for another input, if their weights have the same shapes and it is small."""
    z = known.x
    for layer in known.steps:
        if not isinstance(layer, Layer):
            return None
        try:
            theirs, own = (layer.op(each).weights(each) | layer.op(each).buffers(each) for each in (z, x))
            z, x = layer.op(z).output(z), layer.op(x).output(x)
        except ValueError:
            return None
        if theirs != own or prod(x) > MOST:
            return None
    return x


def gives_new(steps: Steps) -> bool:
    """Whether the output of the steps is certainly that of one of their layers, as a side output must be."""
    for step in reversed(steps):
        if isinstance(step, Layer | Join | Use | Again):
            return isinstance(step, Layer | Join)
        if not isinstance(step, Side | Repeat):
            return gives_new(step.steps)
    return False


@st.composite
def one_step(draw: Draw, writer: Writer, x: Shape, labels: Labels, depth: int, keep_rank: bool) -> tuple[Step, Shape]:
    """Draw in a separate strategy, so that hypothesis simplifies what belongs together."""
    writer.draw = draw
    return writer.step(x, labels, depth, keep_rank)


@st.composite
def networks(draw: Draw, clashing: bool = False) -> Network:
    """Draw a network that fits together; if `clashing`, its labels and branches have names that others would get."""
    x = draw(INPUTS)
    writer = Writer(draw, clashing=clashing, several=draw(FLAG))
    labels = writer.more_inputs(x)
    first, start = writer.embedded(x, labels)
    steps, y = writer.steps(start, labels)
    steps = (*first, *steps)
    names = [*writer.inputs]
    for name in names[1:]:
        if name not in used(steps):
            step, y = writer.merge(name, y, labels)
            steps = (*steps, step)
    if draw(RARELY):
        steps = (*steps, writer.side(y, labels, 1, keep_rank=False)[0])  # it reads the result
    others = [(name, writer.inputs[name]) for name in names[1:]]
    return Network(x, steps, draw(FLAG), writer.dtype, tuple(others), *names[:1])


@st.composite
def doubtful(draw: Draw) -> Network:
    """Draw a short network whose last step may not fit the shape before it, or that of other branches."""
    x = draw(INPUTS)
    writer, labels = Writer(draw, 4), Labels()
    first, start = writer.embedded(x, labels)
    steps, y = writer.steps(start, labels)
    steps = (*first, *steps)
    before, z = writer.steps(y, labels, depth=1) if draw(RARELY) else ((), y)  # in a side output
    last: Step = draw(loose_layers([name for name in FUSSY if runs(name, len(z), writer.dtype)]))
    if draw(FLAG):
        writer.left = 6
        ways = [writer.steps(z, Labels(), depth=2)[0] for _ in range(draw(upto(3, 2)))]
        last = Join(draw(st.sampled_from(JOINS)), {}, tuple(writer.named(ways)))
    end = Side((Branch("", (*before, last)),)) if before else last
    return Network(x, (*steps, end), draw(FLAG), writer.dtype)


@st.composite
def loose_layers(draw: Draw, names: list[str]) -> Layer:
    name = draw(st.sampled_from(names))
    _, keywords = draw(WRITTEN[name])
    return Layer(name, keywords)


def sweep(
    strategy: st.SearchStrategy[Network],
    check: Callable[[Network], None],
    most: int,
    seed: int = 0,
    enough: Callable[[], bool] = lambda: False,
) -> None:
    """Check so many different networks; report the simplest failing one that hypothesis finds.

    It draws in batches of ten: in longer runs hypothesis varies earlier networks, and finds fewer new ones. It draws
    no further batch once `enough()` is true.
    """
    batches, known = Random(seed), set()
    while len(known) < most and not enough():

        @seeded(batches.getrandbits(64))
        @settings(
            max_examples=10, deadline=None, database=None, report_multiple_bugs=False,
            suppress_health_check=list(HealthCheck),
        )  # fmt: skip
        @given(strategy)
        def batch(network: Network) -> None:
            if network.spec() not in known and len(known) < most:
                check(network)
                known.add(network.spec())

        batch()
