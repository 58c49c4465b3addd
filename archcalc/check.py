"""Linting a spec: every network in it is expanded and analysed, and its published figures are judged."""

from __future__ import annotations

from pathlib import Path

from archcalc.analysis import analyze
from archcalc.catalog import build, read_spec
from archcalc.published import audit


def check_spec(path: str) -> tuple[list[str], tuple[str, ...]]:
    """What a spec leaves unused (a line each, with its place) and the networks it holds.

    Raises SpecError for what is wrong in it, in any of its networks.
    """
    spec = read_spec(Path(path))
    for network in spec.networks():
        graph = build(spec, network)
        analyze(graph, mode="train")
        audit(graph)
    return [f"{place}: {what} is not used" for what, place in spec.unused], spec.networks()
