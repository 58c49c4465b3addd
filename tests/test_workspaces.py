"""Workspaces of libraries, against every allocation of the recorded runs: `bench/records/*-trace.json.gz`."""

import gzip
import json
from functools import cache
from math import prod
from pathlib import Path

import pytest

from archcalc import analyze, load
from archcalc.analysis.cards import find_card
from archcalc.analysis.cost import DTYPES
from archcalc.analysis.recipe import Recipe
from archcalc.analysis.simulation import simulate
from archcalc.analysis.workspaces import cudnn_most, workspace_terms

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


def test_the_interval_would_notice_three_quarters_of_it():
    assert any(largest(trace) > terms(trace)["cuDNN"].high * 3 / 4 for trace in filter(ours, TRACES))


# Each convolution by itself

SIMULATED = [i for i, t in enumerate(TRACES) if t["case"]["module"] == "build" and t["case"]["precision"] != "autocast"]


def recorded(trace):
    """For each phase with convolutions, its allocations: bytes, and whether they may be a workspace.

    Bytes are negative if the allocation failed. One that ended the run is left out: a tensor's, as the next test says.
    """
    begun, found = {}, {}
    marks = sorted(trace["marks"].items(), key=lambda mark: mark[1])
    columns = (trace[key] for key in ("action", "bytes", "segment", "offset"))
    for number, (action, size, *place) in enumerate(zip(*columns, strict=True)):
        if action in "ao":
            begun[tuple(place)] = number
            phase = next((name for name, end in marks if number < end), trace["case"]["problem"].partition(":")[0])
            found[number] = phase, size if action == "a" else -size, action == "o"
        elif action == "F":
            start = begun.pop(tuple(place))
            found[start] = (*found[start][:2], number - start <= AT_ONCE)
    if trace["case"]["problem"]:
        del found[max(number for number, (_, size, _) in found.items() if size < 0)]
    return [(phase, size, at_once) for phase, size, at_once in found.values() if phase[0] in "ifb"]


@cache
def by_convolution(number):
    """For each workspace of a run, the bytes of the convolution's tensors, and its own, negative if it got none.

    Simulated tensors, which are allocated in the same order, say which convolution runs.
    """
    trace = TRACES[number]
    case, graph = trace["case"], load(trace["case"]["network"])
    recipe, each, batch = Recipe(case["optimizer"], dtype=case["precision"], device="cuda"), {}, case["batch"]
    for event in simulate(graph, recipe).events(batch):
        if event.bytes > 0:
            each.setdefault(f"{event.phase}{event.step or ''}", []).append(event)
    found, last, at = [], None, 0
    for phase, size, at_once in recorded(trace):
        at = at if phase == last else 0
        last, ahead = phase, each[phase][at : at + (1 if at_once else 8)]
        if step := next((i for i, event in enumerate(ahead, 1) if event.bytes == size), 0):
            at += step
        elif at_once:
            node = graph.nodes[each[phase][at - 1].node]
            assert node.op.name == "conv"
            values = sum(map(prod, node.op.weights(node.x).values())) + batch * (prod(node.x) + prod(node.output))
            found.append((DTYPES[case["precision"]] * values, size))
    return found


@pytest.mark.parametrize("number", SIMULATED, ids=lambda n: f"{TRACES[n]['case']['network']}-{n}")
def test_no_convolution_took_more(number):
    assert by_convolution(number)
    assert all(size <= cudnn_most(tensors) for tensors, size in by_convolution(number))


@pytest.mark.parametrize(("low", "high", "most"), [(0, 8, 0.68), (8, 64, 0.71), (64, 256, 0.76), (256, 10**6, 0.77)])
def test_the_most_by_size_is_half_as_much_again_as_recorded_at_most(low, high, most):
    """Of convolutions with so many MiB of tensors."""
    pairs = [pair for number in SIMULATED for pair in by_convolution(number) if low <= pair[0] / 2**20 < high]
    assert len(pairs) > 100
    assert 0.67 < max(size / cudnn_most(tensors) for tensors, size in pairs) <= most


def test_where_memory_is_short_convolutions_run_without_their_workspace():
    failed = [(number, size) for number in SIMULATED for _, size in by_convolution(number) if size < 0]
    went_on = [number for number, _ in failed if not TRACES[number]["case"]["problem"]]
    assert (len(failed), len(went_on)) == (220, 117)


def test_no_run_ended_at_a_workspace():
    """A tensor of that size was allocated before, and cuDNN without an engine is another error."""
    ended = [trace for trace in TRACES if trace["case"]["problem"]]
    assert len(ended) == 7
    for trace in ended:
        assert "CUDA out of memory" in trace["case"]["problem"]
        last = len(trace["action"]) - 1 - trace["action"][::-1].index("o")
        assert trace["bytes"][last] in [size for _, size, at_once in recorded(trace) if not at_once]


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
