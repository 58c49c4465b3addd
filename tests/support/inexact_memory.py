"""Networks whose memory archcalc does not simulate exactly on the CPU."""

from archcalc import Graph
from archcalc.analysis.saved import unknown_memory


def inexact(graph: Graph) -> bool:
    """Whether its memory on the CPU is unknown (recurrent layers) or not exact; see docs/explanation/memory.md.

    Not exact are a max pooling on a line, and a layer normalization over channels.
    """
    pools = any(node.op.name == "maxpool" and node.x.axes == "CL" for node in graph.nodes)
    return bool(unknown_memory(graph)) or pools or any(node.op.name == "channel_layernorm" for node in graph.nodes)
