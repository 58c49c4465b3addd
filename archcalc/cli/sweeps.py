"""The command `sweep`: figures of a network for all combinations of some values."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from archcalc.analysis.recipe import USUAL
from archcalc.cli.commands import command
from archcalc.cli.options import (
    STEP_OPTIONS,
    NetworkName,
    network_options,
    output_options,
    read_columns,
    refuse_training,
)
from archcalc.cli.output import deliver
from archcalc.errors import shorten
from archcalc.render.formats import FORMATS
from archcalc.spec.binding import GivenInput

MOST = 10**6  # values of one name
RANGE = re.compile(r"(\d{1,18}):(\d{1,18})(?::(\d{1,18}))?")


def read_over(ctx: click.Context, param: click.Parameter, given: tuple[str, ...]) -> dict[str, list[Any]]:
    """Read `size=160:320:32` and `classes=10,100` as lists of values."""
    over: dict[str, list[Any]] = {}
    for text in given:
        name, equals, values = (part.strip() for part in text.partition("="))
        if not equals or not name or not values:
            raise click.BadParameter(f"{shorten(text)!r} names no values; write size=160:320:32 or classes=10,100")
        if name in over:
            raise click.BadParameter(f"{shorten(name)} is given twice; write all of its values in one --over")
        over[name] = [value for part in _parts(values) for value in _values(part)]
        if len(over[name]) > MOST:
            raise click.BadParameter(f"{shorten(name)} has {len(over[name]):,} values; at most {MOST:,}")
    return over


def _parts(text: str) -> list[str]:
    """Split at commas that are in no brackets: `[3, 4], [5, 6]` has two parts."""
    parts, depth = [""], 0
    for letter in text:
        depth += (letter in "[(") - (letter in "])")
        if letter == "," and not depth:
            parts.append("")
        else:
            parts[-1] += letter
    return [part.strip() for part in parts]


def _values(part: str) -> Sequence[Any]:
    if not part:
        raise click.BadParameter("there is an empty value; write size=160,192")
    found = RANGE.fullmatch(part)
    if found is None:
        return [int(part) if part.isascii() and part.isdigit() and len(part) < 19 else part]
    first, last, step = (int(number) for number in found.groups(default="1"))
    if not step or last < first:
        raise click.BadParameter(f"{part} has no numbers; write FIRST:LAST:STEP, e.g. 160:320:32, LAST included")
    return range(first, last + 1, step)[: MOST + 1]


@command()
@click.argument("name", type=NetworkName())
@click.option("--over", multiple=True, required=True, callback=read_over, metavar="NAME=VALUES",
              help="Values of a param, of an axis of the input such as height, of size for all of its lengths, or of "
                   "batch: 160:320:32 (320 included) or 10,100. Can be repeated, for all combinations.")  # fmt: skip
@click.option("--columns", callback=read_columns, metavar="NAMES", default="params,macs,flops,activations",
              show_default=True, help="Figures to compute, such as peak_training_bytes.")  # fmt: skip
@click.option("--jobs", type=click.IntRange(1, 64), default=1, show_default=True, help="Threads.")
@network_options
@output_options
def sweep(
    name: str, over: dict[str, list[Any]], columns: tuple[str, ...], settings: dict[str, str],
    shape: GivenInput | None, jobs: int, form: str, output: Path | None, force: bool, **conditions: Any,
) -> None:  # fmt: skip
    """Compute a network's figures for all combinations of some values, millions per second.

    A combination that does not fit, such as a size that is too small, is marked, and the others are computed.

    \b
    archcalc sweep resnet50 --over size=160:320:32 --over batch=1,32
    archcalc sweep vgg16 --over height=64:512 --over width=64:512 -o vgg16.csv
    archcalc sweep resnet50 --over "depths=[2,2,2,2],[3,4,6,3]" --columns params,peak_training_bytes
    """
    from archcalc.render.tables.sweep import sweep_table
    from archcalc.sweeping import sweep as swept

    refuse_training(STEP_OPTIONS, conditions["mode"])
    recipe = USUAL._replace(**{option: conditions.pop(option) for option in STEP_OPTIONS})
    found = swept(name, over, columns, settings, shape, recipe=recipe, jobs=jobs, **conditions)
    table = sweep_table(found.name, [*over], columns, found.rows(), found.points, FORMATS[form].every, **conditions)
    deliver(table, form, output, force)
