"""Start-up, side by side: `archcalc summarize vgg16` against the bare imports of the libraries it stands on.

    python bench/startup.py [ROUNDS]

The command may take at most twice the wall time of the imports; medians of alternating runs.
"""

import compileall
import statistics
import subprocess
import sys
import time
from pathlib import Path

import archcalc

COMMANDS = {
    "imports alone": [sys.executable, "-c", "import click, rich.console, rich.table, yaml"],
    "summarize vgg16": [str(Path(sys.executable).parent / "archcalc"), "summarize", "vgg16"],
}
LIMIT = 2.0


def main(rounds: int) -> int:
    compileall.compile_dir(Path(archcalc.__file__).parent, quiet=1)  # as an installed package is
    times: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for _ in range(rounds):
        for name, command in COMMANDS.items():
            start = time.perf_counter()
            subprocess.run(command, check=True, capture_output=True)
            times[name].append(time.perf_counter() - start)
    medians = {name: statistics.median(values) for name, values in times.items()}
    for name, median in medians.items():
        print(f"{name:>16}  {median * 1e3:7.1f} ms  (least {min(times[name]) * 1e3:.1f})")
    ratio = medians["summarize vgg16"] / medians["imports alone"]
    print(f"{'ratio':>16}  {ratio:7.2f}     (at most {LIMIT})")
    return int(ratio > LIMIT)


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 15))
