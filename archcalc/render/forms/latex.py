r"""Tables as LaTeX with booktabs: a float for a short table, a longtable for a long one.

A document includes the file by \input. LaTeX itself measures each table: it rotates the page if a table is much wider
than the text, and reduces the font size until the table fits. Columns are left out, by their rank, only if a line has
more characters than can be read across a page; a comment lists them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace

from archcalc.render.forms.lines import BELOW, HEADING, ROW, SUBHEADING, body, fitting, in_line, titled, totals
from archcalc.render.forms.tex_text import tex
from archcalc.render.table import Column, Table, cell

PREAMBLE = r"""% Include this file in a document by \input. The preamble of the document needs
%   \usepackage[T1]{fontenc}
%   \usepackage{lmodern}% or another font that has all sizes
%   \usepackage{array,booktabs,longtable,pdflscape,textcomp,varwidth}

\ifdefined\archcalcbox\else\newsavebox{\archcalcbox}\fi
\def\archcalcfont{\fontsize{\archcalcsize}{1.2\dimexpr\archcalcsize}\selectfont\setlength{\tabcolsep}{.5em}}
\def\archcalcmeasure{\sbox{\archcalcbox}{\archcalcfont\archcalctable{tabular}{\archcalchead}{}}}
\def\archcalcstart{% rotate the page if the table is much wider than the text
  {\footnotesize\xdef\archcalcsize{\csname f@size\endcsname pt}}%
  \archcalcmeasure
  \let\archcalcstop\relax
  \ifdim\linewidth=\textwidth% in two columns no page can be rotated
    \ifdim\wd\archcalcbox>1.3\linewidth\landscape\let\archcalcstop\endlandscape\fi
  \fi
  \archcalcfit}
\def\archcalcfit{% reduce the font size until the table fits
  \ifdim\wd\archcalcbox>\linewidth
    \edef\archcalcsize{\the\dimexpr\archcalcsize*\number\linewidth/\number\wd\archcalcbox-.05pt\relax}%
    \archcalcmeasure
    \expandafter\archcalcfit
  \fi}
"""
LINES = 25  # in a float; a longer table may break between pages
ACROSS = 150  # characters that are readable in one line of a page
WRAPPED = 32  # characters per line of a wrapped column, which is 16 em wide
STYLES = {HEADING: r"\bfseries ", SUBHEADING: r"\itshape ", BELOW: r"\hangindent=2em\hangafter=0 "}


def render_latex(tables: Sequence[Table]) -> str:
    """Render LaTeX for pdflatex, after a comment that names the packages that it needs."""
    return PREAMBLE + "".join("\n" + "\n".join(_environment(table)) + "\n" for table in tables)


def _environment(table: Table) -> Iterator[str]:
    """Yield one float for a short table and its parts, or a longtable for each of them."""
    every = [_narrowed(part) for part in (table, *table.parts)]
    yield from _left_out([table, *table.parts], every)
    if sum(map(_lines, every)) <= LINES:
        yield from _float(every)
    else:
        for i, part in enumerate(every):
            yield from _long(part, i == 0)


def _narrowed(table: Table) -> Table:
    """Leave out the columns that do not fit in a line of ACROSS characters."""
    columns = in_line(table)
    widths = {column.key: min(_longest(table, column), WRAPPED if column.text else ACROSS) for column in columns}
    gone = [column for column in columns if column not in fitting(columns, widths, ACROSS)]
    return replace(table, columns=[column for column in table.columns if column not in gone])


def _left_out(wide: Sequence[Table], narrow: Sequence[Table]) -> Iterator[str]:
    pairs = zip(wide, narrow, strict=True)
    gone = [column for old, new in pairs for column in in_line(old) if column not in new.columns]
    if gone:
        yield f"% Columns left out because no page is wide enough: {', '.join(map(titled, gone))}."


def _lines(table: Table) -> int:
    """Estimate how many lines a table, its summary and its notes take."""
    return (
        3
        + len(list(body(table, ())))
        + sum(text.count("\n") + 1 for _, text in table.summary)
        + len((*table.remarks, *table.notes))
    )


def _float(tables: Sequence[Table]) -> Iterator[str]:
    first, *parts = tables
    yield from _defined(first)
    yield from (r"\archcalcstart", r"\begin{table}[htbp]", r"\centering", _caption(first), *_set(first))
    for part in parts:
        yield from (r"\par\bigskip", *_above(part), *_defined(part))
        yield from (r"\archcalcmeasure\archcalcfit", *_set(part), r"\endgroup")
    yield from (r"\end{table}", r"\archcalcstop\endgroup")


def _set(table: Table) -> Iterator[str]:
    """Yield a table on one page, with its summary and notes."""
    yield r"\archcalcfont\archcalctable{tabular}{\archcalchead}{\bottomrule}"
    yield from _said(table)


def _long(table: Table, first: bool) -> Iterator[str]:
    """Yield a table over several pages, with a caption if it is the first, and its summary and notes."""
    yield from _defined(table)
    yield r"\archcalcstart\archcalcfont\setlength{\LTcapwidth}{\linewidth}"
    yield from _centered([] if first else _above(table))
    yield r"\archcalctable{longtable}{%"
    yield from [_caption(table) + r"\\"] * first
    yield r"\archcalchead\endfirsthead\archcalchead\endhead\bottomrule\endfoot}{}"
    yield from _centered([*_said(table)])
    yield r"\archcalcstop\endgroup"


def _defined(table: Table) -> Iterator[str]:
    """Yield macros of the table's head and rows, used twice: to measure the table and to print it."""
    yield rf"\begingroup\def\archcalctable#1#2#3{{\begin{{#1}}{{{_spec(table)}}}#2\archcalcrows#3\end{{#1}}}}"
    yield from (r"\def\archcalchead{%", *_heads(table), "}")
    yield from (r"\def\archcalcrows{%", *_rows(table), "}")


def _centered(lines: Sequence[str]) -> Sequence[str]:
    return [r"\begin{center}", *lines, r"\end{center}"] if lines else []


def _above(table: Table) -> list[str]:
    """Return the title of a table that has no caption."""
    text = _title(table)
    return [tex(text) + r"\par\smallskip"] if text else []


def _said(table: Table) -> Iterator[str]:
    """Yield the summary and notes of a table."""
    if table.summary:
        yield r"\par\medskip"
        yield r"\begin{tabular}{@{}l>{\raggedright\arraybackslash}p{.75\linewidth}@{}}"
        yield from (rf"{tex(label)} & {tex(text)} \\" for label, text in table.summary)
        yield r"\end{tabular}"
    for note in (*table.remarks, *table.notes):
        yield rf"\par\medskip\begin{{minipage}}{{\linewidth}}\raggedright {tex(note)}\end{{minipage}}"


def _title(table: Table) -> str:
    return ". ".join(text for text in (table.title, table.conditions) if text)


def _caption(table: Table) -> str:
    return rf"\caption{{{tex(_title(table) or table.rows_key)}}}\label{{{_label(table)}}}"


def _label(table: Table) -> str:
    return "tab:" + re.sub(r"[^A-Za-z0-9.]+", "-", table.called())


def _heads(table: Table) -> list[str]:
    """Return the lines of titles and units with their rules; only one rule if no column has a title."""
    columns = in_line(table)
    rows = [[column.title for column in columns], [column.unit for column in columns]]
    heads = [_row([tex(text) for text in row]) for row in rows if any(row)]
    return [r"\toprule", *heads, *([r"\midrule"] if heads else [])]


def _rows(table: Table) -> Iterator[str]:
    columns = in_line(table)
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
    before = "" if kind == BELOW else r"\addlinespace "
    return rf"{before}\multicolumn{{{columns}}}{{@{{}}{_wrapped(30, [text])}@{{}}}}{{{STYLES[kind]}{tex(text)}}}"


def _spec(table: Table) -> str:
    """Return the column specification: numbers right, texts left, long texts wrapped."""
    return "@{}" + "".join(_setting(table, column) for column in in_line(table)) + "@{}"


def _setting(table: Table, column: Column) -> str:
    if not column.text:
        return "r"
    wraps = _longest(table, column) > WRAPPED or any("\n" in text for text in _texts(table, column))
    return _wrapped(WRAPPED / 2, _texts(table, column)) if wraps else "l"


def _longest(table: Table, column: Column) -> int:
    texts = (column.title, column.unit, *_texts(table, column))
    return max(len(line) for text in texts for line in text.split("\n"))


def _texts(table: Table, column: Column) -> list[str]:
    return [cell(row.get(column.key), column.plain) for row in (*table.rows, table.totals)]


def _wrapped(width: float, texts: Sequence[str]) -> str:
    """Return the specification of a column that wraps at `width` em, or at its longest word if that is wider."""
    width = max([width, *(_most(word) for text in texts for word in text.split())])
    return (
        rf">{{\begin{{varwidth}}[t]{{{width:g}em}}\raggedright\arraybackslash\leavevmode}}l<{{\strut\end{{varwidth}}}}"
    )


def _most(word: str) -> float:
    """Return an upper bound of a word's width, in em."""
    return sum(0.6 if sign.isascii() and not sign.isupper() else 1 for sign in word)
