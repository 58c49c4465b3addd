"""The command `compare`: networks side by side."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any

import click

from archcalc.analysis.figures import FIGURES
from archcalc.analysis.report import Report
from archcalc.catalog import loaded, titles
from archcalc.cli import options
from archcalc.cli.commands import command
from archcalc.cli.output import choice, deliver, skipped
from archcalc.cli.table_choice import table_options
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
@click.option("--relative-to", "against", type=options.NetworkName(), metavar="NETWORK",
              help="Add ratios to this one of them.")  # fmt: skip
@options.network_options
@options.strict_option
@options.published_option
@table_options
@options.output_options
@kept()
def compare(
    names: tuple[str, ...], family: str | None, by: str | None, against: str | None, published: bool,
    settings: dict[str, str], shape: GivenInput | None, form: str, output: Path | None, force: bool,
    **conditions: Any,
) -> None:  # fmt: skip
    """Compare networks: totals side by side, ratios to one of them, and published error rates.

    NAME is a network of `archcalc list`, a pattern such as 'resnet*', or the path of a spec. --by aligns two networks
    and shows where they differ: by stages (the first part of a layer's name), blocks (the first two parts) or layers.

    \b
    archcalc compare resnet50 vgg16 googlenet
    archcalc compare resnet50 vgg16 --relative-to vgg16 --columns params,macs
    archcalc compare 'resnet*' my.yaml --sort macs --units si
    archcalc compare resnet50 torchvision/resnet50 --by layer
    """
    if not names and family is None:
        raise click.UsageError("name networks, e.g. archcalc compare resnet50 vgg16, or use --family")
    if by and (against or not published):
        raise click.UsageError("--relative-to and --no-published apply to totals; omit them with --by")
    if by and options.given("convention") and not FORMATS[form].every:
        raise click.UsageError("--convention applies to FLOPs; with --by only --format csv, tsv and json contain them")
    options.require_training(choice().names, conditions["mode"])
    graphs = loaded(names, family, settings, shape, skipped)
    reports = map(partial(options.analyzed, **conditions), graphs)
    if by:
        with shared(MAX_STEPS, "comparing two networks part by part"):
            every = FORMATS[form].every or bool(choice().sort)  # merged rows have their place in the order
            table = aligned(list(reports), by, every)
    else:
        against = titles([*names, against])[against] if against else None
        table = side_by_side(reports, against, published, FORMATS[form].every)
    deliver(table, form, output, force)


def side_by_side(reports: Iterable[Report], against: str | None, published: bool, every: bool) -> Table:
    """Return the table of totals: of the figures that are chosen, or of all figures if `every`."""
    from archcalc.comparing.totals import gather, relative
    from archcalc.render.tables.compare import ERRORS, comparison_table, needed

    wanted = choice()
    keys, errors = needed(wanted.columns, wanted.key)
    for name in wanted.names:
        if name in ERRORS and not published:
            raise click.UsageError(f"{name} is published; omit --no-published")
        if name.endswith("_ratio") and not against:
            raise click.UsageError(f"{name} is relative to a network; add --relative-to, e.g. the first of them")
    found = gather(reports, FIGURES if every and not wanted.columns else keys, errors and published)
    return comparison_table(relative(found, against) if against else found)


def aligned(reports: list[Report], by: str, every: bool) -> Table:
    """Align two networks and return the table. Raises UsageError unless there are two."""
    from archcalc.comparing.alignment import align
    from archcalc.render.tables.compare_parts import alignment_table

    if len(reports) != 2:
        raise click.UsageError(f"--by compares exactly two networks, not {len(reports)}")
    return alignment_table(align(*reports), by, every)
