"""Pooling."""

from __future__ import annotations

from typing import Any, ClassVar

from archcalc.errors import Refusal
from archcalc.ops.arguments import Flag, Margin, Positive, Sides, Size, every, require
from archcalc.ops.base import Calls, Extra, Plain, Saved, Shape, Sizes, Work, operator, values
from archcalc.ops.calls import FULL, NEW, SAME, SUM, VIEW, Call
from archcalc.ops.reads import ALL, AdaptiveWindow, Axis, Window
from archcalc.ops.shape import Map, positions
from archcalc.ops.symbols import common_divisor


def pooled_length(length: int, window: Window, ceil_mode: bool) -> int:
    """Compute the output length as PyTorch does: with ceil_mode rounded up, but no window starts in the right padding.

    Mirrors `pooling_output_shape` in ATen/native/Pool.h.
    """
    _, stride, padding, _ = window
    padded = length + 2 * padding
    room = padded - window.span + (stride - 1) * ceil_mode
    if not every(room >= 0):
        raise Refusal(f"kernel {window.span} is larger than the padded input {padded}")
    out = room // stride + 1
    if ceil_mode:
        out = out - ((out - 1) * stride >= length + padding)
    return out


def on_line(calls: Calls, x: Shape, y: Shape) -> Calls:
    """Return the calls of a pool. A line becomes an image of height 1, and the result a line again, by views."""
    if len(x.lengths) > 1:
        return calls
    (call,) = calls
    image = Call((0,), Extra("image", x), VIEW, grads=(VIEW,))
    line = Call((2,), Extra("line", y), VIEW, grads=(VIEW,))
    return image, call._replace(reads=(1,), keeps=(1,) * len(call.keeps)), line


class Pool(Plain):
    """A window that slides over the positions of each channel."""

    counts: ClassVar[tuple[int, ...]] = ()  # of lengths that it accepts; by default one to three
    kernel_size: Size
    stride: Size | None
    padding: Margin
    ceil_mode: Flag

    def window(self, x: Shape) -> tuple[Window, ...]:
        """The kernel; without a stride its stride is the kernel size."""
        kernel = self.kernel_size
        dilation = getattr(self, "dilation", (1,) * len(kernel))
        return tuple(map(Window, kernel, self.stride or kernel, self.padding, dilation))

    def calls(self, x: Shape, y: Shape, training: bool, overwrites: bool) -> Calls:
        """One function; on a line between two views."""
        return on_line(super().calls(x, y, training, overwrites), x, y)

    def output(self, x: Shape) -> Shape:
        """(channels, height, width). Raises Refusal if kernel or padding do not fit."""
        lengths = positions(x, self.name, *self.counts)
        for kernel, padding in zip(self.kernel_size, self.padding, strict=True):
            if padding > kernel // 2:
                raise Refusal(f"padding {padding} is more than half of the kernel {kernel}")
        axes = zip(lengths, self.window(x), strict=True)
        return Map((x.channels, *[pooled_length(length, window, self.ceil_mode) for length, window in axes]))


@operator("maxpool")
class MaxPool(Pool):
    """Maximum over a sliding window, `torch.nn.MaxPool1d` to `MaxPool3d`."""

    code: ClassVar[str] = (
        "nn.MaxPool{n}d(kernel_size, stride=stride, padding=padding, dilation=dilation, ceil_mode=ceil_mode)"
    )
    kernel_size: Size
    stride: Size | None = None  # None: the kernel size, as in PyTorch
    padding: Margin = (0, 0)
    dilation: Size = (1, 1)
    ceil_mode: Flag = False

    def output(self, x: Shape) -> Shape:
        """(channels, height, width). Raises Refusal if kernel or padding do not fit, or a window covers only padding.

        A dilated window can step over the whole input. PyTorch accepts it, returns −∞ as its maximum, and in backward
        writes outside the gradient's memory.
        """
        y = Pool.output(self, x)
        for length, count, window, step in zip(x.lengths, y.lengths, self.window(x), self.dilation, strict=True):
            if every(length >= step):
                continue  # no window can step over it
            for i in range(min(-(-window.padding // window.stride), step)):  # windows that start in the padding
                first = (i * window.stride - window.padding) % step  # the first position inside the input
                require((count <= i) | (length > first), f"a window dilated by {step} steps over the whole input")
        return y

    def work(self, x: Shape, y: Shape) -> Work:
        """For each output value k·k − 1 comparisons."""
        return {"compare": values(y) * (values(self.kernel_size) - 1)}

    def input_gradient(self, x: Shape, y: Shape, batch: int) -> Work:
        """For each output value an addition to its maximum's gradient."""
        return {"add": batch * values(y)}

    def saved(self, x: Shape, y: Shape) -> Saved:
        """The input and the positions of the maxima."""
        return Saved(input=True, extras=(Extra("indices", y, "int64"),))


@operator("avgpool")
class AvgPool(Pool):
    """Mean over a sliding window, `torch.nn.AvgPool1d` to `AvgPool3d`."""

    code: ClassVar[str] = (
        "nn.AvgPool{n}d(kernel_size, stride=stride, padding=padding, ceil_mode=ceil_mode, "
        "count_include_pad=count_include_pad, divisor_override=divisor_override)"
    )
    kernel_size: Size
    stride: Size | None = None  # None: the kernel size, as in PyTorch
    padding: Margin = (0, 0)
    ceil_mode: Flag = False
    count_include_pad: Flag = True
    divisor_override: Positive | None = None

    def output(self, x: Shape) -> Shape:
        """(channels, height, width). Raises Refusal if kernel or padding do not fit, or for a divisor on a line.

        A volume has to be as large as the kernel without its padding, as in `torch.nn.AvgPool3d`.
        """
        require(self.divisor_override is None or len(x.lengths) > 1, "divisor_override is only for images and volumes")
        y = super().output(x)
        fits = [every(kernel <= length) for kernel, length in zip(self.kernel_size, x.lengths, strict=True)]
        require(len(fits) < 3 or all(fits), "avgpool of a volume needs a kernel within the input, without padding")
        return y

    def pytorch(self, x: Shape) -> str:
        code = super().pytorch(x)
        whole = len(x.lengths) > 1 or self.divisor_override  # which PyTorch refuses for a line, too
        return code if whole else code.replace(", divisor_override=divisor_override", "")

    def work(self, x: Shape, y: Shape) -> Work:
        """For each output value k·k − 1 additions and a division, also where a window covers padding."""
        return {"add": values(y) * (values(self.kernel_size) - 1), "div": values(y)}

    def input_gradient(self, x: Shape, y: Shape, batch: int) -> Work:
        """For each output value a division, and k·k additions to its window's gradients, also where that is padding."""
        return {"div": batch * values(y), "add": batch * values(y) * values(self.kernel_size)}

    def saved(self, x: Shape, y: Shape) -> Saved:
        """The input."""
        return Saved(input=True)


@operator("subsample")
class Subsample(Pool):
    """LeNet-5's trainable subsampling, coefficient · (sum over the window) + bias per map (LeCun et al. 1998, II-B)."""

    code: ClassVar[str] = (
        "TrainableSubsampling(in_channels, kernel_size, stride=stride, padding=padding, ceil_mode=ceil_mode)"
    )

    weighted = True
    counts = (2,)
    kernel_size: Size
    stride: Size | None = None  # None: the kernel size; windows do not overlap
    padding: Margin = (0, 0)
    ceil_mode: Flag = False

    def weights(self, x: Shape) -> dict[str, Sizes]:
        """weight (the coefficient) and bias, one value per channel."""
        return {"weight": (x.channels,), "bias": (x.channels,)}

    def work(self, x: Shape, y: Shape) -> Work:
        """For each output value k·k − 1 additions, a product and the bias."""
        return {"add": values(y) * (values(self.kernel_size) - 1) + values(y), "mul": values(y)}

    def input_gradient(self, x: Shape, y: Shape, batch: int) -> Work:
        """For each output value a product, and k·k additions to its window's gradients, also where that is padding."""
        return {"mul": batch * values(y), "add": batch * values(y) * values(self.kernel_size)}

    def weight_gradient(self, x: Shape, y: Shape, batch: int) -> Work:
        """For each output value a product with its window's sum; for coefficient and bias a sum per channel."""
        return {"mul": batch * values(y), "add": (batch * values(y) - x.channels) * 2}

    def links(self, x: Shape, y: Shape) -> int:
        """For each output value its window and the bias, as the paper counts: 5 for 2×2."""
        return values(y) * (values(self.kernel_size) + 1)

    def saved(self, x: Shape, y: Shape) -> Saved:
        """The input, the sums over the windows (for the coefficient's gradient) and the coefficient."""
        return Saved(input=True, state=("weight",), extras=(Extra("sum", y),))

    def calls(self, x: Shape, y: Shape, training: bool, overwrites: bool) -> Calls:
        """The sum over the window, · weight, + bias."""
        made = Extra("sum", y)
        return (
            Call((0,), made, keeps=(0,)),
            Call((3, 1), made, keeps=(3, 1), grads=(NEW, FULL), crossed=(3, 1)),
            Call((4, 2), made, holds=(3,), grads=(SAME, SUM)),
        )


class Adaptive(Plain):
    """Pooling to a given size: of n outputs, window i runs from ⌊i·H/n⌋ to ⌈(i + 1)·H/n⌉, as in PyTorch."""

    def output(self, x: Shape) -> Shape:
        """(channels, *output_size)."""
        positions(x, self.name)
        return Map((x.channels, *self.targets(x)))

    def calls(self, x: Shape, y: Shape, training: bool, overwrites: bool) -> Calls:
        """One function; on a line between two views."""
        return on_line(super().calls(x, y, training, overwrites), x, y)

    def targets(self, x: Shape) -> Sizes:
        """The number of outputs on each axis: `output_size`, or 1 of a global pool."""
        return getattr(self, "output_size", (1,) * len(x.lengths))

    @classmethod
    def says(cls, figure: str) -> str:
        if figure == "output":
            return f"(channels, {'*output_size' if cls.types else '1, 1'})."
        return super().says(figure)

    def cells(self, x: Shape) -> Any:
        """Number of input values that all windows of a channel read together; windows may overlap."""
        # Σ ⌈(i + 1)·H/n⌉ − ⌊i·H/n⌋ over i < n: the floors cancel except the last, H; each ceiling adds 1 unless whole
        axes = zip(x.lengths, self.targets(x), strict=True)
        return values([length + n - common_divisor(length, n) for length, n in axes])

    def window(self, x: Shape) -> tuple[Axis, ...]:
        """The whole axis if its output is 1, else an interval for each output."""
        axes = zip(x.lengths, self.targets(x), strict=True)
        return tuple([ALL if n == 1 else AdaptiveWindow(length, n) for length, n in axes])


class AdaptiveAverage(Adaptive):
    """Adaptive mean pooling."""

    @classmethod
    def says(cls, figure: str) -> str:
        everything = {"saved": "Nothing.", "input_gradient": "A division for each value of the input."}
        return everything[figure] if figure in everything and not cls.types else super().says(figure)

    def work(self, x: Shape, y: Shape) -> Work:
        """For each window of n values n − 1 additions and a division."""
        return {"add": y.channels * self.cells(x) - values(y), "div": values(y)}

    def input_gradient(self, x: Shape, y: Shape, batch: int) -> Work:
        """A division for each output value, and an addition to each gradient of its window.

        If output_size is 1, PyTorch spreads the gradient first: a division for each value of the input, no additions.
        """
        if all(n == 1 for n in self.targets(x)):
            return {"div": batch * values(x)}
        return {"div": batch * values(y), "add": batch * y.channels * self.cells(x)}

    def saved(self, x: Shape, y: Shape) -> Saved:
        """The input; nothing if output_size is 1, since the mean is over everything."""
        return Saved(input=not all(n == 1 for n in self.targets(x)))


class AdaptiveMaximum(Adaptive):
    """Adaptive maximum pooling."""

    def work(self, x: Shape, y: Shape) -> Work:
        """For each window of n values n − 1 comparisons."""
        return {"compare": y.channels * self.cells(x) - values(y)}

    def input_gradient(self, x: Shape, y: Shape, batch: int) -> Work:
        """For each output value an addition to its maximum's gradient."""
        return {"add": batch * values(y)}

    def saved(self, x: Shape, y: Shape) -> Saved:
        """The input and the positions of the maxima."""
        return Saved(input=True, extras=(Extra("indices", y, "int64"),))


@operator("adaptive_avgpool")
class AdaptiveAvgPool(AdaptiveAverage):
    """Mean over windows such that the output has `output_size`, `torch.nn.AdaptiveAvgPool1d` to `3d`."""

    code: ClassVar[str] = "nn.AdaptiveAvgPool{n}d(output_size)"
    output_size: Sides


@operator("adaptive_maxpool")
class AdaptiveMaxPool(AdaptiveMaximum):
    """Maximum over windows such that the output has `output_size`, `torch.nn.AdaptiveMaxPool1d` to `3d`."""

    code: ClassVar[str] = "nn.AdaptiveMaxPool{n}d(output_size)"
    output_size: Sides


@operator("global_avgpool")
class GlobalAvgPool(AdaptiveAverage):
    """Mean over all positions (Lin et al. 2013), `torch.nn.AdaptiveAvgPool2d(1)`, or `1d` or `3d`."""

    code: ClassVar[str] = "nn.AdaptiveAvgPool{n}d(1)"


@operator("global_maxpool")
class GlobalMaxPool(AdaptiveMaximum):
    """Maximum over all positions, `torch.nn.AdaptiveMaxPool2d(1)`, or `1d` or `3d`."""

    code: ClassVar[str] = "nn.AdaptiveMaxPool{n}d(1)"
