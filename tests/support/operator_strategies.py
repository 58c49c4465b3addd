"""Random arguments and inputs for every operator: hypothesis strategies, shared by the tests of `archcalc.ops`.

`WRITTEN[name]` draws arguments as a spec may write them, and the input's shape; some do not fit together. `cases(name)`
draws only those that do.
"""

from __future__ import annotations

from math import prod
from typing import Any, NamedTuple

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from archcalc.ops import Operator, Shape
from archcalc.ops.shape import Ids, Tokens, shape_of
from support.operator_cases import made, shaped


class Case(NamedTuple):
    op: Operator
    x: Any  # a shape; for a join, a tuple of shapes
    y: Shape


def examples(count: int) -> settings:
    """Return so many examples, the same in every run."""
    unhurried = [HealthCheck.too_slow, HealthCheck.filter_too_much]
    return settings(max_examples=count, deadline=None, derandomize=True, suppress_health_check=unhurried)


def build(name: str, x: Any, *args: object, **keywords: object) -> Case:
    """Create the operator with these arguments for this input. Raises ValueError if archcalc refuses them."""
    op, x = made(name, x, args, keywords), shaped(x)
    return Case(op, x, op.output(x))


def cases(name: str) -> st.SearchStrategy[Case]:
    return WRITTEN[name].map(lambda drawn: _built(name, *drawn)).filter(bool)


def _built(name: str, x: Any, keywords: dict[str, Any]) -> Case | None:
    try:
        return build(name, x, **keywords)
    except ValueError:
        return None


def upto(most: int, least: int = 1) -> st.SearchStrategy[int]:
    return st.integers(least, most)


def size(most: int, least: int = 1) -> st.SearchStrategy[Any]:
    """Draw one number, or a height and a width."""
    return upto(most, least) | st.tuples(upto(most, least), upto(most, least))


FLAG = st.booleans()
REAL = st.floats(0.25, 2)
PROBABILITY = st.sampled_from([0, 0.2, 0.5, 1])
CHANNELS = upto(3).flatmap(lambda factor: upto(4).map(lambda rest: factor * rest))
IMAGE = st.tuples(CHANNELS, upto(11), upto(11))
VECTOR = st.tuples(CHANNELS)
ROWS = st.tuples(CHANNELS, upto(7))
ANY_RANK = IMAGE | VECTOR | ROWS


def written(x: st.SearchStrategy[Any], **keywords: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Draw an input and keyword arguments; an argument may be omitted unless its name ends in `_`."""
    needed = {name.rstrip("_"): strategy for name, strategy in keywords.items() if name.endswith("_")}
    optional = {name: strategy for name, strategy in keywords.items() if not name.endswith("_")}
    return st.tuples(x, st.fixed_dictionaries(needed, optional=optional))


@st.composite
def connection_tables(draw: st.DrawFn) -> Any:
    """Draw a convolution with a connection table."""
    x = draw(IMAGE)
    row = st.lists(st.integers(0, x[0] - 1), min_size=1, unique=True).map(tuple)
    table = tuple(draw(st.lists(row, min_size=1, max_size=4)))
    geometry = st.fixed_dictionaries(
        {"kernel_size": size(3)},
        optional={"padding": size(2, 0) | st.just("same"), "dilation": size(2), "bias": FLAG},
    )
    return x, {"out_channels": len(table), "connections": table, **draw(geometry)}


@st.composite
def normalized(draw: st.DrawFn) -> Any:
    """Draw a layer normalization over the last dimensions, or (rarely) over others."""
    x = draw(ANY_RANK)
    over = st.none() | upto(len(x)).map(lambda count: x[-count:]) | st.just((3,))
    keywords = st.fixed_dictionaries({}, optional={"normalized_shape": over, "elementwise_affine": FLAG, "bias": FLAG})
    return x, draw(keywords)


@st.composite
def prelus(draw: st.DrawFn) -> Any:
    """Draw one weight, one per channel, or (rarely) another number."""
    x = draw(ANY_RANK)
    return x, draw(st.sampled_from([{}, {"num_parameters": x[0]}, {"num_parameters": 5}]))


@st.composite
def repeated(draw: st.DrawFn) -> Any:
    """Draw shapes that are equal but for sizes of 1, and vectors among them."""
    x = draw(ANY_RANK)
    gates = st.sampled_from([x, (x[0], *(1 for _ in x[1:])), x[:1], (1,)])
    return tuple(draw(st.lists(gates | st.tuples(*[st.sampled_from([n, 1]) for n in x]), min_size=1, max_size=4))), {}


@st.composite
def slices(draw: st.DrawFn) -> Any:
    """Draw images that differ in channels."""
    place = draw(st.tuples(upto(7), upto(7)) | st.just(()))
    return tuple((channels, *place) for channels in draw(st.lists(CHANNELS, min_size=1, max_size=4))), {}


TOKENS = st.tuples(upto(7), CHANNELS).map(Tokens)
IDS = st.tuples(upto(9)).map(Ids)


CHANNELS_LAST = st.tuples(upto(6), upto(6), CHANNELS).map(Tokens)
SHIFTED = {"window_size_": size(4), "num_heads_": upto(3), "shift": size(2, 0)}


@st.composite
def attended(draw: st.DrawFn) -> Any:
    """Draw query, key and value, and heads that may not divide them."""
    heads, groups, size, queries, keys = (draw(upto(most)) for most in (4, 4, 3, 6, 6))
    query, key = Tokens((queries, heads * size)), Tokens((keys, groups * size))
    keywords = {"num_heads": heads, "causal": draw(FLAG)}
    return (query, key, key), keywords | ({"kv_heads": groups} if groups != heads or draw(FLAG) else {})


@st.composite
def products(draw: st.DrawFn) -> Any:
    """Draw two matrices whose inner sizes may differ."""
    transpose, rows, inner, columns = draw(FLAG), *[draw(upto(5)) for _ in range(3)]
    last, other = (columns, inner if draw(FLAG) else 2) if transpose else (inner, columns)
    axes = draw(st.sampled_from(["TC", "HWC", "CHW"]))
    before = () if axes == "TC" else (draw(upto(3)),)
    return tuple(shape_of((*before, *sizes), axes) for sizes in [(rows, inner), (last, other)]), {
        "transpose": transpose
    }


def last(axes: str, *sizes: st.SearchStrategy[int]) -> st.SearchStrategy[Any]:
    return st.tuples(*sizes).map(lambda drawn: shape_of(drawn, axes))


LINE = last("CL", CHANNELS, upto(11))
ANY_PLACES = IMAGE.map(shape_of) | LINE | TOKENS | last("HWC", upto(5), upto(5), CHANNELS)


@st.composite
def permutations(draw: st.DrawFn) -> Any:
    x, axes = draw(st.sampled_from([(IMAGE.map(shape_of), ["HWC", "CHW"]), (LINE, ["CL"]), (TOKENS, ["TC"])]))
    return draw(x), {"axes": draw(st.sampled_from(axes))}


@st.composite
def reshapes(draw: st.DrawFn) -> Any:
    """Draw a shape with as many values, one size perhaps as −1."""
    x = draw(ANY_PLACES | VECTOR.map(shape_of))
    axes = draw(st.sampled_from(["C", "CL", "CHW", "TC"]))
    sizes, left = {}, prod(x)
    for axis in axes[1:]:
        sizes[axis] = draw(st.sampled_from([n for n in range(1, 13) if left % n == 0]))
        left //= sizes[axis]
    return x, {axes[0]: draw(st.just(left) | st.just(-1)), **sizes}


@st.composite
def along_an_axis(draw: st.DrawFn, **keywords: st.SearchStrategy[Any]) -> Any:
    x = draw(ANY_PLACES | VECTOR.map(shape_of))
    _, drawn = draw(written(st.none(), **keywords))
    return x, drawn | ({"axis": draw(st.sampled_from(x.axes))} if draw(FLAG) else {})


@st.composite
def repeats(draw: st.DrawFn) -> Any:
    x = draw(ANY_PLACES)
    return x, {axis: draw(upto(3)) for axis in draw(st.sets(st.sampled_from(x.axes)))}


@st.composite
def rolled(draw: st.DrawFn) -> Any:
    x = draw(ANY_PLACES)
    return x, {"shifts": draw(upto(9, -9) | st.tuples(*[upto(9, -9)] * len(x.lengths)))}


@st.composite
def crops(draw: st.DrawFn) -> Any:
    x = draw(ANY_PLACES)
    return x, {"size": draw(st.tuples(*[upto(n) for n in x.lengths]))}


@st.composite
def crops_like(draw: st.DrawFn) -> Any:
    x = draw(ANY_PLACES)
    return (x, x.of(draw(CHANNELS), [draw(upto(n)) for n in x.lengths])), {}


@st.composite
def pads(draw: st.DrawFn) -> Any:
    x = draw(ANY_PLACES)
    count = st.sampled_from([1, len(x.lengths)])
    pairs = count.flatmap(lambda n: st.tuples(*[st.tuples(upto(3, 0), upto(3, 0))] * n))
    padding = upto(3, -1) | st.tuples(*[upto(3, 0)] * len(x.lengths)) | pairs
    mode = st.sampled_from(["constant", "reflect", "replicate", "circular"])
    return x, {"padding": draw(padding), "mode": draw(mode), "value": draw(st.sampled_from([0, 1.5]))}


@st.composite
def joined_along(draw: st.DrawFn) -> Any:
    """Draw shapes that differ in the size of one axis."""
    x = draw(ANY_PLACES)
    axis = draw(st.sampled_from(x.axes))
    return tuple(x.with_size(axis, draw(upto(4))) for _ in range(draw(upto(3)))), {"axis": axis}


ALIKE = st.tuples(ANY_RANK, upto(4)).map(lambda drawn: (drawn[0],) * drawn[1])
ACTIVATION = written(ANY_RANK)
IN_PLACE = written(ANY_RANK, inplace=FLAG)
POOL = {"kernel_size_": size(4), "stride": size(4) | st.none(), "padding": size(2, 0), "ceil_mode": FLAG}
CONV = written(
    IMAGE, out_channels_=CHANNELS, kernel_size_=size(4), stride=size(3), padding=size(3, 0) | st.just("same"),
    dilation=size(3), groups=upto(3), bias=FLAG,
)  # fmt: skip
FRAMED = written(
    IMAGE, out_channels_=CHANNELS, kernel_size_=size(3), stride=size(3), dilation=size(2), bias=FLAG,
    padding=size(2, 0) | st.sampled_from(["same", "SAME"]) | st.tuples(*[st.tuples(upto(2, 0), upto(2, 0))] * 2),
    padding_mode=st.sampled_from(["zeros", "reflect", "replicate", "circular"]),
)  # fmt: skip
LINES = written(
    LINE, out_channels_=CHANNELS, kernel_size_=upto(4), stride=upto(3), dilation=upto(3), bias=FLAG,
    padding_=st.sampled_from(["causal", "SAME"]) | st.tuples(upto(2, 0)).map(lambda pair: ((pair[0], 1),)),
)  # fmt: skip

WRITTEN: dict[str, st.SearchStrategy[Any]] = {
    "conv": CONV | FRAMED | LINES | connection_tables(),
    "conv_transpose": written(
        IMAGE, out_channels_=CHANNELS, kernel_size_=size(4), stride=size(3), padding=size(3, 0),
        output_padding=size(2, 0), dilation=size(3), groups=upto(3), bias=FLAG,
    ),
    "linear": written(ANY_RANK, out_features_=upto(9), bias=FLAG),
    "rbf": written(VECTOR, out_features_=upto(9)),
    "batchnorm": written(ANY_RANK, affine=FLAG, momentum=st.just(0.01)),
    "layernorm": normalized(),
    "groupnorm": written(ANY_RANK, num_groups_=upto(4), affine=FLAG),
    "instancenorm": written(IMAGE | ROWS, affine=FLAG, track_running_stats=FLAG, momentum=st.just(0.01)),
    "channel_layernorm": written(IMAGE | ROWS, elementwise_affine=FLAG, bias=FLAG),
    "rmsnorm": written(VECTOR, eps=REAL, elementwise_affine=FLAG),
    "normalize": written(ANY_RANK, eps=REAL),
    "dropout1d": written(ROWS, p=PROBABILITY, inplace=FLAG),
    "dropout2d": written(IMAGE, p=PROBABILITY, inplace=FLAG),
    "dropout3d": written(st.tuples(CHANNELS, upto(3), upto(3), upto(3)), p=PROBABILITY, inplace=FLAG),
    "lrn": written(IMAGE | ROWS, size_=upto(7), alpha=REAL, beta=REAL, k=REAL),
    "relu": IN_PLACE,
    "relu6": IN_PLACE,
    "leaky_relu": written(ANY_RANK, negative_slope=st.floats(-2, 2), inplace=FLAG),
    "elu": written(ANY_RANK, alpha=REAL, inplace=FLAG),
    "selu": IN_PLACE,
    "prelu": prelus(),
    "mish": IN_PLACE,
    "softplus": written(ANY_RANK, beta=REAL, threshold=REAL),
    "exp": ACTIVATION,
    "clamp": written(ANY_RANK, min=st.floats(-1, 0), max=st.floats(0, 1)),
    "log_softmax": ACTIVATION,
    "glu": ACTIVATION,
    "swiglu": ACTIVATION,
    "sigmoid": ACTIVATION,
    "tanh": ACTIVATION,
    "scaled_tanh": written(ANY_RANK, amplitude=REAL, slope=REAL),
    "silu": IN_PLACE,
    "hardsigmoid": IN_PLACE,
    "hardswish": IN_PLACE,
    "gelu": written(ANY_RANK, approximate=st.sampled_from(["none", "tanh"])),
    "softmax": ACTIVATION,
    "maxpool": written(IMAGE, dilation=size(3), **POOL),
    "avgpool": written(IMAGE, count_include_pad=FLAG, divisor_override=st.none() | upto(9), **POOL),
    "subsample": written(IMAGE, **POOL),
    "adaptive_avgpool": written(IMAGE, output_size_=size(6)),
    "adaptive_maxpool": written(IMAGE, output_size_=size(6)),
    "global_avgpool": written(IMAGE),
    "global_maxpool": written(IMAGE),
    "upsample": written(
        IMAGE, size=size(9), scale_factor=size(3) | st.sampled_from([0.5, 1.5, 2.5]),
        mode=st.sampled_from(["nearest", "nearest-exact", "bilinear", "bicubic"]), align_corners=FLAG | st.none(),
    ),
    "add": repeated(),
    "subtract": repeated(),
    "multiply": repeated(),
    "divide": repeated(),
    "maximum": repeated(),
    "mean": written(ALIKE),
    "concat": slices() | joined_along(),
    "crop_like": crops_like(),
    "embedding": written(IDS, num_embeddings_=upto(9), embedding_dim_=upto(6), padding_idx=upto(8, 0) | st.none()),
    "matmul": products(),
    "rotary_embedding": written(
        st.tuples(upto(6), upto(4).map(lambda n: 4 * n)).map(Tokens), num_heads_=upto(4), base=st.floats(2, 1e5)
    ),
    "attention": attended(),
    "multihead_attention": written(TOKENS, num_heads_=upto(4), bias=FLAG, causal=FLAG),
    "window_attention": written(CHANNELS_LAST, grid=FLAG, scale=REAL, **SHIFTED),
    "cosine_window_attention": written(CHANNELS_LAST, **SHIFTED),
    "rnn": written(
        TOKENS, hidden_size_=upto(5), num_layers=upto(3), bias=FLAG, bidirectional=FLAG,
        nonlinearity=st.sampled_from(["tanh", "relu"]),
    ),
    **dict.fromkeys(
        ["lstm", "gru"],
        written(TOKENS, hidden_size_=upto(5), num_layers=upto(3), bias=FLAG, bidirectional=FLAG),
    ),
    "cross_attention": written(st.tuples(TOKENS, TOKENS), num_heads_=upto(4), bias=FLAG),
    "input": IMAGE.map(lambda x: ((), {"shape": x})),
    "identity": ACTIVATION,
    "flatten": ACTIVATION,
    "channel_shuffle": written(ANY_RANK, groups_=upto(4)),
    "pad_shortcut": written(IMAGE, out_channels_=upto(14), stride=size(3)),
    "dropout": written(ANY_RANK, p=PROBABILITY, inplace=FLAG),
    "droppath": written(ANY_RANK, p_=PROBABILITY),
    "stochastic_depth": written(ANY_RANK, p_=PROBABILITY),
    "permute": permutations(),
    "transpose": written(LINE | TOKENS),
    "tokens": written(ANY_PLACES),
    "reshape": reshapes(),
    "repeat": repeats(),
    "roll": rolled(),
    "pixel_shuffle": written(IMAGE.map(lambda x: (4 * x[0], x[1] + 1, x[2])), upscale_factor_=upto(3)),
    "pixel_unshuffle": written(IMAGE.map(lambda x: (x[0], 4 * x[1], 2 * x[2])), downscale_factor_=upto(3)),
    "slice": along_an_axis(start_=upto(4, -4) | st.none(), stop_=upto(9, -4) | st.none(), step=upto(3)),
    "chunk": along_an_axis(chunks_=upto(4), index_=upto(3, -3)),
    "center_crop": crops(),
    "pad": pads(),
}  # fmt: skip
