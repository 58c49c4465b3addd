"""How a sample of PyTorch's tests is written in archcalc's language: as a spec of one step.

PyTorch's first dimension is read as the batch, or there is none; its channels come first or last.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

from torch import Tensor

from archcalc.ops import REGISTRY

FIRST = {1: "C", 2: "CL", 3: "CHW", 4: "CDHW"}
TURNED = ("HWC", "DHWC")  # a spec makes them with permute
LAST = {1: "C", 2: "TC", 3: "HWC", 4: "DHWC"}
IGNORED = {  # these change neither shapes nor MACs, or follow from the input
    "input", "training", "train", "inplace", "return_indices", "batch_first", "device", "dropout", "dropout_p", "scale",
    "in_channels", "in_features", "num_features", "num_channels", "input_size", "embed_dim", "hx", "running_mean",
    "running_var", "weight", "enable_gqa", "nonlinearity", "seed", "lower", "upper",
}  # fmt: skip
Given: TypeAlias = Mapping[str, Any]
Sizes: TypeAlias = Sequence[int]


class Unsayable(Exception):
    """The language has no words for this sample."""


@dataclass(frozen=True)
class Reading:
    """How the dimensions of a tensor are read: with a batch or without, channels first or last."""

    batch: bool = True
    last: bool = False

    def axes(self, dims: int) -> str:
        """Return the letters of so many dimensions, without the batch."""
        found = (LAST if self.last else FIRST).get(dims - self.batch)
        if not found or (found in TURNED and "permute" not in REGISTRY):
            raise Unsayable("a tensor of too many axes" if dims > 1 else "a tensor without axes")
        return found

    def axis(self, dims: int, dim: int) -> str:
        """Return the letter of a dimension."""
        if not -dims <= dim < dims:
            raise Unsayable("a dimension that does not exist")
        if dim % dims == 0 and self.batch:
            raise Unsayable("it works along the batch")
        return self.axes(dims)[dim % dims - self.batch]

    def named(self, sizes: Sizes) -> dict[str, int]:
        """Return the sizes by axis."""
        return dict(zip(self.axes(len(sizes)), sizes[self.batch :], strict=True))


def sizes_of(tensor: Any) -> Sizes:
    if not isinstance(tensor, Tensor):
        raise Unsayable("an input that is no tensor")
    return tuple(tensor.shape)


class Step(NamedTuple):
    """One operator: its inputs, each sizes by axis or another expression, and how to read PyTorch's result."""

    operator: str
    inputs: tuple[dict[str, int] | str, ...]
    arguments: Given
    batch: int | None = None  # None: PyTorch's result has no batch
    result: Callable[[Any], Sizes] = lambda out: sizes_of(out if isinstance(out, Tensor) else out[0])

    def spec(self) -> str:
        """Return a spec with this operator as its only layer."""
        call = ", ".join(f"{name}={text(value)}" for name, value in self.arguments.items())
        if not REGISTRY[self.operator].joins:
            (given,) = self.inputs
            return f"name: sample\ninput: {mapping(given)}\nlayers: ['{turned(given)}{self.operator}({call})']\n"
        names = "abcdefghijklmnopqrstuvwxyz"[: len(self.inputs)]
        named = [*zip(names, self.inputs, strict=True)]
        tensors = [f"{name}: {mapping(given)}" for name, given in named if not isinstance(given, str)]
        uses = [given if isinstance(given, str) else f"use({name}){turned(given, after=True)}" for name, given in named]
        branches = [f"{name}: '{use}'" for name, use in zip(names, uses, strict=True)]
        head = f"{self.operator}({call})" if call else self.operator
        return f"name: sample\ninput: {{{', '.join(tensors)}}}\nlayers:\n  - {head}: {{{', '.join(branches)}}}\n"


def mapping(sizes: Any) -> str:
    return "{" + ", ".join(f"{axis}: {size}" for axis, size in sizes.items()) + "}"


def turned(sizes: Mapping[str, int], after: bool = False) -> str:
    """Return the step that puts channels last, if they are, and a bar before or after it."""
    axes = "".join(sizes)
    return "" if axes not in TURNED else f' | permute("{axes}")' if after else f'permute("{axes}") | '


def text(value: Any) -> str:
    """Return a value as a spec writes it."""
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(text, value))}]"
    if isinstance(value, str):
        return f'"{value}"'
    return repr(value)


def arguments(operator: str, given: Given) -> dict[str, Any]:
    """Return the arguments that the operator has. Raises Unsayable for others, unless they are None or False."""
    found = {}
    for name, value in given.items():
        if isinstance(value, Tensor) and name not in IGNORED:
            raise Unsayable(f"a tensor as {name}")
        if name in REGISTRY[operator].types and name not in ("weight", "input"):
            found |= {} if value is None else {name: value}
        elif name not in IGNORED and value is not None and value is not False:
            raise Unsayable(f"the argument {name}")
    return found


def without(given: Given, *names: str) -> dict[str, Any]:
    return {name: value for name, value in given.items() if name not in names}


Translator: TypeAlias = Callable[[str, Given, Reading], Iterator[Step]]


def of_input(operator: str, given: Given, reading: Reading, **found: Any) -> Step:
    sizes = sizes_of(given["input"])
    return Step(operator, (reading.named(sizes),), found, sizes[0] if reading.batch else None)
