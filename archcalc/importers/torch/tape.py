"""The run of a module as plain data: the functions of PyTorch that it called, and the tensors of these."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from archcalc.ops.shape import Sizes


@dataclass(frozen=True, slots=True)
class Ref:
    """A tensor among a call's arguments: its index in `Tape.values`."""

    index: int


class Value(NamedTuple):
    """A tensor as it was at some time; a call in place makes another value in the same storage."""

    sizes: Sizes
    strides: Sizes
    dtype: str
    storage: int  # equal for tensors in the same memory
    stored: int  # the number of values in that memory
    source: str = ""  # "parameter", "buffer" or "tensor", if no call made it
    name: str = ""  # of a parameter or buffer, as the module calls it


class Call(NamedTuple):
    """One call of a function."""

    function: Any  # PyTorch's overload
    name: str  # without overload, and without `aten::`
    args: tuple[Any, ...]  # tensors as Ref
    named: Mapping[str, Any]
    made: tuple[int, ...]
    module: str  # the path of the innermost module that runs
    turn: int  # which call of any module that is, counted from 0
    leaf: bool  # whether that module has no modules inside
    tracked: bool = True  # whether autograd records it: not under `torch.no_grad()`

    @property
    def overwrites(self) -> bool:
        """Whether it works in the memory of its first argument."""
        return self.function is not None and self.function._schema.is_mutable

    @property
    def reads(self) -> list[int]:
        """The values that it reads, in order; not those of which it only takes the sizes and the dtype."""
        return (
            []
            if self.name.startswith("new_") or self.name.endswith("_like")
            else [ref.index for ref in refs((self.args, self.named))]
        )


@dataclass
class Tape:
    """The run of a module."""

    values: list[Value] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)
    inputs: dict[str, int] = field(default_factory=dict)
    results: dict[str, int] = field(default_factory=dict)
    hidden: dict[str, None] = field(default_factory=dict)  # the paths of modules that `modules()` does not list
    unseen: dict[str, str] = field(default_factory=dict)  # what changes what is kept, unseen, and a module with it

    def new(self, call: Call, made: int) -> bool:
        """Return whether a result of a call lies in new memory."""
        return self.values[made].storage not in {self.values[at].storage for at in call.reads}

    def reaching(self) -> set[int]:
        """Return the values from which results are computed."""
        found = {*self.results.values()}
        for call in reversed(self.calls):
            if not found.isdisjoint(call.made):
                found.update(call.reads)
        return found


def refs(given: Any) -> Iterator[Ref]:
    """Yield the tensors in arguments, also those in lists and mappings."""
    if isinstance(given, Ref):
        yield given
    elif isinstance(given, tuple | list):
        for one in given:
            yield from refs(one)
    elif isinstance(given, Mapping):
        yield from refs([*given.values()])
