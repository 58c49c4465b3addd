"""Start-up in CPU time: commands against the bare imports of the libraries that they use.

    python bench/startup.py [--rounds N]

Medians of alternating runs, each with compiled bytecode. Exit code 1: a command takes more than its limit, a multiple
of its imports.
"""

from __future__ import annotations

import argparse
import compileall
import os
import pty
import resource
import statistics
import subprocess
import sys
import threading
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).parent.parent
ARCHCALC = [sys.executable, "-m", "archcalc"]
PROGRAM = [sys.executable, "-c", "import sys; from archcalc.cli import main; sys.exit(main())"]  # as pip installs it
IMPORTS = {
    "click, yaml": [sys.executable, "-c", "import click, yaml"],
    "click, rich, yaml": [sys.executable, "-c", "import click, rich.console, rich.table, yaml"],
}


class Command(NamedTuple):
    """What runs, the imports that it is compared with, at most how many times their time, and whether on a terminal."""

    command: list[str]
    imports: str = "click, yaml"
    limit: float = float("inf")
    terminal: bool = False


COMMANDS = {
    "--version": Command([*PROGRAM, "--version"], limit=1.4),
    "--help": Command([*PROGRAM, "--help"]),
    "summarize vgg16, piped": Command([*PROGRAM, "summarize", "vgg16"], limit=2.0),
    "summarize vgg16, terminal": Command([*PROGRAM, "summarize", "vgg16"], "click, rich, yaml", 1.7, terminal=True),
    "import archcalc": Command([sys.executable, "-c", "import archcalc"]),
    "list": Command([*PROGRAM, "list"]),
    "compare 'torchvision/*'": Command([*PROGRAM, "compare", "torchvision/*"]),
    "audit": Command([*PROGRAM, "audit"]),
}


def cpu_time(command: list[str], folder: Path, terminal: bool = False) -> float:
    """Milliseconds of user and system time of a command with the archcalc in a folder."""
    used = usage(command, folder, terminal)
    return (used.ru_utime + used.ru_stime) * 1e3


def usage(command: list[str], folder: Path, terminal: bool = False) -> resource.struct_rusage:
    """What a command uses with the archcalc in a folder, its output read to the end. Raises SystemExit if it fails."""
    ours, theirs = pty.openpty() if terminal else os.pipe()
    environment = {k: v for k, v in os.environ.items() if k not in ("COLUMNS", "NO_COLOR")}
    environment |= {"PYTHONPATH": str(folder), "TERM": "xterm"}  # and cwd, which Python searches before it
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=theirs, env=environment, cwd=folder)
    reader = threading.Thread(target=drain, args=(ours,))
    reader.start()
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    os.close(theirs)
    reader.join()
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} failed")
    return used


def drain(descriptor: int) -> None:
    try:
        while os.read(descriptor, 65536):
            pass
    except OSError:  # how the end of a terminal shows
        pass
    os.close(descriptor)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=15)
    asked = parser.parse_args()
    compileall.compile_dir(HERE / "archcalc", quiet=1)  # as an installed package is
    runs = {**{f"import {name}": Command(command, name) for name, command in IMPORTS.items()}, **COMMANDS}
    times: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(asked.rounds):
        for name, run in runs.items():
            times[name].append(cpu_time(run.command, HERE, run.terminal))
    medians = {name: statistics.median(found) for name, found in times.items()}
    over = 0
    for name, time in medians.items():
        run = runs[name]
        ratio = time / medians[f"import {run.imports}"]
        most = f" (at most {run.limit})" * (run.limit < float("inf")) + "   ABOVE" * (ratio > run.limit)
        print(f"{name:26} {time:8.1f} ms  {ratio:5.2f} of importing {run.imports}{most}")
        over += ratio > run.limit
    return int(over > 0)


if __name__ == "__main__":
    sys.exit(main())
