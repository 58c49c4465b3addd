"""Number what a network computes: two tensors have the same number if and only if they are computed alike."""

# mypy: allow-subclassing-any
# The type check needs no torch, so the mode is Any there.

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

UNCHANGED = {("aten::add", (0,)), ("aten::div", (1,)), ("aten::clone", ())}  # x + 0, x / 1 and a copy have x's values


class Operations(TorchDispatchMode):
    """Number the result of each operation on the meta device, by its name, arguments and its tensors' numbers.

    An operation in place has the same number as out of place, and records a write to its storage. Reading that storage
    by another tensor, such as the operation's own input, returns a unique number. So working in place makes no
    difference where it is correct, and a difference where it is wrong. UNCHANGED operations keep the number.
    """

    def __init__(self) -> None:
        super().__init__()
        self.numbers: dict[Any, int] = {}
        self.seen: set[int] = set()  # numbers used since this was cleared
        self.known: dict[int, tuple[int, int | None]] = {}  # by tensor: its number, and the last write it has seen
        self.writes: dict[int, int] = {}  # by storage: the number last written to it
        self.kept: list[torch.Tensor] = []  # keep tensors alive, so that each has its own address
        self.outlines: dict[Any, list[Any]] = {}  # by operation and arguments: the outlines of its outputs
        self.schemas: dict[Any, tuple[str, str, list[int], bool]] = {}

    def number(self, *key: Any) -> int:
        """Return the number of a computation; create one if it is new."""
        number = self.numbers.setdefault(key, len(self.numbers))
        self.seen.add(number)
        return number

    def note(self, tensor: torch.Tensor, number: int) -> None:
        """Assign a number to a tensor."""
        self.kept.append(tensor)
        self.known[id(tensor)] = number, self.writes.get(tensor.untyped_storage()._cdata)

    def read(self, tensor: torch.Tensor) -> int:
        """Return the number of a tensor; a tensor created outside is numbered by its shape."""
        if id(tensor) not in self.known:
            self.note(tensor, self.number("constant", *_outline(tensor)))
        number, seen = self.known[id(tensor)]
        last = self.writes.get(tensor.untyped_storage()._cdata)
        return number if seen == last else self.number("overwritten", number, last)

    def schema(self, operation: Any) -> tuple[str, str, list[int], bool]:
        """Its name out of place, its overload, the arguments that it writes to, whether its output is new memory."""
        if operation not in self.schemas:
            schema = operation._schema
            written = [i for i, a in enumerate(schema.arguments) if a.alias_info and a.alias_info.is_write]
            name = schema.name.removesuffix("_") if written else schema.name
            own = not any(a.alias_info for a in (*schema.arguments, *schema.returns))
            self.schemas[operation] = name, schema.overload_name, written, own
        return self.schemas[operation]

    def __torch_dispatch__(self, operation: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run an operation and number its outputs."""
        arguments = (*args, *sorted((kwargs or {}).items()))
        name, overload, written, own = self.schema(operation)
        plain = _key(arguments, self.read)
        same = (name, plain[1:]) in UNCHANGED
        number = self.read(args[0]) if same else self.number(name, overload, plain)
        given = self.run(operation, args, kwargs or {}, (operation, _key(arguments, _outline)) if own else None)
        for i in written:
            self.writes[args[i].untyped_storage()._cdata] = number
            self.note(args[i], number)
        for i, tensor in enumerate(given if isinstance(given, tuple | list) else [given]):
            if isinstance(tensor, torch.Tensor) and not any(tensor is args[j] for j in written):
                self.note(tensor, self.number("part", number, i) if i else number)
        return given

    def run(self, operation: Any, args: Any, kwargs: Any, key: Any) -> Any:
        """Run an operation; if its key is known, create outputs like the first time instead, which is faster."""
        if key in self.outlines:
            made = [torch.empty_strided(*sizes, dtype=dtype, device="meta") for *sizes, dtype in self.outlines[key]]
            return tuple(made) if len(made) > 1 else made[0]
        given = operation(*args, **kwargs)
        tensors = given if isinstance(given, tuple) else (given,)
        if key and all(isinstance(tensor, torch.Tensor) and tensor.is_meta for tensor in tensors):
            self.outlines[key] = list(map(_outline, tensors))
        return given


def _outline(tensor: torch.Tensor) -> tuple[Any, ...]:
    """Everything that defines a tensor on the meta device: shape, strides and dtype."""
    return tuple(tensor.shape), tensor.stride(), tensor.dtype


def _key(value: Any, key: Callable[[torch.Tensor], Any]) -> Any:
    """Convert arguments to a hashable value; replace each tensor by `key(tensor)`."""
    if isinstance(value, torch.Tensor):
        return "tensor", key(value)
    return tuple([_key(item, key) for item in value]) if isinstance(value, list | tuple) else value
