"""Compare the memory of torchvision's own modules with what archcalc predicts for modules written by hand.

    python bench/by_hand.py [NAME]... [--record FILE]

NAME is a name of torchvision (`resnet50`); without one, all that specs/torchvision/ has. Each trains on the CPU for
three steps with SGD, with momentum and with Adam, after an inference; some at 224×224, too. Predictions are those of
`archcalc memory --module torchvision`. A phase may need less than predicted: the table says where, and by how much.
`--record` writes what was measured. Exit code 1: a phase needs more than predicted, or ends otherwise; 2: torchvision
is missing or the network is unknown.
"""

from __future__ import annotations

import argparse
import platform
import sys
import warnings
from collections.abc import Iterator, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, NamedTuple

import torch
from recording import write
from torchvision_weights import graph_of, known_names, module_of, torchvision_models

from archcalc import Graph
from archcalc.analysis.recipe import Recipe
from archcalc.analysis.simulation import simulate
from archcalc.pytorch.training_memory import measure_training

SIDES = {"inception_v3": 299}  # less is too small for its auxiliary head
SIDE, BATCH = 96, 2
OPTIMIZERS = "sgd", "momentum", "adam"
LARGE = (
    "alexnet", "vgg16", "vgg16_bn", "resnet18", "resnet50", "squeezenet1_1", "densenet121", "googlenet", "mobilenet_v2",
)  # fmt: skip


class Case(NamedTuple):
    """A training to measure."""

    network: str
    side: int
    optimizer: str

    @property
    def graph(self) -> Graph:
        """The network for images of this side."""
        return graph_of(self.network, (3, self.side, self.side))

    @property
    def recipe(self) -> Recipe:
        """How it is trained."""
        return Recipe(self.optimizer, module="torchvision")


def cases(names: Sequence[str]) -> Iterator[Case]:
    """Yield each network with each optimizer, and those of LARGE at 224×224 with momentum."""
    for name in names:
        yield from (Case(name, SIDES.get(name, SIDE), optimizer) for optimizer in OPTIMIZERS)
        if name in LARGE:
            yield Case(name, 224, "momentum")


def measure(case: Case) -> list[tuple[str, int, int, int]]:
    """Train torchvision's module; return its phases with step, peak and end."""
    measured = measure_training(case.graph, case.recipe, BATCH, lambda graph, recipe: module_of(graph))
    return [(of.phase, of.step, of.peak, of.end) for of in measured]


def row(case: Case, measured: Sequence[tuple[str, int, int, int]]) -> tuple[str, bool]:
    """Return a row of the table, and whether a phase needs more than predicted, or ends otherwise."""
    predicted = simulate(case.graph, case.recipe).peaks(BATCH)[1:]
    build = simulate(case.graph, case.recipe._replace(module="build")).peaks(BATCH)[1:]
    excess, lacking, wrong = [], [], False
    for ours, own, (phase, step, peak, end) in zip(predicted, build, measured[1:], strict=True):
        excess.append((ours.peak - peak, f"{(ours.peak - peak) / peak:.2%}", f"{phase} {step or ''}".strip()))
        lacking.append(peak - own.peak)
        wrong |= ours.peak < peak or ours.end != end
    most, equal = max(excess), sum(not over for over, *_ in excess)
    where = f"{most[0]:,} ({most[1]}, {most[2]})" if most[0] else "0"
    images = f"{BATCH} of {case.side}×{case.side}"
    cells = case.network, images, case.optimizer, len(excess), equal, where, f"{max(lacking):,}"
    return f"| {' | '.join(map(str, cells))} |", wrong


def head() -> dict[str, Any]:
    """Return on what it was measured, and what the numbers of a phase are."""
    return {
        "date": datetime.now(timezone.utc).date().isoformat(),
        "device": f"CPU, {platform.machine()}",
        "python": platform.python_version(),
        "torch": torch.__version__,
        "torchvision": sys.modules["torchvision"].__version__,
        "batch": BATCH,
        "columns": ["phase", "step", "peak", "end"],
    }


def main(written: Sequence[str] | None = None) -> int:
    known = known_names()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help="default: all")
    parser.add_argument("--record", type=Path, metavar="FILE", help="write a record")
    given = parser.parse_args(written)
    if unknown := {*given.names} - {*known}:
        parser.error(f"unknown: {', '.join(sorted(unknown))}; known are {', '.join(known)}")
    try:
        torchvision_models()
    except ModuleNotFoundError as error:
        print(f"torchvision needs the module {error.name}: pip install -e '.[bench]'", file=sys.stderr)
        return 2
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore", category=FutureWarning)
    print("| network | images | optimizer | phases | equal | predicted too much | more than `build` needs |")
    print("| --- | --- | --- | ---: | ---: | ---: | ---: |")
    done, failed = list[tuple[Case, Any]](), False
    for case in cases(given.names or known):
        done.append((case, measure(case)))
        text, wrong = row(*done[-1])
        failed |= wrong
        print(text + " WRONG" * wrong, flush=True)
    if given.record:
        rows = [{**case._asdict(), "phases": phases} for case, phases in done]
        write(given.record.with_suffix(""), head(), rows, zipped=False)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
