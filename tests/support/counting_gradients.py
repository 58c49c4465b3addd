"""Gradients in arithmetic that counts itself: those of every operator, of its inputs and of its weights, for a batch.

Like `counting_arithmetic`, with which it shares the arithmetic: each function computes what PyTorch's autograd does, in
single operations. `g` is the gradient of the output. What forward keeps (means, roots, indices) is free.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial, reduce
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.nn.functional import dropout

from support.counting_arithmetic import (
    ALPHA,
    BORDERS,
    CELLS,
    DROPOUTS,
    SCALE,
    Array,
    Counted,
    State,
    Windowed,
    aligned,
    backwards,
    biases,
    by_head,
    cells,
    channelwise,
    directions,
    exchanged,
    frame,
    halves,
    head_scales,
    hidden_biases,
    of_heads,
    pair,
    plain,
    projected,
    scales,
    sigmoid_of,
    standardized,
    through,
    turned,
    way_of,
    weights_of,
    windows,
    without_key_bias,
)
from support.counting_arithmetic import ELEMENTWISE as FORWARD
from support.counting_arithmetic import FORMULAS as OUTPUTS
from support.counting_arithmetic import attention as attend
from support.torch_seed import seed_torch

FREE = Counter[str]  # operations that another gradient counts


class Case(NamedTuple):
    """Arrays of one backward pass: gradient of the output, inputs, output and state; `tally` counts what they take."""

    g: Counted
    xs: tuple[Counted, ...]
    y: Counted
    state: State
    keywords: Mapping[str, Any]

    @property
    def x(self) -> Counted:
        return self.xs[0]

    @property
    def tally(self) -> Counter[str]:
        return self.g.tally

    def get(self, name: str, default: Any = None) -> Any:
        return self.keywords.get(name, default)


Gradient = Callable[[Case], Counted]


def silu(case: Case) -> Counted:
    s = sigmoid_of(case.x)
    return case.g * s * (1 + case.x * (1 - s))


def hardswish(case: Case) -> Counted:
    x = case.x.data
    return case.g.chosen(x >= 3, (case.g * (case.x / 3 + 0.5)).chosen(x > -3))


def leaky_relu(case: Case) -> Counted:
    return case.g.chosen(case.x.data > 0, case.g * case.get("negative_slope", 0.01))


def elu(case: Case) -> Counted:
    alpha = case.get("alpha", 1.0)
    if case.get("inplace"):
        return case.g.chosen(case.y.data > 0, case.g * (case.y + alpha))
    return case.g.chosen(case.x.data > 0, case.g * alpha * case.x.exp())


def selu(case: Case) -> Counted:
    rises = case.g * SCALE
    if case.get("inplace"):
        return rises.chosen(case.y.data > 0, case.g * (case.y + SCALE * ALPHA))
    return rises.chosen(case.x.data > 0, case.g * (SCALE * ALPHA) * case.x.exp())


def prelu(case: Case) -> Counted:
    return case.g.chosen(case.x.data > 0, channelwise(case.state["weight"], case.x.data.ndim - 1) * case.g)


def prelu_weights(case: Case) -> dict[str, Counted]:
    one = case.get("num_parameters", 1) == 1
    axes = tuple(axis for axis in range(case.x.data.ndim) if one or axis != 1)
    return {"weight": (case.g * case.x).chosen(case.x.data <= 0).sum(axes)}


def mish(case: Case) -> Counted:
    x = case.x
    t = (x.exp() + 1).log().tanh()
    return case.g * (t + x * sigmoid_of(x) * (1 - t * t))


def softplus(case: Case) -> Counted:
    scaled = case.x * case.get("beta", 1.0)
    z = scaled.exp()
    return case.g.chosen(scaled.data > case.get("threshold", 20.0), case.g * z / (z + 1))


def clamp(case: Case) -> Counted:
    least, most = case.get("min"), case.get("max")
    g = case.g if least is None else case.g.chosen(case.x.data >= least)
    return g if most is None else g.chosen(case.x.data <= most)


def put_together(first: Counted, second: Counted) -> Counted:
    return Counted(np.concatenate([first.data, second.data], 1), first.tally)


def glu(case: Case) -> Counted:
    a, b = halves(case.x, 1)
    s = sigmoid_of(b)
    h = case.g * s
    return put_together(h, h * (1 - s) * a)


def swiglu(case: Case) -> Counted:
    a, b = halves(case.x, 1)
    of_b = case.g * (a.data / (1 + np.exp(-a.data)))  # kept
    s = sigmoid_of(a)
    return put_together(case.g * b * s * (1 + a * (1 - s)), of_b)


def scaled_tanh(case: Case) -> Counted:
    amplitude, slope = case.get("amplitude", 1.7159), case.get("slope", 2 / 3)
    t = Counted(np.tanh(slope * case.x.data), case.tally)
    return case.g * amplitude * (1 - t * t) * slope


def gelu(case: Case) -> Counted:
    x, g = case.x, case.g
    if case.get("approximate", "none") == "none":
        share = (1 + (x * np.sqrt(0.5)).erf()) * 0.5
        return g * (share + x * ((x * x * -0.5).exp() * (1 / np.sqrt(2 * np.pi))))
    c, d = np.sqrt(2 / np.pi), 0.044715
    square = x * x
    t = (c * (x + d * (square * x))).tanh()
    return g * (0.5 * (1 + t) + 0.5 * x * (1 - t * t) * (c * (1 + 3 * d * square)))


def softmax(case: Case) -> Counted:
    return case.y * (case.g - (case.g * case.y).sum(1))


ACTIVATIONS: dict[str, Gradient] = {
    "relu": lambda case: case.g.chosen(case.y.data > 0),
    "relu6": lambda case: case.g.chosen(case.x.data > 0).chosen(case.x.data < 6),
    "leaky_relu": leaky_relu,
    "sigmoid": lambda case: case.g * (1 - case.y) * case.y,
    "tanh": lambda case: case.g * (1 - case.y * case.y),
    "scaled_tanh": scaled_tanh,
    "silu": silu,
    "elu": elu,
    "selu": selu,
    "prelu": prelu,
    "mish": mish,
    "softplus": softplus,
    "exp": lambda case: case.g * case.y,
    "clamp": clamp,
    "log_softmax": lambda case: case.g - case.y.exp() * case.g.sum(1),
    "glu": glu,
    "swiglu": swiglu,
    "hardsigmoid": lambda case: (case.g * float(np.float32(1 / 6))).chosen(case.x.data > -3).chosen(case.x.data < 3),
    "hardswish": hardswish,
    "gelu": gelu,
    "softmax": softmax,
}


# normalizations: rows of values that share their statistics


def by_channel(x: Counted) -> Counted:
    return Counted(np.moveaxis(x.data, 1, 0).reshape(x.data.shape[1], -1), x.tally)


def images_again(rows: Counted, like: Counted) -> Counted:
    shape = like.data.shape
    return Counted(np.moveaxis(rows.data.reshape(shape[1], shape[0], *shape[2:]), 0, 1), rows.tally)


def kept(rows: Counted, eps: float) -> tuple[Array, Array]:
    """Return mean and 1/σ of each row, which forward keeps."""
    return rows.data.mean(1, keepdims=True), 1 / np.sqrt(rows.data.var(1, keepdims=True) + eps)


def batchnorm_sums(g: Counted, x: Counted, mean: Array) -> tuple[Counted, Counted, Counted]:
    """Return x − μ, Σg·(x − μ) and Σg of each channel."""
    apart = x - mean
    return apart, (apart * g).sum(1), g.sum(1)


def batchnorm(case: Case) -> Counted:
    made = standardized_rows(case, by_channel(case.g), by_channel(case.x), case.get("affine", True))
    return images_again(made, case.g)


def standardized_rows(case: Case, g: Counted, x: Counted, affine: bool) -> Counted:
    """Use the sums of the weights' gradients if there are any."""
    repeats = len(x.data) // case.x.data.shape[1]
    (mean, inverse), count = kept(x, case.get("eps", 1e-5)), x.data.shape[1]
    where = FREE() if affine else case.tally
    apart, dot, total = batchnorm_sums(Counted(g.data, where), Counted(x.data, where), mean)
    dot = dot * inverse
    apart, dot, total = (Counted(part.data, case.tally) for part in (apart, dot, total))
    scale: Any = Counted(inverse, case.tally) * np.tile(case.state["weight"], repeats)[:, None] if affine else inverse
    return (g - total / count - apart * (dot * inverse / count)) * scale


def batchnorm_weights(case: Case) -> dict[str, Counted]:
    if not case.get("affine", True):
        return {}
    x = by_channel(case.x)
    mean, inverse = kept(x, case.get("eps", 1e-5))
    _, dot, total = batchnorm_sums(by_channel(case.g), x, mean)
    return {"weight": dot * inverse, "bias": total}


def by_image(x: Counted) -> Counted:
    """Return a row for each channel of each image."""
    return x.shaped((x.data.shape[0] * x.data.shape[1], -1))


def instancenorm(case: Case) -> Counted:
    affine = case.get("affine", False)
    return standardized_rows(case, by_image(case.g), by_image(case.x), affine).shaped(case.g.data.shape)


def instancenorm_weights(case: Case) -> dict[str, Counted]:
    if not case.get("affine", False):
        return {}
    x, shape = by_image(case.x), case.x.data.shape[:2]
    mean, inverse = kept(x, case.get("eps", 1e-5))
    _, dot, total = batchnorm_sums(by_image(case.g), x, mean)
    return {"weight": (dot * inverse).shaped(shape).sum(0), "bias": total.shaped(shape).sum(0)}


def standard(case: Case, rows: tuple[int, int], scale: Array | None) -> Counted:
    """Return the input's gradient of normalized rows; the weight's gradient has x − μ if there is one."""
    g, x = case.g, case.x.shaped(rows)
    h = g if scale is None else g * scale
    h, (mean, inverse), count = h.shaped(rows), kept(x, case.get("eps", 1e-5)), rows[1]
    apart = Counted(x.data - mean, case.tally) if scale is not None else x - mean
    root = Counted(inverse, case.tally)
    k = (h * apart).sum(1) / count * (root * root)
    return ((h - h.sum(1) / count - apart * k) * inverse).shaped(g.data.shape)


def standard_weights(case: Case, rows: tuple[int, int], axes: tuple[int, ...]) -> dict[str, Counted]:
    x = case.x.shaped(rows)
    mean, inverse = kept(x, case.get("eps", 1e-5))
    products = ((case.g.shaped(rows) * (x - mean)) * inverse).shaped(case.g.data.shape)
    return {"weight": products.sum(axes), "bias": case.g.sum(axes)}


def layernorm_rows(case: Case) -> tuple[int, int]:
    over = case.get("normalized_shape") or case.x.data.shape[1:]
    count = int(np.prod(over))
    return case.x.data.size // count, count


def layernorm(case: Case) -> Counted:
    return standard(case, layernorm_rows(case), case.state.get("weight"))


def layernorm_weights(case: Case) -> dict[str, Counted]:
    if "weight" not in case.state:
        return {}
    axes = tuple(range(case.x.data.ndim - case.state["weight"].ndim))
    made = standard_weights(case, layernorm_rows(case), axes) if "bias" in case.state else {}
    if not made:
        bare = Case(Counted(case.g.data, FREE()), case.xs, case.y, case.state, case.keywords)
        made = standard_weights(bare, layernorm_rows(case), axes)
        products = case.g.data.size
        case.tally.update({"mul": 2 * products, "add": products - case.state["weight"].size})
    return {name: made[name] for name in ("weight", "bias") if name in case.state}


def groupnorm_rows(case: Case) -> tuple[int, int]:
    groups = case.get("num_groups") * len(case.x.data)
    return groups, case.x.data.size // groups


def groupnorm(case: Case) -> Counted:
    scale = case.state.get("weight")
    return standard(case, groupnorm_rows(case), None if scale is None else channelwise(scale, case.x.data.ndim - 1))


def groupnorm_weights(case: Case) -> dict[str, Counted]:
    axes = tuple(axis for axis in range(case.x.data.ndim) if axis != 1)
    return standard_weights(case, groupnorm_rows(case), axes) if "weight" in case.state else {}


def of_positions(case: Case) -> Case:
    """Return a layer normalization's case with the channels last."""
    g, x, y = (Counted(np.moveaxis(made.data, 1, -1), made.tally) for made in (case.g, case.x, case.y))
    return Case(g, (x,), y, case.state, {**case.keywords, "normalized_shape": x.data.shape[-1:]})


def channel_layernorm(case: Case) -> Counted:
    return Counted(np.moveaxis(layernorm(of_positions(case)).data, -1, 1), case.tally)


def root_of(case: Case) -> Array:
    """Return the reciprocal root that rmsnorm keeps."""
    eps = case.get("eps")
    least = np.finfo(np.float64).eps if eps is None else eps
    return 1 / np.sqrt((case.x.data**2).mean(1, keepdims=True) + least)


def rmsnorm(case: Case) -> Counted:
    h = case.g * case.state["weight"] if "weight" in case.state else case.g
    r = Counted(root_of(case), case.tally)
    return h * r.data - case.x * ((h * case.x).sum(1) / case.x.data.shape[1] * (r * r * r))


def rmsnorm_weights(case: Case) -> dict[str, Counted]:
    if "weight" not in case.state:
        return {}
    return {"weight": (case.g * (case.x.data * root_of(case))).sum(0)}


def normalize(case: Case) -> Counted:
    s = np.sqrt((case.x.data**2).sum(1, keepdims=True))
    d = np.maximum(s, case.get("eps", 1e-12))
    k = (-case.g * (case.x / d / d)).sum(1).chosen(s >= case.get("eps", 1e-12))
    return case.g / d + case.x * (k / s)


def around(x: Array, size: int, before: int, after: int) -> list[Array]:
    wide = np.pad(x, [(0, 0), (before, after), *[(0, 0)] * (x.ndim - 2)])
    return [wide[:, i : i + x.shape[1]] for i in range(size)]


def lrn(case: Case) -> Counted:
    size, alpha, beta = case.get("size"), case.get("alpha", 1e-4), case.get("beta", 0.75)
    g, x, before, after = case.g, case.x, size // 2, (size - 1) // 2
    base = Counted(sum(around(x.data**2, size, before, after)) * (alpha / size) + case.get("k", 1.0), case.tally)
    d = base.data**beta
    of_base = -g * (x / d / d) * (beta * base ** (beta - 1))
    of_sum = of_base * (alpha / size)
    shifted = [Counted(part, case.tally) for part in around(of_sum.data, size, after, before)]
    of_square = reduce(Counted.__add__, shifted)
    return g / d + (of_square * x + of_square * x)


# layers with weights


class Link(NamedTuple):
    """An output value of a convolution, its window in the padded input, and its kernel's place in the weight."""

    at: tuple[int, ...]
    window: Any
    kernel: Any


def conv_links(case: Case) -> Iterator[Link]:
    options = dict(case.keywords)
    kernel, down = pair(options["kernel_size"]), pair(options.get("dilation", 1))
    stride, groups, table = pair(options.get("stride", 1)), options.get("groups", 1), options.get("connections")
    each, first = case.x.data.shape[1] // groups, 0
    _, channels, height, width = case.y.data.shape
    for channel in range(channels):
        start = channel // (channels // groups) * each
        seen = list(range(start, start + each)) if table is None else list(table[channel])
        place = channel if table is None else slice(first, first + len(seen))
        first += len(seen)
        for row, column in np.ndindex(height, width):
            rows, columns = (
                slice(at * step, at * step + apart * (k - 1) + 1, apart)
                for at, step, apart, k in zip((row, column), stride, down, kernel, strict=True)
            )
            yield Link((channel, row, column), (seen, rows, columns), place)


def conv_margins(case: Case) -> list[tuple[int, int]]:
    over = [d * (k - 1) for d, k in zip(pair(case.get("dilation", 1)), pair(case.get("kernel_size")), strict=True)]
    return frame(case.get("padding", 0), over, pair(case.get("stride", 1)), case.x.data.shape[2:])


def conv_input(case: Case) -> Counted:
    margins = conv_margins(case)
    made = np.zeros_like(np.pad(case.x.data, ((0, 0), (0, 0), *margins)))
    for link in conv_links(case):
        weight = case.state["weight"][link.kernel]
        for image in range(len(made)):
            made[image][link.window] += case.g.data[(image, *link.at)] * weight
            case.tally["mac"] += weight.size
    if case.get("padding_mode", "zeros") != "zeros":
        return unframed(Counted(made, case.tally), case, margins, case.get("padding_mode"))
    (top, _), (left, _) = margins
    height, width = case.x.data.shape[2:]
    return Counted(made[:, :, top : top + height, left : left + width], case.tally)


def conv_weights(case: Case) -> dict[str, Counted]:
    border = BORDERS[case.get("padding_mode", "zeros")]
    wide = np.pad(case.x.data, ((0, 0), (0, 0), *conv_margins(case)), **border)
    made = np.zeros_like(case.state["weight"])
    for link in conv_links(case):
        for image in range(len(wide)):
            window = wide[image][link.window]
            made[link.kernel] += case.g.data[(image, *link.at)] * window
            case.tally["mac"] += window.size
    return {"weight": Counted(made, case.tally)} | bias_of(case, (0, 2, 3))


def unframed(g: Counted, case: Case, margins: Sequence[tuple[int, int]], mode: str) -> Counted:
    """Add the gradient of a padded input to that of the positions that were copied; circular axis by axis."""
    x, made = case.x.data, g.data
    axes = [(axis, pair) for axis, pair in enumerate(margins, 2) if mode != "circular" or any(pair)]
    for number, (axis, around) in enumerate(reversed(axes)):
        source = np.pad(np.arange(x.shape[axis]), around, **BORDERS[mode])
        if mode == "circular" or number == 0:
            case.tally["add"] += made.size
        whole = np.zeros((*made.shape[:axis], x.shape[axis], *made.shape[axis + 1 :]))
        np.add.at(whole, (*[slice(None)] * axis, source), made)
        made = whole
    return Counted(made, case.tally)


def bias_of(case: Case, axes: tuple[int, ...]) -> dict[str, Counted]:
    return {"bias": case.g.sum(axes)} if "bias" in case.state else {}


def transposed_windows(case: Case) -> Iterator[tuple[tuple[int, ...], Any]]:
    """Yield each input value and the window of the uncut output that its kernels reach."""
    steps, apart = pair(case.get("stride", 1)), pair(case.get("dilation", 1))
    kernel, groups = pair(case.get("kernel_size")), case.get("groups", 1)
    each, given = case.get("out_channels") // groups, case.x.data.shape[1] // groups
    for at in np.ndindex(case.x.data.shape):
        group = at[1] // given
        rows, columns = (
            slice(place * step, place * step + d * (k - 1) + 1, d)
            for place, step, d, k in zip(at[2:], steps, apart, kernel, strict=True)
        )
        yield at, (at[0], slice(group * each, (group + 1) * each), rows, columns)


def uncut(case: Case) -> Array:
    """Return the output's gradient with zeros where padding cuts off."""
    (top, left), (height, width) = pair(case.get("padding", 0)), case.g.data.shape[2:]
    sizes = [
        (n - 1) * step + d * (k - 1) + 1 + extra
        for n, step, d, k, extra in zip(
            case.x.data.shape[2:], pair(case.get("stride", 1)), pair(case.get("dilation", 1)),
            pair(case.get("kernel_size")), pair(case.get("output_padding", 0)), strict=True,
        )
    ]  # fmt: skip
    made = np.zeros((*case.g.data.shape[:2], *sizes))
    made[:, :, top : top + height, left : left + width] = case.g.data
    return made


def transposed_input(case: Case) -> Counted:
    wide, made = uncut(case), np.zeros_like(case.x.data)
    for at, window in transposed_windows(case):
        made[at] = Counted(wide[window], case.tally).dot(case.state["weight"][at[1]])
    return Counted(made, case.tally)


def transposed_weights(case: Case) -> dict[str, Counted]:
    wide, made = uncut(case), np.zeros_like(case.state["weight"])
    for at, window in transposed_windows(case):
        made[at[1]] += case.x.data[at] * wide[window]
        case.tally["mac"] += wide[window].size
    return {"weight": Counted(made, case.tally)} | bias_of(case, (0, 2, 3))


def linear_input(case: Case) -> Counted:
    weight = case.state["weight"]
    rows = [[case.g[at].dot(column) for column in weight.T] for at in np.ndindex(case.g.data.shape[:-1])]
    return Counted(np.array(rows).reshape(case.x.data.shape), case.tally)


def linear_weights(case: Case) -> dict[str, Counted]:
    made = np.zeros_like(case.state["weight"])
    for at in np.ndindex(case.g.data.shape[:-1]):
        made += np.outer(case.g.data[at], case.x.data[at])
        case.tally["mac"] += made.size
    return {"weight": Counted(made, case.tally)} | bias_of(case, tuple(range(case.g.data.ndim - 1)))


def rbf(case: Case) -> Counted:
    apart = Counted(case.x.data[:, None] - case.state["prototypes"], case.tally)  # kept
    return (case.g[:, :, None] * (2 * apart)).sum(1)[:, 0]


# pools: gradients are added to those of the windows


def numbers(x: Counted) -> Counted:
    """Return the position of each value of an image, from 0."""
    image = x.data[0]
    return Counted(np.arange(image.size, dtype=float).reshape(image.shape), FREE())


def add_at(case: Case, places: Sequence[tuple[Array, Counted]]) -> Counted:
    """Add values to a gradient of zeros at positions of the image; those below 0 are padding."""
    made = np.zeros((len(case.x.data), case.x.data[0].size))
    for where, values in places:
        at = where.astype(int)
        flat = np.broadcast_to(values.data, (len(made), *at.shape)) * (at >= 0)
        case.tally["add"] += flat.size
        for image, part in zip(made, flat, strict=True):
            np.add.at(image, np.maximum(at, 0), part)
    return Counted(made.reshape(case.x.data.shape), case.tally)


def geometry(case: Case) -> dict[str, Any]:
    return {key: value for key, value in case.keywords.items() if key not in ("count_include_pad", "divisor_override")}


def maxpool(case: Case) -> Counted:
    places = windows(numbers(case.x), -1, **geometry(case)).data
    made = np.zeros((len(case.x.data), case.x.data[0].size))
    for image, x, g in zip(made, case.x.data, case.g.data, strict=True):
        found = windows(Counted(x, FREE()), -np.inf, **geometry(case)).data
        where = np.take_along_axis(places, found.argmax(3)[..., None], 3)[..., 0]
        np.add.at(image, where.astype(int), g)
        case.tally["add"] += g.size
    return Counted(made.reshape(case.x.data.shape), case.tally)


def avgpool(case: Case) -> Counted:
    places = windows(numbers(case.x), -1, **geometry(case)).data
    if case.get("count_include_pad", True):
        rows, columns = ((margin, margin) for margin in pair(case.get("padding", 0)))
        ones = Counted(np.ones_like(case.x.data[0]), FREE()).padded(1, rows, columns)
        divisor = windows(ones, 0, **geometry(case) | {"padding": 0}).data.sum(3)
    else:
        divisor = (places >= 0).sum(3)
    return add_at(case, [(places, (case.g / (case.get("divisor_override") or divisor))[..., None])])


def subsample(case: Case) -> Counted:
    places = windows(numbers(case.x), -1, **case.keywords).data
    return add_at(case, [(places, (case.g * channelwise(case.state["weight"], 3))[..., None])])


def subsample_weights(case: Case) -> dict[str, Counted]:
    sums = np.stack([windows(Counted(x, FREE()), 0, **case.keywords).data.sum(3) for x in case.x.data])  # kept
    return {"weight": (case.g * sums).sum((0, 2, 3)), "bias": case.g.sum((0, 2, 3))}


def adaptive_parts(case: Case) -> Iterator[tuple[tuple[int, int], Array]]:
    target = pair(case.get("output_size", 1))
    yield from zip(np.ndindex(target), (part.data for part in cells(numbers(case.x), target)), strict=True)  # type: ignore[misc]  # a pair


def adaptive_avgpool(case: Case) -> Counted:
    if case.g.data.shape[2:] == (1, 1):
        spread = Counted(np.broadcast_to(case.g.data, case.x.data.shape), case.tally)
        return spread / (case.x.data[0, 0].size)
    places = []
    for (row, column), part in adaptive_parts(case):
        places.append((part, case.g[:, :, row : row + 1, column : column + 1] / part[0].size))
    return add_at(case, places)


def adaptive_maxpool(case: Case) -> Counted:
    made = np.zeros((len(case.x.data), case.x.data[0].size))
    for (row, column), part in adaptive_parts(case):
        at = part.reshape(len(part), -1).astype(int)
        for image, x, g in zip(made, case.x.data, case.g.data, strict=True):
            largest = np.take_along_axis(at, x.reshape(-1)[at].argmax(1)[:, None], 1)[:, 0]
            np.add.at(image, largest, g[:, row, column])
            case.tally["add"] += len(largest)
    return Counted(made.reshape(case.x.data.shape), case.tally)


def upsample(case: Case) -> Counted:
    mode, positions = case.get("mode", "nearest"), numbers(case.x).data
    axes = scales(case.x.data.shape[2:], case.get("size"), case.get("scale_factor"))
    rows, columns = (weights_of(*axis, mode, case.get("align_corners")) for axis in axes)
    if mode.startswith("nearest"):
        return add_at(case, [(positions[:, rows[0][0]][:, :, columns[0][0]], case.g)])
    lines = [(near, w[:, None] * case.g) for near, w in rows]
    return add_at(case, [(positions[:, near][:, :, at], w * line) for near, line in lines for at, w in columns])


def pad(case: Case) -> Counted | None:
    mode, axes = case.get("mode", "constant"), case.x.data.ndim - 2
    if mode == "constant":
        return None
    padding = case.get("padding")
    padding = padding if isinstance(padding, tuple) else (padding,)
    pairs = [margin if isinstance(margin, tuple) else (margin, margin) for margin in padding]
    return unframed(case.g, case, pairs * axes if len(pairs) < axes else pairs, mode)


def repeat(case: Case) -> Counted:
    """Sum the copies; each axis of the gradient in two, of the copies and of the values."""
    sizes, copies = [], []
    for old, new in zip(case.x.data.shape, case.g.data.shape, strict=True):
        copies += [len(sizes)] if new > old else []
        sizes += [new // old, old] if new > old else [old]
    split = case.g.shaped(sizes)
    return (split.sum(tuple(copies)) if copies else split).shaped(case.x.data.shape)


# joins, and operators that move or drop values


Pair = tuple[Counted, Counted]


def shared(g: Counted, x: Counted, y: Counted) -> Counted:
    """Return the gradient of x, where the maximum of x and y has the gradient g."""
    return g.chosen(plain(x) != plain(y), g / 2).chosen(plain(x) >= plain(y))


ELEMENTWISE: dict[str, Callable[[Counted, Counted, Counted], Pair]] = {  # both gradients
    "add": lambda g, x, y: (g, g),
    "subtract": lambda g, x, y: (g, -g),
    "multiply": lambda g, x, y: (g * y, g * x),
    "divide": lambda g, x, y: (g / y, -g * (x / y / y)),
    "maximum": lambda g, x, y: (shared(g, x, y), shared(g, y, x)),
}


def elementwise(name: str, case: Case) -> list[Counted]:
    """Return each input's gradient, from the last application of the function to the first."""
    xs = aligned(case.xs)
    partial, made, g = [xs[0]], list[Counted](), case.g
    for x in xs[1:]:
        result = FORWARD[name](Counted(partial[-1].data, FREE()), x)
        partial.append(Counted(result.data, case.tally))
    for left, right in reversed(list(zip(partial, xs[1:], strict=False))):
        of_left, of_right = ELEMENTWISE[name](g, left, right)
        made.append(summed(of_right, right.data.shape))
        g = summed(of_left, left.data.shape)
    return [part.shaped(x.data.shape) for part, x in zip([g, *reversed(made)], case.xs, strict=True)]


def summed(x: Counted, shape: tuple[int, ...]) -> Counted:
    axes = tuple(axis for axis, (own, other) in enumerate(zip(x.data.shape, shape, strict=True)) if own != other)
    return x.sum(axes) if axes else x


def noise(case: Case) -> Counted:
    """Multiply by the factor that forward drew: of each value, or of the image or batch."""
    if not case.get("p", 0.5):
        return Counted(case.g.data, FREE())
    return case.g * (case.y.data / case.x.data)


# recurrent layers: from the last token to the first


class Kept(NamedTuple):
    """What forward keeps of a token: its input, the state before it, and its gates."""

    x: Array
    h: Array
    c: Array
    gates: list[Array]


class Turn(NamedTuple):
    """Gradients of one token: of the products of input and state, and parts of those of the state before it."""

    of_input: Array
    of_state: Array
    h: Counted | None = None
    c: Counted | None = None


def of_sigmoid(g: Counted, y: Array) -> Counted:
    return g * (1 - Counted(y, g.tally)) * y


def of_tanh(g: Counted, y: Array) -> Counted:
    return g * (1 - Counted(y, g.tally) * y)


def turn(kind: str, dh: Counted, dc: Counted | None, kept: Kept, first: bool) -> Turn:
    if kind == "relu":
        gate = dh.chosen(kept.gates[0] > 0).data
        return Turn(gate, gate)
    if kind == "rnn":
        gate = of_tanh(dh, kept.gates[0]).data
        return Turn(gate, gate)
    if kind == "lstm":
        i, f, g, o, of_c = kept.gates
        change = of_tanh(dh * o, of_c)
        dc = change if dc is None else change + dc
        gates = [of_sigmoid(dc * g, i), of_sigmoid(dc * kept.c, f), of_tanh(dc * i, g), of_sigmoid(dh * of_c, o)]
        made = np.concatenate([gate.data for gate in gates], -1)
        return Turn(made, made, None, None if first else dc * f)
    r, z, n, product = kept.gates
    direct = dh * z
    of_n = of_tanh(dh - direct, n)
    gates = [of_sigmoid(of_n * product, r), of_sigmoid(dh * (kept.h - n), z), of_n, of_n * r]
    parts = [gate.data for gate in gates]
    return Turn(np.concatenate(parts[:3], -1), np.concatenate([*parts[:2], parts[3]], -1), direct)


def steps_of(kind: str, x: Array, state: State, name: str) -> list[Kept]:
    """Run a layer forward, in plain numbers."""
    of_input, of_state, bias, other_bias = way_of(state, name)
    h = c = np.zeros((len(x), of_state.shape[1]))
    made, count = [], len(of_state) // of_state.shape[1]
    for token in np.moveaxis(x, 1, 0):
        own, other = token @ of_input.T, h @ of_state.T
        own, other = (own, other) if bias is None else (own + bias, other + other_bias)
        parts, others = np.split(own, count, -1), np.split(other, count, -1)
        s = [1 / (1 + np.exp(-a - b)) for a, b in zip(parts, others, strict=True)]
        before = h, c
        if kind in ("rnn", "relu"):
            gates = [np.tanh(own + other) if kind == "rnn" else np.maximum(own + other, 0)]
            h = gates[0]
        elif kind == "lstm":
            g = np.tanh(parts[2] + others[2])
            c = s[1] * c + s[0] * g
            gates = [s[0], s[1], g, s[3], np.tanh(c)]
            h = s[3] * gates[4]
        else:
            n = np.tanh(parts[2] + s[0] * others[2])
            gates = [s[0], s[1], n, others[2]]
            h = n + s[1] * (h - n)
        made.append(Kept(token, *before, gates))
    return made


def back_through(kind: str, g: Counted, x: Array, state: State, name: str) -> list[tuple[Kept, Turn]]:
    """Return each token with its gradients, from the first to the last."""
    _, of_state, *_ = way_of(state, name)
    dh = dc = None
    made: list[tuple[Kept, Turn]] = []
    kept = steps_of(kind, x, state, name)
    for t in range(len(kept) - 1, -1, -1):
        own = Counted(g.data[:, t], g.tally)
        one = turn(kind, own if dh is None else own + dh, dc, kept[t], t == 0)
        made.insert(0, (kept[t], one))
        if t:
            dh, dc = Counted(one.of_state, g.tally).times(of_state), one.c
            dh = dh if one.h is None else dh + one.h
    return made


def recurrent_layers(kind: str, case: Case) -> Iterator[tuple[str, list[tuple[Kept, Turn]], Counted]]:
    """Yield each direction of each layer, from the last layer: its tokens' gradients and that of its input."""
    free, layers, x = FREE(), directions(case.state), case.x.data
    kind = "relu" if case.get("nonlinearity") == "relu" else kind
    inputs = [x]
    for names in layers[:-1]:
        ways = [backwards(through(kind, backwards(Counted(x, free), n), case.state, n), n).data for n in names]
        x = np.concatenate(ways, -1)
        inputs.append(x)
    g = case.g
    for x, names in reversed(list(zip(inputs, layers, strict=True))):
        total = None
        for name, part in zip(names, np.split(g.data, len(names), -1), strict=True):
            own = backwards(Counted(part, case.tally), name)
            turns = back_through(kind, own, backwards(Counted(x, free), name).data, case.state, name)
            gates = Counted(np.stack([one.of_input for _, one in turns], 1), case.tally)
            change = backwards(gates.times(case.state[f"weight_ih_{name}"]), name)
            total = change if total is None else total + change
            yield name, turns, total
        g = total


def recurrent_input(kind: str) -> Gradient:
    return lambda case: [total for _, _, total in recurrent_layers(kind, case)][-1]


def recurrent_weights(kind: str) -> Callable[[Case], dict[str, Counted]]:
    def weights(case: Case) -> dict[str, Counted]:
        made: dict[str, Counted] = {}
        for name, turns, _ in recurrent_layers(kind, case._replace(g=Counted(case.g.data, FREE()))):
            of_input, of_state, x, h = (
                np.concatenate(rows)
                for rows in zip(*[(one.of_input, one.of_state, kept.x, kept.h) for kept, one in turns], strict=True)
            )
            made[f"weight_ih_{name}"] = Counted(of_input.T, case.tally).times(x)
            made[f"weight_hh_{name}"] = Counted(of_state.T, case.tally).times(h)
            if case.get("bias", True):
                made[f"bias_ih_{name}"] = Counted(of_input, case.tally).sum(0)
                made[f"bias_hh_{name}"] = Counted(of_state, case.tally).sum(0)
        return {name: made[name] for name in case.state}

    return weights


# attention


class Attended(NamedTuple):
    """Query, key, value and output of attention, which forward keeps."""

    query: Array
    key: Array
    value: Array
    output: Array


def attention_gradients(
    g: Counted, kept: Attended, heads: int, groups: int, causal: bool, noise: Array | None
) -> list[Counted]:
    """Compute the weights again, from scores and the logarithms of their sums, which are kept."""
    share = heads // groups
    q, y, g_of = by_head(kept.query, heads), by_head(kept.output, heads), by_head(g, heads)
    k, v = (by_head(x, groups, share) for x in (kept.key, kept.value))
    scale = q.shape[-1] ** -0.5
    scores = Counted(q, g.tally).times(k.swapaxes(-1, -2)) * scale
    mask = np.tril(np.ones(scores.data.shape[-2:])) if causal else np.ones(scores.data.shape[-2:])
    weights = (scores - np.log((np.exp(scores.data) * mask).sum(-1, keepdims=True))).exp()
    weights.data *= mask
    of_weights = g_of.times(v.swapaxes(-1, -2))
    used, of_weights = (weights, of_weights) if noise is None else (weights * noise, of_weights * noise)
    change = weights * (of_weights - (g_of * y).sum(-1)) * scale
    turned = Counted(change.data.swapaxes(-1, -2), g.tally), Counted(used.data.swapaxes(-1, -2), g.tally)
    made = [change.times(k), turned[0].times(q), turned[1].times(g_of)]
    return [of_heads(made[0]), *[of_heads(of_groups(x, groups, share)) for x in made[1:]]]


def of_groups(x: Counted, groups: int, share: int) -> Counted:
    """Add up the gradients of heads that share a key and a value."""
    data = x.data.reshape(*x.data.shape[:-3], groups, share, *x.data.shape[-2:])
    return Counted(Counted(data, x.tally).sum(-3).data.squeeze(-3), x.tally)


def attention(case: Case) -> list[Counted]:
    heads = case.get("num_heads")
    kept = Attended(*[x.data for x in case.xs], case.y.data)
    groups, causal = case.get("kv_heads") or heads, case.get("causal", False)
    return attention_gradients(case.g, kept, heads, groups, causal, noise_of(case))


def noise_of(case: Case) -> Array | None:
    """Return what dropout multiplies the scores by: drawn with the seed of the pass, as PyTorch draws it."""
    if not (p := case.get("dropout", 0)):
        return None
    tokens = [len(case.xs[min(i, len(case.xs) - 1)].data[0]) for i in (0, 1)]
    seed_torch(2)
    return dropout(torch.ones(len(case.x.data), case.get("num_heads"), *tokens).double(), p).numpy()


def trained_attention(name: str, case: Case) -> dict[str, Counted]:
    """Return the output in training."""
    noise = noise_of(case)
    drawn = {} if noise is None else {"drawn": (noise > 0).astype(float)}
    made = OUTPUTS[name](*case.xs, state=case.state, **case.keywords, **drawn)
    return {} if made is None else {"output": made}


def rotary_embedding(case: Case) -> Counted:
    g = case.g.shaped((*case.g.data.shape[:-1], case.get("num_heads"), -1))
    cos, sin = (case.state[name][:, None] for name in ("cos", "sin"))
    return (g * cos + Counted(exchanged((g * sin).data), g.tally)).shaped(case.g.data.shape)


def matmul(case: Case) -> list[Counted]:
    first, second = case.xs
    if case.get("transpose"):
        return [case.g.times(second), turned(case.g).times(first)]
    return [case.g.times(turned(second)), turned(first).times(case.g)]


def projections(case: Case) -> tuple[list[Counted], dict[str, Array]]:
    """Return the gradients of query, key and value, and the input and gradient of each linear layer."""
    free, state, heads, causal = FREE(), case.state, case.get("num_heads"), case.get("causal", False)
    names = ("in_proj_",) if len(case.xs) == 1 else ("q_proj.", "k_proj.", "v_proj.")
    xs = [Counted(case.xs[min(i, len(case.xs) - 1)].data, free) for i in range(len(names))]
    made = [projected(x, state, name).data for x, name in zip(xs, names, strict=True)]
    parts = np.split(made[0], 3, -1) if len(names) == 1 else made
    noise = noise_of(case)
    dropped = {} if noise is None else {"dropout": case.get("dropout"), "drawn": (noise > 0).astype(float)}
    output = attend(*[Counted(part, free) for part in parts], state, heads, causal, **dropped).data
    inner = case.g.times(state["out_proj.weight"])
    grads = attention_gradients(inner, Attended(*parts, output), heads, heads, causal, noise)
    if len(names) == 1:
        grads = [Counted(np.concatenate([grad.data for grad in grads], -1), case.tally)]
    layers = {name: (x.data, grad.data) for name, x, grad in zip(names, xs, grads, strict=True)}
    return grads, layers | {"out_proj.": (output, case.g.data)}


def multihead_attention(case: Case) -> Counted:
    ((packed,), _) = projections(case)
    return packed.times(case.state["in_proj_weight"])


def cross_attention(case: Case) -> list[Counted]:
    grads, _ = projections(case)
    query, key, value = (x.times(case.state[f"{own}_proj.weight"]) for x, own in zip(grads, "qkv", strict=True))
    return [query, key + value]


def projection_weights(case: Case) -> dict[str, Counted]:
    _, layers = projections(case._replace(g=Counted(case.g.data, FREE())))
    made = {}
    for name, arrays in layers.items():
        x, g = (data.reshape(-1, data.shape[-1]) for data in arrays)
        made[f"{name}weight"] = Counted(g.T, case.tally).times(x)
        if case.get("bias", True):
            made[f"{name}bias"] = Counted(g, case.tally).sum(0)
    return made


# attention within windows


class Inside(NamedTuple):
    """Gradients of the linear layers' inputs and outputs, of scores and their biases, and of cosines."""

    layers: dict[str, tuple[Array, Array]]
    scores: Counted
    cosines: Array | None


def inside_windows(case: Case) -> Inside:
    state, heads = without_key_bias(case.state), case.get("num_heads")
    x = case.x.data
    where = {key: case.get(key) for key in ("window_size", "shift", "grid") if key in case.keywords}
    windowed = Windowed(x.shape[1:3], **where)
    rows = windowed.rows(x)
    packed = rows @ state["qkv.weight"].T + state["qkv.bias"]
    q, k, v = (windowed.split(part, heads) for part in np.split(packed, 3, -1))
    lengths = [np.maximum(np.sqrt((part * part).sum(-1, keepdims=True)), 1e-12) for part in (q, k)]
    cosine = "logit_scale" in state
    scale: Any = head_scales(state) if cosine else case.get("scale") or q.shape[-1] ** -0.5
    q, k = (part / length for part, length in zip((q, k), lengths, strict=True)) if cosine else (q, k)
    product = q @ k.swapaxes(-1, -2)
    scores = product * scale + biases(state, windowed.index) + windowed.mask
    powers = np.exp(scores - scores.max(-1, keepdims=True))
    weights = powers / powers.sum(-1, keepdims=True)
    mixed = windowed.join(weights @ v)
    g = Counted(windowed.rows(case.g.data), case.tally)
    inner = Counted(windowed.split(g.times(state["proj.weight"]).data, heads), case.tally)
    of_weights = inner.times(v.swapaxes(-1, -2))
    change = weights * (of_weights - (of_weights * weights).sum(-1))
    turned = Counted(weights.swapaxes(-1, -2), case.tally).times(inner)
    before = change
    if cosine:
        before = change * scale
        of_query, of_key = before.times(k), Counted(before.data.swapaxes(-1, -2), case.tally).times(q)
        pairs = zip((of_query, of_key), (q, k), lengths, strict=True)
        of_query, of_key = ((own - unit * (own * unit).sum(-1)) / length for own, unit, length in pairs)
    else:
        of_query = change.times(k) * scale
        of_key = Counted(change.data.swapaxes(-1, -2), case.tally).times(q * scale)
    grads = np.concatenate([windowed.join(part.data) for part in (of_query, of_key, turned)], -1)
    layers = {"qkv.": (rows, grads), "proj.": (mixed, g.data)}
    return Inside(layers, change, product if cosine else None)


def window_attention(case: Case) -> Counted:
    grads = inside_windows(case).layers["qkv."][1]
    x = Counted(grads, case.tally).times(case.state["qkv.weight"])
    where = {key: case.get(key) for key in ("window_size", "shift", "grid") if key in case.keywords}
    return Counted(Windowed(case.x.data.shape[1:3], **where).image(x.data), case.tally)


def window_weights(case: Case) -> dict[str, Counted]:
    state, index = case.state, Windowed(case.x.data.shape[1:3], case.get("window_size")).index
    layers, change, cosines = inside_windows(case._replace(g=Counted(case.g.data, FREE())))
    change = Counted(change.data, case.tally)
    made: dict[str, Counted] = {}
    for name, (x, g) in layers.items():
        flat = Counted(g.reshape(-1, g.shape[-1]), case.tally)
        made[f"{name}weight"] = Counted(flat.data.T, case.tally).times(x.reshape(-1, x.shape[-1]))
        made[f"{name}bias"] = flat.sum(0)
    of_bias = Counted(change.sum((0, 1)).data[0, 0], case.tally)  # heads × n × n
    if cosines is None:
        return {
            "relative_position_bias_table": gathered(of_bias, index, len(state["relative_position_bias_table"]))
        } | made
    own = np.array(made["qkv.bias"].data).reshape(3, -1) * [[1], [0], [1]]
    made["qkv.bias"] = Counted(own.reshape(-1), case.tally)
    sums = (change * cosines).sum((0, 1, 3, 4))
    capped = (sums * head_scales(state)).chosen(state["logit_scale"] <= np.log(100))
    s = Counted(biases(state, index) / 16, case.tally)
    table = gathered(of_bias * 16 * (1 - s) * s, index, len(hidden_biases(state)))
    hidden = hidden_biases(state)
    back = table.times(state["cpb_mlp.2.weight"]).chosen(hidden > 0)
    coordinates = state["relative_coords_table"].reshape(-1, 2)
    return {"logit_scale": capped} | made | {
        "cpb_mlp.0.weight": Counted(back.data.T, case.tally).times(coordinates),
        "cpb_mlp.0.bias": back.sum(0),
        "cpb_mlp.2.weight": Counted(table.data.T, case.tally).times(hidden),
    }  # fmt: skip


def gathered(x: Counted, index: Array, rows: int) -> Counted:
    """Add the gradients of pairs of positions to those of a table of zeros."""
    made = np.zeros((rows, len(x.data)))
    np.add.at(made, index, np.moveaxis(x.data, 0, -1))
    return x.made("add", made, x.data.size)


def embedding_weights(case: Case) -> dict[str, Counted]:
    made = np.zeros_like(case.state["weight"])
    np.add.at(made, case.x.data, case.g.data)
    case.tally["add"] += case.g.data.size
    if case.get("padding_idx") is not None:
        made[case.get("padding_idx")] = 0
    return {"weight": Counted(made, case.tally)}


def moved(case: Case) -> None:
    """Move values without arithmetic."""


INPUTS: dict[str, Callable[[Case], Counted | list[Counted] | None]] = {
    **ACTIVATIONS, "instancenorm": instancenorm, "channel_layernorm": channel_layernorm, "rmsnorm": rmsnorm,
    "normalize": normalize, "batchnorm": batchnorm, "layernorm": layernorm, "groupnorm": groupnorm, "lrn": lrn,
    "conv": conv_input, "conv_transpose": transposed_input, "linear": linear_input, "rbf": rbf, "maxpool": maxpool,
    "avgpool": avgpool, "subsample": subsample, "adaptive_avgpool": adaptive_avgpool,
    "adaptive_maxpool": adaptive_maxpool, "global_avgpool": adaptive_avgpool, "global_maxpool": adaptive_maxpool,
    "upsample": upsample, **{name: partial(elementwise, name) for name in ELEMENTWISE},
    "mean": lambda case: [case.g / len(case.xs)] * len(case.xs),
    **dict.fromkeys(DROPOUTS, noise), "droppath": noise, "stochastic_depth": noise,
    **{kind: recurrent_input(kind) for kind in CELLS},
    **dict.fromkeys(["window_attention", "cosine_window_attention"], window_attention),
    "matmul": matmul, "rotary_embedding": rotary_embedding,
    "attention": attention, "multihead_attention": multihead_attention, "cross_attention": cross_attention,
    **dict.fromkeys(["embedding", "concat", "input", "identity", "flatten", "channel_shuffle", "pad_shortcut"], moved),
    **dict.fromkeys(["permute", "transpose", "tokens", "reshape", "roll", "slice", "chunk", "crop_like"], moved),
    **dict.fromkeys(["pixel_shuffle", "pixel_unshuffle", "center_crop"], moved), "pad": pad, "repeat": repeat,
}  # fmt: skip
WEIGHTS: dict[str, Callable[[Case], dict[str, Counted]]] = {
    "conv": conv_weights, "conv_transpose": transposed_weights, "linear": linear_weights,
    "batchnorm": batchnorm_weights, "layernorm": layernorm_weights, "groupnorm": groupnorm_weights,
    "subsample": subsample_weights, "prelu": prelu_weights, "embedding": embedding_weights,
    "instancenorm": instancenorm_weights, "rmsnorm": rmsnorm_weights,
    "channel_layernorm": lambda case: layernorm_weights(of_positions(case)),
    **{kind: recurrent_weights(kind) for kind in CELLS},
    **dict.fromkeys(["window_attention", "cosine_window_attention"], window_weights),
    **dict.fromkeys(["multihead_attention", "cross_attention"], projection_weights),
}  # fmt: skip


def trained_batchnorm(case: Case) -> dict[str, Counted]:
    """Return the output in training, and the running averages."""
    rows, affine, momentum = by_channel(case.x), case.get("affine", True), case.get("momentum", 0.1)
    y = standardized(rows, case.get("eps", 1e-5))
    y = y * case.state["weight"][:, None] + case.state["bias"][:, None] if affine else y
    count = rows.data.shape[1]
    made = {"output": images_again(y, case.x)}
    if case.get("track_running_stats", True):
        mean = Counted(rows.data.mean(1), case.tally)  # of the statistics above
        variance = Counted(rows.data.var(1), case.tally) * (count / (count - 1))
        for name, new in ("running_mean", mean), ("running_var", variance):
            made[name] = momentum * new + Counted(case.state[name], case.tally) * (1 - momentum)
    return made


def trained_instancenorm(case: Case) -> dict[str, Counted]:
    """Return the output in training, and the means of the running averages of all images."""
    rows, affine, momentum = by_image(case.x), case.get("affine", False), case.get("momentum", 0.1)
    y, (images, channels, *_) = standardized(rows, case.get("eps", 1e-5)), case.x.data.shape
    if affine:
        y = y * np.tile(case.state["weight"], images)[:, None] + np.tile(case.state["bias"], images)[:, None]
    made = {"output": y.shaped(case.x.data.shape)}
    if case.get("track_running_stats", False):
        count = rows.data.shape[1]
        variance = Counted(rows.data.var(1), case.tally) * (count / (count - 1))
        for name, new in ("running_mean", Counted(rows.data.mean(1), case.tally)), ("running_var", variance):
            old = Counted(np.tile(case.state[name], images), case.tally)
            made[name] = (momentum * new + old * (1 - momentum)).shaped((images, channels)).sum(0) / images
    return made


def trained_channels(case: Case) -> dict[str, Counted]:
    if case.get("p") == 1:
        return {"output": case.x * 0}
    images, channels, *places = case.y.data.shape
    drawn = (case.y.data != 0).reshape(images, channels, -1).any(2)
    return trained_dropout(case, drawn.reshape(images, channels, *[1] * len(places)))


def trained_dropout(case: Case, drawn: Array | None = None) -> dict[str, Counted]:
    """Return the output in training; what was drawn is read from it."""
    p, per_value = case.get("p", 0.5), drawn is None
    if not p:
        return {}
    found = case.y.data != 0 if drawn is None else drawn
    if p == 1 and per_value:
        return {"output": case.x * 0}
    keep: Any = Counted(found.astype(float), case.tally).made("compare", found.astype(float))
    return {"output": case.x * (keep / (1 - p) if p < 1 else keep)}


def trained_droppath(case: Case) -> dict[str, Counted]:
    images = (case.y.data != 0).reshape(len(case.y.data), -1).any(1)
    return trained_dropout(case, images.reshape(-1, *[1] * (case.x.data.ndim - 1)))


def trained_depth(case: Case) -> dict[str, Counted]:
    if not case.get("p"):
        return {}
    found = np.array(case.y.data.any(), dtype=float)
    return {"output": case.x * Counted(found, case.tally).made("compare", found)}


TRAINED: dict[str, Callable[[Case], dict[str, Counted]]] = {
    "batchnorm": trained_batchnorm, "instancenorm": trained_instancenorm,
    **dict.fromkeys(DROPOUTS[1:], trained_channels), "dropout": trained_dropout, "droppath": trained_droppath,
    "stochastic_depth": trained_depth,
    **{name: partial(trained_attention, name) for name in ("attention", "multihead_attention", "cross_attention")},
}  # fmt: skip


def case_of(g: Array, xs: Sequence[Array], y: Array, state: State, keywords: Mapping[str, Any]) -> Case:
    """Collect the arrays of a backward pass, with a new tally."""
    tally: Counter[str] = Counter()
    made, of_output = tuple(Counted(x, tally) for x in xs), Counted(y, tally)
    return Case(Counted(g, tally), made, of_output, state, keywords)
