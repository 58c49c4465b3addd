"""Start-up in CPU time: commands against the bare imports of the libraries they use, and against another checkout.

    python bench/startup.py [--rounds N] [--base FOLDER]

Medians of alternating runs, each with compiled bytecode. Without --base, `summarize vgg16` may take at most twice the
time of the imports. With --base, FOLDER holds another checkout of archcalc, and each command has a limit of its own
for its ratio to that checkout. Exit code 1: over a limit.
"""

import argparse
import compileall
import os
import pty
import statistics
import subprocess
import sys
import threading
from pathlib import Path

HERE = Path(__file__).parent.parent
ARCHCALC = [sys.executable, "-m", "archcalc"]
IMPORTS = [sys.executable, "-c", "import click, rich.console, rich.table, yaml"]
LIMIT = 2.0  # summarize vgg16 against IMPORTS
LIMITS = {  # what runs, whether on a terminal, and its limit against another checkout
    "summarize vgg16, piped": ([*ARCHCALC, "summarize", "vgg16"], False, 0.75),
    "summarize vgg16, terminal": ([*ARCHCALC, "summarize", "vgg16"], True, 0.85),
    "--version": ([*ARCHCALC, "--version"], False, 0.6),
    "--help": ([*ARCHCALC, "--help"], False, 0.6),
    "import archcalc": ([sys.executable, "-c", "import archcalc"], False, 0.6),
}


def cpu_time(command: list[str], folder: Path, terminal: bool = False) -> float:
    """Milliseconds of user and system time of a command with the archcalc in a folder, its output read to the end."""
    ours, theirs = pty.openpty() if terminal else os.pipe()
    environment = {k: v for k, v in os.environ.items() if k not in ("COLUMNS", "NO_COLOR")}
    environment |= {"PYTHONPATH": str(folder), "TERM": "xterm"}  # and cwd, which Python searches before it
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=theirs, env=environment, cwd=folder)
    reader = threading.Thread(target=drain, args=(ours,))
    reader.start()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    os.close(theirs)
    reader.join()
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} failed")
    return (usage.ru_utime + usage.ru_stime) * 1e3


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
    parser.add_argument("--base", type=Path)
    asked = parser.parse_args()
    checkouts = [HERE, *([asked.base.resolve()] if asked.base else [])]
    for folder in checkouts:
        compileall.compile_dir(folder / "archcalc", quiet=1)  # as an installed package is
    runs = [("imports alone", HERE, IMPORTS, False)]
    runs += [(name, folder, *what[:2]) for name, what in LIMITS.items() for folder in checkouts]
    times: dict[tuple[str, Path], list[float]] = {}
    for _ in range(asked.rounds):
        for name, folder, command, terminal in runs:
            times.setdefault((name, folder), []).append(cpu_time(command, folder, terminal))
    medians = {key: statistics.median(values) for key, values in times.items()}
    imports = medians["imports alone", HERE]
    print(f"{'imports alone':26} {imports:7.1f} ms")
    over = medians["summarize vgg16, piped", HERE] > LIMIT * imports
    for name, (_, _, limit) in LIMITS.items():
        line = f"{name:26} {medians[name, HERE]:7.1f} ms  {medians[name, HERE] / imports:5.2f} of the imports"
        if asked.base:
            ratio = medians[name, HERE] / medians[name, checkouts[1]]
            line += f"  {ratio:5.2f} of {asked.base.name} (at most {limit})"
            over |= ratio > limit
        print(line)
    return int(over)


if __name__ == "__main__":
    sys.exit(main())
