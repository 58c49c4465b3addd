"""Attention on meta tensors as the CPU runs it: by a fused kernel, which keeps no matrix of scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor


def run_function(function: Any, args: Sequence[Any], named: Mapping[str, Any]) -> Any:
    """Run a function of PyTorch; attention on meta, which would run unfused, by the kernel of the CPU."""
    fused = None
    if function is torch.ops.aten.scaled_dot_product_attention.default and args[0].is_meta:
        fused = _fused(*args, **named)
    return function(*args, **named) if fused is None else fused


def _fused(
    query: Tensor, key: Tensor, value: Tensor, attn_mask: Tensor | None = None, dropout_p: float = 0.0,
    is_causal: bool = False, *, scale: float | None = None, enable_gqa: bool = False,
) -> Tensor | None:  # fmt: skip
    """Run attention by the fused kernel of the CPU, which keeps no matrix; None where the CPU has none, either."""
    fits = query.dim() == 4 and query.shape[-1] == value.shape[-1]
    gaps = any(tensor.stride(-1) != 1 for tensor in (query, key, value))
    if dropout_p or not fits or gaps or (attn_mask is not None and attn_mask.requires_grad):
        return None
    options = {"is_causal": is_causal, "attn_mask": attn_mask, "scale": scale}
    return torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(query, key, value, **options)[0]
