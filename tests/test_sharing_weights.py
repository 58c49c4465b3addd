"""Several inputs and outputs, shared weights, labels as arguments, and learned tensors: counts, and PyTorch's."""

import re

import pytest
import torch
from support.source_runs import assert_same_values

from archcalc import ArchcalcError, analyze, parse
from archcalc.analysis.memory_plan import in_place
from archcalc.analysis.recipe import Recipe
from archcalc.analysis.simulation import simulate
from archcalc.codegen.export import pytorch_source, source
from archcalc.graph.batchnorm_folding import fold_batchnorm, folds
from archcalc.pytorch import build, validate, validate_source
from archcalc.pytorch.memory_validation import compare_memory

SIAMESE = """
name: siamese
input:
  left: [3, 16, 16]
  right: [3, 16, 16]
layers:
  - tower: conv(8, 3, padding=1, bias=False) | batchnorm | relu | maxpool(2) | flatten | linear(16)
  - add:
      a: identity
      b: use(right) | again(tower)
  - linear(1)
"""
TWO_IMAGES = """
name: two-images
input:
  image: [3, 8, 8]
  mask: [3, 8, 8]
layers:
  - filter: conv(4, 3)
  - concat: ["identity", "use(mask) | again(filter)"]
"""
TIED = """
name: tied
input: {T: 6, C: 10}
layers:
  - table: linear(10, bias=False)
  - relu
  - linear(10, weight=table)
"""
DECODER = """
name: decoder
input: [1, 16, 16]
blocks:
  up(n, skip):
    - upsampled: conv_transpose(n, 2, stride=2)
    - concat: ["use(skip)", "use(upsampled)"]
    - conv(n, 3, padding=1) | relu
layers:
  - e1: conv(4, 3, padding=1) | relu
  - maxpool(2)
  - e2: conv(6, 3, padding=1) | relu
  - maxpool(2)
  - up(6, e2)
  - up(4, e1)
"""
PYRAMID = """
name: pyramid
input: [3, 16, 16]
layers:
  - fine: conv(4, 3, padding=1) | relu
  - coarse: conv(6, 3, stride=2, padding=1) | relu
  - outputs:
      large: use(fine) | conv(2, 1)
      small: conv(2, 1)
"""
MIDDLE = """
name: middle
input: [3, 16, 16]
layers:
  - conv(4, 3) | relu
  - outputs: {early: conv(2)}
  - conv(4, 3)
""".replace("conv(2)", '"conv(2, 1)"')
MIXED = """
name: mixed
input: {image: [3, 8, 8], numbers: [4]}
layers:
  - conv(5, 3) | relu | flatten
  - concat: ["identity", "use(numbers) | linear(5)"]
  - linear(2)
"""
LEARNED = """
name: learned
input: {T: 6, C: 10}
layers:
  - add:
      - identity
      - parameter(T=6, C=10)
  - linear(10)
  - multiply:
      - identity
      - constant([1], value=0.5) | linear(10)
""".replace("constant([1], value=0.5) | linear(10)", "parameter(T=6, C=10, value=1) | tanh")
SCALED = """
name: scaled
input: {T: 6, C: 10}
layers:
  - linear(8)
  - multiply(identity, constant(T=1, C=1, value=4))
  - linear(8)
  - multiply(constant(T=6, C=8, value=2), identity)
  - linear(8)
  - divide(identity, constant(T=1, C=8, value=2))
  - linear(8)
  - divide(constant(T=1, C=8, value=2), identity)
"""
FIXED = """
name: fixed
input: {T: 6, C: 10}
layers:
  - multiply(linear(10), constant(T=6, C=10, value=2) | tanh | softmax, linear(10), constant(T=1, C=10, value=3))
  - maximum(constant(T=6, C=10), identity, constant(T=6, C=10, value=1) | relu)
  - divide(constant(T=6, C=10), constant(T=6, C=10, value=2), identity, constant(T=6, C=1, value=2) | sigmoid)
  - linear(8)
"""
TIED_AGAIN = """
name: tied-again
input: {T: 6, C: 10}
layers:
  - table: linear(10, bias=False)
  - head: linear(10, weight=table) | relu
  - add(identity, again(head))
  - both:
      - inner: linear(10) | linear(10)
      - first: linear(10)
      - relu
      - linear(10, weight=first)
  - add(identity, again(both))
  - last: linear(10, weight=table)
  - linear(10, weight=last)
"""
FIXED_AGAIN = """
name: fixed-again
input: {T: 6, C: 10}
layers:
  - scaled: linear(10) | multiply(identity, constant(T=1, C=10, value=4)) | add(parameter(T=6, C=10), identity)
  - relu
  - again(scaled)
"""
NORMALIZED = """
name: normalized
input: {C: 3, L: 6}
layers:
  - conv(4, 1)
  - image: instancenorm(affine=True) | conv(4, 1)
  - again(image)
  - transpose
  - tokens: rmsnorm | linear(4) | relu
  - 2 * again(tokens)
"""
ADDED = """
name: added
input: [3, 4, 5]
layers:
  - conv(4, 1)
  - add(identity, parameter([4, 4, 5]))
  - conv(4, 1)
  - multiply(identity, parameter([4], value=1) | linear(4) | sigmoid)
  - flatten | linear(4)
  - add(identity, parameter([4]))
"""
CROSSED = """
name: crossed
input: {query: {T: 3, C: 4}, memory: {T: 5, C: 4}}
layers:
  - first: cross_attention(identity, use(memory), num_heads=2)
  - again(first)
"""
SPECS = {
    "normalized": NORMALIZED, "added": ADDED, "crossed": CROSSED,
    "siamese": SIAMESE, "two images": TWO_IMAGES, "tied": TIED, "decoder": DECODER, "pyramid": PYRAMID,
    "middle": MIDDLE, "mixed": MIXED, "learned": LEARNED, "scaled": SCALED,
    "fixed": FIXED,
    "tied again": TIED_AGAIN,
    "fixed again": FIXED_AGAIN,
}  # fmt: skip
GRAPHS = {name: parse(text) for name, text in SPECS.items()}


RECIPES = [
    Recipe("momentum"),
    Recipe("adam", accumulate=2),
    Recipe("sgd", foreach=True),
    Recipe("sgd", amp=True),
]


def differences(name, recipe, batch):
    return [check for phase in compare_memory(GRAPHS[name], recipe, batch) for check in phase.differences()]


@pytest.mark.parametrize("name", SPECS)
@pytest.mark.parametrize("device", ["meta", "cpu"])
def test_every_figure_is_that_of_pytorch(name, device):
    made = validate(GRAPHS[name], device)
    assert made.differences == ()
    assert len(made.checks) > 20


@pytest.mark.parametrize("name", SPECS)
@pytest.mark.parametrize("recipe", RECIPES)
def test_memory_is_that_of_pytorch(name, recipe):
    for batch in (1, 3):
        assert differences(name, recipe._replace(single=batch == 1), batch) == []


@pytest.mark.parametrize("name", ["siamese", "normalized"])
def test_the_test_above_would_notice_a_gradient_in_other_memory(name, monkeypatch):
    monkeypatch.setattr("archcalc.analysis.programs.viewed", lambda read, rule: False)
    assert differences(name, Recipe("sgd"), 3)


@pytest.mark.parametrize("name", SPECS)
@pytest.mark.parametrize("write", [pytorch_source, source])
def test_source_computes_the_same_values(name, write):
    assert_same_values(write(GRAPHS[name]), GRAPHS[name])


@pytest.mark.parametrize("name", SPECS)
def test_source_runs_the_same_operations(name):
    assert validate_source(GRAPHS[name], source(GRAPHS[name])).differences == ()


def params(name):
    return analyze(GRAPHS[name]).totals.params


def test_shared_weights_count_once():
    tower = 8 * 27 + 16 + (8 * 64 * 16 + 16)
    assert params("siamese") == tower + 17
    assert params("two images") == 4 * 27 + 4
    assert params("tied") == 10 * 10 + 10
    assert params("tied again") == 10 * 10 + 10 + 3 * 110 + 10 + 10 + 10
    for name in ("siamese", "two images", "tied"):
        network = build(GRAPHS[name])
        assert sum(p.numel() for p in network.parameters()) == params(name)
        trained = [value for key, value in network.state_dict().items() if "num_batches" not in key]
        statistics = 16 if name == "siamese" else 0
        assert sum(value.numel() for value in trained) == params(name) + statistics


HIDDEN = """
name: hidden
input: [4, 6, 6]
layers:
  - seen: conv(4, 1)
  - step:
      - conv(4, 1)
      - add(identity, use(seen))
  - add:
      plain: identity
      more:
        - seen: relu
        - again(step)
"""


def test_a_step_that_runs_again_reads_the_labels_of_its_own_place():
    """A label that hides another one where the step runs again changes nothing in it."""
    first, second, _ = (node.inputs for node in parse(HIDDEN).nodes if node.op.name == "add")
    assert first[1] == second[1] == 1


def test_both_towers_work():
    report = analyze(GRAPHS["siamese"])
    macs = {layer.node.name: layer.macs for layer in report.layers}
    assert macs["b.tower_again.conv"] == macs["tower.conv"] == 8 * 27 * 16 * 16
    assert report.totals.macs == 2 * (macs["tower.conv"] + macs["tower.linear"]) + 16


def test_twins_give_the_same():
    network = build(GRAPHS["two images"]).eval()
    image = torch.rand(2, 3, 8, 8)
    left, right = network(image, image).chunk(2, dim=1)
    assert torch.equal(left, right)
    left, right = network(image, torch.rand(2, 3, 8, 8)).chunk(2, dim=1)
    assert not torch.equal(left, right)


def test_the_gradient_of_a_shared_weight_is_the_sum_of_both():
    network = build(GRAPHS["two images"])
    one, other = torch.rand(2, 2, 3, 8, 8).unbind()
    (weight,) = [value for key, value in network.named_parameters() if key.endswith("weight")]
    network(one, other).sum().backward()
    both = weight.grad.clone()
    weight.grad = None
    for image in (one, other):
        network.node(2)(image).sum().backward()
    assert torch.allclose(both, weight.grad)


def test_outputs_exist_at_inference():
    for name, shapes in {"pyramid": [(2, 16, 16), (2, 8, 8)], "middle": [(4, 12, 12), (2, 14, 14)]}.items():
        made = build(GRAPHS[name]).eval()(torch.rand(1, 3, 16, 16))
        assert [tuple(value.shape[1:]) for value in made] == shapes
    assert GRAPHS["pyramid"].outputs == ("large", "small")
    assert GRAPHS["middle"].outputs == ("output", "early")
    assert GRAPHS["mixed"].outputs == ()


def test_a_tensor_that_all_images_share_is_not_multiplied_by_the_batch():
    one, many = (analyze(GRAPHS["learned"], batch=batch).totals for batch in (1, 5))
    assert many.macs == 5 * one.macs
    assert many.params == one.params == 60 + 110 + 60
    tanh = {batch: analyze(GRAPHS["learned"], batch=batch).layer("branch4.tanh") for batch in (1, 5)}
    assert tanh[1].flops == tanh[5].flops == 60
    assert tanh[1].activations == tanh[5].activations == 60


def test_a_learned_tensor_sums_its_gradient_over_the_batch():
    text = "name: n\ninput: [4]\nlayers:\n  - add:\n      - identity\n      - parameter([4])\n"
    steps = {batch: analyze(parse(text), batch, mode="train").layers[-1].run.step for batch in (1, 5)}
    assert steps[1].of_input == {"add": 0}
    assert steps[5].of_input == {"add": 4 * 4}


def test_shared_batch_normalization_is_not_folded():
    assert folds(GRAPHS["siamese"]) == {}
    assert fold_batchnorm(GRAPHS["siamese"]).nodes == GRAPHS["siamese"].nodes


def test_nothing_overwrites_what_all_images_share():
    text = "name: n\ninput: [4]\nlayers:\n  - add:\n      - parameter([4])\n      - identity\n"
    assert not any(in_place(parse(text), training=False))


def test_other_shapes_of_named_inputs():
    made = parse(MIXED, input={"image": (3, 12, 12)})
    assert [node.output for node in made.inputs] == [(3, 12, 12), (4,)]
    assert made.origin.input == {"image": (3, 12, 12)}
    assert build(made)(torch.rand(1, 3, 12, 12), torch.rand(1, 4)).shape == (1, 2)


@pytest.mark.parametrize(
    ("shape", "text"),
    [
        ((3, 12, 12), "mixed has several inputs; its inputs are image, numbers: write image=3x224x224"),
        ({"imago": (3, 12, 12)}, "mixed has no input 'imago'; did you mean image?"),
    ],
)
def test_wrong_inputs(shape, text):
    with pytest.raises(ArchcalcError, match=re.escape(text)):
        parse(MIXED, input=shape)


def test_a_step_runs_again_in_a_copied_block():
    text = """
name: n
input: [4, 8, 8]
blocks:
  pair:
    - once: conv(4, 3, padding=1)
    - again(once)
layers:
  - pair
  - pair
"""
    graph = parse(text)
    shared = [node.shared and node.shared.node for node in graph.nodes]
    assert shared == [None, None, 1, None, 3]
    assert validate(graph, "meta").differences == ()


def test_a_label_may_have_the_name_of_an_operator_or_block():
    text = """
name: n
input: {enc: [3, 8, 8], relu: [3, 8, 8]}
blocks:
  enc(n): conv(n, 1) | relu
  both(a, b):
    - concat: [use(a), use(b)]
    - enc(4)
layers:
  - both(enc, relu) | tokens
  - linear: linear(4)
  - linear(4, weight=linear)
"""
    graph = parse(text)
    assert graph.nodes[2].inputs == (0, 1)
    assert graph.nodes[-1].shared == (len(graph.nodes) - 2, "weight")


def test_an_output_without_anything_of_the_input_has_no_loss():
    text = "name: n\ninput: {T: 6, C: 8}\nlayers:\n  - outputs: {x: linear(3), table: 'parameter(T=6, C=8)'}\n"
    with pytest.raises(ArchcalcError, match="n cannot be trained: its output table does not depend on the input"):
        simulate(parse(text), Recipe("sgd"))
    assert simulate(parse(text), Recipe("")).peaks(2)
