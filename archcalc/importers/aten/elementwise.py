"""Functions of single values: each position of the result reads its own position of the arguments.

Logic, rounding, casts, changes of sign and choices (`where`) are no arithmetic. Formulas of gradients are those of
PyTorch's derivatives.yaml; for an argument that is repeated a gradient is also summed over the repetitions.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from archcalc.importers.aten.call import NONE, AtenCall, Facts, Rule, Tensor, as_operator, scaled, tables
from archcalc.ops import activation
from archcalc.ops.base import Operator, Shape, Work, add_work


class Row(NamedTuple):
    """The work for each value of the result, and for the gradient of each argument; None: unknown."""

    work: Work | None
    gradients: tuple[Work | None, ...] = ()


LOGIC = """
logical_and logical_or logical_xor logical_not bitwise_and bitwise_or bitwise_xor bitwise_not isnan isinf isfinite
floor ceil round trunc __and__ __or__ __xor__ signbit nan_to_num copysign heaviside
"""
CASTS = "alias detach clone contiguous to _to_copy copy lift_fresh float double half bfloat16 long int bool neg"
COMPARISONS = "eq ne lt le gt ge less less_equal greater greater_equal not_equal"
LOG_SIGMOID: Work = {"compare": 2, "exp": 1, "add": 2, "log": 1}  # min(x, 0) − log(1 + e^−|x|)
ROWS: Mapping[str, Row] = {
    **dict.fromkeys(LOGIC.split(), Row(NONE, (NONE, NONE))),
    **dict.fromkeys(CASTS.split(), Row(NONE, (NONE,))),
    **dict.fromkeys(COMPARISONS.split(), Row({"compare": 1}, (NONE, NONE))),
    **dict.fromkeys(["add", "sub", "subtract", "rsub"], Row({"add": 1}, (NONE, NONE))),
    **dict.fromkeys(["mul", "multiply"], Row({"mul": 1}, ({"mul": 1}, {"mul": 1}))),
    **dict.fromkeys(["div", "true_divide"], Row({"div": 1}, ({"div": 1}, {"div": 2, "mul": 1}))),
    **dict.fromkeys(["floor_divide", "remainder", "fmod"], Row({"div": 1})),
    **dict.fromkeys(["maximum", "minimum", "fmax", "fmin"], Row({"compare": 1}, ({"compare": 2, "div": 1},) * 2)),
    "addcmul": Row({"add": 1, "mul": 1}, (NONE, {"mul": 1}, {"mul": 1})),
    "addcdiv": Row({"add": 1, "div": 1}, (NONE, {"mul": 1, "div": 1}, {"mul": 2, "div": 1})),
    "lerp": Row({"add": 2, "mul": 1}, ({"mul": 1, "add": 1}, {"mul": 1}, {"mul": 1, "add": 1})),
    "where": Row(NONE, (NONE, NONE, NONE)),
    "masked_fill": Row(NONE, (NONE, NONE)),
    "copy_": Row(NONE, (NONE, NONE)),
    "abs": Row({"compare": 1}, ({"compare": 1, "mul": 1},)),
    "hardtanh": Row({"compare": 2}, ({"compare": 2},)),
    "sign": Row({"compare": 2}, (NONE,)),
    "sqrt": Row({"sqrt": 1}, ({"mul": 1, "div": 1},)),
    "rsqrt": Row({"sqrt": 1, "div": 1}, ({"mul": 4},)),
    "square": Row({"mul": 1}, ({"mul": 2},)),
    "reciprocal": Row({"div": 1}, ({"mul": 2},)),
    "log": Row({"log": 1}, ({"div": 1},)),
    **dict.fromkeys(["log2", "log10"], Row({"log": 1}, ({"mul": 1, "div": 1},))),
    "log1p": Row({"add": 1, "log": 1}, ({"add": 1, "div": 1},)),
    "expm1": Row({"exp": 1, "add": 1}, ({"add": 1, "mul": 1},)),
    "erf": Row({"erf": 1}, ({"mul": 3, "exp": 1},)),
    **dict.fromkeys(["sin", "cos"], Row({"sin": 1}, ({"sin": 1, "mul": 1},))),
    "tan": Row({"sin": 2, "div": 1}, ({"mul": 2, "add": 1},)),
    **dict.fromkeys(["sinh", "cosh"], Row({"exp": 2, "add": 1, "mul": 1}, ({"exp": 2, "add": 1, "mul": 2},))),
    "erfc": Row({"erf": 1, "add": 1}, ({"mul": 3, "exp": 1},)),
    "exp2": Row({"pow": 1}, ({"mul": 2},)),
    "frac": Row({"add": 1}, (NONE,)),
    **dict.fromkeys(["deg2rad", "rad2deg"], Row({"mul": 1}, ({"mul": 1},))),
    "logit": Row({"add": 1, "div": 1, "log": 1}, ({"add": 1, "mul": 1, "div": 1},)),
    "hypot": Row({"mul": 2, "add": 1, "sqrt": 1}, ({"div": 1, "mul": 1},) * 2),
    "xlogy": Row({"log": 1, "mul": 1}, ({"log": 1, "mul": 1}, {"div": 1, "mul": 1})),
    "logaddexp": Row({"compare": 2, "add": 3, "exp": 1, "log": 1}, ({"add": 2, "exp": 1, "div": 1},) * 2),
    "threshold": Row({"compare": 1}, ({"compare": 1},)),
    "hardshrink": Row({"compare": 2}, ({"compare": 2},)),
    "softshrink": Row({"compare": 2, "add": 1}, ({"compare": 2},)),
    "prelu": Row({"compare": 1, "mul": 1}, ({"compare": 1, "mul": 1},) * 2),
    "rrelu_with_noise": Row({"compare": 1, "mul": 1}, ({"compare": 1, "mul": 1},)),
    "celu": Row({"compare": 1, "exp": 1, "add": 1, "mul": 2}, ({"compare": 1, "exp": 1, "mul": 3},)),
    "log_sigmoid_forward": Row(LOG_SIGMOID, ({"compare": 1, "add": 2, "mul": 1, "div": 1},)),
    "mse_loss": Row({"add": 1, "mul": 1}, ({"add": 1, "mul": 2},) * 2),
    "smooth_l1_loss": Row(
        {"add": 2, "compare": 2, "mul": 2, "div": 1}, ({"add": 1, "compare": 2, "mul": 1, "div": 1},) * 2
    ),
    "huber_loss": Row({"add": 2, "compare": 2, "mul": 3}, ({"add": 1, "compare": 2, "mul": 1},) * 2),
    "binary_cross_entropy": Row(
        {"log": 2, "compare": 2, "add": 3, "mul": 2},
        ({"add": 2, "mul": 2, "div": 1, "compare": 1}, {"log": 2, "add": 2, "mul": 1}),
    ),
    "binary_cross_entropy_with_logits": Row(
        add_work(LOG_SIGMOID, {"add": 2, "mul": 1}), ({"exp": 1, "add": 2, "div": 1, "mul": 1}, {"mul": 1})
    ),
}
POWERS: Mapping[float, Work] = {
    0: NONE, 1: NONE, 2: {"mul": 1}, 3: {"mul": 2}, 0.5: {"sqrt": 1}, -0.5: {"sqrt": 1, "div": 1}, -1: {"div": 1},
}  # fmt: skip
OWN: Mapping[str, Operator] = {  # functions that an operator of ours counts, whatever their other arguments are
    "relu": activation.ReLU(inplace=False),
    "relu6": activation.ReLU6(),
    "leaky_relu": activation.LeakyReLU(),
    "elu": activation.ELU(),
    "selu": activation.SELU(),
    "sigmoid": activation.Sigmoid(),
    "tanh": activation.Tanh(),
    "silu": activation.SiLU(),
    "mish": activation.Mish(),
    "softplus": activation.Softplus(),
    "exp": activation.Exp(),
    "hardsigmoid": activation.HardSigmoid(),
    "hardswish": activation.HardSwish(),
}


def _by_name(call: AtenCall) -> Facts:
    base = call.name if call.name in ROWS else call.name.removesuffix("_")
    row = ROWS[base]
    if call.named.get("rounding_mode"):
        return by_row(call, Row(row.work))
    factor = call.named.get("alpha", call.named.get("value", 1))
    if base not in ("add", "sub", "rsub", "addcmul", "addcdiv") or factor == 1:
        return by_row(call, row)
    multiplied = (0,) if base == "rsub" else range(1, len(row.gradients))  # the arguments that the factor multiplies
    gradients = [
        add_work(work or {}, {"mul": 1}) if place in multiplied else work for place, work in enumerate(row.gradients)
    ]
    return by_row(call, Row(add_work(row.work or {}, {"mul": 1}), tuple(gradients)))


def by_row(call: AtenCall, row: Row) -> Facts:
    """Return the facts of a function with a row; an argument that is a number has no gradient."""
    count, gradients = call.made[0].values, list[Work | None]()
    at = [place for place, one in enumerate(call.args) if isinstance(one, Tensor)]
    for place, tensor, graded in zip(at, call.tensors, call.graded, strict=False):
        work = row.gradients[place] if graded and place < len(row.gradients) else NONE
        summed = {"add": count - tensor.values} if graded and count > tensor.values else {}
        gradients.append(None if work is None else add_work(scaled(work, count), summed))
    return Facts(None if row.work is None else scaled(row.work, count), tuple(gradients), elementwise=True)


def overwrites(call: AtenCall) -> bool:
    """Whether a function works in place: `relu_`, but not `__and__`."""
    return call.name.endswith("_") and not call.name.endswith("__")


def _own(call: AtenCall) -> Facts:
    return by_operator(call, OWN[call.name.removesuffix("_")])


def by_operator(call: AtenCall, op: Operator) -> Facts:
    """Return the facts of an elementwise operator of ours."""
    shape = Shape(call.made[0].sizes)
    own = op.but(inplace=True) if overwrites(call) and "inplace" in op.types else op
    return as_operator(call, own, shape, shape)._replace(elementwise=True)


def _gelu(call: AtenCall) -> Facts:
    return by_operator(call, activation.GELU(call.named.get("approximate", "none")))


def _clamp(call: AtenCall) -> Facts:
    """Each bound is a comparison; the gradients of bounds that are tensors are unknown."""
    bounds = [one for one in (*call.args[1:3], *call.named.values()) if one is not None]
    work: Work = {"compare": max(1, len(bounds))}
    return by_row(call, Row(work, (work, None, None)))


def _pow(call: AtenCall) -> Facts:
    """Whole numbers to 3, roots and their reciprocals by products, roots and divisions; others are a power each."""
    base, exponent = call.args[:2]
    if isinstance(exponent, Tensor):
        gradient: Work | None = {"pow": 1, "log": 1, "mul": 2} if not isinstance(base, Tensor) else None
        return by_row(call, Row({"pow": 1}, (None, gradient)))
    return by_row(call, Row(_power(exponent), (add_work({"mul": 2}, _power(exponent - 1)),)))


def _power(exponent: float) -> Work:
    return POWERS.get(exponent, {"pow": 1})


RULES: Mapping[str, Rule] = {
    **dict.fromkeys([*ROWS, *[f"{name}_" for name in ROWS]], _by_name),
    **dict.fromkeys([*OWN, *[f"{name}_" for name in OWN]], _own),
    **tables(
        ("gelu gelu_", _gelu),
        ("clamp clamp_ clamp_min clamp_min_ clamp_max clamp_max_ clip", _clamp),
        ("pow pow_", _pow),
    ),
}
