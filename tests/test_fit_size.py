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


FLAT = "name: flat\ninput: [7]\nlayers: [linear(5)]\n"


@pytest.mark.parametrize(
    ("graph", "at", "reason"),
    [
        (parse(FLAT), lambda shape: parse(FLAT, input=shape), "its input has no height and width"),
        (*of("vgg16"), "the weights of fc6.linear depend on the size"),
        (*of("lenet5"), "the weights of f6.linear depend on the size"),
    ],
)
def test_networks_of_one_size(graph, at, reason):
    with pytest.raises(ArchcalcError, match=f"{graph.name} takes images of one size only: .*{reason}.*--vary batch"):
        sizes_of(graph, at)


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
