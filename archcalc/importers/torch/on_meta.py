"""Build modules without memory for their weights."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from math import prod
from typing import Any
from unittest.mock import patch

import torch
from torch import nn
from torch.overrides import TorchFunctionMode
from torch.utils.weak import WeakTensorKeyDictionary

FACTORIES = {torch.empty, torch.zeros, torch.ones, torch.full, torch.rand, torch.randn}
LARGE = 2**22  # values of a tensor that goes to meta at once; code seldom looks at so many


@contextmanager
def weights_on_meta() -> Iterator[None]:
    """Move each parameter to meta as a module registers it, so that a network of any size can be built.

    `torch.device("meta")` would put also those tensors on meta whose values a constructor looks at.
    """
    register = nn.Module.register_parameter
    moved_to = WeakTensorKeyDictionary()  # a parameter that two modules share stays one

    def moved(self: nn.Module, name: str, param: Any) -> None:
        if param is not None and not param.is_meta and not isinstance(param, nn.UninitializedParameter):
            if param not in moved_to:
                moved_to[param] = nn.Parameter(param.to("meta"), param.requires_grad)
            param = moved_to[param]
        register(self, name, param)

    with patch.object(nn.Module, "register_parameter", moved):
        yield


class _LargeOnMeta(TorchFunctionMode):  # type: ignore[misc]  # torch has no types for it
    """Make large tensors on meta, where they take no memory before they are parameters."""

    used = False

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        named = dict(kwargs or {})
        if func in FACTORIES and not named.get("device"):
            sizes = named.get("size", args[0] if args and isinstance(args[0], Sequence) else args)
            if prod(map(int, sizes)) > LARGE:
                named["device"], self.used = "meta", True
        return func(*args, **named)


def made_on_meta(make: Callable[[], Any]) -> Any:
    """Call what makes a module; if that looks at values of a large tensor, call it again with these in memory."""
    large = _LargeOnMeta()
    with weights_on_meta():
        try:
            with large:
                return make()
        except Exception:
            if not large.used:
                raise
            return make()
