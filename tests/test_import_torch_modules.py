"""Every module of torch.nn, imported: equal to PyTorch, or listed here as what stays unknown or cannot be imported."""

import inspect

import pytest

torch = pytest.importorskip("torch")

from support.plain_modules import module  # noqa: E402
from torch import nn  # noqa: E402

from archcalc.importers.torch import from_torch  # noqa: E402
from archcalc.ops.imported import Imported  # noqa: E402
from archcalc.pytorch.import_validation import import_or_say  # noqa: E402

LINE, IMAGE, VOLUME, TOKENS = (4, 16), (4, 8, 8), (4, 6, 8, 8), (5, 8)
SIZES = {1: LINE, 2: IMAGE, 3: VOLUME}
PLAIN = """
ELU CELU GELU GLU Hardshrink Hardsigmoid Hardswish Hardtanh LeakyReLU LogSigmoid Mish PReLU RReLU ReLU ReLU6 SELU SiLU
Sigmoid Softplus Softshrink Softsign Tanh Tanhshrink Dropout AlphaDropout Flatten
"""
LOSSES = "L1Loss MSELoss SmoothL1Loss HuberLoss BCELoss BCEWithLogitsLoss PoissonNLLLoss KLDivLoss"
MODULES = {  # by the name of the class, what is made of it, and the sizes of its input
    **{name: (lambda cls: cls(), (4, 8)) for name in PLAIN.split()},
    **{name: (lambda cls: cls(dim=-1), (4, 8)) for name in ("Softmax", "LogSoftmax", "Softmin")},
    **{name: (lambda cls: cls(), IMAGE) for name in ("Softmax2d", "FeatureAlphaDropout")},
    **{name: (lambda cls: cls(reduction="none"), (TOKENS, TOKENS)) for name in LOSSES.split()},
    **{name: (lambda cls: cls(8, 6, batch_first=True), TOKENS) for name in ("LSTM", "GRU", "RNN")},
    **{name: (lambda cls: cls(8, 6), (8,)) for name in ("LSTMCell", "GRUCell", "RNNCell")},
    "Threshold": (lambda cls: cls(0.1, 0.2), (4, 8)),
    "Linear": (lambda cls: cls(8, 5), TOKENS),
    "Bilinear": (lambda cls: cls(8, 4, 5), ((8,), (4,))),
    "Embedding": (lambda cls: cls(9, 4), ("int64", (5,))),
    "EmbeddingBag": (lambda cls: cls(9, 4), ("int64", (5,))),
    "LayerNorm": (lambda cls: cls(8), TOKENS),
    "RMSNorm": (lambda cls: cls(8), TOKENS),
    "GroupNorm": (lambda cls: cls(2, 4), IMAGE),
    "LocalResponseNorm": (lambda cls: cls(3), IMAGE),
    "CrossMapLRN2d": (lambda cls: cls(3), IMAGE),
    "SyncBatchNorm": (lambda cls: cls(4), IMAGE),
    "Fold": (lambda cls: cls((8, 8), 3), (27, 36)),
    "Unfold": (lambda cls: cls(3), IMAGE),
    "Unflatten": (lambda cls: cls(1, (2, 2)), IMAGE),
    "PixelShuffle": (lambda cls: cls(2), IMAGE),
    "PixelUnshuffle": (lambda cls: cls(2), IMAGE),
    "ChannelShuffle": (lambda cls: cls(2), IMAGE),
    "Upsample": (lambda cls: cls(scale_factor=2, mode="bicubic"), IMAGE),
    "UpsamplingBilinear2d": (lambda cls: cls(scale_factor=2), IMAGE),
    "UpsamplingNearest2d": (lambda cls: cls(scale_factor=2), IMAGE),
    "CosineSimilarity": (lambda cls: cls(), (TOKENS, TOKENS)),
    "PairwiseDistance": (lambda cls: cls(), (TOKENS, TOKENS)),
    "FractionalMaxPool2d": (lambda cls: cls(2, output_size=4), IMAGE),
    "FractionalMaxPool3d": (lambda cls: cls(2, output_size=3), VOLUME),
    "MultiheadAttention": (
        lambda cls: module(lambda self, x: self.own(x, x, x)[0], own=cls(8, 2, batch_first=True)), TOKENS
    ),
    "TransformerEncoderLayer": (lambda cls: cls(8, 2, 16, 0.0, batch_first=True), TOKENS),
    "TransformerDecoderLayer": (lambda cls: cls(8, 2, 16, 0.0, batch_first=True), (TOKENS, (7, 8))),
    "TransformerEncoder": (lambda cls: cls(nn.TransformerEncoderLayer(8, 2, 16, 0.0, batch_first=True), 2), TOKENS),
    "TransformerDecoder": (
        lambda cls: cls(nn.TransformerDecoderLayer(8, 2, 16, 0.0, batch_first=True), 2), (TOKENS, (7, 8))
    ),
    "Transformer": (lambda cls: cls(8, 2, 1, 1, 16, 0.0, batch_first=True), (TOKENS, (7, 8))),
    "MaxUnpool": (lambda cls: None, IMAGE),
}  # fmt: skip
PER_AXES = {  # names that end with 1d, 2d and 3d
    **{name: lambda cls: cls(4, 4, 3) for name in ("Conv", "ConvTranspose")},
    **{name: lambda cls: cls(2) for name in ("MaxPool", "AvgPool", "AdaptiveAvgPool", "AdaptiveMaxPool")},
    **{name: lambda cls: cls(1) for name in ("ZeroPad", "ReflectionPad", "ReplicationPad", "CircularPad")},
    **{name: lambda cls: cls(4, affine=True) for name in ("BatchNorm", "InstanceNorm")},
    "ConstantPad": lambda cls: cls(1, 0.5),
    "LPPool": lambda cls: cls(2, 2),
    "Dropout": lambda cls: cls(),
}
MODULES |= {f"{name}{n}d": (make, SIZES[n]) for name, make in PER_AXES.items() for n in SIZES}
MODULES |= {
    f"MaxUnpool{n}d": (
        lambda cls, n=n: module(
            lambda self, x: self.unpool(*self.pool(x)), pool=getattr(nn, f"MaxPool{n}d")(2, return_indices=True),
            unpool=cls(2),
        ), SIZES[n],
    )
    for n in SIZES
}  # fmt: skip
del MODULES["MaxUnpool"]
NO_WORK = {"FractionalMaxPool2d", "FractionalMaxPool3d"}  # the windows are drawn
NO_MEMORY = {"LSTM", "GRU", "RNN", "CrossMapLRN2d"}  # kernels of their own, and a result of another size in place
LEFT_OUT = {
    "Module", "Sequential", "ModuleList", "ModuleDict", "ParameterList", "ParameterDict", "Container",  # no layers
    "Identity",  # it calls nothing
    "AdaptiveLogSoftmaxWithLoss", "GaussianNLLLoss", "CTCLoss",  # they look at values, or do not run on meta
    "CrossEntropyLoss", "NLLLoss", "NLLLoss2d", "MultiMarginLoss", "MultiLabelMarginLoss", "SoftMarginLoss",
    "MultiLabelSoftMarginLoss", "CosineEmbeddingLoss", "MarginRankingLoss", "HingeEmbeddingLoss", "TripletMarginLoss",
    "TripletMarginWithDistanceLoss", "LinearCrossEntropyLoss",  # losses of labels, which are no part of a network
    "RNNBase", "RNNCellBase", "DataParallel",  # bases of others, and a way to run several
}  # fmt: skip


def test_the_list_has_every_module():
    found = {name for name, cls in vars(nn).items() if inspect.isclass(cls) and issubclass(cls, nn.Module)}
    lazy = {name for name in found if name.startswith("Lazy")}  # refused, see test_import_torch.py
    assert found - lazy - LEFT_OUT == MODULES.keys()


def tensors(sizes, batch):
    """The inputs of a module for a batch, on meta."""
    if isinstance(sizes[0], str):
        return (torch.zeros(batch, *sizes[1], dtype=getattr(torch, sizes[0]), device="meta"),)
    every = [sizes] if isinstance(sizes[0], int) else sizes
    return tuple([torch.empty(batch, *each, device="meta") for each in every])


@pytest.mark.parametrize("dtype", ["float64", "bfloat16"])
def test_a_module_is_validated_in_its_own_dtype(dtype):
    made = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 2, 1)).to(getattr(torch, dtype))
    image = torch.empty(2, 3, 9, 9, dtype=getattr(torch, dtype), device="meta")
    found = import_or_say(from_torch(made, (3, 9, 9)), lambda batch: (made, ((image,), {})), 2)
    assert (found.dtype, [check.equal for check in found.checks]) == (dtype, [True] * 3)


def test_side_outputs_are_validated_too():
    made = module(
        lambda self, x: (self.body(x), self.aux(x)) if self.training else self.body(x), body=nn.Linear(4, 3),
        aux=nn.Linear(4, 2),
    )  # fmt: skip
    found = import_or_say(from_torch(made, (4,)), lambda batch: (made, (tensors((4,), 2), {})), 2)
    assert [(check.expected, check.equal) for check in found.checks] == [(25, True), (24, True), (32, True)]


@pytest.mark.filterwarnings("ignore:reduction|enable_nested_tensor")
@pytest.mark.parametrize("name", sorted(MODULES))
def test_a_module_has_the_figures_of_pytorch_or_says_that_they_are_unknown(name):
    make, sizes = MODULES[name]
    graph, twin = from_torch(make(getattr(nn, name)), sizes), make(getattr(nn, name))
    assert any(isinstance(n.op, Imported) and n.op.counts is None for n in graph.nodes) == (name in NO_WORK)
    found = import_or_say(graph, lambda batch: (twin, (tensors(sizes, batch), {})), 2)
    assert not found.problem
    unknown = {figure for figure, names in {"macs": NO_WORK, "saved_bytes": NO_MEMORY}.items() if name in names}
    assert {check.figure for check in found.checks} == {"params", "macs", "saved_bytes"} - unknown
    assert not found.failed
