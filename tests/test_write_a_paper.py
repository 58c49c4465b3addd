"""The paper of docs/how-to/write-a-paper.md: commands write its tables and pictures; LaTeX finds nothing wrong."""

import re
import shutil
import subprocess

import pytest
from support.pages import ROOT, fresh

pytestmark = pytest.mark.skipif(not shutil.which("pdflatex"), reason="pdflatex is not on this machine")
COMPLAINTS = r"^(?:!|Overfull|Underfull|Missing character|(?:LaTeX|Package).*Warning).*"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder after the commands of the page."""
    place = tmp_path_factory.mktemp("paper")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        fresh((ROOT / "docs/how-to/write-a-paper.md").read_text(encoding="utf-8"), place, {})
    return place


def complaints(folder, text):
    """What pdflatex has to say about a paper when it reads it for the second time."""
    (folder / "paper.tex").write_text(text, encoding="utf-8")
    for _ in range(2):
        command = ["pdflatex", "-interaction=nonstopmode", "-no-shell-escape", "paper"]
        done = subprocess.run(command, cwd=folder, capture_output=True, check=False)
    log = (folder / "paper.log").read_text(encoding="utf-8", errors="replace")
    assert done.returncode == 0 or re.search("^!", log, re.MULTILINE)
    return re.findall(COMPLAINTS, log, re.MULTILINE)


@pytest.mark.slow
def test_the_paper_compiles_without_a_complaint(folder):
    paper = (folder / "paper.tex").read_text(encoding="utf-8")
    assert complaints(folder, paper) == []
    assert (folder / "paper.pdf").stat().st_size > 50_000  # its pictures are in it
    assert {*re.findall(r"\\(?:input|includegraphics.*)\{(\w+)\}", paper)} == {
        *("networks", "stages", "gate", "pareto", "memory")
    }


def test_no_file_says_what_to_type(folder):
    texts = [path.read_text(encoding="utf-8") for path in folder.glob("*.tex")]
    assert not re.findall("-{}-[a-z]+|--[a-z]+", "".join(texts))


def test_what_is_wrong_with_a_paper_would_be_noticed(folder):
    paper = (folder / "paper.tex").read_text(encoding="utf-8")
    table = (folder / "networks.tex").read_text(encoding="utf-8")
    cut = table.replace(r"\ifdim\width>\linewidth", r"\iffalse")
    (folder / "networks.tex").write_text(cut, encoding="utf-8")
    wrong = paper.replace("margin=2cm", "margin=7cm").replace(r"\ref{tab:gate}", r"\ref{nothing}")
    found = complaints(folder, wrong)
    (folder / "networks.tex").write_text(table, encoding="utf-8")
    (folder / "paper.tex").write_text(paper, encoding="utf-8")
    assert any(line.startswith("Overfull") for line in found)
    assert any("`nothing' on page" in line for line in found)
