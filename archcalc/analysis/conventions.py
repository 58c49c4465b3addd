"""Conventions for FLOPs: what papers, lectures and tools count, each with a name, a description and rules.

Our own conventions have a weight for each kind of arithmetic in `ops.KINDS`, so they count a training step, too. A
tool's convention has rules by operator (see `tool_rules`), with the tool's mistakes, and counts a forward pass
alone.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from archcalc.analysis import tool_rules as rules
from archcalc.analysis.tool_rules import Rule, Rules, every, times
from archcalc.ops import KINDS
from archcalc.ops.base import Operator, Unknown

KIND_NAMES = {
    "mac": "MACs", "add": "additions", "mul": "multiplications", "div": "divisions", "compare": "comparisons",
    "exp": "powers of e", "log": "logarithms", "sqrt": "roots", "pow": "powers", "tanh": "tanh", "erf": "erf",
    "sin": "sines and cosines",
}  # fmt: skip


class Convention(NamedTuple):
    """A way to count FLOPs: weights by kind of arithmetic, or a tool's rules by operator."""

    name: str
    text: str
    unit: str  # of its figures: MACs or FLOPs
    weights: Mapping[str, int] = MappingProxyType({})
    rules: Rules = MappingProxyType({})
    tool: str = ""  # with its version, or the revision of its source
    misses: str = ""  # what its users may expect, but it does not count
    quirks: str = ""  # its mistakes, which are counted as it makes them

    def flops(self, work: Mapping[str, int]) -> int | None:
        """Return the FLOPs of some work; None: unknown, since a tool does not count by kinds of work.

        Raises KeyError for a kind without a weight: unknown is not zero.
        """
        if self.rules:
            return None if work else 0
        return sum(count * weight for kind, count in work.items() if (weight := self.weights[kind]))

    def parts(self, op: Operator, x: Any, y: Any, batch: int) -> dict[str, int] | None:
        """Return the FLOPs of an operator at inference, by cause; None: unknown."""
        if self.rules:
            return rules.counted(self.rules, op, x, y, batch)
        try:
            work = op.batch_work(x, y, batch)
        except Unknown:
            return None
        return {
            KIND_NAMES[kind] + f" ({weight} per MAC)" * (weight != 1): count * weight
            for kind, count in work.items()
            if (weight := self.weights[kind]) and count
        }


_ONCE = dict.fromkeys(KINDS, 1)
_NONE = dict.fromkeys(KINDS, 0)

MACS = Rule("MACs", 1, rules.macs, "per MAC")
TWICE = Rule("MACs", 2, rules.macs, "per MAC")
MODULE_MACS = Rule("MACs", 1, rules.of_modules, "per MAC")
BIASES = Rule("biases", 1, rules.biases)
BIAS_LAYERS = Rule("MACs", 1, rules.macs_of_biases, "per MAC")
INPUTS, OUTPUTS = rules.inputs, rules.outputs
CONVOLUTIONS = ("conv", "conv_transpose")
WINDOWS = "attention in windows"
PRODUCTS = (*CONVOLUTIONS, "linear", "matmul", WINDOWS)
MAXIMA = ("maxpool", "adaptive_maxpool", "global_maxpool")
ADAPTIVE = ("adaptive_avgpool", "global_avgpool")
RECURRENT = dict.fromkeys(("rnn", "lstm", "gru"))
AVERAGE, MAXIMUM, NORM = "average pooling", "max pooling", "batch normalization"
OTHER_NORM, ACTIVATION, RESIZED = "other normalization", "activations", "interpolation"


LRN = (Rule(AVERAGE, 1, rules.with_frame), Rule(OTHER_NORM, 3, INPUTS))  # which runs as an average of squares


def _norm(cause: str, with_weights: int, without: int) -> Rule:
    return Rule(cause, rules.affine(with_weights, without), INPUTS)


FVCORE = {
    **every(PRODUCTS, MACS),
    "batchnorm": (_norm(NORM, 2, 1),),
    **every(("layernorm", "channel_layernorm", "groupnorm", "instancenorm"), _norm(OTHER_NORM, 5, 4)),
    **every(ADAPTIVE, Rule(AVERAGE, 1, rules.of_images(INPUTS))),
    "upsample": (Rule(RESIZED, rules.by_mode(nearest=1, bilinear=4), OUTPUTS),),
}
FVCORE_TRAIN = {**FVCORE, "batchnorm": (_norm(NORM, 5, 4),)}
FVCORE_MATMUL = {**FVCORE, "attention": (MACS,)}
THOP: Rules = {
    **RECURRENT,
    "conv": (MACS,),
    "conv_transpose": (Rule("MACs at output positions", 1, rules.at_outputs),),
    "linear": (MODULE_MACS,),
    WINDOWS: (BIAS_LAYERS,),
    "batchnorm": (_norm(NORM, 4, 2),),
    **every(("layernorm", "instancenorm"), _norm(OTHER_NORM, 4, 2)),
    "prelu": (Rule(ACTIVATION, 1, INPUTS),),
    "softmax": (Rule("softmax", 1, rules.softmax_steps),),
    "avgpool": (Rule(AVERAGE, 1, OUTPUTS),),
    **every(ADAPTIVE, Rule(AVERAGE, 1, rules.windows_and_outputs)),
    "upsample": (Rule(RESIZED, rules.by_mode(nearest=1, linear=5, bilinear=11, bicubic=259), OUTPUTS),),
}
ULTRALYTICS = {
    **THOP,
    **every((*PRODUCTS, "attention"), MACS),
    **every(("channel_layernorm", "groupnorm"), _norm(OTHER_NORM, 4, 2)),
    "log_softmax": (Rule("softmax", 3, INPUTS),),
    "avgpool": (Rule(AVERAGE, 1, rules.window_and_outputs),),
    **every(ADAPTIVE, Rule(AVERAGE, 1, rules.cells_and_outputs)),
    "upsample": (Rule(RESIZED, rules.by_mode(linear=5, bilinear=11, bicubic=259, trilinear=31), OUTPUTS),),
}
PTFLOPS: Rules = {
    **RECURRENT,
    "lrn": LRN,
    **every(CONVOLUTIONS, MACS, BIASES),
    "linear": (MODULE_MACS, BIASES),
    "matmul": (MACS,),
    WINDOWS: (BIAS_LAYERS, Rule("biases", 1, rules.hidden_of_biases), Rule(ACTIVATION, 2, rules.hidden_of_biases)),
    "batchnorm": (_norm(NORM, 2, 1),),
    **every(("groupnorm", "instancenorm"), _norm(OTHER_NORM, 2, 1)),
    "layernorm": (Rule(OTHER_NORM, 1, INPUTS),),
    **every(("relu", "elu", "prelu", "gelu"), Rule(ACTIVATION, 2, INPUTS)),
    **every(("relu6", "leaky_relu", "silu"), Rule(ACTIVATION, 1, INPUTS)),
    "swiglu": (Rule(ACTIVATION, 1, rules.halves),),
    "softmax": (Rule("softmax", 1, INPUTS),),
    **every(MAXIMA, Rule(MAXIMUM, 2, INPUTS)),
    **every(("avgpool", *ADAPTIVE), Rule(AVERAGE, 2, INPUTS)),
    "subsample": (Rule(AVERAGE, 1, INPUTS),),
    "upsample": (Rule(RESIZED, 1, rules.resized_twice),),
}
MMCV: Rules = {
    "conv": (MACS, BIASES),
    "conv_transpose": tuple(rule._replace(size=rules.of_images(rule.size)) for rule in (MACS, BIASES)),
    "linear": (MODULE_MACS,),
    WINDOWS: (BIAS_LAYERS, Rule(ACTIVATION, 1, rules.hidden_of_biases)),
    "batchnorm": (_norm(NORM, 2, 1),),
    **every(("layernorm", "groupnorm", "instancenorm"), _norm(OTHER_NORM, 2, 1)),
    **every(("relu", "relu6", "elu", "prelu", "leaky_relu"), Rule(ACTIVATION, 1, INPUTS)),
    **every(MAXIMA, Rule(MAXIMUM, 1, INPUTS)),
    **every(("avgpool", *ADAPTIVE), Rule(AVERAGE, 1, INPUTS)),
    "upsample": (Rule(RESIZED, 1, rules.outputs_of_first),),
}
ATEN: Rules = {
    **RECURRENT,
    **every((*CONVOLUTIONS, "linear"), MACS, BIASES._replace(size=rules.all_biases)),
    "matmul": (MACS,),
    WINDOWS: (MACS, Rule("biases", 1, rules.hidden_of_biases)),
}
CALFLOPS: Rules = {
    **RECURRENT,
    "lrn": LRN,
    "conv": (TWICE, BIASES),
    "conv_transpose": (TWICE._replace(size=rules.by_groups_twice), Rule("biases", 1, rules.biases_as_if_forward)),
    **every(("linear", "matmul"), TWICE),
    "batchnorm": (_norm(NORM, 2, 1),),
    **every(("layernorm", "channel_layernorm", "groupnorm", "instancenorm"), _norm(OTHER_NORM, 5, 4)),
    **every(("relu", "prelu", "elu", "leaky_relu", "silu", "gelu"), Rule(ACTIVATION, 1, INPUTS)),
    "swiglu": (Rule(ACTIVATION, 1, rules.halves),),
    "softmax": (Rule("softmax", 1, INPUTS),),
    **every(MAXIMA, Rule(MAXIMUM, 1, INPUTS)),
    **every(("avgpool", "subsample", *ADAPTIVE), Rule(AVERAGE, 1, INPUTS)),
    WINDOWS: (BIAS_LAYERS._replace(factor=2), Rule(ACTIVATION, 1, rules.hidden_of_biases)),
    "upsample": (Rule(RESIZED, 1, rules.size_alone),),
}
DEEPSPEED: Rules = {
    **CALFLOPS,
    "conv_transpose": (TWICE, BIASES),
    "attention": (TWICE,),
    WINDOWS: (TWICE, Rule(ACTIVATION, 1, rules.hidden_of_biases)),
    "upsample": (Rule(RESIZED, 1, rules.size_or_outputs),),
}
TORCHINFO: Rules = {
    **every(
        CONVOLUTIONS,
        Rule("MACs", 1, rules.at_positions("weight")),
        Rule("biases", 1, rules.at_positions("bias")),
    ),
    "linear": (
        Rule("MACs", 1, rules.macs_of_vector),
        Rule("biases", 1, rules.biases_of_vector),
        Rule("params of linear layers on tokens", 1, rules.weights_of_tokens),
    ),
    "batchnorm": (Rule("params of batch normalization", 1, rules.params_per_image),),
    **every(("rnn", "lstm", "gru"), Rule("params of recurrent layers at each token", 1, rules.params_per_token)),
    "parameter": (Rule("learned tensors", 1, rules.params),),
    WINDOWS: (Rule("layers of biases", 1, rules.params_of_biases),),
    "": (Rule("params of other layers", 1, rules.params_per_image),),
}
BURDEN: Rules = {
    **every((*CONVOLUTIONS, "linear"), MACS, BIASES),
    "relu": (Rule(ACTIVATION, 2, OUTPUTS),),
    **every(("maxpool", "global_maxpool"), Rule(MAXIMUM, 2, rules.strides, "per value and stride")),
    **every(("avgpool", "global_avgpool"), Rule(AVERAGE, 2, rules.strides, "per value and stride")),
    "add": (Rule("additions", 1, rules.sums),),
    **every(("batchnorm", "concat", "dropout", "flatten", "identity", "input", "softmax")),
    "": None,
}
DARKNET = {
    "conv": (TWICE,),
    "maxpool": (Rule(MAXIMUM, lambda call: int(rules.values(call.op.kernel_size)), OUTPUTS),),  # type: ignore[attr-defined]
    "add": (Rule("additions", 1, rules.sums),),
}
NETSCOPE: Rules = {
    "conv": (Rule("MACs without groups", 1, lambda call: rules.macs(call) * call.op.groups),),  # type: ignore[attr-defined]
    "linear": (MACS,),
    "batchnorm": (_norm("scale layers after batch normalization", 1, 0),),
    "lrn": (Rule(OTHER_NORM, lambda call: call.op.size, INPUTS),),  # type: ignore[attr-defined]
    **every(("avgpool", "global_avgpool", "global_maxpool", "maxpool", "relu", "softmax", "add", "concat", "dropout")),
    **every(("flatten", "identity", "input", "permute", "reshape")),
    "": None,
}
XLA: Rules = {
    **every(CONVOLUTIONS, Rule("products within the image", 2, rules.inside, "per MAC")),
    **every(("linear", "matmul", "attention", WINDOWS), TWICE),
}
_ATTENTION = "products of attention that PyTorch's scaled_dot_product_attention computes"
_FVCORE_TEXT = "MACs, 2 per value of batch normalization, 5 of other normalization, averages over all positions"
_FVCORE_MISSES = f"biases, activations, max pooling, average pooling but adaptive, {_ATTENTION}"


def _tool(name: str, text: str, unit: str, table: Rules, tool: str, misses: str, quirks: str = "") -> Convention:
    return Convention(name, text, unit, rules=table, tool=tool, misses=misses, quirks=quirks)


_ROWS = (
    Convention("all", "2·MACs + every other arithmetic operation", "FLOPs", _ONCE | {"mac": 2}),
    Convention(
        "torch", "2·MACs and nothing else, as torch.utils.flop_counter", "FLOPs", _NONE | {"mac": 2},
        tool="torch 2.13.0 (FlopCounterMode)", misses="everything but products",
    ),
    Convention("macs", "multiply-accumulates counted once, as most papers' “FLOPs”", "MACs", _NONE | {"mac": 1}),
    _tool(
        "torchinfo", "weights and biases of convolutions at each position, other params once per image", "MACs",
        TORCHINFO, "torchinfo 1.8.0", "activations, pooling, products of attention and matrices",
        "A linear layer counts at one token of many, a transposed convolution at output positions, and a learned "
        "tensor as if it were multiplied; weights that a module keeps beside other modules are missed.",
    ),
    _tool("fvcore", _FVCORE_TEXT, "MACs", FVCORE, "fvcore 0.1.5", _FVCORE_MISSES,
          "Average pooling counts only where it is adaptive and of images."),
    _tool("fvcore-train", "as fvcore, of a module in training mode: 5 per value of batch normalization", "MACs",
          FVCORE_TRAIN, "fvcore 0.1.5 (without .eval())", _FVCORE_MISSES,
          "It runs the side outputs, too; here they count with --mode train only."),
    _tool("fvcore-matmul", "as fvcore, and attention, of code that writes it as products of matrices", "MACs",
          FVCORE_MATMUL, "fvcore 0.1.5 (attention not fused)", _FVCORE_MISSES.removesuffix(f", {_ATTENTION}")),
    _tool("mmengine", f"as fvcore: {_FVCORE_TEXT}", "MACs", FVCORE, "mmengine 0.10.7", _FVCORE_MISSES),
    _tool("timm", f"as fvcore, which its benchmark runs: {_FVCORE_TEXT}", "MACs", FVCORE, "timm 1.0.31 with fvcore",
          _FVCORE_MISSES),
    _tool(
        "thop", "MACs, 4 per value of normalization, average pooling, softmax", "MACs", THOP, "thop 0.1.1",
        "biases, activations but prelu, max pooling, attention, what is no module of PyTorch's own",
        "Normalization counts twice its 2 operations; a transposed convolution counts at output positions.",
    ),
    _tool(
        "ultralytics", "twice what its thop counts: MACs, 4 per value of normalization, average pooling, softmax",
        "FLOPs", times(2, ULTRALYTICS), "ultralytics with ultralytics-thop 2.2.3",
        "biases, activations but prelu, max pooling",
        "Normalization counts 8 per value, since all that is no MAC is doubled, too.",
    ),
    _tool(
        "ptflops", "MACs, biases, normalization, activations and pooling, of modules and functions", "MACs", PTFLOPS,
        "ptflops 0.7.5 (backend pytorch)", f"linear layers that run as functions, {_ATTENTION}, sums of branches",
        "relu, elu, prelu, gelu and pooling count twice, as module and as function; layer normalization as without "
        "weights.",
    ),
    _tool(
        "mmcv", "MACs, biases of convolutions, normalization, relu and pooling, of modules", "MACs", MMCV,
        "mmcv 1.7.2 (get_model_complexity_info)",
        "biases of linear layers, other activations, softmax, sums of branches, products of attention and matrices, "
        "what is no module of PyTorch's own",
        "Normalization counts 1 per value without weights; a transposed convolution counts only of images, and "
        "interpolation only of the first image of a batch.",
    ),
    _tool("ptflops-aten", "MACs and biases", "MACs", ATEN, "ptflops 0.7.5 (backend aten)",
          f"normalization, activations, pooling, {_ATTENTION}"),
    _tool(
        "calflops", "2·MACs, biases of convolutions, normalization, activations and pooling", "FLOPs", CALFLOPS,
        "calflops 0.3.2", f"biases of linear layers, relu6, sums of branches, {_ATTENTION}, products by @",
        "Interpolation by a size counts its height × width alone, by a factor its input; a transposed convolution "
        "divides by groups twice, and counts biases at as many positions as a convolution with its arguments has.",
    ),
    _tool(
        "deepspeed", "as calflops, and products of attention", "FLOPs", DEEPSPEED, "deepspeed 0.19.8",
        "biases of linear layers, relu6, sums of branches",
        "Interpolation by a size counts its height × width alone.",
    ),
    _tool(
        "torchvision", "MACs, which its table of weights prints as GFLOPS", "MACs",
        every((*PRODUCTS, "attention"), MACS), "torchvision 0.28.0 (_ops)", "everything but products",
    ),
    _tool(
        "convnet-burden", "MACs and biases, 2 per value of relu, pooling by its stride", "MACs", BURDEN,
        "albanie/convnet-burden 42f03d3", "batch normalization, softmax, joins but sums",
        "Pooling counts 2 per output value and stride, not per value of its window; global pooling has stride 1.",
    ),
    _tool(
        "netscope", "MACs, scale layers, squares of local response normalization", "MACs", NETSCOPE,
        "dgschwend/netscope 51c947a (column macc; read, not run)",
        "biases, batch normalization before its scale layer, activations, pooling, sums of branches, softmax",
        "A convolution with groups counts as one without. Layers have the shapes of this network; Netscope ignores "
        "dilation, and rounds the size of a pool up.",
    ),
    _tool(
        "darknet", "2·MACs of convolutions, max pooling, sums of branches", "FLOPs", DARKNET,
        "AlexeyAB/darknet (Total BFLOPS)", "linear layers, batch normalization, activations, average pooling",
    ),
    _tool(
        "xla", "2·MACs without products with padding", "FLOPs", XLA, "jax 0.10.2 (cost_analysis of products)",
        "everything but products, which XLA counts, but differently after each optimization",
    ),
)  # fmt: skip
CONVENTIONS = {convention.name: convention for convention in _ROWS}
