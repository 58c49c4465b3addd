"""The options of commands that print tables: which columns, in which order and units."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import wraps
from typing import Any, TypeVar

import click

from archcalc.cli.completion import complete_columns
from archcalc.cli.options import read_columns, together
from archcalc.cli.output import CHOICE, choice
from archcalc.render.choice import UNITS, Choice, chosen
from archcalc.render.formats import FORMATS
from archcalc.render.table import Column, Table

_Function = TypeVar("_Function", bound=Callable[..., Any])
NAMES = ("columns", "sort", "units", "precision")
MOST_DIGITS = 15


_options = together(
    click.option("--columns", callback=read_columns, metavar="NAMES", shell_complete=complete_columns,
                 help="Show these columns after the names of the rows, e.g. params,macs; the keys of JSON."),
    click.option("--sort", metavar="COLUMN", shell_complete=complete_columns,
                 help="Sort by a column: the largest first, texts from A to Z; -COLUMN: the other way round."),
    click.option("--units", type=click.Choice(UNITS),
                 help="si: 25.6 M, 3.86 G, 102 MB; iec: bytes in MiB (2^20); full: every digit, of bytes too."),
    click.option("--precision", type=click.IntRange(1, MOST_DIGITS), metavar="N",
                 help="Significant digits of --units si and iec; 3 unless given."),
)  # fmt: skip


def require_columns(*tables: Sequence[Column]) -> None:
    """Raise ArchcalcError, before any work, for columns that are not in these tables."""
    first, *parts = (Table("", columns, []) for columns in tables)
    chosen(first._replace(parts=parts), choice())


def keep_columns(names: Iterable[str], after: Iterable[str] = ()) -> None:
    """Show these columns before and after those that are chosen, if any are."""
    own = choice()
    if own.columns:
        columns = tuple(dict.fromkeys((*names, *own.columns, *after)))
        click.get_current_context().meta[CHOICE] = own._replace(columns=columns)


def table_options(function: _Function) -> Any:
    """Add these options to a command; tables that it delivers are as they say. Needs the option --format."""

    @wraps(function)
    def run(*args: Any, columns: tuple[str, ...], sort: str | None, units: str | None, precision: int | None,
            **options: Any) -> Any:  # fmt: skip
        context, form = click.get_current_context(), options["form"]
        if precision and units == "full":
            raise click.UsageError("--precision rounds; use --units si or iec, or omit it")
        if (units or precision) and form in FORMATS and FORMATS[form].every:
            raise click.UsageError(f"{form} always has all digits; omit --units and --precision")
        order = "" if sort is None else sort.strip().lower() or " "  # a blank name is unknown
        units = units or ("si" if precision else "")
        context.meta[CHOICE] = Choice(columns, order, units, precision or Choice().precision)
        return function(*args, **options)

    return _options(run)
