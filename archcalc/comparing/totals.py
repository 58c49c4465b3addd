"""Networks side by side: their totals, what is published of their accuracy, and ratios against the first."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any, NamedTuple

from archcalc.analysis.report import Report, analyze
from archcalc.auditing.claims import Accuracy, accuracies_of
from archcalc.catalog import Broken, load_with, matching, members, titles
from archcalc.errors import ArchcalcError, SpecError
from archcalc.graph.gc_pause import uncollected
from archcalc.graph.graph import Graph, require_graph

RATIOS = ("params", "macs", "flops", "activations")
DATASETS = ("ImageNet validation", "CIFAR-10, augmented")  # preferred, so that networks are compared on the same images


class Errors(NamedTuple):
    """Published errors of one network in percent, as printed, both of one test; of an accuracy, what is left of 100."""

    top1: str | None
    top5: str | None
    dataset: str
    protocol: str
    source: str

    @property
    def top1_error(self) -> float | None:
        """The error of the first guess as a number."""
        return None if self.top1 is None else float(self.top1)

    @property
    def top5_error(self) -> float | None:
        """The error of the first five guesses as a number."""
        return None if self.top5 is None else float(self.top5)


class Entry(NamedTuple):
    """One network of a comparison."""

    name: str
    year: int | None
    figures: Mapping[str, Any]  # of the network, by the keys of the registry
    ratios: Mapping[str, float | None]  # of RATIOS against the first network; None where that has none of it
    errors: Errors | None  # None: nothing is published of it, or not with these params and this input


class Comparison(NamedTuple):
    """Networks side by side, in the order they were given, under the same conditions."""

    batch: int
    dtype: str
    mode: str
    convention: str
    entries: tuple[Entry, ...]


@uncollected
def compare(
    *networks: Graph | Report, batch: int = 1, dtype: str = "float32", mode: str = "infer", flops: str = "all"
) -> Comparison:
    """Totals of networks side by side, with ratios against the first: `compare(load("vgg16"), load("resnet50"))`.

    Graphs are analysed under the conditions given, as by `analyze`; reports bring theirs. Raises ArchcalcError where
    there is no network, or where reports are not of the same conditions.
    """
    for network in networks:
        if not isinstance(network, Report):
            require_graph("compare", network)
    return gather(
        network if isinstance(network, Report) else analyze(network, batch, dtype, mode, flops) for network in networks
    )


def gather(reports: Iterable[Report]) -> Comparison:
    """As `compare`, of reports that come one by one; only their totals are kept."""
    entries: list[Entry] = []
    conditions: tuple[int, str, str, str] | None = None
    for report in reports:
        own = report.batch, report.dtype, report.mode, report.convention.name
        conditions = conditions or own
        if own != conditions:
            texts = " and ".join(", ".join(map(str, (f"batch {c[0]}", *c[1:]))) for c in (conditions, own))
            raise ArchcalcError(f"{report.graph.name} is not of the conditions of those before it: {texts}")
        entries.append(_entry(report, entries[0] if entries else None))
        del report  # before the next one is made
    if conditions is None:
        raise ArchcalcError("no network to compare")
    return Comparison(*conditions, tuple(entries))


def _entry(report: Report, first: Entry | None) -> Entry:
    figures, about = report.totals.figures, report.graph.about
    against = first.figures if first else figures
    ratios = {key: figures[key] / count if (count := against[key]) else None for key in RATIOS}
    return Entry(report.graph.name, about.paper.get("year"), figures, ratios, published_errors(report.graph))


def published_errors(graph: Graph) -> Errors | None:
    """The published errors of one test that make networks comparable; None where there are none.

    On ImageNet's validation set, or on augmented CIFAR-10, before other data; of a single crop of the network's own
    input size before other single crops, then other tests of one network, several crops, and ensembles last. Of tests
    that are as good, the one with more figures, then the first in the spec.
    """
    tests: dict[tuple[str, str, str], list[Accuracy]] = {}
    for accuracy in accuracies_of(graph.origin):
        tests.setdefault((accuracy.dataset, accuracy.protocol, accuracy.source), []).append(accuracy)
    if not tests:
        return None
    best = min(tests, key=lambda test: (*_preference(test[0], test[1], graph.input[-1]), -len(tests[test])))
    found = dict(map(_error, reversed(tests[best])))
    return Errors(found.get("top1"), found.get("top5"), *best)


def _preference(dataset: str, protocol: str, size: int) -> tuple[int, int]:
    """How far from the preferred a test is."""
    data = DATASETS.index(dataset) if dataset in DATASETS else len(DATASETS)
    if "ensemble" in protocol:
        return data, 4
    if protocol.startswith(("single crop", "single frame")):
        return data, 0 if protocol == f"single crop {size}" else 1
    return data, 3 if "crops" in protocol or "dense" in protocol else 2


def _error(accuracy: Accuracy) -> tuple[str, str]:
    """Of which guesses an error is, `top1` or `top5`, and its digits."""
    metric, is_error, _ = accuracy.metric.partition("_error")
    return metric, accuracy.printed if is_error else str(100 - Decimal(accuracy.printed))


def loaded(
    names: Sequence[str], family: str | None, params: Mapping[str, Any], input: Sequence[int] | None, broken: Broken
) -> Iterator[Graph]:
    """Graphs of the networks that are `named`, one by one.

    A broken spec that no one asked for by name is told to `broken` and passed over. Raises ArchcalcError, which names
    the network, for params and an input that do not suit one.
    """
    found = named(names, family, broken)
    called = titles(found)
    for name in found:
        asked = name in names or params or input is not None
        try:
            yield load_with(name, params, input, called[name])
        except ArchcalcError as error:
            if isinstance(error, SpecError) and (params or input is not None):
                raise ArchcalcError(f"{name}: {error}") from None
            if broken is None or asked:
                raise
            broken(error)


def named(names: Sequence[str], family: str | None, broken: Broken) -> list[str]:
    """Networks by name, path or pattern, then those of a family, in that order.

    A name given twice is there twice; a pattern or family brings only what is not there yet. Raises ArchcalcError for
    a pattern that nothing matches, and where there is no such family.
    """
    found: list[str] = []
    for name in names:
        meant = matching([name], broken)
        found += meant if meant == [name] else [other for other in meant if other not in found]
    kin = members(family, broken) if family is not None else []
    return found + [name for name in kin if name not in found]
