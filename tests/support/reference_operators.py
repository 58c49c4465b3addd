"""A second implementation of every operator, with PyTorch's functions and plain arithmetic, without archcalc.

`compute` runs an operator as a spec writes it. The defaults are those of PyTorch's documentation, or of the paper for
operators that PyTorch does not have. `test_ops_values.py` checks `archcalc.ops` against these functions one by one,
`test_differential.py` checks whole networks. Random operators draw their numbers in the order of the modules.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import reduce
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812  # PyTorch's own name for it

USUAL = {2: "C", 3: "CL", 4: "CHW", 5: "CDHW"}  # axes by the number of a tensor's dimensions
LAST = {"TC": "TC", "CHW": "HWC", "CDHW": "DHWC"}  # with the channels last


class Run(NamedTuple):
    """Weights and buffers by name, whether the run is in training, and the axes of the (first) input."""

    state: Mapping[str, Tensor]
    training: bool
    axes: str

    @property
    def tokens(self) -> bool:
        return self.axes[0] != "C"

    def dim(self, axis: str) -> int:
        return self.axes.index(axis) + 1

    def __getitem__(self, name: str) -> Tensor:
        return self.state[name]

    def some(self, names: str, wanted: bool) -> list[Tensor | None]:
        return [self.state[name] if wanted else None for name in names.split()]


def compute(
    name: str, keywords: Mapping[str, Any], inputs: Sequence[Tensor], state: Mapping[str, Tensor], training: bool,
    axes: str = "",
) -> Tensor:  # fmt: skip
    """Return the operator's output. In training batch normalization also changes its buffers in `state`."""
    y = REFERENCES[name](Run(state, training, axes or USUAL[inputs[0].dim()]), *inputs, **keywords)
    return y.contiguous()  # random operators draw in memory's order


def axes_after(name: str, keywords: Mapping[str, Any], axes: str) -> str:
    """Return the axes of an operator's output, for an input with these axes."""
    if name == "reshape":
        letters = "".join(axis for axis in ("T", *"CDHWL") if axis in keywords)
        return LAST[letters] if axes[0] != "C" and letters in LAST else letters
    of_name = {"flatten": "C", "tokens": "TC", "transpose": {"CL": "TC"}.get(axes, "CL")}
    return of_name.get(name, keywords["axes"] if name == "permute" else axes)


def of_rank(name: str, x: Tensor) -> Any:
    """Return a function of PyTorch for as many axes as `x` has behind batch and channels: `conv{}d` is conv2d."""
    return getattr(F, name.format(x.dim() - 2))


def conv(
    run: Run, x: Tensor, out_channels: int, kernel_size: Any, stride: Any = 1, padding: Any = 0, dilation: Any = 1,
    groups: int = 1, bias: bool = True, padding_mode: str = "zeros",
    connections: Sequence[Sequence[int]] | None = None,
) -> Tensor:  # fmt: skip
    weight = run["weight"]
    if padding_mode != "zeros" or not isinstance(padding, int):
        around = conv_frame(x.shape[2:], weight.shape[2 - x.dim() :], stride, padding, dilation)
        x, padding = framed(x, around, "constant" if padding_mode == "zeros" else padding_mode), 0
    if connections is not None:  # LeCun et al. 1998, Table I: one kernel per pair of channels in the table
        kernels, weight = iter(weight), weight.new_zeros(out_channels, x.shape[1], *weight.shape[1:])
        for row, channels in enumerate(connections):
            for channel in channels:
                weight[row, channel] = next(kernels)
    return of_rank("conv{}d", x)(x, weight, *run.some("bias", bias), stride, padding, dilation, groups)


def conv_frame(lengths: Any, kernel: Any, stride: Any, padding: Any, dilation: Any) -> list[tuple[int, int]]:
    """Return the padding before and after each axis."""
    axes = range(len(lengths))
    stride, dilation = ([value] * len(lengths) if isinstance(value, int) else value for value in (stride, dilation))
    if not isinstance(padding, str):
        margins = [padding] * len(lengths) if isinstance(padding, int) else padding
        return [margin if isinstance(margin, tuple) else (margin, margin) for margin in margins]
    frame = []
    for axis in axes:
        more = dilation[axis] * (kernel[axis] - 1)
        if padding == "SAME":  # tensorflow.org/api_docs/python/tf/nn: notes on padding
            rest = lengths[axis] % stride[axis]
            more = max(more + 1 - (rest or stride[axis]), 0)
        frame.append((more, 0) if padding == "causal" else (more // 2, more - more // 2))
    return frame


def framed(x: Tensor, pairs: Sequence[tuple[int, int]], mode: str, value: float = 0) -> Tensor:
    margins = [margin for pair in reversed(pairs) for margin in pair]
    return F.pad(x, margins, mode, value) if mode == "constant" else F.pad(x, margins, mode)


def conv_transpose(
    run: Run, x: Tensor, out_channels: int, kernel_size: Any, stride: Any = 1, padding: Any = 0,
    output_padding: Any = 0, groups: int = 1, bias: bool = True, dilation: Any = 1,
) -> Tensor:  # fmt: skip
    offset = run.some("bias", bias)
    geometry = stride, padding, output_padding, groups, dilation
    return of_rank("conv_transpose{}d", x)(x, run["weight"], *offset, *geometry)


def linear(run: Run, x: Tensor, out_features: int, bias: bool = True) -> Tensor:
    return F.linear(x, run["weight"], *run.some("bias", bias))


def rbf(run: Run, x: Tensor, out_features: int) -> Tensor:
    """LeCun et al. 1998, equation 7."""
    distances = [(x - run["prototypes"][row]) ** 2 for row in range(out_features)]
    return torch.stack(distances, dim=1).sum(dim=2)


def batchnorm(
    run: Run, x: Tensor, eps: float = 1e-5, momentum: float = 0.1, affine: bool = True, track_running_stats: bool = True
) -> Tensor:
    statistics = run.some("running_mean running_var", track_running_stats)
    if run.training and track_running_stats:
        run["num_batches_tracked"].add_(1)
    by_batch = run.training or not track_running_stats
    return F.batch_norm(x, *statistics, *run.some("weight bias", affine), by_batch, momentum, eps)


def layernorm(
    run: Run, x: Tensor, normalized_shape: Any = None, eps: float = 1e-5, elementwise_affine: bool = True,
    bias: bool = True,
) -> Tensor:  # fmt: skip
    over = normalized_shape or (x.shape[-1:] if run.tokens else x.shape[1:])
    scale, shift = run.some("weight", elementwise_affine), run.some("bias", elementwise_affine and bias)
    return F.layer_norm(x, over if isinstance(over, tuple) else (over,), *scale, *shift, eps)


def groupnorm(run: Run, x: Tensor, num_groups: int, eps: float = 1e-5, affine: bool = True) -> Tensor:
    return F.group_norm(x, num_groups, *run.some("weight bias", affine), eps)


def lrn(run: Run, x: Tensor, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0) -> Tensor:
    return F.local_response_norm(x, size, alpha, beta, k)


def scaled_tanh(run: Run, x: Tensor, amplitude: float = 1.7159, slope: float = 2 / 3) -> Tensor:
    """LeCun et al. 1998, equation 6 and Appendix A."""
    return torch.tanh(x * slope) * amplitude


def maxpool(
    run: Run, x: Tensor, kernel_size: Any, stride: Any = None, padding: Any = 0, dilation: Any = 1,
    ceil_mode: bool = False,
) -> Tensor:  # fmt: skip
    return of_rank("max_pool{}d", x)(x, kernel_size, stride, padding, dilation, ceil_mode)


def avgpool(
    run: Run, x: Tensor, kernel_size: Any, stride: Any = None, padding: Any = 0, ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> Tensor:  # fmt: skip
    return of_rank("avg_pool{}d", x)(x, kernel_size, stride, padding, ceil_mode, count_include_pad)


def subsample(
    run: Run, x: Tensor, kernel_size: Any, stride: Any = None, padding: Any = 0, ceil_mode: bool = False
) -> Tensor:
    """LeCun et al. 1998, II-B: add the inputs of a unit, multiply by a coefficient, and add a bias."""
    total = F.avg_pool2d(x, kernel_size, stride, padding, ceil_mode, divisor_override=1)
    return total * run["weight"].view(1, -1, 1, 1) + run["bias"].view(1, -1, 1, 1)


def upsample(
    run: Run, x: Tensor, size: Any = None, scale_factor: Any = None, mode: str = "nearest",
    align_corners: bool | None = None,
) -> Tensor:  # fmt: skip
    return F.interpolate(x, size, scale_factor, mode, align_corners)


def reshape(run: Run, x: Tensor, **sizes: int) -> Tensor:
    return x.reshape(len(x), *[sizes[axis] for axis in axes_after("reshape", sizes, run.axes)])


def repeat(run: Run, x: Tensor, **counts: int) -> Tensor:
    for axis, count in counts.items():
        x = torch.cat([x] * count, run.dim(axis))
    return x


def roll(run: Run, x: Tensor, shifts: Any) -> Tensor:
    dims = [run.dim(axis) for axis in run.axes if axis != "C"]
    for dim, shift in zip(dims, [shifts] * len(dims) if isinstance(shifts, int) else shifts, strict=True):
        size = x.shape[dim]
        x = x.index_select(dim, torch.tensor([(place - shift) % size for place in range(size)]))
    return x


def pixel_shuffle(run: Run, x: Tensor, upscale_factor: int) -> Tensor:
    """Shi et al. 2016, equation 4."""
    r = upscale_factor
    y = x.new_zeros(len(x), x.shape[1] // r**2, x.shape[2] * r, x.shape[3] * r)
    for i in range(r):
        for j in range(r):
            y[:, :, i::r, j::r] = x[:, i * r + j :: r**2]
    return y


def pixel_unshuffle(run: Run, x: Tensor, downscale_factor: int) -> Tensor:
    r = downscale_factor
    return torch.stack([x[:, :, i::r, j::r] for i in range(r) for j in range(r)], dim=2).flatten(1, 2)


def some_places(run: Run, x: Tensor, start: Any, stop: Any, step: int = 1, axis: str = "C") -> Tensor:
    places = list(range(x.shape[run.dim(axis)]))[start:stop:step]
    return x.index_select(run.dim(axis), torch.tensor(places))


def center_crop(run: Run, x: Tensor, size: Any) -> Tensor:
    for axis, length in zip([axis for axis in run.axes if axis != "C"], numbers(run, size), strict=True):
        more = x.shape[run.dim(axis)] - length
        x = x.narrow(run.dim(axis), more // 2, length)
    return x


def numbers(run: Run, value: Any) -> list[Any]:
    """Return a value for each length; one stands for all."""
    return list(value) if isinstance(value, tuple) else [value] * (len(run.axes) - 1)


def crop_like(run: Run, x: Tensor, like: Tensor) -> Tensor:
    return center_crop(run, x, tuple(like.shape[run.dim(axis)] for axis in run.axes if axis != "C"))


def pad(run: Run, x: Tensor, padding: Any, mode: str = "constant", value: float = 0) -> Tensor:
    pairs = [margin if isinstance(margin, tuple) else (margin, margin) for margin in numbers(run, padding)]
    pairs = pairs * (len(run.axes) - 1) if len(pairs) < len(run.axes) - 1 else pairs
    return framed(x, [*pairs, (0, 0)] if run.tokens else pairs, mode, value)


def mean(run: Run, *xs: Tensor, p: float = 0) -> Tensor:
    """Larsson et al. 2016, section 3: a join drops each input with probability p, but at least one survives."""
    if run.training and p:
        survivor = torch.randint(len(xs), ())
        xs = tuple(x for i, x in enumerate(xs) if i == survivor or torch.rand(()) >= p)
    return reduce(torch.add, xs) / len(xs)


def channel_shuffle(run: Run, x: Tensor, groups: int) -> Tensor:
    """Zhang et al. 2017, figure 1: first channel of every group, then the second of every group, …"""
    each = x.shape[1] // groups
    return x[:, [group * each + channel for channel in range(each) for group in range(groups)]]


def pad_shortcut(run: Run, x: Tensor, out_channels: int, stride: Any = 1) -> Tensor:
    """He et al. 2015, 4.2, option A. The paper does not say where the zeros are: half of them are first, rounded."""
    down, along = stride if isinstance(stride, tuple) else (stride, stride)
    x = x[:, :, ::down, ::along]
    missing = out_channels - x.shape[1]
    first, last = (x.new_zeros(len(x), count, *x.shape[2:]) for count in (missing // 2, missing - missing // 2))
    return torch.cat([first, x, last], dim=1)


def dropout(run: Run, x: Tensor, p: float = 0.5, inplace: bool = False) -> Tensor:
    return F.dropout(x, p, run.training)


def droppath(run: Run, x: Tensor, p: float) -> Tensor:
    """Larsson et al. 2016 for a single branch, image by image, and scaled as dropout is."""
    if not run.training or p == 0:
        return x
    stays = torch.empty([len(x)] + [1] * (x.dim() - 1), dtype=x.dtype).bernoulli_(1 - p)
    return x * (stays / (1 - p)) if p < 1 else x * 0


def stochastic_depth(run: Run, x: Tensor, p: float) -> Tensor:
    """Huang et al. 2016, equations 2 and 5."""
    if p == 0:
        return x
    return x * float(torch.rand(()) >= p) if run.training else x * (1 - p)


def activation(function: Callable[[Tensor], Tensor]) -> Callable[..., Tensor]:
    """Apply a function to each value; `inplace` changes where the results are, not their values."""
    return lambda run, x, inplace=False: function(x)


def leaky_relu(run: Run, x: Tensor, negative_slope: float = 0.01, inplace: bool = False) -> Tensor:
    """Maas et al. 2013, section 2."""
    return torch.where(x > 0, x, negative_slope * x)


def unchanged(run: Run, x: Tensor, **keywords: Any) -> Tensor:
    return x


REFERENCES: dict[str, Callable[..., Tensor]] = {
    "conv": conv,
    "conv_transpose": conv_transpose,
    "linear": linear,
    "rbf": rbf,
    "batchnorm": batchnorm,
    "layernorm": layernorm,
    "groupnorm": groupnorm,
    "lrn": lrn,
    "relu": activation(F.relu),
    "relu6": activation(F.relu6),
    "leaky_relu": leaky_relu,
    "sigmoid": activation(torch.sigmoid),
    "tanh": activation(torch.tanh),
    "scaled_tanh": scaled_tanh,
    "silu": activation(F.silu),
    "hardsigmoid": activation(F.hardsigmoid),
    "hardswish": activation(F.hardswish),
    "gelu": lambda run, x, approximate="none": F.gelu(x, approximate=approximate),
    "softmax": lambda run, x: x.softmax(-1 if run.tokens else 1),
    "maxpool": maxpool,
    "avgpool": avgpool,
    "subsample": subsample,
    "adaptive_avgpool": lambda run, x, output_size: of_rank("adaptive_avg_pool{}d", x)(x, output_size),
    "adaptive_maxpool": lambda run, x, output_size: of_rank("adaptive_max_pool{}d", x)(x, output_size),
    "global_avgpool": lambda run, x: of_rank("adaptive_avg_pool{}d", x)(x, 1),
    "global_maxpool": lambda run, x: of_rank("adaptive_max_pool{}d", x)(x, 1),
    "upsample": upsample,
    "add": lambda run, *xs: reduce(torch.add, xs),
    "multiply": lambda run, *xs: reduce(torch.mul, xs),
    "mean": mean,
    "concat": lambda run, *xs, axis="C": torch.cat(xs, dim=run.dim(axis)),
    "input": unchanged,
    "identity": unchanged,
    "flatten": lambda run, x: x.flatten(1),
    "channel_shuffle": channel_shuffle,
    "pad_shortcut": pad_shortcut,
    "dropout": dropout,
    "droppath": droppath,
    "stochastic_depth": stochastic_depth,
    "permute": lambda run, x, axes: x.permute(0, *[run.dim(axis) for axis in axes]),
    "transpose": lambda run, x: x.transpose(1, 2),
    "tokens": lambda run, x: x.flatten(1, -2) if run.tokens else x.flatten(2).transpose(1, 2),
    "reshape": reshape,
    "repeat": repeat,
    "roll": roll,
    "pixel_shuffle": pixel_shuffle,
    "pixel_unshuffle": pixel_unshuffle,
    "slice": some_places,
    "chunk": lambda run, x, chunks, index, axis="C": x.chunk(chunks, run.dim(axis))[index],
    "center_crop": center_crop,
    "crop_like": crop_like,
    "pad": pad,
}
