"""Record on a CUDA device: validation of the whole zoo, memory of many trainings, and events of the allocator.

    python recording.py [--device cpu] [--jobs N] [--seconds N] [--kinds KIND...] [--networks NAME...] --out FOLDER

Each case runs in a separate process, several at once if memory allows, the most important first; after `--seconds`
running cases are stopped. Each case writes a file to FOLDER/cases, so that a second call continues where the first
stopped. FOLDER gets one record per kind, written atomically every few seconds; `missing` names the cases not reached.
Kinds: validation, memory, trace (events of the allocator), fit (the largest batch under a cap, found by trying), folded
(validation with batch normalization folded). All of it takes seven minutes on an H100 with 16 cores.

Exit code 1: a figure differs, or a case cannot run or was not reached; 2: no CUDA device.
"""

from __future__ import annotations

import argparse
import gzip
import json
import multiprocessing
import re
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import product
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any, NamedTuple

import gpu
import training
from training import Case

from archcalc import load
from archcalc.catalog import matching

CONTEXT = multiprocessing.get_context("forkserver")  # PyTorch is imported once; each process initializes CUDA
GIB = 2**30
TIMEOUT = 300  # seconds per case
SAVE = 15  # seconds between writes of the records

SLOW = ("resnet1202", "stochastic-depth-1202", "preresnet1001", "fractalnet-40", "densenet-bc-250-24", "preresnet200")
NETWORKS = (
    *("vgg16", "torchvision/resnet50", "resnet18", "densenet121", "googlenet", "alexnet", "squeezenet1.0"),
    *("inception-v3", "fractalnet-20", "stochastic-depth-110", "seresnet50", "torchvision/resnet18"),
    *("torchvision/densenet121", "torchvision/googlenet", "torchvision/alexnet", "squeezenet1.1"),
    *("wrn-28-10", "resnext50-32x4d", "nin", "zfnet", "lenet5", "resnet50", "preresnet164", "bn-inception"),
    *("torchvision/vgg16_bn", "resnet110", "squeezenet-complex-bypass", "densenet-bc-100-12"),
)
SOME, FEW = NETWORKS[:12], NETWORKS[:6]
WRITTEN = ("resnet50", "vgg16", "densenet121", "mobilenet_v2", "resnet18")  # written by hand in torchvision
MORE_WRITTEN = ("googlenet", "inception_v3", "squeezenet1_1", "alexnet", "resnext50_32x4d", "wide_resnet50_2")
ALL, LOW = ("momentum", "none", "adam", "sgd", "adamw"), ("autocast", "bfloat16")
ALONE = [(option,) for option in training.OPTIONS if option not in ("loop", "fused", "weights")]
CASES: list[tuple[Sequence[str], dict[str, Sequence[Any]]]] = [  # networks, and the fields to combine
    (WRITTEN, {"module": ["torchvision"]}),
    (["resnet18"], {"module": ["torchvision"], "options": [("weights",)]}),
    (NETWORKS, {"optimizer": ALL}),
    (SOME, {"precision": LOW}),
    (NETWORKS, {"batch": [8]}),
    (NETWORKS, {"optimizer": ["momentum", "adam", "sgd", "adamw"], "weight_decay": [1e-4]}),
    (MORE_WRITTEN, {"module": ["torchvision"]}),
    (FEW, {"optimizer": ["adam"], "options": [("loop",), ("fused",)]}),
    (FEW, {"weight_decay": [1e-4], "options": [("loop",), ("fused",)]}),
    (FEW, {"options": ALONE}),
    (FEW, {"optimizer": ["nesterov", "rmsprop"], "weight_decay": [0, 1e-4]}),
    (SOME, {"precision": LOW, "optimizer": ["none", "adam", "adamw"]}),
    (FEW, {"precision": ["float16"]}),
    (FEW, {"batch": [1, 3, 17]}),
    (NETWORKS, {"batch": [8], "optimizer": ["none", "adam", "sgd", "adamw"]}),
    (NETWORKS, {"batch": [8], "optimizer": ["adam", "sgd", "adamw"], "weight_decay": [1e-4]}),
    (WRITTEN, {"module": ["torchvision"], "optimizer": ["none", "adam", "adamw"]}),
    (WRITTEN, {"module": ["torchvision"], "batch": [8]}),
    (WRITTEN, {"module": ["torchvision"], "precision": ["autocast"]}),
    (NETWORKS, {"batch": [8], "precision": LOW}),
]
TRACES: list[tuple[Sequence[str], dict[str, Sequence[Any]]]] = [
    (["resnet18"], {"module": ["torchvision"], "options": [("weights",)]}),
    (WRITTEN, {"module": ["torchvision"]}),
    (["lenet5", "alexnet", "vgg16", "resnet18", "torchvision/resnet50"], {}),
    (["googlenet", "densenet121", "squeezenet1.0"], {}),
    (["resnet18"], {"optimizer": ["adam"], "weight_decay": [1e-4]}),
    (["resnet18"], {"precision": LOW}),
    (["alexnet"], {"optimizer": ["sgd"], "weight_decay": [1e-4]}),
    (["alexnet"], {"optimizer": ["adamw"], "precision": ["autocast"]}),
]
FITS = [  # network, module, GiB of the cap
    ("resnet18", "build", 4),
    ("vgg16", "build", 8),
    ("torchvision/resnet50", "build", 8),
    ("densenet121", "build", 8),
    ("googlenet", "build", 4),
    ("vgg16", "build", 16),
    ("torchvision/resnet50", "build", 16),
    ("alexnet", "build", 4),
    ("resnet50", "torchvision", 8),
]


class Job(NamedTuple):
    """A task for one process: its kind, and its case or network."""

    kind: str
    what: Any  # a case, or a network's name
    dtype: str = "float32"

    @property
    def title(self) -> str:
        """Its name in lists."""
        return self.what.title if isinstance(self.what, Case) else str(self.what)

    @property
    def record(self) -> str:
        """The record that contains it."""
        return self.kind if self.dtype == "float32" else f"{self.kind}-{self.dtype}"

    @property
    def slug(self) -> str:
        """The name of its file."""
        return re.sub(r"[^\w.+-]+", "-", f"{self.record} {self.title}")


def jobs() -> Iterator[Job]:
    """Yield all jobs, the most important first."""
    zoo = matching([])
    rest = [name for name in zoo if name not in SLOW]
    yield from (Job("validation", name) for name in zoo if name in SLOW)
    yield from (Job("trace", case) for case in expanded(TRACES))
    yield from (Job("validation", name) for name in rest)
    yield from (Job("memory", case) for case in expanded(CASES))
    yield from (Job("folded", name) for name in rest)
    yield from (Job("validation", name, "bfloat16") for name in rest)


def expanded(table: Sequence[tuple[Sequence[str], dict[str, Sequence[Any]]]]) -> Iterator[Case]:
    """Yield a case for every network and every combination of fields."""
    for names, fields in table:
        for values in product(*fields.values()):
            yield from (Case(name, **dict(zip(fields, values, strict=True))) for name in names)


class Fit:
    """Searches the largest batch that fits under a cap: double until it fails, then bisect."""

    def __init__(self, name: str, module: str, cap: int) -> None:
        self.case = Case(name, module, cap=cap * GIB)
        self.low, self.high, self.tries = 0, 0, list[dict[str, Any]]()

    def job(self) -> Job | None:
        """Return the next try, or None if the result is known."""
        if self.high and self.high - self.low <= 1:
            return None
        batch = (self.low + self.high) // 2 if self.high else max(2 * self.low, 32)
        return Job("fit", self.case._replace(batch=batch))

    def add(self, made: dict[str, Any]) -> None:
        """Record the result of a try."""
        self.tries.append(made)
        if made["problem"]:
            self.high = made["batch"]
        else:
            self.low = made["batch"]

    @property
    def last(self) -> list[Job]:
        """Jobs that trace the largest batch and the smallest one that fails."""
        return [Job("trace", self.case._replace(batch=batch)) for batch in (self.low, self.high) if batch]


def work(job: Job, device: str, path: Path) -> None:
    """Do a job and write its result to a file."""
    made = json.dumps(done(job, device), separators=(",", ":"), default=str)
    fresh = path.with_suffix(".part")
    fresh.write_text(made, encoding="utf-8")
    fresh.replace(path)


def done(job: Job, device: str) -> dict[str, Any]:
    """Do a job and return its result."""
    if job.kind in ("validation", "folded"):
        return compared(job, device)
    return (training.trace if job.kind == "trace" else training.protocol)(job.what, device)


def compared(job: Job, device: str) -> dict[str, Any]:
    """Validate a network like `gpu.validation`, but list all differences."""
    gpu.LISTED = sys.maxsize
    if job.kind == "validation":
        result: dict[str, Any] = gpu.validation(job.what, device, 2, job.dtype)
        return result
    made = gpu.validate_or_say(load(job.what), device, 2, job.dtype, folded=True)
    differences = [[d.layer, d.figure, d.expected, d.measured] for d in made.differences]
    kept = ("device", "batch", "dtype", "seconds", "problem", "remark")
    rest = {name: getattr(made, name) for name in kept}
    return {"network": job.what, "checks": len(made.checks), "differences": differences, **rest}


def room(job: Job, known: dict[str, float]) -> float:
    """Estimate how many GiB of the device a job takes, including its context and libraries."""
    if not isinstance(job.what, Case):
        return 4
    case = job.what
    if case.cap:
        return 1 + case.cap / GIB
    if case.module != "build":
        return 1 + 6 * case.batch / 32
    if case.network not in known:
        from archcalc.pytorch.device import needed_bytes  # a rough estimate is enough

        known[case.network] = needed_bytes(load(case.network), 32, "float32") / GIB
    return 2 + 1.4 * known[case.network] * max(case.batch, 8) / 32


class Recording:
    """Waiting, running and finished jobs."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options, self.start = options, time.monotonic()
        self.folder = options.out / "cases"
        self.folder.mkdir(parents=True, exist_ok=True)
        self.kinds = options.kinds
        self.waiting = [job for job in dict.fromkeys(jobs()) if self._wanted(job)]
        self.running: dict[Any, tuple[Any, Job, float, float]] = {}
        self.made: list[tuple[Job, dict[str, Any]]] = []
        self.fits = [Fit(*fit) for fit in FITS if "fit" in self.kinds and self._named(fit[0])]
        self.chains: dict[str, Fit] = {}
        self.after = time.monotonic() + options.fit_after
        self.known: dict[str, float] = {}
        self.environment = environment(options.device)

    def _named(self, name: str) -> bool:
        return not self.options.networks or name in self.options.networks

    def _wanted(self, job: Job) -> bool:
        return job.kind in self.kinds and self._named(job.what.network if isinstance(job.what, Case) else job.what)

    def run(self) -> None:
        """Run jobs until none is left or the time is over."""
        end, saved = self.start + self.options.seconds, self.start
        while (self.waiting or self.running or self.fits or self.chains) and time.monotonic() < end:
            self._begin()
            for sentinel in wait([process.sentinel for process, *_ in self.running.values()], timeout=0.5):
                self._end(sentinel)
            for process, _, began, _ in self.running.values():
                if time.monotonic() - began > TIMEOUT:
                    process.kill()
            if time.monotonic() - saved > SAVE:
                self.save()
                saved = time.monotonic()
        unfinished = [job for _, job, *_ in self.running.values()]
        for process, *_ in self.running.values():
            process.kill()
        for process, *_ in self.running.values():
            process.join(5)
        self.waiting = unfinished + self.waiting
        self.running.clear()
        self.save()

    def _begin(self) -> None:
        """Start jobs while there is room."""
        free = self.options.room - sum(need for *_, need in self.running.values())
        if self.fits and len(self.chains) < 2 and time.monotonic() > self.after:
            self._follow(self.fits.pop(0))
        for job in list(self.waiting[:40]):
            if len(self.running) >= self.options.jobs:
                return
            path = self.folder / f"{job.slug}.json"
            if path.exists():
                self.waiting.remove(job)
                self._take(job, json.loads(path.read_text(encoding="utf-8")))
                continue
            need = room(job, self.known)
            if need > free and self.running:
                continue
            free -= need
            self.waiting.remove(job)
            process = CONTEXT.Process(target=work, args=(job, self.options.device, path))
            process.start()
            self.running[process.sentinel] = process, job, time.monotonic(), need

    def _end(self, sentinel: Any) -> None:
        """Read the result of a process that ended."""
        process, job, began, _ = self.running.pop(sentinel)
        process.join()
        path = self.folder / f"{job.slug}.json"
        if path.exists():
            self._take(job, json.loads(path.read_text(encoding="utf-8")))
        else:
            problem = f"the process ended with {process.exitcode} after {time.monotonic() - began:.0f} s"
            named = job.what._asdict() if isinstance(job.what, Case) else {"network": job.what}
            self._take(job, {**named, "problem": problem, "phases": {}, "checks": 0, "differences": []})

    def _take(self, job: Job, made: dict[str, Any]) -> None:
        """Keep the result of a job; continue a series of tries."""
        said = made.get("case", made)
        if job.kind in ("validation", "folded"):
            line = f"{made.get('checks', 0):,} checks, {made['differences'] or 0} different"
        else:
            line = f"{max((peak for peak, *_ in said['phases'].values()), default=0) / 2**20:,.1f} MiB"
        at, title = time.monotonic() - self.start, job.slug
        print(f"{at:6.1f} s  {title:<64}  {line}  {said.get('seconds', '')}  {said['problem']}", flush=True)
        if job.kind == "fit":
            fit = self.chains.pop(job.what._replace(batch=0).title)
            fit.add(made)
            self._follow(fit)
        else:
            self.made.append((job, made))

    def _follow(self, fit: Fit) -> None:
        """Queue the next try of a series before all other jobs; at its end queue its traces."""
        job = fit.job()
        if job:
            self.chains[fit.case._replace(batch=0).title] = fit
            self.waiting.insert(0, job)
            return
        self.made.append((Job("fit", fit.case), {**fit.case._asdict(), "largest": fit.low, "tries": fit.tries}))
        print(f"        largest batch of {fit.case.title}: {fit.low}", flush=True)
        self.waiting[:0] = fit.last if "trace" in self.kinds and fit.case.cap <= 8 * GIB else []

    def save(self) -> None:
        """Write the records."""
        base = {**self.environment, "processes": self.options.jobs, "seconds": round(time.monotonic() - self.start)}
        done, missing = dict[str, list[Any]](), dict[str, list[str]]()
        for job, made in self.made:
            done.setdefault(job.record, []).append(made)
        for job in (*self.waiting, *(job for _, job, *_ in self.running.values())):
            missing.setdefault(job.record, []).append(job.title)
        name = gpu.file_name(base).removesuffix(".json")
        for kind in {*done, *missing}:
            head = {**base, "complete": kind not in missing, "missing": missing.get(kind, [])}
            if kind in ("memory", "fit", "trace"):
                head["columns"] = training.COLUMNS
            if kind == "trace":
                head["actions"] = {letter: action for action, letter in training.ACTIONS.items()}
            write(self.options.out / f"{name}-{kind}", head, done.get(kind, []), zipped=kind == "trace")


def write(path: Path, head: dict[str, Any], made: Sequence[Any], zipped: bool) -> None:
    """Write a record atomically, one case per line."""
    lines = ",\n".join(json.dumps(case, separators=(",", ":"), default=str) for case in made)
    text = f'{json.dumps(head, indent=1, default=str)[:-2]},\n "cases": [\n{lines}\n ]\n}}\n'
    if zipped:
        gpu.write(Path(f"{path}.json.gz"), gzip.compress(text.encode(), 9, mtime=0), force=True)
    else:
        gpu.write(Path(f"{path}.json"), text, force=True)


def environment(device: str) -> dict[str, Any]:
    """Return `gpu.environment` from a separate process, since CUDA must not start before a fork; {} without CUDA."""
    receiver, sender = CONTEXT.Pipe(False)
    process = CONTEXT.Process(target=_send_environment, args=(device, sender))
    process.start()
    result: dict[str, Any] = receiver.recv() if receiver.poll(60) else {}
    process.join()
    return result


def _send_environment(device: str, sender: Any) -> None:
    available = device != "cuda" or training.torch.cuda.is_available()
    sender.send(gpu.environment(device) if available else {})


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    kinds = ["validation", "memory", "trace", "fit", "folded"]
    parser.add_argument("--kinds", nargs="+", choices=kinds, default=kinds)
    parser.add_argument("--networks", nargs="+", default=[], metavar="NAME")
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument("--jobs", type=int, default=14, help="number of processes at once")
    parser.add_argument("--room", type=float, default=64, help="GiB of the device for all of them together")
    parser.add_argument("--seconds", type=float, default=3600)
    parser.add_argument(
        "--fit-after", type=float, default=0, help="seconds before the search for the largest batches starts"
    )
    parser.add_argument("--preload", nargs="*", default=["torch._dynamo", "torchvision"], metavar="MODULE")
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER")
    options = parser.parse_args(arguments)
    CONTEXT.set_forkserver_preload(["gpu", "training", *options.preload])
    recording = Recording(options)
    if not recording.environment:
        print(
            "no CUDA device is available; --device cpu runs everything without the allocator's counts", file=sys.stderr
        )
        return 2
    recording.run()
    problems = Counter(job.record for job, made in recording.made if made.get("problem") or made.get("differences"))
    failed = ", ".join(f"{count} {kind}" for kind, count in problems.items()) or "none"
    print(f"done: {len(recording.made)}, not reached: {len(recording.waiting)}, different or with a problem: {failed}")
    return int(bool(problems or recording.waiting))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
