"""The command `conventions`: what FLOPs mean to each tool."""

from __future__ import annotations

from pathlib import Path

import click

from archcalc.catalog import load_with, networks
from archcalc.cli.commands import command
from archcalc.cli.options import NetworkName, batch_option, output_options, spec_options
from archcalc.cli.output import deliver
from archcalc.cli.table_choice import table_options
from archcalc.errors import ArchcalcError, UnknownNetwork, shorten, suggest
from archcalc.spec.binding import GivenInput


@command()
@click.argument("name", type=NetworkName(), required=False)
@spec_options
@batch_option
@table_options
@output_options
def conventions(
    name: str | None, settings: dict[str, str], shape: GivenInput | None, batch: int,
    form: str, output: Path | None, force: bool,
) -> None:  # fmt: skip
    """Count a network's FLOPs by each convention, or list what each convention, or the one named, counts and misses.

    Tools count differently, and some of what they print as FLOPs are multiply-accumulates. Each figure is shown with
    the parts that add up to it. A tool counts how code is written: these are the figures that it prints of the PyTorch
    module that archcalc builds.

    \b
    archcalc conventions resnet50
    archcalc conventions
    archcalc conventions thop
    """
    from archcalc.analysis.conventions import CONVENTIONS
    from archcalc.analysis.ledger import ledgers_of
    from archcalc.analysis.report import analyze
    from archcalc.render.tables.conventions import conventions_table, side_by_side

    if not name or name.lower() in CONVENTIONS:
        deliver(conventions_table([name.lower()] if name else CONVENTIONS), form, output, force)
        return
    try:
        report = analyze(load_with(name, settings, shape), batch)
    except UnknownNetwork as error:
        hint = suggest(name, [*networks(broken=lambda error: None), *CONVENTIONS])
        text = f"no network or convention is called {shorten(name)!r}; {hint}" if hint else str(error)
        raise ArchcalcError(text) from None
    deliver(side_by_side(report, ledgers_of(report)), form, output, force)
