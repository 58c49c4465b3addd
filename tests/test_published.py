"""Verdicts on published figures are computed, and can come out either way."""

import pytest

from archcalc import SpecError, analyze, catalog, load, parse
from archcalc.published import Figure, audit, read_printed

SPEC = """
name: t
input: [3, 8, 8]
layers:
  - a: conv(4, 1)
  - b: conv(4, 1)
published:
  - {{figure: {figure}, printed: "{printed}", source: nowhere{more}}}
"""  # a: 3·4 + 4 = 16 params, 768 MACs; b: 20 params, 1,024 MACs


def verdict(figure, printed, more=""):
    return audit(parse(SPEC.format(figure=figure, printed=printed, more=more)))[0]


@pytest.mark.parametrize(
    ("figure", "printed", "expected"),
    [
        ("params", "36", "exact"),
        ("params", "35", "contradicted"),
        ("params", "37", "contradicted"),
        ("macs", "1,792", "exact"),
        ("macs", "1.8K", "rounds"),
        ("macs", "1.79K", "rounds"),
        ("macs", "1.7K", "truncates"),
        ("macs", "1.6K", "contradicted"),
        ("macs", "2 thousand", "rounds"),
        ("depth", "2", "exact"),
        ("param_bytes", "144", "exact"),
        ("activation_bytes", "2.8KB", "rounds"),
        ("activation_bytes", "2.75KiB", "exact"),
        ("activation_bytes", "2.75KB", "explained"),
        ("param_bytes", "144B", "exact"),
        ("params", "0K", "contradicted"),
    ],
)
def test_verdicts(figure, printed, expected):
    assert verdict(figure, printed).verdict == expected


def test_an_accounting_explains_only_what_it_computes():
    twice = ", explained_by: {text: the row b twice, value: \"macs + macs['b']\"}"
    explained = verdict("macs", "2,816", twice)
    assert (explained.verdict, explained.accounting, explained.explained) == ("explained", "the row b twice", 2816)
    assert verdict("macs", "2,815", twice).verdict == "contradicted"


def test_an_accounting_of_a_row_that_is_not_there():
    with pytest.raises(SpecError, match="no item at that index"):
        verdict("macs", "5", ", explained_by: {text: x, value: \"macs['c']\"}")


def test_a_figure_takes_whole_names_only():
    figure = Figure(9)
    figure.rows = {"a.conv": 4, "a.relu": 1, "ab": 4}
    assert figure["a"] == 5


@pytest.mark.parametrize(
    ("figure", "printed", "value", "expected"),
    [
        ("param_bytes", "64", "param_bytes['a']", "explained"),
        ("param_bytes", "0", "param_bytes['a']", "contradicted"),
        ("activation_bytes", "1,024", "activation_bytes['a']", "explained"),
        ("macs", "896.5", "macs / 2 + 0.5", "explained"),
    ],
)
def test_parts_of_a_figure_are_in_its_unit(figure, printed, value, expected):
    assert verdict(figure, printed, f', explained_by: {{text: x, value: "{value}"}}').verdict == expected


def test_depth_has_no_parts():
    with pytest.raises(SpecError, match="these values do not go together"):
        verdict("depth", "5", ", explained_by: {text: x, value: \"depth['a']\"}")


def test_an_accounting_that_gives_no_number():
    with pytest.raises(SpecError, match="the accounting 'x' gives no number"):
        verdict("macs", "5", ", explained_by: {text: x, value: [1]}")


@pytest.mark.parametrize(
    ("figure", "printed", "message"),
    [
        ("parameters", "1", r"<text>:8:14: no figure 'parameters' to compare with"),
        ("params", "many", r"<text>:8:31: cannot read the printed figure 'many'"),
        ("params", "36MB", "cannot read the printed figure '36MB'; write 138M"),
        ("param_bytes", "2 million", "cannot read the printed figure '2 million'; write 96MB"),
        ("params", "9" * 5000, "cannot read the printed figure"),
    ],
)
def test_claims_that_cannot_be_judged(figure, printed, message):
    with pytest.raises(SpecError, match=message):
        verdict(figure, printed)


def test_printed_figures():
    assert read_printed("1.5 billion") == (1_500_000_000, 100_000_000)
    assert read_printed("340,908") == (340_908, 1)


VERDICTS = {
    "vgg11": ["rounds"],
    "vgg13": ["rounds"],
    "vgg16-c": ["rounds"],
    "vgg16": ["rounds", "rounds", "contradicted", "contradicted", "contradicted"],
    "vgg19": ["rounds"],
    "resnet18": ["rounds", "exact"],
    "resnet34": ["truncates", "exact"],
    "resnet50": ["truncates", "exact"],
    "resnet101": ["rounds", "exact"],
    "resnet152": ["rounds", "exact"],
    "cs231n/inception-naive": ["rounds"],
    "cs231n/inception-bottleneck": ["explained"],
    "alexnet": ["truncates"],
    "lenet5": ["exact", "exact"],
    "googlenet": ["exact", "contradicted", "exact"],
}


@pytest.mark.parametrize("name", VERDICTS)
def test_the_famous_ones(name):
    assert [verdict.verdict for verdict in audit(load(name))] == VERDICTS[name]


def test_no_published_network_is_left_out_above():
    assert set(VERDICTS) == {name for name in catalog() if load(name).about.claims}


def test_an_accounting_is_computed_even_where_the_figure_agrees():
    with pytest.raises(SpecError, match="division by zero"):
        verdict("macs", "1,792", ', explained_by: {text: x, value: "macs / 0"}')


def test_every_claim_of_the_zoo_has_a_source_and_can_be_judged():
    for name in catalog():
        for verdict in audit(load(name)):
            assert verdict.claim.source
            assert verdict.verdict in ("exact", "rounds", "truncates", "explained", "contradicted")


def test_another_network_has_no_published_figures():
    assert load("vgg16", classes=10).about.claims == ()
    assert load("vgg16", input=(3, 256, 256)).about.claims == ()
    assert load("vgg16", classes=1000, input=[3, 224, 224]).about.claims
    assert analyze(load("vgg16"), batch=8).graph.about.claims
