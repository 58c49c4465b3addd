"""The options of the commands on memory, which say how a network is trained: they give a `Recipe` and a card."""

from __future__ import annotations

from itertools import chain
from typing import Any

import click

from archcalc.analysis.cards import CARDS, Card, find_card
from archcalc.analysis.checkpoints import blocks, segments
from archcalc.analysis.cost import DTYPES
from archcalc.analysis.frames import MODULES
from archcalc.analysis.recipe import Recipe, require_parts
from archcalc.analysis.report import MODES
from archcalc.cli.completion import completed
from archcalc.cli.options import STEP_OPTIONS, one_of, refuse_training, step_options, together
from archcalc.errors import ArchcalcError
from archcalc.graph.graph import Graph

SHORT = {"fp32": "float32", "fp16": "float16", "half": "float16", "bf16": "bfloat16"}
TRAINING = (*STEP_OPTIONS, "smoothing", "accumulate", "checkpoint", "master_weights")  # what only training reads

training_options = together(
    click.option("--mode", type=click.Choice(list(MODES)), default="train", show_default=True,
                 help="Training steps, or an inference without side outputs."),
    step_options,
    click.option("--label-smoothing", "smoothing", is_flag=True, help="With label smoothing in the loss."),
    click.option("--accumulate", type=click.IntRange(min=1), default=1, show_default=True, metavar="N",
                 help="Add up the gradients of N batches before each step of the optimizer."),
    click.option("--checkpoint", multiple=True, metavar="BLOCK",
                 help="Run this block again in backward and keep only its input; blocks: all of them."),
    click.option("--amp", is_flag=True, help="Under autocast to bfloat16; the weights stay in float32."),
    click.option("--master-weights", is_flag=True,
                 help="Train float32 copies of the weights; with --dtype bfloat16 or float16."),
)  # fmt: skip
recipe_options = together(
    training_options,
    click.option("--dtype", default="float32", show_default=True, metavar="NAME",
                 callback=one_of("dtype", DTYPES, SHORT), help=f"One of {', '.join(DTYPES)}; or e.g. bf16."),
    click.option("--device", type=click.Choice(["cuda", "cpu"]), default="cuda", show_default=True),
    click.option("--module", default="build", show_default=True, metavar="NAME", callback=one_of("module", MODULES),
                 help="archcalc's own build, or torchvision: written by hand, as torchvision does; it may hold more."),
    click.option("--gpu", "card", metavar="NAME", shell_complete=completed(CARDS),
                 callback=lambda ctx, param, name: None if name is None else find_card(name),
                 help=f"A card: {', '.join(CARDS)}; or the name that its driver gives it."),
)  # fmt: skip


def recipe_of(graph: Graph, *, mode: str, card: Card | None, **fields: Any) -> Recipe:
    """Return the recipe that the options describe, for a network; they have the names of its fields.

    Raises UsageError for options that exclude each other, ArchcalcError for parts that the network does not have.
    """
    recipe = Recipe(**fields)
    if card and recipe.device != "cuda":
        raise click.UsageError("--gpu needs --device cuda; omit one of them")
    if recipe.amp and recipe.dtype != "float32":
        hint = f"omit --dtype {recipe.dtype}, or omit --amp to run all in {recipe.dtype}"
        raise click.UsageError(f"--amp needs weights in float32; {hint}")
    refuse_training(TRAINING, mode)
    if recipe.master_weights and DTYPES[recipe.dtype] != 2:
        raise click.UsageError("--master-weights needs weights of 2 bytes; add --dtype bfloat16 or --dtype float16")
    if not MODES[mode]:
        return recipe._replace(optimizer="")
    require_parts(graph, recipe.frozen)
    if "blocks" in recipe.checkpoint and not blocks(graph):
        raise ArchcalcError(f"{graph.name} has no blocks to checkpoint; omit --checkpoint")
    names = (blocks(graph) if name == "blocks" else [name] for name in recipe.checkpoint)
    checkpoint = tuple(chain.from_iterable(names))
    segments(graph, checkpoint)  # raises for what cannot be checkpointed
    return recipe._replace(checkpoint=checkpoint)
