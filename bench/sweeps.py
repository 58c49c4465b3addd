"""Measure sweeps: combinations per second of CPU time, beside a loop, and compare figures with runs of their own.

    python bench/sweeps.py [--points N] [--networks NAME...] [--record FILE]

First the rates: params, MACs and activations over sizes and classes, with one thread and with two, and a loop over
`load` and `analyze`; each the median of five runs. With --points each network of the zoo (or those named) is compared
at so many random combinations of its whole-number params, lengths and batch, from several sweeps. Exit code 1: a figure
differs.
"""

from __future__ import annotations

import argparse
import json
import platform
import random
import statistics
import sys
import time
from collections.abc import Callable
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from support.sweep_points import differences

from archcalc import analyze, load, networks
from archcalc.searching import read_bounds, search
from archcalc.sweeping import sweep

KEYS = "params", "macs", "activations"
CASES = {
    "vgg16": {"height": range(32, 432), "width": range(32, 432), "classes": range(10, 110)},
    "resnet50": {"height": range(32, 432), "width": range(32, 432), "classes": range(10, 110)},
    "densenet201": {"height": range(32, 432), "width": range(32, 432), "classes": range(10, 110)},
}
RUNS = 5
EACH = 40  # combinations that are compared of each sweep


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--points", type=int, default=0)
    parser.add_argument("--networks", nargs="*", default=[])
    parser.add_argument("--record", type=Path)
    given = parser.parse_args()
    if given.points:
        return compare(given.networks or [*networks()], given.points)
    rows = [rates(name, over) for name, over in CASES.items()]
    found = timed(lambda: best("resnet50"))
    print(f"search over 100,000 combinations: {found[1]:.2f} s, CPU {found[0]:.2f} s")
    if given.record:
        about = {"date": str(date.today()), "machine": platform.machine(), "python": platform.python_version()}
        about |= {"numpy": version("numpy"), "runs": RUNS, "figures": KEYS}
        about |= {"search": {"points": 100_000, "cpu_s": found[0], "wall_s": found[1]}}
        given.record.write_text(json.dumps(about | {"sweeps": rows}, indent=1) + "\n")
    return 0


def timed(work: Callable[[], Any]) -> tuple[float, float]:
    """Return the median CPU and wall time of some runs."""
    times = []
    for _ in range(RUNS):
        cpu, wall = time.process_time(), time.perf_counter()
        work()
        times.append((time.process_time() - cpu, time.perf_counter() - wall))
    return statistics.median(own for own, _ in times), statistics.median(own for _, own in times)


def rates(name: str, over: dict[str, range]) -> dict[str, Any]:
    """Measure one network, and print what was found."""
    points = sweep(name, over, KEYS).points
    cpu, wall = timed(lambda: sweep(name, over, KEYS))
    _, wall_two = timed(lambda: sweep(name, over, KEYS, jobs=2))
    loop, _ = timed(lambda: [analyze(load(name, input=(3, 200, 200 + i))).totals.macs for i in range(10)])
    row = {"network": name, "points": points, "per_s": round(points / cpu), "wall_s": wall, "wall_s_two": wall_two,
           "loop_per_s": round(10 / loop)}  # fmt: skip
    print(f"{name}: {points:,} combinations, {row['per_s']:,} per second of one core; two threads take 1/"
          f"{wall / wall_two:.2f} of the time; a loop {row['loop_per_s']:,} per second")  # fmt: skip
    return row


def best(name: str) -> Any:
    over = {"size": range(32, 532), "classes": range(10, 1010, 5)}
    return search(name, over, read_bounds("macs < 6G, params < 24M", "infer"), "size")


def compare(names: list[str], points: int) -> int:
    """Compare random combinations with runs of their own."""
    failed = compared = 0
    for name in names:
        draw, left = random.Random(name), points
        while left > 0:
            wrong, tried = differences(name, min(left, EACH), draw)
            compared, failed, left = compared + tried, failed + len(wrong), left - tried
            for row in wrong:
                print(f"{name}: {row}")
        print(f"{name}: {compared:,} combinations up to here, {failed} differences", flush=True)
    print(f"{len(names)} networks, {compared:,} combinations, {failed} differences")
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
