"""Start-up in CPU time: commands against the bare imports of the libraries they use.

    python bench/startup.py [--rounds N]

Medians of alternating runs, each with compiled bytecode. `summarize vgg16` may take at most twice the time of the
imports. Exit code 1: over this limit.
"""

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

HERE = Path(__file__).parent.parent
ARCHCALC = [sys.executable, "-m", "archcalc"]
IMPORTS = [sys.executable, "-c", "import click, rich.console, rich.table, yaml"]
LIMIT = 2.0  # summarize vgg16 against IMPORTS
COMMANDS = {  # what runs, and whether on a terminal
    "summarize vgg16, piped": ([*ARCHCALC, "summarize", "vgg16"], False),
    "summarize vgg16, terminal": ([*ARCHCALC, "summarize", "vgg16"], True),
    "--version": ([*ARCHCALC, "--version"], False),
    "--help": ([*ARCHCALC, "--help"], False),
    "import archcalc": ([sys.executable, "-c", "import archcalc"], False),
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
    runs = {"imports alone": (IMPORTS, False), **COMMANDS}
    times: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(asked.rounds):
        for name, (command, terminal) in runs.items():
            times[name].append(cpu_time(command, HERE, terminal))
    medians = {name: statistics.median(found) for name, found in times.items()}
    imports = medians["imports alone"]
    for name, time in medians.items():
        print(f"{name:26} {time:7.1f} ms  {time / imports:5.2f} of the imports")
    over = medians["summarize vgg16, piped"] > LIMIT * imports
    return int(over)


if __name__ == "__main__":
    sys.exit(main())
