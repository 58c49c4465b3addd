"""What is too large is refused before it takes long, where it becomes too large, with a hint."""

import pytest
from click.testing import CliRunner
from support.counted_calls import TooMuch, at_most

from archcalc import SpecError, analyze, load, parse
from archcalc.cli import cli
from archcalc.render import formats
from archcalc.render.formats import FORMATS, render
from archcalc.render.table import Column, Table
from archcalc.spec import yaml

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
    assert error.message == f"the text has more than {what}"
    assert (error.place.line, error.place.column) == (line, column)
    assert error.hint == "write repeated layers as n * layer or as a block"
    assert len(str(error)) < 400


def test_lines_and_steps_are_counted_before_yaml_is_read(monkeypatch):
    monkeypatch.setattr(yaml, "Loader", None)
    with pytest.raises(SpecError, match="lines and steps"):
        parse(HEAD + "  - relu\n" * yaml.MAX_STEPS)


def test_as_much_as_is_allowed_is_read():
    text = HEAD + "  - relu\n" * 10_000 + "\n" * (yaml.MAX_STEPS - 10_004)
    assert len(parse(text).nodes) == 10_001


def rows(count):
    """A table of so many rows, in two parts."""
    columns = [Column("name", "Name", text=True), Column("value", "Value")]
    own = [{"name": f"row{i}", "value": i} for i in range(count)]
    total = {"name": "total", "value": sum(range(count))}
    return Table("t", columns, own, totals=total, notes=["a note"], parts=[Table("part", columns, own, "more")])


@pytest.mark.parametrize("form", FORMATS)
def test_forms_for_people_show_so_many_rows_and_say_so(form, monkeypatch):
    monkeypatch.setattr(formats, "MOST_ROWS", 30)
    whole, text = (render(rows(count), form) for count in (30, 100))
    found = [number for number in range(100) if f"row{number}" in text]
    said = "Rows 1 to 30 of 100; CSV, TSV and JSON contain all rows."
    assert "Rows 1 to" not in whole
    if FORMATS[form].every:
        assert len(found) == 100
        assert said not in text
    else:
        assert found == list(range(30))
        assert text.count(said) == 2  # of the table and of its part
        assert "4950" in text.replace(",", "")  # the total is that of all rows


def test_no_table_of_the_zoo_is_cut():
    most = max(len(analyze(load(name)).layers) for name in ("stochastic-depth-1202", "resnet1202"))
    assert most < formats.MOST_ROWS


@pytest.mark.slow
def test_a_join_of_20_000_branches_is_a_table_of_6_000_rows(tmp_path):
    spec = tmp_path / "wide.yaml"
    spec.write_text("name: x\ninput: [4, 16, 16]\nlayers: ['add(relu for i in range(19999))']\n")
    with at_most(8 * MILLION):
        result = CliRunner().invoke(cli, ["summarize", str(spec)])
    assert result.exit_code == 0
    assert "Rows 1 to 6,000 of 20,001" in result.output
    assert result.output.count("\n") < 6_050


def test_this_would_notice():
    with pytest.raises(TooMuch, match="more than 1,000 calls"), at_most(1_000):
        all(len("") == 0 for _ in iter(int, 1))  # for ever
