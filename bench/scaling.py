"""Cost by size: a generated spec of 1,000, 10,000 and 100,000 layers, parsed, expanded and analysed.

    python bench/scaling.py

Time per layer at 100,000 may be at most twice that at 1,000. Each spec is written out, a line a layer, so that
reading it counts too; `repeat` has the same layers as `n * (…)`. Last, resnet152 read from the zoo, warm.
"""

import sys
import time
from collections.abc import Callable

from archcalc import analyze, load, parse
from archcalc.report.listing import listing

HEAD = "name: generated\ninput: [8, 32, 32]\nlayers:\n"
SIZES = (1_000, 10_000, 100_000)
LIMIT = 2.0


def written(layers: int) -> str:
    """A line a layer: convolutions, norms, activations and residual joins of two branches in turn."""
    kinds = ["conv(8, 3, padding=1, bias=False)", "batchnorm", "relu", "add(conv(8, 1), identity)"]
    lines, count = [], 0
    while count < layers:
        line = kinds[len(lines) % 4]
        lines.append(f"  - {line}")
        count += 3 if line.startswith("add") else 1
    return HEAD + "\n".join(lines) + "\n"


def repeated(layers: int) -> str:
    """The same in one line."""
    block = "conv(8, 3, padding=1, bias=False) | batchnorm | relu | add(conv(8, 1), identity)"
    return f"{HEAD}  - {layers // 6} * ({block})\n"


def seconds(call: Callable[[], object], rounds: int) -> float:
    """The least wall time of some rounds."""
    best = float("inf")
    for _ in range(rounds):
        start = time.perf_counter()
        call()
        best = min(best, time.perf_counter() - start)
    return best


def per_layer(make: Callable[[int], str], name: str) -> float:
    """Microseconds a layer for each size; the ratio of the largest to the smallest."""
    costs = {}
    for size in SIZES:
        text = make(size)
        layers = len(parse(text).nodes)
        total = seconds(lambda text=text: analyze(parse(text)), rounds=3)
        costs[size] = total / layers * 1e6
        print(f"{name:>8}  {layers:>7,} layers  {total:7.3f} s  {costs[size]:6.1f} µs a layer")
    return costs[SIZES[-1]] / costs[SIZES[0]]


def main() -> int:
    ratios = {name: per_layer(make, name) for name, make in (("written", written), ("repeat", repeated))}
    for name, ratio in ratios.items():
        print(f"{name:>8}  time a layer, 100,000 against 1,000: {ratio:.2f} (at most {LIMIT})")
    warm = seconds(lambda: analyze(load("resnet152")), rounds=20)
    print(f"resnet152 loaded and analysed, warm: {warm * 1e3:.1f} ms (under 10)")
    zoo = seconds(listing, rounds=3)
    print(f"the whole zoo, {len(listing().rows)} networks: {zoo:.2f} s (under 2)")
    return int(max(ratios.values()) > LIMIT or warm > 0.010 or zoo > 2)


if __name__ == "__main__":
    sys.exit(main())
