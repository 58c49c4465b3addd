r"""Tables as LaTeX with booktabs: a float that fits the width of its column, or a longtable for a long one.

A document includes the file by \input. LaTeX itself measures each table: it reduces a float that is wider than its
column, and sets a longtable in the largest letters with which it fits. Columns are left out, by their rank, only if a
line has more characters than can be read across a page; a comment lists them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from archcalc.render.forms.lines import BELOW, HEADING, ROW, SUBHEADING, body, fitting, in_line, titled, totals
from archcalc.render.forms.tex_text import tex
from archcalc.render.table import Column, Table, cell

PREAMBLE = """% Include this file in a document by \\input. The preamble of the document needs
%   \\usepackage[T1]{fontenc}
"""
PACKAGES = {  # each with a sign that a text needs it
    "lmodern": "{longtable}",  # or another font that has all sizes
    "array": r"\arraybackslash",
    "booktabs": r"\toprule",
    "graphicx": r"\resizebox",
    "longtable": "{longtable}",
}
FITTED = r"\noindent\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%"
MEASURED = r"""% a longtable needs one column
\csname if@twocolumn\endcsname\onecolumn\aftergroup\twocolumn\fi
\setlength{\LTcapwidth}{\linewidth}\footnotesize\edef\archcalcsize{\csname f@size\endcsname pt}
\loop% reduce the letters until the table fits
  \fontsize{\archcalcsize}{1.2\dimexpr\archcalcsize}\selectfont\setlength{\tabcolsep}{.4em}%
  \sbox0{\archcalctable{tabular}{\archcalchead}}%
\ifdim\wd0>\ifdim\archcalcsize>.3pt\linewidth\else\wd0\fi
  \edef\archcalcsize{\the\dimexpr\archcalcsize*\number\linewidth/\number\wd0-.05pt}%
\repeat"""
LINES = 36  # in a float; a longer table may break between pages
ACROSS = 100  # characters that are readable in one line of a page
WRAPPED = 32  # characters per line of a wrapped column, which is 16 em wide
STYLES = {HEADING: r"\bfseries ", SUBHEADING: r"\itshape ", BELOW: r"\hangindent=2em\hspace*{2em}"}


def render_latex(tables: Sequence[Table]) -> str:
    """Render LaTeX for pdflatex, after a comment that names the packages that it needs."""
    every = [part for table in tables for part in (table, *_parts(table))]
    text = "".join("\n" + "\n".join(_environment(table)) + "\n" for table in every)
    needed = (f"%   \\usepackage{{{package}}}\n" for package, sign in PACKAGES.items() if sign in text)
    return "".join([PREAMBLE, *needed, text])


def _parts(table: Table) -> Iterator[Table]:
    """Yield the parts of a table with a name of their own: of it and of their rows."""
    return (part._replace(label=f"{table.called()} {part.rows_key}") for part in table.parts)


def _environment(table: Table) -> Iterator[str]:
    """Yield a float for a short table, a longtable for a long one, or a tabular alone; with the texts below it."""
    columns = in_line(table)
    widths = {column.key: min(_longest(table, column), WRAPPED if column.text else ACROSS) for column in columns}
    kept = fitting(columns, widths, ACROSS)
    if gone := ", ".join(titled(column) for column in columns if column not in kept):
        yield f"% Columns left out because no page is wide enough: {gone}."
    spec, heads, rows = "".join(_setting(table, column) for column in kept), _heads(kept), list(_rows(table, kept))
    below, environment = _texts(table), table.paper.environment
    wrapped = sum(len(text) // WRAPPED for column in kept if column.text for text in _cells(table, column))
    if environment and len(rows) + wrapped + sum(1 + len(text) // 80 for text in below) > LINES:
        yield from _long(table, f"@{{}}{spec}@{{}}", heads, rows)
        return
    around = [rf"\begin{{{environment}}}[htbp]", r"\centering", _caption(table) + r"\par\smallskip"]
    yield from around if environment else [f"% {_title(table)}"]
    yield from (FITTED, rf"\begin{{tabular}}{{@{{}}{spec}@{{}}}}", *heads, *rows, r"\bottomrule", r"\end{tabular}}")
    yield from _below(table)
    yield from [rf"\end{{{environment}}}"] if environment else []


def _long(table: Table, spec: str, heads: Sequence[str], rows: Sequence[str]) -> Iterator[str]:
    """Yield a table over several pages. Its head and rows are macros, because LaTeX reads them twice."""
    yield r"\begingroup\def\archcalchead{%"
    yield from (*heads, rf"}}\def\archcalctable#1#2{{\begin{{#1}}{{{spec}}}#2", *rows, r"\end{#1}}", MEASURED)
    yield rf"\archcalctable{{longtable}}{{{_caption(table)}\\"
    yield r"\archcalchead\endfirsthead\archcalchead\endhead\bottomrule\endfoot}"
    yield from (*_below(table), r"\par\endgroup")


def _below(table: Table) -> Iterator[str]:
    """Yield summary, remarks and notes of a table in one block."""
    if texts := _texts(table):
        yield r"\par\smallskip\noindent\begin{minipage}{\linewidth}\footnotesize\raggedright"
        yield from (tex(text.strip()) + r"\par" for text in texts)
        yield r"\end{minipage}"


def _texts(table: Table) -> list[str]:
    return [*(f"{label}: {text}" for label, text in table.summary), *table.remarks, *table.notes]


def _title(table: Table) -> str:
    return ". ".join(" ".join(text.split()) for text in (table.title, table.conditions) if text)


def _caption(table: Table) -> str:
    label = table.paper.label or "tab:" + re.sub(r"[^A-Za-z0-9.]+", "-", table.called())
    return rf"\caption{{{tex(_title(table) or table.called())}}}\label{{{label}}}"


def _heads(columns: Sequence[Column]) -> list[str]:
    """Return the lines of titles and units with their rules; only one rule if no column has a title."""
    rows = [[column.title for column in columns], [column.unit for column in columns]]
    heads = [_row([tex(text) for text in row]) for row in rows if any(row)]
    return [r"\toprule", *heads, *([r"\midrule"] if heads else [])]


def _rows(table: Table, columns: Sequence[Column]) -> Iterator[str]:
    lines = list(body(table, columns))
    afters = [*(kind for kind, _ in lines[1:]), ROW]
    for (kind, cells), after in zip(lines, afters, strict=False):
        stays = kind in (HEADING, SUBHEADING) or after == BELOW  # no page break after this line
        line = [tex(text) for text in cells] if kind == ROW else [_across(kind, cells[0], len(columns))]
        yield _row(line, r"\\*" if stays else r"\\")
    if table.totals:
        yield r"\midrule"
        yield _row([rf"\textbf{{{tex(text)}}}" if text else "" for text in totals(table, columns)])


def _row(cells: Sequence[str], end: str = r"\\") -> str:
    guard = "{}" if cells[0].startswith(("[", "*")) else ""  # after a line break they would be its argument
    return f"{guard}{' & '.join(cells)} {end}"


def _across(kind: str, text: str, columns: int) -> str:
    """Return a line that spans all columns: a heading, or a text below its row."""
    before, spec = "" if kind == BELOW else r"\addlinespace ", "l" if len(text) < 60 else _wrapped(30, [text])
    return rf"{before}\multicolumn{{{columns}}}{{@{{}}{spec}@{{}}}}{{{STYLES[kind]}{tex(text)}}}"


def _setting(table: Table, column: Column) -> str:
    """Return a column's specification: numbers right, texts left, long texts wrapped."""
    if not column.text:
        return "r"
    wraps = _longest(table, column) > WRAPPED or any("\n" in text for text in _cells(table, column))
    return _wrapped(WRAPPED / 2, _cells(table, column)) if wraps else "l"


def _longest(table: Table, column: Column) -> int:
    texts = (column.title, column.unit, *_cells(table, column))
    return max(len(line) for text in texts for line in text.split("\n"))


def _cells(table: Table, column: Column) -> list[str]:
    return [cell(row.get(column.key), column.plain) for row in (*table.rows, table.totals)]


def _wrapped(width: float, texts: Sequence[str]) -> str:
    """Return the specification of a column that wraps at `width` em, or at its longest word if that is wider."""
    width = max([width, *(_most(word) for text in texts for word in text.split())])
    return rf">{{\raggedright\arraybackslash\leavevmode}}p{{{width:g}em}}"


def _most(word: str) -> float:
    """Return an upper bound of a word's width, in em."""
    return sum(0.6 if sign.isascii() and not sign.isupper() else 1 for sign in word)
