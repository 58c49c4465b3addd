"""Arithmetic that counts itself: every operator written in single operations, each of which is counted.

`computed` runs an operator at inference on one image. Tests check its values against PyTorch, and its number of
operations against `Operator.work`: a formula that misses a product has other values or another count. Constants that
do not depend on the image are plain numbers and free. This file uses nothing of archcalc.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import reduce
from itertools import product
from typing import Any

import numpy as np
import torch

Array = np.ndarray[Any, Any]
State = Mapping[str, Array]


class Counted:
    """An array of computed values; every operation on it adds one per value of its result to the shared count."""

    __array_ufunc__ = None  # so that this class also does arithmetic with NumPy's arrays

    def __init__(self, data: Array, tally: Counter[str]) -> None:
        self.data, self.tally = data, tally

    def made(self, kind: str, data: Array, count: int | None = None) -> Counted:
        self.tally[kind] += data.size if count is None else count
        return Counted(data, self.tally)

    def __add__(self, other: Any) -> Counted:
        return self.made("add", self.data + plain(other))

    def __sub__(self, other: Any) -> Counted:
        return self.made("add", self.data - plain(other))

    def __mul__(self, other: Any) -> Counted:
        return self.made("mul", self.data * plain(other))

    def __truediv__(self, other: Any) -> Counted:
        return self.made("div", self.data / plain(other))

    def __pow__(self, exponent: float) -> Counted:
        return self.made("pow", self.data**exponent)

    def __neg__(self) -> Counted:
        return Counted(-self.data, self.tally)

    __radd__, __rmul__ = __add__, __mul__

    def __rsub__(self, other: Any) -> Counted:
        return self.made("add", plain(other) - self.data)

    def __rtruediv__(self, other: Any) -> Counted:
        return self.made("div", plain(other) / self.data)

    def __getitem__(self, index: Any) -> Counted:
        return Counted(self.data[index], self.tally)

    def largest(self, other: Any) -> Counted:
        return self.made("compare", np.maximum(self.data, other))

    def smallest(self, other: float) -> Counted:
        return self.made("compare", np.minimum(self.data, other))

    def chosen(self, condition: Array, other: Any = 0) -> Counted:
        """Return these values where a condition holds, and others elsewhere."""
        return self.made("compare", np.where(condition, self.data, plain(other)))

    def exp(self) -> Counted:
        return self.made("exp", np.exp(self.data))

    def log(self) -> Counted:
        return self.made("log", np.log(self.data))

    def tanh(self) -> Counted:
        return self.made("tanh", np.tanh(self.data))

    def erf(self) -> Counted:
        return self.made("erf", torch.erf(torch.from_numpy(np.asarray(self.data))).numpy())

    def sqrt(self) -> Counted:
        return self.made("sqrt", np.sqrt(self.data))

    def sum(self, axis: Any) -> Counted:
        total = self.data.sum(axis, keepdims=True)
        return self.made("add", total, self.data.size - total.size)

    def max(self, axis: Any) -> Counted:
        most = self.data.max(axis, keepdims=True)
        return self.made("compare", most, self.data.size - most.size)

    def padded(self, fill: float, rows: tuple[int, int], columns: tuple[int, int]) -> Counted:
        return Counted(np.pad(self.data, ((0, 0), rows, columns), constant_values=fill), self.tally)

    def times(self, other: Any) -> Counted:
        """Multiply matrices, one by one."""
        return self.made("mac", self.data @ plain(other), self.data.size * plain(other).shape[-1])

    def dot(self, weights: Array) -> float:
        self.tally["mac"] += weights.size
        return float((self.data * weights).sum())

    def shaped(self, shape: Sequence[int]) -> Counted:
        return Counted(self.data.reshape(shape), self.tally)


def plain(value: Any) -> Any:
    return value.data if isinstance(value, Counted) else value


def joined(parts: Sequence[Any], shape: Sequence[int], like: Counted) -> Counted:
    return Counted(np.array([plain(part) for part in parts]).reshape(shape), like.tally)


def pair(value: Any) -> tuple[int, int]:
    return value if isinstance(value, tuple) else (value, value)


def channelwise(weight: Array, rank: int) -> Array:
    return weight.reshape(-1, *[1] * (rank - 1))


# activations, by their formulas

SCALE, ALPHA = 1.0507009873554804934193349852946, 1.6732632423543772848170429916717  # Klambauer et al. 2017


def sigmoid_of(x: Counted) -> Counted:
    return 1 / (1 + (-x).exp())


def halves(x: Counted, axis: int = 0) -> list[Counted]:
    return [Counted(half, x.tally) for half in np.split(x.data, 2, axis)]


ACTIVATIONS: dict[str, Callable[[Counted], Counted]] = {
    "relu": lambda x: x.largest(0),
    "relu6": lambda x: x.largest(0).smallest(6),
    "sigmoid": lambda x: 1 / (1 + (-x).exp()),
    "tanh": lambda x: x.tanh(),
    "selu": lambda x: (SCALE * x).chosen(x.data > 0, (SCALE * ALPHA) * (x.exp() - 1)),
    "mish": lambda x: x * (x.exp() + 1).log().tanh(),
    "exp": lambda x: x.exp(),
    "glu": lambda x: halves(x)[0] * sigmoid_of(halves(x)[1]),
    "swiglu": lambda x: halves(x)[0] * sigmoid_of(halves(x)[0]) * halves(x)[1],
    "silu": lambda x: x * (1 / (1 + (-x).exp())),
    "hardsigmoid": lambda x: (x + 3).largest(0).smallest(6) / 6,
    "hardswish": lambda x: x * ((x + 3).largest(0).smallest(6) / 6),
}


def gelu(x: Counted, state: State, approximate: str = "none") -> Counted:
    """Hendrycks & Gimpel 2016, section 2: exact, and by tanh."""
    if approximate == "none":
        return x * 0.5 * (1 + (x * np.sqrt(0.5)).erf())
    return x * 0.5 * (1 + (np.sqrt(2 / np.pi) * (x + 0.044715 * x * x * x)).tanh())


def scaled_tanh(x: Counted, state: State, amplitude: float = 1.7159, slope: float = 2 / 3) -> Counted:
    return amplitude * (slope * x).tanh()


def leaky_relu(x: Counted, state: State, negative_slope: float = 0.01, inplace: bool = False) -> Counted:
    """max(x, a·x), and min(x, a·x) for a slope a above 1."""
    falls = negative_slope * x
    return x.largest(plain(falls)) if negative_slope <= 1 else x.smallest(plain(falls))


def elu(x: Counted, state: State, alpha: float = 1.0, inplace: bool = False) -> Counted:
    return x.chosen(x.data > 0, alpha * (x.exp() - 1))


def prelu(x: Counted, state: State, num_parameters: int = 1) -> Counted:
    return x.chosen(x.data > 0, x * channelwise(state["weight"], x.data.ndim))


def softplus(x: Counted, state: State, beta: float = 1.0, threshold: float = 20.0) -> Counted:
    scaled = x * beta
    return x.chosen(scaled.data > threshold, (scaled.exp() + 1).log() / beta)


def clamp(x: Counted, state: State, min: float | None = None, max: float | None = None) -> Counted:
    x = x if min is None else x.largest(min)
    return x if max is None else x.smallest(max)


def log_softmax(x: Counted, state: State) -> Counted:
    apart = x - x.max(0)
    return apart - apart.exp().sum(0).log()


def softmax(x: Counted, state: State) -> Counted:
    powers = (x - x.max(0)).exp()
    return powers / powers.sum(0)


# normalizations


def batchnorm(x: Counted, state: State, eps: float = 1e-5, affine: bool = True, **unused: Any) -> Counted:
    scale = 1 / np.sqrt(state["running_var"] + eps) * (state["weight"] if affine else 1)
    shift = (state["bias"] if affine else 0) - scale * state["running_mean"]
    rank = x.data.ndim
    return x * channelwise(scale, rank) + channelwise(shift, rank)


def standardized(x: Counted, eps: float) -> Counted:
    """Normalize each row to mean 0 and variance 1."""
    count = x.data.shape[1]
    centered = x - x.sum(1) / count
    return centered * (1 / ((centered * centered).sum(1) / count + eps).sqrt())


def layernorm(
    x: Counted, state: State, normalized_shape: Any = None, eps: float = 1e-5, elementwise_affine: bool = True,
    bias: bool = True,
) -> Counted:  # fmt: skip
    shape = x.data.shape
    over = shape if normalized_shape is None else normalized_shape
    over = over if isinstance(over, tuple) else (over,)
    y = standardized(x.shaped((-1, int(np.prod(over)))), eps).shaped(shape)
    y = y * state["weight"] if elementwise_affine else y
    return y + state["bias"] if elementwise_affine and bias else y


def groupnorm(x: Counted, state: State, num_groups: int, eps: float = 1e-5, affine: bool = True) -> Counted:
    shape, rank = x.data.shape, x.data.ndim
    y = standardized(x.shaped((num_groups, -1)), eps).shaped(shape)
    return y * channelwise(state["weight"], rank) + channelwise(state["bias"], rank) if affine else y


def instancenorm(
    x: Counted, state: State, eps: float = 1e-5, affine: bool = False, track_running_stats: bool = False, **unused: Any
) -> Counted:
    if track_running_stats:
        return batchnorm(x, state, eps, affine)
    return groupnorm(x, state, len(x.data), eps, affine)


def channel_layernorm(
    x: Counted, state: State, eps: float = 1e-5, elementwise_affine: bool = True, bias: bool = True
) -> Counted:
    rows = Counted(np.moveaxis(x.data, 0, -1), x.tally)
    y = layernorm(rows, state, x.data.shape[:1], eps, elementwise_affine, bias)
    return Counted(np.moveaxis(y.data, -1, 0), x.tally)


def rmsnorm(x: Counted, state: State, eps: float | None = None, elementwise_affine: bool = True) -> Counted:
    least = float(np.finfo(np.float64).eps) if eps is None else eps
    y = x * (1 / ((x * x).sum(0) / len(x.data) + least).sqrt())
    return y * state["weight"] if elementwise_affine else y


def normalize(x: Counted, state: State, eps: float = 1e-12) -> Counted:
    return x / (x * x).sum(0).sqrt().largest(eps)


def lrn(
    x: Counted, state: State, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0
) -> Counted:  # fmt: skip
    squares, places = x * x, [(0, 0)] * (x.data.ndim - 1)
    around = Counted(np.pad(squares.data, [(size // 2, (size - 1) // 2), *places]), x.tally)
    total = reduce(Counted.__add__, [around[i : i + len(x.data)] for i in range(size)])
    return x / (alpha / size * total + k) ** beta


# layers with weights


def conv(
    x: Counted, state: State, out_channels: int, kernel_size: Any, stride: Any = 1, padding: Any = 0,
    dilation: Any = 1, groups: int = 1, bias: bool = True, padding_mode: str = "zeros",
    connections: Sequence[Sequence[int]] | None = None,
) -> Counted:  # fmt: skip
    each = len(x.data) // groups
    kernel, (down, along) = pair(kernel_size), pair(dilation)
    reach = [step * (k - 1) for step, k in zip((down, along), kernel, strict=True)]
    margins = frame(padding, reach, pair(stride), x.data.shape[1:])
    wide = Counted(np.pad(x.data, ((0, 0), *margins), **BORDERS[padding_mode]), x.tally)
    kernels = iter(state["weight"])
    maps = []
    for channel in range(out_channels):
        first = channel // (out_channels // groups) * each
        seen = list(range(first, first + each)) if connections is None else list(connections[channel])
        weight = next(kernels) if connections is None else np.stack([next(kernels) for _ in seen])
        corners = places(wide, reach, pair(stride))
        maps.append([
            wide[seen, row : row + reach[0] + 1 : down, column : column + reach[1] + 1 : along].dot(weight)
            for row, column in corners
        ])  # fmt: skip
    height, width = ((wide.data.shape[i + 1] - reach[i] - 1) // pair(stride)[i] + 1 for i in (0, 1))
    y = joined(maps, (out_channels, height, width), x)
    return y + channelwise(state["bias"], 3) if bias else y


BORDERS: dict[str, dict[str, Any]] = {
    "zeros": {"mode": "constant"}, "reflect": {"mode": "reflect"}, "replicate": {"mode": "edge"},
    "circular": {"mode": "wrap"},
}  # fmt: skip


def frame(padding: Any, reach: Sequence[int], stride: tuple[int, int], lengths: Sequence[int]) -> list[tuple[int, int]]:
    """Return what a convolution pads before and after each axis."""
    if padding == "SAME":
        outputs = [-(-length // step) for length, step in zip(lengths, stride, strict=True)]
        reach = [
            max(0, (count - 1) * step + over + 1 - length)
            for count, step, over, length in zip(outputs, stride, reach, lengths, strict=True)
        ]
    if isinstance(padding, str):
        return [(over // 2, over - over // 2) for over in reach]
    return [margin if isinstance(margin, tuple) else (margin, margin) for margin in pair(padding)]


def places(x: Counted, reach: Sequence[int], stride: tuple[int, int]) -> Iterator[tuple[int, int]]:
    rows, columns = (range(0, x.data.shape[i + 1] - reach[i], stride[i]) for i in (0, 1))
    return product(rows, columns)


def conv_transpose(
    x: Counted, state: State, out_channels: int, kernel_size: Any, stride: Any = 1, padding: Any = 0,
    output_padding: Any = 0, groups: int = 1, bias: bool = True, dilation: Any = 1,
) -> Counted:  # fmt: skip
    """Multiply every input value by every cell of its kernels, and add the products to the output."""
    margin, steps, apart = pair(padding), pair(stride), pair(dilation)
    reach = [step * (k - 1) + 1 for step, k in zip(apart, pair(kernel_size), strict=True)]
    size = [
        (length - 1) * step + over + extra
        for length, step, over, extra in zip(x.data.shape[1:], steps, reach, pair(output_padding), strict=True)
    ]
    y = np.zeros((out_channels, *size))
    each, given = out_channels // groups, len(x.data) // groups
    for channel, row, column in np.ndindex(x.data.shape):
        weight, group, top, left = state["weight"][channel], channel // given, row * steps[0], column * steps[1]
        x.tally["mac"] += weight.size
        target = y[
            group * each : (group + 1) * each, top : top + reach[0] : apart[0], left : left + reach[1] : apart[1]
        ]
        target += x.data[channel, row, column] * weight
    y = y[:, margin[0] : y.shape[1] - margin[0], margin[1] : y.shape[2] - margin[1]]
    made = Counted(y, x.tally)
    return made + channelwise(state["bias"], 3) if bias else made


def linear(x: Counted, state: State, out_features: int, bias: bool = True) -> Counted:
    rows = [[x[place].dot(row) for row in state["weight"]] for place in np.ndindex(x.data.shape[:-1])]
    y = joined(rows, (*x.data.shape[:-1], out_features), x)
    return y + state["bias"] if bias else y


def rbf(x: Counted, state: State, out_features: int) -> Counted:
    apart = x - state["prototypes"]
    return (apart * apart).sum(1).shaped((out_features,))


# pools


def windows(
    x: Counted, fill: float, kernel_size: Any, stride: Any = None, padding: Any = 0, dilation: Any = 1,
    ceil_mode: bool = False,
) -> Counted:  # fmt: skip
    """Return all windows, channels × height × width × cells; fill those that cross the border."""
    kernel, steps, margin = pair(kernel_size), pair(stride or kernel_size), pair(padding)
    lengths, cells = [], []
    for k, step, edge, apart, length in zip(kernel, steps, margin, pair(dilation), x.data.shape[1:], strict=True):
        firsts = [i * step - edge for i in range(length + 2 * edge) if i * step - edge < length + edge]
        over = apart * (k - 1)
        inside = [first for first in firsts if first + over < length + edge]
        more = not inside or inside[-1] + over < length + edge - 1
        late = firsts[len(inside) : len(inside) + 1] if ceil_mode and more else []
        starts = inside + [first for first in late if first < length]
        lengths.append(starts)
        cells.append([range(first + edge, first + edge + over + 1, apart) for first in starts])
    room = [max(max(reach) for reach in ways) + 1 - margin[i] - x.data.shape[i + 1] for i, ways in enumerate(cells)]
    wide = x.padded(fill, (margin[0], max(room[0], 0)), (margin[1], max(room[1], 0)))
    found = [
        wide[:, list(rows)][:, :, list(columns)].data.reshape(len(x.data), -1) for rows, columns in product(*cells)
    ]
    shape = (len(x.data), len(lengths[0]), len(lengths[1]), kernel[0] * kernel[1])
    return Counted(np.stack(found, axis=1).reshape(shape), x.tally)


def maxpool(x: Counted, state: State, **geometry: Any) -> Counted:
    return windows(x, -np.inf, **geometry).max(3)[..., 0]


def avgpool(
    x: Counted, state: State, count_include_pad: bool = True, divisor_override: int | None = None, **geometry: Any
) -> Counted:
    """Pool by averages; the divisor depends only on the geometry, so it is free."""
    ones = np.ones_like(x.data)
    if count_include_pad:
        rows, columns = ((margin, margin) for margin in pair(geometry.get("padding", 0)))
        inside = windows(Counted(ones, Counter()).padded(1, rows, columns), 0, **geometry | {"padding": 0})
    else:
        inside = windows(Counted(ones, Counter()), 0, **geometry)
    return windows(x, 0, **geometry).sum(3)[..., 0] / (divisor_override or inside.data.sum(3))


def subsample(x: Counted, state: State, **geometry: Any) -> Counted:
    return windows(x, 0, **geometry).sum(3)[..., 0] * channelwise(state["weight"], 3) + channelwise(state["bias"], 3)


def cells(x: Counted, target: Any) -> Iterator[Counted]:
    """Return PyTorch's adaptive windows, ⌊i·H/n⌋ to ⌈(i + 1)·H/n⌉."""
    (height, width), (rows, columns) = x.data.shape[1:], pair(target)
    for i, j in product(range(rows), range(columns)):
        across = slice(j * width // columns, -(-(j + 1) * width // columns))
        yield x[:, i * height // rows : -(-(i + 1) * height // rows), across]


def adaptive_avgpool(x: Counted, state: State, output_size: Any) -> Counted:
    parts = [part.sum((1, 2)) / (part.data.size // len(x.data)) for part in cells(x, output_size)]
    return Counted(np.concatenate([part.data for part in parts], 1).reshape(-1, *pair(output_size)), x.tally)


def adaptive_maxpool(x: Counted, state: State, output_size: Any) -> Counted:
    parts = [part.max((1, 2)) for part in cells(x, output_size)]
    return Counted(np.concatenate([part.data for part in parts], 1).reshape(-1, *pair(output_size)), x.tally)


def upsample(
    x: Counted, state: State, size: Any = None, scale_factor: Any = None, mode: str = "nearest",
    align_corners: bool | None = None,
) -> Counted:  # fmt: skip
    """Weight the neighbours along the width first, then along the height."""
    rows, columns = (weights_of(*axis, mode, align_corners) for axis in scales(x.data.shape[1:], size, scale_factor))
    if mode.startswith("nearest"):
        return x[:, rows[0][0]][:, :, columns[0][0]]
    lines = [reduce(Counted.__add__, [x[:, near][:, :, at] * w for at, w in columns]) for near, _ in rows]
    return reduce(Counted.__add__, [line * w[:, None] for line, (_, w) in zip(lines, rows, strict=True)])


def scales(lengths: Sequence[int], size: Any, scale_factor: Any) -> list[tuple[int, int, float]]:
    """Return for each axis both lengths, and how many input positions an output position is."""
    if size:
        return [(n, m, n / m) for n, m in zip(lengths, pair(size), strict=True)]
    return [(n, int(n * by), 1 / by) for n, by in zip(lengths, pair(scale_factor), strict=True)]


def weights_of(length: int, target: int, scale: float, mode: str, aligned: bool | None) -> list[tuple[Array, Array]]:
    """Return for each neighbour its position and weight at each output position."""
    i, last = np.arange(target), length - 1
    if mode.startswith("nearest"):
        middle = 0.5 if mode == "nearest-exact" else 0
        return [(np.minimum(np.floor((i + middle) * scale + 1e-9), last).astype(int), np.ones(target))]
    at = i * (last / (target - 1) if target > 1 else 0) if aligned else (i + 0.5) * scale - 0.5
    at = at if mode == "bicubic" else np.maximum(at, 0)
    first = np.floor(at).astype(int)
    t = at - first
    if mode != "bicubic":
        return [(np.minimum(first + k, last), w) for k, w in enumerate((1 - t, t))]
    return [(np.clip(first + k, 0, last), keys(np.abs(t - k))) for k in (-1, 0, 1, 2)]


def keys(distance: Array) -> Array:
    """Keys 1981, with a = −0.75 as PyTorch."""
    a, d = -0.75, distance
    near, far = ((a + 2) * d - (a + 3)) * d * d + 1, ((a * d - 5 * a) * d + 8 * a) * d - 4 * a
    return np.where(d <= 1, near, far)


# joins, and operators that only move values

ELEMENTWISE: dict[str, Callable[[Counted, Counted], Counted]] = {
    "add": Counted.__add__,
    "subtract": Counted.__sub__,
    "multiply": Counted.__mul__,
    "divide": Counted.__truediv__,
    "maximum": lambda x, y: x.largest(plain(y)),
}


def aligned(xs: Sequence[Counted]) -> list[Counted]:
    """Give vectors beside positions lengths of 1."""
    most = max(x.data.ndim for x in xs)
    return [x.shaped((*x.data.shape, *[1] * (most - x.data.ndim))) for x in xs]


# recurrent layers


def way_of(state: State, name: str) -> tuple[Array, ...]:
    """Return the weights and biases of one layer in one direction, biases None if there are none."""
    return tuple(state.get(f"{kind}_{name}") for kind in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"))


def sigmoid(x: Counted) -> Counted:
    return 1 / (1 + (-x).exp())


def elman_cell(own: Counted, other: Counted, h: Counted, c: Counted) -> tuple[Counted, Counted]:
    return (own + other).tanh(), c


def relu_cell(own: Counted, other: Counted, h: Counted, c: Counted) -> tuple[Counted, Counted]:
    return (own + other).largest(0), c


def lstm_cell(own: Counted, other: Counted, h: Counted, c: Counted) -> tuple[Counted, Counted]:
    i, f, g, o = parts_of(own + other, 4)
    c = sigmoid(f) * c + sigmoid(i) * g.tanh()
    return sigmoid(o) * c.tanh(), c


def gru_cell(own: Counted, other: Counted, h: Counted, c: Counted) -> tuple[Counted, Counted]:
    (r, z, n), (r2, z2, n2) = parts_of(own, 3), parts_of(other, 3)
    n = (n + sigmoid(r + r2) * n2).tanh()
    return n + sigmoid(z + z2) * (h - n), c


def parts_of(x: Counted, count: int) -> list[Counted]:
    return [Counted(part, x.tally) for part in np.split(x.data, count, -1)]


CELLS = {"rnn": elman_cell, "lstm": lstm_cell, "gru": gru_cell}


def directions(state: State) -> list[list[str]]:
    """Return the names of the directions, layer by layer."""
    names = [name.removeprefix("weight_ih_") for name in state if name.startswith("weight_ih_")]
    return [[name for name in names if name.partition("_")[0] == layer] for layer in dict.fromkeys(
        name.partition("_")[0] for name in names
    )]  # fmt: skip


def recurrent(kind: str) -> Callable[..., Counted]:
    def run(x: Counted, state: State, nonlinearity: str = "tanh", **unused: Any) -> Counted:
        own = kind if nonlinearity == "tanh" else nonlinearity
        for names in directions(state):
            made = [backwards(through(own, backwards(x, name), state, name), name) for name in names]
            x = Counted(np.concatenate([way.data for way in made], -1), x.tally)
        return x

    return run


def backwards(x: Counted, name: str) -> Counted:
    return Counted(x.data[..., ::-1, :] if name.endswith("reverse") else x.data, x.tally)


def through(kind: str, x: Counted, state: State, name: str) -> Counted:
    """Return the outputs of one layer in one direction."""
    of_input, of_state, bias, other_bias = way_of(state, name)
    h = c = Counted(np.zeros((*x.data.shape[:-2], of_state.shape[1])), x.tally)
    made = []
    for token in np.moveaxis(x.data, -2, 0):
        own, other = Counted(token, x.tally).times(of_input.T), h.times(of_state.T)
        if bias is not None:
            own, other = own + bias, other + other_bias
        h, c = (CELLS | {"relu": relu_cell})[kind](own, other, h, c)
        made.append(h.data)
    return Counted(np.stack(made, -2), x.tally)


# attention


def by_head(x: Any, count: int, times: int = 1) -> Any:
    """Return (…, tokens, features) as (…, heads, tokens, features of a head), each head several times."""
    data = plain(x)
    data = np.moveaxis(data.reshape(*data.shape[:-1], count, -1), -2, -3).repeat(times, axis=-3)
    return Counted(data, x.tally) if isinstance(x, Counted) else data


def of_heads(x: Counted) -> Counted:
    data = np.moveaxis(x.data, -3, -2)
    return Counted(data.reshape(*data.shape[:-2], -1), x.tally)


def attention(
    query: Counted, key: Counted, value: Counted, state: State, num_heads: int, causal: bool = False,
    kv_heads: int | None = None, dropout: float = 0, drawn: Array | None = None,
) -> Counted:  # fmt: skip
    """Attend; `drawn` says in training which scores dropout keeps."""
    groups = kv_heads or num_heads
    q = by_head(query, num_heads)
    k, v = (by_head(x, groups, num_heads // groups) for x in (key, value))
    scores = q.times(k.data.swapaxes(-1, -2)) * q.data.shape[-1] ** -0.5
    powers = (scores - scores.max(-1)).exp()
    if causal:
        powers = Counted(np.tril(powers.data), powers.tally)
    weights = powers / powers.sum(-1)
    if drawn is not None:
        weights = weights * (query.made("compare", drawn) / (1 - dropout))
    return of_heads(weights.times(v))


def rotary_embedding(x: Counted, state: State, num_heads: int, base: float = 10000.0) -> Counted:
    heads = x.shaped((*x.data.shape[:-1], num_heads, -1))
    cos, sin = (state[name][:, None] for name in ("cos", "sin"))
    return (heads * cos + Counted(exchanged(heads.data), x.tally) * sin).shaped(x.data.shape)


def exchanged(heads: Array) -> Array:
    """Return the second half of each head before the first one."""
    return np.roll(heads, heads.shape[-1] // 2, -1)


def turned(x: Counted) -> Counted:
    """Return the matrices with rows as columns."""
    return Counted(x.data.swapaxes(-1, -2), x.tally)


def matmul(first: Counted, second: Counted, state: State, transpose: bool = False) -> Counted:
    return first.times(turned(second) if transpose else second)


def projected(x: Counted, state: State, name: str) -> Counted:
    """Return a linear layer whose weights have other names."""
    y = x.times(state[f"{name}weight"].T)
    return y + state[f"{name}bias"] if f"{name}bias" in state else y


def multihead_attention(
    x: Counted, state: State, num_heads: int, bias: bool = True, causal: bool = False, **dropped: Any
) -> Counted:
    packed, size = projected(x, state, "in_proj_"), x.data.shape[-1]
    parts = [packed[..., i * size : (i + 1) * size] for i in range(3)]
    return projected(attention(*parts, state, num_heads, causal, **dropped), state, "out_proj.")


def cross_attention(
    query: Counted, memory: Counted, state: State, num_heads: int, bias: bool = True, **dropped: Any
) -> Counted:
    parts = [projected(x, state, f"{own}_proj.") for x, own in ((query, "q"), (memory, "k"), (memory, "v"))]
    return projected(attention(*parts, state, num_heads, **dropped), state, "out_proj.")


# attention within windows


class Windowed:
    """Where the positions of an image are: by window, and the rows of the table of biases for each pair of one."""

    def __init__(self, sizes: Sequence[int], window_size: Any, shift: Any = 0, grid: bool = False) -> None:
        self.sizes, self.window = tuple(sizes), pair(window_size)
        self.grown = [-(-length // size) * size for length, size in zip(sizes, self.window, strict=True)]
        lengths = zip(pair(shift), self.grown, self.window, strict=True)
        self.shift = [s * (length > size) for s, length, size in lengths]
        self.blocks = self._split(np.arange(self.grown[0] * self.grown[1]).reshape(self.grown), grid)
        height, width = self.window
        at = np.indices(self.window).reshape(2, -1)
        apart = at[:, :, None] - at[:, None]
        self.index = (apart[0] + height - 1) * (2 * width - 1) + apart[1] + width - 1
        parts = np.zeros(self.grown, int)
        for axis, s in enumerate(self.shift):
            np.moveaxis(parts, axis, 0)[:s] += 1 + axis
        own = self._split(parts, grid)
        self.mask = -100.0 * (own[:, None, :, None] != own[:, None, None, :])  # windows × 1 × n × n

    def _split(self, image: Array, grid: bool) -> Array:
        """Return the values of each window in a row, of an image that is shifted."""
        image = np.roll(image, [-s for s in self.shift], (0, 1))
        (height, width), (rows, columns) = self.window, np.array(self.grown) // self.window
        if grid:
            return image.reshape(height, rows, width, columns).transpose(1, 3, 0, 2).reshape(rows * columns, -1)
        return image.reshape(rows, height, columns, width).swapaxes(1, 2).reshape(rows * columns, -1)

    def rows(self, x: Array) -> Array:
        """Return (…, positions, features) of an image that is padded with zeros."""
        margins = [(0, grown - length) for grown, length in zip(self.grown, self.sizes, strict=True)]
        x = np.pad(x, [(0, 0)] * (x.ndim - 3) + [*margins, (0, 0)])
        return x.reshape(*x.shape[:-3], -1, x.shape[-1])

    def image(self, rows: Array) -> Array:
        """Return the image without its padding."""
        image = rows.reshape(*rows.shape[:-2], *self.grown, rows.shape[-1])
        return image[..., : self.sizes[0], : self.sizes[1], :]

    def split(self, rows: Array, heads: int) -> Any:
        """Return (…, windows, heads, positions, features of a head)."""
        return by_head(rows[..., self.blocks, :], heads)

    def join(self, parts: Array) -> Array:
        """Return (…, positions, features) of what `split` returns."""
        found = of_heads(Counted(parts, Counter())).data
        rows = np.zeros((*found.shape[:-3], self.blocks.size, found.shape[-1]))
        rows[..., self.blocks.reshape(-1), :] = found.reshape(*found.shape[:-3], -1, found.shape[-1])
        return rows


def biases(state: State, index: Array) -> Array:
    """Return the biases of pairs of positions, (heads, n, n); of Swin V2 a batch makes them once."""
    if "logit_scale" not in state:
        return np.moveaxis(state["relative_position_bias_table"][index], -1, 0)
    return 16 / (1 + np.exp(-np.moveaxis((hidden_biases(state) @ state["cpb_mlp.2.weight"].T)[index], -1, 0)))


def hidden_biases(state: State) -> Array:
    coordinates = state["relative_coords_table"].reshape(-1, 2)
    return np.maximum(coordinates @ state["cpb_mlp.0.weight"].T + state["cpb_mlp.0.bias"], 0)


def head_scales(state: State) -> Array:
    return np.exp(np.minimum(state["logit_scale"], np.log(100)))


def without_key_bias(state: State) -> State:
    """Return the weights as they are used: of Swin V2, keys have no bias."""
    if "logit_scale" not in state:
        return state
    own = state["qkv.bias"].reshape(3, -1) * [[1], [0], [1]]
    return {**state, "qkv.bias": own.reshape(-1)}


def unit(x: Counted) -> Counted:
    return x / (x * x).sum(-1).sqrt().largest(1e-12)


def window_attention(x: Counted, state: State, num_heads: int, scale: float | None = None, **where: Any) -> Counted:
    windowed, state = Windowed(x.data.shape[:2], **where), without_key_bias(state)
    packed = projected(Counted(windowed.rows(x.data), x.tally), state, "qkv.").data
    q, k, v = (Counted(windowed.split(part, num_heads), x.tally) for part in np.split(packed, 3, -1))
    if "logit_scale" in state:
        scores = unit(q).times(unit(k).data.swapaxes(-1, -2)) * head_scales(state)
    else:
        scores = (q * (q.data.shape[-1] ** -0.5 if scale is None else scale)).times(k.data.swapaxes(-1, -2))
    scores = scores + biases(state, windowed.index)
    if any(windowed.shift):
        scores = scores + windowed.mask
    powers = (scores - scores.max(-1)).exp()
    mixed = (powers / powers.sum(-1)).times(v)
    y = projected(Counted(windowed.join(mixed.data), x.tally), state, "proj.")
    return Counted(windowed.image(y.data), x.tally)


def moved(x: Counted, state: State, **unused: Any) -> Counted | None:
    """Move values without arithmetic; `reference_operators.py` checks where they go."""
    return None


DROPOUTS = ("dropout", "dropout1d", "dropout2d", "dropout3d")
FORMULAS: dict[str, Callable[..., Counted | None]] = {
    **{name: lambda x, state, inplace=False, f=f: f(x) for name, f in ACTIVATIONS.items()},
    "gelu": gelu, "scaled_tanh": scaled_tanh, "softmax": softmax, "batchnorm": batchnorm, "layernorm": layernorm,
    "instancenorm": instancenorm, "channel_layernorm": channel_layernorm, "rmsnorm": rmsnorm, "normalize": normalize,
    "groupnorm": groupnorm, "lrn": lrn, "conv": conv, "conv_transpose": conv_transpose, "linear": linear, "rbf": rbf,
    "leaky_relu": leaky_relu, "elu": elu, "prelu": prelu, "softplus": softplus, "clamp": clamp,
    "log_softmax": log_softmax,
    "maxpool": maxpool, "avgpool": avgpool, "subsample": subsample, "adaptive_avgpool": adaptive_avgpool,
    "adaptive_maxpool": adaptive_maxpool, "upsample": upsample,
    "global_avgpool": lambda x, state: adaptive_avgpool(x, state, 1),
    "global_maxpool": lambda x, state: adaptive_maxpool(x, state, 1),
    **{name: lambda *xs, state, f=f: reduce(f, aligned(xs)) for name, f in ELEMENTWISE.items()},
    "mean": lambda *xs, state, p=0: reduce(Counted.__add__, xs) / len(xs),
    "stochastic_depth": lambda x, state, p: x * (1 - p) if p else x,
    **{kind: recurrent(kind) for kind in CELLS},
    "window_attention": window_attention, "cosine_window_attention": window_attention,
    "matmul": matmul, "rotary_embedding": rotary_embedding,
    "attention": attention, "multihead_attention": multihead_attention, "cross_attention": cross_attention,
    **dict.fromkeys(
        ["input", "identity", "flatten", "channel_shuffle", "pad_shortcut", "droppath", "embedding", *DROPOUTS], moved
    ),
    **dict.fromkeys(["permute", "transpose", "tokens", "reshape", "repeat", "roll", "slice", "chunk", "pad"], moved),
    **dict.fromkeys(["pixel_shuffle", "pixel_unshuffle", "center_crop"], moved),
    **dict.fromkeys(["concat", "crop_like"], lambda *xs, state, axis="C": None),
}  # fmt: skip


def computed(
    name: str, keywords: Mapping[str, Any], inputs: Sequence[Array], state: State, joins: bool
) -> tuple[Array | None, Counter[str]]:
    """Return the values for one image, or None without arithmetic, and the number of operations."""
    tally: Counter[str] = Counter()
    xs = [Counted(x, tally) for x in inputs]
    made = FORMULAS[name](*xs, state=state, **keywords)
    return (None if made is None else made.data), +tally
