"""The arithmetic of a training step: every operator's gradients, in formulas that count their own operations.

PyTorch's autograd confirms their values. The same for the operators that compute otherwise in training.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from support.counting_gradients import INPUTS, TRAINED, WEIGHTS, Case, case_of
from support.operator_cases import CASES, READING, case_id
from support.operator_strategies import WRITTEN, examples
from support.operator_values import BATCH, Example, by_name, fits, fitting, images, module
from support.torch_seed import seed_torch
from support.torch_warnings import lopsided_padding

from archcalc.ops import KINDS, REGISTRY, Operator
from archcalc.ops.base import Plain
from archcalc.ops.convolution import Conv, Linear
from archcalc.ops.normalization import BatchNorm
from archcalc.ops.shape import Map
from archcalc.ops.shaping import Dropout


class Pass:
    """A pass of a module in training: inputs, output and state before it, and the gradients of inputs and weights."""

    def __init__(self, example: Example) -> None:
        made, leaves = module(example, training=True), images(example)
        reals = [leaf.requires_grad_() for leaf in leaves if leaf.is_floating_point()]
        for part in made.modules():
            if example.name == "mean" and hasattr(part, "p"):
                part.p = 0
        self.state = {name: tensor.detach().clone().numpy() for name, tensor in made.state_dict().items()}
        with lopsided_padding():
            seed_torch(2)
            output = made(*[leaf.clone() for leaf in leaves])
        self.after = {name: tensor.numpy() for name, tensor in made.state_dict().items()}
        g = torch.randn_like(output)
        weights = dict(made.named_parameters())
        found = torch.autograd.grad(output, [*reals, *weights.values()], g, allow_unused=example.name == "crop_like")
        self.of_inputs = [gradient.numpy() for gradient in found[: len(reals)] if gradient is not None]
        self.of_weights = {name: gradient.numpy() for name, gradient in zip(weights, found[len(reals) :], strict=True)}
        self.arrays = g.numpy(), [leaf.detach().numpy() for leaf in leaves], output.detach().numpy()
        self.keywords = example.keywords

    def case(self) -> Case:
        return case_of(*self.arrays, self.state, self.keywords)


def equal(found: Any, expected: Any, example: Example) -> None:
    assert found.data.size == expected.size, example
    np.testing.assert_allclose(
        found.data.reshape(expected.shape), expected, rtol=1e-8, atol=1e-10, err_msg=str(example)
    )


def compare(example: Example) -> None:
    """Raise AssertionError unless a step takes the formulas' arithmetic, and they compute what autograd does."""
    op, run = example.op, Pass(example)
    x, y = example.x, op.output(example.x)
    case = run.case()
    made = INPUTS[example.name](case)
    gradients = [] if made is None else made if isinstance(made, list) else [made]
    for found, expected in zip(gradients, run.of_inputs, strict=bool(gradients)):
        equal(found, expected, example)
    assert +Counter(op.input_gradient(x, y, BATCH)) == +case.tally, example
    case = run.case()
    weights = WEIGHTS.get(example.name, lambda case: {})(case)
    assert weights.keys() == run.of_weights.keys()
    for name, found in weights.items():
        equal(found, run.of_weights[name], example)
    assert +Counter(op.weight_gradient(x, y, BATCH)) == +case.tally, example
    if example.name in TRAINED:
        case = run.case()
        for name, found in TRAINED[example.name](case).items():
            equal(found, run.arrays[2] if name == "output" else run.after[name], example)
        assert +Counter(op.training_work(x, y, BATCH)) == +case.tally, example


def test_every_operator_is_here() -> None:
    assert set(INPUTS) == set(READING)
    assert set(WEIGHTS) == {one.name for one in map(by_name, CASES) if one.op.weights(one.x)}
    assert set(TRAINED) == {name for name, cls in REGISTRY.items() if cls.training_work is not Operator.training_work}


@pytest.mark.parametrize("case", CASES, ids=case_id)
def test_hand_picked(case: Any) -> None:
    compare(by_name(case))


def steady(example: Example) -> bool:
    """Whether PyTorch has this gradient: batch normalization needs several values per channel (see `fits`, too).

    The formulas have convolutions of images alone.
    """
    if example.name == "conv" and len(example.x) != 3:
        return False
    if example.name == "leaky_relu" and example.keywords.get("inplace"):
        return bool(example.keywords.get("negative_slope", 0.01) > 0)
    return bool(example.keywords.get("track_running_stats", True))


@pytest.mark.parametrize("name", WRITTEN)
@given(data=st.data())
@examples(12)
def test_random(name: str, data: st.DataObject) -> None:
    compare(data.draw(fitting(name).filter(lambda example: fits(example) and steady(example))))


MUTANTS = [  # an operator's class, its rule, another one, and an example
    (Conv, "input_gradient", lambda self, x, y, batch: {"mac": 2 * batch}, ("conv", (3, 5, 5), (2, 3), {})),
    (Linear, "weight_gradient", lambda self, x, y, batch: {"mac": batch * x[0]}, ("linear", (4,), (3,), {})),
    (BatchNorm, "training_work", Operator.training_work, ("batchnorm", (4, 3, 3), (), {})),
    (BatchNorm, "input_gradient", lambda self, x, y, batch: {"mul": 1}, ("batchnorm", (4, 3, 3), (), {})),
    (Dropout, "training_work", Operator.training_work, ("dropout", (4,), (), {})),
    (Dropout, "input_gradient", Plain.weight_gradient, ("dropout", (4,), (), {})),
]


@pytest.mark.parametrize(("cls", "rule", "other", "case"), MUTANTS, ids=lambda value: getattr(value, "__name__", None))
def test_this_would_notice(
    monkeypatch: pytest.MonkeyPatch, cls: type[Operator], rule: str, other: Any, case: Any
) -> None:
    compare(by_name(case))
    monkeypatch.setattr(cls, rule, other)
    with pytest.raises(AssertionError):
        compare(by_name(case))


def test_a_gradient_with_another_value_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(INPUTS, "tanh", lambda case: case.g * (1 - case.x * case.x))
    with pytest.raises(AssertionError, match="tanh"):
        compare(Example("tanh", (4,), {}))


@pytest.mark.parametrize("name", WRITTEN)
@given(data=st.data())
@examples(5)
def test_every_count_has_a_kind(name: str, data: st.DataObject) -> None:
    example = data.draw(fitting(name).filter(fits))
    op, x = example.op, example.x
    y = op.output(x)
    for work in (op.input_gradient(x, y, 2), op.weight_gradient(x, y, 2)):
        assert set(work) <= set(KINDS)
        assert all(count >= 0 for count in work.values())


@pytest.mark.parametrize("rule", ["input_gradient", "weight_gradient"])
def test_a_missing_rule_is_an_error(rule: str) -> None:
    with pytest.raises(NotImplementedError, match="has no rule for its"):
        getattr(type("Lacking", (Operator,), {"name": "lacking"})(), rule)((3,), (3,), 1)


def test_a_product_counts_only_the_gradients_that_are_needed() -> None:
    gate, image = Map((4, 1, 1)), Map((4, 3, 3))
    product = REGISTRY["multiply"]()
    work = {needed: product.gradients_of((image, gate), image, 2, needed) for needed in [(True, False), (False, True)]}
    assert work[True, False] == {"mul": 2 * 36, "add": 0}
    assert work[False, True] == {"mul": 2 * 36, "add": 2 * 4 * 8}
    assert product.gradients_of((image, gate), image, 2, (False, False)) == {"mul": 0, "add": 0}
