"""Terms: the steps of a spec that is to be written."""

from __future__ import annotations

import keyword
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

from archcalc.ops import REGISTRY
from archcalc.ops.arguments import PER_AXIS
from archcalc.ops.base import Operator
from archcalc.spec.functions import DIMENSIONS, FUNCTIONS
from archcalc.spec.layers import is_reserved


class Ref(NamedTuple):
    """The output of a node, or its weights, which have no label yet."""

    node: int
    weights: bool = False


class Code(str):
    """An expression, such as `2 * channels`, or the label of a step."""


class Term(NamedTuple):
    """A step, or a branch of a step.

    ===========  ================================================================================
    op, call     an operator or block with its arguments
    join         an operator; its parts are branches
    branch       steps of a join, `side` or `outputs`
    use, again   the output of another step, or that step once more
    repeat       steps, a number of times
    label        steps with a label that others refer to
    piece        steps of one module, before it becomes a block, a `part` or nothing
    part         steps with a label for the reader only
    side, outputs  branches
    ===========  ================================================================================
    """

    kind: str
    name: str = ""
    keys: tuple[str, ...] = ()
    values: tuple[Any, ...] = ()
    parts: tuple[Term, ...] = ()

    def skeleton(self, labels: Collection[str]) -> Any:
        """What two terms share that differ only in values; the labels inside them belong to it."""
        fixed = tuple([value if isinstance(value, Code) and value in labels else None for value in self.values])
        return self.kind, self.name, self.keys, fixed, tuple([part.skeleton(labels) for part in self.parts])

    def below(self) -> Iterator[Term]:
        """Yield the term and all terms inside it."""
        yield self
        for part in self.parts:
            yield from part.below()

    def with_values(self, values: Iterator[Any]) -> Term:
        """Return the term with other values, in the order of `below`."""
        own = tuple([next(values) for _ in self.values])
        return self._replace(values=own, parts=tuple([part.with_values(values) for part in self.parts]))


Steps: TypeAlias = tuple[Term, ...]
IDENTITY = Term("op", "identity")


def values_of(steps: Sequence[Term]) -> list[Any]:
    """Return all values in some steps."""
    return [value for step in steps for term in step.below() for value in term.values]


def free_name(name: str, taken: Collection[str] = ()) -> str:
    """Return a name that an expression can mention, and that nothing in `taken` has: with `_` or a number."""
    bad = name in (*REGISTRY, *FUNCTIONS, *DIMENSIONS) or is_reserved(name) or keyword.iskeyword(name)
    made, number = name + "_" * bad, 2
    while made in taken:
        made, number = f"{name}{number}", number + 1
    return made


def replaced(steps: Sequence[Term], words: Mapping[Any, str]) -> Steps:
    """Return steps in which these references are labels."""
    found = values_of(steps)
    values = iter([Code(words[value]) if isinstance(value, Ref) and value in words else value for value in found])
    return tuple([step.with_values(values) for step in steps])


def labels_in(steps: Sequence[Term]) -> set[str]:
    """Return all labels in some steps."""
    return {term.name for step in steps for term in step.below() if term.kind in ("label", "part", "piece")}


def folded(steps: Sequence[Term]) -> Steps:
    """Write equal neighbours once, with their number; labels that differ in a number are equal."""
    keys = [step._replace(name=re.sub(r"\d+$", "", step.name)) if step.kind == "part" else step for step in steps]
    made, at = list[Term](), 0
    while at < len(steps):
        found = 1, 1  # the number of steps that are repeated, and how often; as much as possible
        for length in range(1, min(32, (len(steps) - at) // 2) + 1):
            own, times = keys[at : at + length], 1
            while keys[at + length * times : at + length * (times + 1)] == own:
                times += 1
            if times > 1 and length * times > found[0] * found[1] and all(map(plain, own)):
                found = length, times
        inside = steps[at : at + found[0]]
        if found[1] > 1:
            unlabelled = [inner for step in inside for inner in (step.parts if step.kind == "part" else (step,))]
            inside = (Term("repeat", "", ("depth",), (found[1],), folded(unlabelled)),)
        made += inside
        at += found[0] * found[1]
    return tuple(made)


def plain(step: Term) -> bool:
    """Whether a step can stand in an expression; a join could, but is hard to read there."""
    if step.kind in ("op", "call", "use", "again"):
        return True
    return step.kind in ("repeat", "part") and all(map(plain, step.parts))


def arguments(op: Operator, x: Any) -> tuple[tuple[str, ...], tuple[Any, ...]]:
    """Return the names and values of all arguments of an operator; one number for all axes where they are equal."""
    values = []
    for key, kind in op.types.items():
        value = getattr(op, key)
        if kind.partition(" | ")[0] in PER_AXIS and isinstance(value, tuple) and len(set(value)) == 1:
            value = value[0] if not isinstance(value[0], tuple) else value
        if key == "groups" and value == getattr(x, "channels", 0) != 1:
            value = Code("in_channels")
        values.append(value)
    return tuple(op.types), tuple(values)
