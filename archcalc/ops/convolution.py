"""Convolutions and linear layers: the layers that count in a network's depth."""

from __future__ import annotations

from typing import ClassVar

from archcalc.errors import Refusal
from archcalc.ops.arguments import Connections, Flag, Margin, Padding, Positive, Sides, Size, every, require
from archcalc.ops.base import Calls, Extra, Operator, Saved, Shape, Work, format_shape, operator, spatial, values
from archcalc.ops.calls import JOINED, NEW, SLICE, SUM, UNSAFE_VIEW, VIEW, Call
from archcalc.ops.reads import ALL, EACH, POINT, Axis, Transposed, Window


class Weighted(Operator):
    """A layer with a weight and often a bias; backward keeps its input and weight."""

    weighted: ClassVar[bool] = True

    def buffers(self, x: Shape) -> dict[str, Shape]:
        """None."""
        return {}

    def writes(self, x: Shape, y: Shape, training: bool) -> int:
        """The output."""
        return values(y)

    def saved(self, x: Shape, y: Shape) -> Saved:
        """Input and weight; not the bias."""
        return Saved(input=True, state=("weight",))

    def input_gradient(self, x: Shape, y: Shape, batch: int) -> Work:
        """A multiply-accumulate for each one of the forward pass: the output's gradient times the weight."""
        return {"mac": batch * self.work(x, y)["mac"]}

    def weight_gradient(self, x: Shape, y: Shape, batch: int) -> Work:
        """A multiply-accumulate for each one of the forward pass; for the bias a sum over images and positions."""
        bias = self.weights(x).get("bias")
        return self.input_gradient(x, y, batch) | ({"add": batch * values(y) - values(bias)} if bias else {})

    def links(self, x: Shape, y: Shape) -> int:
        """One for each multiply-accumulate and for each added bias."""
        work = self.work(x, y)
        return work["mac"] + work.get("add", 0)


def check_groups(channels: int, out_channels: int, groups: int) -> None:
    """Raise Refusal unless both numbers of channels are divisible by the number of groups."""
    for number, which in (channels, "input"), (out_channels, "output"):
        if not every(number % groups == 0):
            raise Refusal(f"{number} {which} channels cannot be divided into {groups} groups")


@operator("conv")
class Conv(Weighted):
    """2-D convolution, `torch.nn.Conv2d`: output height ⌊(H + 2·padding − dilation·(k − 1) − 1) / stride⌋ + 1.

    `padding="same"` keeps height and width (stride 1 only). `connections` lists for each output channel the input
    channels that it reads, like Table I of LeCun et al. 1998 for LeNet-5's C3; each link then has its own k×k kernel.
    """

    out_channels: Positive
    kernel_size: Sides
    stride: Size = (1, 1)
    padding: Padding = (0, 0)
    dilation: Size = (1, 1)
    groups: Positive = 1
    bias: Flag = True
    connections: Connections | None = None

    def margins(self) -> tuple[tuple[int, int], tuple[int, int]]:
        """Zeros before and after, by height and width; of an odd number for "same" PyTorch puts one more after."""
        if self.padding != "same":
            (top, left) = self.padding
            return (top, top), (left, left)
        require(self.stride == (1, 1), "padding='same' needs stride 1, as in PyTorch")
        whole = [d * (k - 1) for k, d in zip(self.kernel_size, self.dilation, strict=True)]
        return (whole[0] // 2, whole[0] - whole[0] // 2), (whole[1] // 2, whole[1] - whole[1] // 2)

    def output(self, x: Shape) -> Shape:
        """(out_channels, height, width). Raises Refusal if kernel, groups or connections do not fit."""
        channels, height, width = spatial(x, self.name)
        check_groups(channels, self.out_channels, self.groups)
        self._check_connections(channels)
        (top, bottom), (left, right) = self.margins()
        padded = height + top + bottom, width + left + right
        reach = self.dilation[0] * (self.kernel_size[0] - 1) + 1, self.dilation[1] * (self.kernel_size[1] - 1) + 1
        if not every((padded[0] >= reach[0]) & (padded[1] >= reach[1])):
            raise Refusal(f"kernel {format_shape(reach)} is larger than the padded input {format_shape(padded)}")
        rows, columns = (padded[0] - reach[0]) // self.stride[0] + 1, (padded[1] - reach[1]) // self.stride[1] + 1
        return self.out_channels, rows, columns

    def _check_connections(self, channels: int) -> None:
        if self.connections is None:
            return
        require(self.groups == 1, "accepts groups or connections, not both")
        if len(self.connections) != self.out_channels:
            raise Refusal(f"connections has {len(self.connections)} rows for {self.out_channels} output channels")
        last = max(max(row) for row in self.connections)
        require(last < channels, f"connections names input channel {last}, but the last one is {channels - 1}")

    def weights(self, x: Shape) -> dict[str, Shape]:
        """weight (out, in/groups, k, k), or (links, k, k) with a connection table; bias (out,)."""
        if self.connections is None:
            weight: Shape = (self.out_channels, x[0] // self.groups, *self.kernel_size)
        else:
            weight = (sum(len(row) for row in self.connections), *self.kernel_size)
        return {"weight": weight} | ({"bias": (self.out_channels,)} if self.bias else {})

    def work(self, x: Shape, y: Shape) -> Work:
        """For each output value k·k·in/groups multiply-accumulates (with `connections` only its links) and its bias."""
        if self.connections is None:
            work = {"mac": values(y) * values((*self.kernel_size, x[0] // self.groups))}
        else:
            work = {"mac": y[1] * y[2] * values((sum(len(row) for row in self.connections), *self.kernel_size))}
        return work | ({"add": values(y)} if self.bias else {})

    def saved(self, x: Shape, y: Shape) -> Saved:
        """Input and weight; the padded input if "same" pads unequally; with `connections` dense weight and links."""
        (top, bottom), (left, right) = self.margins()
        lopsided = (bottom - top, right - left)
        extras: tuple[Extra, ...] = ()
        if lopsided != (0, 0):
            extras += (Extra("padded input", (x[0], x[1] + lopsided[0], x[2] + lopsided[1])),)
        if self.connections is not None:
            links = sum(len(row) for row in self.connections)
            extras += (Extra("dense weight", (y[0], x[0], *self.kernel_size), per_image=False),)
            extras += (Extra("links", (links,), "int64", per_image=False),)
        return Saved(input=lopsided == (0, 0), state=("weight",), extras=extras)

    def window(self, x: Shape) -> tuple[Window, Window]:
        """The dilated kernel."""
        (top, _), (left, _) = self.margins()
        (kh, kw), (dh, dw), (sh, sw) = self.kernel_size, self.dilation, self.stride
        return Window(kh, sh, top, dh), Window(kw, sw, left, dw)

    def pytorch(self, x: Shape) -> str:
        geometry = "kernel_size, stride=stride, padding=padding, dilation=dilation"
        if self.connections is not None:
            return f"TableConv2d(in_channels, connections, {geometry}, bias=bias)"
        return f"nn.Conv2d(in_channels, out_channels, {geometry}, groups=groups, bias=bias)"

    def calls(self, x: Shape, y: Shape, training: bool, overwrites: bool) -> Calls:
        """The convolution; before it padding if "same" pads unequally, or filling a dense weight by `connections`."""
        extras = {extra.name: extra for extra in self.saved(x, y).extras}
        weights = tuple(range(1, 1 + len(self.weights(x))))
        source, dense, made, calls, holds = 0, 1, len(weights) + 1, list[Call](), tuple[int, ...]()
        if self.connections is not None:
            links, zeros, dense = made, made + 1, made + 2
            calls += [Call((), extras["links"]), Call((), extras["dense weight"])]
            calls += [Call((1, zeros), extras["dense weight"], keeps=(links,))]
            holds = (links,)
        if "padded input" in extras:
            source = made + len(calls)
            calls += [Call((0,), extras["padded input"])]
        reads, keeps = (source, dense, *weights[1:]), (source, dense)
        return *calls, Call(reads, Extra("output", y), keeps=keeps, holds=holds)


@operator("conv_transpose")
class ConvTranspose(Weighted):
    """Transposed 2-D convolution, `torch.nn.ConvTranspose2d`.

    Output height (H − 1)·stride − 2·padding + dilation·(k − 1) + output_padding + 1.
    """

    code: ClassVar[str] = (
        "nn.ConvTranspose2d(in_channels, out_channels, kernel_size, stride=stride, padding=padding, "
        "output_padding=output_padding, groups=groups, bias=bias, dilation=dilation)"
    )
    out_channels: Positive
    kernel_size: Sides
    stride: Size = (1, 1)
    padding: Margin = (0, 0)
    output_padding: Margin = (0, 0)
    groups: Positive = 1
    bias: Flag = True
    dilation: Size = (1, 1)

    def output(self, x: Shape) -> Shape:
        """(out_channels, height, width). Raises Refusal if groups or paddings do not fit, or the output is empty."""
        channels, *size = spatial(x, self.name)
        check_groups(channels, self.out_channels, self.groups)
        return self.out_channels, *(self._length(axis, length) for axis, length in enumerate(size))

    def _length(self, axis: int, length: int) -> int:
        kernel, stride, dilation = self.kernel_size[axis], self.stride[axis], self.dilation[axis]
        padding, extra = self.padding[axis], self.output_padding[axis]
        require(
            extra < stride or extra < dilation,
            f"output_padding {extra} must be smaller than stride {stride} or dilation {dilation}",
        )
        out = (length - 1) * stride - 2 * padding + dilation * (kernel - 1) + extra + 1
        require(out >= 1, f"padding {padding} leaves no output")
        return out

    def weights(self, x: Shape) -> dict[str, Shape]:
        """weight (in, out/groups, k, k); bias (out,)."""
        weight = (x[0], self.out_channels // self.groups, *self.kernel_size)
        return {"weight": weight} | ({"bias": (self.out_channels,)} if self.bias else {})

    def work(self, x: Shape, y: Shape) -> Work:
        """For each input value k·k·out/groups multiply-accumulates, also those cut off by padding, and the biases."""
        kernel = values((*self.kernel_size, self.out_channels // self.groups))
        return {"mac": values(x) * kernel} | ({"add": values(y)} if self.bias else {})

    def window(self, x: Shape) -> tuple[Transposed, Transposed]:
        """The inputs whose kernels reach the output; the positions within the kernel alternate with the stride."""
        (kh, kw), (dh, dw), (sh, sw), (ph, pw) = self.kernel_size, self.dilation, self.stride, self.padding
        return Transposed(kh, sh, ph, dh), Transposed(kw, sw, pw, dw)


@operator("linear")
class Linear(Weighted):
    """Fully connected layer over the last dimension, `torch.nn.Linear`."""

    code: ClassVar[str] = "nn.Linear(in_features, out_features, bias=bias)"
    out_features: Positive
    bias: Flag = True

    def output(self, x: Shape) -> Shape:
        """The input's shape with out_features as its last dimension."""
        return (*x[:-1], self.out_features)

    def weights(self, x: Shape) -> dict[str, Shape]:
        """weight (out, in); bias (out,)."""
        return {"weight": (self.out_features, x[-1])} | ({"bias": (self.out_features,)} if self.bias else {})

    def work(self, x: Shape, y: Shape) -> Work:
        """For each output value in_features multiply-accumulates, and an addition for the bias."""
        return {"mac": x[-1] * values(y)} | ({"add": values(y)} if self.bias else {})

    def window(self, x: Shape) -> tuple[Axis, Axis]:
        """Features have no positions; on channels×height×width it reads the whole width."""
        return (EACH, ALL) if len(x) == 3 else POINT

    def calls(self, x: Shape, y: Shape, training: bool, overwrites: bool) -> Calls:
        """One function, which keeps the input only for the weight's gradient."""
        (call,) = super().calls(x, y, training, overwrites)
        n = len(call.reads)
        call = call._replace(crossed=True, grads=(NEW, NEW, SUM)[:n])
        if len(x) == 1:
            return (call._replace(keeps=(0, 1)),)
        # PyTorch makes a matrix of the input, and the output from a matrix
        joined = VIEW if values(x[:-1]) == 1 else JOINED
        return (
            Call((0,), Extra("matrix", x), VIEW, grads=(VIEW,)),
            call._replace(reads=(n, *call.reads[1:]), keeps=(n, 1)),
            Call((n + 1,), call.makes, VIEW if self.bias else UNSAFE_VIEW, grads=(joined,)),
        )


@operator("rbf")
class RBF(Weighted):
    """LeNet-5's output: for each class Σ(x − w)², the squared distance to a fixed prototype (LeCun et al. 1998, II-B).

    The prototypes are set by hand and not trained: they are buffers, not parameters.
    """

    code: ClassVar[str] = "SquaredDistances(in_features, out_features)"
    out_features: Positive

    def output(self, x: Shape) -> Shape:
        """(out_features,). Raises Refusal unless the input is a vector."""
        require(len(x) == 1, f"rbf needs a vector, not {format_shape(x)}; write flatten before it")
        return (self.out_features,)

    def weights(self, x: Shape) -> dict[str, Shape]:
        """None: the prototypes are fixed."""
        return {}

    def buffers(self, x: Shape) -> dict[str, Shape]:
        """prototypes (out, in)."""
        return {"prototypes": (self.out_features, x[0])}

    def work(self, x: Shape, y: Shape) -> Work:
        """For each link a subtraction and a product; for each output n − 1 additions for n inputs."""
        return {"add": y[0] * x[0] + y[0] * (x[0] - 1), "mul": y[0] * x[0]}

    def input_gradient(self, x: Shape, y: Shape, batch: int) -> Work:
        """Σ gradient · (2 · (x − w)): for each link 2 products, for each input value n − 1 additions for n outputs."""
        links = batch * y[0] * x[0]
        return {"mul": 2 * links, "add": links - batch * x[0]}

    def weight_gradient(self, x: Shape, y: Shape, batch: int) -> Work:
        """None: the prototypes are fixed."""
        return {}

    def links(self, x: Shape, y: Shape) -> int:
        """One for each value of the prototypes."""
        return y[0] * x[0]

    def saved(self, x: Shape, y: Shape) -> Saved:
        """The differences, for the gradient of the square."""
        return Saved(extras=(Extra("differences", (y[0], x[0])),))

    def window(self, x: Shape) -> tuple[Axis, Axis]:
        """Features have no positions."""
        return POINT

    def calls(self, x: Shape, y: Shape, training: bool, overwrites: bool) -> Calls:
        """x − w, its square, which keeps it, and the sum."""
        differences = Extra("differences", (y[0], x[0]))
        return (
            Call((0,), Extra("row", x), VIEW, grads=(VIEW,)),
            Call((1,), differences, grads=(SUM,)),
            Call((2,), differences, keeps=(2,), scratch=(2,)),  # grad · (2 · x¹)
            Call((3,), Extra("output", y), grads=(SLICE,)),
        )
