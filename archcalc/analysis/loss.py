"""The calls of `torch.nn.functional.cross_entropy`, mean over all places (ATen/native/LossNLL.cpp)."""

from __future__ import annotations

from archcalc.ops.base import Calls, Extra, Shape
from archcalc.ops.calls import IN_PLACE, SAME, SLICE, VIEW, Call
from archcalc.ops.shape import Tokens

SCALAR = Extra("loss", (), per_image=False)
COUNT = Extra("count", (), "int64", per_image=False)
SUM_OF_TWO: Calls = (Call((0, 1), SCALAR, grads=(SAME, SAME)),)


def cross_entropy(y: Shape, smoothing: bool) -> Calls:
    """Return the calls for outputs of shape `y`: log-probabilities and the mean of some; with smoothing of all, too.

    Of tokens, for a matrix with a row per token.
    """
    if not isinstance(y, Tokens):
        return _cross_entropy(y, smoothing)
    rows = Call((0,), Extra("rows", y), VIEW, grads=(VIEW,))
    return rows, *map(_after_a_call, _cross_entropy(y, smoothing))


def _after_a_call(call: Call) -> Call:
    reads, keeps, holds = (tuple([value + 1 for value in values]) for values in (call.reads, call.keeps, call.holds))
    return call._replace(reads=reads, keeps=keeps, holds=holds)


def _cross_entropy(y: Shape, smoothing: bool) -> Calls:
    log_probabilities = Call((0,), Extra("log-probabilities", y), keeps=(1,))
    likely = Call((1,), SCALAR, keeps=(1,), extras=(SCALAR,))  # it keeps the number of places, too
    if not smoothing:
        return log_probabilities, likely
    places, mask = Extra("sums", y.lengths), Extra("mask", y.lengths, "bool")
    return (
        log_probabilities,
        likely,
        Call((1,), places, grads=(SLICE,)),
        Call((3,), places),  # −
        Call((), mask),  # which places to ignore
        Call((4,), places, IN_PLACE, keeps=(5,)),
        Call((), mask),
        Call((7,), COUNT),
        Call((6,), SCALAR, grads=(SLICE,)),
        Call((9, 8), SCALAR, keeps=(8,), holds=(7,)),
        Call((2,), SCALAR),  # · (1 − smoothing)
        Call((10,), SCALAR),  # · smoothing / classes
        Call((11, 12), SCALAR, grads=(SAME, SAME), holds=(1, 2, 5, 6, 10)),
    )
