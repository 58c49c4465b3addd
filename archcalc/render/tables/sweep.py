"""The tables of `archcalc sweep` and `archcalc search`: a row for each combination."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from typing import Any

from archcalc.errors import counted
from archcalc.render.table import Column, Table, conditions_text
from archcalc.render.tables.figure_columns import figure_column

SCHEMA = 1  # of the JSON; raised when a key changes its meaning or goes
SHOWN = 1000  # rows for people


def sweep_table(
    name: str, over: Sequence[str], keys: Sequence[str], rows: Iterable[Mapping[str, Any]], points: int, every: bool,
    **conditions: Any,
) -> Table:  # fmt: skip
    """Make the table of a sweep; without `every` it has the first rows only, and says how many more there are."""
    taken = list(rows if every else islice(rows, SHOWN))
    wrong = any(row["problem"] for row in taken)
    more = [f"{points - len(taken):,} more rows; write all to a file: -o FILE.csv"] if points > len(taken) else []
    problem = Column("problem", "Does not fit", text=True, shown=wrong)
    return _table(
        name, over, [*map(figure_column, keys), problem], taken, counted(points, "combination"), more, conditions
    )


def search_table(
    name: str, over: Sequence[str], keys: Sequence[str], rows: Sequence[Mapping[str, Any]], points: int, fitting: int,
    **conditions: Any,
) -> Table:  # fmt: skip
    """Make the table of the best combinations; a key may have a batch of its own, as in `macs(batch=32)`."""
    figures = []
    for key in keys:
        own, _, batch = key.partition("(")
        column = figure_column(own)
        figures.append(column._replace(key=key, title=f"{column.title}, {batch[:-1]}") if batch else column)
    return _table(name, over, figures, rows, f"{fitting:,} of {counted(points, 'combination')} fit", [], conditions)


def _table(
    name: str, over: Sequence[str], columns: Sequence[Column], rows: Sequence[Mapping[str, Any]], count: str,
    hints: Sequence[str], conditions: Mapping[str, Any],
) -> Table:  # fmt: skip
    kept = {key: value for key, value in conditions.items() if key not in over}
    values = [Column(symbol, symbol, plain=True) for symbol in over]
    facts = {"schema": SCHEMA, "name": name, **kept}
    return Table(name, [*values, *columns], rows, "points", facts, f"{count} · {conditions_text(**kept)}", hints=hints)
