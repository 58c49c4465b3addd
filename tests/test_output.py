"""Files are written whole or not at all: signals, two programs at once, and outputs that take nothing."""

import errno
import os
import signal
import subprocess
import sys

import pytest
from click.testing import CliRunner

from archcalc.cli import cli

PAUSED = """
import pathlib, signal, sys
from archcalc.cli import main, output

def pause():
    print("ready", flush=True)
    sys.stdin.readline()

def halved(path, data):
    with open(path, "wb") as file:
        file.write(data[:100])
        file.flush()
        pause()
        file.write(data[100:])

def paused(place):
    return lambda *paths: (pause(), place(*paths))

if {point!r} == "writing":
    pathlib.Path.write_bytes = halved
else:
    output.create, output.replace = paused(output.create), paused(output.replace)
signal.signal(signal.SIGINT, signal.default_int_handler)  # whoever runs the tests may ignore it
signal.signal(signal.SIGHUP, signal.SIG_DFL)
for number in {ignored}:
    signal.signal(number, signal.SIG_IGN)
main()
"""


def start(point, *arguments, ignored=()):
    """The real command in a process that says when it has come to `point`, and waits there."""
    process = subprocess.Popen(
        [sys.executable, "-c", PAUSED.format(point=point, ignored=ignored), *map(str, arguments)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout.readline() == "ready\n", process.stderr.read()
    return process


def finish(process):
    """Let it go on to its end: its exit code, and what it says."""
    with process:
        _, said = process.communicate("\n")
    return process.returncode, said


def stopped(point, number, path, *options, ignored=()):
    """What is left of a run that gets a signal at a point of writing."""
    process = start(point, "summarize", "lenet5", "-o", path, *options, ignored=ignored)
    process.send_signal(number)
    return finish(process)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("options", [(), ("--force",)])
def test_a_signal_while_writing_leaves_nothing_behind(number, options, tmp_path):
    assert stopped("writing", number, tmp_path / "x.md", *options) == (-number, "")
    assert list(tmp_path.iterdir()) == []


def test_ctrl_c_while_writing_leaves_nothing_behind(tmp_path):
    code, said = stopped("writing", signal.SIGINT, tmp_path / "x.md")
    assert (code, said.strip()) == (130, "stopped")
    assert list(tmp_path.iterdir()) == []


def test_a_signal_while_overwriting_leaves_what_was_there(tmp_path):
    (tmp_path / "x.md").write_text("mine")
    assert stopped("writing", signal.SIGTERM, tmp_path / "x.md", "--force") == (-signal.SIGTERM, "")
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("x.md", "mine")]


@pytest.mark.parametrize("options", [(), ("--force",)])
def test_a_signal_as_the_file_is_put_in_its_place_leaves_it_whole(options, tmp_path):
    assert stopped("placing", signal.SIGTERM, tmp_path / "x.md", *options) == (-signal.SIGTERM, "")
    assert [path.name for path in tmp_path.iterdir()] == ["x.md"]
    assert "archcalc" in (tmp_path / "x.md").read_text()


def test_what_nohup_ignores_stays_ignored(tmp_path):
    assert stopped("writing", signal.SIGHUP, tmp_path / "x.md", ignored=[int(signal.SIGHUP)]) == (0, "")
    assert [path.name for path in tmp_path.iterdir()] == ["x.md"]


def test_a_signal_between_files_leaves_those_that_are_done(tmp_path):
    process = start("placing", "export", "lenet5", "vgg11", "--into", tmp_path)
    process.stdin.write("\n")  # the first is done
    process.stdin.flush()
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGHUP)
    assert finish(process) == (-signal.SIGHUP, "")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["lenet5.md", "vgg11.md"]


@pytest.mark.parametrize(
    ("command", "name"),
    [(["summarize"], "x.md"), (["graph"], "x.mmd"), (["export", "--format", "pytorch"], "x.py")],
)
def test_of_two_runs_at_once_one_fails(command, name, tmp_path):
    """Both have found no file, and made theirs."""
    path = tmp_path / name
    both = [start("placing", *command, network, "-o", path) for network in ("lenet5", "vgg11")]
    assert finish(both[0]) == (0, "")
    text = path.read_text()
    assert finish(both[1]) == (2, f"error: {path} already exists (use --force to overwrite it)\n")
    assert path.read_text() == text
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_of_two_runs_at_once_into_a_folder_one_fails(tmp_path):
    both = [start("placing", "export", "lenet5", "--into", tmp_path / "new", *more) for more in ([], ["--depth", "1"])]
    assert [finish(process)[0] for process in both] == [0, 2]
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["lenet5.md"]


def summarize(path, *options):
    return CliRunner().invoke(cli, ["summarize", "lenet5", "-o", str(path), *options])


def test_a_file_system_without_links(tmp_path, monkeypatch):
    def refuse(*paths):
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(os, "link", refuse)
    assert summarize(tmp_path / "x.md").exit_code == 0
    assert "60,000" in (tmp_path / "x.md").read_text()
    monkeypatch.setattr("archcalc.cli.output.writable", lambda path, force: path)  # another made it meanwhile
    assert "already exists" in str(summarize(tmp_path / "x.md").exception)
    assert [path.name for path in tmp_path.iterdir()] == ["x.md"]


def test_a_full_disk_leaves_nothing_behind(tmp_path, monkeypatch):
    def full(path, data):
        path.touch()
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("pathlib.Path.write_bytes", full)
    assert str(summarize(tmp_path / "x.md").exception) == f"cannot write {tmp_path}/x.md: No space left on device"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("/dev/null", "is not a regular file; use -o - for the standard output"),
        ("/dev/full", "is not a regular file"),
        (".", "is a directory; name a file in it"),
        ("", "is a directory; name a file in it"),
        ("no/x.md", "No such file"),
        (f"{'x' * 300}.md", "File name too long"),
        (__file__ + "/x.md", "No such file or directory"),
    ],
)
def test_outputs_that_are_no_files(path, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert message in str(summarize(path).exception)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("redirected", "code", "said"),
    [
        ("> /dev/full", 2, "error: cannot write to the standard output: No space left on device\n"),
        (">&-", 2, "error: the standard output is closed\n"),
        ("2>&-", 0, ""),
        ("> /dev/null 2> /dev/full", 0, ""),
        ("</dev/null | true", 0, ""),
    ],
)
def test_outputs_that_take_nothing(redirected, code, said):
    command = f"{sys.executable} -m archcalc summarize lenet5 {redirected}; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (code, said)


ENVIRONMENTS = [
    *({"COLUMNS": columns} for columns in ("", "-5", "x", "²", "9" * 400, "1")),
    {"LINES": "²"},
    {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"},
    {"PYTHONIOENCODING": "ascii"},
    {"TERM": "nonsense"},
    {"MPLBACKEND": "nonsense"},
]


SEVERAL = """
import sys
from archcalc.cli import main

for arguments, code in (["lenet5"], 0), (["-h"], 0), (sys.argv[1:], 2):
    sys.argv = ["archcalc", "summarize", *arguments]
    try:
        main()
    except SystemExit as stop:
        assert stop.code == code, (arguments, stop.code)
    else:
        raise AssertionError("main has returned")
"""


@pytest.mark.parametrize("environment", ENVIRONMENTS, ids=str)
def test_an_odd_environment(environment):
    """A table, a help text and an error, one after the other in one process."""
    command = [sys.executable, "-c", SEVERAL, "größe"]
    done = subprocess.run(command, capture_output=True, env={**os.environ, **environment}, check=False)
    assert done.returncode == 0, done
    assert b"60,000" in done.stdout
    assert b"Usage: " in done.stdout
    assert done.stderr.startswith(b"error: ")
    assert b"Traceback" not in done.stderr
