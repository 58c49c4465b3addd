"""The allocator replayed against every recorded event of real CUDA runs: `bench/records/*-trace.json.gz`."""

import gzip
import json
from collections import Counter
from itertools import count, pairwise
from pathlib import Path

import pytest

from archcalc.analysis import allocator
from archcalc.analysis.allocator import APART, Allocator, Counts, replay

RECORDS = sorted((Path(__file__).parent.parent / "bench" / "records").glob("*-trace.json.gz"))
CASES = [case for path in RECORDS for case in json.loads(gzip.decompress(path.read_bytes()))["cases"]]


def title(trace):
    case = trace["case"]
    return "-".join(str(case[key]) for key in ("network", "module", "batch", "optimizer", "precision", "cap"))


every_trace = pytest.mark.parametrize("trace", [pytest.param(trace, id=title(trace)) for trace in CASES])


def recorded_addresses(trace):
    """The address of each segment, far apart but in the same order."""
    return iter([recorded_place(trace, segment, 0) for segment in range(len(trace["segments"]))])


def recorded_place(trace, segment, offset):
    return trace["segments"][segment][0] * APART + offset


def replayed(trace, addresses):
    """Yield after each event its action, whether it went as recorded, its place in the record, and the allocator."""
    state = Allocator(trace["case"]["cap"] or None, addresses)
    for action, size, *place in zip(*(trace[key] for key in ("action", "bytes", "segment", "offset")), strict=True):
        agrees = True
        if action == "a":
            agrees = state.allocate(tuple(place), size)
        elif action == "F":
            state.free(tuple(place))
        elif action == "o":  # out of memory: the allocation failed, and the run went on or ended
            agrees = not state.allocate("fails", size)
        yield action, agrees, tuple(place), state


def first_difference(trace):
    """The first event after which success, place, reserved bytes or the number of segments differ from the record."""
    reserved = segments = 0
    for number, (action, agrees, place, state) in enumerate(replayed(trace, recorded_addresses(trace))):
        if action in "sx":
            sign = 1 if action == "s" else -1
            reserved, segments = reserved + sign * trace["bytes"][number], segments + sign
            continue
        if action == "f":  # a free that is requested; `F` completes it
            continue
        moved = agrees and action == "a" and state.live[place].address != recorded_place(trace, *place)
        if not agrees or moved or (state.reserved, state.segments) != (reserved, segments):
            return number, action
    return None


@every_trace
def test_every_event_is_as_recorded(trace):
    assert first_difference(trace) is None


@every_trace
def test_the_segments_at_the_end_are_as_recorded(trace):
    *_, (*_, state) = replayed(trace, recorded_addresses(trace))
    pieces = [*state.live.values(), *(piece for pool in state.pools for _, _, piece in pool)]
    found = Counter((piece.address // APART, piece.size, piece.requested) for piece in pieces)
    expected = Counter(
        (trace["segments"][segment["segment"]][0], size, requested if kind == "active_allocated" else 0)
        for segment in trace["layout"]
        for size, requested, kind in segment["blocks"]
    )
    assert found == expected
    assert state.retries == trace["case"]["retries"]


def largest_piece(pool, key, real=allocator.bisect_left):
    """`bisect_left` that finds the largest piece for a request, if one fits."""
    return real(pool, key) if len(key) == 2 or real(pool, key) == len(pool) else len(pool) - 1


@pytest.mark.parametrize(
    ("name", "value", "noticed"),
    [
        ("ROUNDING", 256, 33),
        ("SMALL", 2**20 - 1, 32),
        ("SEGMENT_ROUNDING", 2**20, 31),
        ("_split", lambda piece, size: None, 33),
        ("bisect_left", largest_piece, 33),
    ],
)
def test_the_records_notice_a_mutant(name, value, noticed, monkeypatch):
    monkeypatch.setattr(allocator, name, value)
    assert sum(first_difference(trace) is not None for trace in CASES) == noticed


def phases(trace, addresses):
    """The peak and the end of each count in each phase, as the record has them."""
    names, found, peak = {end: name for name, end in trace["marks"].items()}, {}, Counts()
    for number, (*_, state) in enumerate(replayed(trace, addresses), 1):
        peak = Counts(*map(max, peak, state.counts))
        if number in names:
            found[names[number]] = [value for pair in zip(peak, state.counts, strict=True) for value in pair]
            peak = state.counts
    return found


@every_trace
def test_every_phase_is_as_recorded(trace):
    assert phases(trace, recorded_addresses(trace)) == trace["case"]["phases"]


RESERVED = 4  # the column of its peak


def test_addresses_that_fall_agree_best():
    """Without the recorded addresses: the peaks of reserved bytes that are as recorded, in runs without a cap."""
    agreeing = Counter()
    for trace in (trace for trace in CASES if not trace["case"]["cap"]):
        recorded = trace["case"]["phases"]
        falling, rising = (phases(trace, count(0, step)) for step in (-APART, APART))
        for name in recorded:
            peak, fall, rise = (made[name][RESERVED] for made in (recorded, falling, rising))
            found = {"all": True, "falling": fall == peak, "rising": rise == peak}
            agreeing.update([*filter(found.get, found), *["between"] * (min(fall, rise) <= peak <= max(fall, rise))])
    assert agreeing == {"all": 217, "falling": 211, "rising": 152, "between": 217}


@every_trace
def test_replay_gives_the_phases(trace):
    """Of a run in which no request failed: the same counts as event by event."""
    columns = zip(*(trace[key] for key in ("action", "bytes", "segment", "offset")), strict=True)
    events = [(action, ((segment, at), -size if action == "F" else size)) for action, size, segment, at in columns]
    starts = [0, *trace["marks"].values()]
    parts = [[event for action, event in events[a:b] if action in "aF"] for a, b in pairwise(starts)]
    made = replay(parts, recorded_addresses(trace)) if not trace["case"]["cap"] else []
    for name, phase in zip(trace["marks"], made, strict=False):
        assert [value for pair in zip(*phase, strict=True) for value in pair] == trace["case"]["phases"][name], name
