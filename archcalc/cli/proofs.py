"""Commands that hold figures against others': `audit` (the literature's) and `validate` (PyTorch's)."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from archcalc.analysis import DTYPES
from archcalc.catalog import load_with, matching
from archcalc.cli.options import NetworkName, output_options
from archcalc.cli.output import deliver, run_each
from archcalc.errors import ArchcalcError
from archcalc.published import VERDICTS, Verdict, audit


@click.command("audit", short_help="Published figures, and whether they are right.")
@click.argument("names", nargs=-1, type=NetworkName(), metavar="[NAME]...")
@click.option(
    "--only",
    multiple=True,
    type=click.Choice(VERDICTS),
    metavar="VERDICT",
    help=f"Show these verdicts only: {', '.join(VERDICTS)}. Can be given again.",
)
@output_options
def audit_networks(
    names: tuple[str, ...], only: tuple[str, ...], form: str, output: Path | None, force: bool
) -> None:  # fmt: skip
    """Hold published figures against computed ones: all, or those of the networks named, as resnet50 or 'resnet*'.

    A figure is exact, rounds or truncates to what is printed, is explained by another accounting that is computed, or
    is contradicted. Exit code 1 says that a figure is not reproduced and the spec gives no reason, that it gives one
    for a figure that is, or that a spec could not be read.

    \b
    archcalc audit googlenet
    archcalc audit --only contradicted
    archcalc audit --format json
    """
    from archcalc.report.verdicts import audit_table

    broken: dict[str, ArchcalcError] = {}
    found = {name: audited(name, names, broken) for name in matching(names, lambda e: broken.setdefault(str(e), e))}
    verdicts = {name: judged for name, judged in found.items() if judged is not None}
    deliver(audit_table(verdicts, only), form, output, force)
    for text in broken:
        click.echo(f"passed over: {text}", err=True)
    sys.exit(int(bool(broken) or not all(verdict.holds for judged in verdicts.values() for verdict in judged)))


def audited(name: str, asked: tuple[str, ...], broken: dict[str, ArchcalcError]) -> list[Verdict] | None:
    """The verdicts on a network; one that nobody asked for by name and that cannot be read goes to `broken`."""
    try:
        return audit(load_with(name, {}))
    except ArchcalcError as error:
        if name in asked:
            raise
        broken.setdefault(str(error), error)
        return None


@click.command("validate", short_help="The figures against PyTorch.")
@click.argument("names", nargs=-1, type=NetworkName(), metavar="[NAME]...")
@click.option("--all", "everything", is_flag=True, help="Every network that archcalc knows.")
@click.option(
    "--device",
    type=click.Choice(["auto", "cpu", "cuda", "meta"]),
    default="auto",
    show_default=True,
    help="auto is CUDA where it is there, else the CPU; meta has shapes without values.",
)
@click.option("--batch", type=click.IntRange(min=1), default=2, show_default=True, help="Images in the batch.")
@click.option("--dtype", type=click.Choice(list(DTYPES)), default="float32", show_default=True)
@click.option("--fold-bn", is_flag=True, help="With batch normalization folded, and that both compute the same.")
@click.option("--verbose", is_flag=True, help="A row a check, not a network; and what PyTorch's counter ignores.")
@output_options
def validate_networks(
    names: tuple[str, ...], everything: bool, device: str, batch: int, dtype: str, fold_bn: bool, verbose: bool,
    form: str, output: Path | None, force: bool,
) -> None:  # fmt: skip
    """Build networks in PyTorch, run them forward and backward, and compare every layer's figures.

    Output shapes, weights, buffers, MACs and the bytes that backward keeps. NAME may be a pattern, as 'resnet*'. Exit
    code 1 says that a figure differs, or that a network could not be run. Ctrl-C leaves a report of what was done.

    \b
    archcalc validate resnet50
    archcalc validate --all --device meta
    """
    if bool(names) == everything:
        raise click.UsageError("name networks, or give --all")
    from archcalc.report.validation import validation_table

    torch = torch_side()
    done, stopped = run_each(
        matching(names), lambda name: torch.validate_or_say(load_with(name, {}), device, batch, dtype, fold_bn)
    )
    ignored = {made.network: torch.ignored(load_with(made.network, {})) for made in done} if verbose else {}
    deliver(validation_table(done, verbose or form in ("csv", "json"), ignored), form, output, force)
    for validation in done:
        if validation.differences or validation.problem:
            click.echo(f"{validation.network}: {validation.problem or validation.differences[0]}", err=True)
    sys.exit(130 if stopped else int(any(validation.failed for validation in done)))


def torch_side() -> Any:
    """The module that compares networks with PyTorch. Raises ArchcalcError where PyTorch is missing."""
    try:
        from archcalc.pytorch import validate
    except ModuleNotFoundError as error:
        raise ArchcalcError(str(error)) from None
    return sys.modules[validate.__module__]
