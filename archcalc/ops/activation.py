"""Activations: functions of single values. Work is counted per value; a change of sign is free.

ReLU works in place by default, as in the usual implementations; others only with `inplace=True`, where PyTorch has it.
An operator in place writes nothing; if backward needs its input, PyTorch keeps a copy (leaky_relu, elu and selu keep
their result).
"""

from __future__ import annotations

from typing import ClassVar

from archcalc.errors import Refusal
from archcalc.ops.arguments import Approximation, Flag, Positive, Real, require, show
from archcalc.ops.base import Calls, Extra, SameShape, Saved, Shape, Sizes, Work, operator, values
from archcalc.ops.calls import FULL, NEW, NUMBER, VIEW, Call
from archcalc.ops.shape import channels_first, dim_of_channels, featured
from archcalc.ops.work_in_words import in_words


class Activation(SameShape):
    """An elementwise function; `per_value` is its work for one value."""

    per_value: ClassVar[Work]
    gradient: ClassVar[tuple[str, Work]]  # its formula, where g is the output's gradient, and its work for one value
    of_result: ClassVar[tuple[str, Work] | None] = None  # likewise in place, if it then keeps its result, y
    keeps_output: ClassVar[bool] = False  # whether backward needs the result; if not, the input
    counted: ClassVar[str] = "value"

    def work(self, x: Shape, y: Shape) -> Work:
        """`per_value` for each value."""
        return {kind: values(y) * count if count > 1 else values(y) for kind, count in self.per_value.items()}

    def input_gradient(self, x: Shape, y: Shape, batch: int) -> Work:
        """`gradient` for each value."""
        by_result = self.of_result if getattr(self, "inplace", False) else None
        return {kind: batch * values(y) * count for kind, count in (by_result or self.gradient)[1].items()}

    def saved(self, x: Shape, y: Shape) -> Saved:
        """The result or the input, whichever the derivative needs; in place a copy of the input."""
        inplace = getattr(self, "inplace", False)
        if self.keeps_output or (inplace and self.of_result):
            return Saved(output=True)
        return Saved(extras=(Extra("input copy", x),)) if inplace else Saved(input=True)

    @classmethod
    def says(cls, figure: str) -> str:
        if figure == "work" and cls.work is Activation.work:
            return f"For each {cls.counted} {in_words(cls.per_value)}."
        if figure == "input_gradient" and cls.input_gradient is Activation.input_gradient:
            each = f"for each {cls.counted}"
            in_place = f"; in place {cls.of_result[0]}: {each} {in_words(cls.of_result[1])}" if cls.of_result else ""
            return f"{cls.gradient[0]}: {each} {in_words(cls.gradient[1])}{in_place}."
        if figure == "saved" and cls.saved is Activation.saved:
            copied = "; in place the result" if cls.of_result else "; in place a copy of it"
            copied = copied if hasattr(cls, "inplace") else ""
            return "The result." if cls.keeps_output else f"The input{copied}."
        return super().says(figure)

    def calls(self, x: Shape, y: Shape, training: bool, overwrites: bool) -> Calls:
        """One function; in place it copies its input for backward."""
        (call,) = super().calls(x, y, training, overwrites)
        return (call._replace(copies=call.extras, extras=()),)


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
    of_result: ClassVar[tuple[str, Work]] = "g if y > 0, else negative_slope·g", {"compare": 1, "mul": 1}
    negative_slope: Real = 0.01
    inplace: Flag = False

    def output(self, x: Shape) -> Shape:
        """The input's shape. Raises Refusal for a slope below 0 in place, which has no gradient in PyTorch."""
        return _rising(x, self.inplace, "negative_slope", self.negative_slope)


def _rising(x: Shape, inplace: bool, name: str, value: float) -> Shape:
    """Return the input's shape. Raises Refusal in place if the function falls below 0: the result does not tell x."""
    featured(x)
    if inplace and value < 0:
        raise Refusal(f"inplace=True needs {name} >= 0, not {show(value)}, as in PyTorch")
    return x


@operator("elu")
class ELU(Activation):
    """x if x > 0, else alpha·(eˣ − 1) (Clevert et al. 2015), `torch.nn.ELU`."""

    code: ClassVar[str] = "nn.ELU(alpha, inplace=inplace)"
    per_value: ClassVar[Work] = {"compare": 1, "exp": 1, "add": 1, "mul": 1}
    gradient: ClassVar[tuple[str, Work]] = "g if x > 0, else g·alpha·eˣ", {"compare": 1, "exp": 1, "mul": 2}
    of_result: ClassVar[tuple[str, Work]] = "g if y > 0, else g·(y + alpha)", {"compare": 1, "add": 1, "mul": 1}
    alpha: Real = 1.0
    inplace: Flag = False

    def output(self, x: Shape) -> Shape:
        """The input's shape. Raises Refusal for an alpha below 0 in place, which has no gradient in PyTorch."""
        return _rising(x, self.inplace, "alpha", self.alpha)


@operator("selu")
class SELU(Activation):
    """s·x if x > 0, else s·a·(eˣ − 1), with a = 1.6733 and s = 1.0507 (Klambauer et al. 2017), `torch.nn.SELU`."""

    code: ClassVar[str] = "nn.SELU(inplace=inplace)"
    per_value: ClassVar[Work] = {"compare": 1, "exp": 1, "add": 1, "mul": 2}
    gradient: ClassVar[tuple[str, Work]] = "g·s if x > 0, else g·(s·a)·eˣ", {"compare": 1, "exp": 1, "mul": 3}
    of_result: ClassVar[tuple[str, Work]] = "g·s if y > 0, else g·(y + s·a)", {"compare": 1, "add": 1, "mul": 2}
    inplace: Flag = False


@operator("prelu")
class PReLU(Activation):
    """x if x > 0, else w·x, with one weight, or one per channel (He et al. 2015), `torch.nn.PReLU`."""

    code: ClassVar[str] = "nn.PReLU(num_parameters)"
    per_value: ClassVar[Work] = {"compare": 1, "mul": 1}
    gradient: ClassVar[tuple[str, Work]] = "g if x > 0, else w·g", {"compare": 1, "mul": 1}
    num_parameters: Positive = 1

    def output(self, x: Shape) -> Shape:
        """The input's shape. Raises Refusal for another number of weights than 1 or that of the channels."""
        featured(x)
        if self.num_parameters > 1:
            channels = channels_first(x, "prelu with a weight per channel").channels
            fits = channels == self.num_parameters
            require(fits, f"num_parameters must be 1 or the channels, {channels}, not {self.num_parameters}")
        return x

    def weights(self, x: Shape) -> dict[str, Sizes]:
        """weight (num_parameters,)."""
        return {"weight": (self.num_parameters,)}

    def weight_gradient(self, x: Shape, y: Shape, batch: int) -> Work:
        """Sums of g·x where x ≤ 0: for n values n comparisons and products, and n − m additions for m weights."""
        count = batch * values(x)
        return {"compare": count, "mul": count, "add": count - self.num_parameters}

    def saved(self, x: Shape, y: Shape) -> Saved:
        """Input and weight."""
        return Saved(input=True, state=("weight",))

    def calls(self, x: Shape, y: Shape, training: bool, overwrites: bool) -> Calls:
        """A view of the weight, and a function that always makes both gradients."""
        view = Call((1,), Extra("weight", (self.num_parameters,), per_image=False), VIEW, grads=(VIEW,))
        return view, Call((0, 2), Extra("output", y), keeps=(0, 2), grads=(NEW, FULL), joint=True)


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


@operator("mish")
class Mish(Activation):
    """x · tanh(log(1 + eˣ)) (Misra 2019), `torch.nn.Mish`."""

    code: ClassVar[str] = "nn.Mish(inplace=inplace)"
    per_value: ClassVar[Work] = {"exp": 1, "add": 1, "log": 1, "tanh": 1, "mul": 1}
    gradient: ClassVar[tuple[str, Work]] = (
        "g·(t + x·s·(1 − t·t)), t = tanh(log(1 + eˣ)), s = sigmoid(x)",
        {"exp": 2, "add": 4, "log": 1, "tanh": 1, "div": 1, "mul": 4},
    )
    inplace: Flag = False


@operator("softplus")
class Softplus(Activation):
    """log(1 + e^(beta·x)) / beta, and x if beta·x > threshold, `torch.nn.Softplus`."""

    code: ClassVar[str] = "nn.Softplus(beta=beta, threshold=threshold)"
    per_value: ClassVar[Work] = {"mul": 1, "compare": 1, "exp": 1, "add": 1, "log": 1, "div": 1}
    gradient: ClassVar[tuple[str, Work]] = (
        "g if beta·x > threshold, else g·z/(1 + z), z = e^(beta·x)",
        {"mul": 2, "compare": 1, "exp": 1, "add": 1, "div": 1},
    )
    beta: Real = 1.0
    threshold: Real = 20.0


@operator("exp")
class Exp(Activation):
    """eˣ, `torch.exp`."""

    code: ClassVar[str] = "Exp()"
    per_value: ClassVar[Work] = {"exp": 1}
    gradient: ClassVar[tuple[str, Work]] = "g·y", {"mul": 1}
    keeps_output: ClassVar[bool] = True


@operator("clamp")
class Clamp(Activation):
    """min(max(x, min), max), `torch.clamp`; either bound may be omitted."""

    code: ClassVar[str] = "Clamp(min=min, max=max)"
    min: Real | None = None
    max: Real | None = None

    @property
    def bounds(self) -> int:
        """How many bounds it has."""
        return (self.min is not None) + (self.max is not None)

    def output(self, x: Shape) -> Shape:
        """The input's shape. Raises Refusal without a bound."""
        require(self.bounds, "needs min, max or both")
        return super().output(x)

    def work(self, x: Shape, y: Shape) -> Work:
        """For each value and bound a comparison."""
        return {"compare": values(y) * self.bounds}

    def input_gradient(self, x: Shape, y: Shape, batch: int) -> Work:
        """g if min ≤ x ≤ max, else 0: for each value and bound a comparison."""
        return {"compare": batch * values(y) * self.bounds}

    def calls(self, x: Shape, y: Shape, training: bool, overwrites: bool) -> Calls:
        """One function; its gradient needs a mask for each bound, and a zero."""
        (call,) = super().calls(x, y, training, overwrites)
        masks = (Extra("mask", x, "bool"),) * self.bounds
        return (call._replace(scratch=((Extra("zero", (), per_image=False), *masks),)),)


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
        return f"nn.Softmax(dim={dim_of_channels(x)})"


@operator("log_softmax")
class LogSoftmax(Activation):
    """Logarithm of softmax over the channels or features, `torch.nn.LogSoftmax`, which subtracts the maximum first."""

    keeps_output: ClassVar[bool] = True

    def work(self, x: Shape, y: Shape) -> Work:
        """For C channels at each position C − 1 comparisons, 2C differences, C powers of e, C − 1 sums, a logarithm."""
        count, places = values(y), values(y.lengths)
        return {"compare": count - places, "add": count * 2 + (count - places), "exp": count, "log": places}

    def input_gradient(self, x: Shape, y: Shape, batch: int) -> Work:
        """g − e^y·Σg: for C channels at each position C powers of e, C products, C − 1 sums and C differences."""
        count, places = batch * values(y), batch * values(y.lengths)
        return {"exp": count, "mul": count, "add": count + (count - places)}

    def pytorch(self, x: Shape) -> str:
        return f"nn.LogSoftmax(dim={dim_of_channels(x)})"
