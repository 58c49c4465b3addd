"""Every operator's arithmetic against formulas that count their own operations, and whose values PyTorch confirms."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from support.counting_arithmetic import FORMULAS, computed
from support.operator_cases import CASES, READING, case_id
from support.operator_strategies import WRITTEN, examples
from support.operator_values import Example, by_name, fits, fitting, images, module
from support.torch_warnings import lopsided_padding

from archcalc.ops.activation import GELU


def compare(example: Example) -> None:
    """Raise AssertionError unless work is what the formula takes, and the formula gives what PyTorch does."""
    op, made, xs = example.op, module(example, training=False), images(example)
    state = {name: tensor.numpy() for name, tensor in made.state_dict().items()}
    with torch.no_grad(), lopsided_padding():
        expected = made(*[x.clone() for x in xs])[0].numpy()
    values, took = computed(example.name, example.keywords, [x[0].numpy() for x in xs], state, op.joins)
    if values is not None:
        np.testing.assert_allclose(values, expected, rtol=1e-9, atol=1e-11, err_msg=str(example))
    assert +Counter(op.work(example.x, op.output(example.x))) == took, example


def test_every_operator_has_a_formula() -> None:
    assert set(FORMULAS) == set(READING)


@pytest.mark.parametrize("case", CASES, ids=case_id)
def test_hand_picked(case: Any) -> None:
    compare(by_name(case))


@pytest.mark.parametrize("name", WRITTEN)
@given(data=st.data())
@examples(15)
def test_random(name: str, data: st.DataObject) -> None:
    compare(data.draw(fitting(name).filter(lambda example: fits(example) and steady(example))))


def steady(example: Example) -> bool:
    """Whether the formula has this: not with the statistics of a batch, and convolutions of images alone."""
    if example.name == "conv" and len(example.x) != 3:
        return False
    return bool(example.keywords.get("track_running_stats", True))


def test_this_would_notice(monkeypatch: pytest.MonkeyPatch) -> None:
    truth = GELU.work
    monkeypatch.setattr(GELU, "work", lambda self, x, y: truth(self, x, y) | {"mul": y[0] * 5})
    with pytest.raises(AssertionError, match="tanh"):
        compare(Example("gelu", (4,), {"approximate": "tanh"}))
