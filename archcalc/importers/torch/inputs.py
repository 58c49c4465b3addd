"""The tensors that a module is run on, made from sizes."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from archcalc.errors import ArchcalcError


def arguments(module: nn.Module, given: Any, batch: int, real: bool) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return positional arguments, and those by name, with so many images.

    Raises ArchcalcError for what is no size and no tensor.
    """
    weight = next((w for w in module.parameters() if w.is_floating_point()), None)
    dtype = torch.float32 if weight is None else weight.dtype
    make = _Maker(batch, "cpu" if real else "meta", dtype)
    if isinstance(given, Mapping):
        return (), {name: make(each) for name, each in given.items()}
    if _is_size(given) or _is_typed(given) or isinstance(given, Tensor) or not isinstance(given, tuple | list):
        return (make(given),), {}
    return tuple([make(each) for each in given]), {}


def names(module: nn.Module, count: int) -> list[str]:
    """Return the names of a module's positional arguments; a single one is called input."""
    found = [] if count == 1 else [*inspect.signature(module.forward).parameters]
    return (["input"] if count == 1 else [*found, *map(str, range(len(found), count))])[:count]


class _Maker:
    """Make tensors with a batch of images."""

    def __init__(self, batch: int, device: str, dtype: torch.dtype) -> None:
        self.batch, self.device, self.dtype = batch, device, dtype

    def __call__(self, given: Any) -> Any:
        if isinstance(given, Tensor):
            return self.repeated(given[:1])
        if _is_size(given):
            return self.repeated(self.image(given, self.dtype))
        if _is_typed(given):
            dtype = getattr(torch, given[0], None)
            if not isinstance(dtype, torch.dtype):
                raise ArchcalcError(f"{given[0]!r} is no dtype of PyTorch; write int64, float32, bool, …")
            return self.repeated(self.image(given[1], dtype))
        if isinstance(given, Mapping):
            return {name: self(each) for name, each in given.items()}
        if isinstance(given, tuple | list):
            return type(given)([self(each) for each in given])
        if given is None or isinstance(given, bool | int | float | str):
            return given
        raise ArchcalcError(
            f"an input is sizes, such as (3, 224, 224), a dtype and sizes, or a tensor, not {type(given).__name__}"
        )

    def image(self, sizes: Any, dtype: torch.dtype) -> Tensor:
        """Return zeros; on real tensors random values, the same in each run."""
        if self.device == "meta" or not dtype.is_floating_point:
            return torch.zeros((1, *sizes), dtype=dtype, device=self.device)
        return torch.randn((1, *sizes), dtype=dtype, generator=torch.Generator().manual_seed(0))

    def repeated(self, image: Tensor) -> Tensor:
        """Return the same image several times, so that code which looks at values decides alike."""
        return image.to(self.device).repeat(self.batch, *[1] * (image.dim() - 1))


def _is_size(given: Any) -> bool:
    return isinstance(given, tuple | list) and bool(given) and all(type(size) is int for size in given)


def _is_typed(given: Any) -> bool:
    pair = isinstance(given, tuple | list) and len(given) == 2
    return pair and isinstance(given[0], str) and (_is_size(given[1]) or tuple(given[1]) == ())
