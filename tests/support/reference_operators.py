"""A second implementation of every operator, with PyTorch's functions and plain arithmetic, without archcalc.

`compute` runs an operator as a spec writes it. The defaults are those of PyTorch's documentation, or of the paper for
operators that PyTorch does not have. `test_ops_values.py` checks `archcalc.ops` against these functions one by one,
`test_differential.py` checks whole networks. Random operators draw their numbers in the order of the modules.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial, reduce
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.func import functional_call
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
    axes = axes or (USUAL[inputs[0].dim()] if inputs else own_axes(keywords))
    y = REFERENCES[name](Run(state, training, axes), *inputs, **keywords)
    return y.contiguous()  # random operators draw in memory's order


def axes_after(name: str, keywords: Mapping[str, Any], axes: str) -> str:
    """Return the axes of an operator's output, for an input with these axes."""
    if name == "reshape":
        letters = "".join(axis for axis in ("T", *"CDHWL") if axis in keywords)
        return LAST[letters] if axes[0] != "C" and letters in LAST else letters
    of_name = {"flatten": "C", "tokens": "TC", "embedding": "TC", "transpose": {"CL": "TC"}.get(axes, "CL")}
    return of_name.get(name, keywords["axes"] if name == "permute" else axes)


def own_axes(keywords: Mapping[str, Any]) -> str:
    """Return the axes of a tensor without an input: those of its sizes by name, or of a list of sizes."""
    letters = "".join(axis for axis in "TCDHWL" if axis in keywords)
    return letters or USUAL[len(keywords["sizes"]) + 1]


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


def instancenorm(
    run: Run, x: Tensor, eps: float = 1e-5, momentum: float = 0.1, affine: bool = False,
    track_running_stats: bool = False,
) -> Tensor:  # fmt: skip
    statistics, by_image = run.some("running_mean running_var", track_running_stats), run.training
    weights = run.some("weight bias", affine)
    return F.instance_norm(x, *statistics, *weights, by_image or not track_running_stats, momentum, eps)


def channel_layernorm(
    run: Run, x: Tensor, eps: float = 1e-5, elementwise_affine: bool = True, bias: bool = True
) -> Tensor:
    scale, shift = run.some("weight", elementwise_affine), run.some("bias", elementwise_affine and bias)
    made = F.layer_norm(x.movedim(1, -1), x.shape[1:2], *scale, *shift, eps)
    return made.movedim(-1, 1).clone(memory_format=torch.contiguous_format)


def rmsnorm(run: Run, x: Tensor, eps: float | None = None, elementwise_affine: bool = True) -> Tensor:
    """Zhang & Sennrich 2019, equation 4; `test_ops_values.py` compares it with `torch.nn.functional.rms_norm`."""
    root = (x.square().mean(-1, keepdim=True) + (torch.finfo(x.dtype).eps if eps is None else eps)).rsqrt()
    return x * root * run["weight"] if elementwise_affine else x * root


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
    count_include_pad: bool = True, divisor_override: int | None = None,
) -> Tensor:  # fmt: skip
    more = () if divisor_override is None else (divisor_override,)
    return of_rank("avg_pool{}d", x)(x, kernel_size, stride, padding, ceil_mode, count_include_pad, *more)


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


def concat(run: Run, *xs: Tensor, axis: str = "C") -> Tensor:
    """A learned tensor is the same for all images."""
    batch = max(map(len, xs))
    return torch.cat([x.expand(batch, *x.shape[1:]) for x in xs], run.dim(axis))


def learned(run: Run, value: float = 0, **sizes: Any) -> Tensor:
    """A tensor without an input; its values are what the run gives."""
    (tensor,) = run.state.values()
    return tensor


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


def elementwise(function: Callable[[Tensor, Tensor], Tensor]) -> Callable[..., Tensor]:
    """Apply a function to the inputs from left to right; give vectors beside positions a length of 1 for each axis."""

    def compute(run: Run, *xs: Tensor, inplace: bool = False) -> Tensor:
        most = max(x.dim() for x in xs)
        ones = [None] * (most - 2)
        places = (slice(None), *ones) if run.tokens else (..., *ones)
        return reduce(function, [x[places] if x.dim() < most else x for x in xs])

    return compute


def recurrent(cell: Callable[..., tuple[Tensor, ...]]) -> Callable[..., Tensor]:
    """Run a cell, which maps both products with weights and the state to the next state, token by token."""

    def run_all(
        run: Run, x: Tensor, hidden_size: int, num_layers: int = 1, bias: bool = True, bidirectional: bool = False,
        **of_cell: str,
    ) -> Tensor:  # fmt: skip
        for layer in range(num_layers):
            ways = [way(run, x, hidden_size, f"l{layer}", bias, **of_cell)]
            if bidirectional:
                ways.append(way(run, x.flip(1), hidden_size, f"l{layer}_reverse", bias, **of_cell).flip(1))
            x = torch.cat(ways, -1)
        return x

    def way(run: Run, x: Tensor, size: int, name: str, bias: bool, **of_cell: str) -> Tensor:
        zeros = x.new_zeros(len(x), size)
        state, made = (zeros, zeros), []
        for token in x.unbind(1):
            inputs = F.linear(token, run[f"weight_ih_{name}"], *run.some(f"bias_ih_{name}", bias))
            hidden = F.linear(state[0], run[f"weight_hh_{name}"], *run.some(f"bias_hh_{name}", bias))
            state = cell(inputs, hidden, *state, **of_cell)
            made.append(state[0])
        return torch.stack(made, 1)

    return run_all


def elman(inputs: Tensor, hidden: Tensor, h: Tensor, c: Tensor, nonlinearity: str = "tanh") -> tuple[Tensor, ...]:
    return getattr(torch, nonlinearity)(inputs + hidden), c


def lstm(inputs: Tensor, hidden: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, ...]:
    """Gers et al. 2000, without peepholes."""
    i, f, g, o = (inputs + hidden).chunk(4, -1)
    c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
    return torch.sigmoid(o) * torch.tanh(c), c


def gru(inputs: Tensor, hidden: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, ...]:
    """Cho et al. 2014, equations 5 to 8, with the reset gate after the product, as in PyTorch."""
    own, others = inputs.chunk(3, -1), hidden.chunk(3, -1)
    r, z = (torch.sigmoid(a + b) for a, b in zip(own[:2], others[:2], strict=True))
    return (1 - z) * torch.tanh(own[2] + r * others[2]) + z * h, c


def window_attention(
    run: Run, x: Tensor, window_size: Any, num_heads: int, shift: Any = 0, grid: bool = False,
    scale: float | None = None, cosine: bool = False,
) -> Tensor:  # fmt: skip
    """Liu et al. 2021, section 3.2, as attention of all positions to all, of which most have no weight.

    The shift is cyclic; what it brings together has a score 100 lower, as in Swin's code.
    """
    (height, width, features), window, moved = x.shape[1:], pair(window_size), pair(shift)
    sizes = [-(-length // size) * size for length, size in zip((height, width), window, strict=True)]
    moved = [s * (length > size) for s, length, size in zip(moved, sizes, window, strict=True)]
    own, places, regions = [], [], []
    for length, size, s in zip(sizes, window, moved, strict=True):
        at = (torch.arange(length) - s) % length
        own.append(at % (length // size) if grid else at // size)
        places.append(at // (length // size) if grid else at % size)
        regions.append((at >= length - size) * 1 + (at >= length - s) * 1 if s else at * 0)
    owns, at, parts = (torch.cartesian_prod(*both) for both in (own, places, regions))
    apart = at[:, None] - at + torch.tensor(window) - 1
    x = F.pad(x, (0, 0, 0, sizes[1] - width, 0, sizes[0] - height)).flatten(1, 2)
    bias = run["qkv.bias"].clone()
    if cosine:
        bias[features : 2 * features] = 0
    packed = F.linear(x, run["qkv.weight"], bias).chunk(3, -1)
    q, k, v = (part.unflatten(-1, (num_heads, -1)).transpose(1, 2) for part in packed)
    if cosine:
        scores = F.cosine_similarity(q[..., :, None, :], k[..., None, :, :], -1, 1e-12)
        scores = scores * run["logit_scale"].clamp(max=math.log(100)).exp()
        hidden = F.linear(run["relative_coords_table"], run["cpb_mlp.0.weight"], run["cpb_mlp.0.bias"]).relu()
        table = 16 * torch.sigmoid(F.linear(hidden, run["cpb_mlp.2.weight"]).flatten(0, 2))
    else:
        scores = q @ k.transpose(2, 3) * (q.shape[-1] ** -0.5 if scale is None else scale)
        table = run["relative_position_bias_table"]
    scores = scores + table[apart[..., 0] * (2 * window[1] - 1) + apart[..., 1]].permute(2, 0, 1)
    scores = scores - 100.0 * (parts[:, None] != parts).any(-1)
    scores = scores.masked_fill((owns[:, None] != owns).any(-1), -math.inf)
    mixed = (scores.softmax(-1) @ v).transpose(1, 2).flatten(2)
    y = F.linear(mixed, run["proj.weight"], run["proj.bias"])
    return y.unflatten(1, sizes)[:, :height, :width]


def pair(value: Any) -> Any:
    return value if isinstance(value, tuple) else (value, value)


def attention(
    run: Run, query: Tensor, key: Tensor, value: Tensor, num_heads: int, causal: bool = False,
    kv_heads: int | None = None, dropout: float = 0,
) -> Tensor:  # fmt: skip
    """Vaswani et al. 2017, equation 1, head by head; Ainslie et al. 2023, figure 2, for shared keys and values."""
    groups, size = kv_heads or num_heads, query.shape[-1] // num_heads
    made, sizes = [], (len(query), num_heads, query.shape[1], key.shape[1])
    drawn = F.dropout(torch.ones(sizes, dtype=query.dtype), dropout, run.training)
    for head in range(num_heads):
        own, shared = (slice(i * size, (i + 1) * size) for i in (head, head * groups // num_heads))
        scores = query[..., own] @ key[..., shared].transpose(1, 2) / math.sqrt(size)
        if causal:
            scores = scores.masked_fill(torch.ones(scores.shape[1:]).triu(1).bool(), -math.inf)
        made.append(drawn[:, head] * scores.softmax(-1) @ value[..., shared])
    return torch.cat(made, -1)


def rotary_embedding(run: Run, x: Tensor, num_heads: int, base: float = 10000.0) -> Tensor:
    """Su et al. 2021, equation 15, as products of complex numbers; pairs are a head's halves, as in Llama."""
    first, second = x.unflatten(-1, (num_heads, 2, -1)).unbind(-2)
    count = first.shape[-1]
    angles = torch.arange(x.shape[1])[:, None] / base ** (torch.arange(count) / count)  # in float32, as the tables
    turned = torch.complex(first, second) * torch.complex(angles.cos(), angles.sin())[:, None]
    return torch.cat((turned.real, turned.imag), -1).flatten(2)


def matmul(run: Run, first: Tensor, second: Tensor, transpose: bool = False) -> Tensor:
    return torch.einsum("...ij,...kj->...ik" if transpose else "...ij,...jk->...ik", first, second)


def multihead_attention(
    run: Run, x: Tensor, num_heads: int, bias: bool = True, causal: bool = False, dropout: float = 0
) -> Tensor:
    mask = torch.ones(x.shape[1], x.shape[1]).triu(1).bool() if causal else None
    return projected(run.state, (x, x, x), num_heads, bias, dropout * run.training, mask)


def cross_attention(
    run: Run, query: Tensor, memory: Tensor, num_heads: int, bias: bool = True, dropout: float = 0
) -> Tensor:
    names = "q_proj", "k_proj", "v_proj"
    state = {f"{name}_weight": run[f"{name}.weight"] for name in names}
    if query.shape[-1] == memory.shape[-1]:
        state = {"in_proj_weight": torch.cat([*state.values()])}
    state |= {"in_proj_bias": torch.cat([run[f"{name}.bias"] for name in names])} if bias else {}
    state |= {name: tensor for name, tensor in run.state.items() if name.startswith("out_proj")}
    return projected(state, (query, memory, memory), num_heads, bias, dropout * run.training)


def projected(
    state: Mapping[str, Tensor],
    inputs: tuple[Tensor, ...],
    heads: int,
    bias: bool,
    dropout: float,
    mask: Tensor | None = None,
) -> Tensor:
    """Return what PyTorch's multi-head attention computes with these weights."""
    features, others = (inputs[i].shape[-1] for i in (0, 1))
    options = {"batch_first": True, "device": "meta", "dtype": inputs[0].dtype}
    with torch.random.fork_rng(devices=[]):  # it draws weights that are not used
        made = nn.MultiheadAttention(features, heads, dropout, bias=bias, kdim=others, vdim=others, **options)
    run: Tensor = functional_call(made, dict(state), inputs, {"attn_mask": mask, "need_weights": False})[0]
    return run.contiguous()  # noise is drawn in the order of the memory


def activation(function: Callable[[Tensor], Tensor]) -> Callable[..., Tensor]:
    """Apply a function to each value; `inplace` changes where the results are, not their values."""
    return lambda run, x, inplace=False: function(x)


def leaky_relu(run: Run, x: Tensor, negative_slope: float = 0.01, inplace: bool = False) -> Tensor:
    """Maas et al. 2013, section 2."""
    return torch.where(x > 0, x, negative_slope * x)


def swiglu(run: Run, x: Tensor) -> Tensor:
    """Shazeer 2020, equation 6, without its weights."""
    half = x.shape[-1 if run.tokens else 1] // 2
    a, b = (x[..., :half], x[..., half:]) if run.tokens else (x[:, :half], x[:, half:])
    return F.silu(a) * b


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
    "instancenorm": instancenorm,
    "channel_layernorm": channel_layernorm,
    "rmsnorm": rmsnorm,
    "normalize": lambda run, x, eps=1e-12: F.normalize(x, dim=-1 if run.tokens else 1, eps=eps),
    "lrn": lrn,
    "relu": activation(F.relu),
    "relu6": activation(F.relu6),
    "leaky_relu": leaky_relu,
    "elu": lambda run, x, alpha=1.0, inplace=False: F.elu(x, alpha),
    "selu": activation(F.selu),
    "prelu": lambda run, x, num_parameters=1: F.prelu(x, run["weight"]),
    "mish": activation(F.mish),
    "softplus": lambda run, x, beta=1.0, threshold=20.0: F.softplus(x, beta, threshold),
    "exp": activation(torch.exp),
    "clamp": lambda run, x, **bounds: torch.clamp(x, **bounds),
    "log_softmax": lambda run, x: x.log_softmax(-1 if run.tokens else 1),
    "glu": lambda run, x: F.glu(x, -1 if run.tokens else 1),
    "swiglu": swiglu,
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
    "add": elementwise(torch.add),
    "subtract": elementwise(torch.sub),
    "multiply": elementwise(torch.mul),
    "divide": elementwise(torch.div),
    "maximum": elementwise(torch.maximum),
    "mean": mean,
    "concat": concat,
    "parameter": learned,
    "constant": learned,
    "embedding": lambda run, x, num_embeddings, embedding_dim, padding_idx=None: run["weight"][x],
    "window_attention": window_attention,
    "cosine_window_attention": partial(window_attention, cosine=True),
    "rnn": recurrent(elman),
    "lstm": recurrent(lstm),
    "gru": recurrent(gru),
    "matmul": matmul,
    "rotary_embedding": rotary_embedding,
    "attention": attention,
    "multihead_attention": multihead_attention,
    "cross_attention": cross_attention,
    "input": unchanged,
    "identity": unchanged,
    "flatten": lambda run, x: x.flatten(1),
    "channel_shuffle": channel_shuffle,
    "pad_shortcut": pad_shortcut,
    "dropout": dropout,
    "dropout1d": lambda run, x, p=0.5, inplace=False: F.dropout1d(x, p, run.training),
    "dropout2d": lambda run, x, p=0.5, inplace=False: F.dropout2d(x, p, run.training),
    "dropout3d": lambda run, x, p=0.5, inplace=False: F.dropout3d(x, p, run.training),
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
