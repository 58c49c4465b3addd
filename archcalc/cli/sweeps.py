"""The commands `sweep` and `search`: figures of a network for all combinations of some values."""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from archcalc.analysis.recipe import USUAL
from archcalc.cli.commands import command
from archcalc.cli.options import (
    STEP_OPTIONS,
    NetworkName,
    network_options,
    output_options,
    refuse_training,
    require_training,
    together,
)
from archcalc.cli.output import CHOICE, choice, deliver, tell
from archcalc.cli.progress import LINE
from archcalc.cli.table_choice import keep_columns, table_options
from archcalc.errors import counted, one_line, printable, shorten
from archcalc.render.formats import FORMATS
from archcalc.spec.binding import GivenInput

if TYPE_CHECKING:
    from archcalc.sweeping import Sweep

MOST = 10**6  # values of one name
MOST_ROWS = 5 * 10**6  # in a file
SHOWN = 1000  # rows of a table on a terminal
RANGE = re.compile(r"(\d{1,18}):(\d{1,18})(?::(\d{1,18}))?", re.ASCII)
WHOLE, DECIMAL = (re.compile(number, re.ASCII) for number in (r"-?\d{1,30}", r"-?\d{1,9}\.\d{1,9}"))


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
            raise click.BadParameter(f"{shorten(name)} has more than {MOST:,} values; take larger steps")
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
        return [int(part) if WHOLE.fullmatch(part) else float(part) if DECIMAL.fullmatch(part) else one_line(part)]
    first, last, step = (int(number) for number in found.groups(default="1"))
    if not step or last < first:
        raise click.BadParameter(f"{part} has no numbers; write FIRST:LAST:STEP, e.g. 160:320:32, LAST included")
    return range(first, last + 1, step)[: MOST + 1]


over_option = click.option(
    "--over",
    multiple=True,
    required=True,
    callback=read_over,
    metavar="NAME=VALUES",
    help="Values of a param, of an axis of the input such as height, of size for all of its lengths, or of batch: "
    "160:320:32 (320 included) or 10,100. Can be repeated, for all combinations.",
)
engine_options = together(
    click.option("--jobs", type=click.IntRange(1, 64), default=1, show_default=True,
                 help="Threads; with --engine dask, processes."),
    click.option("--engine", default="", metavar="ENGINE",
                 help="Run parts elsewhere: dask for processes on this machine, dask=tcp://HOST:8786 for the workers "
                      "of a running scheduler. Ctrl-C then shows what is computed."),
)  # fmt: skip
sweep_options = together(
    click.argument("name", type=NetworkName()),
    over_option,
    engine_options,
    network_options,
    table_options,
    output_options,
)  # fmt: skip


@command()
@sweep_options
def sweep(
    name: str, over: dict[str, list[Any]], settings: dict[str, str], shape: GivenInput | None, jobs: int, engine: str,
    form: str, output: Path | None, force: bool, **conditions: Any,
) -> None:  # fmt: skip
    """Compute a network's figures for all combinations of some values, millions per second.

    --columns names the figures to compute: any numbers of `archcalc summarize` but receptive fields and expectations. A
    combination that does not fit, such as a size that is too small, is marked, and the others are computed.

    \b
    archcalc sweep resnet50 --over size=160:320:32 --over batch=1,32
    archcalc sweep vgg16 --over height=64:512 --over width=64:512 -o vgg16.csv
    archcalc sweep resnet50 --over "depths=[2,2,2,2],[3,4,6,3]" --columns params,peak_inference_bytes
    archcalc sweep resnet50 --over "depths=[2,2,2,2],[3,4,6,3]" --over size=160:320 --engine dask --jobs 2
    """
    from archcalc.render.tables.sweep import sweep_table
    from archcalc.sweeping import sweep as swept
    from archcalc.symbolic import COUNTS

    wanted = [key for key in dict.fromkeys(choice().names) if key not in over and key != "problem"]
    wanted = wanted or [key for key in COUNTS if key not in over]
    require_training(wanted, conditions["mode"])
    every = FORMATS[form].every
    points = math.prod(map(len, over.values()))
    if every and points > MOST_ROWS:
        hint = "sweep one part at a time, or use archcalc.sweep in Python, which gives arrays"
        raise click.UsageError(f"{points:,} combinations are more than the {MOST_ROWS:,} rows of a file; {hint}")
    recipe = with_recipe(conditions)["recipe"]
    LINE.working(f"computing {points:,} combinations")
    found = swept(name, over, wanted, settings, shape, jobs=jobs, engine=engine, recipe=recipe, **conditions)
    rows = found.rows(_order(found))
    table = sweep_table(
        found.name, [*over], wanted, rows[:SHOWN] if form == "table" else rows, found.points, recipe, **conditions
    )
    keep_columns(over, ["problem"] if every or found.problems else [])
    deliver(table, form, output, force)
    require_all(found)


def require_all(found: Sweep) -> None:
    """Say how much of a sweep is missing, and end the command with an exit code that says so; if none is, return."""
    if found.missing:
        why = "stopped" if found.stopped else "error"
        tell(f"{why}: {found.missing:,} of {counted(found.points, 'combination')} are not computed")
        sys.exit(130 if found.stopped else 1)


def _order(found: Any) -> Any:
    """Return the order of the combinations that --sort says, None for their own; the table needs no more sorting."""
    own = choice()
    if not own.sort:
        return None
    click.get_current_context().meta[CHOICE] = own._replace(sort="")
    return found.order(own.key, own.sort.startswith("-"))


def with_recipe(conditions: dict[str, Any]) -> dict[str, Any]:
    """Take the training recipe out of the conditions; return them with it."""
    refuse_training(STEP_OPTIONS, conditions["mode"])
    return {"recipe": USUAL._replace(**{option: conditions.pop(option) for option in STEP_OPTIONS}), **conditions}


@command()
@click.option("--under", required=True, metavar="BOUNDS",
              help="Bounds that must hold, e.g. 'macs < 600M, params < 6M, peak(batch=32) < 8GB'; peak is that of the "
                   "mode.")  # fmt: skip
@click.option("--maximize", metavar="NAME", help="Find the largest value of this name of --over, or figure.")
@click.option("--minimize", metavar="NAME", help="Find the least.")
@click.option("--best", type=click.IntRange(1, 1000), default=1, show_default=True, help="Show so many combinations.")
@sweep_options
def search(
    name: str, over: dict[str, list[Any]], under: str, maximize: str | None, minimize: str | None, best: int,
    settings: dict[str, str], shape: GivenInput | None, jobs: int, engine: str, form: str, output: Path | None,
    force: bool, **conditions: Any,
) -> None:  # fmt: skip
    """Find the best combination of some values under bounds. All combinations are computed, so it is the best.

    Of combinations that are equally good, the one with fewer MACs comes first. The exit code is 1 if none fits.

    \b
    archcalc search resnet50 --over size=64:512:32 --under 'macs < 2G, peak(batch=32) < 1GB' --maximize size
    archcalc search vgg16 --over height=64:512 --over width=64:512 --under 'macs < 10G' --maximize activations --best 5
    """
    from archcalc.render.tables.sweep import search_table
    from archcalc.searching import read_bounds
    from archcalc.searching import search as searched

    if (goal := maximize or minimize) is None or (maximize and minimize):
        raise click.UsageError("write either --maximize or --minimize, e.g. --maximize size")
    bounds = read_bounds(under, conditions["mode"])
    require_training([*[bound.key for bound in bounds], goal, *choice().names], conditions["mode"])
    more = [key for key in dict.fromkeys(choice().names) if key not in over and "(" not in key]
    recipe = with_recipe(conditions)["recipe"]
    found = searched(
        name, over, bounds, goal, minimize is not None, best, more, params=settings, input=shape, jobs=jobs,
        engine=engine, recipe=recipe, **conditions,
    )  # fmt: skip
    table = search_table(
        found.name, [*over], found.keys, found.rows, found.points, found.fitting, recipe, **conditions
    )  # fmt: skip
    keep_columns(over)
    if found.rows or FORMATS[form].every:
        deliver(table, form, output, force)
    if not found.rows:
        tell(f"none of {counted(found.points, 'combination')} keeps {printable(under)}")
        for problem in found.problems[:3]:
            tell(f"does not fit: {problem}")
        sys.exit(1)
