"""Networks of tokens: figures that others print, and what PyTorch counts, computes and keeps."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from support.torch_seed import seed_torch
from test_training_step import counted, expected
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from archcalc import ArchcalcError, Graph, SpecError, analyze, parse
from archcalc.analysis.recipe import USUAL, Recipe
from archcalc.analysis.simulation import simulate
from archcalc.ops.attention import Attention
from archcalc.ops.calls import Call
from archcalc.pytorch import build, compare_memory, validate, validate_source
from archcalc.pytorch.inputs import random_inputs

ENCODER_LAYER = """
name: encoder-layer
input: {T: 20, C: 128}
layers:
  - add: {attend: multihead_attention(8), skip: identity}
  - layernorm
  - add: {mlp: linear(256) | relu | linear(128), skip: identity}
  - layernorm
"""
GPT_BLOCKS = """
name: gpt
input: {T: 16}
params: {width: 24, heads: 4}
blocks:
  block(heads):
    - add: {attend: "layernorm | multihead_attention(heads, causal=True)", skip: identity}
    - add: {mlp: layernorm | linear(4 * width) | gelu("tanh") | linear(width), skip: identity}
layers:
  - embedding(50, width)
  - 2 * block(heads)
  - head: "layernorm | linear(50, bias=False)"
"""
DECODER = """
name: decoder
input: {T: 9, C: 24}
layers:
  - memory: linear(16)
  - cross_attention(4): {query: linear(24) | layernorm, memory: use(memory)}
  - attention(4, kv_heads=2): {query: linear(24), key: linear(12), value: linear(12)}
  - attention(2): {query: identity, key: identity, value: identity}
"""
BY_HAND = """
name: by-hand
input: {T: 12, C: 24}
params: {heads: 4, groups: 2}
layers:
  - attention(heads, causal=True, kv_heads=groups):
      query: linear(48, bias=False) | rotary_embedding(heads)
      key: linear(24, bias=False) | rotary_embedding(groups)
      value: linear(24, bias=False)
  - value: linear(30)
  - matmul(transpose=True): {query: linear(48), key: linear(48)}
  - softmax
  - matmul: {weights: identity, value: use(value)}
  - matmul: {query: identity, all: "matmul(transpose, identity)"}
"""
BIASED = """
name: biased
input: {T: 9, C: 24}
blocks:
  head(features):
    - matmul:
        weights:
          - add:
              scores:
                - matmul(transpose=True): {query: linear(features), key: linear(features)}
                - multiply(identity, constant(T=1, C=1, value=features ** -0.5))
              bias: parameter(T=9, C=9)
          - softmax
        value: linear(features)
layers:
  - concat(head(8) for n in range(3))
  - linear(24)
"""
CHARACTERS = """
name: char-lstm
input: {T: 12}
params: {vocabulary: 65, hidden: 24}
layers:
  - embedding(vocabulary, 16)
  - lstm(hidden, num_layers=2, bidirectional=True)
  - gru(hidden)
  - rnn(hidden, bias=False)
  - head: linear(vocabulary)
"""
TIED = """
name: tied
input: {T: 9}
layers:
  - embed: embedding(40, 24)
  - add: {tokens: identity, places: "parameter(T=9, C=24)"}
  - add: {attend: "layernorm | multihead_attention(4, causal=True)", skip: identity}
  - head: linear(40, bias=False, weight=embed)
"""
SPECS = {
    "encoder layer": ENCODER_LAYER,
    "GPT blocks": GPT_BLOCKS,
    "decoder": DECODER,
    "by hand": BY_HAND,
    "biased": BIASED,
}


ALL = SPECS | {"characters": CHARACTERS}


def graph_of(what: str) -> Graph:
    return parse(ALL[what])


def source(graph: Graph) -> str:
    from archcalc.codegen import pytorch_source

    return pytorch_source(graph)


def different(graph: Graph, recipe: Recipe, batch: int) -> list[Any]:
    phases = compare_memory(graph, recipe._replace(single=batch == 1), batch)
    return [check for phase in phases for check in phase.differences()]


def test_figures_of_public_questions() -> None:
    attention = parse("name: t\ninput: {T: 300, C: 448}\nparams: {heads: 4}\nlayers:\n  - multihead_attention(heads)\n")
    totals = analyze(attention).totals
    assert (totals.params, totals.macs) == (804_608, 321_484_800)  # fvcore#153: the same for 4 and 8 heads
    assert analyze(attention).totals.biases == 4 * 448
    assert analyze(graph_of("encoder layer")).totals.params == 132_480  # nobuco#26
    assert sum(p.numel() for p in nn.TransformerEncoderLayer(128, 8, 256).parameters()) == 132_480


@pytest.mark.parametrize(("cell", "inputs", "params"), [("lstm", 5, 240), ("gru", 4, 165)])
def test_recurrent_layers_of_public_questions(cell: str, inputs: int, params: int) -> None:
    """pytorch-summary#143 and tensorflow#43960: PyTorch has two biases per gate."""
    graph = parse(f"name: t\ninput: {{T: 10, C: {inputs}}}\nlayers:\n  - {cell}(5)\n")
    assert analyze(graph).totals.params == params
    theirs = {"lstm": nn.LSTM, "gru": nn.GRU}[cell](inputs, 5, batch_first=True)
    assert sum(p.numel() for p in theirs.parameters()) == params
    ours = build(graph)
    ours.load_state_dict({f"{cell}.{name}": tensor for name, tensor in theirs.state_dict().items()})
    x = torch.randn(2, 10, inputs)
    torch.testing.assert_close(ours(x), theirs(x)[0])


def test_the_memory_of_recurrent_layers_is_unknown_and_not_zero() -> None:
    graph = graph_of("characters")
    report = analyze(graph, mode="train")
    totals = report.totals
    assert (totals.saved_bytes, totals.peak_inference_bytes, totals.peak_training_bytes) == (None, None, None)
    assert {layer.saved_bytes for layer in report.layers} == {None}
    with pytest.raises(ArchcalcError, match="does not know what lstm keeps in memory"):
        simulate(graph, Recipe("sgd"))
    assert validate(graph, "meta").remark == "memory not compared: what lstm keeps is unknown"


@pytest.mark.parametrize("device", ["cpu", "meta"])
@pytest.mark.parametrize("what", ALL)
def test_every_layer_is_as_in_pytorch(what: str, device: str) -> None:
    made = validate(graph_of(what), device, 3)
    assert len(made.checks) > 20
    assert made.differences == ()


@pytest.mark.parametrize("what", ALL)
def test_the_source_computes_the_same(what: str) -> None:
    assert validate_source(graph_of(what), source(graph_of(what))).differences == ()


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("recipe", [Recipe("momentum"), Recipe("adam", dtype="bfloat16"), Recipe("sgd", amp=True)])
@pytest.mark.parametrize("what", SPECS)
def test_memory_is_as_in_pytorch(what: str, recipe: Recipe, batch: int) -> None:
    assert different(graph_of(what), recipe, batch) == []


@pytest.mark.parametrize("frozen", [(), ("0",), ("1", "head")])
def test_a_step_has_the_macs_that_pytorch_counts(frozen: tuple[str, ...]) -> None:
    """Also where the input of the first attention needs no gradient, but its weights do."""
    graph = graph_of("GPT blocks")
    recipe = USUAL._replace(frozen=frozen)
    assert counted(graph, frozen=frozen) == expected(analyze(graph, 2, mode="train", recipe=recipe))
    for bare in (graph_of("encoder layer"), graph_of("characters")):
        assert counted(bare) == expected(analyze(bare, 2, mode="train", recipe=USUAL))


def test_attention_without_the_fused_kernel_has_the_same_macs() -> None:
    """PyTorch's own counter on meta, with nothing of ours: two products of matrices."""
    graph = graph_of("decoder")
    with torch.device("meta"), torch.no_grad(), FlopCounterMode(display=False) as counter:
        build(graph, "meta")(torch.empty(2, *graph.input))
    assert counter.get_total_flops() == 2 * analyze(graph, 2).totals.macs


def test_these_tests_would_notice(monkeypatch: pytest.MonkeyPatch) -> None:
    graph = graph_of("decoder")
    truth = Attention.calls

    def forgetful(self: Attention, *args: Any) -> Any:
        return tuple([call._replace(keeps=()) if isinstance(call, Call) else call for call in truth(self, *args)])

    monkeypatch.setattr(Attention, "calls", forgetful)
    assert different(parse(DECODER), Recipe("momentum"), 2) != []
    monkeypatch.setattr(Attention, "work", lambda self, x, y: {"mac": 1})
    figures = {check.figure for check in validate(graph, "meta").differences}
    assert figures == {"macs"}


def test_numbers_of_tokens_are_int64() -> None:
    graph = graph_of("GPT blocks")
    assert random_inputs(graph, 2)[0].dtype == torch.int64
    layers = analyze(graph, 2).layers
    assert layers[0].activation_bytes == 2 * 16 * 8
    assert layers[1].bytes_moved == 2 * (16 * 8 + 16 * 24 * 4) + 50 * 24 * 4
    with pytest.raises(ArchcalcError, match="gpt reads numbers of tokens, which have no gradient"):
        analyze(graph, mode="train", recipe=Recipe("sgd", image_gradient=True))


def test_attention_of_a_learned_tensor_to_the_input_is_refused() -> None:
    """PyTorch's fused kernel needs one batch; without the refusal the figures would be those of a whole batch."""
    layers = '  - m: linear(16)\n  - cross_attention(4): {q: "parameter(T=5, C=24)", m: use(m)}\n'
    with pytest.raises(SpecError, match="a branch of cross_attention is a learned tensor or constant"):
        parse(f"name: t\ninput: {{T: 9, C: 24}}\nlayers:\n{layers}")


def test_the_product_of_queries_and_keys_is_attention_without_its_scale() -> None:
    """The scores take T·T·C multiply-accumulates, and weights times values as many."""
    scores, weighted, *_ = (node for node in graph_of("by hand").nodes if node.op.name == "matmul")
    assert (scores.output.text, weighted.output.text) == ("12×12 (T×C)", "12×30 (T×C)")
    assert scores.op.work(scores.x, scores.output) == {"mac": 12 * 12 * 48}
    assert weighted.op.work(weighted.x, weighted.output) == {"mac": 12 * 12 * 30}


def test_tables_of_angles_are_buffers_that_a_batch_has_once() -> None:
    totals = [analyze(graph_of("by hand"), batch).totals for batch in (1, 8)]
    assert {total.buffers for total in totals} == {2 * 2 * 12 * 12}


def test_a_product_with_a_learned_tensor_is_refused() -> None:
    with pytest.raises(SpecError, match="a branch of matmul is a learned tensor or constant"):
        parse("name: t\ninput: {T: 9, C: 4}\nlayers:\n  - matmul: [identity, 'parameter(C=4, L=5)']\n")


DROPPING = """
name: dropping
input: {T: 9, C: 24}
layers:
  - memory: multihead_attention(4, dropout=0.1)
  - cross_attention(4, dropout=0.1): {query: identity, memory: use(memory)}
  - attention(4, dropout=0.1): {query: identity, key: identity, value: use(memory)}
"""


def test_dropout_of_attention_costs_nothing_at_inference_and_makes_memory_unknown() -> None:
    graph, plain = parse(DROPPING), parse(DROPPING.replace(", dropout=0.1", ""))
    assert analyze(graph).totals.flops == analyze(plain).totals.flops
    assert (analyze(graph).totals.saved_bytes, analyze(graph).unknown_memory) == (None, "memory")
    assert analyze(plain).totals.saved_bytes
    scores, recipe = 2 * 3 * 4 * 9 * 9, Recipe("sgd")
    forward, other = (analyze(each, 2, mode="train", recipe=recipe).totals.forward_flops for each in (graph, plain))
    assert forward - other == 3 * scores
    for device in ("cpu", "meta"):
        assert validate(graph, device, 3).differences == ()
    assert validate_source(graph, source(graph)).differences == ()


def test_tied_embeddings_with_learned_positions_are_as_in_pytorch() -> None:
    graph = parse(TIED)
    assert analyze(graph).totals.params == 40 * 24 + 9 * 24 + 4 * 24 * 24 + 4 * 24 + 2 * 24
    for device in ("cpu", "meta"):
        assert validate(graph, device, 3).differences == ()
    assert different(graph, Recipe("adam"), 3) == []
    assert validate_source(graph, source(graph)).differences == ()


def test_weights_of_pytorchs_attention_give_its_values() -> None:
    graph = parse("name: t\ninput: {T: 7, C: 12}\nlayers:\n  - multihead_attention(3)\n")
    seed_torch(0)
    theirs = nn.MultiheadAttention(12, 3, batch_first=True).train()
    ours = build(graph)
    ours.load_state_dict({f"multihead_attention.{name}": tensor for name, tensor in theirs.state_dict().items()})
    x = torch.randn(2, 7, 12)
    torch.testing.assert_close(ours(x), theirs(x, x, x, need_weights=False)[0])


def test_attention_sees_all_positions_of_key_and_value() -> None:
    for what in ("encoder layer", "decoder"):
        assert {*analyze(graph_of(what)).totals.field_status} == {"whole input"}
    assert {*analyze(parse(DECODER.partition("  - attention(4")[0])).totals.field_status} == {"whole input"}
