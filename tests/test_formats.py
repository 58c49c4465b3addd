"""Every table in every format: read back it is the same table, whatever signs it holds. LaTeX compiles."""

import csv
import io
import json
import re
import shutil
import subprocess
from functools import cache
from html.parser import HTMLParser

import html5lib
import pytest
from docutils import nodes
from docutils.core import publish_doctree
from markdown_it import MarkdownIt
from support.audited import audited
from support.golden_files import check_golden

from archcalc import analyze, audit, compare, load, parse
from archcalc.cli.networks import facts_of
from archcalc.comparing.alignment import align
from archcalc.comparing.totals import relative
from archcalc.render.choice import Choice, in_units
from archcalc.render.formats import FORMATS, SUFFIXES, render, render_all
from archcalc.render.forms.latex import render_latex
from archcalc.render.forms.lines import body, in_line, totals
from archcalc.render.forms.tex_text import KNOWN, SIGNS, tex
from archcalc.render.marks import letter
from archcalc.render.stamp import stamped
from archcalc.render.table import Column, Paper, Table, cell
from archcalc.render.tables.audit import audit_table
from archcalc.render.tables.compare import comparison_table
from archcalc.render.tables.compare_parts import alignment_table
from archcalc.render.tables.list import listing, row_of
from archcalc.render.tables.ops import operator_help, operators


def about(name):
    return facts_of(name, "", {}, None)


ODD = [
    r"a|b_c*d", "50% of #1 & $x^2$", r"C:\new\table", "{~}", "<script>alert('x')</script>", '"quoted" `code` [link](x)',
    "--all -- ,, '' <<", "- no list", "1. no list", "A. Krizhevsky", "[x] one", "* star", ":field: x", ".. comment",
    "====", "_private_ __init__", "x_", "|sub|", "naïve Größe Łódź", "2·3 − 1 ≤ 4² × σ → ⌊½⌋ … – “a”", "漢字",
    "😀 smile", "Andre\u0301", "x\u0302 y", "か\u3099", "\u0301 alone", "עברית", "ที่ हिन्दी ☺\ufe0f", "x" * 300,
    "javascript:alert(1)", "<javascript:x>", "[x](javascript:alert(1))", "http://a.b/c?d=e", "www.a.de", "a@b.cd",
    "mailto:a@b.cd", "so::", "::", "a:: b", "=1+1", "+1+1", "@SUM(A1)", "-1+1", "-1", "+2.5e3", "'=1", "''=1",
    "'quoted'", " =1", "\t=1", "＝1", "&amp; &lt;", "trailing\\", "~~gone~~", "+1", "#1", ">= 3", "two\nlines", "",
    "\t tab",
]  # fmt: skip


def odd_table():
    columns = [Column("name", "Na|me_*<", "u%$", text=True), Column("n", "N", "values"), Column("more", "", text=True)]
    rows = [{"name": text, "n": 10**i, "more": text} for i, text in enumerate(ODD)]
    part = Table("", columns, rows[:2], "parts", conditions="Of _these_:")
    return Table(
        "a_b | 100% {#1}", columns, rows, "odd", {"schema": 1, "name": "=a|b"}, "input 3×4 · x_1::",
        {"name": "tot_al", "n": 7}, [("la_bel", "first *line*\nsecond"), ("javascript", "x"), ("so", ":"), ("::", "")],
        ["# a note_", "1. not a list", "\\end{table}", "=== so::", "javascript:x", "two\n\nparts", "a@b.cd"],
        parts=[part],
    )  # fmt: skip


def beside(left, right, by, every=False):
    return alignment_table(align(analyze(load(left)), analyze(load(right))), by, every)


MAKERS = {
    "vgg16": lambda: audited(analyze(load("vgg16"))),
    "googlenet": lambda: audited(analyze(load("googlenet"), batch=8, mode="train"), depth=1),
    "one layer": lambda: audited(analyze(load("blocks/conv5x5"))),
    "audit": lambda: audit_table({name: audit(load(name)) for name in ("googlenet", "lenet5")}),
    "compare": lambda: comparison_table(
        relative(compare(*map(load, ("vgg16", "torchvision/resnet50", "densenet169"))), "vgg16")
    ),
    "unlike": lambda: comparison_table(compare(*map(load, ("lenet5", "resnet110", "blocks/fire")))),
    **{f"by {by}": lambda by=by: beside("vgg16", "resnet50", by) for by in ("stage", "block", "layer")},
    "every layer": lambda: beside("resnet50", "torchvision/resnet50", "layer", every=True),
    "list": lambda: listing(row_of(analyze(load(name))) for name in ("vgg16", "lenet5", "specs/resnet.yaml:resnet50")),
    "show": lambda: about("resnet50"),
    "ops": operators,
    "op": lambda: operator_help("conv"),
    "odd": odd_table,
    "empty": lambda: Table("", [Column("a", "A", text=True), Column("b", "B")], []),
}


@cache
def table_of(name):
    return MAKERS[name]()


every_table = pytest.mark.parametrize("name", MAKERS)


def with_parts(table):
    return [in_units(table, Choice()), *(inner for part in table.parts for inner in with_parts(part))]


def flat(table):
    """What a table's rows say, cell by cell."""
    table = in_units(table, Choice())
    columns = table.shown()
    rows = [[cell(row.get(c.key), c.plain) for c in columns] for row in table.rows]
    total = [cell(table.totals[c.key]) if c.key in table.totals else "" for c in columns]
    return rows + [total] * bool(table.totals)


def words(text):
    """Text without the space that a format may set otherwise."""
    return " ".join(text.split())


def same(found, table):
    assert [[words(text) for text in row] for row in found] == [[words(text) for text in row] for row in flat(table)]


def test_the_file_suffixes_say_the_formats():
    assert len(SUFFIXES) == len(FORMATS)
    assert {form: FORMATS[form].suffix for form in ("markdown", "latex", "rst")} == {
        "markdown": ".md",
        "latex": ".tex",
        "rst": ".rst",
    }


@pytest.mark.parametrize("form", ["tsv", "latex", "rst", "html"])
def test_golden_formats(form):
    check_golden(f"formats/vgg16{FORMATS[form].suffix}", render(stamped(table_of("vgg16"), "0"), form))


# Markdown


def markdown_tables(text):
    """The cells of a document's tables, as GitHub shows them."""
    tables, row, inside = [], [], False
    for token in MarkdownIt("commonmark").enable(["table", "strikethrough"]).parse(text):
        inside = (inside or token.type == "table_open") and token.type != "table_close"
        if token.type == "table_open":
            tables.append([])
        elif token.type == "tr_open":
            row = []
        elif token.type == "tr_close":
            tables[-1].append(row)
        elif token.type == "inline" and inside:
            row.append("".join(shown(child) for child in token.children))
    return tables


def shown(token):
    if token.type == "html_inline":
        assert token.content == "<br>"
        return "\n"
    assert token.type in ("text", "text_special", "strong_open", "strong_close"), token
    return token.content


@every_table
def test_markdown_reads_back(name):
    tables = markdown_tables(render(table_of(name), "markdown"))
    for found, table in zip(tables, with_parts(table_of(name)), strict=True):
        heads = [f"{c.title} ({c.unit})" if c.unit else c.title for c in table.shown()]
        assert found[0] == heads
        same(found[1:], table)


def test_markdown_around_the_table_is_text():
    document = MarkdownIt("commonmark").enable(["table", "strikethrough"]).render(render(odd_table(), "markdown"))
    assert "<strong>a_b | 100% {#1}</strong>" in document
    for note in ("# a note_", "1. not a list", "=== so::", "javascript:x", "two parts", "a@b.cd"):
        assert f"<p>{note}</p>" in document
    assert "<a" not in document
    assert "<li>la_bel: first *line*; second</li>" in document


# CSV, TSV, JSON


def plain(text):
    """A cell as it was before a text that a spreadsheet would compute got its apostrophe."""
    return text[1:] if re.match(r"''*\s*[=+\-@＝＋－＠]", text) else text


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("=1+1", "'=1+1"), ("+1+1", "'+1+1"), ("-1+1", "'-1+1"), ("@SUM(A1)", "'@SUM(A1)"), (" =1", "' =1"),
        ("＝1", "'＝1"), ("'=1", "''=1"), ("--all", "'--all"), ("-", "'-"), ((-3, -3), "-3x-3"),
        (-7, "-7"), (-0.5, "-0.5"), ("-7", "-7"), ("+2.5", "+2.5"), ("-1e-9", "-1e-9"), ((-3,), "-3"),
        ("'quoted'", "'quoted'"), ("− 1", "− 1"), ("a=b", "a=b"), (None, ""), (True, "True"),
        (("=a", "b"), "'=a b"), ((3, -3), "3x-3"),
        (((-3, 3), (-3, 3)), "-3x3 -3x3"), ((-1.5, -2), "'-1.5 -2"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("form", ["csv", "tsv"])
def test_no_cell_is_a_formula(value, expected, form):
    text = render(Table("", [Column("a", "A")], [{"a": value}], facts={"name": "=net"}), form)
    assert list(csv.reader(io.StringIO(text), delimiter=",\t"[form == "tsv"]))[1] == ["'=net", expected]


@every_table
@pytest.mark.parametrize(("form", "delimiter"), [("csv", ","), ("tsv", "\t")])
def test_csv_and_tsv_read_back(name, form, delimiter):
    table = table_of(name)
    found = list(csv.DictReader(io.StringIO(render(table, form), newline=""), delimiter=delimiter))
    assert len(found) == len(table.rows)
    for record, row in zip(found, table.rows, strict=True):
        for key in table.data_keys():
            value = row.get(key)
            if isinstance(value, str | int):
                assert plain(record[key]) == str(value)
        assert None not in record


def test_several_tables_in_one_csv():
    both = [stamped(audited(analyze(load(name)), everything=True), "0") for name in ("lenet5", "vgg11")]
    alone = [list(csv.reader(io.StringIO(render(table, "csv")))) for table in both]
    assert list(csv.reader(io.StringIO(render_all(both, "csv")))) == [*alone[0], *alone[1][1:]]


def test_a_column_that_one_table_lacks_is_empty():
    tables = [Table("", [Column(key, key)], [{key: 1}]) for key in "ab"]
    assert render_all(tables, "csv") == "a,b\n1,\n,1\n"


@every_table
def test_json_of_several_is_a_list(name):
    one = json.loads(render(table_of(name), "json"))
    assert json.loads(render_all([table_of(name), table_of("odd")], "json")) == [
        one,
        json.loads(render(odd_table(), "json")),
    ]


# HTML

VOID = {"meta", "br"}


class Reader(HTMLParser):
    """Well-formedness, and the cells of each table: one list a row, with a row's class."""

    def __init__(self):
        super().__init__()
        self.open, self.tables, self.seen = [], [], []

    def handle_starttag(self, tag, attrs):
        self.seen.append(tag)
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append((dict(attrs).get("class", self.open[-1]), []))
        elif tag in ("td", "th"):
            self.tables[-1][-1][1].append("")
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if {"td", "th"} & set(self.open) and "span" not in self.open:
            self.tables[-1][-1][1][-1] += data


@every_table
def test_html_reads_back(name):
    reader = Reader()
    text = render(table_of(name), "html")
    reader.feed(text)
    reader.close()
    assert reader.open == []
    assert text.startswith('<!DOCTYPE html>\n<html lang="en">')
    assert reader.seen.count("title") == 1
    assert "script" not in reader.seen
    for found, table in zip(reader.tables, with_parts(table_of(name)), strict=True):
        lines = [(kind, cells) for kind, cells in found if kind not in ("thead", "tfoot")]
        inside = list(body(table, in_line(table)))
        assert [("row" if kind == "tbody" else kind, cells) for kind, cells in lines] == inside
        assert [cells for kind, cells in found if kind == "tfoot"] == [totals(table, in_line(table))] * bool(
            table.totals
        )


def test_html_is_valid_to_a_browser():
    for name in MAKERS:
        html5lib.HTMLParser(strict=True).parse(render_all([table_of(name), table_of("vgg16")], "html"))


def test_numbers_are_flush_right():
    text = render(table_of("vgg16"), "html")
    assert '<td class="text">stage1.conv1</td><td class="text">conv relu</td><td>64×224×224</td>' in text
    assert "text-align: right" in text


def test_a_heading_stands_above_what_it_is_of():
    columns = [Column("a", "A", heading=True), Column("b", "B", heading=True), Column("c", "C"),
               Column("d", "D", below=True)]  # fmt: skip
    rows = [
        {"a": a, "b": b, "c": c, "d": d} for a, b, c, d in [(1, 1, 1, ""), (1, 1, 2, "x"), (1, 2, 3, ""), (2, 2, 4, "")]
    ]
    lines = body(Table("", columns, rows), [columns[2]])
    assert [f"{kind[0]}{cells[0]}" for kind, cells in lines] == [
        "h1", "s1", "r1", "r2", "bx", "s2", "r3", "h2", "s2", "r4",
    ]  # fmt: skip


# reStructuredText


@every_table
def test_rst_reads_back(name):
    settings = {"report_level": 1, "halt_level": 1, "raw_enabled": False}
    document = publish_doctree(render(table_of(name), "rst"), settings_overrides=settings)
    tables = [table for table in with_parts(table_of(name)) if flat(table)]
    found = list(document.findall(nodes.table))
    for node, table in zip(found, tables, strict=True):
        titles = [title.astext() for title in node.findall(nodes.title)]
        assert titles == ([table.title] if table.title else [])
        rows = [[entry.astext() for entry in row.findall(nodes.entry)] for row in node.findall(nodes.row)]
        same(rows[1 if any(column.title for column in table.columns) else 0 :], table)
    kinds = {type(child).__name__ for child in document.children}
    assert kinds <= {"table", "paragraph", "bullet_list"}
    assert not list(document.findall(nodes.reference))


def test_rst_around_the_table_is_text():
    document = publish_doctree(render(odd_table(), "rst"), settings_overrides={"report_level": 1, "halt_level": 1})
    texts = [node.astext() for node in document.findall(nodes.paragraph) if not isinstance(node.parent, nodes.entry)]
    assert texts[0] == "input 3×4 · x_1::"
    assert texts[1:12] == [
        "la_bel: first *line*; second", "javascript: x", "so: :", ":::", "# a note_", "1. not a list", "\\end{table}",
        "=== so::", "javascript:x", "two parts", "a@b.cd",
    ]  # fmt: skip


@pytest.mark.parametrize("title", ["Andre\u0301", "javascript:alert(1)", "so::", "か\u3099き", "=1"])
@pytest.mark.parametrize("form", FORMATS)
def test_a_title_and_a_source_of_any_signs(title, form):
    spec = f'name: r\ntitle: "{title}"\ninput: [3, 8, 8]\nlayers: [flatten]\n'
    text = render(
        audited(analyze(parse(spec + f'published: {{figure: params, printed: "0", source: "{title}"}}\n'))), form
    )
    if form == "rst":
        document = publish_doctree(text, settings_overrides={"report_level": 1, "halt_level": 1})
        assert title in document.astext()
        assert not list(document.findall(nodes.reference))
    elif form == "html":
        assert f"· {title}</strong>" in text
    elif form == "latex":
        assert "U+0301" not in text
    elif form in ("table", "json"):
        assert title in text


def test_rst_escapes():
    text = render(odd_table(), "rst")
    assert r"   a\|b\_c\*d" in text
    assert ".. table:: a\\_b \\| 100% {#1}\n\n   ====" in text
    assert r"\A. Krizhevsky" in text


# LaTeX

PDFLATEX = shutil.which("pdflatex")
needs_pdflatex = pytest.mark.skipif(not PDFLATEX, reason="pdflatex is not on this machine")


def compiled(text, folder, options="", kind="article", runs=1):
    """What pdflatex says of a document with this text, with the packages that the text itself names."""
    packages = "\n".join(dict.fromkeys(line[1:] for line in text.splitlines() if line.startswith(r"%   \usepackage")))
    document = f"\\documentclass[{options}]{{{kind}}}\n{packages}\n\\begin{{document}}\n{text}\n\\end{{document}}\n"
    (folder / "x.tex").write_text(document, encoding="utf-8")
    command = [PDFLATEX, "-interaction=nonstopmode", "-halt-on-error", "-no-shell-escape", "x.tex"]
    for _ in range(runs):
        done = subprocess.run(command, cwd=folder, capture_output=True, check=False)
    log = (folder / "x.log").read_text(encoding="utf-8", errors="replace")
    assert done.returncode == 0, re.findall(r"^!.*", log, re.MULTILINE)
    return log


def overfull(log):
    return re.findall(r"(?:Overfull \\[hv]box \(|Float too large for page by )([\d.]+)pt", log)


@needs_pdflatex
@pytest.mark.parametrize("options", ["", "twocolumn"])
def test_latex_compiles_and_fits_the_page(options, tmp_path):
    log = compiled(render_latex([table_of(name) for name in MAKERS]), tmp_path, options)
    assert overfull(log) == []
    assert "Missing character" not in log


def wide_table(columns, rows, word="stage1.block2.Conv"):
    names = [Column("name", "Name", text=True), *(Column(f"n{i}", f"Figure {i}", "units") for i in range(columns))]
    row = {column.key: 10**9 + 1 for column in names[1:]}
    part = Table("", names[:4], [{"name": word * 3, **row}])
    return Table("Wide", names, [{"name": word, **row}] * rows, parts=[part])


@needs_pdflatex
@pytest.mark.parametrize("options", ["", "12pt,a4paper", "twocolumn"])
def test_latex_fits_any_page(options, tmp_path):
    words = ("conv", "WORD_" * 4, "layer " * 12, "x" * 60)
    tables = [wide_table(wide, high, word) for wide in (1, 5, 8, 17) for high in (2, 150) for word in words]
    assert overfull(compiled(render_latex(tables), tmp_path, options)) == []


@needs_pdflatex
@pytest.mark.parametrize(
    ("rows", "measures", "ignores"),
    [(2, r"\ifdim\width>\linewidth", r"\iffalse"), (150, r"\ifdim\wd0>", r"\ifdim0pt>")],
)
def test_the_tests_of_the_page_would_notice(rows, measures, ignores, tmp_path):
    text = render_latex([wide_table(17, rows)])
    assert measures in text
    assert overfull(compiled(text.replace(measures, ignores), tmp_path)) != []


@needs_pdflatex
@pytest.mark.parametrize("paper", [Paper(), Paper("table*", "a:b_c"), Paper("")])
@pytest.mark.parametrize("kind", ["article", "IEEEtran", "acmart", "elsarticle", "llncs", "revtex4-2"])
def test_a_table_fits_its_column_in_any_class(kind, paper, tmp_path):
    if subprocess.run(["kpsewhich", f"{kind}.cls"], capture_output=True, check=False).returncode:
        pytest.skip(f"{kind} is not on this machine")
    table = comparison_table(compare(*map(load, ("vgg16", "resnet50", "densenet169"))))._replace(paper=paper)
    options = "twocolumn" if kind in ("article", "revtex4-2") else "5p" if kind == "elsarticle" else ""
    assert overfull(compiled(render_latex([table]), tmp_path, options, kind)) == []


@needs_pdflatex
def test_latex_shows_every_sign(tmp_path):
    """What stands in the PDF, by its text."""
    known = "".join(filter(KNOWN.match, map(chr, range(0xA1, 0x250))))
    names = [*ODD, *SIGNS, "ΑΒΓαβγσςλ", *(known[i : i + 16] for i in range(0, len(known), 16))]
    rows = [{"name": f"{text}!", "n": i} for i, text in enumerate(names)]
    table = Table("Odd", [Column("name", "Name", text=True), Column("n", "N")], rows)
    log = compiled(render_all([odd_table(), table], "latex"), tmp_path)
    assert "Missing character" not in log
    if not shutil.which("pdftotext"):
        return
    text = subprocess.run(["pdftotext", "-layout", "x.pdf", "-"], cwd=tmp_path, capture_output=True, check=True).stdout
    found = words(text.decode()).replace("’", "'")
    for plain in ("a|b_c*d", "50% of #1 & $x^2$", r"C:\new\table", "{~}", "--all -- ,, '' <<", "[x] one", "* star"):
        assert f"{plain}!" in found, plain


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("50% & #1", r"50\% \& \#1"),
        ("a_b\\c", r"a\_b\textbackslash{}c"),
        ("--all", "-{}-all"),
        ("batch-norm 3×3", r"batch-norm 3$\times$3"),
        ("− ≤ ² ₁", r"$-$ $\leq$ \textsuperscript{2} \textsubscript{1}"),
        ("24.7ᵇ¹\u2007", r"24.7\textsuperscript{b}\textsuperscript{1}\phantom{\textsuperscript{1}}"),
        ("Σ λ Α", r"$\Sigma$ $\lambda$ A"),
        ("Größe", "Größe"),
        ("漢", r"\texttt{U+6F22}"),
        ("<a> {b}", r"\textless{}a\textgreater{} \{b\}"),
    ],
)
def test_text_for_latex(text, expected):
    assert tex(text) == expected


def test_latex_rows_do_not_begin_an_argument():
    table = Table("", [Column("a", "A", text=True)], [{"a": "[1ex]"}, {"a": "*x"}])
    assert "\n{}[1ex] \\\\\n{}*x \\\\\n" in render(table, "latex")


def test_long_latex_tables_are_longtables():
    assert r"\archcalctable{longtable}{" in render(table_of("audit"), "latex")
    short = render(table_of("one layer"), "latex")
    assert r"\begin{table}" in short
    assert r"\archcalctable{longtable}{" not in short
    assert re.findall(r"\\label\{(.*?)\}", short) == ["tab:blocks-conv5x5", "tab:blocks-conv5x5-published"]
    long_beside_short = render(table_of("vgg16"), "latex").partition("published}")[0]
    assert r"\begin{table}" in long_beside_short


def test_labels_tell_tables_apart():
    tables = [table_of(name) for name in MAKERS if name != "empty"]
    labels = re.findall(r"\\label\{(.*?)\}", render_latex(tables))
    assert len(labels) == len(set(labels))
    assert {"tab:vgg16", "tab:vgg16-torchvision-resnet50-densenet169", "tab:vgg16-resnet50-by-stage"} <= set(labels)


def test_latex_says_which_columns_gave_way():
    text = render(table_of("compare"), "latex")
    assert "% Columns left out because no page is wide enough: " in text
    assert "FLOPs, × FLOPs, Activations (values), × activations" in text.split("\n\n")[1].splitlines()[0]
    assert r"$\times$ FLOPs" not in text
    assert "Left out" not in render(table_of("one layer"), "latex")


def test_latex_says_what_it_needs_and_no_more():
    head = render_all([table_of("vgg16"), table_of("op")], "latex").split("\n\n")
    assert head[0].startswith("% Include this file in a document")
    assert {"booktabs", "longtable", "array"} <= set(re.findall(r"\{(\w+)\}", head[0]))
    assert sum("usepackage" in block for block in head) == 1
    short = render(table_of("list"), "latex").partition("\n\n")[0]
    assert re.findall(r"usepackage.*?\{(\w+)\}", short) == ["fontenc", "booktabs", "graphicx"]


@pytest.mark.parametrize("form", FORMATS)
def test_what_to_type_stands_on_a_terminal_alone(form):
    text = render(table_of("vgg16"), form).replace("{}", "")
    assert ("--all" in text) == (form == "table")


@pytest.mark.parametrize("form", [form for form in FORMATS if not FORMATS[form].every])
def test_a_mark_is_a_superscript_and_its_note_below_has_it_too(form):
    text = render(table_of("compare"), form)
    mark = (r"\textsuperscript{b}\textsuperscript{1}", "ᵇ¹")[form != "latex"]
    assert f"23.87{mark}" in text
    assert re.search(rf"{re.escape(mark)} ImageNet validation, single crop 224", text)


def test_marks_have_a_letter_for_each_of_many_tests():
    marks = [letter(i) for i in range(60)]
    assert len(set(marks)) == 60
    assert not re.search("[a-z]", "".join(marks))
    assert marks[16:18] == ["ʳ", "ˢ"]
    assert marks[25] == "ᵃᵃ"
