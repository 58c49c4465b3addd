"""A part of a network: one layer, or all layers of a block, and what can be said of it as a whole."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from archcalc.analysis.field_figures import by_key
from archcalc.analysis.figures import FIGURES, PATH, SUM
from archcalc.ops import Shape

if TYPE_CHECKING:
    from archcalc.analysis.report import Layer


def within(layer: Layer, block: str) -> bool:
    """Whether a layer is, or is in, the block of that name."""
    return layer.node.name == block or layer.node.name.startswith(f"{block}.")


def blocks(layer: Layer) -> Iterator[str]:
    """The names a layer goes by: its own, then those of the blocks it is in, from the inside out."""
    name = layer.node.name
    yield name
    while "." in name:
        name = name.rpartition(".")[0]
        yield name


def parts_by_name(layers: Iterable[Layer]) -> dict[str, list[Layer]]:
    """All parts of a network by name: layers, blocks, and with `op:conv` the layers of an operator."""
    found: dict[str, list[Layer]] = {}
    for layer in layers:
        for name in (*blocks(layer), f"op:{layer.node.op.name}"):
            found.setdefault(name, []).append(layer)
    return found


def end(part: Sequence[Layer]) -> Layer:
    """The layer whose output is the part's: the last that is on no side output."""
    return next((layer for layer in reversed(part) if not layer.node.side), part[-1])


def input_shape(part: Sequence[Layer]) -> Shape:
    """The shape that goes into a part: into its first layer (of a join: of its first branch); of the image its own."""
    node = part[0].node
    shape: Shape = node.x[0] if node.op.joins else node.x if node.inputs else node.output
    return shape


def own_depth(part: Sequence[Layer]) -> int:
    """Weighted layers on the longest path within a part."""
    counts: dict[str, int] = {}
    for layer in part:
        counts[layer.node.name] = (
            max((counts.get(name, 0) for name in layer.inputs), default=0) + layer.node.op.weighted
        )
    return max(counts.values())


def total(part: Sequence[Layer], key: str) -> int | None:
    """A figure added up over layers; None where one of them is unknown."""
    counts = [getattr(layer, key) for layer in part]
    return None if None in counts else sum(counts)


def part_figure(part: Sequence[Layer], key: str) -> Any:
    """A figure of a part as a whole, as the registry says; None where it is unknown. Not for those of NETWORK."""
    adds = FIGURES[key].adds
    if adds in (SUM, PATH):
        return total(part, key) if adds == SUM else own_depth(part)
    last = end(part)
    return {**by_key(last.field), "output": last.node.output, "input": input_shape(part)}[key]
