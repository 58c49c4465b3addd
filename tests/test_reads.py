"""What an operator's output position reads, against its PyTorch module: which outputs change with an input row."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from math import prod
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from support.operator_cases import READING
from support.operator_strategies import Case, build, cases, examples
from support.torch_seed import seed_torch
from support.torch_warnings import lopsided_padding
from torch import Tensor

from archcalc.ops.reads import Axis, Bilinear, Blocks, Nearest, Transposed, Whole, Window
from archcalc.ops.shape import Map, Shape, Tokens
from archcalc.pytorch.network import module_of

ELSEWHERE = {  # not on images, or with other axes: see `field_oracle.rearranged`
    "input", "rbf", "embedding", "attention", "multihead_attention", "cross_attention", "rnn", "lstm", "gru",
    "window_attention", "cosine_window_attention", "rmsnorm", "dropout1d", "dropout3d", "rotary_embedding",
    "permute", "transpose", "tokens", "reshape",
}  # fmt: skip
SPATIAL = sorted({*READING} - ELSEWHERE)
LEAST = 1e-9  # bilinear interpolation leaves weights of 1e-17 on a neighbour


def read_by_torch(case: Case, axis: int) -> list[set[int]]:
    """For each output position the input positions that change it, on an axis; of a vector there is one position."""
    seed_torch(0)
    module = module_of(case.op, case.x).double().eval()
    for parameter in module.parameters():
        torch.nn.init.uniform_(parameter, 0.5, 1.5)
    shapes = case.x if case.op.joins else (case.x,)
    inputs = [torch.rand(1, *shape, dtype=torch.float64) for shape in shapes]
    before = rows(module(*[x.clone() for x in inputs]), axis)
    found: list[set[int]] = [set() for _ in before]
    for position in range(shapes[0][axis + 1]):
        for sign in (-9, 9):  # a maximum does not see what is smaller, relu not what is below zero
            changed = [x.clone() for x in inputs]
            row = changed[0].select(axis + 2, position)
            row += sign * torch.rand(row.shape, dtype=torch.float64)
            after = rows(module(*changed), axis)
            for i in ((after - before).abs().amax(1) > LEAST).nonzero().flatten().tolist():
                found[i].add(position)
    return found


def rows(y: Tensor, axis: int) -> Tensor:
    """The values of each position on an axis; a vector is one position."""
    return y.detach().reshape(1, -1) if y.dim() == 2 else y.detach()[0].transpose(0, axis + 1).flatten(1)


def read(axis: Axis, i: int, length: int) -> set[int]:
    return set(range(length)) if isinstance(axis, Whole) else set(axis.at(i)) & set(range(length))


def hidden(case: Case) -> bool:
    """Whether a change may not show: statistics of few values, a factor of 0, or an axis where only padding is read."""
    op, x = case.op, case.x[0] if case.op.joins else case.x
    sizes = {  # of what a normalization normalizes together
        "groupnorm": lambda: prod(x) // op.num_groups, "layernorm": lambda: prod(op.normalized_shape or x),
        "instancenorm": lambda: prod(x[1:]), "channel_layernorm": lambda: x[0],
    }  # fmt: skip
    if op.name in sizes:
        return bool(sizes[op.name]() < 4)
    if op.name == "clamp" and None not in (op.min, op.max):
        return bool(op.max - op.min < 0.1)
    if (op.name in ("softmax", "log_softmax", "normalize") and x[0] == 1) or (
        op.name == "stochastic_depth" and op.p == 1
    ):
        return True
    lengths = zip(windows(case), case.y[1:] if len(case.y) == 3 else (1, 1), x[1:], strict=True)
    return any(not any(read(axis, i, length) for i in range(outputs)) for axis, outputs, length in lengths)


@pytest.mark.parametrize("name", SPATIAL)
@given(data=st.data())
@examples(20)
def test_reads_are_what_pytorch_reads(name: str, data: st.DataObject) -> None:
    case = data.draw(cases(name).filter(spatial))
    with lopsided_padding():
        for axis in (0, 1):
            found = read_by_torch(case, axis)
            length = (case.x[0] if case.op.joins else case.x)[axis + 1]
            assert found == [read(windows(case)[axis], i, length) for i in range(len(found))]


def windows(case: Case) -> Sequence[Axis]:
    """What is read of the (first) input."""
    return case.op.windows(case.x)[0] if case.op.joins else case.op.window(case.x)


def spatial(case: Case) -> bool:
    shapes = case.x if case.op.joins else (case.x,)
    same = len({*shapes}) == 1 or case.op.name == "crop_like"
    return same and all(shape.axes == "CHW" for shape in shapes) and not hidden(case)


@pytest.mark.parametrize(
    ("name", "x", "keywords", "axes"),
    [
        ("linear", (2, 4, 5), {"out_features": 3}, [[{0}, {1}, {2}, {3}], [{*range(5)}] * 3]),
        ("layernorm", (2, 3, 4), {"normalized_shape": (3, 4)}, [[{*range(3)}] * 3, [{*range(4)}] * 4]),
        ("layernorm", (2, 3, 4), {"normalized_shape": (4,)}, [[{0}, {1}, {2}], [{*range(4)}] * 4]),
        ("layernorm", (2, 3, 4), {}, [[{*range(3)}] * 3, [{*range(4)}] * 4]),
        ("global_avgpool", (2, 3, 4), {}, [[{*range(3)}], [{*range(4)}]]),
        ("flatten", (2, 3, 4), {}, [[{*range(3)}], [{*range(4)}]]),
        ("conv_transpose", (1, 3, 3), {"out_channels": 1, "kernel_size": 2, "stride": 3},
         [[{0}, {0}, set(), {1}, {1}, set(), {2}, {2}]] * 2),
    ],
)  # fmt: skip
def test_by_hand(name: str, x: Any, keywords: dict[str, Any], axes: Sequence[list[set[int]]]) -> None:
    case = build(name, x, **keywords)
    for axis in (0, 1):
        outputs = range(len(axes[axis]))
        assert [read(case.op.window(case.x)[axis], i, x[axis + 1]) for i in outputs] == axes[axis]
        assert read_by_torch(case, axis) == axes[axis]


@pytest.mark.parametrize(("size", "window", "shift"), [(8, 4, 0), (8, 4, 2), (7, 3, 1), (4, 4, 2), (3, 4, 1)])
def test_a_position_reads_its_window(size: int, window: int, shift: int) -> None:
    """Along the height, of an image with its channels last; a shifted window ends at the border."""
    case = build("window_attention", Tokens((size, 2, 4)), window_size=(window, 2), num_heads=2, shift=(shift, 0))
    seed_torch(0)
    module, x = module_of(case.op, case.x).double(), torch.rand(1, size, 2, 4, dtype=torch.float64)
    before, found = module(x), [set[int]() for _ in range(size)]
    for position in range(size):
        changed = x.clone()
        changed[:, position] += 1
        for i in ((module(changed) - before).abs().amax((0, 2, 3)) > LEAST).nonzero().flatten().tolist():
            found[i].add(position)
    assert found == [read(case.op.window(case.x)[0], i, size) for i in range(size)]


ENDLESS: st.SearchStrategy[Any] = st.one_of(
    st.builds(Window, st.integers(1, 9), st.integers(1, 5), st.integers(0, 9), st.integers(1, 5)),
    st.builds(Transposed, st.integers(1, 9), st.integers(1, 9), st.integers(0, 9), st.integers(1, 9)),
    st.builds(Blocks, st.integers(1, 9), st.integers(0, 8)),
    st.builds(Nearest, st.integers(1, 40), st.integers(1, 40)),
    st.builds(Bilinear, st.integers(1, 40), st.integers(1, 40)),
)


@given(ENDLESS, st.integers(-50, 50))
@examples(300)
def test_a_period_on_everything_is_an_advance_further(reads: Any, i: int) -> None:
    here, there = reads.at(i), reads.at(i + reads.period)
    assert [j + reads.advance for j in here] == list(there)


@given(*[st.integers(1, 9)] * 2, st.integers(0, 9), st.integers(1, 9), st.integers(-40, 40))
@examples(300)
def test_transposed_reads_by_trying_every_tap(kernel: int, stride: int, padding: int, dilation: int, i: int) -> None:
    taps = [i + padding - dilation * tap for tap in range(kernel)]
    assert list(Transposed(kernel, stride, padding, dilation).at(i)) == sorted(
        tap // stride for tap in taps if tap % stride == 0
    )


MATRICES = [
    (Tokens((3, 4)), Tokens((4, 5)), False),
    (Tokens((3, 4)), Tokens((5, 4)), True),
    (Tokens((3, 4)), Map((4, 5)), False),
    (Map((3, 4)), Tokens((4, 5)), False),
    (Map((3, 4)), Map((4, 5)), False),
    (Map((3, 4)), Map((5, 4)), True),
    (Map((2, 3, 4)), Map((2, 4, 5)), False),
    (Tokens((2, 3, 4)), Tokens((2, 5, 4)), True),
    (Map((2, 3, 2, 4)), Map((2, 3, 4, 5)), False),
]


@pytest.mark.parametrize(("first", "second", "transpose"), MATRICES)
def test_a_product_reads_rows_and_columns(first: Shape, second: Shape, transpose: bool) -> None:
    """Each position of a branch changes the outputs at just those positions that read it by the rules of all axes."""
    case = build("matmul", (first, second), transpose=transpose)
    places = [*product(*map(range, case.y.lengths))]
    for branch, (shape, rules) in enumerate(zip(case.x, case.op.windows(case.x), strict=True)):
        inputs = [torch.rand(1, *one).double().requires_grad_() for one in case.x]
        y = module_of(case.op, case.x)(*inputs)
        for place in places:
            at = (*place, slice(None)) if isinstance(case.y, Tokens) else (slice(None), *place)
            (gradient,) = torch.autograd.grad(y[0][at].sum(), inputs[branch], retain_graph=True)
            found = gradient[0].abs().sum(-1 if isinstance(shape, Tokens) else 0)
            wanted = {
                own for own in product(*map(range, shape.lengths))
                if all(own[n] in read(rule, place[n], shape.lengths[n]) for n, rule in enumerate(rules))
            }  # fmt: skip
            assert {tuple(own) for own in found.nonzero().tolist()} == wanted
