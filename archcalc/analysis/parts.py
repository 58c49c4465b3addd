"""Parts of a network, and their figures: a part is one layer, or all layers whose names start with a block's name."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

from archcalc.analysis.at_least import add_known
from archcalc.analysis.cost import Run
from archcalc.analysis.field_figures import by_key
from archcalc.analysis.figures import FIGURES, PATH, SUM, rule, summed
from archcalc.ops import Shape

if TYPE_CHECKING:
    from archcalc.analysis.report import Layer

Sums: TypeAlias = "Callable[[Sequence[Layer]], dict[str, Any]]"


def within(layer: Layer, block: str) -> bool:
    """Whether a layer has the name `block`, or is in the block of that name."""
    return layer.node.name == block or layer.node.name.startswith(f"{block}.")


def blocks(layer: Layer) -> Iterator[str]:
    """Yield the name of a layer, then those of its blocks, from the inside out."""
    name = layer.node.name
    yield name
    while "." in name:
        name = name.rpartition(".")[0]
        yield name


def parts_by_name(layers: Iterable[Layer]) -> dict[str, list[Layer]]:
    """Map names to parts of a network: layers, blocks, and with `op:conv` all layers of an operator."""
    found: dict[str, list[Layer]] = {}
    for layer in layers:
        for name in (*blocks(layer), f"op:{layer.node.op.name}"):
            found.setdefault(name, []).append(layer)
    return found


def end(part: Sequence[Layer]) -> Layer:
    """Return the layer whose output is that of the part: the last that is not on a side output."""
    return next((layer for layer in reversed(part) if not layer.node.side), part[-1])


def input_shape(part: Sequence[Layer]) -> Shape:
    """Return the input's shape of a part's first layer; for a join that of its first branch, for the image its own."""
    node = part[0].node
    shape: Shape = next(iter(node.x)) if node.op.joins else node.x if node.inputs else node.output
    return shape


def own_depth(part: Sequence[Layer]) -> int:
    """Return the number of weighted layers on the longest path within a part."""
    counts: dict[str, int] = {}
    for layer in part:
        before = max((counts.get(name, 0) for name in layer.inputs), default=0)
        counts[layer.node.name] = before + layer.node.op.weighted
    return max(counts.values())


def total(part: Sequence[Layer], key: str) -> int | None:
    """Add up a figure over layers; AtLeast if it is unknown for some of them, None if for all."""
    return add_known([getattr(layer, key) for layer in part])


def sums_of(runs: Iterable[tuple[Run, int]]) -> Sums:
    """Return a function that adds up each figure of `summed` over layers with these runs, reading each run once."""
    known: dict[int, dict[str, Any]] = {id(run): {key: rule(key)(run) for key in summed()} for run, _ in runs}
    unknown = any(None in figures.values() for figures in known.values())

    def sums(part: Sequence[Layer]) -> dict[str, Any]:
        first, *others = (known[id(layer.run)] for layer in part)
        if unknown:
            return {key: add_known([first[key], *[run[key] for run in others]]) for key in first}
        return {key: count + sum([run[key] for run in others]) for key, count in first.items()} if others else first

    return sums


def part_figure(part: Sequence[Layer], key: str) -> Any:
    """Return a figure of a whole part, added up as the registry says; None if unknown. Not for figures of NETWORK."""
    if (adds := FIGURES[key].adds) in (SUM, PATH):
        return total(part, key) if adds == SUM else own_depth(part)
    last = end(part)
    return {**by_key(last.field), "output": last.node.output, "input": input_shape(part)}[key]
