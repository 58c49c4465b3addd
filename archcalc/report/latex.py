r"""Tables as LaTeX, by booktabs: a float that holds all of a table, or a longtable where it is longer than a page.

It is put into a document by \input. Where a table is wider than the page, its texts wrap, then it lies across it,
then columns give way by their rank, which a comment says; only what always stays is ever set tiny.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from math import ceil
from typing import NamedTuple

from archcalc.report.lines import BELOW, HEADING, ROW, SUBHEADING, body, in_line, titled, totals
from archcalc.report.table import Column, Table, cell
from archcalc.report.tex import tex

PREAMBLE = r"""% Put this into a document by \input. Its preamble needs
%   \usepackage[T1]{fontenc}
%   \usepackage{array,booktabs,graphicx,longtable,pdflscape,textcomp}
"""
GAP = 1.7  # between columns, in digits: 1.9 in footnotes, 1.5 in what is smaller
EM = 0.5  # a digit's width
LEAST = 12  # digits that a text is wrapped to, unless a word is longer
SIGNS = (  # how much wider than a digit: Computer Modern's, in digits
    (re.compile(r"[,.;:·'|()\[\]ijlrtfI -]"), -0.4),
    (re.compile("[bdhknpquvxy]"), 0.1),
    (re.compile("[A-HJ-Zmw×−=+%&_]"), 0.6),
    (re.compile("[→…–]"), 1.7),
)
BOLD = 1.14  # a bold digit's width
STYLES = {HEADING: r"\bfseries ", SUBHEADING: r"\itshape ", BELOW: r"\hangindent=2em\hangafter=0 "}


class Page(NamedTuple):
    """What a page of `article` takes in a font: digits in a line, and lines below a caption."""

    digits: float
    lines: int
    font: str
    across: bool = False


FONTS = (r"\footnotesize\setlength{\tabcolsep}{4pt}", r"\scriptsize\setlength{\tabcolsep}{3pt}",
         r"\tiny\setlength{\tabcolsep}{2pt}")  # fmt: skip
PAGES = (Page(80, 48, FONTS[0]), Page(86, 54, FONTS[1]), Page(127, 30, FONTS[0], True), Page(137, 34, FONTS[1], True))
TINY = Page(164, 40, FONTS[2], True)


def render_latex(tables: Sequence[Table]) -> str:
    """LaTeX that compiles with pdflatex, behind a comment that names the packages it needs."""
    return PREAMBLE + "".join("\n" + "\n".join(_environment(table)) + "\n" for table in tables)


def _environment(table: Table) -> Iterator[str]:
    """A float if one page takes the table and those that follow it, else a longtable for each."""
    every = [_narrowed(part) for part in (table, *table.parts)]
    yield from _left_out([table, *table.parts], every)
    pages = [_page(part) for part in every]
    page = max(pages, key=lambda page: page.digits)
    if sum(_height(part, page) for part in every) <= page.lines:
        yield from _turned(page, _float(every, page))
    else:
        for i, (part, own) in enumerate(zip(every, pages, strict=True)):
            yield from _turned(own, _long(part, own, i == 0))


def _narrowed(table: Table) -> Table:
    """The table without the columns that give way, the highest rank first, until a page is wide enough."""
    while _page(table) is TINY and (loose := [column for column in in_line(table) if column.rank]):
        last = max(loose, key=lambda column: column.rank).key
        table = replace(table, columns=[column for column in table.columns if column.key != last])
    return table


def _left_out(wide: Sequence[Table], narrow: Sequence[Table]) -> Iterator[str]:
    gone = [
        column for old, new in zip(wide, narrow, strict=True) for column in in_line(old) if column not in new.columns
    ]
    if gone:
        yield f"% Left out, since no page is wide enough: {', '.join(map(titled, gone))}."


def _page(table: Table) -> Page:
    """The first page that is wide enough."""
    return next((page for page in PAGES if _width(_fitted(table, page)) <= page.digits), TINY)


def _turned(page: Page, lines: Iterable[str]) -> Iterator[str]:
    yield from [r"\begin{landscape}"] * page.across
    yield from lines
    yield from [r"\end{landscape}"] * page.across


def _float(tables: Sequence[Table], page: Page) -> Iterator[str]:
    yield r"\begin{table}[htbp]"
    yield rf"\centering{page.font}"
    yield _caption(tables[0])
    for i, table in enumerate(tables):
        yield from (r"\par\bigskip", *_above(table)) if i else ()
        yield from _tabular(table, page)
    yield r"\end{table}"


def _tabular(table: Table, page: Page) -> Iterator[str]:
    """A table on one page with what is said below it; made smaller where not even the widest page takes it."""
    widths = _fitted(table, page)
    wide = _width(widths) > page.digits
    yield from [r"\resizebox{\linewidth}{!}{%"] * wide
    yield rf"\begin{{tabular}}{{{_spec(table, widths)}}}"
    yield from (*_heads(table), *_rows(table, widths), r"\bottomrule")
    yield r"\end{tabular}" + "}" * wide
    yield from _said(table, page)


def _long(table: Table, page: Page, first: bool) -> Iterator[str]:
    """A table over several pages, with its caption if it is the first, and what is said below it."""
    widths = _fitted(table, page)
    heads = _heads(table)
    yield rf"\begingroup{page.font}\setlength{{\LTcapwidth}}{{\linewidth}}"
    yield from _centered([] if first else _above(table))
    yield rf"\begin{{longtable}}{{{_spec(table, widths)}}}"
    yield from [_caption(table) + r"\\"] * first
    yield from (*heads, r"\endfirsthead", *heads, r"\endhead", r"\bottomrule", r"\endfoot")
    yield from _rows(table, widths)
    yield r"\end{longtable}"
    yield from _centered([*_said(table, page)])
    yield r"\endgroup"


def _centered(lines: Sequence[str]) -> Sequence[str]:
    return [r"\begin{center}", *lines, r"\end{center}"] if lines else []


def _above(table: Table) -> list[str]:
    """What stands above a table that has no caption."""
    text = _title(table)
    return [tex(text) + r"\par\smallskip"] if text else []


def _said(table: Table, page: Page) -> Iterator[str]:
    """What is said below a table."""
    if table.summary:
        yield r"\par\medskip"
        yield rf"\begin{{tabular}}{{@{{}}l{_wrapped(page.digits - 20)}@{{}}}}"
        yield from (rf"{tex(label)} & {tex(text)} \\" for label, text in table.summary)
        yield r"\end{tabular}"
    for note in table.notes:
        yield rf"\par\medskip\begin{{minipage}}{{\linewidth}}\raggedright {tex(note)}\end{{minipage}}"


def _title(table: Table) -> str:
    return ". ".join(text for text in (table.title, table.conditions) if text)


def _caption(table: Table) -> str:
    return rf"\caption{{{tex(_title(table) or table.rows_key)}}}\label{{{_label(table)}}}"


def _label(table: Table) -> str:
    return "tab:" + re.sub(r"[^A-Za-z0-9.]+", "-", table.called())


def _heads(table: Table) -> list[str]:
    """Titles, and the units below them, between lines; only a line where no column has a title."""
    columns = in_line(table)
    rows = [[column.title for column in columns], [column.unit for column in columns]]
    heads = [_row([tex(text) for text in row]) for row in rows if any(row)]
    return [r"\toprule", *heads, *([r"\midrule"] if heads else [])]


def _rows(table: Table, widths: Mapping[str, float]) -> Iterator[str]:
    lines = list(body(table))
    afters = [*(kind for kind, _ in lines[1:]), ROW]
    for (kind, cells), after in zip(lines, afters, strict=False):
        stays = kind in (HEADING, SUBHEADING) or after == BELOW  # on the page of what follows
        line = [tex(text) for text in cells] if kind == ROW else [_across(kind, cells[0], widths)]
        yield _row(line, r"\\*" if stays else r"\\")
    if table.totals:
        yield r"\midrule"
        yield _row([rf"\textbf{{{tex(text)}}}" if text else "" for text in totals(table, in_line(table))])


def _row(cells: Sequence[str], end: str = r"\\") -> str:
    guard = "{}" if cells[0].startswith(("[", "*")) else ""  # they would be the line break's
    return f"{guard}{' & '.join(cells)} {end}"


def _across(kind: str, text: str, widths: Mapping[str, float]) -> str:
    """A line that spans all columns: a heading, or a text below its row."""
    before = "" if kind == BELOW else r"\addlinespace "
    span = rf"\multicolumn{{{len(widths)}}}{{@{{}}{_wrapped(_width(widths))}@{{}}}}"
    return rf"{before}{span}{{{STYLES[kind]}{tex(text)}}}"


def _spec(table: Table, widths: Mapping[str, float]) -> str:
    """How each column is set: numbers flush right, texts flush left, those that are wrapped with their width."""
    return "@{}" + "".join(_setting(table, column, widths[column.key]) for column in in_line(table)) + "@{}"


def _setting(table: Table, column: Column, width: float) -> str:
    wraps = width < _natural(table, column) or any("\n" in text for text in _cells(table, column))
    return _wrapped(width) if column.text and wraps else "l" if column.text else "r"


def _wrapped(width: float) -> str:
    return rf">{{\raggedright\arraybackslash}}p{{{EM * width:.4g}em}}"


def _fitted(table: Table, page: Page) -> dict[str, float]:
    """The width of each column in digits: where room is short, the widest texts give way, down to their words."""
    widths = {column.key: _natural(table, column) for column in in_line(table)}
    floors = {column.key: _floor(table, column) for column in in_line(table) if column.text}
    while _width(widths) > page.digits:
        loose = [key for key, floor in floors.items() if widths[key] > floor]
        if not loose:
            break
        widest = max(loose, key=lambda key: widths[key])
        widths[widest] = max(floors[widest], widths[widest] - 1)
    return widths


def _width(widths: Mapping[str, float]) -> float:
    return sum(widths.values()) + GAP * (len(widths) - 1)


def _natural(table: Table, column: Column) -> float:
    cells = (line for text in _cells(table, column) for line in text.split("\n"))
    total = BOLD * _digits(cell(table.totals[column.key])) if column.key in table.totals else 0
    return max(total, *map(_digits, (column.title, column.unit, *cells)))


def _floor(table: Table, column: Column) -> float:
    words = (word for text in _cells(table, column) for word in text.split())
    return max([LEAST, *map(_digits, words)])


def _cells(table: Table, column: Column) -> list[str]:
    return [cell(row.get(column.key), column.plain) for row in (*table.rows, table.totals)]


def _digits(text: str) -> float:
    """How wide a text is, in digits."""
    return len(text) + sum(more * len(signs.findall(text)) for signs, more in SIGNS)


def _height(table: Table, page: Page) -> int:
    """About how many lines a table takes, with what is said below it."""
    widths = _fitted(table, page)
    across = [_width(widths)]
    rows = sum(
        _lines(cells, [*widths.values()]) if kind == ROW else _lines(cells, across) + (kind != BELOW)
        for kind, cells in body(table)
    )
    below = [text for _, text in table.summary] + list(table.notes)
    return 4 + rows + sum(_lines([line], [page.digits]) for text in below for line in text.split("\n"))


def _lines(cells: Sequence[str], widths: Sequence[float]) -> int:
    return max(ceil(_digits(text) / width) for text, width in zip(cells, widths, strict=True))
