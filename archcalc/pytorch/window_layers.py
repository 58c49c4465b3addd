"""Attention within windows; the PyTorch texts of operators use it."""

# mypy: allow-subclassing-any
# The type check needs no torch, so nn.Module is Any there.

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  # PyTorch's own name for it

Pair = int | tuple[int, int]


class WindowAttention(nn.Module):
    """Self-attention within windows of (batch, height, width, features), with a bias for each relative position.

    On a grid a window has positions that are spread over the image. With `cosine` scores are cosines times a learned
    scale, two layers make the biases, and keys have no bias of their own. Weights are named as in torchvision.
    """

    def __init__(
        self,
        features: int,
        window_size: Pair,
        num_heads: int,
        shift: Pair = 0,
        grid: bool = False,
        scale: float | None = None,
        cosine: bool = False,
    ) -> None:
        super().__init__()
        self.window = window_size if isinstance(window_size, tuple) else (window_size, window_size)
        self.shift = shift if isinstance(shift, tuple) else (shift, shift)
        self.heads, self.grid, self.cosine = num_heads, grid, cosine
        self.scale = (features // num_heads) ** -0.5 if scale is None else scale
        height, width = self.window
        if cosine:
            self.logit_scale = nn.Parameter(torch.full((num_heads, 1, 1), math.log(10)))
            ranges = [torch.arange(1 - size, size) / max(size - 1, 1) * 8 for size in self.window]
            table = torch.stack(torch.meshgrid(*ranges, indexing="ij"), -1)[None]
            self.relative_coords_table: Tensor
            self.register_buffer("relative_coords_table", table.sign() * (table.abs() + 1).log2() / 3)
        else:
            shape = ((2 * height - 1) * (2 * width - 1), num_heads)
            self.relative_position_bias_table = nn.Parameter(torch.randn(shape) * 0.02)
        self.qkv = nn.Linear(features, 3 * features)
        self.proj = nn.Linear(features, features)
        if cosine:
            self.cpb_mlp = nn.Sequential(
                nn.Linear(2, 512), nn.ReLU(inplace=True), nn.Linear(512, num_heads, bias=False)
            )
        rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
        down, along = (x.flatten()[:, None] - x.flatten() for x in (rows, columns))
        index = (down + height - 1) * (2 * width - 1) + along + width - 1
        self.relative_position_index: Tensor
        self.register_buffer("relative_position_index", index.flatten())

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[1:3]
        x = F.pad(x, (0, 0, 0, -width % self.window[1], 0, -height % self.window[0]))
        rows, columns = x.shape[1] // self.window[0], x.shape[2] // self.window[1]
        down, along = self.shift[0] * (rows > 1), self.shift[1] * (columns > 1)
        windows = self.split(x.roll((-down, -along), (1, 2)), rows, columns)
        q, k, v = self.project(windows).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        if self.cosine:
            scores = F.normalize(q, dim=-1) @ F.normalize(k, dim=-1).transpose(-2, -1)
            scores = scores * self.logit_scale.clamp(max=math.log(100)).exp()
        else:
            scores = (q * self.scale) @ k.transpose(-2, -1)
        scores = scores + self.bias()
        if down or along:
            mask = self.mask(x, down, along, rows, columns)
            scores = (scores.unflatten(0, (-1, len(mask))) + mask[:, None]).flatten(0, 1)
        mixed = self.proj((scores.softmax(-1) @ v).transpose(1, 2).flatten(2))
        mixed = mixed.view(len(x), rows, columns, *self.window, -1)
        order = (0, 3, 1, 4, 2, 5) if self.grid else (0, 1, 3, 2, 4, 5)
        y = mixed.permute(order).flatten(3, 4).flatten(1, 2).roll((down, along), (1, 2))
        return y[:, :height, :width].contiguous()

    def split(self, x: Tensor, rows: int, columns: int) -> Tensor:
        """Return (batch · windows, positions, features)."""
        down, along = (rows, self.window[0]), (columns, self.window[1])
        if self.grid:
            x = x.unflatten(2, along[::-1]).unflatten(1, down[::-1]).permute(0, 2, 4, 1, 3, 5)
        else:
            x = x.unflatten(2, along).unflatten(1, down).permute(0, 1, 3, 2, 4, 5)
        return x.flatten(3, 4).flatten(0, 2)

    def project(self, x: Tensor) -> Tensor:
        """Return query, key and value, side by side."""
        if not self.cosine:
            return self.qkv(x)
        of_query, of_key, of_value = self.qkv.bias.chunk(3)
        return F.linear(x, self.qkv.weight, torch.cat((of_query, torch.zeros_like(of_key), of_value)))

    def bias(self) -> Tensor:
        """Return the bias of each head, query and key."""
        count = self.window[0] * self.window[1]
        if not self.cosine:
            table = self.relative_position_bias_table
            return table[self.relative_position_index].view(count, count, -1).permute(2, 0, 1)
        table = self.cpb_mlp(self.relative_coords_table).flatten(0, 2)
        return 16 * table[self.relative_position_index].view(count, count, -1).permute(2, 0, 1).sigmoid()

    def mask(self, x: Tensor, down: int, along: int, rows: int, columns: int) -> Tensor:
        """Return −100 for each pair of positions that only the shift brought into a window, otherwise 0."""
        part = torch.zeros(1, x.shape[1], x.shape[2], 1, device=x.device)
        part[:, -down:] += 2 * (down > 0)
        part[:, :, -along:] += along > 0
        own = self.split(part, rows, columns).squeeze(-1)
        return -100 * (own[:, None] != own[:, :, None]).to(x.dtype)
