"""A network's FLOPs by every convention, each as a sum of parts by cause."""

from __future__ import annotations

from typing import NamedTuple

from archcalc.analysis.at_least import add_known
from archcalc.analysis.conventions import CONVENTIONS, Convention
from archcalc.analysis.report import Report


class Ledger(NamedTuple):
    """A network's FLOPs at inference by a convention; an AtLeast if some are unknown, None if all are."""

    convention: Convention
    figure: int | None
    parts: dict[str, int]  # by cause; they add up to the figure
    unknown: tuple[str, ...]  # the operators that the convention cannot count, in the order in which they run


def ledger_of(report: Report, convention: Convention) -> Ledger:
    """Return a network's FLOPs by a convention, with the report's batch."""
    parts: dict[str, int] = {}
    unknown = dict[str, None]()
    for run, times in report.distinct:
        counted = run.flops_by_cause(convention)
        if counted is None:
            unknown[run.node.op.name] = None
        for cause, count in (counted or {}).items():
            parts[cause] = parts.get(cause, 0) + count * times
    figure = add_known([*parts.values(), *[None] * len(unknown)])
    return Ledger(convention, figure, parts, tuple(unknown))


def ledgers_of(report: Report) -> list[Ledger]:
    """Return a network's FLOPs by each convention."""
    return [ledger_of(report, convention) for convention in CONVENTIONS.values()]
