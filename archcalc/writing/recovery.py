"""Write a graph as a spec that has the same figures."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import zip_longest

from archcalc.analysis.figures import FIGURES
from archcalc.analysis.report import Report, analyze
from archcalc.errors import ArchcalcError, SpecError
from archcalc.graph.graph import Graph, Node
from archcalc.ops import REGISTRY
from archcalc.ops.shape import USUAL, Shape
from archcalc.spec.expansion import expand
from archcalc.spec.network_spec import SUFFIXES, is_network_name, parse_spec
from archcalc.writing.blocks import in_blocks
from archcalc.writing.layout import spec_text
from archcalc.writing.nesting import nested, own_name
from archcalc.writing.terms import Ref, free_name, values_of

CHANGED = ("layers", "receptive_field_at")  # the figures that `identity` and other names of layers change


def spec_of_graph(graph: Graph) -> str:
    """Return a spec of a graph; of a file that was translated to one, that text.

    Raises ArchcalcError, with all reasons, if the language cannot describe it.
    """
    own = graph.origin
    if own and own.path and not own.path.endswith(SUFFIXES) and not own.changed:
        return own.text
    if problems := [*missing(graph)]:
        listed = "".join(f"\n  {problem}" for problem in problems)
        raise ArchcalcError(f"{graph.name} cannot be written as a spec:{listed}")
    try:
        text = unchecked(graph)
    except RecursionError:
        raise ArchcalcError(f"{graph.name} cannot be written as a spec: its joins are nested too deeply") from None
    compare(graph, text)
    return text


def unchecked(graph: Graph) -> str:
    """Return a spec of a graph that the language can describe, without comparing its figures.

    Raises ArchcalcError if a step reads what only a side output can read.
    """
    single = len(graph.inputs) == 1
    names: dict[int, str] = {}
    for i, node in enumerate(graph.inputs):
        names[i] = "image" if single else free_name(own_name(node.name), names.values())
    steps = nested(graph, names)
    if any(isinstance(value, Ref) for value in values_of(steps)):
        raise ArchcalcError(f"{graph.name} cannot be written as a spec: its side outputs read each other")
    named = not single or names[0] in values_of(steps)
    inputs = {names[i] if named else "": _shape(node.output) for i, node in enumerate(graph.inputs)}
    return spec_text(_network_name(graph.name), graph.about, inputs, *in_blocks(steps))


def _network_name(name: str) -> str:
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", name.rpartition("/")[2]).strip("-.") or "network"
    name = name.removesuffix(SUFFIXES[0]).removesuffix(SUFFIXES[1])
    return name if is_network_name(name) else f"network-{name}"[:90]


def _shape(shape: Shape) -> str:
    if shape.axes in USUAL:
        return str([*shape])
    return "{" + ", ".join(f"{axis}: {size}" for axis, size in zip(shape.axes, shape, strict=True)) + "}"


def missing(graph: Graph) -> Iterator[str]:
    """Yield what the language lacks, and where."""
    read = {i for node in graph.nodes for i in node.inputs} | {*graph.ends}
    where: dict[str, list[str]] = {}
    for i, node in enumerate(graph.nodes[len(graph.inputs) :], len(graph.inputs)):
        what = ""
        if node.op.name == "never run":
            what = "its weights never run, and a spec has only what runs; delete it from the module"
        elif REGISTRY.get(node.op.name) is not type(node.op):
            what = f"no operator of specs is {node.op.name}"
        elif not node.output.axes:
            what = f"a shape without named axes: {node.output.text}"
        elif node.inputs and _read(graph, node) != node.x:
            what = f"{node.op.name} reads the axes of its input in another way"
        elif i not in read:
            what = "nothing reads its output"
        where.setdefault(what, []).append(node.name)
    for what, names in where.items():
        if what:
            yield f"{', '.join(names[:3])}{f' and {len(names) - 3} more' if len(names) > 3 else ''}: {what}"


def _read(graph: Graph, node: Node) -> object:
    shapes = tuple([graph.nodes[i].output for i in node.inputs])
    return shapes if node.op.joins else shapes[0]


def compare(graph: Graph, text: str) -> None:
    """Raise ArchcalcError if a spec has other figures than a graph, or is not valid."""
    try:
        spec = parse_spec(text)
        again = expand(spec, spec.name)
    except SpecError as error:
        raise ArchcalcError(f"{graph.name} cannot be written as a spec: its text is not valid\n{error}") from None
    for mode in ("infer", "train"):
        one, other = (analyze(own, mode=mode) for own in (graph, again))
        pairs = [("layers", *pair) for pair in zip_longest(_layers(one), _layers(other), fillvalue="none")]
        pairs += [(key, getattr(one.totals, key), getattr(other.totals, key)) for key in FIGURES if key not in CHANGED]
        for what, before, after in pairs:
            if before != after:
                found = f"its {what} would be {after}, not {before}"
                raise ArchcalcError(f"{graph.name} cannot be written as a spec: {found}")


def _layers(report: Report) -> list[str]:
    nodes = [layer.node for layer in report.layers]
    return [f"{node.op.name} {node.output.text}" for node in nodes if node.op.name != "identity"]
