"""What every operator's module computes, against `reference_operators.py`; where it draws at random, over many draws.

In float64, in evaluation and in training, with weights and buffers at random; buffers afterwards are compared too.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from support.operator_cases import CASES, OFTEN_IN_PLACE, READING, case_id, made
from support.operator_strategies import WRITTEN, examples
from support.operator_values import BATCH, Example, by_name, fits, fitting, images, module
from support.reference_operators import REFERENCES, compute
from support.torch_seed import seed_torch
from support.torch_warnings import lopsided_padding
from torch import Tensor

from archcalc.ops import REGISTRY, Operator, make
from archcalc.ops.activation import GELU, HardSwish, ScaledTanh, Softmax
from archcalc.ops.normalization import LRN, GroupNorm, LayerNorm
from archcalc.ops.pooling import AvgPool
from archcalc.ops.shape import Features, Ids, Map, Tokens, shape_of
from archcalc.ops.shaping import Dropout
from archcalc.ops.upsampling import Upsample
from archcalc.pytorch.network import module_of


class Outcome(NamedTuple):
    output: Tensor
    state: dict[str, Tensor]  # afterwards


@pytest.fixture(autouse=True)
def lopsided() -> Iterator[None]:
    with lopsided_padding():
        yield


def outcomes(example: Example, training: bool) -> tuple[Outcome, Outcome]:
    """The module's and the reference's, with the same weights and the same draws."""
    made, xs = module(example, training), images(example)
    state = {name: tensor.clone() for name, tensor in made.state_dict().items()}
    with torch.no_grad():
        seed_torch(2)
        expected = Outcome(compute(example.name, example.keywords, xs, state, training, axes_of_input(example)), state)
        seed_torch(2)
        return Outcome(made(*xs), made.state_dict()), expected


def axes_of_input(example: Example) -> str:
    return getattr(example.x[0] if example.op.joins else example.x, "axes", "")


def observed(example: Example, training: bool) -> Outcome:
    return outcomes(example, training)[0]


def compare(example: Example) -> None:
    """Raise AssertionError unless the operator computes what its reference does."""
    for training in (False, True):
        told = partial("{}\n{}".format, example)
        torch.testing.assert_close(*outcomes(example, training), rtol=1e-12, atol=1e-12, equal_nan=True, msg=told)


@pytest.mark.parametrize("case", CASES, ids=case_id)
def test_hand_picked(case: Any) -> None:
    compare(by_name(case))


@pytest.mark.parametrize("dropout", [0.4, 1])
@pytest.mark.parametrize("name", ["attention", "multihead_attention", "cross_attention"])
def test_attention_drops_weights_in_training(name: str, dropout: float) -> None:
    changed = next(example for example, changes in CHANGES if example.name == name and "dropout" in changes)
    compare(changed._replace(keywords=changed.keywords | {"dropout": dropout}))


@pytest.mark.parametrize("name", WRITTEN)
@given(data=st.data())
@examples(40)
def test_random(name: str, data: st.DataObject) -> None:
    compare(data.draw(fitting(name).filter(fits)))


CHANNEL_DROPOUTS = {"dropout1d": (4, 9), "dropout2d": (4, 3, 3), "dropout3d": (4, 2, 3, 2)}
# An operator, and for each of its arguments another value than it has there.
CHANGES = [
    (
        Example("conv", (4, 7, 7), {"out_channels": 4, "kernel_size": 3}),
        {
            "out_channels": 6, "kernel_size": 2, "stride": 2, "padding": 1, "dilation": 2, "groups": 2, "bias": False,
            "connections": ((0, 1), (1, 2), (2,), (0, 3)),
        },
    ),
    (Example("conv", (4, 7, 7), {"out_channels": 4, "kernel_size": 3, "padding": 1}), {"padding_mode": "circular"}),
    (
        Example("conv", (4, 7, 7), {"out_channels": 3, "kernel_size": 3, "connections": ((0,), (1, 2), (3,))}),
        {
            "kernel_size": 2, "stride": 2, "padding": "same", "dilation": 2, "bias": False,
            "connections": ((0,), (1, 3), (3,)),
        },
    ),
    (
        Example("conv_transpose", (4, 5, 5), {"out_channels": 4, "kernel_size": 3, "stride": 2}),
        {
            "out_channels": 6, "kernel_size": 2, "stride": 3, "padding": 1, "output_padding": 1, "groups": 2,
            "bias": False, "dilation": 2,
        },
    ),
    (Example("linear", (5,), {"out_features": 4}), {"out_features": 3, "bias": False}),
    (Example("rbf", (5,), {"out_features": 4}), {"out_features": 3}),
    (
        Example("batchnorm", (4, 3, 3), {}),
        {"eps": 0.1, "momentum": 0.2, "affine": False, "track_running_stats": False},
    ),
    (
        Example("layernorm", (4, 3, 3), {}),
        {"normalized_shape": (3, 3), "eps": 0.1, "elementwise_affine": False, "bias": False},
    ),
    (Example("groupnorm", (4, 3, 3), {"num_groups": 2}), {"num_groups": 4, "eps": 0.1, "affine": False}),
    (
        Example("instancenorm", (4, 3, 3), {"track_running_stats": True}),
        {"eps": 0.1, "momentum": 0.2, "affine": True, "track_running_stats": False},
    ),
    (Example("channel_layernorm", (4, 3, 3), {}), {"eps": 0.1, "elementwise_affine": False, "bias": False}),
    (Example("rmsnorm", (4,), {}), {"eps": 0.1, "elementwise_affine": False}),
    (Example("normalize", (4, 3, 3), {}), {"eps": 100}),
    *((Example(name, x, {}), {"p": 0.6}) for name, x in CHANNEL_DROPOUTS.items()),
    (Example("lrn", (6, 3, 3), {"size": 3}), {"size": 4, "alpha": 1, "beta": 0.5, "k": 2}),
    (Example("scaled_tanh", (5,), {}), {"amplitude": 1.5, "slope": 0.5}),
    (Example("leaky_relu", (5,), {}), {"negative_slope": -0.5}),
    (Example("elu", (5,), {}), {"alpha": 0.5}),
    (Example("prelu", (5,), {}), {"num_parameters": 5}),
    (Example("softplus", (5,), {}), {"beta": 2, "threshold": 0.1}),
    (Example("clamp", (5,), {"min": -0.5}), {"min": -0.2, "max": 0.1}),
    (Example("gelu", (5,), {}), {"approximate": "tanh"}),
    (
        Example("maxpool", (2, 8, 8), {"kernel_size": 3}),
        {"kernel_size": 2, "stride": 2, "padding": 1, "dilation": 2, "ceil_mode": True},
    ),
    (
        Example("avgpool", (2, 9, 9), {"kernel_size": 3, "padding": 1}),
        {"kernel_size": 2, "stride": 2, "padding": 0, "ceil_mode": True, "count_include_pad": False,
         "divisor_override": 2},
    ),
    (
        Example("subsample", (2, 8, 8), {"kernel_size": 3}),
        {"kernel_size": 2, "stride": 2, "padding": 1, "ceil_mode": True},
    ),
    (Example("adaptive_avgpool", (2, 7, 7), {"output_size": 3}), {"output_size": (3, 2)}),
    (Example("adaptive_maxpool", (2, 7, 7), {"output_size": 3}), {"output_size": (2, 3)}),
    (Example("upsample", (2, 3, 3), {"size": 5}), {"size": (5, 6), "mode": "bilinear"}),
    (Example("upsample", (2, 3, 3), {"scale_factor": 2}), {"scale_factor": (2, 3), "mode": "bicubic"}),
    (Example("upsample", (2, 3, 3), {"scale_factor": 1.5, "mode": "bilinear"}), {"align_corners": True}),
    (Example("concat", ((4, 3, 3),) * 2, {}), {"axis": "H"}),
    (Example("permute", (4, 3, 3), {"axes": "CHW"}), {"axes": "HWC"}),
    (Example("reshape", (4, 3, 3), {"C": -1, "H": 2, "W": 3}), {"H": 6, "W": 2}),
    (Example("reshape", (4, 3, 3), {"C": 6, "L": -1}), {"C": 4}),
    (Example("reshape", (4, 3, 3), {"C": -1, "L": 6}), {"L": 3}),
    (Example("reshape", (4, 3, 3), {"C": -1, "D": 2, "H": 3, "W": 1}), {"D": 3}),
    (Example("reshape", (4, 3, 3), {"C": -1, "T": 6}), {"T": 4}),
    (Example("repeat", (4, 3, 3), {}), {"C": 2, "H": 2, "W": 2}),
    (Example("repeat", shape_of((2, 2, 3, 3), "CDHW"), {}), {"D": 2}),
    (Example("repeat", shape_of((4, 3), "CL"), {}), {"L": 2}),
    (Example("repeat", shape_of((4, 3), "TC"), {}), {"T": 2}),
    (Example("roll", (4, 3, 3), {"shifts": 1}), {"shifts": (1, 2)}),
    (Example("pixel_shuffle", (36, 2, 2), {"upscale_factor": 2}), {"upscale_factor": 3}),
    (Example("pixel_unshuffle", (2, 6, 6), {"downscale_factor": 2}), {"downscale_factor": 3}),
    (Example("slice", (6, 7, 7), {"start": 1, "stop": 5}), {"start": 2, "stop": None, "step": 2, "axis": "H"}),
    (Example("chunk", (6, 7, 7), {"chunks": 2, "index": 0}), {"chunks": 3, "index": 1, "axis": "W"}),
    (Example("center_crop", (2, 7, 7), {"size": 3}), {"size": (3, 4)}),
    (Example("pad", (2, 7, 7), {"padding": 1}), {"padding": (1, 2), "mode": "reflect", "value": 2}),
    (Example("mean", ((4, 3, 3),) * 3, {"p": 0.9}), {"p": 0}),
    (Example("channel_shuffle", (12,), {"groups": 3}), {"groups": 4}),
    (Example("pad_shortcut", (4, 5, 5), {"out_channels": 6}), {"out_channels": 7, "stride": (1, 2)}),
    (Example("dropout", (4, 3, 3), {}), {"p": 0.6}),
    (Example("droppath", (4, 3, 3), {"p": 0.5}), {"p": 0.6}),
    (Example("stochastic_depth", (4, 3, 3), {"p": 0.5}), {"p": 0.6}),
    (
        Example("embedding", Ids((9,)), {"num_embeddings": 4, "embedding_dim": 3}),
        {"num_embeddings": 6, "embedding_dim": 5},
    ),
    (Example("rnn", Tokens((4, 3)), {"hidden_size": 3}), {"nonlinearity": "relu"}),
    (Example("upsample", (2, 3, 3), {"size": 5}), {"mode": "nearest-exact"}),
    *(
        (
            Example(name, Tokens((4, 3)), {"hidden_size": 3}),
            {"hidden_size": 4, "num_layers": 2, "bias": False, "bidirectional": True},
        )
        for name in ("rnn", "lstm", "gru")
    ),
    (
        Example("window_attention", Tokens((6, 4, 8)), {"window_size": 2, "num_heads": 2}),
        {"window_size": 3, "num_heads": 4, "shift": 1, "grid": True, "scale": 0.25},
    ),
    (
        Example("cosine_window_attention", Tokens((6, 4, 8)), {"window_size": 2, "num_heads": 2}),
        {"window_size": 3, "num_heads": 4, "shift": 1},
    ),
    (Example("matmul", (Tokens((4, 4)),) * 2, {}), {"transpose": True}),
    (Example("rotary_embedding", Tokens((4, 8)), {"num_heads": 1}), {"num_heads": 2, "base": 100}),
    (Example("attention", (Tokens((4, 8)),) * 3, {"num_heads": 2}), {"num_heads": 4, "causal": True, "dropout": 0.4}),
    (Example("attention", (Tokens((4, 8)), *[Tokens((4, 4))] * 2), {"num_heads": 4, "kv_heads": 2}), {"causal": True}),
    (
        Example("multihead_attention", Tokens((4, 8)), {"num_heads": 2}),
        {"num_heads": 4, "bias": False, "causal": True, "dropout": 0.4},
    ),
    (
        Example("cross_attention", (Tokens((4, 8)), Tokens((5, 6))), {"num_heads": 2}),
        {"num_heads": 4, "bias": False, "dropout": 0.4},
    ),
]  # fmt: skip
IN_PLACE = ("relu", "dropout", "leaky_relu", *OFTEN_IN_PLACE, *CHANNEL_DROPOUTS)
CHANGES_NO_VALUE = {
    **{(name, "inplace"): "where values are written, not which: see test_in_place" for name in ("add", *IN_PLACE)},
    ("embedding", "padding_idx"): "which row starts as zeros and gets no gradient: see test_ops_gradients",
    ("attention", "kv_heads"): "how many features key and value have: see test_random",
    ("input", "shape"): "what the image has; the module hands it on",
}


def test_every_argument_is_changed() -> None:
    changed = {(example.name, argument) for example, changes in CHANGES for argument in changes}
    declared_ones = {(name, argument) for name in READING for argument in REGISTRY[name].types}
    assert changed | CHANGES_NO_VALUE.keys() == declared_ones
    assert not changed & CHANGES_NO_VALUE.keys()


def change_id(value: Any) -> str:
    return value.name if isinstance(value, Example) else str(value)


CHANGED = [(example, name, value) for example, changes in CHANGES for name, value in changes.items()]


@pytest.mark.parametrize(("example", "argument", "value"), CHANGED, ids=change_id)
def test_every_argument_counts(example: Example, argument: str, value: Any) -> None:
    other = example._replace(keywords=example.keywords | {argument: value})
    assert any(different(observed(example, training), observed(other, training)) for training in (False, True))
    for each in (example, other):
        compare(each)


def different(one: Outcome, other: Outcome) -> bool:
    if one.state.keys() != other.state.keys() or one.output.shape != other.output.shape:
        return True
    return any(not torch.equal(a, b) for a, b in zip(tensors(one), tensors(other), strict=True))


def tensors(outcome: Outcome) -> list[Tensor]:
    return [outcome.output, *outcome.state.values()]


@pytest.mark.parametrize("inplace", [True, False])
@pytest.mark.parametrize("name", IN_PLACE)
def test_in_place(name: str, inplace: bool) -> None:
    shape = CHANNEL_DROPOUTS.get(name, (5,))
    x = torch.randn(BATCH, *shape)
    y = module(Example(name, shape, {"inplace": inplace}), training=True)(x)
    assert (y.data_ptr() == x.data_ptr()) == inplace


REALS = {(name, key) for name in READING for key, kind in REGISTRY[name].types.items() if kind.endswith("Real")}
REALS -= {("rotary_embedding", "base")}  # no operator of PyTorch's


@pytest.mark.parametrize("value", [-1, -1e-5, 0, 0.0, 1e-300, 2**62])
@pytest.mark.parametrize(("name", "argument"), sorted(REALS))
def test_refuses_the_numbers_that_torch_refuses(name: str, argument: str, value: float) -> None:
    """In training; in evaluation alone torch takes an eps of 0."""
    plain = next(example for example, _ in CHANGES if example.name == name)
    written = plain._replace(keywords=plain.keywords | {argument: value})
    assert refuses(lambda: written.op) == refuses(lambda: computed(written, module(plain, training=True).state_dict()))


def computed(example: Example, state: dict[str, Tensor]) -> Tensor:
    return compute(example.name, example.keywords, [torch.ones(BATCH, *example.x).double()], state, True)


def refuses(action: Callable[[], object]) -> bool:
    try:
        action()
    except ValueError:
        return True
    return False


def test_every_operator_has_a_reference() -> None:
    assert set(REFERENCES) == {*READING, "parameter", "constant"}


# Formulas as the documentation of operators, or PyTorch's, writes them.


def squares_nearby(x: Tensor, size: int) -> Tensor:
    """For each channel the sum of squares over `size` channels around it, of an even number one more before it."""
    channels = range(x.shape[1])
    ranges = [slice(max(0, c - size // 2), c + (size - 1) // 2 + 1) for c in channels]
    return torch.stack([x[:, near].square().sum(1) for near in ranges], dim=1)


def standard(x: Tensor, eps: float, dims: Any) -> Tensor:
    return (x - x.mean(dims, keepdim=True)) / (x.var(dims, correction=0, keepdim=True) + eps).sqrt()


def tanh_gelu(x: Tensor) -> Tensor:
    return x / 2 * (1 + (math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)).tanh())


def sums(x: Tensor) -> Tensor:
    """Over windows of 2×2."""
    return sum(x[:, :, i::2, j::2] for i in range(2) for j in range(2))


FORMULAS: list[tuple[str, dict[str, Any], Callable[[Tensor], Tensor]]] = [
    ("relu", {}, lambda x: x * (x > 0)),
    ("relu6", {}, lambda x: x.clamp(0, 6)),
    ("leaky_relu", {}, lambda x: x.clamp(min=0) + 0.01 * x.clamp(max=0)),
    ("elu", {"alpha": 2}, lambda x: x.clamp(min=0) + 2 * (x.clamp(max=0).exp() - 1)),
    ("selu", {}, lambda x: 1.0507009873554805 * (x.clamp(min=0) + 1.6732632423543772 * (x.clamp(max=0).exp() - 1))),
    ("mish", {}, lambda x: x * (1 + x.exp()).log().tanh()),
    ("softplus", {}, lambda x: (1 + x.exp()).log()),
    ("softplus", {"beta": 2, "threshold": 1}, lambda x: torch.where(2 * x > 1, x, (1 + (2 * x).exp()).log() / 2)),
    ("clamp", {"min": -0.5, "max": 0.25}, lambda x: x.clamp(min=-0.5).clamp(max=0.25)),
    ("log_softmax", {}, lambda x: (x.exp() / x.exp().sum(1, keepdim=True)).log()),
    ("glu", {}, lambda x: x[:, :3] / (1 + (-x[:, 3:]).exp())),
    ("swiglu", {}, lambda x: x[:, :3] / (1 + (-x[:, :3]).exp()) * x[:, 3:]),
    ("sigmoid", {}, lambda x: 1 / (1 + (-x).exp())),
    ("tanh", {}, lambda x: (x.exp() - (-x).exp()) / (x.exp() + (-x).exp())),
    ("scaled_tanh", {}, lambda x: 1.7159 * (x * 2 / 3).tanh()),
    ("silu", {}, lambda x: x / (1 + (-x).exp())),
    ("hardsigmoid", {}, lambda x: (x + 3).clamp(0, 6) / 6),
    ("hardswish", {}, lambda x: x * (x + 3).clamp(0, 6) / 6),
    ("gelu", {}, lambda x: x / 2 * (1 + (x / math.sqrt(2)).erf())),
    ("gelu", {"approximate": "tanh"}, tanh_gelu),
    ("softmax", {}, lambda x: x.exp() / x.exp().sum(1, keepdim=True)),
    ("lrn", {"size": 5}, lambda x: x / (1 + 1e-4 / 5 * squares_nearby(x, 5)) ** 0.75),
    ("lrn", {"size": 4, "alpha": 2, "beta": 3, "k": 7}, lambda x: x / (7 + 2 / 4 * squares_nearby(x, 4)) ** 3),
    ("layernorm", {"elementwise_affine": False}, lambda x: standard(x, 1e-5, (1, 2, 3))),
    ("layernorm", {"elementwise_affine": False, "normalized_shape": 6}, lambda x: standard(x, 1e-5, 3)),
    (
        "groupnorm", {"num_groups": 2, "affine": False, "eps": 0.1},
        lambda x: standard(x.unflatten(1, (2, 3)), 0.1, (2, 3, 4)).flatten(1, 2),
    ),
    (
        "batchnorm", {"affine": False, "track_running_stats": False, "eps": 0.1}, lambda x: standard(x, 0.1, (0, 2, 3)),
    ),
    ("instancenorm", {"eps": 0.1}, lambda x: standard(x, 0.1, (2, 3))),
    ("channel_layernorm", {"elementwise_affine": False}, lambda x: standard(x, 1e-5, 1)),
    ("normalize", {}, lambda x: x / x.square().sum(1, keepdim=True).sqrt()),
    ("avgpool", {"kernel_size": 2}, lambda x: sums(x) / 4),
    ("maxpool", {"kernel_size": (1, 6)}, lambda x: x.amax(3, keepdim=True)),
    ("global_avgpool", {}, lambda x: x.mean((2, 3), keepdim=True)),
    ("global_maxpool", {}, lambda x: x.amax((2, 3), keepdim=True)),
    ("upsample", {"scale_factor": (1, 2)}, lambda x: x.repeat_interleave(2, dim=3)),
    ("channel_shuffle", {"groups": 3}, lambda x: x[:, [0, 2, 4, 1, 3, 5]]),
]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "keywords", "formula"), FORMULAS, ids=lambda value: "" if callable(value) else str(value)
)
def test_formula(name: str, keywords: dict[str, Any], formula: Callable[[Tensor], Tensor]) -> None:
    example = Example(name, (6, 4, 6), keywords)
    torch.testing.assert_close(
        observed(example, training=False).output, formula(*images(example)), rtol=1e-9, atol=1e-9
    )


@pytest.mark.parametrize("eps", [None, 0.1])
def test_rmsnorm_is_pytorchs(eps: float | None) -> None:
    """In float32 and float64; in half precision PyTorch computes it in float32."""
    for dtype in (torch.float32, torch.float64):
        ours = module_of(made("rmsnorm", (6,), (eps,), {}), Features((6,))).to(dtype)
        x = torch.randn(BATCH, 6, dtype=dtype)
        torch.testing.assert_close(ours(x), torch.nn.RMSNorm(6, eps, dtype=dtype)(x))


# Those that draw at random, by what holds of many draws.

DRAWS = 4000


def drawn(name: str, p: float, training: bool = True) -> Tensor:
    """What the operator makes of a batch of ones, so many images of six values."""
    seed_torch(0)
    return (
        module_of(make(REGISTRY[name], (p,), {}), Map((2, 1, 3))).train(training)(torch.ones(DRAWS, 2, 1, 3)).flatten(1)
    )


def mixed(images: Tensor) -> float:
    """How many images have values that differ."""
    return (images.amin(1) != images.amax(1)).double().mean().item()


@pytest.mark.parametrize("p", [0.2, 0.5])
def test_dropout_draws_each_value(p: float) -> None:
    values = drawn("dropout", p)
    assert sorted(values.unique().tolist()) == pytest.approx([0, 1 / (1 - p)])
    assert values.mean().item() == pytest.approx(1, abs=0.03)
    assert mixed(values) == pytest.approx(1 - p**6 - (1 - p) ** 6, abs=0.03)


@pytest.mark.parametrize("p", [0.2, 0.5])
def test_droppath_draws_each_image(p: float) -> None:
    values = drawn("droppath", p)
    assert sorted(values.unique().tolist()) == pytest.approx([0, 1 / (1 - p)])
    assert values.mean().item() == pytest.approx(1, abs=0.05)
    assert mixed(values) == 0


@pytest.mark.parametrize("p", [0.2, 0.5])
def test_stochastic_depth_draws_each_batch(p: float) -> None:
    seed_torch(0)
    module = module_of(make(REGISTRY["stochastic_depth"], (p,), {}), Features((2,)))
    batches = torch.stack([module(torch.ones(BATCH, 2)) for _ in range(DRAWS)]).flatten(1)
    assert sorted(batches.unique().tolist()) == [0, 1]
    assert batches.mean().item() == pytest.approx(1 - p, abs=0.03)
    assert mixed(batches) == 0


@pytest.mark.parametrize("p", [0.2, 0.5])
def test_mean_draws_each_input_but_keeps_one(p: float) -> None:
    """Input i is 1 at place i and 0 elsewhere, so the output tells which ones stayed, and how many."""
    seed_torch(0)
    module = module_of(make(REGISTRY["mean"], (), {"p": p}), (Features((3,)),) * 3)
    means = torch.stack([module(*torch.eye(3)[:, None])[0] for _ in range(DRAWS)])
    kept = means > 0
    torch.testing.assert_close(means, kept / kept.sum(1, keepdim=True))
    expected = [1 / 3 + 2 / 3 * (1 - p)] * 3
    assert kept.double().mean(0).tolist() == pytest.approx(expected, abs=0.03)


@pytest.mark.parametrize(("name", "factor"), [("dropout", 1), ("droppath", 1), ("stochastic_depth", 0.75)])
def test_random_ones_in_evaluation(name: str, factor: float) -> None:
    assert drawn(name, 0.25, training=False).unique().tolist() == [factor]


@pytest.mark.parametrize("name", ["dropout", "droppath", "stochastic_depth"])
def test_random_ones_at_the_ends(name: str) -> None:
    assert drawn(name, 0).unique().tolist() == [1]
    assert drawn(name, 1).unique().tolist() == [0]


# Texts that forget an argument, or are another operator's.

FORGETFUL: dict[str, tuple[type[Operator], str]] = {
    "count_include_pad": (AvgPool, "nn.AvgPool2d(kernel_size, stride=stride, padding=padding, ceil_mode=ceil_mode)"),
    "alpha, beta, k": (LRN, "nn.LocalResponseNorm(size)"),
    "eps of layernorm": (
        LayerNorm, "nn.LayerNorm(normalized_shape or in_shape, elementwise_affine=elementwise_affine, bias=bias)",
    ),
    "eps of groupnorm": (GroupNorm, "nn.GroupNorm(num_groups, in_channels, affine=affine)"),
    "approximate": (GELU, "nn.GELU()"),
    "mode": (Upsample, "nn.Upsample(size=size, scale_factor=scale_factor)"),
    "the dimension": (Softmax, "nn.Softmax(dim=-1)"),
    "p": (Dropout, "nn.Dropout(inplace=inplace)"),
    "the order": (ScaledTanh, "ScaledTanh(slope, amplitude)"),
    "the operator": (HardSwish, "nn.SiLU(inplace=inplace)"),
}  # fmt: skip


@pytest.mark.parametrize("forgets", FORGETFUL)
def test_this_would_notice(forgets: str, monkeypatch: pytest.MonkeyPatch) -> None:
    cls, text = FORGETFUL[forgets]
    monkeypatch.setattr(cls, "pytorch", lambda op, x: text)
    known = [by_name(case) for case in CASES] + [example for example, _ in CHANGES]
    known += [example._replace(keywords=example.keywords | {name: value}) for example, name, value in CHANGED]
    assert any(fails(example) for example in known if example.name == cls.name)


def fails(example: Example) -> bool:
    try:
        compare(example)
    except AssertionError:
        return True
    return False
