"""Translate a Caffe network (deploy.prototxt) to the text of a spec. Labels are the names of its layers.

What runs only in training, and losses and accuracies, are left out.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from archcalc.errors import Place, Source, SpecError, shorten
from archcalc.importers.spec_writer import SpecWriter, call

TOKEN = re.compile(
    r"""[\s,;]+|\#[^\n]*|(?P<sign>[{}:])|"(?P<text>[^"\n]*)"|'(?P<other>[^'\n]*)'|(?P<word>[^\s{}:,;"'#]+)"""
)
MAX_DEPTH = 20
CROP_NOTE = "Crop takes the centre: its offset is not kept."
MERGE_NOTE = "BatchNorm and the Scale after it are one batchnorm."
AXES = ("in_channels", "in_height", "in_width")


class Message(NamedTuple):
    """A message in the text format of protocol buffers: the values of each field in their order, and its place."""

    fields: dict[str, list[Any]]
    place: Place

    def all(self, name: str) -> list[Any]:
        """Return the values of a field."""
        return self.fields.get(name, [])

    def text(self, name: str, default: str = "") -> str:
        """Return the last value of a field. Raises SpecError if it is a message."""
        value = self.all(name)[-1] if self.all(name) else default
        return value if isinstance(value, str) else self.refuse(f"{name} must be a value")

    def whole(self, name: str, default: int) -> int:
        """Return a whole number. Raises SpecError for anything else."""
        return self._whole(name, self.text(name, str(default)))

    def wholes(self, name: str) -> list[int]:
        """Return all whole numbers of a field."""
        return [self._whole(name, text) for text in self.all(name)]

    def _whole(self, name: str, text: Any) -> int:
        if not isinstance(text, str) or not re.fullmatch(r"-?\d{1,9}", text):
            self.refuse(f"{name}: {shorten(str(text))} is not a whole number")
        return int(text)

    def real(self, name: str, default: float) -> float:
        """Return a number. Raises SpecError for anything else."""
        text = self.text(name, repr(default))
        if not re.fullmatch(r"-?(\d{1,9}\.?\d{0,20}|\.\d{1,20})([eE][+-]?\d{1,2})?f?", text):
            self.refuse(f"{name}: {shorten(text)} is not a number")
        return float(text.rstrip("f"))

    def sub(self, name: str) -> Message:
        """Return the message in a field; without any an empty one."""
        found = self.all(name)[-1] if self.all(name) else Message({}, self.place)
        return found if isinstance(found, Message) else self.refuse(f"{name} must be a message")

    def refuse(self, message: str, hint: str = "") -> Any:
        """Raise SpecError with the place of the message."""
        raise SpecError(message, self.place, hint)


class Layer(NamedTuple):
    """A layer: its name, its type in small letters, its own parameters, and its message."""

    name: str
    kind: str
    own: Message
    message: Message

    @property
    def biased(self) -> bool:
        """Whether it has biases."""
        return self.own.text("bias_term") != "false"

    def refuse(self, message: str) -> Any:
        return self.message.refuse(f"{self.name} ({self.message.text('type')}): {message}")


def caffe_spec(text: str, file: str, name: str) -> str:
    """Translate a network, called `file` in errors, to a spec called `name`. Raises SpecError with its line."""
    source = Source(file, text.split("\n"))
    return _Translation(
        _message(_tokens(text, source), Place(source, 1, 1), 0), SpecWriter(name, f"{file}, for Caffe")
    ).text()


def _tokens(text: str, source: Source) -> Iterator[tuple[str, str, Place]]:
    at, line = 0, 1
    while at < len(text):
        found = TOKEN.match(text, at)
        place = Place(source, line, at - text.rfind("\n", 0, at))
        if found is None:
            raise SpecError(f"unexpected {text[at]!r}", place)
        if found.lastgroup:
            yield found.lastgroup, found[found.lastgroup], place
        line += found[0].count("\n")
        at = found.end()
    yield "end", "", Place(source, line, 1)


def _message(tokens: Iterator[tuple[str, str, Place]], place: Place, depth: int) -> Message:
    """Read fields up to the end of the message. Raises SpecError for anything else."""
    message = Message({}, place)
    for sign, name, start in tokens:
        if (sign, name) == (("sign", "}") if depth else ("end", "")):
            return message
        if sign != "word" or depth > MAX_DEPTH:
            raise SpecError(f"expected the name of a field, not {shorten(name) or 'the end'}", start)
        kind, value, here = next(tokens)
        if (kind, value) == ("sign", ":"):
            kind, value, here = next(tokens)
        if (kind, value) == ("sign", "{"):
            message.fields.setdefault(name, []).append(_message(tokens, start, depth + 1))
        elif kind in ("sign", "end"):
            raise SpecError(f"{shorten(name)} lacks its value", here)
        else:
            message.fields.setdefault(name, []).append(value)
    raise AssertionError("tokens end with an end")


class _Translation:
    def __init__(self, net: Message, writer: SpecWriter) -> None:
        self.net = net
        self.writer = writer
        self.blobs: dict[str, str] = {}  # labels by the blob's name
        self.shared: dict[tuple[str, ...], str] = {}  # labels by the names of the weights

    def text(self) -> str:
        flat = self.net.wholes("input_dim")
        shapes = [shape.wholes("dim") for shape in self.net.all("input_shape")] or [
            flat[i : i + 4] for i in range(0, len(flat), 4)
        ]
        for name, shape in zip(self.net.all("input"), shapes, strict=False):
            self.input(self.net, name, shape)
        for message in [*self.net.all("layer"), *self.net.all("layers")]:
            layer = _layer(message)
            if layer and layer.kind == "input":
                for name, shape in zip(message.all("top"), layer.own.all("shape"), strict=False):
                    self.input(message, name, shape.wholes("dim"))
            elif layer:
                self.add(layer)
        return self.writer.text()

    def input(self, message: Message, name: str, shape: list[int]) -> None:
        if len(shape) not in (2, 4) or min(shape) < 1:
            message.refuse(
                f"the input {shorten(name)} needs batch, channels, height and width", "or batch and features"
            )
        self.blobs[name] = self.writer.input(name, shape[1:])

    def add(self, layer: Layer) -> None:
        if layer.kind not in KINDS:
            layer.refuse("this type has no operator here")
        if not self.blobs:
            layer.refuse("the network has no input with a shape; use the deploy file")
        for blob in layer.message.all("bottom"):
            if blob not in self.blobs:
                layer.refuse(f"no layer before makes {shorten(str(blob))}")
        reads = [self.blobs[blob] for blob in layer.message.all("bottom")]
        tops = layer.message.all("top")
        if not reads or not tops:
            layer.refuse("it needs bottom and top")
        steps = KINDS[layer.kind](layer, self)
        names = tuple(param.text("name") for param in layer.message.all("param") if isinstance(param, Message))
        if any(names) and names in self.shared:
            steps = (f"again({self.shared[names]})",)
        for i, top in enumerate(tops):
            made = _slices(layer, i, len(tops)) if layer.kind == "slice" else steps
            self.blobs[top] = self.writer.step(layer.name if len(tops) == 1 else f"{layer.name}_{i}", reads, *made)
        if any(names):
            self.shared.setdefault(names, self.blobs[tops[0]])


def _layer(message: Any) -> Layer | None:
    """Return a layer, or None if it does not run at inference."""
    if not isinstance(message, Message):
        raise SpecError("a layer must be a message")
    kind = message.text("type").replace("_", "").lower()
    included = [rule.text("phase") for rule in message.all("include")]
    excluded = [rule.text("phase") for rule in message.all("exclude")]
    if "TEST" in excluded or (any(included) and "TEST" not in included):
        return None
    if kind.endswith(("loss", "data")) or kind in ("accuracy", "silence"):
        return None
    own = next((name for name in message.fields if name.replace("_", "") == f"{kind.removeprefix('de')}param"), "")
    return Layer(message.text("name", kind), kind, message.sub(own), message)


def _sizes(layer: Layer, name: str, default: int) -> list[int]:
    """Return the sizes of a kernel, stride or padding, one for all axes or one per axis."""
    letter = name.removesuffix("_size")
    if f"{letter}_h" in layer.own.fields:
        return [layer.own.whole(f"{letter}_h", default), layer.own.whole(f"{letter}_w", default)]
    return layer.own.wholes(name) or [default]


def _convolution(layer: Layer, net: _Translation) -> tuple[str, ...]:
    words = {"stride": _sizes(layer, "stride", 1), "padding": _sizes(layer, "pad", 0)}
    words |= {"dilation": _sizes(layer, "dilation", 1)}
    operator = "conv_transpose" if layer.kind == "deconvolution" else "conv"
    channels, kernel = layer.own.whole("num_output", 0), _sizes(layer, "kernel_size", 0)
    return (call(operator, channels, kernel, **words, groups=layer.own.whole("group", 1), bias=layer.biased),)


def _pooling(layer: Layer, net: _Translation) -> tuple[str, ...]:
    """Rounded up, unless round_mode says otherwise; no window starts in the padding after the image."""
    kinds = {"MAX": "max", "0": "max", "AVE": "avg", "1": "avg"}
    pool = kinds.get(layer.own.text("pool", "MAX")) or layer.refuse(f"{layer.own.text('pool')} has no operator here")
    if layer.own.text("global_pooling") == "true":
        return (f"global_{pool}pool",)
    kernel, stride = _sizes(layer, "kernel_size", 0), _sizes(layer, "stride", 1)
    if max(kernel) < max(stride):
        layer.refuse("a stride larger than the kernel has no operator here")
    up = layer.own.text("round_mode", "CEIL") in ("CEIL", "0") and {*stride} != {1}
    return (call(f"{pool}pool", kernel, stride=stride, padding=_sizes(layer, "pad", 0), ceil_mode=up),)


def _linear(layer: Layer, net: _Translation) -> tuple[str, ...]:
    return "flatten", call("linear", layer.own.whole("num_output", 0), bias=layer.biased)


def _relu(layer: Layer, net: _Translation) -> tuple[str, ...]:
    slope = layer.own.real("negative_slope", 0)
    return (f"leaky_relu({slope})" if slope else "relu",)


def _prelu(layer: Layer, net: _Translation) -> tuple[str, ...]:
    return ("prelu" if layer.own.text("channel_shared") == "true" else "prelu(in_channels)",)


def _lrn(layer: Layer, net: _Translation) -> tuple[str, ...]:
    if layer.own.text("norm_region", "ACROSS_CHANNELS") not in ("ACROSS_CHANNELS", "0"):
        layer.refuse("normalization within channels has no operator here")
    terms = layer.own.real("alpha", 1), layer.own.real("beta", 0.75), layer.own.real("k", 1)
    return (f"lrn({layer.own.whole('local_size', 5)}, {', '.join(map(repr, terms))})",)


def _dropout(layer: Layer, net: _Translation) -> tuple[str, ...]:
    return (f"dropout({layer.own.real('dropout_ratio', 0.5)})",)


def _concat(layer: Layer, net: _Translation) -> tuple[str, ...]:
    if layer.own.whole("axis", layer.own.whole("concat_dim", 1)) != 1:
        layer.refuse("only channels are concatenated here")
    return ("concat",) * (len(layer.message.all("bottom")) > 1)


def _eltwise(layer: Layer, net: _Translation) -> tuple[str, ...]:
    joins = {"SUM": "add", "1": "add", "PROD": "multiply", "0": "multiply", "MAX": "maximum", "2": "maximum"}
    join = joins.get(layer.own.text("operation", "SUM")) or layer.refuse("its operation is unknown")
    factors = [Message({"coeff": [text]}, layer.own.place).real("coeff", 1) for text in layer.own.all("coeff")]
    if {*factors} <= {1}:
        return (join,)
    return ("subtract",) if factors == [1, -1] else layer.refuse("its coeff has no operator here")


def _batchnorm(layer: Layer, net: _Translation) -> tuple[str, ...]:
    return (f"batchnorm(eps={layer.own.real('eps', 1e-5)}, affine=False)",)


def _scale(layer: Layer, net: _Translation) -> tuple[str, ...]:
    """With a batch normalization just before it is that one's weights."""
    bottoms = layer.message.all("bottom")
    if len(bottoms) > 1:
        return ("multiply",)
    bias = layer.own.text("bias_term") == "true"
    if bias and net.writer.extend_last(net.blobs[bottoms[0]], ", affine=False)", ")"):
        net.writer.note(MERGE_NOTE)
        return ()
    learned = "(identity, parameter(C=in_channels, H=1, W=1))"
    return (f"multiply{learned}", *[f"add{learned}"] * bias)


def _bias(layer: Layer, net: _Translation) -> tuple[str, ...]:
    return ("add(identity, parameter(C=in_channels, H=1, W=1))",)


def _power(layer: Layer, net: _Translation) -> tuple[str, ...]:
    if layer.own.real("power", 1) != 1:
        layer.refuse("powers have no operator here")
    terms = {"multiply": layer.own.real("scale", 1), "add": layer.own.real("shift", 0)}
    steps = [(join, value) for join, value in terms.items() if value != (join == "multiply")]
    return tuple([f"{join}(identity, constant(C=1, H=1, W=1, value={value}))" for join, value in steps])


def _reshape(layer: Layer, net: _Translation) -> tuple[str, ...]:
    batch, *sizes = layer.own.sub("shape").wholes("dim") or [1]
    if batch not in (0, -1) or len(sizes) not in (1, 3):
        layer.refuse("it needs shape { dim: 0 … } with one or three sizes after the batch")
    return (f"reshape({', '.join(str(size or axis) for size, axis in zip(sizes, AXES, strict=False))})",)


def _slices(layer: Layer, index: int, count: int) -> tuple[str, ...]:
    """Return the part of a Slice for its top `index`."""
    points = layer.own.wholes("slice_point")
    if layer.own.whole("axis", layer.own.whole("slice_dim", 1)) != 1 or (points and len(points) != count - 1):
        layer.refuse("it needs channels, and a point between two tops")
    edges = [0, *points, None]
    return (f"slice({edges[index]}, {edges[index + 1]})" if points else f"chunk({count}, {index})",)


def _permute(layer: Layer, net: _Translation) -> tuple[str, ...]:
    order = layer.own.wholes("order")
    if sorted(order) != [0, 1, 2, 3] or order[0]:
        layer.refuse("it must keep the batch and order three axes")
    return (f"permute('{''.join('CHW'[axis - 1] for axis in order[1:])}')",)


def _crop(layer: Layer, net: _Translation) -> tuple[str, ...]:
    net.writer.note(CROP_NOTE)
    return ("crop_like",)


def _plain(*layers: str) -> Callable[[Layer, _Translation], tuple[str, ...]]:
    return lambda layer, net: layers


KINDS: dict[str, Callable[[Layer, _Translation], tuple[str, ...]]] = {
    "convolution": _convolution, "deconvolution": _convolution, "pooling": _pooling, "innerproduct": _linear,
    "relu": _relu, "prelu": _prelu, "lrn": _lrn, "dropout": _dropout, "concat": _concat, "eltwise": _eltwise,
    "batchnorm": _batchnorm, "scale": _scale, "bias": _bias, "power": _power, "reshape": _reshape, "slice": _plain(),
    "permute": _permute, "crop": _crop, "split": _plain(), "flatten": _plain("flatten"), "softmax": _plain("softmax"),
    "sigmoid": _plain("sigmoid"), "tanh": _plain("tanh"), "relu6": _plain("relu6"), "swish": _plain("silu"),
    "elu": lambda layer, net: (f"elu({layer.own.real('alpha', 1)})",),
}  # fmt: skip
