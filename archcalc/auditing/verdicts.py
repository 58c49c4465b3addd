"""Check published figures against computed ones: verdicts are computed here, never written in a spec.

A printed figure is reproduced if the verdict is **exact**, **rounds**, **truncates** or **within** a bound (the rules
are in `printed`), or

* **explained**: it matches, by the same rules, under another accounting of the same network: MB read as MiB, an
  accounting of the spec (other params, resolution or mode, or a formula over the figures), or the convention of a tool,
  if the number has EVIDENCE digits.

Otherwise it is **contradicted**: no known accounting gives it. The spec gives the reason (`clash`).

`archcalc audit` exits with 1 if a contradicted figure has no reason, if a reproduced figure has one, or if an
accounting does not give a figure for which it is written. An accounting of a column is written for all rows.
"""

import os
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from archcalc.analysis.at_least import AtLeast
from archcalc.analysis.conventions import CONVENTIONS
from archcalc.analysis.figures import FIGURES, SMALL_COUNTS, stated
from archcalc.analysis.report import MODES, Report, analyze
from archcalc.auditing.claims import Accounting, Claim, Setting, claims_of
from archcalc.auditing.figures import Figures, Numbers
from archcalc.catalog import variant
from archcalc.errors import ArchcalcError, Place, Refusal, SpecError, shorten, suggest
from archcalc.graph.gc_pause import uncollected
from archcalc.graph.graph import Graph, require_graph
from archcalc.printed import BINARY_BYTES, COUNTS, SCALES, Dimensions, Number, read_dimensions, read_number
from archcalc.spec.limits import shared

UNIT_NAMES = frozenset(figure.unit for figure in stated().values()) - {"shape"}
OPERATIONS = ("macs", "flops")  # figures that conventions count
PLAIN = ("macs", "all")  # conventions that are no tool's
UNITS = "in units of 1,024"
MAX_STEPS = 100_000  # most steps of all accountings of one network
MAX_KEPT = 20_000  # most layers, over all settings, whose figures are kept for the next claim
VERDICTS = ("exact", "rounds", "truncates", "within", "explained", "contradicted")
MATCHES = ("exact", "rounds", "within", "truncates")  # best first: cut off is weaker than rounded


class Verdict(NamedTuple):
    """A claim, its computed figure, the verdict with its basis, and the accounting that explains it."""

    claim: Claim
    computed: Any
    verdict: str
    match: str = ""  # how the printed number matches the computed or explained one: one of MATCHES
    digits: int | None = None  # number of significant digits; None for a bound or a shape
    about: bool = False
    by: float | None = None  # distance between a bound and the computed number, as a fraction of the bound
    accounting: str = ""
    explained: Any = None
    because: str = ""  # why the accounting applies to this cell only
    failed: tuple[str, ...] = ()  # accountings of this claim that do not give the figure

    @property
    def holds(self) -> bool:
        """True if the `clash` note and the verdict agree, and no accounting failed."""
        if self.verdict == "contradicted":
            return bool(self.claim.clash)
        return not self.claim.clash and not self.failed


class Way(NamedTuple):
    """One way to count: the printed number read in its units, and the value."""

    printed: Number | Dimensions
    value: Any
    text: str = ""  # of the accounting; "": the figure itself
    because: str = ""

    @property
    def match(self) -> str:
        return self.printed.verdict(self.value)


def unit_of(claim: Claim) -> str:
    """Return the unit of a claim; a formula over figures gives a ratio by default."""
    return FIGURES[claim.figure].unit if claim.figure else claim.unit or "ratio"


@uncollected
def audit(network: Graph | Report, layers: bool = True) -> list[Verdict]:
    """Return a verdict on each published figure of a network, and with `layers` of its layers; batch 1, float32.

    A report with these conditions is not computed again. Raises SpecError for a claim that cannot be checked.
    """
    graph = network.graph if isinstance(network, Report) else network
    require_graph("audit", graph)
    judge = _Judge(graph, network if isinstance(network, Report) else None)
    with shared(MAX_STEPS, "the accountings of published figures"):
        return [judge.placed(claim) for claim in claims_of(graph.origin, layers)]


class _Judge:
    """Computes figures of one network, and of the settings in its claims."""

    def __init__(self, graph: Graph, report: Report | None = None) -> None:
        self.graph = graph
        self.settings: dict[tuple[Any, ...], Figures] = {}
        if report and (report.batch, report.dtype) == (1, "float32"):
            own = Setting(mode=report.mode, convention=report.convention.name)
            self.settings[_key(own, report.mode)] = Figures(report)

    def placed(self, claim: Claim) -> Verdict:
        """Return the verdict on one claim. Raises SpecError, at its place, if it cannot be checked."""
        try:
            return self.verdict(claim)
        except Refusal as error:
            raise SpecError(str(error), claim.places["printed"]) from None

    def verdict(self, claim: Claim) -> Verdict:
        """Return the verdict on one claim. Raises Refusal if the printed text cannot be read, otherwise SpecError."""
        _check(claim)
        value = self.computed(claim, Setting(), claim.places.get("layer", claim.places["printed"]))
        own, ways, failed = _ways(claim, value), list[Way](), list[str]()
        for accounting in claim.accountings:
            found = _ways(claim, self.accounted(claim, accounting), accounting.text, accounting.because)
            ways += found
            failed += [] if any(way.match for way in found) else [accounting.text]
        units = [] if failed else [way for way in own if way.text]  # units are an accounting, too
        ways = [*(way for way in own if not way.text), *ways, *units]
        tools = () if any(way.match for way in ways) else self.by_tools(claim)
        return verdict_of(claim, value, [*ways, *tools], tuple(failed))

    def by_tools(self, claim: Claim) -> Iterator[Way]:
        """Yield what tools count, for a network's number of operations whose digits are evidence alone."""
        printed = _read(claim) if claim.figure in OPERATIONS and not claim.layer else None
        if isinstance(printed, Number) and printed.evident:
            from archcalc.analysis.ledger import ledger_of  # few claims come to this

            report = self.figures(claim, Setting()).report
            for name, convention in CONVENTIONS.items():
                counted = None if name in PLAIN else ledger_of(report, convention).figure
                if counted is not None and not isinstance(counted, AtLeast):
                    yield from _ways(claim, counted, f"by the convention {name}")

    def accounted(self, claim: Claim, accounting: Accounting) -> Any:
        """Return the value that an accounting gives. Raises SpecError."""
        setting, place = accounting.setting, accounting.setting.changes.place or claim.places["printed"]
        computed = self.computed(claim, setting, place)
        if accounting.value is None:
            return computed
        if unit_of(claim) == "shape":
            raise SpecError("an accounting of a shape cannot have `value`", place, "write `set`, `input` or `mode`")
        return _number(accounting.value(self.numbers(claim, setting, computed=computed)), accounting.text, place)

    def computed(self, claim: Claim, setting: Setting, place: Place) -> Any:
        """Compute a claim's figure in a setting. Raises SpecError, at `place` if the network does not have it."""
        if claim.value is not None:
            return _number(claim.value(self.numbers(claim, setting)), claim.what, claim.places["value"])
        figures = self.figures(claim, setting)
        try:
            return figures.figure(claim.figure, claim.layer)
        except ArchcalcError as error:
            raise SpecError(str(error), place) from None

    def numbers(self, claim: Claim, setting: Setting, **more: Any) -> Numbers:
        """Return the figures for formulas; `against` has those of another network in the same setting."""
        if claim.against:
            changes = setting.changes
            other = changes._replace(network=claim.against, place=changes.place or claim.places.get("against"))
            more["against"] = Numbers(self.figures(claim, setting._replace(changes=other)))
        return Numbers(self.figures(claim, setting), **more)

    def figures(self, claim: Claim, setting: Setting) -> Figures:
        """Return the figures of a setting's network; keep those of the network itself and of the last settings."""
        mode = setting.mode or claim.mode
        key = _key(setting, mode)
        if key not in self.settings:
            own = not setting.changes.written
            figures = self.analysed(self.graph if own else None, setting, mode)
            self.drop(0 if own else len(figures.report.runs))
            self.settings[key] = figures
        return self.settings[key]

    def drop(self, new: int) -> None:
        """Remove figures of settings, the oldest first, until there is room for `new` layers."""
        reports = {key: made.report for key, made in self.settings.items()}
        others = {key: len(report.runs) for key, report in reports.items() if report.graph is not self.graph}
        room = MAX_KEPT - new - sum(others.values())
        for key, layers in others.items():
            if room >= 0:
                return
            del self.settings[key]
            room += layers

    def analysed(self, graph: Graph | None, setting: Setting, mode: str) -> Figures:
        """Analyse a graph, or the setting's network. Raises SpecError; its text names a file that fails."""
        changes = setting.changes
        try:
            return Figures(analyze(graph or variant(self.graph, changes), mode=mode, flops=setting.convention))
        except SpecError as error:
            if graph and not changes.place:
                raise
            where = f" ({os.path.basename(str(error.place))})" if error.place else ""
            text = f"{changes.network or self.graph.name}: {error.message}{where}"
            raise SpecError(text, changes.place) from None
        except ArchcalcError as error:
            raise SpecError(str(error), changes.place) from None


def _key(setting: Setting, mode: str) -> tuple[Any, ...]:
    return setting.changes.written, mode, setting.convention


def _ways(claim: Claim, value: Any, text: str = "", because: str = "") -> list[Way]:
    """Pair a value with the printed number; for bytes also in units of 1,024, and only so if rounded `to` MiB."""
    ways = [Way(_read(claim), value, text, because)]
    if unit_of(claim) == "bytes":
        binary = read_number(claim.printed, BINARY_BYTES, claim.to) if not _binary(claim) else ways.pop().printed
        ways.append(Way(binary, value, f"{text}, {UNITS}" if text else UNITS, because))
    return ways


def verdict_of(claim: Claim, computed: Any, ways: Sequence[Way], failed: tuple[str, ...] = ()) -> Verdict:
    """Return the verdict of the way that matches best, the first if several do; there is at least one way."""
    match, best = min([(own, way) for way in ways if (own := way.match)], key=_rank, default=("", None))
    number = (best or ways[0]).printed
    facts = Verdict(claim, computed, "contradicted", failed=failed)
    if isinstance(number, Number):
        by = number.by(best.value if best else computed)
        facts = facts._replace(digits=None if number.bound else number.digits, about=number.about, by=by)
    if best:
        facts = facts._replace(verdict=match, match=match)
    if best and best.text:
        facts = facts._replace(verdict="explained", accounting=best.text, explained=best.value, because=best.because)
    return facts


def _rank(found: tuple[str, Way]) -> int:
    return MATCHES.index(found[0])


def _check(claim: Claim) -> None:
    """Raise SpecError if a claim has an unknown figure, unit or mode."""
    for key, known in (("figure", stated()), ("unit", UNIT_NAMES), ("mode", MODES)):
        name = getattr(claim, key)
        if name and name not in known:
            raise SpecError(f"unknown {key} {shorten(name)!r}", claim.places[key], suggest(name, known))


def _read(claim: Claim) -> Number | Dimensions:
    """Read what a claim prints. Raises Refusal."""
    unit = unit_of(claim)
    if unit == "shape":
        return read_dimensions(claim.printed)
    scales = BINARY_BYTES if unit == "bytes" and _binary(claim) else SCALES.get(unit, COUNTS)
    return read_number(claim.printed, scales, claim.to, unit in SMALL_COUNTS)


def _binary(claim: Claim) -> bool:
    """Whether MB means MiB, because the number is rounded `to` MiB."""
    return claim.to.lower().endswith("ib")


def _number(value: Any, what: str, place: Place) -> Any:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise SpecError(f"{shorten(what)!r} does not give a number", place)
    return int(value) if value == int(value) else value
