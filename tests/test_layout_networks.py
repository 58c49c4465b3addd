"""Networks that people ask about, with halves of channels, crops, pixel shuffles and other padding: their figures."""

from __future__ import annotations

import pytest

from archcalc import analyze, parse
from archcalc.analysis.field_figures import by_key
from archcalc.analysis.recipe import Recipe
from archcalc.codegen import pytorch_source
from archcalc.pytorch import compare_memory, validate, validate_source

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


# each operator once, along one to three axes and with the channels last

IMAGE = """
name: image
input: [3, 16, 16]
layers:
  - conv(8, 3, padding="SAME", stride=2) | relu
  - conv(8, 3, padding=1, padding_mode="reflect") | conv(8, 3, padding=[[0, 1], [2, 0]], padding_mode="circular")
  - conv(8, 3, padding=1, padding_mode="replicate")
  - permute('HWC') | linear(12) | layernorm | permute('CHW') | roll([1, 2])
  - pad(2, mode="circular") | center_crop([7, 9])
  - concat(a=chunk(2, 0), b=slice(6, None) | conv(5, 1))
  - concat(axis='H'): {a: identity, b: "conv(11, 1)"}
  - pad([[1, 1], [-1, 2]], value=3) | conv(12, 1) | pixel_shuffle(2)
  - upsample(scale_factor=1.5, mode='bicubic') | center_crop(20) | pixel_unshuffle(2) | conv(3, 1)
  - before: conv(4, 1)
  - conv(2, 4)
  - concat(crop_like(use(before), identity), identity)
  - tokens | linear(4) | transpose | transpose | repeat(T=2) | reshape(C=7, T=-1) | flatten | linear(10)
"""
LINE = """
name: line
input: {C: 4, L: 32}
layers:
  - conv(8, 3, padding="causal", dilation=2) | relu | conv(8, 3, padding=1, padding_mode="reflect")
  - conv(8, 3, padding=2, padding_mode="circular", stride=2) | conv(8, 4, padding="SAME", stride=3)
  - upsample(scale_factor=2.5, mode='linear', align_corners=True)
  - pad([[2, 1]], mode='reflect') | pad(1, mode='replicate') | roll(3) | pad(-1) | slice(1, -2, 2, axis='L')
  - concat(axis='L'): [identity, "chunk(3, 1, axis='L')", relu]
  - transpose
  - concat(axis='T'): [identity, linear(8)]
  - slice(-1, None, axis='T') | repeat(T=3, C=2) | slice(0, None) | transpose | flatten
  - reshape(C=4, L=-1) | conv(3, 1) | repeat(L=1) | tokens | reshape(T=4, C=-1)
  - linear(5) | roll(1) | linear(4) | repeat(C=2)
"""
VOLUME = """
name: volume
input: {C: 2, D: 6, H: 6, W: 7}
layers:
  - conv(4, 3, padding="SAME", stride=2) | relu | conv(4, 3, padding=1, padding_mode="reflect")
  - conv(4, 2, padding=1, padding_mode="circular") | conv(4, 3, padding=1, padding_mode="replicate")
  - conv(4, [2, 1, 2], padding="same", padding_mode="reflect")
  - upsample(scale_factor=1.5, mode='trilinear', align_corners=True)
  - pad([[2, 1], [0, 0], [1, 0]], mode='reflect') | pad(1, mode='replicate') | pad(1, mode="circular")
  - roll([3, 0, -1]) | pad(-1) | slice(1, -1, 2, axis='D')
  - concat(axis='H'): [identity, "chunk(3, 1, axis='H')", relu]
  - permute('DHWC') | linear(5) | layernorm
  - concat(axis='W'): [identity, linear(5)]
  - concat(identity, linear(4)) | pad(1) | roll(2) | center_crop(4) | softmax | permute('CDHW')
  - before: conv(5, 1)
  - conv(5, 2) | relu
  - concat(crop_like(use(before), identity), identity)
  - permute('DHWC') | tokens | reshape(H=9, W=3, C=-1) | permute('CHW') | global_avgpool | flatten | linear(4)
"""
CLASS_TOKEN = """
name: class-token
input: [3, 32, 32]
layers:
  - conv(16, 8, stride=8) | tokens
  - concat(axis='T'): {class: "parameter(T=1, C=16)", patches: identity}
  - add: {x: identity, position: "parameter(T=17, C=16)"}
  - layernorm | linear(16) | slice(0, 1, axis='T') | flatten | linear(10)
"""


@pytest.mark.parametrize("text", [IMAGE, LINE, VOLUME, CLASS_TOKEN])
def test_each_operator_is_as_pytorch_runs_it(text: str) -> None:
    """Figures on the CPU and on meta, what backward keeps, the memory of a step to the byte, and the source."""
    graph = parse(text)
    checks = [check for device in ("cpu", "meta") for check in validate(graph, device, 2).checks]
    checks += validate_source(graph, pytorch_source(graph)).checks
    assert not [check for check in checks if not check.equal]
    assert not [one for phase in compare_memory(graph, Recipe("momentum", steps=2), 2) for one in phase.differences()]
