"""Work and memory grow with a network as its layers do: four times the layers, four times the steps."""

import pytest
from support.counted_calls import peak_bytes, steps

from archcalc import analyze, parse
from archcalc.analysis.saved import held_bytes, saved_bytes
from archcalc.codegen.export import pytorch_source
from archcalc.graph.batchnorm_folding import fold_batchnorm

HEAD = "name: t\ninput: [4, 16, 16]\n"
SMALL, LARGE = 100, 400
MOST_STEPS, MOST_BYTES = 4.4, 8  # times as many; memory grows by leaps, and work that is quadratic grows 16 times
NETWORKS = {  # layers for a number of them
    "early label": "layers: [{{a: 'conv(4, 1)'}}, '{0} * add(x=use(a), y=relu)']",
    "wide join": "layers: ['add(relu for i in range({0}))']",
    "one tensor joined": "layers: [{{a: 'conv(4, 1)'}}, 'concat(use(a) for i in range({0}))']",
    "dense": "layers: ['{0} * concat(x=identity, y=conv(1, 1) | relu)']",
    "views": "layers: ['{0} * identity']",
    "droppers in a row": "layers: ['conv(4, 1)', 'add(x={0} * stochastic_depth(0.5), y=identity)']",
    "droppers beside each other": "layers: ['{0} * add(x=conv(4, 1) | stochastic_depth(0.5), y=identity)']",
    "norms in a row": "layers: ['conv(4, 1) | {0} * batchnorm']",
    "side outputs": "layers: ['{0} * b']\nblocks: {{b: [relu, {{side: {{s: linear(1)}}}}]}}",
    "gates": "layers: ['{0} * multiply(x=identity, gate=global_avgpool | conv(4, 1) | sigmoid)']",
}
CALLS = {
    "infer": analyze,
    "train": lambda graph: analyze(graph, mode="train"),
    "saved": saved_bytes,
    "held": held_bytes,
    "fold": fold_batchnorm,
}


def growth(count, text, call):
    """How much more a call does of four times the layers."""
    small, large = (parse(HEAD + text.format(size)) for size in (SMALL, LARGE))
    call(small), call(large)  # what is computed once and kept is not counted
    return count(lambda: call(large)) / count(lambda: call(small))


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("name", NETWORKS)
def test_steps_grow_as_the_layers(name, call):
    assert growth(steps, NETWORKS[name], CALLS[call]) < MOST_STEPS


@pytest.mark.parametrize("name", NETWORKS)
def test_memory_grows_as_the_layers(name):
    assert growth(peak_bytes, NETWORKS[name], CALLS["train"]) < MOST_BYTES


@pytest.mark.slow
def test_source_of_a_chain_with_skips_grows_as_its_layers():
    step = "- a{0}: conv(4, 1)\n- relu\n- conv(4, 1)\n- add(x=use(a{0}), y=identity)\n"
    texts = [HEAD + "layers:\n" + "".join(map(step.format, range(size // 2))) for size in (SMALL, LARGE)]
    graphs = [parse(text) for text in texts]
    pytorch_source(graphs[0])  # what is computed once and kept is not counted
    small, large = (steps(lambda graph=graph: pytorch_source(graph)) for graph in graphs)
    assert large / small < MOST_STEPS


@pytest.mark.parametrize("size", [SMALL, LARGE])
def test_this_would_notice(size):
    readers = range(size)
    assert steps(lambda: [max(readers) for _ in readers]) > size**2
    assert steps(lambda: [i for _ in readers for i in readers]) > size**2
    assert peak_bytes(lambda: [list(readers) for _ in readers]) > 8 * size**2
