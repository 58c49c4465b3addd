"""The modules that PyTorch lacks: what they compute, against the same written out."""

from __future__ import annotations

import pytest
import torch
from support.torch_seed import seed_torch
from torch import Tensor, nn

from archcalc.ops import REGISTRY, make
from archcalc.ops.shape import Map
from archcalc.pytorch import layers


@pytest.fixture
def x() -> Tensor:
    return torch.randn(3, 4, 6, 7, generator=torch.Generator().manual_seed(0))


def close(a: Tensor, b: Tensor) -> None:
    torch.testing.assert_close(a, b)


@pytest.mark.parametrize("bias", [True, False])
def test_a_full_table_is_a_convolution(x: Tensor, bias: bool) -> None:
    dense = nn.Conv2d(4, 5, (3, 2), padding=1, stride=2, bias=bias)
    table = layers.TableConv2d(4, ((0, 1, 2, 3),) * 5, (3, 2), (2, 2), (1, 1), bias=bias)
    table.load_state_dict({**dense.state_dict(), "weight": dense.weight.flatten(0, 1)})
    close(table(x), dense(x))


def test_a_table_sees_its_channels_only(x: Tensor) -> None:
    table = layers.TableConv2d(4, ((0, 2), (3,)), (3, 3))
    for channel, outputs in [(0, [0]), (1, []), (2, [0]), (3, [1])]:
        changed = x.clone()
        changed[:, channel] += 1
        moved = (table(changed) - table(x)).abs().amax((0, 2, 3)) > 1e-5
        assert moved.nonzero().flatten().tolist() == outputs


def test_a_table_in_any_order(x: Tensor) -> None:
    there, back = layers.TableConv2d(4, ((0, 3),), (3, 3)), layers.TableConv2d(4, ((3, 0),), (3, 3))
    back.load_state_dict({**there.state_dict(), "weight": there.weight.flip(0)})
    close(there(x), back(x))


def test_groups_as_a_table_cost_the_same() -> None:
    grouped = make(REGISTRY["conv"], (6, 3), {"groups": 2})
    table = make(REGISTRY["conv"], (6, 3), {"connections": ((0, 1),) * 3 + ((2, 3),) * 3})
    x = Map((4, 9, 9))
    y = grouped.output(x)
    assert grouped.work(x, y) == table.work(x, y)


def test_squared_distances() -> None:
    module, x = layers.SquaredDistances(5, 3), torch.randn(2, 5)
    close(module(x), torch.stack([((x - prototype) ** 2).sum(1) for prototype in module.prototypes], 1))


def test_scaled_tanh(x: Tensor) -> None:
    close(layers.ScaledTanh(1.7159, 2 / 3)(x), 1.7159 * (2 / 3 * x).tanh())


def test_trainable_subsampling(x: Tensor) -> None:
    module = layers.TrainableSubsampling(4, (2, 2), None, (0, 0), ceil_mode=False)
    nn.init.normal_(module.weight)
    nn.init.normal_(module.bias)
    rows, columns = slice(0, 6), slice(0, 6)
    windows = sum(x[:, :, rows, columns][:, :, i::2, j::2] for i in range(2) for j in range(2))
    close(module(x), windows * module.weight[:, None, None] + module.bias[:, None, None])


@pytest.mark.parametrize("count", [2, 3, 4])
def test_joins(count: int) -> None:
    xs = [torch.randn(2, 3, 4, 5) for _ in range(count)]
    kept = [x.clone() for x in xs]
    close(layers.Sum()(*xs), torch.stack(xs).sum(0))
    close(layers.Mean()(*xs), torch.stack(xs).mean(0))
    close(layers.Elementwise(torch.mul)(*xs), torch.stack(xs).prod(0))
    close(layers.Concat()(*xs), torch.cat(xs, 1))
    assert all(torch.equal(x, copy) for x, copy in zip(xs, kept, strict=True))


def test_a_sum_in_place() -> None:
    a, b = torch.ones(2, 3), torch.ones(2, 3)
    assert layers.Sum(inplace=True)(a, b, b) is a
    assert a.eq(3).all()
    assert b.eq(1).all()


@pytest.mark.parametrize("groups", [1, 2, 4])
def test_channel_shuffle(x: Tensor, groups: int) -> None:
    close(layers.ChannelShuffle(groups)(x), nn.ChannelShuffle(groups)(x))


def test_pad_shortcut(x: Tensor) -> None:
    y = layers.PadShortcut(4, 9, (2, 3))(x)
    assert y.shape == (3, 9, 3, 3)
    close(y[:, 2:6], x[:, :, ::2, ::3])
    assert not y[:, :2].any()
    assert not y[:, 6:].any()


def test_droppath_drops_whole_images() -> None:
    seed_torch(0)
    module, x = layers.DropPath(0.25), torch.ones(4000, 2, 3)
    images = module(x).flatten(1)
    assert torch.equal(images.amin(1), images.amax(1))
    assert sorted(images.unique().tolist()) == pytest.approx([0, 4 / 3])
    assert images.mean().item() == pytest.approx(1, abs=0.05)
    assert torch.equal(module.eval()(x), x)


def test_droppath_of_everything() -> None:
    assert not layers.DropPath(1.0)(torch.ones(2, 3)).any()


def test_stochastic_depth_as_its_paper() -> None:
    seed_torch(0)
    module, x = layers.StochasticDepth(0.25), torch.ones(5, 2, 3)
    seen = torch.stack([module(x) for _ in range(2000)]).flatten(1)
    assert torch.equal(seen.amin(1), seen.amax(1))
    assert sorted(seen.unique().tolist()) == [0, 1]
    assert seen.mean().item() == pytest.approx(0.75, abs=0.05)
    close(module.eval()(x), 0.75 * x)
    assert layers.StochasticDepth(0)(x) is x


def test_drop_path_keeps_one_input_at_least() -> None:
    seed_torch(0)
    module = layers.Mean(0.5)
    xs = [torch.full((2, 3), float(4**i)) for i in range(3)]
    seen = {module(*xs)[0, 0].item() for _ in range(300)}
    assert seen == {1, 4, 16, 2.5, 8.5, 10, 7}
    assert {layers.Mean(1.0)(*xs)[0, 0].item() for _ in range(100)} == {1, 4, 16}
    close(module.eval()(*xs), torch.full((2, 3), 7.0))
