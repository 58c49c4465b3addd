"""Random inputs of a network."""

from __future__ import annotations

import torch
from torch import Tensor

from archcalc.graph.graph import Graph
from archcalc.ops.shape import Ids


def random_inputs(
    graph: Graph, batch: int, dtype: torch.dtype = torch.float32, device: str | torch.device | None = None
) -> tuple[Tensor, ...]:
    """Return a tensor (batch, *shape) of values from 0 to 1 for each input, in order.

    Numbers of tokens are int64, and such as all embeddings that read them know.
    """
    return tuple([_random(graph, position, batch, dtype, device) for position in range(len(graph.inputs))])


def _random(graph: Graph, position: int, batch: int, dtype: torch.dtype, device: str | torch.device | None) -> Tensor:
    shape = graph.nodes[position].output
    if not isinstance(shape, Ids):
        return torch.rand(batch, *shape, dtype=dtype, device=device)
    known = [getattr(node.op, "num_embeddings", 1) for node in graph.nodes if position in node.inputs]
    return torch.randint(min(known, default=1), (batch, *shape), device=device)
