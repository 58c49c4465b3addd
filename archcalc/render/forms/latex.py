r"""Tables as LaTeX, by booktabs: a float for a short table, a longtable for a long one.

It is put into a document by \input. LaTeX itself measures each table: it turns the page where a table is far wider
than the text, and takes smaller letters until the table fits. Columns are left out, by their rank, only where a line
has more characters than can be read across a page; a comment lists them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace

from archcalc.render.forms.lines import BELOW, HEADING, ROW, SUBHEADING, body, fitting, in_line, titled, totals
from archcalc.render.forms.tex_text import tex
from archcalc.render.table import Column, Table, cell

PREAMBLE = r"""% Put this into a document by \input. Its preamble needs
%   \usepackage[T1]{fontenc}
%   \usepackage{lmodern}% or other letters of any size
%   \usepackage{array,booktabs,longtable,pdflscape,textcomp,varwidth}

\ifdefined\archcalcbox\else\newsavebox{\archcalcbox}\fi
\def\archcalcfont{\fontsize{\archcalcsize}{1.2\dimexpr\archcalcsize}\selectfont\setlength{\tabcolsep}{.5em}}
\def\archcalcmeasure{\sbox{\archcalcbox}{\archcalcfont\archcalctable{tabular}{\archcalchead}{}}}
\def\archcalcstart{% turn the page where the table is far wider than the text
  {\footnotesize\xdef\archcalcsize{\csname f@size\endcsname pt}}%
  \archcalcmeasure
  \let\archcalcstop\relax
  \ifdim\linewidth=\textwidth% in two columns no page can be turned
    \ifdim\wd\archcalcbox>1.3\linewidth\landscape\let\archcalcstop\endlandscape\fi
  \fi
  \archcalcfit}
\def\archcalcfit{% take smaller letters until the table fits
  \ifdim\wd\archcalcbox>\linewidth
    \edef\archcalcsize{\the\dimexpr\archcalcsize*\number\linewidth/\number\wd\archcalcbox-.05pt\relax}%
    \archcalcmeasure
    \expandafter\archcalcfit
  \fi}
"""
LINES = 25  # of a float; a longer table may break between pages
ACROSS = 150  # characters that can be read in a line across a page
WRAPPED = 32  # characters in a line of a column that wraps, which is 16 em wide
STYLES = {HEADING: r"\bfseries ", SUBHEADING: r"\itshape ", BELOW: r"\hangindent=2em\hangafter=0 "}


def render_latex(tables: Sequence[Table]) -> str:
    """LaTeX that compiles with pdflatex, behind a comment that names the packages it needs."""
    return PREAMBLE + "".join("\n" + "\n".join(_environment(table)) + "\n" for table in tables)


def _environment(table: Table) -> Iterator[str]:
    """A float for a short table and the tables that follow it; a longtable for each if they are long."""
    every = [_narrowed(part) for part in (table, *table.parts)]
    yield from _left_out([table, *table.parts], every)
    if sum(map(_lines, every)) <= LINES:
        yield from _float(every)
    else:
        for i, part in enumerate(every):
            yield from _long(part, i == 0)


def _narrowed(table: Table) -> Table:
    """The table without the columns that have no room in a line of ACROSS characters."""
    columns = in_line(table)
    widths = {column.key: min(_longest(table, column), WRAPPED if column.text else ACROSS) for column in columns}
    gone = [column for column in columns if column not in fitting(columns, widths, ACROSS)]
    return replace(table, columns=[column for column in table.columns if column not in gone])


def _left_out(wide: Sequence[Table], narrow: Sequence[Table]) -> Iterator[str]:
    pairs = zip(wide, narrow, strict=True)
    gone = [column for old, new in pairs for column in in_line(old) if column not in new.columns]
    if gone:
        yield f"% Left out, since no page is wide enough: {', '.join(map(titled, gone))}."


def _lines(table: Table) -> int:
    """About how many lines a table takes, with what is said below it."""
    return 3 + len(list(body(table))) + sum(text.count("\n") + 1 for _, text in table.summary) + len(table.notes)


def _float(tables: Sequence[Table]) -> Iterator[str]:
    first, *parts = tables
    yield from _defined(first)
    yield from (r"\archcalcstart", r"\begin{table}[htbp]", r"\centering", _caption(first), *_set(first))
    for part in parts:
        yield from (r"\par\bigskip", *_above(part), *_defined(part))
        yield from (r"\archcalcmeasure\archcalcfit", *_set(part), r"\endgroup")
    yield from (r"\end{table}", r"\archcalcstop\endgroup")


def _set(table: Table) -> Iterator[str]:
    """A table on one page, and what is said below it."""
    yield r"\archcalcfont\archcalctable{tabular}{\archcalchead}{\bottomrule}"
    yield from _said(table)


def _long(table: Table, first: bool) -> Iterator[str]:
    """A table over several pages, with its caption if it is the first, and what is said below it."""
    yield from _defined(table)
    yield r"\archcalcstart\archcalcfont\setlength{\LTcapwidth}{\linewidth}"
    yield from _centered([] if first else _above(table))
    yield r"\archcalctable{longtable}{%"
    yield from [_caption(table) + r"\\"] * first
    yield r"\archcalchead\endfirsthead\archcalchead\endhead\bottomrule\endfoot}{}"
    yield from _centered([*_said(table)])
    yield r"\archcalcstop\endgroup"


def _defined(table: Table) -> Iterator[str]:
    """The table's head and rows, written once, to be measured and then set."""
    yield rf"\begingroup\def\archcalctable#1#2#3{{\begin{{#1}}{{{_spec(table)}}}#2\archcalcrows#3\end{{#1}}}}"
    yield from (r"\def\archcalchead{%", *_heads(table), "}")
    yield from (r"\def\archcalcrows{%", *_rows(table), "}")


def _centered(lines: Sequence[str]) -> Sequence[str]:
    return [r"\begin{center}", *lines, r"\end{center}"] if lines else []


def _above(table: Table) -> list[str]:
    """What stands above a table that has no caption."""
    text = _title(table)
    return [tex(text) + r"\par\smallskip"] if text else []


def _said(table: Table) -> Iterator[str]:
    """What is said below a table."""
    if table.summary:
        yield r"\par\medskip"
        yield r"\begin{tabular}{@{}l>{\raggedright\arraybackslash}p{.75\linewidth}@{}}"
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


def _rows(table: Table) -> Iterator[str]:
    columns = in_line(table)
    lines = list(body(table))
    afters = [*(kind for kind, _ in lines[1:]), ROW]
    for (kind, cells), after in zip(lines, afters, strict=False):
        stays = kind in (HEADING, SUBHEADING) or after == BELOW  # on the page of what follows
        line = [tex(text) for text in cells] if kind == ROW else [_across(kind, cells[0], len(columns))]
        yield _row(line, r"\\*" if stays else r"\\")
    if table.totals:
        yield r"\midrule"
        yield _row([rf"\textbf{{{tex(text)}}}" if text else "" for text in totals(table, columns)])


def _row(cells: Sequence[str], end: str = r"\\") -> str:
    guard = "{}" if cells[0].startswith(("[", "*")) else ""  # they would be the line break's
    return f"{guard}{' & '.join(cells)} {end}"


def _across(kind: str, text: str, columns: int) -> str:
    """A line that spans all columns: a heading, or a text below its row."""
    before = "" if kind == BELOW else r"\addlinespace "
    return rf"{before}\multicolumn{{{columns}}}{{@{{}}{_wrapped(30, [text])}@{{}}}}{{{STYLES[kind]}{tex(text)}}}"


def _spec(table: Table) -> str:
    """How each column is set: numbers flush right, texts flush left and long ones wrapped."""
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
    """A column as wide as its longest text, up to a width in em or the longest word's; longer texts wrap."""
    width = max([width, *(_most(word) for text in texts for word in text.split())])
    return (
        rf">{{\begin{{varwidth}}[t]{{{width:g}em}}\raggedright\arraybackslash\leavevmode}}l<{{\strut\end{{varwidth}}}}"
    )


def _most(word: str) -> float:
    """An upper bound of a word's width, in em."""
    return sum(0.6 if sign.isascii() and not sign.isupper() else 1 for sign in word)
