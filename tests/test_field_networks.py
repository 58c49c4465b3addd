"""Receptive fields of whole networks, where windows alone do not say them."""

from __future__ import annotations

import pytest

from archcalc import analyze, load, parse
from archcalc.analysis.field_figures import by_axis

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
    ("name", "local", "padding"),
    [("efficientnet-b0", 851, 425), ("mobilenet-v3-large", 595, 297), ("blocks/aspp", 37, 18)],
)
def test_networks_with_a_global_path(name, local, padding):
    totals = analyze(load(name)).totals
    assert totals.field_status == ("whole input", "whole input")
    assert totals.local_field == totals.local_field_min == (local, local)
    assert totals.effective_padding == (padding, padding)
    assert totals.effective_stride == ((1, 1) if name == "blocks/aspp" else (32, 32))


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
