"""The operators: one class per operator, one file per family, which is imported when one of them is asked for."""

from __future__ import annotations

from archcalc.ops.base import KINDS, REGISTRY, Operator, Saved, Shape, Work, format_shape, make, signature
from archcalc.ops.shaping import Input
from archcalc.ops.synonyms import operator_hint

FAMILIES = {  # what each file registers
    "convolution": ("conv", "conv_transpose", "linear", "rbf"),
    "normalization": ("batchnorm", "instancenorm", "layernorm", "groupnorm", "lrn"),
    "feature_normalization": ("channel_layernorm", "rmsnorm", "normalize"),
    "activation": (
        "relu", "relu6", "leaky_relu", "elu", "selu", "prelu", "sigmoid", "tanh", "scaled_tanh", "silu", "mish",
        "softplus", "exp", "clamp", "hardsigmoid", "hardswish", "gelu", "softmax", "log_softmax",
    ),
    "gated": ("glu", "swiglu"),
    "pooling": (
        "maxpool", "avgpool", "subsample", "adaptive_avgpool", "adaptive_maxpool", "global_avgpool", "global_maxpool",
    ),
    "upsampling": ("upsample",),
    "joins": ("add", "subtract", "multiply", "divide", "maximum", "mean", "concat"),
    "shaping": (
        "input", "identity", "flatten", "channel_shuffle", "pad_shortcut", "dropout", "dropout1d", "dropout2d",
        "dropout3d", "droppath", "stochastic_depth",
    ),
    "layout": ("permute", "transpose", "tokens", "reshape", "repeat", "roll", "pixel_shuffle", "pixel_unshuffle"),
    "slicing": ("slice", "chunk", "center_crop", "crop_like", "pad"),
    "learned": ("parameter", "constant"),
    "sequence": ("embedding", "rnn", "lstm", "gru"),
    "products": ("matmul",),
    "attention": ("attention", "multihead_attention", "cross_attention"),
    "rotation": ("rotary_embedding",),
    "window_attention": ("window_attention", "cosine_window_attention"),
}  # fmt: skip
REGISTRY.declare({f"{__name__}.{family}": names for family, names in FAMILIES.items()})

__all__ = [
    "FAMILIES", "KINDS", "REGISTRY", "Input", "Operator", "Saved", "Shape", "Work",
    "format_shape", "make", "operator_hint", "signature",
]  # fmt: skip
