"""Every allocation and free of a simulated program, and what can be read from them.

Sizes are pairs: bytes that do not depend on the batch, and bytes per image. So one trace holds for every batch.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from copy import copy
from itertools import accumulate
from typing import NamedTuple, TypeAlias

Size: TypeAlias = tuple[int, int]  # bytes, and bytes per image
NO_NODE = -1
KINDS = {  # of storages, in the order of a budget
    "parameter": "parameters",
    "buffer": "buffers",
    "input": "images and targets",
    "optimizer state": "optimizer state",
    "gradient": "gradients of parameters",
    "kept": "kept for backward",
    "activation": "values not kept",
    "activation gradient": "gradients of values",
    "temporary": "temporaries",
}


class Event(NamedTuple):
    """An allocation, or with negative bytes a free."""

    storage: int
    bytes: int
    phase: str
    step: int  # 0: before training
    node: int | None  # None: no layer's
    kind: str  # one of KINDS


class Phase(NamedTuple):
    """A part of a step, with the position of its first event."""

    name: str
    step: int
    start: int


class Peak(NamedTuple):
    """The largest and the last sum of a phase, and all its allocations, in bytes; and which event reaches the peak."""

    phase: str
    step: int
    peak: int
    end: int
    allocated: int
    at: int


class Trace:
    """All allocations and frees, by storage. `make`, `share` and `drop` count references like PyTorch."""

    def __init__(self) -> None:
        self.sizes: list[Size] = []
        self.kinds: list[str] = []
        self.refs: list[int] = []
        self.changes: list[tuple[int, int, int]] = []  # storage, 1 or -1, node
        self.phases: list[Phase] = []
        self.node = NO_NODE

    def begin(self, phase: str, step: int = 0) -> None:
        """Begin a phase."""
        self.node = NO_NODE
        self.phases.append(Phase(phase, step, len(self.changes)))

    def make(self, size: Size, kind: str) -> int:
        """Allocate memory for the current node, with one reference to it; return its number."""
        storage = len(self.sizes)
        self.sizes.append(size)
        self.kinds.append(kind)
        self.refs.append(1)
        self.changes.append((storage, 1, self.node))
        return storage

    def share(self, storage: int) -> int:
        """Add a reference to memory; return its number."""
        self.refs[storage] += 1
        return storage

    def drop(self, *storages: int) -> None:
        """Remove a reference from each; free what has none left."""
        for storage in storages:
            self.refs[storage] -= 1
            if not self.refs[storage]:
                self.changes.append((storage, -1, self.node))

    def longer(self, steps: int) -> Trace:
        """Return a trace with more steps like the last one. The one before must be like it, too."""
        made, step = copy(self), self.phases[-1].step
        phases = [phase for phase in self.phases if phase.step == step]
        before = next(phase.start for phase in self.phases if phase.step == step - 1)
        changes, events = self.changes[phases[0].start :], len(self.changes) - phases[0].start
        earliest, first = (sum(sign > 0 for _, sign, _ in self.changes[:at]) for at in (before, phases[0].start))
        more = len(self.sizes) - first  # storages that the last step makes; what is older than two steps stays
        for i in range(1, steps + 1):
            made.changes = made.changes + [(s + i * more * (s >= earliest), sign, node) for s, sign, node in changes]
            made.phases = made.phases + [Phase(name, step + i, start + i * events) for name, _, start in phases]
        made.sizes, made.kinds = self.sizes + steps * self.sizes[first:], self.kinds + steps * self.kinds[first:]
        return made

    def events(self, batch: int) -> Iterator[Event]:
        """Yield all events except those of empty tensors."""
        deltas = self._deltas(batch)
        for (name, step, start), end in self._parts():
            for i in range(start, end):
                storage, _, node = self.changes[i]
                if deltas[i]:
                    yield Event(storage, deltas[i], name, step, None if node < 0 else node, self.kinds[storage])

    def requests(self, batch: int) -> list[list[tuple[int, int]]]:
        """Return storages with their bytes, negative where they are freed: a list per phase, for an allocator."""
        changes = [(change[0], delta) for change, delta in zip(self.changes, self._deltas(batch), strict=True)]
        return [changes[phase.start : end] for phase, end in self._parts()]

    def curve(self, batch: int) -> list[int]:
        """Return the bytes that are allocated after each event, empty tensors included."""
        return [*accumulate(self._deltas(batch))]

    def peaks(self, batch: int) -> list[Peak]:
        """Return the peak and the end of each phase. A peak is at least what was allocated before the phase."""
        deltas, peaks = self._deltas(batch), list[Peak]()
        curve = [*accumulate(deltas)]
        for (name, step, start), end in self._parts():
            at = max(range(max(start - 1, 0), end), key=curve.__getitem__)
            allocated = sum(change for change in deltas[start:end] if change > 0)
            peaks.append(Peak(name, step, curve[at], curve[end - 1], allocated, at))
        return peaks

    def budget(self, batch: int, at: int) -> dict[tuple[str, int | None], int]:
        """Return what is allocated after an event: bytes by kind and node (None: no layer's)."""
        alive = dict[int, int]()
        for storage, sign, node in self.changes[: at + 1]:
            if sign > 0:
                alive[storage] = node
            else:
                del alive[storage]
        held = Counter[tuple[str, int | None]]()
        for storage, node in alive.items():
            fixed, each = self.sizes[storage]
            held[self.kinds[storage], None if node < 0 else node] += fixed + batch * each
        return held

    def _deltas(self, batch: int) -> list[int]:
        sizes = [fixed + batch * each for fixed, each in self.sizes]
        return [sign * sizes[storage] for storage, sign, _ in self.changes]

    def _parts(self) -> Iterator[tuple[Phase, int]]:
        """Yield each phase with the position after its last event."""
        ends = [*[phase.start for phase in self.phases[1:]], len(self.changes)]
        return zip(self.phases, ends, strict=True)
