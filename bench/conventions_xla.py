"""Compare the convention `xla` with what XLA says of each convolution and linear layer of torchvision's networks.

    python bench/conventions_xla.py [NETWORK]...

It needs jax (extra `bench`). Every distinct layer is lowered on its own, without its bias, and is never run. Exit code
1: a layer differs.
"""

from __future__ import annotations

import argparse
import sys
from typing import Any

import jax
import jax.numpy as jnp

from archcalc import load
from archcalc.analysis.conventions import CONVENTIONS
from archcalc.catalog import networks
from archcalc.ops.base import Operator, values

LETTERS = {1: ("NCW", "OIW"), 2: ("NCHW", "OIHW"), 3: ("NCDHW", "OIDHW")}


def of_xla(op: Any, x: Any) -> int:
    """Return the FLOPs that XLA counts of a layer's product."""
    if op.name == "linear":
        rows, columns = sized(values(x) // x.last, x.last), sized(x.last, op.out_features)
        return cost(lambda a, b: a @ b, rows, columns)
    image, groups = sized(1, *x), op.groups
    data, weight = LETTERS[len(x.lengths)]
    if op.name == "conv_transpose":
        kernel = sized(op.out_channels, x.channels // groups, *op.kernel_size)
        spans = [d * (k - 1) for k, d in zip(op.kernel_size, op.dilation, strict=True)]
        more = zip(spans, op.padding, op.output_padding, strict=True)
        options = {
            "window_strides": (1,) * len(spans), "lhs_dilation": op.stride, "rhs_dilation": op.dilation,
            "padding": [(span - p, span - p + extra) for span, p, extra in more],
        }  # fmt: skip
    else:
        kernel = sized(op.out_channels, x.channels // groups, *op.kernel_size)
        options = {"window_strides": op.stride, "padding": op.margins(x), "rhs_dilation": op.dilation}
    options |= {"feature_group_count": groups, "dimension_numbers": (data, weight, data)}
    return cost(lambda a, b: jax.lax.conv_general_dilated(a, b, **options), image, kernel)


def sized(*sizes: int) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(sizes, jnp.float32)


def cost(function: Any, *arguments: Any) -> int:
    return int(jax.jit(function).lower(*arguments).cost_analysis()["flops"])


def layers(names: list[str]) -> dict[tuple[Operator, Any], tuple[str, Any]]:
    """Return each distinct convolution and linear layer, with the first network that has it, and its output."""
    found: dict[tuple[Operator, Any], tuple[str, Any]] = {}
    for name in names:
        for node in load(name).nodes:
            if node.op.name in ("conv", "conv_transpose", "linear") and not getattr(node.op, "connections", None):
                bare = node.op.but(bias=False)  # type: ignore[arg-type]
                found.setdefault((bare, node.x), (f"{name} {node.name}", node.output))
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NETWORK")
    options = parser.parse_args()
    names = options.names or [name for name in networks() if name.startswith("torchvision/")]
    wrong, found = 0, layers(names)
    for (op, x), (where, y) in found.items():
        own = sum((CONVENTIONS["xla"].parts(op, x, y, 1) or {}).values())
        theirs = of_xla(op, x)
        if own != theirs:
            wrong += 1
            print(f"{where}: {op} on {x.text}: archcalc {own:,}, XLA {theirs:,}")
    print(f"{len(found):,} distinct layers, {wrong} differ")
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
