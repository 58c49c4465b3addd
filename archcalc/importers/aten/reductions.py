"""Functions over groups of values: sums, means, maxima, norms, softmax, and normalizations.

A row has for each kind the operations per value and per group, so that a sum is (1, −1): n − g additions.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import inf, prod
from typing import NamedTuple, TypeAlias

from archcalc.importers.aten.call import NONE, AtenCall, Facts, Rule, as_operator, tables
from archcalc.importers.aten.elementwise import ROWS, by_row
from archcalc.ops.activation import LogSoftmax, Softmax
from archcalc.ops.base import Work, add_work
from archcalc.ops.feature_normalization import RMSNorm
from archcalc.ops.normalization import BatchNorm, GroupNorm, LayerNorm
from archcalc.ops.shape import Map, Tokens

PerGroup: TypeAlias = Mapping[str, tuple[int, int]]  # by kind: operations per value and per group


class Row(NamedTuple):
    """Work and its gradient; None: unknown."""

    work: PerGroup | None
    gradient: PerGroup | None = {}  # noqa: RUF012  # nothing writes into it


EVENLY: PerGroup = {"compare": (1, 0), "add": (1, -1), "mul": (1, 0), "div": (1, 0)}
ROWS_OF_GROUPS: Mapping[str, Row] = {
    "sum": Row({"add": (1, -1)}),
    "mean": Row({"add": (1, -1), "div": (0, 1)}, {"div": (1, 0)}),
    "var": Row(
        {"add": (3, -2), "mul": (1, 0), "div": (0, 2)}, {"add": (2, -1), "mul": (1, 1), "div": (0, 1)}
    ),
    "std": Row(
        {"add": (3, -2), "mul": (1, 0), "div": (0, 2), "sqrt": (0, 1)},
        {"add": (2, -1), "mul": (1, 2), "div": (0, 2), "compare": (0, 1)},
    ),
    "aminmax": Row({"compare": (2, -2)}, EVENLY),
    **dict.fromkeys(["cummax", "cummin"], Row({"compare": (1, -1)}, {"add": (1, 0)})),
    "logcumsumexp": Row({"compare": (1, -1), "add": (3, -3), "exp": (1, -1), "log": (1, -1)}, None),
    "count_nonzero": Row({"compare": (1, 0)}),
    "nansum": Row({"add": (1, -1)}),
    "prod": Row({"mul": (1, -1)}, None),
    "logsumexp": Row({"compare": (1, -1), "add": (2, 0), "exp": (1, 0), "log": (0, 1)},
                     {"add": (1, 0), "exp": (1, 0), "mul": (1, 0)}),
    "cumsum": Row({"add": (1, -1)}, {"add": (1, -1)}),
    "cumprod": Row({"mul": (1, -1)}, None),
    **dict.fromkeys(["max", "min"], Row({"compare": (1, -1)}, EVENLY)),
    **dict.fromkeys(["amax", "amin"], Row({"compare": (1, -1)}, {**EVENLY, "div": (1, 0)})),
    **dict.fromkeys(["argmax", "argmin"], Row({"compare": (1, -1)})),
    **dict.fromkeys(["all", "any"], Row({})),
    **dict.fromkeys(["sort", "topk", "argsort", "kthvalue", "median", "mode"], Row(None, {})),
}  # fmt: skip
ALONG = (
    "cumsum",
    "cumprod",
    "cummax",
    "cummin",
    "logcumsumexp",
)  # results have as many values as the input; each group lies along a dimension


def _reduced(call: AtenCall) -> Facts:
    x = call.tensors[0]
    if call.name in ("max", "min") and len(call.tensors) == 2:
        return by_row(call, ROWS["maximum"])
    row = ROWS_OF_GROUPS[call.name]
    if call.name in ("max", "min") and len(call.made) == 2:
        row = Row(row.work, {})
    groups = call.made[0].values
    return by_groups(call, row, x.values // x.sizes[call.args[1]] if call.name in ALONG and x.sizes else groups)


def by_groups(call: AtenCall, row: Row, groups: int) -> Facts:
    """Return the facts of a function with a row for so many groups of its input's values."""
    count = call.tensors[0].values
    gradient = _times(row.gradient, count, groups) if call.graded[0] else NONE
    return Facts(_times(row.work, count, groups), (gradient,))


def _times(work: PerGroup | None, count: int, groups: int) -> Work | None:
    return None if work is None else {kind: count * each + groups * once for kind, (each, once) in work.items()}


def _with_mean(call: AtenCall) -> Facts:
    """Return the facts of `var_mean` and `std_mean`, which have the mean at no cost; its gradient is a sum more."""
    row = ROWS_OF_GROUPS[call.name.removesuffix("_mean")]
    found = by_groups(call, row, call.made[0].values)
    more = {"add": call.tensors[0].values, "div": call.made[0].values}
    return found._replace(gradients=(add_work(found.gradients[0] or {}, more) if call.graded[0] else NONE,))


def _norm(call: AtenCall) -> Facts:
    """Of order 2 or 1: squares or absolute values and their sums; of another order unknown."""
    row = NORMS.get(call.given(1, "ord", 2), Row(None, None))
    return by_groups(call, row, call.made[0].values)


NORMS: Mapping[object, Row] = {
    2: Row(
        {"mul": (1, 0), "add": (1, -1), "sqrt": (0, 1)}, {"div": (0, 1), "compare": (0, 1), "mul": (1, 0)}
    ),
    1: Row({"compare": (1, 0), "add": (1, -1)}, {"compare": (1, 0), "mul": (1, 0)}),
    inf: Row({"compare": (2, -1)}, None),
}  # fmt: skip


def _softmax(call: AtenCall) -> Facts:
    sizes = call.made[0].sizes or (1,)
    dim = sizes[call.args[1]]
    shape = Tokens((call.made[0].values // dim, dim))
    return as_operator(call, LogSoftmax() if "log" in call.name else Softmax(), shape, shape)


def _layer_norm(call: AtenCall) -> Facts:
    x, over, weight, bias = call.tensors[0], call.args[1], call.given(2, "weight"), call.given(3, "bias")
    inner = prod(over)
    shape = Tokens((x.values // inner, inner))
    op = LayerNorm(elementwise_affine=weight is not None, bias=bias is not None)
    return as_operator(call, op, shape, shape, _given(weight, bias))


def _rms_norm(call: AtenCall) -> Facts:
    x, inner, weight = call.tensors[0], prod(call.args[1]), call.given(2, "weight")
    shape = Tokens((x.values // inner, inner))
    return as_operator(call, RMSNorm(elementwise_affine=weight is not None), shape, shape, _given(weight))


def _group_norm(call: AtenCall) -> Facts:
    (images, channels, *lengths), groups = call.tensors[0].sizes, call.args[1]
    weight, bias = call.given(2, "weight"), call.given(3, "bias")
    shape = Map((channels, images * prod(lengths)))
    op = GroupNorm(groups * images, affine=weight is not None)
    return as_operator(call, op, shape, shape, _given(weight, bias))


def _batch_norm(call: AtenCall) -> Facts:
    (images, channels, *lengths), (weight, bias, mean, _, training) = call.tensors[0].sizes, call.args[1:6]
    shape = Map((channels, images * prod(lengths)))
    op = BatchNorm(affine=weight is not None)
    found = as_operator(call, op, shape, shape, _given(weight, bias))
    tracking = op.but(track_running_stats=mean is not None)
    return found._replace(work=tracking.training_work(shape, shape, 1)) if training else found


def _given(*weights: object) -> list[int]:
    """Return the places of weights that are given after the input."""
    return [1] * any(weight is not None for weight in weights)


RULES: Mapping[str, Rule] = {
    **dict.fromkeys(ROWS_OF_GROUPS, _reduced),
    **tables(
        ("var_mean std_mean", _with_mean),
        ("linalg_vector_norm norm", _norm),
        ("softmax log_softmax _softmax _log_softmax", _softmax),
        ("layer_norm native_layer_norm", _layer_norm),
        ("group_norm", _group_norm),
        ("rms_norm _fused_rms_norm", _rms_norm),
        ("batch_norm", _batch_norm),
    ),
}
