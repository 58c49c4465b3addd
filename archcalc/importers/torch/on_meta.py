"""Build modules without memory for their weights."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

from torch import nn
from torch.utils.weak import WeakTensorKeyDictionary


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
