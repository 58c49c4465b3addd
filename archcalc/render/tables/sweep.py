"""The tables of `archcalc sweep` and `archcalc search`: a row for each combination."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from archcalc.analysis.recipe import Recipe
from archcalc.errors import counted
from archcalc.render.formats import MOST_ROWS
from archcalc.render.table import Column, Table, conditions_text
from archcalc.render.tables.figure_columns import figure_column

SCHEMA = 1  # of the JSON; raised when a key changes its meaning or goes


def sweep_table(
    name: str, over: Sequence[str], keys: Sequence[str], rows: Sequence[Mapping[str, Any]], points: int,
    recipe: Recipe, **conditions: Any,
) -> Table:  # fmt: skip
    """Make the table of a sweep, or of its first rows: it says how many more there are."""
    wrong = any(row["problem"] for row in rows[:MOST_ROWS])  # programs have the column always
    more = [f"{points - len(rows):,} more rows; write all to a file: -o FILE.csv"] if points > len(rows) else []
    problem = Column("problem", "Does not fit", text=True, shown=wrong)
    return _table(
        name, over, [*map(figure_column, keys), problem], rows, counted(points, "combination"), more, recipe, conditions
    )


def search_table(
    name: str, over: Sequence[str], keys: Sequence[str], rows: Sequence[Mapping[str, Any]], points: int, fitting: int,
    recipe: Recipe, **conditions: Any,
) -> Table:  # fmt: skip
    """Make the table of the best combinations; a key may have a batch of its own, as in `macs(batch=32)`."""
    figures = []
    for key in keys:
        own, _, batch = key.partition("(")
        column = figure_column(own)
        figures.append(column._replace(key=key, title=f"{column.title}, {batch[:-1]}") if batch else column)
    count = f"{fitting:,} of {counted(points, 'combination')} fit; all are computed, so no other is better"
    return _table(name, over, figures, rows, count, [], recipe, conditions)


def _table(
    name: str, over: Sequence[str], columns: Sequence[Column], rows: Sequence[Mapping[str, Any]], count: str,
    notes: Sequence[str], recipe: Recipe, conditions: Mapping[str, Any],
) -> Table:  # fmt: skip
    kept = {key: value for key, value in conditions.items() if key not in over}
    values = [Column(symbol, symbol, plain=True) for symbol in over]
    trains = conditions["mode"] == "train"
    facts = {"schema": SCHEMA, "name": name, **kept, **(recipe.facts if trains else {})}
    texts = [count, conditions_text(**kept), *[f"optimizer: {recipe.text}"] * trains]
    return Table(name, [*values, *columns], rows, "points", facts, " · ".join(texts), notes=notes)
