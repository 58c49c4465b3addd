"""Published figures held against computed ones: verdicts are worked out here, never written down.

A printed figure is reproduced where it is **exact**, **rounds** or **truncates** (see `printed`), or is

* **explained**: equal under another accounting that is stated and computed: MB read as MiB, or what the spec gives, as
  another network, resolution or mode, or arithmetic over the figures;

and else it is **contradicted**: no accounting known gives it. A spec says of such a figure why (`clash`). One
contradicted without a reason, or a reason for one that is reproduced, does not hold, and `archcalc audit` exits with 1.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePath
from typing import Any, NamedTuple

from archcalc.analysis import MODES, Report, analyze
from archcalc.catalog import load_setting
from archcalc.errors import ArchcalcError, SpecError, shorten, suggest
from archcalc.figures import FIGURES, by_name, figure_of
from archcalc.graph import Accounting, Claim, Graph, Setting
from archcalc.printed import (
    BINARY_BYTES,
    BYTES,
    COUNTS,
    RATIOS,
    Dimensions,
    Number,
    Scales,
    read_dimensions,
    read_number,
)

VERDICTS = ("exact", "rounds", "truncates", "explained", "contradicted")


class Verdict(NamedTuple):
    """A claim with what was computed for it, the verdict, and the accounting that explains it, if one does."""

    claim: Claim
    computed: Any
    verdict: str
    accounting: str = ""
    explained: Any = None

    @property
    def holds(self) -> bool:
        """Whether the spec says of it what is the case: a reason for a clash, none for a figure reproduced."""
        return (self.verdict == "contradicted") == bool(self.claim.clash)


def unit_of(claim: Claim) -> str:
    """The unit of a claim's figure; what is worked out from figures is a ratio unless it is called a figure."""
    return FIGURES[claim.figure][1] if claim.figure else "ratio"


def audit(graph: Graph) -> list[Verdict]:
    """A verdict on each figure published of a network; batch 1, float32. Raises SpecError for one it cannot judge."""
    judge = _Judge(graph)
    return [judge.placed(claim) for claim in graph.about.claims]


class _Judge:
    """Works out figures of one network, and of the settings that its claims mention."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.reports: dict[tuple[Any, ...], Report] = {}
        self.named: dict[int, dict[str, Any]] = {}

    def placed(self, claim: Claim) -> Verdict:
        """The verdict on one claim. Raises SpecError, at its place, if it cannot be judged."""
        try:
            return self.verdict(claim)
        except SpecError:
            raise
        except (ValueError, ArchcalcError) as error:
            raise SpecError(str(error), claim.places["printed"]) from None

    def verdict(self, claim: Claim) -> Verdict:
        """The verdict on one claim. Raises ValueError or ArchcalcError if it cannot be judged."""
        _check(claim)
        computed = self.figure(claim, Setting())
        printed = _read(claim.printed, unit_of(claim))
        accountings = list(self.accountings(claim, printed, computed))  # all: one that fails is told in any case
        verdict = printed.verdict(computed)
        if verdict in ("exact", "rounds"):
            return Verdict(claim, computed, verdict)
        ways = {read.verdict(value): (text, value) for text, read, value in reversed(accountings)}
        ways |= {"truncates": ("", None)} if verdict else {}
        for kind in ("exact", "rounds", "truncates"):  # cut off is a weaker agreement than rounded
            if kind in ways:
                return Verdict(claim, computed, "explained" if ways[kind][0] else verdict, *ways[kind])
        return Verdict(claim, computed, "contradicted")

    def accountings(self, claim: Claim, printed: Any, computed: Any) -> Iterator[tuple[str, Any, Any]]:
        """Other ways to count: a text, the printed number as it then reads, the value."""
        ways = [("", computed)] if unit_of(claim) == "bytes" else []
        ways += [(accounting.text, self.accounted(claim, accounting)) for accounting in claim.accountings]
        for text, value in ways:
            if text:
                yield text, printed, value
            if unit_of(claim) == "bytes":
                binary = "its units are of 1,024"
                yield f"{text}, {binary}" if text else binary, read_number(claim.printed, BINARY_BYTES), value

    def accounted(self, claim: Claim, accounting: Accounting) -> Any:
        """The value that an accounting gives. Raises SpecError, at its place, for a setting that cannot be."""
        try:
            computed = self.figure(claim, accounting.setting)
            if accounting.value is None:
                return computed
            figures = self.figures(claim, accounting.setting) | {"computed": computed}
        except SpecError:
            raise
        except ArchcalcError as error:
            raise SpecError(str(error), accounting.setting.place) from None
        return _number(accounting.value(figures), f"the accounting {shorten(accounting.text)!r}")

    def figure(self, claim: Claim, setting: Setting) -> Any:
        """What a claim is of, in a setting."""
        if claim.value is not None:
            return _number(claim.value(self.figures(claim, setting)), "the value")
        report = self.report(claim, setting)
        return figure_of(report, claim.figure, claim.layer)

    def figures(self, claim: Claim, setting: Setting) -> dict[str, Any]:
        """All figures by name, for arithmetic; `against` has those of the network the claim compares with."""
        figures = self.named_figures(self.report(claim, setting))
        against = setting.against or claim.against
        if against:
            other = self.named_figures(self.report(claim, Setting(against)))
            figures = figures | {"against": other}
        return figures

    def named_figures(self, report: Report) -> dict[str, Any]:
        if id(report) not in self.named:
            self.named[id(report)] = by_name(report)
        return self.named[id(report)]

    def report(self, claim: Claim, setting: Setting) -> Report:
        """The figures of a setting's network; each is analysed once."""
        mode = setting.mode or claim.mode
        own = not (setting.network or setting.params or setting.input)
        key = (setting.network, id(setting.params), setting.input, mode, setting.convention)
        if key not in self.reports:
            graph = self.graph if own else self.other(setting)
            self.reports[key] = analyze(graph, mode=mode, flops=setting.convention)
        return self.reports[key]

    def other(self, setting: Setting) -> Graph:
        """The graph of a setting. Raises ArchcalcError: where in another file it fails is said in its text."""
        try:
            return load_setting(setting, self.graph.name)
        except SpecError as error:
            where = f" ({PurePath(str(error.place)).name})" if error.place else ""
            raise ArchcalcError(f"{setting.network or self.graph.name}: {error.message}{where}") from None


def _check(claim: Claim) -> None:
    """Raises SpecError for a claim of what is no figure, or in no mode."""
    if claim.figure and claim.figure not in FIGURES:
        hint = suggest(claim.figure, FIGURES)
        raise SpecError(f"no figure {shorten(claim.figure)!r} to compare with", claim.places["figure"], hint)
    if claim.mode not in MODES:
        raise SpecError(f"unknown mode {shorten(claim.mode)!r}", claim.places["mode"], f"known: {', '.join(MODES)}")


def _read(text: str, unit: str) -> Number | Dimensions:
    if unit == "shape":
        return read_dimensions(text)
    scales: dict[str, Scales] = {"bytes": BYTES, "ratio": RATIOS}
    return read_number(text, scales.get(unit, COUNTS))


def _number(value: Any, what: str) -> Any:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"{what} gives no number")
    return int(value) if value == int(value) else value
