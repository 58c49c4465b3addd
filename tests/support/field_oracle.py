"""Receptive fields from first principles: random graphs, a walk over every position, and where gradients flow.

`walk` follows every position of every layer through what its operator reads, cut to the layer's length, without periods
and strides. `Probe` runs a graph in float64 with positive weights and biases, so that the gradient of a row is positive
exactly in the rows that it sees. In it a maximum is a sum over its window, statistics are a mean that is added, and
nonlinear functions are log(1 + x): they read the same positions and are never zero by chance. `test_reads.py` checks
that PyTorch's own operators read these positions.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from fractions import Fraction
from math import prod
from random import Random
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from archcalc import Graph, Node, analyze
from archcalc.analysis.field_figures import EXACT, VARIES, figures
from archcalc.analysis.receptive_field import Field
from archcalc.graph.graph import About
from archcalc.ops import REGISTRY, Shape, make
from archcalc.ops.pooling import LINEAR
from archcalc.ops.reads import EACH, Axis, Whole
from support.reference_operators import of_rank

CHANNELS = 2


class Seen(NamedTuple):
    """The part of the image that a position sees, or None, and whether it reads anything outside on the way."""

    span: tuple[int, int] | None
    cut: bool


NOTHING = Seen(None, cut=False)


def places(shape: Shape, axis: int) -> int:
    return shape.lengths[axis] if shape.lengths else 1


def walk(graph: Graph, axis: int, local: bool = False) -> list[list[Seen]]:
    """Return for each layer what each position on an axis sees; `local`: not through reads of a whole axis."""
    layers: list[list[Seen]] = [[Seen((i, i), cut=False) for i in range(places(graph.input, axis))]]
    for node in graph.nodes[1:]:
        inputs, length = [layers[i] for i in node.inputs], places(node.output, axis)
        if node.op.joins:
            alone = [NOTHING] if local and length > 1 else None
            spread = [(alone or one) * length if len(one) == 1 else one for one in inputs]
            layers.append([together(list(column)) for column in zip(*spread, strict=True)])
        else:
            reads = window(node, axis)
            layers.append([read(inputs[0], reads, i, local) for i in range(length)])
    return layers


def window(node: Node, axis: int) -> Axis:
    """Return what an operator reads on an axis; a vector has one position."""
    return (node.op.window(node.x) or (EACH,) * (axis + 1))[axis]


def read(layer: list[Seen], axis: Axis, i: int, local: bool) -> Seen:
    if isinstance(axis, Whole):
        everything = NOTHING if local else together(layer)
        return together([everything, layer[i]]) if axis.itself else everything
    reads = axis.at(i)
    seen = together([layer[j] for j in reads if 0 <= j < len(layer)])
    return seen._replace(cut=seen.cut or any(not 0 <= j < len(layer) for j in reads))


def together(seen: Sequence[Seen]) -> Seen:
    spans = [one.span for one in seen if one.span]
    hull = (min(first for first, _ in spans), max(last for _, last in spans)) if spans else None
    return Seen(hull, any(one.cut for one in seen))


def stated(field: Field, i: int) -> tuple[tuple[int, int] | None, tuple[int, int] | None]:
    """Return the ideal local field of position i, and the part of the image that it sees according to archcalc."""
    spans = [span for table in field.local if (span := table.at(i))]
    ideal = (min(first for first, _ in spans), max(last for _, last in spans)) if spans else None
    within = []
    if ideal and field.reach:
        within = [(max(ideal[0], field.reach[0]), min(ideal[1], field.reach[1]))]
        within = [span for span in within if span[0] <= span[1]]
    if field.fixed and (span := field.fixed.at(i)):
        within.append(span)
    seen = (min(first for first, _ in within), max(last for _, last in within)) if within else None
    return ideal, seen


class Probe:
    """Runs a graph once; `support` returns what a row or column of a layer sees."""

    def __init__(self, graph: Graph, seed: int, local: bool = False) -> None:
        self.local = local  # keeps constant what comes through reads of a whole axis
        self.random = torch.Generator().manual_seed(seed)
        self.image = self.draw(1, *graph.input).requires_grad_()
        self.values: list[Tensor] = []
        for node in graph.nodes:
            self.values.append(self.run(node, [self.values[i] for i in node.inputs]) if node.inputs else self.image)

    def draw(self, *shape: int) -> Tensor:
        return 0.5 + torch.rand(*shape, generator=self.random, dtype=torch.float64)

    def support(self, layer: int, axis: int, i: int) -> tuple[int, int] | None:
        value = self.values[layer]
        row = value.select(axis + 2, i) if value.dim() > 2 else value
        if not row.requires_grad:
            return None
        (gradient,) = torch.autograd.grad((row * self.draw(*row.shape)).sum(), self.image, retain_graph=True)
        rows = (gradient[0].transpose(0, axis + 1).flatten(1).sum(1) > 0).nonzero().flatten().tolist()
        return (rows[0], rows[-1]) if rows else None

    def run(self, node: Node, inputs: list[Tensor]) -> Tensor:
        x, op = inputs[0], node.op
        if op.joins:
            return self.join(op.name, inputs)
        run = getattr(self, f"run_{op.name}", None)
        return run(x, op, node.output) if run else x.log1p()

    def run_conv(self, x: Tensor, op: Any, output: Sequence[int]) -> Tensor:
        return self.window(x, op, output, shared=False)

    def run_maxpool(self, x: Tensor, op: Any, output: Sequence[int]) -> Tensor:
        return self.window(x, op, output, shared=True)

    run_avgpool = run_maxpool

    def run_conv_transpose(self, x: Tensor, op: Any, output: Sequence[int]) -> Tensor:
        weight = self.draw(CHANNELS, CHANNELS, *op.kernel_size) / (CHANNELS * prod(op.kernel_size))
        geometry = op.stride, op.padding, op.output_padding, 1, op.dilation
        return of_rank("conv_transpose{}d", x)(x, weight, self.draw(CHANNELS), *geometry)

    def run_upsample(self, x: Tensor, op: Any, output: Sequence[int]) -> Tensor:
        rule = nearest if op.mode == "nearest" else bilinear
        for axis, (n, m) in enumerate(zip(x.shape[2:], output[1:], strict=True)):
            rows = torch.tensor([rule(n, m, i) for i in range(m)], dtype=torch.float64)
            x = (x.transpose(axis + 2, -1) @ rows.T).transpose(axis + 2, -1)
        return x

    def run_adaptive_avgpool(self, x: Tensor, op: Any, output: Sequence[int]) -> Tensor:
        return of_rank("adaptive_avg_pool{}d", x)(x, output[1:])

    def run_global_avgpool(self, x: Tensor, op: Any, output: Sequence[int]) -> Tensor:
        return of_rank("adaptive_avg_pool{}d", x)(x.detach() if self.local else x, 1)

    def run_groupnorm(self, x: Tensor, op: Any, output: Sequence[int]) -> Tensor:
        return self.shifted(x, tuple(range(1, x.dim())))

    def run_layernorm(self, x: Tensor, op: Any, output: Sequence[int]) -> Tensor:
        return self.shifted(x, (-1,) if len(op.normalized_shape) == 1 else tuple(range(1, x.dim())))

    def shifted(self, x: Tensor, over: tuple[int, ...]) -> Tensor:
        mean = x.mean(over, keepdim=True)
        return x + (mean.detach() if self.local else mean)

    def run_linear(self, x: Tensor, op: Any, output: Sequence[int]) -> Tensor:
        return x @ self.draw(x.shape[-1], op.out_features) / x.shape[-1] + self.draw(op.out_features)

    def window(self, x: Tensor, op: Any, output: Sequence[int], shared: bool) -> Tensor:
        """Run a convolution with positive weights; for a pool they are equal in all channels. Ceil mode is padding."""
        kernel, stride = op.kernel_size, op.stride or op.kernel_size
        dilation = getattr(op, "dilation", (1,) * len(kernel))
        padding = op.padding
        ends = [(m - 1) * s + d * (k - 1) + 1 for m, s, d, k in zip(output[1:], stride, dilation, kernel, strict=True)]
        after = [max(0, end - p - n) for end, p, n in zip(ends, padding, x.shape[2:], strict=True)]
        margins = [margin for axis in zip(padding, after, strict=True) for margin in axis[::-1]]
        x = functional.pad(x, margins[::-1])
        weight = self.draw(x.shape[1] if shared else CHANNELS, 1 if shared else x.shape[1], *kernel)
        weight = weight / weight[0].numel()
        groups = x.shape[1] if shared else 1
        y = of_rank("conv{}d", x)(x, weight, self.draw(len(weight)), stride, 0, dilation, groups)
        return y[(..., *[slice(length) for length in output[1:]])]

    def join(self, name: str, inputs: list[Tensor]) -> Tensor:
        if name == "concat":
            return torch.cat(inputs, 1)
        total = inputs[0]
        for value in inputs[1:]:
            total = total * value if name == "multiply" else total + value
        return total


def nearest(n: int, m: int, i: int) -> list[float]:
    return [float(j == i * n // m) for j in range(n)]


def bilinear(n: int, m: int, i: int) -> list[float]:
    place = min(max((Fraction(2 * i + 1, 2) * n / m) - Fraction(1, 2), Fraction(0)), Fraction(n - 1))
    return [float(max(Fraction(0), 1 - abs(place - j))) for j in range(n)]


class Maker:
    """Draws graphs with branches, from operators that read more than their own position, on one to three axes."""

    def __init__(self, random: Random, most: int = 9, axes: int = 2) -> None:
        self.random, self.left, self.axes = random, most, axes
        self.most = {1: 128, 2: 64, 3: 24}[axes]
        lengths = [random.randint(self.most * 3 // 8, self.most) for _ in range(axes)]
        self.nodes: list[Node] = []
        self.add("input", (), shape=(CHANNELS, *lengths))

    def graph(self) -> Graph:
        result = 0
        while self.left > 0:
            result = self.step(result)
        return Graph("random", tuple(self.nodes), (result,), About())

    def add(self, name: str, inputs: tuple[int, ...], **keywords: Any) -> int:
        op = make(REGISTRY[name], (), keywords, self.axes)
        shapes = tuple(self.nodes[i].output for i in inputs)
        x = shapes if op.joins else shapes[0] if shapes else ()
        self.nodes.append(Node(f"n{len(self.nodes)}", op, inputs, x, op.output(x), None, side=False))
        return len(self.nodes) - 1

    def step(self, x: int) -> int:
        self.left -= 1
        kind = self.random.choice(["layer"] * 5 + ["join", "join", "gate"])
        if kind == "layer" or self.left <= 0:
            return self.layer(x)
        if kind == "gate":
            gate = self.add("global_avgpool", (self.branch(x),))
            gate = self.add("conv", (gate,), out_channels=self.nodes[x].output.channels, kernel_size=1)
            return self.add("multiply", (x, self.add("sigmoid", (gate,))))
        ways = [self.branch(x) for _ in range(self.random.randint(1, 2))]
        ways.insert(self.random.randint(0, len(ways)), self.branch(x) if self.random.random() < 0.3 else x)
        return self.join(ways)

    def branch(self, x: int) -> int:
        for _ in range(self.random.randint(1, 3)):
            x = self.step(x) if self.left > 2 and self.random.random() < 0.2 else self.layer(x)
        return x

    def join(self, ways: list[int]) -> int:
        name = self.random.choice(["add", "concat", "mean", "multiply"])
        target = self.nodes[self.random.choice(ways)].output
        ways = [self.fit(way, target) for way in ways]
        if name == "concat":
            joined = self.add("concat", tuple(ways))
            return self.add("conv", (joined,), out_channels=CHANNELS, kernel_size=1)
        return self.add(name, tuple(ways))

    def fit(self, x: int, target: Shape) -> int:
        if self.nodes[x].output.lengths == target.lengths:
            return x
        if self.random.random() < 0.6:
            return self.add("upsample", (x,), size=target.lengths, mode=self.mode())
        return self.add("adaptive_avgpool", (x,), output_size=target.lengths)

    def mode(self) -> str:
        return self.random.choice(["nearest", LINEAR[self.axes]])

    def layer(self, x: int) -> int:
        for _ in range(9):
            name = self.random.choice(LAYERS if self.random.random() < 0.96 else RARE)
            keywords = getattr(self, f"draw_{name}", dict)()
            if name == "layernorm":
                start = self.random.choice([0, 1, -1]) if self.axes > 1 else self.random.randint(0, 1)
                keywords = {"normalized_shape": tuple(self.nodes[x].output)[start:]}
            try:
                made = self.add(name, (x,), **keywords)
            except ValueError:
                continue
            if min(self.nodes[made].output.lengths) >= 3 and max(self.nodes[made].output.lengths) <= self.most * 3 // 2:
                return made
            self.nodes.pop()
        return self.add("sigmoid", (x,))

    def sizes(self, least: int, most: int) -> tuple[int, ...]:
        one, alike = self.random.randint(least, most), self.random.random() < 0.5
        return (one, *[one if alike else self.random.randint(least, most) for _ in range(self.axes - 1)])

    def draw_conv(self) -> dict[str, Any]:
        kernel, dilation = self.sizes(1, 5), self.sizes(1, 3)
        padding = tuple(self.random.randint(0, k // 2 * d) for k, d in zip(kernel, dilation, strict=True))
        stride = self.random.choice([1, 1, self.sizes(1, 3)])
        return {"out_channels": CHANNELS, "kernel_size": kernel, "stride": stride, "padding": padding,
                "dilation": dilation}  # fmt: skip

    def draw_maxpool(self) -> dict[str, Any]:
        return self.draw_avgpool() | {"dilation": self.random.choice([1, self.sizes(1, 2)])}

    def draw_avgpool(self) -> dict[str, Any]:
        kernel = self.sizes(1, 4)
        return {"kernel_size": kernel, "stride": self.sizes(1, 3), "padding": tuple(k // 2 for k in kernel),
                "ceil_mode": self.random.random() < 0.5}  # fmt: skip

    def draw_conv_transpose(self) -> dict[str, Any]:
        return {"out_channels": CHANNELS, "kernel_size": self.sizes(1, 4), "stride": self.sizes(1, 3),
                "padding": self.sizes(0, 1), "dilation": self.sizes(1, 3)}  # fmt: skip

    def draw_upsample(self) -> dict[str, Any]:
        size = {"scale_factor": self.sizes(1, 2)} if self.random.random() < 0.5 else {"size": self.sizes(5, self.most)}
        return size | {"mode": self.mode()}

    def draw_adaptive_avgpool(self) -> dict[str, Any]:
        return {"output_size": self.sizes(3, self.most // 3)}

    def draw_groupnorm(self) -> dict[str, Any]:
        return {"num_groups": 1}

    def draw_linear(self) -> dict[str, Any]:
        return {"out_features": self.random.randint(3, 9)}


LAYERS = ["conv"] * 5 + ["maxpool", "maxpool", "avgpool", "conv_transpose", "conv_transpose", "upsample", "upsample",
          "adaptive_avgpool", "sigmoid"]  # fmt: skip
RARE = ["groupnorm", "layernorm", "linear"]


def check(graph: Graph, seed: int, counts: Counter[str]) -> None:
    """Check the fields of a graph's layers against the walk and the gradients. Raises AssertionError."""
    random, report = Random(seed), analyze(graph)
    probe = Probe(graph, seed)
    every = range(len(graph.input.lengths))
    walked = [walk(graph, axis) for axis in every]
    mixed = any(node.op.name == "linear" for node in graph.nodes)  # it reads all of one axis only
    local = None if mixed else (Probe(graph, seed, local=True), [walk(graph, axis, local=True) for axis in every])
    blind = any(seen.span is None for layers in walked for layer in layers for seen in layer)
    skips = blind or any(_skips(node, axis) for node in graph.nodes[1:] for axis in every)
    for layer in {graph.result, random.randrange(len(graph.nodes))}:
        axes = report.layers[layer].field
        assert axes is not None
        for axis in every:
            for i in _some(places(graph.nodes[layer].output, axis), random):
                where = f"{graph.nodes[layer].name}, axis {axis}, position {i}, seed {seed}"
                seen, support = walked[axis][layer][i], probe.support(layer, axis, i)
                assert _within(support, stated(axes[axis], i)[1]), f"more than stated: {where}"
                if _agree(support, seen, blind, counts, where):
                    _held(axes[axis], i, seen, skips, counts, where)
                if local:
                    support, seen = local[0].support(layer, axis, i), local[1][axis][layer][i]
                    if _agree(support, seen, blind, counts, where) and not seen.cut:
                        assert stated(axes[axis], i)[0] == seen.span, f"local: {where}"
                        counts["local"] += seen.span is not None


def _agree(support: Any, seen: Seen, blind: bool, counts: Counter[str], where: str) -> bool:
    """Whether the walk and the gradients agree; they must unless some position of the graph sees nothing.

    Then it may read only padding or a gap on the other axis, and the walk, which separates the axes, finds too much.
    """
    assert _within(support, seen.span), f"more than the walk: {where}"
    assert support == seen.span or blind, f"less than the walk: {where}"
    counts["blind"] += support != seen.span
    return support == seen.span


def _held(field: Field, i: int, seen: Seen, skips: bool, counts: Counter[str], where: str) -> None:
    """Check the field of a position, and the figures, against the walk."""
    said, (ideal, within) = figures(field), stated(field, i)
    counts["positions"] += 1
    counts[said.status] += 1
    assert _within(seen.span, within), where
    assert said.seen_min <= _length(within) <= said.seen, where
    assert said.size_min <= max(_length(ideal), _length(within) if field.fixed else 0) <= said.size, where
    if said.status in (EXACT, VARIES):
        if not seen.cut:
            counts["reached"] += 1
            assert ideal == seen.span, f"not reached: {where}"
    elif within != seen.span:
        counts["a few rows too many"] += 1
        assert skips or seen.cut, f"too many rows: {where}"


def _some(length: int, random: Random) -> list[int]:
    """Return the ends, the middle and one more position."""
    return sorted({0, length - 1, length // 2, random.randrange(length)})


def _skips(node: Node, axis: int) -> bool:
    """Whether a layer does not read some of its input, or fills gaps."""
    if node.op.joins:
        return False
    reads = window(node, axis)
    if isinstance(reads, Whole):
        return False
    outputs = range(places(node.output, axis))
    touched = {j for i in outputs for j in reads.at(i)}
    return not set(range(places(node.x, axis))) <= touched or any(not reads.at(i) for i in outputs)


def _within(inner: tuple[int, int] | None, outer: tuple[int, int] | None) -> bool:
    return inner is None or (outer is not None and outer[0] <= inner[0] and inner[1] <= outer[1])


def _length(span: tuple[int, int] | None) -> int:
    return span[1] - span[0] + 1 if span else 0


def graphs(count: int, seed: int) -> Iterator[tuple[int, Graph]]:
    """Yield so many random graphs, each with the seed that draws it again: images, and every fifth a line or volume."""
    seeds = Random(seed)
    for i in range(count):
        own = seeds.getrandbits(32)
        yield own, Maker(Random(own), 4 + own % 8, {4: 1, 9: 3}.get(i % 10, 2)).graph()
