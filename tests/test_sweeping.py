"""Sweeps: each figure is the one of a run at its combination alone, and nothing wraps or hides."""

import csv
import io
import json
import random
import signal
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from support.sweep_points import alone, differences

from archcalc import ArchcalcError, analyze, load
from archcalc.analysis.recipe import USUAL
from archcalc.cli import cli
from archcalc.ops.symbols import Example
from archcalc.render.pictures.variants import front
from archcalc.searching import read_bounds, search
from archcalc.sweep_grid import BLOCK, Grid, Structure, blocks, check_fits, structure_of
from archcalc.sweeping import SWEPT, sweep
from archcalc.symbolic import COUNTS, Setting, figures_at

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


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
def test_so_it_is_under_other_conditions(name):
    wrong, tried = differences(name, 3, random.Random(f"{name} trained"), usual=False)
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
    over = {"channels": ["3", "6"], "k": ["2", "2 + 0", "9"], "height": [8, 16], "width": [8, 20]}
    for row in sweep(pools, over, ["activations"]).rows():
        k, fits = (9, row["height"] > 8 and row["width"] > 8) if row["k"] == "9" else (2, True)
        values = row["height"] * row["width"] + (row["height"] // k) * (row["width"] // k)
        wanted = (int(row["channels"]) * values, False) if fits else (None, True)
        assert (row["activations"], bool(row["problem"])) == wanted


def test_side_outputs_and_frozen_parts_that_do_not_fit_are_marked(tmp_path):
    found = sweep("googlenet", {"size": [64, 224]}, ["params"], mode="train")
    assert found.figures["params"].tolist() == [None, 13_378_280]
    assert "avgpool: kernel 5 is larger" in found.problems[0]
    frozen = USUAL._replace(frozen=("stage4.2",))
    found = sweep("resnet50", {"depths": [(3, 4, 6, 3), (3, 4, 6, 2)]}, ["params"], mode="train", recipe=frozen)
    assert [bool(row["problem"]) for row in found.rows()] == [False, True]


SIDE = """
name: side
input: [4, 16, 16]
params: {n: 2}
layers:
  - conv(4, 3)
  - side: ["chunk(n, 0) | conv(2, 3)"]
  - conv(2, 3)
"""
TWO_TARGETS = """
name: targets
input: [3, 8, 8]
params: {n: 4}
layers:
  - side: ["conv(2, 1) | adaptive_avgpool(2)"]
  - conv(2, n + 1)
"""


@pytest.mark.parametrize(("text", "over"), [
    (SIDE, {"n": [1, 2, 3, 4]}), (SIDE, {"n": [3, 4, 2]}), (TWO_TARGETS, {"n": [4, 5, 6, 7]}),
])  # fmt: skip
def test_side_outputs_count_as_in_a_run_alone(tmp_path, text, over):
    path = tmp_path / "side.yaml"
    path.write_text(text)
    for row in sweep(path, over, ["saved_bytes", "peak_training_bytes"]).rows():
        figures, _ = alone(str(path), {"n": row["n"]}, ["saved_bytes", "peak_training_bytes"])
        assert (row["saved_bytes"], row["peak_training_bytes"]) == tuple(figures.values()), row


def test_a_param_and_an_axis_that_it_does_not_decide():
    over = {"colours": [1, 3], "in_height": [32, 64]}
    for row in sweep("dcgan-discriminator", over, ["macs"]).rows():
        graph = load("dcgan-discriminator", input=(row["colours"], row["in_height"], 64), colours=row["colours"])
        assert row["macs"] == analyze(graph).totals.macs


def test_the_spec_is_read_once(pools):
    path = Path(pools)
    setting = Setting(pools, {})
    graph = setting.graph()
    path.unlink()
    assert figures_at(setting, graph, {"k": 4, "height": 12}, ["activations"])[1] == {"activations": 3 * (96 + 3 * 2)}


@pytest.fixture
def branches(tmp_path):
    """A network whose params decide, by their sign among others, which layers there are."""
    path = tmp_path / "branches.yaml"
    path.write_text("""
name: branches
input: [8, 32, 32]
params: {p: 2, q: 3, r: 1}
layers:
  - conv(16, 3, padding=p)
  - conv(4 + p * q, 1) if p * q > 0 else relu
  - maxpool(2, stride=2, padding=1) if (p + 1) // 2 > 0 else avgpool(2)
  - conv(8, 1) if p % 2 == 0 else conv(q * q + 9, 1)
  - min(q, 3) * conv(5, 1) if r > 0 else relu
""")
    return str(path)


@pytest.mark.parametrize("over", [
    {"p": [3, 1, 0, -1], "q": [3, 1, 0, -3], "r": [1, 0, -1]}, {"r": [2, 0, -1], "p": [1, 0, -2]}, {"q": [3, 1, -1]},
])  # fmt: skip
def test_params_of_zero_and_below_are_those_of_a_run_alone(branches, over):
    keys = ["params", "macs", "layers", "peak_training_bytes"]
    for row in sweep(branches, over, keys, mode="train").rows():
        figures, problem = alone(branches, {symbol: row[symbol] for symbol in over}, keys, mode="train")
        assert {key: row[key] for key in keys} == figures, row
        assert bool(row["problem"]) == bool(problem)


def test_a_place_where_no_symbol_can_stand_is_no_reason_for_other_numbers(tmp_path):
    path = tmp_path / "drop.yaml"
    path.write_text("""
name: drop
input: [8, 32, 32]
params: {n: 2, p: 1}
layers:
  - (n - 2) * conv(8, 1) if n != 2 else relu
  - dropout(p - 1) if p != 3 else relu
  - conv(4, 1)
""")
    for over in ({"n": [2, 1, 4, 3]}, {"p": [3, 5, 1, 2]}, {"n": [2, 3], "p": [3, 7, 1]}):
        for row in sweep(str(path), over, ["params"]).rows():
            figures, problem = alone(str(path), {symbol: row[symbol] for symbol in over}, ["params"])
            assert (row["params"], bool(row["problem"])) == (figures["params"], bool(problem)), row


def test_expectations_and_what_quotients_hold_beyond_64_bits_are_refused(pools):
    with pytest.raises(ArchcalcError, match="a sweep has no expected_macs"):
        sweep("stochastic-depth-110", {"batch": [1]}, ["expected_macs"], mode="train")
    example = Example({"n": 1})
    inner = (example.symbol("n") * 3 + 1) // 2**40
    with pytest.raises(ArchcalcError, match="may exceed"):
        check_fits({"figure": inner}, [], {"n": (1, 2**62)}, "network")


def test_numpy_numbers_are_values():
    found = sweep("vgg16", {"size": np.arange(31, 34), "batch": np.array([1, 3])}, "macs")
    assert (
        found.figures["macs"].tolist()
        == sweep("vgg16", {"size": [31, 32, 33], "batch": [1, 3]}).figures["macs"].tolist()
    )


def test_a_factor_beyond_64_bits_is_refused_although_its_term_is_0(tmp_path):
    path = tmp_path / "large.yaml"
    path.write_text(
        "name: large\ninput: [4, 8, 8]\nparams: {n: 3, many: 1}\nlayers:\n  - conv(n // 100 * many + 1, 1)\n"
    )
    assert sweep(path, {"n": [3, 150]}, ["params"]).figures["params"].tolist() == [5, 10]
    with pytest.raises(ArchcalcError, match="may exceed 2⁶³ − 1"):
        sweep(path, {"n": [3, 50]}, ["params"], params={"many": 2**62})
    with pytest.raises(ArchcalcError, match="a sweep needs a name or a path, not int"):
        sweep(3, {"n": [3, 50]})


def test_a_condition_beyond_64_bits_decides_no_other_combination(tmp_path):
    path = tmp_path / "square.yaml"
    path.write_text(
        "name: square\ninput: [4, 8, 8]\nparams: {n: 3}\nlayers:\n  - maxpool(20) if n * n > 500 else relu\n"
    )
    with pytest.raises(ArchcalcError, match=r"-?n² .*may exceed 2⁶³ − 1"):
        sweep(path, {"n": [5 * 10**9, 10]}, ["depth"])
    problems = sweep(path, {"n": [600, 5 * 10**9, 5 * 10**9 + 1]}, ["depth"]).problems
    assert problems == ["maxpool: kernel 20 is larger than the padded input 8", "n * n: a number beyond 2^63"]


def test_rows_have_an_order():
    found = sweep("vgg16", {"size": [33, 31, 40], "classes": [10, "7 * 1"]}, ["macs"])
    rows = found.rows()
    assert repr(found) == "<Sweep of vgg16: 6 combinations of size, classes; macs>"
    assert (len(rows), rows[5], rows[-2:]) == (6, [*rows][5], [*rows][4:])
    for key, least in (("macs", False), ("macs", True), ("size", False), ("size", True)):
        ordered = found.rows(found.order(key, least))
        known = [row[key] for row in ordered if row[key] is not None]
        assert known == sorted(known, reverse=not least)
        assert sorted(row["size"] for row in ordered) == [31, 31, 33, 33, 40, 40]
        assert key == "size" or [row[key] for row in ordered[4:]] == [None, None]
    assert [row["size"] for row in found.rows(found.order("size"))] == [40, 40, 33, 33, 31, 31]
    with pytest.raises(ArchcalcError, match="classes has no order"):
        found.order("classes")
    assert [row["problem"] > "" for row in found.rows(found.order("problem"))] == [False] * 4 + [True] * 2
    assert [row["problem"] > "" for row in found.rows(found.order("problem", least=True))] == [True] * 2 + [False] * 4
    named = sweep("resnet50", {"depths": ["[2, 2]", "[1, 2]"]}, ["params"])
    assert [row["depths"] for row in named.rows(named.order("depths"))] == ["[1, 2]", "[2, 2]"]


@pytest.mark.parametrize(("over", "message"), [
    ({"siz": [1]}, "no param or axis 'siz'; did you mean size"),
    ({"size": []}, "size has no values"),
    ({"batch": [0]}, "batch=0 is no whole number from 1 to 1,000,000,000"),
    ({"height": ["x"]}, "height=x is no whole number"),
    ({"height": [2**63]}, "height=9223372036854775808 is no whole number from 1 to"),
    ({"height": 224}, "height needs a list of values, not 224"),
    ({"height": "224"}, "height needs a list of values, not '224'"),
    ({}, "a sweep needs a name and its values"),
    ({"size": range(10**4), "classes": range(10**4), "dropout": [0.5] * 2}, "200,000,000 combinations"),
    ({"classes": [0.5] * (10**5 + 1)}, "a run of the plan for each classes, more than 100,000 runs"),
    ({"size": range(10**6), "classes": range(10**6)}, "1,000,000,000,000 combinations; a sweep has at most"),
    ({"size": range(10**12)}, "1,000,000,000,000 combinations; a sweep has at most"),
    ({"size": [10**6], "batch": [10**9]}, "may exceed 2⁶³ − 1"),
    ({"size": [224], "height": [224]}, "size is a size of the input of vgg16, as is height"),
    ({"size": ["224", "225"], "height": [224]}, "size is a size of the input of vgg16, as is height"),
    ({"height": [224], "in_height": [224]}, "height and in_height are the same axis"),
    ({"batch": [1, 2 * 10**9]}, "batch=2000000000 is no whole number from 1 to 1,000,000,000"),
])  # fmt: skip
def test_a_wrong_sweep_says_what_to_write(over, message):
    with pytest.raises(ArchcalcError, match=message.replace("(", r"\(")):
        sweep("vgg16", over)


def test_a_figure_that_is_no_number_is_refused():
    with pytest.raises(ArchcalcError, match="a sweep has no output; `archcalc summarize`"):
        sweep("vgg16", {"size": [224]}, ["output"])


def test_more_wrong_requests():
    for wrong, message in (
        ({"over": {"size": [224]}, "params": {"size": 64}}, "size is swept, and set to one value"),
        ({"over": {"batch": [1]}, "batch": 2}, "batch is swept, and set to one value"),
        ({"over": {"batch": [1]}, "jobs": 0}, "jobs must be a whole number from 1 on, not 0"),
        ({"over": {"batch": [1]}, "dtype": "int8"}, "unknown dtype 'int8'"),
        ({"over": {"batch": [1]}, "convention": "most"}, "unknown convention 'most'"),
        ({"over": {"batch": [1]}, "mode": "train", "recipe": USUAL._replace(frozen=("x",))}, "vgg16 has no part 'x'"),
        ({"over": {"size": range(10**4), "batch": range(1, 10**4)}, "figures": [*SWEPT]}, "take more than 8 GB"),
        ({"over": [("size", [224])]}, "a sweep needs names with lists of values"),
        ({"over": {3: [4]}}, "a sweep needs names with lists of values"),
        ({"over": {"classes": [2**62]}}, "params may exceed 2⁶³ − 1"),
    ):
        with pytest.raises(ArchcalcError, match=message):
            sweep("vgg16", **wrong)


def test_a_param_may_have_the_name_of_a_figure_but_not_of_the_problem(tmp_path):
    path = tmp_path / "named.yaml"
    path.write_text(
        "name: named\ninput: [3, 8, 8]\nparams: {macs: 2, problem: 1}\nlayers:\n  - conv(macs + problem, 1)\n"
    )
    assert '"macs": 3, "params": 16' in run(str(path), "--over", "macs=3", "--format", "json").output
    result = run(str(path), "--over", "problem=3")
    assert "problem is a param here, and the name of a column" in str(result.exception)


def test_the_largest_come_first_of_all_combinations():
    result = run("vgg16", "--over", "size=32:1300", "--columns", "macs", "--sort", "macs")
    lines = result.output.splitlines()
    assert lines[3].split() == ["1300", *lines[3].split()[1:]]
    assert "269 more rows; write all to a file: -o FILE.csv" in result.output
    lines = run("vgg16", "--over", "classes=1:1200,0", "--columns", "macs", "--sort", "-problem").output.splitlines()
    assert lines[3].split()[:2] == ["0", "–"]
    assert "| 1300 |" in " ".join(run("vgg16", "--over", "size=32:1300", "--format", "markdown").output.split())
    many = run("vgg16", "--over", "classes=1:7000", "--format", "markdown").output
    assert "Rows 1 to 6,000 of 7,000; CSV, TSV and JSON contain all rows." in many
    rows = [
        *csv.DictReader(io.StringIO(run("vgg16", "--over", "size=31:40", "--sort", "-macs", "--format", "csv").output))
    ]
    assert [row["size"] for row in rows] == [*map(str, range(32, 41)), "31"]


def test_numbers_of_values_are_numbers(branches):
    over = ["--over", "p=-1,0,2", "--over", "q=3,2.5", "--columns", "params", "--format", "json"]
    points = json.loads(run(branches, *over).output)["points"]
    assert [(point["p"], point["q"]) for point in points[::3]] == [(-1, 3), (0, 2.5)]


def test_values_send_no_commands_to_the_terminal(branches):
    output = run(branches, "--over", "p=1,\x1b[31m2,1\n + 1", "--columns", "params").output
    assert "\\x1b[31m2" in output
    assert "\x1b" not in output


def test_a_file_has_so_many_rows():
    result = run("vgg16", "--over", "height=32:3000", "--over", "width=32:3000", "-o", "rows.csv")
    assert "8,814,961 combinations are more than the 5,000,000 rows of a file" in result.output


def test_the_table_says_how_it_is_trained():
    trained = ["--mode", "train", "--optimizer", "adamw", "--weight-decay", "--freeze", "stage1"]
    assert "training · FLOPs: all · optimizer: adamw with weight decay, stage1 frozen" in " ".join(
        run("vgg16", "--over", "size=64", *trained).output.split()
    )
    data = json.loads(run("vgg16", "--over", "size=64", *trained, "--format", "json").output)
    assert (data["optimizer"], data["weight_decay"], data["frozen"]) == ("adamw", True, ["stage1"])


def test_ctrl_c_ends_threads(monkeypatch):
    made = []

    def slow(self, at):
        made.append(at)
        if len(made) == 5:
            signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
        time.sleep(0.01)
        return self._plan_of_one(Example(at))

    monkeypatch.setattr(Structure, "_plan_at", slow)
    with pytest.raises(KeyboardInterrupt):
        sweep("lenet5", {"size": range(32, 32 + 10**4)}, ["macs"])
    assert len(made) < 1000


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


def test_a_wrong_search_says_what_to_write():
    assert search("vgg16", {"size": iter([32, 64])}, "macs < 9G", "size").rows[0]["size"] == 64
    for over, best, message in (
        ({"size": [32]}, 0, "best must be a whole number from 1 on, not 0"),
        ([["size", [32]]], 1, "needs names with lists of values"),
    ):
        with pytest.raises(ArchcalcError, match=message):
            search("vgg16", over, "macs < 9G", "size", best=best)


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
    found = search("resnet50", {"size": range(64, 257, 32)}, "peak(batch=32) < 400MB", "size")
    (best,) = found.rows
    assert best["size"] == 192
    figures, _ = alone("resnet50", {"size": 192, "batch": 32}, ["peak_inference_bytes"])
    assert best["peak_inference_bytes(batch=32)"] == figures["peak_inference_bytes"] < 400e6


def test_a_search_without_a_result_says_why():
    at = ["search", "vgg16", "--over", "size=30,40", "--under", "macs < 1k", "--maximize", "size"]
    result = CliRunner().invoke(cli, at)
    assert (result.exit_code, result.stdout) == (1, "")
    assert "none of 2 combinations keeps macs < 1k\ndoes not fit: maxpool: kernel 2 is larger" in result.stderr
    assert json.loads(CliRunner().invoke(cli, [*at, "--format", "json"]).stdout)["points"] == []


def test_nothing_unknown_keeps_a_bound(pools):
    found = search(pools, {"batch": [1, 2]}, "peak < 100TB", "batch", mode="train")
    assert (found.fitting, found.rows) == (0, [])


def test_a_bound_has_a_possible_batch_and_rows_have_other_figures():
    for batch in ("0", "2000000000"):
        with pytest.raises(ArchcalcError, match=f"batch must be a whole number from 1 to 1,000,000,000, not {batch}"):
            search("vgg16", {"size": [64]}, read_bounds(f"peak(batch={batch}) < 8GB", "infer"), "size")
    at = ["search", "vgg16", "--over", "size=64:128", "--under", "macs < 3G", "--maximize", "size"]
    result = CliRunner().invoke(cli, [*at, "--columns", "params", "--format", "json"])
    (best,) = json.loads(result.output)["points"]
    assert best == {"size": 99, "params": analyze(load("vgg16", size=99)).totals.params}
    assert "all are computed, so no other is better" in " ".join(CliRunner().invoke(cli, at).output.split())
    assert "unknown figure 'none'" in str(CliRunner().invoke(cli, [*at, "--columns", "none"]).exception)
    result = CliRunner().invoke(cli, [*at, "--columns", "step_macs"])
    assert "step_macs is a figure of training; add --mode train" in result.output


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
    ("macs < 2GB", "'macs < 2GB': cannot read the number '2GB'; write 138M"),
    ("macs < 2X", "cannot read the number '2X'"),
    ("macs < ~2G", "'~2G' is not one number; write it alone"),
    ("peak < 2G", "cannot read the number '2G'; write 96MB"),
    ("", "is no bound"),
])  # fmt: skip
def test_a_wrong_bound_says_what_to_write(text, message):
    with pytest.raises(ArchcalcError, match=message):
        search("vgg16", {"batch": [1]}, text, "batch")


def test_bounds_read_units_of_1000_and_1024():
    bounds = read_bounds("macs < 1,500M, params < 5.3k and peak < 1TiB", "train")
    assert read_bounds("macs < 9007199254740993", "infer")[0].limit == 9007199254740993
    limits = [read_bounds(f"macs {sign} 9007199254740993.5", "infer")[0].limit for sign in ("<", "<=", ">", ">=")]
    assert limits == [9007199254740994, 9007199254740993, 9007199254740993, 9007199254740994]  # no float has these
    assert [(bound.key, bound.limit) for bound in bounds] == [
        ("macs", 1_500_000_000), ("params", 5300), ("peak_training_bytes", 2**40),
    ]  # fmt: skip


def test_what_the_input_replaces_is_no_name_to_sweep():
    result = run("vgg16", "--over", "size=224", "--input", "3x128x128")
    assert "size is a size of the input of vgg16, as is --input" in str(result.exception) + result.output
    found = sweep("dcgan-discriminator", {"colours": [1, 3]}, ["macs"], input=(32,))
    graph = load("dcgan-discriminator", input=(32,), colours=1)
    assert found.figures["macs"][0] == analyze(graph).totals.macs
    with pytest.raises(ArchcalcError, match="a sweep has no receptive_field"):
        sweep("vgg16", {"size": [224]}, ["receptive_field"])


def test_a_chosen_column_does_not_hide_why_something_does_not_fit():
    assert "maxpool: kernel 2 is larger" in run("vgg16", "--over", "size=32,31").output
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
    at_floats = [*at[:3], "--over", "classes=10,2.5", "--columns=classes,macs", "--mode", "train", *at[-2:], "--force"]
    assert CliRunner().invoke(cli, at_floats).exit_code == 0
    assert "optimizer: momentum" in (tmp_path / "a.svg").read_text()
    result = CliRunner().invoke(cli, [*at[:3], "--over", "size=32:20032", *at[-2:], "--force"])
    assert "20,001 combinations are too many to draw" in str(result.exception)
    for wrong, said in (("--columns=macs", "needs two names"), ("--columns=macs,top1", "unknown figure 'top1'")):
        result = CliRunner().invoke(cli, [*at[:5], wrong, *at[-2:], "--force"])
        assert said in str(result.exception) + result.output
    result = CliRunner().invoke(cli, [*at[:3], "--over", "size=1:9", *at[-2:], "--force"])
    assert "nothing to draw: maxpool: kernel 2 is larger" in str(result.exception)


def test_an_axis_of_a_picture_has_numbers(tmp_path):
    over = ["--over", "depths=[2,2,2,2],[3,4,6,3]", "--columns", "macs,depths", "-o", str(tmp_path / "a.svg")]
    result = CliRunner().invoke(cli, ["plot", "sweep", "resnet50", *over])
    assert result.exit_code == 2
    assert "depths has values that are no numbers; draw a figure" in result.output
    assert not (tmp_path / "a.svg").exists()
