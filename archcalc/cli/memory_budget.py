"""The command `memory`: what one inference or training step needs."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from archcalc.catalog import load_with
from archcalc.cli.commands import command
from archcalc.cli.memory_options import recipe_of, recipe_options
from archcalc.cli.options import (
    NetworkName,
    batch_option,
    brief_option,
    depth_option,
    output_options,
    spec_options,
)
from archcalc.cli.output import choice, deliver, screen
from archcalc.cli.table_choice import table_options
from archcalc.render.formats import FORMATS
from archcalc.spec.binding import GivenInput


@command()
@click.argument("name", type=NetworkName())
@spec_options
@batch_option
@recipe_options
@depth_option
@brief_option
@table_options
@output_options
def memory(
    name: str, settings: dict[str, str], shape: GivenInput | None, batch: int, depth: int | None, brief: bool,
    form: str, output: Path | None, force: bool, **options: Any,
) -> None:  # fmt: skip
    """Show what memory training or inference needs: by kind, over a step, by layer, and whether it fits on a card.

    The figures are of the PyTorch module that archcalc builds, or with --module torchvision of one written by hand,
    which may hold more. CUDA's context and the workspaces of libraries are not in them: they have an interval each. CSV
    and TSV contain the layers.

    \b
    archcalc memory resnet50 --batch 32 --optimizer adamw
    archcalc memory vgg16 --batch 64 --dtype bf16 --gpu a100-40
    archcalc memory resnet50 --batch 32 --mode infer --brief
    """
    from archcalc.analysis.needed_memory import memory_needs
    from archcalc.render.tables.memory import curve_table, layers_table, memory_table

    graph, card = load_with(name, settings, shape), options["card"]
    needs = memory_needs(graph, recipe_of(graph, **options), batch, card)
    rows = form in ("csv", "tsv")
    if rows and brief:
        raise click.UsageError(f"{form} contains the layers, --brief only totals; use --format json or omit --brief")
    every = FORMATS[form].every or bool(choice().sort)  # sorted by another figure, others would be on top
    table = layers_table(needs, depth) if rows else memory_table(needs, depth, every)
    if brief:
        table = table._replace(parts=[])
    elif form == "table":
        encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
        curve = curve_table(needs, screen()[0], ascii="█".encode(encoding, "replace") == b"?")
        table = table._replace(parts=[curve, *table.parts])
    deliver(table, form, output, force)
