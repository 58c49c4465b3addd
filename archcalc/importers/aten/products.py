"""Products: of matrices, convolutions, attention, recurrent layers; and windows: pooling and interpolation."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import Any

from archcalc.importers.aten.call import NONE, AtenCall, Facts, Rule, Tensor, as_operator, tables
from archcalc.ops import pooling
from archcalc.ops.attention import Attention
from archcalc.ops.base import Operator, Sizes, Work
from archcalc.ops.gated import GLU
from archcalc.ops.sequence import GRU, LSTM, RNN, Recurrent
from archcalc.ops.shape import Features, Map, Tokens
from archcalc.ops.upsampling import Upsample

BIAS_FIRST = ("addmm", "baddbmm", "addmv")
POOLS = {"max_pool": pooling.MaxPool, "avg_pool": pooling.AvgPool}
ADAPTIVE = {"adaptive_avg_pool": pooling.AdaptiveAvgPool, "adaptive_max_pool": pooling.AdaptiveMaxPool}
CELLS: Mapping[str, type[Recurrent]] = {"lstm": LSTM, "gru": GRU, "rnn_tanh": RNN, "rnn_relu": RNN}


def _matrices(call: AtenCall) -> Facts:
    """Return as many multiply-accumulates for each value as the inner size."""
    given = [one for one in call.args if isinstance(one, Tensor)]
    bias = given.pop(0) if call.name in BIAS_FIRST else given.pop() if len(given) > 2 else None
    left = int(call.name in BIAS_FIRST)
    macs: Work = {"mac": call.made[0].values * (given[0].sizes or (1,))[-1]}
    gradients: list[Work] = [macs, macs]
    if bias is not None:
        gradients.insert(0 if left else 2, {"add": call.made[0].values - bias.values})
    work = macs | ({"add": call.made[0].values} if bias is not None else {})
    return Facts(work, _where(call.graded, gradients))


def _where(graded: tuple[bool, ...], gradients: list[Work]) -> tuple[Work, ...]:
    return tuple([work if wanted else NONE for work, wanted in zip(gradients, graded, strict=True)])


def _convolution(call: AtenCall) -> Facts:
    """Return k·k·in/groups multiply-accumulates for each value; transposed, k·k·out/groups for each of the input."""
    x, weight, *biases = call.tensors
    y = call.made[0]
    turned = "transpose" in call.name or (call.name == "convolution" and call.args[6] is True)
    macs: Work = {"mac": (x if turned else y).values * prod(weight.sizes[1:])}
    added: list[Work] = [{"add": y.values - bias.values} for bias in biases]
    work = macs | ({"add": y.values} if biases else {})
    return Facts(work, _where(call.graded, [macs, macs, *added]))


def _attention(call: AtenCall) -> Facts:
    """Return the facts of fused attention; with a mask, a sum for each score.

    With dropout, or a mask that is trained, gradients are unknown.
    """
    query, key, value, *mask = call.tensors
    (*batch, tokens, size), (memory, wide) = query.sizes, value.sizes[-2:]
    heads, groups = ([*batch, 1][-1], [*key.sizes[:-2], 1][-1]) if len(batch) > 1 else (1, 1)
    images = prod(batch) // heads
    op = Attention(heads, kv_heads=groups)
    x = Tokens((tokens, heads * size)), *[Tokens((memory, groups * size))] * 2
    found = as_operator(call, op, x, x[0], times=images)
    scores = images * heads * tokens * memory
    assert found.work is not None
    work = found.work | {"mac": scores * (size + wide)} | ({"add": found.work["add"] + scores} if mask else {})
    known = size == wide and not any(call.graded[3:]) and not call.given(4, "dropout_p", 0)
    return Facts(work, found.gradients if known else (None,) * len(call.tensors))


def _recurrent(call: AtenCall) -> Facts | None:
    """Return the facts of layers over a batch of sequences."""
    x, params = call.tensors[0], call.args[2]
    biases, layers, _, _, both, first = call.args[3:9]
    hidden = params[1].sizes[1]
    if len(x.sizes) < 3 or params[1].sizes[0] != CELLS[call.name].gates * hidden:
        return None  # without a batch, or with projections
    batch, tokens, size = x.sizes if first else (x.sizes[1], x.sizes[0], x.sizes[2])
    own = {"nonlinearity": "relu"} if call.name == "rnn_relu" else {}
    op = CELLS[call.name](hidden, num_layers=layers, bias=biases, bidirectional=both, **own)
    shape = Tokens((tokens, size))
    return as_operator(call, op, shape, op.output(shape), [len(call.tensors) - len(params)], batch)


def _places(tensor: Tensor, axes: int) -> Map:
    """Return a tensor as a map whose channels are those of the whole batch."""
    return Map((prod(tensor.sizes[:-axes]), *tensor.sizes[-axes:]))


def _axes(call: AtenCall) -> int:
    return int(call.name.split("d_with")[0].removesuffix("d")[-1])


def _pool(call: AtenCall) -> Facts:
    axes = _axes(call)
    kind = next(cls for name, cls in POOLS.items() if name in call.name)
    kernel = _per_axis(call.args[1], axes)
    return _windowed(call, kind(kernel), axes)


def _adaptive(call: AtenCall) -> Facts:
    axes = _axes(call)
    kind = next(cls for name, cls in ADAPTIVE.items() if name in call.name)
    return _windowed(call, kind(call.made[0].sizes[-axes:]), axes)


def _windowed(call: AtenCall, op: Operator, axes: int) -> Facts:
    return as_operator(call, op, _places(call.tensors[0], axes), _places(call.made[0], axes))


def _per_axis(given: Any, axes: int) -> Sizes:
    sizes = tuple(given) if isinstance(given, list | tuple) else (given,)
    return sizes * axes if len(sizes) == 1 else sizes


def _interpolated(call: AtenCall) -> Facts:
    mode: Any = call.name.removeprefix("_").removeprefix("upsample_")[: -len("2d")].replace("_", "-")
    axes = int(call.name[-2])
    op = Upsample(size=call.made[0].sizes[-axes:], mode=mode)
    return _windowed(call, op, axes)


def _trilinear(call: AtenCall) -> Facts:
    """Return the facts of x·W·y, as of `torch.bilinear`: for each weight and row a product, and one that is added."""
    count = call.made[0].values * prod(call.args[1].sizes[1:])
    work: Work = {"mul": count, "mac": count}
    return Facts(work, _where(call.graded, [work] * 3))


def _affine_grid(call: AtenCall) -> Facts:
    """Return the facts of a product of each position by the matrix."""
    macs: Work = {"mac": call.made[0].values * call.tensors[0].sizes[-1]}
    return Facts(macs, (macs,))


def _weight_norm(call: AtenCall) -> Facts:
    """Return the facts of v·(g/‖v‖), with a norm for each value of g."""
    n, k = (one.values for one in call.tensors)
    work: Work = {"mul": 2 * n, "add": n - k, "sqrt": k, "div": k}
    return Facts(work, ({"mul": 3 * n, "add": 2 * n - k, "div": 3 * k}, {"div": k}))


def _bags(call: AtenCall) -> Facts:
    """Return the facts of sums (mode 0), means (1) or maxima (2) of rows of a table."""
    rows, made, mode = call.tensors[1].values * call.tensors[0].sizes[1], call.made[0].values, call.given(4, "mode", 0)
    work: Work = {"compare" if mode == 2 else "add": rows - made} | ({"div": made} if mode == 1 else {})
    added = {"add": made if mode == 2 else rows} | ({"div": made} if mode == 1 else {})
    return Facts(work, _where(call.graded, [added] + [NONE] * (len(call.tensors) - 1)))


def _gated(call: AtenCall) -> Facts:
    """Return the facts of a·sigmoid(b), where a and b are the halves of the input."""
    count = call.made[0].values
    return as_operator(call, GLU(), Features((2 * count,)), Features((count,)))


def _cross(call: AtenCall) -> Facts:
    """Return the facts of a cross product: for each value two products and a sum, as for each gradient."""
    work: Work = {"mul": 2 * call.made[0].values, "add": call.made[0].values}
    return Facts(work, _where(call.graded, [work, work]))


def _unknown(call: AtenCall) -> Facts:
    """Return the facts of a function whose work depends on values, or has no stated formula."""
    return Facts(None, (None,) * len(call.tensors))


SMOOTH = ("linear1d", "bilinear2d", "trilinear3d", "bicubic2d")
UPSAMPLES = [f"upsample_{mode}" for mode in SMOOTH] + [
    f"{before}{n}d" for n in (1, 2, 3) for before in ("upsample_nearest", "_upsample_nearest_exact")
]
RULES: Mapping[str, Rule] = {
    **dict.fromkeys(UPSAMPLES, _interpolated),
    **dict.fromkeys(CELLS, _recurrent),
    **tables(
        ("mm bmm matmul mv dot vdot linear addmm baddbmm addmv", _matrices),
        ("conv1d conv2d conv3d conv_transpose1d conv_transpose2d conv_transpose3d convolution", _convolution),
        ("scaled_dot_product_attention", _attention),
        ("max_pool1d max_pool2d max_pool3d max_pool1d_with_indices max_pool2d_with_indices", _pool),
        ("max_pool3d_with_indices avg_pool1d avg_pool2d avg_pool3d", _pool),
        ("adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d", _adaptive),
        ("adaptive_max_pool1d adaptive_max_pool2d adaptive_max_pool3d", _adaptive),
        ("_trilinear", _trilinear),
        ("affine_grid_generator", _affine_grid),
        ("_weight_norm_interface", _weight_norm),
        ("_embedding_bag _embedding_bag_forward_only", _bags),
        ("glu", _gated),
        ("linalg_cross", _cross),
        ("_upsample_bicubic2d_aa _upsample_bilinear2d_aa grid_sampler grid_sampler_2d grid_sampler_3d", _unknown),
    ),
}
