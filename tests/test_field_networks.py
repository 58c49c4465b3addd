"""What people ask of whole networks: figures of the zoo, and fields that need more than windows."""

from __future__ import annotations

import pytest

from archcalc import analyze, load, parse
from archcalc.analysis.field_figures import by_axis
from archcalc.graph.batchnorm_folding import fold_batchnorm

EFFICIENTNET_B0 = """
name: efficientnet-b0
input: [3, 224, 224]
blocks:
  unit(channels, kernel, stride=1, groups=1):
    - conv(channels, kernel, stride=stride, padding=kernel // 2, groups=groups, bias=False) | batchnorm | silu
  se(squeezed, channels=in_channels):
    - multiply(identity, global_avgpool | conv(squeezed, 1) | silu | conv(channels, 1) | sigmoid)
  inner(channels, kernel, stride, factor, squeezed, hidden):
    - unit(hidden, 1) if factor != 1 else identity
    - unit(hidden, kernel, stride, hidden) | se(squeezed) | conv(channels, 1, bias=False) | batchnorm
  body(c, k, stride, factor, x=in_channels):
    - inner(c, k, stride, factor, x // 4, factor * x)
  block(c, k, stride, factor, x=in_channels):
    - add(body(c, k, stride, factor), identity) if stride == 1 and c == x else body(c, k, stride, factor)
  group(channels, kernel, stride, n, factor=6):
    - block(channels, kernel, stride, factor)
    - (n - 1) * block(channels, kernel, 1, factor)
layers:
  - unit(32, 3, 2)
  - group(16, 3, 1, 1, 1) | group(24, 3, 2, 2) | group(40, 5, 2, 2) | group(80, 3, 2, 3)
  - group(112, 5, 1, 3) | group(192, 5, 2, 4) | group(320, 3, 1, 1)
  - unit(1280, 1) | global_avgpool | flatten | dropout(0.2) | linear(1000)
"""

MOBILENET_V3_LARGE = """
name: mobilenet-v3-large
input: [3, 224, 224]
blocks:
  unit(channels, kernel, act, stride=1, groups=1):
    - conv(channels, kernel, stride=stride, padding=kernel // 2, groups=groups, bias=False) | batchnorm | act
  se(squeezed, channels=in_channels):
    - multiply(identity, global_avgpool | conv(squeezed, 1) | relu | conv(channels, 1) | hardsigmoid)
  inner(kernel, hidden, channels, squeezed, act, stride):
    - unit(hidden, 1, act) if hidden != in_channels else identity
    - unit(hidden, kernel, act, stride, hidden)
    - se(squeezed) if squeezed else identity
    - conv(channels, 1, bias=False) | batchnorm
  b(k, h, c, q, act, s=1):
    - add(inner(k, h, c, q, act, s), identity) if s == 1 and c == in_channels else inner(k, h, c, q, act, s)
layers:
  - unit(16, 3, hardswish, 2) | b(3, 16, 16, 0, relu) | b(3, 64, 24, 0, relu, 2) | b(3, 72, 24, 0, relu)
  - b(5, 72, 40, 24, relu, 2) | b(5, 120, 40, 32, relu) | b(5, 120, 40, 32, relu)
  - b(3, 240, 80, 0, hardswish, 2) | b(3, 200, 80, 0, hardswish) | 2 * b(3, 184, 80, 0, hardswish)
  - b(3, 480, 112, 120, hardswish) | b(3, 672, 112, 168, hardswish)
  - b(5, 672, 160, 168, hardswish, 2) | 2 * b(5, 960, 160, 240, hardswish)
  - unit(960, 1, hardswish) | global_avgpool | flatten | linear(1280) | hardswish | dropout(0.2) | linear(1000)
"""

U_NET = """
name: unet-valid-without-skips
input: [3, 500, 376]
blocks:
  double(c): ["2 * (conv(c, 3) | relu)"]
  level(n, c):
    - double(c)
    - maxpool(2)
    - level(n - 1, 2 * c) if n > 1 else double(2 * c)
    - conv_transpose(c, 2, stride=2)
    - double(c)
layers: ["level(4, 4)"]
"""

ASPP = """
name: aspp
input: [8, 33, 33]
blocks:
  u(k, rate=1): ["conv(8, k, padding=0 if k == 1 else rate, dilation=rate, bias=False) | batchnorm | relu"]
layers:
  - concat:
      point: u(1)
      r1: u(3, 6)
      r2: u(3, 12)
      r3: u(3, 18)
      image: global_avgpool | u(1) | upsample([33, 33], mode='bilinear')
  - u(1)
"""

FPN = """
name: fpn
input: [3, 256, 256]
blocks:
  bottleneck(width, stride=1):
    - add:
        body: conv(width, 1) | conv(width, 3, stride=stride, padding=1) | conv(4 * width, 1)
        skip: conv(4 * width, 1, stride=stride)
  stage(width, depth, stride=2):
    - bottleneck(width, stride)
    - (depth - 1) * bottleneck(width)
layers:
  - conv(4, 7, stride=2, padding=3) | maxpool(3, stride=2, padding=1)
  - c2: stage(4, 3, 1)
  - c3: stage(4, 4)
  - c4: stage(4, 6)
  - c5: stage(4, 3)
  - m5: conv(4, 1)
  - side: {p5: "conv(4, 3, padding=1)"}
  - m4: add(upsample(scale_factor=2), use(c4) | conv(4, 1))
  - side: {p4: "conv(4, 3, padding=1)"}
  - m3: add(upsample(scale_factor=2), use(c3) | conv(4, 1))
  - side: {p3: "conv(4, 3, padding=1)"}
  - m2: add(upsample(scale_factor=2), use(c2) | conv(4, 1))
  - p2: conv(4, 3, padding=1)
"""


def field(layer):
    """Smallest and largest local size by width, their period, stride and padding."""
    *_, width = by_axis(layer.field)
    return (width.local_min, width.local), width.period if width.local_min != width.local else None, str(width.stride)


@pytest.mark.parametrize(
    ("spec", "local", "padding"), [(EFFICIENTNET_B0, 851, 425), (MOBILENET_V3_LARGE, 595, 297), (ASPP, 37, 18)]
)
def test_networks_with_a_global_path(spec, local, padding):
    totals = analyze(parse(spec)).totals
    assert totals.field_status == ("whole input", "whole input")
    assert totals.local_field == totals.local_field_min == (local, local)
    assert totals.effective_padding == (padding, padding)
    assert totals.effective_stride == ((1, 1) if spec is ASPP else (32, 32))


@pytest.mark.parametrize(("name", "local", "padding"), [("seresnet50", 483, 241), ("timm/seresnet50", 427, 213)])
def test_squeeze_and_excitation(name, local, padding):
    totals = analyze(load(name)).totals
    assert (totals.params, totals.field_status) == (28_088_024, ("whole input", "whole input"))
    assert (totals.local_field, totals.field_stride, totals.effective_padding) == (
        (local, local), ("32", "32"), (padding, padding),
    )  # fmt: skip


def test_googlenet_of_torchvision():
    totals = analyze(load("torchvision/googlenet")).totals
    assert (totals.receptive_field, totals.effective_stride, totals.effective_padding) == (
        (379, 379), (32, 32), (167, 167),
    )  # fmt: skip
    assert totals.field_status == ("exact", "exact")


def test_v_net():
    """Along each axis; the paper prints 476, 528, 546 and 551 for the right side."""
    layers = {layer.node.name: layer for layer in analyze(load("vnet")).layers}
    sizes = {
        "left1.prelu": 5, "left2.0.prelu": 22, "left3.0.prelu": 72, "left4.0.prelu": 172, "left5.0.prelu": 372,
        "right4.concat": 372, "right4.0.prelu": 468, "right3.concat": 468, "right3.0.prelu": 516, "right2.concat": 516,
        "right2.0.prelu": 532, "right1.concat": 532,
    }  # fmt: skip
    for name, size in sizes.items():
        assert {found.size for found in by_axis(layers[name].field)} == {size}, name
    assert field(layers["right2.0.convs.conv1"]) == ((516, 532), 8, "2")
    assert field(layers["output.conv"]) == ((532, 548), 16, "1")
    assert [by_axis(layers[name].field)[2].padding for name in ("right2.0.prelu", "output.conv")] == [258, 274]


def test_u_net_without_padding_and_skips():
    assert field(analyze(parse(U_NET)).layers[-1]) == ((188, 204), 16, "1")


def test_a_feature_pyramid():
    layers = {layer.node.name: layer for layer in analyze(parse(FPN), mode="train").layers}
    found = {name: field(layers[name]) for name in ("c5.2.add", "p5", "p4", "p3", "p2")}
    assert found == {
        "c5.2.add": ((427, 427), None, "32"), "p5": ((491, 491), None, "32"), "p4": ((459, 459), None, "16"),
        "p3": ((427, 459), 4, "8"), "p2": ((427, 459), 8, "4"),
    }  # fmt: skip


def totals_of(name, **overrides):
    return analyze(load(name, **overrides)).totals


def outputs_of(name, **overrides):
    return {layer.node.name: layer.node.output for layer in analyze(load(name, **overrides)).layers}


def test_mobilenet_with_and_without_biases():
    """PyTorch's network has fewer params than one with a bias per convolution."""
    assert totals_of("mobilenet-v1").params == 4_231_976
    assert totals_of("mobilenet-v1", bias=True).params == 4_242_920


def test_xception_without_its_classifier():
    report = analyze(load("xception"))
    below = [layer for layer in report.layers if not layer.node.name.startswith("head")]
    assert sum(layer.params for layer in below) == 20_806_952
    assert report.totals.params == 22_855_952


def test_pyramid_pooling_of_deeplab():
    totals = totals_of("blocks/aspp")
    assert (totals.params, totals.macs) == (15_535_104, 16_343_957_504)
    assert outputs_of("blocks/aspp")["concat"] == (1280, 33, 33)


def test_the_maps_of_a_generator():
    found = outputs_of("pytorch/dcgan-generator")
    sizes = [(512, 4, 4), (256, 8, 8), (128, 16, 16), (64, 32, 32), (3, 64, 64)]
    assert [found[f"conv_transpose{i}"] for i in range(1, 6)] == sizes
    assert totals_of("pytorch/dcgan-generator").params == 3_576_704


def test_yolov5_folded_and_larger():
    """7,015,519 params and 15.763 GFLOPs are of two classes, after folding; with 80 classes it has 16.434."""
    small = analyze(fold_batchnorm(load("yolov5s", classes=2))).totals
    assert (small.params, 2 * small.macs) == (7_015_519, 15_762_636_800)
    assert 2 * totals_of("yolov5s").macs == 16_433_561_600
    assert totals_of("yolov5s", size=1280).macs == 4 * totals_of("yolov5s").macs


def test_eegnet():
    assert totals_of("eegnet-8-2").params == 2_388


def test_tiny_yolo():
    """YOLOv2's of keras-yolo2, with 7 boxes and 9 classes, and YOLOv4's of one class."""
    assert totals_of("yolov2-tiny-voc", boxes=7, classes=9).params == 15_834_098
    assert totals_of("yolov4-tiny", classes=1).params == 5_874_116


def test_the_sizes_of_a_u_net_without_padding():
    found = outputs_of("unet", classes=21, input=(3, 500, 376))
    assert found["output"] == (21, 308, 180)


def test_the_generator_of_cyclegan():
    assert totals_of("cyclegan-generator").params == 11_388_675


def test_sub_pixel_convolution():
    totals = totals_of("espcn-x3")
    assert (totals.params, totals.macs) == (22_729, 92_667_904)
    assert outputs_of("espcn-x3")["shuffle"] == (1, 192, 192)


@pytest.mark.parametrize(("first", "size"), [(1, 1024), (2, 1025)])
def test_the_field_of_wavenet(first, size):
    assert totals_of("wavenet-10", first=first).receptive_field == (size,)
