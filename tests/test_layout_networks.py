"""Networks that people ask about, with halves of channels, crops, pixel shuffles and other padding: their figures."""

from __future__ import annotations

import pytest

from archcalc import analyze, parse
from archcalc.analysis.field_figures import by_key

SHUFFLENET_V2 = """
name: shufflenet-v2
input: [3, 224, 224]
blocks:
  pw(channels): ["conv(channels, 1, bias=False) | batchnorm | relu"]
  dw(stride=1): ["conv(in_channels, 3, stride=stride, padding=1, groups=in_channels, bias=False) | batchnorm"]
  down(channels):
    - concat(a=dw(2) | pw(channels // 2), b=pw(channels // 2) | dw(2) | pw(channels // 2))
    - channel_shuffle(2)
  keep(half=in_channels // 2):
    - concat(left=chunk(2, 0), right=chunk(2, 1) | pw(half) | dw | pw(half))
    - channel_shuffle(2)
layers:
  - conv(24, 3, stride=2, padding=1, bias=False) | batchnorm | relu | maxpool(3, stride=2, padding=1)
  - down(116) | 3 * keep | down(232) | 7 * keep | down(464) | 3 * keep
  - pw(1024) | global_avgpool | flatten | linear(1000)
"""

YOLO_V4_TINY = """
name: yolov4-tiny
input: [3, 416, 416]
params: {classes: 1}
blocks:
  u(c, k=3, s=1):
    - conv(c, k, stride=s, padding=k // 2, bias=False) | batchnorm | leaky_relu(0.1)
  csp(c):
    - all: u(c)
    - chunk(2, 1)
    - a: u(c // 2)
    - b: u(c // 2)
    - concat(use(b), use(a))
    - t: u(c, 1)
    - concat(use(all), use(t))
layers:
  - u(32, 3, 2) | u(64, 3, 2) | csp(64) | maxpool(2) | csp(128) | maxpool(2)
  - all: u(256)
  - chunk(2, 1)
  - a: u(128)
  - b: u(128)
  - concat(use(b), use(a))
  - t: u(256, 1)
  - concat(use(all), use(t))
  - maxpool(2) | u(512)
  - neck: u(256, 1)
  - side: {coarse: "u(512) | conv(3 * (5 + classes), 1)"}
  - concat(up=u(128, 1) | upsample(scale_factor=2), skip=use(t))
  - fine: u(256) | conv(3 * (5 + classes), 1)
"""

ESPCN = """
name: espcn-x3
input: [1, 64, 64]
layers:
  - conv(64, 5, padding=2) | tanh | conv(32, 3, padding=1) | tanh | conv(9, 3, padding=1) | pixel_shuffle(3)
"""

UNET_VALID = """
name: unet-valid
input: [3, 500, 376]
params: {depth: 4, root: 64, classes: 21}
blocks:
  double(c): ["2 * (conv(c, 3) | relu)"]
  level(n, c):
    - down: double(c)
    - maxpool(2)
    - level(n - 1, 2 * c) if n > 1 else double(2 * c)
    - conv_transpose(c, 2, stride=2)
    - concat: {skip: "crop_like(use(down), identity)", up: identity}
    - double(c)
layers:
  - level(depth, root)
  - conv(classes, 1)
"""

WAVENET = """
name: wavenet-stack
input: {C: 256, L: 4000}
params: {first: True}
layers:
  - conv(32, 2, padding="causal") if first else conv(32, 1)
  - chain(conv(32, 2, dilation=2 ** i, padding="causal") for i in range(10))
"""


@pytest.mark.parametrize(
    ("text", "params", "macs", "output"),
    [
        (SHUFFLENET_V2, 2_278_604, 144_907_992, (1000,)),  # as torchvision's shufflenet_v2_x1_0
        (ESPCN, 22_729, 92_667_904, (1, 192, 192)),  # Shi et al. 2016, by PyTorch
        (UNET_VALID, 31_033_045, None, (21, 308, 180)),  # tf_unet#39: 308×180, not 308×184
    ],
)
def test_counts(text: str, params: int, macs: int | None, output: tuple[int, ...]) -> None:
    report = analyze(parse(text))
    assert report.totals.params == params
    assert macs is None or report.totals.macs == macs
    assert report.layers[-1].node.output == output


def test_half_of_the_channels_of_yolov4_tiny() -> None:
    """AlexeyAB/darknet#7704: with one class, and two values of each batch normalization per channel."""
    report = analyze(parse(YOLO_V4_TINY), mode="train")
    assert report.totals.params == 5_874_116


@pytest.mark.parametrize(
    ("padding", "size", "length"), [("0", 224, 54), ("2", 224, 55), ("0", 227, 55), ("'SAME'", 224, 56)]
)
def test_the_first_layer_of_alexnet(padding: str, size: int, length: int) -> None:
    text = f'name: a\ninput: [3, {size}, {size}]\nlayers: ["conv(96, 11, stride=4, padding={padding})"]'
    assert parse(text).nodes[-1].output == (96, length, length)


@pytest.mark.parametrize(("first", "field"), [(True, 1025), (False, 1024)])
def test_causal_convolutions_keep_the_length_and_see_the_past(first: bool, field: int) -> None:
    report = analyze(parse(WAVENET, first=first))
    last = report.layers[-1]
    assert last.node.output == (32, 4000)
    found = by_key(last.field)
    figures = [found[key] for key in ("receptive_field", "effective_padding", "field_status")]
    assert figures == [(field,), (field - 1,), ("exact",)]
