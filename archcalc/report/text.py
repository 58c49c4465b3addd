"""Tables as Markdown, CSV and JSON."""

from __future__ import annotations

import csv
import io
import json
import re
from typing import Any

from archcalc.report.table import Column, Table, cell


def render_markdown(table: Table) -> str:
    """GitHub Markdown: a pipe table with what it is of above and what is to be said below."""
    from tabulate import tabulate

    columns = table.shown()
    lines = [f"**{_escape(table.title)}**", ""] if table.title else []
    lines += [table.conditions, ""] if table.conditions else []
    rows = [[_escape(cell(row.get(column.key), column.plain)) for column in columns] for row in table.rows]
    if table.totals:
        rows.append([f"**{_escape(cell(table.totals[c.key]))}**" if c.key in table.totals else "" for c in columns])
    titles = [_heading(column) for column in columns]
    align = ["left" if column.text else "right" for column in columns]
    lines += [tabulate(rows, titles, tablefmt="pipe", colalign=align, disable_numparse=True), ""]
    if table.summary:
        lines += [f"- {label}: {_escape(text)}".replace("\n", "; ") for label, text in table.summary] + [""]
    for note in table.notes:
        lines += [re.sub(r"^(\s*)([#>+-]|\d+(?=[.)]))", r"\1\\\2", _escape(note)), ""]
    for part in table.parts:
        lines += [render_markdown(part)]
    return "\n".join(lines).rstrip() + "\n"


def _heading(column: Column) -> str:
    return f"{column.title} ({column.unit})" if column.unit else column.title


def _escape(text: str) -> str:
    """Text that Markdown shows as it is."""
    for sign in "\\|*_<`[~$&":
        text = text.replace(sign, "\\" + sign)
    return text


def render_csv(table: Table) -> str:
    """One line a row, with the conditions in front of each, so that tables of many networks can be put together."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    keys = table.data_keys()
    fixed = {"network" if key == "name" else key: value for key, value in table.facts.items() if key != "schema"}
    writer.writerow([*fixed, *keys])
    for row in table.rows:
        writer.writerow([_plain(value) for value in (*fixed.values(), *(row.get(key) for key in keys))])
    return buffer.getvalue()


def _plain(value: Any) -> Any:
    """A CSV cell: whole numbers bare, shapes as 64x56x56, nothing for what is unknown."""
    if isinstance(value, list | tuple):
        return ("x" if all(isinstance(v, int) for v in value) else " ").join(str(v) for v in value)
    return "" if value is None else value


def render_json(table: Table) -> str:
    """The data of a table, its rows under the table's own key, one a line."""
    lines = [f"  {_json(key)}: {_json_lines(value)}" for key, value in _data(table).items()]
    return "{\n" + ",\n".join(lines) + "\n}\n"


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _json_lines(value: Any) -> str:
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return "[\n" + ",\n".join(f"    {_json(item)}" for item in value) + "\n  ]"
    return _json(value)


def _data(table: Table) -> dict[str, Any]:
    keys = table.data_keys()
    rows = [{key: row.get(key) for key in keys} for row in table.rows]
    data = {**table.facts, **table.data} | ({table.rows_key: rows} if table.rows_key else {})
    for part in table.parts:
        data |= _data(part)
    return data
