"""Normalizations. Work is counted at inference; sums over n values in g groups take n − g additions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from archcalc.ops.arguments import Extent, Flag, Positive, PositiveReal, Real, require, same
from archcalc.ops.base import (
    Calls,
    Extra,
    SameShape,
    Saved,
    Shape,
    Sizes,
    Work,
    add_work,
    format_shape,
    operator,
    values,
)  # fmt: skip
from archcalc.ops.calls import IMAGES, JOINED, NEW, NONE, NUMBER, PACKED, SAME, VIEW, Call
from archcalc.ops.reads import EACH, EACH_AND_ALL, Axis
from archcalc.ops.shape import Tokens, channels_first, positions


class ByChannel(SameShape):
    """A normalization of each channel, of all images or of each, perhaps with running statistics."""

    eps: PositiveReal
    momentum: Real
    affine: Flag
    track_running_stats: Flag

    def groups(self, x: Shape, batch: int) -> int:
        """Return how many groups of values have a mean and a variance of their own."""
        count: int = x.channels
        return count

    def weights(self, x: Shape) -> dict[str, Sizes]:
        """γ `weight` and β `bias`, one value per channel."""
        return {"weight": (x.channels,), "bias": (x.channels,)} if self.affine else {}

    def buffers(self, x: Shape) -> dict[str, Sizes]:
        """Running mean and variance, and PyTorch's counter of batches."""
        if not self.track_running_stats:
            return {}
        return {"running_mean": (x.channels,), "running_var": (x.channels,), "num_batches_tracked": ()}

    def training_work(self, x: Shape, y: Shape, batch: int) -> Work:
        """As of layernorm, with the channels of the batch as groups; then the averages of mean and n/(n − 1)·variance.

        For n values in C channels 3n − C sums, 2n products, 3C divisions, C roots; n for each of weight and bias. For
        each channel's running averages, momentum·new + (1 − momentum)·old, 5 products and 2 sums.
        """
        groups = self.groups(x, batch)
        work = statistics_work(batch * values(y), groups, self.affine, self.affine)
        return add_work(work, {"mul": 5 * groups, "add": 2 * groups} if self.track_running_stats else {})

    def input_gradient(self, x: Shape, y: Shape, batch: int) -> Work:
        """γ/σ · (g − Σg/n − (x − μ)·k), where k = Σ(g·(x − μ))/σ/σ/n per channel; the weight gradient has the sums.

        For n values in C channels 2n additions, 2n + 2C products, 2C divisions. Without weights also the sums, 3n − 2C
        additions and n products.
        """
        count, groups = batch * values(x), self.groups(x, batch)
        work = {"add": count * 2, "mul": count * 2 + groups * 2, "div": groups * 2}
        return work if self.affine else add_work(work, {"add": count * 3 - groups * 2, "mul": count})

    def weight_gradient(self, x: Shape, y: Shape, batch: int) -> Work:
        """Σ(g·(x − μ))/σ and Σg: for n values in C channels 3n − 2C additions and n + C products."""
        count = batch * values(x)
        return {"add": count * 3 - x.channels * 2, "mul": count + self.groups(x, batch)} if self.affine else {}


@operator("batchnorm")
class BatchNorm(ByChannel):
    """Batch normalization per channel, `torch.nn.BatchNorm1d` to `BatchNorm3d` (Ioffe & Szegedy 2015)."""

    eps: PositiveReal = 1e-5
    momentum: Real = 0.1
    affine: Flag = True
    track_running_stats: Flag = True

    def output(self, x: Shape) -> Shape:
        """The input's shape. Raises Refusal for tokens, whose features are not PyTorch's second dimension."""
        return channels_first(x, self.name)

    def work(self, x: Shape, y: Shape) -> Work:
        """For each value a multiplication and an addition: y = a·x + b, with a and b computed before."""
        if not self.track_running_stats:
            raise NotImplementedError("without running statistics the work for one image is not defined")
        return {"mul": values(y), "add": values(y)}

    def saved(self, x: Shape, y: Shape) -> Saved:
        """Input, weight, running statistics, and mean and 1/σ of the batch (on CUDA at least float32)."""
        state: tuple[str, ...] = ("weight",) if self.affine else ()
        state += ("running_mean", "running_var") if self.track_running_stats else ()
        extras = tuple(Extra(name, (x.channels,), "sums", per_image=False) for name in ("mean", "invstd"))
        return Saved(input=True, state=state, extras=extras)

    def pytorch(self, x: Shape) -> str:
        options = "eps=eps, momentum=momentum, affine=affine, track_running_stats=track_running_stats"
        return f"nn.BatchNorm{len(x.lengths) or 1}d(in_channels, {options})"

    def calls(self, x: Shape, y: Shape, training: bool, overwrites: bool) -> Calls:
        """One function; with running statistics it counts batches, and has those of the batch, only in training."""
        (call,) = super().calls(x, y, training, overwrites)
        if not self.track_running_stats:
            return (call,)
        return (Call((), NUMBER), call) if training else (call._replace(extras=()),)


@operator("instancenorm")
class InstanceNorm(ByChannel):
    """Normalization of each channel of each image (Ulyanov et al. 2016), `torch.nn.InstanceNorm1d` to `InstanceNorm3d`.

    With running statistics, evaluation uses these instead of those of the image.
    """

    eps: Real = 1e-5
    momentum: Real = 0.1
    affine: Flag = False
    track_running_stats: Flag = False

    def output(self, x: Shape) -> Shape:
        """The input's shape. Raises Refusal for a vector, tokens, and a single position."""
        lengths = positions(x, self.name)
        require(values(lengths) > 1, "instancenorm needs more than one position, as in PyTorch")
        return x

    def groups(self, x: Shape, batch: int) -> int:
        count: int = batch * x.channels
        return count

    def work(self, x: Shape, y: Shape) -> Work:
        """For n values in C channels 3n − C sums, 2n products, 3C divisions, C roots; n for each of weight and bias.

        With running statistics a product and a sum for each value: y = a·x + b, with a and b computed before.
        """
        if self.track_running_stats:
            return {"mul": values(y), "add": values(y)}
        return statistics_work(values(y), x.channels, self.affine, self.affine)

    def training_work(self, x: Shape, y: Shape, batch: int) -> Work:
        """As of batchnorm for each image, n values in C channels: sums, products, divisions, roots.

        The running statistics are the means of those of the images: for each channel and image 2 sums, less one of
        each, and 2 divisions.
        """
        work = super().training_work(x, y, batch)
        means = {"add": (batch - 1) * x.channels * 2, "div": x.channels * 2}
        return add_work(work, means if self.track_running_stats else {})

    def saved(self, x: Shape, y: Shape) -> Saved:
        """Input, and for each image mean and 1/σ, and copies of the weight and of running statistics."""
        copies = ["weight"] * self.affine + ["running_mean", "running_var"] * self.track_running_stats
        extras = [*[Extra(name, (x.channels,)) for name in copies], *self._statistics(x)]
        return Saved(input=True, extras=tuple(extras))

    def _statistics(self, x: Shape) -> tuple[Extra, Extra]:
        return Extra("mean", (x.channels,), "sums"), Extra("invstd", (x.channels,), "sums")

    def window(self, x: Shape) -> tuple[Axis, ...]:
        """Each position; without running statistics all positions, too."""
        return (EACH if self.track_running_stats else EACH_AND_ALL,) * len(x.lengths)

    def pytorch(self, x: Shape) -> str:
        options = "eps=eps, momentum=momentum, affine=affine, track_running_stats=track_running_stats"
        return f"nn.InstanceNorm{len(x.lengths)}d(in_channels, {options})"

    def calls(self, x: Shape, y: Shape, training: bool, overwrites: bool) -> Calls:
        """Batch normalization of a view in which each image has channels of its own, and of copies for each image."""
        weights, tracked = len(self.weights(x)), 2 * self.track_running_stats
        copy, mean = Extra("weight", (x.channels,)), Extra("mean", (x.channels,), per_image=False)
        copies = [Call((i,), copy, grads=(IMAGES,)) for i in range(1, 1 + weights)] + [Call((), copy)] * tracked
        first = 1 + weights
        view, made = first + len(copies), Extra("normalized", y)
        of_images = tuple(range(first, view))
        running = of_images[weights:]
        keeps = (view, *of_images[: weights // 2], *running)
        extras = self._statistics(x) if training or not tracked else ()
        norm = Call((view, *of_images), made, keeps=keeps, extras=extras, grads=(NEW,) * first + (NONE,) * tracked)
        means = [Call((i,), mean, grads=(NONE,)) for i in running] if training else []
        joined = VIEW if x.channels == 1 else JOINED
        last = Call((view + 1,), made, VIEW, holds=of_images, grads=(joined,))
        return *copies, Call((0,), Extra("view", x), VIEW, grads=(VIEW,)), norm, *means, last


@operator("layernorm")
class LayerNorm(SameShape):
    """Normalization over the last dimensions, `torch.nn.LayerNorm`.

    Without `normalized_shape` over all dimensions; of tokens over the features of each token.
    """

    normalized_shape: Extent | None = None
    eps: Real = 1e-5
    elementwise_affine: Flag = True
    bias: Flag = True

    def _over(self, x: Shape) -> Sizes:
        if self.normalized_shape is not None:
            return self.normalized_shape
        return (x.channels,) if isinstance(x, Tokens) else tuple(x)

    def _groups(self, x: Shape) -> Sizes:
        """Return the sizes of the axes that are not normalized over."""
        return x.without_last(len(self._over(x)))

    def output(self, x: Shape) -> Shape:
        """The input's shape. Raises Refusal if it does not end with normalized_shape."""
        over = self._over(x)
        fits = len(over) <= len(x.axes) and same([(*self._groups(x), *over), x])
        require(fits, f"the input's shape {format_shape(x)} does not end with normalized_shape {format_shape(over)}")
        return x

    def weights(self, x: Shape) -> dict[str, Sizes]:
        """weight and bias, of the normalized shape."""
        if not self.elementwise_affine:
            return {}
        return {"weight": self._over(x)} | ({"bias": self._over(x)} if self.bias else {})

    def work(self, x: Shape, y: Shape) -> Work:
        """For n values in g groups 3n − g sums, 2n products, 3g divisions, g roots; n for each of weight and bias."""
        groups = values(self._groups(x))
        return statistics_work(values(y), groups, self.elementwise_affine, self.elementwise_affine and self.bias)

    def input_gradient(self, x: Shape, y: Shape, batch: int) -> Work:
        """1/σ · (h − Σh/n − (x − μ)·k), where h = γ·g and k = Σ(h·(x − μ))/n·(1/σ)² per group.

        For n values in g groups 4n − 2g additions, 3n + 2g products, 2g divisions; with a weight n products, without
        one n differences x − μ.
        """
        groups = values(self._groups(x))
        return statistics_gradient(batch * values(x), batch * groups, self.elementwise_affine)

    def weight_gradient(self, x: Shape, y: Shape, batch: int) -> Work:
        """Σ(g·(x − μ)·1/σ) and Σg: for n values n differences, 2n products, and n − m sums for m weights or biases."""
        return affine_gradient(batch * values(x), self.weights(x))

    def saved(self, x: Shape, y: Shape) -> Saved:
        """Input, weight, bias, and mean and 1/σ of each group (on CUDA at least float32)."""
        groups = self._groups(x)
        extras = (Extra("mean", groups, "sums"), Extra("rstd", groups, "sums"))
        return Saved(input=True, state=tuple(self.weights(x)), extras=extras)

    def window(self, x: Shape) -> tuple[Axis, ...]:
        """Each position, and through the statistics all normalized positions."""
        over = x.axes[len(self._groups(x)) :]
        return tuple([EACH_AND_ALL if axis in over else EACH for axis in x.axes if axis != "C"])

    def pytorch(self, x: Shape) -> str:
        every = "in_features" if isinstance(x, Tokens) else "in_shape"
        over = every if self.normalized_shape is None else "normalized_shape"
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
        channels = channels_first(x, self.name).channels
        require(channels % self.num_groups == 0, f"{channels} channels cannot be divided into {self.num_groups} groups")
        return x

    def weights(self, x: Shape) -> dict[str, Sizes]:
        """weight and bias, one value per channel."""
        return {"weight": (x.channels,), "bias": (x.channels,)} if self.affine else {}

    def work(self, x: Shape, y: Shape) -> Work:
        """For n values in g groups 3n − g sums, 2n products, 3g divisions, g roots; n for each of weight and bias."""
        return statistics_work(values(y), self.num_groups, self.affine, self.affine)

    def input_gradient(self, x: Shape, y: Shape, batch: int) -> Work:
        """As of layernorm: 4n − 2g additions, 3n + 2g products, 2g divisions; with weights n products, else n sums."""
        return statistics_gradient(batch * values(x), batch * self.num_groups, self.affine)

    def weight_gradient(self, x: Shape, y: Shape, batch: int) -> Work:
        """As of layernorm: for n values and C channels 2n products and 3n − 2C additions."""
        return affine_gradient(batch * values(x), self.weights(x))

    def saved(self, x: Shape, y: Shape) -> Saved:
        """Input, weight, and mean and 1/σ of each group."""
        groups = (self.num_groups,)
        extras = (Extra("mean", groups), Extra("rstd", groups))
        return Saved(input=True, state=("weight",) if self.affine else (), extras=extras)

    def window(self, x: Shape) -> tuple[Axis, ...]:
        """Each position, and through the statistics all positions."""
        return (EACH_AND_ALL,) * len(x.lengths)

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
        """The input's shape. Raises Refusal for a vector, and for tokens."""
        positions(x, self.name)
        return x

    def work(self, x: Shape, y: Shape) -> Work:
        """For each value 2 products (square, alpha/size), size additions (size − 1, k), the power, a division."""
        count = values(y)
        return {"mul": count + count, "add": count * (self.size - 1) + count, "pow": count, "div": count}

    def input_gradient(self, x: Shape, y: Shape, batch: int) -> Work:
        """g/d + s·x + s·x with d = b^beta = x/y and, by window, s = Σ(−g·(x/d/d) · (beta·b^(beta − 1)) · alpha/size).

        For each value size + 1 additions, 6 products, 3 divisions, a power.
        """
        count = batch * values(x)
        return {"add": count * (self.size + 1), "mul": count * 6, "div": count * 3, "pow": count}

    def saved(self, x: Shape, y: Shape) -> Saved:
        """Input, the padded squares, the base and the result of the power."""
        padded = x.with_channels(x.channels + self.size - 1)
        return Saved(input=True, extras=(Extra("squares", padded), Extra("base", x), Extra("power", x)))

    def calls(self, x: Shape, y: Shape, training: bool, overwrites: bool) -> Calls:
        """x², padded, averaged, · alpha, + k, to the power of beta, and x divided by that."""
        squares, made = Extra("squares", x.with_channels(x.channels + self.size - 1)), Extra("values", x)
        return (
            Call((0, 0), made, keeps=(0,)),
            Call((1,), squares),
            Call((2,), made, keeps=(2,)),
            Call((3,), made, extras=(NUMBER,)),
            Call((4,), made, uses=(NUMBER,), holds=(3,), grads=(SAME,)),
            Call((5,), made, keeps=(5,), holds=(3,), scratch=((made,) * 2,)),  # grad · (beta · x^(beta − 1))
            Call((6, 0), made, keeps=(6, 0), scratch=((made,) * 3,)),  # −grad · (x / y / y), computed first
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


def statistics_gradient(count: int, groups: int, scaled: bool) -> Work:
    """γ·g, x − μ, their product, both sums (n − g additions) and their means, k, (x − μ)·k, 2 differences, 1/σ.

    If `scaled`, the gradient of γ has computed x − μ.
    """
    return {
        "add": (count - groups) * 2 + count * (2 if scaled else 3),
        "mul": count * (4 if scaled else 3) + groups * 2,
        "div": groups * 2,
    }


def affine_gradient(count: int, weights: Mapping[str, Sizes]) -> Work:
    """x − μ, g·(x − μ)·1/σ, and for each weight and bias a sum of its values."""
    sums = sum(count - values(shape) for shape in weights.values())
    return {"add": count + sums, "mul": count * 2} if weights else {}
