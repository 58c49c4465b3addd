"""A network as plain steps, and its text as a spec: what `random_graphs.py` draws."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

from archcalc.ops import REGISTRY, Operator, Shape, make
from archcalc.ops.shape import shape_of


class Layer(NamedTuple):
    name: str
    keywords: dict[str, Any]
    weight: str = ""  # the label of another layer whose weight it has

    def op(self, x: Shape) -> Operator:
        return make(REGISTRY[self.name], (), self.keywords, len(x.lengths) or 2)


class Use(NamedTuple):
    label: str  # or the name of an input


class Again(NamedTuple):
    label: str


class Label(NamedTuple):
    name: str
    steps: Steps


class Branch(NamedTuple):
    name: str  # "": without a name
    steps: Steps


class Join(NamedTuple):
    name: str
    keywords: dict[str, Any]
    branches: tuple[Branch, ...]


class Side(NamedTuple):
    branches: tuple[Branch, ...]


class Outputs(NamedTuple):
    branches: tuple[Branch, ...]


class Repeat(NamedTuple):
    count: int
    steps: Steps


class Choose(NamedTuple):
    test: str  # a true expression
    steps: Steps


class Block(NamedTuple):
    name: str
    steps: Steps


Step: TypeAlias = Layer | Use | Again | Label | Join | Side | Outputs | Repeat | Choose | Block
Steps: TypeAlias = tuple[Step, ...]
IDENTITY = Layer("identity", {})


@dataclass(frozen=True, repr=False)
class Network:
    shape: Shape
    steps: Steps
    inline: bool = False  # written as expressions if possible, otherwise as YAML
    dtype: str = "float32"
    others: tuple[tuple[str, Shape], ...] = ()  # more inputs, with their names
    first: str = "in0"  # the name of the first input, if there are others

    def __post_init__(self) -> None:
        object.__setattr__(self, "shape", shape_of(self.shape))

    @property
    def inputs(self) -> dict[str, Shape]:
        """The shapes of all inputs, by name."""
        return {self.first: self.shape, **dict(self.others)}

    def spec(self) -> str:
        """Return the network as a spec, with its dtype as a comment."""
        head = [f"# in {self.dtype}"] if self.dtype != "float32" else []
        several = ["input:", *(f"  {name}: {_written(shape)}" for name, shape in self.inputs.items())]
        head += ["name: drawn", *(several if self.others else [f"input: {_written(self.shape)}"])]
        blocks = {step.name: step.steps for step in every_step(self.steps) if isinstance(step, Block)}
        if blocks:
            head.append("blocks:")
        for name, steps in blocks.items():
            head += [f"  {name}:", *_lines(steps, 4, self.inline)]
        return "\n".join([*head, "layers:", *_lines(self.steps, 2, self.inline)]) + "\n"

    __repr__ = spec  # what hypothesis prints


def every_step(steps: Steps) -> Iterator[Step]:
    """Yield all steps, including those inside others."""
    for step in steps:
        yield step
        yield from every_step(getattr(step, "steps", ()))
        for branch in getattr(step, "branches", ()):
            yield from every_step(branch.steps)


def used(steps: Steps) -> set[str]:
    """Return the labels that `use` refers to, but for side outputs and what runs no time."""
    found = {step.label for step in steps if isinstance(step, Use)}
    for step in steps:
        if not isinstance(step, Side) and (not isinstance(step, Repeat) or step.count):
            found |= used(getattr(step, "steps", ()))
            found.update(*(used(branch.steps) for branch in getattr(step, "branches", ())))
    return found


def _lines(steps: Steps, indent: int, inline: bool) -> list[str]:
    """Return the steps as items of a YAML list."""
    lines = []
    for step in steps:
        text = inlined((step,))
        if text and (inline or not isinstance(step, Join)):
            lines.append(f"{' ' * indent}- {text}")
        elif isinstance(step, Label):
            lines += _nested(f"{' ' * indent}- {step.name}:", step.steps, indent + 4, inline)
        elif isinstance(step, Join | Side | Outputs):
            head = _call(step.name, step.keywords) if isinstance(step, Join) else type(step).__name__.lower()
            lines.append(f"{' ' * indent}- {head}:")
            for branch in step.branches:
                mark = f"{branch.name}:" if branch.name else "-"
                lines += _nested(f"{' ' * (indent + 4)}{mark}", branch.steps, indent + 6, inline)
    return lines


def _nested(head: str, steps: Steps, indent: int, inline: bool) -> list[str]:
    text = inlined(steps)
    return [f"{head} {text}"] if inline and text else [head, *_lines(steps, indent, inline)]


def inlined(steps: Steps) -> str:
    """Return the steps as one expression, or "" if they have no such form."""
    parts = [_part(step) for step in steps]
    return " | ".join(parts) if all(parts) else ""


def _part(step: Step) -> str:
    if isinstance(step, Layer):
        return _call(step.name, step.keywords, step.weight)
    if isinstance(step, Use | Again | Block):
        return step.name if isinstance(step, Block) else f"{type(step).__name__.lower()}({step.label})"
    if isinstance(step, Repeat):
        return f"{step.count} * ({inlined(step.steps)})"
    if isinstance(step, Choose):
        return f"({inlined(step.steps)} if {step.test} else linear(0))"
    if isinstance(step, Join) and not step.keywords:
        parts = [(branch.name, inlined(branch.steps)) for branch in step.branches]
        inside = ", ".join(f"{name}={text}" if name else text for name, text in parts)
        return f"{step.name}({inside})" if all(text for _, text in parts) else ""
    return ""


def _call(name: str, keywords: dict[str, Any], weight: str = "") -> str:
    needed = REGISTRY[name].needed
    parts = [_value(keywords[key]) for key in needed]
    parts += [f"{key}={_value(value)}" for key, value in keywords.items() if key not in needed]
    parts += [f"weight={weight}"] if weight else []
    return f"{name}({', '.join(parts)})" if parts else name


def _written(shape: Shape) -> str:
    if shape.axes in ("C", "CHW"):
        return _value(tuple(shape))
    return f"{{{', '.join(f'{axis}: {size}' for axis, size in zip(shape.axes, shape, strict=True))}}}"


def _value(value: Any) -> str:
    return f"[{', '.join(map(_value, value))}]" if isinstance(value, tuple) else repr(value)
