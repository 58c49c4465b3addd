"""Batch normalization by the paper (Ioffe & Szegedy 2015), in NumPy, against PyTorch's and the operator's module.

The reference is Algorithms 1 and 2 and the gradients of section 3, as they are written there. `x` is (m, features),
or (batch, channels, places…), where a channel's m values are those of all images and places (section 3.2).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from support.operator_strategies import FLAG, examples
from torch import nn

from archcalc.ops import REGISTRY, make
from archcalc.ops.shape import shape_of
from archcalc.pytorch.fold_weights import scale_and_shift
from archcalc.pytorch.network import module_of

Array = NDArray[np.float64]


class Gradients(NamedTuple):
    x: Array
    gamma: Array
    beta: Array


def over(x: Array) -> tuple[int, ...]:
    """The axes that statistics are taken over: all but the channels."""
    return tuple(axis for axis in range(x.ndim) if axis != 1)


def total(x: Array) -> Array:
    """The sum of each channel, (1, channels, 1…)."""
    return x.sum(over(x), keepdims=True)


def by_channel(v: Array, x: Array) -> Array:
    """(channels,) as it goes with x."""
    return v.reshape(1, -1, *[1] * (x.ndim - 2))


def statistics(x: Array) -> tuple[Array, Array, int]:
    """Mini-batch mean, variance and m."""
    m = x.size // x.shape[1]
    mean = total(x) / m
    return mean, total((x - mean) ** 2) / m, m


def transform(x: Array, gamma: Array, beta: Array, eps: float) -> Array:
    """Algorithm 1: normalize by the mini-batch's statistics, scale and shift."""
    mean, variance, _ = statistics(x)
    normalized = (x - mean) / np.sqrt(variance + eps)
    return by_channel(gamma, x) * normalized + by_channel(beta, x)


def infer(x: Array, gamma: Array, beta: Array, eps: float, mean: Array, variance: Array) -> Array:
    """Algorithm 2, line 11: a linear transform with fixed statistics."""
    scale = gamma / np.sqrt(variance + eps)
    return by_channel(scale, x) * x + by_channel(beta - scale * mean, x)


def track(running: tuple[Array, Array], x: Array, momentum: float) -> tuple[Array, Array]:
    """Moving averages after one more mini-batch; of the variance's unbiased estimate, m/(m − 1)·σ² (section 3.1).

    `momentum` is PyTorch's: the weight of the new value.
    """
    mean, variance, m = statistics(x)
    new = mean.ravel(), m / (m - 1) * variance.ravel()
    return (1 - momentum) * running[0] + momentum * new[0], (1 - momentum) * running[1] + momentum * new[1]


def backward(x: Array, gamma: Array, eps: float, dy: Array) -> Gradients:
    """The gradients of the transform, by the chain rule as in section 3."""
    mean, variance, m = statistics(x)
    normalized = (x - mean) / np.sqrt(variance + eps)
    d_normalized = dy * by_channel(gamma, x)
    d_variance = total(d_normalized * (x - mean) * -0.5 * (variance + eps) ** -1.5)
    d_mean = total(d_normalized * -1 / np.sqrt(variance + eps)) + d_variance * total(-2 * (x - mean)) / m
    dx = d_normalized / np.sqrt(variance + eps) + d_variance * 2 * (x - mean) / m + d_mean / m
    return Gradients(dx, total(dy * normalized).ravel(), total(dy).ravel())


def backward_of_inference(x: Array, gamma: Array, eps: float, mean: Array, variance: Array, dy: Array) -> Gradients:
    """The gradients where the statistics are constants."""
    deviation = np.sqrt(variance + eps)
    normalized = (x - by_channel(mean, x)) / by_channel(deviation, x)
    return Gradients(by_channel(gamma / deviation, x) * dy, total(dy * normalized).ravel(), total(dy).ravel())


class Case(NamedTuple):
    x: Array
    dy: Array
    gamma: Array
    beta: Array
    running: tuple[Array, Array]
    eps: float
    momentum: float


CHANNELS, PLACES = st.integers(1, 5), st.integers(1, 4)
FEATURES = st.tuples(st.integers(2, 9), CHANNELS)
ROWS = st.tuples(st.integers(2, 5), CHANNELS, PLACES)
IMAGES = st.tuples(st.integers(2, 5), CHANNELS, PLACES, PLACES)


@st.composite
def drawn(draw: st.DrawFn, shapes: st.SearchStrategy[tuple[int, ...]] = FEATURES | ROWS | IMAGES) -> Case:
    shape = draw(shapes)
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    channels = shape[1]
    x = random.normal(draw(st.floats(-10, 10)), draw(st.sampled_from([0, 1e-3, 1, 100])), shape)  # 0: all the same
    running = random.normal(size=channels), random.uniform(0.1, 2, channels)
    gamma, beta = random.normal(1, 1, channels), random.normal(size=channels)
    eps, momentum = draw(st.floats(1e-6, 1)), draw(st.floats(0, 1))
    return Case(x, random.normal(size=shape), gamma, beta, running, eps, momentum)


def pytorchs(case: Case, affine: bool = True, tracked: bool = True) -> Any:
    """`torch.nn.BatchNorm1d` or `2d`."""
    kind = nn.BatchNorm2d if case.x.ndim == 4 else nn.BatchNorm1d
    return kind(case.x.shape[1], case.eps, case.momentum, affine, tracked)


def operators(case: Case, affine: bool = True, tracked: bool = True) -> Any:
    """The module of the operator `batchnorm`."""
    written = {"eps": case.eps, "momentum": case.momentum, "affine": affine, "track_running_stats": tracked}
    return module_of(make(REGISTRY["batchnorm"], (), written), shape_of(case.x.shape[1:]))


Maker = Callable[..., Any]
both = pytest.mark.parametrize("maker", [pytorchs, operators])


def module(case: Case, maker: Maker, training: bool, **options: bool) -> Any:
    """A module with the case's weights and statistics."""
    made = maker(case, **options).double().train(training)
    if made.affine:
        made.weight.data, made.bias.data = torch.tensor(case.gamma), torch.tensor(case.beta)
    if made.track_running_stats:
        made.running_mean, made.running_var = map(torch.tensor, case.running)
    return made


def run(made: Any, case: Case) -> tuple[Array, Gradients]:
    """PyTorch's output and gradients; without affine those of γ and β are zeros."""
    x = torch.tensor(case.x, requires_grad=True)
    y = made(x)
    y.backward(torch.tensor(case.dy))
    none = np.zeros_like(case.gamma)
    own = (made.weight.grad.numpy(), made.bias.grad.numpy()) if made.affine else (none, none)
    return y.detach().numpy(), Gradients(x.grad.numpy(), *own)


def close(ours: Array, theirs: Array, scale: float = 1.0) -> None:
    """Equal to ten digits, of the value or of `scale`, the size of the terms that cancel in it."""
    np.testing.assert_allclose(theirs, ours, rtol=1e-10, atol=1e-10 * scale)


def compare(case: Case, made: Any, y: Array, gradients: Gradients) -> None:
    """Raise AssertionError unless a module gives these outputs and gradients."""
    theirs, d = run(made, case)
    close(y, theirs)
    deviation = np.sqrt(statistics(case.x)[1].min() + case.eps)
    close(gradients.x, d.x, np.abs(case.dy).max() * np.abs(case.gamma).max() / deviation)
    if made.affine:
        close(gradients.gamma, d.gamma)
        close(gradients.beta, d.beta)


@both
@given(case=drawn(), affine=FLAG)
@examples(100)
def test_training(maker: Maker, case: Case, affine: bool) -> None:
    if not affine:
        case = plain(case)
    made = module(case, maker, training=True, affine=affine)
    compare(
        case, made, transform(case.x, case.gamma, case.beta, case.eps), backward(case.x, case.gamma, case.eps, case.dy)
    )
    mean, variance = track(case.running, case.x, case.momentum)
    close(mean, made.running_mean.numpy())
    close(variance, made.running_var.numpy())
    assert made.num_batches_tracked == 1


def plain(case: Case) -> Case:
    """The case without affine: γ = 1, β = 0."""
    return case._replace(gamma=np.ones_like(case.gamma), beta=np.zeros_like(case.beta))


@both
@given(case=drawn(), affine=FLAG)
@examples(100)
def test_inference(maker: Maker, case: Case, affine: bool) -> None:
    if not affine:
        case = plain(case)
    made = module(case, maker, training=False, affine=affine)
    y = infer(case.x, case.gamma, case.beta, case.eps, *case.running)
    compare(case, made, y, backward_of_inference(case.x, case.gamma, case.eps, *case.running, case.dy))
    close(case.running[0], made.running_mean.numpy())  # they stay
    close(case.running[1], made.running_var.numpy())


@both
@pytest.mark.parametrize("training", [True, False])
@given(case=drawn())
@examples(50)
def test_without_running_statistics_it_always_takes_the_batchs(maker: Maker, training: bool, case: Case) -> None:
    made = module(case, maker, training, tracked=False)
    compare(
        case, made, transform(case.x, case.gamma, case.beta, case.eps), backward(case.x, case.gamma, case.eps, case.dy)
    )


@both
@given(case=drawn(IMAGES), steps=st.integers(1, 4))
@examples(50)
def test_training_then_inference(maker: Maker, case: Case, steps: int) -> None:
    """Algorithm 2, with moving averages over several mini-batches."""
    made, running = module(case, maker, training=True), case.running
    random = np.random.default_rng(0)
    for _ in range(steps):
        batch = random.normal(1, 2, case.x.shape)
        made(torch.tensor(batch))
        running = track(running, batch, case.momentum)
    y = infer(case.x, case.gamma, case.beta, case.eps, *running)
    close(y, made.eval()(torch.tensor(case.x)).detach().numpy())


@given(case=drawn(), batches=st.integers(1, 5))
@examples(50)
def test_without_momentum_it_is_the_papers_expectation(case: Case, batches: int) -> None:
    """Algorithm 2, line 10: E[x] = E[μ] and Var[x] = m/(m − 1)·E[σ²] over the mini-batches."""
    made = module(case._replace(momentum=None), pytorchs, training=True)
    seen = np.random.default_rng(0).normal(3, 2, (batches, *case.x.shape))
    for batch in seen:
        made(torch.tensor(batch))
    means, variances, (m, *_) = zip(*map(statistics, seen), strict=True)
    close(np.mean(means, axis=0).ravel(), made.running_mean.numpy())
    close(m / (m - 1) * np.mean(variances, axis=0).ravel(), made.running_var.numpy())


@given(case=drawn(IMAGES))
@examples(50)
def test_places_are_as_more_examples(case: Case) -> None:
    """Section 3.2: for a convolution the mini-batch is m·p·q values of each channel."""
    rows = np.moveaxis(case.x, 1, -1).reshape(-1, case.x.shape[1])
    images = transform(case.x, case.gamma, case.beta, case.eps)
    close(np.moveaxis(images, 1, -1).reshape(rows.shape), transform(rows, case.gamma, case.beta, case.eps))


@given(case=drawn())
@examples(50)
def test_mean_is_beta_and_deviation_gamma(case: Case) -> None:
    mean, variance, _ = statistics(transform(case.x, case.gamma, case.beta, case.eps))
    close(case.beta, mean.ravel())
    before = statistics(case.x)[1].ravel()
    close(case.gamma**2 * before / (before + case.eps), variance.ravel())


@given(case=drawn())
@examples(50)
def test_gradients_are_the_slopes(case: Case) -> None:
    """The formulas against central differences of the transform, along a random direction of x, γ and β."""
    case = case._replace(x=np.random.default_rng(0).normal(size=case.x.shape), eps=case.eps + 0.1)
    random, step = np.random.default_rng(1), 1e-5
    u, v, w = (random.normal(size=a.shape) for a in (case.x, case.gamma, case.beta))

    def loss(t: float) -> float:
        return float((case.dy * transform(case.x + t * u, case.gamma + t * v, case.beta + t * w, case.eps)).sum())

    d = backward(case.x, case.gamma, case.eps, case.dy)
    slope = (d.x * u).sum() + (d.gamma * v).sum() + (d.beta * w).sum()
    assert (loss(step) - loss(-step)) / (2 * step) == pytest.approx(slope, rel=1e-6, abs=1e-6)


@given(case=drawn())
@examples(50)
def test_what_folding_takes_for_it(case: Case) -> None:
    scale, shift = scale_and_shift(module(case, operators, training=False))
    ours = infer(case.x, case.gamma, case.beta, case.eps, *case.running)
    close(ours, by_channel(scale.numpy(), case.x) * case.x + by_channel(shift.numpy(), case.x))


LIES: dict[str, Callable[[Case], tuple[Array, Gradients]]] = {
    "epsilon beside the root": lambda c: (
        transform(c.x, c.gamma, c.beta, c.eps**2),
        backward(c.x, c.gamma, c.eps, c.dy),
    ),
    "statistics taken for constants": lambda c: (
        transform(c.x, c.gamma, c.beta, c.eps),
        backward_of_inference(c.x, c.gamma, c.eps, *(s.ravel() for s in statistics(c.x)[:2]), c.dy),
    ),
    "gradient of beta halved": lambda c: (
        transform(c.x, c.gamma, c.beta, c.eps),
        backward(c.x, c.gamma, c.eps, c.dy)._replace(beta=c.dy.sum((0, 2, 3)) / 2),
    ),
}


@both
@pytest.mark.parametrize("lie", LIES)
def test_the_comparison_would_notice(maker: Maker, lie: str) -> None:
    random = np.random.default_rng(0)
    x, dy = random.normal(size=(2, 4, 3, 5, 5))
    case = Case(x, dy, random.normal(size=3), random.normal(size=3), (np.zeros(3), np.ones(3)), 1e-3, 0.1)
    compare(case, module(case, maker, training=True), transform(x, *case[2:4], 1e-3), backward(x, case.gamma, 1e-3, dy))
    with pytest.raises(AssertionError, match="Not equal"):
        compare(case, module(case, maker, training=True), *LIES[lie](case))
