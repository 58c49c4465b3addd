"""What a training recipe costs: how many images it trains with × the MACs of a training step for one image."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import ROUND_CEILING, ROUND_HALF_EVEN, Context
from math import prod

from archcalc.analysis.report import analyze
from archcalc.errors import Refusal
from archcalc.graph.graph import Graph
from archcalc.printed import read_number

IMAGES = ("iterations", "batch"), ("epochs", "images")  # keys whose product is the number of images
UP_TO = "up to "


def with_cost(graph: Graph, recipe: Mapping[str, str]) -> dict[str, str]:
    """Return a recipe with its `cost`, if it has two of IMAGES as numbers; `up to` is the only bound that is read."""
    for keys in IMAGES:
        texts = [recipe.get(key, "") for key in keys]
        try:
            numbers = [
                read_number(text.removeprefix(UP_TO), small=key != "iterations")
                for key, text in zip(keys, texts, strict=True)
            ]
        except Refusal:
            continue
        if any(number.bound for number in numbers):
            continue
        macs = analyze(graph, mode="train").totals.step_macs
        bound, about = any(text.startswith(UP_TO) for text in texts), any(number.about for number in numbers)
        digits = [number.digits for number in numbers if number.about or number.step > 1]
        product = _rounded(int(macs * prod(number.value for number in numbers)), digits, bound)
        text = f"{texts[0]} {keys[0]} × {texts[1]} images × {macs:,} MACs"
        return {**recipe, "cost": f"{text} = {UP_TO * bound}{'about ' * about}{product} MACs"}
    return dict(recipe)


def _rounded(count: int, digits: list[int], up: bool) -> str:
    """Format a product of factors, of which some have so many significant digits: `4.4×10^18`; all others are exact."""
    if not digits:
        return f"{count:,}"
    nearest = Context(min(digits), ROUND_CEILING if up else ROUND_HALF_EVEN).create_decimal(count)
    mantissa, exponent = f"{nearest:e}".split("e+")
    return f"{mantissa}×10^{exponent}"
