"""Published accuracy: the test of each network that tables and pictures show, and accuracy against computed MACs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import NamedTuple

from archcalc.analysis.report import analyze
from archcalc.auditing.claims import Accuracy, accuracies_of
from archcalc.catalog import load_with, networks, origin, titles
from archcalc.errors import ArchcalcError
from archcalc.graph.graph import Graph

DATASET = "ImageNet validation"
TORCHVISION = "torchvision/"
DATASETS = (DATASET, "CIFAR-10, augmented")  # preferred, so that networks share a test


class Errors(NamedTuple):
    """Published errors of one network in percent as printed, both from one test; an accuracy becomes 100 − accuracy."""

    top1: str | None
    top5: str | None
    dataset: str
    protocol: str
    source: str

    @property
    def top1_error(self) -> float | None:
        """The top-1 error as a number."""
        return None if self.top1 is None else float(self.top1)

    @property
    def top5_error(self) -> float | None:
        """The top-5 error as a number."""
        return None if self.top5 is None else float(self.top5)


class Point(NamedTuple):
    """A network; `top1` is in percent. If the source prints an `error`, `top1` is 100 − error.

    Without a source it is the figure of whoever draws the picture.
    """

    name: str
    family: str
    macs: int
    params: int
    top1: float
    source: str
    note: str
    error: bool = False


def published_points(names: Iterable[str]) -> tuple[list[Point], list[str]]:
    """Return a point for each network that has one, and the names of the others."""
    found = {title: published_point(name, title) for name, title in titles(names).items()}
    return [p for p in found.values() if p], [name for name, p in found.items() if p is None]


def points_or_torchvisions(names: Sequence[str]) -> tuple[list[Point], list[str]]:
    """Like `published_points`; if a paper tests otherwise (VGG), the point is of torchvision's network of that name."""
    points, without = published_points(names)
    instead = {TORCHVISION + name for name in without if name in names} & {*networks(broken=lambda error: None)}
    points += published_points(sorted(instead - {*names}))[0]
    return points, [name for name in without if TORCHVISION + name not in instead]


def own_point(name: str, top1: float) -> Point:
    """Return the point of a network with a top-1 that is not published."""
    return _point(load_with(name, {}, title=titles([name])[name]), top1)


def _point(graph: Graph, top1: float, source: str = "", note: str = "", error: bool = False) -> Point:
    """Return the point of a network. Raises ArchcalcError if it has no place in a picture."""
    totals = analyze(graph).totals
    if not totals.macs or not totals.params:
        raise ArchcalcError(
            f"{graph.name} has no place in the picture: its MACs or params are zero or unknown; omit it"
        )
    return Point(graph.name, graph.about.family, totals.macs, totals.params, top1, source, note, error)


def published_point(name: str, title: str = "") -> Point | None:
    """Return a network's point: the top-1 of its chosen test, if that is a single crop that is as large as its input.

    None if there is none: ten crops, dense evaluation and ensembles are other protocols and not comparable. `title` is
    the name of the point, if given.
    """
    if all(accuracy.dataset != DATASET for accuracy in accuracies_of(origin(name))):
        return None  # most networks have none; do not build their layers
    graph = load_with(name, {}, title=title)
    found = next((accuracy for accuracy in _chosen_test(graph) if accuracy.metric.startswith("top1")), None)
    if found is None or _preference(found, graph.input.last) != (0, 0):
        return None
    top1 = float(100 - Decimal(_error(found)[1]))
    return _point(graph, top1, found.source, found.note, found.metric == "top1_error")


def published_errors(graph: Graph) -> Errors | None:
    """Return the published errors of the network's chosen test; None if none are published."""
    test = _chosen_test(graph)
    found = dict(map(_error, reversed(test)))
    return Errors(found.get("top1"), found.get("top5"), *test[0][2:5]) if test else None


def _chosen_test(graph: Graph) -> list[Accuracy]:
    """Choose the accuracies of one published test, so that networks are comparable; none if none are published.

    Data: ImageNet's validation set or augmented CIFAR-10 come before others. Protocol: a single crop of the network's
    own input size comes first, then other single crops, other tests of one network, several crops, and ensembles. Among
    equal tests the one with more figures is chosen, then the first in the spec.
    """
    tests: dict[tuple[str, str, str], list[Accuracy]] = {}
    for accuracy in accuracies_of(graph.origin):
        tests.setdefault((accuracy.dataset, accuracy.protocol, accuracy.source), []).append(accuracy)
    size = graph.input.last
    return min(tests.values(), key=lambda test: (*_preference(test[0], size), -len(test)), default=[])


def _preference(accuracy: Accuracy, size: int) -> tuple[int, int]:
    """Return a sort key of a test; the preferred test has the smallest."""
    dataset, protocol = accuracy.dataset, accuracy.protocol
    data = DATASETS.index(dataset) if dataset in DATASETS else len(DATASETS)
    if "ensemble" in protocol:
        return data, 4
    if protocol.startswith(("single crop", "single frame")):
        return data, 0 if protocol == f"single crop {size}" else 1
    return data, 3 if "crops" in protocol or "dense" in protocol else 2


def _error(accuracy: Accuracy) -> tuple[str, str]:
    """Return the kind of an error, `top1` or `top5`, and its printed digits."""
    metric, is_error, _ = accuracy.metric.partition("_error")
    return metric, accuracy.printed if is_error else str(100 - Decimal(accuracy.printed))


def frontier(points: Sequence[Point]) -> list[Point]:
    """Return the points that no other point with as few MACs beats, sorted by MACs."""
    best: list[Point] = []
    for candidate in sorted(points, key=lambda p: (p.macs, -p.top1)):
        if not best or candidate.top1 > best[-1].top1:
            best.append(candidate)
    return best
