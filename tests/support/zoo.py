"""The networks of the zoo, loaded and analysed once per process."""

from functools import cache

from archcalc import Graph, Report, analyze, load, networks

NAMES = sorted(networks())
ONE_OF_EACH_FILE = [*{path: name for name, path in reversed(networks().items())}.values()]  # the first

# A network of each family, for what is long for all; `make proofs` and `archcalc validate --all` run the others.
FAMILIES = (
    "alexnet", "bn-inception", "densenet-40-12", "fractalnet-20", "googlenet", "inception-v3", "lenet5", "nin",
    "nin-cifar10", "preresnet110", "resnet18", "resnet20", "resnext50-32x4d", "squeezenet1.0", "stochastic-depth-110",
    "seresnet50", "vgg16", "wrn-28-10", "zfnet", "cs231n/inception-naive", "d2l/densenet", "blocks/fire",
    "blocks/residual-basic", "torchvision/googlenet", "unet", "d2l/mlp-dropout", "mobilenet-v2", "mobilenet-v3-small",
    "mnasnet-a1", "efficientnet-b0", "efficientnet-v2-s", "regnety-400mf", "convnext-tiny", "shufflenet-v2-1.0",
    "mobilenet-v1", "xception", "pyramidnet-110-48", "shufflenet-g3", "ghostnet", "c3d", "pix2pix-generator",
    "fpn-resnet50", "yolov3", "vnet", "eegnet-8-2", "espcn-x3", "fcn-8s", "wavenet-10",
    "vit-b-16", "swin-t", "bert-base", "char-rnn", "torchvision/maxvit_t",
)  # fmt: skip


@cache
def network(name: str) -> Graph:
    """Load a network without params."""
    return load(name)


@cache
def report(name: str) -> Report:
    """Analyse a network under the default conditions."""
    return analyze(network(name))
