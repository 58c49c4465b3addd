"""ONNX's operators as archcalc's own. A rule raises where its call says something that the operator cannot."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import isclose, prod
from typing import Any, TypeAlias

from archcalc.errors import Refusal
from archcalc.importers.onnx_nodes.site import Layer, Site, require
from archcalc.ops import REGISTRY, Operator, Shape, make
from archcalc.ops.base import Sizes
from archcalc.ops.shape import Features, Ids, Map, Tokens, shape_of

Rule: TypeAlias = Callable[[Site], Layer]


def named(name: str, axes: int = 2, *args: Any, **given: Any) -> Operator:
    """Return the operator of that name. Raises Refusal for a wrong argument."""
    return make(REGISTRY[name], args, given, axes)


def _window(site: Site, kernel: Sizes) -> dict[str, Any]:
    """Return kernel, stride, padding and dilation of a window."""
    axes = len(kernel)
    stride, dilation = (site.given(key) or (1,) * axes for key in ("strides", "dilations"))
    pads = site.given("pads") or (0,) * (2 * axes)
    pairs = tuple(zip(pads[:axes], pads[axes:], strict=True))
    padding: Any = pads[:axes] if pads[:axes] == pads[axes:] else pairs
    auto = site.given("auto_pad", "NOTSET")
    require(auto != "SAME_LOWER")
    padding = {"SAME_UPPER": "SAME", "VALID": 0}.get(auto, padding)
    return {"kernel_size": kernel, "stride": stride, "padding": padding, "dilation": dilation}


def _conv(site: Site) -> Layer:
    tensors, groups = site.tensors(weight=1, bias=2), site.given("group", 1)
    out, inner, *kernel = site.values.sizes(tensors["weight"])
    given = _window(site, tuple(kernel)) | {"groups": groups, "bias": "bias" in tensors}
    if site.call.op == "ConvTranspose":
        given["output_padding"] = site.given("output_padding", 0)
        return site.layer(named("conv_transpose", len(kernel), inner * groups, **given), site.map, tensors)
    return site.layer(named("conv", len(kernel), out, **given), site.map, tensors)


def _linear(site: Site) -> Layer:
    require((site.given("transA", 0), site.given("alpha", 1), site.given("beta", 1)) == (0, 1, 1))
    tensors = site.tensors(weight=1, bias=2)
    out = site.values.sizes(tensors["weight"])[0 if site.given("transB", 0) else 1]
    require(len(site.values.sizes(tensors["weight"])) == 2)
    return site.layer(named("linear", 2, out, bias="bias" in tensors), site.last, tensors)


def _pool(name: str) -> Rule:
    def rule(site: Site) -> Layer:
        kernel = site.given("kernel_shape")
        given = _window(site, kernel) | {"ceil_mode": bool(site.given("ceil_mode", 0))}
        if name == "avgpool":
            require({*given.pop("dilation")} == {1})
            unpadded = given["padding"] == (0,) * len(kernel)  # the same with either; True is PyTorch's default
            given["count_include_pad"] = unpadded or bool(site.given("count_include_pad", 0))
        return site.layer(named(name, len(kernel), **given), site.map)

    return rule


def _mean(site: Site) -> Layer:
    """A mean over all positions that keeps their axes is global pooling."""
    over = {site.axis(axis) for axis in site.listed(1, "axes")}
    require(over == {*range(1, len(site.map))} and site.given("keepdims", 1) and isinstance(site.map, Map))
    return site.layer(named("global_avgpool"), site.map)


def _plain(name: str, **keys: str) -> Rule:
    """A function of single values, with arguments of ours by ONNX's names."""

    def rule(site: Site) -> Layer:
        given = {own: site.given(key) for own, key in keys.items() if site.given(key) is not None}
        return site.layer(named(name, 2, **given), site.shape)

    return rule


def _of_map(name: str) -> Rule:
    return lambda site: site.layer(named(name), site.map)


def _prelu(site: Site) -> Layer:
    count = max((1, *site.values.sizes(site.call.inputs[1])))
    return site.layer(named("prelu", 2, count), site.map, site.tensors(weight=1))


def _clip(site: Site) -> Layer:
    limits = site.number(1, "min"), site.number(2, "max")
    return site.layer(named("relu6") if limits == (0, 6) else named("clamp", 2, *limits), site.shape)


def _hard_sigmoid(site: Site) -> Layer:
    require(isclose(site.given("alpha", 0.2), 1 / 6, rel_tol=1e-5) and site.given("beta", 0.5) == 0.5)
    return site.layer(named("hardsigmoid"), site.shape)


def _softmax(name: str) -> Rule:
    def rule(site: Site) -> Layer:
        over = site.values.softmax_axis(site.call)
        if over is None:
            raise Refusal("it is over several axes")
        axis, shape = site.axis(over), site.shape
        if shape.axes:
            shape = site.last if axis == len(shape) - 1 else site.map
        require(shape.axes and shape.axes[axis] == "C")
        return site.layer(named(name), shape)

    return rule


def _batchnorm(site: Site) -> Layer:
    op = named("batchnorm", 2, site.given("epsilon", 1e-5), round(1 - site.given("momentum", 0.9), 6))
    return site.layer(op, site.map, site.tensors(weight=1, bias=2, running_mean=3, running_var=4))


def _channel_norm(site: Site) -> Layer:
    """Instance or group normalization; ones and zeros in place of weights are constants of the file."""
    tensors, eps, groups = site.tensors(weight=1, bias=2), site.given("epsilon", 1e-5), site.given("num_groups", 0)
    if groups:
        return site.layer(named("groupnorm", 2, groups, eps=eps), site.map, tensors)
    affine = len(tensors) == 2 and all(map(site.values.trained, tensors.values()))
    return site.layer(named("instancenorm", 2, eps=eps, affine=affine), site.map, tensors if affine else {})


def _feature_norm(site: Site) -> Layer:
    tensors, eps, first = site.tensors(weight=1, bias=2), site.given("epsilon", 1e-5), site.axis(site.given("axis", -1))
    shape, whole = site.last, first < len(site.last) - 1
    require(shape.axes)
    if site.call.op == "RMSNormalization":
        require(not whole)
        return site.layer(named("rmsnorm", 2, eps), shape, tensors)
    over = {"normalized_shape": tuple(shape[first:])} if whole else {}
    return site.layer(named("layernorm", 2, **over, eps=eps, bias="bias" in tensors), shape, tensors)


def _reshape(site: Site) -> Layer:
    """Flatten, or Reshape and others to one axis; to several axes those of a map, or tokens if they were tokens."""
    x, target = site.shape, site.target
    require(x.axes and not isinstance(x, Ids))
    if len(target) == 1:
        return site.layer(named("flatten"), x)
    axes = ("TC", "HWC", "DHWC") if isinstance(x, Tokens) else ("CL", "CHW", "CDHW")
    return site.layer(named("reshape", 2, **dict(zip(axes[len(target) - 2], target, strict=True))), x)


def _transpose(site: Site) -> Layer:
    order = site.given("perm") or range(len(site.values.sizes(site.x)))[::-1]
    batch = site.values.file.batch_axis(site.x)
    moved = "".join([site.letter(axis) for axis in order if axis % len(order) != batch])
    op = named("transpose") if moved in ("LC", "CT") else named("permute", 2, moved)
    return site.layer(op, site.shape)


def _concat(site: Site) -> Layer:
    values, names = site.values, site.call.inputs
    first = next(name for name in names if name in values.shapes)
    shape = values.shapes[first]
    learned = _learned(site, shape, whole=True)
    letter = shape.axes[values.axis(first, site.given("axis"))]
    require(len(names) > 1 and values.axis(first, site.given("axis")) >= 0)
    x = tuple([type(shape)(_shape(site, name, learned)) for name in names])
    return Layer(named("concat", 2, letter), names, x, learned=learned)


def _join(name: str) -> Rule:
    def rule(site: Site) -> Layer:
        """Inputs have the same axes; beside tokens a vector may stand, which ONNX repeats as our operators do."""
        names = site.call.inputs
        learned = _learned(site, next(site.values.shapes[one] for one in names if one in site.values.shapes))
        shapes = [_shape(site, one, learned) for one in names]
        most = max(map(len, shapes))
        kind = next(type(one) for one in shapes if len(one) == most and one.axes)
        others = {type(one) for one in shapes if len(one) < most}
        require(len(shapes) > 1 and others <= ({Features} if issubclass(kind, Tokens) else set()))
        x = tuple([kind(one) if len(one) == most else one for one in shapes])
        return Layer(named(name), names, x, learned=learned)

    return rule


def _shape(site: Site, name: str, learned: Mapping[str, Operator]) -> Shape:
    return learned[name].output(Shape()) if name in learned else site.values.shapes[name]


def _learned(site: Site, beside: Shape, whole: bool = False) -> dict[str, Operator]:
    """Return a layer for each stored tensor among the inputs, which stands beside values of a shape.

    A vector of features stays one, unless the shape is needed as a `whole`.
    """
    found, rank = {}, len(beside) + 1
    for name in site.call.inputs:
        if name not in site.values.shapes:
            sizes = site.values.sizes(name)
            padded = (1,) * (rank - len(sizes)) + tuple(sizes)
            require(1 < prod(sizes) == site.values.stores(name) and beside.axes and len(padded) == rank)
            require(padded[0] == 1)
            vector = not whole and isinstance(beside, Tokens | Features) and prod(padded[:-1]) == 1
            given = {"C": padded[-1]} if vector else dict(zip(beside.axes, padded[1:], strict=True))
            found[name] = named("parameter" if site.values.trained(name) else "constant", 2, **given)
    return found


def _slice(site: Site) -> Layer:
    (start,), (stop,), (axis,) = [site.listed(place, key) for place, key in enumerate(("starts", "ends", "axes"), 1)]
    (step,) = site.listed(4, "steps") or (1,)
    ends = [None if abs(place) > 2**20 else place for place in (start, stop)]
    return site.layer(named("slice", 2, *ends, step, site.letter(axis)), site.shape)


def _pad(site: Site) -> Layer:
    pads, mode, rank = site.listed(1, "pads"), site.given("mode", "constant"), len(site.map) + 1
    require(isinstance(site.map, Map) and len(pads) == 2 * rank and not site.call.input(3))
    pairs = tuple(zip(pads[:rank], pads[rank:], strict=True))
    require({*pairs[:2]} == {(0, 0)})
    mode = {"edge": "replicate", "wrap": "circular"}.get(mode, mode)
    return site.layer(named("pad", rank - 2, pairs[2:], mode, site.number(2, "value", 0)), site.map)


def _resize(site: Site) -> Layer:
    x, mode, axes = site.map, site.given("mode", "nearest"), len(site.map) - 1
    old = site.call.op == "Upsample"
    where = "asymmetric" if old else site.given("coordinate_transformation_mode", "half_pixel")
    exact = (where, site.given("nearest_mode", "round_prefer_floor")) == ("half_pixel", "round_prefer_floor")
    require(isinstance(x, Map) and ((where == "asymmetric") == (mode == "nearest") or (mode == "nearest" and exact)))
    smooth = {"linear": ("linear", "bilinear", "trilinear")[axes - 1], "cubic": "bicubic"}
    nearest = {"mode": "nearest-exact" if exact else "nearest"}
    given = {"mode": smooth[mode], "align_corners": where == "align_corners"} if mode in smooth else nearest
    return site.layer(named("upsample", axes, size=site.target[1:], **given), x)


def _embedding(site: Site) -> Layer:
    weight, ids = site.call.inputs
    require(not site.given("axis", 0) and site.values.constant.get(weight))
    op = named("embedding", 2, *site.values.sizes(weight))
    return Layer(op, (ids,), Ids(site.values.shapes[ids]), {"weight": weight})


def _pixel_shuffle(site: Site) -> Layer:
    require(site.given("mode") == "CRD")
    return site.layer(named("pixel_shuffle", 2, site.given("blocksize")), site.map)


def _recurrent(name: str) -> Rule:
    def rule(site: Site) -> Layer:
        """One layer over all tokens; a GRU as PyTorch's, which multiplies after the product with the state."""
        activations = site.given("activations") or ("Tanh",)
        require(len(site.shape) == 2 and (name != "gru" or site.given("linear_before_reset")))
        require(not site.given("layout", 0) and not site.call.input(7) and len({*activations}) <= 3)
        tensors = site.tensors(weight1=1, weight2=2, weight3=3)
        own = {"nonlinearity": activations[0].lower()} if name == "rnn" else {}
        both = site.given("direction") == "bidirectional"
        op = named(name, 2, site.given("hidden_size"), bias="weight3" in tensors, bidirectional=both, **own)
        return site.layer(op, Tokens(site.shape), tensors)

    return rule


RULES: Mapping[str, Rule] = {
    "Conv": _conv, "ConvTranspose": _conv, "Gemm": _linear, "MatMul": _linear,
    "MaxPool": _pool("maxpool"), "AveragePool": _pool("avgpool"), "ReduceMean": _mean,
    "GlobalAveragePool": _of_map("global_avgpool"), "GlobalMaxPool": _of_map("global_maxpool"),
    **{name: _plain(name.lower()) for name in ("Relu", "Sigmoid", "Tanh", "Selu", "Softplus", "Exp", "Mish")},
    "LeakyRelu": _plain("leaky_relu", negative_slope="alpha"), "Elu": _plain("elu", alpha="alpha"),
    "HardSwish": _plain("hardswish"), "Gelu": _plain("gelu", approximate="approximate"), "Swish": _plain("silu"),
    "HardSigmoid": _hard_sigmoid, "PRelu": _prelu, "Clip": _clip,
    "Softmax": _softmax("softmax"), "LogSoftmax": _softmax("log_softmax"),
    "BatchNormalization": _batchnorm, "InstanceNormalization": _channel_norm, "GroupNormalization": _channel_norm,
    "LayerNormalization": _feature_norm, "RMSNormalization": _feature_norm,
    **dict.fromkeys(("Flatten", "Reshape", "Squeeze", "Unsqueeze"), _reshape),
    "Transpose": _transpose, "Concat": _concat, "Slice": _slice, "Pad": _pad, "Resize": _resize, "Upsample": _resize,
    "Add": _join("add"), "Sum": _join("add"), "Sub": _join("subtract"), "Mul": _join("multiply"),
    "Div": _join("divide"), "Max": _join("maximum"), "Mean": _join("mean"),
    "Dropout": lambda site: site.layer(named("dropout", 2, site.number(1, "ratio", 0.5)), site.shape),
    "Gather": _embedding, "DepthToSpace": _pixel_shuffle,
    "LSTM": _recurrent("lstm"), "GRU": _recurrent("gru"), "RNN": _recurrent("rnn"),
}  # fmt: skip


def shape_like(sizes: Sizes, first: Shape | None) -> Shape:
    """Return the shape of what a function made: with the axes of its first input, if it has as many."""
    if first is not None and len(first) == len(sizes) and first.axes and not isinstance(first, Ids):
        return type(first)(sizes)
    return shape_of(sizes) if len(sizes) == 1 else Shape(sizes)
