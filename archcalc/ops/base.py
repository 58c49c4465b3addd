"""What every operator says of itself, and what its figures mean.

An operator is one class: its fields are the arguments a spec writes, in PyTorch's names and order but
without the input channels, which are inferred. Its methods answer, for **one image** and **one forward pass at
inference**, in plain numbers of values and operations:

=========  ====================================================================================================
output     the shape it gives, without the batch: `(channels, height, width)` or `(features,)`
weights    its trainable tensors by name; what is called `bias` is a bias
buffers    its tensors that are kept but not trained (running statistics, fixed prototypes)
work       arithmetic by kind, from KINDS; `mac` is one multiply-accumulate of a convolution or linear layer
writes     values it writes to memory: none for a view or an operator in place; dropout writes only in training
overwrites whether it works in its (first) input's memory; `analysis.in_place` tells where it can
saved      what PyTorch keeps for the backward pass, named, so that a tensor two layers share counts once
window     which positions of its input one output position reads, by axis (see `ops.reads`)
links      for a weighted layer, its connections: pairs of an output value and an input value or bias
=========  ====================================================================================================

Multiplications with the zeros of a padded border count as work, as in every published figure and in PyTorch's
counter. Per-channel constants that do not depend on the image (batch normalization's scale and shift at inference)
are ready before the pass and cost nothing. A sign change costs nothing.

A method that an operator lacks raises `NotImplementedError` with the operator's name: an unknown figure is an error,
never zero. Dimensions may be integers or NumPy int64 arrays; then the figures are arrays too.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, Field, dataclass, fields, replace
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, TypeAlias, TypeVar

from archcalc.errors import ArgumentError, Refusal
from archcalc.ops.arguments import format_shape, read, show
from archcalc.ops.formula import Term
from archcalc.ops.reads import POINT, Axis
from archcalc.ops.synonyms import argument_hint

if TYPE_CHECKING:
    from typing_extensions import dataclass_transform
else:

    def dataclass_transform(**options: Any) -> Any:
        """Tells type checkers that `operator` makes dataclasses; at run time nothing."""
        return lambda decorator: decorator


Shape: TypeAlias = tuple[int, ...]
Work: TypeAlias = dict[str, int]

KINDS = ("mac", "add", "mul", "div", "compare", "exp", "sqrt", "pow", "tanh", "erf")


class Extra(NamedTuple):
    """A tensor that exists only for backward; `dtype` is the network's unless named.

    Two names depend on the device: `mask` is one byte a value on CUDA, `sums` at least float32 there. On the CPU both
    are the network's dtype.
    """

    name: str
    shape: Shape
    dtype: str = ""
    per_image: bool = True


class Saved(NamedTuple):
    """What backward keeps: the input or output (tensors that exist anyway), own weights and buffers, extras."""

    input: bool = False
    output: bool = False
    state: tuple[str, ...] = ()
    extras: tuple[Extra, ...] = ()


def values(shape: Sequence[int]) -> int:
    """How many values a tensor of this shape holds."""
    return math.prod(shape)


class Operator:
    """The base of every operator. `x` is the input's shape, for a join the tuple of its inputs' shapes.

    An operator is a value: its arguments are set once, and two with equal arguments are equal.
    """

    name: ClassVar[str]
    joins: ClassVar[bool] = False
    code: ClassVar[str] = ""  # what `pytorch` gives, where that does not depend on the input or the arguments
    weighted: ClassVar[bool] = False  # counts in a network's depth: a convolution, linear layer or their kin

    def __setattr__(self, name: str, value: Any) -> None:
        if name in vars(self):
            raise AttributeError(f"{name} of an operator cannot be changed")
        vars(self)[name] = value

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and vars(self) == vars(other)

    def __hash__(self) -> int:
        return hash((type(self), *vars(self).values()))

    def __repr__(self) -> str:
        return f"{self.name}({', '.join(f'{name}={value!r}' for name, value in vars(self).items())})"

    def output(self, x: Any) -> Shape:
        """The output's shape. Raises Refusal if the input does not fit."""
        raise self._no_rule("output shape")

    def weights(self, x: Any) -> dict[str, Shape]:
        """Shapes of the trainable tensors, in the order of PyTorch's `parameters()`."""
        raise self._no_rule("weights")

    def buffers(self, x: Any) -> dict[str, Shape]:
        """Shapes of the tensors that are kept and not trained."""
        raise self._no_rule("buffers")

    def work(self, x: Any, y: Shape) -> Work:
        """Arithmetic by kind."""
        raise self._no_rule("work")

    def writes(self, x: Any, y: Shape, training: bool) -> int:
        """Values written: the output's, unless it is a view or in place."""
        raise self._no_rule("written values")

    def overwrites(self, training: bool) -> bool:
        """Whether it puts its output into its (first) input's memory, where nothing else needs what is there."""
        return bool(getattr(self, "inplace", False))

    def saved(self, x: Any, y: Shape) -> Saved:
        """What training keeps for backward."""
        raise self._no_rule("saved tensors")

    def window(self, x: Any) -> tuple[Axis, Axis]:
        """What an output position reads, by height and width."""
        raise self._no_rule("window")

    def links(self, x: Any, y: Shape) -> int:
        """Connections of a weighted layer, biases included; an unweighted operator has none by definition."""
        if self.weighted:
            raise self._no_rule("connections")
        return 0

    def pytorch(self, x: Any) -> str:
        """The call that makes the same operator in PyTorch, a module; a join's takes its inputs as arguments.

        Names stand for arguments, `in_channels`, `in_features` and `in_shape` for the input's first and last dimension
        and its shape; `nn` is `torch.nn`, other classes are those of pytorch/layers. Each argument is a name or a
        constant. `pytorch.build` evaluates the text; `codegen` prints it with the arguments that the spec writes.
        """
        if not self.code:
            raise self._no_rule("PyTorch module")
        return self.code

    def formula(self, x: Any, y: Shape) -> dict[str, str]:
        """How each figure comes about: `weights`, `bias` and the kinds of `work`, with the numbers filled in.

        The texts are recorded from the arithmetic itself (see `Term`), so they always evaluate to the figure.
        """
        traced = replace(self, **{f.name: _traced(getattr(self, f.name)) for f in declared(type(self))})  # type: ignore[type-var]  # every registered operator is a dataclass
        lines = {name: _weight_text(shape) for name, shape in self.weights(x).items()}
        work: Work = traced.work(_traced(x), _traced(y))
        return lines | {kind: count.text if isinstance(count, Term) else str(count) for kind, count in work.items()}

    @classmethod
    def says(cls, figure: str) -> str:
        """The rule for a figure in words, as `archcalc ops NAME` shows it: the docstring of the figure's method."""
        return inspect.getdoc(getattr(cls, figure)) or ""

    def _no_rule(self, figure: str) -> NotImplementedError:
        return NotImplementedError(f"operator {type(self).name} has no rule for its {figure}")


class Plain(Operator):
    """An operator without weights that sees each position alone, or says otherwise itself."""

    def weights(self, x: Any) -> dict[str, Shape]:
        """None."""
        return {}

    def buffers(self, x: Any) -> dict[str, Shape]:
        """None."""
        return {}

    def window(self, x: Any) -> tuple[Axis, Axis]:
        """The same position."""
        return POINT

    def writes(self, x: Any, y: Shape, training: bool) -> int:
        """The output, unless the operator has an `inplace` argument that is set."""
        return 0 if getattr(self, "inplace", False) else values(y)

    @classmethod
    def says(cls, figure: str) -> str:
        """Written values by whether there is an `inplace` argument; the rest as the docstrings say it."""
        if figure != "writes" or cls.writes is not Plain.writes:
            return super().says(figure)
        return "The output; nothing where it works in place." if hasattr(cls, "inplace") else "The output."


def spatial(x: Shape, name: str) -> Shape:
    """`x`, which must be channels×height×width. Raises Refusal otherwise."""
    if len(x) != 3:
        raise Refusal(f"{name} needs channels×height×width, not {format_shape(x)}")
    return x


def _traced(value: Any) -> Any:
    if type(value) is int:
        return Term(value)
    return tuple(_traced(item) for item in value) if isinstance(value, tuple) else value


def _weight_text(shape: Shape) -> str:
    """PyTorch's (out, in, height, width) as people write it: `(3·3·64)·128`."""
    out, *rest = shape
    fan_in = [*rest[1:], rest[0]] if len(rest) == 3 else rest
    text = "·".join(str(dim) for dim in fan_in)
    return f"({text})·{out}" if len(rest) > 1 else f"{text}·{out}" if rest else str(out)


REGISTRY: dict[str, type[Operator]] = {}
_Class = TypeVar("_Class", bound=type[Operator])


@dataclass_transform(frozen_default=True)
def operator(name: str) -> Callable[[_Class], _Class]:
    """Make a class the operator that specs call `name`: a dataclass of its arguments.

    The dataclass gives `__init__` alone; the rest stands in `Operator`, once, since making it 40 times over takes a
    tenth of the time in which the command starts.
    """

    def register(cls: _Class) -> _Class:
        cls.name = name
        REGISTRY[name] = cls
        dataclass(eq=False, repr=False)(cls)
        return cls

    return register


def declared(cls: type[Operator]) -> tuple[Field[Any], ...]:
    """An operator's arguments, in order."""
    return fields(cls)  # type: ignore[arg-type]  # every registered operator is a dataclass


def signature(cls: type[Operator]) -> str:
    """`conv(out_channels, kernel_size, stride=1, …)`, as a spec would write it."""
    parts = [f.name if f.default is MISSING else f"{f.name}={_default(f.default)}" for f in declared(cls)]
    return f"{cls.name}({', '.join(parts)})"


def _default(value: object) -> str:
    if isinstance(value, tuple) and len(set(value)) == 1:
        value = value[0]
    return repr(value) if isinstance(value, str) else show(value)


def make(cls: type[Operator], args: Sequence[object], keywords: Mapping[str, object]) -> Operator:
    """The operator with these written arguments, each checked by its field's annotation.

    Raises ArgumentError, which names the argument, for one that is wrong, unknown, missing or given twice.
    """
    known = declared(cls)
    if len(args) > len(known):
        most = f"{len(known)} argument{'s' if len(known) != 1 else ''}"
        raise ArgumentError(f"takes at most {most}: {signature(cls)}", len(known))
    bound: dict[str, Any] = {}
    names = {f.name: f for f in known}
    for position, (value, field) in enumerate(zip(args, known, strict=False)):
        bound[field.name] = _checked(field, value, position)
    for name, value in keywords.items():
        if name not in names:
            hint = argument_hint(name, names)
            raise ArgumentError(f"has no argument {name!r}; {hint or signature(cls)}", name)
        if name in bound:
            raise ArgumentError(f"gets {name} twice", name)
        bound[name] = _checked(names[name], value, name)
    missing = [f.name for f in known if f.default is MISSING and f.name not in bound]
    if missing:
        raise ArgumentError(f"lacks {' and '.join(missing)}: {signature(cls)}")
    return cls(**bound)


def _checked(field: Field[Any], value: object, argument: str | int) -> Any:
    try:
        return read(str(field.type), value)
    except Refusal as error:
        raise ArgumentError(f"{field.name} {error}", argument) from None


__all__ = [
    "KINDS", "REGISTRY", "Extra", "Operator", "Plain", "Saved", "Shape", "Work",
    "declared", "format_shape", "make", "operator", "signature", "spatial", "values",
]  # fmt: skip
