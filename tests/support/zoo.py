"""The networks of the zoo, loaded and analysed once per process."""

from functools import cache

import pytest

from archcalc import Graph, Report, analyze, load, networks
from archcalc.catalog import listed

NAMES = sorted(networks())
LONGEST = "densenet264", "efficientnet-v2-l", "preresnet1001", "resnet1202", "stochastic-depth-1202"


def _alias(graph: Graph) -> dict[str, object]:
    """Return what a row of the zoo's index says, where the index is out of date."""
    return {"name": graph.name, "stands_for": graph.about.stands_for}


# An alias has its target's layers with other params; `archcalc validate --all` runs these, too.
OWN = sorted(row["name"] for row in listed(_alias) if not row["stands_for"])
EACH = [pytest.param(name, marks=pytest.mark.slow) if name in LONGEST else name for name in OWN]


@cache
def network(name: str) -> Graph:
    """Load a network without params."""
    return load(name)


@cache
def report(name: str) -> Report:
    """Analyse a network under the default conditions."""
    return analyze(network(name))
