"""The table of `archcalc compare`: networks side by side."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from archcalc.analysis.at_least import bounded
from archcalc.analysis.figures import END, FIGURES, numbers
from archcalc.comparing.accuracy import Errors
from archcalc.comparing.totals import Comparison, Entry
from archcalc.errors import choose
from archcalc.render.marks import letter, marked, superscript
from archcalc.render.table import RATIO, Column, Table, conditions_text, listed, without_rule_text
from archcalc.render.tables.field_words import field_text, field_unit
from archcalc.render.tables.figure_columns import data, figure_column

SCHEMA = 3  # of the JSON; raised when a key changes its meaning or goes
COLUMNS = (
    Column("name", "Network", text=True),
    Column("year", "Year", rank=10, plain=True),
    figure_column("input", 7, "C×H×W"),
    *(
        column
        for key, rank, ratio_rank in (("params", 0, 2), ("macs", 0, 3), ("flops", 9, 13), ("activations", 8, 14))
        for column in (
            figure_column(key, rank),
            Column(f"{key}_ratio", f"× {FIGURES[key].title}", rank=ratio_rank, kind=RATIO),
        )
    ),
    figure_column("activation_bytes", 11),
    figure_column("param_bytes", 12),
    figure_column("depth", 5, ""),
    Column("field", "Field", "pixels", rank=6, data=False, of="receptive_field"),
    *data(("receptive_field", "receptive_field_at", "field_status", "local_field")),
    Column("top1", "Top-1", "% error", rank=1, data=False, of="top1_error"),
    Column("top5", "Top-5", "% error", rank=4, data=False, of="top5_error"),
    *data(("top1_error", "top5_error")),
)
ERRORS = ("top1", "top5", "top1_error", "top5_error", "dataset", "protocol", "source")


def columns() -> tuple[Column, ...]:
    """Return all columns: the usual ones, then every other figure and the tests of published errors."""
    usual = {column.key for column in COLUMNS}
    return *COLUMNS, *data(key for key in numbers() if key not in usual), *data(ERRORS[4:])


def needed(names: Sequence[str], sort: str) -> tuple[list[str], bool]:
    """Return the figures that a table needs, and whether it shows published errors; of no names the usual columns.

    Figures of ends are found together. Raises ArchcalcError, with the nearest names, for an unknown column.
    """
    known = {column.key: column for column in columns()}
    for name in filter(None, (*names, sort)):
        choose("column", name, known)
    shown = {*(names or (column.key for column in COLUMNS)), sort}
    return [key for key, figure in FIGURES.items() if key in shown or figure.adds == END], not shown.isdisjoint(ERRORS)


def comparison_table(comparison: Comparison) -> Table:
    """Make a table with one row per network; with ratios if the comparison is against one of them."""
    entries = comparison.entries
    marks = _marks(entries)
    rows = [_row(entry, marks) for entry in entries]
    facts = {key: fact for key, fact in vars(comparison).items() if key not in ("training", "entries") and fact}
    return Table(
        "", list(_columns(comparison, rows)), rows, "networks",
        {"schema": SCHEMA, **facts, **comparison.training}, _conditions(comparison),
        notes=[*_input_notes(entries), *_unknown_notes(entries), *_error_notes(marks)],
        label=listed([entry.name for entry in entries]),
    )  # fmt: skip


def _columns(comparison: Comparison, rows: Sequence[dict[str, Any]]) -> Iterator[Column]:
    """Yield the columns for people and programs; hide those without information."""
    unit = field_unit(*[entry.figures["input"] for entry in comparison.entries])
    for column in columns():
        if column.key == "field":
            yield column._replace(unit=unit)
        elif column.kind != RATIO or comparison.against:
            yield column._replace(shown=column.shown and _adds_information(column.key, rows))
    yield from data(["at_least"] if any(row["at_least"] for row in rows) else ())


def _adds_information(key: str, rows: Sequence[dict[str, Any]]) -> bool:
    """Whether a column adds information."""
    if key == "input":
        return any(row[key] != rows[0][key] for row in rows)
    return any(row.get(key) is not None for row in rows)


def _row(entry: Entry, marks: dict[Errors, str]) -> dict[str, Any]:
    row = {"name": entry.name, "year": entry.year, **entry.figures, "field": field_text(entry.figures)}
    row["at_least"] = [*bounded(entry.figures), *[f"{key}_ratio" for key in bounded(entry.ratios)]]
    row |= {f"{key}_ratio": ratio for key, ratio in entry.ratios.items()}
    return row | (_errors(entry.errors, marks) if entry.errors else {})


def _errors(errors: Errors, marks: dict[Errors, str]) -> dict[str, Any]:
    """Return the cells of published errors: as printed with the mark of their test, as numbers, and the test."""
    mark, width = marks[_test(errors)], max(map(len, marks.values()))
    return errors._asdict() | {
        "top1": errors.top1 and marked(errors.top1, mark, width),
        "top5": errors.top5 and marked(errors.top5, mark, width),
        "top1_error": errors.top1_error,
        "top5_error": errors.top5_error,
        "protocol": errors.protocol or None,
    }


def _test(errors: Errors) -> Errors:
    """Return the test alone, without its errors."""
    return errors._replace(top1=None, top5=None)


def _marks(entries: Sequence[Entry]) -> dict[Errors, str]:
    """Return a mark for each test: a letter for data and protocol, and a number if it has several sources."""
    tests = dict.fromkeys(_test(entry.errors) for entry in entries if entry.errors)
    if len(tests) < 2:
        return dict.fromkeys(tests, "")
    kinds: dict[tuple[str, str], list[Errors]] = {}
    for test in tests:
        kinds.setdefault((test.dataset, test.protocol), []).append(test)
    return {
        test: letter(position) + (superscript(number) if len(alike) > 1 else "")
        for position, alike in enumerate(kinds.values())
        for number, test in enumerate(alike, 1)
    }


def _conditions(comparison: Comparison) -> str:
    batch, dtype, mode, convention, optimizer, _, entries, against = vars(comparison).values()
    inputs = dict.fromkeys(entry.figures["input"].text for entry in entries)
    texts = [conditions_text(batch, dtype, mode, convention, inputs if len(inputs) == 1 else ())]
    texts = [f"{len(entries)} networks"] * (len(entries) > 1) + texts + [f"optimizer: {optimizer}"] * bool(optimizer)
    return " · ".join(texts + [f"×: against {against}"] * bool(against))


def _input_notes(entries: Sequence[Entry]) -> Iterator[str]:
    if len({entry.figures["input"] for entry in entries}) > 1:
        yield "The inputs differ: MACs, FLOPs and activations are for each network's own input."


def _unknown_notes(entries: Sequence[Entry]) -> Iterator[str]:
    for entry in entries:
        if entry.without_rule:
            yield f"{entry.name}: {without_rule_text(entry.without_rule)}."


def _error_notes(marks: dict[Errors, str]) -> Iterator[str]:
    """Yield the tests of the errors."""
    if len({(test.dataset, test.protocol) for test in marks}) > 1:
        yield "Different letters: different tests, which are not comparable."
    for test, mark in marks.items():
        text = f"{test.dataset}, {test.protocol or 'protocol not stated'}. {test.source}."
        yield f"{mark} {text}" if mark else f"Errors: {text}"
