"""Measure one training with the CUDA allocator: counts for each phase and, in a trace, every event.

`bench/recording.py` runs each case in a separate process; this module is the work of that process.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from itertools import accumulate, count
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from torch.profiler import ProfilerActivity, profile

from archcalc import load
from archcalc.pytorch import build
from archcalc.pytorch.training_memory import OPTIMIZERS

STEPS = 3
COUNTS = {  # with the allocator's names; a record has the peak of each in a phase, and its value at the end
    "requested": "requested_bytes",
    "allocated": "allocated_bytes",
    "reserved": "reserved_bytes",
    "segments": "segment",
}
COLUMNS = [f"{name} {kind}" for name in COUNTS for kind in ("peak", "end")]
OPTIONS = {  # optional changes of a case
    "loop": "the optimizer's plain loop, foreach=False",
    "fused": "the optimizer's fused kernel, fused=True",
    "accumulate": "forward and backward twice before the optimizer steps",
    "smoothing": "label smoothing of 0.1",
    "benchmark": "cudnn.benchmark",
    "deterministic": "cudnn.deterministic",
    "no-tf32": "without TF32 in cuDNN",
    "weights": "only move the weights to the device",
}
SIDES = ("googlenet", "inception_v3")  # torchvision's networks with side outputs
SIZE, SIZES = (224, 224), {"inception_v3": (299, 299)}
ACTIONS = {  # a letter for each event of the allocator
    "alloc": "a",
    "free_requested": "f",
    "free_completed": "F",
    "segment_alloc": "s",
    "segment_free": "x",
    "oom": "o",
}


class Case(NamedTuple):
    """What to train, and how."""

    network: str
    module: str = "build"  # archcalc's own, or the hand-written one of "torchvision"
    batch: int = 32
    optimizer: str = "momentum"  # "none": inference only
    weight_decay: float = 0
    precision: str = "float32"  # of the weights; or "autocast", to bfloat16
    options: tuple[str, ...] = ()
    cap: int = 0  # bytes that the allocator may take in total

    @property
    def title(self) -> str:
        """All fields in one line."""
        parts = [self.network, self.module if self.module != "build" else "", f"b{self.batch}", self.optimizer]
        parts += [f"wd{self.weight_decay:g}" if self.weight_decay else "", self.precision, *self.options]
        return " ".join(filter(None, [*parts, f"cap{self.cap / 2**30:g}GiB" if self.cap else ""]))


class Loop:
    """A network and the state of its training loop, phase by phase.

    Output and loss live until the next step replaces them; gradients are freed after the optimizer step.
    """

    def __init__(self, case: Case, device: str) -> None:
        torch.manual_seed(0)
        torch.backends.cudnn.benchmark = "benchmark" in case.options
        torch.backends.cudnn.deterministic = "deterministic" in case.options
        torch.backends.cudnn.allow_tf32 = "no-tf32" not in case.options
        self.case, self.device = case, device
        self.dtype = getattr(torch, "float32" if case.precision == "autocast" else case.precision)
        self.output: Any = None
        self.loss: Any = None

    def weights(self) -> None:
        """Build the network on the device."""
        if self.case.module == "torchvision":
            import torchvision  # only the hand-written networks need it

            made = {"aux_logits": True, "init_weights": False} if self.case.network in SIDES else {}
            network = getattr(torchvision.models, self.case.network)(weights=None, **made)
            self.network, self.input = network.to(self.device, self.dtype), (3, *SIZES.get(self.case.network, SIZE))
        else:
            graph = load(self.case.network)
            self.network, self.input = build(graph, self.device, self.dtype), graph.input

    def state(self) -> None:
        """Create optimizer, image and target."""
        if make := OPTIMIZERS.get(self.case.optimizer):
            loop = {"foreach": False} if "loop" in self.case.options else {}
            fused = {"fused": True} if "fused" in self.case.options else {}
            weights = self.network.parameters()
            self.optimizer = make(weights, weight_decay=self.case.weight_decay, **loop, **fused)
        self.image = torch.rand(self.case.batch, *self.input, dtype=self.dtype, device=self.device)
        self.target = torch.zeros(self.case.batch, dtype=torch.long, device=self.device)

    def infer(self) -> None:
        """Run a forward pass in evaluation and drop its result."""
        self.network.eval()
        with torch.no_grad(), self._casting():
            self.network(self.image)
        self.network.train()

    def forward(self) -> None:
        """Compute output and loss, which replace those of the last step; add the losses of side outputs."""
        with self._casting():
            self.output = self.network(self.image)
            result, *sides = _tensors(self.output)
            self.loss = self._loss(result)
            for side in sides:
                self.loss = self.loss + self._loss(side)

    def backward(self) -> None:
        """Compute the gradients."""
        self.loss.backward()

    def optimize(self) -> None:
        """Update the weights and free the gradients."""
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)

    def phases(self) -> Iterator[tuple[str, Callable[[], None]]]:
        """Yield all phases in order."""
        yield "weights", self.weights
        if "weights" in self.case.options:
            return
        yield "state", self.state
        yield "inference", self.infer
        for step in range(1, STEPS + 1) if self.case.optimizer != "none" else ():
            for part in ("a", "b") if "accumulate" in self.case.options else ("",):
                yield f"forward{step}{part}", self.forward
                yield f"backward{step}{part}", self.backward
            yield f"optimizer{step}", self.optimize

    def _loss(self, output: Tensor) -> Tensor:
        return cross_entropy(output, self.target, label_smoothing=0.1 if "smoothing" in self.case.options else 0.0)

    def _casting(self) -> AbstractContextManager[Any]:
        return torch.autocast(self.device, torch.bfloat16) if self.case.precision == "autocast" else nullcontext()


def _tensors(output: Any) -> list[Tensor]:
    """Return result and side outputs of archcalc's networks (`Training`) and of torchvision's (named tuples)."""
    if isinstance(output, Tensor):
        return [output]
    first, *rest = output
    sides = rest[0].values() if rest and isinstance(rest[0], dict) else rest
    return [first, *(side for side in sides if side is not None)]


def counts() -> list[int]:
    """Return for each count of the allocator its peak since the last reset, and its current value (COLUMNS)."""
    stats = torch.cuda.memory_stats()
    return [stats[f"{key}.all.{kind}"] for key in COUNTS.values() for kind in ("peak", "current")]


def protocol(case: Case, device: str, after: Callable[[str], None] = lambda phase: None) -> dict[str, Any]:
    """Run a case phase by phase; return counts and the problem that stopped it. Call `after` after each phase."""
    made: dict[str, Any] = {**case._asdict(), "problem": "", "phases": {}}
    cuda, start, phase = device == "cuda", time.perf_counter(), ""
    try:
        if cuda:
            torch.cuda.init()
            made["cap"] = cap(case.cap)
        loop = Loop(case, device)
        for phase, work in loop.phases():
            if cuda:
                torch.cuda.reset_peak_memory_stats()
            work()
            if cuda:
                torch.cuda.synchronize()
                made["phases"][phase] = counts()
            after(phase)
    except Exception as error:  # any error: the next case must still run
        line = f"{phase}: {type(error).__name__}: {error}".partition("\n")[0]
        made["problem"] = line.partition(" GPU 0 has")[0]  # omit the memory of other processes
    if cuda:
        stats = torch.cuda.memory_stats()
        made["retries"], made["failures"] = stats.get("num_alloc_retries", 0), stats.get("num_ooms", 0)
    made["seconds"] = round(time.perf_counter() - start, 2)
    return made


def cap(most: int) -> int:
    """Limit the allocator to this number of bytes; return the limit after its rounding, 0 without a cap."""
    if not most:
        return 0
    total = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.set_per_process_memory_fraction(most / total, 0)
    return int(most / total * total)  # like the allocator computes it


def trace(case: Case, device: str) -> dict[str, Any]:
    """Run a case; return it with each event of the allocator and, without a cap, the operators that allocate."""
    marks: dict[str, int] = {}
    if device == "cuda":
        torch.cuda.init()
        torch.cuda.memory._record_memory_history("all", context=None, stacks="python", max_entries=10_000_000)

    def mark(phase: str) -> None:
        if device == "cuda":
            marks[phase] = len(torch.cuda.memory._snapshot()["device_traces"][0])

    with nullcontext() if case.cap else profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiled:
        made = protocol(case, device, mark)
    snapshot = torch.cuda.memory._snapshot() if device == "cuda" else {"device_traces": [[]], "segments": []}
    return {"case": made, **events(snapshot, marks, operators(profiled, device) if profiled else [])}


def events(snapshot: dict[str, Any], marks: dict[str, int], allocating: list[tuple[str, str]]) -> dict[str, Any]:
    """Return the allocator's events in columns: action, bytes, place, and for an allocation its operator.

    A place is the number of a segment and an offset in it; -1 if there is none. `segments` lists address (relative to
    the lowest one) and bytes of each number. An operator is an index of `operators`, a list of pairs of the outermost
    and the innermost operator; -1 if unknown. `marks` is the number of events at the end of each phase. `layout` is the
    content of the segments at the end: bytes, requested bytes and state of each block.
    """
    happened = [event for event in snapshot["device_traces"][0] if event["action"] != "snapshot"]
    skipped = list(accumulate(event["action"] == "snapshot" for event in snapshot["device_traces"][0]))
    marks = {phase: end - skipped[end - 1] for phase, end in marks.items()}
    made = [event for event in happened if event["action"] == "segment_alloc"]
    lowest = min((event["addr"] for event in made), default=0)
    numbers, asked, named = count(), iter(allocating), dict[tuple[str, str], int]()
    live = dict[int, tuple[int, int]]()  # segments by address: number and bytes
    rows = []
    for event in happened:
        action, address, size = event["action"], event.get("addr", -1), event["size"]
        if action == "segment_alloc":
            live[address] = next(numbers), size
        number, offset = _place(live, address)
        if action == "segment_free":
            del live[address]
        operator = next(asked, None) if action == "alloc" else None
        rows.append((ACTIONS[action], size, number, offset, named.setdefault(operator, len(named)) if operator else -1))
    actions, *columns = zip(*rows, strict=True) if rows else [()] * 5
    return {
        "marks": marks,
        "segments": [[event["addr"] - lowest, event["size"]] for event in made],
        "operators": list(named),
        "action": "".join(actions),
        **dict(zip(("bytes", "segment", "offset", "operator"), columns, strict=True)),
        "layout": [
            {
                "segment": _place(live, segment["address"])[0],
                "blocks": [[block["size"], block["requested_size"], block["state"]] for block in segment["blocks"]],
            }
            for segment in snapshot["segments"]
        ],
    }


def _place(segments: dict[int, tuple[int, int]], address: int) -> tuple[int, int]:
    """Return the number of an address's segment, and the offset in it."""
    inside = ((number, address - start) for start, (number, size) in segments.items() if 0 <= address - start < size)
    return next(inside, (-1, -1))


def operators(profiled: profile, device: str) -> list[tuple[str, str]]:
    """Return for each allocation, in order, the outermost operator and the innermost one."""
    found: list[tuple[int, str, str]] = []
    stack = [(event, "", "") for event in profiled.profiler.kineto_results.experimental_event_tree()]
    while stack:
        event, outer, inner = stack.pop()
        if event.tag.name != "Allocation":
            stack += [(child, outer or event.name, event.name) for child in event.children]
        elif event.typed[1].device.type == device and event.typed[1].alloc_size > 0:
            found.append((event.start_time_ns, outer, inner))
    return [(outer, inner) for _, outer, inner in sorted(found, key=lambda entry: entry[0])]
