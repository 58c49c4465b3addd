"""What an operator runs in PyTorch, call by call: what each call reads, allocates and keeps, and its gradients.

`analysis.simulation` runs these calls forward, and their gradients backward. A call is one function of PyTorch that
records at most one node of autograd, such as `aten::mul`. Rules of gradients are those of PyTorch's
tools/autograd/derivatives.yaml and torch/csrc/autograd/FunctionsManual.cpp.
"""

from typing import NamedTuple

from archcalc.ops.shape import Ids, Shape, Sizes

# Where a call puts its result: in new memory, or in that of its first read. Autograd does not track an unsafe view.
NEW, VIEW, UNSAFE_VIEW, IN_PLACE = "new", "view", "unsafe view", "in place"

# The gradient of a read: new memory of the read's size (NEW); the incoming gradient itself; a view of it; a view that
# joins dimensions, or a copy if the incoming gradient has gaps; a slice of each image; new memory of the result's size
# that is then summed to the read's; the incoming gradient, summed to the read's size if that differs; likewise for a
# read that all images share, over the images; new memory, for which an incoming gradient with gaps is copied first; new
# memory, which is seen transposed, as a view (VIEWED), or only for one image (TURNED); new memory of the result's size,
# a part of the read's gradient that is not added to other parts; a view with the dimensions in another order; none,
# since only its shape and dtype are read.
SAME, JOINED, SLICE, FULL, SUM, IMAGES = "same", "joined", "slice", "full", "sum", "images"
PACKED, TURNED, VIEWED, PART, PERMUTED, NONE = "packed", "turned", "viewed", "part", "permuted", "none"


class Extra(NamedTuple):
    """A tensor with its shape; without a `dtype` it has the network's.

    Two dtypes depend on the device: on CUDA `mask` is one byte per value, and `sums` is at least float32. On the CPU
    both are the network's dtype. On all devices `wide` is at least float32. Always on the CPU are a `number` of
    Python's, which PyTorch puts into a tensor of 8 bytes, a `flag` (a bool of Python's) and a `draw` (a random
    float32).
    """

    name: str
    shape: Sizes
    dtype: str = ""
    per_image: bool = True


NUMBER = Extra("number", (), "number", per_image=False)
FLAG = Extra("number", (), "flag", per_image=False)
DRAW = Extra("number", (), "draw", per_image=False)


def given(shape: Shape) -> Extra:
    """Return a network's input; numbers of tokens are int64."""
    return Extra("image", shape, "int64" if isinstance(shape, Ids) else "")


class Call(NamedTuple):
    """One function that an operator calls. Values have numbers: its inputs, its weights, then the calls' results."""

    reads: tuple[int, ...]
    makes: Extra
    where: str = NEW
    keeps: tuple[int, ...] = ()  # values kept for backward
    extras: tuple[Extra, ...] = ()  # other tensors kept for backward; they live during the call if nothing needs them
    copies: tuple[Extra, ...] = ()  # likewise, but allocated only for backward
    grads: tuple[str, ...] = ()  # by read; NEW for those not listed
    scratch: tuple[tuple[Extra, ...], ...] = ()  # by read: tensors that its gradient needs for a moment
    holds: tuple[int, ...] = ()  # values that the surrounding function still holds
    uses: tuple[Extra, ...] = ()  # tensors that live during the call
    joint: bool = False  # whether one function makes all gradients, also those that nothing needs
    crossed: tuple[int, ...] = ()  # those of the values kept that it keeps only for the gradient of another one
    part: tuple[int, str] = (0, "")  # within an operator of several parts: the part's number and operator
