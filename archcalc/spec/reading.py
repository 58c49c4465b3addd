"""Refuse layers and inputs that nothing reads, which have no effect, and products of unlike branches."""

from __future__ import annotations

from collections.abc import Sequence, Set

from archcalc.errors import SpecError
from archcalc.spec.equal_calls import Made


def require_read(made: Sequence[Made], inputs: int, results: Set[int], sides: Set[int]) -> None:
    """Raise SpecError if nothing reads one of several inputs, or the output of a layer."""
    main = {i for node in made if not node.side for i in node.inputs} | results | ({0} if inputs == 1 else set())
    side = {i for node in made if node.side for i in node.inputs} | sides
    for position, node in enumerate(made):
        if position in main or (node.side and position in side):
            continue
        if position < inputs and position not in side:
            raise SpecError(f"nothing uses the input {node.base}", node.place, f"read it: use({node.base})")
        who, hint = "nothing uses", "remove it, or read it: `use` after it continues from another step"
        if position in side:
            who, hint = "only a side output uses", "move it into that branch: at inference it would have no effect"
        raise SpecError(f"{who} the output of this {node.op.name}", node.place, hint)


def require_alike(made: Sequence[Made]) -> None:
    """Raise SpecError if a branch of attention or matmul is a learned tensor or constant, and another one is not."""
    if not any(node.op.of_batch for node in made):
        return
    of_batch: list[bool] = []
    for node in made:
        read = [of_batch[i] for i in node.inputs]
        of_batch.append(node.op.name == "input" or any(read))
        if node.op.of_batch and any(read) > all(read):
            what = f"a branch of {node.op.name} is a learned tensor or constant, without anything of the input"
            raise SpecError(what, node.place, "add it to a step that depends on the input")
