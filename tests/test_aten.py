"""Rules by ATen name against PyTorch's counter of FLOPs, on meta tensors."""

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from archcalc.importers.aten import RULES, AtenCall, Tensor, facts
from archcalc.ops.sequence import LSTM
from archcalc.ops.shape import Tokens
from archcalc.pytorch.measure import flop_counter

F = torch.nn.functional


class Recorder(TorchDispatchMode):
    """Record the calls of functions, with their real tensors."""

    def __init__(self):
        super().__init__()
        self.calls = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        self.calls.append((func._schema.name.removeprefix("aten::"), args, kwargs or {}, out))
        return out


def described(value):
    if isinstance(value, torch.Tensor):
        return Tensor(tuple(value.shape), str(value.dtype).removeprefix("torch."))
    return type(value)(map(described, value)) if isinstance(value, list | tuple) else value


def leaves(value):
    if isinstance(value, torch.Tensor):
        return [value]
    return [leaf for one in value for leaf in leaves(one)] if isinstance(value, list | tuple) else []


def recorded(function, tensors):
    """The last call that a function makes."""
    with torch.inference_mode(), Recorder() as recorder:
        function(*[tensor.detach().clone() for tensor in tensors])
    name, args, named, out = recorder.calls[-1]
    made = described(tuple(leaves(out if isinstance(out, list | tuple) else [out])))
    return AtenCall(name, described(args), {key: described(one) for key, one in named.items()}, made)


def t(*sizes, dtype=torch.float32):
    return torch.empty(sizes, dtype=dtype, device="meta")


def numbers(*sizes):
    return t(*sizes, dtype=torch.int64)


MASK = t(2, 3, 4, dtype=torch.bool)
X, ROW, IMAGE = t(2, 3, 4), t(4), t(2, 6, 8, 8)
HEADS = [torch.zeros(2, 3, 5, 8)] * 3  # on the CPU, since PyTorch has fused attention there, but not on meta
CASES = {  # function, its tensors
    "add": (lambda a, b: a + b, X, ROW),
    "add alpha": (lambda a, b: torch.add(a, b, alpha=2), X, X),
    "add number": (lambda a: a + 1, X),
    "add_": (lambda a, b: a.add_(b), X, ROW),
    "sub": (lambda a, b: a - b, X, ROW),
    "rsub": (lambda a: 1 - a, X),
    "mul": (lambda a, b: a * b, X, ROW),
    "mul number": (lambda a: a * 0.5, X),
    "mul_": (lambda a, b: a.mul_(b), X, ROW),
    "div": (lambda a, b: a / b, X, ROW),
    "div number": (lambda a: a / 2, X),
    "maximum": (torch.maximum, X, ROW),
    "addcmul": (torch.addcmul, X, X, ROW),
    "addcdiv": (torch.addcdiv, X, X, ROW),
    "lerp": (torch.lerp, X, X, X),
    "lerp number": (lambda a, b: torch.lerp(a, b, 0.3), X, X),
    "where": (torch.where, MASK, X, X),
    "masked_fill": (lambda a, m: a.masked_fill(m, 0), X, MASK),
    "eq": (lambda a, b: a == b, X, X),
    **{
        name: (getattr(torch, name), X)
        for name in [
            "abs",
            "sqrt",
            "rsqrt",
            "square",
            "reciprocal",
            "log",
            "log2",
            "log10",
            "log1p",
            "expm1",
            "exp",
            "erf",
            "sin",
            "cos",
            "sign",
            "floor",
            "neg",
            "tanh",
            "sigmoid",
            "clone",
        ]
    },
    **{
        name: (getattr(F, name), X)
        for name in [
            "relu",
            "relu6",
            "leaky_relu",
            "elu",
            "selu",
            "silu",
            "mish",
            "softplus",
            "hardsigmoid",
            "hardswish",
            "gelu",
            "hardtanh",
        ]
    },
    **{
        name + "_": (lambda a, name=name: getattr(F, name)(a, inplace=True), X)
        for name in [
            "relu",
            "relu6",
            "leaky_relu",
            "elu",
            "selu",
            "silu",
            "mish",
            "hardsigmoid",
            "hardswish",
            "hardtanh",
        ]
    },
    "gelu tanh": (lambda a: F.gelu(a, approximate="tanh"), X),
    "clamp": (lambda a: a.clamp(-1, 1), X),
    "clamp_min": (lambda a: a.clamp_min(0.1), X),
    "clamp tensors": (torch.clamp, X, ROW, ROW),
    **{f"pow {e}": (lambda a, e=e: a.pow(e), X) for e in (1.5, 2, 3, 0.5, -1)},
    "pow number": (lambda a: torch.pow(10000.0, a), X),
    "view": (lambda a: a.view(6, 4), X),
    "reshape copy": (lambda a: a.transpose(0, 2).reshape(-1), X),
    "transpose": (lambda a: a.transpose(1, 2), X),
    "permute": (lambda a: a.permute(2, 0, 1), X),
    "contiguous": (lambda a: a.contiguous(), X),
    "expand": (lambda a: a.expand(2, 3, 4), ROW),
    "unbind": (lambda a: a.unbind(0), X),
    "split": (lambda a: a.split(1, 1), X),
    "chunk": (lambda a: a.chunk(2, 2), X),
    "slice": (lambda a: a[:, 1:], X),
    "select": (lambda a: a.select(0, 1), X),
    "cat": (lambda a, b: torch.cat([a, b], 1), X, X),
    "stack": (lambda a, b: torch.stack([a, b]), X, X),
    "roll": (lambda a: a.roll(1, 2), X),
    "pad": (lambda a: F.pad(a, [1, 1]), X),
    "repeat": (lambda a: a.repeat(2, 1, 1), X),
    "flip": (lambda a: a.flip(1), X),
    "tril": (torch.tril, t(4, 4)),
    "index": (lambda a, i: a[i], X, numbers(5)),
    "gather": (lambda a, i: a.gather(1, i), X, numbers(2, 2, 4)),
    "index_select": (lambda a, i: a.index_select(1, i), X, numbers(5)),
    "embedding": (lambda w, i: F.embedding(i, w), t(10, 4), numbers(2, 5)),
    "one_hot": (lambda i: F.one_hot(i, 7), numbers(5)),
    "scatter_add": (lambda a, i, b: a.scatter_add(1, i, b), X, numbers(2, 3, 4), X),
    "unfold": (lambda a: F.unfold(a, 3), IMAGE),
    "fold": (lambda a: F.fold(a, (8, 8), 3), t(2, 54, 36)),
    "windows": (lambda a: a.unfold(2, 4, 2), IMAGE),
    **{name: (getattr(torch, name), X) for name in ["sum", "mean", "var", "std", "amax", "prod", "max", "argmax"]},
    "mean dim": (lambda a: a.mean((1, 2)), X),
    "var dim": (lambda a: a.var(1, unbiased=False), X),
    "max dim": (lambda a: a.max(1), X),
    "sort": (lambda a: a.sort(1), X),
    "topk": (lambda a: a.topk(2, 1), X),
    "cumsum": (lambda a: a.cumsum(1), X),
    "logsumexp": (lambda a: a.logsumexp(1), X),
    "norm": (lambda a: torch.linalg.vector_norm(a, dim=1), X),
    "norm 1": (lambda a: torch.linalg.vector_norm(a, 1, dim=1), X),
    "softmax": (lambda a: a.softmax(1), X),
    "log_softmax": (lambda a: a.log_softmax(-1), X),
    "layer_norm": (lambda a, w, b: F.layer_norm(a, [4], w, b), X, ROW, ROW),
    "layer_norm plain": (lambda a: F.layer_norm(a, [3, 4]), X),
    "rms_norm": (lambda a, w: F.rms_norm(a, [4], w), X, ROW),
    "rms_norm plain": (lambda a: F.rms_norm(a, [4]), X),
    "group_norm": (lambda a, w, b: F.group_norm(a, 3, w, b), IMAGE, t(6), t(6)),
    "batch_norm train": (lambda a, w, b: F.batch_norm(a, None, None, w, b, True), IMAGE, t(6), t(6)),
    "mm": (torch.mm, t(2, 3), t(3, 5)),
    "bmm": (torch.bmm, t(2, 3, 4), t(2, 4, 5)),
    "matmul": (torch.matmul, t(2, 3, 4, 5), t(2, 3, 5, 6)),
    "addmm": (torch.addmm, t(5), t(2, 3), t(3, 5)),
    "baddbmm": (torch.baddbmm, t(2, 3, 5), t(2, 3, 4), t(2, 4, 5)),
    "linear": (F.linear, X, t(5, 4), t(5)),
    "linear plain": (F.linear, X, t(5, 4)),
    "conv1d": (F.conv1d, t(2, 6, 8), t(4, 6, 3)),
    "conv2d": (lambda a, w, b: F.conv2d(a, w, b, padding=1), IMAGE, t(4, 6, 3, 3), t(4)),
    "conv2d groups": (lambda a, w: F.conv2d(a, w, groups=2), IMAGE, t(4, 3, 3, 3)),  # backward is counted wrongly
    "conv_transpose2d": (lambda a, w: F.conv_transpose2d(a, w, stride=2), IMAGE, t(6, 4, 3, 3)),
    "attention": (F.scaled_dot_product_attention, *HEADS),
    "attention mask": (F.scaled_dot_product_attention, *HEADS, torch.ones(5, 5, dtype=torch.bool)),
    "max_pool2d": (lambda a: F.max_pool2d(a, 2), IMAGE),
    "max_pool2d indices": (lambda a: F.max_pool2d(a, 2, return_indices=True), IMAGE),
    "avg_pool2d": (lambda a: F.avg_pool2d(a, 2), IMAGE),
    "avg_pool1d": (lambda a: F.avg_pool1d(a, 2), t(2, 6, 8)),
    "adaptive_avg_pool2d": (lambda a: F.adaptive_avg_pool2d(a, 3), IMAGE),
    "adaptive_avg_pool2d 1": (lambda a: F.adaptive_avg_pool2d(a, 1), IMAGE),
    "adaptive_max_pool2d": (lambda a: F.adaptive_max_pool2d(a, 3, return_indices=True), IMAGE),
    "bilinear": (lambda a: F.interpolate(a, (9, 9), mode="bilinear"), IMAGE),
    "nearest": (lambda a: F.interpolate(a, scale_factor=2), IMAGE),
}


def counted(function, tensors, backward):
    """Multiply-accumulates by PyTorch's counter."""
    given = [tensor.detach().clone().requires_grad_(tensor.is_floating_point()) for tensor in tensors]
    with flop_counter() as counter:
        out = function(*[one.clone() if one.is_floating_point() else one for one in given])
        ends = [one.sum() for one in leaves([out] if isinstance(out, torch.Tensor) else out) if one.requires_grad]
        if backward and ends:
            sum(ends).backward()
    return counter.get_total_flops() / 2


@pytest.mark.parametrize("case", CASES.keys() - {"conv2d groups"})
def test_multiply_accumulates_are_those_of_pytorchs_counter(case):
    function, *tensors = CASES[case]
    given = facts(recorded(function, tensors))
    work = [given.work or {}, *[work or {} for work in given.gradients]]
    macs = [each.get("mac", 0) for each in work]
    assert macs[0] == counted(function, tensors, False)
    assert sum(macs) == counted(function, tensors, True)


def call(name, *args, made, **named):
    return AtenCall(name, args, named, (Tensor(made),))


BY_HAND = [  # call, work, gradients of its tensors
    (call("add", Tensor((2, 3)), Tensor((3,)), made=(2, 3)), {"add": 6}, [{}, {"add": 3}]),
    (
        call("add", Tensor((2, 3)), Tensor((2, 3)), made=(2, 3), alpha=2),
        {"add": 6, "mul": 6},
        [{}, {"mul": 6}],
    ),
    (call("mul", Tensor((2, 3)), Tensor((2, 1)), made=(2, 3)), {"mul": 6}, [{"mul": 6}, {"mul": 6, "add": 4}]),
    (call("mean", Tensor((2, 3)), [1], made=(2,)), {"add": 4, "div": 2}, [{"div": 6}]),
    (
        call("var", Tensor((2, 3)), [1], made=(2,)),
        {"add": 4 + 6 + 4, "div": 2 + 2, "mul": 6},
        [{"add": 4 + 6, "div": 2, "mul": 6 + 2}],
    ),
    (call("amax", Tensor((2, 3)), [1], made=(2,)), {"compare": 4}, [{"compare": 6, "add": 4, "mul": 6, "div": 6}]),
    (
        call("softmax", Tensor((2, 3)), 1, made=(2, 3)),
        {"compare": 4, "add": 6 + 4, "exp": 6, "div": 6},
        [{"mul": 12, "add": 4 + 6}],
    ),
    (call("cumsum", Tensor((2, 3)), 1, made=(2, 3)), {"add": 4}, [{"add": 4}]),
    (
        call("linear", Tensor((2, 3)), Tensor((4, 3)), Tensor((4,)), made=(2, 4)),
        {"mac": 24, "add": 8},
        [{"mac": 24}, {"mac": 24}, {"add": 4}],
    ),
    (call("mm", Tensor((2, 3), graded=False), Tensor((3, 4)), made=(2, 4)), {"mac": 24}, [{}, {"mac": 24}]),
    (call("pow", Tensor((2,)), 3, made=(2,)), {"mul": 4}, [{"mul": 6}]),
    (call("expand", Tensor((3,)), [2, 3], made=(2, 3)), {}, [{"add": 3}]),
    (call("pad", Tensor((2, 3)), [1, 1], made=(2, 5)), {}, [{}]),
    (call("pad", Tensor((2, 3)), [1, 1], "reflect", made=(2, 5)), {}, [{"add": 10}]),
    (call("sort", Tensor((3,)), made=(3,)), None, [{}]),
    (call("prod", Tensor((3,)), made=()), {"mul": 2}, [None]),
    (
        call("prelu", Tensor((2, 3)), Tensor((3,)), made=(2, 3)),
        {"compare": 6, "mul": 6},
        [{"compare": 6, "mul": 6}, {"compare": 6, "mul": 6, "add": 3}],
    ),
    (
        call("glu", Tensor((2, 6)), made=(2, 3)),
        {"exp": 6, "add": 6, "div": 6, "mul": 6},
        [{"exp": 6, "add": 12, "div": 6, "mul": 18}],
    ),
    (
        call("_trilinear", Tensor((2, 3)), Tensor((5, 3, 4)), Tensor((2, 4)), made=(2, 5)),
        {"mac": 120, "mul": 120},
        [{"mac": 120, "mul": 120}] * 3,
    ),
    (call("affine_grid_generator", Tensor((2, 2, 3)), made=(2, 8, 8, 2)), {"mac": 768}, [{"mac": 768}]),
    (
        call("_weight_norm_interface", Tensor((5, 4)), Tensor((5, 1)), made=(5, 4)),
        {"mul": 40, "add": 15, "sqrt": 5, "div": 5},
        [{"mul": 60, "add": 35, "div": 15}, {"div": 5}],
    ),
    (
        call("_embedding_bag", Tensor((9, 4)), Tensor((6,), "int64"), Tensor((2,), "int64"), False, 1, made=(2, 4)),
        {"add": 16, "div": 8},
        [{"add": 24, "div": 8}, {}, {}],
    ),
    (
        call("linalg_cross", Tensor((2, 3)), Tensor((2, 3)), made=(2, 3)),
        {"mul": 12, "add": 6},
        [{"mul": 12, "add": 6}] * 2,
    ),
    (
        call("var_mean", Tensor((2, 3)), [1], made=(2,)),
        {"add": 4 + 6 + 4, "div": 2 + 2, "mul": 6},
        [{"add": 4 + 6 + 6, "div": 2 + 2, "mul": 6 + 2}],
    ),
    (call("mse_loss", Tensor((3,)), Tensor((3,)), 0, made=(3,)), {"add": 3, "mul": 3}, [{"add": 3, "mul": 6}] * 2),
]


@pytest.mark.parametrize(("given", "work", "gradients"), BY_HAND, ids=lambda one: getattr(one, "name", ""))
def test_work_by_hand(given, work, gradients):
    found = facts(given)
    assert found.work == work
    assert list(found.gradients) == gradients


@pytest.mark.parametrize("first", [True, False])
def test_recurrent_layers_are_those_of_our_operator(first):
    module = torch.nn.LSTM(5, 6, num_layers=2, bidirectional=True, batch_first=first, device="meta")
    found = facts(recorded(lambda x: module(x)[0], [t(2, 7, 5) if first else t(7, 2, 5)]))
    op, x = LSTM(6, num_layers=2, bidirectional=True), Tokens((7, 5))
    y = op.output(x)
    assert found.work == op.batch_work(x, y, 2)
    assert found.gradients[0] == op.input_gradient(x, y, 2)
    assert [work for work in found.gradients[1:] if work] == [op.weight_gradient(x, y, 2)]


def test_a_function_without_a_rule_and_a_complex_number_are_unknown():
    assert facts(call("fft_rfft2", Tensor((3,)), made=(2,))) is None
    assert facts(call("mul", Tensor((3,), "complex64"), made=(3,))) is None
    assert facts(call("view_as_real", Tensor((3,), "complex64"), made=(3, 2))).work == {}


def test_the_cases_have_a_rule_each():
    names = {recorded(function, tensors).name for function, *tensors in CASES.values()}
    assert names <= RULES.keys()
    assert len(names) > 90


@pytest.mark.parametrize(("name", "products"), [("sub", (0, 6)), ("rsub", (6, 0))])
def test_a_factor_multiplies_the_gradient_of_its_argument(name, products):
    """x₁ − α·x₂, and for rsub x₂ − α·x₁."""
    graded = Tensor((2, 3), graded=True)
    found = facts(AtenCall(name, (graded, graded), {"alpha": 2}, (graded,)))
    assert tuple((work or {}).get("mul", 0) for work in found.gradients) == products
