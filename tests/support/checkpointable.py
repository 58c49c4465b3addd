"""The parts of a network that can be checkpointed, single layers included."""

from archcalc import ArchcalcError, Graph
from archcalc.analysis.checkpoints import segments


def checkpointable(graph: Graph) -> list[str]:
    """Return the names of all blocks and layers with one input and one output."""
    paths = [node.name.split(".") for node in graph.nodes[1:]]
    names = {".".join(path[:depth]) for path in paths for depth in range(1, len(path) + 1)}
    return [name for name in sorted(names) if _accepted(graph, name)]


def _accepted(graph: Graph, name: str) -> bool:
    try:
        return bool(segments(graph, [name]))
    except ArchcalcError:
        return False
