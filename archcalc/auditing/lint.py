"""Check a spec: expand and analyse every network in it, and check its published figures."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from archcalc.analysis.report import analyze
from archcalc.auditing.claims import accuracies_of, recipes_of
from archcalc.auditing.verdicts import audit
from archcalc.catalog import Broken, build, each, load_with, origins, spec_of
from archcalc.errors import ArchcalcError
from archcalc.graph.graph import Graph, Node, Origin
from archcalc.importers.declared import is_declared
from archcalc.importers.sources import source_of
from archcalc.ops import Operator, format_shape
from archcalc.ops.shape import AXES, Map
from archcalc.spec.binding import InputShapes, plain_params, plain_shape
from archcalc.spec.equal_calls import kept
from archcalc.spec.hints import channels_last
from archcalc.spec.network_spec import SUFFIXES, InputShape


@kept()
def check_spec(
    path: str, params: Mapping[str, Any] | None = None, input: InputShapes | None = None, broken: Broken = None
) -> tuple[list[str], tuple[str, ...]]:
    """Check a spec. Returns remarks on what is unused or looks wrong, one line each with its place, and the networks.

    The params and the input are for each network. Raises SpecError for an error in the spec; an error in one of its
    networks is passed to `broken`, or raised.
    """
    if source_of(str(path)):
        return [], (analyze(load_with(path, params or {}, input), mode="train").graph.name,)
    file, _, part = str(path).rpartition(":")
    file, part = (file, part) if file.endswith(SUFFIXES) else (path, "")
    if part and not is_declared(file):
        raise ArchcalcError(f"check reads a whole file: archcalc check {file}")
    found = origins(file, part)
    spec = spec_of(found[0])
    remarks = [f"{place}: {what} is not used" for what, place in spec.unused]

    def checked(own: Origin) -> list[str]:
        graph = build(own._replace(params=plain_params(params or {}), input=plain_shape(input)))
        audit(analyze(graph, mode="train"))
        accuracies_of(own), recipes_of(own)
        return list(_doubts(graph, spec.inputs))

    for _, doubts in each(found, checked, broken):
        remarks += doubts
    return list(dict.fromkeys(remarks)), spec.networks()


def _twins(graph: Graph) -> Iterator[str]:
    """Yield a remark for an input whose first layer equals that of an earlier input, but has weights of its own."""
    firsts: dict[tuple[Operator, object], Node] = {}
    for position, _ in enumerate(graph.inputs):
        node = next((node for node in graph.nodes if position in node.inputs and node.weights()), None)
        first = firsts.setdefault((node.op, node.x), node) if node else node
        if node and first is not node and first:
            both = f"{first.name} and {node.name} are alike, each with its own weights"
            yield f"{node.place}: {both}; to share them, label the first and write again(label)"


def _taken_for_an_input(node: Node) -> str:
    """Return what an operator has if its arguments seem to begin with the size of its input, as in PyTorch; else ""."""
    op: Any = node.op
    layers, units = getattr(op, "num_layers", 1), getattr(op, "hidden_size", 16)
    if 1 < layers >= min(16, units):
        return f"{layers} layers of {units} units"
    if (getattr(op, "eps", None) or 0) >= 1:
        return f"eps={op.eps}"
    if op.name == "conv" and op.groups == 1 and op.out_channels == node.x.channels and min(op.kernel_size) >= 16:
        return f"a kernel of {format_shape(op.kernel_size)}"
    return ""


def _doubts(graph: Graph, inputs: Mapping[str, InputShape]) -> Iterator[str]:
    """Yield remarks on what is allowed, but probably a mistake."""
    for node in graph.nodes[1:]:
        if node.op.name == "linear" and isinstance(node.x, Map):
            axis = AXES[node.x.axes[-1]]
            yield f"{node.place}: linear reads only the last axis of {node.x.text}, the {axis}; write flatten before it"
        if size := _taken_for_an_input(node):
            yield f"{node.place}: {node.op.name} has {size}; leave out the size of the input"
    yield from _twins(graph)
    for node, own in zip(graph.inputs, inputs.values(), strict=True):
        shape = node.output
        if channels_last(shape):
            turned = [shape.last, *shape.without_last(1)]
            yield f"{own.sizes.place}: channels come first: write {turned} for {list(shape)}"
