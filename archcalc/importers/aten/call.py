"""One call of an ATen function, on sizes alone, and the facts that a rule gives about it.

All sizes include the batch, so work is that of the whole call.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from archcalc.ops.base import Extra, Sizes, Work


class Tensor(NamedTuple):
    """A tensor that a call reads or makes."""

    sizes: Sizes
    dtype: str = "float32"
    view: bool = False  # of a tensor that is made: whether it lies in the memory of an argument
    graded: bool = True  # whether backward computes its gradient; of a dtype that has none, never


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


class Kept(NamedTuple):
    """What backward keeps: arguments, by their index in `tensors`, results by their index in `made`, extra tensors."""

    arguments: tuple[int, ...] = ()
    made: tuple[int, ...] = ()
    extras: tuple[Extra, ...] = ()  # sizes with the batch


class Facts(NamedTuple):
    """What a rule says about a call; None: unknown."""

    work: Work | None = {}  # noqa: RUF012  # nothing writes into it
    gradients: tuple[Work | None, ...] = ()  # the work for the gradient of each of `tensors`
    kept: Kept | None = Kept()  # noqa: RUF100
    view: bool = False  # whether the result lies in the memory of an argument
    elementwise: bool = False  # whether each output position reads its own position only


def _tensors(given: list[Any]) -> Iterator[Tensor]:
    for one in given:
        if isinstance(one, Tensor):
            yield one
        elif isinstance(one, list | tuple):
            yield from _tensors(list(one))
