"""Normalizations. Work is that of inference; the sums over n values in g groups take n − g additions."""

from __future__ import annotations

from typing import ClassVar

from archcalc.ops.arguments import Extent, Flag, Positive, PositiveReal, Real, require, same
from archcalc.ops.base import Extra, Plain, Saved, Shape, Work, format_shape, operator, values
from archcalc.ops.reads import EACH, EACH_AND_ALL, POINT, Axis


class Normalization(Plain):
    """A layer that shifts and scales what it is given; the shape stays."""

    def output(self, x: Shape) -> Shape:
        """As the input."""
        return x


@operator("batchnorm")
class BatchNorm(Normalization):
    """Batch normalization per channel, `torch.nn.BatchNorm2d` and `BatchNorm1d` (Ioffe & Szegedy 2015)."""

    eps: PositiveReal = 1e-5
    momentum: Real = 0.1
    affine: Flag = True
    track_running_stats: Flag = True

    def output(self, x: Shape) -> Shape:
        """As the input. Raises Refusal if it has more than height and width."""
        require(len(x) <= 3, f"batchnorm needs channels×height×width or features, not {format_shape(x)}")
        return x

    def weights(self, x: Shape) -> dict[str, Shape]:
        """γ `weight` and β `bias`, one per channel."""
        return {"weight": (x[0],), "bias": (x[0],)} if self.affine else {}

    def buffers(self, x: Shape) -> dict[str, Shape]:
        """Running mean and variance, and PyTorch's counter of batches."""
        if not self.track_running_stats:
            return {}
        return {"running_mean": (x[0],), "running_var": (x[0],), "num_batches_tracked": ()}

    def work(self, x: Shape, y: Shape) -> Work:
        """y = a·x + b with a and b ready: for each value a multiplication and an addition."""
        if not self.track_running_stats:
            raise NotImplementedError("has no arithmetic of one image without running statistics")
        return {"mul": values(y), "add": values(y)}

    def saved(self, x: Shape, y: Shape) -> Saved:
        """Input, weight, running statistics, and the batch's mean and 1/σ; these on CUDA never in half precision."""
        state: tuple[str, ...] = ("weight",) if self.affine else ()
        state += ("running_mean", "running_var") if self.track_running_stats else ()
        extras = tuple(Extra(name, (x[0],), "sums", per_image=False) for name in ("mean", "invstd"))
        return Saved(input=True, state=state, extras=extras)

    def pytorch(self, x: Shape) -> str:
        """`torch.nn.BatchNorm2d`, or `BatchNorm1d` for features."""
        options = "eps=eps, momentum=momentum, affine=affine, track_running_stats=track_running_stats"
        return f"nn.BatchNorm{2 if len(x) == 3 else 1}d(in_channels, {options})"


@operator("layernorm")
class LayerNorm(Normalization):
    """Normalization over the trailing dimensions, `torch.nn.LayerNorm`; over all of them unless named."""

    normalized_shape: Extent | None = None
    eps: Real = 1e-5
    elementwise_affine: Flag = True
    bias: Flag = True

    def _over(self, x: Shape) -> Shape:
        return x if self.normalized_shape is None else self.normalized_shape

    def output(self, x: Shape) -> Shape:
        """As the input. Raises Refusal if normalized_shape is not how the input's shape ends."""
        over = self._over(x)
        fits = len(over) <= len(x) and same([x[len(x) - len(over) :], over])
        require(fits, f"normalized_shape {format_shape(over)} is not the end of {format_shape(x)}")
        return x

    def weights(self, x: Shape) -> dict[str, Shape]:
        """weight and bias in the normalized shape."""
        if not self.elementwise_affine:
            return {}
        return {"weight": self._over(x)} | ({"bias": self._over(x)} if self.bias else {})

    def work(self, x: Shape, y: Shape) -> Work:
        """For n values in g groups 3n − g sums, 2n products, 3g divisions, g roots; n for each of weight and bias."""
        groups = values(x[: len(x) - len(self._over(x))])
        return statistics_work(values(y), groups, self.elementwise_affine, self.elementwise_affine and self.bias)

    def saved(self, x: Shape, y: Shape) -> Saved:
        """Input, weight, bias, and each group's mean and 1/σ; these on CUDA never in half precision."""
        groups = x[: len(x) - len(self._over(x))]
        extras = (Extra("mean", groups, "sums"), Extra("rstd", groups, "sums"))
        return Saved(input=True, state=tuple(self.weights(x)), extras=extras)

    def window(self, x: Shape) -> tuple[Axis, Axis]:
        """Each position, and through the statistics all of the height and width that are normalized."""
        if len(x) != 3:
            return POINT
        return (EACH_AND_ALL if len(self._over(x)) > 1 else EACH), EACH_AND_ALL

    def pytorch(self, x: Shape) -> str:
        """`torch.nn.LayerNorm`."""
        over = "in_shape" if self.normalized_shape is None else "normalized_shape"
        return f"nn.LayerNorm({over}, eps=eps, elementwise_affine=elementwise_affine, bias=bias)"


@operator("groupnorm")
class GroupNorm(Normalization):
    """Normalization over groups of channels, `torch.nn.GroupNorm` (Wu & He 2018)."""

    code: ClassVar[str] = "nn.GroupNorm(num_groups, in_channels, eps=eps, affine=affine)"
    num_groups: Positive
    eps: Real = 1e-5
    affine: Flag = True

    def output(self, x: Shape) -> Shape:
        """As the input. Raises Refusal if the channels do not divide into the groups."""
        require(x[0] % self.num_groups == 0, f"{x[0]} channels do not divide into {self.num_groups} groups")
        return x

    def weights(self, x: Shape) -> dict[str, Shape]:
        """weight and bias, one per channel."""
        return {"weight": (x[0],), "bias": (x[0],)} if self.affine else {}

    def work(self, x: Shape, y: Shape) -> Work:
        """For n values in g groups 3n − g sums, 2n products, 3g divisions, g roots; n for each of weight and bias."""
        return statistics_work(values(y), self.num_groups, self.affine, self.affine)

    def saved(self, x: Shape, y: Shape) -> Saved:
        """Input, weight, and each group's mean and 1/σ, in the network's dtype on CUDA too."""
        groups = (self.num_groups,)
        extras = (Extra("mean", groups), Extra("rstd", groups))
        return Saved(input=True, state=("weight",) if self.affine else (), extras=extras)

    def window(self, x: Shape) -> tuple[Axis, Axis]:
        """Each position, and through the statistics all of the height and width."""
        return (EACH_AND_ALL, EACH_AND_ALL) if len(x) == 3 else POINT


@operator("lrn")
class LRN(Normalization):
    """Local response normalization across channels, `torch.nn.LocalResponseNorm` (Krizhevsky et al. 2012, 3.3).

    y = x / (k + alpha/size · Σ x²)^beta, the sum over `size` neighbouring channels.
    """

    code: ClassVar[str] = "nn.LocalResponseNorm(size, alpha=alpha, beta=beta, k=k)"
    size: Positive
    alpha: Real = 1e-4
    beta: Real = 0.75
    k: Real = 1.0

    def output(self, x: Shape) -> Shape:
        """As the input. Raises Refusal for a vector."""
        require(len(x) > 1, f"lrn needs channels with places, not {format_shape(x)}")
        return x

    def work(self, x: Shape, y: Shape) -> Work:
        """For each value its square, size − 1 additions, alpha/size, k, the power, the division."""
        count = values(y)
        return {"mul": count + count, "add": count * (self.size - 1) + count, "pow": count, "div": count}

    def saved(self, x: Shape, y: Shape) -> Saved:
        """Input, the squares with their padding, the power's base and its result."""
        padded = (x[0] + self.size - 1, *x[1:])
        return Saved(input=True, extras=(Extra("squares", padded), Extra("base", x), Extra("power", x)))


def statistics_work(count: int, groups: int, scaled: bool, shifted: bool) -> Work:
    """Two passes: mean (n − g additions, g divisions), variance (center, square, sum, divide), 1/√(σ² + ε), scale."""
    additions = (count - groups) + count + (count - groups) + groups
    multiplications = count + count
    return {
        "add": additions + count if shifted else additions,
        "mul": multiplications + count if scaled else multiplications,
        "div": groups * 3,
        "sqrt": groups,
    }
