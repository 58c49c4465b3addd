"""A translator per kind of function: the arguments of a sample by name, and a reading of its dimensions, to steps.

Each raises `Unsayable`, with the reason, for what the language cannot say. `opinfo_rows.py` says which translator a
function of PyTorch has.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import prod

from opinfo_words import Given, Reading, Sizes, Step, Unsayable, arguments, of_input, sizes_of, turned, without
from torch import Tensor


def same(operator: str, given: Given, reading: Reading) -> Iterator[Step]:
    yield of_input(operator, given, reading, **arguments(operator, given))


def conv(operator: str, given: Given, reading: Reading) -> Iterator[Step]:
    weight = sizes_of(given["weight"])
    groups = given.get("groups", 1)
    inner = weight[0] if operator == "conv_transpose" else weight[1] * groups
    out = weight[1] * groups if operator == "conv_transpose" else weight[0]
    own = arguments(operator, without(given, "bias"))
    own |= {"padding": 0} if own.get("padding") == "valid" else {}
    step = of_input(operator, given, reading, out_channels=out, kernel_size=weight[2:], **own)
    if step.inputs[0]["C"] != inner:  # type: ignore[index]
        raise Unsayable("a weight for other channels: they follow from the input")
    yield step._replace(arguments={**step.arguments, "bias": given.get("bias") is not None})


def linear(operator: str, given: Given, reading: Reading) -> Iterator[Step]:
    weight = sizes_of(given["weight"])
    if len(weight) != 2:
        raise Unsayable("a weight without an axis of outputs")
    if weight[1] != sizes_of(given["input"])[-1]:
        raise Unsayable("a weight for other features: they follow from the input")
    yield of_input(operator, given, reading, out_features=weight[0], bias=given.get("bias") is not None)


def affine(given: Given) -> bool:
    if (given.get("weight") is None) != (given.get("bias") is None):
        raise Unsayable("a weight without a bias, or a bias without a weight")
    return given.get("weight") is not None


def batchnorm(operator: str, given: Given, reading: Reading) -> Iterator[Step]:
    own = arguments(operator, without(given, "bias", "use_input_stats"))
    tracked = given.get("running_mean") is not None
    yield of_input(operator, given, reading, **own, affine=affine(given), track_running_stats=tracked)


def groupnorm(operator: str, given: Given, reading: Reading) -> Iterator[Step]:
    own = arguments(operator, without(given, "bias", "affine"))
    yield of_input(operator, given, reading, **own, affine=given["affine"] if "affine" in given else affine(given))


def layernorm(operator: str, given: Given, reading: Reading) -> Iterator[Step]:
    weight, bias = given.get("weight") is not None, given.get("bias") is not None
    if bias and not weight:
        raise Unsayable("a weight without a bias, or a bias without a weight")
    own = {"elementwise_affine": weight} | ({"bias": bias} if operator == "layernorm" else {})
    yield of_input(operator, given, reading, **arguments(operator, without(given, "bias")), **own)


def rmsnorm(operator: str, given: Given, reading: Reading) -> Iterator[Step]:
    shape = given["normalized_shape"]
    sizes = (shape,) if isinstance(shape, int) else tuple(shape)
    if len(sizes) != 1 or reading.axis(given["input"].dim(), -1) != "C":
        raise Unsayable("over several axes, or another one than the features")
    if sizes != sizes_of(given["input"])[-1:]:
        raise Unsayable("another size than the input's")
    own = {"elementwise_affine": given.get("elementwise_affine", given.get("weight") is not None)}
    yield of_input(operator, given, reading, **arguments(operator, without(given, "normalized_shape")) | own)


def prelu(operator: str, given: Given, reading: Reading) -> Iterator[Step]:
    if given["weight"].dim() > 1:
        raise Unsayable("a weight of several axes")
    yield of_input(operator, given, reading, num_parameters=given["weight"].numel())


def over_channels(operator: str, given: Given, reading: Reading) -> Iterator[Step]:
    """One dimension `dim`, which must be the channels."""
    dims = given["input"].dim()
    dim = given.get("dim", given.get("default"))
    if dim is None or not isinstance(dim, int):
        raise Unsayable("no dimension, or several")
    if reading.axis(dims, dim) != "C":
        raise Unsayable("along another axis than the channels")
    if given.get("p", 2.0) != 2:
        raise Unsayable("another norm than the Euclidean one")
    yield of_input(operator, given, reading, **arguments(operator, without(given, "dim", "default", "p")))


def hardtanh(operator: str, given: Given, reading: Reading) -> Iterator[Step]:
    least, most = given.get("min_val", -1.0), given.get("max_val", 1.0)
    if least > most:
        raise Unsayable("bounds in the wrong order")
    yield of_input(operator, given, reading, min=least, max=most)


def adaptive(operator: str, given: Given, reading: Reading) -> Iterator[Step]:
    size, lengths = given["output_size"], sizes_of(given["input"])[1 + reading.batch :]
    whole = [size] * len(lengths) if isinstance(size, int) or size is None else [*size]
    size = [length if one is None else one for one, length in zip(whole, lengths, strict=True)]
    yield of_input(operator, given, reading, output_size=size)


def upsample(operator: str, given: Given, reading: Reading) -> Iterator[Step]:
    own = without(given, "antialias", "recompute_scale_factor")
    if given.get("antialias") or given.get("recompute_scale_factor"):
        raise Unsayable("antialias or recompute_scale_factor")
    yield of_input(operator, given, reading, **arguments(operator, own))


def join(operator: str, given: Given, reading: Reading) -> Iterator[Step]:
    """Tensors that are broadcast; one without a batch, or a number, is a constant."""
    if given.get("alpha", 1) != 1 or given.get("rounding_mode"):
        raise Unsayable("the argument alpha or rounding_mode")
    tensors = [given["input"], given["other"]]
    numbers = operator != "maximum"
    shapes = [sizes_of(one) if isinstance(one, Tensor) or not numbers else () for one in tensors]
    dims = max(map(len, shapes))
    batch = max((shape[0] for shape in shapes if len(shape) == dims), default=1) if reading.batch and dims else None
    inputs: list[dict[str, int] | str] = []
    for shape in shapes:
        own = (1,) * (dims - len(shape)) + tuple(shape)
        if len(shape) == dims and (not reading.batch or own[:1] == (batch,)):
            inputs.append(reading.named(own))
        else:
            sizes = reading.named((1, *own[1:]) if reading.batch else own)
            written = ", ".join(f"{axis}={size}" for axis, size in sizes.items())
            inputs.append(f"constant({written}){turned(sizes, after=True)}")
    yield Step(operator, tuple(inputs), {}, batch)


def product(operator: str, given: Given, reading: Reading) -> Iterator[Step]:
    """Two matrices, or two batches of as many."""
    shapes = [sizes_of(given[name]) for name in ("input", "other")]
    if len({*map(len, shapes)}) > 1 or (reading.batch and shapes[0][:1] != shapes[1][:1]):
        raise Unsayable("tensors of several ranks or batches")
    batch = shapes[0][0] if reading.batch and shapes[0] else None
    yield Step(operator, tuple([reading.named(shape) for shape in shapes]), {}, batch)


def concat(operator: str, given: Given, reading: Reading) -> Iterator[Step]:
    tensors = [*given["input"]]
    dim = given.get("dim", given.get("default", 0))
    if len({tensor.dim() for tensor in tensors}) != 1:
        raise Unsayable("tensors of several ranks")
    axis = reading.axis(tensors[0].dim(), dim)
    own = {} if axis == "C" else {"axis": axis}
    batches = {len(tensor) for tensor in tensors}
    if reading.batch and len(batches) > 1:
        raise Unsayable("tensors of several batches")
    inputs = tuple(reading.named(sizes_of(tensor)) for tensor in tensors)
    own = arguments(operator, own | without(given, "input", "dim", "default"))
    yield Step(operator, inputs, own, batches.pop() if reading.batch else None)


def flatten(operator: str, given: Given, reading: Reading) -> Iterator[Step]:
    dims = given["input"].dim()
    start, end = given.get("start_dim", 0), given.get("end_dim", -1)
    if not dims or start % dims != reading.batch or end % dims != dims - 1:
        raise Unsayable("it flattens only a part of the axes, or the batch")
    yield of_input(operator, given, reading)


def reshape(operator: str, given: Given, reading: Reading) -> Iterator[Step]:
    sizes, shape = sizes_of(given["input"]), tuple(given["shape"])
    if reading.batch and shape and shape[0] == -1 and prod(shape[1:]) > 0:
        shape = (prod(sizes) // prod(shape[1:]), *shape[1:])
    if -1 in shape and prod(sizes) == 0:
        raise Unsayable("a size of -1 of no values")
    if reading.batch and (not sizes or not shape or shape[0] != sizes[0]):
        raise Unsayable("it works along the batch")
    yield of_input(operator, given, reading, **reading.named(shape))


def of_dims(operator: str, given: Given, reading: Reading, dims: Sequence[int]) -> Iterator[Step]:
    """PyTorch's dimensions in another order."""
    count = given["input"].dim()
    if len(dims) != count or not all(-count <= dim < count for dim in dims):
        raise Unsayable("a dimension that does not exist")
    order = [dim % count for dim in dims]
    if reading.batch and (not order or order[0] != 0):
        raise Unsayable("it works along the batch")
    axes = "".join(reading.axis(count, dim) for dim in order[reading.batch :])
    if axes in ("LC", "CT"):
        yield of_input("transpose", given, reading)
    else:
        yield of_input(operator, given, reading, axes=axes)


def permute(operator: str, given: Given, reading: Reading) -> Iterator[Step]:
    return of_dims(operator, given, reading, given["dims"])


def transpose(operator: str, given: Given, reading: Reading) -> Iterator[Step]:
    dims = [*range(given["input"].dim())]
    if not dims:
        raise Unsayable("a tensor without axes")
    one, other = given["dim0"], given["dim1"]
    dims[one], dims[other] = dims[other], dims[one]
    return of_dims("permute", given, reading, dims)


def repeat(operator: str, given: Given, reading: Reading) -> Iterator[Step]:
    counts, dims = given["repeats"], given["input"].dim()
    if len(counts) != dims or (reading.batch and counts and counts[0] != 1):
        raise Unsayable("it works along the batch, or adds axes")
    yield of_input(operator, given, reading, **reading.named(counts))


def roll(operator: str, given: Given, reading: Reading) -> Iterator[Step]:
    dims, count = given.get("dims", ()), given["input"].dim()
    shifts = given["shifts"]
    pairs = zip([dims] if isinstance(dims, int) else dims, [shifts] if isinstance(shifts, int) else shifts, strict=True)
    if dims == ():
        raise Unsayable("all axes as one")
    found = {reading.axis(count, dim): shift for dim, shift in pairs}
    if "C" in found:
        raise Unsayable("along the channels")
    axes = [axis for axis in reading.axes(count) if axis != "C"]
    yield of_input(operator, given, reading, shifts=[found.get(axis, 0) for axis in axes])


def narrow(operator: str, given: Given, reading: Reading) -> Iterator[Step]:
    start, dims = given["start"], given["input"].dim()
    if isinstance(start, Tensor):
        raise Unsayable("a tensor as start")
    stop, size = start + given["length"], sizes_of(given["input"])[given["dim"]]
    if given["length"] < 0 or not -size <= start <= size or stop > (0 if start < 0 else size):
        raise Unsayable("a part that reaches outside")
    stop = None if start < 0 == stop else stop
    yield of_input(operator, given, reading, start=start, stop=stop, axis=reading.axis(dims, given["dim"]))


def sliced(operator: str, given: Given, reading: Reading) -> Iterator[Step]:
    axis = reading.axis(given["input"].dim(), given.get("dim", 0))
    own = {"start": given.get("start"), "stop": given.get("end"), "step": given.get("step", 1), "axis": axis}
    yield of_input(operator, given, reading, **own)


def chunk(operator: str, given: Given, reading: Reading) -> Iterator[Step]:
    """The first part and the last one."""
    axis = reading.axis(given["input"].dim(), given.get("dim", 0))
    for index in (0, -1):
        step = of_input(operator, given, reading, chunks=given["chunks"], index=index, axis=axis)
        yield step._replace(result=lambda out, index=index: sizes_of(out[index]))


def split(operator: str, given: Given, reading: Reading) -> Iterator[Step]:
    """Each part as a slice."""
    dims, parts = given["input"].dim(), given["parts"]
    axis = reading.axis(dims, given.get("dim", 0))
    size = sizes_of(given["input"])[given.get("dim", 0)]
    if isinstance(parts, int):
        parts = [parts] * -(-size // parts) if parts else []
    start = 0
    for index, part in enumerate(parts):
        step = of_input(operator, given, reading, start=start, stop=start + part, axis=axis)
        yield step._replace(result=lambda out, index=index: sizes_of(out[index]))
        start += part


def pad(operator: str, given: Given, reading: Reading) -> Iterator[Step]:
    dims, flat = given["input"].dim(), given["pad"]
    count = dims - reading.batch - 1
    if isinstance(flat, int):
        flat = [flat] * (2 * count)
    pairs = [[*flat[i : i + 2]] for i in range(0, len(flat), 2)][::-1]
    pairs = [[0, 0]] * (count - len(pairs)) + pairs
    if reading.last:
        raise Unsayable("channels last")
    if len(pairs) > count:
        raise Unsayable("it pads channels or the batch")
    own = {"padding": pairs, "mode": given.get("mode", "constant"), "value": given.get("value") or 0}
    yield of_input(operator, given, reading, **own)


def ids(operator: str, given: Given, reading: Reading) -> Iterator[Step]:
    """Numbers of tokens, and the weight's sizes or the constructor's."""
    numbers = given["input"]
    sizes = sizes_of(numbers)
    if len(sizes) != 1 + reading.batch:
        raise Unsayable("numbers of tokens along several axes, or none")
    weight = given.get("weight")
    own = arguments(operator, without(given, "max_norm", "_weight"))
    if weight is not None:
        if weight.dim() != 2:
            raise Unsayable("a weight without two axes")
        own |= {"num_embeddings": len(weight), "embedding_dim": weight.shape[1]}
    if numbers.is_floating_point() or numbers.max() >= own["num_embeddings"]:
        raise Unsayable("values that are no numbers of tokens: a shape has no values")
    if own.get("padding_idx", 0) < 0:
        own["padding_idx"] += own["num_embeddings"]
    yield Step(operator, ({"T": sizes[-1]},), own, sizes[0] if reading.batch else None)


def recurrent(operator: str, given: Given, reading: Reading) -> Iterator[Step]:
    first, sizes = given.get("batch_first", False), sizes_of(given["input"])
    swapped = reading.batch and not first

    def seen(shape: Sizes) -> Sizes:
        return (shape[1], shape[0], shape[2]) if swapped else shape

    batch, *_ = seen(sizes) if reading.batch else (None,)
    tokens, features = seen(sizes)[-2:]
    own = arguments(operator, without(given, "proj_size") if given.get("proj_size") == 0 else given)
    yield Step(operator, ({"T": tokens, "C": features},), own, batch, lambda out: seen(sizes_of(out[0])))


def attention(operator: str, given: Given, reading: Reading) -> Iterator[Step]:
    """Batch × heads × tokens × features, or of one head; ours has the features of all heads side by side."""
    shapes = [sizes_of(given[name]) for name in ("input", "key", "value")]
    if len({*map(len, shapes)}) > 1:
        raise Unsayable("tensors of several ranks")
    shapes = [(shape[0], 1, *shape[1:]) if len(shape) == 3 else shape for shape in shapes]
    if given.get("attn_mask") is not None:
        raise Unsayable("a mask")
    if not reading.batch or {*map(len, shapes)} != {4}:
        raise Unsayable("a tensor without batch and heads")
    if len({shape[0] for shape in shapes}) > 1:
        raise Unsayable("tensors of several batches")
    inputs = tuple({"T": tokens, "C": heads * size} for _, heads, tokens, size in shapes)
    own = {"num_heads": shapes[0][1], "kv_heads": shapes[1][1], "causal": bool(given.get("is_causal"))}

    def joined(out: Tensor) -> Sizes:
        batch, *heads, tokens, size = out.shape
        return batch, tokens, prod(heads) * size

    yield Step(operator, inputs, own, shapes[0][0], joined)


def self_attention(operator: str, given: Given, reading: Reading) -> Iterator[Step]:
    """Query, key and value of one shape: as many MACs as of one tensor."""
    mine = ("key", "value", "need_weights", "average_attn_weights", "kdim", "vdim")
    if len({sizes_of(given[name]) for name in ("input", "key", "value")}) > 1 or given.get("kdim"):
        raise Unsayable("query, key and value of several shapes")
    if given.get("attn_mask") is not None or given.get("key_padding_mask") is not None:
        raise Unsayable("a mask")
    if reading.batch and not given.get("batch_first"):
        raise Unsayable("the batch as the second axis")
    own = arguments(operator, without(given, *mine))
    yield of_input(operator, given, Reading(reading.batch, last=True), **own)
