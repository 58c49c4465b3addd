"""The table of GPUs against what their chips can do, and times by hand arithmetic."""

import json
from collections import Counter
from pathlib import Path

import pytest

from archcalc import ArchcalcError, analyze, load, parse
from archcalc.analysis.cards import CARDS, find_card
from archcalc.analysis.optimizers import OPTIMIZERS
from archcalc.analysis.recipe import USUAL
from archcalc.analysis.roofline import LAUNCH, layer_times, lower_bound, step_bound, winograd_may_win

# Multiprocessors, boost clock in MHz, that of the tensor cores, multiply-accumulates per clock and multiprocessor in
# float32, TF32 and float16, width of the memory bus in bits, and Gbit/s per bit of it.
CHIPS = {
    "b200": (148, 1980, 1860, 128, 2048, 4096, 8192, 8),
    "h200": (132, 1980, 1830, 128, 1024, 2048, 6144, 6.25),
    "h100": (132, 1980, 1830, 128, 1024, 2048, 5120, 5.23),
    "h100-pcie": (114, 1755, 1620, 128, 1024, 2048, 5120, 3.19),
    "a100-80": (108, 1410, 1410, 64, 512, 1024, 5120, 3.19),
    "a100-40": (108, 1410, 1410, 64, 512, 1024, 5120, 2.43),
    "a40": (84, 1740, 1740, 128, 256, 512, 384, 14.5),
    "a30": (56, 1440, 1440, 64, 512, 1024, 3072, 2.43),
    "a10": (72, 1695, 1695, 128, 256, 512, 384, 12.5),
    "l40s": (142, 2520, 2520, 128, 256, 512, 384, 18),
    "l4": (58, 2040, 2040, 128, 256, 512, 192, 12.5),
    "t4": (40, 1590, 1590, 64, 0, 512, 256, 10),
    "v100-32": (80, 1530, 1530, 64, 0, 512, 4096, 1.75),
    "v100-16": (80, 1530, 1530, 64, 0, 512, 4096, 1.75),
    "p100": (56, 1480, 1480, 64, 0, 128, 4096, 1.43),
    "rtx-a6000": (84, 1800, 1800, 128, 256, 512, 384, 16),
    "rtx-6000-ada": (142, 2505, 2505, 128, 256, 512, 384, 20),
    "rtx-5090": (170, 2407, 2407, 128, 128, 256, 512, 28),
    "rtx-4090": (128, 2520, 2520, 128, 128, 256, 384, 21),
    "rtx-4080": (76, 2505, 2505, 128, 128, 256, 256, 22.4),
    "rtx-3090": (82, 1695, 1695, 128, 128, 256, 384, 19.5),
    "rtx-3080": (68, 1710, 1710, 128, 128, 256, 320, 19),
    "rtx-2080-ti": (68, 1635, 1635, 64, 0, 256, 352, 14),
}


def wrong(card):
    """The figures of a card that its chip cannot have: 3 % off or more, or of a unit that it lacks."""
    count, clock, tensor_clock, *rates, bits, rate = CHIPS[card.key]
    clocks = {"fp32": clock, "tf32": tensor_clock, "fp16": tensor_clock}
    expected = {key: 2 * count * rate * clocks[key] / 1e6 for key, rate in zip(clocks, rates, strict=True)}
    expected["gigabytes_per_second"] = bits * rate / 8
    return [key for key, figure in expected.items() if abs((getattr(card, key) or 0) - figure) > 0.03 * figure]


def test_peaks_and_bandwidths_are_what_the_chips_can_do():
    assert CHIPS.keys() == CARDS.keys()
    assert {key: wrong(card) for key, card in CARDS.items() if wrong(card)} == {"b200": ["fp32"]}  # 75 or 80 is printed


@pytest.mark.parametrize("key", CARDS)
def test_the_test_above_notices_sparse_figures_and_other_bandwidths(key):
    card = CARDS[key]
    for changed in ("fp16", "tf32", "gigabytes_per_second"):
        if figure := getattr(card, changed):
            assert changed in wrong(card._replace(**{changed: 2 * figure}))


@pytest.mark.parametrize("card", CARDS.values(), ids=CARDS)
def test_memory_is_a_little_less_than_the_name_says(card):
    nominal = next(size for size in (10, 11, 16, 24, 32, 40, 48, 80, 141, 180) if card.mebibytes <= 1024 * size)
    assert 0.9 * 1024 * nominal < card.mebibytes <= 1024 * nominal
    assert card.reported == (card.mebibytes < 1024 * nominal)
    assert card.memory == card.mebibytes * 2**20
    assert card.source.startswith(("https://www.nvidia.com/", "https://images.nvidia.com/"))


def test_the_h100_has_the_memory_of_our_records():
    paths = (Path(__file__).parent.parent / "bench" / "records").glob("NVIDIA-H100-80GB-HBM3-*-fit.json")
    (record,) = (json.loads(path.read_text()) for path in paths)
    assert find_card(record["device"]).memory == record["device_bytes"]


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("h100", "h100"),
        ("NVIDIA H100 PCIe", "h100-pcie"),
        ("NVIDIA A100-SXM4-40GB", "a100-40"),
        ("Tesla V100-SXM2-16GB", "v100-16"),
        ("NVIDIA GeForce RTX 4090", "rtx-4090"),
        ("4090", "rtx-4090"),
        ("NVIDIA RTX 6000 Ada Generation", "rtx-6000-ada"),
        ("RTX 2080 Ti", "rtx-2080-ti"),
    ],
)
def test_cards_are_found_by_the_names_of_drivers_and_people(name, key):
    assert find_card(name).key == key


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("a100", "card 'a100' is not exact; type a100-80 or a100-40"),
        ("rtx 6000", "card 'rtx 6000' is not exact; type rtx-6000-ada"),
        (
            "rtx-4070",
            "unknown card 'rtx-4070'; did you mean rtx-4090 or rtx-4080 or rtx-5090?\n  of another card, write the",
        ),
        ("nvidia", "unknown card 'nvidia'; one of b200, h200, h100, h100-pcie, "),
        ("", "unknown card ''; one of b200, h200, "),
    ],
)
def test_unknown_cards(name, message):
    with pytest.raises(ArchcalcError) as error:
        find_card(name)
    assert str(error.value).startswith(message)


def test_no_two_cards_have_the_same_name():
    names = [find_card(name).key for card in CARDS.values() for name in (card.key, *card.aliases)]
    assert names == [card.key for card in CARDS.values() for _ in (card.key, *card.aliases)]


def test_peaks_by_dtype():
    a100, t4 = find_card("a100-40"), find_card("t4")
    assert (a100.peak("float32"), a100.peak("float32", tf32=True)) == (19.5e12, 156e12)
    assert a100.peak("bfloat16") == a100.peak("float16", tf32=True) == 312e12
    assert t4.peak("float32", tf32=True) == 8.1e12  # no TF32 before Ampere
    for card, dtype in ((t4, "bfloat16"), (a100, "float64")):
        with pytest.raises(ArchcalcError, match=f"{card.key} has no known peak for {dtype}; try --dtype float32"):
            card.peak(dtype)


# Times

SMALL = parse("""
name: small
input: [64, 32, 32]
layers:
  - conv(64, 3, padding=1, bias=False)
  - relu
  - flatten
  - linear(1000, bias=False)
""")


def test_times_by_hand():
    card = find_card("a100-40")  # 156 TFLOP/s in TF32, 19.5 in float32, 1,555 GB/s
    conv, relu, flatten, linear = layer_times(analyze(SMALL, batch=32), card)[1:]
    macs, values, weights = 32 * 64 * 32 * 32 * 64 * 9, 32 * 64 * 32 * 32, 64 * 64 * 9
    assert conv.compute == 2 * macs / 156e12
    assert conv.memory == 4 * (2 * values + weights) / 1555e9
    assert (relu.compute, relu.memory) == (0, 4 * 2 * values / 1555e9)
    assert (flatten.seconds, flatten.bound) == (0, "")
    assert linear.compute == 2 * 32 * 65536 * 1000 / 19.5e12
    assert linear.memory == 4 * (values + 65536 * 1000 + 32 * 1000) / 1555e9
    assert [time.bound for time in (conv, relu, linear)] == ["compute", "memory", "compute"]


@pytest.mark.parametrize(("tied", "table"), [(", weight=table", 64_000), ("", 0)])
def test_a_forward_pass_need_not_move_the_table_of_an_embedding(tied, table):
    """It reads a few rows; a tied linear layer reads the whole table, one of its own weights as large."""
    own = "name: own\ninput: {{T: 2}}\nlayers:\n- table: embedding(1000, 64)\n- linear(1000, bias=False{})\n"
    report, card = analyze(parse(own.format(tied)), batch=1), find_card("a100-40")
    moved = 2 + 2 * 1000 + 64_000  # numbers, outputs, and the weight of the linear layer
    assert lower_bound(report, card) == pytest.approx(4 * moved / 1555e9, rel=1e-12)
    assert report.totals.params == 128_000 - table


def test_the_lower_bound_by_hand():
    report, card = analyze(SMALL, batch=32), find_card("a100-40")
    arithmetic = 2 * 32 * (64 * 32 * 32 * 64 * 9 / 156e12 + 65536 * 1000 / 19.5e12)
    moved = 4 * (64 * 64 * 9 + 65536 * 1000 + 32 * (64 * 32 * 32 + 1000))
    assert lower_bound(report, card) == pytest.approx(max(arithmetic, moved / 1555e9), rel=1e-12)
    assert lower_bound(report, card) == pytest.approx(arithmetic, rel=1e-12)
    one = analyze(SMALL)  # memory-bound: the weights of the linear layer
    assert lower_bound(one, card) == pytest.approx(4 * (36864 + 65536000 + 65536 + 1000) / 1555e9, rel=1e-12)


def test_the_bound_of_a_step_by_hand():
    card, adam = find_card("a100-40"), USUAL._replace(optimizer="adam", accumulate=3)
    conv, linear = 64 * 32 * 32 * 64 * 9, 65536 * 1000
    params = 64 * 64 * 9 + 65536 * 1000
    state = 2 * 4 * params
    report = analyze(SMALL, 512, mode="train", recipe=adam)
    # the first layer computes no gradient of the image
    passes = 2 * 512 * (2 * conv / 156e12 + 3 * linear / 19.5e12)
    update = report.totals.optimizer_flops / 19.5e12
    assert step_bound(report, card, state) == pytest.approx(3 * passes + update, rel=1e-12)
    one = analyze(SMALL, mode="train", recipe=USUAL._replace(frozen=("conv",)))  # memory-bound
    moved = 4 * (params + 64 * 32 * 32 + 1000) + 3 * 4 * linear + 2 * 4 * linear
    assert step_bound(one, card, 4 * linear) == pytest.approx(moved / 1555e9, rel=1e-12)


@pytest.mark.parametrize("name", ["vgg16", "resnet50", "densenet121", "lenet5"])
def test_a_step_takes_longer_than_its_forward_pass(name):
    for optimizer in OPTIMIZERS:
        report = analyze(load(name), 4, mode="train", recipe=USUAL._replace(optimizer=optimizer))
        assert step_bound(report, find_card("h100"), 0) > lower_bound(report, find_card("h100"))


@pytest.mark.parametrize(
    ("layers", "card", "dtype", "may_win"),
    [
        ("conv(8, 3)", "t4", "float32", True),  # no TF32
        ("conv(8, 3)", "rtx-3080", "float32", True),  # TF32 is no faster
        ("conv(8, 3)", "a100-40", "float32", False),  # 8 times
        ("conv(8, 3)", "t4", "float16", False),
        ("conv(8, 3, stride=2)", "t4", "float32", False),
        ("conv(8, 3, dilation=2)", "t4", "float32", False),
        ("conv(8, 5) | maxpool(3, stride=1)", "t4", "float32", False),
    ],
)
def test_where_winograd_may_beat_the_bounds(layers, card, dtype, may_win):
    graph = parse(f"name: t\ninput: [3, 16, 16]\nlayers:\n  - {layers}\n")
    assert winograd_may_win(analyze(graph, dtype=dtype), find_card(card)) == may_win


def test_vgg16_counts_two_operations_per_mac_at_dense_peaks():
    bound = lower_bound(analyze(load("vgg16"), batch=32), find_card("a100-40"))
    convolutions, linear = 15_346_630_656, 123_633_664
    assert bound == pytest.approx(32 * (2 * convolutions / 156e12 + 2 * linear / 19.5e12), rel=1e-9)


def test_half_precision_takes_half_the_bytes_and_its_own_peak():
    card = find_card("a100-40")
    single, half = (analyze(SMALL, batch=32, dtype=dtype) for dtype in ("float32", "float16"))
    for a, b in zip(layer_times(single, card), layer_times(half, card), strict=True):
        assert b.memory == a.memory / 2
        ratio = 312 / 19.5 if a.node.op.name == "linear" else 2
        assert b.compute == pytest.approx(a.compute / ratio)


def test_what_is_shorter_than_a_launch_is_bound_by_launches():
    card = find_card("a100-40")
    times = layer_times(analyze(load("lenet5")), card)
    assert Counter(time.bound for time in times).keys() == {"", "launch"}
    assert all(time.seconds < LAUNCH for time in times)


@pytest.mark.parametrize("name", ["vgg16", "resnet50", "densenet121", "googlenet", "squeezenet1.0"])
@pytest.mark.parametrize("key", ["h100", "t4", "rtx-4090"])
def test_no_bound_exceeds_the_sum_over_layers(name, key):
    report, card = analyze(load(name), batch=8), find_card(key)
    assert 0 < lower_bound(report, card) <= sum(time.seconds for time in layer_times(report, card))
