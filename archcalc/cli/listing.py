"""The command `list`."""

from __future__ import annotations

from itertools import compress
from pathlib import Path
from typing import Any

import click

from archcalc.analysis.report import analyze
from archcalc.catalog import listed
from archcalc.cli.commands import command
from archcalc.cli.completion import complete_families
from archcalc.cli.options import output_options
from archcalc.cli.output import deliver, skipped, tell
from archcalc.cli.table_choice import table_options
from archcalc.cli.where import Test, having, read_where
from archcalc.errors import counted
from archcalc.graph.graph import Graph
from archcalc.render.tables.list import listing, row_of


@command("list")
@click.argument("words", nargs=-1, metavar="[WORD]...", shell_complete=complete_families)
@click.option("--family", metavar="NAME", help="List only this family, e.g. resnet.", shell_complete=complete_families)
@click.option(
    "--where",
    callback=read_where,
    metavar="TEST",
    help="List only networks of which this holds, e.g. 'params < 5M and macs < 1G'.",
)
@table_options
@output_options
def list_networks(
    words: tuple[str, ...], family: str | None, where: Test | None, form: str, output: Path | None, force: bool
) -> None:
    """List the networks that archcalc knows, with params and MACs at inference.

    WORD is a part of a network's or family's name, or a pattern such as 'torchvision/*'. --where compares params, macs,
    activations, depth, receptive_field (the longest axis) and year with numbers, which may end in k, M, G or T, and
    joins comparisons by and, or, not. Networks of which such a figure is unknown are left out and counted.

    \b
    archcalc list resnet
    archcalc list 'torchvision/*' --where 'params < 5M and macs < 1G'
    archcalc list --family resnet
    archcalc list --format json
    """
    rows = having([*listed(row, family, skipped)], words)
    holds = [where(own) if where else True for own in rows]
    deliver(listing(compress(rows, holds)), form, output, force)
    if unknown := holds.count(None):
        tell(f"left out, since a figure in --where is unknown: {counted(unknown, 'network')}")


def row(graph: Graph) -> dict[str, Any]:
    """What `list` has of a network."""
    return row_of(analyze(graph))
