"""Tables of published figures with verdicts, for `archcalc audit` and below `archcalc summarize`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from archcalc.analysis.figures import FIGURES
from archcalc.auditing.claims import Claim
from archcalc.auditing.printed import read_dimensions
from archcalc.auditing.verdicts import VERDICTS, Verdict, unit_of
from archcalc.render.table import MODE_NAMES, Column, Table, bytes_text, cell, listed
from archcalc.render.tables.figure_columns import data

SCHEMA = 1  # of the JSON; raised when a key changes its meaning or goes
WORDS = {"rounds": "matches, rounded", "truncates": "matches, cut off"}  # of verdicts, for people
TALLY = {"rounds": "rounded", "truncates": "cut off", "within": "within a bound"}
CONDITIONS = {"batch": 1, "dtype": "float32", "mode": "published", "convention": "all"}
COLUMNS = (
    Column("network", "Network", text=True, heading=True),
    Column("source", "Source", text=True, heading=True),
    Column("layer", "Layer", text=True),
    Column("title", "Figure", text=True, data=False, of="figure"),
    *data(("figure", "what", "mode", "unit")),
    Column("printed", "Printed"),
    Column("value", "Computed", data=False, of="computed"),
    *data(("computed",)),
    Column("outcome", "Verdict", text=True, firm=True, data=False, of="verdict"),
    *data(("verdict", "match", "digits", "to", "about", "by")),
    *data(("accounting", "explained", "because", "holds", "clash", "note")),
    Column("remark", "Remark", text=True, data=False, below=True),
)


def audit_table(verdicts: Mapping[str, Sequence[Verdict]], only: Sequence[str] = ()) -> Table:
    """Make the table of verdicts by network, with their counts; `only` selects verdicts if it is not empty."""
    every = [verdict for found in verdicts.values() for verdict in found]
    counts = Counter(verdict.verdict for verdict in every)
    rows = [
        {"network": network, **_row(verdict, "infer")}
        for network, found in verdicts.items()
        for verdict in found
        if not only or verdict.verdict in only
    ]
    figures = f"{len(every):,} published figure{'s' if len(every) != 1 else ''}"
    networks = f"{len(verdicts):,} network{'s' if len(verdicts) != 1 else ''}"
    counted = (verdict for verdict in VERDICTS if counts[verdict] or verdict in only)
    tally = ", ".join(f"{counts[verdict]:,} {TALLY.get(verdict, verdict)}" for verdict in counted)
    return Table(
        "",
        _used(COLUMNS, rows),
        rows,
        "figures",
        {"schema": SCHEMA, **CONDITIONS},
        f"{figures} of {networks}" + (f": {tally}" if tally else ""),
        data=lambda: {"verdicts": {verdict: counts[verdict] for verdict in VERDICTS}},
        label=f"{listed(list(verdicts))}, published figures",
    )


def verdict_table(verdicts: Sequence[Verdict], mode: str, conditions: str = "") -> Table:
    """Make the table of verdicts on one network, for a page of figures in `mode`."""
    own = [column for column in COLUMNS if column.key not in ("network", "layer")]
    own = [column._replace(title="Published") if column.key == "title" else column for column in own]
    rows = [_row(verdict, mode) for verdict in verdicts]
    return Table("", _used(own, rows), rows, "published", conditions=conditions)


def _used(columns: Sequence[Column], rows: Sequence[Mapping[str, Any]]) -> list[Column]:
    """Hide the columns that are empty in all rows."""
    filled = {key for row in rows for key, value in row.items() if value}
    return [column._replace(shown=column.shown and (column.key in filled or not rows)) for column in columns]


def _row(verdict: Verdict, mode: str) -> dict[str, Any]:
    claim = verdict.claim
    title = claim.what or FIGURES[claim.figure].title + " (bytes)" * (unit_of(claim) == "bytes")
    facts = {**claim._asdict(), **verdict._asdict()}
    return {
        **{key: None if fact == "" else fact for key, fact in facts.items()},
        "title": title if claim.mode == mode or _of_training(claim) else f"{title}, {MODE_NAMES[claim.mode]}",
        "unit": unit_of(verdict.claim),
        "value": value_text(verdict, verdict.computed),
        "outcome": outcome(verdict),
        "holds": verdict.holds,
        "remark": " ".join(_remarks(verdict)),
    }


def _of_training(claim: Claim) -> bool:
    """Whether a network's figure is about training in any mode, as its name says."""
    return (claim.figure == "saved_bytes" and not claim.layer) or claim.figure.startswith("expected")


def outcome(verdict: Verdict) -> str:
    """Return the verdict and its basis: `matches, rounded, 2 digits`, `about, 1 digit`, `within, by 4 %`."""
    how = {"exact": ["exact"], "truncates": ["cut off"]} if verdict.verdict == "explained" else {}
    if verdict.about and verdict.verdict == "rounds":
        words = ["about"]
    else:
        words = [WORDS.get(verdict.verdict, verdict.verdict), *how.get(verdict.match, ()), *["about"] * verdict.about]
    return ", ".join([*words, *_basis(verdict)])


def _basis(verdict: Verdict) -> Iterable[str]:
    """Yield what the printed figure was rounded to, its significant digits, or the distance from a bound."""
    if verdict.by is not None:
        yield f"by {percent(verdict.by)}"
    elif verdict.claim.to:
        yield f"to {verdict.claim.to}"
    elif verdict.digits and verdict.match != "exact":
        yield "1 digit" if verdict.digits == 1 else f"{verdict.digits} digits"


def percent(part: float) -> str:
    """Format a fraction with two significant digits: 4 %, 0.38 %, 120 %."""
    return f"{float(f'{100 * part:.2g}'):,.12g} %"


def value_text(verdict: Verdict, value: Any) -> str:
    """Format a value like the published one: with its unit, and shapes in the order of papers."""
    if unit_of(verdict.claim) == "shape":
        return read_dimensions(verdict.claim.printed).show(value)
    if unit_of(verdict.claim) == "bytes":
        return bytes_text(value)
    if isinstance(value, int) and not verdict.claim.printed.endswith("%"):
        return cell(value)
    digits = len(verdict.claim.printed.partition(".")[2].rstrip(" %×xKMGB")) + 2
    return f"{value:,.{digits}%}" if verdict.claim.printed.endswith("%") else f"{value:,.{digits}f}"


def _remarks(verdict: Verdict) -> Iterable[str]:
    """Yield the accounting that explains the figure, the reason for a clash, notes, and what is wrong in the spec."""
    claim = verdict.claim
    if verdict.accounting:
        because = f", because {verdict.because}" if verdict.because else ""
        yield f"{value_text(verdict, verdict.explained)}: {sentence(verdict.accounting + because)}"
    yield from (sentence(text) for text in (claim.clash, claim.note) if text)
    if verdict.verdict == "contradicted" and not claim.clash:
        yield "Not reproduced, and the spec gives no reason."
    elif verdict.verdict != "contradicted":
        yield from ("The spec gives a reason for a clash, but the figure is reproduced.",) * bool(claim.clash)
        yield from (f"This accounting does not give the figure: {sentence(text)}" for text in verdict.failed)


def sentence(text: str) -> str:
    """End a text with a full stop."""
    return text if not text or text.endswith((".", "!", "?", "…")) else f"{text}."
