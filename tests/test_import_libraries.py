"""Networks of timm and torchvision, one of each of many families: an import has the figures that PyTorch counts."""

import warnings
from importlib.util import find_spec
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from archcalc.importers.torch import from_torch  # noqa: E402  # the test above needs PyTorch

BENCH = Path(__file__).parent.parent / "bench"
TIMM = [
    "beit_base_patch16_224", "eca_botnext26ts_256", "test_byobnet", "coat_lite_tiny", "convit_tiny",
    "convmixer_1024_20_ks9_p14", "test_convnext3", "cpubone_nano", "crossvit_9_240", "cs3darknet_focus_s",
    "cspnext_tiny", "davit_tiny", "deit_tiny_patch16_224", "densenet121", "dla46x_c", "dpn68", "edgenext_xx_small",
    "efficientformer_l1", "efficientformerv2_s0", "test_efficientnet", "efficientvit_b0", "efficientvim_m1",
    "fasternet_t0", "fastvit_t8", "focalnet_tiny_srf", "ghostnet_050", "hardcorenas_a", "hgnetv2_b0",
    "hiera_tiny_224", "iformer_t", "inception_next_atto", "lcnetv2_base", "levit_conv_128s", "lowformer_b0",
    "test_mambaout", "test_maxvit", "poolformerv2_s12", "mixer_s32_224", "mobilenetv3_small_050", "mobilevit_xxs",
    "nest_tiny", "test_nfnet", "pit_ti_224", "pvt_v2_b0", "rdnet_tiny", "regnety_002", "repghostnet_050",
    "repvit_m1", "resnest14d", "test_resnet", "resnetv2_18d", "rexnet_100", "selecsls42", "shvit_s1",
    "starnet_s050", "swiftformer_xs", "tiny_vit_5m_224", "test_vit", "visformer_tiny", "xcit_nano_12_p16_224",
]  # fmt: skip
TORCHVISION = [
    "alexnet", "convnext_tiny", "densenet121", "efficientnet_b0", "googlenet", "maxvit_t", "mobilenet_v3_small",
    "regnet_y_400mf", "shufflenet_v2_x0_5", "swin_t", "vit_b_32", "lraspp_mobilenet_v3_large", "r3d_18",
]  # fmt: skip


def needs(library):
    absent = find_spec(library) is None or find_spec("torchvision") is None
    return pytest.mark.skipif(absent, reason=f"{library} is not installed: pip install --no-deps timm torchvision")


pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]  # the libraries' warnings are not ours


@pytest.fixture(scope="module")
def bench():
    """The benches by the library that they import, and what is common to both."""
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        patch.syspath_prepend(BENCH)
        import import_oracle
        import import_timm
        import import_torchvision
        import torchvision_weights

        torchvision_weights.torchvision_models()
        return {"timm": import_timm, "torchvision": import_torchvision, "oracle": import_oracle}


@needs("timm")
@pytest.mark.parametrize("name", TIMM)
def test_networks_of_timm(bench, name):
    row = bench["timm"].row(name)
    assert (row["off"], row["unknown"]) == ({}, [])


@needs("torchvision")
@pytest.mark.parametrize("name", TORCHVISION)
def test_networks_of_torchvision(bench, name):
    """Also the bytes that autograd keeps."""
    row = bench["torchvision"].row(name)
    assert (row["off"], row["unknown"], row["unknown memory"]) == ({}, [], [])
    assert all(causes for *_, causes in row.get("spec", {}).values())


@needs("torchvision")
def test_a_difference_shows(bench):
    """A row has both figures where they differ, and no cause for what no row explains."""
    torchvision, oracle = bench["torchvision"], bench["oracle"]
    ours, theirs = (from_torch(torch.nn.Conv2d(3, width, 1), (3, 4, 4)) for width in (2, 3))
    assert oracle.of_graph(ours) != oracle.of_module(torch.nn.Conv2d(3, 3, 1), (3, 4, 4))
    found = torchvision.compared(ours, theirs)
    assert found["activations"] == [48 + 32, 48 + 48, []]
    assert torchvision.compared(ours, ours) == {}
