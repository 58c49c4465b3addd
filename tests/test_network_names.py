"""Names of networks as papers and libraries write them find networks of the catalog, and no others."""

import pytest

from archcalc import networks
from archcalc.network_names import Meant, Names


@pytest.fixture(scope="module")
def names():
    return Names(networks())


@pytest.mark.parametrize(
    ("text", "networks"),
    [
        ("ResNet-50", ("resnet50", "torchvision/resnet50")),
        ("resnet50", ("resnet50", "torchvision/resnet50")),
        ("resnet50_8xb32_in1k", ("resnet50", "torchvision/resnet50")),
        ("torchvision/resnet50", ("torchvision/resnet50",)),
        ("VGG-16", ("vgg16", "torchvision/vgg16")),
        ("VGG-16 (BN)", ("torchvision/vgg16_bn",)),
        ("vgg16bn_8xb32_in1k", ("torchvision/vgg16_bn",)),
        ("Swin-T", ("swin-t", "torchvision/swin_t")),
        ("swin-tiny_16xb64_in1k", ("swin-t", "torchvision/swin_t")),
        ("vit_b_16", ("vit-b-16", "torchvision/vit_b_16")),
        ("ViT-Base, patch 16", ("vit-b-16", "torchvision/vit_b_16")),
        ("ResNeXt-50 (32×4d)", ("resnext50-32x4d", "torchvision/resnext50_32x4d")),
        ("regnetx400mf", ("regnetx-400mf", "torchvision/regnet_x_400mf")),
        ("regnet_y_1_6gf", ("regnety-1.6gf", "torchvision/regnet_y_1_6gf")),
        ("RegNetY-16GF", ("regnety-16gf", "torchvision/regnet_y_16gf")),
        ("Wide ResNet 28-10", ("wrn-28-10",)),
        ("ShuffleNetV2 1.0×", ("shufflenet-v2-1.0", "torchvision/shufflenet_v2_x1_0")),
        ("yolov5x", ("yolov5x",)),
        ("EfficientNet-B0 (224 px)", ("efficientnet-b0", "torchvision/efficientnet_b0")),
        ("DeiT_small_patch16_224", ("deit-s",)),
    ],
)
def test_names(names, text, networks):
    assert names.find(text) == Meant(networks)


@pytest.mark.parametrize(
    ("text", "network", "more"),
    [
        ("resnet50-arcface_inshop", "resnet50", ("arcface", "inshop")),
        ("ResNet-50-D", "resnet50", ("d",)),
        ("resnet50d", "resnet50", ("d",)),
        ("mae_vit-base-p16_8xb512", "vit-b-16", ("mae",)),
        ("swin-base_in21k-pre-3rdparty_in1k-384", "swin-b-384", ("in21k",)),
        ("swin_large_patch4_window12_384", "swin-l-384", ("patch4", "window12")),
    ],
)
def test_what_a_name_says_more(names, text, network, more):
    meant = names.find(text)
    assert (meant.networks[0], meant.more) == (network, more)


@pytest.mark.parametrize(
    "text", ["", "ResNet", "ViT-B", "mlp-mixer-base", "UNet++", "Xception-65", "resnet500", "wrn-281-0"]
)
def test_other_names(names, text):
    assert names.find(text) == Meant()


def test_every_network_finds_itself(names):
    for name in names.known:
        assert names.find(name).networks == (name,) or "/" not in name
        assert name in names.find(f"{name.rpartition('/')[2]} (original)").networks
