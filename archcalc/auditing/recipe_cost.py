"""What a training recipe costs: iterations × batch × the MACs of a training step for one image."""

from __future__ import annotations

import re
from collections.abc import Mapping

from archcalc.analysis.report import analyze
from archcalc.graph.graph import Graph

NUMBERS = re.compile(r"(?:about |up to )?([\d,]+) iterations × ([\d,]+) images")


def with_cost(graph: Graph, recipe: Mapping[str, str]) -> dict[str, str]:
    """Return a recipe with its `cost`, if it gives iterations and batch as whole numbers."""
    text = f"{recipe.get('iterations')} iterations × {recipe.get('batch')} images"
    found = NUMBERS.fullmatch(text)
    if not found:
        return dict(recipe)
    steps, batch = (int(number.replace(",", "")) for number in found.groups())
    macs = analyze(graph, mode="train").totals.step_macs
    return {**recipe, "cost": f"{text} × {macs:,} MACs = {steps * batch * macs:,} MACs"}
