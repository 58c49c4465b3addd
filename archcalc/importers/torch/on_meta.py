"""Build modules without memory for their weights."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

from torch import nn


@contextmanager
def weights_on_meta() -> Iterator[None]:
    """Move each parameter to meta as a module registers it, so that a network of any size can be built.

    `torch.device("meta")` would put also those tensors on meta whose values a constructor looks at.
    """
    register = nn.Module.register_parameter

    def moved(self: nn.Module, name: str, param: Any) -> None:
        is_real = param is not None and not isinstance(param, nn.UninitializedParameter)
        register(self, name, nn.Parameter(param.to("meta"), param.requires_grad) if is_real else param)

    with patch.object(nn.Module, "register_parameter", moved):
        yield
