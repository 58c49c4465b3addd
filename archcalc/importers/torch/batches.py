"""Tapes of batches of 2, 3 and 4 images as one: what each number of values is for one image, and for the batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from archcalc.errors import ArchcalcError
from archcalc.importers.torch.tape import Tape
from archcalc.ops.arguments import format_shape
from archcalc.ops.shape import Sizes

BATCHES = (2, 3, 4)  # not 1: any order of an axis of 1 is the order in memory, so PyTorch copies less there


class Affine(NamedTuple):
    """A number that grows with the batch: `fixed + each · batch`."""

    fixed: int
    each: int


def affine(numbers: Sequence[int], what: str) -> Affine:
    """Return the numbers for `BATCHES`, or its first two, as one. Raises ArchcalcError if one is off the line."""
    (first, second, *others), (few, more, *rest) = numbers, BATCHES
    each = (second - first) // (more - few)
    found = Affine(first - few * each, each)
    for number, batch in zip(others, rest, strict=False):
        if number != found.fixed + each * batch:
            text = ", ".join(map(str, numbers))
            raise ArchcalcError(
                f"{what} for 2, 3 and 4 images is {text}: no sum of a number per image and one per batch"
            )
    return found


def per_image(batches: Sequence[Sizes]) -> Sizes | None:
    """Return a tensor's sizes for one image from those for `BATCHES`: without the batch's axis, if that is then 1 long.

    None if the tensor is not of the batch. Raises ArchcalcError if it has another part of the batch.
    """
    first = batches[0]
    grown = [axis for axis in range(len(first)) if len({sizes[axis] for sizes in batches}) > 1]
    if not grown:
        return None
    axis, *more = grown
    each = first[axis] // BATCHES[0]
    if more or any(sizes[axis] != each * batch for sizes, batch in zip(batches, BATCHES, strict=True)):
        raise ArchcalcError(f"a tensor of 2, 3 and 4 images has the sizes {', '.join(map(format_shape, batches))}")
    return first[:axis] + (each,) * (each != 1) + first[axis + 1 :]


def batch_axis(batches: Sequence[Sizes]) -> int:
    """Return the axis of the batch; −1 if there is none, or if other axes are merged with it."""
    for axis, sizes in enumerate(zip(*batches, strict=True)):
        if sizes == BATCHES:
            return axis
    return -1


def require_same_calls(tapes: Sequence[Tape]) -> None:
    """Raise ArchcalcError unless batches of any size take the same calls."""
    first, *others = tapes
    for other in others:
        for one, two in zip(first.calls, other.calls, strict=False):
            where = one.module or "the module"
            if (one.name, one.module) != (two.name, two.module):
                raise _depends(f"{where} calls {one.name} for {BATCHES[0]} images, but {two.name} for more")
            if len(one.made) != len(two.made):
                few, more = len(one.made), len(two.made)
                raise _depends(
                    f"{one.name} in {where} gives {few} tensors for {BATCHES[0]} images, but {more} for more"
                )
        if len(first.calls) != len(other.calls) or first.results.keys() != other.results.keys():
            few, more = len(first.calls), len(other.calls)
            raise _depends(f"it calls {few} functions for {BATCHES[0]} images, but {more} for more")


def _depends(how: str) -> ArchcalcError:
    return ArchcalcError(
        f"which functions the module calls depends on the batch or on values, so that no figure holds for all: {how}"
    )


def merged(
    works: Sequence[Mapping[str, int]], what: str
) -> tuple[tuple[tuple[str, int], ...], tuple[tuple[str, int], ...]]:
    """Return work by kind for one image, and beside that for the batch."""
    kinds = dict.fromkeys(kind for work in works for kind in work)
    lines = {kind: affine([work.get(kind, 0) for work in works], what) for kind in kinds}
    each = tuple([(kind, line.each) for kind, line in lines.items() if line.each])
    return each, tuple([(kind, line.fixed) for kind, line in lines.items() if line.fixed])
