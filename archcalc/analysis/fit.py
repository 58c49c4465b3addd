"""The largest batch, or the largest image, whose training or inference fits into memory.

On a GPU no single number is right: what is reserved depends on addresses that the driver chooses, and on workspaces
that cuDNN chooses. So there are three:

- `bound`: one more cannot fit. What its tensors request, rounded up to the allocator's pieces, exceeds the memory.
- `likely`: the largest that the replayed allocator fits, if each convolution takes a workspace as large as its tensors,
  the most frequent size, or none where it does not get one: cuDNN then chooses another algorithm.
- `guaranteed`: the largest that the replayed allocator fits, if each convolution must get a workspace larger than any
  in our records. A smaller batch can leave worse gaps in memory, so smaller ones are tried, too, and none may fail.

Both replays run an inference and STEPS steps of a few batches, with what cuBLAS keeps; the guaranteed one is confirmed
with LONG steps. They assume that addresses only fall, as in most of our records; where they do not, a batch up to the
guaranteed one may fail, too. On the CPU the sum of the tensors decides.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Hashable, Iterator, Sequence
from functools import cache
from itertools import accumulate
from typing import NamedTuple, TypeAlias

from archcalc.analysis.allocator import ROUNDING, Allocator
from archcalc.analysis.cards import Card
from archcalc.analysis.checkpoints import blocks
from archcalc.analysis.memory_trace import Trace
from archcalc.analysis.recipe import Recipe, is_frozen
from archcalc.analysis.simulation import simulate
from archcalc.analysis.workspaces import CONTEXT, CUBLASLT, WORKING, Libraries, cudnn_most, libraries_of
from archcalc.graph.graph import Graph

LIGHTER = {"sgd": (), "momentum": ("sgd",), "nesterov": ("sgd",)}  # optimizers with less state than these
CUDNN = "cuDNN"  # the storage of its workspace
STEPS, LONG = 3, 12  # of training to replay: as in our records, and to confirm
FIRST = 256  # the first amount to try


class Space(NamedTuple):
    """Bytes for tensors, at least and at most, and whether PyTorch's allocator of CUDA memory gives them out."""

    least: int
    most: int
    cuda: bool = True


class Case(NamedTuple):
    """A program with a batch. Its requests are storages with bytes and bytes per image, negative where they are freed.

    They include the libraries', with a workspace as large as a convolution's tensors.
    """

    trace: Trace
    requests: Sequence[tuple[Hashable, int, int]]
    batch: int


Cases: TypeAlias = Callable[[int, int], Case]  # by amount, from 1, and number of steps


class Fit(NamedTuple):
    """The largest amounts (see above), 0 if none fits, and by how many bytes another amount exceeds the memory.

    That is at least, if it does not fit; if this is unknown at most: with so much more the allocator needs no cap.
    """

    guaranteed: int
    likely: int
    bound: int
    lacking: int = 0

    def fits(self, amount: int) -> bool | None:
        """Whether an amount fits: yes up to the guaranteed one, no above the bound, unknown between them."""
        return amount <= self.guaranteed or (None if amount <= self.bound else False)

    def helps(self, asked: Fit) -> bool:
        """Whether by any of the numbers more fits than as asked."""
        mine, theirs = ((fit.guaranteed, fit.likely, fit.bound, -fit.lacking) for fit in (self, asked))
        return any(own > other for own, other in zip(mine, theirs, strict=True))


def space_of(card: Card) -> Space:
    """Return what a card has for tensors: its memory without the context."""
    low, high = CONTEXT
    return Space(card.memory - high, card.memory - low)


def batches(graph: Graph, recipe: Recipe, card: Card | None = None) -> Cases:
    """Return the cases of a network by the number of images."""
    graph = graph if recipe.optimizer else graph.without_sides()
    libraries = libraries_of(graph, recipe.products, card)

    @cache
    def program(single: bool, steps: int) -> tuple[Trace, Sequence[tuple[Hashable, int, int]]]:
        if recipe.optimizer and steps > STEPS:
            trace = program(single, STEPS)[0].longer(steps - STEPS)
        else:
            trace = simulate(graph, recipe.brief._replace(single=single, steps=steps))
        return trace, [*requests(trace, libraries)]

    return lambda batch, steps: Case(*program(batch == 1, steps), batch)


def requests(trace: Trace, libraries: Libraries) -> Iterator[tuple[Hashable, int, int]]:
    """Yield the requests of a program and its libraries: cuBLAS has a workspace per thread, and backward its own."""
    cublas = libraries.cublas
    kept = {False: {"cuBLAS": cublas, "cuBLASLt": CUBLASLT}, True: {"cuBLAS of backward": cublas}}
    for storage, size, phase, _, node, _ in trace.events(1):
        (fixed, each), sign = trace.sizes[storage], 1 if size > 0 else -1
        yield storage, sign * fixed, sign * each
        if node is not None and size > 0 and phase in WORKING:
            if node in libraries.convolutions:
                yield CUDNN, *libraries.convolutions[node]
                yield CUDNN, -1, 0
            elif node in libraries.products:
                yield from ((name, count, 0) for name, count in kept.pop(phase == "backward", {}).items())


def largest(cases: Cases, space: Space, amount: int = 1) -> Fit:
    """Return the largest amounts that fit, and what is lacking for `amount`."""

    def requested(amount: int) -> int:
        return needed(cases(amount, STEPS), space.cuda)

    @cache
    def lasts(amount: int, steps: int = STEPS, worst: bool = True) -> bool:
        return replayed(cases(amount, steps), space.least, worst) is not None

    beyond = FIRST
    while requested(beyond) <= space.most:
        beyond *= 2
    likely = guaranteed = bound = bisect_right(range(1, beyond), space.most, key=requested)
    if space.cuda:
        likely = guaranteed = edge(lambda amount: lasts(amount, worst=False), bound)
    while space.cuda and (guaranteed := edge(lasts, guaranteed)):
        if failing := [smaller for smaller in tried_below(guaranteed) if not lasts(smaller)]:
            guaranteed = min(failing) - 1
        elif lasts(guaranteed, LONG):
            break
        else:
            guaranteed -= 1
    lacking = 0
    if amount > bound:
        lacking = requested(amount) - space.most
    elif amount > guaranteed and (whole := replayed(cases(amount, LONG), None, worst=True)):
        lacking = max(whole.reserved - space.least, 0)
    return Fit(guaranteed, likely, bound, lacking)


def needed(case: Case, cuda: bool = True) -> int:
    """Return the peak of all tensors, on CUDA each rounded up as the allocator does: at least so much is allocated."""
    unit = ROUNDING if cuda else 1
    sizes = [-(-(fixed + case.batch * each) // unit) * unit for fixed, each in case.trace.sizes]
    return max(accumulate(sign * sizes[storage] for storage, sign, _ in case.trace.changes))


def replayed(case: Case, cap: int | None, worst: bool = False) -> Allocator | None:
    """Return the allocator after a program, with the usual or the worst workspaces; None if the cap is too small."""
    allocator = Allocator(cap)
    for storage, fixed, each in case.requests:
        size = fixed + case.batch * each
        if size > 0:
            if worst and storage == CUDNN:
                size = cudnn_most(size)
            if not allocator.allocate(storage, size) and (worst or storage != CUDNN):
                return None
        elif storage in allocator.live:
            allocator.free(storage)
    return allocator


def leaner(graph: Graph, recipe: Recipe, card: Card | None = None) -> dict[str, Recipe]:
    """Return recipes that need less memory, by what changes: an option of the command line with its value."""
    changed = dict[str, Recipe]()
    if recipe.optimizer:
        lighter = LIGHTER.get(recipe.optimizer, ("momentum", "sgd"))
        changed |= {f"--optimizer {name}": recipe._replace(optimizer=name) for name in lighter}
        if (found := blocks(graph)) and not recipe.checkpoint:
            changed["--checkpoint blocks"] = recipe._replace(checkpoint=tuple(found))
        if part := _first_part(graph, recipe):
            changed[f"--freeze {part}"] = recipe._replace(frozen=(*recipe.frozen, part))
    if recipe.products == "float32":
        half = "bfloat16" if card is None or card.tf32 else "float16"  # bfloat16 and TF32 came with the same cards
        if recipe.optimizer and half == "bfloat16":
            changed["--amp"] = recipe._replace(amp=True)
        changed[f"--dtype {half}"] = recipe._replace(dtype=half)
    return changed


def _first_part(graph: Graph, recipe: Recipe) -> str:
    """Return the first part of a network that is trained, "" if there is no other."""
    trained = [node.name for node in graph.nodes if node.weights() and not is_frozen(node.name, recipe.frozen)]
    parts = list(dict.fromkeys(name.partition(".")[0] for name in trained))
    return parts[0] if len(parts) > 1 else ""


def edge(fits: Callable[[int], bool], most: int) -> int:
    """Return an amount up to `most` that fits while one more does not, 0 if none was found."""
    low, high, step = most, most + 1, 1
    while low and not fits(low):
        low, high, step = max(low - step, 0), low, 2 * step
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low


def tried_below(amount: int) -> list[int]:
    """Return the smaller amounts to try, ever farther away: 1, 2, 4, 8 … less."""
    return [amount - 2**k for k in range(amount.bit_length()) if amount > 2**k]
