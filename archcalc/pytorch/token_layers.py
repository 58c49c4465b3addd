"""Modules for tokens that PyTorch does not have; the PyTorch texts of operators use them."""

# mypy: allow-subclassing-any
# The type check needs no torch, so nn.Module is Any there.

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  # PyTorch's own name for it


class Attention(nn.Module):
    """Scaled dot-product attention over heads of features; `kv_heads` are those of key and value."""

    def __init__(self, num_heads: int, kv_heads: int | None = None, causal: bool = False, dropout: float = 0.0) -> None:
        super().__init__()
        self.heads = (num_heads, kv_heads or num_heads, kv_heads or num_heads)
        self.causal, self.dropout = causal, dropout

    def forward(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        pairs = zip((query, key, value), self.heads, strict=True)
        heads = [tensor.unflatten(-1, (count, -1)).transpose(1, 2) for tensor, count in pairs]
        grouped = self.heads[0] != self.heads[1]
        causal, p = self.causal, self.dropout if self.training else 0.0
        mixed = F.scaled_dot_product_attention(*heads, dropout_p=p, is_causal=causal, enable_gqa=grouped)
        return mixed.transpose(1, 2).flatten(2)


class SelfAttention(nn.Module):
    """Like `torch.nn.MultiheadAttention` of one input, batch first, with its weights."""

    def __init__(
        self, features: int, num_heads: int, bias: bool = True, causal: bool = False, dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.in_proj_weight = nn.Parameter(torch.empty(3 * features, features))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * features)) if bias else None
        self.out_proj = nn.Linear(features, features, bias=bias)
        self.attention = Attention(num_heads, causal=causal, dropout=dropout)
        nn.init.xavier_uniform_(self.in_proj_weight)

    def forward(self, x: Tensor) -> Tensor:
        packed = (self.in_proj_weight, self.in_proj_bias)
        return self.out_proj(self.attention(*F.linear(x, *packed).chunk(3, -1)))


class CrossAttention(nn.Module):
    """Attention of a query to a memory, with a linear layer for each of query, key, value and output."""

    def __init__(
        self, features: int, num_heads: int, memory_features: int, bias: bool = True, dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.q_proj = nn.Linear(features, features, bias=bias)
        self.k_proj = nn.Linear(memory_features, features, bias=bias)
        self.v_proj = nn.Linear(memory_features, features, bias=bias)
        self.out_proj = nn.Linear(features, features, bias=bias)
        self.attention = Attention(num_heads, dropout=dropout)

    def forward(self, query: Tensor, memory: Tensor) -> Tensor:
        mixed = self.attention(self.q_proj(query), self.k_proj(memory), self.v_proj(memory))
        return self.out_proj(mixed)


class MatrixProduct(nn.Module):
    """The product over the last two dimensions; two views that change nothing make that no gradient has gaps."""

    def __init__(self, transpose: bool = False) -> None:
        super().__init__()
        self.transpose = transpose

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        if self.transpose:
            second = second.flatten(1).unflatten(1, second.shape[1:]).transpose(-2, -1)
        return torch.matmul(first, second)


class RotaryEmbedding(nn.Module):
    """Turn pairs of features, of the first and the second half of each head, by angles that grow with the position."""

    def __init__(self, sizes: tuple[int, int], num_heads: int, base: float = 10000.0) -> None:
        super().__init__()
        self.num_heads = num_heads
        size = sizes[1] // num_heads
        angles = torch.arange(sizes[0])[:, None] / base ** (torch.arange(0, size, 2) / size)
        self.cos: Tensor
        self.sin: Tensor
        self.register_buffer("cos", angles.cos().repeat(1, 2))
        self.register_buffer("sin", torch.cat((-angles.sin(), angles.sin()), 1))

    def forward(self, x: Tensor) -> Tensor:
        heads = x.unflatten(-1, (self.num_heads, -1))
        half = heads.shape[-1] // 2
        return (heads * self.cos[:, None] + heads.roll(half, -1) * self.sin[:, None]).flatten(2)


class RNNOutputs(nn.RNN):
    """`torch.nn.RNN` that returns its outputs, in the order of the tokens, and no state."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x)[0].contiguous()


class GRUOutputs(nn.GRU):
    """`torch.nn.GRU` that returns its outputs, in the order of the tokens, and no state."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x)[0].contiguous()


class LSTMOutputs(nn.LSTM):
    """`torch.nn.LSTM` that returns its outputs, in the order of the tokens, and no state."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x)[0].contiguous()
