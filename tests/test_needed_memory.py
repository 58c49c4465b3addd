"""What a recipe needs: one peak by kind, layer, phase and moment, and whether a card has room for it."""

from contextlib import nullcontext

import pytest
import torch

from archcalc import ArchcalcError, SpecError, load, parse
from archcalc.analysis.cards import CARDS, find_card
from archcalc.analysis.memory_trace import KINDS
from archcalc.analysis.needed_memory import memory_needs
from archcalc.analysis.recipe import Recipe
from archcalc.analysis.report import analyze
from archcalc.analysis.simulation import simulate
from archcalc.analysis.workspaces import workspace_terms
from archcalc.pytorch.network import Network

TRAIN = Recipe("momentum", device="cuda")
NETWORKS = ["vgg16", "resnet18", "googlenet", "lenet5"]


def needs_of(name, recipe=TRAIN, batch=4, card=None):
    return memory_needs(load(name), recipe, batch, card and find_card(card))


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("recipe", [TRAIN, Recipe("adam", weight_decay=True), Recipe(device="cuda")])
def test_kinds_and_layers_add_up_to_the_peak(name, recipe):
    needs = needs_of(name, recipe)
    assert sum(needs.budget(needs.top).values()) == needs.top.peak
    for depth in (None, 1, 2):
        held = needs.held(needs.top, depth)
        assert sum(kinds.total() for kinds in held.values()) == needs.top.peak
    assert max(sum(point) for point in needs.curve(50).points) == needs.top.peak


@pytest.mark.parametrize("name", NETWORKS)
def test_a_budget_has_what_is_known_otherwise(name):
    needs, totals = needs_of(name), analyze(load(name), 4, mode="train").totals
    budget, inference = needs.budget(needs.top), needs.budget(needs.inference)
    assert list(budget) == list(KINDS)
    assert budget["parameter"] == budget["optimizer state"] == totals.param_bytes
    assert budget["buffer"] == inference["buffer"] == totals.buffer_bytes
    assert inference["kept"] == inference["gradient"] == inference["optimizer state"] == 0


def test_two_steps_stand_for_all():
    graph = load("resnet18")
    more = simulate(graph, TRAIN._replace(steps=5)).peaks(4)
    assert needs_of("resnet18").top.peak == max(peak.peak for peak in more if peak.step)


def test_phases_and_the_moment_of_the_peak():
    needs = needs_of("vgg16")
    phases = [(phase.phase, phase.step) for phase in needs.phases]
    assert phases == [("state", None)] + [(n, s) for s in (1, 2) for n in ("forward", "backward", "optimizer")]
    assert max(phase.peak for phase in needs.phases) == needs.top.peak
    top = next(phase for phase in needs.phases if phase.peak == needs.top.peak)
    assert (top.phase, top.step, top.layer) == (needs.top.phase, needs.top.step, needs.layer_at(needs.top))
    assert [phase.layer for phase in needs.phases if phase.phase == "optimizer"] == [None, None]
    assert [phase.phase for phase in needs_of("vgg16", Recipe()).phases] == ["state", "inference"]


def test_a_phase_in_which_nothing_is_allocated():
    needs = memory_needs(parse("name: plain\ninput: [3, 8, 8]\nlayers: [identity]"), Recipe(device="cuda"), 2)
    image = 2 * 3 * 8 * 8 * 4
    assert [(phase.phase, phase.peak, phase.allocated) for phase in needs.phases] == [
        ("state", image, image), ("inference", image, image)
    ]  # fmt: skip
    curve = needs.curve(80)
    assert ([sum(point) for point in curve.points], curve.starts) == ([image], [("inference", 0)])


ALONE = "name: t\ninput: [3, 8, 8]\nlayers:\n  - conv(4, 3) | {pool}\n  - norm: batchnorm\n  - flatten | linear(2)\n"


@pytest.mark.parametrize(
    ("pool", "recipe", "layer"),
    [("global_avgpool", TRAIN, "norm"), ("global_avgpool", Recipe(), ""), ("avgpool(3)", TRAIN, "")],
)
def test_batch_normalization_of_one_value_per_channel(pool, recipe, layer):
    needs = memory_needs(parse(ALONE.format(pool=pool)), recipe)
    assert needs.needs_two == layer
    if recipe.optimizer:
        network = Network(needs.graph)
        refused = pytest.raises(ValueError, match="Expected more than 1 value per channel")
        with refused if layer else nullcontext():
            network(torch.rand(1, 3, 8, 8))
        network(torch.rand(2, 3, 8, 8))


def test_equal_batches_of_a_step_are_one_row():
    first, second = (needs_of("lenet5", TRAIN._replace(accumulate=count)).phases for count in (8, 16))
    assert [phase._replace(batches=None) for phase in first] == [phase._replace(batches=None) for phase in second]
    assert [phase.batches for phase in second] == [None, *[(1, 1), (1, 1), (2, 16), (2, 16), None] * 2]
    assert len(first) == 1 + 2 * (2 + 2 + 1)  # the state; of each step the first batch, a later one, the optimizer


@pytest.mark.parametrize("recipe", [TRAIN, Recipe("adam", True, amp=True), Recipe("sgd", module="torchvision")])
@pytest.mark.parametrize("name", ["lenet5", "googlenet", "resnet18"])
def test_a_few_batches_of_a_step_stand_for_all(name, recipe):
    graph, recipe = load(name), recipe._replace(accumulate=7, steps=2)
    every, few = simulate(graph, recipe).peaks(2), simulate(graph, recipe.brief).peaks(2)
    assert {peak[:5] for peak in every} == {peak[:5] for peak in few}
    assert len(every) == 2 + 2 * (7 * 2 + 1) > len(few)
    one = simulate(graph, recipe._replace(accumulate=1)).peaks(2)
    assert {peak[:5] for peak in every} != {peak[:5] for peak in one}


def test_a_million_batches_per_step():
    million, three = (needs_of("lenet5", TRAIN._replace(accumulate=count)) for count in (10**6, 3))
    assert (million.top, million.allocated, million.reserved) == (three.top, three.allocated, three.reserved)
    assert (million.top_phase.batches, three.top_phase.batches) == ((2, 10**6), (2, 3))
    assert million.recipe.accumulate == 10**6


@pytest.mark.parametrize("name", NETWORKS)
def test_more_is_allocated_than_requested_and_more_reserved(name):
    needs = needs_of(name)
    assert needs.top.peak <= needs.allocated <= needs.reserved[0] <= needs.reserved[1]
    assert all(phase.peak <= phase.allocated for phase in needs.phases)


def test_on_the_cpu_there_is_no_allocator():
    needs = needs_of("lenet5", TRAIN._replace(device="cpu"))
    assert (needs.allocated, needs.reserved, needs.fit, needs.times, needs.terms) == (None, None, None, None, ())


def test_without_a_card_the_terms_are_the_largest():
    report = analyze(load("lenet5"), mode="train")
    terms = [[term.high for term in workspace_terms(report, card)] for card in CARDS.values()]
    highest = [max(sizes) for sizes in zip(*terms, strict=True)]
    assert [term.high for term in workspace_terms(report)] == highest
    assert [term.high for term in needs_of("lenet5", batch=1).terms] == highest


@pytest.mark.parametrize(("batch", "fits"), [(32, True), (192, None), (600, False)])
def test_whether_it_fits(batch, fits):
    found = needs_of("vgg16", batch=batch, card="l4").fit
    assert found.fits(batch) is fits
    assert (found.lacking > 0) == (fits is not True)
    assert 32 < found.guaranteed < 192 < found.bound < 600


def test_times_on_a_card():
    times = needs_of("vgg16", card="a100-40").times
    assert 0 < times.forward <= sum(layer.seconds for layer in times.layers)
    assert times.forward < times.step < needs_of("vgg16", TRAIN._replace(accumulate=2), card="a100-40").times.step
    adam, frozen = TRAIN._replace(optimizer="adam"), TRAIN._replace(frozen=("stage1",))
    assert needs_of("vgg16", frozen, 1, "a100-40").times.step < needs_of("vgg16", TRAIN, 1, "a100-40").times.step
    assert needs_of("vgg16", adam, 1, "a100-40").times.step > needs_of("vgg16", TRAIN, 1, "a100-40").times.step
    assert needs_of("vgg16", TRAIN._replace(dtype="bfloat16"), card="t4").times is None
    assert needs_of("vgg16", TRAIN._replace(dtype="float64"), card="h100").fit.fits(4)


def test_a_curve_of_every_event_and_of_few():
    needs = needs_of("lenet5")
    every, few = needs.curve(10**6), needs.curve(20)
    assert [name for name, _ in every.starts] == ["forward", "backward", "optimizer"] == [n for n, _ in few.starts]
    assert len(few.points) == 20 < len(every.points)
    sums = [sum(point) for point in every.points]
    assert max(sums[slice(*[start for _, start in every.starts[1:]])]) == needs.top.peak  # in backward


def test_what_cannot_be_trained():
    with pytest.raises(ArchcalcError, match="plain cannot be trained"):
        memory_needs(parse("name: plain\ninput: [3, 8, 8]\nlayers: [relu]"), TRAIN)
    with pytest.raises(ArchcalcError, match="lenet5 cannot be trained: no part of it has weights"):
        needs_of("lenet5", TRAIN._replace(frozen=tuple(node.name for node in load("lenet5").nodes)))
    with pytest.raises(SpecError):
        memory_needs(load("googlenet", input=(3, 64, 64)), TRAIN)
    with pytest.raises(ArchcalcError, match="batch must be a whole number"):
        needs_of("lenet5", batch=0)
    assert memory_needs(load("googlenet", input=(3, 64, 64)), Recipe()).top.peak


def test_a_single_image_is_simulated_as_such():
    assert needs_of("googlenet", batch=1).recipe.single
    assert not needs_of("googlenet", batch=2).recipe.single
