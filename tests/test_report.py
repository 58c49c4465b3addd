"""Tables: golden pictures of them, and how rows are merged and renderers escape."""

import sys
from dataclasses import replace

import pytest
from markdown_it import MarkdownIt
from rich.cells import cell_len
from support.audited import audited
from support.golden_files import check_golden

from archcalc import analyze, audit, load, parse
from archcalc.analysis import field_tables
from archcalc.cli.networks import facts_of
from archcalc.graph.batchnorm_folding import fold_batchnorm, folds
from archcalc.render.formats import render
from archcalc.render.forms.terminal import NARROW, render_terminal
from archcalc.render.table import Column, Table, axes, bytes_text, cell
from archcalc.render.tables.audit import audit_table
from archcalc.render.tables.show import about_network
from archcalc.render.tables.summaries import summarize

GOLDEN = {
    "vgg16-80": ("vgg16", {}, "table", 80),
    "vgg16-120": ("vgg16", {}, "table", 120),
    "vgg16-200": ("vgg16", {}, "table", 200),
    "resnet50-depth-2": ("resnet50", {"depth": 2}, "table", 120),
    "lenet5-all": ("lenet5", {"everything": True}, "table", 120),
    "inception-bottleneck": ("cs231n/inception-bottleneck", {}, "markdown", 0),
    "inception-naive": ("cs231n/inception-naive", {}, "json", 0),
    "alexnet": ("alexnet", {"everything": True}, "csv", 0),
}


@pytest.mark.parametrize("name", GOLDEN)
def test_golden_tables(name):
    network, options, form, width = GOLDEN[name]
    check_golden(f"tables/{name}.txt", render(audited(analyze(load(network)), **options), form, width))


def rows(layers, **options):
    table = summarize(analyze(parse(f"name: t\ninput: [3, 8, 8]\nlayers:\n{layers}")), **options)
    return [row["name"] for row in table.rows]


class TestFolding:
    def test_what_writes_nothing_joins_the_row_above(self):
        layers = "  - a: conv(4, 3) | relu\n  - conv(4, 3) | batchnorm | relu\n  - flatten | linear(2) | dropout\n"
        assert rows(layers) == ["input", "a", "conv", "batchnorm", "linear"]

    def test_only_behind_its_own_input(self):
        assert rows("  - conv(4, 3)\n  - concat: {a: relu6, b: relu}\n") == ["input", "conv", "a", "b", "concat"]

    def test_all_shows_each(self):
        assert rows("  - conv(4, 3) | relu\n", everything=True) == ["input", "conv", "relu"]

    def test_depth(self):
        layers = "  - a: conv(4, 3, padding=1) | batchnorm | relu\n  - conv(4, 3) | relu\n"
        assert rows(layers, depth=1) == ["input", "a", "conv"]

    def test_a_block_shows_its_own_end(self):
        layers = "  - x: conv(4, 3) | relu | flatten\n  - y: linear(2)\n  - relu\n"
        table = summarize(analyze(parse(f"name: t\ninput: [3, 8, 8]\nlayers:\n{layers}")), depth=1)
        assert [row["output"] for row in table.rows] == [[3, 8, 8], [144], [2]]
        assert table.notes == ["Merged into the row above, because they write no new tensor: relu."]
        assert table.hints == ["--all shows each layer."]

    def test_a_block_that_ends_in_a_side_output(self):
        layers = "  - x:\n    - conv(4, 3)\n    - side: {head: global_avgpool | flatten | linear(2)}\n  - relu\n"
        table = summarize(analyze(parse(f"name: t\ninput: [3, 8, 8]\nlayers:\n{layers}"), mode="train"), depth=1)
        assert table.rows[1]["output"] == [4, 6, 6]

    def test_inputs_of_blocks_are_rows(self):
        table = summarize(analyze(load("googlenet"), mode="train"), depth=1)
        names = [row["name"] for row in table.rows]
        assert all(set(row["inputs"]) <= set(names[:i]) for i, row in enumerate(table.rows))

    def test_a_joined_row_keeps_the_shape_of_its_owner(self):
        table = summarize(analyze(load("vgg16")))
        last = next(row for row in table.rows if row["name"] == "stage5.maxpool")
        assert last["output"] == [512, 7, 7]
        assert "flatten" in last["op"]


def test_inputs_that_are_no_images():
    """Samples instead of images, and a note which input the field is of; an image alone needs neither."""
    own = "name: own\ninput: {a: [3, 8, 8], b: {T: 4}}\nlayers:\n"
    two = summarize(
        analyze(parse(own + "- conv(4, 8) | flatten\n- concat(identity, use(b) | embedding(9, 2) | flatten)\n"))
    )
    assert "per sample" in dict(two.summary)["activations"]
    assert [note for note in two.notes if note.startswith("Field:")] == [
        "Field: the part of a that is seen; 0 of what reads only other inputs."
    ]
    one = summarize(analyze(load("lenet5")))
    assert "per image" in dict(one.summary)["activations"]
    assert not any(note.startswith("Field:") for note in one.notes)


FIELDS = {  # layers: the network's cell, and its line
    "x: conv(4, 3)": ("3", "3 pixels, stride 1, padding 0 at x"),
    "x: relu": ("1", "1 pixel, stride 1, padding 0 at x"),
    "x: conv(4, [1, 3])": ("1×3", "1×3 pixels, stride 1, padding 0 at x"),
    "x: conv(4, 9, padding=4) | 2 * conv(4, 5, padding=2)": (
        "17", "17 pixels (image 16), stride 1, padding 8 at x.conv3"),
    "x: conv(4, 9, stride=5, padding=4) | 3 * conv(4, 3, padding=1)": (
        "39", "39 pixels, stride 5, padding 19 at x.conv4\n"
        "more than the image (16): every output position sees all of it"),
    "x: upsample(scale_factor=2)": ("1", "1 pixel, stride 1/2, padding 0 at x"),
    "x: conv_transpose(4, 3, stride=2)": (
        "1…2", "1…2 pixels by position (period 2), stride 1/2, padding 1 at x"),
    "x: conv_transpose(4, 2, stride=3)": (
        "0…1", "0…1 pixels by position (period 3), stride 1/3, padding 0 at x"),
    "x: add(adaptive_avgpool(4), conv(3, 7, stride=3))": (
        "7", "7 pixels, stride –, padding 0 at x.add"),
    "x: conv(4, 16) | upsample([4, 4])": ("whole", "whole input at x.upsample"),
    "x: groupnorm(1) | conv(4, 3)": ("whole, local 3", "whole input; local 3 pixels, stride 1, padding 0 at x.conv"),
    "x: linear(5)": ("1 × whole", "1 × whole of the input (height × width) at x"),
    "x: conv(4, 3) | layernorm(14)": (
        "3 × whole, local 3",
        "3 × whole of the input (height × width); local 3 pixels, stride 1, padding 0 at x.layernorm"),
    "x: conv(4, 11, stride=9) | upsample([4, 4])": (
        "0…10 fixed", "positions 0…10 of 16, the same everywhere, at x.upsample"),
    "x: conv(4, [11, 3], stride=[9, 1]) | upsample([4, 14]) | conv_transpose(4, [1, 3], stride=[1, 2])": (
        "0…10 fixed × 3…4", "0…10 fixed × 3…4 of the input (height × width) at x.conv_transpose"),
    "x: conv(4, [11, 16], stride=9) | upsample([4, 4])": (
        "0…10 fixed × whole", "0…10 fixed × whole of the input (height × width) at x.upsample"),
    "x: multiply(identity, conv(3, 11, stride=9) | sigmoid) | conv(4, 3, padding=1)": (
        "0…10 fixed, local 3",
        "positions 0…10 of 16, the same everywhere; local 3 pixels, stride 1, padding 1 at x.conv"),
}  # fmt: skip


@pytest.mark.parametrize("layers", FIELDS)
def test_fields_in_words(layers):
    table = summarize(analyze(parse(f"name: t\ninput: [3, 16, 16]\nlayers:\n  - {layers}\n")))
    assert (table.rows[-1]["field"], dict(table.summary)["field"]) == FIELDS[layers]


def test_fields_are_explained_where_they_need_it():
    def notes(layers):
        table = summarize(analyze(parse(f"name: t\ninput: [3, 16, 16]\nlayers:\n  - {layers}\n")))
        return [note for note in table.notes if note.startswith("Field")]

    assert notes("conv(4, 3) | global_avgpool | flatten") == []
    assert [note[:13] for note in notes("groupnorm(1) | conv(4, 3)")] == ["Field, local:"]
    assert [note[:11] for note in notes("conv_transpose(4, 3, stride=2)")] == ["Field a…b: "]
    assert [note[:15] for note in notes("conv(4, 11, stride=9) | upsample([4, 4])")] == ["Field a…b fixed"]
    both = "conv(4, [11, 3], stride=[9, 1]) | upsample([4, 14]) | conv_transpose(4, [1, 3], stride=[1, 2])"
    assert [note[:11] for note in notes(both)] == ["Field a…b: ", "Field a…b f"]


def test_the_note_on_unknown_fields_holds_for_later_branches_too(monkeypatch):
    monkeypatch.setattr(field_tables, "MOST", 0)
    layers = "concat: {a: 'conv_transpose(4, 3, stride=2) | global_avgpool', b: 'conv(4, 3) | global_avgpool'}"
    table = summarize(analyze(parse(f"name: t\ninput: [3, 16, 16]\nlayers:\n  - {layers}\n")))
    unknown = [row["name"] for row in table.rows if row["field"] == "–"]
    assert unknown == ["a.conv_transpose", "a.global_avgpool", "concat"]  # and b, between them, is known
    (note,) = (note for note in table.notes if note.startswith("Field –"))
    assert note.endswith("the first is a.conv_transpose.")


FOLDS = {  # layers: the note of --fold-bn
    "conv(4, 3)": "There is no batch normalization to fold.",
    "batchnorm": "No batch normalization can be folded; 1 stays.",
    "2 * batchnorm": "No batch normalization can be folded; 2 stay.",
    "conv(4, 3) | batchnorm": "1 batch normalization is folded into the layer before it.",
    "2 * (batchnorm | conv(4, 3))": "1 batch normalization is folded into the layer before it; 1 stays.",
    "2 * (conv(4, 3) | batchnorm) | 2 * (relu | batchnorm)":
        "2 batch normalizations are folded into the layers before them; 2 stay.",
}  # fmt: skip


@pytest.mark.parametrize("layers", FOLDS)
def test_what_is_folded_in_words(layers):
    graph = parse(f"name: t\ninput: [3, 16, 16]\nlayers:\n  - {layers}\n")
    table = summarize(analyze(fold_batchnorm(graph)), gone=list(folds(graph)))
    assert [note for note in table.notes if "atch norm" in note] == [FOLDS[layers]]


@pytest.mark.parametrize("mode", ["infer", "train"])
def test_verdicts_are_those_of_the_claims_own_mode(mode):
    """GoogLeNet's parameters with both heads are published of training; at inference they are still exact."""
    (published,) = audited(analyze(load("googlenet"), mode=mode)).parts
    verdicts = {row["printed"]: (row["computed"], row["verdict"]) for row in published.rows}
    assert verdicts["13,378,280"] == (13_378_280, "exact")


def test_markdown_escapes():
    table = Table("a_b*c", [Column("x", "X", text=True)], [{"x": "a|b_c`d<e[f"}])
    text = render(table, "markdown")
    assert r"**a\_b\*c**" in text
    assert r"a\|b\_c\`d\<e\[f" in text


def test_cells():
    assert [cell(v) for v in (None, 1728, (64, 56, 56), [1000], True, "x")] == [
        "–",
        "1,728",
        "64×56×56",
        "1000",
        "True",
        "x",
    ]
    assert [axes(v) for v in (None, (3, 3), (1, 7))] == ["–", "3", "1×7"]
    assert bytes_text(60_950_432) == "60.95 MB = 58.13 MiB"
    assert bytes_text(840) == "840 B"


@pytest.mark.parametrize("width", range(20, 130, 5))
def test_no_digit_is_ever_cut(width):
    text = render(audited(analyze(load("vgg16"))), width=width)
    assert "…" not in text
    always = ("102,764,544", "1,849,688,064")
    if_shown = {"Output": "64×224×224", "Activations": "3,211,264", "Weights": "(3·3·512)·512 = 2,359,296"}
    left_out = " ".join(text.split()).partition("Not shown at this width: ")[2].partition(".")[0]
    for figure in (*always, *(figure for title, figure in if_shown.items() if title not in left_out)):
        assert figure in text
    assert "Weights" not in left_out or width < 100


def test_published_figures_say_what_they_are_of():
    table = audited(analyze(load("googlenet"), batch=2, mode="train"))
    assert table.parts[0].conditions == "Computed for one image in float32, with FLOPs by convention all:"
    found = [(row["title"], row["mode"]) for row in table.parts[0].rows]
    assert ("depth, inference", "infer") in found
    assert ("params", "train") in found


def test_figures_of_training_are_of_no_mode():
    claims = "  - {figure: saved_bytes, printed: 2KB, source: s}\n  - {figure: depth, printed: '1', source: s}\n"
    graph = parse(f"name: t\ninput: [3, 8, 8]\nlayers: ['conv(4, 3)']\npublished:\n{claims}")
    for network in (graph, load("stochastic-depth-110")):
        (shown,) = audited(analyze(network, mode="train")).parts
        plain = {row["figure"]: row["title"] for row in shown.rows if not row["what"]}
        assert plain["depth"] == "depth, inference"
        assert set(plain.values()) & {"kept for backward (bytes)", "branches kept, expected"}


def test_a_title_says_whether_it_is_of_values_or_of_bytes():
    keys = {"buffers": 9, "buffer_bytes": "40 B", "params": 120, "param_bytes": "480 B"}
    claims = "".join(f"  - {{figure: {key}, printed: '{printed}', source: s}}\n" for key, printed in keys.items())
    graph = parse(f"name: t\ninput: [3, 8, 8]\nlayers: ['conv(4, 3)', batchnorm]\npublished:\n{claims}")
    rows = audited(analyze(graph)).parts[0].rows
    assert [row["title"] for row in rows] == ["buffers", "buffers (bytes)", "params", "params (bytes)"]
    assert [row["value"] for row in rows] == ["9", "40 B", "120", "480 B"]


@pytest.mark.parametrize(
    ("shape", "said"),
    [([12], "12"), ("{T: 6, C: 12}", "6×12, tokens×channels"), ([3, 8, 9], "3×8×9, channels×height×width")],
)
def test_what_an_input_is(shape, said):
    graph = parse(f"name: t\ninput: {shape}\nlayers: [relu]")
    (output,) = (column for column in summarize(analyze(graph)).columns if column.key == "output")
    assert output.unit == {"[": "C×H×W" if len(shape) == 3 else "", "{": "T×C"}[str(shape)[0]]
    table = about_network(graph, [], [], [])
    assert next(row["value"] for row in table.rows if row["key"] == "input") == said


def test_columns_give_way_before_lines_break():
    wide = Table(
        "", [Column("a", "A"), Column("b", "B", rank=1), Column("c", "C", rank=2)], [{"a": 1, "b": 10**9, "c": 10**9}]
    )
    text = render(wide, width=20)
    assert "1,000,000,000" in text
    assert "Not shown at this\nwidth: C." in text


LONG = {
    "audit-lenet5-80": (["lenet5"], "table", 80),
    "audit-googlenet-120": (["googlenet"], "table", 120),
    "audit-squeezenet-markdown": (["squeezenet1.0", "squeezenet1.1"], "markdown", 0),
}


@pytest.mark.parametrize("name", LONG)
def test_golden_audits(name):
    networks, form, width = LONG[name]
    table = audit_table({network: audit(load(network)) for network in networks})
    check_golden(f"tables/{name}.txt", render(table, form, width))


@pytest.mark.parametrize(("name", "width"), [("resnet50", 80), ("torchvision/resnet50", 120), ("blocks/conv5x5", 80)])
def test_golden_shows(name, width):
    text = render(facts_of(name, "", {}, None), "table", width)
    check_golden(f"tables/show-{name.replace('/', '-')}-{width}.txt", text)
    assert all(cell_len(line) <= width for line in text.splitlines())


@pytest.mark.parametrize("width", [80, 100, 120, 200])
def test_audits_fit(width):
    table = audit_table({name: audit(load(name)) for name in ("googlenet", "wrn-40-1")})
    lines = render(table, "table", width).splitlines()
    assert all(cell_len(line) <= width for line in lines)
    words = " ".join(" ".join(lines).split())
    for row in table.rows:
        assert row["value"] in words  # no figure is cut or broken
        assert row["printed"] in words


def test_columns_that_no_row_fills_are_not_shown():
    table = audit_table({"lenet5": audit(load("lenet5"), layers=False)[:2]})
    assert [column.title for column in table.shown()] == [
        "Network",
        "Source",
        "Figure",
        "Printed",
        "Computed",
        "Verdict",
    ]
    assert "Layer" not in render(table, "markdown")


def test_verdicts_have_their_colour():
    table = audit_table({"lenet5": audit(load("lenet5"))})
    assert "\x1b[32mexact\x1b[0m" in render_terminal(table, 100, colour=True)
    assert "\x1b" not in render_terminal(table, 100)


def test_narrow_characters_take_one_place():
    narrow = [sign for sign in map(chr, range(sys.maxunicode + 1)) if NARROW.fullmatch(sign)]
    assert {*"aΣ×·−–…⌊█₂→≤"} <= {*narrow}
    assert {cell_len(sign) for sign in narrow} == {1}


def test_texts_of_wide_signs_are_as_wide_as_they_show():
    columns = [Column("a", "A", text=True), Column("n", "N")]
    rows = [{"a": "網路架構", "n": 1}, {"a": "e\u0301", "n": 2}, {"a": "one\ntwo", "n": 3}]
    lines = render_terminal(Table("", columns, rows, summary=[("網", "x"), ("ab", "y")])).splitlines()
    assert lines == ["A         N", "網路架構  1", "e\u0301         2", "one       3", "two", "", "網  x", "ab  y"]


def test_a_summary_wraps_and_cuts_no_figure():
    table = Table("", [Column("a", "A")], [], summary=[("params", "138,357,544 = weights and biases")])
    assert render_terminal(table, 24).splitlines() == [
        "",
        "params  138,357,544 =",
        "        weights and",
        "        biases",
    ]
    assert "138,357,544" in render_terminal(table, 12)


def test_styles_are_of_the_terminal_only():
    columns = [Column("network", "Network", text=True, heading=True), Column("n", "N", "units")]
    table = Table("title", columns, [{"network": "a", "n": 1}], totals={"n": 1}, notes=["note"], summary=[("k", "v")])
    coloured = render_terminal(table, 80, colour=True)
    bold, dim, off = "\x1b[1m", "\x1b[2m", "\x1b[0m"
    assert coloured.splitlines() == [
        f"{bold}title{off}", f"{bold}    N{off}", f"{bold}units{off}", f"{bold}a{off}", "    1", f"{bold}    1{off}",
        f"{dim}note{off}", "", f"{bold}k{off}  v",
    ]  # fmt: skip


def test_long_words_are_broken_where_nothing_else_helps():
    columns = [Column("a", "A", text=True), Column("n", "N")]
    lines = render_terminal(Table("", columns, [{"a": "x" * 40, "n": 10**9}]), 30).splitlines()
    assert lines == ["A" + " " * 28 + "N", "x" * 16 + " 1,000,000,000", "x" * 16, "x" * 8]


def test_texts_wrap_at_words_and_give_way_evenly():
    table = audit_table({"googlenet": audit(load("googlenet"))})
    for width in (62, 66, 70):
        assert "contradicted" in render(table, "table", width)
    columns = [Column("a", "A", text=True), Column("b", "B", text=True), Column("n", "N")]
    rows = [{"a": "x", "b": "some words of a text that is long", "n": 10**6}]
    lines = render_terminal(Table("", columns, rows), 30).splitlines()
    assert all(len(line) <= 30 for line in lines)
    assert lines[1].startswith("x some words")


def test_numbers_wrap_at_spaces_after_texts_and_lose_no_digit():
    columns = [Column("a", "A", text=True), Column("n", "N")]
    table = Table("", columns, [{"a": "some long text", "n": "123,456,789 B = 0.123,456,789 GB"}])
    assert render_terminal(table, 44).splitlines()[1:] == ["some long   123,456,789 B = 0.123,456,789 GB", "text"]
    assert render_terminal(table, 30).splitlines()[1:] == [
        "some long      123,456,789 B =",
        "text          0.123,456,789 GB",
    ]
    assert "0.123,456,789" in render_terminal(table, 5)


@pytest.mark.parametrize(
    "note", ["# no heading", "- no list", "1. no list", "12) no list", "1 of 2", "> no quote", "+ no list", "=== none"]
)
def test_notes_begin_no_markdown_block(note):
    text = render(Table("", [Column("a", "A")], [{"a": 1}], notes=[note]), "markdown")
    shown = MarkdownIt("commonmark").render(text.splitlines()[-1])
    assert shown == f"<p>{note.replace('>', '&gt;')}</p>\n"


@pytest.mark.parametrize(
    ("printed", "value", "shown"),
    [
        ("1,234,176", "macs * 1607", "1,234,176"),
        ("28.123%", "macs / 2731.0", "28.12157%"),
        ("0.1235", "1 / macs", "0.001302"),
    ],
)
def test_ratios_are_shown_as_far_as_they_are_printed(printed, value, shown):
    head = "name: t\ninput: [3, 8, 8]\nlayers:\n  - conv(4, 1)\npublished:\n"
    graph = parse(f"{head}  - {{what: x, value: {value}, printed: '{printed}', source: s}}\n")
    assert audit_table({"t": audit(graph)}).rows[0]["value"] == shown


def test_a_report_with_other_conditions_has_their_figures():
    graph = load("googlenet")
    report = analyze(graph)
    assert report.layers[1].saved_bytes
    other = replace(report, batch=2, mode="train")
    assert other == analyze(graph, batch=2, mode="train") != report
    assert other.layers == analyze(graph, batch=2, mode="train").layers
