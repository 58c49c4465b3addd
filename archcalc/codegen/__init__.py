"""A network as PyTorch source that a person could have written; nothing here imports torch."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from typing import Any

from archcalc.catalog import find, load_with, settled
from archcalc.codegen.check import is_right
from archcalc.codegen.flat import Flat
from archcalc.codegen.layers import layers, layers_in
from archcalc.codegen.layout import WIDTH
from archcalc.codegen.naming import class_name
from archcalc.codegen.probe import wrong_arguments
from archcalc.codegen.program import Program
from archcalc.codegen.trace import Trace
from archcalc.codegen.write import Writer
from archcalc.collector import uncollected
from archcalc.errors import ArchcalcError, SpecError
from archcalc.graph import Graph, Node
from archcalc.language import Spec
from archcalc.ops import Shape, format_shape
from archcalc.ops.base import values

__all__ = ["pytorch_source"]
TOO_MANY = "a join has too many branches; some 300 fit into one"
CARRYING = (
    "", "Weights of `other`, made by archcalc.pytorch.build, go in by their order, since names differ:",
    "", "    model.load_state_dict(dict(zip(model.state_dict(), other.state_dict().values())))",
)  # fmt: skip


@uncollected
def pytorch_source(name: str, params: Mapping[str, Any], input: Shape | None = None) -> str:
    """The Python source of a network, which needs PyTorch and nothing else.

    `name` is one of the catalog's or a path, `params` and `input` are set as by `load_with`. A class or function stands
    for each block of the spec, with its parameters; the last class is the network. Its modules come in the order of
    `archcalc.pytorch.build`, with the same weights; in training it gives a tuple of the result and the side outputs.
    Raises ArchcalcError, also for an operator that has no source.
    """
    graph = load_with(name, params, input)
    spec, own_name = find(name)
    try:
        return source_of(graph, settled(spec, own_name), own_name)
    except RecursionError:
        raise ArchcalcError(f"{graph.name} cannot be written as PyTorch source: {TOO_MANY}") from None


def source_of(graph: Graph, spec: Spec, network: str) -> str:
    """The source of a spec's network, which is expanded anew with the graph's params and input."""
    if graph.misfit:
        raise graph.misfit
    for node in graph.nodes[1:]:
        _check(node)
    title = class_name(network)
    title += "Network" * (title in layers())
    fixed: set[str] = set()
    while is_right(source := _whole(graph, network, _blocks(graph, spec, network, title, fixed)), graph):
        wrong = wrong_arguments(source, graph, spec, network)
        if not wrong:
            return source
        fixed |= wrong
    source = _whole(graph, network, Flat(graph, title).source())
    if is_right(source, graph):
        return source
    raise ArchcalcError(f"archcalc cannot write {network} as PyTorch source, a mistake of its own; please report it")


def _whole(graph: Graph, network: str, body: str) -> str:
    """A module of its own: with imports, and the layers that PyTorch lacks."""
    own = layers_in(body)
    parts = [_head(graph, network), _imports(body, own), *(f"\n\n{part}\n" for part in own), "\n\n", body]
    return "".join(parts)


def _check(node: Node) -> None:
    """Raises SpecError for an operator without source."""
    try:
        node.op.pytorch(node.x)
    except NotImplementedError as error:
        raise SpecError(f"{node.name}: {error}", node.place) from None


def _blocks(graph: Graph, spec: Spec, network: str, title: str, fixed: set[str]) -> str:
    """The classes, a block each; "" where the spec does what Python's blocks cannot. Fixed params are no arguments."""
    try:
        trace = Trace(spec)
        trace.graph(network, graph.about.params, graph.input, graph.name)
        return Writer(Program(trace, graph, network, fixed), title, set(layers())).source()
    except Exception:  # Unstructured, or a mistake of the translation, for which the network is written all the same
        return ""


def _imports(body: str, own: list[str]) -> str:
    code = "\n".join([body, *own])
    return "import torch\nfrom torch import nn\n" if "torch." in code else "from torch import nn\n"


def _head(graph: Graph, network: str) -> str:
    """The module's docstring: what it is, of whom, for which input."""
    from archcalc import __version__

    about = graph.about
    paper = about.paper
    said = " ".join(filter(None, [paper.get("authors", ""), str(paper.get("year", ""))]))
    where = f"arXiv:{paper['arxiv']}" if paper.get("arxiv") else paper.get("url", "")
    source = ", ".join(filter(None, [said, where]))
    title = network if ".y" in graph.name else graph.name  # a path is of no interest
    first = f"{title}{': ' if about.title else ''}{about.title}{f' ({source})' if source else ''}."
    facts = f"Input {format_shape(graph.input)}, {_params(graph)}. Written by archcalc {__version__}."
    lines = [*textwrap.wrap(first, WIDTH - 3), "", *textwrap.wrap(facts, WIDTH)]
    return '"""' + "\n".join([*map(_quoted, lines), *CARRYING]) + '\n"""\n\n'


def _params(graph: Graph) -> str:
    def count(nodes: Any) -> int:
        return sum(values(shape) for node in nodes for shape in node.op.weights(node.x).values())

    total, sides = count(graph.nodes), count([node for node in graph.nodes if node.side])
    own = f"{total - sides:,} parameters"
    return f"{own} (and {sides:,} of side outputs, for training)" if sides else own


def _quoted(text: str) -> str:
    """A text that ends no docstring."""
    return text.replace("\\", "\\\\").replace('"""', '\\"\\"\\"')
