"""Operations without values, as one kernel each: every figure is that of PyTorch's own decomposition."""

import operator

import pytest
import torch
from torch.autograd.graph import saved_tensors_hooks
from torch.nn import functional as F  # noqa: N812  # PyTorch's own name for it
from torch.utils.flop_counter import FlopCounterMode

from archcalc import load
from archcalc.graph.batchnorm_folding import fold_batchnorm
from archcalc.pytorch import meta_kernels, validate
from archcalc.pytorch.measure import Watched
from archcalc.pytorch.meta_kernels import KERNELS, MetaKernels
from archcalc.pytorch.validation import validate_folded

DTYPES = [torch.float32, torch.float64, torch.bfloat16, torch.float16]
SHAPES = [(2, 3), (4, 3, 5), (2, 3, 4, 5), (2, 1, 1, 7)]
FLAGS = [(training, tracked, affine) for training in (True, False) for tracked in (True, False)
         for affine in (True, False) if training or tracked]  # fmt: skip


def outline(tensor):
    """All that a tensor without values is."""
    return None if tensor is None else (tuple(tensor.shape), tensor.stride(), tensor.dtype, tensor.device.type)


def tensors_of(shape, dtype, training, tracked, affine, last):
    """Outlines of the output, of what is saved for backward and of the gradients; FLOPs counted."""
    with torch.device("meta"):
        x = torch.empty(shape, dtype=dtype, requires_grad=True)
        if last and len(shape) == 4:
            x = x.detach().contiguous(memory_format=torch.channels_last).requires_grad_()
        weight, bias = (torch.empty(shape[1], dtype=dtype, requires_grad=True) if affine else None for _ in range(2))
        statistics = [torch.empty(shape[1], dtype=dtype) if tracked else None for _ in range(2)]
    arguments = (x, *statistics, weight, bias, training)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        counted = F.batch_norm(*arguments)
    saved = []
    with saved_tensors_hooks(lambda tensor: saved.append(tensor) or tensor, lambda tensor: tensor):
        y = F.batch_norm(*arguments)
    storages = [tensor.untyped_storage()._cdata for tensor in (x, y, weight, bias, *statistics) if tensor is not None]
    shared = [tensor.untyped_storage()._cdata in storages for tensor in saved]
    y.sum().backward()
    gradients = [None if tensor is None else outline(tensor.grad) for tensor in (x, weight, bias)]
    return outline(counted), outline(y), list(map(outline, saved)), shared, gradients, counter.get_total_flops()


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize(("training", "tracked", "affine"), FLAGS)
def test_tensors_are_those_of_pytorch(shape, dtype, training, tracked, affine):
    for last in (False, True):
        expected = tensors_of(shape, dtype, training, tracked, affine, last)
        with MetaKernels():
            assert tensors_of(shape, dtype, training, tracked, affine, last) == expected
        assert len(expected[2]) > 1


def relu_gradient(shape, dtype, layout, expand):
    """Outline of the gradient of ReLU's input; that of its output is dense, or one value for all."""
    x = torch.empty(shape, dtype=dtype, device="meta").to(memory_format=layout).requires_grad_()
    y = F.relu(x)
    gradient = torch.empty((), dtype=dtype, device="meta").expand(shape) if expand else torch.empty_like(y)
    return outline(*torch.autograd.grad(y, x, gradient))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last], ids=str)
@pytest.mark.parametrize("expand", [True, False])
def test_gradients_of_relu_are_those_of_pytorch(dtype, layout, expand):
    for shape in (2, 3, 4, 5), (2, 1, 1, 7):
        expected = relu_gradient(shape, dtype, layout, expand)
        with MetaKernels():
            assert relu_gradient(shape, dtype, layout, expand) == expected


def test_the_test_of_gradients_would_notice(monkeypatch):
    arguments = (2, 3, 4, 5), torch.float32, torch.channels_last, False
    expected = relu_gradient(*arguments)
    wrong = {torch.ops.aten.threshold_backward.default: lambda gradient, x, threshold: x.new_empty(x.shape)}
    monkeypatch.setattr(meta_kernels, "KERNELS", wrong)
    with MetaKernels():
        assert relu_gradient(*arguments) != expected


def figures(graph, dtype, training):
    """All that PyTorch says of a network without values."""
    with torch.device("meta"):
        network = Watched(graph).to(dtype)
        image = torch.rand(2, *graph.input, dtype=dtype, requires_grad=True)
    network.train(training).measure([image])
    noted = operator.attrgetter("outputs", "written", "macs", "saved", "held", "grown")(network)
    return *noted, [outline(weight.grad) for weight in (image, *network.parameters())]


NETWORKS = [
    ("resnet20", {"n": 1}), ("preresnet164", {"n": 1}), ("vgg11", {}), ("seresnet50", {"depths": (1, 1, 1, 1)}),
    ("torchvision/densenet121", {"depths": (1, 2, 1, 1)}), ("fractalnet-20", {"columns": 2}),
    ("torchvision/googlenet", {}),
]  # fmt: skip
SETTINGS = [  # folded, dtype, training
    (False, torch.float32, True), (False, torch.bfloat16, True), (False, torch.float64, False),
    (True, torch.float32, True),
]  # fmt: skip


@pytest.mark.parametrize(("name", "params"), NETWORKS, ids=str)
def test_figures_of_networks_are_those_of_pytorch(name, params):
    graph = load(name, **params)
    for folded, dtype, training in SETTINGS:
        given = fold_batchnorm(graph) if folded else graph
        expected = figures(given, dtype, training)
        with MetaKernels():
            assert figures(given, dtype, training) == expected


@pytest.mark.parametrize("compare", [validate, validate_folded])
def test_a_validation_has_the_same_checks(compare, monkeypatch):
    made = compare(load("torchvision/resnet18"), "meta")
    monkeypatch.setattr(meta_kernels, "KERNELS", {})
    assert compare(load("torchvision/resnet18"), "meta").checks == made.checks


LIES = {
    "output": lambda x, *arguments: (x.new_empty(2), *KERNELS[TRAINED](x, *arguments)[1:]),
    "saved": lambda x, *arguments: (*KERNELS[TRAINED](x, *arguments)[:2], x.new_empty(9)),
}
TRAINED = torch.ops.aten.native_batch_norm.default


@pytest.mark.parametrize("lie", LIES)
def test_the_tests_above_would_notice(lie, monkeypatch):
    graph = load("resnet20", n=1)
    expected = figures(graph, torch.float32, True)
    monkeypatch.setattr(meta_kernels, "KERNELS", KERNELS | {TRAINED: LIES[lie]})
    with MetaKernels():
        try:
            found = figures(graph, torch.float32, True)
        except (RuntimeError, IndexError):  # the next layer cannot run
            return
    assert found != expected


def test_every_kernel_is_used(monkeypatch):
    used = set()

    def noted(operation):
        return lambda *arguments: used.add(operation) or KERNELS[operation](*arguments)

    monkeypatch.setattr(meta_kernels, "KERNELS", {operation: noted(operation) for operation in KERNELS})
    for flags in FLAGS:
        with MetaKernels():
            tensors_of((2, 3, 4, 5), torch.float32, *flags, last=False)
    with MetaKernels():
        relu_gradient((2, 3, 4, 5), torch.float32, torch.contiguous_format, expand=False)
    assert used == set(KERNELS)


@pytest.mark.parametrize("wrong", ["weight", "running_mean"])
def test_channels_that_do_not_match_are_refused(wrong):
    layer = torch.nn.BatchNorm2d(3, device="meta")
    setattr(layer, wrong, torch.nn.Parameter(torch.empty(4, device="meta"), requires_grad=wrong == "weight"))
    with MetaKernels(), pytest.raises(RuntimeError, match=f"{wrong} should contain 3 elements not 4"):
        layer(torch.empty(2, 3, 5, 5, device="meta"))


def test_values_elsewhere_are_computed():
    layer, x = torch.nn.BatchNorm2d(3), torch.rand(2, 3, 5, 5)
    with MetaKernels():
        assert torch.allclose(layer(x).mean((0, 2, 3)), torch.zeros(3), atol=1e-6)
    assert layer.running_mean.abs().min() > 0
