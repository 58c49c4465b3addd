"""Check N random networks against PyTorch; the test suite does it for 300.

Every fifth network ends in a step that may not fit: archcalc must refuse it if and only if PyTorch does. At the first
difference print the simplest network that shows it and exit with code 1. The same seed draws the same networks. At the
end print what was drawn, and the values that were not compared because rounding decides them.
"""

import argparse
import random
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from support.drawn_counts import lines, traits
from support.network_differences import agree, differences, disagreement
from support.random_graphs import doubtful, networks, sweep


class Progress:
    """Counts networks, on stderr, up to the first that differs; does not count the simpler ones tried after it."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.done = 0
        self.found = False
        self.drawn: Counter[str] = Counter()
        self.skipped: list[str] = []
        self.start = time.perf_counter()

    def check(self, network, compare) -> None:
        try:
            agree(network, compare)
        except AssertionError:
            self.found = True
            raise
        if not self.found:
            self.drawn.update(traits(network))
            self.count()

    def differences(self, network):
        return differences(network, self.skipped)

    def count(self) -> None:
        self.done += 1
        if self.done % 20 == 0:
            print(f"\r{self.done:,} of {self.most:,} graphs, {self.seconds:.0f} s ", end="", file=sys.stderr)

    @property
    def seconds(self) -> float:
        return time.perf_counter() - self.start


def whole(least: int) -> Callable[[str], int]:
    """Return a function that reads a whole number of at least `least`."""

    def read(text: str) -> int:
        try:
            number = int(text)
        except ValueError:
            number = least - 1
        if number < least:
            raise argparse.ArgumentTypeError(f"needs a whole number of at least {least}, not {text!r}")
        return number

    return read


def arguments(written: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("graphs", type=whole(1), metavar="N", help="number of networks")
    chosen = random.SystemRandom().randrange(10**6)
    parser.add_argument("seed", type=whole(0), metavar="SEED", nargs="?", default=chosen, help="default: random")
    return parser.parse_args(written)


def main(written: Sequence[str] | None = None) -> int:
    given = arguments(written)
    most, seed = given.graphs, given.seed
    torch.set_num_threads(1)  # small tensors gain nothing from more
    progress = Progress(most)
    print(f"{most:,} graphs, seed {seed}", flush=True)
    try:
        sweep(networks(), lambda network: progress.check(network, progress.differences), most - most // 5, seed)
        sweep(doubtful(), lambda network: progress.check(network, disagreement), most // 5, seed)
    except AssertionError as error:
        print(f"\n{error}\nfound after {progress.done:,} graphs, seed {seed}, {progress.seconds:.0f} s")
        return 1
    print(file=sys.stderr)
    print("\n".join(lines(progress.drawn)))
    print(f"values not compared, since rounding decides them: {len(progress.skipped):,}")
    for text in progress.skipped:
        print(f"  {text}")
    print(f"{most:,} graphs, 0 differences, seed {seed}, {progress.seconds:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
