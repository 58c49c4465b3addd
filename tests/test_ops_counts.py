"""Arithmetic and windows of every operator, counted by hand on one small shape: no formula of ours has a say here."""

from math import prod

import pytest
from support.operator_cases import READING
from support.operator_strategies import build

from archcalc.ops.reads import (
    EACH,
    AdaptiveWindow,
    Bilinear,
    Blocks,
    Nearest,
    Rearranged,
    Transposed,
    Whole,
    Window,
    Wrapped,
)
from archcalc.ops.shape import Ids, Map, Tokens

X = (4, 6, 6)  # 144 values
POINT, ALL, BOTH = (EACH, EACH), (Whole(), Whole()), (Whole(itself=True), Whole(itself=True))

WORK = {  # operator: (arguments, input, arithmetic by hand, window)
    "conv": (
        {"out_channels": 2, "kernel_size": 3, "padding": 1, "stride": 2},
        X,
        {"mac": 2 * 3 * 3 * 36, "add": 18},
        (Window(3, 2, 1), Window(3, 2, 1)),
    ),
    "conv_transpose": (
        {"out_channels": 2, "kernel_size": 2, "stride": 2},
        X,
        {"mac": 144 * 8, "add": 2 * 144},
        (Transposed(2, 2),) * 2,
    ),
    "linear": ({"out_features": 5}, (7,), {"mac": 35, "add": 5}, ()),
    "rbf": ({"out_features": 3}, (7,), {"add": 3 * (7 + 6), "mul": 21}, ()),
    "batchnorm": ({}, X, {"mul": 144, "add": 144}, POINT),
    # mean 143 + 1 div; center 144, squares 144, sum 143 + 1 div; ε 1, √ 1, 1/ 1; scale 144; γ 144, β 144
    "layernorm": ({}, X, {"add": 143 + 144 + 143 + 1 + 144, "mul": 144 * 3, "div": 3, "sqrt": 1}, BOTH),
    "groupnorm": (
        {"num_groups": 2},
        X,
        {"add": 2 * 71 + 144 + 2 * 71 + 2 + 144, "mul": 144 * 3, "div": 6, "sqrt": 2},
        BOTH,
    ),
    "instancenorm": ({}, X, {"add": 3 * 144 - 4, "mul": 288, "div": 12, "sqrt": 4}, BOTH),
    "channel_layernorm": (
        {},
        X,
        {"add": 36 * (3 + 4 + 3 + 1 + 4), "mul": 144 * 3, "div": 108, "sqrt": 36},
        POINT,
    ),
    "rmsnorm": ({}, (7,), {"mul": 21, "add": 6 + 1, "div": 2, "sqrt": 1}, ()),
    "normalize": ({}, X, {"mul": 144, "add": 3 * 36, "sqrt": 36, "compare": 36, "div": 144}, POINT),
    "dropout1d": ({}, (4, 6), {}, (EACH,)),
    "dropout2d": ({}, X, {}, POINT),
    "dropout3d": ({}, (4, 6, 6, 6), {}, (EACH, EACH, EACH)),
    "lrn": ({"size": 3}, X, {"mul": 288, "add": 144 * 2 + 144, "pow": 144, "div": 144}, POINT),
    "relu": ({}, X, {"compare": 144}, POINT),
    "relu6": ({}, X, {"compare": 288}, POINT),
    "leaky_relu": ({}, X, {"compare": 144, "mul": 144}, POINT),
    "elu": ({}, X, {"compare": 144, "exp": 144, "add": 144, "mul": 144}, POINT),
    "selu": ({}, X, {"compare": 144, "exp": 144, "add": 144, "mul": 288}, POINT),
    "prelu": ({"num_parameters": 4}, X, {"compare": 144, "mul": 144}, POINT),
    "mish": ({}, X, {"exp": 144, "add": 144, "log": 144, "tanh": 144, "mul": 144}, POINT),
    "softplus": ({}, X, dict.fromkeys(("mul", "compare", "exp", "add", "log", "div"), 144), POINT),
    "exp": ({}, X, {"exp": 144}, POINT),
    "clamp": ({"min": 0, "max": 1}, X, {"compare": 288}, POINT),
    "log_softmax": ({}, X, {"compare": 3 * 36, "add": 288 + 3 * 36, "exp": 144, "log": 36}, POINT),
    "glu": ({}, X, {"exp": 72, "add": 72, "div": 72, "mul": 72}, POINT),
    "swiglu": ({}, X, {"exp": 72, "add": 72, "div": 72, "mul": 144}, POINT),
    "sigmoid": ({}, X, {"exp": 144, "add": 144, "div": 144}, POINT),
    "tanh": ({}, X, {"tanh": 144}, POINT),
    "scaled_tanh": ({}, X, {"mul": 288, "tanh": 144}, POINT),
    "silu": ({}, X, {"exp": 144, "add": 144, "div": 144, "mul": 144}, POINT),
    "hardsigmoid": ({}, X, {"add": 144, "compare": 288, "div": 144}, POINT),
    "hardswish": ({}, X, {"add": 144, "compare": 288, "div": 144, "mul": 144}, POINT),
    "gelu": ({}, X, {"mul": 432, "add": 144, "erf": 144}, POINT),
    "softmax": ({}, X, {"compare": 3 * 36, "add": 144 + 3 * 36, "exp": 144, "div": 144}, POINT),
    "maxpool": ({"kernel_size": 2}, X, {"compare": 36 * 3}, (Window(2, 2), Window(2, 2))),
    "avgpool": (
        {"kernel_size": [3, 2], "stride": 1, "padding": 1},
        X,
        {"add": 4 * 6 * 7 * 5, "div": 4 * 6 * 7},
        (Window(3, 1, 1), Window(2, 1, 1)),
    ),
    "subsample": ({"kernel_size": 2}, X, {"add": 36 * 3 + 36, "mul": 36}, (Window(2, 2), Window(2, 2))),
    # windows of 6 by 4: [0,2) [1,3) [3,5) [4,6), eight rows and eight columns, 64 cells a channel
    "adaptive_avgpool": ({"output_size": 4}, X, {"add": 4 * (64 - 16), "div": 64}, (AdaptiveWindow(6, 4),) * 2),
    "adaptive_maxpool": ({"output_size": 3}, X, {"compare": 4 * (36 - 9)}, (AdaptiveWindow(6, 3),) * 2),
    "global_avgpool": ({}, X, {"add": 4 * 35, "div": 4}, ALL),
    "global_maxpool": ({}, X, {"compare": 4 * 35}, ALL),
    "upsample": ({"scale_factor": 2, "mode": "bilinear"}, X, {"mul": 576 * 6, "add": 576 * 3}, (Bilinear(6, 12),) * 2),
    "add": ({}, (X, X, X), {"add": 288}, POINT),
    "subtract": ({}, (X, (4,)), {"add": 144}, POINT),
    "multiply": ({}, (X, (4, 1, 1)), {"mul": 144}, POINT),
    "divide": ({}, ((4,), (4, 1, 1), X), {"div": 4 + 144}, POINT),
    "maximum": ({}, (X, (1, 6, 6), (1,)), {"compare": 288}, POINT),
    "mean": ({}, (X, X, X), {"add": 288, "div": 144}, POINT),
    "concat": ({}, (X, X), {}, POINT),
    "crop_like": ({}, (X, (3, 3, 2)), {}, POINT),
    "embedding": ({"num_embeddings": 9, "embedding_dim": 4}, Ids((6,)), {}, (EACH,)),
    # 3 rows of 8, 5 columns
    "matmul": ({"transpose": True}, (Tokens((3, 8)), Tokens((5, 8))), {"mac": 3 * 5 * 8}, (EACH,)),
    "rotary_embedding": ({"num_heads": 2}, Tokens((3, 8)), {"mul": 2 * 24, "add": 24}, (EACH,)),
    # 2 heads of 4 features, 3 queries, 5 keys: 30 scores in 6 rows
    "attention": (
        {"num_heads": 2},
        (Tokens((3, 8)), Tokens((5, 8)), Tokens((5, 8))),
        {"mac": 30 * 4 + 30 * 4, "mul": 30, "compare": 6 * 4, "add": 30 + 6 * 4, "exp": 30, "div": 30},
        (EACH,),
    ),
    # the same with 3 keys: 18 scores; and linear layers of 3 tokens, 8 to 24 and 8 to 8 features
    "multihead_attention": (
        {"num_heads": 2},
        Tokens((3, 8)),
        {
            "mac": 18 * 4 * 2 + 3 * 8 * 24 + 3 * 8 * 8,
            "mul": 18,
            "compare": 6 * 2,
            "add": 18 + 6 * 2 + 3 * 24 + 3 * 8,
            "exp": 18,
            "div": 18,
        },
        (Whole(),),
    ),
    # 3 tokens of 4 features, 5 values of the state: gates are products, two biases and their sum
    "rnn": (
        {"hidden_size": 5},
        Tokens((3, 4)),
        {"mac": 3 * 5 * (4 + 5), "add": 3 * 5 * 3, "tanh": 15},
        (Whole(),),
    ),
    "lstm": (
        {"hidden_size": 5},
        Tokens((3, 4)),
        {"mac": 3 * 20 * (4 + 5), "add": 3 * 20 * 3 + 15 * 3 + 15, "exp": 45, "div": 45, "tanh": 30, "mul": 45},
        (Whole(),),
    ),
    "gru": (
        {"hidden_size": 5, "bias": False},
        Tokens((3, 4)),
        {"mac": 3 * 15 * (4 + 5), "add": 15 * 3 + 15 * 2 + 15 * 2, "exp": 30, "div": 30, "tanh": 15, "mul": 30},
        (Whole(),),
    ),
    # 6×4 positions in 6 windows of 4, 2 heads of 3 features: 6·2·4·4 scores in 6·2·4 rows; 24·6 features
    "window_attention": (
        {"window_size": (2, 2), "num_heads": 2, "shift": (1, 1)},
        Tokens((5, 4, 6)),
        {
            "mac": 192 * 3 * 2 + 24 * 6 * 18 + 24 * 6 * 6,
            "mul": 144,
            "compare": 192 - 48,
            "add": 192 * 3 + 192 - 48 + 24 * 18 + 24 * 6,
            "exp": 192,
            "div": 192,
        },
        (Blocks(2, 1), Blocks(2, 1)),
    ),
    "cosine_window_attention": (
        {"window_size": (2, 2), "num_heads": 2},
        Tokens((5, 4, 6)),
        {
            "mac": 192 * 3 * 2 + 24 * 6 * 18 + 24 * 6 * 6,
            "mul": 144 * 2 + 192,
            "compare": 192 - 48 + 96,
            "sqrt": 96,
            "add": 192 * 2 + 192 - 48 + 24 * 18 + 24 * 6 + 96 * 2,
            "exp": 192,
            "div": 192 + 144 * 2,
        },
        (Blocks(2), Blocks(2)),
    ),
    "cross_attention": (
        {"num_heads": 2, "bias": False},
        (Tokens((3, 8)), Tokens((5, 6))),
        {
            "mac": 30 * 4 * 2 + 3 * 8 * 8 * 2 + 5 * 6 * 8 * 2,
            "mul": 30,
            "compare": 6 * 4,
            "add": 30 + 6 * 4,
            "exp": 30,
            "div": 30,
        },
        (EACH,),
    ),
    "input": ({"shape": X}, (), {}, ()),
    "identity": ({}, X, {}, POINT),
    "flatten": ({}, X, {}, ALL),
    "channel_shuffle": ({"groups": 2}, X, {}, POINT),
    "pad_shortcut": ({"out_channels": 8, "stride": 2}, X, {}, (Window(1, 2), Window(1, 2))),
    "dropout": ({}, X, {}, POINT),
    "droppath": ({"p": 0.5}, X, {}, POINT),
    "stochastic_depth": ({"p": 0.5}, X, {"mul": 144}, POINT),  # scaled at inference
    "permute": ({"axes": "HWC"}, X, {}, POINT),
    "transpose": ({}, (4, 6), {}, (EACH,)),
    "tokens": ({}, X, {}, (Rearranged((6, 6), (36,), (4, 4), (True, True)),) * 2),
    "reshape": ({"C": 16, "L": 9}, X, {}, (Rearranged((6, 6), (9,), (4, 16), (False, False)),) * 2),
    "repeat": ({"W": 2}, X, {}, (EACH, Wrapped(1, 1, 0, 1, 6, "circular"))),
    "roll": ({"shifts": [6, -2]}, X, {}, (EACH, Wrapped(1, 1, -2, 1, 6, "circular"))),
    "pixel_shuffle": ({"upscale_factor": 2}, X, {}, (Nearest(1, 2),) * 2),
    "pixel_unshuffle": ({"downscale_factor": 3}, X, {}, (Window(3, 3),) * 2),
    "slice": ({"start": -3, "stop": None, "axis": "H"}, X, {}, (Window(1, 1, -3), EACH)),
    "chunk": ({"chunks": 4, "index": 1, "axis": "W"}, X, {}, (EACH, Window(1, 1, -2))),
    "center_crop": ({"size": [3, 6]}, X, {}, (Window(1, 1, -1), EACH)),
    "pad": ({"padding": [2, 0], "mode": "reflect"}, X, {}, (Wrapped(1, 1, 2, 1, 6, "reflect"), EACH)),
}


FRAMES = {  # padding and mode of a 3×3 convolution of 6×6: the window, and the lengths of its output
    (1, "reflect"): (Window(3, 1, 1), 6),  # what a border reflects is in the window, too
    (2, "reflect"): (Wrapped(3, 1, 2, 1, 6, "reflect"), 8),
    (2, "replicate"): (Window(3, 1, 2), 8),
    (1, "circular"): (Wrapped(3, 1, 1, 1, 6, "circular"), 6),
    (((0, 2),), "zeros"): (Window(3, 1, 0), 6),
    ("SAME", "zeros"): (Window(3, 1, 1), 6),
}


@pytest.mark.parametrize(("padding", "mode"), FRAMES)
def test_borders_of_a_convolution(padding, mode):
    window, length = FRAMES[padding, mode]
    op, x, y = build("conv", X, out_channels=2, kernel_size=3, padding=padding, padding_mode=mode)
    assert y == (2, length, length)
    assert op.window(x) == (window, window)
    assert op.work(x, y) == {"mac": 2 * length**2 * 4 * 9, "add": 2 * length**2}


@pytest.mark.parametrize(
    ("length", "kernel", "stride", "before"),
    [(224, 11, 4, 3), (224, 3, 2, 0), (112, 3, 1, 1), (5, 1, 2, 0), (7, 7, 2, 3)],
)
def test_tensorflows_same_gives_the_ceiling(length, kernel, stride, before):
    """AlexNet's first layer on 224 gives 56; of an odd number of zeros one more comes last."""
    op, x, y = build("conv", (3, length, length), out_channels=2, kernel_size=kernel, stride=stride, padding="SAME")
    assert y.lengths == (-(-length // stride),) * 2
    assert op.window(x)[0].padding == before


def test_causal_padding_comes_first():
    op, x, y = build("conv", Map((2, 10)), out_channels=3, kernel_size=3, dilation=4, padding="causal")
    assert (y, op.window(x)) == ((3, 10), (Window(3, 1, 8, 4),))


def test_the_middle_of_an_odd_rest_is_cut_off_more_at_the_end():
    op, x, _ = build("center_crop", (1, 7, 8), size=4)
    assert op.window(x) == (Window(1, 1, -1), Window(1, 1, -2))


LINEAR = {  # by axes: products and sums per value, of the output and of the input's gradient
    "linear": ((4, 6), (2, 1), (2, 2)),
    "bilinear": ((4, 6, 6), (6, 3), (6, 4)),
    "trilinear": ((4, 6, 6, 6), (14, 7), (14, 8)),
    "bicubic": ((4, 6, 6), (20, 15), (20, 16)),
}


@pytest.mark.parametrize("mode", LINEAR)
def test_interpolation_along_one_to_three_axes(mode):
    """Along each axis a weight for both sides: of 2, 4 or 8 neighbours, from the first axis to the last."""
    sizes, forward, backward = LINEAR[mode]
    op, x, y = build("upsample", sizes, scale_factor=2, mode=mode)
    work, gradient = op.work(x, y), op.input_gradient(x, y, 1)
    assert (work["mul"], work["add"]) == tuple(count * prod(y) for count in forward)
    assert (gradient["mul"], gradient["add"]) == tuple(count * prod(y) for count in backward)


def test_every_operator_is_here():
    assert set(WORK) == set(READING)


@pytest.mark.parametrize("name", WORK)
def test_by_hand(name):
    arguments, x, work, window = WORK[name]
    listed = {key: tuple(value) if isinstance(value, list) else value for key, value in arguments.items()}
    op, x, y = build(name, x, **listed)
    assert op.work(x, y) == work
    assert op.window(x) == window
