"""How a network is trained: the one description that the arithmetic of a step and the simulated memory read."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from archcalc.analysis.optimizers import OPTIMIZERS
from archcalc.errors import ArchcalcError, choose, shorten, suggest
from archcalc.graph.graph import Graph, Node
from archcalc.ops.arguments import plain
from archcalc.ops.base import values
from archcalc.ops.normalization import BatchNorm
from archcalc.ops.shape import Ids

BATCHES = 3  # of a step that are simulated; from the second one on all are alike


class Recipe(NamedTuple):
    """How a network is trained; without an optimizer it only infers."""

    optimizer: str = ""  # a key of `analysis.optimizers.OPTIMIZERS`
    weight_decay: bool = False
    foreach: bool | None = None  # the optimizer's functions of whole lists; None: as PyTorch chooses, on CUDA
    dtype: str = "float32"
    device: str = "cpu"
    steps: int = 3
    smoothing: bool = False  # label smoothing
    accumulate: int = 1  # batches per step
    frozen: tuple[str, ...] = ()  # names of nodes and blocks whose parameters need no gradient
    checkpoint: tuple[str, ...] = ()  # names of blocks that run again in backward (see `analysis.checkpoints`)
    module: str = "build"  # one of `analysis.frames.MODULES`
    amp: bool = False  # forward and loss under autocast to bfloat16, of float32 weights
    master_weights: bool = False  # the optimizer trains float32 copies of float16 or bfloat16 weights
    single: bool = False  # whether the batch is one image: then no slice of it has gaps
    image_gradient: bool = False  # whether the image needs a gradient, too

    @property
    def brief(self) -> Recipe:
        """The recipe with a few of many batches per step, which stand for the rest."""
        return self._replace(accumulate=min(self.accumulate, BATCHES))

    @property
    def facts(self) -> dict[str, Any]:
        """What updates which weights, for data."""
        return {"optimizer": self.optimizer, "weight_decay": self.weight_decay, "frozen": list(self.frozen)}

    @property
    def text(self) -> str:
        """What updates which weights, as in `adamw with weight decay, stem frozen`."""
        optimizer = self.optimizer + " with weight decay" * self.weight_decay
        return ", ".join([optimizer, *[f"{part} frozen" for part in self.frozen]])

    @property
    def precision(self) -> str:
        """What mixes dtypes; "" if nothing does."""
        return "autocast to bfloat16" if self.amp else "master weights in float32" if self.master_weights else ""

    @property
    def products(self) -> str:
        """The dtype in which convolutions and linear layers run."""
        return "bfloat16" if self.amp else self.dtype


USUAL = Recipe("momentum", device="cuda")  # of most published recipes


def is_frozen(name: str, frozen: Sequence[str]) -> bool:
    """Whether a node is one of these nodes, or in one of these blocks."""
    return any(f"{name}.".startswith(f"{part}.") for part in frozen)


def needing_two(graph: Graph, recipe: Recipe) -> str:
    """Return the batch normalization, if any, of one value per channel: PyTorch refuses to train it with one image."""
    alone = (node.name for node in graph.nodes if isinstance(node.op, BatchNorm) and values(node.x) == node.x.channels)
    return next(alone, "") if recipe.optimizer else ""


def is_trained(graph: Graph, node: Node, recipe: Recipe) -> bool:
    """Whether a node runs with weights that are not frozen, its own or shared ones."""
    owner = graph.owner(node)
    owners = {each.name for each in (node, owner, graph.owner(owner)) if each.weights()}
    return not all(is_frozen(name, recipe.frozen) for name in owners)


def require_parts(graph: Graph, parts: Iterable[str]) -> None:
    """Raise ArchcalcError, with the nearest names, for what is no layer or block of a network."""
    for part in parts:
        if not any(is_frozen(node.name, [part]) for node in graph.nodes):
            paths = (node.name.split(".") for node in graph.nodes)
            known = {".".join(path[: end + 1]) for path in paths for end in range(len(path))}
            hint = suggest(part, known) or f"`archcalc summarize {graph.name}` lists them"
            raise ArchcalcError(f"{graph.name} has no part {shorten(repr(part))}; {hint}")


def require_possible(graph: Graph, recipe: Recipe) -> None:
    """Raise ArchcalcError unless the optimizer is known, the network has the frozen parts, and some batch is run."""
    choose("optimizer", recipe.optimizer, OPTIMIZERS)
    require_parts(graph, recipe.frozen)
    if recipe.image_gradient and any(isinstance(node.output, Ids) for node in graph.inputs):
        raise ArchcalcError(f"{graph.name} reads numbers of tokens, which have no gradient")
    for key in ("steps", "accumulate"):
        count = plain(getattr(recipe, key))
        if type(count) is not int or count < 1:
            raise ArchcalcError(f"{key} must be a whole number from 1, not {shorten(repr(count))}")
