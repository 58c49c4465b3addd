"""What PyTorch's FLOP counter leaves out: it knows convolutions and matrix products, and nothing of the rest."""

from __future__ import annotations

from collections.abc import Iterable

from archcalc.analysis import Layer


def uncounted(layers: Iterable[Layer]) -> dict[str, int]:
    """FLOPs by operator beyond the two of each multiply-accumulate, most first: of a convolution its biases."""
    counts: dict[str, int] = {}
    for layer in layers:
        counts[layer.node.op.name] = counts.get(layer.node.op.name, 0) + layer.flops - 2 * layer.macs
    return dict(sorted(((name, count) for name, count in counts.items() if count), key=lambda item: -item[1]))
