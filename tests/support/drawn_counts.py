"""Count what random networks have: inputs, outputs, shared weights, axes and operators."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from archcalc.ops import REGISTRY
from support.spec_steps import Again, Join, Layer, Network, Outputs, Side, every_step

SEVERAL = ("several inputs", "inputs of different axes", "outputs", "side outputs", "again", "tied")


def traits(network: Network) -> set[str]:
    """Return what a network has, each once: words of SEVERAL, its inputs' axes, and its operators."""
    found, axes = {"input"}, {f"axes {shape.axes}" for shape in network.inputs.values()}
    for step in every_step(network.steps):
        if isinstance(step, Layer | Join):
            found.add(step.name)
            found |= {"tied"} if isinstance(step, Layer) and step.weight else set()
        found |= {word for kind, word in KINDS.items() if isinstance(step, kind)}
    found |= {"several inputs"} if network.others else set()
    return found | axes | ({"inputs of different axes"} if len(axes) > 1 else set())


KINDS: dict[type, str] = {Again: "again", Outputs: "outputs", Side: "side outputs"}


def lines(drawn: Counter[str]) -> Iterable[str]:
    """Yield lines that say how many networks have what; an operator that none has stands with 0."""
    yield "networks with: " + ", ".join(f"{word} {drawn[word]:,}" for word in SEVERAL)
    yield "inputs: " + ", ".join(f"{name[5:]} {drawn[name]:,}" for name in sorted(drawn) if name.startswith("axes "))
    often = sorted(REGISTRY, key=lambda name: -drawn[name])
    yield "operators: " + ", ".join(f"{name} {drawn[name]:,}" for name in often)
