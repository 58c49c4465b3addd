"""The operators: one class per operator, one file per family. Importing this package registers them all."""

from __future__ import annotations

from archcalc.ops import (
    activation,
    attention,
    convolution,
    feature_normalization,
    gated,
    joins,
    layout,
    learned,
    normalization,
    pooling,
    products,
    rotation,
    sequence,
    shaping,
    slicing,
    upsampling,
    window_attention,
)
from archcalc.ops.base import KINDS, REGISTRY, Operator, Saved, Shape, Work, format_shape, make, signature
from archcalc.ops.shaping import Input
from archcalc.ops.synonyms import operator_hint

FAMILIES = (
    convolution, normalization, feature_normalization, activation, gated, pooling, upsampling, joins, shaping, layout,
    slicing, learned, sequence, products, attention, rotation, window_attention,
)  # fmt: skip

__all__ = [
    "FAMILIES", "KINDS", "REGISTRY", "Input", "Operator", "Saved", "Shape", "Work",
    "format_shape", "make", "operator_hint", "signature",
]  # fmt: skip
