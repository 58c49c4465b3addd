"""Networks in PyTorch: named as their nodes, dropping what nobody needs, in place where that is right."""

import copy
import gc
import io
import pickle
import weakref

import pytest
import torch
from support.torch_seed import seed_torch
from torch import nn

from archcalc import ArchcalcError, SpecError, load, networks, parse
from archcalc.auditing.claims import recipes_of
from archcalc.catalog import origin
from archcalc.ops import Operator
from archcalc.pytorch import Training, build, validate
from archcalc.pytorch.initial_weights import read_rule


def small(layers, **settings):
    return parse(f"name: t\ninput: [3, 8, 8]\nlayers:\n{layers}", **settings)


def test_keys_of_the_state_are_names_of_nodes():
    graph = load("resnet18")
    keys = list(build(graph, "meta").state_dict())
    assert keys[:2] == ["stem.conv.weight", "stem.batchnorm.weight"]
    assert {key.rpartition(".")[0] for key in keys} <= {node.name for node in graph.nodes}


TAKEN = (  # by modules, by the network and by the one that `validate` watches
    "forward", "training", "float", "type", "modules", "graph", "nodes", "node", "run", "paths", "steps", "overwriting",
    "measure", "written", "macs", "saved", "counter", "held", "grown", "made", "at",
)  # fmt: skip


@pytest.mark.parametrize("label", TAKEN)
def test_labels_may_be_called_as_attributes_of_a_module(label):
    graph = small(f"  - {label}: conv(4, 1)\n  - outer:\n    - {label}: conv(5, 1)\n    - inner: dropout\n")
    network = build(graph)
    names = [f"{name}.{kind}" for name in (label, f"outer.{label}") for kind in ("weight", "bias")]
    assert list(network.state_dict()) == names
    assert network(torch.ones(1, 3, 8, 8)).shape == (1, 5, 8, 8)
    assert network.eval()(torch.ones(1, 3, 8, 8)).shape == (1, 5, 8, 8)
    assert len(list(network.parameters())) == 4
    assert validate(graph, "cpu").differences == ()


def saved_and_loaded(network):
    file = io.BytesIO()
    torch.save(network, file)
    file.seek(0)
    return torch.load(file, weights_only=False)


COPIES = {
    "deepcopy": copy.deepcopy,
    "pickle": lambda network: pickle.loads(pickle.dumps(network)),
    "torch.save": saved_and_loaded,
}


@pytest.mark.parametrize("way", COPIES)
@pytest.mark.parametrize("name", ["resnet20", "googlenet", "lenet5", "stochastic-depth-110"])
def test_copies_compute_the_same(name, way):
    graph = load(name)
    network = build(graph).eval()
    other, image = COPIES[way](network), torch.rand(2, *graph.input)
    with torch.no_grad():
        assert torch.equal(other(image), network(image))
        next(other.parameters()).add_(1)
        assert not torch.equal(other(image), network(image))


def test_a_replaced_layer_is_what_runs():
    network, image = build(load("resnet20")).eval(), torch.rand(2, 3, 32, 32)
    network.head.linear = nn.Linear(64, 7)
    with torch.no_grad():
        output = network(image)
        network.head.linear.bias += 1
        torch.testing.assert_close(network(image), output + 1)
    assert output.shape == (2, 7)
    assert network.nodes[-1] is network.head.linear


def test_batch_normalization_may_be_made_synchronous():
    network, image = build(load("resnet20")).eval(), torch.rand(2, 3, 32, 32)
    with torch.no_grad():
        output = network(image)
        converted = nn.SyncBatchNorm.convert_sync_batchnorm(network)
        assert sum(isinstance(module, nn.SyncBatchNorm) for module in converted.nodes) == 19
        torch.testing.assert_close(converted(image), output)


def test_device_of_the_caller():
    with torch.device("meta"):
        network = build(load("resnet20"))
    assert {tensor.device.type for tensor in network.state_dict().values()} == {"meta"}


def test_side_outputs_in_training_only():
    network = build(load("googlenet", input=(3, 96, 96)))
    image = torch.rand(2, 3, 96, 96)
    given = network(image)
    assert isinstance(given, Training)
    assert list(given.sides) == ["head1.linear2", "head2.linear2"]
    assert {value.shape for value in (given.result, *given.sides.values())} == {(2, 1000)}
    assert network.eval()(image).shape == (2, 1000)


def test_a_side_output_that_does_not_fit():
    with pytest.raises(SpecError, match="kernel 5×5 is larger than the padded input 3×3"):
        build(load("inception-v3", input=(3, 224, 224)), "meta")


def test_values_are_dropped_after_their_last_use():
    network = build(small("  - 3 * conv(3, 1)\n  - relu6\n")).eval()
    seen, alive = [], []

    def watch(module, inputs, output):
        gc.collect()
        alive.append(sum(ref() is not None for ref in seen))
        seen.append(weakref.ref(output))

    for module in network.nodes[1:]:
        module.register_forward_hook(watch)
    with torch.no_grad():
        network(torch.ones(1, 3, 8, 8))
    assert alive == [0, 1, 1, 1]  # each with its input, and nothing older


def test_in_place_where_it_is_right_and_only_there():
    network = build(small("  - a: conv(4, 1)\n  - relu\n  - add(conv(4, 1), identity)\n  - relu\n"))
    image = torch.rand(2, 3, 8, 8, requires_grad=True)
    network(image).sum().backward()  # raises where something that backward needs was overwritten
    training = [module.inplace for module in network.nodes if hasattr(module, "inplace")]
    with torch.no_grad():
        network.eval()(image)
    assert training == [module.inplace for module in network.nodes if hasattr(module, "inplace")] == [True, True, True]
    with torch.enable_grad():
        network.eval()(image).sum().backward()


SKIP = "  - a: conv(4, 3, padding=1)\n  - dropout(0.5) | relu\n  - add: {x: identity, y: use(a)}\n"


def test_evaluation_with_gradients_gives_what_it_gives_without():
    network, image = build(small(SKIP)).eval(), torch.randn(2, 3, 8, 8)
    with torch.no_grad():
        output = network(image)
    torch.testing.assert_close(network(image), output)


def test_evaluation_with_gradients_leaves_the_image():
    network, image = build(small("  - dropout(0.2) | relu | conv(4, 1)\n")).eval(), torch.randn(2, 3, 8, 8)
    before = image.clone()
    network(image).sum().backward()
    assert torch.equal(image, before)


def test_backward_in_evaluation():
    network = build(small("  - conv(4, 3, padding=1) | sigmoid | dropout | relu\n")).eval()
    network(torch.randn(2, 3, 8, 8)).sum().backward()  # raises where the sigmoid's output was overwritten
    assert network.nodes[1].weight.grad.any()


@pytest.mark.parametrize("layers", [SKIP, "  - dropout(0.2) | relu | conv(4, 1)\n"])
def test_training_without_dropout(layers):
    """A module that is set to evaluation within a network in training."""
    network, image = build(small(layers)), torch.randn(2, 3, 8, 8)
    with torch.no_grad():
        output = network.eval()(image)
    network.train()
    for module in network.modules():
        if isinstance(module, nn.Dropout):
            module.eval()
    before = image.clone()
    torch.testing.assert_close(network(image), output)
    assert torch.equal(image, before)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_dtypes(dtype):
    network = build(load("resnet20"), dtype=dtype)
    assert {p.dtype for p in network.parameters()} == {dtype}
    assert network(torch.rand(2, 3, 32, 32, dtype=dtype)).dtype == dtype


def drawn(name):
    """The layers of a network with weights and biases, by name, as `build` draws them."""
    seed_torch(0)
    graph = load(name)
    (rule,) = {recipe["initialization"] for recipe in recipes_of(graph.origin) if "initialization" in recipe}
    modules = zip(graph.nodes, build(graph, initialization=rule).nodes, strict=True)
    return {node.name: module for node, module in modules if getattr(module, "bias", None) is not None}


def test_he():
    seed_torch(0)
    weight = build(load("resnet18"), initialization="He").nodes[1].weight  # 64 of 3·7·7
    assert weight.std().item() == pytest.approx((2 / 147) ** 0.5, rel=0.05)


def test_xavier():
    linear = drawn("fractalnet-20")["head.linear"]
    assert 0.9 * (6 / (512 + 10)) ** 0.5 < linear.weight.abs().max().item() <= (6 / (512 + 10)) ** 0.5
    assert not linear.bias.any()


def test_normal_with_some_biases_1():
    layers = drawn("alexnet")
    assert layers["fc6.linear"].weight.std().item() == pytest.approx(0.01, rel=0.01)
    biases = {name.partition(".")[0]: set(layer.bias.tolist()) for name, layer in layers.items()}
    ones = {"conv2", "conv4", "conv5", "fc6", "fc7"}
    assert biases == {name: {1.0} if name in ones else {0.0} for name in biases}
    assert len(biases) == 8


def test_uniform_over_the_fan_in():
    layers = drawn("lenet5")
    for name, inputs in {"c1.conv": 25, "c5.conv": 400, "f6.linear": 120}.items():
        assert 0.9 * 2.4 / inputs < layers[name].weight.abs().max().item() <= 2.4 / inputs
    table = layers["c3.conv"].weight  # its first map sees 3 others, its last all 6
    assert 0.9 * 2.4 / 75 < table[:3].abs().max().item() <= 2.4 / 75
    assert 0.9 * 2.4 / 150 < table[-6:].abs().max().item() <= 2.4 / 150


PROSE = {"weights 0.01, biases 0", ""}  # of the zoo: "" is none


def rule_of(name):
    """The rule for initial weights in a network's training recipes; None for prose, or where they have none."""
    texts = {recipe.get("initialization", "") for recipe in recipes_of(origin(name))} - PROSE
    texts = {text for text in texts if not text.startswith("of deeper ones than vgg11")}
    assert len(texts) <= 1, name
    return read_rule(*texts) if texts else None


def test_which_networks_of_the_zoo_have_a_rule():
    rules = {name: rule_of(name) for name in networks()}
    drawn_by = {name: rule.draw.func.__name__ for name, rule in rules.items() if rule}
    assert {name: rule for name, rule in drawn_by.items() if rule != "he"} == {
        "alexnet": "normal", "vgg11": "normal", "lenet5": "uniform", "fractalnet-20": "xavier",
        "fractalnet-20-deepest": "xavier",
    } | {name: "normal" for name in networks() if name.startswith(("pix2pix-", "cyclegan-", "dcgan-"))}  # fmt: skip
    assert {"resnet50", "resnet110", "preresnet1001", "wrn-28-10", "densenet121"} <= set(drawn_by)
    for name, rule in rules.items():
        for layer in filter(None, rule.ones if rule else ()):
            assert any(f"{node.name}.".startswith(f"{layer}.") for node in load(name).nodes), (name, layer)


@pytest.mark.parametrize("text", ["weights 0.01, biases 0", "normal", "normal 0,01", "xavier", "He et al."])
def test_another_text_is_no_rule(text):
    with pytest.raises(ArchcalcError, match=f"no rule for initial weights: '{text}'; write He, Xavier, normal"):
        build(small("  - conv(4, 1)\n"), initialization=text)


def test_without_a_rule_pytorch_draws_the_weights():
    seed_torch(0)
    ours = build(small("  - conv(4, 1)\n")).nodes[1]
    seed_torch(0)
    assert torch.equal(ours.weight, torch.nn.Conv2d(3, 4, 1).weight)


def test_an_operator_without_a_module(monkeypatch):
    monkeypatch.setattr("archcalc.ops.activation.ReLU.code", Operator.code)
    with pytest.raises(SpecError, match="relu: operator relu has no rule for its PyTorch module"):
        build(small("  - relu\n"))
