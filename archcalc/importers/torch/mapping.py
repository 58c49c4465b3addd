"""Functions of PyTorch that one of archcalc's own operators stands for. A rule that does not fit raises Misfit.

Whether it does is checked afterwards, by the recorded shape, by what is written and by what autograd keeps.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from archcalc.importers.torch.site import Misfit, Plan, Site, each, ids
from archcalc.ops import Operator
from archcalc.ops.base import REGISTRY
from archcalc.ops.shape import Features, Map, Tokens, permuted

Rule: TypeAlias = Callable[[Site], Plan]


def own(name: str, **arguments: Any) -> Operator:
    """Return one of archcalc's operators."""
    return REGISTRY[name](**arguments)


def _convolution(site: Site) -> Plan:
    weight, groups, turned = site.shapes_of(site.value("weight")), site.arg("groups"), "transpose" in site.call.name
    axes, padding = len(weight) - 2, site.arg("padding")
    padding = {"valid": (0,) * axes}.get(padding, padding) if isinstance(padding, str) else each(padding, axes)
    names = ("stride", "dilation", *["output_padding"] * turned)
    op = own(
        "conv_transpose" if turned else "conv", out_channels=weight[1] * groups if turned else weight[0],
        kernel_size=weight[2:], padding=padding, groups=groups, bias=site.arg("bias") is not None,
        **{name: each(site.arg(name), axes) for name in names},
    )  # fmt: skip
    return site.plan(op, site.map(axes), site.weights("weight", "bias"))


def _linear(site: Site) -> Plan:
    weight = site.shapes_of(site.value("weight"))
    op = own("linear", out_features=weight[0], bias=site.arg("bias") is not None)
    return site.plan(op, site.x(), site.weights("weight", "bias"))


def _batch_norm(site: Site) -> Plan:
    x = site.shape(site.value("input"))
    weights = site.weights("weight", "bias")
    if site.arg("training") or len(weights) == 1:
        raise Misfit("training")
    buffers = site.weights("running_mean", "running_var")
    op = own("batchnorm", eps=site.arg("eps"), momentum=site.arg("momentum"), affine=bool(weights))
    return site.plan(op, x if isinstance(x, Map | Features) else Map(x), weights | buffers)


def _layer_norm(site: Site) -> Plan:
    over, weights = tuple(site.arg("normalized_shape")), site.weights("weight", "bias")
    flags = {"elementwise_affine": bool(weights), "bias": len(weights) != 1}
    return site.plan(own("layernorm", normalized_shape=over, eps=site.arg("eps"), **flags), site.x(), weights)


def _group_norm(site: Site) -> Plan:
    x, weights = site.shape(site.value("input")), site.weights("weight", "bias")
    if len(weights) == 1:
        raise Misfit("bias")
    op = own("groupnorm", num_groups=site.arg("num_groups"), eps=site.arg("eps"), affine=bool(weights))
    return site.plan(op, Map(x), weights)


def _pool(site: Site) -> Plan:
    axes, kind, stride = site.axes, "maxpool" if site.call.name.startswith("max") else "avgpool", site.arg("stride")
    sizes = {name: each(site.arg(name), axes) for name in site.given("kernel_size", "padding", "dilation")}
    others = {name: site.arg(name) for name in site.given("ceil_mode", "count_include_pad", "divisor_override")}
    return site.plan(own(kind, stride=each(stride, axes) if stride else None, **sizes, **others), site.map(axes))


def _adaptive(site: Site) -> Plan:
    size = each(site.arg("output_size"), site.axes)
    op = own("global_avgpool") if {*size} == {1} else own("adaptive_avgpool", output_size=size)
    return site.plan(op, site.map(site.axes))


def _mean(site: Site) -> Plan:
    """A mean over all positions."""
    x, dims = site.shape(site.value("self")), site.arg("dim")
    if len(x) not in (2, 3, 4):
        raise Misfit("axes")
    if sorted(dim % (len(x) + 1) for dim in dims) != [*range(2, len(x) + 1)] or isinstance(x, Tokens):
        raise Misfit("dim")
    return site.plan(own("global_avgpool"), Map(x))


def _function(name: str, **fixed: Any) -> Rule:
    """A function of single values with arguments of the same names, in place by ATen's `_`."""

    def rule(site: Site) -> Plan:
        kind, shape = REGISTRY[name], site.any_shape(site.first)
        given = {key: site.arg(key) for key in site.given(*kind.types)}
        if site.call.name.endswith("_") and "inplace" not in kind.types:
            raise Misfit("in place")
        placed = {"inplace": site.call.name.endswith("_")} if "inplace" in kind.types else {}
        return site.plan(own(name, **given, **placed, **fixed), shape)

    return rule


def _hardtanh(site: Site) -> Plan:
    if (site.arg("min_val"), site.arg("max_val")) != (0, 6):
        raise Misfit("limits")
    return _function("relu6")(site)


def _softmax(name: str) -> Rule:
    def rule(site: Site) -> Plan:
        shape, dim = site.shape(site.value("self")), site.arg("dim")
        at_last = dim in (-1, len(shape))
        x = shape if shape.axes else Tokens(shape) if 2 <= len(shape) <= 4 else shape
        if not x.axes or not (at_last if isinstance(x, Tokens | Features) else dim % (len(shape) + 1) == 1):
            raise Misfit("dim")
        return site.plan(own(name), x)

    return rule


def _dropout(site: Site) -> Plan:
    inplace = site.call.name.endswith("_")
    return site.plan(own("dropout", p=site.arg("p"), inplace=inplace), site.any_shape(site.first))


def _channel_dropout(site: Site) -> Plan:
    x = site.shape(site.first)
    op = own(f"dropout{len(x) - 1}d", p=site.arg("p"), inplace=site.call.name.endswith("_"))
    return site.plan(op, Map(x))


def _pair(name: str) -> Rule:
    """A function of two tensors, which may be repeated."""

    def rule(site: Site) -> Plan:
        values = site.value("self"), site.value("other")
        shapes = [site.any_shape(value) for value in values]
        if ("alpha" in site.defaults and site.arg("alpha") != 1) or site.arg_or("rounding_mode"):
            raise Misfit("alpha")
        largest = max(shapes, key=len)
        if len(shapes[0]) == len(shapes[1]) != 0:
            shapes = [type(largest)(shape) for shape in shapes]
        placed = {"inplace": site.call.name.endswith("_")} if name == "add" else {}
        return Plan(own(name, **placed), values, tuple(shapes), {})

    return rule


def _concat(site: Site) -> Plan:
    values = tuple([ref.index for ref in site.arg("tensors")])
    shapes = [site.any_shape(value) for value in values]
    kind = next((shape for shape in shapes if shape.axes), shapes[0])
    axis = kind.axes[site.arg("dim") % (len(kind) + 1) - 1] if kind.axes and site.arg("dim") else ""
    if not axis or len({*map(len, shapes)}) > 1:
        raise Misfit("dim")
    return Plan(own("concat", axis=axis), values, tuple([type(kind)(shape) for shape in shapes]), {})


def _flatten(site: Site) -> Plan:
    """All values as a vector, or the lengths of a map as one."""
    x, y = site.shape(site.value("self")), site.made
    if len(y) == 1:
        return site.plan(own("identity") if len(x) == 1 else own("flatten"), x)
    if isinstance(x, Map) and (y[0], len(y)) == (x.channels, 2):
        return site.plan(own("reshape", C=y[0], L=y[1]), x)
    if isinstance(x, Map) and len(y) == 3:
        return site.plan(own("reshape", C=y[0], H=y[1], W=y[2]), x)
    raise Misfit("sizes")


def _permute(site: Site) -> Plan:
    x = site.shape(site.value("self"))
    dims = [*range(len(x) + 1)]
    if site.call.name == "permute":
        dims = [dim % len(dims) for dim in site.arg("dims")]
    else:
        one, two = (site.arg(name) % len(dims) for name in ("dim0", "dim1"))
        dims[one], dims[two] = two, one
    if not x.axes or dims[0]:
        raise Misfit("dims")
    axes = "".join(x.axes[dim - 1] for dim in dims[1:])
    if axes in ("TC", "CT", "CL", "LC") and axes != x.axes:
        return site.plan(own("transpose"), x)
    permuted(x, axes)
    return site.plan(own("permute", axes=axes), x)


def _upsample(mode: str) -> Rule:
    def rule(site: Site) -> Plan:
        x = site.map(len(site.shape(site.value("input"))) - 1)
        size, scales = site.arg("output_size"), site.arg("scale_factors")
        scales = scales and tuple([int(scale) if scale == int(scale) else scale for scale in scales])
        corners = {} if mode.startswith("nearest") else {"align_corners": site.arg("align_corners")}
        op = own("upsample", size=size and tuple(size), scale_factor=None if size else scales, mode=mode, **corners)
        return site.plan(op, x)

    return rule


def _prelu(site: Site) -> Plan:
    (count,), x = site.shapes_of(site.value("weight")), site.shape(site.value("self"))
    return site.plan(own("prelu", num_parameters=count), x if x.axes else Map(x), site.weights("weight"))


def _embedding(site: Site) -> Plan:
    rows, features = site.shapes_of(site.value("weight"))
    padding = site.arg("padding_idx")
    op = own("embedding", num_embeddings=rows, embedding_dim=features, padding_idx=None if padding < 0 else padding)
    if site.values.dtype(site.value("indices")) != "int64":
        raise Misfit("dtype")
    x = ids(site.shape(site.value("indices")))
    return site.plan(op, x, site.weights("weight"), "indices")


def _recurrent(name: str, **fixed: Any) -> Rule:
    def rule(site: Site) -> Plan:
        sizes = [site.shapes_of(ref.index) for ref in site.arg("params")]
        bias, both, layers = site.arg("has_biases"), site.arg("bidirectional"), site.arg("num_layers")
        x = site.image(site.value("input"), axis=0 if site.arg("batch_first") else 1)
        hidden = sizes[1][1]
        op = own(name, hidden_size=hidden, num_layers=layers, bias=bias, bidirectional=both, **fixed)
        given = [ref.index for ref in site.arg("params")]
        return site.plan(op, Tokens(x), dict(zip(op.weights(Tokens(x)), given, strict=True)))

    return rule


def _pixels(name: str) -> Rule:
    return lambda site: site.plan(own(name, **{_factor(name): site.arg(_factor(name))}), site.map(2), name="self")


def _factor(name: str) -> str:
    return "upscale_factor" if name == "pixel_shuffle" else "downscale_factor"


def _pad(site: Site) -> Plan:
    x, numbers = site.shape(site.value("self")), [*site.arg("pad")]
    pairs = [(before, after) for before, after in zip(numbers[::2], numbers[1::2], strict=True)][::-1]
    if not isinstance(x, Map) or len(pairs) > len(x.lengths):
        raise Misfit("pad")
    pairs = [(0, 0)] * (len(x.lengths) - len(pairs)) + pairs
    mode = site.arg("mode") if "mode" in site.defaults else "constant"
    return site.plan(own("pad", padding=tuple(pairs), mode=mode, value=site.arg("value") or 0), x)


RULES: dict[str, Rule] = {
    **{f"conv{kind}{axes}d": _convolution for axes in (1, 2, 3) for kind in ("", "_transpose")},
    "linear": _linear, "batch_norm": _batch_norm, "layer_norm": _layer_norm, "group_norm": _group_norm,
    **{f"{kind}_pool{axes}d": _pool for axes in (1, 2, 3) for kind in ("max", "avg")},
    **{f"adaptive_avg_pool{axes}d": _adaptive for axes in (1, 2, 3)},
    "mean": _mean,
    **{name: _function(name) for name in ("relu", "relu6", "sigmoid", "tanh", "exp", "silu", "mish", "gelu", "selu")},
    **{name: _function(name) for name in ("hardswish", "hardsigmoid", "softplus", "clamp", "leaky_relu", "elu")},
    "hardtanh": _hardtanh,
    "softmax": _softmax("softmax"), "log_softmax": _softmax("log_softmax"),
    "dropout": _dropout, "feature_dropout": _channel_dropout,
    "add": _pair("add"), "sub": _pair("subtract"), "mul": _pair("multiply"), "div": _pair("divide"),
    "maximum": _pair("maximum"), "cat": _concat, "concat": _concat,
    **dict.fromkeys(("flatten", "view", "reshape"), _flatten), "permute": _permute, "transpose": _permute,
    **{f"upsample_{mode}": _upsample(mode.removesuffix("2d").removesuffix("1d").removesuffix("3d"))
       for mode in ("nearest1d", "nearest2d", "nearest3d", "linear1d", "bilinear2d", "trilinear3d", "bicubic2d")},
    "prelu": _prelu, "embedding": _embedding, "lstm": _recurrent("lstm"), "gru": _recurrent("gru"),
    "rnn_tanh": _recurrent("rnn"), "rnn_relu": _recurrent("rnn", nonlinearity="relu"),
    "pixel_shuffle": _pixels("pixel_shuffle"), "pixel_unshuffle": _pixels("pixel_unshuffle"), "pad": _pad,
}  # fmt: skip


def rule_for(name: str) -> Rule | None:
    """Return the rule for a function, also in place."""
    return RULES.get(name) or RULES.get(name.removesuffix("_"))
