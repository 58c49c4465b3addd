"""The zoo: what is in it, its figures, and every published figure held against them."""

import csv
import io
import json

import pytest
from support.golden_files import check_golden
from support.zoo import FAMILIES, NAMES, ONE_OF_EACH_FILE, network, report

from archcalc import analyze, load, networks, parse
from archcalc.analysis.figures import FIGURES
from archcalc.auditing.verdicts import UNITS, VERDICTS, _Judge, _ways, audit
from archcalc.catalog import origin, spec_to_expand
from archcalc.errors import ArchcalcError
from archcalc.render.formats import render
from archcalc.render.tables.audit import audit_table, outcome
from archcalc.render.tables.list import listing, row_of
from archcalc.render.tables.summaries import summarize
from archcalc.spec.yaml import read_text

ASKED = """
lenet5 d2l/lenet alexnet cs231n/alexnet torchvision/alexnet zfnet vgg11 vgg13 vgg16 vgg19 vgg16-c torchvision/vgg11_bn
torchvision/vgg13_bn torchvision/vgg16_bn torchvision/vgg19_bn nin nin-cifar10 googlenet torchvision/googlenet
bn-inception inception-v2 inception-v3 torchvision/inception_v3 resnet18 resnet34 resnet50 resnet101 resnet152 plain18
plain34 resnet20 resnet32 resnet44 resnet56 resnet110 resnet1202 plain20 plain32 plain44 plain56 torchvision/resnet18
torchvision/resnet34 torchvision/resnet50 torchvision/resnet101 torchvision/resnet152 d2l/resnet18 preresnet110
preresnet164 preresnet1001 preresnet200 wrn-16-8 wrn-16-10 wrn-22-8 wrn-22-10 wrn-28-10 wrn-28-12 wrn-40-1 wrn-40-2
wrn-40-4 wrn-40-8 wrn-50-2 resnext50-32x4d resnext101-32x4d resnext101-64x4d resnext29-8x64d resnext29-16x64d
stochastic-depth-110 stochastic-depth-1202 fractalnet-20 fractalnet-40 densenet121 densenet161 densenet169 densenet201
densenet264 densenet-40-12 densenet-100-12 densenet-100-24 densenet-bc-100-12 densenet-bc-250-24 densenet-bc-190-40
d2l/densenet squeezenet1.0 squeezenet1.1 blocks/conv5x5 blocks/two-conv3x3 blocks/conv7x7 blocks/three-conv3x3
blocks/conv3x3 blocks/conv3x1-1x3 blocks/conv1x7-7x1 blocks/pooling-first blocks/expansion-first
blocks/parallel-reduction blocks/residual-basic blocks/residual-bottleneck blocks/residual-preact blocks/fire
blocks/mlpconv blocks/dense-block blocks/fractal-block blocks/inception
"""


@pytest.fixture(scope="module")
def verdicts():
    """Every verdict of the zoo, by network."""
    return {name: audit(load(name)) for name in networks()}


def pairs(verdicts):
    return [(name, verdict) for name, found in verdicts.items() for verdict in found]


def totals(name, mode="infer", **params):
    return analyze(load(name, **params), mode=mode).totals


def test_one_network_of_each_family_stands_for_it():
    assert {network(name).about.family for name in FAMILIES} == {network(name).about.family for name in networks()}


def test_the_networks_asked_for_are_there():
    assert set(ASKED.split()) <= set(NAMES)
    assert len(NAMES) >= 100


def test_golden_figures():
    """One line a network: `make golden` rewrites it, and its difference says what a change of a spec has done."""
    check_golden("zoo/figures.csv", render(listing(row_of(analyze(load(name))) for name in networks()), "csv"))


def test_golden_verdicts(verdicts):
    """One line per claim, sorted by network, layer, figure and source, so that a diff can be read."""
    check_golden("zoo/verdicts.txt", "".join(sorted(line(name, verdict) for name, verdict in pairs(verdicts))))


def test_each_claim_has_a_line_and_a_key_of_its_own(verdicts):
    lines = [line(name, verdict) for name, verdict in pairs(verdicts)]
    keys = {text.partition(" / ")[0] for text in lines}
    assert len(keys) == len(lines) == "".join(lines).count("\n")


def line(name, verdict):
    claim = verdict.claim
    figure = claim.what or FIGURES[claim.figure].title
    key = ", ".join(filter(None, (name, claim.layer, figure if claim.mode == "infer" else f"{figure} in training")))
    because = f", because {verdict.because}" if verdict.because else ""
    how = f" ({verdict.explained}: {verdict.accounting}{because})" if verdict.accounting else ""
    return f"{key} [{claim.source}] {claim.printed} / {verdict.computed} = {outcome(verdict)}{how}\n"


def columns(verdicts):
    """The claims of each column that a source prints, whatever files they stand in, with the network of each."""
    found = {}
    for name, verdict in pairs(verdicts):
        claim = verdict.claim
        found.setdefault((claim.source, claim.figure or claim.what, bool(claim.layer)), []).append((name, verdict))
    return found


def test_an_accounting_is_for_every_row_of_its_column_in_whatever_file_it_stands(verdicts):
    """Each accounting that does not say why not is tried on all figures of its column; `clash` or `because` excuse."""
    failures, tried = [], 0
    for column, rows in columns(verdicts).items():
        general = {way.text: way for _, verdict in rows for way in verdict.claim.accountings if not way.because}
        for name, verdict in rows:
            own = verdict.claim.accountings
            if verdict.verdict != "contradicted" and not any(way.because for way in own):
                others = [general[text] for text in general.keys() - {way.text for way in own}]
                failures += [(column, name, way.text) for way in others if not gives(name, verdict.claim, way)]
                tried += len(others)
    assert not failures
    assert tried >= 10


def gives(name, claim, accounting):
    try:
        value = _Judge(load(name)).accounted(claim, accounting)
    except ArchcalcError:
        return False
    return any(way.match for way in _ways(claim, value, accounting.text))


def test_bytes_are_in_one_unit_in_a_column(verdicts):
    for column, rows in columns(verdicts).items():
        units = {UNITS in v.accounting for _, v in rows if v.verdict not in ("exact", "contradicted")}
        assert len(units) <= 1, (column, [(name, v.claim.printed, v.accounting) for name, v in rows])


@pytest.mark.parametrize("name", ONE_OF_EACH_FILE)
def test_each_spec_round_trips(name):
    """Its text gives the same network as its name, and its JSON the same figures as its report."""
    again, made = parse(read_text(networks()[name]), name.rpartition("/")[2]), report(name)
    nodes = made.graph.nodes
    assert [node._replace(place=None) for node in again.nodes] == [node._replace(place=None) for node in nodes]
    data = json.loads(render(summarize(made, everything=True), "json"))
    assert data["totals"] == json.loads(json.dumps(made.totals.figures()))
    assert [layer["name"] for layer in data["layers"]] == [layer.node.name for layer in made.layers]


def test_every_spec_says_what_it_is():
    for name in networks():
        about = spec_to_expand(origin(name)).about
        assert about.title, name
        assert {"authors", "year"} <= set(about.paper), name


def test_every_published_figure_has_a_source_and_holds(verdicts):
    assert len(pairs(verdicts)) >= 200
    for name, verdict in pairs(verdicts):
        assert verdict.claim.source, name
        assert verdict.verdict in VERDICTS, (name, verdict.claim)
        assert verdict.holds, (name, verdict.claim)


def test_nothing_is_called_exact_that_is_not(verdicts):
    """Of a printed whole number, to the last digit: read here by other means than the product's."""
    seen = 0
    for name, verdict in pairs(verdicts):
        plain = verdict.claim.printed.replace(",", "")
        if plain.isdigit() and isinstance(verdict.computed, int):
            assert (int(plain) == verdict.computed) == (verdict.verdict == "exact"), (name, verdict)
            seen += 1
    assert seen >= 100


def test_a_known_error_is_not_smoothed_over(verdicts):
    found = {(name, v.claim.layer, v.claim.printed): v.verdict for name, v in pairs(verdicts)}
    assert found["vgg16", "", "24M"] == "contradicted"
    assert found["cs231n/inception-bottleneck", "", "358M"] == "explained"


CIFAR = {"resnet20": 269_722, "resnet32": 464_154, "resnet44": 658_586, "resnet56": 853_018, "resnet110": 1_727_962,
         "resnet1202": 19_421_274, "plain20": 269_722, "plain56": 853_018}  # fmt: skip
WRN = {"wrn-40-1": 563_930, "wrn-40-2": 2_243_546, "wrn-40-4": 8_949_210, "wrn-40-8": 35_748_314,
       "wrn-28-10": 36_479_194, "wrn-28-12": 52_517_850, "wrn-22-8": 17_158_106, "wrn-22-10": 26_797_914,
       "wrn-16-8": 10_961_370, "wrn-16-10": 17_116_634}  # fmt: skip
DENSENET = {"densenet-40-12": 1_019_722, "densenet-100-12": 6_979_642, "densenet-100-24": 27_249_082,
            "densenet-bc-100-12": 769_162, "densenet-bc-250-24": 15_324_406,
            "densenet-bc-190-40": 25_624_430}  # fmt: skip
OTHERS = {"squeezenet1.0": 1_248_424, "squeezenet-bypass": 1_248_424, "fractalnet-40": 76_106_634,
          "d2l/densenet": 758_226, "d2l/resnet18": 11_178_378,
          "nin-cifar10": 966_986, "nin": 7_595_176, "resnext29-8x64d": 34_426_698,
          "resnext29-16x64d": 68_155_210, "inception-v3": 23_834_568, "preresnet164": 1_703_258,
          "preresnet1001": 10_327_706, "zfnet": 62_357_608, "fractalnet-20": 33_724_618,
          "d2l/lenet": 61_706}  # fmt: skip


@pytest.mark.parametrize(("name", "params"), [*CIFAR.items(), *WRN.items(), *DENSENET.items(), *OTHERS.items()])
def test_params(name, params):
    assert totals(name).params == params


def test_params_with_heads():
    assert totals("inception-v3", mode="train").params == 27_161_264
    assert totals("googlenet", mode="train").params == 13_378_280


@pytest.mark.parametrize(
    ("name", "field"),
    [("alexnet", 195), ("vgg16", 212), ("resnet50", 483), ("torchvision/resnet50", 427), ("resnet101", 1027),
     ("resnet152", 1507), ("inception-v3", 1311)],
)  # fmt: skip
def test_receptive_fields(name, field):
    assert totals(name).receptive_field == (field, field)


@pytest.mark.parametrize(("name", "depth"), [("googlenet", 22), ("resnet152", 152), ("resnet110", 110)])
def test_depths(name, depth):
    assert totals(name).depth == depth


def test_other_resolutions_and_settings():
    assert totals("resnet18", shortcut="zeros").macs == 1_794_805_760
    assert totals("squeezenet1.0", size=224).macs == 818_924_576
    assert totals("squeezenet1.0", conv10_padding=1).macs == 861_339_936
    assert totals("fractalnet-20", column="deepest").depth == 21
    assert totals("densenet264", growth=48).params == 72_686_632


@pytest.mark.parametrize(
    ("pair", "saved"),
    [
        (("blocks/two-conv3x3", "blocks/conv5x5"), 7 / 25),
        (("blocks/conv3x1-1x3", "blocks/conv3x3"), 3 / 9),
        (("blocks/three-conv3x3", "blocks/conv7x7"), 22 / 49),
        (("blocks/conv1x7-7x1", "blocks/conv7x7"), 35 / 49),
    ],
)
def test_blocks_that_can_stand_for_each_other(pair, saved):
    small, large = (load(name) for name in pair)
    assert small.input == large.input
    assert small.nodes[small.result].output == large.nodes[large.result].output
    ours, theirs = analyze(small).totals, analyze(large).totals
    assert 1 - ours.macs / theirs.macs == pytest.approx(saved)
    assert ours.receptive_field == theirs.receptive_field


def test_the_audit_reads_back(verdicts):
    rows = list(csv.DictReader(io.StringIO(render(audit_table(verdicts), "csv"))))
    data = json.loads(render(audit_table(verdicts), "json"))
    assert len(rows) == len(data["figures"]) == len(pairs(verdicts)) == sum(data["verdicts"].values())
    assert [row["verdict"] for row in rows] == [figure["verdict"] for figure in data["figures"]]
    assert all(figure["source"] and figure["unit"] for figure in data["figures"])
