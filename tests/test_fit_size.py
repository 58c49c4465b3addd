"""The largest images that fit: the sizes that networks accept, and the largest of them against brute force."""

from functools import partial

import pytest

from archcalc import load, parse
from archcalc.analysis.fit import STEPS, Space, batches, largest, needed
from archcalc.analysis.fit_size import Sizes, by_size, sizes_of
from archcalc.analysis.recipe import Recipe
from archcalc.errors import ArchcalcError

UNET = """
name: unet
input: [3, 32, 32]
layers:
  - conv(8, 3, padding=1)
  - add(down=maxpool(8) | conv_transpose(8, 8, stride=8), skip=identity)
  - global_avgpool | flatten | linear(10)
"""


def of(name):
    return load(name), lambda shape: load(name, input=shape)


def test_sizes_that_networks_accept():
    assert sizes_of(*of("resnet18")) == Sizes((3, 1, 1), 1)
    assert sizes_of(*of("squeezenet1.0")) == Sizes((3, 21, 21), 1)
    with pytest.raises(ArchcalcError):
        load("squeezenet1.0", input=(3, 20, 20))
    assert sizes_of(*of("inception-v3")).smallest == (3, 299, 299)  # smaller ones have no side output


def test_steps_of_a_network_that_halves_and_doubles():
    """Its joins need the same shapes, so sides are multiples of eight."""
    at = partial(parse, UNET)
    sizes = sizes_of(at(), lambda shape: at(input=shape))
    assert sizes == Sizes((3, 8, 8), 8)
    assert [sizes.shape(number) for number in (1, 2, 5)] == [(3, 8, 8), (3, 16, 16), (3, 40, 40)]


def test_images_that_are_not_square_grow_on_both_sides():
    graph = load("resnet18", input=(3, 10, 16))
    assert sizes_of(graph, lambda shape: load("resnet18", input=shape)).smallest == (3, 1, 7)


def test_steps_that_are_no_power_of_two():
    three = (
        "name: three\ninput: [3, 63, 63]\nlayers:\n  - concat:\n      skip: identity\n"
        "      up: maxpool(3) | upsample(scale_factor=3)\n  - conv(4, 1)\n"
    )
    assert sizes_of(parse(three), lambda shape: parse(three, input=shape)) == Sizes((3, 3, 3), 3)


def test_weights_that_layers_share_do_not_depend_on_the_size():
    twice = "name: twice\ninput: [3, 8, 8]\nlayers:\n  - first: conv(3, 3, padding=1)\n  - again(first)\n"
    assert sizes_of(parse(twice), lambda shape: parse(twice, input=shape)) == Sizes((3, 1, 1), 1)


def test_the_sizes_of_several_inputs_do_not_vary():
    text = "name: two\ninput: {a: [3, 8, 8], b: [3, 8, 8]}\nlayers:\n  - add: [identity, use(b)]\n  - conv(4, 3)\n"
    with pytest.raises(
        ArchcalcError, match="two has several inputs, whose sizes cannot vary together; use --vary batch"
    ):
        sizes_of(parse(text), lambda shape: parse(text, input=shape))


def test_a_side_output_that_takes_one_size_only_says_so():
    graph, at = of("googlenet")
    with pytest.raises(ArchcalcError, match=r"head1.linear1 .*; use --vary batch, or --mode infer, which has no side"):
        sizes_of(graph, at)
    assert sizes_of(graph.without_sides(), lambda shape: at(shape).without_sides()).step == 1


FLAT = "name: flat\ninput: [7]\nlayers: [linear(5)]\n"


@pytest.mark.parametrize(
    ("graph", "at", "reason"),
    [
        (*of("vgg16"), "the weights of fc6.linear depend on the size"),
        (*of("lenet5"), "the weights of f6.linear depend on the size"),
    ],
)
def test_networks_of_one_size(graph, at, reason):
    said = f"{graph.name} takes images of one size only, or in steps of more than 64 pixels: {reason}; use --vary batch"
    with pytest.raises(ArchcalcError, match=f"{said}$"):
        sizes_of(graph, at)


def test_an_input_without_height_and_width():
    with pytest.raises(ArchcalcError, match="the input of flat has no height and width; use --vary batch"):
        sizes_of(parse(FLAT), lambda shape: parse(FLAT, input=shape))


@pytest.mark.parametrize("recipe", [Recipe("momentum", device="cuda"), Recipe(device="cuda"), Recipe("sgd")])
def test_the_largest_size_against_all_sizes(recipe):
    at = partial(parse, UNET)
    sizes = sizes_of(at(), lambda shape: at(input=shape))
    space = Space(50_000_000, 50_000_000, recipe.device == "cuda")
    found = largest(by_size(sizes, lambda shape: at(input=shape), recipe, batch=3), space)
    needs = [
        needed(batches(at(input=sizes.shape(number)), recipe)(3, STEPS), space.cuda)
        for number in range(1, found.bound + 2)
    ]
    assert needs == sorted(needs)
    assert needs[-2] <= space.most < needs[-1]
    assert 0 <= found.guaranteed <= found.likely <= found.bound
