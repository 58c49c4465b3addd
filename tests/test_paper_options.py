"""A table for a paper: its caption, label and environment; what the options refuse; and a paper made with them."""

import re

import pytest
from support.pages import in_process

from archcalc.render.forms.tex_text import tex

NOTED = "compare", "resnet50", "vgg16", "densenet121"  # its errors come from three tests
STAGES = "summarize", "resnet18", "--depth", "1"
HOSTILE = r"50% of $x_1$ & \input{/etc/passwd} #{^~} <b>|</b> × ≥"


def output(*arguments, code=0):
    """What a command prints, as one text; `code` is its exit code."""
    exit_code, text = in_process(arguments)
    assert exit_code == code, text
    return text


def latex(*arguments):
    """What follows the comment about packages, and comments about columns."""
    text = output(*arguments, "--format", "latex")
    return [line for line in text.partition("\n\n")[2].splitlines() if not line.startswith("% Columns left out")]


def test_a_caption_and_a_label_are_those_of_one_table_with_its_notes():
    lines = latex(*NOTED, "--caption", "What they cost", "--label", "tab:cost_1")
    assert lines[:3] == [
        r"\begin{table}[htbp]", r"\centering", r"\caption{What they cost}\label{tab:cost_1}\par\smallskip",
    ]  # fmt: skip
    assert lines[-1] == r"\end{table}"
    below = "\n".join(lines).partition(r"\end{tabular}")[2]
    assert below.count(r"\begin{minipage}") == 1
    assert "batch 1 $\\cdot$ float32" in below  # the conditions
    assert re.findall(r"^(\\textsuperscript.*?) ImageNet", below, re.MULTILINE) == [
        r"\textsuperscript{a}\textsuperscript{1}", r"\textsuperscript{a}\textsuperscript{2}", r"\textsuperscript{b}",
    ]  # fmt: skip


def test_a_table_for_a_paper_has_no_summary_and_no_published_figures():
    text = "\n".join(latex(*STAGES, "--caption", "x"))
    assert text.count(r"\begin{tabular}") == text.count(r"\caption") == 1
    assert "connections" not in text
    assert "\n".join(latex(*STAGES)).count(r"\caption") == 2


def test_wide_is_a_float_over_both_columns():
    lines = latex(*STAGES, "--wide", "--caption", "x")
    assert (lines[0], lines[-1]) == (r"\begin{table*}[htbp]", r"\end{table*}")


def test_a_fragment_is_a_tabular_with_its_notes():
    lines = latex(*NOTED, "--fragment")
    assert lines[0].startswith("% 3 networks · input 3×224×224")
    assert lines[1].startswith(r"\noindent\resizebox{")
    assert not {"table", "longtable", "center"} & set(re.findall(r"\\begin\{(\w+)", "\n".join(lines)))
    assert r"\caption" not in "\n".join(lines)
    assert [line for line in latex(*STAGES, "--fragment") if "begin{minipage}" in line] == []


def test_a_long_fragment_is_a_tabular_too():
    assert r"\begin{tabular}" in "\n".join(latex("summarize", "resnet50", "--fragment"))
    assert "{longtable}" in "\n".join(latex("summarize", "resnet50", "--label", "x"))


@pytest.mark.parametrize("form", ["markdown", "html", "rst"])
def test_a_caption_is_the_title_of_other_documents(form):
    text = output(*NOTED, "--format", form, "--caption", "What they cost")
    assert "What they cost" in text
    assert text.index("What they cost") < text.index("Network") < text.index("batch 1 · float32")
    assert re.search(r"ᵃ¹ ImageNet validation", text)


def test_a_hostile_caption_is_text():
    assert rf"\caption{{{tex(HOSTILE)}}}" in "\n".join(latex(*STAGES, "--caption", HOSTILE))
    assert "<b>" not in output(*STAGES, "--format", "html", "--caption", HOSTILE)
    for form in ("latex", "markdown", "html", "rst"):
        assert "\x1b" not in output(*STAGES, "--format", form, "--caption", "\x1b[31mred")
    assert "\n\n" not in "\n".join(latex(*STAGES, "--caption", "two\n\nparagraphs\r% and more"))


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        (["--caption", "x"], "no effect on --format table; use --format latex or markdown or html or rst"),
        (["--caption", "x", "--format", "csv"], "--caption has no effect on --format csv"),
        (["--wide", "--format", "html"], "--wide has no effect on --format html; use --format latex"),
        (["--label", "x", "--format", "markdown"], "--label has no effect on --format markdown; use --format latex"),
        (["--format", "latex", "--fragment", "--caption", "x"],
         "--fragment writes the tabular alone, for a table of your own; omit --caption"),
        (["--fragment", "--wide", "--format", "latex"], "omit --wide"),
        (["--format", "latex", "--label", "a b"], "'a b' is no label of LaTeX; use letters, digits and : . - _ / +"),
        (["--format", "latex", "--label", "x}\\input{y"], "is no label of LaTeX"),
        (["--format", "latex", "--caption", " "], "it is empty; write a text, or omit --caption"),
    ],
)  # fmt: skip
def test_what_the_options_refuse(given, problem):
    text = output("summarize", "lenet5", *given, code=2)
    assert problem in text
    assert text.startswith("error: ")


def test_the_columns_of_a_part_make_it_the_table():
    lines = latex("memory", "lenet5", "--columns", "phase,peak", "--caption", "A step")
    assert r"Phase & Peak \\" in lines
    assert r"optimizer & 727,508 B \\" in lines
    assert any(line.startswith(r"input 1$\times$32$\times$32 $\cdot$ batch 1") for line in lines)
    assert r"Printed & Verdict \\" in latex("summarize", "lenet5", "--columns", "printed,verdict", "--fragment")


@pytest.mark.parametrize("option", ["--caption", "--label"])
def test_one_caption_is_not_for_several_tables(option, tmp_path):
    names = ["export", "lenet5", "vgg11", "--format", "latex", option, "x"]
    assert f"{option} is for one table, and these are 2; name one network" in output(*names, code=2)
    into = output(*names, "--into", str(tmp_path / "new"), code=2)
    assert f"{option} is for one table, --into writes several; use -o FILE" in into
    assert not (tmp_path / "new").exists()


def test_fragments_of_several_networks_go_to_a_file_each(tmp_path):
    output("export", "lenet5", "vgg11", "--format", "latex", "--fragment", "--into", str(tmp_path / "new"))
    assert {path.name for path in (tmp_path / "new").iterdir()} == {"lenet5.tex", "vgg11.tex"}


def test_source_code_has_no_caption():
    assert "no effect on --format pytorch" in output("export", "lenet5", "--format", "pytorch", "--wide", code=2)
