"""One call of an ATen function, on sizes alone, and the facts that a rule gives about it.

All sizes include the batch, so work is that of the whole call.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from math import prod
from typing import Any, NamedTuple, TypeAlias

from archcalc.ops.base import Operator, Shape, Sizes, Work

NONE: Work = {}  # nothing writes into it


class Tensor(NamedTuple):
    """A tensor that a call reads or makes."""

    sizes: Sizes
    dtype: str = "float32"
    graded: bool = True  # whether it depends on an input or a weight; numbers without fractions have no gradient

    @property
    def values(self) -> int:
        """The number of its values."""
        return prod(self.sizes)


class AtenCall(NamedTuple):
    """A call of an ATen function; arguments as PyTorch's dispatcher passes them, defaults left out."""

    name: str  # without namespace and overload; in place with its `_`
    args: tuple[Any, ...]  # tensors as Tensor, lists of them, numbers, None
    named: Mapping[str, Any]
    made: tuple[Tensor, ...]

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        """All tensors among the arguments, in order, also those of lists."""
        return tuple(_tensors([*self.args, *self.named.values()]))

    @property
    def graded(self) -> tuple[bool, ...]:
        """For each of `tensors` whether backward computes its gradient."""
        return tuple([one.graded and "float" in one.dtype for one in self.tensors])

    def given(self, position: int, name: str, default: Any = None) -> Any:
        """Return an argument by its position or name."""
        return self.args[position] if position < len(self.args) else self.named.get(name, default)


class Facts(NamedTuple):
    """What a rule says about a call; None: unknown."""

    work: Work | None = NONE
    gradients: tuple[Work | None, ...] = ()  # the work for the gradient of each of `tensors`
    elementwise: bool = False  # whether each output position reads its own position only


Rule: TypeAlias = Callable[[AtenCall], Facts | None]


def as_operator(call: AtenCall, op: Operator, x: Any, y: Shape, weights: Sequence[int] = (), times: int = 1) -> Facts:
    """Return the facts of one of archcalc's operators on its first tensor; its shapes hold the batch.

    `weights` has the places of weights among `call.tensors`; the first one has the gradients of all. `times` multiplies
    the work, of a batch that the shapes do not hold.
    """
    gradients: list[Work] = [NONE] * len(call.tensors)
    gradients[0] = op.input_gradient(x, y, times)
    for place in weights[:1]:
        gradients[place] = op.weight_gradient(x, y, times)
    return Facts(op.batch_work(x, y, times), tuple(gradients))


def scaled(work: Mapping[str, int], count: int) -> Work:
    """Return so many times some work."""
    return {kind: each * count for kind, each in work.items()}


def tables(*parts: tuple[str, Rule]) -> dict[str, Rule]:
    """Return the rule of each name; names are separated by spaces."""
    return {name: rule for names, rule in parts for name in names.split()}


def _tensors(given: Iterable[Any]) -> Iterator[Tensor]:
    for one in given:
        if isinstance(one, Tensor):
            yield one
        elif isinstance(one, Sequence) and not isinstance(one, str):
            yield from _tensors(one)
