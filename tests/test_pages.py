"""Every page: its blocks are run and print what stands there, its links and file names lead somewhere.

`make golden` writes the output and the parts that are made from the code anew.
"""

import importlib
import os
import re
import subprocess
import sys
from importlib.util import find_spec

import pytest
from support.made_parts import MADE
from support.pages import PIECE, ROOT, anchors, broken_links, fresh, missing_files, pages, steady

import archcalc.codegen


def text_of(page):
    return (ROOT / page).read_text(encoding="utf-8")


@pytest.mark.parametrize("page", pages())
def test_blocks_and_made_parts(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")
    made = fresh(text_of(page), tmp_path, MADE)
    if os.environ.get("ARCHCALC_REWRITE"):
        (ROOT / page).write_text(made, encoding="utf-8")
    assert text_of(page) == made, f"{page} is not what its blocks print now; `make golden` rewrites it"


@pytest.mark.parametrize("page", pages())
def test_links_and_file_names(page):
    assert broken_links(page, text_of(page)) == []
    if page not in ("CHANGELOG.md", "docs/decisions.md"):  # which speak of what was
        assert missing_files(text_of(page)) == []


@pytest.mark.parametrize("page", pages())
def test_every_fence_is_a_block_and_every_comment_is_read(page):
    text = text_of(page)
    rest = PIECE.sub("", text)
    assert "```" not in rest
    assert "<!--" not in rest


def test_every_made_part_stands_in_one_page():
    named = [found["name"] for page in pages() for found in PIECE.finditer(text_of(page)) if found["name"]]
    assert sorted(named) == sorted(MADE)


def test_the_page_of_python_names_all_that_is_public():
    page = text_of("docs/reference/python.md")
    names = {*archcalc.__all__, *archcalc.codegen.__all__, *public("archcalc.pytorch")}
    assert not {name for name in names if not re.search(rf"\b{name}\b", page)}


def public(module):
    return importlib.import_module(module).__all__ if find_spec("torch") else []


def test_readme_is_short_and_opens_with_one_sentence_and_one_table():
    text = text_of("README.md")
    assert len(text.encode()) <= 6 * 1024
    opening, install, table = text.split("```console\n")[:3]
    assert len(re.findall(r"\.\s", opening.partition("<!--")[0])) == 1
    assert install.startswith("$ pip install .\n")
    assert table.startswith("$ archcalc summarize resnet50 --depth 1\n")
    assert "```console\n$ archcalc compare" in text


def test_a_reader_reaches_every_page_from_the_readme():
    seen, coming = set(), ["README.md"]
    while coming:
        page = coming.pop()
        if page not in seen:
            seen.add(page)
            links = re.findall(r"\]\(([\w./-]+\.md)", text_of(page))
            coming += [(ROOT / page).parent.joinpath(link).resolve().relative_to(ROOT).as_posix() for link in links]
    assert set(pages()) - seen == {"CHANGELOG.md"}


@pytest.mark.parametrize(
    ("page", "problem"),
    [
        ("```console\n$ rm -rf /\n```\n", "is not run"),
        ("```console\n$ archcalc summarize nothing-like-it\n```\n", "exit code 2"),
        ("```bash\ntrue\n```\n", "nothing runs such a block"),
        ("<!-- not run:  -->\n```console\n$ make test\n```\n", "needs a reason"),
        ("<!-- nor run: it takes long -->\n```console\n$ make test\n```\n", "unknown marks"),
        ("```yaml\nname: a\ninput: [3, 8, 8]\nparams: {b: 1}\nlayers:\n  - relu\n```\n", "something unused"),
    ],
)
def test_a_block_that_cannot_be_run_is_noticed(page, problem, tmp_path):
    with pytest.raises(AssertionError, match=problem):
        fresh(page, tmp_path, {})


def test_a_wrong_output_and_a_stale_part_are_noticed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    page = "```python\n>>> 1 + 1\n{}\n>>> for i in range(3):\n...     i\n{}\n2\n```\n"
    assert fresh(page.format(3, "…"), tmp_path, {}) == page.format(2, "…")
    part = "<!-- made from the code: x -->\n\n{}\n<!-- end -->\n"
    assert fresh(part.format("old"), tmp_path, {"x": lambda: "new\n"}) == part.format("new\n")
    raised = ">>> 1 / 0\nTraceback (most recent call last):\n    ...\nZeroDivisionError: division by zero\n"
    marked = f"<!-- raises: ZeroDivisionError -->\n```python\n{raised}```\n"
    assert fresh(marked, tmp_path, {}) == marked
    with pytest.raises(ZeroDivisionError):
        fresh(f"```python\n{raised}```\n", tmp_path, {})


def test_only_the_seconds_of_validate_may_differ():
    shown = ["1 network · 4.2 s · batch 2", "net  395  3.8"]
    slower = ["1 network · 10.2 s · batch 2", "net   395   9.8"]
    assert steady("archcalc validate net", shown, slower) == shown
    assert steady("archcalc audit net", shown, slower) == slower
    other = ["2 networks · 4.2 s · batch 2", "net  396  3.8"]
    assert steady("archcalc validate net", shown, other) == other


def test_dead_links_and_missing_files_are_noticed():
    text = "# A\n\n# A\n\n[a](#a-1) [b](#b) [c](docs/no.md) [d](docs/tutorial.md#no) [e](https://x) `[f](g)`\n"
    assert anchors(text) == {"a", "a-1"}
    assert broken_links("README.md", text) == ["#b", "docs/no.md", "docs/tutorial.md#no"]
    assert missing_files("`ops/base.py`, `ops/no.py`, `no.py`, `specs/NAME.yaml`") == ["ops/no.py"]


WALK = """
import sys
from archcalc.cli import main
called = {}
def note(frame, event, arg):
    if event == "call":
        called.setdefault((frame.f_code.co_filename, frame.f_code.co_name), len(called))
sys.argv = ["archcalc", "summarize", "vgg16"]
sys.setprofile(note)
try:
    main()
except SystemExit:
    sys.setprofile(None)
for file, name in called:
    print(file.rpartition("/archcalc/")[2], name, file=sys.stderr)
"""


def test_the_walk_names_functions_in_the_order_in_which_they_are_called():
    walk = text_of("docs/architecture.md").partition("## One walk")[2].partition("## Where to look")[0]
    named = re.findall(r"`([\w/]+\.py)`:\s+`(\w+)\(\)`", walk)
    assert len(named) > 15
    done = subprocess.run([sys.executable, "-c", WALK], capture_output=True, text=True, check=True)
    called = [tuple(line.split()) for line in done.stderr.splitlines()]
    missing = [step for step in named if step not in called]
    assert not missing
    assert named == sorted(named, key=called.index)


def test_each_decision_stands_once():
    heads = re.findall(r"^- \*\*(.*?)\*\*", (ROOT / "docs/decisions.md").read_text(), flags=re.MULTILINE)
    assert len(heads) > 100
    assert len(set(heads)) == len(heads)
