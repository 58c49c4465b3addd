"""bench/fit.py without a GPU: the search, and what is compared, with recorded and with made-up results."""

import json
from functools import cache

import pytest
from support.programs import BENCH, program

pytest.importorskip("torch")

from archcalc import load
from archcalc.analysis.cards import find_card
from archcalc.analysis.fit import STEPS, Fit, batches, replayed
from archcalc.analysis.recipe import Recipe
from archcalc.analysis.simulation import simulate

RECORD = next((BENCH / "records").glob("*-memory.json"))
CARD = find_card("h100")
MIB = 2**20


@pytest.fixture(scope="module")
def bench():
    return program("fit")


@pytest.mark.parametrize("edge", [0, 1, 7, 10, 11, 30])
@pytest.mark.parametrize("likely", [0, 1, 10, 25])
def test_the_search_finds_the_edge_from_anywhere(bench, edge, likely):
    asked = []
    assert bench.search(lambda batch: asked.append(batch) or batch <= edge, Fit(0, likely, 40)) == edge
    assert min(asked) > 0
    assert len({*asked}) <= 16


def recorded():
    """Recorded runs as `run` returns them; FractalNet's joins dropped branches there."""
    for case in json.loads(RECORD.read_text())["cases"]:
        plain = (case["module"], case["precision"], case["options"], case["weight_decay"], case["problem"])
        if plain == ("build", "float32", [], 0, "") and not case["network"].startswith("fractalnet"):
            phases = {name: counts[0] for name, counts in case["phases"].items() if name != "weights"}
            optimizer = case["optimizer"].replace("none", "")
            own = {"network": case["network"], "batch": case["batch"], "optimizer": optimizer}
            yield {**own, "cap": 0, "device": "cuda", "problem": "", "phases": phases}


def test_recorded_peaks_are_as_predicted_but_for_workspaces(bench):
    made = [*recorded()]
    assert len(made) > 200
    for case in made[::15]:
        assert bench.compared(case, CARD)["wrong"] == []


def test_peaks_that_are_not_as_predicted_are_noticed(bench):
    case = next(recorded())
    found = bench.compared(case, CARD)
    for peak in (
        found["predicted"]["backward2"] - 1,
        found["predicted"]["backward2"] + found["workspaces_at_most"] + 1,
    ):
        phases = {**case["phases"], "backward2": peak}
        assert bench.compared({**case, "phases": phases}, CARD)["wrong"] == ["backward2"]


def trains_by_replay(job):
    """What a GPU would say: with the usual workspaces, and peaks as predicted."""
    case = cases_of(job.network)(job.batch, STEPS)
    peaks = {
        f"{peak.phase}{peak.step or ''}": peak.peak for peak in simulate(load(job.network), job.recipe).peaks(job.batch)
    }
    fits = not job.cap or replayed(case, job.cap)
    return {**job._asdict(), "problem": "" if fits else "forward1: CUDA out of memory", "phases": peaks}


@cache
def cases_of(network):
    return batches(load(network), Recipe("momentum", device="cuda"))


def test_a_whole_run_and_its_record(bench, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(
        bench, "environment", lambda device: {"device": "NVIDIA H100 80GB HBM3", "torch": "2", "date": "d"}
    )
    monkeypatch.setattr(bench, "environment_lacks_cuda", lambda: False)
    monkeypatch.setattr(bench, "FITS", {"lenet5": 0.25})
    arguments = ["--device", "cuda", "--networks", "lenet5", "resnet20", "--batches", "1", "4", "--out", str(tmp_path)]
    assert bench.main(arguments, trains_by_replay) == 0
    record = json.loads(next(tmp_path.iterdir()).read_text())
    assert record["complete"]
    assert len(record["memory"]) == 8
    (fit,) = record["fits"]
    assert fit["largest"] == fit["likely"] > 0
    assert "9 of 9 done, 0 wrong" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("result", "wrong"),
    [
        (lambda job: {"problem": ""} if job.batch < 10**6 else {"problem": "out of memory"}, ["largest"]),
        (lambda job: {"problem": "out of memory"}, ["largest"]),
        (lambda job: {"problem": "" if job.batch < 1500 else "no kernel"}, ["largest", "no kernel"]),
    ],
)
def test_a_largest_batch_outside_of_the_interval_is_wrong(bench, result, wrong):
    found = bench.tried("lenet5", 256 * MIB, CARD, result)["wrong"]
    assert list(dict.fromkeys(found)) == wrong


def test_a_run_on_the_cpu(bench):
    made = bench.run(bench.Try("lenet5", 2, "adamw", device="cpu"))
    assert (made["problem"], made["phases"]) == ("", {})
    assert bench.compared(made, CARD)["wrong"] == []
    assert "no network is called" in bench.run(bench.Try("lenet6", 2, "sgd", device="cpu"))["problem"]


def test_without_cuda_it_says_so(bench, monkeypatch, capsys):
    monkeypatch.setattr(bench, "environment_lacks_cuda", lambda: True)
    assert bench.main(["--device", "cuda"]) == 2
    assert "no CUDA device" in capsys.readouterr().err


def test_the_prediction_of_many_networks(bench, monkeypatch, capsys):
    monkeypatch.setattr(bench.gc, "disable", lambda: None)
    assert bench.main(["--networks", "lenet5", "resnet20", "--gib", "1"]) == 0
    assert capsys.readouterr().out.count("\n| ") == 3
