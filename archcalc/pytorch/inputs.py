"""Random inputs of a network."""

from __future__ import annotations

import torch
from torch import Tensor

from archcalc.graph.graph import Graph


def random_inputs(
    graph: Graph, batch: int, dtype: torch.dtype = torch.float32, device: str | torch.device | None = None
) -> tuple[Tensor, ...]:
    """Return a tensor (batch, *shape) of values from 0 to 1 for each input, in order."""
    return tuple([torch.rand(batch, *node.output, dtype=dtype, device=device) for node in graph.inputs])
