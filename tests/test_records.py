"""What was measured on real devices, kept in `bench/records/`, against the figures of today."""

import json
from functools import lru_cache
from math import prod
from pathlib import Path
from string import digits

import pytest
from support.torchvisions import torchvisions

from archcalc import analyze, load
from archcalc.analysis.cards import find_card
from archcalc.analysis.fit import Space, batches, largest
from archcalc.analysis.recipe import Recipe
from archcalc.analysis.simulation import simulate
from archcalc.analysis.workspaces import most_in, workspace_terms

RECORDS = Path(__file__).parent.parent / "bench" / "records"
BYTES = {"float32": 4, "autocast": 4, "float16": 2, "bfloat16": 2}  # per weight
LABEL = 8  # bytes of a target in int64


def records(ending):
    """The records whose names end so, each with its file's name."""
    paths = sorted(RECORDS.glob(f"*{ending}.json"))
    assert paths
    return [pytest.param(json.loads(path.read_text()), id=path.name) for path in paths]


@pytest.mark.parametrize("record", [*records("-[0-9][0-9]"), *records("-bfloat16"), *records("-folded")])
def test_every_network_was_equal_on_the_device(record):
    assert record["complete"]
    assert record["device"].startswith("NVIDIA")
    networks = record.get("networks") or record["cases"]
    assert len(networks) > 100
    for made in networks:
        assert made["checks"] > 0, made
        assert not made["differences"], made
        assert not made["problem"], made


@lru_cache
def weights_and_image(name, dtype):
    """Bytes of a network's weights and buffers in training, and the values of one image."""
    totals = analyze(load(name), dtype=dtype, mode="train").totals
    return totals.param_bytes + totals.buffer_bytes, prod(load(name).input)


def requested(case):
    """The bytes that a case's weights ask for, and those of weights, image and target."""
    dtype = "float32" if case["precision"] == "autocast" else case["precision"]
    weights, values = weights_and_image(case["network"], dtype)
    return weights, weights + case["batch"] * (values * BYTES[dtype] + LABEL)


ESTIMATORS = json.loads((RECORDS / "estimators.json").read_text())
PHASES = json.loads((RECORDS / "cpu-phases.json").read_text())


def test_no_phase_on_the_cpu_differed():
    assert [row for row in (*PHASES["networks"], *PHASES["recipes"]) if row["differing"] or row["largest"]] == []
    assert min(row["phases"] for row in PHASES["networks"]) == 180  # 9 recipes, most with 11 phases, at two sizes


@pytest.mark.parametrize("row", PHASES["networks"], ids=lambda r: r["network"])
def test_peaks_recorded_on_the_cpu(row):
    graph = load(row["network"])
    graph = load(row["network"], input=(graph.input[0], row["sides"][-1], row["sides"][-1]))
    trace = simulate(graph, Recipe("momentum"))
    assert max(trace.curve(row["batches"][-1])) == row["peak"]
    assert max(trace.curve(row["batches"][-1] + 1)) != row["peak"]


BY_HAND = json.loads((RECORDS / "cpu-by-hand.json").read_text())


def over(case, module):
    """By how much the peaks of torchvision's module are predicted too high, by phase and step; all ends are equal."""
    trace = simulate(torchvisions(case["network"], case["side"]), Recipe(case["optimizer"], module=module))
    found = {}
    for peak, (phase, step, most, end) in list(zip(trace.peaks(BY_HAND["batch"]), case["phases"], strict=True))[1:]:
        assert (peak.phase, peak.step, peak.end) == (phase, step, end)
        found[phase, step] = peak.peak - most
    return found


@pytest.mark.parametrize("case", BY_HAND["cases"][::2], ids=lambda case: f"{case['network']}-{case['optimizer']}")
def test_modules_written_by_hand_as_recorded_on_the_cpu(case):
    """Equal to the byte, but for VGG with batch normalization at inference, whose layers are one `nn.Sequential`."""
    excess = {what: more for what, more in over(case, "torchvision").items() if more}
    sequential = case["network"] in ("vgg13_bn", "vgg16_bn", "vgg19_bn")
    one = 64 * 4 * case["side"] ** 2 * BY_HAND["batch"]  # the input of the second convolution
    assert excess == ({("inference", 0): one} if sequential else {})


@pytest.mark.parametrize(
    "name", ["resnet50", "densenet121", "inception_v3", "mobilenet_v2", "squeezenet1_0", "alexnet"]
)
def test_the_rules_of_build_are_too_short_for_them(name):
    case = next(case for case in BY_HAND["cases"] if case["network"] == name)
    assert min(over(case, "build").values()) < 0


@pytest.mark.parametrize("record", records("-memory"))
def test_weights_and_image_are_what_the_allocator_was_asked_for(record):
    end = record["columns"].index("requested end")
    built = [case for case in record["cases"] if case["module"] == "build"]
    assert len(built) > 700
    for case in built:
        measured = tuple(case["phases"][phase][end] for phase in ("weights", "state"))
        assert measured == requested(case), case["network"]


def workspaces_of(made):
    """As of today; when the record was made, four times a convolution's tensors were allowed."""
    return workspace_terms(analyze(load(made["network"]), made["batch"], mode="train"), find_card("h100"))


@pytest.mark.slow
@pytest.mark.parametrize("record", records("-tried"))
def test_what_a_device_needed_more_than_predicted_is_within_the_workspaces(record):
    assert record["complete"]
    assert len(record["memory"]) == 190
    for made in record["memory"]:
        assert not made["problem"], made
        assert not made["wrong"], made
        terms = workspaces_of(made)
        for phase, peak in made["phases"].items():
            more = peak - made["predicted"][phase]
            assert 0 <= more <= most_in(phase.rstrip(digits), terms), (made["network"], phase)
            assert more in (0, terms[1].high) or not phase.startswith("optimizer")
    for made in record["memory"][::3]:
        trace = simulate(load(made["network"]), Recipe(made["optimizer"], device="cuda"))
        predicted = {f"{peak.phase}{peak.step or ''}": peak.peak for peak in trace.peaks(made["batch"])}
        assert predicted == made["predicted"], made["network"]


@pytest.mark.parametrize("record", records("-tried"))
def test_the_largest_batches_lie_where_fit_says(record):
    assert len(record["fits"]) == 10
    for made in record["fits"]:
        recipe, card = Recipe(made["optimizer"], device="cuda"), find_card(record["device"])
        found = largest(batches(load(made["network"]), recipe, card), Space(made["cap"], made["cap"]))
        assert found.guaranteed <= made["largest"] <= found.bound, made
        assert all(found.guaranteed < int(batch) for batch, problem in made["tries"].items() if problem), made
        assert not made["tries"][str(made["largest"])], made
        assert made["tries"][str(made["largest"] + 1)], made


@pytest.mark.parametrize(("name", "said"), ESTIMATORS["networks"].items())
def test_pytorchs_own_tracker_says_the_same(name, said):
    (tracked,) = (count for title, count in said.items() if title.startswith("MemTracker"))
    trace = simulate(load(name), Recipe("momentum", foreach=True))
    assert max(trace.curve(ESTIMATORS["batch"])) == tracked
    assert max(trace.curve(ESTIMATORS["batch"] + 1)) != tracked
