"""What an imported module keeps for backward, where its code does more than call layers: equal to autograd's."""

import pytest

torch = pytest.importorskip("torch")

from support.plain_modules import agrees, module, saved_by  # noqa: E402
from torch import nn  # noqa: E402
from torch.nn import functional as F  # noqa: E402, N812
from torch.utils.checkpoint import checkpoint  # noqa: E402

from archcalc import analyze  # noqa: E402
from archcalc.importers.torch import from_torch  # noqa: E402


class Subclass(torch.Tensor):
    """A tensor of another class."""


def without_gradients(self, x):
    with torch.no_grad():
        y = self.conv(x).sigmoid() * x
    return y * x


def cosine(self, x):
    return F.cosine_similarity(x, self.conv(x), dim=1)  # which clamps in place, without gradients


def detached(self, x):
    return x.exp() * self.conv(x).detach()


def halves(self, x):
    return (self.conv(x).half() * x.half()).float()


def doubled(self, x):
    return F.softmax(x, 1, dtype=torch.float64) * x


def table(self, x):
    return self.conv(x)[:, torch.tensor([2, 0, 1], device=x.device)]


def attribute(self, x):
    return self.conv(x) * self.scales


def subclass(self, x):
    return (x * 2).as_subclass(Subclass) * self.conv(x)


def part_in_place(self, x):
    y = self.conv(x)
    first, second, _ = y.unsafe_chunk(3, 1)
    return first.add_(second).sigmoid_() * second


def slices_in_place(self, x):
    y = x.exp() * 2
    y[:, :2].mul_(x[:, :2])
    return y + self.conv(x)


def dropped_and_read_again(self, x):
    return self.drop(x) * x


def dropped_in_place_of_a_part(self, x):
    return F.dropout(self.conv(x)[:, 0], 0.5, self.training, inplace=True) * 2


def loss(self, x):
    return F.mse_loss(self.conv(x), x, reduction="none")


def attention_with_gaps(self, x):
    heads = x.flatten(2).mT[:, None]
    return F.scaled_dot_product_attention(heads, heads, heads)


FORWARDS = [
    without_gradients, cosine, detached, halves, doubled, table, attribute, subclass, part_in_place, slices_in_place,
    dropped_and_read_again, dropped_in_place_of_a_part, loss,
]  # fmt: skip


def made(forward):
    own = module(forward, conv=nn.Conv2d(3, 3, 1), drop=nn.Dropout())
    own.scales = torch.ones(3, 8, 8, device="meta")
    return own


@pytest.mark.parametrize("forward", FORWARDS, ids=lambda forward: forward.__name__)
def test_kept_for_backward_is_that_of_autograd(forward):
    report = analyze(from_torch(made(forward), (3, 8, 8)), batch=2, mode="train")
    assert report.totals.saved_bytes == saved_by(made(forward), torch.empty(2, 3, 8, 8))


def test_the_test_above_would_notice():
    """Each way is one that a plain forward does not take."""
    plain = module(lambda self, x: self.conv(x).sigmoid() * x * x, conv=nn.Conv2d(3, 3, 1), drop=nn.Dropout())
    image = torch.empty(2, 3, 8, 8)
    assert saved_by(made(without_gradients), image) != saved_by(plain, image)
    assert saved_by(made(halves), image) < saved_by(made(doubled), image)


def attention_with_a_trained_mask(self, x):
    heads = x.flatten(2)[:, None]
    return F.scaled_dot_product_attention(heads, heads, heads, attn_mask=self.mask)


@pytest.mark.parametrize("forward", [attention_with_gaps, attention_with_a_trained_mask])
def test_attention_that_the_cpu_does_not_fuse_keeps_its_scores(forward):
    own = module(forward, mask=nn.Parameter(torch.ones(3, 3)))
    report = analyze(from_torch(own, (3, 8, 8)), batch=2, mode="train")
    image, kept = torch.ones(2, 3, 8, 8, requires_grad=True), {}

    def keep(tensor):
        kept[tensor.untyped_storage()._cdata] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        result = own(image)
    assert report.totals.saved_bytes == sum(kept.values())
    assert result.requires_grad


@pytest.mark.parametrize("cell", [nn.LSTMCell, nn.GRUCell, nn.RNNCell])
def test_cells(cell):
    agrees(cell(8, 6), (8,))


@pytest.mark.parametrize("layer", [nn.AlphaDropout(), nn.FeatureAlphaDropout()])
def test_noise_that_only_training_draws(layer):
    agrees(layer, (3, 8, 8))


def test_inputs_of_whole_numbers_take_their_bytes():
    made = module(lambda self, x, labels: F.cross_entropy(x, labels, reduction="none"))
    report = analyze(from_torch(made, ((7, 4, 4), ("int64", (4, 4)))), batch=2, mode="train")
    assert report.totals.saved_bytes == saved_by(made, torch.empty(2, 7, 4, 4), torch.zeros(2, 4, 4, dtype=torch.int64))


class Doubled(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x * 2

    @staticmethod
    def backward(ctx, gradient):
        return gradient * 2


def mixed_precision(self, x):
    with torch.autocast("cpu", dtype=torch.bfloat16):
        return self.conv(x)


UNSEEN = {
    "Doubled": lambda self, x: Doubled.apply(self.conv(x)),
    "checkpoint": lambda self, x: checkpoint(self.conv, x, use_reentrant=False),
    "CheckpointFunction": lambda self, x: checkpoint(self.conv, x, use_reentrant=True),
    "autocast": mixed_precision,
}


@pytest.mark.parametrize("what", UNSEEN)
def test_a_note_names_what_a_recorded_run_does_not_show(what):
    graph = from_torch(module(UNSEEN[what], conv=nn.Conv2d(3, 3, 1)), (3, 8, 8))
    assert graph.about.notes == (
        f"kept for backward as if without {what} (the module): a recorded run does not show what that changes",
    )
    assert analyze(graph).totals.macs == 9 * 64
