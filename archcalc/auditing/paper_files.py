"""Read a file with a paper's table as rows of cells with their places: CSV, TSV or Markdown.

The separator is the comma, semicolon, tab or bar that the header has most of; cells may be quoted. The first table of
a Markdown file is read.
"""

from __future__ import annotations

import re
from bisect import bisect
from collections.abc import Iterator
from itertools import accumulate
from pathlib import Path
from typing import NamedTuple

from archcalc.errors import Place, Source, SpecError, printable
from archcalc.spec.yaml import read_text
from archcalc.spec_files import shown

TABLES = (".csv", ".tsv", ".tab", ".txt", ".md", ".markdown", ".xlsx", ".xls", ".ods")  # suffixes of files with tables
SEPARATORS = ",;\t|"
_RULE = re.compile(r"[|\s:-]*|sep=.")  # the line below the header of a Markdown table, and the first of Excel's


class Cell(NamedTuple):
    """A cell: its text, with single spaces, and its place."""

    text: str
    place: Place


def read_rows(path: Path) -> tuple[list[Cell], list[list[Cell]]]:
    """Return the header of a table and its rows, all as long; without rows that have a first cell alone.

    Raises ArchcalcError if the file cannot be read, SpecError with its place if it is not a table.
    """
    text = read_text(path, utf16=True).replace("\r\n", "\n").replace("\r", "\n")
    source = Source(shown(path), text.split("\n"))
    rows = [row for row in _rows(source) if any(cell.text for cell in row)]
    if not rows or len(rows[0]) < 2:
        hint = "write a header such as name,params,flops with a comma, semicolon, tab or bar between columns"
        raise SpecError("not a table", rows[0][0].place if rows else Place(source, 1, 1), hint)
    header, *others = rows
    filled = [row for row in others if len(row) != len(header) or any(cell.text for cell in row[1:])]
    return header, [_fitted(row, len(header)) for row in filled]


def _rows(source: Source) -> Iterator[list[Cell]]:
    """Yield the rows; a quoted cell may have several lines. Raises SpecError for a quote without end."""
    bars = [line.lstrip().startswith("|") for line in source.lines]
    begin = bars.index(piped := any(bars))
    end = [*bars, not piped].index(not piped, begin)
    lines = [line * (begin <= n < end and not _RULE.fullmatch(line)) for n, line in enumerate(source.lines)]
    separator = max(SEPARATORS, key=re.sub('"[^"]*"', "", next(filter(None, lines), "")).count)
    quote = "(?!)" if separator == "|" else '"'  # in Markdown it is a letter like others
    pattern = re.compile(rf' *{quote}((?:[^"]|"")*)" *(?=[{separator}\n]|\Z)|((?:\\\||[^{separator}\n])*)')
    text, starts = "\n".join(lines), [0, *accumulate(len(line) + 1 for line in lines)]
    row, at = list[Cell](), 0
    while at <= len(text):
        found = pattern.match(text, at)
        assert found  # the second form may be empty
        line = bisect(starts, at)
        place = Place(source, line, at - starts[line - 1] + 1, max(1, found.end() - at))
        if found[1] is None and found[0].lstrip().startswith(quote):
            raise SpecError("a quote is not closed, or text follows it", place, 'write "" for a quote in a cell')
        row.append(_cell(found[2] if found[1] is None else found[1].replace('""', '"'), place))
        at = found.end() + 1
        if text[found.end() : at] != separator:
            yield row[1 : len(row) - (not row[-1].text)] if piped else row
            row = []


def _cell(text: str, place: Place) -> Cell:
    plain = re.sub(r"</?[a-z][^<>]*>", " ", re.sub(r"\*\*|`|\\(?=\W)", "", text))
    return Cell(printable(" ".join(plain.split())), place)


def _fitted(row: list[Cell], columns: int) -> list[Cell]:
    """Return a row without empty cells beyond the header. Raises SpecError for another number of cells."""
    if len(row) < columns or any(cell.text for cell in row[columns:]):
        hint = "quote a number with commas; write the text of a merged cell into each row"
        raise SpecError(f"{len(row)} cells for the {columns} columns of the header", row[0].place, hint)
    return row[:columns]
