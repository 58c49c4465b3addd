"""The largest batch that fits: against brute force, the replayed allocator, and what was measured on a GPU."""

import json
from functools import cache
from pathlib import Path

import pytest

from archcalc import analyze, load, parse
from archcalc.analysis import fit as fits
from archcalc.analysis.allocator import replay
from archcalc.analysis.cards import find_card
from archcalc.analysis.fit import (
    LONG,
    STEPS,
    Fit,
    Space,
    batches,
    largest_batch,
    leaner,
    needed,
    runs,
    space_of,
    tried_below,
)
from archcalc.analysis.recipe import Recipe
from archcalc.analysis.workspaces import CUDNN_MOST, CUDNN_SMALL, workspace_terms

MIB, GIB = 2**20, 2**30
MOMENTUM = Recipe("momentum", device="cuda")
NETWORKS = (
    *("lenet5", "alexnet", "zfnet", "nin", "nin-cifar10", "vgg11", "vgg16", "googlenet", "resnet18", "resnet20"),
    *(
        "torchvision/resnet18",
        "torchvision/resnet50",
        "resnext29-8x64d",
        "seresnet50",
        "wrn-40-2-b13",
        "densenet-40-12",
    ),
    *("fractalnet-20", "squeezenet1.0", "inception-v3-79", "d2l/lenet"),
)


def events(case, worst=None):
    """The events of a program, with those of libraries if `worst` says which workspaces cuDNN takes."""
    return (
        case.events(worst)
        if worst is not None
        else [(event.storage, event.bytes) for event in case.trace.events(case.batch)]
    )


def fixed(size):
    """Exactly so much memory, for the allocator."""
    return Space(size, size)


@pytest.mark.parametrize("name", NETWORKS)
def test_the_replay_succeeds_up_to_the_guaranteed_batch_and_fails_above_the_bound(name):
    cap = 3 * GIB if name in ("vgg11", "vgg16") else GIB
    cases = batches(load(name), MOMENTUM)
    guaranteed, likely, bound, lacking = largest_batch(cases, fixed(cap))
    assert (0 < guaranteed <= likely <= bound, lacking) == (True, 0)
    for case in (cases(guaranteed, LONG), *(cases(batch, STEPS) for batch in tried_below(guaranteed))):
        assert replay([("", events(case, worst=True))], cap).failure is None
        assert replay([("", events(case))], cap).failure is None
    more = cases(bound + 1, STEPS)
    assert needed(cases(bound, STEPS)) <= cap < needed(more)
    assert replay([("", events(more))], cap).failure
    assert runs(cases(likely, STEPS), cap)
    assert likely == bound or not runs(cases(likely + 1, STEPS), cap)


RECORD = next((Path(__file__).parent.parent / "bench" / "records").glob("*-fit.json"))
MEASURED = [case for case in json.loads(RECORD.read_text())["cases"] if case["module"] == "build"]


@cache
def found_under_the_cap(number):
    case = MEASURED[number]
    return largest_batch(batches(load(case["network"]), MOMENTUM, find_card("h100")), fixed(case["tries"][0]["cap"]))


@pytest.mark.parametrize("number", range(8), ids=lambda n: f"{MEASURED[n]['network']}-{MEASURED[n]['cap'] // GIB}GiB")
def test_the_batch_measured_on_a_gpu_lies_in_the_interval(number):
    found, measured = found_under_the_cap(number), MEASURED[number]["largest"]
    assert found.guaranteed <= measured <= found.bound
    assert found.likely == pytest.approx(measured, rel=0.09)  # no promise, but what the docs say


def test_the_test_above_would_notice_other_bounds():
    """A guaranteed batch that is 30 % larger, or a bound that is 4 % smaller."""
    found = [(found_under_the_cap(number), case["largest"]) for number, case in enumerate(MEASURED)]
    assert len(found) == 8
    assert any(fit.guaranteed * 1.3 > measured for fit, measured in found)
    assert any(fit.bound * 0.96 < measured for fit, measured in found)


@pytest.mark.parametrize("optimizer", ["", "sgd", "adamw"])
def test_on_the_cpu_the_sum_of_the_tensors_decides(optimizer):
    cases, size = batches(load("lenet5"), Recipe(optimizer)), 10**7
    found = largest_batch(cases, Space(size, size, cuda=False))
    sums = [max(cases(batch, STEPS).trace.curve(batch)) for batch in range(1, found.bound + 2)]
    assert sums == sorted(sums)
    assert found == Fit(found.bound, found.bound, found.bound)
    assert sums[-2] <= size < sums[-1]


def test_what_one_image_lacks():
    cases = batches(load("resnet18"), MOMENTUM)
    one = needed(cases(1, STEPS))
    assert largest_batch(cases, fixed(one - 1)) == Fit(0, 0, 0, 1)
    assert largest_batch(cases, fixed(one)).bound == 1
    assert largest_batch(cases, fixed(one)).guaranteed == 0  # the allocator's segments are larger


def test_the_guaranteed_batch_lasts_for_more_steps(monkeypatch):
    """A batch that the allocator fits for three steps, but not for twelve, is not guaranteed."""
    cases, cap = batches(load("densenet-40-12"), MOMENTUM), GIB
    three = largest_batch(cases, fixed(cap)).guaranteed
    long, real = cases(three, LONG).trace, fits.runs

    def runs_but_for(case, cap, worst=False):
        return real(case, cap, worst) and not (case.trace is long and case.batch == three)

    monkeypatch.setattr(fits, "runs", runs_but_for)
    found = largest_batch(cases, fixed(cap))
    assert 0 < found.guaranteed < three <= found.likely
    assert real(cases(found.guaranteed, LONG), cap, worst=True)


def test_a_batch_of_one_image_has_a_trace_of_its_own():
    cases = batches(load("densenet-40-12"), MOMENTUM)
    assert cases(1, 1).trace is not cases(2, 1).trace
    assert cases(2, 1).trace is cases(3, 1).trace


CONVOLUTION = "name: one\ninput: [8, 512, 512]\nlayers: ['conv(8, 3, padding=1)', global_avgpool, flatten, linear(2)]\n"


def test_a_convolution_that_gets_no_workspace_runs_without_one():
    """Image, output and a workspace as large as both take 32 MiB, cuBLAS 33 more; the largest workspace takes 64."""
    case = batches(parse(CONVOLUTION), Recipe(device="cuda"))(1, STEPS)
    workspaces = {size for storage, size in case.events(worst=False) if storage == fits.CUDNN and size > 0}
    assert workspaces == {4 * (8 * 8 * 9 + 8) + 4 * 2 * 8 * 512**2}
    cap = 70 * MIB
    assert runs(case, cap)
    assert not runs(case, cap, worst=True)


def test_cublas_keeps_a_workspace_in_each_thread():
    case = batches(load("lenet5"), MOMENTUM, find_card("a100-40"))(1, STEPS)
    kept = [(storage, size) for storage, size in case.events(worst=False) if str(storage).startswith("cuBLAS")]
    assert kept == [("cuBLAS", 8_519_680), ("cuBLASLt", MIB), ("cuBLAS of backward", 8_519_680)]
    case = batches(load("lenet5"), Recipe(device="cuda"))(1, STEPS)
    assert [size for storage, size in case.events(worst=False) if str(storage).startswith("cuBLAS")] == [32 * MIB, MIB]


def test_a_card_without_its_context():
    card = find_card("a100-40")
    assert space_of(card) == Space(card.memory - 10**9, card.memory - 2 * 10**8)


@pytest.mark.parametrize("edge", range(8))
def test_the_search_finds_the_edge(edge):
    for most in range(edge, 40):
        asked = []
        assert fits.edge(lambda n: asked.append(n) or n <= edge, most) == edge  # noqa: B023
        assert len(asked) <= 12


def test_a_smaller_amount_that_fails_lowers_the_guaranteed_one():
    assert fits._safe(lambda n: n <= 20, 30) == 20
    assert fits._safe(lambda n: n <= 20 and n != 16, 30) == 15  # 20 - 4
    assert fits._safe(lambda n: n <= 20 and n not in (16, 14), 30) == 13
    assert fits._safe(lambda n: False, 30) == 0
    assert tried_below(20) == [19, 18, 16, 12, 4]
    assert tried_below(1) == []


@pytest.mark.parametrize(
    ("recipe", "changes"),
    [
        (MOMENTUM, ["--optimizer sgd", "--checkpoint blocks", "--freeze stem", "--amp", "--dtype bfloat16"]),
        (Recipe("adam", frozen=("stem",)), ["--optimizer momentum", "--optimizer sgd", "--checkpoint blocks",
                                            "--freeze stage1", "--amp", "--dtype bfloat16"]),
        (Recipe("sgd", amp=True), ["--checkpoint blocks", "--freeze stem"]),
        (Recipe("sgd", dtype="bfloat16"), ["--checkpoint blocks", "--freeze stem"]),
        (Recipe(), ["--dtype bfloat16"]),
    ],
)  # fmt: skip
def test_what_would_help(recipe, changes):
    assert list(leaner(load("resnet18"), recipe)) == changes


def test_every_change_needs_less():
    graph, recipe = load("resnet18"), Recipe("adamw", device="cuda")
    own = needed(batches(graph, recipe)(8, STEPS))
    assert all(needed(batches(graph, other)(8, STEPS)) < own for other in leaner(graph, recipe).values())
    assert "--dtype float16" in leaner(graph, recipe, find_card("t4"))


@pytest.mark.parametrize(("name", "batch"), [("alexnet", 2), ("alexnet", 32), ("d2l/lenet", 2), ("vgg11", 8)])
def test_the_largest_workspace_is_that_of_archcalc_memory(name, batch):
    graph, card = load(name), find_card("h100")
    case = batches(graph, MOMENTUM, card)(batch, STEPS)
    most = max(size for storage, size in case.events(worst=True) if storage == fits.CUDNN)
    _, _, cudnn = workspace_terms(analyze(graph, batch, mode="train"), card)
    assert most == cudnn.high >= CUDNN_SMALL
    usual = max(size for storage, size in case.events(worst=False) if storage == fits.CUDNN)
    assert usual == cudnn.usual
    assert (most == CUDNN_MOST * usual) == (CUDNN_MOST * usual >= CUDNN_SMALL)
