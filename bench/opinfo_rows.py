"""The functions and modules of PyTorch that have an operator here, and the translator of each."""

from __future__ import annotations

from types import MappingProxyType
from typing import NamedTuple

from opinfo_translators import (
    adaptive,
    attention,
    batchnorm,
    chunk,
    concat,
    conv,
    flatten,
    groupnorm,
    hardtanh,
    ids,
    join,
    layernorm,
    linear,
    narrow,
    over_channels,
    pad,
    permute,
    prelu,
    product,
    recurrent,
    repeat,
    reshape,
    rmsnorm,
    roll,
    same,
    self_attention,
    sliced,
    split,
    transpose,
    upsample,
)
from opinfo_words import Given, Reading, Translator


class Row(NamedTuple):
    """A function or module of PyTorch: its operator here, the names of its arguments after the input, the translator.

    `lengths` is how many axes of positions it takes: then the first dimension is the batch if there are two more.
    `batched` says that PyTorch always takes the first dimension as the batch.
    """

    operator: str
    names: str = ""
    translate: Translator = same
    lengths: int = 0
    batched: bool = False
    usual: Given = MappingProxyType({})  # arguments that a sample may leave out

    def readings(self, dims: int) -> list[Reading]:
        if self.lengths:
            return [Reading(dims == self.lengths + 2)] * (dims - self.lengths in (1, 2))
        return [
            Reading(batch, last) for batch in ((True,) if self.batched else (True, False)) for last in (False, True)
        ]


def _along(pattern: str, row: Row) -> dict[str, Row]:
    """Return the row for one to three axes of positions."""
    return {pattern.format(n): row._replace(lengths=n) for n in (1, 2, 3)}


F = "nn.functional."
TRACKED = "running_mean running_var weight bias"
SCALES = "size scale_factor"
CORNERS = {"mode": "bilinear", "align_corners": True}
POOL = "kernel_size stride padding"
FUNCTIONS: dict[str, Row] = {
    **_along(F + "conv{}d", Row("conv", "weight bias stride padding dilation groups", conv)),
    **_along(
        F + "conv_transpose{}d",
        Row("conv_transpose", "weight bias stride padding output_padding groups dilation", conv),
    ),
    F + "linear": Row("linear", "weight bias", linear),
    F + "batch_norm": Row(
        "batchnorm", "running_mean running_var weight bias training momentum eps", batchnorm, batched=True
    ),
    F + "layer_norm": Row("layernorm", "normalized_shape weight bias eps", layernorm),
    F + "rms_norm": Row("rmsnorm", "normalized_shape weight eps", rmsnorm),
    F + "group_norm": Row("groupnorm", "num_groups weight bias eps", groupnorm, batched=True),
    F + "instance_norm": Row("instancenorm", f"{TRACKED} use_input_stats momentum eps", batchnorm, batched=True),
    F + "local_response_norm": Row("lrn", "size alpha beta k", batched=True),
    F + "normalize": Row("normalize", "p dim eps", over_channels, usual={"default": 1}),
    **{
        F + name: Row(operator, names)
        for name, operator, names in [
            ("relu", "relu", "inplace"),
            ("relu6", "relu6", "inplace"),
            ("leaky_relu", "leaky_relu", "negative_slope"),
            ("elu", "elu", "alpha"),
            ("selu", "selu", "inplace"),
            ("silu", "silu", "inplace"),
            ("mish", "mish", ""),
            ("softplus", "softplus", "beta threshold"),
            ("hardsigmoid", "hardsigmoid", ""),
            ("hardswish", "hardswish", ""),
            ("gelu", "gelu", "approximate"),
            ("dropout", "dropout", "p training"),
            ("dropout2d", "dropout2d", "p training"),
            ("dropout3d", "dropout3d", "p training"),
            ("pixel_shuffle", "pixel_shuffle", "upscale_factor"),
            ("pixel_unshuffle", "pixel_unshuffle", "downscale_factor"),
        ]
    },
    F + "channel_shuffle": Row("channel_shuffle", "groups", batched=True),
    "sigmoid": Row("sigmoid"),
    "tanh": Row("tanh"),
    "exp": Row("exp"),
    "clamp": Row("clamp", "min max"),
    "clamp_min": Row("clamp", "min"),
    "clamp_max": Row("clamp", "max"),
    F + "hardtanh": Row("clamp", "min_val max_val", hardtanh),
    F + "prelu": Row("prelu", "weight", prelu, batched=True),
    F + "glu": Row("glu", "dim", over_channels, usual={"default": -1}),
    "softmax": Row("softmax", "dim dtype", over_channels),
    "log_softmax": Row("log_softmax", "dim dtype", over_channels),
    **_along(F + "max_pool{}d", Row("maxpool", f"{POOL} dilation ceil_mode return_indices")),
    **_along(F + "avg_pool{}d", Row("avgpool", f"{POOL} ceil_mode count_include_pad divisor_override")),
    **_along(F + "adaptive_avg_pool{}d", Row("adaptive_avgpool", "output_size", adaptive)),
    **_along(F + "adaptive_max_pool{}d", Row("adaptive_maxpool", "output_size return_indices", adaptive)),
    F + "interpolate": Row("upsample", f"{SCALES} mode align_corners", upsample, batched=True),
    F + "upsample_nearest": Row("upsample", SCALES, upsample, batched=True, usual={"mode": "nearest"}),
    F + "upsample_bilinear": Row("upsample", SCALES, upsample, batched=True, usual=CORNERS),
    "add": Row("add", "other alpha", join),
    "sub": Row("subtract", "other alpha", join),
    "mul": Row("multiply", "other", join),
    "div": Row("divide", "other rounding_mode", join),
    "true_divide": Row("divide", "other", join),
    "matmul": Row("matmul", "other", product),
    "bmm": Row("matmul", "other", product, batched=True),
    "mm": Row("matmul", "other", product),
    "maximum": Row("maximum", "other", join),
    "cat": Row("concat", "dim", concat),
    "flatten": Row("flatten", "start_dim end_dim", flatten),
    "reshape": Row("reshape", "shape", reshape),
    "view": Row("reshape", "shape", reshape),
    "permute": Row("permute", "dims", permute),
    "transpose": Row("permute", "dim0 dim1", transpose),
    "repeat": Row("repeat", "repeats", repeat),
    "roll": Row("roll", "shifts dims", roll),
    "narrow": Row("slice", "dim start length", narrow),
    "slice": Row("slice", "dim start end step", sliced),
    "chunk": Row("chunk", "chunks dim", chunk),
    "split": Row("slice", "parts dim", split),
    "split_with_sizes": Row("slice", "parts dim", split),
    F + "pad": Row("pad", "pad mode value", pad),
    F + "embedding": Row("embedding", "weight padding_idx max_norm norm_type scale_grad_by_freq sparse", ids),
    F + "scaled_dot_product_attention": Row("attention", "key value attn_mask dropout_p is_causal scale", attention),
}

RNN = "input_size hidden_size num_layers bias batch_first dropout bidirectional proj_size"
MODULES: dict[str, Row] = {
    **_along("nn.Conv{}d", Row("conv")),
    **_along("nn.LazyConv{}d", Row("conv")),
    **_along("nn.ConvTranspose{}d", Row("conv_transpose")),
    **_along("nn.LazyConvTranspose{}d", Row("conv_transpose")),
    **_along("nn.MaxPool{}d", Row("maxpool")),
    **_along("nn.AvgPool{}d", Row("avgpool")),
    **_along("nn.AdaptiveAvgPool{}d", Row("adaptive_avgpool", "", adaptive)),
    **_along("nn.AdaptiveMaxPool{}d", Row("adaptive_maxpool", "", adaptive)),
    **{f"nn.BatchNorm{n}d": Row("batchnorm", batched=True) for n in (1, 2, 3)},
    **_along("nn.InstanceNorm{}d", Row("instancenorm")),
    **_along("nn.ZeroPad{}d", Row("pad", "pad", pad)),
    **_along("nn.ConstantPad{}d", Row("pad", "pad value", pad)),
    **_along("nn.ReflectionPad{}d", Row("pad", "pad", pad, usual={"mode": "reflect"})),
    **_along("nn.ReplicationPad{}d", Row("pad", "pad", pad, usual={"mode": "replicate"})),
    **_along("nn.CircularPad{}d", Row("pad", "pad", pad, usual={"mode": "circular"})),
    **{
        f"nn.{name}": Row(operator)
        for name, operator in [
            ("Linear", "linear"),
            ("LayerNorm", "layernorm"),
            ("ReLU", "relu"),
            ("ReLU6", "relu6"),
            ("LeakyReLU", "leaky_relu"),
            ("ELU", "elu"),
            ("SELU", "selu"),
            ("SiLU", "silu"),
            ("Mish", "mish"),
            ("GELU", "gelu"),
            ("Softplus", "softplus"),
            ("Sigmoid", "sigmoid"),
            ("Tanh", "tanh"),
            ("Hardswish", "hardswish"),
        ]
    },
    **{f"nn.{name}": Row(name.lower(), batched=True) for name in ("GroupNorm", "PReLU")},
    "nn.LocalResponseNorm": Row("lrn", batched=True),
    "nn.RMSNorm": Row("rmsnorm", "", rmsnorm, usual={"elementwise_affine": True}),
    "nn.Hardtanh": Row("clamp", "", hardtanh),
    "nn.GLU": Row("glu", "", over_channels),
    "nn.Softmax": Row("softmax", "", over_channels),
    "nn.Softmax2d": Row("softmax", "", over_channels, usual={"dim": -3}),
    "nn.LogSoftmax": Row("log_softmax", "", over_channels),
    "nn.Embedding": Row("embedding", "", ids),
    "nn.LSTM": Row("lstm", RNN, recurrent, lengths=1),
    "nn.GRU": Row("gru", RNN, recurrent, lengths=1),
    "nn.RNN": Row("rnn", RNN.replace("num_layers", "num_layers nonlinearity"), recurrent, lengths=1),
    "nn.MultiheadAttention": Row("multihead_attention", "", self_attention, lengths=1),
}
