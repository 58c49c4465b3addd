"""Convolutions and linear layers: the layers that count in a network's depth."""

from __future__ import annotations

from typing import ClassVar

from archcalc.errors import Refusal
from archcalc.ops.arguments import (
    Connections,
    Flag,
    Margin,
    Padding,
    PaddingMode,
    Pairs,
    Positive,
    Sides,
    Size,
    certain,
    every,
    require,
)
from archcalc.ops.base import Calls, Extra, Operator, Saved, Shape, Sizes, Work, format_shape, operator, values
from archcalc.ops.borders import padded_lengths, padding_calls, pairs_for, pairs_of, reads_of
from archcalc.ops.calls import JOINED, NEW, SLICE, SUM, TURNED, UNSAFE_VIEW, VIEW, VIEWED, Call
from archcalc.ops.reads import ALL, EACH, Axis, Transposed, Window, span_of
from archcalc.ops.shape import Features, Map, featured, positions


class Weighted(Operator):
    """A layer with a weight and often a bias; backward keeps its input and weight."""

    weighted: ClassVar[bool] = True

    def buffers(self, x: Shape) -> dict[str, Sizes]:
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
    """Convolution, `torch.nn.Conv1d` to `Conv3d`: output height ⌊(H + 2·padding − dilation·(k − 1) − 1) / stride⌋ + 1.

    `padding` is a number, one per axis, or pairs [before, after]. "same" keeps height and width (stride 1 only);
    TensorFlow's "SAME" gives ⌈H / stride⌉; "causal" puts all zeros before a line. Around the input are zeros, or by
    `padding_mode` its reflection (reflect), its last value (replicate) or its other end (circular). `connections`
    lists for each output channel the input channels that it reads, like Table I of LeCun et al. 1998 for LeNet-5's C3;
    each link then has its own k×k kernel.
    """

    out_channels: Positive
    kernel_size: Sides
    stride: Size = (1, 1)
    padding: Padding = (0, 0)
    dilation: Size = (1, 1)
    groups: Positive = 1
    bias: Flag = True
    padding_mode: PaddingMode = "zeros"
    connections: Connections | None = None

    def windows(self) -> list[Window]:
        """The kernel on each axis, without padding."""
        return [*map(Window, self.kernel_size, self.stride, (0,) * len(self.stride), self.dilation)]

    def margins(self, x: Shape) -> Pairs:
        """What is added before and after, axis by axis."""
        padding = self.padding
        return pairs_for(padding, x.lengths, self.windows()) if isinstance(padding, str) else pairs_of(padding)

    @property
    def own(self) -> bool:
        """Whether PyTorch's module has no such padding, or makes it of many tensors."""
        plain = self.padding == "same" or isinstance(self.padding[0], int)
        return not plain or self.padding_mode == "circular"

    def copied(self, x: Shape) -> Pairs:
        """Return what is added in a copy of the input, before the convolution; nothing if the convolution pads.

        If "same" pads unequally, PyTorch copies what is more on one side.
        """
        pairs = self.margins(x)
        lopsided = any(certain(before != after) for before, after in pairs)
        if self.padding_mode != "zeros" or (self.own and lopsided):
            return pairs
        return tuple([(0, after - before) for before, after in pairs]) if lopsided else ()

    def padding_calls(self, x: Shape) -> Calls:
        """Return the calls that copy the input with its padding."""
        pairs = self.copied(x)
        if not pairs:
            return ()
        calls = padding_calls(x, pairs, self.padding_mode)
        if self.own or self.padding_mode != "zeros":
            return calls
        (call,) = calls  # by the convolution itself, after a cast of its input
        return (call._replace(makes=call.makes._replace(name="padded inside")),)

    def output(self, x: Shape) -> Shape:
        """(out_channels, height, width). Raises Refusal if kernel, groups or connections do not fit."""
        lengths = positions(x, self.name)
        check_groups(x.channels, self.out_channels, self.groups)
        self._check_connections(x)
        padded = padded_lengths(lengths, self.margins(x), self.padding_mode, "padding")
        reach = [*map(span_of, self.kernel_size, self.dilation)]
        sizes = [self.out_channels]
        for length, span, stride in zip(padded, reach, self.stride, strict=True):
            if not every(length >= span):
                taken = every(self.out_channels == x.channels) and min(self.kernel_size) >= 16  # conv(64, 128, 3)
                hint = "; leave out the input's channels" if taken else ""
                text = f"kernel {format_shape(reach)} is larger than the padded input {format_shape(padded)}"
                raise Refusal(text + hint)
            sizes.append((length - span) // stride + 1)
        return Map(sizes)

    def _check_connections(self, x: Shape) -> None:
        if self.connections is None:
            return
        positions(x, "connections", 2)
        channels = x.channels
        require(self.groups == 1, "accepts groups or connections, not both")
        plain = self.padding_mode == "zeros" and not self.own
        require(plain, "with connections accepts numbers or 'same' as padding, and zeros")
        if len(self.connections) != self.out_channels:
            raise Refusal(f"connections has {len(self.connections)} rows for {self.out_channels} output channels")
        last = max(max(row) for row in self.connections)
        require(last < channels, f"connections names input channel {last}, but the last one is {channels - 1}")

    def weights(self, x: Shape) -> dict[str, Sizes]:
        """weight (out, in/groups, k, k), or (links, k, k) with a connection table; bias (out,)."""
        if self.connections is None:
            weight: Sizes = (self.out_channels, x.channels // self.groups, *self.kernel_size)
        else:
            weight = (sum(len(row) for row in self.connections), *self.kernel_size)
        return {"weight": weight} | ({"bias": (self.out_channels,)} if self.bias else {})

    def work(self, x: Shape, y: Shape) -> Work:
        """For each output value k·k·in/groups multiply-accumulates (with `connections` only its links) and its bias."""
        if self.connections is None:
            work = {"mac": values(y) * values((*self.kernel_size, x.channels // self.groups))}
        else:
            work = {"mac": values(y.lengths) * values((sum(len(row) for row in self.connections), *self.kernel_size))}
        return work | ({"add": values(y)} if self.bias else {})

    def saved(self, x: Shape, y: Shape) -> Saved:
        """Input and weight; the input with padding if that is a copy; with `connections` dense weight and links.

        Reflect and replicate keep the input, too, circular keeps which positions it copies.
        """
        pads = self.padding_calls(x)
        extras = tuple([extra for call in pads for extra in call.extras]) + tuple([call.makes for call in pads[-1:]])
        if self.connections is not None:
            links = sum(len(row) for row in self.connections)
            extras += (Extra("dense weight", (y.channels, x.channels, *self.kernel_size), per_image=False),)
            extras += (Extra("links", (links,), "int64", per_image=False),)
        kept = not pads or any(call.keeps for call in pads)
        return Saved(input=kept, state=("weight",), extras=extras)

    def input_gradient(self, x: Shape, y: Shape, batch: int) -> Work:
        """A multiply-accumulate for each one of the forward pass; for what reflects or repeats an addition each."""
        work = Weighted.input_gradient(self, x, y, batch)
        if self.padding_mode == "zeros":
            return work
        return work | {"add": batch * sum([values(call.makes.shape) for call in self.padding_calls(x)])}

    def weight_gradient(self, x: Shape, y: Shape, batch: int) -> Work:
        """A multiply-accumulate for each one of the forward pass; for the bias a sum over images and positions."""
        work = {"mac": batch * self.work(x, y)["mac"]}
        return work | ({"add": batch * values(y) - self.out_channels} if self.bias else {})

    def window(self, x: Shape) -> tuple[Axis, ...]:
        """The dilated kernel; what it reads of a reflected or circular border is inside."""
        pairs = self.margins(x)
        placed = map(Window, self.kernel_size, self.stride, [before for before, _ in pairs], self.dilation)
        if self.padding_mode == "zeros":
            return tuple(placed)
        axes = zip(placed, x.lengths, pairs, strict=True)
        return tuple([reads_of(window, length, pair, self.padding_mode) for window, length, pair in axes])

    def pytorch(self, x: Shape) -> str:
        geometry = "kernel_size, stride=stride, padding=padding, dilation=dilation"
        if self.connections is not None:
            return f"TableConv2d(in_channels, connections, {geometry}, bias=bias)"
        kind = f"{'PaddedConv' if self.own else 'nn.Conv'}{len(x.lengths)}d"
        return f"{kind}(in_channels, out_channels, {geometry}, groups=groups, bias=bias, padding_mode=padding_mode)"

    def calls(self, x: Shape, y: Shape, training: bool, overwrites: bool) -> Calls:
        """The convolution; before it a copy with padding if needed, or filling a dense weight by `connections`."""
        extras = {extra.name: extra for extra in self.saved(x, y).extras}
        weights = tuple(range(1, 1 + len(self.weights(x))))
        source, dense, made, calls, holds = 0, 1, len(weights) + 1, list[Call](), tuple[int, ...]()
        if self.connections is not None:
            links, zeros, dense = made, made + 1, made + 2
            calls += [Call((), extras["links"]), Call((), extras["dense weight"])]
            calls += [Call((1, zeros), extras["dense weight"], keeps=(links,))]
            holds = (links,)
        for pad in self.padding_calls(x):
            calls += [pad._replace(reads=(source,))]
            source = made + len(calls) - 1
        reads, keeps = (source, dense, *weights[1:]), (source, dense)
        return *calls, Call(reads, Extra("output", y), keeps=keeps, holds=holds)


@operator("conv_transpose")
class ConvTranspose(Weighted):
    """Transposed convolution, `torch.nn.ConvTranspose1d` to `ConvTranspose3d`.

    Output height (H − 1)·stride − 2·padding + dilation·(k − 1) + output_padding + 1.
    """

    code: ClassVar[str] = (
        "nn.ConvTranspose{n}d(in_channels, out_channels, kernel_size, stride=stride, padding=padding, "
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
        lengths = positions(x, self.name)
        check_groups(x.channels, self.out_channels, self.groups)
        return Map((self.out_channels, *[self._length(axis, length) for axis, length in enumerate(lengths)]))

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

    def weights(self, x: Shape) -> dict[str, Sizes]:
        """weight (in, out/groups, k, k); bias (out,)."""
        weight = (x.channels, self.out_channels // self.groups, *self.kernel_size)
        return {"weight": weight} | ({"bias": (self.out_channels,)} if self.bias else {})

    def work(self, x: Shape, y: Shape) -> Work:
        """For each input value k·k·out/groups multiply-accumulates, also those cut off by padding, and the biases."""
        kernel = values((*self.kernel_size, self.out_channels // self.groups))
        return {"mac": values(x) * kernel} | ({"add": values(y)} if self.bias else {})

    def window(self, x: Shape) -> tuple[Transposed, ...]:
        """The inputs whose kernels reach the output; the positions within the kernel alternate with the stride."""
        return tuple(map(Transposed, self.kernel_size, self.stride, self.padding, self.dilation))


@operator("linear")
class Linear(Weighted):
    """Fully connected layer over the last dimension, `torch.nn.Linear`."""

    code: ClassVar[str] = "nn.Linear(in_features, out_features, bias=bias)"
    tied: ClassVar[str] = "TiedLinear(out_features, bias=bias)"
    out_features: Positive
    bias: Flag = True

    def output(self, x: Shape) -> Shape:
        """The input's shape with out_features as its last dimension."""
        featured(x)
        return x.with_last(self.out_features)

    def weights(self, x: Shape) -> dict[str, Sizes]:
        """weight (out, in); bias (out,)."""
        return {"weight": (self.out_features, x.last)} | ({"bias": (self.out_features,)} if self.bias else {})

    def work(self, x: Shape, y: Shape) -> Work:
        """For each output value in_features multiply-accumulates, and an addition for the bias."""
        return {"mac": x.last * values(y)} | ({"add": values(y)} if self.bias else {})

    def window(self, x: Shape) -> tuple[Axis, ...]:
        """Its own token; of features there are no positions; on channels×height×width it reads the whole width."""
        each = (EACH,) * len(x.lengths)
        return (*each[1:], ALL) if isinstance(x, Map) else each

    def calls(self, x: Shape, y: Shape, training: bool, overwrites: bool) -> Calls:
        """One function, which keeps the input only for the weight's gradient."""
        (call,) = super().calls(x, y, training, overwrites)
        n = len(call.reads)
        call = call._replace(crossed=(0, 1), grads=(TURNED if values(x) == 1 else NEW, VIEWED, SUM)[:n])
        if isinstance(x, Features):
            return (call._replace(keeps=(0, 1)),)
        # PyTorch makes a matrix of the input, and the output from a matrix
        joined = VIEW if values(x.without_last(1)) == 1 else JOINED
        return (
            Call((0,), Extra("matrix", x), VIEW, grads=(VIEW,)),
            call._replace(reads=(n, *call.reads[1:]), keeps=(n, 1), crossed=(n, 1)),
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
        require(isinstance(x, Features), f"rbf needs a vector, not {format_shape(x)}; write flatten before it")
        return Features((self.out_features,))

    def weights(self, x: Shape) -> dict[str, Sizes]:
        """None: the prototypes are fixed."""
        return {}

    def buffers(self, x: Shape) -> dict[str, Sizes]:
        """prototypes (out, in)."""
        return {"prototypes": (self.out_features, x.channels)}

    def work(self, x: Shape, y: Shape) -> Work:
        """For each link a subtraction and a product; for each output n − 1 additions for n inputs."""
        inputs, outputs = x.channels, y.channels
        return {"add": outputs * inputs + outputs * (inputs - 1), "mul": outputs * inputs}

    def input_gradient(self, x: Shape, y: Shape, batch: int) -> Work:
        """Σ gradient · (2 · (x − w)): for each link 2 products, for each input value n − 1 additions for n outputs."""
        links = batch * y.channels * x.channels
        return {"mul": 2 * links, "add": links - batch * x.channels}

    def weight_gradient(self, x: Shape, y: Shape, batch: int) -> Work:
        """None: the prototypes are fixed."""
        return {}

    def links(self, x: Shape, y: Shape) -> int:
        """One for each value of the prototypes."""
        count: int = y.channels * x.channels
        return count

    def saved(self, x: Shape, y: Shape) -> Saved:
        """The differences, for the gradient of the square."""
        return Saved(extras=(Extra("differences", (y.channels, x.channels)),))

    def window(self, x: Shape) -> tuple[Axis, ...]:
        """Features have no positions."""
        return ()

    def calls(self, x: Shape, y: Shape, training: bool, overwrites: bool) -> Calls:
        """x − w, its square, which keeps it, and the sum."""
        differences = Extra("differences", (y.channels, x.channels))
        return (
            Call((0,), Extra("row", x), VIEW, grads=(VIEW,)),
            Call((1,), differences, grads=(SUM,)),
            Call((2,), differences, keeps=(2,), scratch=((differences,) * 2,)),  # grad · (2 · x¹)
            Call((3,), Extra("output", y), grads=(SLICE,)),
        )
