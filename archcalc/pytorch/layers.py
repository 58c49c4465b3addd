"""Modules that PyTorch does not have; the PyTorch texts of operators use them."""

# mypy: allow-subclassing-any
# The type check needs no torch, so nn.Module is Any there.

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import reduce

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  # PyTorch's own name for it

Pair = int | tuple[int, int]  # one number for both, or height and width


class TableConv2d(nn.Module):
    """Convolution by a connection table: `connections[o]` lists the input channels that output channel o reads."""

    def __init__(
        self,
        in_channels: int,
        connections: Sequence[Sequence[int]],
        kernel_size: Pair,
        stride: Pair = 1,
        padding: Pair | str = 0,
        dilation: Pair = 1,
        bias: bool = True,
    ) -> None:
        super().__init__()
        kernel = kernel_size if isinstance(kernel_size, tuple) else (kernel_size, kernel_size)
        self.shape = (len(connections), in_channels, *kernel)
        self.geometry = (stride, padding, dilation)
        self.links = [row * in_channels + channel for row, seen in enumerate(connections) for channel in seen]
        self.weight = nn.Parameter(torch.empty(len(self.links), *kernel))
        self.bias = nn.Parameter(torch.empty(len(connections))) if bias else None
        for parameter in self.parameters():
            nn.init.normal_(parameter, std=0.1)

    def forward(self, x: Tensor) -> Tensor:
        links = torch.tensor(self.links, device=x.device)
        dense = self.weight.new_zeros(self.shape).flatten(0, 1).index_copy(0, links, self.weight)
        return F.conv2d(x, dense.view(self.shape), self.bias, *self.geometry)


class Parameter(nn.Module):
    """A learned tensor of 1 × `sizes`."""

    def __init__(self, *sizes: int, value: float = 0) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.full((1, *sizes), float(value)))

    def forward(self) -> Tensor:
        return self.weight


class Constant(nn.Module):
    """A tensor of 1 × `sizes` that is not learned."""

    def __init__(self, *sizes: int, value: float = 0) -> None:
        super().__init__()
        self.values: Tensor
        self.register_buffer("values", torch.full((1, *sizes), float(value)))

    def forward(self) -> Tensor:
        return self.values


class TiedLinear(nn.Module):
    """A linear layer with the weight of another layer, and a bias of its own."""

    def __init__(self, out_features: int, bias: bool = True) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(out_features)) if bias else None

    def forward(self, x: Tensor, weight: Tensor) -> Tensor:
        return F.linear(x, weight, self.bias)


class SquaredDistances(nn.Module):
    """Σ(x − w)² to each of `out_features` fixed prototypes."""

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__()
        self.prototypes: Tensor
        self.register_buffer("prototypes", torch.randn(out_features, in_features).sign())

    def forward(self, x: Tensor) -> Tensor:
        return (x.unsqueeze(1) - self.prototypes).square().sum(-1)


class ScaledTanh(nn.Module):
    """amplitude · tanh(slope · x)."""

    def __init__(self, amplitude: float = 1.7159, slope: float = 2 / 3) -> None:
        super().__init__()
        self.amplitude, self.slope = amplitude, slope

    def forward(self, x: Tensor) -> Tensor:
        return self.amplitude * torch.tanh(self.slope * x)


class Exp(nn.Module):
    """eˣ."""

    def forward(self, x: Tensor) -> Tensor:
        return x.exp()


class Clamp(nn.Module):
    """min(max(x, min), max)."""

    def __init__(self, min: float | None = None, max: float | None = None) -> None:  # as in torch.clamp
        super().__init__()
        self.bounds = (min, max)

    def forward(self, x: Tensor) -> Tensor:
        return x.clamp(*self.bounds)


class SwiGLU(nn.Module):
    """silu(a) · b, for the halves a and b of a dimension."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, x: Tensor) -> Tensor:
        a, b = x.chunk(2, self.dim)
        return F.silu(a) * b


class ChannelLayerNorm(nn.LayerNorm):
    """Layer normalization over the channels at each position; the result is contiguous."""

    def forward(self, x: Tensor) -> Tensor:
        x = F.layer_norm(x.movedim(1, -1), self.normalized_shape, self.weight, self.bias, self.eps)
        return x.movedim(-1, 1).clone(memory_format=torch.contiguous_format)


class RMSNorm(nn.Module):
    """x / √(mean of x² + eps) · weight over the last dimension, in the dtype of x."""

    def __init__(self, features: int, eps: float | None = None, elementwise_affine: bool = True) -> None:
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(features)) if elementwise_affine else None

    def forward(self, x: Tensor) -> Tensor:
        eps = torch.finfo(x.dtype).eps if self.eps is None else self.eps
        x = x * ((x * x).mean(-1, keepdim=True) + eps).rsqrt()
        return x if self.weight is None else x * self.weight


class Normalize(nn.Module):
    """x / max(√(Σx²), eps) over a dimension."""

    def __init__(self, dim: int, eps: float = 1e-12) -> None:
        super().__init__()
        self.dim, self.eps = dim, eps

    def forward(self, x: Tensor) -> Tensor:
        return F.normalize(x, dim=self.dim, eps=self.eps)


class TrainableSubsampling(nn.Module):
    """weight · (sum over the window) + bias, with one weight and bias per channel."""

    def __init__(
        self,
        channels: int,
        kernel_size: Pair,
        stride: Pair | None = None,
        padding: Pair = 0,
        ceil_mode: bool = False,
    ) -> None:
        super().__init__()
        self.geometry = (kernel_size, stride, padding, ceil_mode)
        height, width = kernel_size if isinstance(kernel_size, tuple) else (kernel_size, kernel_size)
        self.weight = nn.Parameter(torch.full((channels,), 1 / (height * width)))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        total = F.avg_pool2d(x, *self.geometry, divisor_override=1)
        return total * self.weight[:, None, None] + self.bias[:, None, None]


class Sum(nn.Module):
    """x₁ + x₂ + …; with `inplace` into x₁, which is correct only if nothing else, backward included, needs x₁.

    `views` are as of `Elementwise`.
    """

    def __init__(self, views: Sequence[Sequence[int] | None] = (), inplace: bool = False) -> None:
        super().__init__()
        self.views, self.inplace = views, inplace

    def forward(self, *xs: Tensor) -> Tensor:
        if len(xs) == 1:
            return xs[0] if self.inplace else xs[0].clone()
        views = self.views or [None] * len(xs)
        total, *others = [x.unflatten(1, view) if view else x for x, view in zip(xs, views, strict=True)]
        inplace = self.inplace
        for x in others:
            fits = torch.broadcast_shapes(total.shape, x.shape) == total.shape
            total = total.add_(x) if inplace and fits else total + x
            inplace = True
        return total


class Elementwise(nn.Module):
    """function(x₁, x₂), then of that and x₃, and so on; sizes of 1 are repeated.

    `views` says for each input the sizes that its features are split into: of a vector beside C×H×W (−1, 1, 1).
    """

    def __init__(
        self, function: Callable[[Tensor, Tensor], Tensor], views: Sequence[Sequence[int] | None] = ()
    ) -> None:
        super().__init__()
        self.function, self.views = function, views

    def forward(self, *xs: Tensor) -> Tensor:
        views = self.views or [None] * len(xs)
        made, *others = [x.unflatten(1, view) if view else x for x, view in zip(xs, views, strict=True)]
        for x in others:
            made = self.function(made, x)
        return made if others else made.clone()


class Mean(nn.Module):
    """(x₁ + … + xₙ) / n; in training drop-path keeps each input with probability 1 − p, and always at least one."""

    def __init__(self, p: float = 0) -> None:
        super().__init__()
        self.p = p

    def forward(self, *xs: Tensor) -> Tensor:
        if self.training and self.p:
            sure = int(torch.randint(len(xs), ()))
            xs = tuple(x for i, x in enumerate(xs) if i == sure or float(torch.rand(())) >= self.p)
        if len(xs) == 1:
            return xs[0].clone()
        return reduce(torch.Tensor.add_, xs[2:], xs[0] + xs[1]).div_(len(xs))


class Concat(nn.Module):
    """Concatenation of the inputs along a dimension, also of one that all images share.

    Along a later dimension than the first, gradients have no gaps.
    """

    def __init__(self, dim: int = 1) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, *xs: Tensor) -> Tensor:
        if self.dim > 1:
            xs = tuple([x.flatten(1).unflatten(1, x.shape[1:]) for x in xs])
        batch = max(map(len, xs))
        alike = [x if len(x) == batch else x.expand(batch, *x.shape[1:]) for x in xs]
        return torch.cat(alike, dim=self.dim)


class ChannelShuffle(nn.Module):
    """Like `torch.nn.ChannelShuffle`, but with a gradient on every device."""

    def __init__(self, groups: int) -> None:
        super().__init__()
        self.groups = groups

    def forward(self, x: Tensor) -> Tensor:
        shuffled = x.unflatten(1, (self.groups, -1)).transpose(1, 2)
        return shuffled.clone(memory_format=torch.contiguous_format).flatten(1, 2)


class PadShortcut(nn.Module):
    """Keep every stride-th value and add channels of zeros before and after, one more after if the number is odd."""

    def __init__(self, in_channels: int, out_channels: int, stride: Pair = 1) -> None:
        super().__init__()
        self.stride = stride if isinstance(stride, tuple) else (stride, stride)
        missing = out_channels - in_channels
        self.margins = (missing // 2, missing - missing // 2)

    def forward(self, x: Tensor) -> Tensor:
        return F.pad(x[:, :, :: self.stride[0], :: self.stride[1]], (0, 0, 0, 0, *self.margins))


class DropPath(nn.Module):
    """In training drop all values of an image with probability p, and scale kept images by 1/(1 − p)."""

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.p == 0:
            return x
        keep = 1 - self.p
        noise = x.new_empty(len(x), *[1] * (x.dim() - 1)).bernoulli_(keep)
        return x * (noise.div_(keep) if keep else noise)


class StochasticDepth(nn.Module):
    """In training drop all values of a batch with probability p; in evaluation scale them by 1 − p."""

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        if not self.p:
            return x
        kept = float(torch.rand(())) >= self.p if self.training else 1 - self.p
        return x * kept
