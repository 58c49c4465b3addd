"""Random networks against PyTorch, as many as one likes: what the test suite does with 300.

    python bench/fuzz.py N [SEED]

Every fifth ends in a step that may not fit: then archcalc must refuse what PyTorch refuses. Exit code 1 at the first
difference, with the simplest network that shows it. The same seed draws the same networks.
"""

import random
import sys
import time
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from graphs import doubtful, networks, sweep
from test_differential import agree, differences, disagreement


class Progress:
    """Counts networks, on stderr."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.done = 0
        self.start = time.perf_counter()

    def check(self, network, compare) -> None:
        agree(network, compare)
        self.done += 1
        if self.done % 20 == 0:
            print(f"\r{self.done:,} of {self.most:,} graphs, {self.seconds:.0f} s ", end="", file=sys.stderr)

    @property
    def seconds(self) -> float:
        return time.perf_counter() - self.start


def main(most: int, seed: int) -> int:
    torch.set_num_threads(1)  # small tensors gain nothing from more
    progress = Progress(most)
    print(f"{most:,} graphs, seed {seed}", flush=True)
    try:
        sweep(networks(), lambda network: progress.check(network, differences), most - most // 5, seed)
        sweep(doubtful(), lambda network: progress.check(network, disagreement), most // 5, seed)
    except AssertionError as error:
        print(f"\n{error}\nfound after {progress.done:,} graphs, seed {seed}, {progress.seconds:.0f} s")
        return 1
    print(file=sys.stderr)
    print(f"{most:,} graphs, 0 differences, seed {seed}, {progress.seconds:.0f} s")
    return 0


if __name__ == "__main__":
    chosen = int(sys.argv[2]) if len(sys.argv) > 2 else random.SystemRandom().randrange(10**6)
    sys.exit(main(int(sys.argv[1]), chosen))
