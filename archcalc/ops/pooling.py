"""Pooling and resampling."""

from __future__ import annotations

from typing import Any, ClassVar

from archcalc.ops.arguments import Flag, Interpolation, Margin, Sides, Size, common_divisor, every, require
from archcalc.ops.base import Extra, Plain, Saved, Shape, Work, declared, operator, spatial, values
from archcalc.ops.reads import ALL, AdaptiveWindow, Axis, Bilinear, Nearest, Window


def pooled_length(length: int, window: Window, ceil_mode: bool) -> int:
    """PyTorch's output length: rounded up with ceil_mode, but a last window must not start in the right padding.

    Mirrors `pooling_output_shape` in ATen/native/Pool.h.
    """
    _, stride, padding, _ = window
    padded = length + 2 * padding
    room = padded - window.span + (stride - 1) * ceil_mode
    require(room >= 0, f"kernel {window.span} is larger than the padded input {padded}")
    out = room // stride + 1
    if ceil_mode:
        out = out - ((out - 1) * stride >= length + padding)
    return out


class Pool(Plain):
    """A window that slides over height and width; channels stay."""

    kernel_size: Size
    stride: Size | None
    padding: Margin
    ceil_mode: Flag

    def window(self, x: Shape) -> tuple[Window, Window]:
        """The kernel; its stride is the kernel's own unless given."""
        (kh, kw), (sh, sw), (ph, pw) = self.kernel_size, self.stride or self.kernel_size, self.padding
        (dh, dw) = getattr(self, "dilation", (1, 1))
        return Window(kh, sh, ph, dh), Window(kw, sw, pw, dw)

    def output(self, x: Shape) -> Shape:
        """(channels, height, width). Raises Refusal if kernel or padding do not fit."""
        channels, *size = spatial(x, self.name)
        for kernel, padding in zip(self.kernel_size, self.padding, strict=True):
            require(padding <= kernel // 2, f"padding {padding} is more than half of the kernel {kernel}")
        height, width = (
            pooled_length(length, window, self.ceil_mode) for length, window in zip(size, self.window(x), strict=True)
        )
        return channels, height, width


@operator("maxpool")
class MaxPool(Pool):
    """Maximum over a sliding window, `torch.nn.MaxPool2d`."""

    code: ClassVar[str] = (
        "nn.MaxPool2d(kernel_size, stride=stride, padding=padding, dilation=dilation, ceil_mode=ceil_mode)"
    )
    kernel_size: Size
    stride: Size | None = None  # None: the kernel's, as in PyTorch
    padding: Margin = (0, 0)
    dilation: Size = (1, 1)
    ceil_mode: Flag = False

    def output(self, x: Shape) -> Shape:
        """As for every pool. Raises Refusal also if a dilated window steps over the whole input.

        PyTorch takes such a window, calls its maximum −∞, and in backward writes outside the gradient's memory.
        """
        y = Pool.output(self, x)
        for length, count, window, step in zip(x[1:], y[1:], self.window(x), self.dilation, strict=True):
            if every(length >= step):
                continue  # no window can step over it
            for i in range(min(-(-window.padding // window.stride), step)):  # those that start in the padding
                first = (i * window.stride - window.padding) % step  # the first position inside
                require((count <= i) | (length > first), f"a window dilated by {step} steps over the whole input")
        return y

    def work(self, x: Shape, y: Shape) -> Work:
        """k·k − 1 comparisons for each output value."""
        return {"compare": values(y) * (values(self.kernel_size) - 1)}

    def saved(self, x: Shape, y: Shape) -> Saved:
        """Input and the winners' positions."""
        return Saved(input=True, extras=(Extra("indices", y, "int64"),))


@operator("avgpool")
class AvgPool(Pool):
    """Mean over a sliding window, `torch.nn.AvgPool2d`."""

    code: ClassVar[str] = (
        "nn.AvgPool2d(kernel_size, stride=stride, padding=padding, ceil_mode=ceil_mode, "
        "count_include_pad=count_include_pad)"
    )
    kernel_size: Size
    stride: Size | None = None  # None: the kernel's, as in PyTorch
    padding: Margin = (0, 0)
    ceil_mode: Flag = False
    count_include_pad: Flag = True

    def work(self, x: Shape, y: Shape) -> Work:
        """k·k − 1 additions and a division for each output value, a window over the border counted like any other."""
        return {"add": values(y) * (values(self.kernel_size) - 1), "div": values(y)}

    def saved(self, x: Shape, y: Shape) -> Saved:
        """Input."""
        return Saved(input=True)


@operator("subsample")
class Subsample(Pool):
    """LeNet-5's trainable subsampling, coefficient · (sum over the window) + bias a map (LeCun et al. 1998, II-B)."""

    code: ClassVar[str] = (
        "TrainableSubsampling(in_channels, kernel_size, stride=stride, padding=padding, ceil_mode=ceil_mode)"
    )

    weighted = True
    kernel_size: Size
    stride: Size | None = None  # None: the kernel's; windows do not overlap
    padding: Margin = (0, 0)
    ceil_mode: Flag = False

    def weights(self, x: Shape) -> dict[str, Shape]:
        """coefficient and bias, one per channel."""
        return {"weight": (x[0],), "bias": (x[0],)}

    def work(self, x: Shape, y: Shape) -> Work:
        """For each output value k·k − 1 additions, a product and the bias."""
        return {"add": values(y) * (values(self.kernel_size) - 1) + values(y), "mul": values(y)}

    def links(self, x: Shape, y: Shape) -> int:
        """The window and the bias for each output value, as the paper counts: 5 for 2×2."""
        return values(y) * (values(self.kernel_size) + 1)

    def saved(self, x: Shape, y: Shape) -> Saved:
        """Input of the average, the average (for the coefficient) and the coefficient."""
        return Saved(input=True, state=("weight",), extras=(Extra("sum", y),))


class Adaptive(Plain):
    """Pooling to a given size: window i of n outputs runs from ⌊i·H/n⌋ to ⌈(i + 1)·H/n⌉, as in PyTorch."""

    def target(self) -> Size:
        """The output's height and width."""
        raise self._no_rule("target size")

    def output(self, x: Shape) -> Shape:
        """As many channels, height and width as `target` says."""
        return spatial(x, self.name)[0], *self.target()

    @classmethod
    def says(cls, figure: str) -> str:
        """The output by `target`, in words."""
        if figure == "output":
            return f"(channels, {'*output_size' if declared(cls) else '1, 1'})."
        return super().says(figure)

    def cells(self, x: Shape) -> Any:
        """Input values read for one channel, over all windows; windows may overlap."""
        # Σ ⌈(i + 1)·H/n⌉ − ⌊i·H/n⌋ over i < n: the floors cancel but for the last, H; each ceiling adds 1 unless whole
        height, width = (length + n - common_divisor(length, n) for length, n in zip(x[1:], self.target(), strict=True))
        return height * width

    def window(self, x: Shape) -> tuple[Axis, Axis]:
        """The whole axis for one output, else a stretch each."""
        height, width = (
            ALL if n == 1 else AdaptiveWindow(length, n) for length, n in zip(x[1:], self.target(), strict=True)
        )
        return height, width


class AdaptiveAverage(Adaptive):
    """Adaptive pooling by the mean."""

    @classmethod
    def says(cls, figure: str) -> str:
        """As of every adaptive pool; a global one keeps nothing."""
        return "Nothing." if figure == "saved" and not declared(cls) else super().says(figure)

    def work(self, x: Shape, y: Shape) -> Work:
        """For a window of n values n − 1 additions and a division."""
        return {"add": y[0] * self.cells(x) - values(y), "div": values(y)}

    def saved(self, x: Shape, y: Shape) -> Saved:
        """The input; nothing where output_size is 1: the mean is over everything."""
        return Saved(input=self.target() != (1, 1))


class AdaptiveMaximum(Adaptive):
    """Adaptive pooling by the maximum."""

    def work(self, x: Shape, y: Shape) -> Work:
        """For a window of n values n − 1 comparisons."""
        return {"compare": y[0] * self.cells(x) - values(y)}

    def saved(self, x: Shape, y: Shape) -> Saved:
        """Input and the winners' positions."""
        return Saved(input=True, extras=(Extra("indices", y, "int64"),))


@operator("adaptive_avgpool")
class AdaptiveAvgPool(AdaptiveAverage):
    """Mean over windows that give `output_size`, `torch.nn.AdaptiveAvgPool2d`."""

    code: ClassVar[str] = "nn.AdaptiveAvgPool2d(output_size)"
    output_size: Sides

    def target(self) -> Size:
        """As written."""
        return self.output_size


@operator("adaptive_maxpool")
class AdaptiveMaxPool(AdaptiveMaximum):
    """Maximum over windows that give `output_size`, `torch.nn.AdaptiveMaxPool2d`."""

    code: ClassVar[str] = "nn.AdaptiveMaxPool2d(output_size)"
    output_size: Sides

    def target(self) -> Size:
        """As written."""
        return self.output_size


@operator("global_avgpool")
class GlobalAvgPool(AdaptiveAverage):
    """Mean over height and width (Lin et al. 2013), `torch.nn.AdaptiveAvgPool2d(1)`."""

    code: ClassVar[str] = "nn.AdaptiveAvgPool2d(1)"

    def target(self) -> Size:
        """One value a channel."""
        return (1, 1)


@operator("global_maxpool")
class GlobalMaxPool(AdaptiveMaximum):
    """Maximum over height and width, `torch.nn.AdaptiveMaxPool2d(1)`."""

    code: ClassVar[str] = "nn.AdaptiveMaxPool2d(1)"

    def target(self) -> Size:
        """One value a channel."""
        return (1, 1)


@operator("upsample")
class Upsample(Plain):
    """Enlarges height and width to `size` or by whole `scale_factor`s, `torch.nn.Upsample` (align_corners=False)."""

    code: ClassVar[str] = "nn.Upsample(size=size, scale_factor=scale_factor, mode=mode)"
    size: Sides | None = None
    scale_factor: Sides | None = None
    mode: Interpolation = "nearest"

    def output(self, x: Shape) -> Shape:
        """(channels, height, width). Raises Refusal unless exactly one of size and scale_factor is given."""
        channels, height, width = spatial(x, self.name)
        require((self.size is None) != (self.scale_factor is None), "upsample needs either size or scale_factor")
        if self.scale_factor is None:
            return channels, *(self.size or ())
        return channels, height * self.scale_factor[0], width * self.scale_factor[1]

    def work(self, x: Shape, y: Shape) -> Work:
        """nearest: none, it copies; bilinear weighs four neighbours: for each value 6 products and 3 sums."""
        return {} if self.mode == "nearest" else {"mul": values(y) * 6, "add": values(y) * 3}

    def saved(self, x: Shape, y: Shape) -> Saved:
        """Nothing."""
        return Saved()

    def window(self, x: Shape) -> tuple[Axis, Axis]:
        """The nearest position, or those on either side."""
        kind = Nearest if self.mode == "nearest" else Bilinear
        _, height, width = self.output(x)
        return kind(x[1], height), kind(x[2], width)
