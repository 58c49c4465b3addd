"""Normalizations. Work is counted at inference; sums over n values in g groups take n − g additions."""

from __future__ import annotations

from typing import ClassVar

from archcalc.errors import Refusal
from archcalc.ops.arguments import Extent, Flag, Positive, PositiveReal, Real, require, same
from archcalc.ops.base import Calls, Extra, SameShape, Saved, Shape, Work, format_shape, operator, values
from archcalc.ops.calls import NUMBER, PACKED, SAME, Call
from archcalc.ops.reads import EACH, EACH_AND_ALL, POINT, Axis


@operator("batchnorm")
class BatchNorm(SameShape):
    """Batch normalization per channel, `torch.nn.BatchNorm2d` and `BatchNorm1d` (Ioffe & Szegedy 2015)."""

    eps: PositiveReal = 1e-5
    momentum: Real = 0.1
    affine: Flag = True
    track_running_stats: Flag = True

    def output(self, x: Shape) -> Shape:
        """The input's shape. Raises Refusal if it has more than three dimensions."""
        if len(x) > 3:
            raise Refusal(f"batchnorm needs channels×height×width or features, not {format_shape(x)}")
        return x

    def weights(self, x: Shape) -> dict[str, Shape]:
        """γ `weight` and β `bias`, one value per channel."""
        return {"weight": (x[0],), "bias": (x[0],)} if self.affine else {}

    def buffers(self, x: Shape) -> dict[str, Shape]:
        """Running mean and variance, and PyTorch's counter of batches."""
        if not self.track_running_stats:
            return {}
        return {"running_mean": (x[0],), "running_var": (x[0],), "num_batches_tracked": ()}

    def work(self, x: Shape, y: Shape) -> Work:
        """For each value a multiplication and an addition: y = a·x + b, with a and b computed before."""
        if not self.track_running_stats:
            raise NotImplementedError("without running statistics the work for one image is not defined")
        return {"mul": values(y), "add": values(y)}

    def saved(self, x: Shape, y: Shape) -> Saved:
        """Input, weight, running statistics, and mean and 1/σ of the batch (on CUDA at least float32)."""
        state: tuple[str, ...] = ("weight",) if self.affine else ()
        state += ("running_mean", "running_var") if self.track_running_stats else ()
        extras = tuple(Extra(name, (x[0],), "sums", per_image=False) for name in ("mean", "invstd"))
        return Saved(input=True, state=state, extras=extras)

    def pytorch(self, x: Shape) -> str:
        options = "eps=eps, momentum=momentum, affine=affine, track_running_stats=track_running_stats"
        return f"nn.BatchNorm{2 if len(x) == 3 else 1}d(in_channels, {options})"

    def calls(self, x: Shape, y: Shape, training: bool, overwrites: bool) -> Calls:
        """One function; with running statistics it counts batches, and has those of the batch, only in training."""
        (call,) = super().calls(x, y, training, overwrites)
        if not self.track_running_stats:
            return (call,)
        return (Call((), NUMBER), call) if training else (call._replace(extras=()),)


@operator("layernorm")
class LayerNorm(SameShape):
    """Normalization over the last dimensions, `torch.nn.LayerNorm`; without `normalized_shape` over all dimensions."""

    normalized_shape: Extent | None = None
    eps: Real = 1e-5
    elementwise_affine: Flag = True
    bias: Flag = True

    def _over(self, x: Shape) -> Shape:
        return x if self.normalized_shape is None else self.normalized_shape

    def output(self, x: Shape) -> Shape:
        """The input's shape. Raises Refusal if it does not end with normalized_shape."""
        over = self._over(x)
        fits = len(over) <= len(x) and same([x[len(x) - len(over) :], over])
        require(fits, f"the input's shape {format_shape(x)} does not end with normalized_shape {format_shape(over)}")
        return x

    def weights(self, x: Shape) -> dict[str, Shape]:
        """weight and bias, of the normalized shape."""
        if not self.elementwise_affine:
            return {}
        return {"weight": self._over(x)} | ({"bias": self._over(x)} if self.bias else {})

    def work(self, x: Shape, y: Shape) -> Work:
        """For n values in g groups 3n − g sums, 2n products, 3g divisions, g roots; n for each of weight and bias."""
        groups = values(x[: len(x) - len(self._over(x))])
        return statistics_work(values(y), groups, self.elementwise_affine, self.elementwise_affine and self.bias)

    def saved(self, x: Shape, y: Shape) -> Saved:
        """Input, weight, bias, and mean and 1/σ of each group (on CUDA at least float32)."""
        groups = x[: len(x) - len(self._over(x))]
        extras = (Extra("mean", groups, "sums"), Extra("rstd", groups, "sums"))
        return Saved(input=True, state=tuple(self.weights(x)), extras=extras)

    def window(self, x: Shape) -> tuple[Axis, Axis]:
        """Each position, and through the statistics all normalized positions."""
        if len(x) != 3:
            return POINT
        return (EACH_AND_ALL if len(self._over(x)) > 1 else EACH), EACH_AND_ALL

    def pytorch(self, x: Shape) -> str:
        over = "in_shape" if self.normalized_shape is None else "normalized_shape"
        return f"nn.LayerNorm({over}, eps=eps, elementwise_affine=elementwise_affine, bias=bias)"


@operator("groupnorm")
class GroupNorm(SameShape):
    """Normalization over groups of channels, `torch.nn.GroupNorm` (Wu & He 2018)."""

    code: ClassVar[str] = "nn.GroupNorm(num_groups, in_channels, eps=eps, affine=affine)"
    num_groups: Positive
    eps: Real = 1e-5
    affine: Flag = True

    def output(self, x: Shape) -> Shape:
        """The input's shape. Raises Refusal if the channels cannot be divided into the groups."""
        require(x[0] % self.num_groups == 0, f"{x[0]} channels cannot be divided into {self.num_groups} groups")
        return x

    def weights(self, x: Shape) -> dict[str, Shape]:
        """weight and bias, one value per channel."""
        return {"weight": (x[0],), "bias": (x[0],)} if self.affine else {}

    def work(self, x: Shape, y: Shape) -> Work:
        """For n values in g groups 3n − g sums, 2n products, 3g divisions, g roots; n for each of weight and bias."""
        return statistics_work(values(y), self.num_groups, self.affine, self.affine)

    def saved(self, x: Shape, y: Shape) -> Saved:
        """Input, weight, and mean and 1/σ of each group."""
        groups = (self.num_groups,)
        extras = (Extra("mean", groups), Extra("rstd", groups))
        return Saved(input=True, state=("weight",) if self.affine else (), extras=extras)

    def window(self, x: Shape) -> tuple[Axis, Axis]:
        """Each position, and through the statistics all positions."""
        return (EACH_AND_ALL, EACH_AND_ALL) if len(x) == 3 else POINT

    def calls(self, x: Shape, y: Shape, training: bool, overwrites: bool) -> Calls:
        """One function."""
        (call,) = super().calls(x, y, training, overwrites)
        return (call._replace(grads=(PACKED,) * len(call.reads)),)


@operator("lrn")
class LRN(SameShape):
    """Local response normalization across channels, `torch.nn.LocalResponseNorm` (Krizhevsky et al. 2012, 3.3).

    y = x / (k + alpha/size · Σ x²)^beta, where the sum runs over `size` neighbouring channels.
    """

    code: ClassVar[str] = "nn.LocalResponseNorm(size, alpha=alpha, beta=beta, k=k)"
    size: Positive
    alpha: Real = 1e-4
    beta: Real = 0.75
    k: Real = 1.0

    def output(self, x: Shape) -> Shape:
        """The input's shape. Raises Refusal for a vector."""
        require(len(x) > 1, f"lrn needs channels and positions, not the vector {format_shape(x)}")
        return x

    def work(self, x: Shape, y: Shape) -> Work:
        """For each value 2 products (square, alpha/size), size additions (size − 1, k), the power, a division."""
        count = values(y)
        return {"mul": count + count, "add": count * (self.size - 1) + count, "pow": count, "div": count}

    def saved(self, x: Shape, y: Shape) -> Saved:
        """Input, the padded squares, the base and the result of the power."""
        padded = (x[0] + self.size - 1, *x[1:])
        return Saved(input=True, extras=(Extra("squares", padded), Extra("base", x), Extra("power", x)))

    def calls(self, x: Shape, y: Shape, training: bool, overwrites: bool) -> Calls:
        """x², padded, averaged, · alpha, + k, to the power of beta, and x divided by that."""
        squares, made = Extra("squares", (x[0] + self.size - 1, *x[1:])), Extra("values", x)
        return (
            Call((0, 0), made, keeps=(0,)),
            Call((1,), squares),
            Call((2,), made, keeps=(2,)),
            Call((3,), made, extras=(NUMBER,)),
            Call((4,), made, uses=(NUMBER,), holds=(3,), grads=(SAME,)),
            Call((5,), made, keeps=(5,), holds=(3,), scratch=(2,)),  # grad · (beta · x^(beta − 1))
            Call((6, 0), made, keeps=(6, 0), scratch=(3,)),  # −grad · (x / y / y), computed first
        )


def statistics_work(count: int, groups: int, scaled: bool, shifted: bool) -> Work:
    """Mean (n − g additions, g divisions), variance (center, square, sum, divide), 1/√(σ² + ε), scale and shift."""
    additions = (count - groups) + count + (count - groups) + groups
    multiplications = count + count
    return {
        "add": additions + count if shifted else additions,
        "mul": multiplications + count if scaled else multiplications,
        "div": groups * 3,
        "sqrt": groups,
    }
