"""`archcalc memory`: its tables, data and curve, and what a wrong request says."""

import csv
import io
import json
import re
import subprocess
import sys

import pytest
from click.testing import CliRunner
from rich.cells import cell_len
from support.golden_files import check_golden
from support.pages import in_process

from archcalc import analyze, load
from archcalc.analysis.cards import find_card
from archcalc.analysis.memory_trace import KINDS
from archcalc.analysis.recipe import USUAL
from archcalc.cli import cli
from archcalc.render.tables.memory import ASCII, BLOCKS, KEYS

CASES = {
    "resnet50": "resnet50 --batch 32 --gpu a100-40",
    "vgg16-blocks": "vgg16 --batch 8 --optimizer adam --device cpu --depth 1 --dtype bf16 --accumulate 2",
    "lenet5-inference": "lenet5 --mode infer --gpu t4 --dtype bf16",
}


def printed(arguments, width=None, command="memory"):
    """What the command prints, at so many columns."""
    env = {"COLUMNS": str(width)} if width else {}
    done = CliRunner(env=env).invoke(cli, [command, *arguments.split()], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout


def data(arguments):
    return json.loads(printed(f"{arguments} --format json"))


@pytest.mark.parametrize("width", [80, 120])
@pytest.mark.parametrize("name", CASES)
def test_golden_tables(name, width):
    text = printed(CASES[name], width)
    assert max(map(cell_len, text.splitlines())) <= width
    check_golden(f"tables/memory-{name}-{width}.txt", text)


@pytest.mark.parametrize("arguments", [*CASES.values(), "resnet18 --batch 4 --checkpoint blocks --freeze stem"])
def test_all_data_add_up_to_the_peak(arguments):
    found = data(arguments)
    assert sum(row["bytes"] for row in found["budget"]) == found["peak_bytes"]
    assert sum(row["inference_bytes"] for row in found["budget"]) == found["inference_peak_bytes"]
    for row in found["layers"]:
        assert sum(row[key] for key in KEYS.values()) == row["bytes"]
    for kind in found["budget"]:
        assert sum(row[KEYS[kind["kind"]]] for row in found["layers"]) == kind["bytes"]
    top = max(found["phases"], key=lambda phase: phase["peak"])
    assert top["peak"] == found["peak_bytes"]
    assert {key: top[key] for key in ("phase", "step", "layer")} == {
        key: found[f"peak_{key}"] for key in ("phase", "step", "layer")
    }
    assert found["allocated_bytes"] == max((phase["allocated"] for phase in found["phases"]), key=lambda n: n or 0)


def test_terms_and_times_of_a_card():
    found = data(CASES["resnet50"])
    assert [term["name"] for term in found["beside"]] == ["CUDA context", "cuBLAS", "cuDNN"]
    assert (found["fits"], found["lacking_bytes"]) == (True, 0)
    assert found["gpu_source"] == find_card(found["gpu"]).source
    assert found["batch"] <= found["largest_batches"][0] <= found["largest_batches"][1] <= found["largest_batches"][2]
    seconds = sum(row["forward_seconds"] or 0 for row in found["layers"])
    assert seconds == pytest.approx(found["forward_seconds_by_layer"])
    assert found["forward_seconds_least"] <= found["forward_seconds_by_layer"]
    assert found["step_seconds_least"] > found["forward_seconds_least"]
    assert data("lenet5 --mode infer --gpu h100")["step_seconds_least"] is None


@pytest.mark.parametrize(
    ("options", "said", "facts"),
    [
        ("--amp", "float32 · training · momentum · autocast to bfloat16", (True, False)),
        ("--master-weights --dtype bf16", "bfloat16 · training · momentum · master weights in float32", (False, True)),
    ],
)
def test_mixed_precision_is_said_and_changes_the_peak(options, said, facts):
    plain, found = data("lenet5 --batch 8"), data(f"lenet5 --batch 8 {options}")
    assert (found["amp"], found["master_weights"]) == facts
    assert found["peak_bytes"] != plain["peak_bytes"]
    assert said in " ".join(printed(f"lenet5 --batch 8 {options}", 200).split())


@pytest.mark.parametrize("command", ["summarize", "compare", "memory"])
def test_the_recipe_has_the_same_keys_everywhere(command):
    options = "--mode train --optimizer adamw --weight-decay --freeze c1 --format json"
    found = json.loads(printed(f"lenet5 {options}", command=command))
    assert [found[key] for key in ("optimizer", "weight_decay", "frozen")] == ["adamw", True, ["c1"]]


def test_names_are_read_in_any_case():
    assert data("lenet5 --optimizer ADAM --dtype BF16 --gpu H100 --module Build") == data(
        "lenet5 --optimizer adam --dtype bfloat16 --gpu h100 --module build"
    )


def test_times_under_autocast_are_those_of_bfloat16():
    plain, amp, half = (data(f"vgg11 --gpu h100 {options}") for options in ("", "--amp", "--dtype bf16"))
    assert amp["forward_seconds_least"] == half["forward_seconds_least"] < plain["forward_seconds_least"]
    assert [term["high"] for term in amp["beside"]] == [term["high"] for term in half["beside"]]


def test_csv_has_the_layers_with_the_conditions():
    rows = list(csv.DictReader(io.StringIO(printed("resnet18 --batch 2 --format csv"))))
    found = data("resnet18 --batch 2")["layers"]
    assert [row["name"] for row in rows] == [layer["name"] or "" for layer in found]
    assert [int(row["kept_bytes"]) for row in rows] == [layer["kept_bytes"] for layer in found]
    facts = {(row["network"], row["input"], row["batch"], row["optimizer"]) for row in rows}
    assert facts == {("resnet18", "3x224x224", "2", USUAL.optimizer)}


@pytest.mark.parametrize("form", ["markdown", "latex", "rst", "html", "tsv"])
def test_every_format_has_the_figures(form):
    text = printed(f"lenet5 --batch 4 --format {form}")
    assert "803,200" in text or "output" in text
    assert not set(text) & set(BLOCKS.strip())  # the curve is for terminals


def test_the_columns_of_compare_are_those_of_the_command():
    for name in ("lenet5", "googlenet"):
        totals = analyze(load(name), batch=2, dtype="float16").totals
        command = f"{name} --batch 2 --dtype fp16"
        assert totals.peak_training_bytes == data(command)["peak_bytes"]
        assert totals.peak_inference_bytes == data(f"{command} --mode infer")["peak_bytes"]
    options = ["--optimizer", "adamw", "--weight-decay", "--freeze", "c1", "--freeze", "f6"]
    command = ["compare", "lenet5", "--mode", "train", "--batch", "64", "--format", "json", *options]
    totals = json.loads(CliRunner().invoke(cli, command).output)["networks"][0]
    needs = [data(f"lenet5 --batch 64 {' '.join(given)}")["peak_bytes"] for given in (options, [])]
    assert totals["peak_training_bytes"] == needs[0] != needs[1]
    lines = printed("lenet5 --columns peak_training_bytes,peak_inference_bytes", command="compare").splitlines()
    assert lines[1].split() == ["Peak", "in", "training", "Peak", "at", "inference"]


def test_the_peak_in_training_is_unknown_where_nothing_can_be_trained(tmp_path):
    path = tmp_path / "plain.yaml"
    path.write_text("name: plain\ninput: [3, 8, 8]\nlayers: [relu]\n")
    assert analyze(load(str(path))).totals.peak_training_bytes is None
    assert analyze(load("googlenet", input=(3, 64, 64))).totals.peak_training_bytes is None
    frozen = USUAL._replace(frozen=("c1", "s2", "c3", "s4", "c5", "f6"))
    assert analyze(load("lenet5"), mode="train", recipe=frozen).totals.peak_training_bytes is None
    assert data("googlenet --input 64 --mode infer")["peak_bytes"] > 0


def test_an_inference_shows_no_kinds_of_training():
    assert [row["kind"] for row in data("lenet5 --mode infer")["budget"]] == list(KINDS)
    text = printed("lenet5 --mode infer", 120)
    for title in ("optimizer state  ", "gradients of", "kept for backward", "Kept"):
        assert title not in text
        assert title in printed("lenet5", 120)


# The curve


def curve(text):
    """The lines of the curve, and the names below it."""
    lines = text[text.index("allocation by") :].splitlines()
    end = next(i for i, line in enumerate(lines) if line.startswith("|"))
    return [line for line in lines[:end] if set(line) <= set(BLOCKS + ASCII)][-8:], lines[end]


def test_the_curve_is_as_high_as_the_memory():
    from archcalc.analysis.needed_memory import memory_needs
    from archcalc.analysis.recipe import Recipe

    lines, names = curve(printed("vgg16 --batch 8", 80))
    needs = memory_needs(load("vgg16"), Recipe("momentum", device="cuda"), 8)
    points = [sum(point) for point in needs.curve(80).points]
    heights = [sum(BLOCKS.index(line.ljust(80)[i]) for line in lines) for i in range(80)]
    assert heights == [round(point / needs.top.peak * 64) for point in points]
    assert max(heights) == 64
    assert [name.strip() for name in names.split("|")] == ["", "forward", "backward", "optimizer"]


@pytest.mark.parametrize(("width", "short"), [(100, "|o"), (40, "|f")])
def test_names_of_phases_are_whole_or_explained_initials(width, short):
    text = printed("lenet5 --accumulate 5", width)
    _, names = curve(text)
    assert {name.strip() for name in names.split("|")} <= {"", *"fbo", "forward", "backward", "optimizer"}
    assert short in names
    assert {"|o": "o: optimizer", "|f": "f: forward"}[short] in text
    assert "later batches are like batch 3" in " ".join(text.split())
    assert "later batches" not in printed("lenet5 --accumulate 3", width)


def test_without_blocks_in_the_encoding_the_curve_is_ascii():
    command = [sys.executable, "-m", "archcalc", "memory", "lenet5"]
    done = subprocess.run(command, capture_output=True, check=True, env={"PYTHONIOENCODING": "ascii", "COLUMNS": "80"})
    assert b"#####" in done.stdout
    assert rb"\u258" not in done.stdout


# Wrong requests


@pytest.mark.parametrize("mode", ["infer", "train"])
def test_the_module_is_a_condition(mode):
    arguments = f"densenet121 --mode {mode} --device cpu --batch 2"
    own, by_hand = data(arguments), data(f"{arguments} --module torchvision")
    assert (own["module"], by_hand["module"]) == ("build", "torchvision")
    assert by_hand["inference_peak_bytes"] > own["inference_peak_bytes"]
    assert "a hand-written module, as torchvision writes them" in printed(f"{arguments} --module torchvision", 200)
    assert "archcalc's own build; a hand-written module may hold more" in printed(arguments, 200)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("lenet5 --batch 0", "0 is not in the range"),
        ("lenet5 --optimizer adamm", "unknown optimizer 'adamm'; did you mean adam or adamw?"),
        ("lenet5 --gpu rtx4091", "unknown card 'rtx4091'; did you mean rtx-4090?"),
        ("lenet5 --gpu=", "unknown card ''; one of b200, h200"),
        ("lenet5 --gpu a100", "card 'a100' is not exact; type a100-80 or a100-40"),
        ("lenet5 --dtype bf17", "unknown dtype 'bf17'; known: bfloat16, float16, float32, float64"),
        ("lenet5 --dtype float61", "unknown dtype 'float61'; did you mean float64 or float16"),
        ("lenet5 --module torchvison", "unknown module 'torchvison'; did you mean torchvision?"),
        ("lenet5 --freeze c1.con", "lenet5 has no part 'c1.con'; did you mean c1.conv"),
        ("lenet5 --freeze zzz", "lenet5 has no part 'zzz'; `archcalc summarize lenet5` lists them"),
        ("lenet5 --device cpu --gpu t4", "--gpu needs --device cuda"),
        ("lenet5 --amp --dtype bf16", "--amp needs weights in float32; omit --dtype bfloat16, or omit --amp"),
        (
            "lenet5 --master-weights",
            "--master-weights needs weights of 2 bytes; add --dtype bfloat16 or --dtype float16",
        ),
        ("lenet5 --mode infer --master-weights --dtype bf16", "--master-weights applies to training"),
        ("lenet5 --mode infer --accumulate 2", "--accumulate applies to training; use --mode train"),
        ("lenet5 --mode infer --checkpoint blocks", "--checkpoint applies to training"),
        ("flat.yaml --checkpoint blocks", "flat has no blocks to checkpoint; omit --checkpoint"),
        ("flat.yaml --freeze conv", "flat cannot be trained: no part of it has weights that are not frozen"),
        ("googlenet --input 64", "avgpool: kernel 5 is larger than the padded input 4"),
        ("resnet18 --checkpoint stge1", "resnet18 has no part 'stge1'; did you mean stage1 or"),
        ("resnet18 --checkpoint stage1.1 --checkpoint stage1", "stage1.1 is inside stage1; omit one"),
        ("resnet18 --checkpoint blocks --checkpoint stage1.1", "stage1.1 is given twice; omit one"),
    ],
)
def test_wrong_requests(arguments, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "flat.yaml").write_text("name: flat\ninput: [3, 8, 8]\nlayers: ['conv(4, 3)', relu]\n")
    code, said = in_process(["memory", *arguments.split()])
    assert code == 2
    assert message in re.sub(r"\s+", " ", said)


def test_float64_has_memory_but_no_known_time():
    text = printed("lenet5 --dtype float64 --gpu h100", 120)
    assert "unknown: no peak of h100 in float64 is published" in text
    assert "it fits" in text


def test_every_kind_has_a_key_and_a_row():
    assert list(KEYS) == list(KINDS) == [row["kind"] for row in data("lenet5")["budget"]]
