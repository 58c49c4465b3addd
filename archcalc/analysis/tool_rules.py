"""How tools count: what each rule counts for one call of an operator, and each tool's table of rules by operator.

A tool counts how a network's code is written. The tables say what it counts of the module that `pytorch.build` makes;
an operator without a row is one that the tool counts as nothing, None says that its count is not known.
`bench/conventions.py` compares them with the tools themselves.
"""

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple, TypeAlias

from archcalc.ops.base import Operator, values
from archcalc.ops.convolution import Conv, ConvTranspose
from archcalc.ops.imported import Imported
from archcalc.ops.pooling import Adaptive
from archcalc.ops.shape import Features


class Call(NamedTuple):
    """One call of an operator or of a part of one, for a batch."""

    op: Operator
    x: Any
    y: Any
    batch: int
    function: bool = False  # of a linear layer, whether it runs as a function, which hooks of modules do not see
    windows: int = 1  # of a linear layer, how many windows of an image lie along its first dimension


class Rule(NamedTuple):
    """What a tool counts of a call, and by which name: `factor` for each of the `size(call)` things."""

    cause: str
    factor: int | Callable[[Call], int]
    size: Callable[[Call], int]
    each: str = "per value"

    def of(self, call: Call) -> tuple[str, int]:
        """Return the cause, with the factor unless it is 1, and the count."""
        factor = self.factor if isinstance(self.factor, int) else self.factor(call)
        return self.cause + f" ({factor} {self.each})" * (factor != 1), factor * self.size(call)


Rules: TypeAlias = Mapping[str, "tuple[Rule, ...] | None"]  # None: unknown


def calls_of(op: Operator, x: Any, y: Any, batch: int) -> list[Call]:
    """Return the calls of an operator: those of its parts, if it has any."""
    from archcalc.ops.composite import Composite  # only tools count by calls
    from archcalc.ops.window_attention import CosineWindowAttention, InWindows

    if not isinstance(op, Composite):
        return [Call(op, x, y, batch)]
    parts = op.parts(x)
    functions = [not any("." in name for name in part.weights.values()) for part in parts]
    functions[0] |= isinstance(op, CosineWindowAttention)  # since it makes its bias of two parts
    windows = values(op.padded(x)) // values(op.window_size) if isinstance(op, InWindows) else 1
    each = zip(parts, functions, strict=True)
    return [Call(part.op, part.x, part.y, batch, function, windows) for part, function in each]


def counted(rules: Rules, op: Operator, x: Any, y: Any, batch: int) -> dict[str, int] | None:
    """Return what a tool counts of an operator, by cause; None: unknown."""
    if isinstance(op, Imported):
        meant: Any = op.means
        if _moves(op):
            return {} if rules.get("", ()) is not None else None
        if meant is None or isinstance(meant, Imported):
            return None
        x = x if meant.joins else op.read
        op = meant
    found: dict[str, int] = {}
    for call in calls_of(op, x, y, batch):
        own = rules.get(call.op.name, rules.get("", ()))
        if own is None:
            return None
        for rule in own:
            cause, count = rule.of(call)
            if count:
                found[cause] = found.get(cause, 0) + count
    return found


def _moves(op: Imported) -> bool:
    """Whether a function only moves values: no tool counts one, but those that resize images."""
    computes = op.means or op.counts != () or op.common or op.tensors
    return not (computes or "upsample" in op.function or "Resize" in op.function)


def every(names: Iterable[str], *rules: Rule) -> dict[str, tuple[Rule, ...]]:
    """Return a table that gives all these operators the same rules."""
    return dict.fromkeys(names, rules)


def times(factor: int, rules: Rules) -> Rules:
    """Return a table of a tool that prints a multiple."""
    return {name: own and tuple([_multiple(factor, rule) for rule in own]) for name, own in rules.items()}


def _multiple(factor: int, rule: Rule) -> Rule:
    of = rule.factor
    return rule._replace(factor=factor * of if isinstance(of, int) else lambda call: factor * of(call))


# Sizes of things that tools count, for a batch.


def macs(call: Call) -> int:
    """The multiply-accumulates; of a convolution by a table of connections, those of the dense weight that runs."""
    if isinstance(call.op, Conv):
        kernel = values((*call.op.kernel_size, call.x.channels // call.op.groups))
        return call.batch * values(call.y) * kernel
    count: int = call.op.batch_work(call.x, call.y, call.batch).get("mac", 0)
    return count


def of_modules(call: Call) -> int:
    """The multiply-accumulates of linear layers that run as modules."""
    return 0 if call.function else macs(call)


def all_biases(call: Call) -> int:
    """The biases of layers, also of those that run as functions."""
    return outputs(call) * bool(getattr(call.op, "bias", False))


def biases(call: Call) -> int:
    """The biases of layers that run as modules."""
    return 0 if call.function else all_biases(call)


def inputs(call: Call) -> int:
    """The values of the input."""
    return call.batch * values(call.x)


def outputs(call: Call) -> int:
    """The values of the output."""
    return call.batch * values(call.y)


def halves(call: Call) -> int:
    """Half of the values of the input."""
    return inputs(call) // 2


def affine(with_weights: int, without: int) -> Callable[[Call], int]:
    """Return the factor of a normalization: one with weights, another without."""
    return lambda call: with_weights if call.op.weights(call.x) else without


def by_mode(**factors: int) -> Callable[[Call], int]:
    """Return the factor of an interpolation by its mode."""
    return lambda call: factors.get(call.op.mode, 0)  # type: ignore[attr-defined]  # of upsample


def macs_of_biases(call: Call) -> int:
    """The multiply-accumulates of the layers that make the biases of windows, once per batch."""
    return int(call.op.work_per_batch(call.x).get("mac", 0))


def hidden_of_biases(call: Call) -> int:
    """The values between these layers."""
    from archcalc.ops.window_attention import HIDDEN

    op: Any = call.op
    return int(op.table[0]) * HIDDEN * bool(macs_of_biases(call))


def of_images(size: Callable[[Call], int]) -> Callable[[Call], int]:
    """Return a size that counts only if the input is an image."""
    return lambda call: size(call) * (len(call.x.lengths) == 2)


def outputs_of_first(call: Call) -> int:
    """The values of the output for the first image of a batch."""
    return values(call.y)


def windows_and_outputs(call: Call) -> int:
    """The input values of all windows of an adaptive pool, by the ratio of lengths, and the output values."""
    ratio = math.prod([float(length) / float(n) for length, n in zip(call.x.lengths, call.y.lengths, strict=True)])
    return int((ratio + 1) * outputs(call))


def cells_and_outputs(call: Call) -> int:
    """The input values that all windows of an adaptive pool read, and the output values."""
    assert isinstance(call.op, Adaptive)
    return call.batch * int(call.x.channels) * int(call.op.cells(call.x)) + outputs(call)


def window_and_outputs(call: Call) -> int:
    """The input values that all windows of an average pool read, with padding if that counts, and the output values."""
    op: Any = call.op
    read = 1
    for length, count, window in zip(call.x.lengths, call.y.lengths, op.window(call.x), strict=True):
        kernel, stride, padding, _ = window
        first, last = (-padding, length + padding) if op.count_include_pad else (0, length)
        starts = [i * stride - padding for i in range(count)]
        read *= sum([max(min(start + kernel, last) - max(start, first), 0) for start in starts])
    return call.batch * int(call.x.channels) * read + outputs(call)


def softmax_steps(call: Call) -> int:
    """A power of e and a division per value, and n − 1 sums for each softmax over n values."""
    return 3 * inputs(call) - inputs(call) // int(call.x.channels)


def with_frame(call: Call) -> int:
    """The values that local response normalization pools: with zeros before and after the channels."""
    op: Any = call.op
    return inputs(call) // int(call.x.channels) * int(call.x.channels + op.size - 1)


def at_outputs(call: Call) -> int:
    """Of a transposed convolution the output values times kernel and input channels, as if it were not transposed."""
    assert isinstance(call.op, ConvTranspose)
    return outputs(call) * values((*call.op.kernel_size, call.x.channels // call.op.groups))


def by_groups_twice(call: Call) -> int:
    """The multiply-accumulates of a transposed convolution with output channels divided by the groups twice."""
    op: Any = call.op
    return inputs(call) * values((*op.kernel_size, op.out_channels // op.groups // op.groups))


def biases_as_if_forward(call: Call) -> int:
    """The biases of a transposed convolution at as many positions as a convolution with its arguments would have."""
    op = call.op
    assert isinstance(op, ConvTranspose)
    axes = zip(call.x.lengths, op.kernel_size, op.stride, op.padding, op.dilation, strict=True)
    lengths = [(n + 2 * p - (d * (k - 1) + 1)) // s + 1 for n, k, s, p, d in axes]
    return int(call.batch * op.out_channels // op.groups * math.prod(lengths) * op.bias)


def params(call: Call) -> int:
    """The trainable values of an operator."""
    return sum([values(sizes) for sizes in call.op.weights(call.x).values()])


def params_per_image(call: Call) -> int:
    """The trainable values of an operator for each image, if it runs as a module."""
    return 0 if call.function else call.batch * params(call)


def macs_of_vector(call: Call) -> int:
    """The multiply-accumulates of a linear layer on one vector per image."""
    return of_modules(call) * isinstance(call.x, Features)


def biases_of_vector(call: Call) -> int:
    """The biases of such a layer."""
    return biases(call) * isinstance(call.x, Features)


def weights_of_tokens(call: Call) -> int:
    """The trainable values of a linear layer on many tokens, for each first dimension."""
    return params_per_image(call) * call.windows * (not isinstance(call.x, Features))


def at_positions(name: str) -> Callable[[Call], int]:
    """Return the size of a convolution's weight or bias at each output position."""
    return lambda call: call.batch * values(call.y.lengths) * values(call.op.weights(call.x).get(name, (0,)))


def params_per_token(call: Call) -> int:
    """The trainable values of an operator for each token."""
    return inputs(call) // int(call.x.channels) * params(call)


def params_of_biases(call: Call) -> int:
    """The trainable values of the layers that make the biases of windows."""
    names = call.op.weights(call.x).items()
    return sum([values(sizes) for name, sizes in names if name.startswith("cpb_mlp.")])


def strides(call: Call) -> int:
    """The output values of a pool times its stride."""
    op: Any = call.op
    steps = getattr(op, "stride", None) or getattr(op, "kernel_size", None)
    return outputs(call) * (values(steps) if steps else 1)


def sums(call: Call) -> int:
    """The additions of a sum of branches."""
    return (len(call.x) - 1) * outputs(call)


def size_alone(call: Call) -> int:
    """The lengths that an interpolation is given, without channels and batch; with a factor, the input values."""
    op: Any = call.op
    return values(op.size) if op.size else inputs(call)


def size_or_outputs(call: Call) -> int:
    """Likewise, but with a factor the output values."""
    op: Any = call.op
    return values(op.size) if op.size else int(inputs(call) * math.prod(op.scale_factor))


def resized_twice(call: Call) -> int:
    """The output values of the module, and of the function those by the whole part of each factor."""
    op: Any = call.op
    function = values(call.y) if op.size else values(call.x) * math.prod(map(int, op.scale_factor))
    return call.batch * (values(call.y) + function)


def inside(call: Call) -> int:
    """The multiply-accumulates of a convolution without those with its padding."""
    op: Any = call.op
    if op.name == "conv_transpose":
        axes = zip(call.x.lengths, call.y.lengths, op.kernel_size, op.stride, op.padding, op.dilation, strict=True)
        pairs = [_pairs(n, out, k, s, p, d) for n, out, k, s, p, d in axes]
        return int(call.batch * call.x.channels * (op.out_channels // op.groups) * math.prod(pairs))
    padded = op.padding_mode == "zeros"
    margins = [before for before, _ in op.margins(call.x)]
    lengths = (
        call.x.lengths if padded else [n + sum(m) for n, m in zip(call.x.lengths, op.margins(call.x), strict=True)]
    )
    axes = zip(call.y.lengths, lengths, op.kernel_size, op.stride, margins, op.dilation, strict=True)
    pairs = [_pairs(out, n, k, s, p * padded, d) for out, n, k, s, p, d in axes]
    return int(call.batch * op.out_channels * (call.x.channels // op.groups) * math.prod(pairs))


def _pairs(steps: int, length: int, kernel: int, stride: int, padding: int, dilation: int) -> int:
    """Return how many pairs of a step and a tap of the kernel lie inside `length` positions."""
    places = [tap * dilation - padding for tap in range(kernel)]
    return sum([max(0, min(steps, -(-(length - at) // stride)) - max(0, -(at // stride))) for at in places])
