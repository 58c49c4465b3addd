"""Workspaces of libraries, against every allocation of the recorded runs: `bench/records/*-trace.json.gz`."""

import gzip
import json
from pathlib import Path

import pytest

from archcalc import analyze, load
from archcalc.analysis.cards import find_card
from archcalc.analysis.workspaces import workspace_terms

RECORDS = sorted((Path(__file__).parent.parent / "bench" / "records").glob("*-trace.json.gz"))
TRACES = [trace for path in RECORDS for trace in json.loads(gzip.decompress(path.read_bytes()))["cases"]]
HALF = {"autocast": "bfloat16", "bfloat16": "bfloat16", "float32": "float32"}  # what convolutions run in
H100 = find_card("h100")


def ours(trace):
    case = trace["case"]
    return case["module"] == "build" and not case["cap"]


every_trace = pytest.mark.parametrize(
    "trace",
    [
        pytest.param(trace, id=f"{trace['case']['network']}-{trace['case']['optimizer']}-{trace['case']['precision']}")
        for trace in filter(ours, TRACES)
    ],
)


def allocations(trace):
    """For each allocation its innermost operator, bytes, and after how many events it was freed; None: never."""
    begun, found = {}, {}
    columns = (trace[key] for key in ("action", "bytes", "segment", "offset", "operator"))
    for number, (action, size, segment, offset, operator) in enumerate(zip(*columns, strict=True)):
        if action == "a":
            begun[segment, offset] = number
            found[number] = (trace["operators"][operator][1], size, None)
        elif action == "F":
            start = begun.pop((segment, offset))
            found[start] = (*found[start][:2], number - start)
    return found.values()


def terms(trace, torch="2.11.0+cu130"):
    case = trace["case"]
    report = analyze(load(case["network"]), case["batch"], HALF[case["precision"]], "train")
    return {term.name: term for term in workspace_terms(report, H100, torch)}


@every_trace
def test_cublas_keeps_as_much_as_recorded(trace):
    kept = sum(
        size for operator, size, life in allocations(trace) if operator in ("aten::addmm", "aten::mm") and not life
    )
    term = terms(trace)["cuBLAS"]
    assert term.low == term.usual == term.high == kept


AT_ONCE = 2  # events after which a workspace is freed: its kernel allocates nothing else


def largest(trace):
    """The largest workspace of a convolution."""
    return max(size for name, size, life in allocations(trace) if "convolution" in name and life and life <= AT_ONCE)


@every_trace
def test_cudnn_stays_in_its_interval(trace):
    term = terms(trace)["cuDNN"]
    assert term.low == 0
    assert largest(trace) <= term.high


def test_the_usual_workspace_is_most_often_about_right():
    ratios = sorted(largest(trace) / terms(trace)["cuDNN"].usual for trace in filter(ours, TRACES))
    assert [round(ratio, 1) for ratio in ratios] == [0.9, 1.0, 1.1, 1.1, 1.1, 1.1, 1.1, 1.3, 1.3, 1.4, 1.4, 2.1, 3.8]


def test_the_interval_would_notice_half_of_it():
    assert any(largest(trace) > terms(trace)["cuDNN"].high / 2 for trace in filter(ours, TRACES))


def test_what_is_not_measured_is_an_interval():
    report, inference = analyze(load("vgg16"), mode="train"), analyze(load("vgg16"))

    def cublas(report, card, torch):
        return workspace_terms(report, find_card(card), torch)[1][1:4]

    assert cublas(report, "h100", "2.11.1") == (68_157_440,) * 3
    assert cublas(inference, "h100", "2.11.0") == (34_603_008,) * 3
    assert cublas(report, "h100", "2.1.1") == cublas(report, "h100", "") == (0, 68_157_440, 68_157_440)
    assert cublas(report, "a100-40", "2.11.0") == (0, 18_087_936, 18_087_936)
    assert cublas(analyze(load("squeezenet1.0")), "h100", "2.11.0") == (0, 0, 0)  # no linear layer


def test_the_context_is_there_whatever_runs():
    term = workspace_terms(analyze(load("lenet5")), find_card("t4"))[0]
    assert (term.name, term.low, term.usual, term.high) == ("CUDA context", 200_000_000, None, 1_000_000_000)
