"""Bars in the terminal: as long as the figures beside them, never broken, and golden pictures of them."""

import re

import pytest
from click.testing import CliRunner
from rich.cells import cell_len
from support.audited import audited
from support.golden_files import check_golden

from archcalc import analyze, load, parse
from archcalc.cli import cli
from archcalc.render.formats import render
from archcalc.render.tables.bars import BARRED, WIDTH, bar, share_text, with_bars
from archcalc.render.tables.summaries import summarize

EIGHTHS = "▏▎▍▌▋▊▉█"


def length(text):
    """A bar's length in columns, by its signs."""
    return sum((EIGHTHS.index(sign) + 1) / 8 for sign in text if sign in EIGHTHS)


@pytest.mark.parametrize("width", [80, 120, 200])
def test_golden_bars(width):
    table = with_bars(audited(analyze(load("vgg16"))))
    check_golden(f"tables/bars-vgg16-{width}.txt", render(table, "table", width))


@pytest.mark.parametrize("part", [0, 0.001, 1 / 64, 0.3, 0.5, 0.999, 1])
def test_a_bar_is_as_long_as_its_part(part):
    text = bar(part)
    assert length(text) == pytest.approx(part * WIDTH, abs=1 / 8)
    assert cell_len(text) <= WIDTH
    assert bool(text) == bool(part)


def test_shares():
    assert share_text(50, 100, 400) == "████      12.5%"
    assert share_text(100, 100, 100) == "████████ 100.0%"
    assert share_text(1, 10**9, 10**10) == "▏         <0.1%"
    assert share_text(0, 100, 400) == ""


@pytest.mark.parametrize("name", ["vgg16", "resnet50", "googlenet", "resnet1202", "blocks/conv3x3"])
def test_bars_and_percentages_are_those_of_the_figures(name):
    report = analyze(load(name))
    table = with_bars(summarize(report))
    for figure in BARRED:
        largest = max(row[figure] for row in table.rows)
        for row in table.rows:
            text = row[f"{figure}_bar"]
            assert length(text) == pytest.approx(row[figure] / largest * WIDTH, abs=1 / 8)
            if text and "<" not in text:
                share = float(text.split()[-1].rstrip("%"))
                assert share == pytest.approx(100 * row[figure] / getattr(report.totals, figure), abs=0.05)


@pytest.mark.parametrize("width", [80, 100, 120, 160, 200])
@pytest.mark.parametrize("name", ["vgg16", "resnet50", "densenet264", "inception-v3", "lenet5"])
def test_bars_fit_and_nothing_is_broken(name, width):
    table = with_bars(audited(analyze(load(name))))
    lines = render(table, "table", width).splitlines()
    assert all(cell_len(line) <= width for line in lines)
    wanted = {row[f"{figure}_bar"] for row in table.rows for figure in ("params", "macs")}
    for text in wanted:
        assert any(text.rstrip() in line for line in lines), text
    starts = [line.split()[0] for line in lines if line]
    first, end = starts.index("input", 2), starts.index("total")
    assert starts[first:end] == [row["name"] for row in table.rows]  # a line a row: none is wrapped


def test_a_network_without_weights_has_no_bars_of_them():
    table = with_bars(summarize(analyze(parse("name: t\ninput: [3, 8, 8]\nlayers: [relu, maxpool(2)]\n"))))
    assert {row["params_bar"] for row in table.rows} == {""}
    assert "total" in render(table, "table", 80)


def test_bars_are_for_the_terminal():
    run = CliRunner()
    table = run.invoke(cli, ["summarize", "vgg16", "--bars"], catch_exceptions=False).output
    assert re.search(r"fc6 .*████████  74\.3%", table)
    assert "█" not in run.invoke(cli, ["summarize", "vgg16"], catch_exceptions=False).output
    for form in ("markdown", "csv", "json"):
        refused = run.invoke(cli, ["summarize", "vgg16", "--bars", "--format", form])
        assert refused.exit_code == 2
        assert f"omit it with --format {form}" in refused.output
    data = render(with_bars(summarize(analyze(load("vgg16")))), "json")
    assert data == render(summarize(analyze(load("vgg16"))), "json")
