"""`archcalc validate --memory`: what it prints, when it fails, and its rules for CUDA, with a stand-in for it."""

import csv
import io
import json
import sys

import pytest
import torch
from click.testing import CliRunner

from archcalc import ArchcalcError, parse
from archcalc.analysis.recipe import Recipe
from archcalc.analysis.simulation import simulate
from archcalc.cli import cli
from archcalc.pytorch import compare_memory

MODULE = sys.modules["archcalc.pytorch.memory_validation"]
TINY = "name: tiny\ninput: [8]\nlayers: [hidden: linear(4) | relu, output: linear(2)]\n"
PHASES = ["state", "inference", *["forward", "backward", "optimizer"] * 3]


@pytest.fixture
def tiny(tmp_path):
    path = tmp_path / "tiny.yaml"
    path.write_text(TINY)
    return str(path)


def run(*arguments):
    return CliRunner().invoke(cli, ["validate", *arguments, "--memory", "--device", "cpu"])


def test_command(tiny):
    done = run(tiny, "--optimizer", "adam", "--weight-decay", "--format", "json")
    assert done.exit_code == 0
    data = json.loads(done.output)
    assert [row["phase"] for row in data["phases"]] == PHASES
    assert [row["step"] for row in data["phases"]] == [None, None, 1, 1, 1, 2, 2, 2, 3, 3, 3]
    assert {row["equal"] for row in data["phases"]} == {True}
    figures = {"end"}, {"peak", "end", "allocations"}
    for row, compared in zip(data["phases"], [figures[0], *[figures[1]] * 10], strict=True):
        assert {key[10:] for key, value in row.items() if key.startswith("predicted_") and value} == compared
        assert all(row[f"difference_{figure}"] == 0 for figure in compared)
    (network,) = data["networks"]
    assert (network["checks"], network["differences"]) == (31, 0)
    assert data["phases"][0]["in_kernels"] is None
    assert min(row["in_kernels"] for row in data["phases"][1:]) >= 0


def test_the_recipe_is_a_condition(tiny):
    asked = ("--optimizer", "adamw", "--weight-decay", "--label-smoothing", "--accumulate", "2", "--freeze", "hidden")
    lines = run(tiny, *asked).output.splitlines()
    said = "dtype float32 · training · adamw · weight decay · label smoothing · 2 batches per step · frozen: hidden"
    assert lines[0].endswith(said)
    facts = json.loads(run(tiny, *asked, "--format", "json").output)
    keys = "mode", "optimizer", "weight_decay", "label_smoothing", "accumulate", "amp", "master_weights", "frozen"
    assert [facts[key] for key in keys] == ["train", "adamw", True, True, 2, False, False, ["hidden"]]
    row = next(csv.DictReader(io.StringIO(run(tiny, *asked, "--format", "csv").output)))
    assert (row["optimizer"], row["accumulate"], row["frozen"]) == ("adamw", "2", "hidden")
    assert run(tiny, "--amp").output.splitlines()[0].endswith("momentum · autocast to bfloat16")
    assert run(tiny, "--mode", "infer").output.splitlines()[0].endswith("dtype float32 · inference")
    both = run("d2l/mlp", "lenet5", "--checkpoint", "blocks", "--format", "json")
    assert (json.loads(both.output)["checkpoint"], both.exit_code) == (["blocks"], 0)
    assert "optimizer" not in json.loads(CliRunner().invoke(cli, ["validate", tiny, "--format", "json"]).output)


def test_the_terminal_shows_a_row_per_phase(tiny):
    lines = run(tiny, "--mode", "infer").output.splitlines()
    assert lines[0].startswith("1 network, 4 checks: 0 different")
    (header, units), row = lines[4:6], lines[-1]
    assert header.split() == ["Peak", "Peak", "Peak", "End", "Sum", "In", "kernels"]
    assert " ".join(units.split()) == "Phase predicted measured difference difference difference on top Equal"
    parameters, images, values = 46 * 4, 2 * 8 * 4, 2 * (4 + 2) * 4
    assert row.split()[:3] == ["inference", *[f"{parameters + images + values}"] * 2]


def test_csv_has_the_phases(tiny):
    rows = list(csv.DictReader(io.StringIO(run(tiny, "--mode", "infer", "--format", "csv").output)))
    assert [row["phase"] for row in rows] == PHASES[:2]


def test_exit_1_where_a_phase_differs(tiny, monkeypatch):
    monkeypatch.setattr(MODULE, "simulate", lambda graph, recipe: simulate(graph, recipe._replace(weight_decay=True)))
    done = run(tiny, "--format", "csv")
    assert done.exit_code == 1
    wrong = [row["phase"] for row in csv.DictReader(io.StringIO(done.stdout)) if row["equal"] == "False"]
    assert wrong == ["optimizer"] * 3
    assert "tiny: the network: peak of optimizer 1: expected " in done.stderr


def test_what_does_not_fit_is_not_run(tiny, monkeypatch):
    monkeypatch.setattr(MODULE, "room", lambda device: 100)
    done = run(tiny)
    assert done.exit_code == 1
    assert "not run: it needs 0.0 GiB, but 0.0 GiB are free" in done.output


def test_what_pytorch_cannot_run_does_not_stop_the_next(tiny, monkeypatch):
    def fail(*arguments):
        raise RuntimeError("no kernel\nmore")

    monkeypatch.setattr(MODULE, "compare_memory", fail)
    done = run(tiny, "d2l/lenet")
    assert done.exit_code == 1
    assert done.output.count("PyTorch cannot run it: no kernel") == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--optimizer", "sgd"], "--optimizer says how a network is trained; add --memory"),
        (["--memory", "--fold-bn"], "--memory validates the network as it is trained; omit --fold-bn"),
        (["--memory", "--device", "meta"], "--memory needs a device with memory; use --device cpu or --device cuda"),
        (["--memory", "--source"], "omit --device, --batch, --dtype, --fold-bn and --memory"),
        (["--memory", "--mode", "infer", "--accumulate", "2"], "--accumulate applies to training"),
        (["--memory", "--optimizer", "adamm"], "did you mean adam"),
        (["--memory", "--freeze", "hiden"], "tiny has no part 'hiden'; did you mean hidden"),
    ],
)
def test_wrong_requests(arguments, message, tiny):
    done = CliRunner().invoke(cli, ["validate", tiny, *arguments])
    assert done.exit_code != 0
    assert message in done.output + str(done.exception)


# On CUDA, with a stand-in: a loop whose phases do nothing, and statistics that the test writes

CUBLAS = 2 * 32 * 2**20 + 2**20  # on an H100: a workspace per thread, and one for products with a bias
RECIPE = Recipe("momentum", device="cuda")
CONVOLVING = 'name: tiny\ninput: [3, 8, 8]\nlayers: ["conv(4, 3) | relu | flatten | linear(2)"]\n'


@pytest.fixture
def stand_in(monkeypatch):
    """Return a function that compares memory on a card whose peaks and ends are the simulated ones and some bytes."""

    def compare(above_peak=0, above_end=0, card="NVIDIA H100 80GB HBM3", text=TINY):
        graph = parse(text)
        peaks = simulate(graph, RECIPE).peaks(2)
        base = dict.fromkeys(MODULE.COUNTS.values(), 1000)
        told = [base]
        for peak in peaks:
            figures = peak.peak + above_peak, peak.end + above_end, peak.peak + 512, 2 * 2**20
            told.append({key: 1000 + value for key, value in zip(MODULE.COUNTS.values(), figures, strict=True)})
        for name in ("init", "empty_cache", "synchronize", "reset_peak_memory_stats"):
            monkeypatch.setattr(torch.cuda, name, lambda: None)
        monkeypatch.setattr(torch._C, "_cuda_clearCublasWorkspaces", lambda: None, raising=False)
        monkeypatch.setattr(torch.cuda, "get_device_name", lambda: card)
        monkeypatch.setattr(torch.cuda, "memory_stats", lambda: told.pop(0))
        phases = [(peak.phase, peak.step, lambda: None) for peak in peaks]
        monkeypatch.setattr(MODULE, "Loop", lambda *_: type("Loop", (), {"phases": lambda self: iter(phases)})())
        return compare_memory(graph, RECIPE, 2)

    return compare


def differing(phases):
    return {check.figure.split()[0] for phase in phases for check in phase.differences()}


def test_on_cuda_what_tensors_request(stand_in):
    phases = stand_in()
    assert [phase.phase for phase in phases] == PHASES
    assert differing(phases) == set()
    state, inference = phases[:2]
    assert {*state.measured} == {"end"}
    assert [*inference.measured] == ["peak", "end", "allocated", "reserved"]
    assert inference.measured["reserved"] == inference.predicted["reserved"] == 2 * 2**20
    assert inference.predicted["allocated"] % 512 == 0
    assert inference.in_kernels is None


@pytest.mark.parametrize(
    ("above_peak", "above_end", "wrong"),
    [
        (CUBLAS, CUBLAS, set()),
        (-1, 0, {"peak"}),
        (0, -1, {"end"}),
        (CUBLAS + 1, 0, {"peak"}),
        (0, CUBLAS + 1, {"end"}),
    ],
)
def test_on_cuda_workspaces_may_lift_it(above_peak, above_end, wrong, stand_in):
    assert differing(stand_in(above_peak, above_end)) == wrong


def test_on_cuda_no_convolution_lifts_the_optimizer(stand_in):
    phases = stand_in(CUBLAS + 1, text=CONVOLVING)
    assert {phase.phase for phase in phases if [*phase.differences()]} == {"optimizer"}
    assert differing(stand_in(CUBLAS, text=CONVOLVING)) == set()


def test_an_unknown_card_may_have_the_largest_workspaces(stand_in):
    assert differing(stand_in(CUBLAS, CUBLAS, card="a card of tomorrow")) == set()
    assert differing(stand_in(CUBLAS, card="NVIDIA A100-SXM4-80GB")) == {"peak"}


def test_without_cuda_it_says_so(tiny, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    done = CliRunner().invoke(cli, ["validate", tiny, "--memory", "--device", "cuda"])
    assert isinstance(done.exception, ArchcalcError | SystemExit)
    assert "no CUDA device is available" in done.output + str(done.exception)
