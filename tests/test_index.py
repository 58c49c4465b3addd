"""The index beside the zoo's specs: it says what the zoo says, and is not used once a spec has changed."""

import json
import os
import shutil
from collections import Counter
from pathlib import Path

import pytest
from click.testing import CliRunner

from archcalc import ArchcalcError, analyze, catalog, load, networks, spec_files, spec_reading
from archcalc.cli import cli
from archcalc.render.formats import FORMATS
from archcalc.render.tables.list import row_of
from archcalc.spec import network_spec
from archcalc.spec.expansion import Expansion
from archcalc.spec_files import INDEX, digest, files, zoo

SHIPPED = Path(zoo()) / INDEX


def run(*arguments):
    result = CliRunner().invoke(cli, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


@pytest.fixture
def work(monkeypatch):
    """How many texts were parsed as specs, and networks expanded."""
    counts = Counter()
    parse, graph = network_spec.parse_spec, Expansion.graph

    def parse_spec(text, name, path):
        counts["parsed"] += 1
        return parse(text, name, path)

    def expanded(self, *arguments):
        counts["expanded"] += 1
        return graph(self, *arguments)

    monkeypatch.setattr(spec_reading, "parse_spec", parse_spec)
    monkeypatch.setattr(Expansion, "graph", expanded)
    spec_reading.parsed.cache_clear()
    return counts


@pytest.fixture
def copy(tmp_path, monkeypatch):
    """A zoo of a few files with an index of its own, which a test may change."""
    folder = tmp_path / "specs"
    (folder / "other").mkdir(parents=True)
    for name in ("vgg.yaml", "lenet.yaml", "zfnet.yaml"):
        shutil.copy(Path(zoo()) / name, folder / name)
    (folder / "other/aliases.yaml").write_text("name: aliases\naliases: {a: vgg16, b: vgg11}\n")
    monkeypatch.setattr(spec_files, "zoo", lambda: folder)
    rewrite(folder)
    yield folder
    spec_files._index.cache_clear()


def index_text(rows):
    """The zoo's index: a network's name, file and row each."""
    folder = spec_files.zoo()
    lines = [
        f"{name}\t{path.relative_to(folder).as_posix()}\t{json.dumps(row, ensure_ascii=False)}"
        for name, path, row in rows
    ]
    body = "\n".join([*lines, ""])
    return f"{digest(folder, body)}\n{body}"


def rewrite(folder):
    spec_files._index.cache_clear()
    (folder / INDEX).unlink(missing_ok=True)
    rows = [(name, path, row_of(analyze(load(name)))) for name, path in networks().items()]
    (folder / INDEX).write_text(index_text(rows), encoding="utf-8")
    spec_files._index.cache_clear()


def test_the_index_is_the_zoos(monkeypatch):
    """`make golden` writes it. Each row is computed here, not read."""
    with monkeypatch.context() as patch:
        patch.setattr(catalog, "indexed", lambda folder: {})
        found = networks()
    text = index_text([(name, path, row_of(analyze(load(name)))) for name, path in found.items()])
    if os.environ.get("ARCHCALC_REWRITE"):
        SHIPPED.write_text(text, encoding="utf-8")
        spec_files._index.cache_clear()
    assert SHIPPED.read_text(encoding="utf-8") == text, "`make golden` rewrites the index"
    assert networks() == found
    assert list(networks()) == list(found)


@pytest.mark.parametrize("form", FORMATS)
def test_a_list_is_the_same_without_the_index(form, copy):
    kept = run("list", "--format", form)
    (copy / INDEX).unlink()
    spec_files._index.cache_clear()
    assert run("list", "--format", form) == kept


def test_a_list_expands_and_parses_nothing(work):
    assert "resnet152" in run("list")
    assert "resnet152" in run("list", "--family", "resnet")
    assert work == {}


def test_names_that_are_misspelt_parse_nothing(work):
    with pytest.raises(ArchcalcError, match="did you mean vgg16"):
        load("vvg16")
    assert work == {}


@pytest.mark.parametrize(("name", "parsed"), [("vgg16", 1), ("torchvision/resnet50", 2)])
def test_a_network_is_read_from_its_own_file(name, parsed, work, monkeypatch):
    texts = []
    read = spec_reading.read_text
    monkeypatch.setattr(spec_reading, "read_text", lambda path: texts.append(path) or read(path))
    monkeypatch.setattr(catalog, "files", None)  # no folder is searched
    load(name)
    assert (work["parsed"], work["expanded"], len(texts)) == (parsed, 1, parsed)


def test_the_counters_above_would_notice(copy, work):
    (copy / INDEX).unlink()
    spec_files._index.cache_clear()
    rows = run("list", "--format", "tsv").count("\n") - 1
    assert work == {"parsed": len(list(files(copy))), "expanded": rows}


CHANGES = {  # what is done to the copy of the zoo, and whether the list shows it
    "a network more": (lambda zoo: add(zoo / "mine.yaml", "name: mine\ninput: [3]\nlayers: [linear(2)]\n"), True),
    "a network less": (lambda zoo: (zoo / "lenet.yaml").unlink(), True),
    "a text as long and as old": (lambda zoo: replace(zoo / "zfnet.yaml", "4096", "8192"), True),
    "another name for a file": (lambda zoo: (zoo / "lenet.yaml").rename(zoo / "letters.yaml"), False),
}


def add(path, text):
    path.write_text(text)


def replace(path, old, new):
    text, state = path.read_text(), path.stat()
    assert old in text
    path.write_text(text.replace(old, new))
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))


DAMAGES = {
    "cut after a line": lambda text: "\n".join(text.split("\n")[:3]) + "\n",
    "cut within a row": lambda text: text[: text.index('"params"')],
    "another figure": lambda text: text.replace("138357544", "138357545"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_index_is_not_used(damage, copy, work):
    before, text = run("list", "--format", "tsv"), (copy / INDEX).read_text(encoding="utf-8")
    assert DAMAGES[damage](text) != text
    (copy / INDEX).write_text(DAMAGES[damage](text), encoding="utf-8")
    spec_files._index.cache_clear()
    assert run("list", "--format", "tsv") == before
    assert work["parsed"] == 4


@pytest.mark.parametrize("name", CHANGES)
def test_a_changed_zoo_is_read_anew(name, copy, work):
    change, shown = CHANGES[name]
    before = run("list", "--format", "tsv")
    assert work == {}
    change(copy)
    found = run("list", "--format", "tsv")
    assert (found != before) is shown
    assert work["parsed"] >= 3
    rewrite(copy)
    assert run("list", "--format", "tsv") == found


def test_a_network_that_moved_is_found(copy):
    (copy / "lenet.yaml").rename(copy / "letters.yaml")
    assert load("lenet5").origin.path == str(copy / "letters.yaml")
    (copy / "vgg.yaml").rename(copy / "lenet.yaml")
    assert load("lenet5").origin.path == str(copy / "letters.yaml")
    (copy / "lenet.yaml").unlink()
    with pytest.raises(ArchcalcError, match="no network is called 'vgg16'"):
        load("vgg16")


def test_folders_of_ones_own_come_first(tmp_path, monkeypatch, work):
    (tmp_path / "mine.yaml").write_text("name: vgg16\ntitle: my own\ninput: [3]\nlayers: [linear(2)]\n")
    (tmp_path / INDEX).write_text("no index of the zoo\n")
    monkeypatch.setenv("ARCHCALC_PATH", str(tmp_path))
    assert load("vgg16").about.title == "my own"
    assert work["expanded"] == 1
    rows = [line.split("\t") for line in run("list", "--format", "tsv").splitlines()]
    assert [row[6] for row in rows if row[4] == "vgg16"] == ["my own"]
    assert len(rows) > 100
    assert work["expanded"] == 2


@pytest.mark.parametrize("text", ["", "\n", "digest\nno tabs\n", "a\tb\tc\n", "\xff"])
def test_a_broken_index_is_not_used(text, copy):
    (copy / INDEX).write_bytes(text.encode("latin-1"))
    spec_files._index.cache_clear()
    assert load("lenet5").nodes
    assert "lenet5" in run("list")
