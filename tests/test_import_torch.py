"""PyTorch modules as graphs: modules that are hard to import, each with its figures or its error."""

from dataclasses import dataclass

import pytest

torch = pytest.importorskip("torch")

from support.plain_modules import agrees, macs_of, module, own_params, saved_by  # noqa: E402
from torch import nn  # noqa: E402
from torch.nn import functional  # noqa: E402
from torch.utils.checkpoint import checkpoint  # noqa: E402

from archcalc import ArchcalcError, analyze  # noqa: E402
from archcalc.graph.graph import Shared  # noqa: E402
from archcalc.importers.torch import from_torch, weights_on_meta  # noqa: E402
from archcalc.ops.imported import Imported  # noqa: E402
from archcalc.ops.joins import Add  # noqa: E402
from archcalc.writing.recovery import spec_of_graph  # noqa: E402


def rows(graph):
    return {node.name: node.op.name for node in graph.nodes}


def test_leaves_have_their_path_and_functions_that_of_the_module_around():
    body = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU())
    made = module(lambda self, x: functional.gelu(self.body(x)).flatten(1), body=body)
    named = {"body.0": "conv", "body.1": "batchnorm", "body.2": "relu", "gelu": "gelu", "flatten": "flatten"}
    assert rows(agrees(made, (3, 8, 8))) == {"input": "input"} | named


def test_an_elu_is_one_of_ours():
    graph = agrees(nn.Sequential(nn.Conv2d(3, 4, 3), nn.ELU(0.5, inplace=True), nn.Conv2d(4, 2, 1)), (3, 8, 8))
    assert "elu(alpha=0.5, inplace=True)" in spec_of_graph(graph)


def test_a_module_stays_as_it_was():
    made = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Dropout(), nn.BatchNorm2d(4)).train()
    made[2].eval()
    weight = made[0].weight
    from_torch(made, (3, 8, 8))
    assert [each.training for each in made.modules()] == [True, True, True, False]
    assert made[0].weight is weight
    assert not weight.is_meta


def test_tied_weights_count_once():
    made = nn.Sequential(nn.Embedding(50, 8), nn.Linear(8, 50, bias=False))
    made[1].weight = made[0].weight
    graph = from_torch(made, ("int64", (5,)))
    assert analyze(graph).totals.params == own_params(made) == 400
    assert analyze(graph).layer("1").weights_of == "0"
    assert analyze(graph, batch=3).totals.macs == macs_of(made, torch.zeros(3, 5, dtype=torch.int64)) == 3 * 5 * 400


def test_weights_of_several_layers_in_one():
    made = module(lambda self, x: self.c(self.b(self.a(x))), **{name: nn.Linear(4, 4) for name in "abc"})
    made.c.weight, made.c.bias = made.a.weight, made.b.bias
    agrees(made, (4,))
    norms = module(lambda self, x: self.b(self.a(x)), a=nn.LayerNorm(4), b=nn.LayerNorm(4))
    norms.b.weight, norms.b.bias = norms.a.bias, norms.a.weight
    agrees(norms, (4,))


def test_a_module_over_single_images():
    agrees(module(lambda self, x: torch.vmap(self.fc)(x), fc=nn.Linear(4, 3)), (5, 4))


def test_results_that_only_backward_reads():
    """The positions of the largest values."""
    agrees(module(lambda self, x: self.fc(x).max(1)[0], fc=nn.Linear(5, 4)), (7, 5))
    agrees(nn.AdaptiveMaxPool2d((3, 2)), (3, 9, 9))


def test_masks_take_one_byte_per_value():
    agrees(module(lambda self, x: torch.where(x > 0, x, self.w), w=nn.Parameter(torch.ones(4))), (4,))


def test_a_number_as_a_parameter_has_a_row():
    graph = agrees(module(lambda self, x: x * self.w, w=nn.Parameter(torch.tensor(1.0))), (8,))
    (own,) = [node for node in graph.nodes if node.name == "w"]
    assert own.op.formula(own.x, own.output)["weight"] == "1"


def test_alpha_dropout_keeps_what_it_does_in_training():
    agrees(nn.AlphaDropout(), (4, 8, 8))


def test_a_module_called_again_shares_its_weights():
    made = module(lambda self, x: self.conv(self.conv(x)), conv=nn.Conv2d(3, 3, 1))
    graph = agrees(made, (3, 4, 4))
    assert [*rows(graph)] == ["input", "conv", "conv2"]
    assert analyze(graph).layer("conv2").weights_of == "conv"


def test_bare_parameters_with_einsum():
    made = module(lambda self, x: torch.einsum("btc,cd->btd", x, self.w) + self.b, w=nn.Parameter(torch.ones(6, 5)),
                  b=nn.Parameter(torch.ones(5)))  # fmt: skip
    graph = agrees(made, (4, 6))
    assert {"w", "b"} <= rows(graph).keys()
    assert analyze(graph, batch=2, mode="train").totals.backward_weight_macs == 0  # weights that are nodes


def test_dicts_in_and_out():
    made = module(lambda self, batch: {"logits": self.fc(batch["x"]), "mask": batch["x"] > 0}, fc=nn.Linear(4, 3))
    graph = from_torch(made, ({"x": (4,)},))
    assert graph.outputs == ("logits", "mask")
    assert [node.name for node in graph.inputs] == ["input.x"]


def test_several_inputs_by_name():
    made = module(lambda self, image, ids: self.fc(image) + self.table(ids).mean(1), fc=nn.Linear(4, 3),
                  table=nn.Embedding(9, 3))  # fmt: skip
    graph = from_torch(made, {"image": (4,), "ids": ("int64", (5,))})
    assert [node.name for node in graph.inputs] == ["image", "ids"]
    assert from_torch(made, (torch.zeros(1, 4), torch.zeros(1, 5, dtype=torch.int64))).nodes == graph.nodes


def test_a_dataclass_as_result():
    @dataclass
    class Result:
        first: torch.Tensor
        rest: tuple

    made = module(lambda self, x: Result(x + x, (x * x, x - 1)))
    assert from_torch(made, (4,)).outputs == ("first", "rest.0", "rest.1")


def test_unused_layers_are_rows_and_named():
    made = module(lambda self, x: self.used(x), used=nn.Linear(4, 3), idle=nn.Linear(5, 6))
    graph = agrees(made, (4,))
    assert rows(graph)["idle"] == "never run"
    assert analyze(graph).layer("idle").macs == 0
    (note,) = graph.about.notes
    assert "idle" in note
    assert "36" in note
    with pytest.raises(ArchcalcError, match=r"idle: its weights never run.*; delete it from the module"):
        spec_of_graph(graph)


def test_buffers_count_as_buffers():
    made = module(lambda self, x: x * self.scale, idle=nn.Linear(1, 1))
    made.register_buffer("scale", torch.ones(3, 1, 1))
    totals = analyze(from_torch(made, (3, 4, 4))).totals
    assert (totals.buffers, totals.params) == (3, 2)


@pytest.mark.parametrize(("kind", "name"), [(nn.LSTM, "lstm"), (nn.GRU, "gru"), (nn.RNN, "rnn")])
@pytest.mark.parametrize("first", [True, False])
def test_recurrent_layers(kind, name, first):
    made = kind(6, 5, num_layers=2, bidirectional=True, batch_first=first)
    if not first:
        made = module(lambda self, x: self.inner(x.transpose(0, 1))[0], inner=made)
    graph = from_torch(made, (7, 6))
    assert name in rows(graph).values()
    totals = analyze(graph, batch=2).totals
    weights = sum([w.numel() for key, w in made.named_parameters() if "weight" in key])
    assert totals.params == own_params(made)
    assert totals.macs == 2 * 7 * weights


def test_a_transformer_and_attention():
    layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0)  # tokens first, the batch second
    made = module(lambda self, x: self.layer(x.transpose(0, 1)), layer=layer)
    graph = from_torch(made, (5, 8))
    totals = analyze(graph, batch=2).totals
    assert totals.params == own_params(made)
    assert totals.macs == macs_of(made, torch.empty(2, 5, 8))
    assert "layer.self_attn.scaled_dot_product_attention" in rows(graph)


def test_attention_that_returns_its_weights():
    made = module(lambda self, x: self.attend(x, x, x)[0], attend=nn.MultiheadAttention(8, 2, batch_first=True))
    agrees(made, (5, 8))


def test_checkpoints():
    conv = nn.Conv2d(3, 3, 1)
    made = module(lambda self, x: checkpoint(self.conv, x, use_reentrant=False), conv=conv)
    assert rows(from_torch(made, (3, 4, 4)))["conv"] == "conv"


def test_functions_of_autograd():
    class Twice(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x * 2

        @staticmethod
        def backward(ctx, g):
            return g * 2

    graph = from_torch(module(lambda self, x: Twice.apply(x)), (3,))
    assert analyze(graph).totals.flops == 3


@pytest.mark.filterwarnings("ignore:`torch.jit")
def test_compiled_children():
    made = module(lambda self, x: self.child(x), child=torch.compile(nn.Conv2d(3, 4, 1)))
    assert analyze(from_torch(made, (3, 4, 4))).totals.macs == 3 * 4 * 16


def test_modules_in_a_plain_list_are_warned_of():
    hidden = [nn.Linear(4, 4)]
    made = module(lambda self, x: self.seen(hidden[0](x)), seen=nn.Linear(4, 2))
    graph = from_torch(made, (4,))
    assert "modules() does not list linear" in graph.about.notes[0]
    assert analyze(graph).totals.params == own_params(made) + 20


def test_weights_that_are_computed():
    made = nn.utils.parametrizations.spectral_norm(nn.Linear(6, 5))
    totals, count = analyze(from_torch(made, (6,)), batch=2).totals, own_params(made)
    assert (totals.params, totals.depth) == (count, 1)
    assert totals.macs == macs_of(made, torch.empty(2, 6)) == 2 * 5 * 6 + 5 * 6 + 5  # beside the layer u·(W·v)


def test_a_convolution_with_a_computed_weight_is_one():
    made = module(lambda self, x: functional.conv2d(x, self.w - self.w.mean()), w=nn.Parameter(torch.ones(4, 3, 3, 3)))
    graph = agrees(made, (3, 8, 8))
    assert analyze(graph).totals.depth == 1
    assert analyze(graph).totals.receptive_field == (3, 3)


def test_lists_of_parameters():
    ws = nn.ParameterList([nn.Parameter(torch.ones(4)), nn.Parameter(torch.ones(4))])
    agrees(module(lambda self, x: x * self.ws[0] + self.ws[1], ws=ws), (4,))


def test_a_function_without_a_rule_is_unknown():
    graph = from_torch(module(lambda self, x: torch.fft.fft2(self.conv(x)).real, conv=nn.Conv2d(3, 3, 1)), (3, 8, 8))
    assert [node.name for node in graph.nodes if isinstance(node.op, Imported) and node.op.counts is None]


def spectrum(self, x):
    return torch.fft.rfft2(self.conv(x)).abs() * self.scale


def rotated(self, x):
    turned = torch.complex(self.conv(x), self.conv(x) * self.scale)
    return torch.view_as_real(turned * turned).sum(-1)


def masked(self, x):
    y = self.conv(x)
    return torch.where(y > 0, y, y * self.scale).masked_fill(y > 1, 0.0)


@pytest.mark.parametrize("forward", [spectrum, rotated, masked])
def test_kept_tensors_of_other_dtypes(forward):
    made = module(forward, conv=nn.Conv2d(3, 4, 1), scale=nn.Parameter(torch.ones(4, 1, 1)))
    report = analyze(from_torch(made, (3, 8, 8)), batch=2, mode="train")
    assert report.totals.saved_bytes == saved_by(made, torch.empty(2, 3, 8, 8))


@pytest.mark.parametrize(("dtype", "size"), [(torch.complex64, 8), (torch.complex128, 16)])
def test_complex_values_have_the_bytes_of_their_dtype(dtype, size):
    made = module(lambda self, x: (self.fc(x) * self.w).abs(), fc=nn.Linear(4, 4),
                  w=nn.Parameter(torch.zeros(4, dtype=dtype)))  # fmt: skip
    report = analyze(agrees(made, (4,)))
    assert report.totals.param_bytes == 20 * 4 + 4 * size
    assert report.layer("mul").activation_bytes == 4 * size


def test_a_complex_value_is_two_numbers():
    made = module(lambda self, x: torch.fft.rfft2(self.conv(x)).abs(), conv=nn.Conv2d(3, 4, 1))
    layers = analyze(from_torch(made, (3, 8, 8))).layers
    assert [layer.activations for layer in layers][-2:] == [2 * 4 * 8 * 5, 4 * 8 * 5]


def test_windows_merged_into_the_batch():
    def forward(self, x):
        b = x.shape[0]
        parts = x.view(b, 3, 2, 4, 2, 4).permute(0, 2, 4, 3, 5, 1).reshape(b * 4, 16, 3)
        return self.fc(parts).view(b, -1)

    agrees(module(forward, fc=nn.Linear(3, 5)), (3, 8, 8))


def test_sums_make_a_new_tensor_unless_they_are_written_in_place():
    def plain(self, x):
        y = self.one(x)
        return y + self.two(y)

    def in_place(self, x):
        y = self.one(x)
        y += self.two(y)
        return y

    for forward, op, written in ((plain, Add(inplace=False), 256), (in_place, Add(), 0)):
        graph = agrees(module(forward, one=nn.Conv2d(3, 4, 1), two=nn.Conv2d(4, 4, 1)), (3, 8, 8))
        assert graph.nodes[-1].op == op
        assert analyze(graph).layers[-1].activations == written


def test_parts_that_are_overwritten():
    def forward(self, x):
        out = torch.zeros_like(x)
        out[:, :2] = self.one(x[:, :2])
        out[:, 2:] = x[:, 2:] * 2
        return self.two(out)

    graph = from_torch(module(forward, one=nn.Linear(2, 2), two=nn.Linear(4, 1)), (4,))
    assert analyze(graph).totals.depth == 2


def test_code_that_looks_at_values_needs_a_run():
    made = module(lambda self, x: self.fc(x) if x.sum() > 0 else x, fc=nn.Linear(4, 4))
    with pytest.raises(ArchcalcError, match=r"Made: .*--run"):
        from_torch(made, (4,))
    totals = analyze(from_torch(made, (torch.ones(2, 4),), run=True)).totals
    assert totals.params == 20


@pytest.mark.filterwarnings("ignore:`torch.jit")
def test_modules_that_cannot_be_recorded():
    scripted = torch.jit.script(nn.Linear(2, 2))
    with pytest.raises(ArchcalcError, match="ScriptModule"):
        from_torch(scripted, (2,))
    with pytest.raises(ArchcalcError, match=r"0 \(LazyLinear\) has no sizes yet"):
        from_torch(nn.Sequential(nn.LazyLinear(3)), (2,))
    with pytest.raises(ArchcalcError, match=r"1 \(Linear\): .*reduction dim"):
        from_torch(nn.Sequential(nn.Identity(), nn.Linear(5, 2)), (4,))
    with pytest.raises(ArchcalcError, match="calls no function"):
        from_torch(nn.Identity(), (4,))
    with pytest.raises(ArchcalcError, match=r"needs a torch\.nn\.Module, not int"):
        from_torch(3, (4,))
    with pytest.raises(ArchcalcError, match="no dtype"):
        from_torch(nn.Linear(2, 2), ("int63", (4,)))


def test_code_that_depends_on_the_batch_is_refused():
    made = module(lambda self, x: x + 1 if len(x) == 2 else x)
    with pytest.raises(ArchcalcError, match=r"depends on the batch or on values.*: it calls 1 functions for 2 images"):
        from_torch(made, (4,))


def test_work_per_batch_stands_beside_work_per_image():
    made = module(lambda self, x: x @ (self.w @ self.w), w=nn.Parameter(torch.ones(4, 4)))
    graph = from_torch(made, (3, 4))
    assert [analyze(graph, batch=n).totals.macs for n in (1, 2, 5)] == [64 + n * 48 for n in (1, 2, 5)]


def test_auxiliary_outputs_are_side_outputs():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.body, self.head, self.aux = (
                nn.Conv2d(3, 4, 3),
                nn.Conv2d(4, 2, 1),
                nn.Sequential(nn.Flatten(), nn.Linear(144, 2)),
            )

        def forward(self, x):
            x = self.body(x)
            return (self.head(x), self.aux(x)) if self.training else self.head(x)

    graph = from_torch(Net(), (3, 8, 8))
    assert [graph.nodes[i].name for i in graph.sides] == ["aux.1"]
    assert analyze(graph, mode="train").totals.params - analyze(graph).totals.params == 290


def test_weights_on_meta_take_no_memory():
    with weights_on_meta():
        made = nn.Sequential(nn.Linear(10**3, 10**3))
    assert made[0].weight.is_meta
    assert analyze(from_torch(made, (10**3,))).totals.params == 10**6 + 10**3


def test_fixed_filters_are_no_parameters():
    made = module(lambda self, x: functional.conv2d(self.conv(x), self.filter, groups=3), conv=nn.Conv2d(3, 3, 1))
    made.register_buffer("filter", torch.ones(3, 1, 3, 3))
    graph = agrees(made, (3, 8, 8))
    assert (analyze(graph).totals.buffers, analyze(graph).totals.receptive_field) == (27, (3, 3))


def test_what_a_module_computes_once_is_recorded_each_time():
    class Cached(nn.Module):
        def __init__(self):
            super().__init__()
            self.w, self.cache = nn.Parameter(torch.ones(4)), {}

        def train(self, mode=True):
            super().train(mode)
            self.cache = {} if mode else self.cache
            return self

        def forward(self, x):
            if "w" not in self.cache:
                self.cache["w"] = self.w * 2
            return x + self.cache["w"]

    made = Cached()
    assert analyze(from_torch(made, (4,)), batch=3).totals.flops == 4 + 3 * 4
    assert made.cache == {}


def test_what_a_module_computes_once_stays_no_attribute():
    class Once(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc, self.mask = nn.Linear(4, 4), None

        def forward(self, x):
            if self.mask is None:
                self.mask = torch.ones(4, device=x.device).cumsum(0)
            return self.fc(x) * self.mask

    made = Once()
    assert analyze(from_torch(made, (4,))).totals.macs == 16
    assert made.mask is None


@pytest.mark.parametrize("take", [lambda w: w.expand(3, -1), lambda w: w.view(-1), lambda w: w[0]])
def test_views_of_weights_in_memory(take):
    made = module(lambda self, x: x + take(self.w).sum(0), w=nn.Parameter(torch.ones(1, 4)))
    assert analyze(from_torch(made, (4,))).totals.params == 4


class TiedHead(nn.Module):
    def __init__(self):
        super().__init__()
        self.table = nn.Embedding(50, 8)
        self.head = nn.Linear(8, 50, bias=False)
        self.head.weight = self.table.weight

    def forward(self, ids):
        return self.head(self.table(ids))


class TwoStrides(nn.Module):
    """Two convolutions of other strides with the same weights."""

    def __init__(self):
        super().__init__()
        self.near, self.far = nn.Conv2d(3, 3, 3), nn.Conv2d(3, 3, 3, stride=2)
        self.far.weight, self.far.bias = self.near.weight, self.near.bias

    def forward(self, x):
        return self.far(self.near(x))


def test_a_head_with_the_weight_of_an_embedding_is_a_tied_layer():
    graph = from_torch(TiedHead(), {"ids": ("int64", (6,))})
    assert analyze(graph).totals.params == 400
    assert graph.nodes[-1].shared == Shared(1, "weight")


def test_a_layer_of_another_kind_does_not_run_the_layer_whose_weights_it_has():
    graph = from_torch(TwoStrides(), (3, 9, 9))
    assert analyze(graph).totals.params == 84
    assert isinstance(graph.nodes[-1].op, Imported)


def test_a_sum_over_the_images_of_a_batch_is_an_error():
    class Mixed(nn.Module):
        def forward(self, x):
            return x * x.sum()

    with pytest.raises(ArchcalcError, match="sum mixes the images of a batch into 1 value; archcalc counts image by"):
        from_torch(Mixed(), (4,))


def test_a_part_without_values_mixes_no_images():
    """As the prefix of rotated queries, where there are no prefix tokens."""
    made = module(lambda self, x: torch.cat([x[:, :0], self.linear(x[:, 0:])], 1), linear=nn.Linear(4, 4))
    graph = from_torch(made, (3, 4))
    assert analyze(graph, batch=2).totals.macs == macs_of(made, torch.empty(2, 3, 4)) == 2 * 3 * 16


def test_a_tensor_of_the_dtype_or_sizes_of_an_image_does_not_read_it():
    """So a weight as it stays the same for all images, and its work counts once."""
    made = module(lambda self, x: x * self.weight.exp().type_as(x).expand_as(x), weight=nn.Parameter(torch.zeros(4)))
    graph = from_torch(made, (4,))
    assert analyze(graph, batch=2).totals.flops == 4 + 2 * 4
    (cast,) = [node for node in graph.nodes if node.op.name == "aten::to"]
    assert len(cast.inputs) == 1


def test_a_new_tensor_reads_only_the_dtype_of_an_image():
    class Masked(nn.Module):
        def forward(self, x):
            return x + x.new_zeros(4)

    assert analyze(from_torch(Masked(), (4,)), batch=3).totals.activations == 12 + 4 + 12


@pytest.mark.parametrize(("dropout", "count"), [(0.1, 1), (0.0, 0)])
def test_a_note_says_that_dropout_inside_attention_is_not_counted(dropout, count):
    graph = from_torch(nn.TransformerEncoderLayer(8, 2, 16, dropout, batch_first=True), (5, 8))
    notes = [note for note in graph.about.notes if "dropout inside attention (self_attn) is not counted" in note]
    assert len(notes) == count
