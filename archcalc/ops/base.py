"""What every operator declares, and what its figures mean.

An operator is one class. Its fields are the arguments that a spec writes, in PyTorch's names and order but without
the input channels, which are inferred. Its methods return counts of values and operations, for **one image** and **one
forward pass at inference**:

=========  ====================================================================================================
output     the output's shape, without the batch (see `ops.shape`)
weights    shapes of its trainable tensors by name; `is_bias` tells biases by their names
buffers    shapes of the tensors that it keeps but does not train (running statistics, fixed prototypes)
work       arithmetic by kind, from KINDS; `mac` is one multiply-accumulate of a convolution or linear layer
training_work, input_gradient, weight_gradient
           arithmetic of a training step for a whole batch: forward, and the gradients of inputs and of weights
writes     values that it writes to memory: none for a view or in place; dropout writes only in training
overwrites whether it works in the memory of its (first) input; `analysis.in_place` decides where it can
saved      the tensors that PyTorch keeps for backward, by name, so that a tensor of two layers counts once
calls      the functions of PyTorch that it runs, and the memory of each and of its gradients (see `ops.calls`)
window     which positions of its input one output position reads, axis by axis (see `ops.reads`)
links      connections of a weighted layer: pairs of an output value and an input value or bias
=========  ====================================================================================================

Multiplications by the zeros of a padded border count as work, as in every published figure and in PyTorch's counter.
Constants per channel that do not depend on the image (scale and shift of batch normalization at inference) are computed
before the pass and cost nothing. A change of sign costs nothing.

Gradients are counted by the formula that each rule states, with the values that are kept for backward. Sums over n
values take n − 1 additions; values that are added to a gradient of zeros (of windows) take one each. Drawing random
numbers is no arithmetic. A value that several layers read has a gradient from each; `analysis.training_step` adds them.

A method that an operator lacks raises `NotImplementedError` with the operator's name: an unknown figure is an error,
never zero. Dimensions may be integers or NumPy int64 arrays; from arrays the figures are arrays too.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING
from functools import lru_cache
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, TypeAlias, TypeVar

from archcalc.errors import ArgumentError, Refusal, counted
from archcalc.ops.arguments import PER_AXIS, format_shape, read, show
from archcalc.ops.calls import IN_PLACE, NEW, VIEW, Call, Extra
from archcalc.ops.formula import Term, traced, weight_text
from archcalc.ops.reads import EACH, Axis
from archcalc.ops.registry import Registry
from archcalc.ops.shape import Shape, Sizes, featured
from archcalc.ops.synonyms import argument_hint

if TYPE_CHECKING:
    from typing_extensions import Self, dataclass_transform
else:

    def dataclass_transform(**options: Any) -> Any:
        """Tell type checkers that annotations are the arguments of a class; do nothing at run time."""
        return lambda decorator: decorator


Calls: TypeAlias = tuple[Call, ...]
Work: TypeAlias = dict[str, int]

KINDS = ("mac", "add", "mul", "div", "compare", "exp", "log", "sqrt", "pow", "tanh", "erf", "sin")


class Unknown(NotImplementedError):
    """A figure of an imported function for which there is no rule."""


class Saved(NamedTuple):
    """What backward keeps: input or output (tensors that exist anyway), weights and buffers by name, extra tensors."""

    input: bool = False
    output: bool = False
    state: tuple[str, ...] = ()
    extras: tuple[Extra, ...] = ()


def values(shape: Sequence[int]) -> int:
    """Number of values in a tensor of this shape."""
    return math.prod(shape)


@lru_cache(maxsize=256)
def is_bias(name: str) -> bool:
    """Whether a trainable tensor is a bias by its name: `bias`, `out_proj.bias`, `in_proj_bias` or `bias_ih_l0`."""
    own = name.rpartition(".")[2]
    return own.startswith("bias") or own.endswith("bias")


def add_work(first: Work, second: Work) -> Work:
    """Add up the operations of each kind."""
    return first | {kind: first.get(kind, 0) + count for kind, count in second.items()}


class Operator:
    """Base class of all operators. `x` is the input's shape; for a join it is the tuple of its inputs' shapes.

    Operators are immutable values: two operators with equal arguments are equal.
    """

    name: ClassVar[str]
    joins: ClassVar[bool] = False
    unknown_calls: ClassVar[bool] = False  # whether archcalc does not know what it allocates for a moment
    unknown_memory: ClassVar[bool] = False  # whether archcalc does not know what it keeps and allocates
    unknown_reads: ClassVar[bool] = False  # whether archcalc does not know which positions it reads
    whole: ClassVar[tuple[int, ...]] = ()  # of a join, the branches that every output position reads whole
    of_batch: ClassVar[bool] = False  # of a join, whether a learned tensor can be no branch beside one of the input
    of_shape: ClassVar[tuple[int, ...]] = ()  # the inputs of a join of which only the shape is read
    code: ClassVar[str] = ""  # the result of `pytorch`, if it depends on neither input nor arguments
    needs_input: ClassVar[bool] = True  # whether it reads the step before; a learned tensor does not
    tied: ClassVar[str] = ""  # the PyTorch text of a layer with the weight of another one; "": impossible
    weighted: ClassVar[bool] = False  # counts in a network's depth: convolutions, linear layers and similar ones
    types: ClassVar[dict[str, str]] = {}  # the annotations of its arguments, by name and in order
    defaults: ClassVar[dict[str, Any]] = {}  # likewise; MISSING for an argument without a default
    needed: ClassVar[tuple[str, ...]] = ()

    def __init__(self, *args: Any, **keywords: Any) -> None:
        given = dict(zip(self.types, args, strict=False)) | keywords if args else keywords
        values = self.defaults | given
        if len(values) > len(self.types) or len(args) > len(self.types) or not given.keys() >= {*self.needed}:
            raise TypeError(f"{signature(type(self))}, not {args} and {keywords}")
        vars(self).update(values)

    def __setattr__(self, name: str, value: Any) -> None:
        if name in vars(self):
            raise AttributeError(f"cannot change {name}: operators are immutable")
        vars(self)[name] = value

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and vars(self) == vars(other)

    def __hash__(self) -> int:
        return hash((type(self), *vars(self).values()))

    def __repr__(self) -> str:
        return f"{self.name}({', '.join(f'{name}={value!r}' for name, value in vars(self).items())})"

    def but(self, **arguments: Any) -> Self:
        """The same operator with other arguments."""
        return type(self)(**vars(self) | arguments)

    def output(self, x: Any) -> Shape:
        """The output's shape. Raises Refusal if the input does not fit."""
        raise self._no_rule("output shape")

    def weights(self, x: Any) -> dict[str, Sizes]:
        """Shapes of the trainable tensors, in the order of PyTorch's `parameters()`."""
        raise self._no_rule("weights")

    def buffers(self, x: Any) -> dict[str, Sizes]:
        """Shapes of the tensors that are kept but not trained."""
        raise self._no_rule("buffers")

    def work(self, x: Any, y: Shape) -> Work:
        """Number of operations by kind."""
        raise self._no_rule("work")

    def work_per_batch(self, x: Any) -> Work:
        """Number of operations by kind that a batch takes once, whatever its size."""
        return {}

    def batch_work(self, x: Any, y: Shape, batch: int) -> Work:
        """Number of operations by kind for a batch at inference."""
        work, once = self.work(x, y), self.work_per_batch(x)
        work = {kind: batch * count for kind, count in work.items()} if work else {}
        return add_work(work, once) if once else work

    def training_work(self, x: Any, y: Shape, batch: int) -> Work:
        """As at inference."""
        return self.batch_work(x, y, batch)

    def input_gradient(self, x: Any, y: Shape, batch: int) -> Work:
        """Number of operations by kind for the gradients of all inputs."""
        raise self._no_rule("input's gradient")

    def gradients_of(self, x: Any, y: Shape, batch: int, needed: Sequence[bool]) -> Work:
        """Number of operations by kind for the gradients of those inputs that need one."""
        return self.input_gradient(x, y, batch) if any(needed) else {}

    def inner_gradient(self, x: Any, y: Shape, batch: int) -> Work:
        """Number of operations by kind, among `input_gradient`, that the gradients of the weights need, too."""
        return {}

    def weight_gradient(self, x: Any, y: Shape, batch: int) -> Work:
        """Number of operations by kind for the gradients of all weights."""
        raise self._no_rule("weights' gradient")

    def writes(self, x: Any, y: Shape, training: bool) -> int:
        """Number of values written: the output's, unless it is a view or in place."""
        raise self._no_rule("written values")

    def overwrites(self, training: bool) -> bool:
        """Whether it writes into the memory of its (first) input, where nothing else needs the old values."""
        return bool(getattr(self, "inplace", False))

    def saved(self, x: Any, y: Shape) -> Saved:
        """The tensors that training keeps for backward."""
        raise self._no_rule("saved tensors")

    def calls(self, x: Any, y: Shape, training: bool, overwrites: bool) -> Calls:
        """One function of its inputs and weights, which keeps what `saved` says."""
        saved, inputs = self.saved(x, y), len(x) if self.joins else 1
        reads = tuple(range(inputs + len(self.weights(x))))
        keeps = reads[:inputs] * saved.input + (len(reads),) * saved.output
        where = IN_PLACE if overwrites else NEW if self.writes(x, y, training) else VIEW
        return (Call(reads, Extra("output", y), where, keeps, saved.extras),)

    def window(self, x: Any) -> tuple[Axis, ...]:
        """Which positions an output position reads, for each of the input's `lengths`."""
        raise self._no_rule("window")

    def links(self, x: Any, y: Shape) -> int:
        """Number of connections of a weighted layer, biases included; 0 for an operator that is not weighted."""
        if self.weighted:
            raise self._no_rule("connections")
        return 0

    def pytorch(self, x: Any) -> str:
        """The call that creates the PyTorch module of this operator, as text.

        Names in it are the operator's arguments; `in_channels`, `in_features` and `in_shape` are the input's channels,
        last size and shape; of a join, `in_channels` and `last_channels` are those of its first and last input. `nn` is
        `torch.nn`; other classes are those of pytorch/layers.py and token_layers.py. Each argument is a name or a
        constant. `pytorch.build` evaluates the text; `codegen` prints it with the arguments of the spec. The module of
        a join takes several inputs. In `code`, `{n}` is the number of the input's lengths.
        """
        if not self.code:
            raise self._no_rule("PyTorch module")
        return self.code.replace("{n}", str(len(x.lengths))) if "{n}" in self.code else self.code

    def ends(self, x: Any) -> tuple[Shape, Shape]:
        """Return the shapes of the first and the last input."""
        return (x[0], x[-1]) if self.joins else (x, x)

    def traced(self) -> Self:
        """The same operator with Terms as its arguments: its figures remember how they were computed."""
        return self.but(**{name: traced(value) for name, value in vars(self).items()})

    def formula(self, x: Any, y: Shape) -> dict[str, str]:
        """The formula of each weight, bias and kind of work, with the numbers filled in.

        The texts are recorded from the arithmetic itself (see `Term`), so they always evaluate to the figure.
        """
        lines = {name: weight_text(sizes, x) for name, sizes in self.weights(x).items()}
        work: Work = self.traced().work(traced(x), traced(y))
        return lines | {kind: count.text if isinstance(count, Term) else str(count) for kind, count in work.items()}

    @classmethod
    def says(cls, figure: str) -> str:
        """The rule for a figure as `archcalc ops NAME` shows it: the docstring of the figure's method."""
        return inspect.getdoc(getattr(cls, figure)) or ""

    def _no_rule(self, figure: str) -> NotImplementedError:
        return NotImplementedError(f"operator {type(self).name} has no rule for its {figure}")


class Plain(Operator):
    """An operator without weights; each output position reads its own position, unless overridden."""

    def weights(self, x: Any) -> dict[str, Sizes]:
        """None."""
        return {}

    def buffers(self, x: Any) -> dict[str, Sizes]:
        """None."""
        return {}

    def weight_gradient(self, x: Any, y: Shape, batch: int) -> Work:
        """None."""
        return {}

    def window(self, x: Any) -> tuple[Axis, ...]:
        """The same position."""
        return (EACH,) * len(x.lengths)

    def writes(self, x: Any, y: Shape, training: bool) -> int:
        return 0 if getattr(self, "inplace", False) else values(y)

    @classmethod
    def says(cls, figure: str) -> str:
        if figure != "writes" or cls.writes is not Plain.writes:
            return super().says(figure)
        return "The output; nothing where it works in place." if hasattr(cls, "inplace") else "The output."


class SameShape(Plain):
    """An operator whose output has its input's shape."""

    def output(self, x: Shape) -> Shape:
        """The input's shape."""
        featured(x)
        return x


REGISTRY: Registry[type[Operator]] = Registry()
_Class = TypeVar("_Class", bound=type[Operator])


@dataclass_transform(frozen_default=True)
def operator(name: str) -> Callable[[_Class], _Class]:
    """Register a class as the operator `name` of specs; its annotations, after its bases', are its arguments."""

    def register(cls: _Class) -> _Class:
        cls.name = name
        REGISTRY[name] = cls
        return declared(cls)

    return register


@dataclass_transform(frozen_default=True)
def declared(cls: _Class) -> _Class:
    """Take the annotations of a class, after its bases', as its arguments.

    Dataclasses would do the same, but creating 40 of them takes a twentieth of the start-up time.
    """
    own = _arguments(cls)
    inherited = {key: kind for base in reversed(cls.__mro__[1:]) for key, kind in _arguments(base).items()}
    cls.types = {key: kind for key, kind in inherited.items() if key not in own} | own
    cls.defaults = {key: getattr(cls, key, MISSING) for key in cls.types}
    cls.needed = tuple(key for key, value in cls.defaults.items() if value is MISSING)
    return cls


def _arguments(cls: type) -> dict[str, str]:
    """Return the annotations of a class that are arguments."""
    declared = getattr(cls, "__annotations__", {})
    return {key: kind for key, kind in declared.items() if not kind.startswith("ClassVar")}


def signature(cls: type[Operator]) -> str:
    """`conv(out_channels, kernel_size, stride=1, …)`, as a spec writes it."""
    parts = [key if value is MISSING else f"{key}={_default(value)}" for key, value in cls.defaults.items()]
    return f"{cls.name}({', '.join(parts)})"


def written_call(op: Operator) -> str:
    """`conv(256, 3, padding=1)`: an operator with its arguments, without defaults; of an import its function alone."""
    if op.name not in REGISTRY:
        return op.name
    own = {key: value for key, value in vars(op).items() if _default(value) != _default(op.defaults[key])}
    parts = [_default(value) if key in op.needed else f"{key}={_default(value)}" for key, value in own.items()]
    return f"{op.name}({', '.join(parts)})" if parts else op.name


def _default(value: object) -> str:
    if isinstance(value, tuple) and len(set(value)) == 1:
        value = value[0]
    return repr(value) if isinstance(value, str) else show(value)


def make(cls: type[Operator], args: Sequence[object], keywords: Mapping[str, object], axes: int = 2) -> Operator:
    """Create an operator from arguments as a spec writes them; check each by the annotation of its field.

    An argument such as `stride` has one number per axis of the input's lengths; `axes` is how many these are.

    Raises ArgumentError, which names the argument, if one is wrong, unknown, missing or given twice.
    """
    known = cls.types
    if len(args) > len(known):
        most = f"at most {counted(len(known), 'argument')}" if known else "no arguments"
        letters = "; axes have letters: 'HWC'" if "Letters" in known.values() else ""
        raise ArgumentError(f"takes {most}: {signature(cls)}{letters}", len(known))
    bound: dict[str, Any] = {}
    for position, (value, name) in enumerate(zip(args, known, strict=False)):
        bound[name] = _checked(known, name, value, position, axes)
    for name, value in keywords.items():
        if name not in known:
            hint = argument_hint(name, known)
            raise ArgumentError(f"has no argument {name!r}; {hint or signature(cls)}", name)
        if name in bound:
            raise ArgumentError(f"gets {name} twice", name)
        bound[name] = _checked(known, name, value, name, axes)
    missing = [name for name in cls.needed if name not in bound]
    if missing:
        raise ArgumentError(f"lacks {' and '.join(missing)}: {signature(cls)}")
    return cls(**(bound if axes == 2 else _defaults(cls.name, axes) | bound))


@lru_cache(maxsize=256)
def _defaults(name: str, axes: int) -> dict[str, Any]:
    """Return an operator's defaults that have one number per axis, for so many axes; its class states them for two."""
    cls = REGISTRY[name]
    per_axis = [key for key, kind in cls.types.items() if kind.partition(" | ")[0] in PER_AXIS]
    return {key: cls.defaults[key][:1] * axes for key in per_axis if isinstance(cls.defaults[key], tuple)}


def _checked(known: Mapping[str, str], name: str, value: object, argument: str | int, axes: int) -> Any:
    try:
        return read(known[name], value, axes)
    except Refusal as error:
        raise ArgumentError(f"{name} {error}", argument) from None


__all__ = [
    "KINDS", "REGISTRY", "Call", "Calls", "Extra", "Operator", "Plain", "Saved", "Shape", "Sizes", "Work",
    "add_work", "format_shape", "make", "operator", "signature", "values",
]  # fmt: skip
