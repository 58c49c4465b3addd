"""Translate a Darknet configuration (.cfg) to the text of a spec.

Sections are numbered from 0 after `[net]`, as Darknet prints them; `conv12` is the convolution in section 12.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeAlias

from archcalc.errors import Place, Source, SpecError, shorten
from archcalc.importers.spec_writer import SpecWriter, call

LAYERS = {  # activations, as src/activations.c defines them
    "linear": (), "leaky": ("leaky_relu(0.1)",), "relie": ("leaky_relu(0.01)",), "relu": ("relu",), "relu6": ("relu6",),
    "logistic": ("sigmoid",), "tanh": ("tanh",), "elu": ("elu",), "selu": ("selu",), "mish": ("mish",),
    "swish": ("silu",), "gelu": ("gelu('tanh')",), "hardtan": ("clamp(-1, 1)",),
}  # fmt: skip
HEADS = {"yolo", "region", "detection", "gaussian_yolo"}
REFUSED = {"antialiasing", "binary", "xnor", "share_index", "weights_type", "maxpool_depth", "tree", "extra", "flatten"}
REFUSED |= {"stream", "scale_wh", "assisted_excitation", "deform", "sway", "rotate", "stretch", "grad_centr"}
HEAD_NOTE = "The sections [{}] are outputs: what decodes their boxes and scores is not counted."
ORDER_NOTE = "[{}] is pixel_unshuffle: the same shapes and figures, with the values in another order."

Sizes: TypeAlias = tuple[int, int, int]


class Section(NamedTuple):
    """One section: its kind, its number, its options with their places, and its own place."""

    kind: str
    number: int
    options: dict[str, tuple[str, Place]]
    place: Place

    def error(self, message: str, option: str = "", hint: str = "") -> SpecError:
        """Return an error at an option, or at the section."""
        value, place = self.options.get(option, ("", self.place))
        return SpecError(f"[{self.kind}] {f'{option}={shorten(value)} ' if option else ''}{message}", place, hint)

    def text(self, option: str, default: str) -> str:
        """Return an option's text."""
        return self.options.get(option, (default, self.place))[0]

    def whole(self, option: str, default: int) -> int:
        """Return an option's whole number. Raises SpecError for anything else."""
        text = self.text(option, str(default))
        if not re.fullmatch(r"[+-]?\d{1,9}", text):
            raise self.error("is not a whole number of at most nine digits", option)
        return int(text)

    def positive(self, option: str, default: int) -> int:
        """Return an option's whole number. Raises SpecError if it is below 1."""
        if self.whole(option, default) < 1:
            raise self.error("must be at least 1", option)
        return self.whole(option, default)

    def real(self, option: str, default: float) -> str:
        """Return an option's number as a spec writes it. Raises SpecError for anything else."""
        text = self.text(option, repr(default))
        if not re.fullmatch(r"(\d{1,9}\.?\d{0,20}|\.\d{1,20})(e-?\d)?", text):
            raise self.error("is not a number", option)
        return repr(float(text))

    @property
    def normalized(self) -> bool:
        """Whether it has batch normalization, which has the biases."""
        return self.whole("batch_normalize", 0) > 0

    def activation(self, default: str) -> tuple[str, ...]:
        """Return its activation as layers. Raises SpecError for one without an operator."""
        name = self.text("activation", default)
        if name not in LAYERS:
            raise self.error("has no operator here", "activation", f"known: {', '.join(LAYERS)}")
        return LAYERS[name]

    def after(self, default: str) -> tuple[str, ...]:
        """Return batch normalization, if it has any, and the activation."""
        return ("batchnorm",) * self.normalized + self.activation(default)


def darknet_spec(text: str, file: str, name: str) -> str:
    """Translate a configuration, called `file` in errors, to a spec called `name`. Raises SpecError with its line."""
    return _Translation(_sections(Source(file, text.split("\n"))), SpecWriter(name, f"{file}, for Darknet")).text()


def _sections(source: Source) -> list[Section]:
    found: list[Section] = []
    for number, line in enumerate(source.lines, 1):
        stripped = "".join(line.split())
        place = Place(source, number, 1, max(1, len(line.rstrip())))
        if stripped.startswith("["):
            found.append(Section(stripped.strip("[]").lower(), len(found) - 1, {}, place))
        elif stripped and stripped[0] not in "#;":
            option, equals, value = stripped.partition("=")
            if not found or not equals:
                raise SpecError("neither a section nor option=value", place)
            found[-1].options[option] = (value.partition("#")[0], place)
    if not found or found[0].kind not in ("net", "network"):
        raise SpecError("the first section must be [net]", found[0].place if found else None)
    return found


class _Translation:
    def __init__(self, sections: list[Section], writer: SpecWriter) -> None:
        net, *self.sections = sections
        self.writer = writer
        channels, height, width = (net.whole(axis, 0) for axis in ("channels", "height", "width"))
        if min(channels, height, width) < 1:
            raise net.error("needs height, width and channels; other inputs are not translated")
        self.made: list[str] = []  # the label of each section's output
        self.last = writer.input("data", (channels, height, width))
        self.shapes = {self.last: (channels, height, width)}

    def text(self) -> str:
        for section in self.sections:
            if section.kind not in KINDS:
                raise section.error("has no operator here", hint="write the network as a spec of your own")
            for option in section.options:
                if option in REFUSED and section.text(option, "") not in ("0", "none"):
                    raise section.error("has no operator here", option)
            self.last = KINDS[section.kind](self, section)
            self.made.append(self.last)
        heads = dict.fromkeys(section.kind for section in self.sections if section.kind in HEADS)
        self.writer.notes += [HEAD_NOTE.format("], [".join(heads))] * bool(heads)
        orders = dict.fromkeys(section.kind for section in self.sections if section.kind.startswith("reorg"))
        self.writer.notes += [ORDER_NOTE.format("], [".join(orders))] * bool(orders)
        return self.writer.text()

    def step(self, section: Section, shape: Sizes, *layers: str, name: str = "", reads: tuple[str, ...] = ()) -> str:
        """Add a step that gives this shape. It reads the section before, or the steps `reads`."""
        if min(shape) < 1:
            raise section.error("leaves no output: its kernel is larger than its input")
        label = self.writer.step(f"{name or section.kind}{section.number}", reads or (self.last,), *layers)
        self.shapes[label] = shape
        return label

    def source(self, section: Section, option: str, text: str) -> str:
        """Return the label of another section, given by its number, or from here by a number below 0."""
        if not re.fullmatch(r"[+-]?\d{1,9}", text):
            raise section.error("is not a list of whole numbers", option)
        number = int(text) + section.number * (int(text) < 0)
        if number < 0:
            raise section.error("points before the first section", option)
        if number >= section.number:
            raise section.error(f"points to section {number}, which is not before this one", option)
        return self.made[number]

    def sources(self, section: Section, option: str) -> list[str]:
        texts = section.text(option, "").strip(",").split(",")
        return [self.source(section, option, text) for text in texts]

    def convolutional(self, section: Section) -> str:
        """Padding is as many times wider as the kernel is dilated; Darknet does not count the dilation in its size."""
        size, stride = section.whole("size", 1), section.positive("stride", 1)
        strides = section.positive("stride_y", stride), section.positive("stride_x", stride)
        dilation = section.positive("dilation", 1) if size > 1 else 1
        padding = size // 2 if section.whole("pad", 0) else section.whole("padding", 0)
        if dilation > 1 and 2 * padding != size - 1:
            raise section.error("needs padding that keeps the size", "dilation", "Darknet computes other sizes")
        words = {"stride": [*strides], "padding": padding * dilation, "dilation": dilation}
        words |= {"groups": section.whole("groups", 1)}
        _, *lengths = self.shapes[self.last]
        out = [(length + 2 * padding - size) // step + 1 for length, step in zip(lengths, strides, strict=True)]
        shape = section.positive("filters", 1), out[0], out[1]
        return self.step(section, shape, *_convolution("conv", section, words), name="conv")

    def deconvolutional(self, section: Section) -> str:
        size, stride = section.whole("size", 1), section.positive("stride", 1)
        padding = size // 2 if section.whole("pad", 0) else section.whole("padding", 0)
        height, width = ((length - 1) * stride + size - 2 * padding for length in self.shapes[self.last][1:])
        layers = _convolution("conv_transpose", section, {"stride": stride, "padding": padding})
        return self.step(section, (section.positive("filters", 1), height, width), *layers)

    def maxpool(self, section: Section) -> str:
        """Padding p, by default size − 1, has ⌊p/2⌋ places before and the rest after, which maxima ignore."""
        stride = section.positive("stride", 1)
        size = section.whole("size", stride)
        if any(section.whole(f"stride_{axis}", stride) != stride for axis in "xy"):
            raise section.error("has no operator here: its strides differ")
        padding = section.whole("padding", size - 1)
        before, uneven = divmod(padding, 2)
        channels, *lengths = self.shapes[self.last]
        height, width = ((length + padding - size) // stride + 1 for length in lengths)
        up = bool(uneven and stride == 2 and padding < size)  # one more place after the image is to round up
        more = ["pad([[0, 1], [0, 1]], mode='replicate')"] * (uneven and not up)
        pool = call("maxpool", size, stride=stride, padding=before, ceil_mode=up)
        return self.step(section, (channels, height, width), *more, pool)

    def avgpool(self, section: Section) -> str:
        return self.step(section, (self.shapes[self.last][0], 1, 1), "global_avgpool")

    def connected(self, section: Section) -> str:
        made = call("linear", features := section.positive("output", 1), bias=not section.normalized)
        return self.step(section, (features, 1, 1), "flatten", made, *section.after("logistic"))

    def route(self, section: Section) -> str:
        groups, group = section.positive("groups", 1), section.whole("group_id", 0)
        parts = []
        for i, taken in enumerate(self.sources(section, "layers")):
            channels, *lengths = self.shapes[taken]
            if channels % groups or not 0 <= group < groups:
                raise section.error(f"does not divide {channels} channels", "groups")
            shape = (channels // groups, lengths[0], lengths[1])
            part = (f"chunk({groups}, {group})",) * (groups > 1)
            parts.append(self.step(section, shape, *part, name=f"part{i}_of_route", reads=(taken,)))
        _, height, width = self.shapes[parts[0]]
        shape = (sum(self.shapes[part][0] for part in parts), height, width)
        return self.step(section, shape, *["concat"] * (len(parts) > 1), reads=tuple(parts))

    def shortcut(self, section: Section) -> str:
        """Of unlike shapes the first channels that both have are added, and of the larger one every n-th position."""
        label, activation = self.last, section.activation("linear")
        sources = self.sources(section, "from")
        for i, other in enumerate(sources):
            label = self.added(section, label, other, () if i < len(sources) - 1 else activation)
        return label

    def added(self, section: Section, label: str, other: str, activation: tuple[str, ...]) -> str:
        (channels, height, width), (others, tall, wide) = self.shapes[label], self.shapes[other]
        step = max(1, wide // width)
        if (tall, wide) != (step * height, step * width):
            raise section.error(f"adds {others}×{tall}×{wide} to {channels}×{height}×{width}", "from")
        both, shape = min(channels, others), (channels, height, width)
        taken = [f"slice(None, None, {step}, axis='{axis}')" for axis in "HW"] * (step > 1)
        taken += [f"slice(0, {both})"] * (others > both)
        other = self.step(section, (both, height, width), *taken, name="skip", reads=(other,))
        if channels == both:
            return self.step(section, shape, "add", *activation, reads=(label, other))
        first = self.step(section, (both, height, width), f"slice(0, {both})", name="first", reads=(label,))
        rest = (channels - both, height, width)
        rest_label = self.step(section, rest, f"slice({both}, None)", name="rest", reads=(label,))
        first = self.step(section, (both, height, width), "add", name="sum", reads=(first, other))
        return self.step(section, shape, "concat", *activation, reads=(first, rest_label))

    def scale_channels(self, section: Section) -> str:
        (source,) = self.sources(section, "from")
        reads = (source, self.last)
        return self.step(section, self.shapes[source], "multiply", *section.activation("linear"), reads=reads)

    def upsample(self, section: Section) -> str:
        stride = section.positive("stride", 2)
        if float(section.real("scale", 1)) != 1:
            raise section.error("has no operator here", "scale")
        channels, height, width = self.shapes[self.last]
        return self.step(section, (channels, height * stride, width * stride), f"upsample(scale_factor={stride})")

    def reorg(self, section: Section) -> str:
        stride, (channels, height, width) = section.positive("stride", 1), self.shapes[self.last]
        if section.whole("reverse", 0):
            shape = (channels // stride**2, height * stride, width * stride)
            return self.step(section, shape, f"pixel_shuffle({stride})")
        shape = (channels * stride**2, height // stride, width // stride)
        return self.step(section, shape, f"pixel_unshuffle({stride})")

    def softmax(self, section: Section) -> str:
        if section.whole("groups", 1) != 1:
            raise section.error("has no operator here", "groups")
        return self.same(section, *["flatten"] * (not section.whole("spatial", 0)), "softmax")

    def same(self, section: Section, *layers: str) -> str:
        """Add a step that keeps the shape."""
        return self.step(section, self.shapes[self.last], *layers)

    def dropout(self, section: Section) -> str:
        return self.same(section, f"dropout({section.real('probability', 0.5)})")

    def batchnorm(self, section: Section) -> str:
        return self.same(section, "batchnorm")

    def activation(self, section: Section) -> str:
        return self.same(section, *section.activation("linear"))

    def normalization(self, section: Section) -> str:
        """Its alpha multiplies the sum, PyTorch's the mean."""
        size = section.whole("size", 5)
        alpha = f"{size} * {section.real('alpha', 1e-4)}"
        return self.same(section, f"lrn({size}, {alpha}, {section.real('beta', 0.75)}, {section.real('kappa', 1)})")

    def crop(self, section: Section) -> str:
        if not section.whole("noadjust", 0):
            self.writer.notes.append("[crop] also scales the values of the image, which is not counted.")
        height, width = section.whole("crop_height", 1), section.whole("crop_width", 1)
        return self.step(section, (self.shapes[self.last][0], height, width), f"center_crop([{height}, {width}])")

    def cost(self, section: Section) -> str:
        return self.last  # training only

    def head(self, section: Section) -> str:
        self.writer.results[f"{section.kind}{section.number}"] = self.last
        return self.last


def _convolution(operator: str, section: Section, given: Mapping[str, Any]) -> tuple[str, ...]:
    """Return a convolution, its normalization and its activation."""
    made = call(operator, section.whole("filters", 1), section.whole("size", 1), **given, bias=not section.normalized)
    return made, *section.after("logistic")


KINDS: dict[str, Callable[[_Translation, Section], str]] = {
    "convolutional": _Translation.convolutional, "conv": _Translation.convolutional,
    "deconvolutional": _Translation.deconvolutional, "deconv": _Translation.deconvolutional,
    "maxpool": _Translation.maxpool, "max": _Translation.maxpool,
    "avgpool": _Translation.avgpool, "avg": _Translation.avgpool,
    "connected": _Translation.connected, "conn": _Translation.connected,
    "route": _Translation.route, "shortcut": _Translation.shortcut, "upsample": _Translation.upsample,
    "scale_channels": _Translation.scale_channels, "sam": _Translation.scale_channels,
    "reorg": _Translation.reorg, "reorg3d": _Translation.reorg,
    "softmax": _Translation.softmax, "soft": _Translation.softmax,
    "dropout": _Translation.dropout, "batchnorm": _Translation.batchnorm, "activation": _Translation.activation,
    "normalization": _Translation.normalization, "lrn": _Translation.normalization,
    "crop": _Translation.crop, "cost": _Translation.cost, **dict.fromkeys(HEADS, _Translation.head),
}  # fmt: skip
