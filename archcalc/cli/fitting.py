"""The command `fit`: the largest batch or images that fit into memory."""

from __future__ import annotations

import sys
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from archcalc.catalog import load_with
from archcalc.cli.commands import command
from archcalc.cli.memory_options import recipe_of, recipe_options
from archcalc.cli.options import NetworkName, batch_option, given, output_options, spec_options
from archcalc.cli.output import deliver
from archcalc.cli.table_choice import table_options
from archcalc.errors import Refusal, shorten
from archcalc.graph.graph import Graph
from archcalc.printed import read_amount
from archcalc.spec.binding import GivenInput

if TYPE_CHECKING:
    from archcalc.analysis.cards import Card


def read_memory(ctx: click.Context, param: click.Parameter, value: str | None) -> int | None:
    """Read `24GB` (10^9 bytes each) or `16GiB` (2^30 each) as bytes."""
    if value is None:
        return None
    try:
        count = int(read_amount(value, "bytes"))
    except Refusal as error:
        raise click.BadParameter(str(error)) from None
    if 0 < count < 2**63 and not value.strip()[-1].isdigit():
        return count
    wrong = f"{shorten(value)} has no unit" if 0 < count < 2**63 else f"no memory has {shorten(value)}"
    raise click.BadParameter(f"{wrong}; write e.g. 24GB or 16GiB")


@command("fit")
@click.argument("name", type=NetworkName())
@spec_options
@click.option(
    "--memory", callback=read_memory, metavar="SIZE", help="24GB (10^9 bytes each) or 16GiB (2^30), for PyTorch."
)
@click.option("--vary", type=click.Choice(["batch", "size"]), default="batch", help="What grows; by default the batch.")
@batch_option
@recipe_options
@table_options
@output_options
def fit_memory(
    name: str, settings: dict[str, str], shape: GivenInput | None, memory: int | None, vary: str, batch: int,
    form: str, output: Path | None, force: bool, **options: Any,
) -> None:  # fmt: skip
    """Find the largest batch, or with --vary size the largest images, that fit into memory, and what would help.

    On a GPU there are three answers. Guaranteed: PyTorch's allocator, replayed, fits it with workspaces of libraries
    larger than any recorded. Likely: with usual ones. At most: one more cannot fit. Of the memory of --gpu, CUDA's
    context takes a part; that of --memory is for PyTorch alone. The exit code is 1 if nothing fits.

    \b
    archcalc fit vgg16 --memory 16GiB
    archcalc fit resnet50 --gpu a100-40 --optimizer adamw --dtype bf16
    archcalc fit resnet50 --gpu t4 --mode infer --vary size
    """
    from archcalc.analysis.fit import Space, batches, largest, leaner, space_of
    from archcalc.analysis.fit_size import by_size, sizes_of
    from archcalc.analysis.needed_memory import memory_needs
    from archcalc.render.tables.fit import fit_table

    card, at = options["card"], cache(partial(_loaded, name, settings, options["mode"]))
    _check_request(memory, card, vary)
    graph = at(shape)
    recipe = recipe_of(graph, **options)
    needs = memory_needs(graph, recipe, batch, card)
    space = space_of(card) if memory is None else Space(memory, memory, recipe.device == "cuda")
    sizes = sizes_of(graph, at) if vary == "size" else None
    found = {
        change: largest(by_size(sizes, at, own, batch, card) if sizes else batches(graph, own, card), space)
        for change, own in {"": recipe, **leaner(graph, recipe, card)}.items()
    }
    found = {change: own for change, own in found.items() if not change or own.helps(found[""])}
    deliver(fit_table(needs, space, found, sizes and sizes.shape), form, output, force)
    sys.exit(0 if found[""].bound else 1)


def _check_request(memory: int | None, card: Card | None, vary: str) -> None:
    """Raise UsageError for options that exclude each other."""
    if (memory is None) == (card is None):
        raise click.UsageError("write either --memory, e.g. 24GB, or --gpu, e.g. a100-40")
    if vary == "batch" and given("batch"):
        raise click.UsageError("fit finds the batch; omit --batch, or use --vary size")


def _loaded(name: str, settings: dict[str, str], mode: str, shape: GivenInput | None) -> Graph:
    """Load a network for an input; for inference without its side outputs, which may not take it."""
    graph = load_with(name, settings, shape)
    return graph if mode == "train" else graph.without_sides()
