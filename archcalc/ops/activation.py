"""Activations: functions of single values. Work is counted per value; a change of sign is free.

ReLU works in place by default, as in the usual implementations; others only with `inplace=True`, where PyTorch has it.
An operator in place writes nothing; if backward needs its input, PyTorch keeps a copy (leaky_relu keeps its result).
"""

from __future__ import annotations

from typing import ClassVar

from archcalc.errors import Refusal
from archcalc.ops.arguments import Approximation, Flag, Real, show
from archcalc.ops.base import Calls, Extra, SameShape, Saved, Shape, Work, operator, values
from archcalc.ops.calls import NUMBER, Call
from archcalc.ops.shape import Tokens

OPERATIONS = {  # names of the kinds of work, singular and plural
    "add": ("an addition", "additions"),
    "mul": ("a multiplication", "multiplications"),
    "div": ("a division", "divisions"),
    "compare": ("a comparison", "comparisons"),
    "exp": ("a power of e", "powers of e"),
    "tanh": ("a tanh", "tanh"),
}


class Activation(SameShape):
    """An elementwise function; `per_value` is its work for one value."""

    per_value: ClassVar[Work]
    gradient: ClassVar[tuple[str, Work]]  # its formula, where g is the output's gradient, and its work for one value
    keeps_output: ClassVar[bool] = False  # whether backward needs the result; if not, the input

    def work(self, x: Shape, y: Shape) -> Work:
        """`per_value` for each value."""
        return {kind: values(y) * count if count > 1 else values(y) for kind, count in self.per_value.items()}

    def input_gradient(self, x: Shape, y: Shape, batch: int) -> Work:
        """`gradient` for each value."""
        return {kind: batch * values(y) * count for kind, count in self.gradient[1].items()}

    def saved(self, x: Shape, y: Shape) -> Saved:
        """The result or the input, whichever the derivative needs; in place a copy of the input."""
        if self.keeps_output:
            return Saved(output=True)
        return Saved(extras=(Extra("input copy", x),)) if getattr(self, "inplace", False) else Saved(input=True)

    @classmethod
    def says(cls, figure: str) -> str:
        if figure == "work" and cls.work is Activation.work:
            return f"For each value {kinds_in_words(cls.per_value)}."
        if figure == "input_gradient" and cls.input_gradient is Activation.input_gradient:
            return f"{cls.gradient[0]}: for each value {kinds_in_words(cls.gradient[1])}."
        if figure == "saved" and cls.saved is Activation.saved:
            copied = "; in place a copy of it" if hasattr(cls, "inplace") else ""
            return "The result." if cls.keeps_output else f"The input{copied}."
        return super().says(figure)

    def calls(self, x: Shape, y: Shape, training: bool, overwrites: bool) -> Calls:
        """One function; in place it copies its input for backward."""
        (call,) = super().calls(x, y, training, overwrites)
        return (call._replace(copies=call.extras, extras=()),)


def kinds_in_words(work: Work) -> str:
    """`an addition, 2 comparisons and a division`."""
    counts = [OPERATIONS[kind][0] if n == 1 else f"{n} {OPERATIONS[kind][1]}" for kind, n in work.items()]
    return " and ".join(filter(None, (", ".join(counts[:-1]), counts[-1])))


@operator("relu")
class ReLU(Activation):
    """max(x, 0), `torch.nn.ReLU`, in place by default."""

    code: ClassVar[str] = "nn.ReLU(inplace=inplace)"
    per_value: ClassVar[Work] = {"compare": 1}
    gradient: ClassVar[tuple[str, Work]] = "g if y > 0, else 0", {"compare": 1}
    keeps_output: ClassVar[bool] = True
    inplace: Flag = True


@operator("relu6")
class ReLU6(Activation):
    """min(max(x, 0), 6), `torch.nn.ReLU6`."""

    code: ClassVar[str] = "nn.ReLU6(inplace=inplace)"
    per_value: ClassVar[Work] = {"compare": 2}
    gradient: ClassVar[tuple[str, Work]] = "g if 0 < x < 6, else 0", {"compare": 2}
    inplace: Flag = False


@operator("leaky_relu")
class LeakyReLU(Activation):
    """x if x > 0, else negative_slope·x (Maas et al. 2013), `torch.nn.LeakyReLU`."""

    code: ClassVar[str] = "nn.LeakyReLU(negative_slope, inplace=inplace)"
    per_value: ClassVar[Work] = {"compare": 1, "mul": 1}
    gradient: ClassVar[tuple[str, Work]] = "g if x > 0, else negative_slope·g", {"compare": 1, "mul": 1}
    negative_slope: Real = 0.01
    inplace: Flag = False

    def output(self, x: Shape) -> Shape:
        """The input's shape. Raises Refusal for a slope below 0 in place, which has no gradient in PyTorch."""
        if self.inplace and self.negative_slope < 0:
            raise Refusal(f"inplace=True needs negative_slope >= 0, not {show(self.negative_slope)}, as in PyTorch")
        return x

    def saved(self, x: Shape, y: Shape) -> Saved:
        """The input; in place the result."""
        return Saved(input=not self.inplace, output=self.inplace)


@operator("sigmoid")
class Sigmoid(Activation):
    """1 / (1 + e⁻ˣ), `torch.nn.Sigmoid`."""

    code: ClassVar[str] = "nn.Sigmoid()"
    per_value: ClassVar[Work] = {"exp": 1, "add": 1, "div": 1}
    gradient: ClassVar[tuple[str, Work]] = "g·(1 − y)·y", {"add": 1, "mul": 2}
    keeps_output: ClassVar[bool] = True


@operator("tanh")
class Tanh(Activation):
    """tanh x, `torch.nn.Tanh`; counted as one operation of the kind `tanh`."""

    code: ClassVar[str] = "nn.Tanh()"
    per_value: ClassVar[Work] = {"tanh": 1}
    gradient: ClassVar[tuple[str, Work]] = "g·(1 − y²)", {"add": 1, "mul": 2}
    keeps_output: ClassVar[bool] = True


@operator("scaled_tanh")
class ScaledTanh(Activation):
    """a·tanh(s·x), LeNet-5's squashing function with a = 1.7159 and s = 2/3 (LeCun et al. 1998, II-B and App. A)."""

    code: ClassVar[str] = "ScaledTanh(amplitude=amplitude, slope=slope)"
    per_value: ClassVar[Work] = {"mul": 2, "tanh": 1}
    gradient: ClassVar[tuple[str, Work]] = "s·(a·g·(1 − t²)), t = tanh(s·x)", {"add": 1, "mul": 4}
    amplitude: Real = 1.7159
    slope: Real = 2 / 3

    def saved(self, x: Shape, y: Shape) -> Saved:
        """The result of the inner tanh."""
        return Saved(extras=(Extra("tanh", y),))

    def calls(self, x: Shape, y: Shape, training: bool, overwrites: bool) -> Calls:
        """slope·x, its tanh, and amplitude·tanh; each product keeps its number."""
        made = Extra("tanh", y)
        product = Call((0,), made, extras=(NUMBER,))
        return product, Call((1,), made, keeps=(2,)), product._replace(reads=(2,))


@operator("silu")
class SiLU(Activation):
    """x · sigmoid(x), `torch.nn.SiLU`."""

    code: ClassVar[str] = "nn.SiLU(inplace=inplace)"
    per_value: ClassVar[Work] = {"exp": 1, "add": 1, "div": 1, "mul": 1}
    gradient: ClassVar[tuple[str, Work]] = (
        "g·s·(1 + x·(1 − s)), s = sigmoid(x)",
        {"exp": 1, "add": 3, "div": 1, "mul": 3},
    )
    inplace: Flag = False


@operator("hardsigmoid")
class HardSigmoid(Activation):
    """min(max(x + 3, 0), 6) / 6, `torch.nn.Hardsigmoid`."""

    code: ClassVar[str] = "nn.Hardsigmoid(inplace=inplace)"
    per_value: ClassVar[Work] = {"add": 1, "compare": 2, "div": 1}
    gradient: ClassVar[tuple[str, Work]] = "g·(1/6) if −3 < x < 3, else 0", {"compare": 2, "mul": 1}
    inplace: Flag = False


@operator("hardswish")
class HardSwish(Activation):
    """x · hardsigmoid(x), `torch.nn.Hardswish`."""

    code: ClassVar[str] = "nn.Hardswish(inplace=inplace)"
    per_value: ClassVar[Work] = {"add": 1, "compare": 2, "div": 1, "mul": 1}
    gradient: ClassVar[tuple[str, Work]] = (
        "0 if x ≤ −3, g if x ≥ 3, else g·(x/3 + 1/2)",
        {"compare": 2, "div": 1, "add": 1, "mul": 1},
    )
    inplace: Flag = False


@operator("gelu")
class GELU(Activation):
    """x/2 · (1 + erf(x/√2)), or its approximation by tanh, `torch.nn.GELU`."""

    code: ClassVar[str] = "nn.GELU(approximate=approximate)"
    approximate: Approximation = "none"

    def work(self, x: Shape, y: Shape) -> Work:
        """For each value 3 products, 1 sum and an erf; by tanh, x·0.5·(1 + tanh(c·(x + d·x·x·x))), 6, 2 and a tanh."""
        count = values(y)
        if self.approximate == "tanh":
            return {"mul": count * 6, "add": count * 2, "tanh": count}
        return {"mul": count * 3, "add": count, "erf": count}

    def input_gradient(self, x: Shape, y: Shape, batch: int) -> Work:
        """g·(Φ + x·φ), Φ = (1 + erf(x/√2))/2, φ = c·e^(−x·x/2): 7 products, 2 sums, erf and power of e for each value.

        By tanh g·((1 + t)/2 + x/2·(1 − t·t)·c·(1 + 3d·x·x)), where t = tanh(c·(x + d·x·x·x)): 12, 5 and a tanh.
        """
        count = batch * values(y)
        if self.approximate == "tanh":
            return {"mul": count * 12, "add": count * 5, "tanh": count}
        return {"mul": count * 7, "add": count * 2, "erf": count, "exp": count}


@operator("softmax")
class Softmax(Activation):
    """Softmax over the channels or features, `torch.nn.Softmax(dim=1)`, which subtracts the maximum first.

    Of tokens over the features of each token, `dim=-1`.
    """

    keeps_output: ClassVar[bool] = True

    def work(self, x: Shape, y: Shape) -> Work:
        """For C channels at each position: C − 1 comparisons, C differences, C powers of e, C − 1 sums, C divisions."""
        count, places = values(y), values(y.lengths)
        return {"compare": count - places, "add": count + (count - places), "exp": count, "div": count}

    def input_gradient(self, x: Shape, y: Shape, batch: int) -> Work:
        """y·(g − Σg·y): for C channels at each position 2C products, C − 1 sums and C differences."""
        count, places = batch * values(y), batch * values(y.lengths)
        return {"mul": count * 2, "add": count + (count - places)}

    def pytorch(self, x: Shape) -> str:
        return f"nn.Softmax(dim={-1 if isinstance(x, Tokens) else 1})"
