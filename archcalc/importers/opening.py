"""Import what a source describes. PyTorch and onnx are imported when they are needed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from archcalc.graph.graph import Graph
from archcalc.importers.sources import GivenInput, OnnxSource, TorchSource

_on_values: ContextVar[bool] = ContextVar("_on_values", default=False)


def import_graph(source: TorchSource | OnnxSource, given: GivenInput | None) -> Graph:
    """Import a network, with another input if one is given. Raises ArchcalcError for anything that goes wrong."""
    if isinstance(source, TorchSource):
        from archcalc.importers.torch.objects import graph_of

        return graph_of(source, given, _on_values.get())
    from archcalc.importers.onnx_file import from_onnx

    return from_onnx(source.text, given)


@contextmanager
def on_values(wanted: bool) -> Iterator[None]:
    """Run modules of PyTorch on real tensors, so that their code can look at values."""
    token = _on_values.set(wanted)
    try:
        yield
    finally:
        _on_values.reset(token)
