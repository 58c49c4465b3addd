"""ONNX's operators as archcalc's own. A rule returns None where its call says something that the operator cannot."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import prod
from typing import Any, NamedTuple, TypeAlias

from archcalc.importers.onnx_nodes.file import Call, File
from archcalc.ops import REGISTRY, Operator, Shape, make
from archcalc.ops.base import Sizes
from archcalc.ops.shape import KINDS, Features, Ids, Map, Tokens, shape_of


class Layer(NamedTuple):
    """An operator of ours, the values that it reads and as which shapes, and its tensors by the names of values."""

    op: Operator
    reads: tuple[str, ...]
    x: Any
    tensors: Mapping[str, str] = {}  # nothing writes into it


class Values:
    """The values of a file that rules read, with their shapes so far."""

    def __init__(self, file: File) -> None:
        self.file = file
        self.constant = file.origins()
        self.shapes: dict[str, Shape] = {}  # of values that depend on an input

    def sizes(self, name: str) -> Sizes:
        """Return the sizes at the first batch."""
        return self.file.sizes[0].get(name, ())

    def stored(self, name: str, count: int) -> bool:
        """Whether the file stores so many values for a value that depends on no input; not one number for all."""
        return count <= sum([prod(self.file.tensors[one].sizes) for one in self.constant.get(name, ())])

    def numbers(self, name: str) -> tuple[Any, ...] | None:
        """Return the numbers of a small stored tensor."""
        stored = self.constant.get(name, ())
        return self.file.tensors[stored[0]].values if len(stored) == 1 else None

    def number(self, call: Call, place: int, key: str, default: Any = None) -> Any:
        """Return a number that is an attribute or an input, depending on the version of ONNX."""
        if call.input(place):
            found = self.numbers(call.input(place))
            return found[0] if found and len(found) == 1 else None
        return call.given.get(key, default)

    def shape(self, name: str, *kinds: str) -> Shape:
        """Return a value's shape, with the axes of one of these kinds that has as many."""
        shape = self.shapes[name]
        return next((KINDS[kind](shape) for kind in kinds if len(kind) == len(shape)), shape)

    def map(self, name: str) -> Shape:
        """Return a value's shape as channels and lengths."""
        return self.shape(name, "C", "CL", "CHW", "CDHW")

    def last(self, name: str) -> Shape:
        """Return a value's shape with the channels last, unless it has other axes."""
        return self.shape(name, "C", "TC", "HWC", "DHWC")

    def axis(self, name: str, axis: int) -> int:
        """Return an axis for one image, from 0; −1: of the batch, or unknown."""
        batch, rank = self.file.batch_axis(name), len(self.sizes(name))
        axis %= max(1, rank)
        return -1 if batch < 0 or axis == batch else axis - (axis > batch)

    def letter(self, shape: Shape, name: str, axis: int) -> str:
        """Return the letter of an axis; "": it has none."""
        at = self.axis(name, axis)
        return shape.axes[at] if 0 <= at < len(shape.axes) else ""


Rule: TypeAlias = "Callable[[Call, Values], Layer | None]"


def named(name: str, axes: int = 2, *args: Any, **given: Any) -> Operator:
    """Return the operator of that name. Raises Refusal for a wrong argument."""
    return make(REGISTRY[name], args, given, axes)


def _window(call: Call, values: Values, kernel: Sizes) -> dict[str, Any]:
    """Return kernel, stride, padding and dilation of a window."""
    axes = len(kernel)
    stride, dilation = (call.given.get(key) or (1,) * axes for key in ("strides", "dilations"))
    pads = call.given.get("pads") or (0,) * (2 * axes)
    pairs = tuple(zip(pads[:axes], pads[axes:], strict=True))
    auto = call.given.get("auto_pad", "NOTSET")
    padding: Any = tuple([before for before, _ in pairs]) if all(a == b for a, b in pairs) else pairs
    if auto == "SAME_LOWER":
        lengths = values.map(call.inputs[0]).lengths
        spans = [d * (k - 1) + 1 for d, k in zip(dilation, kernel, strict=True)]
        sums = [max(0, (-(-n // s) - 1) * s + span - n) for n, s, span in zip(lengths, stride, spans, strict=True)]
        padding = tuple([(total - total // 2, total // 2) for total in sums])
    padding = {"SAME_UPPER": "SAME", "VALID": 0}.get(auto, padding)
    return {"kernel_size": kernel, "stride": stride, "padding": padding, "dilation": dilation}


def _conv(call: Call, values: Values) -> Layer | None:
    x, weight, bias = call.inputs[0], call.input(1), call.input(2)
    if weight not in values.constant:
        return None
    out, inner, *kernel = values.sizes(weight)
    out = inner * call.given.get("group", 1) if call.op == "ConvTranspose" else out
    tensors = {"weight": weight} | ({"bias": bias} if bias and values.stored(bias, out) else {})
    given = _window(call, values, tuple(kernel)) | {"groups": call.given.get("group", 1), "bias": "bias" in tensors}
    if call.op == "ConvTranspose":
        if call.given.get("auto_pad", "NOTSET") != "NOTSET" or "output_shape" in call.given:
            return None
        given["output_padding"] = call.given.get("output_padding", 0)
    name = "conv" if call.op == "Conv" else "conv_transpose"
    return Layer(named(name, len(kernel), out, **given), (x,), values.map(x), tensors)


def _linear(call: Call, values: Values) -> Layer | None:
    x, weight, bias = call.inputs[0], call.inputs[1], call.input(2)
    plain = (call.given.get("transA", 0), call.given.get("alpha", 1), call.given.get("beta", 1)) == (0, 1, 1)
    if weight not in values.constant or len(values.sizes(weight)) != 2 or not plain or (bias and bias in values.shapes):
        return None
    out = values.sizes(weight)[0 if call.given.get("transB", 0) else 1]
    tensors = {"weight": weight} | ({"bias": bias} if bias and values.stored(bias, out) else {})
    return Layer(named("linear", 2, out, bias="bias" in tensors), (x,), values.last(x), tensors)


def _pool(call: Call, values: Values) -> Layer | None:
    kernel = call.given["kernel_shape"]
    given = _window(call, values, kernel) | {"ceil_mode": bool(call.given.get("ceil_mode", 0))}
    if call.op == "AveragePool":
        if {*given.pop("dilation")} != {1}:
            return None
        given["count_include_pad"] = bool(call.given.get("count_include_pad", 0))
        given |= {} if given["padding"] != (0,) * len(kernel) else {"count_include_pad": True}  # the same; PyTorch's
    name = {"MaxPool": "maxpool", "AveragePool": "avgpool"}[call.op]
    return Layer(named(name, len(kernel), **given), call.inputs[:1], values.map(call.inputs[0]))


def _mean(call: Call, values: Values) -> Layer | None:
    """A mean over all positions that keeps their axes is global pooling."""
    x = call.inputs[0]
    shape = values.map(x)
    axes = values.numbers(call.input(1)) if call.input(1) else call.given.get("axes")
    over = {values.axis(x, axis) for axis in axes or ()}
    fits = over == {*range(1, len(shape))} and call.given.get("keepdims", 1)
    return Layer(named("global_avgpool"), (x,), shape) if fits and isinstance(shape, Map) else None


def _activation(name: str, **keys: str) -> Rule:
    def rule(call: Call, values: Values) -> Layer | None:
        given = {own: call.given[key] for own, key in keys.items() if key in call.given}
        shape = values.shapes[call.inputs[0]]
        return Layer(named(name, 2, **given), call.inputs[:1], shape)

    return rule


def _prelu(call: Call, values: Values) -> Layer | None:
    x, slope = call.inputs
    count = max(1, max(values.sizes(slope), default=1))
    return Layer(named("prelu", 2, count), (x,), values.map(x), {"weight": slope})


def _clip(call: Call, values: Values) -> Layer | None:
    low, high = values.number(call, 1, "min"), values.number(call, 2, "max")
    shape = values.shapes[call.inputs[0]]
    op = named("relu6") if (low, high) == (0, 6) else named("clamp", 2, low, high)
    return Layer(op, call.inputs[:1], shape)


def _hard_sigmoid(call: Call, values: Values) -> Layer | None:
    fits = abs(call.given.get("alpha", 0.2) - 1 / 6) < 1e-6 and call.given.get("beta", 0.5) == 0.5
    return _activation("hardsigmoid")(call, values) if fits else None


def _softmax(call: Call, values: Values) -> Layer | None:
    x = call.inputs[0]
    axis = values.axis(x, call.given.get("axis", -1 if int(values.file.opset or 13) >= 13 else 1))
    shape = values.shapes[x]
    if shape.axes:
        shape = values.last(x) if axis == len(shape) - 1 else values.map(x)
    if axis < 0 or not shape.axes or shape.axes[axis] != "C":
        return None
    return Layer(named("softmax" if call.op == "Softmax" else "log_softmax"), (x,), shape)


def _batchnorm(call: Call, values: Values) -> Layer | None:
    x, *names = call.inputs[:5]
    op = named("batchnorm", 2, call.given.get("epsilon", 1e-5), round(1 - call.given.get("momentum", 0.9), 6))
    return Layer(
        op, (x,), values.map(x), dict(zip(("weight", "bias", "running_mean", "running_var"), names, strict=True))
    )


def _norm(call: Call, values: Values) -> Layer | None:
    x, weight, bias = call.inputs[0], call.input(1), call.input(2)
    eps = call.given.get("epsilon", 1e-5)
    tensors = {"weight": weight} | ({"bias": bias} if bias else {})
    if call.op in ("InstanceNormalization", "GroupNormalization"):
        more = {"num_groups": call.given["num_groups"]} if "num_groups" in call.given else {}
        name = "groupnorm" if more else "instancenorm"
        return Layer(named(name, 2, **more, eps=eps, affine=True), (x,), values.map(x), tensors)
    first = values.axis(x, call.given.get("axis", -1))
    shape = values.last(x)
    if first < 0 or not shape.axes or (first != len(shape) - 1 and call.op == "RMSNormalization"):
        return None
    if call.op == "RMSNormalization":
        return Layer(named("rmsnorm", 2, eps), (x,), shape, tensors)
    over = {} if first == len(shape) - 1 else {"normalized_shape": tuple(shape[first:])}
    return Layer(named("layernorm", 2, **over, eps=eps, bias=bool(bias)), (x,), shape, tensors)


def _flatten(call: Call, values: Values) -> Layer | None:
    """Flatten, or Reshape and others to one axis; to several axes those of a map, or tokens if they were tokens."""
    x, target = values.shapes[call.inputs[0]], values.file.per_image(call.outputs[0]) or ()
    if not x.axes or isinstance(x, Ids):
        return None
    if len(target) == 1:
        return Layer(named("flatten"), call.inputs[:1], x)
    axes = {2: "TC" if isinstance(x, Tokens) else "CL", 3: "CHW", 4: "CDHW"}.get(len(target), "")
    axes = {"CHW": "HWC", "CDHW": "DHWC"}.get(axes, axes) if isinstance(x, Tokens) else axes
    return Layer(named("reshape", 2, **dict(zip(axes, target, strict=True))), call.inputs[:1], x) if axes else None


def _transpose(call: Call, values: Values) -> Layer | None:
    name = call.inputs[0]
    rank = len(values.sizes(name))
    order = [values.axis(name, axis) for axis in call.given.get("perm") or range(rank)[::-1]]
    order.remove(-1)
    shape = values.shapes[name]
    moved = "".join([shape.axes[axis] for axis in order]) if shape.axes else ""
    if moved in ("LC", "CT"):
        return Layer(named("transpose"), (name,), shape)
    return Layer(named("permute", 2, moved), (name,), shape) if moved in KINDS else None


def _concat(call: Call, values: Values) -> Layer | None:
    first = next(name for name in call.inputs if name in values.shapes)
    shape = values.shapes[first]
    letter = values.letter(shape, first, call.given["axis"])
    x = tuple([type(shape)(values.shapes.get(name, ())) for name in call.inputs])
    return Layer(named("concat", 2, letter), call.inputs, x) if letter and len(x) > 1 else None


def _join(name: str) -> Rule:
    def rule(call: Call, values: Values) -> Layer | None:
        """Inputs have the same axes; beside tokens a vector may stand, which ONNX repeats as our operators do."""
        shapes = [values.shapes[one] for one in call.inputs]
        most = max(map(len, shapes))
        kind = next((type(one) for one in shapes if len(one) == most and one.axes), None)
        others = {type(one) for one in shapes if len(one) < most}
        if kind is None or len(shapes) < 2 or not others <= ({Features} if issubclass(kind, Tokens) else set()):
            return None
        return Layer(named(name), call.inputs, tuple([kind(one) if len(one) == most else one for one in shapes]))

    return rule


def _slice(call: Call, values: Values) -> Layer | None:
    """Slice, or a part that Split makes, which says where it starts and its size."""
    x, shape = call.inputs[0], values.shapes[call.inputs[0]]
    if "size" in call.given:
        start, size, letter = call.given["start"], call.given["size"], values.letter(shape, x, call.given["axis"])
        return Layer(named("slice", 2, start, start + size, 1, letter), (x,), shape) if letter else None
    given = [values.numbers(name) for name in call.inputs[1:]]
    if None in given or len(given) < 3 or any(len(one) != 1 for one in given if one):
        return None
    start, stop, axis, step = [one[0] for one in [*given, (1,)][:4] if one]
    letter = values.letter(shape, x, axis)
    ends = [None if abs(place) > 2**20 else place for place in (start, stop)]
    return Layer(named("slice", 2, *ends, step, letter), (x,), shape) if letter else None


def _pad(call: Call, values: Values) -> Layer | None:
    x = call.inputs[0]
    shape, rank = values.map(x), len(values.sizes(x))
    pads = (values.numbers(call.input(1)) if call.input(1) else call.given.get("pads")) or ()
    mode = {"edge": "replicate", "wrap": "circular"}.get(
        call.given.get("mode", "constant"), call.given.get("mode", "constant")
    )
    if not isinstance(shape, Map) or len(pads) != 2 * rank or any([*pads[:2], *pads[rank : rank + 2]]) or call.input(3):
        return None
    pairs = tuple(zip(pads[2:rank], pads[rank + 2 :], strict=True))
    return Layer(named("pad", len(pairs), pairs, mode, values.number(call, 2, "value", 0) or 0), (x,), shape)


def _resize(call: Call, values: Values) -> Layer | None:
    x, target = values.map(call.inputs[0]), values.file.per_image(call.outputs[0]) or ()
    mode, where = call.given.get("mode", "nearest"), call.given.get("coordinate_transformation_mode", "half_pixel")
    where = "asymmetric" if call.op == "Upsample" else where
    exact = where == "half_pixel" and call.given.get("nearest_mode", "round_prefer_floor") == "round_prefer_floor"
    known = {"nearest": where == "asymmetric" or exact, "linear": where != "asymmetric", "cubic": where != "asymmetric"}
    if not isinstance(x, Map) or not known.get(mode):
        return None
    axes = len(x.lengths)
    ours = {
        "nearest": "nearest-exact" if exact else "nearest",
        "cubic": "bicubic",
        "linear": ("linear", "bilinear", "trilinear")[axes - 1],
    }
    more = {} if mode == "nearest" else {"align_corners": where == "align_corners"}
    return Layer(named("upsample", axes, size=tuple(target[1:]), mode=ours[mode], **more), call.inputs[:1], x)


def _dropout(call: Call, values: Values) -> Layer | None:
    p = values.number(call, 1, "ratio", 0.5)
    return Layer(named("dropout", 2, p), call.inputs[:1], values.shapes[call.inputs[0]])


def _embedding(call: Call, values: Values) -> Layer | None:
    weight, ids = call.inputs
    sizes = values.sizes(weight)
    if len(sizes) != 2 or call.given.get("axis", 0) or not values.constant.get(weight) or ids not in values.shapes:
        return None
    return Layer(named("embedding", 2, *sizes), (ids,), Ids(values.shapes[ids]), {"weight": weight})


def _pixel_shuffle(call: Call, values: Values) -> Layer | None:
    if call.given.get("mode", "DCR") != "CRD":
        return None
    return Layer(named("pixel_shuffle", 2, call.given["blocksize"]), call.inputs, values.map(call.inputs[0]))


def _recurrent(call: Call, values: Values) -> Layer | None:
    """One layer over all tokens; a GRU as PyTorch's, which multiplies after the product with the state."""
    x, weights = call.inputs[0], {f"weight{i}": name for i, name in enumerate(call.inputs[1:4]) if name}
    activations = call.given.get("activations") or ("Tanh",)
    plain = call.op != "GRU" or call.given.get("linear_before_reset", 0)
    if (
        len(values.shapes[x]) != 2
        or not plain
        or call.given.get("layout", 0)
        or call.input(7)
        or len({*activations}) > 3
    ):
        return None
    given: dict[str, Any] = {
        "bias": bool(call.input(3)),
        "bidirectional": call.given.get("direction") == "bidirectional",
    }
    if call.op == "RNN":
        given["nonlinearity"] = activations[0].lower()
    return Layer(named(call.op.lower(), 2, call.given["hidden_size"], **given), (x,), values.shape(x, "TC"), weights)


RULES: Mapping[str, Rule] = {
    "Conv": _conv, "ConvTranspose": _conv, "Gemm": _linear, "MatMul": _linear,
    "MaxPool": _pool, "AveragePool": _pool, "ReduceMean": _mean,
    "GlobalAveragePool": lambda call, values: Layer(named("global_avgpool"), call.inputs, values.map(call.inputs[0])),
    "GlobalMaxPool": lambda call, values: Layer(named("global_maxpool"), call.inputs, values.map(call.inputs[0])),
    "Relu": _activation("relu"), "Sigmoid": _activation("sigmoid"), "Tanh": _activation("tanh"),
    "LeakyRelu": _activation("leaky_relu", negative_slope="alpha"), "Elu": _activation("elu", alpha="alpha"),
    "Selu": _activation("selu"), "Softplus": _activation("softplus"), "Exp": _activation("exp"),
    "Mish": _activation("mish"), "HardSwish": _activation("hardswish"), "HardSigmoid": _hard_sigmoid,
    "Gelu": _activation("gelu", approximate="approximate"), "Swish": _activation("silu"), "PRelu": _prelu,
    "Clip": _clip,
    "Softmax": _softmax, "LogSoftmax": _softmax,
    "BatchNormalization": _batchnorm,
    **dict.fromkeys(("InstanceNormalization", "GroupNormalization", "LayerNormalization", "RMSNormalization"), _norm),
    **dict.fromkeys(("Flatten", "Reshape", "Squeeze", "Unsqueeze"), _flatten),
    "Transpose": _transpose, "Concat": _concat, "Slice": _slice, "Pad": _pad, "Resize": _resize, "Upsample": _resize,
    "Add": _join("add"), "Sum": _join("add"), "Sub": _join("subtract"), "Mul": _join("multiply"),
    "Div": _join("divide"), "Max": _join("maximum"), "Mean": _join("mean"),
    "Dropout": _dropout, "Gather": _embedding, "DepthToSpace": _pixel_shuffle,
    "LSTM": _recurrent, "GRU": _recurrent, "RNN": _recurrent,
}  # fmt: skip


def parameter(shape: Shape, sizes: Sequence[int], trained: bool, whole: bool) -> Operator | None:
    """Return a stored tensor beside values of a shape as a layer of its own; None if no operator of ours says it.

    A vector of features stays one, unless the shape is needed as a `whole`.
    """
    rank = len(shape) + 1
    padded = (1,) * (rank - len(sizes)) + tuple(sizes)
    if not shape.axes or len(sizes) > rank or padded[0] != 1:
        return None
    given = dict(zip(shape.axes, padded[1:], strict=True))
    only_last = not whole and isinstance(shape, Tokens | Features) and all(size == 1 for size in padded[:-1])
    return named("parameter" if trained else "constant", 2, **({"C": padded[-1]} if only_last else given))


def shape_like(sizes: Sizes, first: Shape | None) -> Shape:
    """Return the shape of what a function made: with the axes of its first input, if it has as many."""
    if first is not None and len(first) == len(sizes) and first.axes and not isinstance(first, Ids):
        return type(first)(sizes)
    return shape_of(sizes) if len(sizes) == 1 else Shape(sizes)
