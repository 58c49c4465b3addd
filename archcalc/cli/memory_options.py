"""The options of the commands on memory, which say how a network is trained: they give a `Recipe` and a card."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import click

from archcalc.analysis.cards import CARDS, Card, find_card
from archcalc.analysis.checkpoints import blocks
from archcalc.analysis.cost import DTYPES
from archcalc.analysis.frames import MODULES
from archcalc.analysis.optimizers import OPTIMIZERS
from archcalc.analysis.recipe import USUAL, Recipe, is_frozen
from archcalc.analysis.report import MAX_BATCH, MODES
from archcalc.cli.options import given, together
from archcalc.errors import ArchcalcError, choose, shorten, suggest
from archcalc.graph.graph import Graph

SHORT = {"fp32": "float32", "fp16": "float16", "half": "float16", "bf16": "bfloat16"}
TRAINING = (
    "optimizer",
    "weight_decay",
    "smoothing",
    "accumulate",
    "frozen",
    "checkpoint",
)  # options that only training reads


def one_of(what: str, known: Iterable[str], short: Mapping[str, str] | None = None) -> Callable[..., Any]:
    """Return a callback that reads one of these names, or a short form; a wrong one is an error with the nearest."""
    names = {name: name for name in known} | dict(short or {})
    return lambda ctx, param, value: choose(what, value, names)


batch_option = click.option("--batch", type=click.IntRange(1, MAX_BATCH), default=1, show_default=True,
                            help="Images per batch.")  # fmt: skip
training_options = together(
    click.option("--mode", type=click.Choice(list(MODES)), default="train", show_default=True,
                 help="Training steps, or an inference without side outputs."),
    click.option("--optimizer", default=USUAL.optimizer, show_default=True, metavar="NAME",
                 callback=one_of("optimizer", OPTIMIZERS), help=f"One of {', '.join(OPTIMIZERS)}."),
    click.option("--weight-decay", is_flag=True, help="With weight decay, which may need copies of the gradients."),
    click.option("--label-smoothing", "smoothing", is_flag=True, help="With label smoothing in the loss."),
    click.option("--accumulate", type=click.IntRange(min=1), default=1, show_default=True, metavar="N",
                 help="Add up the gradients of N batches before each step of the optimizer."),
    click.option("--freeze", "frozen", multiple=True, metavar="PART",
                 help="Do not train this layer or block, e.g. stem. Can be repeated."),
    click.option("--checkpoint", multiple=True, metavar="BLOCK",
                 help="Run this block again in backward and keep only its input; blocks: all of them."),
)  # fmt: skip
recipe_options = together(
    training_options,
    click.option("--dtype", default="float32", show_default=True, metavar="NAME",
                 callback=one_of("dtype", DTYPES, SHORT), help=f"One of {', '.join(DTYPES)}; or e.g. bf16."),
    click.option("--device", type=click.Choice(["cuda", "cpu"]), default="cuda", show_default=True),
    click.option("--module", default="build", show_default=True, metavar="NAME", callback=one_of("module", MODULES),
                 help="archcalc's own build, or torchvision: written by hand, as torchvision does; it may hold more."),
    click.option("--gpu", "card", metavar="NAME", callback=lambda ctx, param, name: name and find_card(name),
                 help=f"A card: {', '.join(CARDS)}; or the name that its driver gives it."),
)  # fmt: skip


def recipe_of(
    graph: Graph, *, mode: str, optimizer: str, weight_decay: bool, smoothing: bool, accumulate: int,
    frozen: tuple[str, ...], checkpoint: tuple[str, ...], dtype: str, device: str, card: Card | None,
    module: str = "build",
) -> Recipe:  # fmt: skip
    """Return the recipe that the options describe, for a network.

    Raises UsageError for options that exclude each other, ArchcalcError for parts that the network does not have.
    """
    if card and device != "cuda":
        raise click.UsageError("--gpu needs --device cuda; omit one of them")
    if not MODES[mode]:
        for name in filter(given, TRAINING):
            option = next(o.opts[0] for o in click.get_current_context().command.params if o.name == name)
            raise click.UsageError(f"{option} applies to training; omit it with --mode infer")
        return Recipe(dtype=dtype, device=device, module=module)
    for part in frozen:
        _require_part(graph, part)
    if "blocks" in checkpoint and not (checkpoint := tuple(blocks(graph))):
        raise ArchcalcError(f"{graph.name} has no blocks to checkpoint; omit --checkpoint")
    return Recipe(
        optimizer, weight_decay, dtype=dtype, device=device, smoothing=smoothing, accumulate=accumulate, frozen=frozen,
        checkpoint=checkpoint, module=module,
    )  # fmt: skip


def _require_part(graph: Graph, part: str) -> None:
    """Raise ArchcalcError, with the nearest names, unless it is a layer or block."""
    names = [node.name for node in graph.nodes]
    if not any(is_frozen(name, [part]) for name in names):
        paths = (name.split(".") for name in names)
        parts = {".".join(path[: end + 1]) for path in paths for end in range(len(path))}
        known = suggest(part, parts) or f"`archcalc summarize {graph.name}` lists them"
        raise ArchcalcError(f"{graph.name} has no part {shorten(repr(part))}; {known}")
