"""What is too large is refused before it takes long, where it becomes too large, with a hint."""

import pytest
from work import TooMuch, at_most

from archcalc import SpecError, parse
from archcalc.language import source

HEAD = "name: x\ninput: [4, 16, 16]\nlayers:\n"
MILLION = 1_000_000
WRITTEN = {  # texts of a million layers: line, column and what is said
    "a line each": (HEAD + "  - relu\n" * MILLION, 250_001, 1, "250,000 lines and steps"),
    "in one line": (HEAD + "  - " + "|".join(["relu"] * MILLION) + "\n", 4, 1, "250,000 lines and steps"),
    "in lines of 1,000": (HEAD + ("  - " + "|".join(["relu"] * 1000) + "\n") * 1000, 253, 1, "250,000 lines and steps"),
    "in a list": (HEAD + "  [" + ", ".join(["relu"] * MILLION) + "]\n", 4, 1_199_944, "200,000 values"),
}


@pytest.mark.parametrize("name", WRITTEN)
def test_a_text_of_a_million_layers_is_refused_as_it_is_read(name):
    """A call of a function takes less than a microsecond; to read and expand the text would take many millions."""
    text, line, column, what = WRITTEN[name]
    with pytest.raises(SpecError) as caught, at_most(5 * MILLION):
        parse(text)
    error = caught.value
    assert error.message == f"a text of more than {what}"
    assert (error.place.line, error.place.column) == (line, column)
    assert error.hint == "write layers that repeat as n * layer, or as a block"
    assert len(str(error)) < 400


def test_lines_and_steps_are_counted_before_yaml_is_read(monkeypatch):
    monkeypatch.setattr(source, "Loader", None)
    with pytest.raises(SpecError, match="lines and steps"):
        parse(HEAD + "  - relu\n" * source.MAX_STEPS)


def test_as_much_as_is_allowed_is_read():
    text = HEAD + "  - relu\n" * 10_000 + "\n" * (source.MAX_STEPS - 10_004)
    assert len(parse(text).nodes) == 10_001


def test_this_would_notice():
    with pytest.raises(TooMuch, match="more than 1,000 calls"), at_most(1_000):
        all(len("") == 0 for _ in iter(int, 1))  # for ever
