"""Padding: how much before and after each axis, what fills it, and what that costs in PyTorch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from archcalc.errors import Refusal
from archcalc.ops.arguments import Pairs, every, require
from archcalc.ops.base import Calls, Extra, Shape, Sizes
from archcalc.ops.calls import Call
from archcalc.ops.reads import Reads, Window, Wrapped

MIRRORED = "mirrored"  # what a kernel of autocast's list makes, see `analysis.autocast`


def pairs_of(padding: Sequence[Any]) -> Pairs:
    """Return what comes before and after each axis; one number is both."""
    return tuple([margin if isinstance(margin, tuple) else (margin, margin) for margin in padding])


def pairs_for(padding: Any, lengths: Sizes, windows: Sequence[Window]) -> Pairs:
    """Return the zeros before and after each axis of a convolution with these windows.

    "same" (PyTorch's, for stride 1) and "SAME" (TensorFlow's, for any stride) put half of them before, and of an odd
    number one more after; "causal" puts all before. Raises Refusal where they do not apply.
    """
    if padding == "causal":
        require(len(windows) == 1, "padding='causal' needs C×L; write pairs such as [[2, 0], [1, 1]]")
        return tuple([(window.span - 1, 0) for window in windows])
    if padding == "SAME":
        axes = zip(lengths, windows, strict=True)
        return tuple([_halves(_missing(length, window)) for length, window in axes])
    if padding == "same":
        single = all(window.stride == 1 for window in windows)
        require(single, "padding='same' needs stride 1, as in PyTorch; 'SAME' is TensorFlow's at any stride")
        return tuple([_halves(window.span - 1) for window in windows])
    return pairs_of(padding)


def _halves(zeros: int) -> tuple[int, int]:
    return zeros // 2, zeros - zeros // 2


def _missing(length: int, window: Window) -> int:
    missing = (-(-length // window.stride) - 1) * window.stride + window.span - length
    return (missing + abs(missing)) // 2  # at least 0


def padded_lengths(lengths: Sizes, pairs: Pairs, mode: str, name: str) -> Sizes:
    """Return lengths with padding. Raises Refusal if nothing is left, or if the input is too short for the mode."""
    most = {"reflect": 1, "circular": 0}
    for length, pair in zip(lengths, pairs, strict=True) if mode not in ("constant", "zeros") else ():
        if mode in most:
            room = length - most[mode]
            require(max(pair) <= room, f"{name} {mode} needs padding of at most {room} for {length} positions")
        if min(pair) < 0:
            raise Refusal(f"{name} {mode} needs padding of at least 0; write slice to cut off")
    both = [2 * before if before is after else before + after for before, after in pairs]
    padded = tuple([length + zeros for length, zeros in zip(lengths, both, strict=True)])
    require(all(map(every, [length >= 1 for length in padded])), f"{name} leaves no output")
    return padded


def reads_of(window: Window, length: int, pair: tuple[int, int], mode: str) -> Reads:
    """Return what a window reads of the positions inside; `window.padding` is what comes before.

    A reflected or repeated position changes nothing if each window that reads it also reads where it comes from.
    """
    most = {"reflect": (window.span - 1) // 2, "replicate": window.span - 1}
    if mode in ("constant", "zeros") or (window.dilation == 1 and max(pair) <= most.get(mode, -1)) or not any(pair):
        return window
    return Wrapped(*window, length, mode)


def padding_calls(x: Shape, pairs: Pairs, mode: str) -> Calls:
    """Return the calls that make a padded copy; reflect and replicate keep their input.

    circular copies axis by axis, and keeps the positions to copy.
    """
    lengths = [length + sum(pair) for length, pair in zip(x.lengths, pairs, strict=True)]
    if mode == "circular":
        calls = list[Call]()
        for axis, length in enumerate(lengths):
            if any(pairs[axis]):
                made = Extra("padded", x.with_lengths([*lengths[: axis + 1], *x.lengths[axis + 1 :]]))
                index = Extra("positions", (length,), "int64", per_image=False)
                calls.append(Call((0,), made, extras=(index,)))
        return tuple(calls)
    made = Extra("padded", x.with_lengths(lengths))
    if mode in ("constant", "zeros"):
        return (Call((0,), made),)
    listed = mode == "replicate" or len(lengths) < 3
    return (Call((0,), made._replace(name=MIRRORED if listed else made.name), keeps=(0,)),)
