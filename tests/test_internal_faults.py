"""A mistake inside archcalc is never reported as the user's: whatever our own code raises by mistake passes through."""

import ast

import pytest
from click.testing import CliRunner

import archcalc.cli as command
from archcalc import ArchcalcError, parse
from archcalc.auditing.lint import check_spec
from archcalc.ops import REGISTRY
from archcalc.ops import arguments as rules
from archcalc.printed import Number
from archcalc.spec import functions

MISTAKES = (TypeError, ValueError, IndexError, KeyError, AttributeError, ZeroDivisionError, OverflowError)
SPEC = """
name: net
input: [4, 8, 8]
params: {n: 'max(2, 1)', d: '[n, n + 1]', p: 'd[0] if n < 3 and 2 in d else 1'}
layers:
  - n * conv(4, 1)
  - add(identity, relu)
  - batchnorm | p * relu
published: {figure: params, printed: "48", source: the table}
"""


def raises(kind):
    def mistake(*args, **keywords):
        raise kind("planted")

    return mistake


def planted(owner, name):
    """A place where a mistake may be; monkeypatch puts it there."""
    if isinstance(owner, dict):
        return lambda patch, wrong: patch.setitem(owner, name, wrong)
    return lambda patch, wrong: patch.setattr(owner, name, wrong)


PLACES = {
    "a function of values": lambda patch, wrong: patch.setitem(
        functions.FUNCTIONS, "max", functions.FUNCTIONS["max"]._replace(run=wrong)
    ),
    "arithmetic": planted(functions.ARITHMETIC, ast.Add),
    "a comparison": planted(functions.COMPARISONS, ast.Lt),
    "a search": planted(functions.COMPARISONS, ast.In),
    "indexing": planted(functions, "item"),
    "the rule of an argument": planted(rules.RULES, "Positive"),
    "an operator's arguments": planted(REGISTRY["conv"], "__init__"),
    "an operator's shape": planted(REGISTRY["conv"], "output"),
    "a join's shape": planted(REGISTRY["add"], "output"),
    "an operator's weights": planted(REGISTRY["batchnorm"], "weights"),
    "a verdict": planted(Number, "verdict"),
}


def test_nothing_is_wrong_with_the_spec(tmp_path):
    path = tmp_path / "net.yaml"
    path.write_text(SPEC)
    assert check_spec(path) == ([], ("net",))


@pytest.mark.parametrize("kind", MISTAKES)
@pytest.mark.parametrize("place", PLACES)
def test_a_mistake_passes_through(place, kind, monkeypatch, tmp_path):
    path = tmp_path / "net.yaml"
    path.write_text(SPEC)
    PLACES[place](monkeypatch, raises(kind))
    with pytest.raises(kind, match="planted") as caught:
        check_spec(path)
    assert not isinstance(caught.value, ArchcalcError)


def test_what_the_language_refuses_is_told(monkeypatch):
    """The same places, with the fault that they may raise."""
    monkeypatch.setitem(functions.ARITHMETIC, ast.Add, raises(functions.Fault))
    with pytest.raises(ArchcalcError, match=r"n \+ 1: planted"):
        parse(SPEC)


def test_the_command_line_says_that_the_mistake_is_archcalcs(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["archcalc", "summarize", "lenet5"])
    monkeypatch.setattr(REGISTRY["conv"], "output", raises(TypeError))
    with pytest.raises(SystemExit) as stop:
        command.main()
    said = capsys.readouterr().err
    assert stop.value.code == command.INTERNAL == 3
    assert said.startswith("Traceback")
    assert said.splitlines()[-2:] == [
        "internal error: TypeError: planted",
        "  This is a bug in archcalc, not an error in your request. Please report it with all of the text above.",
    ]


def test_a_wrong_request_is_still_a_wrong_request():
    done = CliRunner().invoke(command.cli, ["summarize", "lenet55"])
    assert isinstance(done.exception, ArchcalcError)
