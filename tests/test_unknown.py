"""Figures of imported functions without a rule: unknown in their row, and the totals are lower bounds, never zero."""

import csv
import io
import json

import pytest
from click.testing import CliRunner
from test_json_page import documented

from archcalc.analysis.at_least import AtLeast, add_known, ratio
from archcalc.analysis.explanation import explain
from archcalc.analysis.report import analyze
from archcalc.cli.networks import summarize as summarize_command
from archcalc.comparing.alignment import align
from archcalc.comparing.totals import compare, relative
from archcalc.graph.graph import About
from archcalc.importers.building import Builder
from archcalc.ops import activation, convolution
from archcalc.ops.base import Saved
from archcalc.ops.imported import Imported
from archcalc.ops.shape import Map
from archcalc.render.choice import Choice, in_units
from archcalc.render.forms.html import render_html
from archcalc.render.forms.latex import render_latex
from archcalc.render.forms.terminal import render_terminal
from archcalc.render.forms.text import render_csv, render_json, render_markdown
from archcalc.render.tables.bars import with_bars
from archcalc.render.tables.compare import comparison_table
from archcalc.render.tables.compare_parts import alignment_table
from archcalc.render.tables.summaries import summarize

SHAPE = Map((4, 8, 8))
CONV = convolution.Conv(4, (3, 3), padding=(1, 1), bias=False)
MACS = 4 * 64 * 9 * 4
NOTE = "1 operator without a rule: block.mixed (aten::fft_rfft2)"


def network(notes=(), **facts):
    """A convolution, and a block of one more with an imported function after it."""
    built = Builder()
    x = built.add(CONV, [built.input("image", SHAPE)], "conv")
    y = built.add(Imported("aten::fft_rfft2", SHAPE, **facts), [built.add(CONV, [x], "block.conv")], "block.mixed")
    return built.graph("imported", {"": built.add(activation.Sigmoid(), [y], "gate")}, About(notes=notes))


UNKNOWN = {"counts": None, "wrote": 256}
KNOWN = {"counts": (("mac", 5),), "gradients": ((("mac", 7),),), "wrote": 256, "kept": Saved(input=True)}


def layer(report, key):
    return getattr(report.layer("block.mixed"), key)


def test_a_row_is_unknown_and_the_total_is_the_sum_of_the_others():
    report = analyze(network(**UNKNOWN))
    assert [layer(report, key) for key in ("macs", "flops")] == [None, None]
    assert report.totals.macs == 2 * MACS
    assert isinstance(report.totals.macs, AtLeast)
    assert f"{report.totals.macs:,}" == "≥ 18,432"
    assert report.without_rule == {"block.mixed": "aten::fft_rfft2"}
    assert not isinstance(report.totals.activations, AtLeast)
    assert report.totals.activations == 5 * 256


def test_with_a_rule_everything_is_known():
    report = analyze(network(**KNOWN), mode="train")
    assert report.totals.macs == 2 * MACS + 5
    assert report.totals.step_macs == 2 * MACS + 5 + 7 + 3 * MACS
    assert not [key for key, value in report.totals.figures().items() if isinstance(value, AtLeast)]
    assert report.without_rule == {}


def test_a_gradient_without_a_rule_makes_the_step_unknown_but_not_inference():
    facts = KNOWN | {"gradients": None}
    assert analyze(network(**facts)).without_rule == {}
    report = analyze(network(**facts), mode="train")
    assert [layer(report, key) for key in ("macs", "forward_flops")] == [5, 10]
    assert [layer(report, key) for key in ("step_macs", "step_flops", "backward_input_flops")] == [None] * 3
    assert isinstance(report.totals.step_macs, AtLeast)
    assert report.without_rule


def test_training_is_known_where_it_does_not_depend_on_what_is_unknown():
    report = analyze(network(**UNKNOWN), mode="train")
    assert report.totals.activations == 5 * 256
    assert report.totals.saved_bytes is report.totals.peak_training_bytes is None
    assert report.totals.backward_weight_macs == 2 * MACS


def test_weights_of_a_function_without_a_rule_have_unknown_connections():
    report = analyze(network(**UNKNOWN, tensors=(("weight", (3,)),)))
    assert layer(report, "connections") is None
    assert layer(report, "params") == 3
    assert layer(analyze(network(**UNKNOWN)), "connections") == 0


def test_saved_bytes_need_what_backward_keeps_and_peaks_need_all_that_is_allocated():
    known = analyze(network(**KNOWN)).totals
    assert known.saved_bytes == 4 * 256 * 4  # the image, both convolutions' outputs, and the sigmoid's
    assert known.peak_inference_bytes is known.peak_training_bytes is None
    assert analyze(network(**UNKNOWN)).totals.saved_bytes is None


@pytest.mark.parametrize("mode", ["infer", "train"])
def test_totals_of_nothing_but_unknown_work_are_dashes(mode):
    built = Builder()
    y = built.add(Imported("aten::fft_rfft2", SHAPE, **UNKNOWN), [built.input("image", SHAPE)], "mixed")
    text = render_terminal(summarize(analyze(built.graph("imported", {"": y}, About()), mode=mode)), 120)
    assert "MACs         –\nFLOPs        – (all" in text
    assert ("step         – MACs = – forward" in text) == (mode == "train")


@pytest.mark.parametrize("render", [render_markdown, lambda tables: render_terminal(tables[0], 120)])
def test_people_see_a_dash_and_at_least(render):
    text = render([summarize(analyze(network(**UNKNOWN)), everything=True)])
    row = next(line for line in text.splitlines() if "block.mixed" in line)
    assert " – " in row
    assert "≥ 18,432" in text
    assert f"≥: at least so much, with {NOTE}." in text.replace("\\", "").replace("\n", " ")


def test_latex_and_html_show_it_too():
    table = summarize(analyze(network(**UNKNOWN)), everything=True)
    assert "≥ 18,432" in render_html([table])
    latex = render_latex([table])
    assert "18,432" in latex
    assert "geq" in latex or "≥" in latex


def test_blocks_with_something_unknown_are_at_least_what_is_known():
    (row,) = [row for row in summarize(analyze(network(**UNKNOWN)), depth=1).rows if row["name"] == "block"]
    assert row["macs"] == MACS
    assert isinstance(row["macs"], AtLeast)
    assert "macs" in row["at_least"]


def test_json_has_null_in_the_row_the_number_in_the_total_and_which_are_bounds():
    data = json.loads(render_json([summarize(analyze(network(**UNKNOWN)), everything=True)], False))
    (row,) = [row for row in data["layers"] if row["name"] == "block.mixed"]
    assert row["macs"] is None
    assert data["totals"]["macs"] == 2 * MACS
    assert {"macs", "flops"} <= {*data["at_least"]}
    assert "params" not in data["at_least"]
    assert {"at_least", "without_rule"} <= documented("imports").keys()
    assert data["without_rule"] == [{"name": "block.mixed", "function": "aten::fft_rfft2"}]
    known = json.loads(render_json([summarize(analyze(network(**KNOWN)))], False))
    assert not {"at_least", "without_rule"} & known.keys()


def test_csv_has_an_empty_cell_and_names_the_bounds_of_a_block():
    rows = [*csv.DictReader(io.StringIO(render_csv([summarize(analyze(network(**UNKNOWN)), depth=1)])))]
    assert {row["name"]: row["at_least"].split()[0] for row in rows if row["at_least"]} == {"block": "macs"}
    (row,) = csv.DictReader(io.StringIO(render_csv([comparison_table(compare(network(**UNKNOWN)))])))
    assert row["macs"] == str(2 * MACS)
    assert "macs" in row["at_least"].split()


def test_bars_have_no_percentages_of_an_unknown_total():
    table = with_bars(summarize(analyze(network(**UNKNOWN)), everything=True))
    texts = {row["name"]: row["macs_bar"] for row in table.rows}
    assert texts["block.mixed"] == ""
    assert texts["conv"].split() == ["████████", "–"]


def test_ratios_to_a_known_figure_are_bounds_and_to_an_unknown_one_unknown():
    table = comparison_table(relative(compare(network(**KNOWN), network(**UNKNOWN)), "imported"))
    assert [row["macs_ratio"] for row in in_units(table, Choice()).rows] == ["1.00", "≥ 1.00"]
    assert f"imported: {NOTE}." in table.notes
    table = comparison_table(compare(network(**UNKNOWN), network(**KNOWN)))
    assert [row["macs_ratio"] for row in table.rows] == [1, None]
    assert ratio(AtLeast(6), 3) == 2
    assert ratio(6, AtLeast(3)) is ratio(6, 0) is ratio(None, 3) is None


def test_a_difference_of_an_unknown_figure_is_unknown():
    table = alignment_table(align(analyze(network(**UNKNOWN)), analyze(network(**KNOWN))), "block")
    assert table.totals["macs_difference"] is None
    assert table.totals["macs_a"] == 2 * MACS
    assert table.rows[1]["difference"] == "mixed: aten::fft_rfft2 with other facts"
    assert f"imported: {NOTE}." in table.notes
    data = json.loads(render_json([table], False))
    assert data["without_rule_a"]
    assert "without_rule_b" not in data


@pytest.mark.parametrize(
    ("counts", "total"),
    [([1, 2], 3), ([], 0), ([1, None], AtLeast(1)), ([None, 0], None), ([AtLeast(1), 2], AtLeast(3))],
)
def test_sums(counts, total):
    assert add_known(counts) == total
    assert type(add_known(counts)) is type(total)


@pytest.mark.parametrize(("facts", "code"), [(UNKNOWN, 1), (KNOWN, 0)])
def test_strict_names_the_operator(monkeypatch, facts, code):
    monkeypatch.setattr("archcalc.cli.networks.load_with", lambda *_: network(**facts))
    result = CliRunner().invoke(summarize_command, ["vgg16", "--strict"])
    assert result.exit_code == code
    assert (f"imported has {NOTE}; omit --strict" in str(result.exception) + result.output) == bool(code)


def test_remarks_on_a_network_stand_below_its_header():
    table = summarize(analyze(network(notes=("batch normalization is folded in the file",), **KNOWN)))
    for text in (render_markdown([table]), render_terminal(table, 120), render_html([table]), render_latex([table])):
        assert "batch normalization is folded in the file" in text
    lines = render_terminal(table, 120).splitlines()
    assert lines[2] == "batch normalization is folded in the file"
    assert json.loads(render_json([table], False))["notes"] == ["batch normalization is folded in the file"]


def explained(name, **facts):
    _, lines = explain(analyze(network(**facts), mode="train"), name)
    return {line.key or line.name: (line.formula, line.value) for line in lines}


def test_what_is_unknown_has_no_formula():
    lines = explained("block.mixed", **UNKNOWN)
    assert [lines[key] for key in ("macs", "flops", "backward_input_macs", "saved_bytes")] == [("", None)] * 4
    assert lines["activations"] == ("256", 256)
    group = explained("block", **UNKNOWN)
    assert group["macs"] == ("9,216", MACS)
    assert isinstance(group["macs"][1], AtLeast)
    assert explained("block.mixed", **KNOWN)["macs"] == ("5", 5)
