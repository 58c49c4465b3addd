"""The options of a table for a paper: `--caption`, `--label`, `--wide` and `--fragment`."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import click

from archcalc.cli.commands import after_parsing
from archcalc.errors import printable, shorten
from archcalc.render.choice import Choice, meant
from archcalc.render.table import Paper, Table

PAPER = "archcalc.paper"  # in `Context.meta`: these options by name
LABEL = re.compile(r"[A-Za-z0-9:._/+-]+")
CAPTIONED = ("latex", "markdown", "html", "rst")


def _read(ctx: click.Context, param: click.Parameter, value: str | bool | None) -> None:
    """Note an option for `for_paper`, and check all of them after parsing. Raises BadParameter for an empty one."""
    if value is None or value is False:
        return
    if isinstance(value, str) and not value.strip():
        raise click.BadParameter(f"it is empty; write a text, or omit {param.opts[0]}", ctx, param)
    if param.name == "label" and not LABEL.fullmatch(str(value)):
        problem = f"{shorten(str(value))!r} is no label of LaTeX; use letters, digits and : . - _ / +, e.g. tab:cost"
        raise click.BadParameter(problem, ctx, param)
    after_parsing(ctx, _check)
    ctx.meta.setdefault(PAPER, {})[param.name] = printable(value) if isinstance(value, str) else value


def _check(ctx: click.Context) -> None:
    """Raise UsageError for options that the format does not have, or that exclude each other."""
    given, form = ctx.meta[PAPER], ctx.params["form"]
    for name in given:
        formats = CAPTIONED if name == "caption" else CAPTIONED[:1]
        if form not in formats:
            raise click.UsageError(f"--{name} has no effect on --format {form}; use --format {' or '.join(formats)}")
        if "fragment" in given and name != "fragment":
            raise click.UsageError(f"--fragment writes the tabular alone, for a table of your own; omit --{name}")
        if name in ("caption", "label") and ctx.params.get("into"):
            raise click.UsageError(f"--{name} is for one table, --into writes several; use -o FILE")


def for_paper(tables: Sequence[Table], choice: Choice) -> Sequence[Table]:
    """Return the tables as the options of the current command say: each with its notes, without summary and parts.

    If the chosen columns are those of a part, that is the table. Raises UsageError for a caption or label of several
    tables.
    """
    context = click.get_current_context(silent=True)
    given = context.meta.get(PAPER) if context else None
    if not given:
        return tables
    for name in {"caption", "label"} & {*given} if len(tables) > 1 else ():
        raise click.UsageError(f"--{name} is for one table, and these are {len(tables):,}; name one network")
    return [_alone(_meant(table, choice), given) for table in tables]


def _meant(table: Table, choice: Choice) -> Table:
    index = meant(table, choice)
    part = [table, *table.parts][index]
    return part._replace(title=table.title, conditions=table.conditions, facts=table.facts) if index else table


def _alone(table: Table, given: Mapping[str, Any]) -> Table:
    environment = "" if "fragment" in given else "table*" if "wide" in given else "table"
    own = table._replace(summary=() if table.rows else table.summary, parts=(),
                  paper=Paper(environment, given.get("label", "")))  # fmt: skip
    if "caption" in given:  # the conditions are then a note
        notes = [*filter(None, [table.conditions]), *table.remarks, *table.notes]
        return own._replace(title=given["caption"], conditions="", remarks=(), notes=notes)
    return own


OPTIONS = (
    click.option("--caption", metavar="TEXT", callback=_read, expose_value=False,
                 help="Write the table alone, with this caption; its conditions become a note."),
    click.option("--label", metavar="NAME", callback=_read, expose_value=False,
                 help="Label in LaTeX, e.g. tab:cost."),
    click.option("--wide", is_flag=True, callback=_read, expose_value=False,
                 help="In LaTeX use table*, over both columns of a page."),
    click.option("--fragment", is_flag=True, callback=_read, expose_value=False,
                 help="In LaTeX write a tabular alone, with its notes, for a table of your own."),
)  # fmt: skip
