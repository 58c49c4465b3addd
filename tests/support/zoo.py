"""The networks of the zoo, loaded and analysed once in each process."""

from functools import cache

from archcalc import Graph, Report, analyze, load, networks

NAMES = sorted(networks())


@cache
def network(name: str) -> Graph:
    """As `load`, without params."""
    return load(name)


@cache
def report(name: str) -> Report:
    """As `analyze`, in its default setting."""
    return analyze(network(name))
