"""What a network computes, as numbers: two tensors have one number exactly if they are computed alike."""

# mypy: allow-subclassing-any
# The type check needs no torch, so the mode is Any there.

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

UNCHANGED = {("aten::add", (0,)), ("aten::div", (1,)), ("aten::clone", ())}  # x + 0, x / 1 and a copy have x's values


class Operations(TorchDispatchMode):
    """Numbers what each operation on the meta device gives: by its name, its plain arguments and its tensors' numbers.

    What works in place gives what it would give elsewhere, and has written to a storage: who reads that by another
    tensor, such as the operation's own input, gets a number that nothing else has. So working in place makes no
    difference where it is right, and does where it is wrong. Nor do UNCHANGED operations.
    """

    def __init__(self) -> None:
        super().__init__()
        self.numbers: dict[Any, int] = {}
        self.seen: set[int] = set()  # the numbers that were given since this was emptied
        self.known: dict[int, tuple[int, int | None]] = {}  # by tensor: its number, the last write to its storage then
        self.writes: dict[int, int] = {}  # by storage: the number that was last written there
        self.kept: list[torch.Tensor] = []  # so that each tensor has an address of its own
        self.outlines: dict[Any, list[Any]] = {}  # by operation and arguments: what its output is like
        self.schemas: dict[Any, tuple[str, str, list[int], bool]] = {}

    def number(self, *key: Any) -> int:
        """The number of what is computed so."""
        number = self.numbers.setdefault(key, len(self.numbers))
        self.seen.add(number)
        return number

    def note(self, tensor: torch.Tensor, number: int) -> None:
        """Give a tensor its number."""
        self.kept.append(tensor)
        self.known[id(tensor)] = number, self.writes.get(tensor.untyped_storage()._cdata)

    def read(self, tensor: torch.Tensor) -> int:
        """A tensor's number; a tensor that was made unseen is known by its shape."""
        if id(tensor) not in self.known:
            self.note(tensor, self.number("constant", *_outline(tensor)))
        number, seen = self.known[id(tensor)]
        last = self.writes.get(tensor.untyped_storage()._cdata)
        return number if seen == last else self.number("overwritten", number, last)

    def schema(self, operation: Any) -> tuple[str, str, list[int], bool]:
        """What it is called where it does not work in place, what it writes to, and whether its output is its own."""
        if operation not in self.schemas:
            schema = operation._schema
            written = [i for i, a in enumerate(schema.arguments) if a.alias_info and a.alias_info.is_write]
            name = schema.name.removesuffix("_") if written else schema.name
            own = not any(a.alias_info for a in (*schema.arguments, *schema.returns))
            self.schemas[operation] = name, schema.overload_name, written, own
        return self.schemas[operation]

    def __torch_dispatch__(self, operation: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run an operation and number what it gives."""
        arguments = (*args, *sorted((kwargs or {}).items()))
        name, overload, written, own = self.schema(operation)
        plain = _plain(arguments, self.read)
        same = (name, plain[1:]) in UNCHANGED
        number = self.read(args[0]) if same else self.number(name, overload, plain)
        given = self.run(operation, args, kwargs or {}, (operation, _plain(arguments, _outline)) if own else None)
        for i in written:
            self.writes[args[i].untyped_storage()._cdata] = number
            self.note(args[i], number)
        for i, tensor in enumerate(given if isinstance(given, tuple | list) else [given]):
            if isinstance(tensor, torch.Tensor) and not any(tensor is args[j] for j in written):
                self.note(tensor, self.number("part", number, i) if i else number)
        return given

    def run(self, operation: Any, args: Any, kwargs: Any, key: Any) -> Any:
        """What it gives; where the key is known, tensors like those of the time before, which is faster."""
        if key in self.outlines:
            made = [torch.empty_strided(*sizes, dtype=dtype, device="meta") for *sizes, dtype in self.outlines[key]]
            return tuple(made) if len(made) > 1 else made[0]
        given = operation(*args, **kwargs)
        tensors = given if isinstance(given, tuple) else (given,)
        if key and all(isinstance(tensor, torch.Tensor) and tensor.is_meta for tensor in tensors):
            self.outlines[key] = list(map(_outline, tensors))
        return given


def _outline(tensor: torch.Tensor) -> tuple[Any, ...]:
    """All that a tensor on the meta device is."""
    return tuple(tensor.shape), tensor.stride(), tensor.dtype


def _plain(value: Any, tell: Callable[[torch.Tensor], Any]) -> Any:
    """Arguments that can be looked up: each tensor as `tell` gives it."""
    if isinstance(value, torch.Tensor):
        return "tensor", tell(value)
    return tuple([_plain(item, tell) for item in value]) if isinstance(value, list | tuple) else value
