"""`archcalc export`: what is written, where, and what is refused."""

import csv
import io
import json
import os
import re
from html import escape

import pytest
from click.testing import CliRunner

from archcalc import __version__, networks
from archcalc import cli as cli_module
from archcalc.cli import cli
from archcalc.cli.exporting import SUFFIXES, TABLES, file_name
from archcalc.render.formats import FORMATS
from archcalc.render.forms.tex_text import tex

SPEC = "name: {name}\ninput: [3, 8, 8]\nlayers:\n  - conv(4, 3)\n"


def output(*args):
    result = CliRunner().invoke(cli, ["export", *args], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def refused(monkeypatch, capsys, *args):
    """What the command says when it refuses: exit code 2, nothing on the standard output."""
    monkeypatch.setattr("sys.argv", ["archcalc", "export", *args])
    with pytest.raises(SystemExit) as stop:
        cli_module.main()
    printed = capsys.readouterr()
    assert (stop.value.code, printed.out) == (2, "")
    return " ".join(printed.err.split())


def said(*args):
    """What another command prints."""
    result = CliRunner().invoke(cli, list(args), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


HELD_AGAINST = "batch 1 · float32 · each figure in the mode that its source states · FLOPs: all"
STAMPS = {  # of two networks
    "summarize": ["input 1×32×32 · batch 1 · float32 · inference · FLOPs: all",
                  "input 3×224×224 · batch 1 · float32 · inference · FLOPs: all"],
    "compare": ["2 networks · batch 1 · float32 · inference · FLOPs: all"],
    "audit": [f"24 published figures of 2 networks: 21 exact, 1 rounded, 2 contradicted · {HELD_AGAINST}"],
    "list": ["2 networks · batch 1 · inference · MACs: multiply-accumulates of one forward pass · float32"],
    "show": [HELD_AGAINST, HELD_AGAINST],
}  # fmt: skip
WRITTEN = {"latex": tex, "html": escape}


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("form", [form for form in FORMATS if form != "table"])
def test_every_table_in_every_format_with_its_stamp(table, form):
    text = output("lenet5", "vgg11", "--table", table, "--format", form)
    if FORMATS[form].every:
        data = json.loads(text) if form == "json" else csv.DictReader(io.StringIO(text), delimiter="\t,"[form == "csv"])
        records = [data] if isinstance(data, dict) else list(data)
        assert len(records) == len(STAMPS[table]) or form != "json"
        for record in records:
            assert (str(record["batch"]), record["dtype"], record["archcalc"]) == ("1", "float32", __version__)
    else:
        found = [text.index(WRITTEN.get(form, str)(f"{stamp} · archcalc {__version__}")) for stamp in STAMPS[table]]
        assert found == sorted(found)
        assert text.count(f"archcalc {__version__}") == len(STAMPS[table])


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("table", ["summarize", "compare", "audit", "show"])
def test_a_command_writes_of_one_network_what_export_does(table, form, tmp_path):
    paths = [tmp_path / f"{by}{FORMATS[form].suffix}" for by in ("command", "export")]
    assert said(table, "lenet5", "-o", str(paths[0])) == ""
    assert output("lenet5", "--table", table, "-o", str(paths[1])) == ""
    assert paths[0].read_text() == paths[1].read_text()
    assert __version__ in paths[0].read_text()


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize(
    "command",
    [
        ["compare", "lenet5", "vgg11", "--by", "stage"],
        ["compare", "lenet5", "vgg11", "--columns", "flops"],
        ["audit", "vgg16", "--only", "contradicted"],
        ["list", "--family", "lenet"],
        ["summarize", "lenet5", "--depth", "1"],
        ["ops"],
        ["ops", "conv"],
    ],
)
def test_every_command_stamps_all_but_the_terminals_table(command, form):
    assert (__version__ in said(*command, "--format", form)) == (form != "table")


def test_a_program_can_tell_one_from_several():
    """The pattern says it, not what there is for it."""

    def kind(*args):
        return type(json.loads(output(*args, "--format", "json")))

    assert kind("lenet5") is dict
    assert kind("lenet*") is kind("lenet5", "vgg11") is kind("--family", "lenet") is list
    for table in ("compare", "audit", "list"):
        assert kind("lenet*", "--table", table) is kind("lenet5", "--table", table) is dict
    assert type(json.loads(said("summarize", "lenet5", "--format", "json"))) is dict


@pytest.mark.parametrize("table", ["summarize", "compare"])
def test_the_stamp_has_all_conditions(table):
    options = ["--batch", "2", "--dtype", "float16", "--mode", "train", "--convention", "torch", "--input", "1x32x32"]
    record = next(csv.DictReader(io.StringIO(output("lenet5", "--table", table, "--format", "csv", *options))))
    names = ("input", "batch", "dtype", "mode", "convention", "archcalc")
    assert [record[name] for name in names] == ["1x32x32", "2", "float16", "train", "torch", __version__]
    line = output("lenet5", "--table", table, *options)
    for words in ("1×32×32", "batch 2", "float16", "training", "FLOPs: torch", f"archcalc {__version__}"):
        assert words in line


def test_several_networks_in_one_document():
    names = ["lenet5", "vgg11"]
    rows = list(csv.DictReader(io.StringIO(output(*names, "--format", "csv"))))
    data = json.loads(output(*names, "--format", "json"))
    assert [one["name"] for one in data] == names
    assert [one["archcalc"] for one in data] == [__version__] * 2
    assert [row["name"] for row in rows] == [layer["name"] for one in data for layer in one["layers"]]
    assert {row["network"] for row in rows} == set(names)
    assert output(*names, "--format", "html").count("<!DOCTYPE html>") == 1
    assert output(*names, "--format", "latex").count("usepackage[T1]") == 1
    assert output(*names, "--table", "audit").count("published figures") == 1


def test_a_family():
    names = [one["name"] for one in json.loads(output("vgg11", "--family", "lenet", "--format", "json"))]
    assert names == ["vgg11", *(name for name in names if "lenet" in name)]
    assert len(names) == 3


def test_options_of_summarize():
    assert json.loads(output("vgg16", "--set", "classes=10", "--format", "json"))["layers"][-1]["output"] == [10]
    assert len(json.loads(output("vgg16", "--depth", "1", "--format", "json"))["layers"]) == 9
    assert "| relu " in output("lenet5", "vgg11", "--all")
    assert "batch normalization folded" in output("resnet18", "--fold-bn")


def test_lists_are_of_the_networks_named():
    def names(*args):
        return [row["name"] for row in json.loads(output(*args, "--table", "list", "--format", "json"))["networks"]]

    assert names("vgg1[19]", "lenet5") == ["vgg11", "vgg19", "lenet5"]
    assert names() == list(networks())


@pytest.mark.parametrize("form", [form for form in FORMATS if form != "table"])
def test_the_suffix_says_the_format(form, tmp_path):
    path = tmp_path / f"x{FORMATS[form].suffix}"
    assert output("lenet5", "-o", str(path)) == ""
    assert path.read_text() == output("lenet5", "--format", form)
    upper = tmp_path / f"X{FORMATS[form].suffix.upper()}"
    output("lenet5", "-o", str(upper))
    assert upper.read_text() == path.read_text()


@pytest.mark.parametrize(
    "command", [["summarize", "lenet5"], ["list", "--family", "vgg"], ["ops"], ["audit", "lenet5"]]
)
def test_a_files_suffix_says_the_format_in_every_command(command, tmp_path):
    path = tmp_path / "x.html"
    CliRunner().invoke(cli, [*command, "-o", str(path)], catch_exceptions=False)
    assert path.read_text() == CliRunner().invoke(cli, [*command, "--format", "html"]).stdout
    assert path.read_text().startswith("<!DOCTYPE html>")


def test_a_format_that_is_asked_for_stands_before_the_suffix(tmp_path):
    output("lenet5", "--format", "csv", "-o", str(tmp_path / "x.md"))
    assert (tmp_path / "x.md").read_text().startswith("network,")


def test_a_file_is_not_cut_to_the_terminal(tmp_path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    output("vgg16", "-o", str(tmp_path / "x.txt"))
    assert "FLOPs (all)" in (tmp_path / "x.txt").read_text()
    assert "Not shown at this" in output("vgg16", "--format", "table")


@pytest.mark.parametrize("table", ["summarize", "audit", "show"])
def test_a_file_for_each_network(table, tmp_path):
    assert output("lenet5", "torchvision/vgg1?", "--into", str(tmp_path), "--table", table) == ""
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"lenet5.md", *(f"torchvision-vgg{depth}.md" for depth in (11, 13, 16, 19))}
    assert (tmp_path / "lenet5.md").read_text() == output("lenet5", "--table", table)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("torchvision/resnet50", "torchvision-resnet50"),
        ("squeezenet1.0", "squeezenet1.0"),
        ("specs/vgg.yaml:vgg16", "vgg16"),
        ("../mine/my net.yml", "my-net"),
        ("a.yaml/b.yaml", "b"),
        ("../..", "network"),
        (".hidden", "hidden"),
        ("a:b\\c*?", "a-b-c"),
    ],
)
def test_names_of_files(name, expected):
    assert file_name(name) == expected


def test_source_is_one_python_file_a_network(tmp_path):
    text = output("vgg11", "--format", "pytorch", "--set", "classes=7")
    assert "classes=7" in text
    compile(text, "vgg11.py", "exec")
    output("vgg11", "-o", str(tmp_path / "x.py"), "--set", "classes=7")
    assert (tmp_path / "x.py").read_text() == text
    output("vgg1[13]", "--format", "pytorch", "--into", str(tmp_path))
    assert {path.name for path in tmp_path.iterdir()} == {"x.py", "vgg11.py", "vgg13.py"}


def test_two_networks_of_one_name_are_refused(tmp_path, monkeypatch, capsys):
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "small.yaml").write_text(SPEC.format(name="small"))
    paths = [str(tmp_path / folder / "small.yaml") for folder in ("a", "b")]
    into = tmp_path / "into"
    into.mkdir()
    said = refused(monkeypatch, capsys, *paths, "--into", str(into))
    assert f"{paths[0]} and {paths[1]} would both be written to {into}/small.md" in said
    assert list(into.iterdir()) == []


def test_a_folder_is_made(tmp_path):
    output("lenet5", "--into", str(tmp_path / "new"))
    assert (tmp_path / "new" / "lenet5.md").read_text() == output("lenet5")


def test_nothing_is_written_if_one_file_is_there(tmp_path, monkeypatch, capsys):
    (tmp_path / "vgg11.md").write_text("mine")
    said = refused(monkeypatch, capsys, "lenet5", "vgg11", "--into", str(tmp_path))
    assert "vgg11.md already exists (use --force to overwrite it)" in said
    assert [path.name for path in tmp_path.iterdir()] == ["vgg11.md"]
    assert (tmp_path / "vgg11.md").read_text() == "mine"
    output("lenet5", "vgg11", "--into", str(tmp_path), "--force")
    assert (tmp_path / "vgg11.md").read_text() == output("vgg11")


def test_nothing_is_written_if_one_network_cannot_be_made(tmp_path, monkeypatch, capsys):
    refused(
        monkeypatch,
        capsys,
        "lenet5",
        "vgg16",
        "--input",
        "1x32x32",
        "--set",
        "classes=5",
        "--into",
        str(tmp_path / "a"),
    )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("file", "arguments"),
    [
        ("x.md", ["export", "lenet5"]),
        ("x.py", ["export", "lenet5", "--format", "pytorch"]),
        ("x.txt", ["summarize", "lenet5"]),
        ("x.dot", ["graph", "lenet5", "--depth", "1"]),
        ("x.csv", ["list", "--family", "lenet", "--format", "csv"]),
    ],
)
def test_a_dash_is_the_standard_output(file, arguments, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert said(*arguments, "-o", "-") == said(*arguments)
    assert not list(tmp_path.iterdir())
    assert said(*arguments, "-o", file) == ""
    assert [path.name for path in tmp_path.iterdir()] == [file]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "name networks, e.g. archcalc export vgg16 'resnet*', or use --family"),
        (["--family", "vggs"], "no family 'vggs'; did you mean vgg?"),
        (["vgg61"], "no network is called 'vgg61'; did you mean vgg1"),
        (["'zzz*'"], "no network matches"),
        (["lenet5", "--table", "tables"], "'tables' is not one of 'summarize', 'compare', 'audit', 'list', 'show'"),
        (["lenet5", "--format", "xml"], "'xml' is not one of"),
        (
            ["lenet5", "-o", "x.xml"],
            "the suffix of 'x.xml' is not one of .txt, .md, .csv, .tsv, .json, .tex, .rst, .html, .py; change it",
        ),
        (["lenet5", "-o", "x"], "the suffix of 'x' is not one of"),
        (["lenet5", "-o", "/no/such/x.md"], "cannot write /no/such/x.md: No such file"),
        (["lenet5", "--into", "/no/such"], "cannot write /no/such: No such file"),
        (["lenet5", "--into", __file__], "is a file"),
        (["lenet5", "--into", ".", "-o", "x.md"], "use one of them"),
        (["lenet5", "--into", ".", "-o", "-"], "use one of them"),
        (["lenet5", "--into", "-"], "--into writes one file per network to a folder; omit it for the standard output"),
        (
            ["lenet5", "--format", "csv", "--format", "json"],
            "'--format': write it once; run the command",
        ),
        (["lenet5", "-o", "a.md", "-o", "-"], "'-o' / '--output': write it once; run the command once"),
        (["lenet5", "--into", ".", "--table", "list"], "list has one table for all networks; use -o FILE"),
        (["lenet5", "--into", ".", "--table", "compare"], "compare has one table for all networks"),
        (["lenet5", "--table", "list", "--batch", "2"], "--batch has no effect on the table of list; omit it"),
        (["lenet5", "--table", "audit", "--batch", "2"], "--batch has no effect on the table of audit"),
        (["lenet5", "--table", "compare", "--depth", "1"], "--depth has no effect on the table of compare"),
        (["lenet5", "--format", "pytorch", "--table", "show"], "--table has no effect on --format pytorch"),
        (["lenet5", "--format", "pytorch", "--batch", "2"], "--batch has no effect on --format pytorch"),
        (["lenet5", "vgg11", "--format", "pytorch"], "--format pytorch writes one file per network; use --into FOLDER"),
        (["--format", "pytorch"], "name networks"),
        (["lenet5", "--depth", "1", "--all"], "use one of them"),
    ],
)
def test_wrong_requests(arguments, message, monkeypatch, capsys):
    assert message in refused(monkeypatch, capsys, *arguments)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written(tmp_path, monkeypatch, capsys):
    tmp_path.chmod(0o500)
    assert "is not writable" in refused(monkeypatch, capsys, "lenet5", "--into", str(tmp_path))
    assert "Permission denied" in refused(monkeypatch, capsys, "lenet5", "-o", str(tmp_path / "x.md"))


def test_a_broken_spec_of_ones_own_is_skipped(tmp_path, monkeypatch):
    (tmp_path / "bad.yaml").write_text("name: bad\nlayers: [relu\n")
    monkeypatch.setenv("ARCHCALC_PATH", str(tmp_path))
    result = CliRunner().invoke(cli, ["export", "vgg1[19]"], catch_exceptions=False)
    assert result.exit_code == 0
    assert result.stderr.startswith("skipped: ")
    assert "vgg19" in result.stdout


def test_a_file_with_odd_signs_in_its_name(tmp_path):
    path = tmp_path / "a|b_c & 50%.yaml"
    path.write_text(SPEC.format(name="net"))
    twin = tmp_path / "twin.yaml"
    twin.write_text(SPEC.format(name="net"))
    both = str(path), str(twin)
    assert r"a\|b\_c \& 50%.yaml" in output(*both)
    assert r"a\textbar{}b\_c \& 50\%.yaml" in output(*both, "--format", "latex")
    assert "a|b_c &amp; 50%.yaml" in output(*both, "--format", "html")
    output(str(path), "--into", str(tmp_path))
    assert (tmp_path / "a-b_c-50.md").is_file()


def test_the_help_names_formats_tables_and_suffixes():
    text = output("-h")
    words = " ".join(re.sub(r"\s+", " ", text).split())
    for name in (*SUFFIXES, *TABLES, *SUFFIXES.values()):
        assert name in words


def test_formats_complete_in_the_shell():
    from click.shell_completion import ShellComplete

    shell = ShellComplete(cli, {}, "archcalc", "_ARCHCALC_COMPLETE")
    assert [item.value for item in shell.get_completions(["export", "vgg16", "--format"], "l")] == ["latex"]
    assert [item.value for item in shell.get_completions(["summarize", "--format"], "h")] == ["html"]
    assert [item.value for item in shell.get_completions(["export", "--table"], "a")] == ["audit"]
