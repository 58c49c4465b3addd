"""Operators as examples to compute: their modules and inputs with random values, in float64."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from hypothesis import strategies as st
from torch import Tensor, nn

from archcalc.ops import REGISTRY, Operator
from archcalc.pytorch.network import module_of
from support.operator_cases import drawn, inputs, made, shaped
from support.operator_strategies import FLAG, PROBABILITY, REAL, WRITTEN
from support.torch_seed import seed_torch

BATCH = 3


class _Example(NamedTuple):
    name: str
    x: Any
    keywords: dict[str, Any]


class Example(_Example):
    """An operator as a spec writes it, and its input's shape; for a join, those of its inputs."""

    def __new__(cls, name: str, x: Any, keywords: dict[str, Any]) -> Example:
        return super().__new__(cls, name, shaped(x), keywords)

    @property
    def op(self) -> Operator:
        return made(self.name, self.x, (), self.keywords)


def by_name(case: Any) -> Example:
    """Return a case of `operator_cases.py` with all its arguments by name."""
    name, x, args, keywords = case
    names = REGISTRY[name].types
    return Example(name, x, dict(zip(names, args, strict=False)) | keywords)


def module(example: Example, training: bool) -> nn.Module:
    """Create the operator's module with random weights and buffers, but for tables that its arguments decide."""
    made = module_of(example.op, example.x).double().train(training)
    seed_torch(0)
    for parameter in made.parameters():
        nn.init.normal_(parameter)
    for name, buffer in made.named_buffers():
        if buffer.is_floating_point() and name not in ("cos", "sin"):
            nn.init.uniform_(buffer, 0.5, 2)
    return made


def images(example: Example) -> list[Tensor]:
    seed_torch(1)
    op = example.op
    return [drawn(op, shape, BATCH, torch.randn, dtype=torch.float64) for shape in inputs(op, example.x)]


MORE: dict[str, dict[str, st.SearchStrategy[Any]]] = {  # arguments that change no figure
    "batchnorm": {"eps": REAL, "momentum": REAL, "track_running_stats": FLAG},
    "layernorm": {"eps": REAL},
    "groupnorm": {"eps": REAL},
    "instancenorm": {"eps": REAL},
    "channel_layernorm": {"eps": REAL},
    "mean": {"p": PROBABILITY},
}


@st.composite
def fitting(draw: st.DrawFn, name: str) -> Example:
    x, keywords = draw(WRITTEN[name])
    return Example(name, x, keywords | draw(st.fixed_dictionaries({}, optional=MORE.get(name, {}))))


def fits(example: Example) -> bool:
    try:
        example.op.output(example.x)
    except ValueError:
        return False
    return True
