"""Hand-picked cases of every operator: its name, the shape of its input, positional arguments and arguments by name."""

from __future__ import annotations

from typing import Any

import torch

from archcalc.ops import REGISTRY, Operator, make
from archcalc.ops.arguments import format_shape
from archcalc.ops.shape import Ids, Tokens, shape_of

OFTEN_IN_PLACE = ("relu6", "silu", "hardsigmoid", "hardswish", "elu", "selu", "mish")
LENET_TABLE = ((0, 1, 2), (1, 2, 3), (0, 2, 3), (0, 1, 3), (0, 1, 2, 3))
ELEMENTWISE = ("add", "subtract", "multiply", "divide", "maximum")
REPEATED = [  # shapes of inputs, some of which are repeated
    ((5, 1, 1), (5, 4, 3)),
    ((5, 1, 1), (5, 1, 1), (5, 4, 3)),
    ((5, 4, 3), (5,)),
    ((5,), (5, 1, 1), (5, 4, 3), (1, 4, 3)),
    ((5, 4, 1), (5, 1, 3)),
    ((5,), (1,), (5, 1, 1)),
    ((5, 7), (5,), (1, 7)),
    ((5, 2, 3, 4), (5, 1, 3, 1), (5,)),
]

WINDOWED = ("window_attention", "cosine_window_attention")
PADDED = ("reflect", "replicate", "circular")
IMAGE_LAST, TOKENS = shape_of((4, 3, 5), "HWC"), shape_of((6, 4), "TC")

CASES = [
    ("conv", (3, 11, 9), (8, 3), {"padding": 1}),
    ("conv", (3, 23, 23), (4, 11), {"stride": 4, "padding": 2}),
    ("conv", (6, 9, 13), (4, (1, 7)), {"padding": (0, 3), "bias": False}),
    ("conv", (6, 9, 9), (12, 3), {"groups": 6, "stride": 2, "padding": 1}),
    ("conv", (6, 9, 9), (9, 3), {"groups": 3, "dilation": (2, 3), "padding": "same"}),
    ("conv", (4, 9, 9), (6, 4), {"padding": "same"}),
    ("conv", (4, 9, 9), (6, (2, 3)), {"padding": "same", "dilation": (3, 1)}),
    ("conv", (4, 9, 9), (5, 5), {"connections": LENET_TABLE}),
    ("conv", (4, 9, 9), (5, 2), {"connections": LENET_TABLE, "padding": "same", "bias": False}),
    ("conv", (4, 9, 8), (6, 3), {"padding": "SAME", "stride": 2}),
    ("conv", (4, 9, 8), (6, (2, 3)), {"padding": ((0, 1), (2, 0))}),
    *(("conv", (4, 9, 8), (6, 3), {"padding": (1, 2), "padding_mode": mode}) for mode in PADDED),
    ("conv", (4, 9, 8), (6, (4, 2)), {"padding": "same", "padding_mode": "reflect"}),
    ("conv_transpose", (4, 5, 7), (6, 3), {"stride": 2, "padding": 1, "output_padding": 1}),
    ("conv_transpose", (4, 5, 7), (6, (2, 4)), {"groups": 2, "dilation": (3, 2), "output_padding": (2, 1)}),
    ("linear", (12,), (5,), {}),
    ("linear", (3, 4, 6), (5, False), {}),
    ("rbf", (84,), (10,), {}),
    ("batchnorm", (5, 4, 3), (), {}),
    ("batchnorm", (5,), (), {"affine": False}),
    ("layernorm", (5, 4, 3), (), {}),
    ("layernorm", (5, 4, 3), ((4, 3),), {"bias": False}),
    ("layernorm", (7,), (), {"elementwise_affine": False}),
    ("groupnorm", (6, 4, 3), (3,), {}),
    ("groupnorm", (6,), (2,), {"affine": False}),
    *(("instancenorm", x, (), {"affine": a, "track_running_stats": track})
      for x in [(5, 4, 3), (5, 7), (2, 3, 2, 4)] for a in [False, True] for track in [False, True]),
    ("channel_layernorm", (5, 4, 3), (), {}),
    ("channel_layernorm", (5, 7), (1e-6,), {"bias": False}),
    ("channel_layernorm", (5, 1, 1), (), {"elementwise_affine": False}),
    ("channel_layernorm", (2, 3, 2, 4), (), {}),
    ("rmsnorm", (7,), (), {}),
    ("rmsnorm", (7,), (1e-6,), {"elementwise_affine": False}),
    *(("normalize", x, (), {}) for x in [(5, 4, 3), (7,), (1, 5)]),
    ("lrn", (6, 5, 5), (5,), {"k": 2}),
    ("lrn", (3, 5), (4,), {"alpha": 1e-3, "beta": 0.5}),
    *(("relu", shape, (flag,), {}) for shape in [(5, 4, 3), (7,)] for flag in [True, False]),
    *((name, (5, 4, 3), (), {"inplace": flag}) for name in OFTEN_IN_PLACE for flag in [True, False]),
    ("elu", (5,), (0.5,), {}),
    *(("prelu", shape, (count,), {}) for shape in [(5, 4, 3), (5,)] for count in [1, 5]),
    ("softplus", (5, 4, 3), (2, 0.5), {}),
    *(("clamp", (5, 4, 3), (), bounds) for bounds in [{"min": -0.5}, {"max": 1}, {"min": -0.5, "max": 0.5}]),
    *((name, shape, (), {}) for name in ["glu", "swiglu"] for shape in [(6, 4, 3), (6, 4), (2,)]),
    *((name, (5, 4, 3), (), {}) for name in ["exp", "log_softmax"]),
    *(("leaky_relu", (5, 4, 3), (slope, flag), {}) for slope in [0.1, 0] for flag in [True, False]),
    ("leaky_relu", (7,), (-0.5,), {}),
    *((name, (5, 4, 3), (), {}) for name in ["sigmoid", "tanh", "scaled_tanh", "softmax", "identity", "flatten"]),
    ("softmax", (10,), (), {}),
    ("gelu", (5, 4, 3), (), {}),
    ("gelu", (5, 4, 3), ("tanh",), {}),
    ("maxpool", (4, 11, 12), (3, 2), {"padding": 1}),
    ("maxpool", (4, 11, 12), (3, 2), {"ceil_mode": True}),
    ("maxpool", (4, 11, 12), ((2, 3),), {"dilation": (3, 2)}),
    ("avgpool", (4, 11, 12), (3, 2), {"padding": 1, "count_include_pad": False}),
    ("avgpool", (4, 11, 12), ((2, 3), (2, 1)), {"ceil_mode": True}),
    ("subsample", (6, 10, 10), (2,), {}),
    ("subsample", (6, 10, 11), (3, 2), {"ceil_mode": True, "padding": 1}),
    *((name, (4, 7, 10), (target,), {}) for name in ["adaptive_avgpool", "adaptive_maxpool"] for target in [1, (3, 5)]),
    ("global_avgpool", (4, 7, 5), (), {}),
    ("global_maxpool", (4, 7, 5), (), {}),
    ("upsample", (4, 5, 6), (), {"size": (7, 11)}),
    ("upsample", (4, 5, 6), (), {"scale_factor": 2, "mode": "bilinear"}),
    ("upsample", (4, 5, 6), (), {"scale_factor": 1.5, "mode": "bicubic"}),
    ("upsample", (4, 5, 6), (), {"size": (9, 3), "mode": "bilinear", "align_corners": True}),
    ("upsample", (4, 5, 6), (), {"scale_factor": 0.5}),
    *((name, ((5, 4, 3),) * count, (), {}) for name in ["mean", *ELEMENTWISE] for count in [1, 2, 3, 4]),
    *((name, shapes, (), {}) for name in ELEMENTWISE for shapes in REPEATED),
    *(("concat", ((5, 4, 3), (2, 4, 3), (1, 4, 3))[:count], (), {}) for count in [1, 2, 3]),
    ("concat", ((5, 4, 3), (5, 2, 3)), ("H",), {}),
    ("concat", (IMAGE_LAST, IMAGE_LAST), ("C",), {}),
    ("concat", (TOKENS, TOKENS), ("T",), {}),
    ("crop_like", ((5, 7, 6), (2, 4, 6)), (), {}),
    ("permute", (5, 4, 3), ("HWC",), {}),
    ("permute", IMAGE_LAST, ("CHW",), {}),
    ("transpose", TOKENS, (), {}),
    ("tokens", (5, 4, 3), (), {}),
    ("tokens", IMAGE_LAST, (), {}),
    ("reshape", (48,), (3, 4, 4), {}),
    ("reshape", (5, 4, 3), (), {"T": 10, "C": -1}),
    ("repeat", (5, 4, 3), (), {"H": 2, "C": 3}),
    ("repeat", TOKENS, (), {"C": 1}),
    ("roll", (5, 4, 3), (1,), {}),
    ("roll", IMAGE_LAST, ((2, -1),), {}),
    ("pixel_shuffle", (8, 3, 4), (2,), {}),
    ("pixel_unshuffle", (2, 6, 9), (3,), {}),
    ("slice", (8, 3, 4), (2, -1, 2), {}),
    ("slice", TOKENS, (-1, None), {"axis": "T"}),
    ("slice", (8, 3, 4), (0, None), {}),
    ("chunk", (7, 3, 4), (2, 1), {}),
    ("chunk", (7, 3, 4), (3, -1), {"axis": "W"}),
    ("center_crop", (5, 7, 6), ((4, 3),), {}),
    ("center_crop", IMAGE_LAST, (2,), {}),
    ("pad", (5, 7, 6), (((1, 0), (-1, 2)),), {"value": 2}),
    ("pad", IMAGE_LAST, (1,), {}),
    *(("pad", (5, 7, 6), ((2, 1),), {"mode": mode}) for mode in ("reflect", "replicate", "circular")),
    ("input", (), ((3, 8, 8),), {}),
    ("channel_shuffle", (6, 4, 3), (3,), {}),
    ("pad_shortcut", (4, 7, 8), (9,), {"stride": 2}),
    *(("dropout", (5, 4, 3), (p, flag), {}) for p in [0, 0.3, 1] for flag in [True, False]),
    *((f"dropout{len(x) - 1}d", x, (p, flag), {})
      for x in [(5, 4), (5, 4, 3), (5, 2, 4, 3)] for p in [0, 0.3, 1] for flag in [True, False]),
    *((name, (5, 4, 3), (p,), {}) for name in ["droppath", "stochastic_depth"] for p in [0, 0.3, 1]),
    ("mean", ((5, 4, 3),) * 2, (0.15,), {}),
    ("embedding", Ids((7,)), (11, 6), {}),
    ("embedding", Ids((7,)), (3, 4), {"padding_idx": 1}),
    ("matmul", (Tokens((5, 4)), Tokens((4, 7))), (), {}),
    ("matmul", (Tokens((5, 4)), Tokens((7, 4))), (True,), {}),
    ("matmul", (Tokens((5, 4)), (4, 3)), (), {}),
    ("matmul", ((5, 4), Tokens((4, 3))), (), {}),
    ("matmul", ((5, 4), (7, 4)), (True,), {}),
    ("matmul", ((2, 5, 4), (2, 4, 6)), (), {}),
    ("matmul", (Tokens((2, 5, 4)), Tokens((2, 3, 4))), (True,), {}),
    ("matmul", ((2, 3, 5, 4), (2, 3, 4, 1)), (), {}),
    ("rotary_embedding", Tokens((5, 12)), (3,), {}),
    ("rotary_embedding", Tokens((1, 4)), (1, 100), {}),
    ("attention", (Tokens((5, 12)),) * 3, (3,), {}),
    ("attention", (Tokens((5, 12)),) * 3, (1, True), {}),
    ("attention", (Tokens((5, 12)), Tokens((7, 6)), Tokens((7, 6))), (4,), {"kv_heads": 2}),
    ("attention", (Tokens((5, 12)), Tokens((7, 6)), Tokens((7, 6))), (4,), {"kv_heads": 2, "dropout": 0.3}),
    ("multihead_attention", Tokens((5, 12)), (3,), {"dropout": 0.3}),
    ("cross_attention", (Tokens((5, 12)), Tokens((7, 6))), (3,), {"dropout": 0.3}),
    ("multihead_attention", Tokens((5, 12)), (3,), {}),
    ("multihead_attention", Tokens((5, 12)), (2, False), {"causal": True}),
    ("cross_attention", (Tokens((5, 12)), Tokens((7, 6))), (3,), {}),
    *((name, Tokens((4, 8, 6)), (4, 3), {"shift": 2}) for name in WINDOWED),
    *((name, Tokens((5, 3, 4)), ((2, 4), 2), {"shift": (1, 2)}) for name in WINDOWED),
    *((name, Tokens((4, 4, 6)), (2, 1), {}) for name in WINDOWED),
    ("window_attention", Tokens((4, 6, 6)), (2, 3), {"grid": True, "scale": 0.25}),
    *((name, Tokens((5, 4)), (3,), {}) for name in ["rnn", "lstm", "gru"]),
    ("rnn", Tokens((5, 4)), (3, 2), {"bidirectional": True, "nonlinearity": "relu"}),
    *((name, Tokens((1, 4)), (3, 2, False, True), {}) for name in ["rnn", "lstm", "gru"]),
    *((name, Tokens((6, 2)), (3, 2), {"bidirectional": True}) for name in ["rnn", "lstm", "gru"]),
    ("cross_attention", (Tokens((5, 12)),) * 2, (2, False), {}),
]  # fmt: skip


# Operators that read an input, and `input`; tests/test_learned.py has the others.
READING = [name for name, cls in REGISTRY.items() if cls.needs_input or name == "input"]


def case_id(case: Any) -> str:
    name, x, args, keywords = case
    return "-".join([name, "+".join(map(format_shape, x if REGISTRY[name].joins else [x])), *map(str, args), *keywords])


def shaped(x: Any) -> Any:
    """Return sizes as a shape with axes; of a join, those of its inputs. `input` has no input."""
    return tuple(map(shape_of, x)) if x and isinstance(x[0], tuple) else shape_of(x) if x else x


def made(name: str, x: Any, args: Any, keywords: Any) -> Operator:
    """Create an operator with these arguments for an input."""
    lengths = 2 if REGISTRY[name].joins or not x else len(shaped(x).lengths) or 2
    return make(REGISTRY[name], args, keywords, lengths)


def drawn(op: Operator, shape: Any, batch: int, draw: Any, **options: Any) -> Any:
    """Draw a batch of inputs; of numbers of tokens such as the operator knows."""
    if isinstance(shape, Ids):
        return torch.randint(getattr(op, "num_embeddings", 2), (batch, *shape), device=options.get("device"))
    return draw(batch, *shape, **options)


def inputs(op: Operator, x: Any) -> list[Any]:
    """Return the shapes of all inputs; of `input`, the image's."""
    return list(x) if op.joins else [getattr(op, "shape", x)]
