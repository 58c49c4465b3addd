"""What the language's reference says of its own specs holds; `test_pages.py` expands all of them."""

import re
from pathlib import Path

import pytest

from archcalc import analyze, parse
from archcalc.auditing.claims import ACCOUNTING, COLUMN, METRICS, RECIPE
from archcalc.auditing.verdicts import audit
from archcalc.ops import REGISTRY
from archcalc.spec.functions import FUNCTIONS
from archcalc.spec.network_spec import KEYS, OTHERS, PAPER, parse_spec

PAGES = [Path(__file__).parent.parent / "docs/reference" / name for name in ("language.md", "published.md")]
PAGE = "".join(page.read_text(encoding="utf-8") for page in PAGES)
BLOCKS = re.findall(r"^```yaml\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
SPECS = {re.search(r"^name: (.*)$", block, re.MULTILINE)[1]: block for block in BLOCKS}


def graphs(text):
    return [parse(text, network) for network in parse_spec(text).networks()]


def test_four_ways_to_write_a_join_are_one():
    (graph,) = graphs(SPECS["joins"])
    kinds = [node.op.name for node in graph.nodes[1:]]
    assert kinds == ["conv", "relu", "identity", "add"] * 4


@pytest.mark.parametrize(
    ("name", "verdicts"),
    [
        ("lenet-like", ["exact", "explained", "contradicted"]),
        ("two-stages", ["exact", "rounds", "exact", "explained", "exact"]),
        ("library", ["exact", "rounds", "exact", "rounds"]),
    ],
)
def test_published_examples_are_judged(name, verdicts):
    found = [verdict for graph in graphs(SPECS[name]) for verdict in audit(graph)]
    assert [verdict.verdict for verdict in found] == verdicts
    assert all(verdict.holds for verdict in found)


def test_worked_examples_have_the_figures_that_others_give():
    (mobilenet,), (se,) = graphs(SPECS["mobilenet-v2"]), graphs(SPECS["se-network"])
    totals = analyze(mobilenet).totals
    assert (totals.params, totals.macs) == (3_504_872, 300_774_272)  # torchvision's mobilenet_v2
    gates = [node for node in se.nodes if node.name.endswith("gate.conv2")]
    assert [node.output for node in gates] == [(64, 1, 1)] * 3
    (unet,) = graphs(SPECS["unet-padded"])
    assert analyze(unet).totals.params == 31_030_658  # by hand: 18 3×3, 4 transposed 2×2 and a 1×1 convolution
    assert unet.nodes[unet.result].output == (2, 256, 256)


def test_page_names_all_keys_functions_and_joins():
    joins = [name for name, cls in REGISTRY.items() if cls.joins]
    for word in [*KEYS, *OTHERS, *PAPER, *FUNCTIONS, *joins, *COLUMN, *ACCOUNTING, *METRICS, *RECIPE]:
        assert re.search(rf"\b{word}\b", PAGE), word
