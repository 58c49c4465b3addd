"""The largest batch, or the largest image, whose training or inference fits into memory.

On a GPU no single number is right: what is reserved depends on addresses that the driver chooses, and on workspaces
that cuDNN chooses. So there are three:

- `bound`: one more cannot fit. What its tensors request, rounded up to the allocator's pieces, exceeds the memory.
- `likely`: the largest that the replayed allocator fits, if each convolution takes a workspace as large as its tensors,
  the most frequent size, or none where it does not get one: cuDNN then chooses another algorithm.
- `guaranteed`: the largest that the replayed allocator fits, if each convolution must get a workspace larger than any
  in our records. A smaller batch can leave worse gaps in memory, so smaller ones are tried, too, and none may fail.

Both replays run an inference and STEPS steps, with what cuBLAS keeps; the guaranteed one is confirmed with LONG steps.
On the CPU the sum of the tensors decides.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from functools import cache
from itertools import accumulate
from math import prod
from typing import NamedTuple, TypeAlias

from archcalc.analysis.allocator import ROUNDING, Allocator, Event
from archcalc.analysis.cards import Card
from archcalc.analysis.checkpoints import blocks
from archcalc.analysis.cost import DTYPES
from archcalc.analysis.memory_trace import Size, Trace
from archcalc.analysis.recipe import Recipe, is_frozen
from archcalc.analysis.simulation import simulate
from archcalc.analysis.workspaces import CONTEXT, CUBLAS, CUBLAS_ELSEWHERE, CUBLASLT, cudnn_most
from archcalc.graph.graph import Graph

LIGHTER = {  # optimizers with less state
    **dict.fromkeys(("adam", "adamw", "rmsprop"), ("momentum", "sgd")),
    **dict.fromkeys(("momentum", "nesterov"), ("sgd",)),
}
CUDNN = "cuDNN"  # the storage of its workspace
WORKING = "inference", "forward", "backward"  # phases in which convolutions run
STEPS, LONG = 3, 12  # of training to replay: as in our records, and to confirm


class Space(NamedTuple):
    """Bytes for tensors, at least and at most, and whether PyTorch's allocator of CUDA memory gives them out."""

    least: int
    most: int
    cuda: bool = True

    @property
    def unit(self) -> int:
        """Each tensor takes a multiple of so many bytes."""
        return ROUNDING if self.cuda else 1


class Libraries(NamedTuple):
    """What libraries allocate: a workspace of cuBLAS for good, and sizes of convolutions' tensors, for cuDNN."""

    cublas: int
    products: set[int]  # nodes that use cuBLAS
    convolutions: Mapping[int, Size]


class Case(NamedTuple):
    """A program with a batch. Its requests are storages with bytes and bytes per image, negative where they are freed.

    They include the libraries', with a workspace as large as a convolution's tensors.
    """

    trace: Trace
    requests: Sequence[tuple[Hashable, int, int]]
    batch: int

    def events(self, worst: bool) -> Iterator[Event]:
        """Yield what an allocator gets; in the worst case with the largest workspaces of cuDNN."""
        for storage, fixed, each in self.requests:
            size = fixed + self.batch * each
            yield storage, cudnn_most(size) if worst and storage == CUDNN and size > 0 else size


Cases: TypeAlias = Callable[[int, int], Case]  # by amount, from 1, and number of steps


class Fit(NamedTuple):
    """The largest amounts (see above), 0 if none fits; then also by how many bytes the smallest exceeds the memory."""

    guaranteed: int
    likely: int
    bound: int
    lacking: int = 0


def space_of(card: Card) -> Space:
    """Return what a card has for tensors: its memory without the context."""
    low, high = CONTEXT
    return Space(card.memory - high, card.memory - low)


def batches(graph: Graph, recipe: Recipe, card: Card | None = None) -> Cases:
    """Return the cases of a network by the number of images."""
    libraries = libraries_of(graph, recipe.products, card)

    @cache
    def program(single: bool, steps: int) -> tuple[Trace, Sequence[tuple[Hashable, int, int]]]:
        trace = simulate(graph, recipe._replace(single=single, steps=steps))
        return trace, [*requests(trace, libraries)]

    return lambda batch, steps: Case(*program(batch == 1, steps), batch)


def libraries_of(graph: Graph, dtype: str, card: Card | None) -> Libraries:
    """Return what libraries allocate at most; without a card, on any."""
    own, one = DTYPES[dtype], max(CUBLAS.values())
    if card:
        one = CUBLAS.get(card.architecture, CUBLAS_ELSEWHERE)
    sizes = {
        i: (own * sum(map(prod, node.op.weights(node.x).values())), own * (prod(node.x) + prod(node.output)))
        for i, node in enumerate(graph.nodes)
        if node.op.name.startswith("conv")
    }
    return Libraries(one, {i for i, node in enumerate(graph.nodes) if node.op.name == "linear"}, sizes)


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


def largest_batch(cases: Cases, space: Space) -> Fit:
    """Return the largest batches that fit."""
    return largest(cases, space, max(1, cases(2, STEPS).trace.largest_batch(space.most)))


def largest(cases: Cases, space: Space, most: int) -> Fit:
    """Return the largest amounts that fit, up to `most`."""

    def requested(amount: int) -> int:
        return needed(cases(amount, STEPS), space.unit)

    def lasts(amount: int, steps: int = STEPS) -> bool:
        return runs(cases(amount, steps), space.least, worst=True)

    bound = edge(lambda amount: requested(amount) <= space.most, most)
    if not bound:
        return Fit(0, 0, 0, requested(1) - space.most)
    if not space.cuda:
        return Fit(bound, bound, bound)
    likely = guaranteed = edge(lambda amount: runs(cases(amount, STEPS), space.least), bound)
    while (guaranteed := _safe(lasts, guaranteed)) and not lasts(guaranteed, LONG):
        guaranteed -= 1
    return Fit(guaranteed, likely, bound)


def needed(case: Case, unit: int = ROUNDING) -> int:
    """Return the peak of all tensors, each rounded up to a multiple of `unit` bytes: at least so much is allocated."""
    changes = (event.bytes for event in case.trace.events(case.batch))
    return max(accumulate(-(-change // unit) * unit if change > 0 else change // unit * unit for change in changes))


def runs(case: Case, cap: int, worst: bool = False) -> bool:
    """Whether the replayed allocator fits a program under a cap, with the usual or the worst workspaces."""
    allocator = Allocator(cap)
    for storage, size in case.events(worst):
        if size > 0:
            if not allocator.allocate(storage, size) and (worst or storage != CUDNN):
                return False
        elif storage in allocator.live:
            allocator.free(storage)
    return True


def leaner(graph: Graph, recipe: Recipe, card: Card | None = None) -> dict[str, Recipe]:
    """Return recipes that need less memory, by what changes: an option of the command line with its value."""
    lighter = LIGHTER.get(recipe.optimizer, ())
    changed = {f"--optimizer {name}": recipe._replace(optimizer=name) for name in lighter}
    if recipe.optimizer:
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
    trained = [node.name for node in graph.nodes if node.op.weights(node.x) and not is_frozen(node.name, recipe.frozen)]
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


def _safe(fits: Callable[[int], bool], most: int) -> int:
    """Return an amount like `edge`, of which smaller ones that were tried all fit."""
    fits = cache(fits)
    while most := edge(fits, most):
        failing = [amount for amount in tried_below(most) if not fits(amount)]
        if not failing:
            break
        most = min(failing) - 1
    return most


def tried_below(amount: int) -> list[int]:
    """Return the smaller amounts to try, ever farther away: 1, 2, 4, 8 … less."""
    return [amount - 2**k for k in range(amount.bit_length()) if amount > 2**k]
