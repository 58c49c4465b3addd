"""The table of `archcalc compare`: networks side by side."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from archcalc.analysis.at_least import bounded
from archcalc.analysis.field_figures import WHOLE
from archcalc.analysis.figures import END, FIGURES, numbers
from archcalc.comparing.accuracy import Errors
from archcalc.comparing.totals import Comparison, Entry
from archcalc.errors import choose
from archcalc.render.marks import letter, marked, superscript
from archcalc.render.table import Column, Table, conditions_text, listed, ratio_text, without_rule_text
from archcalc.render.tables.field_words import field_text, field_unit
from archcalc.render.tables.figure_columns import data, figure_column, heading

SCHEMA = 2  # of the JSON; raised when a key changes its meaning or goes
ERRORS = "top1_error", "top5_error"
NAME = Column("name", "Network", text=True)
TESTS = tuple(data(("dataset", "protocol", "source")))


def _with_ratio(key: str, rank: int, own: tuple[Column, ...] = ()) -> tuple[Column, ...]:
    """Return the columns of a figure, or its `own`, and of its ratio to the first network, for people and programs."""
    times = Column(f"{key}_times", f"× {FIGURES[key].title}", rank=rank, data=False)
    return *(own or (figure_column(key),)), times, *data((f"{key}_ratio",))


def _plain(key: str, rank: int = 0) -> tuple[Column, ...]:
    """Return the columns of a figure; people see bytes in MB."""
    if FIGURES[key].unit == "bytes":
        return Column(f"{key}_mb", heading(key), "MB", rank, data=False), *data((key,))
    return (figure_column(key, rank),)


USUAL = {
    "year": (Column("year", "Year", rank=10, plain=True),),
    "input": (figure_column("input", 7, "C×H×W"),),
    "params": _with_ratio("params", 2),
    "macs": _with_ratio("macs", 3),
    "flops": _with_ratio("flops", 13, (figure_column("flops", 9),)),
    "activations": _with_ratio("activations", 14, (figure_column("activations", 8),)),
    "activation_bytes": _with_ratio("activations", 14, _plain("activation_bytes", 11)),
    "param_bytes": _with_ratio("params", 2, _plain("param_bytes", 12)),
    "depth": (figure_column("depth", 5, ""),),
    "receptive_field": (
        Column("field", "Field", "pixels", rank=6, data=False),
        *data(("receptive_field", "receptive_field_at", "field_status", "local_field")),
    ),
    "top1_error": (Column("top1", "Top-1", "% error", rank=1, data=False), *data(("top1_error",))),
    "top5_error": (Column("top5", "Top-5", "% error", rank=4, data=False), *data(("top5_error",))),
}


def columns() -> dict[str, tuple[Column, ...]]:
    """Return all columns by the names of `--columns`: the usual ones, then those of every other figure."""
    return USUAL | {key: _plain(key) for key in numbers() if key not in USUAL}


def needed(columns: Sequence[str], sort: str) -> list[str]:
    """Return the figures that a table for people needs; END figures are found together."""
    shown = {*(columns or USUAL), sort.removeprefix("-")}
    return [key for key, figure in FIGURES.items() if key in shown or figure.adds == END]


def comparison_table(comparison: Comparison, columns: Sequence[str] = (), sort: str = "") -> Table:
    """Make a table with one row per network and the named columns, or all; `sort` names one, with - for largest first.

    Raises ArchcalcError, with the nearest names, for an unknown column.
    """
    entries = sorted_by(comparison.entries, sort)
    marks = _marks(entries)
    rows = [_row(entry, marks) for entry in entries]
    found = _columns(columns, rows, sort.removeprefix("-"))
    shown = list({column.key: column for column in (NAME, *found)}.values())  # values and bytes have one ratio
    unit = field_unit(*[entry.figures["input"] for entry in entries])
    shown = [column._replace(unit=unit) if column.key == "field" else column for column in shown]
    keys = {column.key for column in shown if column.shown}
    facts = {key: fact for key, fact in vars(comparison).items() if key not in ("training", "entries") and fact}
    return Table(
        "", shown, rows, "networks",
        {"schema": SCHEMA, **facts, **comparison.training, "against": comparison.entries[0].name},
        _conditions(comparison, any(key.endswith("_times") for key in keys)),
        notes=[
            *_input_notes(entries), *_unknown_notes(entries), *(_error_notes(marks) if keys & {"top1", "top5"} else ()),
        ],
        label=listed([entry.name for entry in entries]),
    )  # fmt: skip


def sorted_by(entries: Sequence[Entry], sort: str) -> list[Entry]:
    """Sort entries by a column; unknown values come last, and equal ones keep their order."""
    if not sort:
        return list(entries)
    key = sort.removeprefix("-")
    choose("column", key, {"name": (), **columns()})
    values = {id(entry): _value(entry, key) for entry in entries}
    known = [entry for entry in entries if values[id(entry)] is not None]
    unknown = [entry for entry in entries if values[id(entry)] is None]
    return sorted(known, key=lambda entry: values[id(entry)], reverse=sort != key) + unknown


def _value(entry: Entry, key: str) -> Any:
    if key == "receptive_field" and (size := entry.figures[key]):
        return entry.figures["field_status"].count(WHOLE), size  # the whole input is the most
    return entry.figures[key] if key in FIGURES else getattr(entry.errors if key in ERRORS else entry, key, None)


def _columns(names: Sequence[str], rows: Sequence[dict[str, Any]], sort: str) -> Iterator[Column]:
    """Yield the columns for people and programs; show those without information only if they are named.

    The figure that sorts the rows is always shown.
    """
    for position, name in enumerate(dict.fromkeys(names)):
        for column in choose("column", name, {"name": (), **columns()}):
            ratio = column.key.endswith("_times")  # left out before its figure
            yield column._replace(rank=2 * position + ratio, shown=column.shown and not (ratio and len(rows) == 1))
    if not names:
        for name, column in ((name, column) for name, group in columns().items() for column in group):
            if name == sort and not column.key.endswith("_times"):
                yield column._replace(rank=0)
            else:
                yield column._replace(shown=column.shown and name in USUAL and _adds_information(column.key, rows))
    yield from (column for column in TESTS if set(names or ERRORS) & set(ERRORS))
    yield from data(["at_least"] if any(row["at_least"] for row in rows) else ())


def _adds_information(key: str, rows: Sequence[dict[str, Any]]) -> bool:
    """Whether a column adds information."""
    if key == "input" or key.endswith("_times"):
        return any(row[key] != rows[0][key] for row in rows)
    return any(row.get(key) is not None for row in rows)


def _row(entry: Entry, marks: dict[Errors, str]) -> dict[str, Any]:
    row = {"name": entry.name, "year": entry.year, **entry.figures, "field": field_text(entry.figures)}
    row["at_least"] = [*bounded(entry.figures), *[f"{key}_ratio" for key in bounded(entry.ratios)]]
    for key, ratio in entry.ratios.items():
        row |= {f"{key}_ratio": ratio, f"{key}_times": None if ratio is None else ratio_text(ratio)}
    for key, figure in FIGURES.items():
        if figure.unit == "bytes" and key in row:
            row[f"{key}_mb"] = None if row[key] is None else _megabytes(row[key])
    return row | (_errors(entry.errors, marks) if entry.errors else {})


def _megabytes(count: int) -> str:
    return f"{count / 10**6:,.2f}" if count >= 10**6 else ratio_text(count / 10**6)


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


def _conditions(comparison: Comparison, ratios: bool) -> str:
    batch, dtype, mode, convention, optimizer, _, entries = vars(comparison).values()
    inputs = dict.fromkeys(entry.figures["input"].text for entry in entries)
    texts = [conditions_text(batch, dtype, mode, convention, inputs if len(inputs) == 1 else ())]
    texts = [f"{len(entries)} networks"] * (len(entries) > 1) + texts + [f"optimizer: {optimizer}"] * bool(optimizer)
    return " · ".join(texts + [f"×: against {entries[0].name}"] * ratios)


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
