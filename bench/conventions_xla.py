"""Compare the convention `xla` with what XLA says of torchvision's networks: layer by layer, and as a whole.

    python bench/conventions_xla.py [NETWORK]... [--path FOLDER] [--record FILE]

It needs jax (extra `bench`). Every distinct convolution and linear layer is lowered on its own, without its bias, and
is never run. Then the networks of `WHOLE` are lowered as one function each, and each of their layers on its own: the
figures of the layers must add up to XLA's figure of the whole network, before it is optimized. XLA adds in float32, and
so does this. --record writes these beside what tools print. Exit code 1: a layer differs, or a sum.
"""

from __future__ import annotations

import argparse
import datetime
import json
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from archcalc import analyze, load
from archcalc.analysis.conventions import CONVENTIONS
from archcalc.catalog import networks
from archcalc.graph.graph import Node
from archcalc.ops.base import Operator, values

LETTERS = {1: ("NCW", "OIW"), 2: ("NCHW", "OIHW"), 3: ("NCDHW", "OIDHW")}
WHOLE = (
    "alexnet", "vgg16_bn", "resnet50", "resnext50_32x4d", "densenet121", "squeezenet1_1", "mobilenet_v2", "mnasnet1_0"
)  # fmt: skip
KINDS = {
    "conv": "products", "linear": "products", "batchnorm": "batch normalization", "add": "sums of branches",
    "relu": "activations", "relu6": "activations", "maxpool": "max pooling", "avgpool": "average pooling",
    "global_avgpool": "average pooling",
}  # fmt: skip
LATER: dict[str, Callable[[int, int], tuple[int, ...]]] = {  # what instructions after the first one count
    "batchnorm": lambda channels, count: (channels, channels, count, count),
    "avgpool": lambda _, count: (count,),
    "relu6": lambda _, count: (count,),
    "global_avgpool": lambda channels, _: (channels,),
}


def layer(op: Any, x: Any, y: Any, inputs: list[Any], weights: dict[str, Any]) -> Any:
    """Return an operator's output for a batch of images, as code of JAX writes it (batch normalization: Flax)."""
    import jax
    import jax.numpy as jnp

    image = inputs[0]
    if op.name in ("conv", "conv_transpose"):
        made = convolution(op, x, image, weights["weight"])
        return made + weights["bias"].reshape(-1, *[1] * len(y.lengths)) if op.bias else made
    if op.name == "linear":
        made = image @ weights["weight"].T
        return made + weights["bias"] if op.bias else made
    if op.name == "batchnorm":
        mean, var, scale, bias = (weights[name].reshape(-1, 1, 1) for name in STATISTICS)
        return (image - mean) * (jax.lax.rsqrt(var + op.eps) * scale) + bias
    if op.name in ("maxpool", "avgpool"):
        return pooled(op, x, y, image)
    simple = {
        "relu": lambda: jnp.maximum(image, 0), "relu6": lambda: jnp.minimum(jnp.maximum(image, 0), 6),
        "add": lambda: sum(inputs[1:], image), "concat": lambda: jnp.concatenate(inputs, 1),
        "flatten": lambda: image.reshape(1, -1), "global_avgpool": lambda: image.mean((2, 3), keepdims=True),
    }  # fmt: skip
    if op.name in simple:
        return simple[op.name]().reshape(1, *y)
    if tuple(x) != tuple(y):
        raise NotImplementedError(op)
    return image  # dropout, and adaptive pools that keep each position


STATISTICS = ("running_mean", "running_var", "weight", "bias")


def convolution(op: Any, x: Any, image: Any, kernel: Any) -> Any:
    import jax

    data, weight = LETTERS[len(x.lengths)]
    options: dict[str, Any] = {"window_strides": op.stride, "rhs_dilation": op.dilation}
    if op.name == "conv_transpose":
        spans = [d * (k - 1) for k, d in zip(op.kernel_size, op.dilation, strict=True)]
        more = zip(spans, op.padding, op.output_padding, strict=True)
        options |= {"window_strides": (1,) * len(spans), "lhs_dilation": op.stride}
        options["padding"] = [(span - p, span - p + extra) for span, p, extra in more]
        kernel = kernel.reshape(op.out_channels, -1, *op.kernel_size)
    else:
        options["padding"] = op.margins(x)
    numbers = {"feature_group_count": op.groups, "dimension_numbers": (data, weight, data)}
    return jax.lax.conv_general_dilated(image, kernel, **options, **numbers)


def pooled(op: Any, x: Any, y: Any, image: Any) -> Any:
    import jax
    import jax.numpy as jnp

    steps = op.stride or op.kernel_size
    axes = zip(x.lengths, y.lengths, op.kernel_size, steps, op.padding, strict=True)
    margins = [(0, 0), (0, 0), *[(p, max((out - 1) * s + k - n - p, 0)) for n, out, k, s, p in axes]]
    window, strides = (1, 1, *op.kernel_size), (1, 1, *steps)
    start, reduce = (-jnp.inf, jax.lax.max) if op.name == "maxpool" else (0.0, jax.lax.add)
    made = jax.lax.reduce_window(image, start, reduce, window, strides, margins)
    return made if op.name == "maxpool" else made / values(op.kernel_size)


def sized(*sizes: int) -> Any:
    import jax

    return jax.ShapeDtypeStruct(sizes, "float32")


def cost(function: Any, *arguments: Any) -> int:
    import jax

    return int((jax.jit(function).lower(*arguments).cost_analysis() or {}).get("flops", 0))


def tensors(op: Any, x: Any) -> dict[str, Any]:
    return {name: sized(*sizes) for name, sizes in {**op.weights(x), **op.buffers(x)}.items()}


def alone(op: Any, x: Any, y: Any, shapes: list[Any]) -> int:
    """Return the FLOPs that XLA counts of a layer."""
    inputs = [sized(1, *shape) for shape in shapes]
    return cost(lambda given, weights: layer(op, x, y, given, weights), inputs, tensors(op, x))


def costs(nodes: list[Node]) -> list[tuple[str, int]]:
    """Return XLA's FLOPs of each layer on its own, as its instructions run, with the kind of layer."""
    found, known = list[tuple[str, int]](), dict[Any, int]()
    for node in nodes[1:]:
        op, count, kind = node.op, values(node.output), KINDS.get(node.op.name, node.op.name)
        shapes = [nodes[at].output for at in node.inputs]
        bare = op.but(bias=False) if kind == "products" else op  # type: ignore[arg-type]
        key = (bare, tuple(shapes))
        if key not in known:
            known[key] = alone(bare, node.x, node.output, shapes)
        if kind == "products":
            found += [(kind, known[key]), ("biases", count * op.bias)]  # type: ignore[attr-defined]
        else:
            rest = LATER.get(op.name, lambda *_: ())(node.output[0], count)
            found += [(kind, known[key] - sum(rest)), *[(kind, each) for each in rest]]
    return found


def whole(nodes: list[Node]) -> int:
    """Return XLA's FLOPs of a network as one function, not optimized."""

    def run(image: Any, weights: list[dict[str, Any]]) -> Any:
        made = [image]
        for node, own in zip(nodes[1:], weights, strict=True):
            made.append(layer(node.op, node.x, node.output, [made[at] for at in node.inputs], own))
        return made[-1]

    return cost(run, sized(1, *nodes[0].output), [tensors(node.op, node.x) for node in nodes[1:]])


def layers(names: list[str]) -> dict[tuple[Operator, Any], tuple[str, Any]]:
    """Return each distinct convolution and linear layer, with the first network that has it, and its output."""
    found: dict[tuple[Operator, Any], tuple[str, Any]] = {}
    for name in names:
        for node in load(name).nodes:
            if node.op.name in ("conv", "conv_transpose", "linear") and not getattr(node.op, "connections", None):
                bare = node.op.but(bias=False)  # type: ignore[arg-type]
                found.setdefault((bare, node.x), (f"{name} {node.name}", node.output))
    return found


def wrong_layers(names: list[str]) -> int:
    """Print the layers of which XLA says another figure, but for its rounding to float32. Return how many."""
    import numpy as np

    wrong, rounded, found = 0, 0, layers(names)
    for (op, x), (where, y) in found.items():
        own = sum((CONVENTIONS["xla"].parts(op, x, y, 1) or {}).values())
        theirs = alone(op, x, y, [x])
        rounded += own != theirs == int(np.float32(own))
        if theirs not in (own, int(np.float32(own))):
            wrong += 1
            print(f"{where}: {op} on {x.text}: archcalc {own:,}, XLA {theirs:,}")
    print(f"{len(found):,} distinct layers, {wrong} differ, {rounded} are equal but rounded to float32 by XLA")
    return wrong


def wholes(names: list[str], record: dict[str, Any]) -> int:
    """Decompose XLA's figure of networks. Return how many do not add up."""
    import numpy as np

    wrong = 0
    for name in names:
        graph = load(name).without_sides()
        by_layer, total, parts = costs(graph.nodes), whole(graph.nodes), Counter[str]()
        in_float32 = np.float32(0)
        for kind, count in by_layer:
            parts[kind] += count
            in_float32 += np.float32(count)
        record[name] = {"whole": total, "parts": +parts}
        same = int(in_float32) == total and parts["products"] == analyze(graph, flops="xla").totals.flops
        wrong += not same
        sums = " + ".join(f"{kind} {count:,}" for kind, count in (+parts).items())
        exact = f"= {parts.total():,}, in float32 {int(in_float32):,}"
        print(f"{name}: {sums} {exact}; XLA's whole network {total:,}{'' if same else ' DIFFERS'}")
    return wrong


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NETWORK")
    parser.add_argument("--path", default="", help="a folder to import jax from")
    parser.add_argument("--record", type=Path, help="write the whole networks into this record of bench/conventions.py")
    options = parser.parse_args()
    sys.path[:0] = filter(None, [options.path])
    import jax

    found: dict[str, Any] = {}
    wrong = wrong_layers(options.names or [name for name in networks() if name.startswith("torchvision/")])
    wrong += wholes(options.names or [f"torchvision/{name}" for name in WHOLE], found)
    if options.record:
        today = datetime.datetime.now(datetime.timezone.utc).date().isoformat()
        record = json.loads(options.record.read_text())
        record["tools"]["xla"] = {"version": f"jax {jax.__version__}", "date": today}
        options.record.write_text(json.dumps(record | {"xla": found}, indent=0, sort_keys=True) + "\n")
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
