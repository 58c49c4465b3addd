"""Sweeps: each figure is the one of a run at its combination alone, and nothing wraps or hides."""

import csv
import io
import random

import pytest
from click.testing import CliRunner
from support.sweep_points import alone, differences

from archcalc import ArchcalcError
from archcalc.cli import cli
from archcalc.ops.symbols import Example
from archcalc.render.pictures.variants import front
from archcalc.searching import read_bounds, search
from archcalc.sweep_grid import BLOCK, Grid, blocks, check_fits, structure_of
from archcalc.sweeping import sweep
from archcalc.symbolic import COUNTS, Setting

NETWORKS = (
    "alexnet", "bert-base", "bn-inception", "char-rnn", "convnext-tiny", "densenet-40-12", "fcn-32s", "googlenet",
    "lenet5", "mobilenet-v2", "nin", "resnet50", "squeezenet1.0", "swin-t", "unet", "vit-b-16", "wavenet-30",
)  # fmt: skip


def run(*arguments):
    return CliRunner().invoke(cli, ["sweep", *arguments])


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
def test_each_swept_figure_is_that_of_a_run_alone(name):
    wrong, tried = differences(name, 3, random.Random(name))
    assert tried
    assert wrong == []


@pytest.mark.parametrize(("name", "over"), [
    ("vgg16", {"size": range(28, 40), "classes": [1, 10], "batch": [1, 3]}),
    ("unet", {"size": [188, 204, 220]}),
    ("lenet5", {"size": range(1, 40)}),
    ("resnet20", {"size": [31, 32], "batch": [1, 2]}),
])  # fmt: skip
def test_peaks_and_steps_are_those_of_a_run_alone(name, over):
    keys = ["macs", "saved_bytes", "peak_inference_bytes", "peak_training_bytes", "step_flops", "depth"]
    for row in sweep(name, over, keys, mode="train").rows():
        figures, problem = alone(name, {symbol: row[symbol] for symbol in over}, keys, mode="train")
        assert {key: row[key] for key in keys} == figures, row
        assert bool(row["problem"]) == bool(problem)


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
    over = {"size": range(32, 32 + BLOCK // 600 + 8), "classes": range(10, 610)}
    one, two = (sweep("vgg16", over, jobs=jobs) for jobs in (1, 2))
    assert one.points > BLOCK
    for key in COUNTS:
        assert (one.figures[key] == two.figures[key]).all()
    row = [*one.rows()][-1]
    figures, _ = alone("vgg16", {symbol: row[symbol] for symbol in over}, COUNTS)
    assert {key: row[key] for key in COUNTS} == figures


def test_threads_number_problems_as_one_does():
    setting = Setting("vgg16", {})
    found = []
    for order in (list, reversed):
        grid = Grid({"size": list(range(1, 60))}, ("macs",))
        structure = structure_of(grid, setting, setting.graph(), {}, {"size": (1, 59)})
        for block in order([*blocks(grid, {}, 10)]):
            structure.fill(block)
        found.append((grid.numbered(), grid.problem_at.tolist()))
    assert len(found[0][0]) > 1
    assert found[0] == found[1]


def test_combinations_that_do_not_fit_are_marked():
    found = sweep("vgg16", {"size": [31, 32]})
    assert found.problems == ["maxpool: kernel 2 is larger than the padded input 1 (size=31)"]
    assert found.figures["macs"].mask.tolist() == [True, False]


@pytest.fixture
def pools(tmp_path):
    """A network without weights: nothing of it can be trained."""
    path = tmp_path / "pools.yaml"
    path.write_text("name: pools\ninput: [channels, 8, 8]\nparams: {channels: 3, k: 2}\nlayers: [maxpool(k)]\n")
    return str(path)


def test_a_figure_without_a_value_is_unknown_not_zero(pools):
    found = sweep(pools, {"batch": [1, 2]}, ["peak_training_bytes", "params"], mode="train")
    assert [row["peak_training_bytes"] for row in found.rows()] == [None, None]


def test_a_structure_that_does_not_fit_is_marked_not_computed_with_another_input(pools):
    found = sweep(pools, {"channels": ["3", "6"], "k": ["2", "2 + 0", "9"], "height": [8, 16]}, ["activations"])
    for row in found.rows():
        wanted = int(row["channels"]) * (row["height"] * 8 + row["height"] // 2 * 4)
        assert (row["activations"], bool(row["problem"])) == ((None, True) if row["k"] == "9" else (wanted, False))


def test_expectations_and_what_quotients_hold_beyond_64_bits_are_refused(pools):
    with pytest.raises(ArchcalcError, match="unknown figure 'expected_macs'"):
        sweep("stochastic-depth-110", {"batch": [1]}, ["expected_macs"], mode="train")
    example = Example({"n": 1})
    inner = (example.symbol("n") * 3 + 1) // 2**40
    with pytest.raises(ArchcalcError, match="may exceed"):
        check_fits({"figure": inner}, [], {"n": (1, 2**62)}, "network")


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
    ("size=0:9999999999", "more than 1,000,000 values"),
])  # fmt: skip
def test_wrong_values_say_what_to_write(text, message):
    result = run("vgg16", "--over", text)
    assert result.exit_code == 2
    assert message in result.output


def test_without_numpy_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "numpy", None)
    with pytest.raises(ArchcalcError, match=r"pip install 'archcalc\[sweep\]'"):
        sweep("vgg16", {"size": [224]})


def test_a_search_finds_what_the_whole_grid_has():
    over = {"size": range(32, 232, 4), "classes": range(10, 1010, 50), "batch": [1, 2]}
    found = search("vgg16", over, read_bounds("macs < 9G, params <= 100M, activations > 1M", "infer"), "size", best=3)
    rows = [row for row in sweep("vgg16", over, ["macs", "params", "activations"]).rows()
            if row["macs"] < 9e9 and row["params"] <= 1e8 and row["activations"] > 1e6]  # fmt: skip
    rows.sort(key=lambda row: (-row["size"], row["macs"]))
    assert found.fitting == len(rows)
    assert [{key: row[key] for key in ("size", "classes", "batch", "macs")} for row in rows[:3]] == [
        {key: row[key] for key in ("size", "classes", "batch", "macs")} for row in found.rows
    ]


def test_a_bound_may_have_a_batch_of_its_own():
    found = search("resnet50", {"size": range(64, 257, 32)}, read_bounds("peak(batch=32) < 400MB", "infer"), "size")
    (best,) = found.rows
    assert best["size"] == 192
    figures, _ = alone("resnet50", {"size": 192, "batch": 32}, ["peak_inference_bytes"])
    assert best["peak_inference_bytes(batch=32)"] == figures["peak_inference_bytes"] < 400e6


def test_nothing_unknown_keeps_a_bound(pools):
    found = search(pools, {"batch": [1, 2]}, read_bounds("peak < 100TB", "train"), "batch", mode="train")
    assert (found.fitting, found.rows) == (0, [])


def test_a_goal_needs_an_order():
    over = {"depths": ["[2, 2, 2, 2]", "[3, 4, 6, 3]"]}
    with pytest.raises(ArchcalcError, match="depths has values that are no numbers"):
        search("resnet50", over, read_bounds("macs < 9G", "infer"), "depths")
    assert (
        search("resnet50", over, read_bounds("macs < 9G", "infer"), "macs", least=True).rows[0]["depths"]
        == over["depths"][0]
    )


@pytest.mark.parametrize(("text", "message"), [
    ("macs << 2G", "is no bound; write FIGURE < NUMBER"),
    ("maccs < 2G", "no figure 'maccs'; did you mean macs"),
    ("macs < 2GB", "unknown unit 'GB'"),
    ("macs < 2X", "unknown unit 'X'"),
    ("", "is no bound"),
])  # fmt: skip
def test_a_wrong_bound_says_what_to_write(text, message):
    with pytest.raises(ArchcalcError, match=message):
        read_bounds(text, "infer")


def test_bounds_read_units_of_1000_and_1024():
    bounds = read_bounds("macs < 1,500M, params < 5.3k and peak < 1GiB", "train")
    assert read_bounds("macs < 9007199254740993", "infer")[0].limit == 9007199254740993
    assert [(bound.key, bound.limit) for bound in bounds] == [
        ("macs", 1_500_000_000), ("params", 5300), ("peak_training_bytes", 2**30),
    ]  # fmt: skip


def test_what_the_input_replaces_is_no_name_to_sweep():
    result = run("vgg16", "--over", "size=224", "--input", "3x128x128")
    assert "size is a size of the input of vgg16, as is --input" in str(result.exception) + result.output
    with pytest.raises(ArchcalcError, match="unknown figure 'receptive_field'"):
        sweep("vgg16", {"size": [224]}, ["receptive_field"])


def test_a_chosen_column_does_not_hide_why_something_does_not_fit():
    assert "maxpool: kernel 2 is larger" in run("vgg16", "--over", "size=31,32", "--columns", "macs").output
    assert "problem" not in run("vgg16", "--over", "size=32", "--columns", "macs").output


def test_the_front_has_what_no_other_point_beats():
    assert front([1, 2, 3, 3, 4], [5, 4, 6, 7, 7]) == [0, 3]
    draw = random.Random(0)
    xs, ys = ([draw.randint(0, 20) for _ in range(100)] for _ in range(2))
    best = {(xs[i], ys[i]) for i in front(xs, ys)}
    beaten = {(x, y) for x, y in zip(xs, ys, strict=True) if any(
        (a <= x and b > y) or (a < x and b >= y) for a, b in zip(xs, ys, strict=True))}  # fmt: skip
    assert best == {*zip(xs, ys, strict=True)} - beaten


def test_a_sweep_is_drawn_without_what_does_not_fit(tmp_path):
    at = ["plot", "sweep", "vgg16", "--over", "size=31:96:16", "--columns", "macs,size", "-o", str(tmp_path / "a.svg")]
    result = CliRunner().invoke(cli, at)
    assert result.exit_code == 0, result.output
    text = (tmp_path / "a.svg").read_text()
    assert "<svg" in text
    for wrong, said in (("--columns=macs", "needs two names"), ("--columns=macs,top1", "unknown figure 'top1'")):
        result = CliRunner().invoke(cli, [*at[:5], wrong, *at[-2:], "--force"])
        assert said in str(result.exception) + result.output
    result = CliRunner().invoke(cli, [*at[:3], "--over", "size=1:9", *at[-2:], "--force"])
    assert "nothing to draw: maxpool: kernel 2 is larger" in str(result.exception)
