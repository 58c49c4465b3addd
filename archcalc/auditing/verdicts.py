"""Published figures checked against computed ones: verdicts are worked out here, never written down.

A printed figure is reproduced where it is **exact**, **rounds**, **truncates** or lies **within** a bound (`printed`
has the rule), or is

* **explained**: equal, by the same rule, under another accounting of the same network that is stated and computed: MB
  read as MiB, or what the spec gives (other params, resolution or mode, or arithmetic over the figures);

and else it is **contradicted**: no accounting known gives it. The spec says why (`clash`).

`archcalc audit` exits with 1 if a figure is contradicted without a reason, if there is a reason for one that is
reproduced, or if an accounting does not give a figure it is written for. One that stands in a column is written for all
its rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePath
from typing import Any, NamedTuple

from archcalc.analysis.figures import FIGURES, SMALL_COUNTS, stated
from archcalc.analysis.report import MODES, Report, analyze
from archcalc.auditing.claims import Accounting, Claim, Setting, claims_of
from archcalc.auditing.figures import Figures
from archcalc.auditing.printed import BINARY_BYTES, COUNTS, SCALES, Dimensions, Number, read_dimensions, read_number
from archcalc.catalog import variant
from archcalc.errors import ArchcalcError, Place, Refusal, SpecError, shorten, suggest
from archcalc.graph.gc_pause import uncollected
from archcalc.graph.graph import Graph, require_graph
from archcalc.spec.limits import shared

UNIT_NAMES = frozenset(figure.unit for figure in stated().values()) - {"shape"}
UNITS = "in units of 1,024"
MAX_STEPS = 100_000  # that the accountings of one network's figures may take together
MAX_KEPT = 20_000  # layers of settings whose figures are kept for the next claim
VERDICTS = ("exact", "rounds", "truncates", "within", "explained", "contradicted")
MATCHES = ("exact", "rounds", "within", "truncates")  # the strongest first: cut off is weaker than rounded


class Verdict(NamedTuple):
    """A claim with what was computed for it, the verdict, what it rests on, and the accounting that explains it."""

    claim: Claim
    computed: Any
    verdict: str
    match: str = ""  # how the printed number agrees, as computed or as explained: one of MATCHES
    digits: int | None = None  # how many of its digits count; None for a bound or a shape
    about: bool = False
    by: float | None = None  # how far a bound is from the number compared with it, as a part of the bound
    accounting: str = ""
    explained: Any = None
    because: str = ""  # why the accounting is not for the whole column
    failed: tuple[str, ...] = ()  # accountings written for the figure that do not give it

    @property
    def holds(self) -> bool:
        """True if the spec is right about it: a reason for a clash, no reason and no failed accounting otherwise."""
        if self.verdict == "contradicted":
            return bool(self.claim.clash)
        return not self.claim.clash and not self.failed


class _Way(NamedTuple):
    """One way to count: the printed number as it then reads, and the value."""

    printed: Number | Dimensions
    value: Any
    text: str = ""  # of the accounting; "": the figure itself
    because: str = ""

    @property
    def match(self) -> str:
        return self.printed.verdict(self.value)


def unit_of(claim: Claim) -> str:
    """The unit of a claim's figure; what is worked out from figures is a ratio unless it says otherwise."""
    return FIGURES[claim.figure].unit if claim.figure else claim.unit or "ratio"


@uncollected
def audit(network: Graph | Report, layers: bool = True) -> list[Verdict]:
    """A verdict on each figure published of a network, and of its `layers`; batch 1, float32.

    A report's figures are used where they are of these conditions, and not computed again. Raises SpecError for a claim
    that cannot be judged.
    """
    graph = network.graph if isinstance(network, Report) else network
    require_graph("audit", graph)
    judge = _Judge(graph, network if isinstance(network, Report) else None)
    with shared(MAX_STEPS, "the accountings of published figures"):
        return [judge.placed(claim) for claim in claims_of(graph.origin) if layers or not claim.layer]


class _Judge:
    """Works out figures of one network, and of the settings that its claims mention."""

    def __init__(self, graph: Graph, report: Report | None = None) -> None:
        self.graph = graph
        self.settings: dict[tuple[Any, ...], Figures] = {}
        if report and (report.batch, report.dtype) == (1, "float32"):
            own = Setting(mode=report.mode, convention=report.convention.name)
            self.settings[_key(own, report.mode)] = Figures(report)

    def placed(self, claim: Claim) -> Verdict:
        """The verdict on one claim. Raises SpecError, at its place, if it cannot be judged."""
        try:
            return self.verdict(claim)
        except Refusal as error:
            raise SpecError(str(error), claim.places["printed"]) from None

    def verdict(self, claim: Claim) -> Verdict:
        """The verdict on one claim. Raises Refusal if what is printed cannot be read, SpecError for the rest."""
        _check(claim)
        value = self.computed(claim, Setting(), claim.places.get("layer", claim.places["printed"]))
        own, ways, failed = _ways(claim, value), list[_Way](), list[str]()
        for accounting in claim.accountings:
            found = _ways(claim, self.accounted(claim, accounting), accounting.text, accounting.because)
            ways += found
            failed += [] if any(way.match for way in found) else [accounting.text]
        units = [] if failed else [way for way in own if way.text]  # an accounting, too: not beside one that fails
        return _verdict(claim, value, [*(way for way in own if not way.text), *ways, *units], tuple(failed))

    def accounted(self, claim: Claim, accounting: Accounting) -> Any:
        """The value that an accounting gives. Raises SpecError."""
        setting, place = accounting.setting, accounting.setting.changes.place or claim.places["printed"]
        computed = self.computed(claim, setting, place)
        if accounting.value is None:
            return computed
        if unit_of(claim) == "shape":
            raise SpecError("a shape is not worked out from figures", place, "an accounting of it sets something else")
        return _number(accounting.value(self.numbers(claim, setting) | {"computed": computed}), accounting.text, place)

    def computed(self, claim: Claim, setting: Setting, place: Place) -> Any:
        """What a claim is of, in a setting. Raises SpecError, at `place` for what the network there lacks."""
        if claim.value is not None:
            return _number(claim.value(self.numbers(claim, setting)), claim.what, claim.places["value"])
        figures = self.figures(claim, setting)
        try:
            return figures.figure(claim.figure, claim.layer)
        except ArchcalcError as error:
            raise SpecError(str(error), place) from None

    def numbers(self, claim: Claim, setting: Setting) -> dict[str, Any]:
        """All figures by name, for arithmetic; `against` has those of another network in the same setting."""
        numbers = self.figures(claim, setting).numbers
        if not claim.against:
            return numbers
        changes = setting.changes
        other = changes._replace(network=claim.against, place=changes.place or claim.places.get("against"))
        return numbers | {"against": self.figures(claim, setting._replace(changes=other)).numbers}

    def figures(self, claim: Claim, setting: Setting) -> Figures:
        """The figures of a setting's network; the network's own are kept, and those of the last settings."""
        mode = setting.mode or claim.mode
        key = _key(setting, mode)
        if key not in self.settings:
            own = not setting.changes.written
            figures = self.analysed(self.graph if own else None, setting, mode)
            self.drop(0 if own else len(figures.report.layers))
            self.settings[key] = figures
        return self.settings[key]

    def drop(self, new: int) -> None:
        """Drop figures of settings, the oldest first, until there is room for `new` layers."""
        reports = {key: made.report for key, made in self.settings.items()}
        others = {key: len(report.layers) for key, report in reports.items() if report.graph is not self.graph}
        room = MAX_KEPT - new - sum(others.values())
        for key, layers in others.items():
            if room >= 0:
                return
            del self.settings[key]
            room += layers

    def analysed(self, graph: Graph | None, setting: Setting, mode: str) -> Figures:
        """The figures of a graph, or of the setting's. Raises SpecError; where another spec fails is in its text."""
        changes = setting.changes
        try:
            return Figures(analyze(graph or variant(self.graph, changes), mode=mode, flops=setting.convention))
        except SpecError as error:
            if graph and not changes.place:
                raise
            where = f" ({PurePath(str(error.place)).name})" if error.place else ""
            text = f"{changes.network or self.graph.name}: {error.message}{where}"
            raise SpecError(text, changes.place) from None
        except ArchcalcError as error:
            raise SpecError(str(error), changes.place) from None


def _key(setting: Setting, mode: str) -> tuple[Any, ...]:
    return setting.changes.written, mode, setting.convention


def _ways(claim: Claim, value: Any, text: str = "", because: str = "") -> list[_Way]:
    """A value with what is printed; for bytes also in units of 1,024, and only so where it is rounded `to` MiB."""
    ways = [_Way(_read(claim), value, text, because)]
    if unit_of(claim) == "bytes":
        binary = read_number(claim.printed, BINARY_BYTES, claim.to) if not _binary(claim) else ways.pop().printed
        ways.append(_Way(binary, value, f"{text}, {UNITS}" if text else UNITS, because))
    return ways


def _verdict(claim: Claim, computed: Any, ways: Sequence[_Way], failed: tuple[str, ...]) -> Verdict:
    """The verdict by the way that agrees best; of equals by the first."""
    best = min((way for way in ways if way.match), key=lambda way: MATCHES.index(way.match), default=None)
    number = best.printed if best else _read(claim)
    facts = Verdict(claim, computed, "contradicted", failed=failed)
    if isinstance(number, Number):
        by = number.by(best.value if best else computed)
        facts = facts._replace(digits=None if number.bound else number.digits, about=number.about, by=by)
    if best:
        facts = facts._replace(verdict=best.match, match=best.match)
    if best and best.text:
        facts = facts._replace(verdict="explained", accounting=best.text, explained=best.value, because=best.because)
    return facts


def _check(claim: Claim) -> None:
    """Raises SpecError for a claim of what is no figure, in no unit or in no mode."""
    for key, known in (("figure", stated()), ("unit", UNIT_NAMES), ("mode", MODES)):
        name = getattr(claim, key)
        if name and name not in known:
            raise SpecError(f"unknown {key} {shorten(name)!r}", claim.places[key], suggest(name, known))


def _read(claim: Claim) -> Number | Dimensions:
    """What is printed. Raises Refusal."""
    unit = unit_of(claim)
    if unit == "shape":
        return read_dimensions(claim.printed)
    scales = BINARY_BYTES if unit == "bytes" and _binary(claim) else SCALES.get(unit, COUNTS)
    return read_number(claim.printed, scales, claim.to, unit in SMALL_COUNTS)


def _binary(claim: Claim) -> bool:
    """Whether MB are MiB, since the number is rounded `to` MiB."""
    return claim.to.lower().endswith("ib")


def _number(value: Any, what: str, place: Place) -> Any:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise SpecError(f"{shorten(what)!r} gives no number", place)
    return int(value) if value == int(value) else value
