"""Published accuracy against computed MACs: one point per network, and the best points."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from archcalc.analysis.report import analyze
from archcalc.auditing.claims import accuracies_of
from archcalc.catalog import load_with, origin, titles

DATASET = "ImageNet validation"


class Point(NamedTuple):
    """A network; `top1` is in percent. If the source prints an `error`, `top1` is 100 − error."""

    name: str
    family: str
    macs: int
    params: int
    top1: float
    source: str
    note: str
    error: bool = False


def papers_own(names: Iterable[str]) -> list[str]:
    """Return the names without a folder: networks as in their papers, not those of a library or course."""
    return [name for name in names if "/" not in name]


def published_points(names: Iterable[str]) -> tuple[list[Point], list[str]]:
    """Return a point for each network that has one, and the names of the others."""
    found = {title: published_point(name, title) for name, title in titles(names).items()}
    return [p for p in found.values() if p], [name for name, p in found.items() if p is None]


def published_point(name: str, title: str = "") -> Point | None:
    """Return a network's point: the first top-1 in its spec of a single crop that is as large as its input.

    None if there is none: ten crops, dense evaluation and ensembles are other protocols and not comparable. `title` is
    the name of the point, if given.
    """
    said = [accuracy for accuracy in accuracies_of(origin(name)) if accuracy.dataset == DATASET]
    if not said:
        return None  # most networks have none; do not build their layers
    graph = load_with(name, {}, title=title)
    single = [accuracy for accuracy in said if accuracy.protocol == f"single crop {graph.input[-1]}"]
    found = next((accuracy for accuracy in single if accuracy.metric in ("top1", "top1_error")), None)
    if found is None:
        return None
    totals, error, printed = analyze(graph).totals, found.metric == "top1_error", float(found.printed)
    top1 = round(100 - printed, 4) if error else printed
    return Point(graph.name, graph.about.family, totals.macs, totals.params, top1, found.source, found.note, error)


def frontier(points: Sequence[Point]) -> list[Point]:
    """Return the points that no other point with as few MACs beats, sorted by MACs."""
    best: list[Point] = []
    for candidate in sorted(points, key=lambda p: (p.macs, -p.top1)):
        if not best or candidate.top1 > best[-1].top1:
            best.append(candidate)
    return best
