"""Compare the simulated memory of training with PyTorch's CPU allocator, phase by phase, to the byte.

Without arguments: 32 networks, each at two batches and input sizes, in inference and with each optimizer, with and
without weight decay. With `--random N` N random networks and the seed that draws them. Prints one row per network:
the phases compared, how many differ and by how much at most, and by how much kernels lift a peak at most. Exits with 1
if a phase differs.
"""

import argparse
import random
import sys
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import torch

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from support.random_graphs import networks, sweep

from archcalc import Graph, load, parse
from archcalc.analysis.checkpoints import blocks
from archcalc.analysis.simulation import Recipe
from archcalc.pytorch.training_memory import compare_memory

OWN = ((2, 0), (3, 0))  # batches, and the side of the images; 0: as in the spec
NETWORKS = {
    "lenet5": OWN,
    "d2l/lenet": OWN,
    "d2l/densenet": OWN,
    "alexnet": ((2, 99), (3, 131)),
    "torchvision/alexnet": ((2, 99), (3, 131)),
    "zfnet": ((2, 99), (3, 131)),
    "nin": ((2, 99), (3, 131)),
    "nin-cifar10": OWN,
    "vgg11": ((2, 64), (3, 96)),
    "vgg16": ((2, 64), (3, 96)),
    "torchvision/vgg11_bn": ((2, 64), (3, 96)),
    "googlenet": ((2, 96), (3, 128)),
    "torchvision/googlenet": ((2, 96), (3, 128)),
    "bn-inception": ((2, 64), (3, 96)),
    "inception-v3-79": ((2, 79), (3, 107)),
    "resnet20": OWN,
    "resnet110": OWN,
    "resnet18": ((2, 64), (3, 96)),
    "resnet50": ((2, 64), (3, 96)),
    "torchvision/resnet50": ((2, 64), (3, 96)),
    "preresnet110": OWN,
    "wrn-40-2-b13": OWN,
    "stochastic-depth-110": OWN,
    "resnext50-32x4d": ((2, 64), (3, 96)),
    "resnext29-8x64d": OWN,
    "seresnet50": ((2, 64), (3, 96)),
    "densenet121": ((2, 64), (3, 96)),
    "densenet-40-12": OWN,
    "densenet-bc-100-12": OWN,
    "fractalnet-20": OWN,
    "squeezenet1.0": ((2, 64), (3, 96)),
    "squeezenet-complex-bypass": ((2, 64), (3, 96)),
}
OPTIMIZERS = ("sgd", "momentum", "adam", "adamw")
RECIPES = [Recipe(), *(Recipe(optimizer, decay) for optimizer in OPTIMIZERS for decay in (False, True))]
OTHERS = [  # of SIX networks
    Recipe("sgd", foreach=True),
    Recipe("momentum", True, foreach=True),
    Recipe("adam", True, foreach=True),
    Recipe("adamw", True, foreach=True),
    Recipe("nesterov"),
    Recipe("nesterov", True, foreach=True),
    Recipe("rmsprop"),
    Recipe("rmsprop", True, foreach=True),
    Recipe("momentum", smoothing=True),
    Recipe("momentum", accumulate=3),
    Recipe("adam", frozen=("stem", "conv1", "conv", "stage1", "block1")),
    Recipe("momentum", dtype="bfloat16"),
    Recipe("momentum", checkpoint=("all",)),
]
SIX = ("lenet5", "resnet20", "densenet-40-12", "squeezenet1.0", "torchvision/googlenet", "resnet18")


class Row(NamedTuple):
    """Comparisons of one network: the phases, how many differ, the largest difference, and the most in kernels."""

    name: str
    phases: int = 0
    differing: int = 0
    largest: int = 0
    in_kernels: int = 0

    def after(self, graph: Graph, recipe: Recipe, batch: int) -> "Row":
        """Add the comparison of one recipe."""
        phases, differing, largest, in_kernels = self[1:]
        for measured, checks in compare_memory(graph, recipe, batch):
            off = [abs(check.expected - check.measured) for check in checks]
            phases, differing, largest = phases + 1, differing + (max(off) > 0), max(largest, *off)
            if measured.phase != "state":
                in_kernels = max(in_kernels, measured.in_kernels)
        return Row(self.name, phases, differing, largest, in_kernels)

    def __str__(self) -> str:
        return f"| {self.name} | {self.phases} | {self.differing} | {self.largest:,} | {self.in_kernels:,} |"


def of_networks(names: Sequence[str]) -> Iterator[Row]:
    """Compare networks in all recipes."""
    for name in names:
        row = Row(name)
        for recipe in RECIPES + OTHERS * (name in SIX):
            for batch, side in NETWORKS[name]:
                graph = load(name, input=(3, side, side)) if side else load(name)
                checkpoint = tuple(blocks(graph)) if recipe.checkpoint else ()
                row = row.after(graph, recipe._replace(checkpoint=checkpoint), batch)
        yield row


def of_random(most: int, seed: int) -> Iterator[Row]:
    """Compare random networks, each in one recipe."""
    draw, row, skipped = random.Random(seed), Row("random networks"), 0

    def check(network: object) -> None:
        nonlocal row, skipped
        graph = parse(network.spec())
        trained = any(node.op.weights(node.x) for node in graph.nodes) and not graph.misfit
        recipe = draw.choice(RECIPES) if trained else Recipe()
        foreach, smoothing = draw.choice((None, True)), draw.choice((False, True))
        dtype = "float32" if network.dtype == "float16" else network.dtype  # PyTorch 2.13 can crash in float16
        recipe = recipe._replace(dtype=dtype, foreach=foreach, smoothing=smoothing, steps=2)
        try:
            row = row.after(graph, recipe, 2)
        except NotImplementedError:  # PyTorch lacks a kernel
            skipped += 1

    sweep(networks(), check, most, seed)
    yield row._replace(name=f"{most - skipped:,} random networks")


def main(written: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NETWORK", help=f"default: {', '.join(NETWORKS)}")
    parser.add_argument("--random", type=int, metavar="N", help="so many random networks instead")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6), help="default: random")
    given = parser.parse_args(written)
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore", "Using padding='same'")
    print(f"torch {torch.__version__} on the CPU" + (f", seed {given.seed}" if given.random else ""))
    print("| network | phases | differ | largest difference | in kernels |\n| --- | ---: | ---: | ---: | ---: |")
    rows = list[Row]()
    for row in of_random(given.random, given.seed) if given.random else of_networks(given.names or [*NETWORKS]):
        print(row, flush=True)
        rows.append(row)
    print(f"{sum(row.phases for row in rows):,} phases, {sum(row.differing for row in rows):,} differ")
    return int(any(row.differing for row in rows))


if __name__ == "__main__":
    sys.exit(main())
