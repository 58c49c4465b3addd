"""CPU time and memory beside another checkout of archcalc: commands, and loading and analysing in one process.

    python bench/side_by_side.py FOLDER [--rounds N]

Each runs N times (7, but at least 5) in both checkouts, alternating, with compiled bytecode. Shown are medians, their
ratio and its limit. CPU time is that of the process, user and system; memory is the largest resident set. What runs "in
process" measures itself, without the imports: once is the first time in a process, again the median of the 30 that
follow. Exit code 1: a ratio is above its limit.
"""

from __future__ import annotations

import argparse
import compileall
import os
import platform
import statistics
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

from startup import ARCHCALC, HERE, usage

IN_PROCESS = """
import statistics, sys, time
import archcalc
load, analyze = archcalc.load, archcalc.analyze
def measured():
    start = time.process_time()
    analyze(load({name!r}))
    return (time.process_time() - start) * 1e3
first = measured()
print({what})
"""
ONCE, AGAIN = "first", "statistics.median(measured() for _ in range(30))"
MEMORY = 1.0  # that a command may take at most, of the other's


class Run(NamedTuple):
    """What runs, whether on a terminal, its limit, and whether it prints its time itself."""

    command: list[str]
    limit: float
    terminal: bool = False
    prints: bool = False


def in_process(name: str, what: str, limit: float) -> Run:
    """Load and analyse a network, in a process that measures it."""
    return Run([sys.executable, "-c", IN_PROCESS.format(name=name, what=what)], limit, prints=True)


RUNS = {
    "summarize vgg16, terminal": Run([*ARCHCALC, "summarize", "vgg16"], 0.85, terminal=True),
    "summarize vgg16, piped": Run([*ARCHCALC, "summarize", "vgg16"], 0.75),
    "--version": Run([*ARCHCALC, "--version"], 0.6),
    "--help": Run([*ARCHCALC, "--help"], 0.6),
    "import archcalc": Run([sys.executable, "-c", "import archcalc"], 0.6),
    "list": Run([*ARCHCALC, "list"], 0.3),
    "compare '*'": Run([*ARCHCALC, "compare", "*"], 0.6),
    "audit": Run([*ARCHCALC, "audit"], 0.6),
    "load + analyze, once": in_process("torchvision/resnet50", ONCE, 0.5),
    "load + analyze, again": in_process("torchvision/resnet50", AGAIN, 0.5),
}


class Cost(NamedTuple):
    """Of one run: milliseconds of CPU time, and MiB."""

    time: float
    memory: float


def cost(run: Run, folder: Path) -> Cost:
    """Run once with the archcalc of a folder."""
    if not run.prints:
        used = usage(run.command, folder, run.terminal)
        return Cost((used.ru_utime + used.ru_stime) * 1e3, used.ru_maxrss / 1024)
    environment = os.environ | {"PYTHONPATH": str(folder)}
    done = subprocess.run(run.command, capture_output=True, text=True, check=True, cwd=folder, env=environment)
    return Cost(float(done.stdout), 0)


def line(name: str, run: Run, here: list[Cost], there: list[Cost]) -> tuple[str, bool]:
    """A line of the table, and whether a limit is kept."""
    times = [statistics.median(made.time for made in costs) for costs in (here, there)]
    sizes = [statistics.median(made.memory for made in costs) for costs in (here, there)]
    ratio, memory = times[0] / times[1], sizes[0] / sizes[1] if sizes[1] else 0
    text = f"{name:26} {times[0]:8.1f} ms of {times[1]:8.1f} ms: {ratio:4.2f} (at most {run.limit:4.2f})"
    if memory:
        text += f"   {sizes[0]:5.1f} MiB of {sizes[1]:5.1f}: {memory:4.2f}"
    kept = ratio <= run.limit and memory <= MEMORY
    return text + ("" if kept else "   ABOVE"), kept


def version(folder: Path) -> str:
    """A checkout's version, with its commit where it is a repository of its own."""
    code = [sys.executable, "-c", "import archcalc; print(archcalc.__version__)"]
    own = subprocess.run(code, capture_output=True, text=True, check=True, cwd=folder, env={"PYTHONPATH": str(folder)})
    command = ["git", "-C", str(folder), "rev-parse", "--short", "HEAD"]
    commit = subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
    return f"{own.stdout.strip()} {commit}".strip()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("base", type=Path, metavar="FOLDER")
    parser.add_argument("--rounds", type=int, default=7)
    asked = parser.parse_args()
    folders = [HERE, asked.base.resolve()]
    for folder in folders:
        compileall.compile_dir(folder / "archcalc", quiet=1)  # as an installed package is
    rounds = max(5, asked.rounds)
    print(f"archcalc {version(HERE)} beside {version(folders[1])}, {rounds} runs each")
    print(f"{platform.machine()}, {os.cpu_count()} CPUs, {platform.system()}, Python {platform.python_version()}")
    over = 0
    for name, run in RUNS.items():
        costs: dict[Path, list[Cost]] = {folder: [] for folder in folders}
        for _ in range(rounds):
            for folder in folders:
                costs[folder].append(cost(run, folder))
        text, kept = line(name, run, *costs.values())
        print(text, flush=True)
        over += not kept
    return int(over > 0)


if __name__ == "__main__":
    sys.exit(main())
