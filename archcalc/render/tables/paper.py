"""The table of verdicts on a paper's table, for `archcalc audit paper.csv`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from archcalc.auditing.paper import Audited
from archcalc.auditing.verdicts import VERDICTS, unit_of
from archcalc.render.table import Column, Table
from archcalc.render.tables.audit import TALLY, outcome, sentence, value_text
from archcalc.render.tables.figure_columns import data

SCHEMA = 1  # of the JSON; raised when a key changes its meaning or goes
COLUMNS = (
    Column("row", "Row", text=True, heading=True, data=False),
    *data(("line", "name", "network", "others")),
    Column("column", "Figure", text=True),
    *data(("figure", "unit")),
    Column("printed", "Printed"),
    Column("value", "Computed", data=False, of="computed"),
    *data(("computed",)),
    Column("outcome", "Verdict", text=True, firm=True, data=False, of="verdict"),
    *data(("verdict", "match", "digits", "about", "by", "accounting", "explained", "answers", "remark")),
    Column("text", "Remark", text=True, data=False, below=True, of="remark"),
)
MOST = 3  # answers to a cell in a table for people; data has all
OF_VERDICT = ("computed", "verdict", "match", "digits", "about", "by", "accounting", "explained")


def paper_table(file: str, audited: Sequence[Audited], only: Sequence[str], remarks: Sequence[str]) -> Table:
    """Make the table of verdicts by row, with their counts; `only` selects verdicts if it is not empty."""
    counts = Counter(own.verdict.verdict if own.verdict else "" for own in audited)
    shown = [own for own in audited if not only or (own.verdict and own.verdict.verdict in only)]
    lines = {own.row.place.line for own in audited}
    unknown = {own.row.place.line for own in audited if not own.networks}
    tally = [f"{counts[name]:,} {TALLY.get(name, name)}" for name in VERDICTS if counts[name]]
    tally += [f"{counts[''] - len(unknown):,} without a verdict"] if counts[""] > len(unknown) else []
    tally += [f"{len(unknown):,} of unknown networks"] if unknown else []
    return Table(
        "",
        COLUMNS,
        [_row(own) for own in shown],
        "figures",
        {"schema": SCHEMA, "file": file},
        f"{file}, {len(lines):,} row{'s' if len(lines) != 1 else ''}" + (f": {', '.join(tally)}" if tally else ""),
        data=lambda: {
            "verdicts": {name: counts[name] for name in VERDICTS},
            "rows": len(lines),
            "unknown": len(unknown),
        },
        label=file,
        notes=remarks,
    )


def _row(audited: Audited) -> dict[str, Any]:
    row, verdict, cell = audited.row, audited.verdict, audited.cell
    network, *others = audited.networks or (None,)
    also = f" (or {', '.join(others)})" if others else ""
    answers = [f"{answer.value:,}: {answer.text}" for answer in audited.answers]
    facts = {key: getattr(verdict, key) for key in OF_VERDICT} if verdict else {}
    return {
        "row": f"{row.label or '(no name)'}: {network or 'unknown'}{also}",
        "line": row.place.line,
        "name": row.label or None,
        "network": network,
        "others": others,
        "column": cell.column.title if cell else None,
        "figure": verdict.claim.figure if verdict else None,
        "unit": unit_of(verdict.claim) if verdict else None,
        "printed": cell.text if cell else None,
        **{key: None if fact == "" else fact for key, fact in facts.items()},
        "answers": answers,
        "remark": audited.remark or None,
        "value": value_text(verdict, verdict.computed) if verdict else None,
        "outcome": outcome(verdict) if verdict else "no verdict",
        "text": " ".join(_remarks(audited)),
    }


def _remarks(audited: Audited) -> Iterable[str]:
    """Yield why there is no verdict, and the answers: the value unless it is the computed one, and what gives it."""
    computed = audited.verdict.computed if audited.verdict else None
    texts = [
        answer.text if answer.value == computed else f"{answer.value:,}: {answer.text}" for answer in audited.answers
    ]
    if audited.remark:
        yield sentence(audited.remark)
    if texts and (len(texts) > 1 or not texts[0].startswith("at ")):
        also = ["also " + "; ".join(texts[1:MOST])] if texts[1:] else []
        more = [f"{len(texts) - MOST} more"] if len(texts) > MOST else []
        yield sentence("; ".join([texts[0], *also, *more]))
