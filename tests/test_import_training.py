"""Modules that do something else in training, that change themselves, or whose weights have another dtype."""

import pytest
from click.testing import CliRunner

torch = pytest.importorskip("torch")

from support.plain_modules import agrees, module  # noqa: E402
from torch import nn  # noqa: E402
from torch.nn import functional as F  # noqa: E402, N812

from archcalc import ArchcalcError, analyze  # noqa: E402
from archcalc.cli import cli  # noqa: E402
from archcalc.importers.torch import from_torch  # noqa: E402
from archcalc.pytorch.import_validation import import_or_say  # noqa: E402


def drops(self, x):
    return F.dropout(self.conv(x), 0.3) if self.training else self.conv(x)


def drops_less(self, x):
    return F.dropout(self.conv(x), 0.3, self.training)


def other_sizes(self, x):
    return self.conv(x[:, :, ::2]) if self.training else self.conv(x[:, :, 1:])


def attends(self, x):
    y = self.conv(x)
    return F.scaled_dot_product_attention(y, y, y, None, 0.1 if self.training else 0.0)


def needs_targets(self, x, targets=None):
    if self.training:
        raise ValueError("no targets")
    return self.conv(x)


@pytest.mark.parametrize(
    ("forward", "said"),
    [
        (drops, "in training the module differs, from dropout on"),
        (other_sizes, "in training the module differs, from slice on"),
        (attends, "dropout inside attention (the module) is not counted"),
        (needs_targets, "a run in training fails: Made: no targets"),
    ],
)
def test_a_note_says_that_training_calls_other_functions(forward, said):
    (note,) = from_torch(module(forward, conv=nn.Conv2d(3, 4, 3)), (3, 8, 8)).about.notes
    assert said in note


@pytest.mark.parametrize("layer", [nn.Dropout(0.1), nn.BatchNorm2d(4), nn.RReLU(), nn.Identity()])
def test_layers_that_do_the_same_in_training_have_no_note(layer):
    assert not from_torch(nn.Sequential(nn.Conv2d(3, 4, 3), layer), (3, 8, 8)).about.notes


def test_dropout_that_evaluation_calls_too_has_no_note():
    assert not agrees(module(drops_less, conv=nn.Conv2d(3, 4, 3)), (3, 8, 8)).about.notes


def test_a_buffer_that_the_module_changes_has_its_value_afterwards():
    def counts(self, x):
        self.seen += 1
        return self.conv(x) * self.seen

    made = module(counts, conv=nn.Conv2d(3, 4, 3))
    made.register_buffer("seen", torch.zeros(1))
    from_torch(made, (3, 8, 8))
    assert made.seen.item() == 0


def test_what_a_module_stores_by_size_is_forgotten_and_is_no_other_training():
    class Stores(nn.Module):
        def __init__(self):
            super().__init__()
            self.tables = {}

        def forward(self, x):
            if x.shape not in self.tables:
                self.tables[x.shape] = torch.ones(x.shape, device=x.device).cumsum(0)
            return x * self.tables[x.shape]

    made = Stores()
    assert not from_torch(made, (4,)).about.notes
    assert not made.tables


def test_numbers_of_tokens_of_32_bits_count_their_bytes():
    graph = from_torch(nn.Embedding(10, 4), ("int32", (16,)))
    assert analyze(graph, batch=2, mode="train").totals.saved_bytes == 2 * 16 * 4


def test_an_error_says_that_a_list_depends_on_the_batch():
    with pytest.raises(ArchcalcError, match="unbind in the module gives 2 tensors for 2 images, but 3 for more"):
        from_torch(module(lambda self, x: sum(x)), (4,))


def test_a_choice_of_values_that_are_unknown_has_a_hint():
    with pytest.raises(ArchcalcError, match="it looks at values"):
        from_torch(module(lambda self, x: x[x > 0]), (4,))


TOKENS = nn.Parameter(torch.zeros(3, 8))


def expanded(self, x):
    return self.attention(self.tokens.expand(len(x), -1, -1), x, x, need_weights=False)[0]


@pytest.mark.parametrize("dtype", ["bfloat16", "float64", "float32"])
def test_validate_compares_in_the_dtype_of_the_weights(dtype):
    made = nn.Conv2d(3, 4, 3).to("meta", getattr(torch, dtype))
    graph = from_torch(made, (3, 8, 8))
    assert bool(graph.about.notes) == (dtype != "float32")
    image = torch.empty(2, 3, 8, 8, device="meta", dtype=getattr(torch, dtype))
    validated = import_or_say(graph, lambda batch: (made, ((image,), {})), 2)
    assert (len(validated.checks), validated.failed, validated.dtype) == (3, False, dtype)


@pytest.mark.parametrize(
    ("made", "size"),
    [
        (module(lambda self, x: self.own(x, x), own=nn.Bilinear(8, 8, 4)), (8,)),
        (nn.utils.parametrizations.spectral_norm(nn.Conv2d(3, 4, 3)), (3, 8, 8)),
        (module(expanded, tokens=TOKENS, attention=nn.MultiheadAttention(8, 2, batch_first=True)), (7, 8)),
    ],
    ids=["bilinear", "products of vectors", "expanded parameter"],
)  # fmt: skip
def test_validate_counts_all_products(made, size):
    graph, image = from_torch(made, size), torch.empty(2, *size, device="meta")
    validated = import_or_say(graph, lambda batch: (made, ((image,), {})), 2)
    assert not validated.problem
    assert (len(validated.checks), validated.failed) == (3, False)


def asserts(self, x):
    assert not self.training
    return self.conv(x)


def looks(self, x):
    if self.training:
        return self.conv(x) if x.sum() > 0 else self.conv(x) * 2
    return self.conv(x)


@pytest.mark.parametrize(
    ("forward", "said"),
    [(asserts, "the module cannot run: AssertionError"), (looks, "--run validates it on real tensors")],
)
def test_validate_says_why_a_module_does_not_run_in_training(forward, said):
    made = module(forward, conv=nn.Conv2d(3, 4, 3))
    graph, image = from_torch(made, (3, 8, 8)), torch.empty(2, 3, 8, 8, device="meta")
    validated = import_or_say(graph, lambda batch: (made, ((image,), {})), 2)
    assert said in validated.problem
    assert validated.failed


@pytest.mark.filterwarnings("ignore:.*nested")
def test_validate_runs_an_encoder_with_a_mask_of_padding_layer_by_layer():
    made = nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 16, 0.0, batch_first=True), 1).to("meta")
    graph = from_torch(made, {"src": (5, 8), "src_key_padding_mask": ("bool", (5,))})
    tokens, mask = torch.empty(2, 5, 8, device="meta"), torch.empty(2, 5, dtype=torch.bool, device="meta")
    validated = import_or_say(graph, lambda batch: (made, ((tokens,), {"src_key_padding_mask": mask})), 2)
    assert not validated.problem
    assert (len(validated.checks), validated.failed) == (3, False)


def test_memory_and_fit_show_the_notes(tmp_path, monkeypatch):
    (tmp_path / "halved.py").write_text("from torch import nn\n\n\ndef net():\n    return nn.Linear(4, 4).bfloat16()\n")
    monkeypatch.chdir(tmp_path)
    for arguments in (["memory"], ["fit", "--gpu", "t4"]):
        result = CliRunner().invoke(cli, [*arguments, "torch:halved.py:net@4"])
        assert "its weights are bfloat16: --dtype bfloat16 gives their bytes" in result.output
