"""Linting a spec: every network in it is expanded and analysed, and its published figures are judged."""

from __future__ import annotations

from collections.abc import Iterator

from archcalc.analysis.report import analyze
from archcalc.auditing.claims import accuracies_of, recipes_of
from archcalc.auditing.verdicts import audit
from archcalc.catalog import build, origins, spec_of
from archcalc.errors import Place
from archcalc.graph.graph import Graph
from archcalc.ops import format_shape
from archcalc.spec.hints import channels_last


def check_spec(path: str) -> tuple[list[str], tuple[str, ...]]:
    """Remarks on a spec (a line each, with its place: what is unused or looks wrong), and the networks it holds.

    Raises SpecError for what is wrong in it, in any of its networks.
    """
    found = origins(path)
    spec = spec_of(found[0])
    remarks = [f"{place}: {what} is not used" for what, place in spec.unused]
    for origin in found:
        graph = build(origin)
        audit(analyze(graph, mode="train"))
        accuracies_of(origin), recipes_of(origin)
        remarks += _doubts(graph, spec.input.place)
    return list(dict.fromkeys(remarks)), spec.networks()


def _doubts(graph: Graph, input_place: Place) -> Iterator[str]:
    """What is allowed, but hardly meant."""
    for node in graph.nodes[1:]:
        if node.op.name == "linear" and len(node.x) == 3:
            shape = format_shape(node.x)
            yield f"{node.place}: linear takes only the last axis of {shape}, the width; write flatten before it"
    if channels_last(graph.input):
        *size, channels = graph.input
        yield f"{input_place}: channels come first: write {[channels, *size]} for {list(graph.input)}"
