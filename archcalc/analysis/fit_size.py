"""The largest images that fit into memory, of sizes that the network accepts without other weights."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable
from functools import cache
from typing import NamedTuple, TypeAlias

from archcalc.analysis.cards import Card
from archcalc.analysis.fit import Cases, batches
from archcalc.analysis.recipe import Recipe
from archcalc.errors import ArchcalcError
from archcalc.graph.graph import Graph
from archcalc.ops.base import Shape

TRIED = 64  # pixels
Loader: TypeAlias = Callable[[Shape], Graph]  # a network for another input


class Sizes(NamedTuple):
    """The sizes that a network accepts: the smallest, and the pixels between one and the next."""

    smallest: Shape
    step: int

    def shape(self, number: int) -> Shape:
        """Return a size by its number, from 1."""
        return grown(self.smallest, (number - 1) * self.step)


def by_size(sizes: Sizes, at: Loader, recipe: Recipe, batch: int = 1, card: Card | None = None) -> Cases:
    """Return the cases of a batch by the number of its images' size."""
    of_size = cache(lambda number: batches(at(sizes.shape(number)), recipe, card))
    return lambda number, steps: of_size(number)(batch, steps)


def sizes_of(graph: Graph, at: Loader) -> Sizes:
    """Return the sizes that a network accepts. Raises ArchcalcError if it takes images of one size only."""
    step = _step(graph, at)
    shapes = [grown(graph.input, -by) for by in range(0, min(graph.input.lengths), step)][::-1]
    return Sizes(shapes[bisect_left(shapes, True, key=lambda shape: not _problem(graph, at, shape))], step)


def grown(shape: Shape, by: int) -> Shape:
    """Return the shape of an image that is larger by so many pixels in height and width."""
    return shape.of(shape.channels, [side + by for side in shape.lengths])


def _step(graph: Graph, at: Loader) -> int:
    """Return the pixels by which images can grow, and grow again: a power of two, or another number up to TRIED."""
    side, problem = min(graph.input.lengths, default=0), ""
    if not side:
        raise ArchcalcError(f"the input of {graph.name} has no height and width; use --vary batch")
    if len(graph.inputs) > 1:
        raise ArchcalcError(f"{graph.name} has several inputs, whose sizes cannot vary together; use --vary batch")
    powers: list[int] = [1 << k for k in range(max(side, TRIED).bit_length())]
    steps: list[int] = [*dict.fromkeys([*powers, *range(1, TRIED + 1)])]
    for step in steps:
        larger = (grown(graph.input, step * count) for count in (1, 2, -(-side // step)))
        found = next(filter(None, (_problem(graph, at, shape) for shape in larger)), "")
        if not found:
            return step
        problem = problem or found
    raise ArchcalcError(
        f"{graph.name} takes images of one size only, or in steps of more than {TRIED} pixels: {problem}; "
        f"use --vary batch{_without_sides(graph, at)}"
    )


def _without_sides(graph: Graph, at: Loader) -> str:
    """Return what to type if without its side outputs a network takes images of several sizes, otherwise ""."""
    try:
        sides = graph.sides and sizes_of(graph.without_sides(), lambda shape: at(shape).without_sides())
    except ArchcalcError:
        return ""
    return ", or --mode infer, which has no side outputs" if sides else ""


def _problem(graph: Graph, at: Loader, shape: Shape) -> str:
    """Return why a network cannot take another input with the same weights, "" if it can."""
    try:
        nodes = at(shape).nodes
    except ArchcalcError as error:
        return str(error).splitlines()[0]
    if [node.name for node in nodes] != [node.name for node in graph.nodes]:
        return "its layers depend on the size"
    pairs = zip(graph.nodes, nodes, strict=True)
    other = [node.name for node, same in pairs if node.weights() != same.weights()]
    return f"the weights of {other[0]} depend on the size" if other else ""
