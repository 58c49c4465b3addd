"""Options and arguments that several commands share, and how they are read."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import click

from archcalc.analysis.conventions import CONVENTIONS
from archcalc.analysis.cost import DTYPES
from archcalc.analysis.report import MAX_BATCH, MODES
from archcalc.catalog import networks
from archcalc.cli.output import writable
from archcalc.errors import shorten
from archcalc.render.formats import SUFFIXES
from archcalc.spec.hints import channels_last

_Function = TypeVar("_Function", bound=Callable[..., Any])


class NetworkName(click.ParamType):  # type: ignore[type-arg]  # generic in newer clicks only
    """A network's name or a spec's path, completed in the shell."""

    name = "network"

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[Any]:
        """Names of the catalog that begin so."""
        from click.shell_completion import CompletionItem

        names = sorted(networks(broken=lambda error: None))
        return [CompletionItem(name) for name in names if name.startswith(incomplete)]


def read_shape(ctx: click.Context, param: click.Parameter, value: str | None) -> tuple[int, ...] | None:
    """`3x224x224` as a shape; `224` and `224x224` stand for an image of that size."""
    if value is None:
        return None
    if not re.fullmatch(r"[1-9][0-9]{0,9}([xX×][1-9][0-9]{0,9}){0,7}", value):
        raise click.BadParameter(f"{value[:60]!r} is not a shape; write channels x height x width, e.g. 3x224x224")
    sizes = tuple(int(part) for part in re.split("[xX×]", value))
    if channels_last(sizes):
        raise click.BadParameter(f"channels come first: {sizes[2]}x{sizes[0]}x{sizes[1]}, not {value}")
    return sizes


def read_settings(ctx: click.Context, param: click.Parameter, values: tuple[str, ...]) -> dict[str, str]:
    """`name=value` pairs."""
    settings = {}
    for value in values:
        name, equals, text = value.partition("=")
        if not equals or not text.strip():
            raise click.BadParameter(f"{value[:60]!r} is not a setting; write name=value, as classes=10")
        settings[name.strip()] = text
    return settings


def read_columns(ctx: click.Context, param: click.Parameter, value: str | None) -> tuple[str, ...]:
    """`params,macs` as names."""
    return tuple(name for part in (value or "").split(",") if (name := part.strip()))


def known_suffix(path: Path, suffixes: Iterable[str], otherwise: str = "") -> str:
    """The suffix of a file's name, in small letters. Raises BadParameter for one that is unknown."""
    if path.suffix.lower() not in suffixes:
        listed = ", ".join(suffixes)
        raise click.BadParameter(f"the suffix of {shorten(str(path))!r} is not one of {listed}{otherwise}")
    return path.suffix.lower()


def given(name: str) -> bool:
    """Whether the user wrote this option, whatever its default is."""
    return click.get_current_context().get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE


def together(*options: Callable[[Any], Any]) -> Callable[[_Function], _Function]:
    """Several options as one decorator; help lists them in this order."""

    def decorate(function: _Function) -> _Function:
        for option in reversed(options):
            function = option(function)
        return function

    return decorate


# What a network is.
spec_options = together(
    click.option("--set", "settings", multiple=True, callback=read_settings, metavar="NAME=VALUE",
                 help="Change a param of the spec, as classes=10. Can be given again."),
    click.option("--input", "shape", callback=read_shape, metavar="CxHxW",
                 help="Input shape, e.g. 3x299x299; 299 or 299x299 keeps the channels."),
)  # fmt: skip
mode_option = click.option("--mode", type=click.Choice(list(MODES)), default="infer", show_default=True,
                           help="train has side outputs and dropout.")  # fmt: skip
dtype_option = click.option("--dtype", type=click.Choice(list(DTYPES)), default="float32", show_default=True)
# What its figures are of.
figure_options = together(
    spec_options,
    click.option("--batch", type=click.IntRange(1, MAX_BATCH), default=1, show_default=True, help="Images in a batch."),
    dtype_option,
    mode_option,
)
# The same, where FLOPs are among them.
network_options = together(
    figure_options,
    click.option("--convention", type=click.Choice(list(CONVENTIONS)), default="all", show_default=True,
                 help="What FLOPs count: " + "; ".join(f"{c.name}: {c.text}" for c in CONVENTIONS.values()) + "."),
)  # fmt: skip
# What its rows are.
row_options = together(
    click.option("--depth", type=click.IntRange(min=1), help="One row a block, down to this depth of its name."),
    click.option("--all", "everything", is_flag=True, help="One row a layer, those that write nothing too."),
    click.option("--fold-bn", is_flag=True, help="Batch normalization folded into the layer before it, as deployed."),
)
family_option = click.option("--family", metavar="NAME", help="The networks of this family too, as resnet.")
columns_option = click.option("--columns", callback=read_columns, metavar="NAMES",
                              help="These columns only, as params,macs,depth.")  # fmt: skip
force_option = click.option("--force", is_flag=True, is_eager=True, help="Overwrite a file that already exists.")


def written_as(suffixes: Mapping[str, str], default: str, more: str = "") -> Callable[[_Function], _Function]:
    """Where a result goes and in which form: --format, -o and --force. `suffixes` are those of the forms' files.

    A file that cannot be written, or whose suffix says no form, is told before any work.
    """

    def read(ctx: click.Context, param: click.Parameter, value: str | None) -> str:
        path: Path | None = ctx.params.get("output")
        if path is None:
            return value or default
        writable(path, ctx.params["force"])
        return value or suffixes[known_suffix(path, suffixes, "; end it so, or give --format")]

    return together(
        click.option("--format", "form", type=click.Choice(list(dict.fromkeys(suffixes.values()))), callback=read,
                     help=f"By default what FILE's suffix says ({', '.join(suffixes)}), else {default}.{more}"),
        click.option("-o", "--output", type=click.Path(path_type=Path), metavar="FILE", help="Write to a file.",
                     is_eager=True),  # as --force, before the format, which is read with them
        force_option,
    )  # fmt: skip


output_options = written_as(SUFFIXES, "table")
