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
from archcalc.ops.reads import EACH, Axis, Rearranged, Whole
from archcalc.ops.upsampling import LINEAR
from support.reference_operators import REFERENCES, Run, conv_frame, framed, of_rank

CHANNELS = 2


class Seen(NamedTuple):
    """The part of the image that a position sees, or None, and whether it reads anything outside on the way."""

    span: tuple[int, int] | None
    cut: bool


NOTHING = Seen(None, cut=False)


def places(shape: Shape, axis: int) -> int:
    """Return the number of positions on an axis of the image; tokens are counted on each."""
    return shape.lengths[axis if len(shape.lengths) > 1 else 0] if shape.lengths else 1


def dim(shape: Shape, axis: int) -> int:
    """Return the dimension of PyTorch's tensor whose positions lie on an axis of the image."""
    letters = [letter for letter in shape.axes if letter != "C"]
    return shape.dim(letters[axis if len(letters) > 1 else 0])


def walk(graph: Graph, axis: int, local: bool = False) -> list[list[Seen]]:
    """Return for each layer what each position on an axis sees; `local`: not through reads of a whole axis."""
    layers: list[list[Seen]] = [[Seen((i, i), cut=False) for i in range(places(graph.input, axis))]]
    for node in graph.nodes[1:]:
        inputs, length = [layers[i] for i in node.inputs], places(node.output, axis)
        if node.op.name == "crop_like" or getattr(node.op, "axis", "C") != "C":
            layers.append(apart(node, inputs, axis, length))
        elif isinstance(window(node, axis), Rearranged):
            layers.append([together([inputs[0][j] for j in found]) for found in rearranged(node, axis)])
        elif node.op.joins:
            alone = [NOTHING] if local and length > 1 else None
            spread = [(alone or one) * length if len(one) == 1 else one for one in inputs]
            layers.append([together(list(column)) for column in zip(*spread, strict=True)])
        else:
            reads = window(node, axis)
            layers.append([read(inputs[0], reads, i, local) for i in range(length)])
    return layers


def apart(node: Node, inputs: list[list[Seen]], axis: int, length: int) -> list[Seen]:
    """Return what the positions see of a crop, a slice, or branches that lie one behind the other."""
    if not node.op.joins:
        return [read(inputs[0], window(node, axis), i, local=False) for i in range(length)]
    rules = node.op.windows(node.x)
    known = [(layer, of_branch[axis]) for layer, of_branch in zip(inputs, rules, strict=True) if of_branch]
    return [together([read(layer, rule, i, local=False) for layer, rule in known]) for i in range(length)]


def rearranged(node: Node, axis: int) -> list[list[int]]:
    """Return which input positions each output position reads, by moving their numbers as the operator moves values."""
    sizes = [1] * len(node.x)
    sizes[dim(node.x, axis) - 1] = -1
    numbers = torch.arange(places(node.x, axis)).reshape(sizes).expand(*node.x)[None]
    moved = REFERENCES[node.op.name](Run({}, False, node.x.axes), numbers, **_given(node))
    of = dim(node.output, axis)
    return [sorted(set(moved.select(of, i).flatten().tolist())) for i in range(places(node.output, axis))]


def _given(node: Node) -> dict[str, Any]:
    return {key: value for key, value in vars(node.op).items() if value is not None}


def window(node: Node, axis: int) -> Axis:
    """Return what an operator reads on an axis; a vector has one position."""
    if node.op.joins:
        return EACH
    rules = node.op.window(node.x) or (EACH,) * (axis + 1)
    return rules[axis if len(rules) > 1 else 0]


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
        self.nodes = graph.nodes
        for node in graph.nodes:
            self.values.append(self.run(node, [self.values[i] for i in node.inputs]) if node.inputs else self.image)

    def draw(self, *shape: int) -> Tensor:
        return 0.5 + torch.rand(*shape, generator=self.random, dtype=torch.float64)

    def support(self, layer: int, axis: int, i: int) -> tuple[int, int] | None:
        value = self.values[layer]
        row = value.select(dim(self.nodes[layer].output, axis), i) if value.dim() > 2 else value
        if not row.requires_grad:
            return None
        (gradient,) = torch.autograd.grad((row * self.draw(*row.shape)).sum(), self.image, retain_graph=True)
        rows = (gradient[0].transpose(0, axis + 1).flatten(1).sum(1) > 0).nonzero().flatten().tolist()
        return (rows[0], rows[-1]) if rows else None

    def run(self, node: Node, inputs: list[Tensor]) -> Tensor:
        x, op = inputs[0], node.op
        if op.joins:
            return self.join(node, inputs)
        if op.name in MOVES:
            return REFERENCES[op.name](Run({}, False, node.x.axes), x, **_given(node)).contiguous()
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
        scales = op.scale_factor or [Fraction(m, n) for n, m in zip(x.shape[2:], output[1:], strict=True)]
        for axis, (n, m, scale) in enumerate(zip(x.shape[2:], output[1:], scales, strict=True)):
            rows = torch.tensor([weights(op, n, m, Fraction(scale), i) for i in range(m)], dtype=torch.float64)
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
        if getattr(op, "padding_mode", "zeros") != "zeros" or isinstance(getattr(op, "padding", 0), str):
            pairs = conv_frame(x.shape[2:], op.kernel_size, op.stride, op.padding, op.dilation)
            x = framed(x, pairs, "constant" if op.padding_mode == "zeros" else op.padding_mode)
            op = op.but(padding=(0,) * len(pairs), padding_mode="zeros")
        kernel, stride = op.kernel_size, op.stride or op.kernel_size
        dilation = getattr(op, "dilation", (1,) * len(kernel))
        padding = op.padding
        ends = [(m - 1) * s + d * (k - 1) + 1 for m, s, d, k in zip(output[1:], stride, dilation, kernel, strict=True)]
        after = [max(0, end - p - n) for end, p, n in zip(ends, padding, x.shape[2:], strict=True)]
        margins = [margin for axis in zip(padding, after, strict=True) for margin in axis[::-1]]
        x = functional.pad(x, margins[::-1])
        weight = self.draw(x.shape[1] if shared else op.out_channels, 1 if shared else x.shape[1], *kernel)
        weight = weight / weight[0].numel()
        groups = x.shape[1] if shared else 1
        y = of_rank("conv{}d", x)(x, weight, self.draw(len(weight)), stride, 0, dilation, groups)
        return y[(..., *[slice(length) for length in output[1:]])]

    def join(self, node: Node, inputs: list[Tensor]) -> Tensor:
        name, total = node.op.name, inputs[0]
        if name in ("concat", "crop_like"):
            return REFERENCES[name](Run({}, False, node.x[0].axes), *inputs, **_given(node))
        for value in inputs[1:]:
            total = total * value if name == "multiply" else total + value
        return total


def weights(op: Any, n: int, m: int, scale: Fraction, i: int) -> list[float]:
    """Return how much of each of n positions is in the i-th of m; of cubic interpolation without negative ones."""
    if op.mode == "nearest":
        return [float(j == min(int(i / scale), n - 1)) for j in range(n)]
    aligned = Fraction(i * (n - 1), max(m - 1, 1))
    place = aligned if op.align_corners else Fraction(2 * i + 1, 2) / scale - Fraction(1, 2)
    if op.mode == "bicubic" and place.denominator > 1:
        near = [min(max(place.__floor__() + k, 0), n - 1) for k in (-1, 0, 1, 2)]
        return [float(j in near) for j in range(n)]
    place = min(max(place, Fraction(0)), Fraction(n - 1))
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
        shapes = tuple(self.nodes[i].output for i in inputs)
        op = make(REGISTRY[name], (), keywords, len(shapes[0].lengths) if shapes else self.axes)
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
        if self.random.random() < 0.15:
            return self.along(ways)
        target = self.nodes[self.random.choice(ways)].output
        ways = [self.fit(way, target) for way in ways]
        if name == "concat":
            joined = self.add("concat", tuple(ways))
            return self.add("conv", (joined,), out_channels=CHANNELS, kernel_size=1)
        return self.add(name, tuple(ways))

    def along(self, ways: list[int]) -> int:
        """Join branches one behind the other, or crop the first one."""
        axis = self.random.choice([letter for letter in self.nodes[0].output.axes if letter != "C"])
        first = self.nodes[ways[0]].output
        if all(n > 4 for n in first.lengths) and self.random.random() < 0.5:
            return self.add("crop_like", (ways[0], self.add("pad", (ways[0],), padding=-1)))
        ways = [self.fit(way, first) for way in ways]
        if first.size(axis) * len(ways) > self.most * 3 // 2:
            return ways[0]
        return self.add("concat", tuple(ways), axis=axis)

    def fit(self, x: int, target: Shape) -> int:
        if self.nodes[x].output.lengths == target.lengths:
            return x
        if self.random.random() < 0.6:
            return self.add("upsample", (x,), size=target.lengths, mode=self.mode())
        return self.add("adaptive_avgpool", (x,), output_size=target.lengths)

    def mode(self) -> str:
        return self.random.choice(["nearest", LINEAR[self.axes], *["bicubic"] * (self.axes == 2)])

    def layer(self, x: int) -> int:
        for _ in range(9):
            name, before = self.random.choice(LAYERS if self.random.random() < 0.9 else RARE), len(self.nodes)
            keywords = getattr(self, f"draw_{name}", dict)()
            if name == "layernorm":
                start = self.random.choice([0, 1, -1]) if self.axes > 1 else self.random.randint(0, 1)
                keywords = {"normalized_shape": tuple(self.nodes[x].output)[start:]}
            try:
                made = self.detour(name, x) if name in DETOURS else self.add(name, (x,), **keywords)
            except ValueError:
                del self.nodes[before:]
                continue
            if min(self.nodes[made].output.lengths) >= 3 and max(self.nodes[made].output.lengths) <= self.most * 3 // 2:
                return made
            del self.nodes[before:]
        return self.add("sigmoid", (x,))

    def detour(self, name: str, x: int) -> int:
        """Go over other axes and back, or over other channels. Raises ValueError if that does not fit."""
        lengths = self.nodes[x].output.lengths
        if name == "tokens":
            by_token = self.add("transpose", (self.add("roll", (self.add("tokens", (x,)),), shifts=(5,)),))
            if self.axes == 1:
                return by_token
            *others, last = self.random.sample(lengths, self.axes) if self.random.random() < 0.3 else lengths
            rest = dict(zip("DHW"[-self.axes :], (*others, last), strict=True))
            return self.add("reshape", (by_token,), C=CHANNELS, **rest)
        if name == "channels_last":
            first, last = {1: ("CL", "CL"), 2: ("CHW", "HWC"), 3: ("CDHW", "DHWC")}[self.axes]
            inner = self.add("permute", (x,), axes=last)
            return self.add("permute", (self.add("pad", (inner,), padding=self.sizes(0, 2)),), axes=first)
        if name == "pixel_shuffle":
            wide = self.add("conv", (x,), out_channels=4 * CHANNELS, kernel_size=1)
            return self.add("pixel_shuffle", (wide,), upscale_factor=2)
        inner = self.add("pixel_unshuffle", (x,), downscale_factor=2)
        return self.add("conv", (inner,), out_channels=CHANNELS, kernel_size=1)

    def sizes(self, least: int, most: int) -> tuple[int, ...]:
        one, alike = self.random.randint(least, most), self.random.random() < 0.5
        return (one, *[one if alike else self.random.randint(least, most) for _ in range(self.axes - 1)])

    def draw_conv(self) -> dict[str, Any]:
        kernel, dilation = self.sizes(1, 5), self.sizes(1, 3)
        padding = tuple(self.random.randint(0, k // 2 * d) for k, d in zip(kernel, dilation, strict=True))
        stride = self.random.choice([1, 1, self.sizes(1, 3)])
        if self.random.random() < 0.25:
            mode = self.random.choice(["zeros", "reflect", "replicate", "circular"])
            padding = self.random.choice(["SAME", padding, *["causal"] * (self.axes == 1)])
            return {"out_channels": CHANNELS, "kernel_size": kernel, "stride": stride, "padding": padding,
                    "dilation": dilation, "padding_mode": mode}  # fmt: skip
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
        size = {"scale_factor": self.random.choice([0.5, 1.5, 2.5])} if self.random.random() < 0.2 else size
        mode = self.mode()
        aligned = {"align_corners": True} if mode != "nearest" and self.random.random() < 0.3 else {}
        return size | {"mode": mode} | aligned

    def draw_pad(self) -> dict[str, Any]:
        mode = self.random.choice(["constant", "reflect", "replicate", "circular"])
        pairs = tuple((self.random.randint(0, 3), self.random.randint(0, 3)) for _ in range(self.axes))
        return {"padding": pairs, "mode": mode}

    def draw_roll(self) -> dict[str, Any]:
        return {"shifts": self.sizes(-5, 5)}

    def draw_slice(self) -> dict[str, Any]:
        axis = self.random.choice({1: "L", 2: "HW", 3: "DHW"}[self.axes])
        return {"start": self.random.randint(0, 3), "stop": -1, "step": self.random.randint(1, 2), "axis": axis}

    def draw_chunk(self) -> dict[str, Any]:
        axis = self.random.choice({1: "L", 2: "HW", 3: "DHW"}[self.axes])
        return {"chunks": 2, "index": self.random.randint(0, 1), "axis": axis}

    def draw_center_crop(self) -> dict[str, Any]:
        return {"size": self.sizes(3, 9)}

    def draw_repeat(self) -> dict[str, Any]:
        return {self.random.choice({1: "L", 2: "HW", 3: "DHW"}[self.axes]): 2}

    def draw_adaptive_avgpool(self) -> dict[str, Any]:
        return {"output_size": self.sizes(3, self.most // 3)}

    def draw_groupnorm(self) -> dict[str, Any]:
        return {"num_groups": 1}

    def draw_linear(self) -> dict[str, Any]:
        return {"out_features": self.random.randint(3, 9)}


LAYERS = ["conv"] * 5 + ["maxpool", "maxpool", "avgpool", "conv_transpose", "conv_transpose", "upsample", "upsample",
          "adaptive_avgpool", "sigmoid"]  # fmt: skip
LAYERS += ["pad", "roll", "slice", "chunk", "center_crop", "repeat"]
DETOURS = ["tokens", "channels_last", "pixel_shuffle", "pixel_unshuffle"]
RARE = ["groupnorm", "layernorm", "linear", *DETOURS]
MOVES = ["pad", "roll", "slice", "chunk", "center_crop", "repeat", "permute", "transpose", "tokens", "reshape"]
MOVES += ["pixel_shuffle", "pixel_unshuffle"]


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
        if axes is None:
            assert any(node.op.name == "reshape" for node in graph.nodes), f"unknown: {graph.nodes[layer].name}"
            counts["unknown"] += 1
            continue
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
    reads = window(node, axis)
    if node.op.name == "crop_like" or isinstance(reads, Rearranged):
        return True
    if node.op.joins or isinstance(reads, Whole):
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
