"""Calls that no operator of ours says, with the facts of the rules for PyTorch's functions."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from math import prod
from typing import Any

from archcalc.importers.aten import AtenCall, Facts, Tensor, facts
from archcalc.importers.onnx_nodes.file import Call
from archcalc.importers.onnx_nodes.site import Values
from archcalc.ops.base import Operator, Saved, Shape, Sizes, Work, add_work
from archcalc.ops.imported import Counts, Imported

VIEWS = {"Reshape", "Squeeze", "Unsqueeze", "Flatten", "Identity", "Dropout"}
SAME = "Where Add Mul Div Pow Abs Sign Sqrt Log Erf Reciprocal Sin MatMul Softmax CumSum ArgMax TopK"
OTHERS = {
    "logical_and": "And Or Xor Not IsNaN IsInf Floor Ceil Round",
    "view": "Reshape Squeeze Unsqueeze Flatten Transpose Slice Split Concat Pad Trilu DepthToSpace SpaceToDepth "
    "Dropout",
    "gather": "Gather GatherElements GatherND",
    "_to_copy": "Cast Identity Neg", "expand": "Expand Tile", "add": "Sum Sub", "sin": "Cos",
    "eq": "Equal Less LessOrEqual Greater GreaterOrEqual", "clamp": "Clip", "maximum": "Max Min", "conv2d": "Conv",
    "log_softmax": "LogSoftmax", "mean": "ReduceMean", "sum": "ReduceSum",
    "amax": "ReduceMax ReduceMin", "prod": "ReduceProd", "norm": "ReduceL2", "logsumexp": "ReduceLogSumExp",
    "argmax": "ArgMin", "scaled_dot_product_attention": "Attention",
}  # fmt: skip
NAMES: Mapping[str, str] = {one: one.lower() for one in SAME.split()} | {  # of PyTorch's functions of equal work
    one: name for name, own in OTHERS.items() for one in own.split()
}
QUANTIZING: Mapping[str, Work] = {  # for each value
    "QuantizeLinear": {"div": 1, "add": 1, "compare": 2}, "DequantizeLinear": {"add": 1, "mul": 1},
}  # fmt: skip
REDUCES = ("Reduce", "Arg", "TopK")  # beginnings of names
SOFTMAX = ("Softmax", "LogSoftmax")
OF_TWO = ("Sum", "Max", "Min")  # in PyTorch; in ONNX of any number
KEEP_NOTHING = {  # for backward
    "logical_and", "view", "_to_copy", "expand", "add", "sub", "eq", "mean", "sum", "cumsum", "argmax",
}  # fmt: skip


def imported(
    call: Call, output: str, made: Shape, values: Values, reads: Sequence[str], trained: Container[str]
) -> Imported:
    """Return a call that reads these values and weights, without tensors, with its work as far as there is a rule."""
    types = {"dtype": values.dtype(output), "read_dtypes": tuple(map(values.dtype, reads))}
    op = _named(call, output, made, 0 if call.op in VIEWS else prod(made)).but(**types)
    every = [_facts(call, output, values, sizes) for sizes in values.file.sizes]
    known = [one for one in every if one is not None]
    if len(known) < len(every):
        return op
    counts, common = _per_image([one.work for one in known])
    gradients = [_gradient(call, values, known, [name]) for name in reads]
    of_weights, fixed = _gradient(call, values, known, trained)
    return op.but(
        counts=counts, common=common, elementwise=known[0].elementwise,
        gradients=tuple([each for each, _ in gradients]), common_gradients=tuple([once for _, once in gradients]),
        gradient_of_weights=None if fixed else of_weights, kept=Saved() if _keeps_nothing(call, values) else None,
    )  # fmt: skip


def _gradient(call: Call, values: Values, known: Sequence[Facts], of: Container[str]) -> tuple[Counts | None, Counts]:
    """Return the work for the gradients of some inputs, for one image and for the batch beside that."""
    names = [name for name in call.inputs if isinstance(_argument(name, values, values.file.sizes[0]), Tensor)]
    return _per_image(
        [_sum([work for name, work in zip(names, one.gradients, strict=False) if name in of]) for one in known]
    )


def _keeps_nothing(call: Call, values: Values) -> bool:
    name = _function(call, values)
    return name in KEEP_NOTHING or (name == "gather" and call.inputs[1] in values.constant)


def _function(call: Call, values: Values) -> str:
    """Return PyTorch's function of equal work, "" if it is unknown; what Gather takes at one place is a view."""
    one = call.op == "Gather" and len(values.numbers.get(call.inputs[1], ())) == 1
    return "view" if one else NAMES.get(call.op, "")


def further(call: Call, output: str, sizes: Sizes) -> Imported:
    """Return a further output of a call, whose first layer has the work."""
    return _named(call, output, Shape(sizes), prod(sizes)).but(counts=(), gradients=(), kept=Saved())


def operator_as_call(op: Operator, x: Any, seen: Container[str]) -> Imported:
    """Return an operator without the tensors that several other layers have."""
    own = [(key, sizes) for key, sizes in op.weights(x).items() if key not in seen]
    state = [(key, sizes) for key, sizes in op.buffers(x).items() if key not in seen]
    y, work = op.output(x), tuple(op.work(x, op.output(x)).items())
    return Imported(f"onnx::{op.name}", y, tuple(own), tuple(state), work, wrote=op.writes(x, y, False))


def _named(call: Call, output: str, made: Shape, wrote: int) -> Imported:
    place = f"[{call.outputs.index(output)}]" if output != call.outputs[0] else ""
    return Imported(f"onnx::{call.op}{place}", made, wrote=wrote)


def _sum(works: Sequence[Work | None]) -> Work | None:
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
    each = {kind: (two.get(kind, 0) - one.get(kind, 0) if len(works) > 1 else one[kind]) for kind in {**one, **two}}
    fixed = [(kind, one.get(kind, 0) - count) for kind, count in each.items() if one.get(kind, 0) != count]
    return tuple([(kind, count) for kind, count in each.items() if count]), tuple(fixed)


def _facts(call: Call, output: str, values: Values, sizes: Mapping[str, Sizes]) -> Facts | None:
    if call.op == "Einsum":
        return _einsum(call.given["equation"].replace(" ", ""), [sizes.get(name, ()) for name in call.inputs])
    if call.op in QUANTIZING:
        each = {kind: count * prod(sizes[output]) for kind, count in QUANTIZING[call.op].items()}
        return Facts(each, (None,), elementwise=True)
    name = _function(call, values)
    several = call.op in SOFTMAX and values.softmax_axis(call) is None
    if not name or several or (call.op in OF_TWO and len(call.inputs) != 2):
        return None
    made = Tensor(sizes[output], values.file.dtypes.get(output, "float32"))
    return facts(AtenCall(name, _arguments(call, values, sizes), {}, (made,)))


def _arguments(call: Call, values: Values, sizes: Mapping[str, Sizes]) -> tuple[Any, ...]:
    """Return the arguments as PyTorch's function has them."""
    args = [_argument(one, values, sizes) for one in call.inputs]
    if call.op in SOFTMAX:
        return args[0], values.softmax_axis(call)
    if call.op == "CumSum":
        return args[0], *values.numbers.get(call.input(1), (0,))
    if call.op == "Attention":
        heads = [call.given.get("q_num_heads", 1), *[call.given.get("kv_num_heads", 1)] * 2]
        return *map(_heads, args[:3], heads), *[one for one in args[3:4] if one is not None]
    return tuple(args[:1] if call.op.startswith(REDUCES) else args)


def _argument(name: str, values: Values, sizes: Mapping[str, Sizes]) -> Any:
    """Return a tensor; a stored one of one value is a number."""
    if not name:
        return None
    if name in values.constant and prod(sizes.get(name, ())) == 1 and name in values.numbers:
        return values.numbers[name][0]
    return Tensor(sizes.get(name, ()), values.file.dtypes.get(name, "float32"))


def _heads(tensor: Tensor, count: int) -> Tensor:
    """Return query, key or value with an axis for heads."""
    n, *rest = tensor.sizes
    return tensor if len(rest) == 3 else tensor._replace(sizes=(n, count, rest[0], rest[1] // count))


def _einsum(equation: str, shapes: Sequence[Sizes]) -> Facts | None:
    """Two inputs: for each combination of all letters a multiply-accumulate, or without a sum a product."""
    read, _, made = equation.partition("->")
    terms = read.split(",")
    if len(terms) != 2 or not made or "." in read:
        return None
    sizes = dict(zip("".join(terms), [size for shape in shapes for size in shape], strict=True))
    return Facts({"mac" if {*read} - {*made, ","} else "mul": prod(sizes.values())}, (None, None))
