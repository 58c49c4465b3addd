"""The command that puts networks side by side: `compare`."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import click

from archcalc.analysis.report import Report, analyze
from archcalc.cli.options import NetworkName, columns_option, family_option, given, network_options, output_options
from archcalc.cli.output import deliver, passed_over
from archcalc.graph.gc_pause import uncollected
from archcalc.render.formats import FORMATS
from archcalc.render.table import Table
from archcalc.spec.limits import shared

MAX_STEPS = 100_000  # that two networks may take together to be aligned: both are held in memory


@click.command()
@click.argument("names", nargs=-1, type=NetworkName(), metavar="NAME...")
@family_option
@click.option("--by", type=click.Choice(["stage", "block", "layer"]), help="Where two networks differ.")
@click.option("--sort", metavar="COLUMN", default="", help="In the order of a column, as macs; -macs: largest first.")
@columns_option
@network_options
@output_options
@uncollected
def compare(
    names: tuple[str, ...], family: str | None, by: str | None, sort: str, columns: tuple[str, ...],
    settings: dict[str, str], shape: tuple[int, ...] | None, batch: int, dtype: str, mode: str, convention: str,
    form: str, output: Path | None, force: bool,
) -> None:  # fmt: skip
    """Compare networks: their totals side by side, with ratios against the first, and published errors.

    NAME is a network of `archcalc list`, a pattern as 'resnet*', or the path of a spec. --by puts two networks beside
    each other part by part, and shows where they differ: of stages (the first part of a layer's name), of blocks (two
    parts) or of layers.

    \b
    archcalc compare resnet50 vgg16 googlenet
    archcalc compare 'resnet*' my.yaml --sort macs
    archcalc compare resnet50 torchvision/resnet50 --by layer
    """
    from archcalc.comparing.totals import gather, loaded

    if not names and family is None:
        raise click.UsageError("name networks, as in archcalc compare resnet50 vgg16, or give --family")
    if by and (sort or columns):
        raise click.UsageError("--sort and --columns are for totals; leave them out with --by")
    if by and given("convention") and not FORMATS[form].every:
        raise click.UsageError("--convention says what FLOPs count; with --by csv, tsv and json alone have them")
    graphs = loaded(names, family, settings, shape, passed_over)
    reports = map(partial(analyze, batch=batch, dtype=dtype, mode=mode, flops=convention), graphs)  # keeps no graph
    if by:
        with shared(MAX_STEPS, "comparing two networks part by part"):
            table = aligned(list(reports), by, FORMATS[form].every)
    else:
        from archcalc.render.tables.compare import comparison_table

        table = comparison_table(gather(reports), columns, sort)
    deliver(table, form, output, force)


def aligned(reports: list[Report], by: str, every: bool) -> Table:
    """The table of two networks beside each other. Raises UsageError where they are not two."""
    from archcalc.comparing.alignment import align
    from archcalc.render.tables.compare_parts import alignment_table

    if len(reports) != 2:
        raise click.UsageError(f"--by puts two networks beside each other, not {len(reports)}")
    return alignment_table(align(*reports), by, every)
