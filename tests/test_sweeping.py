"""Sweeps: each figure is the one of a run at its combination alone, and nothing wraps or hides."""

import csv
import io
import random

import pytest
from click.testing import CliRunner

from archcalc import ArchcalcError, load, networks
from archcalc.cli import cli
from archcalc.ops.shape import AXES
from archcalc.sweeping import BLOCK, said, sweep
from archcalc.symbolic import COUNTS, Setting, figures_at, number_of

FAMILIES = {load(name).about.family: name for name in reversed([*networks()])}


def run(*arguments):
    return CliRunner().invoke(cli, ["sweep", *arguments])


def alone(name, values, keys, **conditions):
    """The figures of one combination, and why it does not fit."""
    setting = Setting(name, {}, **conditions)
    try:
        return figures_at(setting, setting.graph(), values, keys)[1], ""
    except ArchcalcError as error:
        return dict.fromkeys(keys), said(error)


def drawn_values(graph, draw):
    """Some whole-number params or lengths of a network, and values around their own."""
    params = [name for name, value in graph.about.params.items() if type(value) is int]
    lengths = [f"in_{AXES[axis]}" for axis in graph.input.axes if axis != "C"]
    chosen = draw.choice([params or lengths, lengths or params])[:3]
    over = {}
    for symbol in dict.fromkeys([*chosen, "batch"]):
        own, step = number_of(graph, symbol, 1), draw.choice([1, 2, 8, 32])
        least = 0 if symbol in params else 1
        over[symbol] = sorted({own, *[max(least, own + step * draw.randint(-6, 6)) for _ in range(2)]})
    return over


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(FAMILIES.values()))
def test_each_swept_figure_is_that_of_a_run_alone(name):
    draw = random.Random(name)
    over = drawn_values(load(name), draw)
    rows = [*sweep(name, over, COUNTS).rows()]
    for row in draw.sample(rows, min(4, len(rows))):
        figures, problem = alone(name, {symbol: row[symbol] for symbol in over}, COUNTS)
        assert {key: row[key] for key in COUNTS} == figures, row
        assert bool(row["problem"]) == bool(problem), row


@pytest.mark.parametrize(("name", "over"), [
    ("vgg16", {"size": range(28, 40), "classes": [1, 10], "batch": [1, 3]}),
    ("inception-v3", {"height": [74, 75, 80, 299], "width": [75, 111, 299]}),
    ("lenet5", {"size": range(1, 40)}),
    ("fractalnet-cifar", {"size": [31, 32, 33], "batch": [1, 2]}),
])  # fmt: skip
def test_peaks_and_steps_are_those_of_a_run_alone(name, over):
    if name not in networks():
        pytest.skip(f"no network {name}")
    keys = ["macs", "saved_bytes", "peak_inference_bytes", "peak_training_bytes", "step_flops", "depth"]
    for row in sweep(name, over, keys, mode="train").rows():
        figures, problem = alone(name, {symbol: row[symbol] for symbol in over}, keys, mode="train")
        assert {key: row[key] for key in keys} == figures, row
        assert row["problem"] == problem


def test_params_of_structure_split_the_sweep():
    found = sweep("resnet50", {"depths": [(2, 2, 2, 2), (3, 4, 6, 3)], "size": [64, 224]}, ["params", "macs"])
    small, large = found.figures["params"].tolist()
    assert large == [25_557_032] * 2
    assert small[0] == small[1] < large[0]
    assert found.figures["macs"][1, 1] == 3_857_973_248


def test_a_count_of_layers_is_no_symbol():
    found = sweep("bert-base", {"depth": [2, 12], "length": [128, 512]}, ["params"])
    assert found.problems == []
    assert found.figures["params"].tolist()[1] == [109_482_240] * 2


def test_blocks_and_threads_change_nothing():
    over = {"size": range(32, 32 + BLOCK // 300), "classes": range(10, 610)}
    one, two = (sweep("vgg16", over, jobs=jobs) for jobs in (1, 2))
    assert one.points > BLOCK
    for key in COUNTS:
        assert (one.figures[key] == two.figures[key]).all()
    row = [*one.rows()][-1]
    figures, _ = alone("vgg16", {symbol: row[symbol] for symbol in over}, COUNTS)
    assert {key: row[key] for key in COUNTS} == figures


def test_combinations_that_do_not_fit_are_marked():
    found = sweep("vgg16", {"size": [31, 32]})
    assert found.problems == ["maxpool: kernel 2 is larger than the padded input 1"]
    assert found.figures["macs"].mask.tolist() == [True, False]


def test_a_figure_without_a_value_is_unknown_not_zero():
    found = sweep("lenet5", {"batch": [1, 2]}, ["expected_depth", "params"])
    assert [row["expected_depth"] for row in found.rows()] == [None, None]


@pytest.mark.parametrize(("over", "message"), [
    ({"siz": [1]}, "no param or axis 'siz'; did you mean size"),
    ({"size": []}, "size has no values"),
    ({"batch": [0]}, "batch=0 is no whole number from 1 on"),
    ({"height": ["x"]}, "height=x is no whole number"),
    ({"size": range(10**6), "classes": range(10**6)}, "1,000,000,000,000 combinations; a sweep has at most"),
    ({"size": [10**6], "batch": [10**9]}, "may exceed 2⁶³ − 1"),
    ({"size": [224], "height": [224]}, "size is a size of the input of vgg16, as is height"),
])  # fmt: skip
def test_a_wrong_sweep_says_what_to_write(over, message):
    with pytest.raises(ArchcalcError, match=message.replace("(", r"\(")):
        sweep("vgg16", over)


def test_a_figure_that_is_no_number_is_refused():
    with pytest.raises(ArchcalcError, match="unknown figure 'output'"):
        sweep("vgg16", {"size": [224]}, ["output"])


def test_the_command_writes_every_combination():
    result = run("vgg16", "--over", "size=160:224:32", "--over", "batch=1,2", "--columns", "macs", "--format", "csv")
    rows = [*csv.DictReader(io.StringIO(result.stdout))]
    assert [(row["size"], row["batch"]) for row in rows] == [(s, b) for s in ("160", "192", "224") for b in "12"]
    assert rows[-2]["macs"] == "15470264320"


@pytest.mark.parametrize(("text", "message"), [
    ("size", "names no values; write size=160:320:32"),
    ("size=", "names no values"),
    ("size=1,,2", "there is an empty value"),
    ("size=320:160", "has no numbers; write FIRST:LAST:STEP"),
    ("size=1:2:0", "has no numbers"),
    ("size=0:9999999999", "at most 1,000,000"),
])  # fmt: skip
def test_wrong_values_say_what_to_write(text, message):
    result = run("vgg16", "--over", text)
    assert result.exit_code == 2
    assert message in result.output


def test_without_numpy_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "numpy", None)
    with pytest.raises(ArchcalcError, match=r"pip install 'archcalc\[sweep\]'"):
        sweep("vgg16", {"size": [224]})
