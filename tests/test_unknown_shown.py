"""Layers of whose work nothing is known, and values that are not of the network's dtype, in figures and pictures."""

import json

import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402  # the test needs PyTorch

import archcalc  # noqa: E402
from archcalc.analysis.depth import depths  # noqa: E402
from archcalc.analysis.explanation import explain  # noqa: E402
from archcalc.analysis.ledger import ledgers_of  # noqa: E402
from archcalc.comparing import accuracy  # noqa: E402
from archcalc.comparing.alignment import align  # noqa: E402
from archcalc.graph.graph import About  # noqa: E402
from archcalc.importers.building import Builder  # noqa: E402
from archcalc.ops import Shape  # noqa: E402
from archcalc.ops.base import REGISTRY, Saved  # noqa: E402
from archcalc.ops.imported import Imported  # noqa: E402
from archcalc.ops.shape import Features  # noqa: E402
from archcalc.render.choice import Choice, chosen  # noqa: E402
from archcalc.render.formats import render  # noqa: E402
from archcalc.render.pictures.profile import _total, bars  # noqa: E402
from archcalc.render.tables.compare_parts import alignment_table  # noqa: E402
from archcalc.render.tables.conventions import side_by_side  # noqa: E402
from archcalc.render.tables.explain import explanation  # noqa: E402
from archcalc.render.tables.summaries import summarize  # noqa: E402


class Fourier(nn.Module):
    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.zeros(5, dtype=torch.complex64))

    def forward(self, x):
        y = torch.fft.irfft(torch.fft.rfft(x) * self.scale, n=8)
        return y * (x > 0)


@pytest.fixture(scope="module")
def fourier():
    return archcalc.analyze(archcalc.from_torch(Fourier(), (8,)))


def test_a_complex_value_has_twice_the_bytes(fourier):
    assert (fourier.totals.params, fourier.totals.param_bytes) == (5, 5 * 8)
    product = fourier.layer("mul")
    assert product.activation_bytes == 5 * 8
    assert product.bytes_moved == 3 * 5 * 8  # two factors and the product


class Tables(nn.Module):
    """Buffers of whole numbers and of half precision, and weights that never run."""

    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(8, 8)
        self.register_buffer("index", torch.zeros(7, dtype=torch.int64))
        self.register_buffer("offsets", torch.zeros(7, dtype=torch.float16))
        self.unused = nn.Linear(2, 2).double()

    def forward(self, x):
        return self.fc(x)[:, self.index] + self.offsets


def test_weights_and_buffers_have_the_bytes_of_their_dtype():
    totals = archcalc.analyze(archcalc.from_torch(Tables(), (8,))).totals
    assert (totals.buffer_bytes, totals.param_bytes) == (7 * 8 + 7 * 2, 72 * 4 + 6 * 8)


def test_a_bool_has_one_byte(fourier):
    assert fourier.layer("gt").activation_bytes == 8
    assert fourier.layer("gt").bytes_moved == 8 * 4 + 8
    assert fourier.layer("mul2").bytes_moved == 8 * 4 + 8 + 8 * 4


def graph(counts):
    """A linear layer, and a function with weights."""
    builder = Builder()
    start = builder.input("x", Features((4,)))
    first = builder.add(REGISTRY["linear"](out_features=4), [start], "fc")
    own = Imported(function="f", made=Shape((4,)), tensors=(("weight", (4, 4)),), counts=counts, kept=Saved())
    return builder.graph("net", {"y": builder.add(own, [first], "own")}, About())


@pytest.mark.parametrize(("counts", "text"), [(None, "≥ 1"), ((("mac", 16),), "2"), ((("add", 16),), "1")])
def test_depth_is_a_bound_if_a_function_with_weights_is_unknown(counts, text):
    made = graph(counts)
    assert f"{archcalc.analyze(made).totals.depth}" == text
    assert depths(made, most=True)[-1] - depths(made)[-1] == text.startswith("≥")


def test_a_picture_of_nothing_known_has_a_dash_as_total():
    builder = Builder()
    own = Imported(function="f", made=Shape((4,)), counts=None, kept=Saved())
    made = builder.graph("net", {"y": builder.add(own, [builder.input("x", Features((4,)))], "own")}, About())
    assert _total("macs", archcalc.analyze(made)) == "total –, ?: unknown"


def test_pictures_mark_what_is_unknown():
    unknown, known = (bars(archcalc.analyze(graph(counts))) for counts in (None, (("mac", 16),)))
    assert [bar.unknown for bar in unknown][-1] == {"macs"}
    assert not any(bar.unknown for bar in known)


def test_a_lower_bound_has_no_place_between_exact_figures(monkeypatch):
    monkeypatch.setattr(accuracy, "load_with", lambda name, params, title: graph(None))
    with pytest.raises(archcalc.ArchcalcError, match="its MACs or params are zero or unknown"):
        accuracy.own_point("mine.onnx", 70)


def test_data_say_which_sums_are_lower_bounds():
    group = blocks(None)
    table = explanation(group, "b", *explain(group, "b"))
    assert json.loads(render(table, "json"))["at_least"] == table.facts["at_least"]
    assert "macs" in table.facts["at_least"]
    assert "at_least" not in explanation(blocks((("mac", 16),)), "b", *explain(blocks((("mac", 16),)), "b")).facts

    parts = alignment_table(align(group, archcalc.analyze(archcalc.load("lenet5"))), "stage", every=True)
    rows = json.loads(render(chosen(parts, Choice(("macs_a",))), "json"))["parts"]
    assert {"part_a": "b", "macs_a": 16, "at_least": ["macs_a", "flops_a"]} in rows
    assert not any(row["at_least"] for row in rows if row["part_a"] != "b")

    counted = side_by_side(group, ledgers_of(group))
    rows = json.loads(render(chosen(counted, Choice(("figure",))), "json"))["conventions"]
    assert {"convention": "macs", "figure": 16, "unknown": ["f"]} in rows


def blocks(counts):
    """A report of a block `b` of a linear layer and a function."""
    builder = Builder()
    first = builder.add(REGISTRY["linear"](out_features=4), [builder.input("x", Features((4,)))], "b.fc")
    own = Imported(function="f", made=Shape((4,)), counts=counts, kept=Saved())
    return archcalc.analyze(builder.graph("net", {"y": builder.add(own, [first], "b.own")}, About()))


class Spectrum(nn.Module):
    def __init__(self, linear):
        super().__init__()
        self.linear = linear

    def forward(self, x):
        return torch.fft.fft(self.linear(x)).real


@pytest.mark.parametrize(
    ("layer", "convention", "begins"),
    [
        (nn.Linear(8, 8), "all", ["≥: at least so much, with"]),
        (nn.Linear(8, 8), "torchinfo", ["≥: at least so much, with", "Tools count how code is written"]),
        (nn.Identity(), "all", ["–: unknown, with"]),
        (nn.Identity(), "torchinfo", ["–: unknown, with"]),
    ],
)
def test_a_summary_explains_the_signs_that_it_shows(layer, convention, begins):
    report = archcalc.analyze(archcalc.from_torch(Spectrum(layer), (8,)), flops=convention)
    notes = summarize(report, everything=True).notes
    assert [note[: len(text)] for note, text in zip(notes, begins, strict=False)] == begins
    assert not any("≥" in note for note in notes[len(begins) :])
