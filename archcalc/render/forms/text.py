"""Tables as Markdown, CSV, TSV and JSON."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from archcalc.render.forms.lines import grid
from archcalc.render.table import Table

FORMULA = re.compile(r"'*\s*[=+\-@＝＋－＠]")  # the last four are fullwidth signs, which Excel accepts too
NUMBERS = re.compile(r"[+-]?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?|-?[0-9]+x[-0-9x; ]+")  # or a shape


def render_markdown(tables: Sequence[Table]) -> str:
    """Render GitHub Markdown: pipe tables with title and conditions above, summary and notes below."""
    return "\n".join(map(_markdown, tables))


def _markdown(table: Table) -> str:
    lines = [f"**{_line(table.title)}**", ""] if table.title else []
    for text in filter(None, (table.conditions, *table.remarks)):
        lines += [_line(text), ""]
    lines += [grid(table, "pipe", _pipe_cell, lambda text: f"**{_pipe_cell(text)}**"), ""]
    if table.summary:
        lines += [f"- {_escape(label)}: {_escape(text)}".replace("\n", "; ") for label, text in table.summary] + [""]
    for note in table.notes:
        lines += [re.sub(r"^(\d*)(?=[#>+=.)-])", r"\1\\", _line(note)), ""]
    lines += map(_markdown, table.parts)
    return "\n".join(lines).rstrip() + "\n"


def _line(text: str) -> str:
    return _escape(" ".join(text.split()))


def _pipe_cell(text: str) -> str:
    return _escape(text).replace("\n", "<br>")


def _escape(text: str) -> str:
    """Escape text so that Markdown shows it unchanged."""
    return re.sub(r"[\\|*_<`\[~$&]", r"\\\g<0>", text)


def render_csv(tables: Sequence[Table], delimiter: str = ",") -> str:
    """Render CSV, one line per row; each row starts with the conditions, so that files can be concatenated.

    The rows of all tables stand below each other; if a table lacks a column, it stays empty.
    """
    buffer = io.StringIO()
    names = dict.fromkeys(name for table in tables for name in (*_fixed(table), *table.data_keys()))
    writer = csv.DictWriter(buffer, names, restval="", delimiter=delimiter, lineterminator="\n")
    writer.writeheader()
    for table in tables:
        writer.writerows(_records(table))
    return buffer.getvalue()


def render_tsv(tables: Sequence[Table]) -> str:
    """Render TSV: like CSV, but with tabs."""
    return render_csv(tables, "\t")


def _records(table: Table) -> Iterator[dict[str, Any]]:
    """Yield the rows one by one, since all rows of a large table would take much memory."""
    fixed, keys = {key: _plain(value) for key, value in _fixed(table).items()}, table.data_keys()
    for row in table.rows:
        yield fixed | {key: _plain(row.get(key)) for key in keys}


def _fixed(table: Table) -> dict[str, Any]:
    """The conditions, which each row repeats."""
    return {"network" if key == "name" else key: value for key, value in table.facts.items() if key != "schema"}


def _plain(value: Any) -> Any:
    """Format a CSV cell: numbers without commas, shapes as 64x56x56, ranges as 0x62 0x62, empty if unknown.

    A text that a spreadsheet would read as a formula gets an apostrophe before it, and so does a text that already
    starts with one. To restore the text, remove one apostrophe before = + - or @.
    """
    value = _joined(value)
    if isinstance(value, str) and FORMULA.match(value) and not NUMBERS.fullmatch(value):
        return f"'{value}"
    return "" if value is None else value


def _joined(value: Any) -> Any:
    """Join a list to one text, and write a mapping as JSON; return other values unchanged."""
    if isinstance(value, Mapping):
        return _json(value)
    if not isinstance(value, list | tuple):
        return value
    numbers = all(isinstance(v, int | None) for v in value)
    texts = ["" if v is None else str(_joined(v)) for v in value]
    return ("x" if numbers else "; " if any(" " in text for text in texts) else " ").join(texts)


def render_json(tables: Sequence[Table], several: bool) -> str:
    """Render JSON: the data of each table, with one row per line; a list if `several`."""
    objects = ",\n".join("{\n" + ",\n".join(_members(_data(table))) + "\n}" for table in tables)
    return (f"[\n{objects}\n]" if several else objects) + "\n"


def _members(data: Mapping[str, Any]) -> list[str]:
    return [f"  {_json(key)}: {_json_lines(value)}" for key, value in data.items()]


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _json_lines(value: Any) -> str:
    if isinstance(value, Iterator):
        lines = ",\n".join(f"    {_json(item)}" for item in value)
        return f"[\n{lines}\n  ]" if lines else "[]"
    return _json(value)


def _data(table: Table) -> dict[str, Any]:
    keys = table.data_keys()
    rows = ({key: row.get(key) for key in keys} for row in table.rows)  # one by one, like in CSV
    data = {**table.facts, **table.data()} | ({table.rows_key: rows} if table.rows_key else {})
    for part in table.parts:
        data |= _data(part)
    return data
