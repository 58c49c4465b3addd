"""Compare the simulated memory of training with PyTorch's CPU allocator, phase by phase, to the byte.

Without arguments: 35 networks, each at two batches and input sizes, in inference and with each optimizer, with and
without weight decay, three steps; six of them in further recipes. `--jobs 2` runs two networks at a time. `--record
FILE` writes a record, from which docs/explanation/memory.md has its tables. With `--random N` N random networks and the
seed that draws them, half of them with a part checkpointed; with `--amp` these under autocast, otherwise some in
bfloat16 with master weights. Prints one row per network: the phases compared, how many differ and by how much at most,
and by how much kernels lift a peak at most. Exits with 1 if a phase differs.
"""

import argparse
import json
import random
import sys
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

import torch

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from support.checkpointable import checkpointable
from support.inexact_memory import inexact
from support.random_graphs import networks, sweep

from archcalc import Graph, load, parse
from archcalc.analysis.checkpoints import blocks
from archcalc.analysis.recipe import Recipe
from archcalc.pytorch import compare_memory

NETWORKS = {  # the sides of the images, for batches of 2 and 3
    "d2l/mlp": (28, 32),
    "d2l/mlp-dropout": (28, 32),
    "lenet5": (32, 36),
    "d2l/lenet": (28, 32),
    "alexnet": (99, 131),
    "torchvision/alexnet": (99, 131),
    "zfnet": (99, 131),
    "nin": (99, 131),
    "nin-cifar10": (32, 40),
    "vgg11": (64, 96),
    "vgg16": (64, 96),
    "torchvision/vgg11_bn": (64, 96),
    "googlenet": (96, 128),
    "torchvision/googlenet": (96, 128),
    "bn-inception": (64, 96),
    "inception-v3-79": (79, 107),
    "resnet20": (32, 40),
    "resnet110": (32, 40),
    "resnet18": (64, 96),
    "resnet50": (64, 96),
    "torchvision/resnet50": (64, 96),
    "preresnet110": (32, 40),
    "wrn-40-2-b13": (32, 40),
    "stochastic-depth-110": (32, 40),
    "resnext50-32x4d": (64, 96),
    "resnext29-8x64d": (32, 40),
    "seresnet50": (64, 96),
    "d2l/densenet": (96, 128),
    "densenet121": (64, 96),
    "densenet-40-12": (32, 40),
    "densenet-bc-100-12": (32, 40),
    "fractalnet-20": (32, 64),
    "squeezenet1.0": (64, 96),
    "squeezenet-complex-bypass": (64, 96),
    "unet-padded": (32, 48),
}
BATCHES = 2, 3
OPTIMIZERS = ("sgd", "momentum", "adam", "adamw")
RECIPES = [Recipe(), *(Recipe(optimizer, decay) for optimizer in OPTIMIZERS for decay in (False, True))]
PARTS = "stem", "conv1", "conv", "c1", "stage1", "block1"  # the first of each of SIX
OTHERS = {  # of SIX networks
    "SGD, foreach": Recipe("sgd", foreach=True),
    "momentum, weight decay, foreach": Recipe("momentum", True, foreach=True),
    "Adam, weight decay, foreach": Recipe("adam", True, foreach=True),
    "AdamW, weight decay, foreach": Recipe("adamw", True, foreach=True),
    "Nesterov": Recipe("nesterov"),
    "Nesterov, weight decay, foreach": Recipe("nesterov", True, foreach=True),
    "RMSProp": Recipe("rmsprop"),
    "RMSProp, weight decay, foreach": Recipe("rmsprop", True, foreach=True),
    "label smoothing": Recipe("momentum", smoothing=True),
    "gradients of three batches": Recipe("momentum", accumulate=3),
    "first part frozen": Recipe("adam", frozen=PARTS),
    "bfloat16": Recipe("momentum", dtype="bfloat16"),
    "blocks checkpointed": Recipe("momentum", checkpoint=("all",)),
    "autocast": Recipe("momentum", amp=True),
    "autocast, Adam, weight decay, foreach": Recipe("adam", True, foreach=True, amp=True),
    "autocast, first part frozen": Recipe("adamw", frozen=PARTS, amp=True),
    "autocast, blocks checkpointed": Recipe("momentum", checkpoint=("all",), smoothing=True, amp=True),
    "master weights, momentum": Recipe("momentum", dtype="bfloat16", master_weights=True),
    "master weights, Adam, weight decay, foreach": Recipe("adam", True, True, "bfloat16", master_weights=True),
}
SHOWN = Recipe("momentum")  # whose largest peak a record has
SIX = ("lenet5", "resnet20", "densenet-40-12", "squeezenet1.0", "torchvision/googlenet", "resnet18")


class Row(NamedTuple):
    """Comparisons of a network: phases, how many differ and by how much at most, the most in kernels, and a peak."""

    name: str
    phases: int = 0
    differing: int = 0
    largest: int = 0
    in_kernels: int = 0
    peak: int = 0  # the measured one of SHOWN, for the largest images

    def after(self, graph: Graph, recipe: Recipe, batch: int) -> "Row":
        """Add the comparison of one recipe."""
        phases, differing, largest, in_kernels, peak = self[1:]
        made = compare_memory(graph, recipe, batch)
        for phase in made:
            off = [abs(check.expected - check.measured) for check in phase.checks()]
            phases, differing, largest = phases + 1, differing + (max(off) > 0), max(largest, *off)
            in_kernels = max(in_kernels, phase.in_kernels or 0)
        if recipe == SHOWN:
            peak = max(phase.measured.get("peak", 0) for phase in made)
        return Row(self.name, phases, differing, largest, in_kernels, peak)

    def __str__(self) -> str:
        return f"| {self.name} | {self.phases} | {self.differing} | {self.largest:,} | {self.in_kernels:,} |"


class Task(NamedTuple):
    """What a process compares: a network in several recipes, or in a named one of OTHERS."""

    network: str
    other: str = ""


def of_network(task: Task) -> Row:
    """Compare a network at both sizes."""
    quiet()
    row = Row(task.network)
    for recipe in [OTHERS[task.other]] if task.other else RECIPES:
        for batch, side in zip(BATCHES, NETWORKS[task.network], strict=True):
            graph = load(task.network)
            graph = load(task.network, input=(graph.input[0], side, side))
            checkpoint = tuple(blocks(graph)) if recipe.checkpoint else ()
            parts = {node.name.partition(".")[0] for node in graph.nodes}
            frozen = tuple(part for part in recipe.frozen if part in parts)
            row = row.after(graph, recipe._replace(checkpoint=checkpoint, frozen=frozen), batch)
    return row


def of_networks(names: Sequence[str], jobs: int) -> Iterator[tuple[Task, Row]]:
    """Compare networks in all recipes, and those of SIX in OTHERS."""
    tasks = [Task(name) for name in names] + [Task(name, other) for other in OTHERS for name in SIX if name in names]
    with ProcessPoolExecutor(jobs, get_context("spawn")) as pool:
        yield from zip(tasks, pool.map(of_network, tasks), strict=True)


def record(done: Sequence[tuple[Task, Row]]) -> dict[str, Any]:
    """Return what docs/explanation/memory.md shows: a row per network, and one per recipe of OTHERS."""
    networks = [
        {"network": task.network, "batches": BATCHES, "sides": NETWORKS[task.network], **row._asdict()}
        for task, row in done
        if not task.other
    ]
    recipes = []
    for other in OTHERS:
        rows = [row for task, row in done if task.other == other]
        if rows:
            sums = {"phases": sum(row.phases for row in rows), "differing": sum(row.differing for row in rows)}
            recipes.append({"recipe": other, **sums, "largest": max(row.largest for row in rows)})
    return {"torch": torch.__version__, "networks": networks, "recipes": recipes}


def quiet() -> None:
    """Use one thread, and hide a warning that says nothing of memory."""
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore", "Using padding='same'")


def of_random(most: int, seed: int, amp: bool = False) -> Iterator[Row]:
    """Compare random networks, each in one recipe."""
    draw, row, skipped = random.Random(seed), Row("random networks"), 0

    def check(network: object) -> None:
        nonlocal row, skipped
        graph = parse(network.spec())
        if inexact(graph):
            skipped += 1
            return
        trained = any(node.op.weights(node.x) for node in graph.nodes) and not graph.misfit
        recipe = draw.choice(RECIPES) if trained else Recipe()
        foreach, smoothing = draw.choice((None, True)), draw.choice((False, True))
        dtype = "float32" if amp or network.dtype == "float16" else network.dtype  # PyTorch 2.13 can crash in float16
        masters = dtype == "bfloat16" and draw.choice((False, True))
        recipe = recipe._replace(dtype=dtype, foreach=foreach, smoothing=smoothing, steps=2)
        recipe = recipe._replace(amp=amp, master_weights=masters)
        names = checkpointable(graph) if trained and draw.choice((False, True)) else []
        recipe = recipe._replace(checkpoint=tuple(draw.sample(names, min(len(names), 1))))
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
    parser.add_argument("--amp", action="store_true", help="random networks under autocast")
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="so many networks at a time; default: 1")
    parser.add_argument("--record", type=Path, metavar="FILE", help="write a record")
    given = parser.parse_args(written)
    quiet()
    print(f"torch {torch.__version__} on the CPU" + (f", seed {given.seed}" if given.random else ""))
    print("| network | phases | differ | largest difference | in kernels |\n| --- | ---: | ---: | ---: | ---: |")
    done = list[tuple[Task, Row]]()
    named = ((Task(""), row) for row in of_random(given.random, given.seed, given.amp)) if given.random else None
    for task, row in named or of_networks(given.names or [*NETWORKS], given.jobs):
        print(row._replace(name=f"{row.name}, {task.other}") if task.other else row, flush=True)
        done.append((task, row))
    if given.record:
        given.record.write_text(json.dumps(record(done), indent=1) + "\n")
    rows = [row for _, row in done]
    print(f"{sum(row.phases for row in rows):,} phases, {sum(row.differing for row in rows):,} differ")
    return int(any(row.differing for row in rows))


if __name__ == "__main__":
    sys.exit(main())
