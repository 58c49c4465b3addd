"""The modules of YOLO models by Ultralytics' names: what each row becomes in a spec, with its channels."""

from __future__ import annotations

from collections.abc import Callable
from math import ceil, gcd
from typing import Any, NamedTuple

from archcalc.errors import Place, SpecError, shorten
from archcalc.importers.spec_writer import SpecWriter

DECODED = "What decodes boxes from the outputs of the head is not counted."
FROZEN = "Of the params, the 16 of `dfl` are fixed numbers, which are not trained."
MAX_REPEATS, MAX_SIZE = 1_000, 2**20


class Row(NamedTuple):
    """A row of backbone or head: its number, what it reads, its repeats, its module and arguments, and its place."""

    number: int
    reads: list[int]
    repeats: int
    module: str
    args: list[Any]
    place: Place

    def refuse(self, message: str) -> Any:
        raise SpecError(f"row {self.number}, {self.module}: {message}", self.place)

    def arg(self, index: int, default: Any, kind: type = int) -> Any:
        """Return an argument. Raises SpecError unless it is of this kind, and a number is not too large."""
        value = self.args[index] if index < len(self.args) else None
        value = default if value is None else value
        sized = not isinstance(value, int | float) or abs(value) <= MAX_SIZE
        if not isinstance(value, (int, float) if kind is float else kind) or not sized:
            self.refuse(f"argument {index + 1}, {shorten(repr(value))}, is not a {kind.__name__} that fits")
        return value


class Scaled:
    """What modules need to know of a model: its keys, its scale, and whether it is one of v3 to v9 (`legacy`)."""

    def __init__(self, model: dict[str, Any], scale: str, width: float, most: float, writer: SpecWriter) -> None:
        self.model, self.scale, self.width, self.most, self.writer = model, scale, width, most, writer
        self.legacy = True

    def wide(self, channels: float) -> int:
        """Return channels times the width, as a multiple of 8."""
        return ceil(min(channels, self.most) * self.width / 8) * 8

    def collected(self, name: str, n: int, first: list[str], inner: str, kept: list[str]) -> str:
        """Return the name of a block that joins all of n results in a row, and what comes before."""
        steps = [f"    - m{i}: {inner}" for i in range(1, n + 1)]
        uses = [f"use({label})" for label in [*kept, *(f"m{i}" for i in range(1, n + 1))]]
        body = [*first, *steps, f"    - concat({', '.join(uses)})", "    - unit(channels)"]
        for header, lines in self.writer.blocks.items():
            if lines == body:
                return header.split("(")[0]
        names = {header.split("(")[0] for header in self.writer.blocks}
        made = next(f"{name}{i or ''}" for i in range(MAX_REPEATS + 1) if f"{name}{i or ''}" not in names)
        self.writer.blocks[f"{made}(channels, hidden=channels // 2)"] = body
        return made


Made = tuple[str, int]
SPLIT = ["    - cv1: unit(2 * hidden)", "    - first: chunk(2, 0)", "    - second: use(cv1) | chunk(2, 1)"]


def _conv(net: Scaled, row: Row, inputs: list[int], name: str = "unit") -> Made:
    channels, names = net.wide(row.arg(0, None)), ("kernel", "stride", "padding", "groups", "dilation")
    given = {word: row.arg(i, 1) for i, word in enumerate(names, 1) if row.args[i : i + 1] not in ([], [None])}
    words = [f"{word}={value}" for word, value in given.items() if value != 1 or word == "padding"]
    name = name if row.arg(6, True, bool) else "plain"
    return _repeated(row, f"{name}({', '.join([str(channels), *words])})"), channels


def _repeated(row: Row, call: str) -> str:
    return f"{row.repeats} * {call}" if row.repeats > 1 else call


def _depthwise(net: Scaled, row: Row, inputs: list[int]) -> Made:
    channels = net.wide(row.arg(0, None))
    call = f"unit({channels}, {row.arg(1, 1)}, {row.arg(2, 1)}, groups={gcd(inputs[0], channels)})"
    return _repeated(row, call), channels


def _half(row: Row, channels: int, index: int) -> int:
    """Return the hidden channels: the share e of them."""
    if row.arg(index - 1, 1) != 1:
        row.refuse("groups have no operator here")
    return int(channels * row.arg(index, 0.5, float))


def _c2f(net: Scaled, row: Row, inputs: list[int]) -> Made:
    channels = net.wide(row.arg(0, None))
    inner = "residual(hidden)" if row.arg(1, False, bool) else "straight(hidden)"
    name = net.collected("c2f", row.repeats, SPLIT, inner, ["first", "second"])
    return f"{name}({channels}, {_half(row, channels, 3)})", channels


def _c3k2(net: Scaled, row: Row, inputs: list[int]) -> Made:
    net.legacy = False
    channels = net.wide(row.arg(0, None))
    if len(row.args) > 3:
        row.refuse("more than channels, c3k and e have no operator here")
    nested = row.arg(1, False, bool) or net.scale in ("m", "l", "x")
    inner = "c3(hidden, 2, residual, first=3)" if nested else "residual(hidden, hidden // 2)"
    name = net.collected("c3k2", row.repeats, SPLIT, inner, ["first", "second"])
    return f"{name}({channels}, {int(channels * row.arg(2, 0.5, float))})", channels


def _a2c2f(net: Scaled, row: Row, inputs: list[int]) -> Made:
    net.legacy = False
    if len(row.args) > 3:
        row.refuse("more than channels, a2 and area have no operator here")
    channels, area, areas = net.wide(row.arg(0, None)), row.arg(1, True, bool), row.arg(2, 1)
    large, hidden = net.scale in ("l", "x"), channels // 2
    if area and areas not in (1, 4):
        row.refuse(f"{areas} areas have no operator here")
    width = int(hidden * (1.2 if large else 2.0))
    inner = f"2 * area_block(hidden, areas{areas}, {width})" if area else "c3(hidden, 2, residual, first=3)"
    name = net.collected("a2c2f", row.repeats, ["    - m0: unit(hidden)"], inner, ["m0"])
    call = f"{name}({channels})"
    return f"add(identity, {call} | scale_added({channels}))" if area and large else call, channels


def _c3(net: Scaled, row: Row, inputs: list[int], block: str = "c3", inner: str = "") -> Made:
    channels = net.wide(row.arg(0, None))
    inner = inner or ("residual" if row.arg(1, True, bool) else "straight")
    return f"{block}({channels}, {row.repeats}, {inner}, {_half(row, channels, 3)})", channels


def _bottleneck(net: Scaled, row: Row, inputs: list[int]) -> Made:
    channels = net.wide(row.arg(0, None))
    inner = "residual" if row.arg(1, True, bool) and inputs[0] == channels else "straight"
    return _repeated(row, f"{inner}({channels}, {channels // 2})"), channels


def _sppf(net: Scaled, row: Row, inputs: list[int]) -> Made:
    channels, kernel, n = net.wide(row.arg(0, None)), row.arg(1, 5), row.arg(2, 3)
    if not 0 < n <= MAX_REPEATS:
        row.refuse(f"it pools {n} times")
    first = "unit" if len(row.args) <= 2 else "plain"
    pool = f"maxpool({kernel}, stride=1, padding={kernel // 2})"
    name = net.collected("sppf", n, [f"    - m0: {first}(hidden)"], pool, ["m0"])
    call = f"{name}({channels}, {inputs[0] // 2})"
    added = row.arg(3, False, bool) and inputs[0] == channels
    return f"add(identity, {call})" if added else call, channels


def _spp(net: Scaled, row: Row, inputs: list[int]) -> Made:
    channels, kernels = net.wide(row.arg(0, None)), row.arg(1, [5, 9, 13], list)
    return f"spp({channels}, {[k for k in kernels if isinstance(k, int)]})", channels


def _upsample(net: Scaled, row: Row, inputs: list[int]) -> Made:
    if row.arg(0, 0) or row.arg(2, "nearest", str) != "nearest":
        row.refuse("only nearest neighbours by a factor have an operator here")
    return f"upsample(scale_factor={row.arg(1, 2)})", inputs[0]


def _concat(net: Scaled, row: Row, inputs: list[int]) -> Made:
    if row.arg(0, 1) != 1:
        row.refuse("only channels are concatenated here")
    return "concat", sum(inputs)


def _block(text: str, *defaults: int | None) -> Callable[[Scaled, Row, list[int]], Made]:
    """Translate to a call, in which `{0}` is the scaled width, `{1}` the second argument, and `{n}` the repeats.

    The arguments after the width have these defaults; None: it is required.
    """

    def translate(net: Scaled, row: Row, inputs: list[int]) -> Made:
        channels = net.wide(row.arg(0, None))
        made = text.format(channels, *(row.arg(i, default) for i, default in enumerate(defaults, 1)), n=row.repeats)
        return made if "{n}" in text else _repeated(row, made), channels

    return translate


def _cib(net: Scaled, row: Row, inputs: list[int]) -> Made:
    net.legacy = False
    channels = net.wide(row.arg(0, None))
    block, middle = row.arg(1, False, bool), "large_middle" if row.arg(2, False, bool) else "middle"
    inner = f"{'cib_residual' if block else 'cib'}(hidden, {middle})"
    return f"{net.collected('c2f_cib', row.repeats, SPLIT, inner, ['first', 'second'])}({channels})", channels


def _c2(net: Scaled, row: Row, inputs: list[int]) -> Made:
    channels, inner = net.wide(row.arg(0, None)), "residual" if row.arg(1, True, bool) else "straight"
    return f"c2({channels}, {row.repeats}, {inner}, {_half(row, channels, 3)})", channels


def _maxpool(net: Scaled, row: Row, inputs: list[int]) -> Made:
    kernel = row.arg(0, None)
    return f"maxpool({kernel}, stride={row.arg(1, kernel)}, padding={row.arg(2, 0)})", inputs[0]


def _zero_pad(net: Scaled, row: Row, inputs: list[int]) -> Made:
    sides = row.arg(0, None, list)
    if len(sides) != 4 or not all(isinstance(side, int) and 0 <= side <= MAX_SIZE for side in sides):
        row.refuse("it needs four numbers")
    left, right, top, bottom = sides
    return f"pad([[{top}, {bottom}], [{left}, {right}]])", inputs[0]


def _same(text: str) -> Callable[[Scaled, Row, list[int]], Made]:
    return lambda net, row, inputs: (text, inputs[0])


MODULES: dict[str, Callable[[Scaled, Row, list[int]], Made]] = {
    "Conv": _conv, "DWConv": _depthwise, "Concat": _concat, "nn.Upsample": _upsample, "nn.Identity": _same("identity"),
    "C2f": _c2f, "C3k2": _c3k2, "A2C2f": _a2c2f, "C2fCIB": _cib, "Bottleneck": _bottleneck, "C2": _c2, "C3": _c3,
    "BottleneckCSP": lambda net, row, inputs: _c3(net, row, inputs, "csp"),
    "C3Ghost": lambda net, row, inputs: _c3(net, row, inputs, inner="ghost_residual"),
    "GhostConv": lambda net, row, inputs: _conv(net, row, inputs, "ghost"),
    "SPPF": _sppf, "SPP": _spp, "SPPELAN": _block("spp_elan({}, {}, {})", None, 5),
    "nn.MaxPool2d": _maxpool, "nn.ZeroPad2d": _zero_pad,
    "nn.ConvTranspose2d": _block("conv_transpose({}, {}, stride={}, padding={})", None, 1, 0),
    "Focus": lambda net, row, inputs: (f"pixel_unshuffle(2) | {(made := _conv(net, row, inputs))[0]}", made[1]),
    "SCDown": _block("scdown({}, {}, {})", None, None), "ADown": _block("adown({})"), "AConv": _block("aconv({})"),
    "ELAN1": _block("elan({}, {}, {})", None, None), "RepNCSPELAN4": _block("rep_elan({}, {}, {}, {})", None, None, 1),
    "C2PSA": _block("c2psa({}, {n})"), "PSA": lambda net, row, inputs: (f"c2psa({inputs[0]}, 1)", inputs[0]),
}  # fmt: skip


def _detect(net: Scaled, row: Row, reads: list[str], inputs: list[int]) -> None:
    """Boxes as sums over 16 distances, which `dfl` weights, and scores."""
    if net.model.get("end2end") or net.model.get("reg_max", 16) != 16:
        row.refuse("end2end and reg_max have no operator here")
    anchors = row.args[1] if len(row.args) > 1 else None
    if anchors is not None and row.module == "Detect":
        each = len(anchors[0]) // 2 if isinstance(anchors, list) and isinstance(anchors[0], list) else row.arg(1, 3)
        for i, read in enumerate(reads):
            net.writer.step(f"detect{i}", [read], f"conv({each} * (classes + 5), 1)")
        net.writer.notes.append(DECODED)
        return
    box, score = max(inputs[0] // 4, 64), f"max({inputs[0]}, min(classes, 100))"
    kind = "level" if net.legacy else "light_level"
    boxes = [net.writer.step(f"box{i}", [read], f"level({box}, 64) | tokens") for i, read in enumerate(reads)]
    scores = [
        net.writer.step(f"score{i}", [read], f"{kind}({score}, classes) | tokens") for i, read in enumerate(reads)
    ]
    every = net.writer.step("boxes", boxes, "concat(axis='T')") if len(boxes) > 1 else boxes[0]
    net.writer.step("dfl", [every], "reshape(T=-1, C=16) | softmax", "linear(1, bias=False)")
    net.writer.step("scores", scores, *["concat(axis='T')"] * (len(scores) > 1), "sigmoid")
    net.writer.notes += [DECODED, FROZEN]


def _extra(net: Scaled, row: Row, reads: list[str], inputs: list[int], name: str, outputs: int) -> None:
    _detect(net, row, reads, inputs)
    width = max(inputs[0] // 4, outputs)
    made = [
        net.writer.step(f"{name}{i}", [read], f"level({width}, {outputs}) | tokens") for i, read in enumerate(reads)
    ]
    if len(made) > 1:
        net.writer.step(name, made, "concat(axis='T')")


def _segment(net: Scaled, row: Row, reads: list[str], inputs: list[int]) -> None:
    count = row.arg(1, 32)
    _extra(net, row, reads, inputs, "coefficients", count)
    net.writer.step("masks", reads[:1], f"masks({net.wide(row.arg(2, 256))}, {count})")


def _pose(net: Scaled, row: Row, reads: list[str], inputs: list[int]) -> None:
    shape = row.arg(1, [17, 3], list)
    if len(shape) != 2 or not all(isinstance(size, int) and 0 < size < MAX_REPEATS for size in shape):
        row.refuse("kpt_shape needs two numbers")
    _extra(net, row, reads, inputs, "keypoints", shape[0] * shape[1])


def _classify(net: Scaled, row: Row, reads: list[str], inputs: list[int]) -> None:
    if len(row.args) > 1:
        row.refuse("more than the number of classes has no operator here")
    net.writer.step("classify", reads, "unit(1280) | global_avgpool | flatten | linear(classes) | softmax")


HEADS: dict[str, Callable[[Scaled, Row, list[str], list[int]], None]] = {
    "Detect": _detect, "Segment": _segment, "Pose": _pose, "Classify": _classify,
    "OBB": lambda net, row, reads, inputs: _extra(net, row, reads, inputs, "angles", row.arg(1, 1)),
}  # fmt: skip
