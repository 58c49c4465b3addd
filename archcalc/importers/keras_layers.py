"""The layers of Keras by their class: what each becomes in a spec.

A value is an image, line or volume (`map`), `tokens`, a `vector`, or `ids`: numbers of tokens. Keras's channels come
last, those of a spec first, so that figures are equal and the order of values in memory is not.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from archcalc.errors import SpecError, shorten
from archcalc.importers.spec_writer import call

ACTIVATIONS = {
    "linear": (), "relu": ("relu",), "relu6": ("relu6",), "sigmoid": ("sigmoid",), "tanh": ("tanh",),
    "softmax": ("softmax",), "elu": ("elu",), "selu": ("selu",), "gelu": ("gelu",), "swish": ("silu",),
    "silu": ("silu",), "softplus": ("softplus",), "exponential": ("exp",), "mish": ("mish",),
}  # fmt: skip
JOINS = {"Add": "add", "Subtract": "subtract", "Multiply": "multiply", "Average": "mean", "Maximum": "maximum"}
MAX_SIZE = 2**31


class Layer(NamedTuple):
    """A layer: its class, its name, its config, and the kind of value that it reads."""

    kind: str
    name: str
    config: dict[str, Any]
    reads: str

    def refuse(self, message: str) -> Any:
        raise SpecError(f"{self.name} ({self.kind}): {message}")

    def whole(self, key: str, default: Any = None) -> int:
        """Return a whole number. Raises SpecError for anything else."""
        return self._whole(key, self.config.get(key, default))

    def _whole(self, key: str, value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or abs(value) > MAX_SIZE:
            return int(self.refuse(f"{key}: {shorten(repr(value))} is not a whole number that fits"))
        return value

    def real(self, key: str, default: float = 1.0) -> float:
        """Return a number. Raises SpecError for anything else."""
        value = self.config.get(key, default)
        if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= MAX_SIZE:
            return float(self.refuse(f"{key}: {shorten(repr(value))} is not a number that fits"))
        return float(value)

    def sizes(self, key: str, default: Any = 1) -> list[int]:
        """Return whole numbers, one per axis or one for all."""
        value = self.config.get(key, default)
        value = default if value is None else value
        return [self._whole(key, size) for size in (value if isinstance(value, list) else [value])]

    def text(self, key: str, default: str = "") -> str:
        value = self.config.get(key, default)
        return value if isinstance(value, str) else default

    def flag(self, key: str, default: bool) -> bool:
        value = self.config.get(key, default)
        return value if isinstance(value, bool) else self.refuse(f"{key} must be true or false")

    def activation(self) -> tuple[str, ...]:
        """Return its activation as layers. Raises SpecError for one without an operator."""
        given = self.config.get("activation") or "linear"
        if not isinstance(given, str) or given not in ACTIVATIONS:
            self.refuse(f"the activation {shorten(repr(given))} has no operator here")
        return ACTIVATIONS[given]


Made = tuple[tuple[str, ...], str]  # layers, and the kind of value that they give


def _on_map(layer: Layer) -> tuple[str, ...]:
    """Return what makes a line of tokens, so that a window can slide over it."""
    return ("transpose",) if layer.reads == "tokens" else ()


PADDING = {"valid": 0, "same": "'SAME'", "causal": "'causal'"}


def _convolution(layer: Layer, channels: object, groups: object) -> Made:
    if layer.text("padding", "valid") not in PADDING:
        layer.refuse("its padding is unknown")
    made = call(
        "conv", channels, layer.sizes("kernel_size"), stride=layer.sizes("strides"),
        padding=PADDING[layer.text("padding", "valid")], dilation=layer.sizes("dilation_rate"), groups=groups,
        bias=layer.flag("use_bias", True),
    )  # fmt: skip
    return (*_on_map(layer), made, *layer.activation()), "map"


def _conv(layer: Layer) -> Made:
    return _convolution(layer, layer.whole("filters"), layer.whole("groups", 1))


def _depthwise(layer: Layer) -> Made:
    return _convolution(
        layer, f"in_channels * {layer.whole('depth_multiplier', 1)}".removesuffix(" * 1"), "in_channels"
    )


def _separable(layer: Layer) -> Made:
    bare = layer._replace(config={**layer.config, "use_bias": False, "activation": "linear"})
    last = call("conv", layer.whole("filters"), 1, bias=layer.flag("use_bias", True))
    return (*_depthwise(bare)[0], last, *layer.activation()), "map"


def _transposed(layer: Layer) -> Made:
    """Of "same" the output is stride times as long; of "valid" at least."""
    if layer.sizes("dilation_rate") != [1] * len(layer.sizes("dilation_rate")) or layer.config.get("output_padding"):
        layer.refuse("dilation_rate and output_padding have no operator here")
    kernels, strides = layer.sizes("kernel_size"), layer.sizes("strides")
    strides = strides * len(kernels) if len(strides) == 1 else strides
    over = [kernel - stride for kernel, stride in zip(kernels, strides, strict=True)]
    same = layer.text("padding", "valid") == "same"
    padding = [max(0, -(-size // 2)) * same for size in over]
    more = [max(-size, 0) + (size % 2 if size > 0 and same else 0) for size in over]
    bias = layer.flag("use_bias", True)
    words = {"stride": strides, "padding": padding, "output_padding": more, "bias": bias}
    made = call("conv_transpose", layer.whole("filters"), kernels, **words)
    return (*_on_map(layer), made, *layer.activation()), "map"


def _pool(layer: Layer) -> Made:
    """Padding of "same" is not counted in means, and of maxima is what is next to it."""
    kernels = layer.sizes("pool_size", 2)
    strides = layer.sizes("strides", kernels)
    pool = "maxpool" if layer.kind.startswith("Max") else "avgpool"
    before, odd = _on_map(layer), all(size % 2 for size in kernels)
    if layer.text("padding", "valid") == "valid":
        return (*before, call(pool, kernels, stride=strides)), "map"
    if {*strides} == {1} and odd:
        words = {"padding": [size // 2 for size in kernels], "count_include_pad": pool == "maxpool"}
        return (*before, call(pool, kernels, stride=1, **words)), "map"
    if {*kernels, *strides} == {2}:
        return (*before, call(pool, 2, stride=2, ceil_mode=True)), "map"
    if pool == "avgpool" or layer.kind[-2:] != "2D":
        layer.refuse("this size with padding 'same' has no operator here")
    pads = []
    for axis, size, step in zip(("in_height", "in_width"), kernels * 2, strides * 2, strict=False):
        total = f"max((-(-{axis} // {step}) - 1) * {step} + {size} - {axis}, 0)"
        pads.append(f"[{total} // 2, -(-{total} // 2)]")
    return (f"pad([{', '.join(pads)}], mode='replicate')", call("maxpool", kernels, stride=strides)), "map"


def _global(layer: Layer) -> Made:
    pool = "global_maxpool" if "Max" in layer.kind else "global_avgpool"
    kept = layer.flag("keepdims", False)
    return (*_on_map(layer), pool, *(("flatten",) * (not kept))), "map" if kept else "vector"


def _dense(layer: Layer) -> Made:
    """Over the last axis, which of a map is that of the channels: a convolution of 1×1."""
    operator, *kernel = ("conv", 1) if layer.reads == "map" else ("linear",)
    made = call(str(operator), layer.whole("units"), *kernel, bias=layer.flag("use_bias", True))
    return (made, *layer.activation()), layer.reads


def _batchnorm(layer: Layer) -> Made:
    scale, center = layer.flag("scale", True), layer.flag("center", True)
    words = f"eps={layer.real('epsilon', 1e-3)}, momentum={round(1 - layer.real('momentum', 0.99), 12)}"
    if layer.reads == "tokens":
        layer.refuse("normalization of tokens has no operator here")
    if scale == center:
        return (f"batchnorm({words}{', affine=False' * (not scale)})",), layer.reads
    if layer.reads != "map":
        layer.refuse("scale without center has no operator here for a vector")
    join = "multiply" if scale else "add"
    return (f"batchnorm({words}, affine=False)", f"{join}(identity, parameter(C=in_channels, H=1, W=1))"), "map"


def _layernorm(layer: Layer) -> Made:
    flags = layer.flag("scale", True), layer.flag("center", True)
    if layer.sizes("axis", -1) not in ([-1], [3] if layer.reads == "map" else [2]) or flags[1] > flags[0]:
        layer.refuse("only normalization of the last axis has an operator here")
    words = f"eps={layer.real('epsilon', 1e-3)}" + ", elementwise_affine=False" * (not flags[0])
    words += ", bias=False" * (flags[0] > flags[1])
    return (f"{'channel_layernorm' if layer.reads == 'map' else 'layernorm'}({words})",), layer.reads


def _relu(layer: Layer) -> Made:
    top, slope = layer.config.get("max_value"), layer.config.get("negative_slope") or 0
    if layer.config.get("threshold") or (top not in (None, 6)) or (top and slope):
        layer.refuse("this max_value or threshold has no operator here")
    return (f"leaky_relu({layer.real('negative_slope')})" if slope else "relu6" if top else "relu",), layer.reads


def _leaky(layer: Layer) -> Made:
    return (f"leaky_relu({layer.real('negative_slope', layer.real('alpha', 0.3))})",), layer.reads


def _padding(layer: Layer) -> Made:
    """Zeros around the image, or what is cut off."""
    sign = -1 if layer.kind.startswith("Cropping") else 1
    given = layer.config.get("padding" if sign > 0 else "cropping", 1)
    axes = int(layer.kind[-2])
    sides = given if isinstance(given, list) else [given] * axes
    sides = [sides] if axes == 1 and len(sides) == 2 else sides
    pairs = [side if isinstance(side, list) else [side, side] for side in sides]
    pads = [[sign * layer._whole("padding", size) for size in pair] for pair in pairs]
    return (*_on_map(layer), f"pad({pads})"), "map"


def _upsample(layer: Layer) -> Made:
    mode = layer.text("interpolation", "nearest")
    if mode not in ("nearest", "bilinear"):
        layer.refuse(f"{shorten(mode)} has no operator here")
    return (*_on_map(layer), call("upsample", scale_factor=layer.sizes("size", 2), mode=f"'{mode}'")), "map"


def _concat(layer: Layer) -> Made:
    axis = layer.whole("axis", -1)
    if layer.reads == "tokens" and axis in (1, -2):
        return ("concat(axis='T')",), "tokens"
    if axis not in (-1, {"map": 3, "tokens": 2, "vector": 1}.get(layer.reads)):
        layer.refuse("only channels or tokens are concatenated here")
    return ("concat",), layer.reads


def _embedding(layer: Layer) -> Made:
    return (f"embedding({layer.whole('input_dim')}, {layer.whole('output_dim')})",), "tokens"


def _bidirectional(layer: Layer) -> Made:
    inner = layer.config["layer"]
    own = layer._replace(kind=str(inner["class_name"]), config=inner["config"])
    if own.kind not in ("GRU", "LSTM", "SimpleRNN") or layer.config.get("merge_mode") != "concat":
        layer.refuse("only GRU, LSTM and SimpleRNN whose directions are concatenated have an operator here")
    if not own.flag("return_sequences", False):
        layer.refuse("it needs return_sequences: the last token of each direction has no operator here")
    return _recurrent(own, both=True)


def _recurrent(layer: Layer, both: bool = False) -> Made:
    """GRU as in PyTorch, with two biases per gate; the others have one bias, for which there is no operator."""
    bias = layer.flag("use_bias", True)
    operator = {"GRU": "gru", "LSTM": "lstm", "SimpleRNN": "rnn"}[layer.kind]
    if layer.kind == "GRU" and not layer.flag("reset_after", True):
        layer.refuse("reset_after=false has no operator here")
    if layer.kind != "GRU" and bias:
        layer.refuse("one bias per gate has no operator here: `lstm` and `rnn` have two, as in PyTorch, so more params")
    given = layer.text("activation", "tanh"), layer.text("recurrent_activation", "sigmoid")
    relu = layer.kind == "SimpleRNN" and given[0] == "relu"
    if layer.reads != "tokens" or given != ("relu" if relu else "tanh", "sigmoid"):
        layer.refuse("it needs tokens, tanh and sigmoid")
    last = () if layer.flag("return_sequences", False) else ("slice(-1, None, axis='T')", "flatten")
    nonlinearity = "'relu'" if relu else "'tanh'"
    made = call(operator, layer.whole("units"), bidirectional=both, nonlinearity=nonlinearity, bias=bias)
    return (made, *last), "vector" if last else "tokens"


def _normalization(layer: Layer) -> Made:
    """Fixed numbers, which are not in the JSON: a difference and a quotient for each channel."""
    if layer.reads != "map" or layer.sizes("axis", -1) not in ([-1], [3]):
        layer.refuse("only normalization of the channels of a map has an operator here")
    joins = ("multiply", "add") if layer.config.get("invert") else ("subtract", "divide")
    return tuple([f"{join}(identity, constant(C=in_channels, H=1, W=1, value=1))" for join in joins]), "map"


def _rescaling(layer: Layer) -> Made:
    if layer.reads != "map":
        layer.refuse("only rescaling of a map has an operator here")
    if isinstance(layer.config.get("scale"), list) and not layer.real("offset", 0):
        return ("multiply(identity, constant(C=in_channels, H=1, W=1, value=1))",), "map"
    terms = {"multiply": layer.real("scale"), "add": layer.real("offset", 0)}
    steps = [(join, value) for join, value in terms.items() if value != (join == "multiply")]
    return tuple([f"{join}(identity, constant(C=1, H=1, W=1, value={value}))" for join, value in steps]), "map"


def _reshape(layer: Layer) -> Made:
    """Channels last become channels first, with other values at each place."""
    *places, channels = layer.sizes("target_shape", [])
    if len(places) == 2:
        return (f"reshape({channels}, {places[0]}, {places[1]})",), "map"
    if len(places) == 1:
        return (f"reshape(T={places[0]}, C={channels})",), "tokens"
    return ("flatten",) if not places else layer.refuse("this shape has no operator here"), "vector"


def _dropout(layer: Layer) -> Made:
    operator = {"SpatialDropout1D": "dropout1d", "SpatialDropout2D": "dropout2d", "SpatialDropout3D": "dropout3d"}
    return (f"{operator.get(layer.kind, 'dropout')}({layer.real('rate')})",), layer.reads


def _groupnorm(layer: Layer) -> Made:
    return (f"groupnorm({layer.whole('groups', 32)}, eps={layer.real('epsilon', 1e-3)})",), layer.reads


LAYERS: dict[str, Callable[[Layer], Made]] = {
    "DepthwiseConv2D": _depthwise, "DepthwiseConv1D": _depthwise, "SeparableConv2D": _separable,
    "SeparableConv1D": _separable, "Dense": _dense, "BatchNormalization": _batchnorm,
    "LayerNormalization": _layernorm, "GroupNormalization": _groupnorm, "ReLU": _relu, "LeakyReLU": _leaky,
    "Activation": lambda layer: (layer.activation(), layer.reads), "Softmax": lambda layer: (("softmax",), layer.reads),
    "ELU": lambda layer: ((f"elu({layer.real('alpha', 1)})",), layer.reads),
    "Flatten": lambda layer: (("flatten",), "vector"), "Dropout": _dropout, "Concatenate": _concat,
    "Embedding": _embedding, "LSTM": _recurrent, "GRU": _recurrent, "SimpleRNN": _recurrent,
    "Normalization": _normalization, "Bidirectional": _bidirectional, "Rescaling": _rescaling, "Reshape": _reshape,
    "Identity": lambda layer: ((), layer.reads),
}  # fmt: skip
for _axes in ("1D", "2D", "3D"):
    LAYERS |= {f"Conv{_axes}": _conv, f"Conv{_axes}Transpose": _transposed, f"UpSampling{_axes}": _upsample}
    LAYERS |= {f"MaxPooling{_axes}": _pool, f"AveragePooling{_axes}": _pool, f"SpatialDropout{_axes}": _dropout}
    LAYERS |= {f"GlobalMaxPooling{_axes}": _global, f"GlobalAveragePooling{_axes}": _global}
    LAYERS |= {f"ZeroPadding{_axes}": _padding, f"Cropping{_axes}": _padding}
