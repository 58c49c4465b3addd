"""Columns, order and units of tables, as the options choose them; and what a terminal keeps."""

import csv
import io
import json
import re
from fractions import Fraction
from itertools import pairwise

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from support.counted_calls import times
from support.golden_files import check_golden

from archcalc import ArchcalcError, analyze, load
from archcalc.analysis.at_least import AtLeast
from archcalc.auditing import claims
from archcalc.cli import cli
from archcalc.cli.table_choice import MOST_DIGITS
from archcalc.render.choice import SCALES, UNITS, Choice, chosen, in_units, number_text
from archcalc.render.formats import render, render_all
from archcalc.render.table import BYTES, CHANGE, COUNT, RATIO, Column, Table
from archcalc.render.tables.summaries import summarize


def output(command, **env):
    """What a command prints; its errors are raised."""
    result = CliRunner().invoke(cli, command.split(), catch_exceptions=False, env=env)
    assert result.exit_code in (0, 1), result.output
    return result.stdout


def refused(command):
    """What a command that is refused says."""
    result = CliRunner().invoke(cli, command.split())
    assert result.exit_code != 0
    assert not result.stdout
    assert result.exception.__class__ in (SystemExit, ArchcalcError)
    return result.output + str(result.exception)


# Columns

PICKED = {  # command → its columns by name, and the head of its table in Markdown
    "summarize lenet5": ("macs,params", "Layer, MACs, Params (weights + biases)"),
    "summarize lenet5 --mode train": (
        "backward_weight_flops,forward_flops", "Layer, Backward (weight FLOPs), Forward (FLOPs)",
    ),
    "summarize lenet5 --depth 1": (
        "connections,saved_bytes,weights", "Layer, Connections, Kept for backward (bytes), Weights",
    ),
    "compare lenet5 vgg11": ("macs,params,year", "Network, MACs, Params, Year"),
    "compare lenet5 vgg11 --by stage": ("macs_b,difference", "Part, MACs (B), Difference"),
    "list --family lenet": ("activations,macs", "Network, Activations (values), MACs"),
    "conventions lenet5": ("tool,figure", "Convention, Tool, Figure"),
    "conventions": ("unit,misses", "Convention, Unit, Misses"),
    "audit lenet5": ("verdict,printed,source", "Network, Verdict, Printed, Source"),
    "memory lenet5": ("inference_bytes,bytes", "Held at the peak, Inference, Memory"),
    "memory lenet5 --mode infer": ("bytes,share", "Held at the peak, Memory, Share"),
    "fit lenet5 --memory 1GiB": ("likely,guaranteed", ", Likely, Guaranteed"),
    "export lenet5": ("macs,params", "Layer, MACs, Params (weights + biases)"),
}  # fmt: skip


@pytest.mark.parametrize("command", PICKED)
def test_a_table_has_exactly_the_columns_that_are_named(command):
    names, head = PICKED[command]
    lines = output(f"{command} --columns {names} --format markdown").splitlines()
    heads = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("|")]
    assert heads[0] == head.split(", ")


@pytest.mark.parametrize("command", PICKED)
def test_data_have_exactly_the_keys_that_are_named(command):
    names = PICKED[command][0].split(",")
    whole = json.loads(output(f"{command} --format json"))
    data = json.loads(output(f"{command} --columns {','.join(names)} --format json"))
    (rows,) = [key for key, value in data.items() if json.dumps(value) != json.dumps(whole[key])]
    label = next(iter(whole[rows][0]))
    assert [list(row) for row in data[rows]] == [list(dict.fromkeys([label, *names]))] * len(data[rows])
    for row, own in zip(whole[rows], data[rows], strict=True):
        assert all(row[key] == value for key, value in own.items() if key in row)


def test_the_name_of_a_row_stands_where_it_is_named():
    (row, *_) = csv.reader(io.StringIO(output("summarize lenet5 --columns macs,name,params --format csv")))
    assert row[-3:] == ["macs", "name", "params"]
    lines = output("list --family lenet --columns Params,Name").splitlines()
    assert lines[1].split() == ["Params", "Network"]


def test_a_text_and_the_data_behind_it_have_either_name():
    command = "compare lenet5 vgg11 --columns {} --format {}"
    assert output(command.format("field", "table")) == output(command.format("receptive_field", "table"))
    assert json.loads(output(command.format("field", "json")))["networks"][0] == {
        "name": "lenet5", "receptive_field": [32, 32],
    }  # fmt: skip


def test_columns_may_be_of_a_part():
    lines = output("memory lenet5 --columns name,kept_bytes --sort kept_bytes").splitlines()
    head = lines.index(next(line for line in lines if line.split() == ["Layer", "Kept"]))
    assert lines[head + 1].split()[-1] == "B"
    text = output("summarize lenet5 --columns figure,printed,verdict", COLUMNS="100")
    assert re.search(r"^Source +Published +Printed +Verdict$|^Published +Printed +Verdict$", text, re.MULTILINE)


def test_lower_bounds_stay_marked():
    columns = [Column("name", "Name", text=True), Column("n", "N", kind=COUNT), Column("at_least", "", shown=False)]
    table = Table("", columns, [{"name": "a", "n": AtLeast(5_000_000), "at_least": ["n"]}])
    data = json.loads(render(chosen(table, Choice(("n",))), "json"))
    assert data["rows"] == [{"name": "a", "n": 5_000_000, "at_least": ["n"]}]
    assert "≥ 5.00 M" in render(in_units(table, Choice(units="si")))


# Order

VALUES = st.one_of(st.none(), st.integers(-(10**15), 10**15))


@given(st.lists(st.tuples(st.text(max_size=3), VALUES)), st.booleans())
def test_sorting_keeps_the_rows_and_orders_them(pairs, smallest):
    rows = [{"name": name, "n": n, "at": at} for at, (name, n) in enumerate(pairs)]
    table = Table("", [Column("name", "Name", text=True), Column("n", "N")], rows)
    found = chosen(table, Choice(sort="-n" if smallest else "n")).rows
    assert sorted(row["at"] for row in found) == list(range(len(pairs)))
    known = [row for row in found if row["n"] is not None]
    assert found[: len(known)] == known  # unknown values come last
    for one, other in pairwise(known):
        better = one["n"] < other["n"] if smallest else one["n"] > other["n"]
        assert better or (one["n"] == other["n"] and one["at"] < other["at"])
    names = [row["name"].casefold() for row in chosen(table, Choice(sort="name")).rows]
    assert names == sorted(names)


@pytest.mark.parametrize(
    ("command", "sort", "first"),
    [
        ("summarize vgg16", "macs", "stage1.conv2"),
        ("summarize vgg16", "params", "fc6"),
        ("summarize vgg16", "-params", "input"),
        ("summarize vgg16", "formula", "fc6"),
        ("list --family vgg", "-macs", "vgg11"),
        ("conventions resnet50", "figure", "ultralytics"),
        ("fit lenet5 --memory 1GiB --device cpu", "bound", "with --dtype bfloat16"),
        ("compare lenet5 vgg16 alexnet", "year", "vgg16"),
    ],
)
def test_rows_are_sorted_by_what_is_named(command, sort, first):
    lines = output(f"{command} --sort {sort} --format markdown").splitlines()
    rule = next(i for i, line in enumerate(lines) if line.startswith("|:"))
    assert lines[rule + 1].split("|")[1].strip() == first


def test_totals_stay_last_and_bars_beside_their_figures():
    lines = output("summarize vgg16 --sort macs --bars", COLUMNS="200").splitlines()
    rows = lines[next(i for i, line in enumerate(lines) if line.startswith("Layer")) + 1 :]
    assert [row.split()[0] for row in rows[:2]] == ["stage1.conv2", "stage2.conv2"]
    assert rows[22].startswith("total")
    assert re.search(r"1,849,688,064 +████████ +12\.0%", rows[0])


def test_sorting_adds_no_key():
    plain, ordered = (json.loads(output(f"memory lenet5 --format json {more}")) for more in ("", "--sort share"))
    assert [list(row) for row in ordered["budget"]] == [list(row) for row in plain["budget"]]
    assert ordered["budget"] == sorted(plain["budget"], key=lambda row: -row["bytes"])


def test_sorted_rows_have_no_headings():
    text = output("audit lenet5 vgg11 --sort printed", COLUMNS="120")
    assert re.search(r"^Network +Source", text, re.MULTILINE)


# Units


@given(st.integers(-(10**20), 10**20), st.integers(1, MOST_DIGITS), st.sampled_from(["si", "iec"]))
def test_units_round_to_the_nearest_number_of_so_many_digits(count, precision, units):
    for kind, scale in ((COUNT, COUNT), (BYTES, units)):
        step, names = SCALES[scale]
        text = number_text(count, kind, Choice(units=units, precision=precision))
        digits, _, name = text.replace(",", "").partition(" ")
        power = names.index(name)
        error = abs(Fraction(digits) * step**power - count)
        if power == 0:
            assert error == 0
            assert abs(count) < step
            continue
        size = len(str(abs(int(Fraction(count, step**power))))) - precision  # of the last digit, as a power of ten
        assert error <= Fraction(1, 2) * Fraction(10) ** size * step**power
        assert abs(Fraction(digits)) >= 1 or precision == 1
        assert abs(Fraction(digits)) < step or power == len(names) - 1 or (step == 1024 and precision < 4)


@pytest.mark.parametrize(
    ("value", "kind", "choice", "text"),
    [
        (25_557_032, COUNT, Choice(units="si"), "25.6 M"),
        (3_857_973_248, COUNT, Choice(units="si"), "3.86 G"),
        (3_857_973_248, COUNT, Choice(units="iec", precision=5), "3.8580 G"),
        (999_499, COUNT, Choice(units="si"), "999 k"),
        (999_500, COUNT, Choice(units="si"), "1.00 M"),
        (1_728, COUNT, Choice(units="si", precision=9), "1.728 k"),
        (999, COUNT, Choice(units="si", precision=1), "999"),
        (0, BYTES, Choice(units="si"), "0 B"),
        (60_950_432, BYTES, Choice(), "60.95 MB"),
        (60_950_432, BYTES, Choice(units="si"), "61.0 MB"),
        (60_950_432, BYTES, Choice(units="iec"), "58.1 MiB"),
        (2**20, BYTES, Choice(units="iec"), "1.00 MiB"),
        (2**20 - 1, BYTES, Choice(units="iec"), "1.00 MiB"),
        (1_000_000, BYTES, Choice(units="si"), "1.00 MB"),
        (60_950_432, BYTES, Choice(units="full"), "60,950,432 B"),
        (77_070_336, CHANGE, Choice(), "+77,070,336"),
        (-77_070_336, CHANGE, Choice(units="si"), "-77.1 M"),
        (0, CHANGE, Choice(units="si"), "0"),
        (5.4137, RATIO, Choice(units="full"), "5.41"),
        (None, RATIO, Choice(), None),
        (None, BYTES, Choice(units="si"), None),
        (AtLeast(5_000_000), BYTES, Choice(), "≥ 5.00 MB"),
    ],
)
def test_numbers_as_people_see_them(value, kind, choice, text):
    assert number_text(value, kind, choice) == text


@pytest.mark.parametrize("form", ["csv", "tsv", "json"])
def test_data_have_all_digits(form):
    assert f"{form} always has all digits" in refused(f"summarize lenet5 --units si --format {form}")
    assert f"{form} always has all digits" in refused(f"summarize lenet5 --precision 3 --format {form}")
    assert "60,000" not in output(f"summarize lenet5 --no-published --format {form}")


@pytest.mark.parametrize("form", ["table", "markdown", "latex", "rst", "html"])
def test_units_are_in_every_form_for_people_with_what_they_mean(form):
    text = output(f"summarize vgg16 --depth 1 --no-published --units si --format {form}")
    assert "15.5 G" in text
    assert "Rounded to 3 digits: k = 10" in text
    assert "15,470,264,320" in text  # the lines below the table keep all digits


# What a terminal keeps

KEPT = {
    "summarize resnet50": ("Params", "MACs"),
    "compare resnet50 vgg16": ("Params", "MACs"),
    "compare resnet50 vgg16 --by stage": ("Params", "MACs"),
    "list --family resnet": ("Params", "MACs"),
    "conventions resnet50": ("Figure",),
    "memory resnet50": ("Memory", "Peak", "At most"),
    "audit lenet5": ("Printed", "Computed", "Verdict"),
    "fit lenet5 --memory 1GiB": ("Guaranteed", "Likely", "At most"),
}


@pytest.mark.parametrize("command", KEPT)
@pytest.mark.parametrize("width", [20, 40, 60, 80])
def test_a_terminal_never_loses_what_the_command_is_about(command, width):
    text = output(command, COLUMNS=str(width))
    shown = " ".join(" ".join(re.split(r"Not shown at this width:[^.]*\.", text)).split())
    for title in KEPT[command]:
        assert title in shown


@pytest.mark.parametrize("width", [80, 120])
@pytest.mark.parametrize("name", ["vgg16", "resnet50"])
def test_brief_is_blocks_and_totals_on_one_screen(name, width):
    text = output(f"summarize {name} --brief", COLUMNS=str(width))
    assert len(text.splitlines()) < 50
    assert max(map(len, text.splitlines())) <= width
    check_golden(f"tables/brief-{name}-{width}.txt", text)


def test_brief_memory_is_the_peak():
    text = output("memory resnet50 --gpu t4 --brief", COLUMNS="80")
    assert "parameters" in text
    assert "largest batch" in text
    assert len(text.splitlines()) < 40
    data = json.loads(output("memory resnet50 --brief --format json"))
    assert {"budget", "peak_bytes"} <= data.keys()
    assert not {"phases", "layers", "beside"} & data.keys()
    assert "csv contains the layers, --brief only totals" in refused("memory lenet5 --brief --format csv")


def test_golden_units():
    table = summarize(analyze(load("resnet50")), depth=1)
    for width in (80, 120):
        check_golden(f"tables/units-resnet50-{width}.txt", render_all([table], width=width, choice=Choice(units="si")))


def test_without_published_figures_no_claim_is_read():
    def read(command):
        return times(claims.claims_of, lambda: output(command))

    assert read("summarize resnet50") == 1
    for options in ("--no-published", "--brief", "--brief --depth 2", "--no-published --format json"):
        assert read(f"summarize resnet50 {options}") == 0
        assert read(f"export resnet50 {options}".replace(" --format json", "")) == 0
    assert "published" not in json.loads(output("summarize resnet50 --no-published --format json"))


# Wrong requests


@pytest.mark.parametrize(
    ("command", "says"),
    [
        ("summarize lenet5 --columns parms", "unknown column 'parms'; did you mean params"),
        ("summarize lenet5 --columns ,", "name columns, e.g. params,macs"),
        ("summarize lenet5 --sort mac", "unknown column 'mac'; did you mean macs"),
        ("summarize lenet5 --sort=--macs", "unknown column '-macs'; did you mean"),
        ("list --family lenet --columns layer", "unknown column 'layer'"),
        ("memory lenet5 --columns phase,kept_bytes", "no table has all of phase, kept_bytes"),
        ("conventions lenet5 --sort parts", "parts has no order; sort by a column of numbers or of texts"),
        ("summarize lenet5 --units SI", "'SI' is not one of"),
        ("summarize lenet5 --units mib", "'mib' is not one of"),
        ("summarize lenet5 --precision 0", "0 is not in the range"),
        ("summarize lenet5 --precision 16", "16 is not in the range"),
        ("summarize lenet5 --precision x", "'x' is not a valid integer"),
        ("summarize lenet5 --units full --precision 3", "--precision rounds; use --units si or iec"),
        ("summarize lenet5 --brief --all", "--brief shows blocks and --all shows each layer"),
        ("export lenet5 --format pytorch --units si", "--units has no effect on --format pytorch"),
        ("export lenet5 --format pytorch --brief", "--brief has no effect on --format pytorch"),
        ("export lenet5 --table list --brief", "--brief has no effect on the table of list"),
        ("audit --columns network,prnted", "unknown column 'prnted'; did you mean printed"),
        ("validate --all --sort sconds", "unknown column 'sconds'; did you mean seconds"),
    ],
)
def test_wrong_requests(command, says):
    assert says in " ".join(refused(command).split())


def test_hostile_names_are_harmless():
    result = CliRunner().invoke(cli, ["summarize", "lenet5", "--columns", "\x1b[31m" + "x" * 500])
    message = str(result.exception)
    assert "\x1b" not in message
    assert message.startswith(r"unknown column '\x1b[31mx")
    assert len(message.partition(";")[0]) < 100


def test_every_unit_is_an_option():
    assert {*UNITS} == {"si", "iec", "full"}
    for units in UNITS:
        assert output(f"memory lenet5 --units {units}")


def test_parts_that_are_sorted_are_not_merged():
    text = output("compare resnet50 torchvision/resnet50 --by block --sort macs_difference", COLUMNS="100")
    lines = text.splitlines()
    first = next(i for i, line in enumerate(lines) if line.startswith("Part")) + 1
    assert [line.split()[0] for line in lines[first : first + 5 : 2]] == ["stage2.0", "stage3.0", "stage4.0"]
    assert "…" not in text


@pytest.mark.parametrize("width", [20, 60])
def test_named_columns_stay_on_a_narrow_terminal(width):
    text = output("summarize vgg16 --no-published --columns macs,params,flops,activations,op", COLUMNS=str(width))
    assert "Not shown" not in text
    assert re.search(r"1,849,688,064 +36,928 +3,705,798,656 +3,211,264 +conv", text)


def test_notes_are_on_what_is_shown():
    for command in ("compare vgg16 resnet50", "export vgg16 resnet50 --table compare"):
        assert "Different letters: different tests" in output(command)
        assert "letters" not in output(f"{command} --columns params,macs")
