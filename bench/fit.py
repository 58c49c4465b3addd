"""What fits into memory: the time that `archcalc fit` takes for the whole zoo, or how right it is on a CUDA device.

    python bench/fit.py                     the whole zoo under 16 GiB: what fits, and seconds of CPU
    python bench/fit.py --device cuda       measure; the other options are for this

On CUDA, first the memory of each network at several batches and with several optimizers: in each phase what tensors
request at most must be as predicted, or more by at most the largest workspaces. Then the largest batch that trains
under a cap, by trying around what `fit` says: it must lie in the interval, and the guaranteed batch must train. Each
try runs in a separate process. The record (its name ends in `-tried`) is written after each result. Joins drop no
branch.

Exit code 1: something is not as predicted, a network cannot run, or the time was over; 2: no CUDA device.
"""

from __future__ import annotations

import argparse
import gc
import multiprocessing
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from concurrent.futures import TimeoutError as Late  # another one than Python's until 3.10
from pathlib import Path
from string import digits
from typing import Any, NamedTuple

import gpu
import torch

from archcalc import analyze, load
from archcalc.analysis.cards import Card, find_card
from archcalc.analysis.fit import Fit, Space, batches, edge, largest
from archcalc.analysis.recipe import Recipe
from archcalc.analysis.simulation import simulate
from archcalc.analysis.workspaces import most_in, workspace_terms
from archcalc.catalog import matching
from archcalc.errors import ArchcalcError
from archcalc.pytorch.device import metered
from archcalc.pytorch.training_memory import Loop

GIB = 2**30
OTHER_CARD = "h100"  # of a device that archcalc does not know: no card's workspaces are larger
TIMEOUT = 300  # seconds for a try
FITS = {"vgg16": 8, "torchvision/resnet50": 8, "densenet121": 8, "googlenet": 4, "alexnet": 4, "resnet18": 4,
        "squeezenet1.0": 4, "inception-v3": 8, "wrn-28-10": 4, "seresnet50": 8}  # fmt: skip
# networks, and GiB of a cap


class Try(NamedTuple):
    """A training to run."""

    network: str
    batch: int
    optimizer: str
    cap: int = 0  # bytes that the allocator may take; 0: all
    device: str = "cuda"

    @property
    def recipe(self) -> Recipe:
        """How it trains."""
        return Recipe(self.optimizer, device=self.device, single=self.batch == 1)


def run(job: Try) -> dict[str, Any]:
    """Train; return the peak of requested bytes in each phase, and the problem that stopped it."""
    made: dict[str, Any] = {**job._asdict(), "problem": "", "phases": {}}
    cuda, name = job.device == "cuda", ""
    try:
        if cuda:
            made["cap"] = gpu.cap(job.cap)
        for phase, step, work in Loop(load(job.network), job.recipe, job.batch).phases():
            name = f"{phase}{step or ''}"
            if cuda:
                made["phases"][name] = metered(work)["requested_bytes.all.peak"]
            else:
                work()
    except Exception as error:  # any error: the next one must still run
        made["problem"] = f"{name}: {gpu.problem(error)}".partition(" GPU 0 has")[0]
    return made


def compared(made: dict[str, Any], card: Card) -> dict[str, Any]:
    """Add what was predicted, the most that workspaces may take, and the phases that are not between."""
    job = Try(*(made[name] for name in Try._fields))
    graph, batch = load(job.network), job.batch
    peaks = {f"{peak.phase}{peak.step or ''}": peak.peak for peak in simulate(graph, job.recipe).peaks(batch)}
    report = analyze(graph, batch, mode="train" if job.optimizer else "infer")
    terms = workspace_terms(report, card)
    most = {name: most_in(name.rstrip(digits), terms) for name in peaks}
    wrong = [name for name, peak in made["phases"].items() if not 0 <= peak - peaks[name] <= most[name]]
    wrong = [name for name in wrong if name != "state"]
    return {**made, "predicted": peaks, "workspaces_at_most": max(most.values()), "wrong": wrong}


def tried(network: str, cap: int, card: Card, train: Callable[[Try], dict[str, Any]]) -> dict[str, Any]:
    """Search the largest batch under a cap around what `fit` says; return it with all tries."""
    found = largest(batches(load(network), Try(network, 2, "momentum").recipe, card), Space(cap, cap))
    tries = dict[int, str]()

    def trains(batch: int) -> bool:
        if batch not in tries:
            tries[batch] = train(Try(network, batch, "momentum", cap))["problem"]
        return not tries[batch]

    trained = search(trains, found)
    made = {"network": network, "optimizer": "momentum", "cap": cap, **found._asdict(), "largest": trained}
    right = found.guaranteed <= trained <= found.bound and all(map(trains, {found.guaranteed} - {0}))
    problems = {batch: text for batch, text in tries.items() if text and "out of memory" not in text}
    return {**made, "tries": tries, "wrong": [] if right and not problems else ["largest", *problems.values()]}


def search(trains: Callable[[int], bool], found: Fit) -> int:
    """Return a batch that trains while one more does not; begin at the likely one, and go ever farther."""
    high, step = found.likely + 1, 1
    if not found.likely or trains(found.likely):
        while trains(high):
            high, step = high + step, 2 * step
    return edge(trains, high - 1)


def apart(job: Try) -> dict[str, Any]:
    """Train in a separate process, which is ended if it takes too long."""
    context = multiprocessing.get_context("forkserver")
    receiver, sender = context.Pipe(False)
    process = context.Process(target=_send, args=(job, sender))
    process.start()
    made = receiver.recv() if receiver.poll(TIMEOUT) else {**job._asdict(), "problem": "no result", "phases": {}}
    process.kill()
    process.join()
    return made


def _send(job: Try, sender: Any) -> None:
    sender.send(run(job))


def measure(options: argparse.Namespace, train: Callable[[Try], dict[str, Any]] = apart) -> int:
    """Measure memory and largest batches, several at a time; write the record after each result."""
    names, end = matching(options.networks), time.monotonic() + options.seconds
    record: dict[str, Any] = {**environment(options.device), "memory": [], "fits": []}
    card, path = card_of(record["device"]), options.out / gpu.file_name(record).replace(".json", "-tried.json")
    options.out.mkdir(parents=True, exist_ok=True)
    memory = [Try(*job, device=options.device) for job in cases(names, options.batches, options.optimizers)]
    fits = [(name, cap) for name, cap in FITS.items() if name in names and options.device == "cuda"]
    with ThreadPoolExecutor(options.jobs) as pool:
        waiting = {pool.submit(tried, name, int(cap * GIB), card, train): ("fits", name) for name, cap in fits}
        waiting |= {pool.submit(lambda job: compared(train(job), card), job): ("memory", job.network) for job in memory}
        try:
            for done in as_completed(waiting, max(end - time.monotonic(), 0)):
                kind, name = waiting[done]
                record[kind].append(result(done, name))
                gpu.keep(record, path)
                print(line(record[kind][-1]), flush=True)
        except Late:
            pool.shutdown(cancel_futures=True)
    made = [*record["memory"], *record["fits"]]
    record["complete"] = len(made) == len(waiting)
    gpu.keep(record, path)
    wrong = [entry for entry in made if entry.get("wrong") or entry.get("problem")]
    print(f"{len(made)} of {len(waiting)} done, {len(wrong)} wrong or with a problem · {path}")
    return int(bool(wrong) or not record["complete"])


def result(done: Future[dict[str, Any]], network: str) -> dict[str, Any]:
    """Return a result, or the problem of a network that cannot be trained."""
    try:
        return done.result()
    except Exception as error:  # any error: the others must be recorded
        return {"network": network, "problem": gpu.problem(error)}


def cases(names: Iterable[str], sizes: Sequence[int], optimizers: Sequence[str]) -> Iterator[tuple[str, int, str]]:
    """Yield networks with batches and optimizers, all networks once before the next combination."""
    yield from ((name, batch, optimizer) for optimizer in optimizers for batch in sizes for name in names)


def environment(device: str) -> dict[str, Any]:
    """Return `gpu.environment` from a separate process: CUDA must not start before a fork."""
    context = multiprocessing.get_context("forkserver")
    with context.Pool(1) as pool:
        return pool.apply(gpu.environment, (device,))


def card_of(device: str) -> Card:
    """Return the card with a driver's name."""
    try:
        return find_card(device)
    except ArchcalcError:
        return find_card(OTHER_CARD)


def line(made: dict[str, Any]) -> str:
    """Return a line for a result."""
    said = made.get("problem", "")
    if "largest" in made:
        said = f"{made['guaranteed']} ≤ {made['largest']} ≤ {made['bound']}, likely {made['likely']}"
        said += f", under {made['cap'] / GIB:g} GiB"
    elif not said:
        more = max((peak - made["predicted"][name] for name, peak in made["phases"].items()), default=0)
        said = f"batch {made['batch']}, {made['optimizer']}: at most {more:,} bytes more than predicted"
    wrong = f" · wrong: {', '.join(map(str, made['wrong']))}" if made.get("wrong") else ""
    return f"{made['network']:<28} {said}{wrong}"


def predict(names: Sequence[str], gib: float) -> int:
    """Print what fits for each network, and the seconds of CPU; without the garbage collector, as the command runs."""
    gc.disable()
    space, start = Space(int(gib * GIB), int(gib * GIB)), time.process_time()
    print("| network | guaranteed | likely | at most | seconds |\n| --- | ---: | ---: | ---: | ---: |")
    for name in names:
        began = time.process_time()
        found = largest(batches(load(name), Recipe("momentum", device="cuda")), space)
        print(f"| {name} | {found.guaranteed} | {found.likely} | {found.bound} | {time.process_time() - began:.2f} |")
    print(f"{len(names)} networks with {gib:g} GiB: {time.process_time() - start:.1f} s of CPU")
    return 0


def main(arguments: Sequence[str], train: Callable[[Try], dict[str, Any]] = apart) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="+", default=[], metavar="NAME", help="names or patterns; default: all")
    parser.add_argument("--gib", type=float, default=16, help="memory for the prediction")
    parser.add_argument("--device", choices=["cuda", "cpu"], help="measure; cpu: run without counts")
    parser.add_argument("--batches", nargs="+", type=int, default=[8, 32])
    parser.add_argument("--optimizers", nargs="+", default=["momentum", "adamw"])
    parser.add_argument("--jobs", type=int, default=4, help="processes at a time")
    parser.add_argument("--seconds", type=float, default=3600)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "records", metavar="FOLDER")
    options = parser.parse_args(arguments)
    if not options.device:
        return predict(matching(options.networks), options.gib)
    multiprocessing.get_context("forkserver").set_forkserver_preload(["gpu", "archcalc.pytorch.training_memory"])
    if options.device == "cuda" and environment_lacks_cuda():
        print("no CUDA device is available; without --device the prediction runs", file=sys.stderr)
        return 2
    return measure(options, train)


def environment_lacks_cuda() -> bool:
    """Whether there is no CUDA device, asked in a separate process."""
    with multiprocessing.get_context("forkserver").Pool(1) as pool:
        return not pool.apply(torch.cuda.is_available)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
