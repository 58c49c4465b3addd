"""Write a network as PyTorch source."""

from __future__ import annotations

import textwrap

from archcalc.catalog import spec_to_expand
from archcalc.codegen import flat
from archcalc.codegen.blocks import Writer
from archcalc.codegen.classes import class_texts
from archcalc.codegen.facts import Facts, Trace
from archcalc.codegen.format import WIDTH
from archcalc.codegen.names import class_name
from archcalc.codegen.own_layers import layers, layers_in
from archcalc.codegen.trees import Unstructured
from archcalc.errors import ArchcalcError, SpecError
from archcalc.graph.gc_pause import uncollected
from archcalc.graph.graph import Graph, require_graph
from archcalc.ops.base import values
from archcalc.spec.binding import GivenInput
from archcalc.spec.network_spec import Spec

TOO_MANY = "a join has too many branches; about 300 are possible"
CARRYING = """Load the weights of `other`, made by archcalc.pytorch.build, in their order, because their names differ:

    model.load_state_dict(dict(zip(model.state_dict(), other.state_dict().values())))"""


@uncollected
def pytorch_source(graph: Graph) -> str:
    """Write the Python source of a network; it needs only PyTorch.

    Each block of the spec becomes a class with its parameters; the last class is the network. Its modules have the
    order and the weights of `archcalc.pytorch.build`; in training it returns a tuple of the result and the side
    outputs. A graph without a spec, and a network that classes cannot express, is written layer by layer. Raises
    ArchcalcError, also for an operator without a PyTorch text.
    """
    require_graph("pytorch_source", graph)
    own = graph.origin
    return _source_of(graph, spec_to_expand(own), own.network) if own else _source_of(graph, None, graph.name)


def source(graph: Graph) -> str:
    """Write the source of any graph layer by layer, with or without a spec. Raises ArchcalcError."""
    require_graph("source", graph)
    return _source_of(graph, None, graph.name)


def _source_of(graph: Graph, spec: Spec | None, network: str) -> str:
    """Write the source of a network: in blocks if there is a spec, otherwise layer by layer."""
    _check(graph)
    try:
        body = in_blocks(graph, spec, network) if spec else flat.Flat(graph, _title(network)).source()
    except (Unstructured, RecursionError):
        if spec:
            return _source_of(graph, None, network)
        raise ArchcalcError(f"{graph.name} cannot be written as PyTorch source: {TOO_MANY}") from None
    own = layers_in(body)
    math = "import math\n\n" if any("math." in part for part in own) else ""
    torch = "import torch\n" if any("torch." in part for part in [*own, body]) else ""
    return f"{_head(graph, network)}{math}{torch}from torch import nn\n" + "".join(
        f"\n\n{part}\n" for part in [*own, body]
    )


def in_blocks(graph: Graph, spec: Spec, network: str) -> str:
    """Write the classes of a spec's blocks. Raises Unstructured if they cannot express the spec."""
    trace = Trace(spec)
    trace.graph(network, graph.about.params, _inputs(graph), graph.name)
    facts = Facts(spec, graph, trace, {**spec.params, **spec.variants.get(network, {})})
    writer = Writer(facts, _title(network), layers())
    return class_texts(writer.units, writer.network(_title(network)))


def _inputs(graph: Graph) -> GivenInput:
    """Return the shapes of the inputs as `expand` takes them."""
    shapes = {node.name: node.output for node in graph.inputs}
    return shapes if graph.nodes[0].place else graph.input


def _title(network: str) -> str:
    title = class_name(network)
    return title + "Network" * (title in layers())


def _check(graph: Graph) -> None:
    """Raise SpecError for a side output that does not fit, and for an operator without a PyTorch text."""
    if graph.misfit:
        raise graph.misfit
    for node in graph.nodes[len(graph.inputs) :]:
        try:
            node.op.pytorch(node.x)
        except NotImplementedError as error:  # noqa: PERF203  # the node's name is part of the message
            raise SpecError(f"{node.name}: {error}", node.place) from None


def _head(graph: Graph, network: str) -> str:
    """Write the module's docstring: title, paper, input and params."""
    from archcalc import __version__

    about = graph.about
    paper = about.paper
    where = f"arXiv:{paper['arxiv']}" if paper.get("arxiv") else paper.get("url", "")
    source = ", ".join(filter(None, [f"{paper.get('authors', '')} {paper.get('year', '')}".strip(), where]))
    title = network if ".y" in graph.name else graph.name  # do not show a path
    first = f"{title}{': ' if about.title else ''}{about.title}{f' ({source})' if source else ''}."
    facts = f"Input {graph.inputs_text}, {_params(graph)}. Written by archcalc {__version__}."
    lines = [*textwrap.wrap(first, WIDTH - 3), "", *textwrap.wrap(facts, WIDTH), "", CARRYING]
    return '"""' + "\n".join(map(_quoted, lines)) + '\n"""\n\n'


def _params(graph: Graph) -> str:
    counts = [(sum(map(values, node.weights().values())), node.side) for node in graph.nodes]
    sides = sum(count for count, side in counts if side)
    own = f"{sum(count for count, _ in counts) - sides:,} parameters"
    return f"{own} (and {sides:,} of side outputs, for training)" if sides else own


def _quoted(text: str) -> str:
    """Escape a text so that it cannot end a docstring."""
    return text.replace("\\", "\\\\").replace('"""', '\\"\\"\\"')
