"""The networks of the zoo, loaded and analysed once per process."""

from functools import cache

from archcalc import Graph, Report, analyze, load, networks

NAMES = sorted(networks())


@cache
def network(name: str) -> Graph:
    """Load a network without params."""
    return load(name)


@cache
def report(name: str) -> Report:
    """Analyse a network under the default conditions."""
    return analyze(network(name))
