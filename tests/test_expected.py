"""What training runs where branches are dropped: against all the ways the dice can fall."""

import itertools
import math

import pytest

from archcalc import analyze, load, parse
from archcalc.analysis.dropped import DROPPER


def totals(layers, blocks=""):
    return analyze(parse(f"name: t\ninput: [4, 6, 6]\n{blocks}layers:\n{layers}")).totals


def by_enumeration(graph):
    """Expected MACs over all outcomes: a layer runs if what is kept of the network needs it."""
    macs = [layer.macs for layer in analyze(graph).layers]
    droppers = [i for i, node in enumerate(graph.nodes) if node.op.name == DROPPER]
    expected = 0.0
    for kept in itertools.product([False, True], repeat=len(droppers)):
        fate = dict(zip(droppers, kept, strict=True))
        chance = math.prod(1 - graph.nodes[i].op.p if keep else graph.nodes[i].op.p for i, keep in fate.items())
        needed = {graph.result}
        for i in reversed(range(len(graph.nodes))):
            if i in needed and fate.get(i, True):
                needed.update(graph.nodes[i].inputs)
        expected += chance * sum(macs[i] for i in needed)
    return expected


SPECS = {
    "one": "  - add(conv(4, 1) | stochastic_depth(0.25), identity)\n",
    "chain": "  - 3 * add(conv(4, 1) | stochastic_depth(0.3), identity)\n",
    "nested": "  - add(add(conv(4, 1) | stochastic_depth(0.5), identity) | stochastic_depth(0.2), identity)\n",
    "split within": "  - add(add(conv(4, 1), conv(4, 3, padding=1)) | stochastic_depth(0.2), identity)\n",
    "shared": "  - a: conv(4, 1)\n  - add(conv(4, 1) | stochastic_depth(0.2), conv(4, 1))\n",
}


@pytest.mark.parametrize("name", SPECS)
def test_expected_work_is_that_of_all_outcomes(name):
    graph = parse(f"name: t\ninput: [4, 6, 6]\nlayers:\n{SPECS[name]}")
    assert analyze(graph).totals.expected_macs == pytest.approx(by_enumeration(graph))


def test_stochastic_depth_as_published():
    found = analyze(load("stochastic-depth-110")).totals
    assert found.expected_branches == pytest.approx(40.25)
    assert found.droppable_branches == 54
    assert found.expected_depth == pytest.approx(2 + 2 * 40.25)
    assert found.macs == analyze(load("resnet110")).totals.macs


def test_keeping_all_or_nothing():
    assert totals("  - add(conv(4, 1) | stochastic_depth(0), identity)\n").expected_macs == 4 * 4 * 36
    found = totals("  - add(conv(4, 1) | stochastic_depth(1), identity)\n")
    assert (found.expected_branches, found.expected_depth, found.expected_macs) == (0, 0, 0)


def test_droppath_drops_for_some_images_and_saves_nothing():
    assert totals("  - add(conv(4, 1) | droppath(0.5), identity)\n").expected_macs is None


def test_where_nothing_is_dropped_there_is_no_expectation():
    found = totals("  - conv(4, 1)\n")
    assert (found.expected_branches, found.droppable_branches, found.expected_depth, found.expected_macs) == (None,) * 4


def test_where_neither_branch_decides_alone_it_is_unknown():
    found = totals("  - a: conv(4, 1)\n  - add(relu6 | stochastic_depth(0.2), tanh | stochastic_depth(0.2))\n")
    assert found.expected_macs is None


def test_the_order_of_branches_does_not_matter():
    ways = "conv(4, 1) | stochastic_depth(0.5)", "conv(4, 1)"
    found = [totals(f"  - add({a}, {b})\n").expected_depth for a, b in (ways, ways[::-1])]
    assert found == [1, 1]


def test_drop_path_of_a_mean_is_not_known():
    found = totals("  - mean(0.5): {a: identity, b: relu6}\n  - add(conv(4, 1) | stochastic_depth(0.5), identity)\n")
    assert (found.expected_branches, found.droppable_branches, found.expected_depth, found.expected_macs) == (None,) * 4
