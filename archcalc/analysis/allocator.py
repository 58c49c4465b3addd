"""PyTorch's allocator of CUDA memory, replayed without a GPU: what allocations and frees request, allocate and reserve.

The rules are those of `c10/cuda/CUDACachingAllocator.cpp` with its default settings, on one stream:

- A request takes a multiple of 512 bytes. A request of 0 bytes takes nothing.
- Requests up to 1 MiB are small. They and the others have separate pools of free pieces.
- A request takes the smallest free piece of its pool that is large enough; of equal ones the one at the lowest address.
  If there is none, the driver allocates a segment: 2 MiB for a small request, 20 MiB below 10 MiB, and otherwise the
  request's size, rounded up to a multiple of 2 MiB.
- What a piece has more than the request is split off as a free piece: 512 bytes or more of a small one, more than 1 MiB
  of another one. Otherwise the request holds the whole piece.
- A freed piece merges with its free neighbours in the segment. Segments stay reserved.
- Under a cap, a segment that would exceed it first releases all segments that are one free piece. If it still does not
  fit, the request fails.

PyTorch's source calls a piece a block, a word that has another meaning in archcalc.

**The address of a segment is the driver's choice, and a rule depends on it**: which of two equal pieces is taken. With
the addresses of a recorded run a replay equals the run. Without them we assume that each segment lies below all earlier
ones, which agrees best with our records.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Hashable, Iterable, Iterator
from dataclasses import dataclass
from itertools import count
from typing import NamedTuple, TypeAlias

MIB = 2**20
ROUNDING = 512  # bytes of the smallest piece
SMALL = MIB  # the largest small request; also the largest rest that is not split off a large piece
SMALL_SEGMENT = 2 * MIB
SHARED, SHARED_SEGMENT = 10 * MIB, 20 * MIB  # the segment for requests below 10 MiB
SEGMENT_ROUNDING = 2 * MIB
APART = 2**60  # bytes from segment to segment: more than any has

Event: TypeAlias = tuple[Hashable, int]  # a storage, and its bytes: positive if it is allocated, negative if freed
Pool: TypeAlias = "list[tuple[int, int, Piece]]"  # free pieces, sorted by size and address


class Counts(NamedTuple):
    """Bytes requested, allocated (the pieces in use) and reserved (the segments), and the number of segments."""

    requested: int = 0
    allocated: int = 0
    reserved: int = 0
    segments: int = 0


class Phase(NamedTuple):
    """The peak of each count in a phase, not necessarily at the same event, and the counts at its end."""

    peak: Counts
    end: Counts


@dataclass(eq=False, slots=True)
class Piece:
    """Part of a segment; `requested` is 0 while it is free. `before` and `after` are its neighbours in the segment."""

    address: int
    size: int
    pool: Pool
    before: Piece | None = None
    after: Piece | None = None
    requested: int = 0


class Allocator:
    """The allocator's state. `cap` limits the reserved bytes; `addresses` has one for each new segment."""

    def __init__(self, cap: int | None = None, addresses: Iterator[int] | None = None) -> None:
        self.cap = cap
        self.addresses = addresses or count(0, -APART)
        self.pools: tuple[Pool, Pool] = [], []  # of small requests, and of others
        self.live: dict[Hashable, Piece] = {}
        self.requested = self.allocated = self.reserved = self.segments = self.retries = 0

    @property
    def counts(self) -> Counts:
        """The counts of now."""
        return Counts(self.requested, self.allocated, self.reserved, self.segments)

    def allocate(self, storage: Hashable, requested: int) -> bool:
        """Allocate a storage; return False if it does not fit under the cap.

        Raises ValueError if it is allocated, or for no bytes: those take no piece.
        """
        if storage in self.live or requested <= 0:
            raise ValueError(f"storage {storage!r} is allocated twice, or with {requested} bytes")
        size = -(-requested // ROUNDING) * ROUNDING
        pool = self.pools[size > SMALL]
        at = bisect_left(pool, (size,))
        piece = pool.pop(at)[2] if at < len(pool) else self._segment(size, pool)
        if piece is None:
            return False
        rest = piece.size - size
        if rest >= ROUNDING if size <= SMALL else rest > SMALL:
            _split(piece, size)
        piece.requested = requested
        self.live[storage] = piece
        self.requested += requested
        self.allocated += piece.size
        return True

    def free(self, storage: Hashable) -> None:
        """Free a storage. Raises KeyError if it is not allocated."""
        piece = self.live.pop(storage)
        self.requested -= piece.requested
        self.allocated -= piece.size
        piece.requested = 0
        for neighbour in (piece.before, piece.after):
            if neighbour and not neighbour.requested:
                del piece.pool[bisect_left(piece.pool, (neighbour.size, neighbour.address))]
                _merge(piece, neighbour)
        insort(piece.pool, (piece.size, piece.address, piece))

    def _segment(self, size: int, pool: Pool) -> Piece | None:
        """Allocate a segment for `size` bytes; return it as one piece, or None if it does not fit under the cap."""
        own = -(-size // SEGMENT_ROUNDING) * SEGMENT_ROUNDING
        whole = SMALL_SEGMENT if size <= SMALL else SHARED_SEGMENT if size < SHARED else own
        if self.cap is not None and self.reserved + whole > self.cap:
            self._release()
            if self.reserved + whole > self.cap:
                return None
        self.reserved += whole
        self.segments += 1
        return Piece(next(self.addresses), whole, pool)

    def _release(self) -> None:
        """Release all segments that are one free piece."""
        self.retries += 1
        for pool in self.pools:
            released = [size for size, _, piece in pool if not piece.before and not piece.after]
            self.reserved -= sum(released)
            self.segments -= len(released)
            pool[:] = [entry for entry in pool if entry[2].before or entry[2].after]


def _split(piece: Piece, size: int) -> None:
    """Shorten a piece to `size` bytes; the rest becomes a free piece."""
    rest = Piece(piece.address + size, piece.size - size, piece.pool)
    piece.size = size
    _link(rest, piece.after)
    _link(piece, rest)
    insort(rest.pool, (rest.size, rest.address, rest))


def _merge(piece: Piece, neighbour: Piece) -> None:
    """Extend a piece by a neighbour, which ends."""
    piece.size += neighbour.size
    if neighbour is piece.after:
        _link(piece, neighbour.after)
    else:
        piece.address = neighbour.address
        _link(neighbour.before, piece)


def _link(before: Piece | None, after: Piece | None) -> None:
    """Make two pieces neighbours; None: the segment begins or ends."""
    if before:
        before.after = after
    if after:
        after.before = before


def replay(phases: Iterable[Iterable[Event]], addresses: Iterator[int] | None = None) -> list[Phase]:
    """Replay the events of each phase, without a cap.

    Raises ValueError if a storage is allocated twice, KeyError if one is freed that is not allocated.
    """
    allocator, made = Allocator(addresses=addresses), list[Phase]()
    for events in phases:
        peak = allocator.counts
        for storage, size in events:
            if size > 0:
                allocator.allocate(storage, size)
                peak = Counts(*map(max, peak, allocator.counts))
            elif size:
                allocator.free(storage)
        made.append(Phase(peak, allocator.counts))
    return made
