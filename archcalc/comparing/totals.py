"""Compare networks side by side: totals, ratios against the first network, and published errors."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from archcalc.analysis.at_least import ratio
from archcalc.analysis.figures import FIGURES
from archcalc.analysis.report import Report, analyze
from archcalc.comparing.accuracy import Errors, published_errors
from archcalc.errors import ArchcalcError, shorten
from archcalc.graph.gc_pause import uncollected
from archcalc.graph.graph import Graph, require_graph
from archcalc.shown import Shown

RATIOS = ("params", "macs", "flops", "activations")


class Entry(NamedTuple):
    """One network of a comparison."""

    name: str
    year: int | None
    figures: Mapping[str, Any]  # of the network, by the registry's keys
    ratios: Mapping[str, float | None]  # of RATIOS against the first network; None if its figure is 0 or unknown
    errors: Errors | None  # None: none are published, or not with these params and input
    without_rule: Mapping[str, str]  # layers of whose arithmetic something is unknown, and their functions


@dataclass(frozen=True)
class Comparison(Shown):
    """Networks in the order given, under the same conditions."""

    batch: int
    dtype: str
    mode: str
    convention: str
    optimizer: str  # of training steps; empty at inference
    training: Mapping[str, Any]  # the same for data
    entries: tuple[Entry, ...]
    against: str = ""  # the network that tables show ratios to; "": none


@uncollected
def compare(
    *networks: Graph | Report, batch: int = 1, dtype: str = "float32", mode: str = "infer", flops: str = "all"
) -> Comparison:
    """Compare totals of networks, with ratios against the first: `compare(load("vgg16"), load("resnet50"))`.

    Graphs are analysed under the given conditions (see `analyze`); reports have their own. Raises ArchcalcError for no
    networks, and for reports with different conditions.
    """
    for network in networks:
        if not isinstance(network, Report):
            require_graph("compare", network)
    return gather(
        network if isinstance(network, Report) else analyze(network, batch, dtype, mode, flops) for network in networks
    )


def relative(comparison: Comparison, name: str) -> Comparison:
    """Return the comparison with ratios against this network. Raises ArchcalcError if it is not among them."""
    known = {entry.name: entry for entry in reversed(comparison.entries)}
    if name not in known:
        listed = ", ".join(reversed(known))
        raise ArchcalcError(f"{shorten(repr(name))} is not compared; compare it, too, or name one of {listed}")
    base = known[name].figures
    entries = [entry._replace(ratios=_ratios(entry.figures, base)) for entry in comparison.entries]
    return replace(comparison, entries=tuple(entries), against=name)


def gather(reports: Iterable[Report], keys: Iterable[str] = FIGURES, errors: bool = True) -> Comparison:
    """Compare reports that come one by one, and keep only their totals: all figures, or those of `keys` and RATIOS.

    Without `errors` published error rates are not read.
    """
    wanted = list(dict.fromkeys((*RATIOS, "input", *keys)))
    entries: list[Entry] = []
    conditions: tuple[int, str, str, str, str] | None = None
    training: Mapping[str, Any] = {}
    for report in reports:
        training = report.training
        own = report.batch, report.dtype, report.mode, report.convention.name, report.optimizer
        conditions = conditions or own
        if own != conditions:
            texts = " and ".join(
                ", ".join(map(str, (f"batch {c[0]}", *filter(None, c[1:])))) for c in (conditions, own)
            )
            raise ArchcalcError(f"{report.graph.name} has other conditions than the networks before it: {texts}")
        entries.append(_entry(report, wanted, entries[0] if entries else None, errors))
        del report  # frees it before the next one is computed
    if conditions is None:
        raise ArchcalcError("no network to compare")
    return Comparison(*conditions, training, tuple(entries))


def _entry(report: Report, keys: Iterable[str], first: Entry | None, errors: bool) -> Entry:
    figures, about = report.totals.figures(keys), report.graph.about
    ratios = _ratios(figures, first.figures if first else figures)
    published = published_errors(report.graph) if errors else None
    return Entry(report.graph.name, about.paper.get("year"), figures, ratios, published, report.without_rule)


def _ratios(figures: Mapping[str, Any], base: Mapping[str, Any]) -> dict[str, float | None]:
    return {key: 1.0 if figures is base and figures[key] else ratio(figures[key], base[key]) for key in RATIOS}
