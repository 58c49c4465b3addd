"""The command `compare`: networks side by side."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import click

from archcalc.analysis.figures import FIGURES
from archcalc.analysis.report import Report
from archcalc.catalog import loaded
from archcalc.cli import options
from archcalc.cli.commands import command
from archcalc.cli.output import deliver, skipped
from archcalc.render.formats import FORMATS
from archcalc.render.table import Table
from archcalc.spec.binding import GivenInput
from archcalc.spec.equal_calls import kept
from archcalc.spec.limits import shared

MAX_STEPS = 100_000  # of expansion for two networks to align: both are in memory


@command()
@click.argument("names", nargs=-1, type=options.NetworkName(), metavar="NAME...")
@options.family_option
@click.option("--by", type=click.Choice(["stage", "block", "layer"]), help="Show where two networks differ.")
@click.option("--sort", metavar="COLUMN", default="", help="Sort by a column, e.g. macs; -macs: largest first.")
@options.columns_option
@options.network_options
@options.strict_option
@options.output_options
@kept()
def compare(
    names: tuple[str, ...], family: str | None, by: str | None, sort: str, columns: tuple[str, ...],
    settings: dict[str, str], shape: GivenInput | None, form: str, output: Path | None, force: bool,
    **conditions: Any,
) -> None:  # fmt: skip
    """Compare networks: totals side by side, ratios to the first network, and published error rates.

    NAME is a network of `archcalc list`, a pattern such as 'resnet*', or the path of a spec. --by aligns two networks
    and shows where they differ: by stages (the first part of a layer's name), blocks (the first two parts) or layers.

    \b
    archcalc compare resnet50 vgg16 googlenet
    archcalc compare 'resnet*' my.yaml --sort macs
    archcalc compare resnet50 torchvision/resnet50 --by layer
    """
    from archcalc.comparing.totals import gather

    if not names and family is None:
        raise click.UsageError("name networks, e.g. archcalc compare resnet50 vgg16, or use --family")
    if by and (sort or columns):
        raise click.UsageError("--sort and --columns apply to totals; omit them with --by")
    if by and options.given("convention") and not FORMATS[form].every:
        raise click.UsageError("--convention applies to FLOPs; with --by only --format csv, tsv and json contain them")
    options.require_training((*columns, sort.removeprefix("-")), conditions["mode"])
    graphs = loaded(names, family, settings, shape, skipped)
    reports = map(partial(options.analyzed, **conditions), graphs)
    if by:
        with shared(MAX_STEPS, "comparing two networks part by part"):
            table = aligned(list(reports), by, FORMATS[form].every)
    else:
        from archcalc.render.tables.compare import comparison_table, needed

        keys = FIGURES if FORMATS[form].every else needed(columns, sort)
        table = comparison_table(gather(reports, keys), columns, sort)
    deliver(table, form, output, force)


def aligned(reports: list[Report], by: str, every: bool) -> Table:
    """Align two networks and return the table. Raises UsageError unless there are two."""
    from archcalc.comparing.alignment import align
    from archcalc.render.tables.compare_parts import alignment_table

    if len(reports) != 2:
        raise click.UsageError(f"--by compares exactly two networks, not {len(reports)}")
    return alignment_table(align(*reports), by, every)
