"""Calls that no operator of ours says, with the facts of the rules for PyTorch's functions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any

from archcalc.importers.aten import AtenCall, Facts, Tensor, facts
from archcalc.importers.onnx_nodes.file import Call
from archcalc.importers.onnx_nodes.layers import Values
from archcalc.ops.base import Saved, Shape, Sizes, Work, add_work
from archcalc.ops.imported import Counts, Imported

LOGIC = "And Or Xor Not IsNaN IsInf Floor Ceil Round"
MOVES = """
Reshape Squeeze Unsqueeze Flatten Transpose Slice Split Concat Gather GatherElements GatherND Pad DepthToSpace
SpaceToDepth Trilu Dropout
"""
VIEWS = {"Reshape", "Squeeze", "Unsqueeze", "Flatten", "Identity", "Dropout"}
NAMES: Mapping[str, str] = {  # of PyTorch's functions with the same inputs
    **dict.fromkeys(LOGIC.split(), "logical_and"),
    **dict.fromkeys(MOVES.split(), "view"),
    **dict.fromkeys(("Cast", "CastLike", "Identity", "Neg"), "_to_copy"),
    **dict.fromkeys(("Expand", "Tile"), "expand"),
    "Where": "where",
    "Add": "add", "Sub": "sub", "Mul": "mul", "Div": "div", "Sum": "add", "Pow": "pow", "Abs": "abs", "Sign": "sign",
    "Sqrt": "sqrt", "Exp": "exp", "Log": "log", "Erf": "erf", "Reciprocal": "reciprocal", "Sin": "sin", "Cos": "cos",
    "Sigmoid": "sigmoid", "Tanh": "tanh", "Relu": "relu", "Softplus": "softplus", "Elu": "elu", "Selu": "selu",
    "LeakyRelu": "leaky_relu", "Mish": "mish", "HardSwish": "hardswish", "Swish": "silu", "Gelu": "gelu",
    "Equal": "eq", "Less": "lt", "LessOrEqual": "le", "Greater": "gt", "GreaterOrEqual": "ge", "Clip": "clamp",
    "Max": "maximum", "Min": "minimum", "MatMul": "matmul", "ReduceMean": "mean", "ReduceSum": "sum",
    "ReduceMax": "amax", "ReduceMin": "amin", "ReduceProd": "prod", "ReduceL2": "norm", "ReduceLogSumExp": "logsumexp",
    "ArgMax": "argmax", "ArgMin": "argmin", "TopK": "topk", "CumSum": "cumsum", "Softmax": "softmax",
    "LogSoftmax": "log_softmax", "Conv": "conv2d", "Attention": "scaled_dot_product_attention",
}  # fmt: skip
REDUCES = ("mean", "sum", "amax", "amin", "prod", "norm", "logsumexp", "argmax", "argmin", "topk")
ALONG = ("softmax", "log_softmax", "cumsum")


def imported(
    call: Call, output: str, made: Shape, values: Values, tensors: Mapping[str, tuple[Sizes, bool]] | None
) -> Imported:
    """Return a call as a layer. `tensors` has the sizes of stored tensors, and whether they are trained.

    Without `tensors` it is a further output of a call, whose first layer has the work.
    """
    first_layer, tensors = tensors is not None, tensors or {}
    trained = tuple([(name, sizes) for name, (sizes, train) in tensors.items() if train])
    state = tuple([(name, sizes) for name, (sizes, train) in tensors.items() if not train])
    wrote = 0 if call.op in VIEWS else prod(made)
    op = Imported(f"onnx::{call.op}", made, trained, state, None, wrote=wrote)
    if output != call.outputs[0]:
        op = op.but(function=f"{op.function}[{call.outputs.index(output)}]")
    if not first_layer:
        return op.but(counts=())
    every = [_facts(call, output, values, at) for at in range(len(values.file.sizes))]
    works = [one.work if one else None for one in every]
    counts, common = _per_image(works)
    first = every[0]
    if first is None or counts is None:
        return op
    gradients = [_sum(one.gradients, one_call) for one, one_call in ((one, call) for one in every if one)]
    gradient, fixed = _per_image(gradients)
    kept = Saved() if first.kept and not any(first.kept) else None
    return op.but(
        counts=counts, common=common, gradient=gradient if not fixed else None, kept=kept, elementwise=first.elementwise
    )


def _sum(works: Sequence[Work | None], call: Call) -> Work | None:
    total: Work = {}
    for work in works:
        if work is None:
            return None
        total = add_work(total, work)
    return total


def _per_image(works: Sequence[Work | None]) -> tuple[Counts | None, Counts]:
    """Return work for one image, and for the batch beside that; of one batch only all is for its image."""
    one, two = works[0], works[-1]
    if one is None or two is None:
        return None, ()
    if len(works) == 1:
        return tuple(one.items()), ()
    kinds = dict.fromkeys([*one, *two])
    pairs = [(kind, one.get(kind, 0), two.get(kind, 0)) for kind in kinds]
    each = tuple([(kind, b - a) for kind, a, b in pairs if b != a])
    return each, tuple([(kind, 2 * a - b) for kind, a, b in pairs if 2 * a != b])


def _facts(call: Call, output: str, values: Values, at: int) -> Facts | None:
    sizes = values.file.sizes[at]
    if call.op == "Einsum":
        return _einsum(call, [sizes.get(name, ()) for name in call.inputs])
    if call.op in ("QuantizeLinear", "DequantizeLinear"):
        own: Work = {"div": 1, "add": 1, "compare": 2} if call.op[0] == "Q" else {"add": 1, "mul": 1}
        return Facts({kind: each * prod(sizes[output]) for kind, each in own.items()}, (), None, elementwise=True)
    name = NAMES.get(call.op)
    if name is None:
        return None
    args: list[Any] = [_argument(one, values, sizes) for one in call.inputs]
    if name in ALONG:
        default = -1 if call.op != "CumSum" else int((values.numbers(call.input(1)) or (0,))[0])
        args = [args[0], call.given.get("axis", default)]
    elif name in REDUCES:
        args = args[:1]
    elif (name == "add" and len(args) != 2) or (name in ("maximum", "minimum") and len(args) != 2):
        return None
    elif name.startswith("scaled"):
        args = _heads(call, args)
    named = {"approximate": call.given["approximate"]} if name == "gelu" and "approximate" in call.given else {}
    made = Tensor(sizes[output], values.file.dtypes.get(output, "float32"), call.op in VIEWS)
    return facts(AtenCall(name, tuple(args), named, (made,)))


def _argument(name: str, values: Values, sizes: Mapping[str, Sizes]) -> Any:
    """Return a tensor; a stored one of one value is a number."""
    if not name:
        return None
    numbers = values.numbers(name) if name in values.constant and prod(sizes.get(name, ())) == 1 else None
    return numbers[0] if numbers else Tensor(sizes.get(name, ()), values.file.dtypes.get(name, "float32"))


def _heads(call: Call, args: list[Any]) -> list[Any]:
    """Return query, key, value and mask with an axis for heads."""
    heads = [call.given.get("q_num_heads"), *[call.given.get("kv_num_heads")] * 2]
    made = []
    for one, count in zip(args[:3], heads, strict=True):
        n, *rest = one.sizes
        made.append(one if len(rest) == 3 else one._replace(sizes=(n, count, rest[0], rest[1] // count)))
    return [*made, *[one for one in args[3:4] if one is not None]]


def _einsum(call: Call, shapes: Sequence[Sizes]) -> Facts | None:
    """Two inputs: for each combination of all letters a multiply-accumulate, or without a sum a product."""
    read, _, made = call.given["equation"].replace(" ", "").partition("->")
    terms = read.split(",")
    if len(terms) != 2 or not made or "." in read:
        return None
    sizes = {
        letter: size
        for term, shape in zip(terms, shapes, strict=True)
        for letter, size in zip(term, shape, strict=True)
    }
    return Facts({"mac" if {*read} - {*made, ","} else "mul": prod(sizes.values())}, (None, None), None)
