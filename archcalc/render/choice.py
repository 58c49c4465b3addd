"""Choose the columns, the order of rows and the units of a table.

`chosen` holds for every form, `in_units` for those that people read: programs always get whole numbers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

from archcalc.analysis.at_least import AtLeast
from archcalc.errors import ArchcalcError, choose, shorten
from archcalc.render.table import BYTES, CHANGE, COUNT, RATIO, Column, Table, ratio_text, size_text

SCALES = {  # size of a step, and the names of the steps
    COUNT: (1000, ("", "k", "M", "G", "T", "P", "E")),
    "si": (1000, ("B", "kB", "MB", "GB", "TB", "PB", "EB")),
    "iec": (1024, ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB")),
}
UNITS = ("si", "iec", "full")
MEANING = {
    "si": "k = 10³, M = 10⁶, G = 10⁹, T = 10¹².",
    "iec": "k = 10³, M = 10⁶, G = 10⁹, T = 10¹²; of bytes Ki = 2¹⁰, Mi = 2²⁰, Gi = 2³⁰, Ti = 2⁴⁰.",
}
BOUNDS = "at_least", "unknown"  # columns that say which numbers are lower bounds: if they do, they stay


class Choice(NamedTuple):
    """What to show of a table. The default is everything, in its own order and usual units."""

    columns: tuple[str, ...] = ()
    sort: str = ""  # a column, after "-" in the opposite order
    units: str = ""  # one of UNITS; "": counts in full, bytes in MB
    precision: int = 3  # significant digits, for si and iec

    @property
    def key(self) -> str:
        """The column that sorts."""
        return self.sort.removeprefix("-")

    @property
    def names(self) -> list[str]:
        """All columns that are named."""
        return [*self.columns, *([self.key] if self.sort else [])]


def chosen(table: Table, choice: Choice) -> Table:
    """Keep the named columns and sort the rows, of the table or the first of its parts that has all these columns.

    Raises ArchcalcError for an unknown column, with the nearest names, and for rows that have no order.
    """
    if not choice.names:
        return table
    tables, index = [table, *table.parts], meant(table, choice)
    own = _sorted(tables[index], choice) if choice.sort else tables[index]
    tables[index] = _picked(own, choice.columns) if choice.columns else own
    return tables[0]._replace(parts=tables[1:])


def meant(table: Table, choice: Choice) -> int:
    """Return which of a table and its parts has all named columns; 0 is the table. Raises ArchcalcError if none has."""
    tables = [table, *table.parts]
    index = next((i for i, own in enumerate(tables) if {*choice.names} <= _keys(own)), None)
    if index is None:
        for name in choice.names:
            choose("column", name, dict.fromkeys(key for own in tables for key in sorted(_keys(own))))
        raise ArchcalcError(f"no table has all of {shorten(', '.join(choice.names))}; choose columns of one table")
    return index


def _keys(table: Table) -> set[str]:
    return {column.key for column in table.columns}


def _picked(table: Table, names: Sequence[str]) -> Table:
    """Return a table with these columns, each with its ratio or bars if there are some.

    Its first column, which names the rows, stays before them unless it is among them.
    """
    keys = _keys(table)
    every = [key for name in names for key in (name, f"{name}_ratio", f"{name}_bar") if key in keys]
    picked = {column.key: column for key in every for column in _named(table, key)}
    first = {} if table.columns[0].key in picked else {c.key: c for c in _behind(table, table.columns[0].key)}
    bounds = {key: _own(table, key) for key in BOUNDS if key in keys and any(row.get(key) for row in table.rows)}
    return table._replace(columns=[*({**first, **picked, **bounds}).values()])


def _own(table: Table, name: str) -> Column:
    return next(column for column in table.columns if column.key == name)


def _behind(table: Table, name: str) -> list[Column]:
    """Return the column of a name; with it a text for people and the hidden data that this shows."""
    own = _own(table, name)
    return [column for column in table.columns if column is own or _pair(own, column) or _pair(column, own)]


def _pair(text: Column, data: Column) -> bool:
    return text.of == data.key and not (text.data or data.shown)


def _named(table: Table, name: str) -> list[Column]:
    """Return the columns of a name: one that people see, however narrow the terminal, and one for programs."""
    found = _behind(table, name)
    seen = next((column for column in found if column.of), found[0])
    hidden = not (seen.shown or seen.of)
    text = seen.text or (hidden and any(isinstance(row.get(seen.key), str | dict) for row in table.rows))
    now = seen._replace(shown=True, rank=0, text=text, heading=False, below=False, data=seen.data or len(found) == 1)
    return [now if column is seen else column for column in found]


def _sorted(table: Table, choice: Choice) -> Table:
    """Sort rows: the largest number first, texts from A to Z; unknown values last, equal ones in their order."""
    key = _own(table, choice.key).of or choice.key
    known = [row for row in table.rows if row.get(key) is not None]
    texts = any(isinstance(row[key], str) for row in known)
    try:
        known.sort(key=partial(_order, key), reverse=texts == choice.sort.startswith("-"))
    except TypeError:
        raise ArchcalcError(f"{choice.key} has no order; sort by a column of numbers or of texts") from None
    seen = {column.key: column for column in _named(table, choice.key) if column.shown}
    columns = [seen.get(own.key, own)._replace(heading=False, data=own.data) for own in table.columns]
    rows = [*known, *(row for row in table.rows if row.get(key) is None)]
    return table._replace(rows=rows, columns=columns)


def _order(key: str, row: Mapping[str, Any]) -> Any:
    value = row[key]
    return value.casefold() if isinstance(value, str) else value


def in_units(table: Table, choice: Choice) -> Table:
    """Write the numbers of shown columns in units, and say what the units mean."""
    digits = f"{choice.precision} digit{'s' if choice.precision > 1 else ''}"
    note = [f"Rounded to {digits}: {MEANING[choice.units]}"] if choice.units in MEANING else []
    return _written(table, choice)._replace(notes=[*note, *table.notes])


def _written(table: Table, choice: Choice) -> Table:
    usual = {"", COUNT} if choice.units not in MEANING else {""}  # which `cell` formats as well
    kinds = {column.key: column.kind for column in table.shown() if column.kind not in usual}
    parts = [_written(part, choice) for part in table.parts]
    if not kinds:
        return table._replace(parts=parts)
    rows = [_row(row, kinds, choice) for row in table.rows]
    return table._replace(rows=rows, totals=_row(table.totals, kinds, choice), parts=parts)


def _row(row: Mapping[str, Any], kinds: Mapping[str, str], choice: Choice) -> dict[str, Any]:
    return {key: number_text(value, kinds[key], choice) if key in kinds else value for key, value in row.items()}


def number_text(value: Any, kind: str, choice: Choice) -> Any:
    """Format a number of a kind: `25,557,032`, `25.6 M`, `60.95 MB`, `+602 k`; return other values unchanged."""
    if not isinstance(value, int | float):
        return value
    if kind == RATIO:
        return ratio_text(value)
    before, count = "≥ " if isinstance(value, AtLeast) else "+" if kind == CHANGE and value > 0 else "", round(value)
    if choice.units in MEANING:
        return before + scaled(count, choice.precision, *SCALES[choice.units if kind == BYTES else COUNT])
    if kind == BYTES:
        return before + (f"{count:,} B" if choice.units else size_text(count))
    return before + f"{count:,}"


def scaled(count: int, precision: int, step: int, names: Sequence[str]) -> str:
    """Round a number to significant digits, in the largest of the named units that leaves at least 1."""
    from decimal import ROUND_HALF_UP, Context

    if abs(count) < step:
        return f"{count} {names[0]}".rstrip()
    context, power = Context(prec=precision, rounding=ROUND_HALF_UP), 1
    while power < len(names) - 1 and abs(context.divide(count, step ** (power + 1))) >= 1:
        power += 1
    number = context.divide(count, step**power)
    digits = min(max(0, precision - 1 - number.adjusted()), power * (3 if step == 1000 else 10))
    return f"{number:,.{digits}f} {names[power]}"
