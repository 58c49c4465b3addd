"""Write a graph as a spec that has the same figures."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator

from archcalc.analysis.figures import FIGURES, summed
from archcalc.analysis.report import Layer, Report, analyze
from archcalc.errors import ArchcalcError, SpecError
from archcalc.graph.graph import Graph
from archcalc.ops import REGISTRY
from archcalc.ops.shape import USUAL, Shape
from archcalc.spec.expansion import expand
from archcalc.spec.layers import LABEL
from archcalc.spec.network_spec import SUFFIXES, parse_spec
from archcalc.writing.blocks import in_blocks
from archcalc.writing.layout import spec_text
from archcalc.writing.nesting import nested, own_name
from archcalc.writing.terms import Word, values_of

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
    """Return a spec of a graph that the language can describe, without comparing its figures."""
    single = len(graph.inputs) == 1
    names = {i: "image" if single else own_name(node.name) for i, node in enumerate(graph.inputs)}
    steps = nested(graph, names)
    named = not single or any(isinstance(value, Word) and value == names[0] for value in values_of(steps))
    inputs = {names[i] if named else "": _shape(node.output) for i, node in enumerate(graph.inputs)}
    return spec_text(graph, _network_name(graph.name), inputs, in_blocks(steps))


def _network_name(name: str) -> str:
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", name.rpartition("/")[2]).strip("-.") or "network"
    name = name.removesuffix(SUFFIXES[0]).removesuffix(SUFFIXES[1])
    return name if LABEL.fullmatch(name.replace(".", "_")) else f"network-{name}"[:90]


def _shape(shape: Shape) -> str:
    if shape.axes in USUAL:
        return str([*shape])
    return "{" + ", ".join(f"{axis}: {size}" for axis, size in zip(shape.axes, shape, strict=True)) + "}"


def missing(graph: Graph) -> Iterator[str]:
    """Yield what the language lacks, and where."""
    read = {i for node in graph.nodes for i in node.inputs} | {*graph.ends}
    ends = _side_ends(graph)
    where: dict[str, list[str]] = {}
    for i, node in enumerate(graph.nodes):
        if node.op.name == "never run":
            what = "its weights never run, and a spec has only what runs; delete it from the module"
            where.setdefault(what, []).append(node.name)
        elif node.op.name != "input" and REGISTRY.get(node.op.name) is not type(node.op):
            where.setdefault(f"no operator of specs is {node.op.name}", []).append(node.name)
        elif not node.output.axes:
            where.setdefault(f"a shape without named axes: {node.output.text}", []).append(node.name)
        elif node.op.name != "input" and node.inputs and _read(graph, i) != node.x:
            what = f"{node.op.name} reads the axes of its input in another way"
            where.setdefault(what, []).append(node.name)
        elif node.side and ends[i] != {min(end for end in graph.sides if end >= i)}:
            where.setdefault("one side output is inside another one", []).append(node.name)
        elif node.shared and graph.nodes[node.shared.node].side:
            where.setdefault("it has the weights of a side output", []).append(node.name)
        elif i not in read:
            where.setdefault("nothing reads its output", []).append(node.name)
    for what, names in where.items():
        yield f"{', '.join(names[:3])}{f' and {len(names) - 3} more' if len(names) > 3 else ''}: {what}"


def _side_ends(graph: Graph) -> list[set[int]]:
    """Return for each node on a side output the side outputs that it leads to."""
    ends: list[set[int]] = [{i} & {*graph.sides} for i, _ in enumerate(graph.nodes)]
    for i, node in reversed([*enumerate(graph.nodes)]):
        for read in node.inputs:
            ends[read] |= ends[i] if graph.nodes[read].side else set()
    return ends


def _read(graph: Graph, at: int) -> object:
    shapes = tuple([graph.nodes[i].output for i in graph.nodes[at].inputs])
    return shapes if graph.nodes[at].op.joins else shapes[0]


def compare(graph: Graph, text: str) -> None:
    """Raise ArchcalcError if a spec has other figures than a graph, or is not valid."""
    try:
        spec = parse_spec(text)
        again = expand(spec, spec.name)
    except SpecError as error:
        raise ArchcalcError(f"{graph.name} cannot be written as a spec: its text is not valid\n{error}") from None
    for mode in ("infer", "train"):
        for what, before, after in _differences(analyze(graph, mode=mode), analyze(again, mode=mode)):
            found = f"its {what} would be {after}, not {before}"
            raise ArchcalcError(f"{graph.name} cannot be written as a spec: {found}")


def _differences(one: Report, other: Report) -> Iterator[tuple[str, object, object]]:
    """Yield each figure that differs, with both values."""
    rows = _rows(one), _rows(other)
    operators = [Counter(layer.node.op.name for layer, _ in own) for own in rows]
    if operators[0] != operators[1]:
        yield "operators", dict(operators[0] - operators[1]), dict(operators[1] - operators[0])
    for (before, figures), (after, others) in zip(*rows, strict=False):
        of = f"of {before.node.name}"
        if before.node.output != after.node.output:
            yield f"shape {of}", before.node.output.text, after.node.output.text
        yield from ((f"{key} {of}", value, others[key]) for key, value in figures.items() if value != others[key])
    for key in FIGURES:
        if key not in CHANGED and getattr(one.totals, key) != getattr(other.totals, key):
            yield key, getattr(one.totals, key), getattr(other.totals, key)


def _rows(report: Report) -> list[tuple[Layer, dict[str, int]]]:
    """Return layers with their figures; those of an `identity`, such as sums of gradients, count for its input."""
    rows: dict[str, tuple[Layer, dict[str, int]]] = {}
    for layer in report.layers:
        figures = {key: getattr(layer, key) for key in summed() if key not in CHANGED}
        if layer.node.op.name != "identity":
            rows[layer.node.name] = layer, figures
            continue
        rows[layer.node.name] = own = rows[layer.inputs[0]]
        for key, value in figures.items():
            own[1][key] += value
    return [row for name, row in rows.items() if row[0].node.name == name]
