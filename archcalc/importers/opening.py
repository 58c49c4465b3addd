"""Import what a source describes. PyTorch and onnx are imported when they are needed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import replace
from typing import Any

from archcalc.errors import ArchcalcError, shorten
from archcalc.graph.graph import Graph
from archcalc.importers.sources import OnnxSource, TorchSource
from archcalc.spec.binding import GivenInput

ON_VALUES: ContextVar[bool] = ContextVar("ON_VALUES", default=False)  # run modules of PyTorch on real tensors


def import_graph(
    source: TorchSource | OnnxSource, params: Mapping[str, Any], given: GivenInput | None, title: str
) -> Graph:
    """Import a network under this name, with another input if one is given.

    Raises ArchcalcError for anything that goes wrong, and for params, which only specs have.
    """
    for param in params:
        own = "write arguments in the source, as in torch:./my.py:Net(depth=3)"
        hint = own if isinstance(source, TorchSource) else "only specs have params"
        raise ArchcalcError(f"{shorten(source.text)} has no param {shorten(param)!r}; {hint}")
    return replace(_graph(source, given), name=title)


def _graph(source: TorchSource | OnnxSource, given: GivenInput | None) -> Graph:
    if isinstance(source, TorchSource):
        try:
            from archcalc.importers.torch.objects import graph_of
        except ModuleNotFoundError as error:
            if error.name != "torch":
                raise
            raise ArchcalcError(f"{shorten(source.text)}: {error}") from None
        return graph_of(source, given, ON_VALUES.get())
    from archcalc.importers.onnx_file import from_onnx

    return from_onnx(source.text, given)


@contextmanager
def on_values() -> Iterator[None]:
    """Run modules of PyTorch on real tensors, so that their code can look at values."""
    token = ON_VALUES.set(True)
    try:
        yield
    finally:
        ON_VALUES.reset(token)
