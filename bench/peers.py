"""CPU time and memory beside other tools that count FLOPs of the same networks of torchvision.

    python bench/peers.py [--rounds N] [--path FOLDER]... [--record FILE] [PEER]...

Whole process: `archcalc summarize`, its output read, beside a process that imports a tool, builds torchvision's module
and counts it (`bench/peer.py`, which says what favours the tool). In process: `analyze(load(NAME))` beside building and
counting, without imports; first in a process, and again. All take turns, with one thread and compiled bytecode; shown
are medians of N runs (at least 5). `ratio` is the whole process, `apart` the same without the tool's import of
torchvision, `leaner` the largest resident set. A tool that fails is a row that says so.

What favours whom: the tools run any module, also one that nobody has described; archcalc reads a spec of it. The row
`archcalc, of the module` imports the same module. Exit code 1: a ratio of `LIMITS` is not reached.
"""

from __future__ import annotations

import argparse
import compileall
import datetime
import json
import os
import platform
import resource
import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from statistics import median
from typing import Any

from side_by_side import AGAIN, IN_PROCESS, ONCE
from startup import HERE, PROGRAM, usage
from tools import version_of

import archcalc  # and nothing of it: the memory of a process that is started is at least that of the one that starts it

NETWORKS = ("alexnet", "resnet50", "densenet201", "inception_v3", "vit_b_16")
NAMES = ("torch", "torchinfo", "thop", "fvcore", "ptflops", "calflops", "torchscan", "flax", "archcalc, of the module")
PEERS = NAMES[:-1]
OURS = "archcalc"
DISTRIBUTIONS = ("click", "pyyaml", "torch", "torchvision", *PEERS[1:], "jax")
LIMITS = {"fastest": 10, "median": 20, "leaner": 10}  # of the whole process, at least
IN_PROCESS_LIMITS = {"few": 8, "many": 30}  # FlopCounterMode beside load and analyse, by the number of layers
MANY = 100
SERIAL = "--xla_cpu_multi_thread_eigen=false"
Costs = dict[str, Any]


def ours(name: str) -> Costs:
    """Measure archcalc once."""
    used = usage([*PROGRAM, "summarize", f"torchvision/{name}"], HERE)
    if used.ru_maxrss <= resource.getrusage(resource.RUSAGE_SELF).ru_maxrss:
        raise SystemExit("the process that measures has more memory than what it measures")
    what = f"[{ONCE}, {AGAIN}, len(load({f'torchvision/{name}'!r}).nodes)]"
    code = [sys.executable, "-c", IN_PROCESS.format(name=f"torchvision/{name}", what=what)]
    done = subprocess.run(code, capture_output=True, text=True, check=True, cwd=HERE)
    first, again, layers = json.loads(done.stdout)
    process = (used.ru_utime + used.ru_stime) * 1e3
    return {"process": process, "first": first, "again": again, "memory": used.ru_maxrss / 1024, "layers": layers}


def theirs(peer: str, name: str, folders: list[str]) -> Costs:
    """Measure a tool once; under `error` is how it failed."""
    command = [sys.executable, str(HERE / "bench" / "peer.py"), peer, name, *folders]
    environment = os.environ | {"PYTHONPATH": str(HERE), "OMP_NUM_THREADS": "1", "XLA_FLAGS": SERIAL}  # one thread
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    lines = done.stdout.splitlines()
    if done.returncode or not lines:
        return {"error": f"the process ended with {done.returncode}"}
    return dict(json.loads(lines[-1]))


def medians(runs: list[Costs]) -> Costs:
    """Return the medians of runs, or the first error."""
    errors = [run for run in runs if "error" in run]
    if errors:
        return errors[0]
    numbers = [key for key in runs[0] if key != "figure"]
    figure = {"figure": runs[0]["figure"]} if "figure" in runs[0] else {}
    return {**{key: round(median(run[key] for run in runs), 2) for key in numbers}, **figure}


def in_process(costs: Costs, which: str) -> float:
    """Return the time of building and counting, or of archcalc."""
    return float(costs.get("build", 0) + costs[which])


def row(peer: str, costs: Costs, own: Costs) -> str:
    """Return a line of the table."""
    if "error" in costs:
        return f"{peer:24} fails: {costs['error']}"
    ratio, apart = (
        time / own["process"] for time in (costs["process"], costs["process"] - costs.get("torchvision", 0))
    )
    inside = [f"{in_process(costs, key):9.1f} {in_process(costs, key) / own[key]:6.1f}×" for key in ("first", "again")]
    memory = f"{costs['memory']:7.1f} {costs['memory'] / own['memory']:6.1f}×"
    return f"{peer:24} {costs['process']:8.1f} {ratio:6.1f}× {apart:6.1f}× {'  '.join(inside)}  {memory}"


HEAD = f"{'':24} {'process':>8} {'ratio':>7} {'apart':>7} {'first ms':>9} {'ratio':>7}  {'again ms':>9} {'ratio':>7}"


def missed(name: str, found: dict[str, Costs]) -> list[str]:
    """Return what is below a limit."""
    own, rest = found[OURS], [found[peer] for peer in PEERS if peer in found and "error" not in found[peer]]
    if not rest:
        return [f"{name}: no tool could be measured"]
    times = [costs["process"] / own["process"] for costs in rest]
    reached = {"fastest": min(times), "median": median(times)}
    reached["leaner"] = min(costs["memory"] for costs in rest) / own["memory"]
    limits: dict[str, float] = dict(LIMITS)
    if found.get("torch") in rest:
        reached["in process"] = in_process(found["torch"], "again") / own["again"]
        limits["in process"] = IN_PROCESS_LIMITS["many" if own["layers"] >= MANY else "few"]
    return [f"{name}: {key} {reached[key]:.1f}×, limit {limits[key]}×" for key in limits if reached[key] < limits[key]]


def known(distribution: str) -> str:
    """Return the version of a distribution, or that it is missing."""
    try:
        return version_of(distribution)
    except ModuleNotFoundError:
        return "missing"


def about(rounds: int) -> Costs:
    """Return machine, versions, date and load."""
    versions = {"archcalc": archcalc.__version__, "python": platform.python_version()}
    versions |= {distribution: known(distribution) for distribution in DISTRIBUTIONS}
    cpu = [line.partition(": ")[2] for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line]
    machine = {"machine": platform.machine(), "cpu": cpu[0] if cpu else "", "cpus": os.cpu_count()}
    today = datetime.datetime.now(datetime.timezone.utc).date().isoformat()
    loads = {"load": [round(load, 1) for load in os.getloadavg()]}
    return {"date": today, **machine, **loads, "rounds": rounds, "versions": versions}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("peers", nargs="*", metavar="PEER", help=", ".join(NAMES))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--path", action="append", default=[], help="a folder to import tools from")
    parser.add_argument("--record", type=Path)
    asked = parser.parse_args()
    compileall.compile_dir(HERE / "archcalc", quiet=1)  # as an installed package is
    sys.path[:0] = asked.path
    record, below = about(asked.rounds), []
    print(json.dumps(record))
    record["networks"] = {}
    for name in NETWORKS:
        runs = defaultdict(list)
        for _ in range(asked.rounds):
            runs[OURS].append(ours(name))
            for peer in asked.peers or NAMES:
                if "error" not in (runs[peer] or [{}])[-1]:
                    runs[peer].append(theirs(peer, name, asked.path))
        found = {peer: medians(own) for peer, own in runs.items()}
        record["networks"][name] = found
        print(f"\n{name}\n{HEAD}     MiB leaner")
        for peer, costs in found.items():
            print(row(peer, costs, found[OURS]), flush=True)
        below += missed(name, found)
    record["load after"] = [round(load, 1) for load in os.getloadavg()]
    if asked.record:
        asked.record.write_text(json.dumps(record, indent=1) + "\n")
    print(*below, sep="\n")
    return int(bool(below))


if __name__ == "__main__":
    sys.exit(main())
