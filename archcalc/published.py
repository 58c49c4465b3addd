"""Published figures held against computed ones: verdicts are worked out here, never written down.

A printed figure is a number with a precision: `138M` means 138 million to the nearest million. The verdict is

* **exact**: equal to the last digit;
* **rounds**: equal at the printed precision; **truncates**: equal when the further digits are cut off;
* **explained**: equal under another accounting that is stated and computed (MB read as MiB, or one the spec gives);
* **contradicted**: no accounting known gives it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from fractions import Fraction
from typing import Any, NamedTuple

from archcalc.analysis import DTYPES, MODES, Report, analyze
from archcalc.errors import SpecError, shorten, suggest
from archcalc.graph import Claim, Graph

FIGURES = {  # what a claim may be of: its name for people, and its unit
    "params": ("params", "values"),
    "weights": ("weights", "values"),
    "biases": ("biases", "values"),
    "buffers": ("buffers", "values"),
    "param_bytes": ("params", "bytes"),
    "macs": ("MACs", "operations"),
    "flops": ("FLOPs", "operations"),
    "connections": ("connections", "links"),
    "activations": ("activations", "values"),
    "activation_bytes": ("activations", "bytes"),
    "depth": ("depth", "layers"),
}
PARTS = tuple(name for name in FIGURES if name != "depth")  # sums over the layers
_COUNTS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "b": 10**9}
_COUNTS |= {"thousand": 10**3, "million": 10**6, "billion": 10**9}
_BYTES = {"": 1, "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "kib": 2**10, "mib": 2**20, "gib": 2**30}
_BINARY = _BYTES | {"kb": 2**10, "mb": 2**20, "gb": 2**30}
_PRINTED = re.compile(r"([0-9][0-9,]{0,30})(?:\.([0-9]{1,20}))?\s*([A-Za-z]*)")


class Verdict(NamedTuple):
    """A claim with what was computed for it, the verdict, and the accounting that explains it, if one does."""

    claim: Claim
    computed: int
    verdict: str
    accounting: str = ""
    explained: float | None = None


class Printed(NamedTuple):
    """A printed number and the place value of its last digit."""

    value: Fraction
    step: Fraction

    def verdict(self, computed: Fraction) -> str:
        """exact, rounds or truncates; "" where they differ."""
        if computed == self.value:
            return "exact"
        if self.value and abs(computed - self.value) * 2 <= self.step:
            return "rounds"
        return "truncates" if self.value and 0 < computed - self.value < self.step else ""


class Figure(int):
    """A total that knows its rows: `macs["3x3"]` is the sum over the layer `3x3` or those within it."""

    rows: Mapping[str, int]

    def __getitem__(self, name: str) -> int:
        found = [count for row, count in self.rows.items() if row == name or row.startswith(f"{name}.")]
        if not found:
            raise IndexError(name)
        return sum(found)


def read_printed(text: str, scales: Mapping[str, int] = _COUNTS) -> Printed:
    """`138M`, `60 million`, `340,908` as a number; with the scales of bytes `96MB`. Raises ValueError."""
    match = _PRINTED.fullmatch(text.strip())
    if match is None or match[3].lower() not in scales:
        example = "96MB, 58.1 MiB or 896 B" if "mb" in scales else "138M, 60 million, 3.8 billion or 340,908"
        raise ValueError(f"cannot read the printed figure {shorten(text)!r}; write {example}")
    decimals = match[2] or ""
    step = Fraction(scales[match[3].lower()], 10 ** len(decimals))
    return Printed(int(match[1].replace(",", "") + decimals) * step, step)


def audit(graph: Graph) -> list[Verdict]:
    """A verdict on each figure published of a network; batch 1, float32. Raises SpecError for one it cannot judge."""
    reports: dict[str, Report] = {}
    verdicts = []
    for claim in graph.about.claims:
        if claim.figure not in FIGURES:
            hint = suggest(claim.figure, FIGURES)
            raise SpecError(f"no figure {shorten(claim.figure)!r} to compare with", claim.places["figure"], hint)
        if claim.mode not in MODES:
            raise SpecError(f"unknown mode {shorten(claim.mode)!r}", claim.places["mode"], f"known: {', '.join(MODES)}")
        if claim.mode not in reports:
            reports[claim.mode] = analyze(graph, mode=claim.mode)
        try:
            verdicts.append(judge(claim, reports[claim.mode]))
        except ValueError as error:
            raise SpecError(str(error), claim.places["printed"]) from None
    return verdicts


def judge(claim: Claim, report: Report) -> Verdict:
    """The verdict on one claim. Raises ValueError if it cannot be read, or an accounting gives no number."""
    computed = getattr(report.totals, claim.figure)
    printed = read_printed(claim.printed, _BYTES if FIGURES[claim.figure][1] == "bytes" else _COUNTS)
    accountings = list(_accountings(claim, printed, computed, report))  # all: one that fails is told in any case
    verdict = printed.verdict(Fraction(computed))
    if verdict:
        return Verdict(claim, computed, verdict)
    for text, read, value in accountings:
        if read.verdict(Fraction(value)):
            return Verdict(claim, computed, "explained", text, int(value) if value == int(value) else value)
    return Verdict(claim, computed, "contradicted")


def _accountings(claim: Claim, printed: Printed, computed: int, report: Report) -> Iterator[tuple[str, Printed, float]]:
    """Other ways to count: a text, the printed number as it then reads, the value."""
    if FIGURES[claim.figure][1] == "bytes":
        yield "its units are of 1,024", read_printed(claim.printed, _BINARY), computed
    figures = _figures(report)
    for accounting in claim.accountings:
        value = accounting.value(figures)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ValueError(f"the accounting {shorten(accounting.text)!r} gives no number")
        yield accounting.text, printed, value


def _figures(report: Report) -> dict[str, Any]:
    """The totals by name; those that are sums over layers can be asked for a part."""
    value_bytes = DTYPES[report.dtype]
    figures: dict[str, Any] = {name: v for name, v in report.totals._asdict().items() if isinstance(v, int)}
    for name in PARTS:
        count = name.replace("param_bytes", "params").replace("activation_bytes", "activations")
        figure = Figure(figures[name])
        figure.rows = {x.node.name: getattr(x, count) * (1 if count == name else value_bytes) for x in report.layers}
        figures[name] = figure
    return figures
