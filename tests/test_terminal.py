"""What the command line does around its results: exit codes, one style of errors, completion, progress, colours."""

import io
import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import pytest

from archcalc.cli import COMMANDS
from archcalc.cli.progress import Line
from archcalc.errors import needs

ROOT = Path(__file__).parent.parent
WRONG = "name: wrong\ninput: [3, 8, 8]\nlayers:\n  - rellu\n"
UNUSED = "name: unused\ninput: [3, 8, 8]\nparams: {n: 1}\nlayers:\n  - relu\n"
CODES = {  # command → what it exits with: arguments for 0, for 1 if there is a check in it, and for 2
    "audit": {0: "lenet5", 1: "table.csv", 2: "lenet6"},
    "check": {0: "right.yaml", 1: "unused.yaml", 2: "wrong.yaml"},
    "compare": {0: "lenet5 LeNet-5", 2: "lenet5 --sort colour"},
    "conventions": {0: "lenet5", 2: "lenet5 --batch 0"},
    "explain": {0: "lenet5 c1", 2: "lenet5 c9"},
    "explore": {0: "lenet5 -o -", 2: "lenet5"},
    "export": {0: "lenet5", 2: "lenet5 -o lenet5.doc"},
    "fit": {0: "lenet5 --memory 8GB", 1: "vgg16 --memory 1MB", 2: "lenet5 --memory 8"},
    "graph": {0: "lenet5", 2: "lenet5 --format gif"},
    "import": {0: "lenet5", 2: "nowhere.onnx"},
    "list": {0: "lenet", 2: "--where depth"},
    "lock": {0: "lenet5 -o -", 2: "lenet5 --batch 0"},
    "memory": {0: "lenet5", 2: "lenet5 --gpu abacus"},
    "new": {0: "mine", 2: "right -o right.yaml"},
    "ops": {0: "conv", 2: "convv"},
    "plot": {0: "", 2: "profile lenet5"},
    "show": {0: "lenet5", 2: "lenet5 --set n=1"},
    "summarize": {0: "lenet5", 2: "wrong.yaml"},
    "search": {
        0: "lenet5 --over batch=1:4 --under macs<10M --maximize batch",
        1: "lenet5 --over batch=1:4 --under macs<1 --maximize batch",
        2: "lenet5 --over batch=1 --under macs",
    },
    "sweep": {0: "lenet5 --over batch=1:4", 2: "lenet5 --over batch=0"},
    "validate": {0: "right.yaml --device meta", 2: "right.yaml --all"},
}


@pytest.fixture
def main(main, monkeypatch, tmp_path):
    """Run a command in a folder of a few files."""
    monkeypatch.chdir(tmp_path)
    files = {"wrong.yaml": WRONG, "unused.yaml": UNUSED, "right.yaml": UNUSED.replace("params: {n: 1}\n", "")}
    for name, text in (files | {"table.csv": "Model,Params\nVGG-16,999M\n"}).items():
        Path(name).write_text(text)
    return main


def test_every_command_is_walked():
    assert CODES.keys() == COMMANDS.keys()


@pytest.mark.parametrize(("command", "code"), [(own, code) for own, codes in CODES.items() for code in codes])
def test_exit_codes_and_the_style_of_errors(command, code, main):
    if command == "validate":
        pytest.importorskip("torch")
    found, out, err = main(command, *CODES[command][code].split())
    assert found == code, err
    assert "Error" not in err
    assert "Traceback" not in err
    if code == 2:
        assert (out, re.match(r"error: [^A-Z]|error: \S+\.yaml", err) is not None) == ("", True)
        assert err.count("error:") == 1
    else:
        assert out or command in ("new", "search")
        assert "error:" not in err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nope"], "error: no command 'nope'; archcalc --help lists them"),
        (["VGG-16"], "error: no command 'VGG-16'; did you mean archcalc summarize VGG-16?"),
        (["plot", "nope"], "error: no command 'nope'; known: compare, memory, pareto"),
        (["ops", "conv", "relu"], "error: one argument too many: 'relu'\nUsage: archcalc ops"),
        (["show", "vgg16", "vgg19"], "error: one argument too many: 'vgg19'; archcalc compare takes several networks"),
    ],
)
def test_wrong_words(arguments, said, main):
    code, out, err = main(*arguments)
    assert (code, out, err[: len(said)]) == (2, "", said)


@pytest.mark.parametrize("arguments", [["--nope"], ["list", "--nope", "csv"]])
def test_unknown_options(arguments, main):
    """Newer versions of click quote the option."""
    code, out, err = main(*arguments)
    assert (code, out) == (2, "")
    assert re.match(r"error: no such option:? '?--nope\b", err)


def test_without_a_command_the_help_is_printed(main):
    for arguments in ([], ["plot"]):
        code, out, err = main(*arguments)
        assert (code, out.startswith("Usage: archcalc"), err) == (0, True, "")


def test_extras_are_named_in_one_way():
    """Each library of an extra is missed with the same sentence, and the extra exists."""
    code = "\n".join(path.read_text() for path in (ROOT / "archcalc").rglob("*.py"))
    assert needs("a picture", "matplotlib", "plot") == "a picture needs matplotlib: pip install 'archcalc[plot]'"
    assert len(re.findall("pip install", code)) == 3  # in `needs`, and in the help of `plot` and `graph`
    extras = re.findall(r"needs\(['\"][^)]*, ['\"](\w+)['\"]\)", code)
    assert sorted({*extras}) == ["dask", "onnx", "pandas", "plot", "sweep", "torch"]
    project = (ROOT / "pyproject.toml").read_text()
    assert all(f"\n{extra} = [" in project for extra in extras)
    assert not [page for page in (ROOT / "docs").rglob("*.md") if "install '.[" in page.read_text()]


# completion


def completed(*words, shell="bash"):
    """What the shell offers for the last word."""
    typed = " ".join(["archcalc", *words])
    settings = {"COMP_WORDS": typed, "COMP_CWORD": str(len(words)), "_ARCHCALC_COMPLETE": f"{shell}_complete"}
    code = "from archcalc.cli import main; main()"
    env = {**os.environ, **settings}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.split()


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (["summ"], "plain,summarize"),
        (["summarize", "VGG1"], "plain,vgg16"),
        (["compare", "vgg16", "torchvision/res"], "plain,torchvision/resnet50"),
        (["summarize", "./my"], "file,./my"),
        (["check", "my"], "file,my"),
        (["new", "mine", "--like", "resnet5"], "plain,resnet50"),
        (["list", "--family", "res"], "plain,resnet"),
        (["list", "dense"], "plain,densenet"),
        (["compare", "--columns", "params,ma"], "plain,params,macs"),
        (["ops", "con"], "plain,conv"),
        (["explain", "vgg16", "stage3."], "plain,stage3.conv1"),
        (["explain", "no.yaml", "stage3."], None),
        (["explain", "torch:nowhere:Net", "sta"], None),
        (["summarize", "vgg16", "--convention", "fvcore-"], "plain,fvcore-train"),
        (["memory", "vgg16", "--optimizer", "ada"], "plain,adamw"),
        (["fit", "vgg16", "--gpu", "h1"], "plain,h100"),
        (["summarize", "vgg16", "--mo"], "plain,--mode"),
        (["summarize", "vgg16", "--mode", "t"], "plain,train"),
    ],
)
def test_completion(words, offered):
    found = completed(*words)
    assert offered in found if offered else found == []


@pytest.mark.parametrize(
    ("shell", "says"), [("bash", "complete -o"), ("zsh", "#compdef archcalc"), ("fish", "complete")]
)
def test_the_line_of_the_page_prints_a_script(shell, says):
    env = {**os.environ, "_ARCHCALC_COMPLETE": f"{shell}_source"}
    code = "from archcalc.cli import main; main()"
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=False)
    assert (done.returncode, says in done.stdout) == (0, True)
    assert f"_ARCHCALC_COMPLETE={shell}_source archcalc" in (ROOT / "docs/reference/cli.md").read_text()


# progress


class Terminal(io.StringIO):
    """A standard error that says that it is a terminal."""

    def isatty(self):
        return True

    def fileno(self):
        raise OSError


def on_a_terminal(*arguments, delay=0.0):
    """Run a command whose standard error is a terminal. Returns what it prints to stdout, and to the terminal."""
    ours, theirs = pty.openpty()
    setting = f"from archcalc.cli import progress; progress.DELAY = {delay}"
    code = f"{setting}; import sys; sys.argv = ['archcalc', *{list(arguments)}]; from archcalc.cli import main; main()"
    done = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=theirs, text=True, check=False)
    os.close(theirs)
    told = b""
    try:
        while part := os.read(ours, 65536):
            told += part
    except OSError:  # all is read
        pass
    os.close(ours)
    return done.stdout, told.decode()


@pytest.mark.parametrize("arguments", [["audit", "vgg16", "vgg19"], ["export", "vgg16", "vgg19"]])
def test_progress_is_shown_on_a_terminal_and_removed(arguments):
    out, told = on_a_terminal(*arguments)
    assert "\r1 of 2: vgg16\x1b[K" in told or "\r2 of 2: vgg19\x1b[K" in told
    assert told.endswith("\r\x1b[K")
    assert "\x1b" not in out
    assert "of 2: " not in out
    assert on_a_terminal(*arguments, delay=60) == (out, "")


def test_no_progress_in_a_pipe(monkeypatch):
    line = Line()
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    line.working("1 of 2")
    assert line.timer is None


def test_the_line_is_cut_and_safe(monkeypatch):
    line = Line()
    monkeypatch.setattr(sys, "stderr", Terminal())
    monkeypatch.setenv("COLUMNS", "20")
    line.working("a\x1b[31m\n" + "b" * 100)
    line.show()
    line.working("next")
    line.clear()
    line.clear()
    assert sys.stderr.getvalue() == "\ra\\x1b[31m\\nbbbbbbbb\x1b[K\rnext\x1b[K\r\x1b[K"


# colours


@pytest.mark.parametrize(
    ("settings", "coloured"),
    [
        ({}, False),
        ({"FORCE_COLOR": "1"}, True),
        ({"FORCE_COLOR": "1", "NO_COLOR": "1"}, False),
        ({"FORCE_COLOR": "", "NO_COLOR": ""}, False),
        ({"FORCE_COLOR": "1", "NO_COLOR": "", "TERM": "dumb"}, True),
    ],
)
def test_colours_in_a_pipe(settings, coloured, main, monkeypatch):
    for name in ("FORCE_COLOR", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    code, out, _ = main("audit", "lenet5")
    assert (code, "\x1b[" in out) == (0, coloured)
    main("audit", "lenet5", "-o", "audit.txt")
    assert "\x1b[" not in Path("audit.txt").read_text()
