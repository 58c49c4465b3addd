"""Modules that move values: into other axes, out of a part, into a frame. What they copy has no gaps in memory."""

# mypy: allow-subclassing-any
# The type check needs no torch, so nn.Module is Any there.

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  # PyTorch's own name for it


class Permute(nn.Module):
    """The dimensions in another order. Two views that change nothing make that the gradient has no gaps either."""

    def __init__(self, *order: int) -> None:
        super().__init__()
        self.order = order

    def forward(self, x: Tensor) -> Tensor:
        moved = x.flatten(1).unflatten(1, x.shape[1:]).permute(0, *self.order)
        return moved.clone(memory_format=torch.contiguous_format)


class PositionsToTokens(Permute):
    """The channels in another place, last, and all positions along one dimension."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x).flatten(1, -2)


class Reshape(nn.Module):
    """The same values with other sizes."""

    def __init__(self, *sizes: int) -> None:
        super().__init__()
        self.sizes = sizes

    def forward(self, x: Tensor) -> Tensor:
        return x.reshape(len(x), *self.sizes)


class Repeat(nn.Module):
    """Each dimension so many times over."""

    def __init__(self, *counts: int) -> None:
        super().__init__()
        self.counts = counts

    def forward(self, x: Tensor) -> Tensor:
        return x.repeat(1, *self.counts)


class Roll(nn.Module):
    """Some dimensions moved, the last places to the front."""

    def __init__(self, shifts: int | Sequence[int], dims: Sequence[int]) -> None:
        super().__init__()
        self.shifts = shifts if isinstance(shifts, tuple) else (shifts,) * len(dims)
        self.dims = dims

    def forward(self, x: Tensor) -> Tensor:
        return torch.roll(x, self.shifts, self.dims)


class Slice(nn.Module):
    """The places start, start + step, … before stop of one dimension, as a copy."""

    def __init__(self, start: int | None, stop: int | None, step: int = 1, dim: int = 1) -> None:
        super().__init__()
        self.kept, self.dim = slice(start, stop, step), dim

    def forward(self, x: Tensor) -> Tensor:
        size = x.shape[self.dim]
        if len(range(*self.kept.indices(size))) < size:
            x = x[(slice(None),) * self.dim + (self.kept,)]
        return x.clone(memory_format=torch.contiguous_format)


class Chunk(nn.Module):
    """One of several equal parts of a dimension, as a copy."""

    def __init__(self, chunks: int, index: int, dim: int = 1) -> None:
        super().__init__()
        self.chunks, self.index, self.dim = chunks, index, dim

    def forward(self, x: Tensor) -> Tensor:
        size = x.shape[self.dim]
        each = -(-size // self.chunks)
        start = range(0, size, each)[self.index]
        if each < size:
            x = x.narrow(self.dim, start, min(each, size - start))
        return x.clone(memory_format=torch.contiguous_format)


class CenterCrop(nn.Module):
    """The central positions; `dim` is the first dimension of positions."""

    def __init__(self, size: int | Sequence[int], dim: int = 2) -> None:
        super().__init__()
        self.size, self.dim = size, dim

    def forward(self, x: Tensor) -> Tensor:
        size = self.size if isinstance(self.size, tuple) else (self.size,) * (x.dim() - 2)
        for dim, length in enumerate(size, self.dim):
            if length < x.shape[dim]:
                x = x.narrow(dim, (x.shape[dim] - length) // 2, length)
        return x.clone(memory_format=torch.contiguous_format)


class CropLike(nn.Module):
    """The central positions, as many as another tensor has."""

    def __init__(self, dim: int = 2) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, x: Tensor, like: Tensor) -> Tensor:
        for dim in range(self.dim, self.dim + x.dim() - 2):
            if like.shape[dim] < x.shape[dim]:
                x = x.narrow(dim, (x.shape[dim] - like.shape[dim]) // 2, like.shape[dim])
        return x.clone(memory_format=torch.contiguous_format)


class Frame:
    """Pads the dimensions of positions, from `dim` on, by pairs (before, after)."""

    def framed(self, x: Tensor, pairs: Sequence[tuple[int, int]], mode: str, value: float = 0, dim: int = 2) -> Tensor:
        if mode == "circular":
            for axis, (before, after) in enumerate(pairs, dim):
                if before or after:
                    size = x.shape[axis]
                    if max(before, after) > size:
                        raise ValueError(f"circular padding of {max(before, after)} wraps around {size} more than once")
                    places = torch.arange(-before, size + after, device=x.device).remainder_(size)
                    x = x.index_select(axis, places)
            return x
        margins = [margin for pair in reversed(pairs) for margin in pair]
        margins = margins if dim == 2 else [0, 0, *margins]
        return F.pad(x, margins, mode, value) if mode == "constant" else F.pad(x, margins, mode)


class Pad(Frame, nn.Module):
    """Positions around the input: one number, one per axis, or a pair (before, after) per axis."""

    def __init__(self, padding: Any, mode: str = "constant", value: float = 0, dim: int = 2) -> None:
        super().__init__()
        self.padding, self.mode, self.value, self.dim = padding, mode, value, dim

    def forward(self, x: Tensor) -> Tensor:
        padding = self.padding if isinstance(self.padding, tuple) else (self.padding,) * (x.dim() - 2)
        pairs = [margin if isinstance(margin, tuple) else (margin, margin) for margin in padding]
        return self.framed(x, pairs, self.mode, self.value, self.dim)


class PaddedConv(Frame):
    """A convolution with another padding: pairs per axis, TensorFlow's "SAME", or "causal", and circular borders."""

    kernel_size: tuple[int, ...]
    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    weight: Tensor
    bias: Tensor | None
    _conv_forward: Any

    def __init__(self, *sizes: Any, padding: Any = 0, padding_mode: str = "zeros", **options: Any) -> None:
        super().__init__(*sizes, **options)
        self.frame, self.border = padding, padding_mode

    def pairs(self, lengths: Sequence[int]) -> list[tuple[int, int]]:
        """Return how much comes before and after each axis."""
        spans = [(k - 1) * d for k, d in zip(self.kernel_size, self.dilation, strict=True)]
        if self.frame == "causal":
            return [(span, 0) for span in spans]
        if self.frame == "SAME":
            steps = [(-(-n // s) - 1) * s - n + 1 for n, s in zip(lengths, self.stride, strict=True)]
            spans = [max(0, step + span) for step, span in zip(steps, spans, strict=True)]
        if self.frame in ("same", "SAME"):
            return [(span // 2, span - span // 2) for span in spans]
        frame = self.frame if isinstance(self.frame, tuple) else (self.frame,) * len(spans)
        return [margin if isinstance(margin, tuple) else (margin, margin) for margin in frame]

    def forward(self, x: Tensor) -> Tensor:
        pairs = self.pairs(x.shape[2:])
        if self.border == "zeros" and all(before == after for before, after in pairs):
            self.padding = tuple([before for before, _ in pairs])
        else:
            self.padding = (0,) * len(pairs)
            x = self.framed(x, pairs, "constant" if self.border == "zeros" else self.border)
        return self._conv_forward(x, self.weight, self.bias)


class PaddedConv1d(PaddedConv, nn.Conv1d):
    """On a line."""


class PaddedConv2d(PaddedConv, nn.Conv2d):
    """On an image."""


class PaddedConv3d(PaddedConv, nn.Conv3d):
    """In a volume."""
