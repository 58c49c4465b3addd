"""Published figures held against computed ones: verdicts are worked out here, never written down.

A printed figure is reproduced where it is **exact**, **rounds**, **truncates** or lies **within** a bound (see
`printed`), or is

* **explained**: equal under another accounting that is stated and computed: MB read as MiB, or what the spec gives, as
  another network, resolution or mode, or arithmetic over the figures;

and else it is **contradicted**: no accounting known gives it. A spec says of such a figure why (`clash`). One
contradicted without a reason, or a reason for one that is reproduced, does not hold, and `archcalc audit` exits with 1.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePath
from typing import Any, NamedTuple

from archcalc.analysis import MODES, analyze
from archcalc.errors import ArchcalcError, Place, SpecError, shorten, suggest
from archcalc.figures import FIGURES, Figures
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

UNIT_NAMES = frozenset(unit for _, unit in FIGURES.values()) - {"shape"}
UNITS = "its units are of 1,024"
VERDICTS = ("exact", "rounds", "truncates", "within", "explained", "contradicted")


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
    """The unit of a claim's figure; what is worked out from figures is a ratio unless it says otherwise."""
    return FIGURES[claim.figure][1] if claim.figure else claim.unit or "ratio"


def audit(graph: Graph, layers: bool = True) -> list[Verdict]:
    """A verdict on each figure published of a network, and of its `layers`; batch 1, float32.

    Raises SpecError for one it cannot judge.
    """
    judge = _Judge(graph)
    return [judge.placed(claim) for claim in graph.about.claims if layers or not claim.layer]


class _Judge:
    """Works out figures of one network, and of the settings that its claims mention."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.settings: dict[tuple[Any, ...], Figures] = {}

    def placed(self, claim: Claim) -> Verdict:
        """The verdict on one claim. Raises SpecError, at its place, if it cannot be judged."""
        try:
            return self.verdict(claim)
        except ValueError as error:
            raise SpecError(str(error), claim.places["printed"]) from None

    def verdict(self, claim: Claim) -> Verdict:
        """The verdict on one claim. Raises ValueError if what is printed cannot be read, SpecError for the rest."""
        _check(claim)
        computed = self.computed(claim, Setting(), claim.places.get("layer", claim.places["printed"]))
        printed = _read(claim)
        accountings = list(self.accountings(claim, printed, computed))  # all: one that fails is told in any case
        verdict = printed.verdict(computed)
        if verdict in ("exact", "rounds", "within"):
            return Verdict(claim, computed, verdict)
        ways = {read.verdict(value): (text, value) for text, read, value in reversed(accountings)}
        ways |= {"truncates": ("", None)} if verdict else {}
        for kind in ("exact", "rounds", "within", "truncates"):  # cut off is a weaker agreement than rounded
            if kind in ways:
                return Verdict(claim, computed, "explained" if ways[kind][0] else verdict, *ways[kind])
        return Verdict(claim, computed, "contradicted")

    def accountings(self, claim: Claim, printed: Any, computed: Any) -> Iterator[tuple[str, Any, Any]]:
        """Other ways to count: a text, the printed number as it then reads, the value."""
        ways = [(accounting.text, self.accounted(claim, accounting)) for accounting in claim.accountings]
        yield from ((text, printed, value) for text, value in ways)
        if unit_of(claim) == "bytes":
            binary = read_number(claim.printed, BINARY_BYTES, claim.to)
            yield from ((f"{text}, {UNITS}", binary, value) for text, value in ways)
            yield UNITS, binary, computed

    def accounted(self, claim: Claim, accounting: Accounting) -> Any:
        """The value that an accounting gives. Raises SpecError."""
        setting, place = accounting.setting, accounting.setting.place or claim.places["printed"]
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
        """All figures by name, for arithmetic; `against` has those of the network the claim compares with."""
        numbers = self.figures(claim, setting).numbers
        against = setting.against or claim.against
        if not against:
            return numbers
        place = setting.place or claim.places.get("against")
        other = Setting(against, mode=setting.mode, convention=setting.convention, place=place)
        return numbers | {"against": self.figures(claim, other).numbers}

    def figures(self, claim: Claim, setting: Setting) -> Figures:
        """The figures of a setting's network; each is analysed once."""
        mode = setting.mode or claim.mode
        key = (setting.network, id(setting.params), setting.input, mode, setting.convention)
        if key not in self.settings:
            own = not (setting.network or setting.params or setting.input)
            self.settings[key] = self.analysed(self.graph if own else None, setting, mode)
        return self.settings[key]

    def analysed(self, graph: Graph | None, setting: Setting, mode: str) -> Figures:
        """The figures of a graph, or of the setting's. Raises SpecError; where another spec fails is in its text."""
        try:
            return Figures(analyze(graph or self.related(setting), mode=mode, flops=setting.convention))
        except SpecError as error:
            if graph and not setting.place:
                raise
            where = f" ({PurePath(str(error.place)).name})" if error.place else ""
            text = f"{setting.network or self.graph.name}: {error.message}{where}"
            raise SpecError(text, setting.place) from None
        except ArchcalcError as error:
            raise SpecError(str(error), setting.place) from None

    def related(self, setting: Setting) -> Graph:
        """The graph of a setting."""
        if self.graph.related is None:
            raise ArchcalcError("this graph knows no spec: load it, or parse its text")
        return self.graph.related(setting)


def _check(claim: Claim) -> None:
    """Raises SpecError for a claim of what is no figure, in no unit or in no mode."""
    if claim.figure and claim.figure not in FIGURES:
        hint = suggest(claim.figure, FIGURES)
        raise SpecError(f"no figure {shorten(claim.figure)!r} to compare with", claim.places["figure"], hint)
    if claim.unit and claim.unit not in UNIT_NAMES:
        hint = suggest(claim.unit, UNIT_NAMES)
        raise SpecError(f"unknown unit {shorten(claim.unit)!r}", claim.places["unit"], hint)
    if claim.mode not in MODES:
        raise SpecError(f"unknown mode {shorten(claim.mode)!r}", claim.places["mode"], suggest(claim.mode, MODES))


def _read(claim: Claim) -> Number | Dimensions:
    if unit_of(claim) == "shape":
        return read_dimensions(claim.printed)
    scales: dict[str, Scales] = {"bytes": BYTES, "ratio": RATIOS}
    return read_number(claim.printed, scales.get(unit_of(claim), COUNTS), claim.to)


def _number(value: Any, what: str, place: Place) -> Any:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise SpecError(f"{shorten(what)!r} gives no number", place)
    return int(value) if value == int(value) else value
