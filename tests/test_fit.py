"""The largest batch that fits: against brute force, the replayed allocator, and what was measured on a GPU."""

import json
import random
from functools import cache
from pathlib import Path

import pytest

from archcalc import analyze, load, parse
from archcalc.analysis.allocator import Allocator
from archcalc.analysis.cards import find_card
from archcalc.analysis.fit import (
    CUDNN,
    LONG,
    STEPS,
    Fit,
    Space,
    batches,
    edge,
    largest,
    leaner,
    needed,
    replayed,
    space_of,
    tried_below,
)
from archcalc.analysis.needed_memory import memory_needs
from archcalc.analysis.recipe import Recipe
from archcalc.analysis.workspaces import cudnn_most, workspace_terms

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


def fixed(size):
    """Exactly so much memory, for the allocator."""
    return Space(size, size)


def trains(case, cap, workspace):
    """Whether the allocator fits a program under a cap; `workspace` says how much each convolution asks for.

    Of what does not fit, workspaces alone do not matter: cuDNN finds another way.
    """
    allocator = Allocator(cap)
    for storage, fixed, each in case.requests:
        size = fixed + case.batch * each
        if storage == CUDNN:
            size = size > 0 and workspace(size)
            if size and allocator.allocate(CUDNN, size):
                allocator.free(CUDNN)
        elif size < 0:
            allocator.free(storage)
        elif not allocator.allocate(storage, size):
            return False
    return True


@cache
def searched(name):
    cap = 3 * GIB if name in ("zfnet", "vgg11", "vgg16") else GIB
    cases = batches(load(name), MOMENTUM)
    return cases, cap, largest(cases, fixed(cap))


@pytest.mark.parametrize("name", NETWORKS)
def test_the_replay_succeeds_up_to_the_guaranteed_batch_and_fails_above_the_bound(name):
    cases, cap, (guaranteed, likely, bound, _) = searched(name)
    assert 0 < guaranteed <= likely <= bound
    for case in (cases(guaranteed, LONG), *(cases(batch, STEPS) for batch in tried_below(guaranteed))):
        assert replayed(case, cap, worst=True)
        assert all(trains(case, cap, workspace) for workspace in (lambda size: 0, lambda size: size, cudnn_most))
    assert needed(cases(bound, STEPS)) <= cap < needed(cases(bound + 1, STEPS))
    assert not trains(cases(bound + 1, STEPS), cap, lambda size: 0)
    assert replayed(cases(likely, STEPS), cap)
    assert likely == bound or not replayed(cases(likely + 1, STEPS), cap)


@pytest.mark.parametrize("name", NETWORKS)
def test_the_guaranteed_batch_trains_whatever_workspaces_convolutions_take(name):
    """Each size of a convolution takes one at random, as large as none recorded, and none where it does not get it."""
    cases, cap, (guaranteed, *_) = searched(name)
    for seed in range(10):
        draw = random.Random(seed)
        taken = cache(lambda size: draw.choice([0, size, draw.randrange(cudnn_most(size))]))  # noqa: B023
        assert trains(cases(guaranteed, STEPS), cap, taken)


def test_the_test_above_would_notice_a_larger_guaranteed_batch():
    """As with workspaces of once the tensors."""
    failing = 0
    for name in NETWORKS:
        cases, cap, found = searched(name)
        failing += not all(trains(cases(found.likely, STEPS), cap, lambda size: k * size) for k in (0, 1, 2))  # noqa: B023
    assert failing > 3


@pytest.mark.parametrize(
    ("name", "recipe", "key"),
    [
        ("vgg16", MOMENTUM, "t4"),
        ("alexnet", MOMENTUM, "a100-40"),
        ("resnet18", MOMENTUM, "rtx-3080"),
        ("squeezenet1.0", Recipe("adamw", device="cuda", dtype="float16"), "t4"),
        ("vgg11", Recipe("sgd", device="cuda", dtype="bfloat16", frozen=("stage1",)), "a100-40"),
        ("googlenet", Recipe(device="cuda"), "rtx-3080"),
        ("resnet20", Recipe(device="cuda"), "v100-16"),
    ],
)
def test_memory_and_fit_say_the_same(name, recipe, key):
    """One judgement serves both commands."""
    graph, card = load(name), find_card(key)
    found = largest(batches(graph, recipe, card), space_of(card))
    assert 0 < found.guaranteed < found.bound
    edges = {found.guaranteed: True, found.guaranteed + 1: None, found.bound: None, found.bound + 1: False}
    for batch, fits in edges.items():
        own = memory_needs(graph, recipe, batch, card).fit
        assert (own[:3], own.fits(batch)) == (found[:3], fits)
        assert own.lacking == 0 if fits else own.lacking > 0 or fits is None


def test_what_is_lacking_is_enough():
    """Above the bound one byte less is too little; below it, that much suffices for the replay."""
    cases, cap, found = searched("resnet18")
    too_many, some = (largest(cases, fixed(cap), amount).lacking for amount in (found.bound + 1, found.likely))
    assert needed(cases(found.bound + 1, STEPS)) == cap + too_many
    assert some > 0
    assert replayed(cases(found.likely, LONG), cap + some, worst=True)
    assert not replayed(cases(found.likely, STEPS), cap, worst=True)


RECORD = next((Path(__file__).parent.parent / "bench" / "records").glob("*-fit.json"))
MEASURED = [case for case in json.loads(RECORD.read_text())["cases"] if case["module"] == "build"]


@cache
def found_under_the_cap(number):
    case = MEASURED[number]
    return largest(batches(load(case["network"]), MOMENTUM, find_card("h100")), fixed(case["tries"][0]["cap"]))


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
    found = largest(cases, Space(size, size, cuda=False))
    sums = [max(cases(batch, STEPS).trace.curve(batch)) for batch in range(1, found.bound + 2)]
    assert sums == sorted(sums)
    assert found == Fit(found.bound, found.bound, found.bound)
    assert sums[-2] <= size < sums[-1]


def test_what_one_image_lacks():
    cases = batches(load("resnet18"), MOMENTUM)
    one = needed(cases(1, STEPS))
    assert largest(cases, fixed(one - 1)) == Fit(0, 0, 0, 1)
    assert largest(cases, fixed(one)).bound == 1
    assert largest(cases, fixed(one)).guaranteed == 0  # the allocator's segments are larger


def test_the_guaranteed_batch_lasts_for_more_steps(monkeypatch):
    """A batch that the allocator fits for three steps, but not for twelve, is not guaranteed."""
    cases, cap = batches(load("densenet-40-12"), MOMENTUM), GIB
    three = largest(cases, fixed(cap)).guaranteed
    long, real = cases(three, LONG).trace, replayed

    def but_for(case, cap, worst=False):
        return None if case.trace is long and case.batch == three else real(case, cap, worst)

    monkeypatch.setattr("archcalc.analysis.fit.replayed", but_for)
    found = largest(cases, fixed(cap))
    assert 0 < found.guaranteed < three <= found.likely
    assert real(cases(found.guaranteed, LONG), cap, worst=True)


def test_a_batch_of_one_image_has_a_trace_of_its_own():
    cases = batches(load("densenet-40-12"), MOMENTUM)
    assert cases(1, 1).trace is not cases(2, 1).trace
    assert cases(2, 1).trace is cases(3, 1).trace


CONVOLUTION = "name: one\ninput: [8, 512, 512]\nlayers: ['conv(8, 3, padding=1)', global_avgpool, flatten, linear(2)]\n"


def requested(case, name):
    return {size + case.batch * each for storage, size, each in case.requests if storage == name and size > 0}


def test_a_convolution_that_gets_no_workspace_runs_without_one():
    """Image, output and a workspace as large as both take 32 MiB, cuBLAS 33 more; the largest workspace takes 128."""
    case = batches(parse(CONVOLUTION), Recipe(device="cuda"))(1, STEPS)
    assert requested(case, CUDNN) == {4 * (8 * 8 * 9 + 8) + 4 * 2 * 8 * 512**2}
    cap = 70 * MIB
    assert replayed(case, cap)
    assert not replayed(case, cap, worst=True)


def test_cublas_keeps_a_workspace_in_each_thread():
    names = "cuBLAS", "cuBLASLt", "cuBLAS of backward"
    case = batches(load("lenet5"), MOMENTUM, find_card("a100-40"))(1, STEPS)
    assert [requested(case, name) for name in names] == [{8_519_680}, {MIB}, {8_519_680}]
    case = batches(load("lenet5"), Recipe(device="cuda"))(1, STEPS)
    assert [requested(case, name) for name in names] == [{32 * MIB}, {MIB}, set()]


def test_a_card_without_its_context():
    card = find_card("a100-40")
    assert space_of(card) == Space(card.memory - 10**9, card.memory - 2 * 10**8)


@pytest.mark.parametrize("last", range(8))
def test_the_search_finds_the_edge(last):
    for most in range(last, 40):
        asked = []
        assert edge(lambda n: asked.append(n) or n <= last, most) == last  # noqa: B023
        assert len(asked) <= 12


@pytest.mark.parametrize(
    ("failing", "guaranteed"), [([], 30), ([30], 29), ([28], 27), ([14, 26], 13), ([*range(1, 31)], 0)]
)
def test_a_smaller_batch_that_fails_lowers_the_guaranteed_one(failing, guaranteed, monkeypatch):
    """Of up to 30 images; 28, 26 and 14 are among those that are tried for 30."""
    cases = batches(load("lenet5"), MOMENTUM)

    def made_up(case, cap, worst=False):
        return None if case.batch > 30 or (worst and case.batch in failing) else Allocator()

    monkeypatch.setattr("archcalc.analysis.fit.replayed", made_up)
    assert largest(cases, fixed(needed(cases(40, STEPS)))).guaranteed == guaranteed


def test_amounts_tried_below():
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
    _, _, cudnn = workspace_terms(analyze(graph, batch, mode="train"), card)
    assert max(requested(case, CUDNN)) == cudnn.usual
    assert cudnn.high == cudnn_most(cudnn.usual)
