"""The table of `archcalc sweep`: a row for each combination."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from typing import Any

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
    columns = [Column(symbol, symbol, plain=True) for symbol in over] + [figure_column(key) for key in keys]
    wrong = sum(bool(row["problem"]) for row in taken)
    columns.append(Column("problem", "Does not fit", text=True, shown=wrong > 0))
    more = [f"{points - len(taken):,} more rows; write all to a file: -o FILE.csv"] if points > len(taken) else []
    kept = {key: value for key, value in conditions.items() if key not in over}
    text = f"{points:,} combinations · {conditions_text(**kept)}"
    return Table(name, columns, taken, "points", {"schema": SCHEMA, "name": name, **kept}, text, remarks=more)
