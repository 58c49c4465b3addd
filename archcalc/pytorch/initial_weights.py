"""Initial weights in the words of a training recipe: `He`, `Xavier`, `normal 0.01; biases 1 in conv2, fc6`."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import torch
from torch import nn

from archcalc.errors import ArchcalcError, shorten
from archcalc.pytorch.layers import TableConv2d

CONVOLUTIONS = nn.Conv1d | nn.Conv2d | nn.Conv3d | nn.ConvTranspose1d | nn.ConvTranspose2d | nn.ConvTranspose3d
WEIGHTED = CONVOLUTIONS | nn.Linear | TableConv2d
NUMBER = r"([0-9]+(?:\.[0-9]+)?)"


class Initialization(NamedTuple):
    """How to draw the weights of convolutions and linear layers, and which layers' biases start at 1, not 0."""

    draw: Callable[[nn.Module], object]
    ones: tuple[str, ...] = ()

    def apply(self, name: str, module: nn.Module) -> None:
        """Draw the weights of the layer `name` and set its biases."""
        self.draw(module)
        if module.bias is not None:
            one = any(f"{name}.".startswith(f"{own}.") for own in self.ones)
            nn.init.constant_(module.bias, float(one))


def read_rule(text: str) -> Initialization:
    """Read the rule from a text. Raises ArchcalcError for another text."""
    rule, _, biases = text.partition("; biases 1 in ")
    for form, draw in FORMS.items():
        if found := re.fullmatch(form, rule):
            return Initialization(partial(draw, *map(float, found.groups())), tuple(biases.split(", ")))
    forms = "He, Xavier, normal 0.01 or uniform 2.4 / fan-in"
    raise ArchcalcError(f"no rule for initial weights: {shorten(text)!r}; write {forms}")


def he(module: nn.Module) -> None:
    """Draw from a normal distribution with deviation √(2 / fan-in): He et al. 2015 (arXiv:1502.01852), 2.2."""
    nn.init.kaiming_normal_(module.weight, nonlinearity="relu")


def xavier(module: nn.Module) -> None:
    """Draw uniformly within ±√(6 / (fan-in + fan-out)): Glorot & Bengio 2010, equation 16."""
    nn.init.xavier_uniform_(module.weight)


def normal(deviation: float, module: nn.Module) -> None:
    """Draw from a normal distribution with one deviation for all layers: Krizhevsky et al. 2012, 5."""
    nn.init.normal_(module.weight, std=deviation)


def uniform(bound: float, module: nn.Module) -> None:
    """Draw uniformly within ±bound / fan-in: LeCun et al. 1998, appendix A."""
    with torch.no_grad():
        module.weight.uniform_(-bound, bound).div_(fan_in(module))


def fan_in(module: nn.Module) -> torch.Tensor:
    """Number of inputs of each weight's unit: one number, or (links, 1, 1) with a connection table."""
    device = module.weight.device
    if not isinstance(module, TableConv2d):
        return torch.tensor(module.weight[0].numel(), device=device)
    rows = [link // module.shape[1] for link in module.links]
    counts = Counter(rows)
    return torch.tensor([counts[row] * module.weight[0].numel() for row in rows], device=device).view(-1, 1, 1)


FORMS: dict[str, Callable[..., object]] = {
    "He": he,
    "Xavier": xavier,
    f"normal {NUMBER}": normal,
    f"uniform {NUMBER} / fan-in": uniform,
}
