"""Run operations on meta as on the CPU: attention by its fused kernel, batch normalization without its arithmetic."""

# mypy: allow-subclassing-any
# The type check needs no torch, so the mode is Any there.

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812  # PyTorch's own name for it
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode


def _forward(x: Tensor, *arguments: Any) -> tuple[Tensor, Tensor, Tensor]:
    """Return the output, and mean and 1/σ of each channel in at least float32."""
    mean = x.new_empty(x.shape[1], dtype=torch.promote_types(x.dtype, torch.float32))
    return torch.empty_like(x), mean, torch.empty_like(mean)


def _backward(gradient: Tensor, x: Tensor, weight: Tensor | None, *arguments: Any) -> tuple[Tensor | None, ...]:
    """Return the gradients of input, weight and bias that the last argument selects."""
    shapes = (x, weight, weight)
    return tuple(torch.empty_like(shapes[i]) if selected else None for i, selected in enumerate(arguments[-1]))


KERNELS: dict[Any, Callable[..., Any]] = {
    torch.ops.aten.native_batch_norm.default: _forward,
    torch.ops.aten._native_batch_norm_legit.default: _forward,
    torch.ops.aten._native_batch_norm_legit.no_stats: _forward,
    torch.ops.aten._native_batch_norm_legit_no_training.default: _forward,
    torch.ops.aten.native_batch_norm_backward.default: _backward,
    torch.ops.aten.threshold_backward.default: lambda gradient, x, threshold: torch.empty_like(x),
}


ATTENTION = "query", "key", "value", "attn_mask", "dropout_p", "is_causal"  # the arguments by position


UNPATCHED = F.scaled_dot_product_attention


def attention(*args: Any, **named: Any) -> Any:
    """Run attention; on meta by the kernel of the CPU, unless it drops, trains a mask, or reads heads with gaps."""
    given = dict(zip(ATTENTION, args, strict=False)) | named
    gaps = any(given[name].stride(-1) != 1 for name in ATTENTION[:3])
    trained = getattr(given.get("attn_mask"), "requires_grad", False)
    if not given["query"].is_meta or given.get("dropout_p") or gaps or trained:
        return UNPATCHED(*args, **named)
    options = {key: given[key] for key in ("is_causal", "attn_mask", "scale") if given.get(key) is not None}
    q, k, v = (given[key] for key in ATTENTION[:3])
    return torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(q, k, v, **options)[0]


class FusedAttention(TorchFunctionMode):
    """While active, attention on meta keeps what the CPU's fused kernel keeps; PyTorch keeps its matrices there.

    The function of `nn.MultiheadAttention` hides from a mode what it calls, so the name that it calls is replaced, too.
    """

    def __enter__(self) -> Any:
        vars(F)["scaled_dot_product_attention"] = attention
        return super().__enter__()

    def __exit__(self, *error: Any) -> None:
        vars(F)["scaled_dot_product_attention"] = UNPATCHED
        super().__exit__(*error)

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run a function, or attention as the CPU does."""
        return (attention if function is UNPATCHED else function)(*args, **(kwargs or {}))


class MetaKernels(TorchDispatchMode):
    """While active, the operations of KERNELS create the same tensors on meta as in PyTorch, without its arithmetic.

    Attention runs fused. Other operations and other devices run as before.
    """

    def __enter__(self) -> Any:
        self.attention = FusedAttention()
        self.attention.__enter__()
        return super().__enter__()

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        self.attention.__exit__(*error)

    def __torch_dispatch__(self, operation: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run an operation, or its kernel if there is one."""
        return (KERNELS[operation] if operation in KERNELS and args[0].is_meta else operation)(*args, **(kwargs or {}))
