"""Stand-ins for torch and torch.nn, with which generated source runs and says what it does; no torch is needed.

A tensor is the number of what it was made by: those made alike, of the same inputs, have the same number.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any, NamedTuple

from archcalc.codegen.naming import MODULE

OPERATIONS = ("add", "sub", "mul", "truediv", "floordiv", "matmul", "pow", "mod", "neg", "getitem")


class Unlike(Exception):
    """Source does something else than its network."""


class Result(NamedTuple):
    """One that something gave: its number, whether of a layer, and whether that was to overwrite its input."""

    number: int
    layer: bool
    in_place: bool


class Recorder:
    """What ran, in order."""

    def __init__(self, classes: Mapping[str, Callable[..., str]]) -> None:
        self.classes = classes  # by name, what says how a layer is made
        self.numbers: dict[Any, int] = {}
        self.ran: list[Result] = []
        self.image = self.tensor("image")

    def tensor(self, key: Any, layer: bool = False, in_place: bool = False) -> Tensor:
        """The result of an operation."""
        number = self.numbers.setdefault(key, len(self.numbers))
        self.ran.append(Result(number, layer, in_place))
        return Tensor(self, number)

    def operation(self, word: str, *args: Any, **keywords: Any) -> Tensor:
        """The result of what is no layer."""
        return self.tensor((word, _frozen(args), _frozen(sorted(keywords.items()))))


def _frozen(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return tuple(map(_frozen, value))
    return ("tensor", value.number) if isinstance(value, Tensor) else repr(value)


class Tensor:
    """The result of a layer or operation."""

    def __init__(self, recorder: Recorder, number: int) -> None:
        self.recorder = recorder
        self.number = number

    def __getattr__(self, word: str) -> Callable[..., Tensor]:
        if word.startswith("__"):
            raise AttributeError(word)
        return partial(self.recorder.operation, word, self)

    def __radd__(self, other: Any) -> Tensor:
        return self if type(other) is int and other == 0 else self.recorder.operation("radd", self, other)

    def __bool__(self) -> bool:
        raise Unlike("a tensor as a test")

    __iter__ = None


def _operator(word: str) -> Callable[..., Tensor]:
    return lambda self, *args: self.recorder.operation(word, self, *args)


for _word in OPERATIONS:
    setattr(Tensor, f"__{_word}__", _operator(_word))


class Module:
    """A module with others in it, in the order in which they came."""

    training = False

    def __init__(self) -> None:
        self.inner: dict[str, Module] = {}

    def __setattr__(self, key: str, value: Any) -> None:
        if isinstance(value, Module):
            if key in MODULE or key in ("inner", "recorder") or key.startswith("_"):
                raise Unlike(f"{key} is no name for a module")
            self.inner[key] = value  # fails before super().__init__(), as it does in PyTorch
        object.__setattr__(self, key, value)

    def __call__(self, *args: Any) -> Any:
        """What `forward` gives."""
        return self.forward(*args)

    def forward(self, *args: Any) -> Any:
        """Nothing by itself."""
        raise NotImplementedError

    def walk(self, seen: set[int]) -> Iterator[Module]:
        """This module and all in it, each once, in the order of their weights."""
        if id(self) not in seen:
            seen.add(id(self))
            yield self
            for module in self.inner.values():
                yield from module.walk(seen)


class ModuleList(Module):
    """Several modules."""

    def __init__(self, modules: Any = ()) -> None:
        super().__init__()
        self._put(modules)

    def _put(self, modules: Any) -> None:
        for position, module in enumerate(modules):
            if not isinstance(module, Module):
                raise Unlike(f"{module!r} is no module")
            self.inner[str(position)] = module

    def __iter__(self) -> Iterator[Module]:
        return iter(self.inner.values())

    def __len__(self) -> int:
        return len(self.inner)

    def __getitem__(self, position: int) -> Module:
        return list(self)[position]


class Sequential(ModuleList):
    """Modules one after the other."""

    def __init__(self, *modules: Any) -> None:
        super().__init__(modules)

    def forward(self, x: Any) -> Any:
        """Through all of them."""
        for module in self:
            x = module(x)
        return x


class Identity(Module):
    """Its input."""

    def forward(self, x: Any) -> Any:
        """As it is."""
        return x


class Layer(Module):
    """A layer of torch.nn or of our own: how it is made, and which of those with weights it is."""

    def __init__(self, recorder: Recorder, word: str, *args: Any, inplace: bool = False, **keywords: Any) -> None:
        super().__init__()
        self.recorder = recorder
        self.made = recorder.classes[word](*args, **keywords)
        self.in_place = inplace
        self.number = -1

    def forward(self, *tensors: Any) -> Tensor:
        """A result of its own."""
        if not all(isinstance(tensor, Tensor) for tensor in tensors):
            raise Unlike(f"{self.made} of what is no tensor")
        inputs = tuple(tensor.number for tensor in tensors)
        return self.recorder.tensor((self.made, self.number, inputs), True, self.in_place)


class Layers:
    """`torch.nn`: the layers that the network has."""

    Module, ModuleList, Sequential, Identity = Module, ModuleList, Sequential, Identity

    def __init__(self, recorder: Recorder) -> None:
        self.recorder = recorder

    def __getattr__(self, word: str) -> Callable[..., Layer]:
        if f"nn.{word}" not in self.recorder.classes:
            raise AttributeError(f"the network has no nn.{word}")
        return partial(Layer, self.recorder, f"nn.{word}")


class Torch:
    """`torch`: functions, and `nn`."""

    def __init__(self, recorder: Recorder) -> None:
        self.recorder = recorder
        self.nn = Layers(recorder)

    def __getattr__(self, word: str) -> Callable[..., Tensor]:
        return partial(self.recorder.operation, f"torch.{word}")
