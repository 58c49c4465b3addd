"""Every bad spec has one exact error text beside it, `golden/errors/NAME.yaml` and `NAME.txt`; none hangs."""

import os
import subprocess
import sys
from contextlib import suppress

import pytest
from support.counted_calls import TooMuch, at_most
from support.golden_files import GOLDEN, check_golden

from archcalc import ArchcalcError, SpecError, analyze, load, parse
from archcalc.auditing.claims import claims_of
from archcalc.auditing.lint import check_spec
from archcalc.errors import Place, Source, printable, suggest

FOLDER = GOLDEN / "errors"
NAMES = sorted(path.stem for path in FOLDER.glob("*.yaml"))
HEAD = "name: bad\ninput: [3, 8, 8]\n"
MOST = 20_000_000  # function calls; none takes more than 11 million


def error_of(action):
    """The error an action ends in, and it must come soon."""
    with at_most(MOST), pytest.raises(ArchcalcError) as caught:
        action()
    return caught.value


def test_there_are_many_bad_specs_and_no_stray_texts():
    assert len(NAMES) >= 70
    assert sorted(path.stem for path in FOLDER.glob("*.txt")) == NAMES or os.environ.get("ARCHCALC_REWRITE")


@pytest.mark.parametrize("name", NAMES)
def test_error_text_and_place(name, monkeypatch):
    """The place is file:line:column, with a caret below the line."""
    monkeypatch.chdir(FOLDER)
    error = error_of(lambda: check_spec(f"{name}.yaml"))
    check_golden(f"errors/{name}.txt", f"{error}\n")
    assert isinstance(error, SpecError)
    assert error.place is not None
    first, line, caret, *_ = str(error).split("\n")
    assert first.startswith(f"{name}.yaml:{error.place.line}:{error.place.column}: ")
    assert line.startswith(f"{error.place.line:5d} | ")
    assert set(caret.removeprefix("      | ")) <= {" ", "^"}
    assert "^" in caret
    assert printable(str(error)) == str(error)


def check_refused(name, code, out, err):
    assert (code, out) == (2, "")
    assert err == "error: " + (FOLDER / f"{name}.txt").read_text()
    assert "Traceback" not in err


COMMANDS = "summarize", "check"
ON_THE_COMMAND_LINE = (
    "block-trail", "expression-power", "layer-zero-repeats", "yaml-empty", "yaml-escape-in-key", "yaml-tag",
)  # fmt: skip


@pytest.mark.parametrize("name", ON_THE_COMMAND_LINE)
@pytest.mark.parametrize("command", COMMANDS)
def test_command_line_says_it_once_and_exits_with_2(name, command, monkeypatch, main):
    monkeypatch.chdir(FOLDER)
    check_refused(name, *main(command, f"{name}.yaml"))


@pytest.mark.parametrize("command", COMMANDS)
def test_a_process_of_its_own_says_it_too(command):
    name = "block-recursion"  # how deep it may go depends on the stack
    run = [sys.executable, "-m", "archcalc", command, f"{name}.yaml"]
    done = subprocess.run(run, cwd=FOLDER, capture_output=True, text=True, check=False)
    check_refused(name, done.returncode, done.stdout, done.stderr)


# Files that no golden folder can hold.


def test_missing_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert str(error_of(lambda: load("none.yaml"))) == "none.yaml: No such file or directory"


def test_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "specs.yaml").mkdir()
    assert str(error_of(lambda: load("specs.yaml"))) == "specs.yaml: is a directory; name a file in it"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no FIFOs")
def test_fifo_does_not_hang(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    os.mkfifo("pipe.yaml")
    assert str(error_of(lambda: load("pipe.yaml"))) == "pipe.yaml: not a regular file"


@pytest.mark.skipif(not os.path.exists("/dev/zero"), reason="this system has no /dev/zero")
def test_device(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    os.symlink("/dev/zero", "zero.yaml")
    assert str(error_of(lambda: load("zero.yaml"))) == "zero.yaml: not a regular file"


@pytest.mark.skipif(getattr(os, "geteuid", lambda: 0)() == 0, reason="root may read every file")
def test_unreadable_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "secret.yaml").write_text(HEAD)
    os.chmod("secret.yaml", 0)
    assert str(error_of(lambda: load("secret.yaml"))) == "secret.yaml: Permission denied"


def test_huge_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with open("huge.yaml", "wb") as file:
        file.truncate(10**9)
    text = "huge.yaml: 1,000,000,000 bytes; a spec may have at most 16,777,216"
    assert str(error_of(lambda: load("huge.yaml"))) == text


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"name: caf\xe9\n", "bad.yaml: not a UTF-8 text (byte 9 is 0xe9)"),
        (b"\x7fELF\x02\x01\x01\x00", "bad.yaml:1:1: the character U+007F is not allowed"),
        (b"name: a\x00b\n", "bad.yaml:1:8: the character U+0000 is not allowed"),
        ("name: a\n".encode("utf-16"), "bad.yaml: not a UTF-8 text (byte 0 is 0xff)"),
    ],
)
def test_no_text(data, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bad.yaml").write_bytes(data)
    assert str(error_of(lambda: load("bad.yaml"))).split("\n")[0] == message


def test_byte_order_mark_and_windows_line_ends_are_fine(tmp_path):
    path = tmp_path / "bom.yaml"
    path.write_bytes(b"\xef\xbb\xbfname: a\r\ninput: [3, 8, 8]\r\nlayers:\r\n  - relu\r\n")
    assert len(load(path).nodes) == 2
    assert len(parse("\ufeff" + HEAD + "layers: [relu]\n").nodes) == 2


def test_name_with_control_characters_is_written_out(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = str(error_of(lambda: load("\x1b[31m.yaml")))
    assert "\x1b" not in text
    assert "\\x1b[31m.yaml" in text
    (tmp_path / "\x1b[2J.yaml").write_text("a")
    assert "\x1b" not in str(error_of(lambda: load("\x1b[2J.yaml")))


def test_lone_surrogate_in_a_text():
    assert "U+DC80" in str(error_of(lambda: parse("name: \udc80\n")))


# Inputs that are made to hang or to exhaust memory, too large to keep as files.


def spec(params, layers="[relu]"):
    lines = "".join(f"  {name}: {value}\n" for name, value in params.items())
    return f"{HEAD}params:\n{lines}layers: {layers}\n"


BIG = {"p": "range(90000)", "r": "range(90000)"}
HOSTILE = {
    "laughs in YAML lists": spec({"a0": "[1, 1]"} | {f"a{i}": f"[a{i - 1}, a{i - 1}]" for i in range(1, 99)}),
    "deep lists": spec({"a0": "[1]"} | {f"a{i}": f"[a{i - 1}]" for i in range(1, 5000)}),
    "sums in a loop": spec(BIG | {"q": "'[sum(p) for i in range(90000)]'"}),
    "slices in a loop": spec(BIG | {"q": "'[p[1:] for i in range(90000)]'"}),
    "comparisons in a loop": spec(BIG | {"q": "'[p == r for i in range(90000)]'"}),
    "searches in a loop": spec(BIG | {"q": "'[-1 in p for i in range(90000)]'"}),
    "rounds without items": spec({"q": "'[0 for i in range(90000) for j in range(90000) if False]'"}),
    "wide expressions in a loop": spec({"q": f"'[{'+'.join(['max(1,1)'] * 50)} for i in range(90000)]'"}),
    "wide expressions in layers": spec({"a": 1}, f"['100000 * conv({' and '.join(['a'] * 1000)} , 1)']"),
    "long tables in layers": spec({"t": "'[[0]] * 40000'"}, "['9999 * conv(40000, 1, connections=t)']"),
    "blocks in loops": f"{HEAD}blocks: {{b(n): [0 * relu]}}\nlayers: [90000 * (90000 * b(1))]\n",
    "many windows": f"{HEAD}layers: [adaptive_avgpool(1000000000)]\n",
    "far windows": f"{HEAD}layers:\n  - maxpool(2000000001, stride=1, padding=1000000000, dilation=4000000000)\n",
    "many dimensions": "name: t\ninput: '[2**62] * 50000'\nlayers: [relu]\n",
    "a long label": f"{HEAD}layers:\n  - ? {'a' * 10**6}\n    : 20000 * relu\n",
    "doubling": f"{HEAD}layers: [100000 * upsample(scale_factor=2)]\n",
    "doubled channels": f"{HEAD}layers: ['100000 * concat(identity, identity)']\n",
    "many uses": HEAD + "layers:\n" + "".join(f"- a{i}: relu\n" for i in range(9999)) + "- 9999 * use(a0)\n- use(b)\n",
    "long literal": spec({"a": "9" * 5000}),
    "literal beyond floats": spec({"a": "9" * 400}),
    "minus chain": spec({"a": "'" + "-" * 9990 + "1'"}),
    "sum chain": spec({"a": "'" + "+".join("1" * 4000) + "'"}),
    "sum chain for a layer": spec({"a": 1}, "['" + "+".join("1" * 4000) + "']"),
    "parentheses": spec({"a": "(" * 4000 + "1" + ")" * 4000}),
    "choices": spec({"a": "'" + "1 if 1 else " * 800 + "1'"}),
    "powers": spec({"a": "'" + "2**" * 3000 + "1'"}),
    "nots": spec({"a": "'" + "not " * 2400 + "1'"}),
    "long text": spec({"a": "1 + " * 5000 + "1"}),
    "flow lists": HEAD + "layers: " + "[" * 100_000,
    "block lists": HEAD + "layers:\n  " + "- " * 100_000 + "relu\n",
    "many parameters": f"{HEAD}blocks: {{'b({', '.join(f'a{i}' for i in range(1500))})': [relu]}}\nlayers: [relu]\n",
    "long name": f"name: {'a' * 10**6}/\ninput: [3, 8, 8]\nlayers: [relu]\n",
    "long key": f"{HEAD}{'k' * 10**5}\nlayers: [relu]\n",
    "many keys": HEAD + "".join(f"k{i}: 1\n" for i in range(100_000)) + "layers: [relu]\n",
}


@pytest.mark.parametrize("name", sorted(HOSTILE))
def test_hostile_spec_is_refused_soon(name):
    assert len(str(error_of(lambda: parse(HOSTILE[name])))) < 1500


SLOW = {  # legal, but costly if anything takes quadratic time
    "many branches": f"{HEAD}layers: ['multiply(relu for i in range(20000))']\n",
    "far windows in bounds": "name: t\ninput: [3, 999, 8]\nlayers:\n"
    "  - maxpool([1001, 1], stride=1, padding=[500, 0], dilation=[1000, 1])\n",
    "wide adaptive pooling": f"{HEAD}layers: [adaptive_avgpool(1000000)]\n",
}


@pytest.mark.parametrize("name", sorted(SLOW))
def test_costly_spec_is_analysed_or_refused_soon(name):
    with at_most(MOST), suppress(ArchcalcError):
        analyze(parse(SLOW[name]))


def test_size_of_claims_does_not_multiply():
    """Thousands of published figures of thousands of variants take no quadratic memory."""
    variants = "".join(f"  v{i}: {{n: 1}}\n" for i in range(3000))
    figures = "  - {figure: params, printed: 1M, source: a}\n" * 3000
    text = f"{HEAD}params: {{n: 1}}\nvariants:\n{variants}layers: [n * relu]\npublished:\n{figures}"
    with at_most(MOST):
        assert len(claims_of(parse(text, "v7").origin)) == 3000


# The error texts themselves.


def test_excerpt_of_a_long_line_shows_the_part_around_the_column():
    place = Place(Source("a.yaml", ["x" * 500 + "HERE" + "y" * 500]), 1, 501, 4)
    line, caret = place.excerpt().split("\n")
    assert line[caret.index("^") : caret.rindex("^") + 1] == "HERE"
    assert len(line) < 120


def test_long_trail_is_cut_in_the_middle():
    text = str(SpecError("wrong", trail=[f"b{i}" for i in range(30)]))
    assert "… 22 more calls" in text
    assert text.count("\n") == 9


@pytest.mark.parametrize(
    ("name", "known", "expected"),
    [
        ("batchnrom", ["batchnorm", "conv"], "did you mean batchnorm?"),
        ("xyz", ["conv", "relu"], "known: conv, relu"),
        ("xyz", [f"name{i}" for i in range(99)], ""),
        ("xyz", [], ""),
        ("label77x", [f"label{i}" for i in range(90_000)], "did you mean"),
    ],
)
def test_suggestions(name, known, expected):
    with at_most(MOST):
        assert suggest(name, known).startswith(expected)


def test_printable_keeps_letters_and_line_breaks():
    assert printable("größe 3×3\n  ^") == "größe 3×3\n  ^"
    assert printable("a\x1b[31m\u202eb\udc80\t") == "a\\x1b[31m\\u202eb\\udc80\\t"


# And the tests above would notice.


def test_a_budget_ten_times_as_large_is_noticed(monkeypatch):
    """Both at a tenth: the budget, and what is allowed."""
    spends_it = HOSTILE["wide expressions in a loop"]
    monkeypatch.setattr("archcalc.spec.functions.Budget.__init__.__defaults__", (50_000,))
    with at_most(MOST // 10), pytest.raises(ArchcalcError):
        parse(spends_it)
    monkeypatch.setattr("archcalc.spec.functions.Budget.__init__.__defaults__", (500_000,))
    with pytest.raises(TooMuch), at_most(MOST // 10):
        parse(spends_it)
