"""Transformers and recurrent networks of the zoo: parameters to the digit, and MACs as PyTorch counts them."""

import pytest
import torch
from support.zoo import network, report
from torch.utils.flop_counter import FlopCounterMode

from archcalc import analyze, load
from archcalc.pytorch import build

PARAMS = {
    "vit-b-16": 86_567_656, "vit-h-14": 632_045_800,
    "deit-ti": 5_717_416, "deit-ti-distilled": 5_910_800,
    "swin-t": 28_288_354, "swin-v2-t": 28_351_570, "torchvision/maxvit_t": 30_919_624,
    "gpt2": 124_439_808, "gpt2-medium": 354_823_168, "gpt2-large": 774_030_080, "gpt2-xl": 1_557_611_200,
    "bert-base": 109_482_240, "bert-large": 335_141_888,
    "bert-base-pretraining": 110_106_428, "bert-large-pretraining": 336_226_108,
    "char-rnn": 240_321,
}  # fmt: skip
COUNTED = "vit-b-16", "swin-t", "bert-base", "gpt2"


@pytest.mark.parametrize(("name", "params"), PARAMS.items())
def test_params(name, params):
    assert report(name).totals.params == params


def test_params_of_berts_heads():
    """The pooler is a linear layer; masked tokens are predicted with the embedding's weight and a bias."""
    width, vocabulary = 768, 30522
    encoder = analyze(load("bert-base", head="identity")).totals.params
    pooler = width * width + width
    masked = width * width + width + 2 * width + vocabulary
    assert encoder == 108_891_648
    assert PARAMS["bert-base"] == encoder + pooler
    assert PARAMS["bert-base-pretraining"] == encoder + pooler + masked + 2 * width + 2


def test_the_transformer_counts_one_table_for_three_uses():
    """A layer of the encoder has 4 matrices of attention, of the decoder 8; biases are in the feed-forward layers."""
    for name, width in {"transformer-base": 512, "transformer-big": 1024}.items():
        feed_forward = 8 * width * width + 5 * width
        encode, decode = (4 * n * width * width + feed_forward + 2 * (n + 1) * width for n in (1, 2))
        assert report(name).totals.params == 37000 * width + 6 * (encode + decode)
        table = {id(weight) for weight in (embedding.weight for embedding in embeddings(build(network(name), "meta")))}
        assert len(table) == 1


def embeddings(module):
    return [layer for layer in module.modules() if isinstance(layer, torch.nn.Embedding)]


@pytest.mark.parametrize("name", COUNTED)
def test_macs_are_pytorchs(name):
    assert report(name).totals.macs == pytorchs_macs(network(name))


def test_pytorchs_count_would_notice_a_layer():
    """It would also notice half of a causal mask: PyTorch counts all scores."""
    assert pytorchs_macs(load("gpt2", depth=11)) != report("gpt2").totals.macs
    scores = 12 * 2 * 768 * 1024 * 1024
    assert pytorchs_macs(load("gpt2", depth=0)) == report("gpt2").totals.macs - scores - 12 * 12 * 768 * 768 * 1024


def pytorchs_macs(graph):
    """Count with FlopCounterMode on meta, where attention runs as products of matrices."""
    module = build(graph, "meta").eval()
    images = [sample(graph.nodes[i].output) for i, node in enumerate(graph.nodes) if node.op.name == "input"]
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        module(*images)
    flops = counter.get_total_flops()
    assert flops % 2 == 0
    return flops // 2


def sample(shape):
    tokens = len(shape) == 1
    return torch.zeros(1, *shape, device="meta", dtype=torch.int64 if tokens else torch.float32)


def test_a_shorter_text_has_the_same_weights():
    for name, times in {"gpt2": 8, "bert-base": 4}.items():
        short = analyze(load(name, length=128)).totals
        assert short.params == PARAMS[name]
        assert short.macs * times < report(name).totals.macs
