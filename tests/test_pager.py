"""Long texts on a terminal go through a pager, and long work shows its progress there; piped output has neither."""

import fcntl
import os
import pty
import struct
import subprocess
import sys
import termios

import pytest

HINT = "lines; --brief fits on a screen"


def on_terminal(*arguments, rows=50, columns=80, **variables):
    """Run a command on a terminal of this size. Returns its exit code and all that is on the terminal."""
    ours, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
    unset = ("COLUMNS", "LINES", "NO_COLOR", "PAGER", "LESS")
    env = {key: value for key, value in os.environ.items() if key not in unset} | {"TERM": "xterm"} | variables
    command = [sys.executable, "-m", "archcalc", *arguments]
    with subprocess.Popen(command, stdin=terminal, stdout=terminal, stderr=terminal, env=env) as process:
        os.close(terminal)
        printed = b"".join(iter(lambda: read(ours), b""))
    os.close(ours)
    return process.returncode, printed.decode().replace("\r\n", "\n")


def read(terminal):
    try:
        return os.read(terminal, 65536)
    except OSError:  # Linux: the command has ended
        return b""


@pytest.fixture
def head(tmp_path):
    """A pager that shows three lines. It has no options, which click 8.2.0 ignores."""
    return script(tmp_path / "head", "head -3; cat > /dev/null")


def script(path, text):
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o700)
    return str(path)


def test_a_long_table_goes_through_the_pager_and_says_how_it_gets_short(head):
    code, text = on_terminal("summarize", "resnet50", PAGER=head)
    assert code == 0
    lines = text.splitlines()
    assert lines[0].endswith("resnet50 · Deep residual networks (He et al. 2015)")
    assert len(lines) == 4
    assert lines[3].endswith(HINT)


def test_the_pager_is_less_as_git_uses_it(tmp_path):
    shows = script(tmp_path / "shows", "echo options $LESS; cat > /dev/null")
    assert on_terminal("summarize", "resnet50", PAGER=shows)[1].startswith("options -FRX\n")
    assert on_terminal("summarize", "resnet50", PAGER=shows, LESS="-S")[1].startswith("options -S\n")


@pytest.mark.parametrize(
    ("options", "variables"),
    [((), {"PAGER": "cat"}), ((), {"PAGER": ""}), (("--no-pager",), {"PAGER": "head"}), ((), {"TERM": "dumb"})],
)
def test_without_a_pager_the_text_is_printed_whole(options, variables):
    code, text = on_terminal("summarize", "resnet50", *options, **variables)
    assert code == 0
    assert len(text.splitlines()) > 150
    assert ("\x1b[" in text) == (variables.get("TERM") != "dumb")  # its colours stay
    assert text.splitlines()[-1].endswith(HINT)


def test_what_fits_is_not_paged(head):
    text = on_terminal("summarize", "resnet50", "--brief", PAGER=head)[1]
    assert len(text.splitlines()) > 20
    assert HINT not in text
    assert len(on_terminal("summarize", "resnet50", "--brief", rows=20, PAGER=head)[1].splitlines()) == 3
    assert len(on_terminal("summarize", "resnet50", rows=0, PAGER=head)[1].splitlines()) > 150  # unknown height


def test_piped_output_is_never_paged():
    command = [sys.executable, "-m", "archcalc", "summarize", "resnet50"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env={**os.environ, "PAGER": "head"})
    assert len(done.stdout.splitlines()) > 150
    assert done.stderr == ""


def test_a_pager_does_not_change_the_exit_code(head, tmp_path):
    path = tmp_path / "wrong.yaml"
    layers = "\n".join(f"  - {{figure: params, printed: '{number}', source: Table 1}}" for number in range(60))
    path.write_text(f"name: wrong\ninput: [3, 8, 8]\nlayers: ['conv(4, 1)']\npublished:\n{layers}\n")
    code, text = on_terminal("audit", str(path), PAGER=head)
    assert code == 1
    assert len(text.splitlines()) == 3
